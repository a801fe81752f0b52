//! Discovery: an issuer's metadata, by RFC 8414 and by OpenID Connect Discovery 1.0.

use std::fmt;
use std::time::Duration;

use ureq::Agent;
use ureq::http::header::ACCEPT;
use zeroize::Zeroizing;

use super::endpoint::{Endpoint, read_as_it_comes};
use super::{ClientCredentials, DeviceCode, Grant, RefreshToken, Revocation};
use crate::http::origin::{self, Origin};
use crate::json;
use crate::outcome::Outcome;
use crate::token::Secret;
use crate::{Error, ErrorKind, Result, SourceError};

/// An authorization server that has told where its endpoints are (RFC 8414 §3, OpenID Connect Discovery 1.0 §4).
///
/// What it makes reaches the server in the same way as the discovery did: with its time-out, private CA and proxy.
///
/// ```no_run
/// use ureq_auth::{Session, oauth2::Issuer};
///
/// let issuer = Issuer::discover("https://id.example.com/realms/main")?;
/// let session = Session::new(issuer.client_credentials("my-service", "its secret"))?;
/// # Ok::<(), ureq_auth::Error>(())
/// ```
pub struct Issuer {
    /// How to get there.
    pub(super) way: Endpoint,
    issuer: String,
    token_endpoint: String,
    device_authorization_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    /// What else it has said, for those who need it.
    #[cfg(feature = "browser")]
    pub(super) metadata: Vec<u8>,
}

impl Issuer {
    /// Asks the issuer for its metadata, with everything else as it is by default. See [`IssuerBuilder::discover`].
    ///
    /// # Errors
    ///
    /// As [`IssuerBuilder::discover`].
    pub fn discover(issuer_url: &str) -> Result<Self> {
        Self::builder(issuer_url).discover()
    }

    /// A discovery with settings of your own, such as a private CA.
    #[must_use]
    pub fn builder(issuer_url: impl Into<String>) -> IssuerBuilder {
        IssuerBuilder { endpoint: Endpoint::new(issuer_url.into(), String::new(), None) }
    }

    /// The issuer, to the letter as it was asked for.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Where tokens are asked for (RFC 6749 §3.2).
    pub fn token_endpoint(&self) -> &str {
        &self.token_endpoint
    }

    /// Where a device asks for a code (RFC 8628 §3.1), if the server has that.
    pub fn device_authorization_endpoint(&self) -> Option<&str> {
        self.device_authorization_endpoint.as_deref()
    }

    /// Where tokens are revoked (RFC 7009 §2), if the server has that.
    pub fn revocation_endpoint(&self) -> Option<&str> {
        self.revocation_endpoint.as_deref()
    }

    /// A source that begins with a refresh token from an earlier login. See [`RefreshToken::new`].
    #[must_use]
    pub fn refresh_token(&self, client_id: impl Into<String>, refresh_token: impl Into<String>) -> RefreshToken {
        RefreshToken::on(self.endpoint(client_id.into(), None), Some(Secret::new(refresh_token.into())))
    }

    /// A source for a session that begins with a login. See [`RefreshToken::after_login`].
    #[must_use]
    pub fn after_login(&self, client_id: impl Into<String>) -> RefreshToken {
        RefreshToken::on(self.endpoint(client_id.into(), None), None)
    }

    /// A source for a program that acts on its own behalf. See [`ClientCredentials::new`].
    #[must_use]
    pub fn client_credentials(
        &self,
        client_id: impl Into<String>,
        client_secret: impl Into<String>,
    ) -> ClientCredentials {
        let client_secret = Secret::new(client_secret.into());
        ClientCredentials::on(self.endpoint(client_id.into(), Some(client_secret)))
    }

    /// A source for a program that has a key or a certificate in the place of a secret. See
    /// [`ClientCredentials::without_secret`].
    #[must_use]
    pub fn client_credentials_without_secret(&self, client_id: impl Into<String>) -> ClientCredentials {
        ClientCredentials::on(self.endpoint(client_id.into(), None))
    }

    /// Any other grant. See [`Grant::new`].
    #[must_use]
    pub fn grant(&self, grant_type: impl Into<String>) -> Grant {
        Grant::on(self.endpoint(String::new(), None), grant_type.into())
    }

    /// A login on a machine without a browser. See [`DeviceCode::new`].
    ///
    /// # Errors
    ///
    /// [`Misconfigured`](ErrorKind::Misconfigured) if the server names no endpoint for it.
    pub fn device_code(&self, client_id: impl Into<String>) -> Result<DeviceCode> {
        let url =
            self.optional(&self.device_authorization_endpoint, "device authorization", "RFC 8628", "DeviceCode::new")?;
        Ok(DeviceCode::on(self.endpoint(client_id.into(), None), url))
    }

