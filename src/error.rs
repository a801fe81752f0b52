//! One error for the whole crate: cheap to clone, so that one failed flight answers all who waited on it.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Seconds;

/// Why there is no token, or why a value was refused.
///
/// # Design
///
/// One word, cloned by counting: when a refresh fails, every waiting thread gets *this same* error instead of repeating
/// the refresh to find out. Match on [`kind`](Error::kind), or ask the predicates, which answer the question a caller
/// has: what now? The text says it in words. It never contains a token or a secret.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    code: Option<String>,
    retry_after: Option<Duration>,
    login: Login,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

/// Would a new login help?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Login {
    No,
    /// Perhaps: the server refused without saying what.
    MayHelp,
    /// Nothing else does.
    Required,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A value given to this crate is unusable: an address, a token, a setting. Fix the program or its configuration.
    InvalidInput,
    /// There is no token and no credential to get one with: log in, then [`Session::set`](crate::Session::set).
    NotLoggedIn,
    /// The session was ended ([`Session::end`](crate::Session::end)), by this process or by another on the same store: log
    /// in again.
    LoggedOut,
    /// The authorization server refused the grant for good, with a code that says so (`invalid_grant`, RFC 6749 §5.2): log
    /// in again.
    Rejected,
    /// The authorization server refuses this client, not this login (`invalid_client`, `invalid_scope`, …), or what
    /// answers is no token endpoint: fix the client's registration or settings. The session tries again now and then.
    Misconfigured,
    /// No token for now: the token endpoint could not be reached, said "later", or refused without saying why. Try again
    /// after [`Error::retry_after`].
    Unavailable,
    /// The token request went out and no whole answer came back: the server may have spent the refresh token. The
    /// session tries once more after a pause; if that ends the same way, log in again
    /// ([`is_login_required`](Error::is_login_required) tells which).
    Unknown,
    /// The refresh was still under way when this caller's waiting time was over. The refresh goes on without it.
    Timeout,
    /// The token source asked the session that was just waiting for it: let the source use a plain `ureq::Agent`. Or an
    /// observer asked for a token that it would have to wait for.
    Reentrant,
    /// The token store cannot be read, written or locked: the text says what is in the way. Nothing was sent, so the refresh
    /// token is as good as before, and the session looks again after a pause.
    Store,
    /// The API refuses new tokens so fast that refreshing does not help, or one address refuses every token
    /// ([`Event::AddressRefuses`](crate::Event::AddressRefuses)): see what it says with its 401.
    RefusedTooOften,
    /// The request could not be sent a second time, so the caller has to: the token is fresh now, or the API knows it by now
    /// ([`Policy::with_token_lag`](crate::Policy::with_token_lag)). Its body was read, or the `Client` of its agent was
    /// dropped; the text says which.
    NotReplayed,
    /// `init` was called a second time.
    AlreadyInitialized,
    /// `client` was called before `init`.
    NotInitialized,
}

