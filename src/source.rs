//! Where a new token comes from, and the three ways in which that can end.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::clock::Seconds;
use crate::{Error, ErrorKind, Result, Token};

/// Where a new token comes from.
///
/// Any closure `Fn(Option<&Token>) -> Result<Token, SourceError>` is one; the grants in `oauth2` are others. It is called
/// by one thread at a time, with no lock held, and may block, fail and panic as it likes: the session sorts it out. Only a
/// call that [`Session::set`](crate::Session::set) or [`end`](crate::Session::end) has overtaken may still be on its way
/// when the next one comes, with other credentials.
///
/// It must not call the API through the session that it serves; the session answers that with
/// [`ErrorKind::Reentrant`] instead of a deadlock.
pub trait TokenSource: Send + Sync {
    /// Gets a new token. The session's clock for its life starts *before* this call.
    ///
    /// # Errors
    ///
    /// The three outcomes are told apart by [`SourceError`]'s constructors, and what the session does next depends on it.
    fn fetch(&self, request: Fetch<'_>) -> Result<Token, SourceError>;

    /// Is the source fit for use? Asked once, when a session is built on it, so that a bad address is an error there
    /// and not at the first call.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`], with what to change.
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// What a [`TokenSource`] is told.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Fetch<'a> {
    /// The token to be replaced: its refresh token is the one to use. `None` for the first one.
    pub previous: Option<&'a Token>,
    /// What is left of the flight's budget: nobody waits for an answer that takes longer.
    pub time_left: Duration,
}

impl<F> TokenSource for F
where
    F: Fn(Option<&Token>) -> Result<Token, SourceError> + Send + Sync,
{
    fn fetch(&self, request: Fetch<'_>) -> Result<Token, SourceError> {
        self(request.previous)
    }
}

/// How an attempt to get a token failed, said in the way that decides what may be done next.
///
/// `?` on a `ureq::Error` inside a source does the right thing: a refused connection is
/// [`unavailable`](SourceError::unavailable), a lost answer [`unknown`](SourceError::unknown).
pub struct SourceError(Box<Inner>);

struct Inner {
    outcome: Outcome,
    message: String,
    code: Option<String>,
    retry_after: Option<Duration>,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

/// The ways in which an attempt can fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    NotLoggedIn,
    Rejected,
    Misconfigured,
    Unavailable,
    Unknown,
    Reentrant,
    /// The store is in the way; the source was not asked.
    Store,
    /// The store was emptied by another process.
    LoggedOut,
}

impl SourceError {
    /// The server answered *no, for good*: the refresh token is dead, the user is unknown. The session ends; every
    /// caller gets this at once, without further traffic, until new credentials come.
    #[must_use]
    pub fn rejected(message: impl Into<String>) -> Self {
        Self::new(Outcome::Rejected, message)
    }

    /// There is nothing to ask with: nobody has logged in yet. Every caller gets this at once
    /// ([`ErrorKind::NotLoggedIn`]), until [`Session::set`](crate::Session::set); a token that still lives stays in use.
    #[must_use]
    pub fn not_logged_in(message: impl Into<String>) -> Self {
        Self::new(Outcome::NotLoggedIn, message)
    }

    /// The server refuses the *client* (wrong secret, grant not allowed). As final as [`rejected`](Self::rejected), but
    /// a new login would not help, and a token that still lives stays in use.
    #[must_use]
    pub fn misconfigured(message: impl Into<String>) -> Self {
        Self::new(Outcome::Misconfigured, message)
    }

    /// Nothing was sent, or the server said *later*. May be repeated, with pauses.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Outcome::Unavailable, message)
    }

    /// The request went out and no whole answer came back. A refresh token that rotates may be spent: a second use
    /// can cost the user the login (RFC 9700 §4.14.2), so this is not repeated blindly. A source for which a repeat is
    /// harmless should say [`unavailable`](Self::unavailable) instead.
    #[must_use]
    pub fn unknown(message: impl Into<String>) -> Self {
        Self::new(Outcome::Unknown, message)
    }

    /// Adds the server's `error` code (RFC 6749 §5.2).
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.0.code = Some(code.into());
        self
    }

    /// Adds the pause that the server asked for (`Retry-After`, RFC 9110 §10.2.3).
    #[must_use]
    pub fn with_retry_after(mut self, pause: Duration) -> Self {
        self.0.retry_after = Some(pause);
        self
    }

    /// Adds the error behind this one. It is shown in `Debug` and by [`std::error::Error::source`], so it must not
    /// contain a secret.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Where a repeat can do no harm, what is not known is merely not there yet.
    #[cfg(feature = "ureq")]
    pub(crate) fn repeatable(mut self) -> Self {
        if self.0.outcome == Outcome::Unknown {
            self.0.outcome = Outcome::Unavailable;
        }
        self
    }

    pub(crate) fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        let message = message.into();
        SourceError(Box::new(Inner { outcome, message, code: None, retry_after: None, cause: None }))
    }

    pub(crate) fn reentrant() -> Self {
        Self::new(Outcome::Reentrant, "the session is waiting for this very call")
    }

    /// What stands in the way of a refresh before the source is asked.
    pub(crate) fn of_store(error: Error) -> Self {
        let outcome = match error.kind() {
            ErrorKind::Timeout | ErrorKind::Unavailable => Outcome::Unavailable,
            _ => Outcome::Store,
        };
        Self::new(outcome, error.to_string()).with_cause(error)
    }

    pub(crate) fn logged_out() -> Self {
        Self::new(Outcome::LoggedOut, "the token store is empty: another process has logged out, or removed the token")
    }

    pub(crate) fn outcome(&self) -> Outcome {
        self.0.outcome
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    #[cfg(feature = "ureq")]
    pub(crate) fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// The error that callers see. `next_attempt` is how long the session will not try again.
    pub(crate) fn into_error(self, next_attempt: Option<Duration>) -> Error {
        let Inner { outcome, message, code, cause, .. } = *self.0;
        let (kind, advice) = match outcome {
            Outcome::NotLoggedIn => (ErrorKind::NotLoggedIn, "log in, then set the session's token"),
            Outcome::Rejected => (ErrorKind::Rejected, "the session has ended: log in again"),
            Outcome::Misconfigured => {
                (ErrorKind::Misconfigured, "check the client's settings and its registration with the server")
            }
            Outcome::Unavailable => (ErrorKind::Unavailable, "no token for now: try again later"),
            Outcome::Unknown => (
                ErrorKind::Unknown,
                match next_attempt {
                    Some(_) => "the refresh token may be spent: it is tried once more after a pause",
                    None => "the refresh token may be spent, and a second attempt ended alike: log in again",
                },
            ),
            Outcome::Reentrant => (
                ErrorKind::Reentrant,
                "a token source must not use the session that waits for it: give it its own agent",
            ),
            Outcome::Store => (ErrorKind::Store, "the refresh token was not sent and is not, before that is cured"),
            Outcome::LoggedOut => (ErrorKind::LoggedOut, "log in again"),
        };
        let message = format!("{message} ({advice})");
        Error::refresh(kind, message, code, next_attempt, cause)
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceError")
            .field("outcome", &self.0.outcome)
            .field("message", &self.0.message)
            .field("code", &self.0.code)
            .field("retry_after", &self.0.retry_after.map(Seconds))
            .field("cause", &self.0.cause)
            .finish()
    }
}

