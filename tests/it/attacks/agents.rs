//! One grant, several addresses: the proxy of the environment is for those that are on another machine, whichever is asked first.

use ureq_auth::oauth2::DeviceCode;
use ureq_auth::{Client, ErrorKind, Session, Token};

use super::listener::{Listener, answer};
use super::{assert_passed, is_inside, outcome_alone};
use crate::client::session;
use crate::server::{Answer, Server};

const REMOTE: &str = "https://id.example.invalid/device";

/// A proxy that has no way to `example.invalid`, and one to everything else.
fn proxy() -> Listener {
    Listener::start(|head| match head {
        head if head.starts_with("CONNECT") && head.contains("example.invalid") => answer(502, ""),
        head if head.starts_with("CONNECT") => "HTTP/1.1 200 Connected\r\n\r\n".to_owned(),
        _ => answer(500, ""),
    })
}

/// Runs the test's inner half in a process whose environment names a proxy, and says what that has heard.
fn through_a_proxy(test: &str, no_proxy: &str, inside: impl FnOnce()) -> Option<String> {
    if is_inside() {
        inside();
        return None;
    }
    let proxy = proxy();
    let url = format!("http://127.0.0.1:{}", proxy.port());
    let output = outcome_alone(&format!("agents::{test}"), &[("ALL_PROXY", &url), ("NO_PROXY", no_proxy)])?;
    assert_passed(&output);
    Some(format!("{:?}", proxy.heard()))
}

fn issuer() -> Server {
    Server::start(|seen| {
        assert!(seen.text().contains("refresh-hunter2"), "{seen:?}");
        Answer::ok(r#"{"access_token":"fresh","expires_in":300}"#)
    })
}

/// A login at [`REMOTE`] whose token endpoint is on this machine.
fn device(issuer: &Server) -> DeviceCode {
    DeviceCode::new(REMOTE, issuer.url("/token"), "device").with_client_secret("client-hunter2")
}

fn log_in_fails(device: &DeviceCode) {
    let error = device.log_in(|_| {}).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

fn refresh_succeeds(device: &DeviceCode) {
    let old = Token::new("old").unwrap().with_refresh_token("refresh-hunter2");
    let session = Session::builder(device.source()).token(old).build().unwrap();
    let old = session.token().unwrap();
    assert_eq!(session.rejected(&old).unwrap().secret(), "fresh");
}

#[test]
fn a_token_endpoint_on_this_machine_is_asked_directly_after_an_address_elsewhere() {
    let test = "a_token_endpoint_on_this_machine_is_asked_directly_after_an_address_elsewhere";
    let heard = through_a_proxy(test, "", || {
        let issuer = issuer();
        let device = device(&issuer);
        log_in_fails(&device);
        refresh_succeeds(&device);
        assert_eq!(issuer.count(), 1);
    });
    if let Some(heard) = heard {
        assert!(heard.contains("CONNECT id.example.invalid:443"), "{heard}");
        assert!(!heard.contains("hunter2") && !heard.contains("127.0.0.1") && !heard.contains("Basic"), "{heard}");
    }
}

#[test]
fn an_address_elsewhere_is_asked_through_the_proxy_after_a_token_endpoint_on_this_machine() {
    let test = "an_address_elsewhere_is_asked_through_the_proxy_after_a_token_endpoint_on_this_machine";
    let heard = through_a_proxy(test, "", || {
        let issuer = issuer();
        let device = device(&issuer);
        refresh_succeeds(&device);
        log_in_fails(&device);
    });
    if let Some(heard) = heard {
        assert!(heard.contains("CONNECT id.example.invalid:443") && !heard.contains("hunter2"), "{heard}");
    }
}

#[test]
fn what_no_proxy_excepts_is_asked_directly_in_every_spelling_of_it() {
    let test = "what_no_proxy_excepts_is_asked_directly_in_every_spelling_of_it";
    let heard = through_a_proxy(test, "localhost,127.0.0.1", || {
        let api = Server::start(|seen| Answer::ok(seen.bearer().unwrap_or("none")));
        let port = api.address().port();
        let builder = Client::builder(session().0).origin(format!("http://localhost:{port}"));
        let client = builder.origin("https://api.example.invalid").build().unwrap();
        for address in ["http://localhost", "http://LOCALHOST", "HTTP://LocalHost"] {
            let answer = client.get(format!("{address}:{port}/")).call().unwrap().body_mut().read_to_string().unwrap();
            assert_eq!(answer, "token-1", "{address}");
        }
        client.get("https://api.example.invalid").call().unwrap_err();
    });
    if let Some(heard) = heard {
        assert!(heard.contains("CONNECT api.example.invalid:443"), "{heard}");
        assert!(!heard.contains("token-1") && !heard.to_lowercase().contains("localhost"), "{heard}");
    }
}
