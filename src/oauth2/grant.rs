//! Any other grant: JWT bearer (RFC 7523 §2.1), token exchange (RFC 8693 §2.1), a server's own (RFC 6749 §4.5).

use std::fmt;
use std::time::Duration;

use super::attempt::{Attempt, ServerClock, by_servers_time};
use super::endpoint::{Call, Endpoint};
use crate::clock::{Clock, SystemClock};
use crate::outcome::Outcome;
use crate::token::Secret;
use crate::{Error, Fetch, Result, SourceError, Token, TokenSource};

/// The name and the value of each parameter.
type Params = Vec<(String, Secret)>;

type MakeParams = Box<dyn Fn(&Attempt<'_>) -> Result<Params, SourceError> + Send + Sync>;

/// Gets tokens by a grant whose values are made anew for each attempt (RFC 6749 §4.5): a signed assertion, another server's
/// token.
///
/// | grant | `grant_type` | values |
/// | --- | --- | --- |
/// | JWT bearer (RFC 7523 §2.1) | [`JWT_BEARER`](Grant::JWT_BEARER) | `assertion` |
/// | token exchange (RFC 8693 §2.1) | [`TOKEN_EXCHANGE`](Grant::TOKEN_EXCHANGE) | `subject_token`, `subject_token_type`, … |
///
/// To repeat such a grant is taken as harmless, so a lost answer is an
/// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable). A refusal is tried again at the backoff's limit, since the next
/// attempt has new values: a session on it never ends by itself, and nobody is told to log in. If an answer has a refresh
/// token, that is used next (RFC 6749 §6); once the server refuses it, the grant itself is used again.
///
/// ```
/// use std::fs;
///
/// use ureq_auth::{Session, oauth2::Grant};
///
/// // A token of the cluster's for one of the cloud's. The file is replaced from time to time, so it is read each time.
/// let source = Grant::new("https://sts.example.com/v1/token", Grant::TOKEN_EXCHANGE)
///     .scope("https://example.com/auth/cloud-platform")
///     .param("audience", "//iam.example.com/pools/mine/providers/cluster")
///     .params(|_| {
///         let subject_token = fs::read_to_string("/var/run/secrets/tokens/cloud")?.trim().to_owned();
///         Ok([
///             ("subject_token", subject_token),
///             ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt".into()),
///         ])
///     });
/// let session = Session::new(source)?;
/// # Ok::<(), ureq_auth::Error>(())
/// ```
///
/// `?` on a `std::io::Error` means [`Unknown`](crate::Outcome::Unknown), which is tried again like
/// [`Unavailable`](crate::Outcome::Unavailable) here.
pub struct Grant {
    endpoint: Endpoint,
    grant_type: String,
    make: Option<MakeParams>,
    clock: ServerClock,
}

impl Grant {
    /// The `grant_type` of RFC 7523 §2.1: a signed JWT as `assertion`.
    pub const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

    /// The `grant_type` of RFC 8693 §2.1: another token as `subject_token`.
    pub const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

    /// A source for a client that does not say who it is: in many such grants the values do. Nothing is sent yet; a value
    /// that cannot be used is an error of [`Session::new`](crate::Session::new).
    #[must_use]
    pub fn new(token_url: impl Into<String>, grant_type: impl Into<String>) -> Self {
        Self::on(Endpoint::new(token_url.into(), String::new(), None), grant_type.into())
    }

    pub(crate) fn on(mut endpoint: Endpoint, grant_type: String) -> Self {
        endpoint.is_anonymous = true;
        Grant { endpoint, grant_type, make: None, clock: ServerClock::default() }
    }

    /// The client's id (RFC 6749 §2.2), for servers that want one. A client secret and a client assertion need it.
    #[must_use]
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.endpoint = self.endpoint.named(client_id.into());
        self
    }

    /// Makes the grant's values, anew for each attempt: an expired assertion is never sent twice, and a file is read when it
    /// is needed. They are wiped after the request, and are in no error text. What never changes may go into
    /// [`param`](Grant::param).
    ///
    /// The closure may block, for example to ask another server; its time counts as the refresh's. An error of its own is one
    /// of the attempt's.
    #[must_use]
    pub fn params<F, P, N, V>(mut self, make: F) -> Self
    where
        F: Fn(&Attempt<'_>) -> Result<P, SourceError> + Send + Sync + 'static,
        P: IntoIterator<Item = (N, V)>,
        N: Into<String>,
        V: Into<String>,
    {
        self.make = Some(Box::new(move |attempt| {
            let made = make(attempt)?.into_iter();
            Ok(made.map(|(name, value)| (name.into(), Secret::new(value.into()))).collect())
        }));
        self
    }

    fn ask(&self, request: Fetch<'_>, time_left: Duration) -> Result<Token, SourceError> {
        by_servers_time(&self.clock, time_left, |at, time_left| {
            let mut endpoint = self.endpoint.clone();
            if let Some(make) = &self.make {
                let attempt = Attempt { endpoint: &self.endpoint, previous: request.previous, now: at.time };
                endpoint.params.extend(make(&attempt)?);
            }
            let call = Call {
                what: "token",
                url: self.endpoint.token_url(),
                fields: &[("grant_type", &self.grant_type)],
                scope: self.endpoint.scope.as_deref(),
                secret: "",
                time_left,
            };
            endpoint.call(&call, |answer| match self.clock.blames(answer, at) {
                true => Ok(None),
                false => answer.read().map(Some),
            })?
        })
    }
}

client_settings!(Grant);
endpoint_settings!(Grant);

impl TokenSource for Grant {
    fn fetch(&self, request: Fetch<'_>) -> Result<Token, SourceError> {
        let start = SystemClock.now();
        if let Some(refresh_token) = request.previous.and_then(Token::refresh_secret) {
            let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
            match self.endpoint.exchange(&fields, None, refresh_token, request.time_left) {
                Ok(token) if token.refresh_secret().is_some() => return Ok(token),
                // The old one stays in force (RFC 6749 §6).
                Ok(token) => return Ok(token.with_refresh_token(refresh_token)),
                Err(error) if matches!(error.outcome(), Outcome::Rejected | Outcome::Misconfigured) => {
                    log::debug!("the refresh token is refused, so the grant itself is used again: {error}");
                }
                Err(error) => return Err(error.repeatable()),
            }
        }
        let time_left = request.time_left.saturating_sub(SystemClock.now().since(start));
        // What is refused now may be granted for the next values.
        self.ask(request, time_left).map_err(|error| error.repeatable().not_of_the_user())
    }

    fn check(&self) -> Result<()> {
        if self.grant_type.is_empty() {
            return Err(Error::invalid("the grant type is empty: give its name (RFC 6749 section 4.5)"));
        }
        if self.endpoint.is_anonymous && self.endpoint.has_credentials() {
            return Err(Error::invalid("a client that shows who it is needs a client id: give it by client_id"));
        }
        self.endpoint.check()
    }

    fn owner(&self) -> Option<String> {
        if self.endpoint.is_anonymous {
            return self.endpoint.clone().named(self.grant_type.clone()).owner();
        }
        self.endpoint.owner()
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("endpoint", &self.endpoint)
            .field("grant_type", &self.grant_type)
            .finish_non_exhaustive()
    }
}
