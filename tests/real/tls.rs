//! An issuer with a certificate of a private CA.

use serde_json::json;
use ureq::config::ConfigBuilder;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::typestate::AgentScope;
use ureq_auth::oauth2::{Issuer as Discovered, RefreshToken};
use ureq_auth::{ErrorKind, Session};

use crate::servers::{Api, Issuer, installed};

fn trusting(pem: &[u8]) -> impl Fn(ConfigBuilder<AgentScope>) -> ConfigBuilder<AgentScope> + Send + Sync + 'static {
    let certificates: Vec<Certificate<'static>> = parse_pem(pem)
        .filter_map(|item| match item.unwrap() {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    let roots = RootCerts::new_with_certs(&certificates);
    move |config| config.tls_config(TlsConfig::builder().root_certs(roots.clone()).build())
}

#[test]
fn a_private_ca_is_trusted_where_it_is_given_and_only_there() {
    let Some(place) = installed() else { return };
    let issuer = Issuer::start(json!({ "tls": place.join("tls") })).unwrap();
    let ca = std::fs::read(place.join("tls/ca.pem")).unwrap();

    let error = Discovered::discover(issuer.url()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let endpoint = format!("{}/token", issuer.url());
    let error = Session::new(RefreshToken::new(endpoint, "device", "r")).unwrap().token().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "nothing was sent: {error}");

    let found = Discovered::builder(issuer.url()).configure(trusting(&ca)).discover().unwrap();
    assert!(found.token_endpoint().starts_with("https://"));
    let session = Session::new(found.client_credentials("service", "service-secret")).unwrap();
    // The API asks the same issuer for its keys, and is plain http on loopback itself.
    let api = Api::start(&issuer);
    assert_eq!(api.status(&api.client(&session), "/notes").unwrap(), 200);
}
