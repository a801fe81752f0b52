//! Token revocation (RFC 7009): a logout that the server knows of.

use std::fmt;
use std::time::Duration;

use super::answer::Answer;
use super::endpoint::{Call, ClientAuth, Endpoint};
use crate::token::Secret;
use crate::{Result, Session, SourceError, Token};

/// Tells the authorization server that a token is not needed any more (RFC 7009), so that nobody else can use it.
///
/// ```no_run
/// use ureq_auth::{Session, oauth2::Revocation};
///
/// # fn log_out(session: &Session) -> Result<(), ureq_auth::Error> {
/// let revocation = Revocation::new("https://id.example.com/revoke", "my-device");
/// // The session has ended whatever this returns; the error only says that the server may not know of it.
/// revocation.log_out(session)
/// # }
/// ```
pub struct Revocation {
    endpoint: Endpoint,
    url: String,
}

impl Revocation {
    /// A revocation by a public client. Nothing is sent yet; a value that is of no use is an error of
    /// [`revoke`](Revocation::revoke).
    #[must_use]
    pub fn new(revocation_url: impl Into<String>, client_id: impl Into<String>) -> Self {
        let url = revocation_url.into();
        Self::on(Endpoint::new(url.clone(), client_id.into(), ClientAuth::None), url)
    }

    pub(crate) fn on(endpoint: Endpoint, url: String) -> Self {
        Revocation { endpoint, url }
    }

    /// The client's secret, sent in the `Authorization` header (`client_secret_basic`, RFC 6749 §2.3.1). Only the client
    /// that got a token can revoke it (RFC 7009 §2.1).
    #[must_use]
    pub fn with_client_secret(mut self, client_secret: impl Into<String>) -> Self {
        self.endpoint.client_auth = ClientAuth::Basic(Secret::new(client_secret.into()));
        self
    }

    /// The client's secret, sent in the body (`client_secret_post`, RFC 6749 §2.3.1): only for servers that cannot do
    /// with the header.
    #[must_use]
    pub fn with_client_secret_post(mut self, client_secret: impl Into<String>) -> Self {
        self.endpoint.client_auth = ClientAuth::Post(Secret::new(client_secret.into()));
        self
    }

    /// Ends the session here ([`Session::end`]), whatever the server says, and then there.
    ///
    /// Every caller gets [`LoggedOut`](crate::ErrorKind::LoggedOut) from then on. A refresh under way is not waited for:
    /// its token is dropped, and a server that detects the reuse of refresh tokens ends that one's family too. Without a
    /// token in force nothing is sent.
    ///
    /// # Errors
    ///
    /// As [`revoke`](Revocation::revoke), and as [`Session::end`] if the session's store could not be emptied; the session
    /// has ended all the same.
    pub fn log_out(&self, session: &Session) -> Result<()> {
        let (token, stored) = session.end_both();
        token.map_or(Ok(()), |token| self.revoke(&token)).and(stored)
    }

    /// Has the server revoke the refresh token, and with it the access tokens that came of it (RFC 7009 §2.1); where there
    /// is none, the access token. A token that the server does not know any more is a success (§2.2).
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::ErrorKind::Unavailable) if the server could not be reached or says "later" (§2.2.1; a repeat
    /// is harmless, after [`Error::retry_after`](crate::Error::retry_after) where it is given);
    /// [`Misconfigured`](crate::ErrorKind::Misconfigured) if it refuses the client or this kind of token;
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a setting that is of no use.
    pub fn revoke(&self, token: &Token) -> Result<()> {
        self.endpoint.check_at("revocation", &self.url)?;
        let (secret, hint) = match token.refresh_secret() {
            Some(refresh_token) => (refresh_token, "refresh_token"),
            None => (token.secret(), "access_token"),
        };
        let call = Call {
            what: "revocation",
            url: &self.url,
            fields: &[("token", secret), ("token_type_hint", hint)],
            scope: None,
            secret,
            time_left: Duration::MAX,
        };
        self.endpoint.call(&call, judge).map_err(|error| {
            let pause = error.retry_after();
            error.repeatable().into_error(pause)
        })
    }
}

connection_settings!(Revocation);

/// The status says it all (RFC 7009 §2.2); what a success holds is of no interest.
fn judge(answer: &Answer<'_>) -> Result<(), SourceError> {
    match answer.success() {
        Err(error) if !answer.is_success() => Err(error.not_of_the_user()),
        _ => Ok(()),
    }
}

impl fmt::Debug for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocation").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
