//! Which response says that the token is refused: the built-in rule, and one of the user's.

mod pointer;

use std::time::Duration;

use serde_json::Value;
use ureq::Body;
use ureq::http::header::WWW_AUTHENTICATE;
use ureq::http::{HeaderMap, Response, StatusCode};

use crate::http::body::peek::Peek;
use crate::http::challenge;

use pointer::{Found, find};

/// The built-in rule: a 401 that a new token may help against. `scheme`: whose challenges are about the token, if any's.
pub(crate) fn blames_token(scheme: Option<&str>, result: &Result<Response<Body>, ureq::Error>) -> bool {
    match result {
        Ok(answer) => answer.status() == StatusCode::UNAUTHORIZED && challenge_blames(scheme, answer.headers()),
        // Headers and address are gone: it is taken for what it most likely is. The loop breaker bounds the damage.
        Err(error) => matches!(error, ureq::Error::StatusCode(401)),
    }
}

fn challenge_blames(scheme: Option<&str>, headers: &HeaderMap) -> bool {
    let challenges = headers.get_all(WWW_AUTHENTICATE).iter().map(|value| value.as_bytes());
    scheme.is_none_or(|scheme| challenge::blames_token(scheme, challenges))
}

/// A rule of the user's, as the client holds it.
pub(crate) trait Judge: Send + Sync {
    /// Is it a refusal of a token of that age? `by_default`: what the built-in rule says. What of its body was read is put back.
    /// `bounded`: can reading it be cut short?
    fn is_refused(
        &self,
        result: &mut Result<Response<Body>, ureq::Error>,
        by_default: bool,
        age: Duration,
        bounded: bool,
    ) -> bool;
}

/// A closure as a [`Judge`].
pub(crate) struct Rule<F>(pub(crate) F);

impl<F: Fn(&mut Answer<'_>) -> bool + Send + Sync> Judge for Rule<F> {
    fn is_refused(
        &self,
        result: &mut Result<Response<Body>, ureq::Error>,
        by_default: bool,
        age: Duration,
        bounded: bool,
    ) -> bool {
        let (status, response) = match result {
            // What follows a 101 is another protocol: nothing of it is read here.
            Ok(response) if response.status().is_informational() => return by_default,
            Ok(response) => (response.status(), Some(response)),
            Err(ureq::Error::StatusCode(status)) => match StatusCode::from_u16(*status) {
                Ok(status) => (status, None),
                Err(_) => return by_default,
            },
            Err(_) => return false,
        };
        let mut answer = Answer { status, response, age, by_default, bounded, peek: None };
        let is_refused = (self.0)(&mut answer);
        answer.put_back();
        is_refused
    }
}

/// A response as a rule of [`ClientBuilder::refused_if`](crate::ClientBuilder::refused_if) sees it.
///
/// With ureq's statuses as errors (`http_status_as_error`, its default) nothing is left of a 4xx or 5xx but the status: rules
/// on the status, the built-in rule's word and the token's age work, and what asks for headers or body is false or empty. Other
/// responses are whole. A call that is sent again succeeds or ends as ureq says; one that cannot be is
/// [`NotReplayed`](crate::ErrorKind::NotReplayed). For one request,
/// `.config().http_status_as_error(false).build()` shows its rule everything.
pub struct Answer<'a> {
    status: StatusCode,
    response: Option<&'a mut Response<Body>>,
    age: Duration,
    by_default: bool,
    bounded: bool,
    peek: Option<Peek>,
}

