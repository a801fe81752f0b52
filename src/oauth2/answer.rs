//! Reads the token endpoint's answer (RFC 6749 §5): pure, so that it can be fuzzed.
//!
//! | status | body | outcome |
//! | --- | --- | --- |
//! | 3xx | any | misconfigured: redirects are not followed |
//! | any other | an `error` code listed in [`of_code`] | what the code says, whatever the status |
//! | 2xx | a good token | the token |
//! | 2xx | another `error` code | refused: who sends errors with 200 says by it that no token was issued |
//! | 2xx | an access token that cannot be sent | misconfigured |
//! | 2xx | no access token, but a refresh token | refused |
//! | 2xx | anything else | unreadable: the refresh token may be spent |
//! | 400, 403 | anything else | refused: a firewall's page, a rate limit, a code that nobody knows |
//! | 408, 425, 429, 5xx | anything else | unavailable, with the answer's `Retry-After` |
//! | other 4xx | anything else | misconfigured: most likely the wrong address |
//!
//! A new refresh token in an answer of 2xx is kept, whatever is wrong with the rest: the server has spent the old one. Where the
//! answer is cut off behind it, or cannot be read, it is unavailable: the new one is good for the next attempt.

use std::mem;
use std::time::Duration;

use zeroize::Zeroizing;

use super::date::since_1970;
use super::fields::{Fields, refresh_token_in};
use super::quote::quote;
use crate::error::holds;
use crate::outcome::{Outcome, of_code, of_status};
use crate::{SourceError, Token};

/// The longest body that is read. A longer success is unknown, a longer error is judged by its status alone.
pub(crate) const MAX_BODY: usize = 64 * 1024;

/// The longest `error` code and `error_description` that are passed on.
const MAX_CODE: usize = 64;
const MAX_DESCRIPTION: usize = 200;

/// What an answer is judged by.
#[derive(Clone, Copy)]
pub(crate) struct Answer<'a> {
    /// Which endpoint's it is: `token`, `revocation`, …
    pub(crate) what: &'static str,
    pub(crate) status: u16,
    pub(crate) content_type: Option<&'a str>,
    pub(crate) retry_after: Option<&'a str>,
    pub(crate) date: Option<&'a str>,
    /// Did it come over TLS or loopback, so that its `Date` is the server's own?
    pub(crate) is_private: bool,
    /// Longer than [`MAX_BODY`], by a byte at least, if it was cut.
    pub(crate) body: &'a [u8],
    /// What the server calls a bearer token, where that is not `Bearer`.
    pub(crate) token_type: Option<&'a str>,
    /// What was sent and must not come back in an error text: servers echo.
    pub(crate) secrets: &'a [&'a str],
}

