//! What an answer means for a device login (RFC 8628 §3.5): pure, so that it can be fuzzed.
//!
//! | the answer | the login |
//! | --- | --- |
//! | a good token | is done |
//! | `authorization_pending` or `slow_down` as any text of the body, in any spelling | goes on, as fast as the server wants |
//! | a code of [`CODES`] in `error`, or else as any text of the body | ends, unless it is one that passes |
//! | a token that cannot be used | ends: the device code is spent |
//! | anything else, whatever the status | goes on, more slowly |
//!
//! RFC 8628 §3.5 has the client stop at any other error code. Here an unknown code is polled through until the device code
//! has expired: it may be a firewall's, a rate limit, or a server whose nodes do not all know a new device code yet.

use std::time::Duration;

use super::super::answer::Answer;
use super::super::texts::{any_text, find_code, has_words_of, with_message};
use crate::outcome::Outcome;
use crate::{Error, ErrorKind, SourceError, Token};

const CHECK_CLIENT: &str = "check the client's settings and its registration with the server";

/// What a code means for the login.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Meaning {
    Pending,
    SlowDown,
    /// It may be over at the next poll.
    Passing,
    Denied,
    Expired,
    /// The server refuses the client, or the request.
    Misconfigured,
    /// The server has issued a token, but one that cannot be used.
    Unusable,
}

/// Asking for the token again is right, so any spelling will do.
const POLLING: [(Meaning, &str); 2] = [(Meaning::Pending, "authorization_pending"), (Meaning::SlowDown, "slow_down")];

/// Letter by letter, as codes are compared: a gateway's "Access Denied" is not the user's.
///
/// RFC 6749 §5.2, RFC 8628 §3.5, RFC 8707 §2; and, in this order, Entra's `authorization_declined`; Amazon's, Entra's and
/// Ricoh's words for a device code that has expired; GitHub's and Google's for a client that may not do this. Codes for a
/// device code that the server does not know are not here: GitHub gives one for a code that is too new (cli/cli#9302).
const CODES: [(Meaning, &str); 4] = [
    (Meaning::Passing, "temporarily_unavailable server_error"),
    (Meaning::Denied, "access_denied authorization_declined"),
    (Meaning::Expired, "expired_token invalid_grant invalid_code_pair code_expired expired_device_code"),
    (
        Meaning::Misconfigured,
        "invalid_client unauthorized_client unsupported_grant_type invalid_scope invalid_request invalid_target \
         incorrect_client_credentials device_flow_disabled admin_policy_enforced org_internal",
    ),
];

/// An answer that brings neither a code nor a token, or what came in its place.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) meaning: Option<(Meaning, &'static str)>,
    /// `Retry-After`, whatever the status.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) error: SourceError,
}

/// The token, or what the answer says instead.
pub(crate) fn judge(answer: &Answer<'_>) -> Result<Token, Refusal> {
    answer.read().map_err(|error| {
        let mut refusal = Refusal::of(answer, error);
        let is_issued = |name: &str, text: &str| name == "access_token" && !text.is_empty();
        if refusal.meaning.is_none() && answer.is_success() && any_text(answer.body, &mut { is_issued }) {
            refusal.meaning = Some((Meaning::Unusable, ""));
        }
        refusal
    })
}

impl Refusal {
    /// An answer that `error` has been made of.
    pub(crate) fn of(answer: &Answer<'_>, error: SourceError) -> Self {
        let error = with_message(answer, error);
        Refusal { meaning: meaning(answer.body), retry_after: answer.pause(), error }
    }

    /// No answer.
    pub(crate) fn lost(error: SourceError) -> Self {
        Refusal { meaning: None, retry_after: error.retry_after(), error }
    }

    /// There is no code to show. Trying again only helps if the server has not refused the client.
    pub(crate) fn into_no_code(self) -> Error {
        let Refusal { meaning, retry_after, error } = self;
        let passes = match meaning {
            Some((Meaning::Pending | Meaning::SlowDown | Meaning::Passing, _)) => true,
            Some(_) => false,
            None => error.outcome() != Outcome::Misconfigured,
        };
        let (kind, retry_after, advice) = if passes {
            (
                ErrorKind::Unavailable,
                retry_after,
                error.cure().unwrap_or("there is no code to show for now: try again later"),
            )
        } else {
            (ErrorKind::Misconfigured, None, CHECK_CLIENT)
        };
        let code = error.code().or(meaning.map(|(_, code)| code)).map(str::to_owned);
        Error::refresh(kind, format!("{error} ({advice})"), code, retry_after, Some(Box::new(error)))
    }

    /// The end of the login, with the server's own words in the text.
    pub(crate) fn into_end(self, (meaning, code): (Meaning, &'static str)) -> Error {
        let error = &self.error;
        let (kind, message) = match meaning {
            Meaning::Misconfigured | Meaning::Unusable => {
                (ErrorKind::Misconfigured, format!("{error} ({CHECK_CLIENT})"))
            }
            _ => {
                let what = match (meaning, code) {
                    (Meaning::Denied, _) => "the login was denied by the user or by the server",
                    // Expired, or used already: the answer with the token may have been lost.
                    (_, "invalid_grant") => "the server no longer accepts the code",
                    _ => "the code expired before the login was confirmed",
                };
                (ErrorKind::Rejected, format!("{what}: start a new login (last answer: {error})"))
            }
        };
        let code = Some(code).filter(|code| !code.is_empty()).map(str::to_owned);
        Error::refresh(kind, message, code, None, Some(Box::new(self.error)))
    }
}

/// What the body's codes mean, with the code that says so.
fn meaning(body: &[u8]) -> Option<(Meaning, &'static str)> {
    let (mut polling, mut in_error, mut elsewhere) = (None, None, None);
    any_text(body, &mut |name, text| {
        polling = POLLING.into_iter().find(|(_, code)| has_words_of(text, code, ""));
        let place = if name == "error" { &mut in_error } else { &mut elsewhere };
        if place.is_none() {
            *place = CODES.into_iter().find_map(|(meaning, codes)| {
                find_code(codes, &mut |code| code == text.trim_ascii()).map(|code| (meaning, code))
            });
        }
        polling.is_some()
    });
    polling.or(in_error).or(elsewhere)
}
