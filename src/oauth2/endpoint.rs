//! The token endpoint (RFC 6749 §3.2): one request, one answer.

mod client;
mod make_agent;
mod reading;
mod request;
mod timeouts;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ureq::config::ConfigBuilder;
use ureq::http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, DATE, RETRY_AFTER};
use ureq::http::{HeaderName, HeaderValue, Method, Request, Response, Uri};
use ureq::typestate::AgentScope;
use ureq::{Agent, Body};
use zeroize::Zeroizing;

use super::answer::Answer;
use super::form::encoded;
use crate::http::body;
use crate::http::connector::SharedConnector;
use crate::http::origin::{self, Origin};
use crate::sync::Mutex;
use crate::token::Secret;
use crate::{Error, Result, SourceError, Token};

use self::make_agent::MakeAgent;
pub(super) use self::make_agent::made_as_asked;
pub(super) use self::reading::read_as_it_comes;
use self::reading::read_body;
use self::request::BASIC;

/// Extra parameters that name who is to take the token, which is no secret, and what an error is about.
const OPEN_PARAMS: &str = "audience resource";

/// Where tokens are asked for, as which client, and how.
#[derive(Clone)]
pub(crate) struct Endpoint {
    token_url: String,
    client_id: String,
    pub(crate) client_secret: Option<Secret>,
    /// How the client shows that it is itself (RFC 6749 §2.3.1): in the body, by `client_secret_post`, instead of in the
    /// `Authorization` header, by `client_secret_basic`.
    pub(crate) secret_in_body: bool,
    /// In the place of a secret: what is made for each request.
    pub(crate) proof: Option<Arc<dyn Proof>>,
    /// Does the client not say who it is?
    pub(crate) is_anonymous: bool,
    pub(crate) scope: Option<String>,
    /// The values are never shown: they may be anything.
    pub(crate) params: Vec<(String, Secret)>,
    /// What the server calls a bearer token, where that is not `Bearer`.
    pub(crate) token_type: Option<String>,
    /// None: most of what the flight has left.
    pub(crate) timeout: Option<Duration>,
    pub(crate) plain_http: bool,
    pub(crate) configure: Option<Configure>,
    /// Kept with the settings that it is for, so that all who have them have one TLS configuration. None: ureq's own settings.
    connector: Option<SharedConnector>,
    pub(crate) make_agent: Option<MakeAgent>,
    /// For addresses on this machine and for all others: the proxy of the environment is for the latter alone.
    agents: Arc<Mutex<(Option<Built>, Option<Built>)>>,
}

/// An agent, and the time-out that it was built with: the user may have set another.
type Built = (Agent, Duration);

/// What a user adds to the configuration of the endpoint's agent.
pub(crate) type Configure = Arc<dyn Fn(ConfigBuilder<AgentScope>) -> ConfigBuilder<AgentScope> + Send + Sync>;

/// How a client shows that it is itself, where that is made for each request. Behind a pointer, so that a program that has no
/// such client does not carry the code of it.
pub(crate) trait Proof: Send + Sync {
    /// Sends the request of that endpoint with the proof, and shows its answer.
    fn send(&self, endpoint: &Endpoint, call: &Call<'_>, show: &mut dyn FnMut(&Answer<'_>)) -> Result<(), SourceError>;
}

/// One request to the token endpoint, or to another of the same server, which is told from it by its name in errors.
pub(crate) struct Call<'a> {
    /// `token`, `revocation`, …: what comes before "endpoint" and "URL".
    pub(crate) what: &'static str,
    pub(crate) url: &'a str,
    pub(crate) fields: &'a [(&'a str, &'a str)],
    pub(crate) scope: Option<&'a str>,
    /// A value that must not come back in an error.
    pub(crate) secret: &'a str,
    /// Makes the time-out shorter if it is less.
    pub(crate) time_left: Duration,
}

impl Endpoint {
    pub(crate) fn new(token_url: String, client_id: String, client_secret: Option<Secret>) -> Self {
        Endpoint {
            token_url,
            client_id,
            client_secret,
            secret_in_body: false,
            proof: None,
            is_anonymous: false,
            scope: None,
            params: Vec::new(),
            token_type: None,
            timeout: None,
            plain_http: false,
            configure: None,
            connector: None,
            make_agent: None,
            agents: Arc::new(Mutex::new((None, None))),
        }
    }