    /// A logout that the server knows of. See [`Revocation::new`].
    ///
    /// # Errors
    ///
    /// [`Misconfigured`](ErrorKind::Misconfigured) if the server names no endpoint for it.
    pub fn revocation(&self, client_id: impl Into<String>) -> Result<Revocation> {
        let url = self.optional(&self.revocation_endpoint, "revocation", "RFC 7009", "Revocation::new")?;
        Ok(Revocation::on(self.endpoint(client_id.into(), None), url))
    }

    pub(super) fn endpoint(&self, client_id: String, client_secret: Option<Secret>) -> Endpoint {
        self.way.sibling(&self.token_endpoint, client_id, client_secret)
    }

    fn optional(&self, url: &Option<String>, what: &str, standard: &str, new: &str) -> Result<String> {
        url.clone().ok_or_else(|| {
            misconfigured(format!(
                "{} names no usable {what} endpoint in its metadata: if it has one ({standard}), give the address to {new}",
                self.issuer
            ))
        })
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What a server publishes for everybody is no secret.
        f.debug_struct("Issuer")
            .field("issuer", &self.issuer)
            .field("token_endpoint", &self.token_endpoint)
            .field("device_authorization_endpoint", &self.device_authorization_endpoint)
            .field("revocation_endpoint", &self.revocation_endpoint)
            .finish_non_exhaustive()
    }
}

/// Settings of a discovery.
pub struct IssuerBuilder {
    /// Holds the settings; its address is the issuer's.
    endpoint: Endpoint,
}

connection_settings!(IssuerBuilder);

impl IssuerBuilder {
    /// Asks the issuer for its metadata: first where RFC 8414 §3 puts it, with `/.well-known/oauth-authorization-server`
    /// *before* the issuer's path, then where OpenID Connect Discovery §4 does, with `/.well-known/openid-configuration`
    /// *after* it. Redirects are not followed; no more than 64 KiB are read. Each request has the whole time-out.
    ///
    /// # Errors
    ///
    /// [`Misconfigured`](ErrorKind::Misconfigured) if there is no metadata at either place, if it is another issuer's (it
    /// must name this one to the letter, RFC 8414 §3.3: a `/` at the end counts), or if it names no token endpoint or one
    /// that secrets cannot be sent to. [`Unavailable`](ErrorKind::Unavailable) if the server cannot be reached or says
    /// "later". [`InvalidInput`](ErrorKind::InvalidInput) if the address is no issuer's: not https (nor loopback), with a
    /// query or a fragment (RFC 8414 §2), or that of the metadata itself.
    pub fn discover(self) -> Result<Issuer> {
        let issuer = self.endpoint.token_url().to_owned();
        let (uri, origin) = origin::parse_url(&issuer, "the issuer's URL")?;
        origin.check_private(self.endpoint.plain_http)?;
        self.endpoint.check_timeout()?;
        if uri.query().is_some() {
            return Err(Error::invalid("the issuer's URL has a query, which no issuer has: leave it out"));
        }
        if let Some(issuer) = without_well_known(uri.path()) {
            return Err(Error::invalid(format!(
                "the issuer's URL is the address of its metadata, which is found by itself: give {origin}{issuer}"
            )));
        }
        let path = uri.path().trim_end_matches('/');
        let places = [
            format!("{origin}/.well-known/oauth-authorization-server{path}"),
            format!("{origin}{path}/.well-known/openid-configuration"),
        ];
        let (agent, _) = self.endpoint.agent(&origin, Duration::MAX)?;
        let mut buffer = Zeroizing::default();
        let mut failure = Failure::Absent(0);
        for place in places {
            let found = get(&agent, &place, &mut buffer).and_then(|body| self.read(&issuer, &origin, body));
            match found {
                Ok(issuer) => return Ok(issuer),
                // To wait for a second time-out would tell nothing new.
                Err(Failure::Unreachable(error)) => return Err(error),
                Err(next) if next.rank() > failure.rank() => failure = next,
                Err(_) => {}
            }
        }
        Err(failure.into_error(&issuer))
    }

