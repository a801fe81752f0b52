//! Asks an issuer where its endpoints are, with a private CA if need be, and gets a token.
//!
//! - `cargo run --example discover`: with an issuer of its own.
//! - `cargo run --example discover -- ISSUER [--ca FILE.pem] [CLIENT_ID CLIENT_SECRET]`: with a real one.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod loopback;

use std::sync::OnceLock;

use ureq::config::ConfigBuilder;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::typestate::AgentScope;
use ureq_auth::Session;
use ureq_auth::oauth2::Issuer;

type Failure = Box<dyn std::error::Error>;

static ORIGIN: OnceLock<String> = OnceLock::new();

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments {
        [] => {
            let issuer = ORIGIN.get_or_init(|| loopback::serve(answer).unwrap_or_default());
            run(discover(issuer), Some(("demo", "a secret")))
        }
        [issuer] => run(discover(issuer), None),
        [issuer, "--ca", file] => run(with_private_ca(issuer, file), None),
        [issuer, "--ca", file, id, secret] => run(with_private_ca(issuer, file), Some((id, secret))),
        [issuer, id, secret] => run(discover(issuer), Some((id, secret))),
        _ => Err("usage: discover [ISSUER [--ca FILE.pem] [CLIENT_ID CLIENT_SECRET]]".into()),
    }
}

fn run(found: Result<Issuer, Failure>, client: Option<(&str, &str)>) -> Result<(), Failure> {
    let issuer = found?;
    println!("issuer                 {}", issuer.issuer());
    println!("tokens                 {}", issuer.token_endpoint());
    println!("device authorization   {}", issuer.device_authorization_endpoint().unwrap_or("-"));
    println!("revocation             {}", issuer.revocation_endpoint().unwrap_or("-"));
    if let Some((id, secret)) = client {
        // It reaches the server as the discovery did: with the same CA.
        let session = Session::new(issuer.client_credentials(id, secret))?;
        println!("{:?}", session.token()?);
    }
    Ok(())
}

fn discover(issuer: &str) -> Result<Issuer, Failure> {
    Ok(Issuer::discover(issuer)?)
}

/// A server whose certificate is of a CA that nobody else knows: what is in its PEM file is trusted, and nothing else.
fn with_private_ca(issuer: &str, file: &str) -> Result<Issuer, Failure> {
    let settings = private_ca(&std::fs::read(file)?)?;
    Ok(Issuer::builder(issuer).configure(settings).discover()?)
}

type Config = ConfigBuilder<AgentScope>;

/// The same closure goes to `Client::builder(..).configure(..)` where the API has such a certificate too.
fn private_ca(pem: &[u8]) -> Result<impl Fn(Config) -> Config + Send + Sync + 'static, Failure> {
    let mut certificates = Vec::new();
    for item in parse_pem(pem) {
        if let PemItem::Certificate(certificate) = item? {
            certificates.push(certificate);
        }
    }
    let roots = RootCerts::new_with_certs(&certificates);
    Ok(move |config: Config| config.tls_config(TlsConfig::builder().root_certs(roots.clone()).build()))
}

/// The issuer: metadata, and a token for everybody who has the secret.
fn answer(path: &str, authorization: &str, _body: &str) -> (u16, String) {
    let origin = ORIGIN.get().map_or("", String::as_str);
    match path {
        "/.well-known/oauth-authorization-server" => (
            200,
            format!(
                r#"{{"issuer":"{origin}","token_endpoint":"{origin}/token","revocation_endpoint":"{origin}/revoke"}}"#
            ),
        ),
        "/token" if authorization.starts_with("Basic ") => (200, r#"{"access_token":"abc","expires_in":300}"#.into()),
        _ => (404, "{}".into()),
    }
}
