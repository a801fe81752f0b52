//! The client: its name, whose tokens it gets, and which addresses it may talk to.

use super::Endpoint;
use crate::http::origin::{self, Origin};
use crate::token::Secret;
use crate::{Error, Result};

/// What a grant or the client's authentication sends itself.
const RESERVED: &str = "grant_type refresh_token client_id client_secret scope device_code";

impl Endpoint {
    /// Whose tokens come from here. Without the address's query, which may hold a key.
    pub(crate) fn owner(&self) -> Option<String> {
        let (uri, origin) = origin::parse_url(&self.token_url, "the token URL").ok()?;
        Some(format!("{} at {origin}{}", self.client_id, uri.path()))
    }

    /// The same way to the same server, for another address and client.
    pub(crate) fn sibling(&self, token_url: &str, client_id: String, client_secret: Option<Secret>) -> Endpoint {
        Endpoint {
            timeout: self.timeout,
            plain_http: self.plain_http,
            configure: self.configure.clone(),
            connector: self.connector.clone(),
            make_agent: self.make_agent.clone(),
            ..Endpoint::new(token_url.to_owned(), client_id, client_secret)
        }
    }

    pub(crate) fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The same for a client that says who it is.
    pub(crate) fn named(self, client_id: String) -> Endpoint {
        Endpoint { client_id, is_anonymous: false, ..self }
    }

    pub(crate) fn has_credentials(&self) -> bool {
        self.client_secret.is_some() || self.proof.is_some()
    }

    /// May secrets be sent there? An issuer with TLS has endpoints with TLS, even on this machine.
    pub(crate) fn check_of_issuer(&self, url: &str, issuer: &Origin) -> Result<()> {
        let (_, origin) = origin::parse_url(url, "its address")?;
        origin.check_private(self.plain_http)?;
        if issuer.is_https() && !origin.is_https() {
            return Err(Error::invalid(format!("{origin} is plain http, though the issuer itself has https")));
        }
        Ok(())
    }

    pub(super) fn check_params(&self) -> Result<()> {
        for (name, _) in &self.params {
            if name.is_empty() {
                return Err(Error::invalid("an extra parameter has no name: give it one, or leave it out"));
            }
            if RESERVED.split(' ').any(|reserved| reserved == name) {
                return Err(Error::invalid(format!(
                    "the extra parameter {name} would override the grant's own: use the setting that there is for it"
                )));
            }
        }
        Ok(())
    }
}