impl Answer<'_> {
    /// The token, or what the answer says instead.
    pub(crate) fn read(&self) -> Result<Token, SourceError> {
        self.token(self.success()?)
    }

    /// The members of a success, or what the answer says instead.
    pub(crate) fn success(&self) -> Result<Fields, SourceError> {
        if (300..400).contains(&self.status) {
            return Err(SourceError::misconfigured(format!(
                "the {} endpoint answered {}: redirects are not followed, give the final address",
                self.what, self.status
            )));
        }
        match self.fields() {
            Ok(mut fields) => match fields.error.as_deref().and_then(|code| self.code(code, &fields)) {
                Some(code) => {
                    let error = self.refusal(code, &fields);
                    Err(self.with_renewed(error, &mut fields.refresh_token))
                }
                None if self.is_success() => Ok(fields),
                None => Err(self.failure("with JSON that has no error code")),
            },
            Err(what) => Err(self.keep_what_came(self.failure(&what))),
        }
    }

    /// The answer breaks off, or cannot be read to its end: the new refresh token may be in what can.
    pub(crate) fn keep_what_came(&self, error: SourceError) -> SourceError {
        self.with_renewed(error, &mut refresh_token_in(self.body))
    }

    /// An unusable success may have cost the old refresh token: then the new one must not be lost with it. If it names
    /// the old one, that one stays in force.
    fn with_renewed(&self, error: SourceError, refresh_token: &mut Option<Zeroizing<String>>) -> SourceError {
        match refresh_token {
            Some(same) if self.is_success() && self.secrets.contains(&same.as_str()) => error.repeatable(),
            Some(renewed) if self.is_success() => error.with_new_refresh_token(mem::take(&mut **renewed)),
            _ => error,
        }
    }

    /// The body's members, or what stands in their place.
    fn fields(&self) -> Result<Fields, String> {
        if self.body.len() > MAX_BODY {
            return Err(format!("with more than {MAX_BODY} bytes"));
        }
        if self.body.trim_ascii().is_empty() {
            return Err("with an empty body".to_owned());
        }
        Fields::read(self.body).ok_or_else(|| {
            let essence = self.content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
            let content_type = self.clean(essence, MAX_CODE).unwrap_or_else(|| "no content type".to_owned());
            format!("with something that is not a JSON object ({content_type})")
        })
    }

    fn token(&self, mut fields: Fields) -> Result<Token, SourceError> {
        let mut token = match self.access_token(&mut fields) {
            Ok(token) => token,
            Err(error) => return Err(self.with_renewed(error, &mut fields.refresh_token)),
        };
        if let Some(refresh_token) = &mut fields.refresh_token {
            token = token.with_refresh_token(mem::take(&mut **refresh_token));
        }
        if let Some(lifetime) = fields.expires_in {
            token = token.with_expires_in(lifetime);
        }
        if let Some(scope) = fields.scope.take() {
            token = token.with_scope(scope);
        }
        if let Some(time) = self.date.filter(|_| self.is_private).and_then(since_1970) {
            token = token.with_server_time(time);
        }
        Ok(token)
    }

    fn access_token(&self, fields: &mut Fields) -> Result<Token, SourceError> {
        // RFC 6749 §5.1 asks for a type, compared without case; servers that leave it out mean Bearer.
        let token_type = fields.token_type.as_deref().unwrap_or_default().trim_ascii();
        let is_named = |name: &str| token_type.eq_ignore_ascii_case(name);
        if !(token_type.is_empty() || is_named("bearer") || self.token_type.is_some_and(is_named)) {
            let token_type = self.clean_of(token_type, MAX_CODE, fields).unwrap_or_default();
            return Err(SourceError::misconfigured(format!(
                "the token endpoint issued a token of type {token_type:?}; if it is sent as a Bearer token all the same, \
                 say so by token_type"
            )));
        }
        match &mut fields.access_token {
            // Moved, not copied: what is left behind in the wiped field is empty.
            Some(access_token) => Token::new(mem::take(&mut **access_token)).map_err(|unfit| {
                SourceError::misconfigured(format!("the token endpoint's token cannot be sent: {unfit}"))
            }),
            None if fields.refresh_token.is_some() => {
                Err(SourceError::refused("the token endpoint answered with a refresh token and no access_token"))
            }
            None => Err(self.failure("with JSON that has no access_token")),
        }
    }

    /// A known code is passed on as it is: it is no secret, even if a secret is a part of it.
    fn code(&self, code: &str, fields: &Fields) -> Option<String> {
        if of_code(code).is_some() { Some(code.to_owned()) } else { self.clean_of(code, MAX_CODE, fields) }
    }

    /// An error with a code (RFC 6749 §5.2).
    fn refusal(&self, code: String, fields: &Fields) -> SourceError {
        let outcome = of_code(&code).unwrap_or_else(|| match self.status {
            // Some servers send their errors with 200; the code says that no token was issued.
            200..300 => Outcome::Refused,
            status => of_status(status),
        });
        let mut what = code.clone();
        let description = fields.error_description.as_deref();
        if let Some(description) = description.and_then(|text| self.clean_of(text, MAX_DESCRIPTION, fields)) {
            what.push_str(": ");
            what.push_str(&description);
        }
        // A code of the protocol's is an endpoint's; any other may be a router's, in JSON.
        let hint = if of_code(&code).is_some() { String::new() } else { self.hint() };
        self.error(outcome, &what, &hint).with_code(code)
    }

    /// Anything that is neither a token nor an error code.
    fn failure(&self, what: &str) -> SourceError {
        let outcome = if self.is_success() { Outcome::Unreadable } else { of_status(self.status) };
        let hint = match self.status {
            200..300 => self.hint_at_address(),
            _ => self.hint(),
        };
        let error = self.error(outcome, what, &hint);
        // A page, most likely a firewall's, is nobody's word on the grant.
        let is_page = self.body.trim_ascii_start().starts_with(b"<");
        if matches!(self.status, 400 | 401 | 403) && !is_page { error.without_reason() } else { error }
    }

    /// What to look at, where the status or the body tells.
    fn hint(&self) -> String {
        // nginx, Go and Apache.
        const WANT_TLS: [&[u8]; 3] = [b"to HTTPS port", b"to an HTTPS server", b"SSL-enabled server port"];
        let says = |text: &[u8]| holds(self.body, text);
        match self.status {
            404 | 405 | 410 => self.hint_at_address(),
            400 if WANT_TLS.into_iter().any(says) => ": begin the address with https://".to_owned(),
            _ => String::new(),
        }
    }

    fn hint_at_address(&self) -> String {
        format!(": is this the {} endpoint's address?", self.what)
    }

    fn error(&self, outcome: Outcome, what: &str, hint: &str) -> SourceError {
        let message = format!("the {} endpoint answered {} {what}{hint}", self.what, self.status);
        let error = SourceError::new(outcome, message);
        match self.pause() {
            Some(pause) if matches!(outcome, Outcome::Unavailable | Outcome::Refused) => error.with_retry_after(pause),
            _ => error,
        }
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// `Retry-After`: seconds, or a date, which is read against the answer's own `Date` (RFC 9110 §10.2.3). Our own clock
    /// may be wrong.
    pub(crate) fn pause(&self) -> Option<Duration> {
        let value = self.retry_after?.trim_ascii();
        if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
            // More digits than fit are still "long": the session has a limit of its own.
            return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
        }
        Some(since_1970(value)?.saturating_sub(since_1970(self.date?)?))
    }

    /// A text of the server's, fit for an error. None if nothing is left.
    pub(crate) fn clean(&self, text: &str, limit: usize) -> Option<String> {
        quote(text, limit, self.secrets)
    }

    /// The same for a text that stands beside tokens which have just been issued: not all of them look like tokens. (What is
    /// shorter than any token may be a part of a word.)
    fn clean_of(&self, text: &str, limit: usize, fields: &Fields) -> Option<String> {
        let mut secrets = self.secrets.to_vec();
        for token in [&fields.access_token, &fields.refresh_token].into_iter().flatten() {
            if token.len() >= 8 {
                secrets.push(token);
            }
        }
        quote(text, limit, &secrets)
    }
}

#[cfg(test)]
mod tests;
