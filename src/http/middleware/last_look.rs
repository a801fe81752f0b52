//! Which requests get the token, and the last look at where one that has it goes.

use std::sync::Arc;

use ureq::http::header::AUTHORIZATION;
use ureq::http::uri::PathAndQuery;
use ureq::http::{HeaderValue, Request, Response, Uri};
use ureq::middleware::{Middleware, MiddlewareNext};
use ureq::{Body, SendBody};

use crate::http::origin::{Origin, no_address};
use crate::{Error, Session};

use super::extensions::Of;

/// The origins that get the token.
#[derive(Clone)]
pub(crate) struct Allowed(pub(crate) Arc<Vec<Origin>>);

impl Allowed {
    /// Is it an address of theirs?
    ///
    /// # Errors
    ///
    /// [`BadUri`](ureq::Error::BadUri) if ureq would read that address in another way than it was decided by here.
    #[inline]
    pub(super) fn has(&self, uri: &mut Uri) -> Result<bool, ureq::Error> {
        // Taking an address apart costs more than all else that the client does to a call; comparing it whole does not.
        if self.0.iter().any(|origin| origin.is_written_in(uri)) { Ok(true) } else { self.has_otherwise_written(uri) }
    }

    #[cold]
    fn has_otherwise_written(&self, uri: &mut Uri) -> Result<bool, ureq::Error> {
        let origin = Origin::of(uri);
        // `https://user:password@host` is the caller's own `Authorization`: ureq makes one of it.
        let has_own = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        match origin {
            Some(origin) if !has_own && self.0.contains(&origin) => {
                origin.write_into(uri);
                Ok(true)
            }
            // To ureq, a scheme that is not its constant is plain http, `HTTPS` too.
            Some(origin) if origin.has_scheme_of(uri) => Ok(false),
            _ => Err(no_address()),
        }
    }
}

/// The extension of a request that has been here.
#[derive(Clone, Copy)]
pub(super) struct Attempt {
    /// The client whose middleware has sent it itself: that one passes it on untouched, and the same agent, with its pool, its
    /// settings and its other middlewares, serves the second attempt as it served the first. To any other client, which a
    /// middleware of the user's may hand it to, it is a request like any.
    pub(super) by: usize,
    /// The credential that it carries, if any, is the session's. What has no such extension may be a first attempt with the token.
    pub(super) has_token: bool,
}

/// The last of the middlewares, behind those of the user's, which may have changed the address.
pub(crate) struct LastLook {
    pub(crate) origins: Allowed,
    pub(crate) session: Session,
    /// Is the token in `Authorization`? Otherwise it may be in any header.
    pub(crate) is_bearer: bool,
}

impl LastLook {
    /// Does a request to another origin carry the token: as the client has put it in, or copied elsewhere?
    #[cold]
    fn finds_token(&self, request: &Request<SendBody<'_>>) -> bool {
        let headers = request.headers();
        let has_secret = if self.is_bearer {
            headers.get(AUTHORIZATION).is_some_and(HeaderValue::is_sensitive)
        } else {
            headers.values().any(HeaderValue::is_sensitive)
        };
        let of = request.extensions().get().map(|of: &Of| &of.session);
        has_secret
            || [Some(&self.session), of].into_iter().flatten().filter_map(Session::current).any(|token| {
                let secret = token.secret().as_bytes();
                let holds = |text: &[u8]| text.windows(secret.len().max(1)).any(|part| part == secret);
                let query = request.uri().path_and_query().map_or("", PathAndQuery::as_str);
                headers.values().any(|value| holds(value.as_bytes())) || holds(query.as_bytes())
            })
    }
}

impl Middleware for LastLook {
    fn handle(
        &self,
        mut request: Request<SendBody<'_>>,
        next: MiddlewareNext<'_>,
    ) -> Result<Response<Body>, ureq::Error> {
        // What a caller has put in is the caller's own.
        let may_carry = request.extensions().get().is_none_or(|attempt: &Attempt| attempt.has_token);
        if may_carry && !self.origins.has(request.uri_mut())? && self.finds_token(&request) {
            return Err(led_away().into());
        }
        next.handle(request)
    }
}

#[cold]
fn led_away() -> Error {
    Error::invalid(
        "a middleware sends the token to another origin, and nothing was sent: if that may get the token, add it with \
         ClientBuilder::origin",
    )
}
