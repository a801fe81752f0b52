//! Agents with a connector and a resolver of the user's: for the client, and for everything that asks an authorization server.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, DefaultConnector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Agent, Error as UreqError};
use ureq_auth::oauth2::{ClientCredentials, Issuer, Revocation};
use ureq_auth::{Client, Error, ErrorKind, Session, Token};

use crate::client::{session, text};
use crate::server::{Answer, Server};

/// Servers without a network: what `answer` says to a request, which it gets as it is on the wire.
#[derive(Clone)]
struct InMemory {
    answer: Arc<dyn Fn(&str) -> String + Send + Sync>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl InMemory {
    fn new(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        InMemory { answer: Arc::new(answer), seen: Arc::default() }
    }

    fn agent(&self, config: Config) -> Agent {
        Agent::with_parts(config, self.clone(), Nowhere)
    }

    /// Host and request line of each request.
    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

impl fmt::Debug for InMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InMemory")
    }
}

impl Connector for InMemory {
    type Out = Line;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Line>, UreqError> {
        let (server, host) = (self.clone(), details.uri.host().unwrap().to_owned());
        Ok(Some(Line { server, host, sent: Vec::new(), is_answered: false, buffers: LazyBuffers::new(4096, 4096) }))
    }
}

#[derive(Debug)]
struct Line {
    server: InMemory,
    host: String,
    sent: Vec<u8>,
    is_answered: bool,
    buffers: LazyBuffers,
}

impl Transport for Line {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), UreqError> {
        self.sent.extend_from_slice(&self.buffers.output()[..amount]);
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, UreqError> {
        if self.is_answered {
            return Ok(false);
        }
        self.is_answered = true;
        let request = String::from_utf8(self.sent.clone()).unwrap();
        self.server.seen.lock().unwrap().push(format!("{} {}", self.host, request.lines().next().unwrap()));
        let body = (self.server.answer)(&request);
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        self.buffers.input_append_buf()[..answer.len()].copy_from_slice(answer.as_bytes());
        self.buffers.input_appended(answer.len());
        Ok(true)
    }

    fn is_open(&mut self) -> bool {
        false
    }

    fn is_tls(&self) -> bool {
        true
    }
}

/// Asks no name server.
#[derive(Debug)]
struct Nowhere;

impl Resolver for Nowhere {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, UreqError> {
        let mut addresses = self.empty();
        addresses.push("192.0.2.1:443".parse().unwrap());
        Ok(addresses)
    }
}

/// Every name is this address.
#[derive(Debug)]
struct Pinned(SocketAddr);

impl Resolver for Pinned {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, UreqError> {
        let mut addresses = self.empty();
        addresses.push(self.0);
        Ok(addresses)
    }
}

#[test]
fn a_client_goes_by_the_users_connector() {
    let api = InMemory::new(|request| request.lines().find(|line| line.starts_with("authorization")).unwrap().into());
    let here = api.clone();
    let client = Client::builder(session().0)
        .origin("https://api.example.com")
        .configure(|config| config.user_agent("mine"))
        .make_agent(move |config| {
            assert!(format!("{:?}", config.user_agent()).contains("mine"), "what configure() set is in it");
            here.agent(config)
        })
        .build()
        .unwrap();
    assert_eq!(text(client.get("https://api.example.com/me").call()), "authorization: Bearer token-1");
    assert_eq!(api.seen(), ["api.example.com GET /me HTTP/1.1"]);
}

#[test]
fn a_client_goes_to_the_address_that_the_user_pinned() {
    let server = Server::start(|seen| Answer::ok(format!("{} {seen}", seen.header("host").unwrap_or_default())));
    let address = server.address();
    let client = Client::builder(session().0)
        .origin("http://api.example.com")
        .allow_plain_http()
        .make_agent(move |config| Agent::with_parts(config, DefaultConnector::new(), Pinned(address)))
        .build()
        .unwrap();
    let answer = text(client.get("http://api.example.com/me").call());
    assert_eq!(answer, "api.example.com GET /me Bearer token-1");
}

#[test]
fn whatever_asks_an_authorization_server_goes_by_the_users_connector() {
    let server = InMemory::new(|request| {
        if request.starts_with("GET") {
            return r#"{"issuer":"https://id.example.com","token_endpoint":"https://id.example.com/token",
                "revocation_endpoint":"https://id.example.com/revoke"}"#
                .to_owned();
        }
        r#"{"access_token":"abc"}"#.to_owned()
    });
    let make_agent = || {
        let server = server.clone();
        move |config| server.agent(config)
    };
    let source = ClientCredentials::new("https://id.example.com/token", "c", "s").make_agent(make_agent());
    assert_eq!(Session::new(source).unwrap().token().unwrap().secret(), "abc");
    let revocation = Revocation::new("https://id.example.com/revoke", "c").make_agent(make_agent());
    revocation.revoke(&Token::new("abc").unwrap()).unwrap();
    // What an issuer makes goes the same way.
    let issuer = Issuer::builder("https://id.example.com").make_agent(make_agent()).discover().unwrap();
    assert_eq!(Session::new(issuer.client_credentials("c", "s")).unwrap().token().unwrap().secret(), "abc");
    issuer.revocation("c").unwrap().revoke(&Token::new("abc").unwrap()).unwrap();
    let lines =
        ["POST /token", "POST /revoke", "GET /.well-known/oauth-authorization-server", "POST /token", "POST /revoke"];
    assert_eq!(server.seen(), lines.map(|line| format!("id.example.com {line} HTTP/1.1")));
}

#[test]
fn an_agent_with_another_configuration_is_refused() {
    fn error_says(error: &Error) {
        assert!(error.to_string().contains("make_agent("), "{error}");
    }

    let client = Client::builder(session().0).origin("https://api.example.com");
    let error = client.make_agent(|_| Agent::new_with_defaults()).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    error_says(&error);

    let server = Server::untouched();
    let other = |_| Agent::new_with_defaults();
    let source = ClientCredentials::new(server.url("/token"), "c", "s").make_agent(other);
    let error = Session::new(source).unwrap().token().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    error_says(&error);
    let error = Issuer::builder(server.origin()).make_agent(other).discover().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    error_says(&error);
}

#[test]
fn an_endpoint_on_this_machine_goes_by_it_too_and_ureqs_own_parts_will_do() {
    let server = InMemory::new(|_| r#"{"access_token":"abc"}"#.to_owned());
    let agent = {
        let server = server.clone();
        move |config| server.agent(config)
    };
    // For this machine and for all others.
    for url in ["https://localhost/token", "https://id.example.com/token"] {
        let source = ClientCredentials::new(url, "c", "s").make_agent(agent.clone());
        assert_eq!(Session::new(source).unwrap().token().unwrap().secret(), "abc");
    }
    assert_eq!(server.seen().len(), 2);
    // The user may wrap ureq's own parts.
    let own = |config| Agent::with_parts(config, DefaultConnector::new(), DefaultResolver::default());
    let server = Server::start(|_| Answer::ok(r#"{"access_token":"abc"}"#));
    let source = ClientCredentials::new(server.url("/token"), "c", "s").make_agent(own);
    assert_eq!(Session::new(source).unwrap().token().unwrap().secret(), "abc");
}
