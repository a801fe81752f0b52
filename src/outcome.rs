//! How an attempt to get a token fails, and what follows from it. The only place where that is decided; pure.

use std::time::Duration;

use crate::ErrorKind;

/// How an attempt to get a token failed.
///
/// Three questions are answered apart: what the caller hears (an [`ErrorKind`]), when the session tries again, and what
/// becomes of the stored token. The access token is a fourth matter, with one answer for all but a logout: it serves while
/// it lives, whatever a refresh met.
///
/// | outcome | the caller hears | tried again | the stored token |
/// | --- | --- | --- | --- |
/// | `Rejected`: a refusal of this grant with its own code | `Rejected` | never, until new credentials come | stays, marked as refused |
/// | `Refused`: a refusal without a code, or with one that nobody knows | `Unavailable` | with backoff | stays |
/// | `Misconfigured`: a refusal of the client, or of the address | `Misconfigured` | at the backoff's limit | stays |
/// | `Unreachable`: nothing was sent | `Unavailable` | in the refresh, then with backoff up to 30 s | stays |
/// | `Unavailable`: the server said "later" | `Unavailable` | in the refresh, then with backoff | stays |
/// | `Unknown`: sent, and no whole answer came | `Unknown` | once, in the refresh if there is time; never a third time | stays |
/// | `Unreadable`: a success came, and holds no token: somebody's page, nothing at all | `Unknown` | once in the refresh, then with backoff | stays |
/// | `Unknown`, but the refresh token did not change with the last two refreshes | `Unavailable` | as `Unavailable` | stays |
/// | `NotLoggedIn`: nothing to ask with | `NotLoggedIn` | never, until new credentials come | stays |
/// | `LoggedOut`: another process has emptied the store | `LoggedOut` | never, until new credentials come | is gone |
/// | `Store`: the store is in the way | `Store` | with backoff up to 30 s; after the first pause each time, once the token has expired | stays |
/// | `Reentrant`: the source asked its own session | `Reentrant` | at the next call | stays |
///
/// A pause after a refresh *ahead of time* (the token is stale, not expired) ends when the token expires, unless the server
/// itself named it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The authorization server refused this grant, with a code that means it (`invalid_grant`, RFC 6749 §5.2). Final.
    Rejected,
    /// Somebody refused without saying why, or with a code that is unknown here: a firewall's page, an empty 403, a rate
    /// limit. Who answers may not be the authorization server. Tried again with backoff.
    Refused,
    /// The authorization server refuses the client (`invalid_client`), or what answers is no token endpoint (a redirect,
    /// a 404). Tried again at the backoff's limit.
    Misconfigured,
    /// Nothing was sent: the server could not be reached. Tried again soon.
    Unreachable,
    /// The server said "later" (429, 5xx). Tried again with backoff.
    Unavailable,
    /// The request went out, and no whole answer came back: a rotating refresh token may be spent. Tried once more.
    Unknown,
    /// A success came, whole, and holds no token: a page of somebody between here and the server, an empty body. The refresh
    /// token may be spent all the same. Tried again.
    Unreadable,
    /// There is nothing to ask with: nobody has logged in.
    NotLoggedIn,
    /// Another process has logged out: the store was emptied.
    LoggedOut,
    /// The token store is in the way. Nothing was sent. Tried again soon.
    Store,
    /// The source asked the session that was waiting for it.
    Reentrant,
}

/// When a session tries again after a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Retry {
    /// After a pause that doubles with each failure.
    Backoff,
    /// The same, with a lower limit: nobody was bothered by the attempt.
    ShortBackoff,
    /// After the longest pause.
    AtLimit,
    /// Once more.
    Once,
    /// With the next call.
    AtOnce,
    /// Not until new credentials come.
    Never,
}

impl Outcome {
    /// What the caller hears.
    pub(crate) fn kind(self) -> ErrorKind {
        match self {
            Outcome::Rejected => ErrorKind::Rejected,
            Outcome::Misconfigured => ErrorKind::Misconfigured,
            Outcome::Refused | Outcome::Unreachable | Outcome::Unavailable => ErrorKind::Unavailable,
            Outcome::Unknown | Outcome::Unreadable => ErrorKind::Unknown,
            Outcome::NotLoggedIn => ErrorKind::NotLoggedIn,
            Outcome::LoggedOut => ErrorKind::LoggedOut,
            Outcome::Store => ErrorKind::Store,
            Outcome::Reentrant => ErrorKind::Reentrant,
        }
    }

    /// When the session tries again.
    pub(crate) fn retry(self) -> Retry {
        match self {
            Outcome::Rejected | Outcome::NotLoggedIn | Outcome::LoggedOut => Retry::Never,
            Outcome::Refused | Outcome::Unavailable | Outcome::Unreadable => Retry::Backoff,
            Outcome::Unreachable | Outcome::Store => Retry::ShortBackoff,
            Outcome::Misconfigured => Retry::AtLimit,
            Outcome::Unknown => Retry::Once,
            Outcome::Reentrant => Retry::AtOnce,
        }
    }

