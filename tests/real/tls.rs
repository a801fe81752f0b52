//! An issuer with a certificate of a private CA.

use serde_json::json;
use ureq::config::ConfigBuilder;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};
use ureq::typestate::AgentScope;
use ureq_auth::oauth2::{Issuer as Discovered, RefreshToken};
use ureq_auth::{ErrorKind, Session};

use crate::servers::{Api, Issuer, installed};

fn certificates(pem: &[u8]) -> Vec<Certificate<'static>> {
    let certificate = |item| if let PemItem::Certificate(certificate) = item { Some(certificate) } else { None };
    parse_pem(pem).filter_map(|item| certificate(item.unwrap())).collect()
}

fn trusting(pem: &[u8]) -> impl Fn(ConfigBuilder<AgentScope>) -> ConfigBuilder<AgentScope> + Send + Sync + 'static {
    showing(pem, None)
}

fn showing(
    ca: &[u8],
    own: Option<ClientCert>,
) -> impl Fn(ConfigBuilder<AgentScope>) -> ConfigBuilder<AgentScope> + Send + Sync + 'static {
    let roots = RootCerts::new_with_certs(&certificates(ca));
    move |config| config.tls_config(TlsConfig::builder().root_certs(roots.clone()).client_cert(own.clone()).build())
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

#[test]
fn a_client_is_known_by_the_certificate_of_its_connection() {
    let Some(place) = installed() else { return };
    let issuer = Issuer::start(json!({ "tls": place.join("tls"), "mtls": true })).unwrap();
    let read = |name: &str| std::fs::read(place.join("tls").join(name)).unwrap();
    let key = PrivateKey::from_pem(&read("client-key.pem")).unwrap();
    let own = ClientCert::new_with_certs(&certificates(&read("client-cert.pem")), key);

    let found = Discovered::builder(issuer.url()).configure(trusting(&read("ca.pem"))).discover().unwrap();
    let service = || found.client_credentials_without_secret("certified");
    let session = Session::new(service().configure(showing(&read("ca.pem"), Some(own)))).unwrap();
    let token = session.token().unwrap();
    assert!(token.times().exp.is_some());
    let error = Session::new(service()).unwrap().token().unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Misconfigured, Some("invalid_client")), "{error}");
}
