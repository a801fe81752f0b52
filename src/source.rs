//! Where a new token comes from, and what a source says when it has none.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::clock::Seconds;
use crate::error::Login;
#[cfg(feature = "ureq")]
use crate::outcome;
use crate::store::Refusal;
use crate::token::Secret;
use crate::{Error, ErrorKind, Outcome, Result, Token};

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
    /// The outcomes are told apart by [`SourceError`]'s constructors, and what the session does next depends on it.
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

    /// Whose tokens these are: the client's name and the token endpoint, as a text without a secret. A token that was stored
    /// for another owner is not used, and not overwritten. `None`: this source does not tell, and any token will do.
    fn owner(&self) -> Option<String> {
        None
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
/// [`unreachable`](SourceError::unreachable), a lost answer [`unknown`](SourceError::unknown), a status 408, 425, 429 or 5xx
/// [`unavailable`](SourceError::unavailable), 400, 401 and 403 [`refused`](SourceError::refused), any other error status
/// [`misconfigured`](SourceError::misconfigured). ureq's status error has no headers and no body: a source that knows its
/// server's codes, or wants its `Retry-After`, reads the answer (`http_status_as_error(false)`), and says
/// [`rejected`](SourceError::rejected) where a login is the only way out.
pub struct SourceError(Box<Inner>);

struct Inner {
    outcome: Outcome,
    message: String,
    code: Option<String>,
    retry_after: Option<Duration>,
    /// A refresh token that came with an answer which is refused all the same.
    renewed: Option<Secret>,
    login: Login,
    /// Refused by somebody who may well be the authorization server, and named no reason.
    #[cfg(feature = "ureq")]
    has_no_reason: bool,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl SourceError {
    /// The server answered *no, for good*: the refresh token is dead, the user is unknown. Nothing more is sent until new
    /// credentials come. The access token serves while it lives; after that every caller gets this at once.
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

    /// Somebody refused, and it is not known why, or whether it was the authorization server at all. Tried again with
    /// backoff.
    #[must_use]
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Outcome::Refused, message)
    }

    /// The server refuses the *client* (wrong secret, grant not allowed). A new login would not help; the session tries
    /// again at the backoff's limit.
    #[must_use]
    pub fn misconfigured(message: impl Into<String>) -> Self {
        Self::new(Outcome::Misconfigured, message)
    }

    /// Nothing was sent: no server was reached. As [`unavailable`](Self::unavailable), with shorter pauses.
    #[must_use]
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::new(Outcome::Unreachable, message)
    }

    /// The server said *later*. May be repeated, with pauses.
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

    /// An answer came that ought to hold a token, and does not: a page of somebody on the way. As
    /// [`unknown`](Self::unknown), but it is tried again until the server says something.
    #[must_use]
    pub fn unreadable(message: impl Into<String>) -> Self {
        Self::new(Outcome::Unreadable, message)
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

    /// Adds the new refresh token that came with an answer which is of no use otherwise: the server has spent the old one.
    /// The session keeps it, stores it, and uses it next.
    #[must_use]
    pub fn with_new_refresh_token(mut self, refresh_token: impl Into<String>) -> Self {
        let refresh_token = refresh_token.into();
        if refresh_token.is_empty() {
            return self;
        }
        if self.0.outcome == Outcome::Rejected || self.0.outcome.may_be_spent() {
            // What was refused, or may be spent, is the old one.
            self.0.outcome = Outcome::Refused;
        }
        self.0.renewed = Some(Secret::new(refresh_token));
        self
    }

    /// How the attempt failed: what decides what the session does next.
    pub fn outcome(&self) -> Outcome {
        self.0.outcome
    }

    /// The server's `error` code (RFC 6749 §5.2), such as `invalid_grant`.
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// The pause that the server asked for (`Retry-After`, RFC 9110 §10.2.3).
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Where a repeat can do no harm, what is not known is merely not there yet.
    pub(crate) fn repeatable(mut self) -> Self {
        if self.0.outcome.may_be_spent() {
            self.0.outcome = Outcome::Unavailable;
        }
        self
    }

    /// Where no user is concerned, *no* means the client: a new login would not help.
    #[cfg(feature = "ureq")]
    pub(crate) fn not_of_the_user(mut self) -> Self {
        if self.0.outcome == Outcome::Rejected {
            self.0.outcome = Outcome::Misconfigured;
        }
        self
    }

    /// Where not even the request's first byte has left, nobody was reached.
    #[cfg(feature = "ureq")]
    pub(crate) fn not_sent(mut self) -> Self {
        if self.0.outcome == Outcome::Unknown {
            self.0.outcome = Outcome::Unreachable;
        }
        self
    }

    /// The grant has worked before: then a refusal that names no reason of the client's may mean the login.
    #[cfg(feature = "ureq")]
    pub(crate) fn of_a_grant_that_worked(mut self) -> Self {
        let is_vague = match self.0.code.as_deref() {
            Some(code) => matches!(code, "unauthorized_client" | "invalid_request"),
            None => self.0.has_no_reason,
        };
        if is_vague && matches!(self.0.outcome, Outcome::Refused | Outcome::Misconfigured) {
            self.0.login = Login::MayHelp;
        }
        self
    }

    /// A refusal that names no reason, by somebody who may well be the authorization server.
    #[cfg(feature = "ureq")]
    pub(crate) fn without_reason(mut self) -> Self {
        self.0.has_no_reason = true;
        self
    }

    pub(crate) fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        let (message, login) = (message.into(), Login::No);
        SourceError(Box::new(Inner {
            outcome,
            message,
            code: None,
            retry_after: None,
            renewed: None,
            login,
            #[cfg(feature = "ureq")]
            has_no_reason: false,
            cause: None,
        }))
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

    /// What another process was told, and wrote beside the token.
    pub(crate) fn refused_before(refusal: &Refusal) -> Self {
        let mut error = Self::new(Outcome::Rejected, &*refusal.message);
        error.0.code.clone_from(&refusal.code);
        error
    }

    pub(crate) fn logged_out() -> Self {
        Self::new(Outcome::LoggedOut, "the token store is empty: another process has logged out, or removed the token")
    }

    /// The new refresh token that came with it, once.
    pub(crate) fn take_renewed(&mut self) -> Option<Secret> {
        self.0.renewed.take()
    }

    /// What of it another process is to hear as well.
    pub(crate) fn refusal(&self) -> Refusal {
        Refusal { message: self.0.message.clone(), code: self.0.code.clone() }
    }

    /// Says where the refused token is.
    pub(crate) fn kept_in(mut self, place: &str) -> Self {
        self.0.message.push_str("; the refused token is kept in ");
        self.0.message.push_str(place);
        self
    }

    /// The error that callers see. `next_attempt` is how long the session will not try again; `None` if it will not at all.
    pub(crate) fn into_error(self, next_attempt: Option<Duration>) -> Error {
        let Inner { outcome, message, code, cause, login, .. } = *self.0;
        let login = match (outcome, next_attempt) {
            (Outcome::Rejected | Outcome::LoggedOut | Outcome::NotLoggedIn, _) | (Outcome::Unknown, None) => {
                Login::Required
            }
            (Outcome::Unreadable, _) => Login::MayHelp,
            _ => login,
        };
        let advice = match outcome {
            Outcome::NotLoggedIn => "log in, then set the session's token",
            Outcome::Rejected | Outcome::LoggedOut => "log in again",
            Outcome::Refused if login == Login::MayHelp => {
                "no reason was given: it is tried again after a pause; if this stays so, log in again"
            }
            Outcome::Refused => "this is no verdict of the authorization server on the login: try again later",
            Outcome::Misconfigured if login == Login::MayHelp => {
                "it worked before: check the client's registration with the server, or log in again"
            }
            Outcome::Misconfigured => "check the client's settings and its registration with the server",
            Outcome::Unreachable | Outcome::Unavailable => "no token for now: try again later",
            Outcome::Unknown if login == Login::Required => {
                "the refresh token may be spent, and a second attempt failed the same way: log in again"
            }
            Outcome::Unknown => "the refresh token may be spent: it is tried once more after a pause",
            Outcome::Unreadable => "the refresh token may be spent: it is tried again after a pause",
            Outcome::Reentrant => "a token source must not use the session that waits for it: give it its own agent",
            Outcome::Store => "no token request is made until this is fixed",
        };
        let message = format!("{message} ({advice})");
        Error::refresh(outcome.kind(), message, code, next_attempt, cause).with_login(login)
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
            .field("renewed", &self.0.renewed)
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
        let mut own = Self::new(outcome, error.to_string());
        (own.0.code, own.0.retry_after) = (error.code().map(str::to_owned), error.retry_after());
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

#[cfg(feature = "ureq")]
impl From<ureq::Error> for SourceError {
    fn from(error: ureq::Error) -> Self {
        if let Some(own) = Error::in_ureq(&error) {
            return own.clone().into();
        }
        let outcome = match &error {
            // Without a body, nothing tells the client from the login.
            ureq::Error::StatusCode(401) => Outcome::Refused,
            ureq::Error::StatusCode(status) => outcome::of_status(*status),
            error if never_sent(error) => Outcome::Unreachable,
            error if never_sendable(error) => Outcome::Misconfigured,
            _ => Outcome::Unknown,
        };
        // ureq's own JSON error may quote what it read; the others tell of addresses, sizes and states.
        #[cfg(feature = "json")]
        if let ureq::Error::Json(error) = error {
            return error.into();
        }
        let mut own = Self::new(outcome, format!("the request failed: {error}"));
        if matches!(error, ureq::Error::StatusCode(400 | 401 | 403)) {
            own.0.login = Login::MayHelp;
        }
        own.with_cause(error)
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