    /// Is the attempt repeated within its flight, while callers wait?
    pub(crate) fn is_repeated(self) -> bool {
        matches!(self, Outcome::Unreachable | Outcome::Unavailable) || self.may_be_spent()
    }

    /// May the server have spent the refresh token? Then it is sent a second time only, within a flight, and after a look
    /// whether somebody else has had more luck.
    pub(crate) fn may_be_spent(self) -> bool {
        matches!(self, Outcome::Unknown | Outcome::Unreadable)
    }

    /// Is the stored token marked as refused? It is never removed for what a server has said.
    pub(crate) fn marks_stored(self) -> bool {
        self == Outcome::Rejected
    }

    /// Is the access token dead with it, though its life is not over? A server's refusal of the *refresh* token is no word on
    /// that; a logout is.
    pub(crate) fn ends_access(self) -> bool {
        self == Outcome::LoggedOut
    }

    /// Did the server ask for patience, so that not even [`Session::retry_now`](crate::Session::retry_now) may end the
    /// pause?
    pub(crate) fn is_later(self, retry_after: Option<Duration>) -> bool {
        self == Outcome::Unavailable || retry_after.is_some()
    }
}

/// What an `error` code says, whatever the status; `None` if it is not known here.
///
/// Where they come from: RFC 6749 §5.2, RFC 8628 §3.5, RFC 8707 §2, OpenID Connect Core §3.1.2.6; and what means the same
/// elsewhere: `bad_refresh_token` and `incorrect_client_credentials` (GitHub), `invalid_refresh_token`, `token_revoked`,
/// `bad_client_secret` and `invalid_client_id` (Slack), `invalid_token` (Spring, UAA), `expired_token`. `access_denied` is a user's refusal in a login, and
/// in a refresh what servers say of limits: no verdict.
#[cfg(feature = "ureq")]
pub(crate) fn of_code(code: &str) -> Option<Outcome> {
    const CODES: [(Outcome, &str); 3] = [
        (
            Outcome::Rejected,
            "invalid_grant invalid_token bad_refresh_token invalid_refresh_token token_revoked expired_token \
             login_required interaction_required consent_required",
        ),
        (
            Outcome::Misconfigured,
            "invalid_client unauthorized_client unsupported_grant_type invalid_scope invalid_request invalid_target \
             incorrect_client_credentials bad_client_secret invalid_client_id",
        ),
        (Outcome::Unavailable, "temporarily_unavailable server_error slow_down authorization_pending"),
    ];
    let (outcome, _) = CODES.into_iter().find(|(_, codes)| codes.split(' ').any(|listed| listed == code))?;
    Some(outcome)
}

/// What an error status says by itself.
#[cfg(feature = "ureq")]
pub(crate) fn of_status(status: u16) -> Outcome {
    match status {
        400 | 403 => Outcome::Refused,
        408 | 425 | 429 | 500.. => Outcome::Unavailable,
        _ => Outcome::Misconfigured,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table at the top, read as a test: a row says of its outcome what the functions say.
    #[test]
    fn the_table_is_what_the_functions_say() {
        let outcomes = [
            Outcome::Rejected,
            Outcome::Refused,
            Outcome::Misconfigured,
            Outcome::Unreachable,
            Outcome::Unavailable,
            Outcome::Unknown,
            Outcome::Unreadable,
            Outcome::NotLoggedIn,
            Outcome::LoggedOut,
            Outcome::Store,
            Outcome::Reentrant,
        ];
        let rows: Vec<Vec<&str>> = include_str!("outcome.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("/// | `"))
            .map(|row| row.split(" | ").collect())
            .collect();
        assert_eq!(rows.len(), outcomes.len() + 1, "the special case of Unknown is the one more");
        for outcome in outcomes {
            let name = format!("{outcome:?}`");
            let row = rows.iter().find(|row| row[0].starts_with(&name)).expect(&name);
            assert_eq!(row[1], format!("`{:?}`", outcome.kind()), "{outcome:?}");
            let retry = match outcome.retry() {
                Retry::Backoff => "with backoff",
                Retry::ShortBackoff => "with backoff up to 30 s",
                Retry::AtLimit => "at the backoff's limit",
                Retry::Once => "once",
                Retry::AtOnce => "at the next call",
                Retry::Never => "never, until new credentials come",
            };
            assert!(row[2].contains(retry), "{outcome:?}: {}", row[2]);
            assert_eq!(row[2].contains("in the refresh"), outcome.is_repeated(), "{outcome:?}");
            let stored = match (outcome.marks_stored(), outcome.ends_access()) {
                (true, _) => "stays, marked as refused |",
                (_, true) => "is gone |",
                _ => "stays |",
            };
            assert_eq!(row[3], stored, "{outcome:?}");
        }
    }
}
