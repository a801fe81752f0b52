//! The refresh token grant (RFC 6749 §6).

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use zeroize::Zeroizing;

use super::endpoint::Endpoint;
use crate::token::Secret;
use crate::{Error, Fetch, Result, SourceError, Token, TokenSource};

/// Gets tokens with a refresh token (RFC 6749 §6): the session of a user who has logged in before.
///
/// The refresh token of the session's present token is the one that is sent; the one given to [`new`](RefreshToken::new)
/// only serves while there is no other. A server may replace it with each answer (*rotation*, RFC 9700 §4.14), and the
/// use of a replaced one can end the whole login. So once this source has seen another refresh token, from the server or
/// in a token given to the session, it never sends the first one again: if the session is then given a token without
/// one, its end is an [`ErrorKind::Rejected`](crate::ErrorKind::Rejected).
///
/// ```
/// use ureq_auth::{Session, oauth2::RefreshToken};
///
/// # fn stored() -> String { "a-refresh-token".to_owned() }
/// let source = RefreshToken::new("https://id.example.com/token", "my-client", stored()).scope("mail calendar");
/// let session = Session::new(source)?;
/// # Ok::<(), ureq_auth::Error>(())
/// ```
pub struct RefreshToken {
    pub(crate) endpoint: Endpoint,
    /// None: the session begins with a login.
    first: Option<Secret>,
    /// Is the first one out of date? Then it is not sent again.
    replaced: AtomicBool,
}

impl RefreshToken {
    /// A source for a public client. Nothing is sent; an unusable value is an error of
    /// [`Session::new`](crate::Session::new).
    #[must_use]
    pub fn new(token_url: impl Into<String>, client_id: impl Into<String>, refresh_token: impl Into<String>) -> Self {
        let endpoint = Endpoint::new(token_url.into(), client_id.into(), None);
        Self::on(endpoint, Some(Secret::new(refresh_token.into())))
    }

    /// A source for a public client that begins with a login: it has no refresh token of its own. Until
    /// [`Session::set`](crate::Session::set) brings a token with one, callers get
    /// [`ErrorKind::NotLoggedIn`](crate::ErrorKind::NotLoggedIn), and nothing is sent.
    ///
    /// ```
    /// use ureq_auth::{ErrorKind, Session, oauth2::RefreshToken};
    ///
    /// let session = Session::new(RefreshToken::after_login("https://id.example.com/token", "my-device"))?;
    /// assert_eq!(session.token().unwrap_err().kind(), ErrorKind::NotLoggedIn);
    /// # Ok::<(), ureq_auth::Error>(())
    /// ```
    #[must_use]
    pub fn after_login(token_url: impl Into<String>, client_id: impl Into<String>) -> Self {
        Self::on(Endpoint::new(token_url.into(), client_id.into(), None), None)
    }

    pub(crate) fn on(endpoint: Endpoint, first: Option<Secret>) -> Self {
        RefreshToken { endpoint, first, replaced: AtomicBool::new(false) }
    }
}

client_settings!(RefreshToken);
endpoint_settings!(RefreshToken);

impl TokenSource for RefreshToken {
    fn fetch(&self, request: Fetch<'_>) -> Result<Token, SourceError> {
        let refresh_token = match request.previous.and_then(Token::refresh_secret) {
            Some(current) => {
                self.note(current);
                current
            }
            None => self.first(request.previous.is_some())?,
        };
        let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        let scope = self.endpoint.scope.as_deref();
        let token = match self.endpoint.exchange(&fields, scope, refresh_token, request.time_left) {
            Ok(token) => token,
            Err(error) => {
                if let Some(next) = error.renewed() {
                    self.note(next);
                }
                return Err(if request.previous.is_some() { error.of_a_grant_that_worked() } else { error });
            }
        };
        // At once, not when the session hands it back: the session may drop this answer for a token set meanwhile.
        match token.refresh_secret() {
            Some(next) => {
                self.note(next);
                Ok(token)
            }
            // The old one stays in force (RFC 6749 §6). It is a part of what is stored, and revoked, wherever it came from.
            None => Ok(token.with_refresh_token(refresh_token)),
        }
    }

    fn check(&self) -> Result<()> {
        self.endpoint.check()?;
        let Some(refresh_token) = self.first.as_ref().map(Secret::secret) else { return Ok(()) };
        if refresh_token.is_empty() {
            return Err(Error::invalid("the refresh token is empty: log in to get one"));
        }
        if refresh_token.chars().any(char::is_control) {
            return Err(Error::invalid(
                "the refresh token holds a control character, such as a line break from the file it was read from: trim it",
            ));
        }
        Ok(())
    }

    fn owner(&self) -> Option<String> {
        self.endpoint.owner()
    }

    fn refresh_token(&self) -> Option<Zeroizing<String>> {
        self.unreplaced().map(|first| Zeroizing::new(first.to_owned()))
    }
}

impl RefreshToken {
    /// The first one, where there is no other. `had_token`: there was a token, but it came without one.
    fn first(&self, had_token: bool) -> Result<&str, SourceError> {
        match self.unreplaced() {
            Some(first) => Ok(first),
            None if self.first.is_some() => Err(SourceError::rejected(
                "there is no refresh token left: the first one has been replaced, and the session's present token came \
                 without one",
            )),
            None if had_token => Err(SourceError::not_logged_in(
                "the session's present token came without a refresh token, so it cannot be renewed",
            )),
            None => Err(SourceError::not_logged_in("nobody has logged in yet")),
        }
    }

    fn unreplaced(&self) -> Option<&str> {
        self.first.as_ref().filter(|_| !self.replaced.load(Ordering::Relaxed)).map(Secret::secret)
    }

    fn note(&self, refresh_token: &str) {
        if self.first.as_ref().is_some_and(|first| refresh_token != first.secret()) {
            self.replaced.store(true, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshToken")
            .field("endpoint", &self.endpoint)
            .field("first", &self.first)
            .field("replaced", &self.replaced)
            .finish()
    }
}