impl Answer<'_> {
    /// The status. It can be compared with a number: `answer.status() == 498`.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers; `None` where ureq has made an error of the status.
    pub fn headers(&self) -> Option<&HeaderMap> {
        self.response.as_deref().map(Response::headers)
    }

    /// The first header of this name; empty if it is missing, or not ASCII text.
    pub fn header(&self, name: &str) -> &str {
        self.headers().and_then(|headers| headers.get(name)?.to_str().ok()).unwrap_or_default()
    }

    /// Does a header of this name have `text` in it, compared to the letter? Each line is looked at, where it comes several times.
    pub fn header_contains(&self, name: &str, text: &str) -> bool {
        self.has_line(name, |line| line.contains(text))
    }

    /// Does `WWW-Authenticate` hold a challenge of this scheme (RFC 9110 §11.6.1)? Compared without case.
    pub fn has_challenge(&self, scheme: &str) -> bool {
        self.has_line(WWW_AUTHENTICATE.as_str(), |line| {
            challenge::parse(line).iter().any(|challenge| challenge.is(scheme))
        })
    }

    /// Is it a refusal by the built-in rule: a 401 without a challenge, or with one of the token's scheme (`Bearer` unless
    /// [`TokenIn`](crate::TokenIn) says otherwise) that a new token may help against (RFC 6750 §3.1)?
    pub fn is_refused_by_default(&self) -> bool {
        self.by_default
    }

    /// How old the token is that the request carried. Zero if nothing tells.
    ///
    /// A rule for 403 or 404 should ask for it: a missing page would cost a refresh otherwise.
    pub fn token_age(&self) -> Duration {
        self.age
    }

    /// The first bytes of the body, decoded, 16 KiB at most. The caller still gets the whole body.
    ///
    /// This waits until that many bytes are there, or the body ends. Ask for status and headers first: the body of an event
    /// stream may never end. If reading fails, the caller gets the error where it happened.
    pub fn body(&mut self) -> &[u8] {
        self.peek(&mut |_| false)
    }

    /// Is the body JSON, and does its member at `pointer` (RFC 6901, like `/error/code`) have this value? Strings are compared
    /// without their quotes, other values as JSON writes them: `190`, `false`, `null`.
    ///
    /// It reads until that member is there, no further than the first JSON value goes, and 16 KiB at most: a member that comes
    /// later is not seen. Of members with the same name the first one counts.
    pub fn json_is(&mut self, pointer: &str, value: &str) -> bool {
        let mut found = Found::Torn;
        let text = self.peek(&mut |text| {
            found = find(text, pointer, false);
            !matches!(found, Found::Torn)
        });
        if matches!(found, Found::Torn) {
            found = find(text, pointer, true);
        }
        match found {
            Found::Value(Value::String(text)) => text == value,
            Found::Value(Value::Object(_) | Value::Array(_)) | Found::Nothing | Found::Torn => false,
            Found::Value(other) => {
                let written = other.to_string();
                written == value
            }
        }
    }

    /// Does the body have `text` in it, compared to the letter? For a page, a fault in XML, or words in a message.
    ///
    /// It reads until that text is there, and otherwise as far as [`body`](Answer::body) does.
    pub fn body_contains(&mut self, text: &str) -> bool {
        let has_text = |body: &[u8]| text.is_empty() || body.windows(text.len()).any(|part| part == text.as_bytes());
        has_text(self.peek(&mut |body| has_text(body)))
    }

    /// A line that is not ASCII is looked at all the same: a description may be in any charset.
    fn has_line(&self, name: &str, is_meant: impl Fn(&str) -> bool) -> bool {
        let lines = self.headers().into_iter().flat_map(|headers| headers.get_all(name));
        lines.map(|line| String::from_utf8_lossy(line.as_bytes())).any(|line| is_meant(&line))
    }

    fn peek(&mut self, is_enough: &mut dyn FnMut(&[u8]) -> bool) -> &[u8] {
        let Some(response) = self.response.as_deref_mut() else { return &[] };
        self.peek.get_or_insert_with(|| Peek::into(response.body_mut(), self.bounded)).read(is_enough)
    }

    /// What was taken of the body goes back to where it came from.
    fn put_back(self) {
        if let Some((peek, response)) = self.peek.zip(self.response) {
            *response.body_mut() = peek.into_body();
        }
    }
}

impl std::fmt::Debug for Answer<'_> {
    /// Headers and body may hold a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).field("token_age", &self.age).finish_non_exhaustive()
    }
}
