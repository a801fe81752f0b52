//! The client credentials grant (RFC 6749 §4.4).

use std::fmt;

use super::endpoint::Endpoint;
use crate::token::Secret;
use crate::{Fetch, Result, SourceError, Token, TokenSource};

/// Gets tokens with the client's own secret (RFC 6749 §4.4): for a program that acts on its own behalf.
///
/// To repeat this grant is harmless, so a lost answer is an
/// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable), not an [`Unknown`](crate::ErrorKind::Unknown), and whatever the
/// server says is tried again: a session on it never ends by itself, and nobody is told to log in. A refresh
/// token in the answer is dropped: there should not be one (§4.4.3).
///
/// ```
/// use ureq_auth::{Session, oauth2::ClientCredentials};
///
/// # fn secret() -> String { "a-secret".to_owned() }
/// let source = ClientCredentials::new("https://id.example.com/token", "my-service", secret())
///     .param("audience", "https://api.example.com");
/// let session = Session::new(source)?;
/// # Ok::<(), ureq_auth::Error>(())
/// ```
pub struct ClientCredentials {
    endpoint: Endpoint,
}

impl ClientCredentials {
    /// A source that sends the secret in the `Authorization` header (`client_secret_basic`, RFC 6749 §2.3.1). Nothing is
    /// sent yet; an unusable value is an error of [`Session::new`](crate::Session::new).
    #[must_use]
    pub fn new(token_url: impl Into<String>, client_id: impl Into<String>, client_secret: impl Into<String>) -> Self {
        let client_secret = Secret::new(client_secret.into());
        Self::on(Endpoint::new(token_url.into(), client_id.into(), Some(client_secret)))
    }

    /// A source without a secret: for a client that shows who it is by a key ([`client_assertion`](Self::client_assertion)),
    /// or by the certificate of its TLS connection (RFC 8705, in `configure`), where its id is all that is sent.
    #[must_use]
    pub fn without_secret(token_url: impl Into<String>, client_id: impl Into<String>) -> Self {
        Self::on(Endpoint::new(token_url.into(), client_id.into(), None))
    }

    pub(crate) fn on(endpoint: Endpoint) -> Self {
        ClientCredentials { endpoint }
    }
}

secret_in_body!(ClientCredentials);
client_assertion!(ClientCredentials);
endpoint_settings!(ClientCredentials);

impl TokenSource for ClientCredentials {
    fn fetch(&self, request: Fetch<'_>) -> Result<Token, SourceError> {
        let fields = [("grant_type", "client_credentials")];
        let scope = self.endpoint.scope.as_deref();
        let token = self.endpoint.exchange(&fields, scope, "", request.time_left);
        // No user is concerned: nobody can log in again, and to ask again does no harm.
        let token = token.map_err(|error| error.repeatable().not_of_the_user())?;
        Ok(token.with_refresh_token(""))
    }

    fn check(&self) -> Result<()> {
        self.endpoint.check()
    }

    fn owner(&self) -> Option<String> {
        self.endpoint.owner()
    }
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCredentials").field("endpoint", &self.endpoint).finish()
    }
}