/// Short for a result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What happened, for a `match`.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Is a new login the only way out? True for [`NotLoggedIn`](ErrorKind::NotLoggedIn),
    /// [`LoggedOut`](ErrorKind::LoggedOut) and [`Rejected`](ErrorKind::Rejected), and for an
    /// [`Unknown`](ErrorKind::Unknown) that is not tried again.
    pub fn is_login_required(&self) -> bool {
        self.0.login == Login::Required
    }

    /// Might a new login help? True where it is [required](Error::is_login_required), and where a grant that had worked is
    /// refused in a way that names neither the login nor the client: an empty 400 or 403, a bare 401,
    /// `unauthorized_client`. The session tries again by itself meanwhile; a program with a user before it may offer a
    /// login.
    pub fn may_need_login(&self) -> bool {
        self.0.login != Login::No
    }

    /// May the same call succeed later, with nothing changed but the time? True for
    /// [`Unavailable`](ErrorKind::Unavailable) and [`Timeout`](ErrorKind::Timeout), and for every failure that the session
    /// tries again ([`retry_after`](Error::retry_after)). Never true where a
    /// [login is required](Error::is_login_required).
    pub fn is_retryable(&self) -> bool {
        let is_passing = matches!(self.kind(), ErrorKind::Unavailable | ErrorKind::Timeout);
        !self.is_login_required() && (is_passing || self.0.retry_after.is_some())
    }

    /// Did this caller's own waiting time run out?
    pub fn is_timeout(&self) -> bool {
        self.kind() == ErrorKind::Timeout
    }

    /// How long, from the moment of the failure, the session makes no further attempt; `None` if it will not make one,
    /// or if that is not known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The authorization server's `error` code (RFC 6749 §5.2), such as `invalid_grant`.
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// A [`Store`](ErrorKind::Store) error, for those who write a [`TokenStore`](crate::TokenStore). The message says what
    /// is in the way and what to do about it, and holds no secret.
    #[must_use]
    pub fn store(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Store, message)
    }

    /// A [`Timeout`](ErrorKind::Timeout) error, for a [`TokenStore`](crate::TokenStore) whose exclusive section is
    /// somebody else's for too long. The message names the lock.
    #[must_use]
    pub fn store_busy(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Timeout, message)
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error::refresh(kind, message.into(), None, None, None)
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::InvalidInput, message)
    }

    /// The error of a request that failed: everything that is known of it.
    #[cold]
    #[inline(never)]
    pub(crate) fn refresh(
        kind: ErrorKind,
        message: String,
        code: Option<String>,
        retry_after: Option<Duration>,
        cause: Option<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        let login = match kind {
            ErrorKind::NotLoggedIn | ErrorKind::LoggedOut | ErrorKind::Rejected => Login::Required,
            _ => Login::No,
        };
        Error(Arc::new(Inner { kind, message, code, retry_after, login, cause }))
    }

    /// The same, where the kind alone does not tell whether a login would help.
    pub(crate) fn with_login(mut self, login: Login) -> Self {
        // Nobody else has it yet.
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.login = login;
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Error");
        debug.field("kind", &self.0.kind).field("message", &self.0.message);
        if let Some(code) = &self.0.code {
            debug.field("code", code);
        }
        if let Some(retry_after) = self.0.retry_after {
            debug.field("retry_after", &Seconds(retry_after));
        }
        if let Some(cause) = &self.0.cause {
            debug.field("cause", cause);
        }
        debug.finish()
    }
}

impl StdError for Error {
    /// The first cause whose text this error's own does not have already: a report of the whole chain says nothing twice.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        not_said(&self.0.message, self.0.cause.as_deref().map(|cause| cause as _))
    }
}

/// The first of a chain of causes whose text is no part of `message`.
pub(crate) fn not_said<'e>(
    message: &str,
    mut next: Option<&'e (dyn StdError + 'static)>,
) -> Option<&'e (dyn StdError + 'static)> {
    while let Some(cause) = next {
        if !holds(message.as_bytes(), cause.to_string().as_bytes()) {
            break;
        }
        next = cause.source();
    }
    next
}

/// Does `text` have `part` in it? std's search is faster in long texts, and weighs 2 KB in a small binary.
pub(crate) fn holds(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}

impl Error {
    /// This crate's error in `error` or behind it ([`source`](StdError::source)), however others have wrapped it.
    ///
    /// ```
    /// fn is_login_needed(error: &(dyn std::error::Error + 'static)) -> bool {
    ///     ureq_auth::Error::find(error).is_some_and(ureq_auth::Error::is_login_required)
    /// }
    /// ```
    pub fn find<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Error> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(own) = error.downcast_ref() {
                return Some(own);
            }
            // ureq's has what it wraps in its text, not behind it.
            #[cfg(feature = "ureq")]
            if let Some(own) = error.downcast_ref().and_then(Error::in_ureq) {
                return Some(own);
            }
            next = error.source();
        }
        None
    }
}

#[cfg(feature = "ureq")]
impl Error {
    /// This crate's error inside one of ureq's, if that is what it is.
    ///
    /// Calls through a [`Client`](crate::Client) return ureq's error type; what the session has to say travels in its
    /// `Other`.
    ///
    /// ```
    /// # fn show(result: Result<(), ureq::Error>) {
    /// if let Err(error) = result {
    ///     match ureq_auth::Error::in_ureq(&error) {
    ///         Some(error) if error.is_login_required() => println!("please log in: {error}"),
    ///         _ => println!("the call failed: {error}"),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn in_ureq(error: &ureq::Error) -> Option<&Error> {
        match error {
            ureq::Error::Other(other) => other.downcast_ref(),
            _ => None,
        }
    }
}

#[cfg(feature = "ureq")]
impl From<Error> for ureq::Error {
    fn from(error: Error) -> Self {
        ureq::Error::Other(Box::new(error))
    }
}
