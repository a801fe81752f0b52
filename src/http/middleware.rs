//! What happens to a call on its way: the token goes in, a 401 comes back, the call goes out again.

mod call;
mod extensions;
mod last_look;
mod refused;

use std::io::Read as _;
use std::sync::{Arc, Weak};

use ureq::config::Config;
use ureq::http::header::AUTHORIZATION;
use ureq::http::{Extensions, HeaderMap, Request, Response, Uri};
use ureq::middleware::{Middleware, MiddlewareNext};
use ureq::{Agent, Body, SendBody};

use crate::events::Event;
use crate::http::aside::put_aside;
use crate::http::body::{self, Payload, Plan};
use crate::http::connector::SharedConnector;
use crate::http::origin::Origin;
use crate::http::redirect;
use crate::http::refusal::{Judge, blames_token};
use crate::http::token_in::Way;
use crate::policy::Address;
use crate::{ErrorKind, Session, Token};

use call::{Call, FIRST, Head, authorize, mark, not_replayed, status_of};
pub(crate) use extensions::Of;
pub use extensions::{MaxRedirects, NotReplayed};
use last_look::Attempt;
pub(crate) use last_look::{Allowed, LastLook};
use refused::{Past, Refused, Then, address_of, note_success};

pub(crate) struct Bearer {
    pub(crate) session: Session,
    pub(crate) origins: Allowed,
    pub(crate) replay_limit: usize,
    pub(crate) max_redirects: u32,
    /// A rule of the user's on which response is a refusal. Boxed, so that a program without one does not carry its code.
    pub(crate) judge: Option<Box<dyn Judge>>,
    /// How the token goes in, if not as `Authorization: Bearer`.
    pub(crate) way: Option<Box<dyn Way>>,
    /// Weak, for the agent owns this middleware. Where it is gone, answers come back as they are.
    pub(crate) agent: Weak<dyn AsRef<Agent> + Send + Sync>,
    /// Has it our [`SharedConnector`](crate::http::connector::SharedConnector)?
    pub(crate) bounded: bool,
}

impl Middleware for Bearer {
    fn handle(
        &self,
        mut request: Request<SendBody<'_>>,
        next: MiddlewareNext<'_>,
    ) -> Result<Response<Body>, ureq::Error> {
        if request.extensions().get().is_some_and(|attempt: &Attempt| attempt.by == self.id()) {
            return next.handle(request);
        }
        // The token belongs to its origins alone, and only where the caller has not brought a header.
        let is_allowed = self.origins.has(request.uri_mut())?;
        let is_ours = !self.has_own(request.headers())
            && (is_allowed || self.tell_no_token(self.session_of(Some(request.extensions())), request.uri()));
        let token = if is_ours { Some(self.session_of(Some(request.extensions())).token()?) } else { None };
        // Without a token there is nothing to send again for: then not even the framing of the body is touched.
        let plan = if token.is_some() { Plan::of(&request, self.replay_limit) } else { Plan::Leave };
        // ureq puts one extension into every request. Settings of the caller's are another.
        if request.extensions().len() > 1 {
            request = self.without_redirects(request);
        }
        let payload = match plan {
            Plan::Nothing => Payload::Nothing,
            Plan::Leave => Payload::Untouched,
            Plan::Record | Plan::ReadAhead => return self.send_from_tape(plan, request, token, next),
        };
        let head = Head::of(&request);
        authorize(&mut request, token.as_deref(), self.way(), FIRST)?;
        let was_accepted = token.as_deref().is_some_and(Token::was_accepted);
        let result = next.handle(request);
        self.look_at(result, Call { head, payload, token, was_accepted, replayed: false })
    }
}

impl Bearer {
    /// ureq puts one extension into every request: only where there are more it is worth a look.
    fn session_of<'s>(&'s self, extensions: Option<&'s Extensions>) -> &'s Session {
        let of = extensions.filter(|extensions| extensions.len() > 1).and_then(Extensions::get);
        of.filter(|of: &&Of| of.client.ptr_eq(&self.agent)).map_or(&self.session, |of| &of.session)
    }