impl StdError for SourceError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as _)
    }
}

/// What this crate refuses in a source is either the source asking its own session, or a token that is none: then the
/// answer came but was of no use, and the refresh token may be spent.
impl From<Error> for SourceError {
    fn from(error: Error) -> Self {
        let outcome = match error.kind() {
            ErrorKind::Reentrant => Outcome::Reentrant,
            ErrorKind::Misconfigured => Outcome::Misconfigured,
            ErrorKind::Unavailable | ErrorKind::Timeout => Outcome::Unavailable,
            ErrorKind::NotLoggedIn => Outcome::NotLoggedIn,
            ErrorKind::Rejected | ErrorKind::LoggedOut => Outcome::Rejected,
            ErrorKind::Store => Outcome::Store,
            _ => Outcome::Unknown,
        };
        Self::new(outcome, error.to_string()).with_cause(error)
    }
}

/// An answer that cannot be read is no answer.
impl From<serde_json::Error> for SourceError {
    fn from(error: serde_json::Error) -> Self {
        // Line and column only: serde_json may quote the text it stumbled over, and that text holds tokens.
        Self::unknown(format!("the answer is not the JSON expected (line {}, column {})", error.line(), error.column()))
    }
}

#[cfg(feature = "ureq")]
impl From<ureq::Error> for SourceError {
    fn from(error: ureq::Error) -> Self {
        if let Some(own) = Error::in_ureq(&error) {
            return own.clone().into();
        }
        let outcome = match &error {
            ureq::Error::StatusCode(408 | 425 | 429 | 500..) => Outcome::Unavailable,
            ureq::Error::StatusCode(400 | 401 | 403) => Outcome::Rejected,
            ureq::Error::StatusCode(_) => Outcome::Misconfigured,
            error if never_sent(error) => Outcome::Unavailable,
            error if never_sendable(error) => Outcome::Misconfigured,
            _ => Outcome::Unknown,
        };
        // ureq's own JSON error may quote what it read; the others tell of addresses, sizes and states.
        #[cfg(feature = "json")]
        if let ureq::Error::Json(error) = error {
            return error.into();
        }
        Self::new(outcome, format!("the request failed: {error}")).with_cause(error)
    }
}

/// Did the request fail before a byte of it was sent? Then the refresh token is as good as before.
#[cfg(feature = "ureq")]
fn never_sent(error: &ureq::Error) -> bool {
    use std::io::ErrorKind as Io;
    use ureq::Timeout;

    match error {
        ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::ConnectProxyFailed(_)
        | ureq::Error::Tls(_)
        | ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => true,
        ureq::Error::Io(io) if refused_certificate(io) => true,
        // These come from connect(2) alone. A reset or a broken pipe may come after the server has read the request.
        ureq::Error::Io(io) => matches!(
            io.kind(),
            Io::ConnectionRefused
                | Io::AddrNotAvailable
                | Io::HostUnreachable
                | Io::NetworkUnreachable
                | Io::NetworkDown
        ),
        _ => false,
    }
}

/// Did the TLS handshake fail on the server's certificate? That is what a clock in 1970 looks like.
#[cfg(any(feature = "rustls", feature = "rustls-no-provider"))]
fn refused_certificate(io: &std::io::Error) -> bool {
    // Not AlertReceived: with TLS 1.3 the server's alert may come when the request is already out.
    let cause = io.get_ref().and_then(|cause| cause.downcast_ref());
    matches!(cause, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::PeerIncompatible(_)))
}

#[cfg(all(feature = "ureq", not(any(feature = "rustls", feature = "rustls-no-provider"))))]
fn refused_certificate(_: &std::io::Error) -> bool {
    false
}

/// Is the request of a kind that can never be sent? Then a repeat is of no use.
#[cfg(feature = "ureq")]
fn never_sendable(error: &ureq::Error) -> bool {
    matches!(
        error,
        ureq::Error::BadUri(_)
            | ureq::Error::Http(_)
            | ureq::Error::InvalidProxyUrl
            | ureq::Error::RequireHttpsOnly(_)
            | ureq::Error::TlsRequired
    )
}
