//! What a source says when it has no token.

mod from;

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::clock::Seconds;
use crate::error::{Login, not_said};
use crate::store::Refusal;
use crate::token::Secret;
use crate::{Error, ErrorKind, Outcome};

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
    /// What the caller hears, if that is not what the outcome says.
    heard: Option<ErrorKind>,
    /// Refused by somebody who may well be the authorization server, and named no reason.
    #[cfg(feature = "ureq")]
    has_no_reason: bool,
    /// What to do about it, where the outcome's advice would not help.
    cure: Option<&'static str>,
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

    /// Adds the error behind this one. It is shown in `Debug`, and by [`std::error::Error::source`] unless this one's text
    /// has its text already. So it must not contain a secret.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Adds the new refresh token that came with an otherwise unusable answer: the server has spent the old one.
    /// The session keeps it, stores it, and uses it next.
    #[must_use]
    pub fn with_new_refresh_token(mut self, refresh_token: impl Into<String>) -> Self {
        let refresh_token = refresh_token.into();
        if refresh_token.is_empty() {
            return self;
        }
        self.0.outcome = match self.0.outcome {
            // What was refused is the old one.
            Outcome::Rejected => Outcome::Refused,
            // What may be spent is the old one: the new one is good for another attempt at once.
            outcome if outcome.may_be_spent() => Outcome::Unavailable,
            outcome => outcome,
        };
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

    /// Where no user is concerned, *no* means the client: a new login would not help, and there is nothing to be renewed.
    #[cfg(feature = "ureq")]
    pub(crate) fn not_of_the_user(mut self) -> Self {
        self.0.renewed = None;
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

    #[cfg(feature = "ureq")]
    pub(super) fn set_login(&mut self, login: Login) {
        self.0.login = login;
    }

    /// A refusal that names no reason, by somebody who may well be the authorization server.
    #[cfg(feature = "ureq")]
    pub(crate) fn without_reason(mut self) -> Self {
        self.0.has_no_reason = true;
        self
    }

    /// What to do about it, where waiting would not help.
    #[cfg(feature = "ureq")]
    pub(crate) fn cure(&self) -> Option<&'static str> {
        self.0.cure
    }

    #[cfg(feature = "ureq")]
    pub(super) fn with_cure(mut self, cure: Option<&'static str>) -> Self {
        self.0.cure = cure;
        self
    }

    pub(crate) fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        Self::with_text(outcome, message.into())
    }

    /// Once for all kinds of text.
    #[inline(never)]
    fn with_text(outcome: Outcome, message: String) -> Self {
        SourceError(Box::new(Inner {
            outcome,
            message,
            code: None,
            retry_after: None,
            renewed: None,
            login: Login::No,
            heard: None,
            #[cfg(feature = "ureq")]
            has_no_reason: false,
            cure: None,
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

    /// The new refresh token that came with it.
    #[cfg(feature = "ureq")]
    pub(crate) fn renewed(&self) -> Option<&str> {
        self.0.renewed.as_ref().map(Secret::secret)
    }

    /// The same, once.
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
        let Inner { outcome, mut message, code, cause, login, heard, cure, .. } = *self.0;
        let login = match (outcome, next_attempt) {
            (Outcome::Rejected | Outcome::LoggedOut | Outcome::NotLoggedIn, _) | (Outcome::Unknown, None) => {
                Login::Required
            }
            (Outcome::Unreadable, _) => Login::MayHelp,
            _ => login,
        };
        let advice = match outcome {
            Outcome::NotLoggedIn => "log in",
            Outcome::Rejected | Outcome::LoggedOut => "log in again",
            Outcome::Refused if login == Login::MayHelp => {
                "no reason was given: it is tried again after a pause; if this stays so, log in again"
            }
            Outcome::Refused if login == Login::Required => "it is tried again after a pause",
            Outcome::Refused => "no reason to give the login up: it is tried again after a pause",
            Outcome::Misconfigured if login == Login::MayHelp => {
                "it worked before: check the client's registration, or log in again; it is tried again"
            }
            Outcome::Misconfigured => "check the client's settings and its registration with the server",
            Outcome::Unreachable | Outcome::Unavailable => cure.unwrap_or("no token for now: try again later"),
            Outcome::Unknown if login == Login::Required => {
                "the refresh token may be spent, and a second attempt failed the same way: log in again"
            }
            Outcome::Unknown => "the refresh token may be spent: it is tried once more after a pause",
            Outcome::Unreadable => {
                "the refresh token may be spent: it is tried again after a pause; if this stays so, log in again"
            }
            Outcome::Reentrant => "a token source must not use the session that waits for it: give it its own agent",
            Outcome::Store => "no token request is made until this is fixed",
        };
        // An error of this crate's that has come through a source has been advised on already.
        if !message.strip_suffix(')').is_some_and(|message| message.ends_with(advice)) {
            for text in [" (", advice, ")"] {
                message.push_str(text);
            }
        }
        Error::refresh(heard.unwrap_or(outcome.kind()), message, code, next_attempt, cause).with_login(login)
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
    /// The first cause whose text this error's own does not have already.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        not_said(&self.0.message, self.0.cause.as_deref().map(|cause| cause as _))
    }
}
