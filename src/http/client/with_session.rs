//! Several sessions on one pool of connections.

use std::sync::{Arc, Weak};

use ureq::config::{Config, ConfigBuilder};
use ureq::http::{Request, Response};
use ureq::middleware::{Middleware, MiddlewareNext};
use ureq::typestate::AgentScope;
use ureq::{Agent, Body, SendBody};

use super::{Client, Inner};
use crate::http::middleware::Of;
use crate::http::resolver::OnCallingThread;
use crate::{Error, Result, Session};

impl Client {
    /// A client for another session, on the same pool of connections: another user or tenant of the same API. Origins and
    /// settings are this client's, its user's middlewares included; token, refreshes and replays are the other session's.
    ///
    /// It costs about 1 KB and no descriptor, so that one for each of many tenants can be kept, or made for each job. Keep
    /// the session for as long as its login is used: two sessions of one login spend the same refresh token.
    ///
    /// ```no_run
    /// # use ureq_auth::{Client, Session, oauth2::ClientCredentials};
    /// # fn show(first: Session, other: Session) -> Result<(), Box<dyn std::error::Error>> {
    /// let first = Client::new(first, "https://api.example.com")?;
    /// let other = first.with_session(other)?;
    /// other.get("https://api.example.com/reports").call()?; // the other one's token, over the first one's connection
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) with the feature `cookies`: ureq keeps one cookie jar for all who
    /// share a pool, so the API's cookies for one session would go out with the other's token. (If another crate has switched
    /// on `ureq/cookies`, this cannot be seen here: then build a client for each session.)
    pub fn with_session(&self, session: Session) -> Result<Client> {
        if cfg!(feature = "cookies") {
            return Err(Error::invalid(
                "with the feature cookies, sessions cannot share a client's pool, since they would share its cookies: build \
                 a Client for each session, or leave the feature off",
            ));
        }
        let base = self.0.base.as_ref().unwrap_or(self);
        let config = copy(base.agent().config());
        let client: Weak<dyn AsRef<Agent> + Send + Sync> = Arc::<Inner>::downgrade(&base.0);
        let of = Of { session: session.clone(), client };
        let config = config.middleware(Forward { base: base.clone(), of }).build();
        // It never connects by itself.
        let agent = Agent::with_parts(config, (), OnCallingThread);
        let origins = base.0.origins.clone();
        Ok(Client(Arc::new(Inner { agent, session, origins, base: Some(base.clone()) })))
    }
}

/// The only middleware of such a client: has the first client's agent send the request, as one of this session.
struct Forward {
    base: Client,
    of: Of,
}

impl Middleware for Forward {
    fn handle(
        &self,
        mut request: Request<SendBody<'_>>,
        _: MiddlewareNext<'_>,
    ) -> std::result::Result<Response<Body>, ureq::Error> {
        request.extensions_mut().insert(self.of.clone());
        self.base.agent().run(request)
    }
}

/// The same settings without the middlewares. A request's own settings begin with its agent's, so they must be the same.
fn copy(config: &Config) -> ConfigBuilder<AgentScope> {
    let timeouts = config.timeouts();
    let copy = Config::builder()
        .http_status_as_error(config.http_status_as_error())
        .https_only(config.https_only())
        .ip_family(config.ip_family())
        .proxy(config.proxy().cloned())
        .no_delay(config.no_delay())
        .max_redirects(config.max_redirects())
        .max_redirects_will_error(config.max_redirects_will_error())
        .redirect_auth_headers(config.redirect_auth_headers())
        .save_redirect_history(config.save_redirect_history())
        .user_agent(config.user_agent().clone())
        .accept(config.accept().clone())
        .accept_encoding(config.accept_encoding().clone())
        .timeout_global(timeouts.global)
        .timeout_per_call(timeouts.per_call)
        .timeout_resolve(timeouts.resolve)
        .timeout_connect(timeouts.connect)
        .timeout_send_request(timeouts.send_request)
        .timeout_await_100(timeouts.await_100)
        .timeout_send_body(timeouts.send_body)
        .timeout_recv_response(timeouts.recv_response)
        .timeout_recv_body(timeouts.recv_body)
        .timeout_per_read(config.timeout_per_read())
        .timeout_per_write(config.timeout_per_write())
        .max_response_header_size(config.max_response_header_size())
        .input_buffer_size(config.input_buffer_size())
        .output_buffer_size(config.output_buffer_size())
        .max_idle_connections(config.max_idle_connections())
        .max_idle_connections_per_host(config.max_idle_connections_per_host())
        .max_idle_age(config.max_idle_age())
        .allow_non_standard_methods(config.allow_non_standard_methods());
    #[cfg(any(
        feature = "rustls",
        feature = "rustls-no-provider",
        feature = "native-tls",
        feature = "platform-verifier"
    ))]
    let copy = copy.tls_config(config.tls_config().clone());
    copy
}

#[cfg(test)]
mod tests;
