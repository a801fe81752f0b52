//! The settings that grants and other requests share, written once.

/// Adds the client's secret to what a client asks for.
macro_rules! client_settings {
    ($request:ty) => {
        impl $request {
            /// The client's secret, sent in the `Authorization` header (`client_secret_basic`, RFC 6749 §2.3.1). Without it
            /// the client is a public one, which only says its name.
            #[must_use]
            pub fn client_secret(mut self, client_secret: impl Into<String>) -> Self {
                self.endpoint.client_secret = Some($crate::token::Secret::new(client_secret.into()));
                self
            }
        }

        secret_in_body!($request);
        client_assertion!($request);
    };
}

/// Adds the proof by a key.
macro_rules! client_assertion {
    ($request:ty) => {
        impl $request {
            /// Shows who the client is by a JWT that it has signed (`private_key_jwt`, RFC 7523 §2.2), in the place of a
            /// secret. The closure makes one for each request, so that any signer will do: an HSM, a TPM, a key service. It
            /// gets the client's id for `iss` and `sub`, the token endpoint for `aud`, and the time for `iat` and `exp`.
            /// `SigningKey` (feature `key`) has one ready.
            ///
            /// The assertion is wiped after the request, and is in no error text.
            #[must_use]
            pub fn client_assertion<F>(mut self, make: F) -> Self
            where
                F: Fn(&$crate::oauth2::Attempt<'_>) -> Result<String, $crate::SourceError> + Send + Sync + 'static,
            {
                self.endpoint.proof = Some($crate::oauth2::client_assertion::proof(make));
                self
            }
        }
    };
}

/// Adds the place where that secret goes.
macro_rules! secret_in_body {
    ($request:ty) => {
        impl $request {
            /// Sends the client's secret in the body instead (`client_secret_post`, RFC 6749 §2.3.1): only for servers that
            /// cannot do with the header.
            #[must_use]
            pub fn secret_in_body(mut self) -> Self {
                self.endpoint.secret_in_body = true;
                self
            }
        }
    };
}

/// Adds the builder methods for the field `endpoint` to a grant.
macro_rules! endpoint_settings {
    ($grant:ty) => {
        impl $grant {
            /// Asks for this scope: words with blanks between them (RFC 6749 §3.3). Without it the server chooses.
            #[must_use]
            pub fn scope(mut self, scope: impl Into<String>) -> Self {
                self.endpoint.scope = Some(scope.into());
                self
            }

            /// Takes tokens of this `token_type` as Bearer tokens too, for servers that call them something else
            /// (RFC 6749 §7.1 would have them say `Bearer`). Compared without case.
            #[must_use]
            pub fn token_type(mut self, token_type: impl Into<String>) -> Self {
                self.endpoint.token_type = Some(token_type.into().trim().to_owned());
                self
            }

            /// Adds a parameter to every token request, such as `audience`, or `resource` (RFC 8707 §2, which may come
            /// several times). The grant's own parameters, such as `grant_type`, are refused when the session is built.
            #[must_use]
            pub fn param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
                self.endpoint.params.push((name.into(), $crate::token::Secret::new(value.into())));
                self
            }
        }

        connection_settings!($grant);
    };
}

/// Adds the part of them that is about the way to the server.
macro_rules! connection_settings {
    ($grant:ty) => {
        impl $grant {
            /// How long one request may take in all, from the name look-up to the last byte of the answer. Unless set it
            /// is five sixths of what the refresh has left of its budget
            /// ([`Policy::with_budget`](crate::Policy::with_budget)), so 25 seconds of 30, and 25 seconds without a
            /// refresh: to cut off a slow answer may spend the refresh token. More than zero, an hour at most; the
            /// refresh's budget can make it shorter.
            ///
            /// A name is looked up on the calling thread, which takes as long as the system's resolver does: a request may
            /// be late by that. `timeout_resolve` in [`configure`](Self::configure) bounds it, by a thread for each look-up.
            #[must_use]
            pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
                self.endpoint.timeout = Some(timeout);
                self.endpoint.forget_agent();
                self
            }

            /// Allows addresses with plain http. To this machine (`localhost`, 127.0.0.0/8, `[::1]`; RFC 8252 §8.3)
            /// it is allowed as it is; on any other way everybody can read the secrets.
            #[must_use]
            pub fn allow_plain_http(mut self) -> Self {
                self.endpoint.plain_http = true;
                self
            }

            /// Settings of ureq's for the agent that asks the server: a private CA, a proxy, a user agent.
            /// Called when an endpoint is first asked: once for those on this machine, and once for all others. Clones and
            /// whatever comes from one [`Issuer`](crate::oauth2::Issuer) share the TLS configuration of the first of them
            /// that connects (25 KB with rustls), and so do all that have no settings of their own.
            ///
            /// Redirects, statuses as errors and idle connections are set afterwards, whatever is set here: none of
            /// them goes with such a request.
            #[must_use]
            pub fn configure<F>(mut self, configure: F) -> Self
            where
                F: Fn(
                        ureq::config::ConfigBuilder<ureq::typestate::AgentScope>,
                    ) -> ureq::config::ConfigBuilder<ureq::typestate::AgentScope>
                    + Send
                    + Sync
                    + 'static,
            {
                self.endpoint.configure(std::sync::Arc::new(configure));
                self
            }

            /// Makes the agent that asks the server, of the configuration that it gets: with a connector or a resolver of
            /// your own ([`Agent::with_parts`](ureq::Agent::with_parts)), for a Unix socket, a pinned address or a test
            /// without a network. Called as often as [`configure`](Self::configure), and after it.
            ///
            /// An agent with another configuration is refused with
            /// [`Misconfigured`](crate::ErrorKind::Misconfigured) or [`InvalidInput`](crate::ErrorKind::InvalidInput),
            /// and nothing is sent. Whether TLS is used is up to the connector.
            #[must_use]
            pub fn make_agent<F>(mut self, make_agent: F) -> Self
            where
                F: Fn(ureq::config::Config) -> ureq::Agent + Send + Sync + 'static,
            {
                let make_agent = move |config| super::endpoint::made_as_asked(make_agent(config));
                self.endpoint.make_agent = Some(std::sync::Arc::new(make_agent));
                self.endpoint.forget_agent();
                self
            }
        }
    };
}
