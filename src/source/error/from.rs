//! What other errors mean inside a source. Those of ureq's are in `source/from_ureq.rs`.

use std::io;

use super::SourceError;
use crate::error::Login;
use crate::{Error, ErrorKind, Outcome};

/// A connection of the source's own that broke off, or was never there: an error of connect(2) says that nothing was sent.
impl From<io::Error> for SourceError {
    fn from(error: io::Error) -> Self {
        let never_sent = matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused
                | io::ErrorKind::AddrNotAvailable
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::NetworkDown
        );
        let outcome = if never_sent { Outcome::Unreachable } else { Outcome::Unknown };
        Self::new(outcome, format!("the request failed: {error}")).with_cause(error)
    }
}

/// What this crate refuses in a source: the source asking its own session; a value that cannot be a token, such as a page that was read
/// as one; or what the source asks another session or client of this crate. Where a login is what that one needs, the caller
/// hears it, but this session has not ended: the source is asked again, and may be told that somebody has logged in there.
impl From<Error> for SourceError {
    fn from(error: Error) -> Self {
        let outcome = match error.kind() {
            ErrorKind::Reentrant => Outcome::Reentrant,
            ErrorKind::Misconfigured | ErrorKind::NotInitialized | ErrorKind::AlreadyInitialized => {
                Outcome::Misconfigured
            }
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::NotReplayed => Outcome::Unavailable,
            ErrorKind::RefusedTooOften => Outcome::Refused,
            // The end of another session: no server has refused what this one has.
            ErrorKind::NotLoggedIn | ErrorKind::LoggedOut | ErrorKind::Rejected => Outcome::Refused,
            ErrorKind::Unknown if error.is_login_required() => Outcome::Refused,
            ErrorKind::Store => Outcome::Store,
            ErrorKind::InvalidInput => Outcome::Unreadable,
            ErrorKind::Unknown => Outcome::Unknown,
        };
        let mut own = Self::new(outcome, error.to_string());
        (own.0.code, own.0.retry_after) = (error.code().map(str::to_owned), error.retry_after());
        if error.is_login_required() {
            (own.0.heard, own.0.login) = (Some(error.kind()), Login::Required);
        }
        own.with_cause(error)
    }
}

impl From<serde_json::Error> for SourceError {
    fn from(error: serde_json::Error) -> Self {
        // Line and column only: serde_json may quote the text it stumbled over, and that text holds tokens.
        Self::unreadable(format!(
            "the answer is not the JSON expected (line {}, column {})",
            error.line(),
            error.column()
        ))
    }
}
