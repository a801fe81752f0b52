//! A call that was refused: the API may not know its token yet, or its address may refuse every token.

use std::sync::Arc;
use std::time::Duration;

use ureq::http::Response;
use ureq::{Agent, Body};

use super::{Bearer, Call, Head, Step};
use crate::Token;
use crate::events::Event;
use crate::http::body;
use crate::policy::{Address, Next, Sent};

/// What a call has met so far.
#[derive(Default)]
pub(super) struct Past {
    waited: Duration,
    /// The token of the last pause.
    waited_for: u64,
    /// The token in whose place the previous one is sent, and whether it was accepted when it was sent.
    instead_of: Option<(Arc<Token>, bool)>,
}

impl Bearer {
    /// Sends it again with the same token after a pause, with the previous token, or with the next.
    pub(super) fn refused(
        &self,
        call: &mut Call<'_>,
        past: &mut Past,
        mut token: Arc<Token>,
        agent: Option<&Agent>,
        result: Result<Response<Body>, ureq::Error>,
    ) -> Result<Step, ureq::Error> {
        // A redirect may have led on with the newer one.
        let previous = past.instead_of.take().filter(|(newer, _)| token.generation() < newer.generation());
        if let Some((newer, was_accepted)) = previous {
            self.session.previous_refused(&newer);
            call.was_accepted = was_accepted;
            call.token = Some(Arc::clone(&newer));
            token = newer;
        }
        // Before any wait: a crowd of waiting threads would otherwise hold a connection each.
        let result = result.map(body::put_aside);
        let address = address_of(&call.head);
        let again = agent.filter(|_| call.payload.can_be_sent_again());
        let waited_before = past.waited;
        loop {
            let sent = Sent {
                was_accepted: call.was_accepted,
                replayed: call.replayed,
                repeatable: again.is_some(),
                waited: past.waited,
                waited_for: past.waited_for,
            };
            match self.session.wait_for_lag(&token, address, sent) {
                Next::Report => break,
                Next::Pause(pause) => {
                    past.waited += pause;
                    past.waited_for = token.generation();
                    // The pause may have outlived the token.
                    call.token = Some(if again.is_some() { self.session.token()? } else { Arc::clone(&token) });
                }
                Next::Previous(previous) => {
                    past.instead_of = Some((Arc::clone(&token), call.was_accepted));
                    call.token = Some(previous);
                }
            }
            if let Some(agent) = again {
                drop(result);
                return Ok(Step::Sent(self.send_again(call, agent)));
            }
            // Whoever sends it anew finds a token that is known by now.
            if token.was_accepted() {
                break;
            }
        }
        if past.waited > waited_before {
            return Ok(self.not_replayed(result));
        }
        if call.replayed {
            self.session.note_refusal(&token, address);
            return Ok(Step::Over(result));
        }
        self.replay(call, &token, address, agent, result)
    }

    /// The API has answered without refusing the token: notes what that says of both.
    pub(super) fn note_answer(&self, call: &Call<'_>, past: &Past, token: &Token, status: u16) {
        if (200..300).contains(&status) {
            self.session.accepted(token);
            // Only a token that was refused in this call is in its past.
            if past.instead_of.is_some() || past.waited_for == token.generation() {
                self.session.learn_lag();
            }
        }
        // A 404 knows the token as well, a 502 does not.
        if !matches!(status, 401 | 429 | 500..) {
            self.note_success(call);
        }
    }

    /// What has refused a token may accept the next.
    #[inline]
    pub(super) fn note_success(&self, call: &Call<'_>) {
        if self.session.looks_at_successes() {
            self.session.note_success(address_of(&call.head));
        }
    }

    pub(super) fn send_again(&self, call: &mut Call<'_>, agent: &Agent) -> Result<Response<Body>, ureq::Error> {
        if let Some(token) = &call.token {
            self.session.emit(Event::Replayed { generation: token.generation() });
        }
        call.send(agent)
    }
}

/// Its method too: to read may be allowed where to write is not. Not its query, which many a client makes up anew each time.
#[cold]
fn address_of(head: &Head) -> Address {
    let authority = head.uri.authority().map_or("", |authority| authority.as_str());
    Address::of(&[head.method.as_str(), head.uri.scheme_str().unwrap_or_default(), authority, head.uri.path()])
}