    pub(crate) fn read(&self, issuer: &str, origin: &Origin, body: &[u8]) -> Result<Issuer, Failure> {
        let names = "issuer token_endpoint device_authorization_endpoint revocation_endpoint";
        // A server that answers every address with its front page has no metadata there.
        let Some([own, token, device, revocation]) = json::read_members(body, names) else {
            return Err(Failure::Absent(200));
        };
        let own = own.text().unwrap_or_default();
        if own != issuer {
            return Err(Failure::Mismatch(own));
        }
        let Some(token_endpoint) = token.text() else {
            return Err(Failure::Unusable("names no token endpoint in its metadata".to_owned()));
        };
        self.endpoint.check_of_issuer(&token_endpoint, origin).map_err(|what| {
            Failure::Unusable(format!("names a token endpoint in its metadata that no secret can be sent to: {what}"))
        })?;
        // Not everybody needs the others.
        let usable = |url: Option<String>| url.filter(|url| self.endpoint.check_of_issuer(url, origin).is_ok());
        Ok(Issuer {
            way: self.endpoint.clone(),
            issuer: own,
            token_endpoint,
            device_authorization_endpoint: usable(device.text()),
            revocation_endpoint: usable(revocation.text()),
            #[cfg(feature = "browser")]
            metadata: body.to_vec(),
        })
    }
}

/// The issuer's path, if this is the path of its metadata (RFC 8414 §3, OpenID Connect Discovery §4).
fn without_well_known(path: &str) -> Option<String> {
    let (before, rest) = path.split_once("/.well-known/")?;
    let after = rest.split_once('/').map_or("", |(_, after)| after);
    Some(if after.is_empty() { before.to_owned() } else { format!("{before}/{after}") })
}

/// Why there is no metadata at one of the places.
pub(crate) enum Failure {
    /// The status of the answer; with 200 it was no JSON object.
    Absent(u16),
    Later(u16),
    /// Whose it is instead.
    Mismatch(String),
    Unusable(String),
    Unreachable(Error),
}

impl Failure {
    /// What tells more counts more.
    fn rank(&self) -> u8 {
        match self {
            Failure::Absent(0) => 0,
            Failure::Absent(_) => 1,
            Failure::Later(_) => 2,
            Failure::Mismatch(_) => 3,
            Failure::Unusable(_) => 4,
            Failure::Unreachable(_) => 5,
        }
    }

    pub(crate) fn into_error(self, issuer: &str) -> Error {
        match self {
            Failure::Absent(status) => misconfigured(format!(
                "{issuer} has no metadata by RFC 8414 or OpenID Connect Discovery (it answered {status}): is this the \
                 issuer's URL? If the server has no discovery, give the grants their endpoints by hand"
            )),
            Failure::Later(status) => Error::new(
                ErrorKind::Unavailable,
                format!("{issuer} answered {status} when asked for its metadata: try again later"),
            ),
            // Only what can be read safely (http takes all of Unicode for an address), and is what somebody might have meant.
            Failure::Mismatch(own)
                if own.len() <= 200
                    && own.bytes().all(|byte| byte.is_ascii_graphic())
                    && origin::parse_url(&own, "").is_ok() =>
            {
                misconfigured(format!(
                    "the metadata at {issuer} is that of the issuer {own}, which must be the same to the letter (RFC 8414 \
                 section 3.3): if that one is meant, ask for it so"
                ))
            }
            Failure::Mismatch(_) => {
                misconfigured(format!("the metadata at {issuer} names no issuer, or none that is a URL"))
            }
            Failure::Unusable(what) => misconfigured(format!("{issuer} {what}")),
            Failure::Unreachable(error) => error,
        }
    }
}

fn get<'a>(agent: &Agent, place: &str, buffer: &'a mut Zeroizing<Vec<u8>>) -> Result<&'a [u8], Failure> {
    let unreachable = |error: SourceError| {
        let kind = match error.outcome() {
            Outcome::Misconfigured => ErrorKind::Misconfigured,
            _ => ErrorKind::Unavailable,
        };
        let mut message = format!("the issuer cannot be asked for its metadata: {error}");
        if let Some(cure) = error.cure() {
            message = format!("{message} ({cure})");
        }
        Failure::Unreachable(Error::refresh(kind, message, None, None, Some(Box::new(error))))
    };
    let response = agent.get(place).header(ACCEPT, "application/json").call();
    let mut response = response.map_err(|error| unreachable(error.into()))?;
    match response.status().as_u16() {
        200 => {}
        status @ (408 | 425 | 429 | 500..) => return Err(Failure::Later(status)),
        status => return Err(Failure::Absent(status)),
    }
    read_as_it_comes(buffer, &mut response.body_mut().as_reader())
        .map_err(|error| unreachable(SourceError::unavailable(error.to_string())))?;
    // One byte more than the limit: cut, and so not readable.
    Ok(buffer)
}

#[cold]
fn misconfigured(message: String) -> Error {
    Error::new(ErrorKind::Misconfigured, message)
}

impl fmt::Debug for IssuerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuerBuilder").field("endpoint", &self.endpoint).finish()
    }
}
