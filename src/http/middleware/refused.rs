//! A call that was refused: the API may not know its token yet, or its address may refuse every token.

use std::sync::Arc;
use std::time::Duration;

use ureq::http::{Method, Uri};

use crate::policy::{Address, Next, Sent};
use crate::{Result, Session, Token};

/// What a call has met so far.
#[derive(Default)]
pub(super) struct Past {
    waited: Duration,
    /// The token of the last pause.
    waited_for: u64,
    /// The token in whose place the previous one is sent, and whether it was accepted when it was sent.
    instead_of: Option<(Arc<Token>, bool)>,
}

/// A request that was refused, as it was sent.
pub(super) struct Refused {
    pub(super) token: Arc<Token>,
    pub(super) was_accepted: bool,
    pub(super) replayed: bool,
    pub(super) repeatable: bool,
    pub(super) address: Address,
}

/// What the call does next.
pub(super) enum Then {
    /// Sends the request again with this token.
    Again(Arc<Token>),
    /// Gives up, for its body is gone: the API should know the token by now.
    Anew,
    /// Reports that this token was refused.
    Report(Arc<Token>),
}

impl Past {
    /// Waits for the API, or has the previous token serve, if that may help.
    pub(super) fn after(&mut self, refused: Refused, session: &Session) -> Result<Then> {
        let Refused { mut token, mut was_accepted, replayed, repeatable, address } = refused;
        // A redirect may have led on with the newer one.
        let previous = self.instead_of.take().filter(|(newer, _)| token.generation() < newer.generation());
        if let Some(newer) = previous {
            (token, was_accepted) = newer;
            session.previous_refused(&token);
        }
        let waited_before = self.waited;
        loop {
            let (waited, waited_for) = (self.waited, self.waited_for);
            let sent = Sent { was_accepted, replayed, repeatable, waited, waited_for };
            match session.wait_for_lag(&token, address, sent) {
                Next::Report if self.waited > waited_before => return Ok(Then::Anew),
                Next::Report => return Ok(Then::Report(token)),
                Next::Previous(previous) => {
                    self.instead_of = Some((token, was_accepted));
                    return Ok(Then::Again(previous));
                }
                Next::Pause(pause) => {
                    self.waited = self.waited.saturating_add(pause);
                    self.waited_for = token.generation();
                    if repeatable {
                        // The pause may have outlived the token.
                        return Ok(Then::Again(session.token()?));
                    }
                    if token.was_accepted() {
                        return Ok(Then::Anew);
                    }
                }
            }
        }
    }

    /// The API has answered without refusing `token`: notes what that says of both.
    pub(super) fn answered(&self, token: &Token, status: u16, session: &Session, head: (&Method, &Uri)) {
        if (200..300).contains(&status) {
            session.accepted(token);
            // It was refused before, in this very call, or the previous one was sent instead.
            if self.instead_of.is_some() || self.waited_for == token.generation() {
                session.learn_lag();
            }
        }
        // A 404 knows the token as well, a 502 does not.
        if !matches!(status, 401 | 429 | 500..) {
            note_success(session, head);
        }
    }
}

/// What has refused a token may accept the next.
#[inline]
pub(super) fn note_success(session: &Session, (method, uri): (&Method, &Uri)) {
    if session.looks_at_successes() {
        session.note_success(address_of(method, uri));
    }
}

/// The method counts: to read may be allowed where to write is not. The query does not: many a client makes it up anew each
/// time.
#[cold]
pub(super) fn address_of(method: &Method, uri: &Uri) -> Address {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    Address::of(&[method.as_str(), uri.scheme_str().unwrap_or_default(), authority, uri.path()])
}
