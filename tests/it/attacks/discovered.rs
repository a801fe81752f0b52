//! Metadata that an attacker has written, or somebody with two left hands: an address in it that ureq reads otherwise, or
//! panics at, is an error of the discovery.

use std::sync::{Arc, OnceLock};

use ureq_auth::oauth2::{DeviceCode, Issuer, RefreshToken};
use ureq_auth::{ErrorKind, Session};

use crate::server::{Answer, Server};

const ADDRESSES: [&str; 10] = [
    "http://127.0.0.1:99999/t",
    "http://127.0.0.1:+80/t",
    "http://127.0.0.1:0/t",
    "http://[::1%25lo]/t",
    "http://[::1].x:80/t",
    "http://a[]/t",
    "http://:80/t",
    "socks5://127.0.0.1/t",
    "http://me:pw@127.0.0.1/t",
    "//127.0.0.1/t",
];

/// What ureq's cookie jar panics at.
#[cfg(feature = "cookies")]
const NO_URLS: [&str; 4] =
    ["https://xn--a/t", "https://999.0.0.1/t", "https://127.0.0.1.1/t", "https://xn--a-.example/t"];
#[cfg(not(feature = "cookies"))]
const NO_URLS: [&str; 0] = [];

fn discover(token: &str, device: &str) -> ureq_auth::Result<Issuer> {
    let own: Arc<OnceLock<String>> = Arc::default();
    let (issuer, token, device) = (Arc::clone(&own), token.to_owned(), device.to_owned());
    let server = Server::start(move |_| {
        let issuer = issuer.get().unwrap();
        Answer::ok(format!(
            r#"{{"issuer":"{issuer}","token_endpoint":"{token}","device_authorization_endpoint":"{device}","revocation_endpoint":"{device}"}}"#
        ))
    });
    own.set(server.origin()).unwrap();
    Issuer::discover(&server.origin())
}

#[test]
fn a_token_endpoint_that_ureq_would_read_otherwise_is_refused() {
    for address in ADDRESSES.into_iter().chain(NO_URLS) {
        let error = discover(address, "https://id.example/d").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misconfigured, "{address}: {error}");
        assert!(error.to_string().contains("no secret can be sent to"), "{address}: {error}");
    }
}

#[test]
fn the_other_endpoints_are_as_good_as_not_named() {
    for address in ADDRESSES.into_iter().chain(NO_URLS) {
        let issuer = discover("https://id.example/t", address).unwrap();
        assert_eq!((issuer.device_authorization_endpoint(), issuer.revocation_endpoint()), (None, None), "{address}");
        assert_eq!(issuer.device_code("device").unwrap_err().kind(), ErrorKind::Misconfigured, "{address}");
    }
}

#[test]
fn an_address_that_is_given_by_hand_is_refused_as_well() {
    for address in ADDRESSES.into_iter().chain(NO_URLS) {
        let error = Session::new(RefreshToken::new(address, "client", "r")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{address}: {error}");
        let error = DeviceCode::new(address, "https://id.example/t", "client").log_in(|_| {}).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{address}: {error}");
    }
}