    fn session_for<'s>(&'s self, call: &'s Call<'_>) -> &'s Session {
        self.session_of(call.head.extensions.as_ref())
    }

    /// Out of line, to keep the common path's stack frame small.
    #[inline(never)]
    fn send_from_tape(
        &self,
        plan: Plan,
        request: Request<SendBody<'_>>,
        token: Option<Arc<Token>>,
        next: MiddlewareNext<'_>,
    ) -> Result<Response<Body>, ureq::Error> {
        let (mut parts, body) = request.into_parts();
        let mut body = body.into_reader();
        let mut read = |buffer: &mut [u8]| body.read(buffer);
        let mut payload = body::take_over(plan, &mut parts, &mut read, self.replay_limit)?;
        let was_accepted = token.as_deref().is_some_and(Token::was_accepted);
        let (head, result) = match &mut payload {
            Payload::Taped(tape) => {
                let mut request = Request::from_parts(parts, tape.rewind());
                let head = Head::of(&request);
                authorize(&mut request, token.as_deref(), self.way(), FIRST)?;
                (head, next.handle(request))
            }
            _ => {
                let mut request = Request::from_parts(parts, SendBody::none());
                let head = Head::of(&request);
                authorize(&mut request, token.as_deref(), self.way(), FIRST)?;
                (head, next.handle(request))
            }
        };
        self.look_at(result, Call { head, payload, token, was_accepted, replayed: false })
    }

    /// The first answer: nearly always the last.
    #[inline]
    fn look_at(
        &self,
        result: Result<Response<Body>, ureq::Error>,
        call: Call<'_>,
    ) -> Result<Response<Body>, ureq::Error> {
        match &result {
            // A rule of the user's may see a refusal in a success.
            Ok(answer) if answer.status().is_success() && self.judge.is_none() => {
                if let Some(token) = &call.token {
                    token.mark_accepted();
                    note_success(self.session_for(&call), call.head.address());
                }
                result
            }
            Ok(_) | Err(ureq::Error::StatusCode(_)) => self.go_on(call, result),
            Err(_) => result,
        }
    }

    fn way(&self) -> Option<&dyn Way> {
        self.way.as_deref()
    }

    /// Which client this is, of those that live.
    fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Has the caller brought a credential where ours would go?
    #[inline]
    fn has_own(&self, headers: &HeaderMap) -> bool {
        match &self.way {
            None => headers.contains_key(AUTHORIZATION),
            Some(way) => way.has_own(headers),
        }
    }

    /// Says that a request goes out without the token since its address is not one of the origins. Always false.
    #[cold]
    fn tell_no_token(&self, session: &Session, uri: &Uri) -> bool {
        // A password in an address of ours is the caller's own credential.
        if let Some(origin) = Origin::of(uri).filter(|origin| !self.origins.0.contains(origin)) {
            session.emit(Event::OtherOrigin { origin: origin.as_str() });
        }
        false
    }

    /// Is this a refusal of the token?
    fn is_refused(&self, token: &Token, call: &Call<'_>, result: &mut Result<Response<Body>, ureq::Error>) -> bool {
        let scheme = self.way().map_or(Some("Bearer"), Way::scheme);
        let by_default = blames_token(scheme, result);
        match &self.judge {
            None => by_default,
            Some(judge) => {
                let age = token.age(self.session_for(call).now()).unwrap_or_default();
                judge.is_refused(result, by_default, age, self.bounded)
            }
        }
    }

    /// A request's own settings may have ureq follow redirects by itself: to any port of the host with the token, or with a
    /// 401 at the end that is not the token's fault. They cannot be read here, but they can be set.
    #[cold]
    fn without_redirects<'b>(&self, request: Request<SendBody<'b>>) -> Request<SendBody<'b>> {
        let before = request.extensions().clone();
        let owner = self.agent.upgrade();
        // For settings that are there already any agent will do.
        let agent = owner
            .map_or_else(|| SharedConnector::of_defaults().agent(Config::default()), |owner| (*owner).as_ref().clone());
        let mut request = agent.configure_request(request).max_redirects(0).build();
        // It had no settings, and is to have none: for a request with its own, ureq sets TLS up anew, certificates and all.
        if request.extensions().len() > before.len() {
            *request.extensions_mut() = before;
        }
        request
    }

    /// Follows redirects, and sends a refused request again, until there is an answer for the caller.
    #[cold]
    fn go_on(
        &self,
        mut call: Call<'_>,
        mut result: Result<Response<Body>, ureq::Error>,
    ) -> Result<Response<Body>, ureq::Error> {
        let mut redirects = 0;
        let mut past = Past::default();
        loop {
            // Held for one step only: a client that was dropped meanwhile is gone when this call is over.
            let agent = self.agent.upgrade();
            let agent = agent.as_deref().map(|owner| owner.as_ref());
            let mut refused = None;
            if let Some(token) = &call.token {
                if self.is_refused(token, &call, &mut result) {
                    refused = Some(Arc::clone(token));
                } else if let Some(status) = status_of(&result) {
                    past.answered(token, status, self.session_for(&call), call.head.address());
                }
            }
            result = match (refused, result) {
                (Some(token), result) => match self.refused(&mut call, &mut past, token, agent, result)? {
                    Step::Sent(result) => result,
                    Step::Over(result) => return result,
                },
                (None, Ok(answer)) => match self.follow(&mut call, agent, answer, &mut redirects)? {
                    Step::Sent(result) => result,
                    Step::Over(result) => return result,
                },
                (None, Err(error)) => return Err(error),
            };
        }
    }

    /// The token was refused: sends the request again, with the same token, the previous or the next one.
    fn refused(
        &self,
        call: &mut Call<'_>,
        past: &mut Past,
        token: Arc<Token>,
        agent: Option<&Agent>,
        result: Result<Response<Body>, ureq::Error>,
    ) -> Result<Step, ureq::Error> {
        // Before any wait: a crowd of waiting threads would otherwise hold a connection each.
        let result = result.map(|answer| put_aside(answer, self.bounded));
        let again = agent.filter(|_| call.payload.can_be_sent_again());
        let (was_accepted, replayed, repeatable) = (call.was_accepted, call.replayed, again.is_some());
        let (method, uri) = call.head.address();
        let address = address_of(method, uri);
        let refused = Refused { token, was_accepted, replayed, repeatable, address };
        match (past.after(refused, self.session_for(call))?, again) {
            (Then::Again(token), Some(agent)) => {
                drop(result);
                call.token = Some(token);
                Ok(Step::Sent(call.send(agent, self.way(), self.id())))
            }
            (Then::Report(token), _) if call.replayed => {
                self.session_for(call).note_refusal(&token, address);
                Ok(Step::Over(result))
            }
            (Then::Report(token), again) => self.replay(call, &token, address, again, result),
            _ => Ok(self.not_replayed(call, result)),
        }
    }

    /// Gets the next token and sends the request again with it.
    fn replay(
        &self,
        call: &mut Call<'_>,
        refused: &Token,
        address: Address,
        agent: Option<&Agent>,
        result: Result<Response<Body>, ureq::Error>,
    ) -> Result<Step, ureq::Error> {
        let token = match self.session_for(call).rejected_at(refused, Some(address)) {
            Ok(token) => token,
            // The API's own trouble: what it says is the answer.
            Err(error) if error.kind() == ErrorKind::RefusedTooOften => return Ok(Step::Over(result)),
            Err(error) => return Err(error.into()),
        };
        let Some(agent) = agent else {
            return Ok(self.not_replayed(call, result));
        };
        // Its connection is free for the second attempt.
        drop(result);
        self.session_for(call).emit(Event::Replayed { generation: token.generation() });
        call.replayed = true;
        call.token = Some(token);
        Ok(Step::Sent(call.send(agent, self.way(), self.id())))
    }

    /// The token is good now, or another one is there, but there is nothing to send the request again with.
    fn not_replayed(&self, call: &Call<'_>, result: Result<Response<Body>, ureq::Error>) -> Step {
        let is_orphan = self.agent.strong_count() == 0;
        self.session_for(call).emit(if is_orphan { Event::ClientGone } else { Event::NotReplayed });
        Step::Over(result.map_or_else(|_| Err(not_replayed(is_orphan).into()), |answer| Ok(mark(answer))))
    }

    /// Follows a redirect, with the token as long as every address so far was one of its origins.
    fn follow(
        &self,
        call: &mut Call<'_>,
        agent: Option<&Agent>,
        answer: Response<Body>,
        redirects: &mut u32,
    ) -> Result<Step, ureq::Error> {
        let limit = call.head.max_redirects().unwrap_or(self.max_redirects);
        let Some(agent) = agent.filter(|_| limit > 0) else {
            return Ok(Step::Over(Ok(answer)));
        };
        let Some(hop) = redirect::follow(&call.head.method, &call.head.uri, answer.status(), answer.headers())? else {
            return Ok(Step::Over(Ok(answer)));
        };
        if *redirects == limit {
            return if agent.config().max_redirects_will_error() {
                Err(ureq::Error::TooManyRedirects)
            } else {
                Ok(Step::Over(Ok(answer)))
            };
        }
        *redirects += 1;
        drop(put_aside(answer, self.bounded));
        hop.strip(&mut call.head.headers);
        call.head.method = hop.method;
        call.head.uri = hop.uri;
        call.payload = Payload::Nothing;
        // Once it has led away, a redirect back is another site's wish, and does not get our token.
        call.token = match call.token.take() {
            Some(_) if self.origins.0.contains(&hop.origin) => {
                hop.origin.write_into(&mut call.head.uri);
                Some(self.session_for(call).token()?)
            }
            Some(_) => {
                self.tell_no_token(self.session_for(call), &call.head.uri);
                None
            }
            None => None,
        };
        Ok(Step::Sent(call.send(agent, self.way(), self.id())))
    }
}

enum Step {
    /// The request went out again, and this came back.
    Sent(Result<Response<Body>, ureq::Error>),
    /// This is for the caller.
    Over(Result<Response<Body>, ureq::Error>),
}
