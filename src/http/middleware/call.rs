//! A call under way: its head, its body and its token, and how a request is made of them.

use std::sync::Arc;

use ureq::http::header::AUTHORIZATION;
use ureq::http::{Extensions, HeaderMap, Method, Request, Response, Uri, Version};
use ureq::{Agent, Body, SendBody};

use crate::http::body::Payload;
use crate::http::token_in::Way;
use crate::{Error, ErrorKind, Token};

use super::extensions::{MaxRedirects, NotReplayed};
use super::last_look::Attempt;

/// What it takes to send a call again.
pub(super) struct Call<'a> {
    pub(super) head: Head,
    pub(super) payload: Payload<'a>,
    pub(super) token: Option<Arc<Token>>,
    /// The API had accepted the token when the request was sent.
    pub(super) was_accepted: bool,
    pub(super) replayed: bool,
}

impl Call<'_> {
    /// Sends it again, by the same agent.
    pub(super) fn send(
        &mut self,
        agent: &Agent,
        way: Option<&dyn Way>,
        by: usize,
    ) -> Result<Response<Body>, ureq::Error> {
        let token = self.token.as_deref();
        self.was_accepted = token.is_some_and(Token::was_accepted);
        match &mut self.payload {
            Payload::Taped(tape) => self.head.send(agent, token, way, by, tape.rewind()),
            _ => self.head.send(agent, token, way, by, SendBody::none()),
        }
    }
}

/// A request without its body and without our header.
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) uri: Uri,
    version: Version,
    pub(super) headers: HeaderMap,
    pub(super) extensions: Option<Extensions>,
}

impl Head {
    /// What it takes to make the same request again; its body apart.
    pub(super) fn of(request: &Request<SendBody<'_>>) -> Self {
        let (headers, extensions) = (request.headers(), request.extensions());
        Head {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            // A map that holds nothing is not cloned for nothing.
            headers: if headers.is_empty() { HeaderMap::new() } else { headers.clone() },
            // One is ureq's own, put in anew with each run. Only more than that is worth a copy.
            extensions: (extensions.len() > 1).then(|| extensions.clone()),
        }
    }

    pub(super) fn address(&self) -> (&Method, &Uri) {
        (&self.method, &self.uri)
    }

    pub(super) fn max_redirects(&self) -> Option<u32> {
        self.extensions.as_ref()?.get().map(|MaxRedirects(limit)| *limit)
    }

    fn send(
        &self,
        agent: &Agent,
        token: Option<&Token>,
        way: Option<&dyn Way>,
        by: usize,
        body: SendBody<'_>,
    ) -> Result<Response<Body>, ureq::Error> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers.clone();
        *request.extensions_mut() = self.extensions.clone().unwrap_or_default();
        authorize(&mut request, token, way, by)?;
        agent.run(request)
    }
}

/// Of a first attempt, in place of the client that sends a further one.
pub(super) const FIRST: usize = 0;

/// Puts the token into a request that has none of it yet. `by`: the client whose further attempt it is, or [`FIRST`].
///
/// # Errors
///
/// What a way of the user's says. Nothing was sent then.
#[inline]
pub(super) fn authorize(
    request: &mut Request<SendBody<'_>>,
    token: Option<&Token>,
    way: Option<&dyn Way>,
    by: usize,
) -> Result<(), ureq::Error> {
    let has_token = token.is_some();
    match (token, way) {
        (Some(token), None) => drop(request.headers_mut().insert(AUTHORIZATION, token.header().clone())),
        (Some(token), Some(way)) => put(request, token, way)?,
        (None, _) => {}
    }
    // A first attempt with the token goes without, unless what it came with may hold another's.
    let extensions = request.extensions_mut();
    if by != FIRST || !has_token || extensions.len() > 1 {
        extensions.insert(Attempt { by, has_token });
    }
    Ok(())
}

#[cold]
fn put(request: &mut Request<SendBody<'_>>, token: &Token, way: &dyn Way) -> Result<(), ureq::Error> {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    way.put(&method, &uri, request.headers_mut(), token)
}

pub(super) fn mark(mut answer: Response<Body>) -> Response<Body> {
    answer.extensions_mut().insert(NotReplayed);
    answer
}

#[cold]
pub(super) fn not_replayed(is_orphan: bool) -> Error {
    Error::new(
        ErrorKind::NotReplayed,
        if is_orphan {
            "the API refused the token; it is good now, but the request cannot be replayed, since the Client of this \
             agent was dropped: keep a clone of the Client for as long as its agent is used"
        } else {
            "the API refused the token; it is good now, but the request cannot be replayed, since its body was read: \
             send it again, or allow more with ClientBuilder::replay_limit"
        },
    )
}

/// The status of the answer, or of what ureq has made of it.
pub(super) fn status_of(result: &Result<Response<Body>, ureq::Error>) -> Option<u16> {
    match result {
        Ok(answer) => Some(answer.status().as_u16()),
        Err(ureq::Error::StatusCode(status)) => Some(*status),
        Err(_) => None,
    }
}