    /// Is every setting usable?
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput), with what to change.
    pub(crate) fn check(&self) -> Result<()> {
        self.check_at("token", &self.token_url)
    }

    /// The same for another address of the server's.
    pub(crate) fn check_at(&self, what: &str, url: &str) -> Result<()> {
        self.checked_url(what, url).map(drop)
    }

    pub(crate) fn token_url(&self) -> &str {
        &self.token_url
    }

    pub(crate) fn check_timeout(&self) -> Result<()> {
        if self.timeout.is_some_and(|timeout| timeout.is_zero() || timeout > timeouts::MAX_TIMEOUT) {
            return Err(Error::invalid("the request's time-out must be more than zero and not more than an hour"));
        }
        Ok(())
    }

    /// Asks for a token with these form fields, of which `secret` is a value that must not come back in an error.
    /// `time_left` makes the time-out shorter if it is less.
    pub(crate) fn exchange(
        &self,
        fields: &[(&str, &str)],
        scope: Option<&str>,
        secret: &str,
        time_left: Duration,
    ) -> Result<Token, SourceError> {
        let call = Call { what: "token", url: &self.token_url, fields, scope, secret, time_left };
        self.call(&call, |answer| answer.read())?
    }

    /// Sends one request. What its answer means is for `judge` to say.
    pub(crate) fn call<T>(&self, call: &Call<'_>, judge: impl Fn(&Answer<'_>) -> T) -> Result<T, SourceError> {
        let mut judged = None;
        self.send_and_show(call, &mut |answer| judged = Some(judge(answer)))?;
        judged.ok_or_else(|| SourceError::unknown("the answer was not read"))
    }

    /// Compiled once for all answers: each copy would add 2 KB to a small binary.
    pub(super) fn send_and_show(&self, call: &Call<'_>, show: &mut dyn FnMut(&Answer<'_>)) -> Result<(), SourceError> {
        if let Some(proof) = &self.proof {
            return proof.send(self, call, show);
        }
        // Here too: whoever calls fetch() without a session has not called check().
        let (uri, origin) = self.checked_url(call.what, call.url).map_err(unfit)?;
        let credentials = self.credentials().map(Secret::from);
        // All spellings of what must not come back in an error text.
        let mut spellings = Vec::new();
        let mut keep = |secret: &str| spellings.extend([encoded(secret), Zeroizing::new(secret.to_owned())]);
        keep(call.secret);
        keep(self.client_secret.as_ref().map_or("", Secret::secret));
        keep(credentials.as_ref().and_then(|header| header.secret().get(BASIC.len()..)).unwrap_or_default());
        for (name, value) in &self.params {
            if !OPEN_PARAMS.split(' ').any(|open| open == name) {
                keep(value.secret());
            }
        }
        let secrets: Vec<&str> = spellings.iter().map(|secret| secret.as_str()).collect();
        let mut response = self.send(call, uri, &origin, credentials.as_ref())?;
        // What has come before it broke off is in there as well.
        let mut body = Zeroizing::default();
        let read = read_body(call.what, &mut response, &mut body);
        let header = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
        let answer = Answer {
            what: call.what,
            status: response.status().as_u16(),
            content_type: header(CONTENT_TYPE),
            retry_after: header(RETRY_AFTER),
            date: header(DATE),
            is_private: origin.is_private(),
            token_type: self.token_type.as_deref(),
            body: &body,
            secrets: &secrets,
        };
        match read {
            Ok(()) => {
                show(&answer);
                Ok(())
            }
            Err(error) => Err(answer.keep_what_came(error)),
        }
    }

    fn send(
        &self,
        call: &Call<'_>,
        uri: Uri,
        origin: &Origin,
        credentials: Option<&Secret>,
    ) -> Result<Response<Body>, SourceError> {
        if call.time_left.is_zero() {
            let message = format!("no time was left for a {} request; nothing was sent", call.what);
            return Err(SourceError::unavailable(message));
        }
        let form = self.form(call.fields, call.scope);
        let (agent, timeout) = self.agent(origin, call.time_left).map_err(unfit)?;
        // Built by hand: ureq's own builder brings a second copy of its types with it.
        let mut body = body::whole(&form);
        let mut request = Request::new(body.rewind());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(form.len()));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        // A decoder keeps a copy of the tokens that nobody wipes.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(credentials) = credentials {
            headers.insert(AUTHORIZATION, credentials.to_header().map_err(unfit)?);
        }
        if agent.config().timeouts().global != Some(timeout) {
            // Only then: for a request with settings of its own, ureq sets TLS up anew, certificates and all.
            request = agent.configure_request(request).timeout_global(Some(timeout)).build();
        }
        let result = agent.run(request);
        result.map_err(|error| {
            let error = SourceError::from(error);
            // A server that has not even got the first byte of the form cannot have spent what is in it.
            if body.was_begun() { error } else { error.not_sent() }
        })
    }

    fn checked_url(&self, what: &str, url: &str) -> Result<(Uri, Origin)> {
        let (uri, origin) = origin::parse_url(url, &format!("the {what} URL"))?;
        origin.check_private(self.plain_http)?;
        self.check_timeout()?;
        let problem = if self.client_id.is_empty() && !self.is_anonymous {
            "the client id is empty: give the one that the authorization server knows this program by"
        } else if self.client_secret.as_ref().is_some_and(|secret| secret.secret().is_empty()) {
            "the client secret is empty: leave it out for a public client"
        } else if self.scope.as_ref().is_some_and(|scope| scope.trim_ascii().is_empty()) {
            "the scope is empty: leave it out to have what the server grants by default"
        } else {
            return self.check_params().map(|()| (uri, origin));
        };
        Err(Error::invalid(problem))
    }

    pub(crate) fn configure(&mut self, configure: Configure) {
        self.configure = Some(configure);
        self.connector = Some(SharedConnector::new());
        self.forget_agent();
    }

    /// Those that there are may be another grant's, built with other settings.
    pub(crate) fn forget_agent(&mut self) {
        self.agents = Arc::new(Mutex::new((None, None)));
    }

    /// The agent for that address, and the time-out of a request on it.
    ///
    /// # Errors
    ///
    /// As [`made_as_asked`].
    pub(super) fn agent(&self, origin: &Origin, time_left: Duration) -> Result<(Agent, Duration)> {
        let wanted = timeouts::of_request(self.timeout, time_left);
        let (here, elsewhere) = &mut *self.agents.lock();
        let place = if origin.is_loopback() { here } else { elsewhere };
        let (agent, given) = match place {
            Some(built) => built,
            None => {
                let given = timeouts::of_agent(self.timeout, wanted);
                place.insert((self.build_agent(origin, given)?, given))
            }
        };
        let usual = agent.config().timeouts().global;
        Ok((agent.clone(), timeouts::on_agent(usual, *given, self.timeout, wanted, time_left)))
    }

    fn build_agent(&self, origin: &Origin, timeout: Duration) -> Result<Agent> {
        let mut config = Agent::config_builder().timeout_global(Some(timeout));
        if origin.is_loopback() {
            // A proxy from the environment would take plain http off this machine.
            config = config.proxy(None);
        }
        if let Some(configure) = &self.configure {
            config = configure(config);
        }
        let config = config
            // A redirect would hand the secrets to whoever it points to.
            .max_redirects(0)
            .max_redirects_will_error(false)
            // The body of an error is what tells rejected from misconfigured.
            .http_status_as_error(false)
            // On a kept connection that the server has just closed, the outcome would be unknown.
            .max_idle_connections(0)
            .build();
        match &self.make_agent {
            Some(make_agent) => make_agent(config),
            None => {
                let connector = self.connector.clone().unwrap_or_else(SharedConnector::of_defaults);
                Ok(connector.agent(config))
            }
        }
    }

    /// Visits the grant's fields, and after them what is sent with every grant.
    fn each_field(&self, fields: &[(&str, &str)], scope: Option<&str>, visit: &mut dyn FnMut(&str, &str)) {
        for (name, value) in fields {
            visit(name, value);
        }
        match &self.client_secret {
            // The header has both (RFC 6749 §2.3.1), and no server may be sent two methods at once (§2.3).
            Some(_) if !self.secret_in_body => {}
            secret => {
                if !self.is_anonymous {
                    visit("client_id", &self.client_id);
                }
                if let Some(secret) = secret {
                    visit("client_secret", secret.secret());
                }
            }
        }
        if let Some(scope) = scope {
            visit("scope", scope);
        }
        for (name, value) in &self.params {
            visit(name, value.secret());
        }
    }

    fn form(&self, fields: &[(&str, &str)], scope: Option<&str>) -> Zeroizing<String> {
        request::form(&|visit| self.each_field(fields, scope, visit))
    }

    fn credentials(&self) -> Option<Zeroizing<String>> {
        let secret = self.client_secret.as_ref().filter(|_| !self.secret_in_body)?;
        Some(request::credentials(&self.client_id, secret.secret()))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The origin, not the URL: a query may hold a key.
        let origin = origin::parse_url(&self.token_url, "the token URL").map(|(_, origin)| origin);
        f.debug_struct("Endpoint")
            .field("origin", &origin.ok())
            .field("client_id", &self.client_id)
            .field("client_secret", &self.client_secret)
            .field("secret_in_body", &self.secret_in_body)
            .field("scope", &self.scope)
            .field("params", &self.params)
            .field("timeout", &self.timeout)
            .field("plain_http", &self.plain_http)
            .finish_non_exhaustive()
    }
}

/// What is wrong with the settings, as the source's error.
fn unfit(error: Error) -> SourceError {
    SourceError::misconfigured(error.to_string())
}

#[cfg(test)]
mod tests;
