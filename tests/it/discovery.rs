//! Discovery: both places, and whose metadata counts.

use std::net::TcpListener;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ureq_auth::oauth2::Issuer;
use ureq_auth::{Error, ErrorKind, Session};

use crate::server::{Answer, Server};

/// A server that has `answer` at one place, given its own address, and nothing at any other.
fn serving(place: &'static str, answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Server {
    let own = Arc::new(OnceLock::<String>::new());
    let origin = Arc::clone(&own);
    let server = Server::start(move |seen| match seen.target == place {
        true => answer(origin.get().unwrap()),
        false => Answer::new(404).body("<html>not here"),
    });
    own.set(server.origin()).unwrap();
    server
}

fn metadata(issuer: &str, server: &str) -> String {
    format!(
        r#"{{"issuer":"{issuer}","token_endpoint":"{server}/t","device_authorization_endpoint":"{server}/d",
            "revocation_endpoint":"{server}/r","grant_types_supported":["x"],"jwks_uri":"{server}/k"}}"#
    )
}

fn error_of(answer: Answer) -> Error {
    let server = Server::start(move |_| answer.clone());
    Issuer::discover(&server.origin()).unwrap_err()
}

#[test]
fn metadata_is_found_where_either_standard_puts_it() {
    for (path, place, asked) in [
        ("", "/.well-known/oauth-authorization-server", 1),
        ("", "/.well-known/openid-configuration", 2),
        ("/", "/.well-known/openid-configuration", 2),
        ("/realms/a", "/.well-known/oauth-authorization-server/realms/a", 1),
        ("/realms/a", "/realms/a/.well-known/openid-configuration", 2),
        ("/realms/a/", "/.well-known/oauth-authorization-server/realms/a", 1),
    ] {
        let server = serving(place, move |origin| Answer::ok(metadata(&format!("{origin}{path}"), origin)));
        let url = server.url(path);
        let issuer = Issuer::discover(&url).unwrap();
        assert_eq!((issuer.issuer(), server.count()), (&*url, asked), "{place}");
        assert_eq!(issuer.token_endpoint(), server.url("/t"));
        assert_eq!(issuer.device_authorization_endpoint(), Some(&*server.url("/d")));
        assert_eq!(issuer.revocation_endpoint(), Some(&*server.url("/r")));
        assert_eq!(server.seen()[0].header("accept"), Some("application/json"));
    }
}

#[test]
fn another_issuers_metadata_is_refused_to_the_letter() {
    for own in ["{}/", "{}/x", "http://LOCALHOST", "https://id.example.com", "", "not a URL"] {
        let server = serving("/.well-known/openid-configuration", move |origin| {
            Answer::ok(metadata(&own.replace("{}", origin), origin))
        });
        let error = Issuer::discover(&server.origin()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misconfigured, "{own}: {error}");
        assert_eq!(server.count(), 2);
        let named = error.to_string().contains("RFC 8414 section 3.3");
        assert_eq!(named, own.contains("://") || own.starts_with("{}"), "{own}: {error}");
    }
}

#[test]
fn one_place_may_be_wrong_if_the_other_is_right() {
    let own = Arc::new(OnceLock::<String>::new());
    let origin = Arc::clone(&own);
    let server = Server::start(move |seen| {
        let origin = origin.get().unwrap();
        match seen.target.as_str() {
            // A server that ignores what comes after the well-known part.
            "/.well-known/oauth-authorization-server/a" => Answer::ok(metadata(origin, origin)),
            _ => Answer::ok(metadata(&format!("{origin}/a"), origin)),
        }
    });
    own.set(server.origin()).unwrap();
    assert_eq!(Issuer::discover(&server.url("/a")).unwrap().issuer(), server.url("/a"));
}

#[test]
fn what_is_no_metadata() {
    let too_long = format!(r#"{{"issuer":"{}"}}"#, "x".repeat(64 * 1024));
    for (answer, kind, says) in [
        (Answer::new(404), ErrorKind::Misconfigured, "answered 404"),
        (Answer::ok("<html>"), ErrorKind::Misconfigured, "answered 200"),
        (Answer::ok(too_long), ErrorKind::Misconfigured, "answered 200"),
        (Answer::ok("{}"), ErrorKind::Misconfigured, "names no issuer"),
        // An address to http's parser, but one that could steer the terminal that shows it.
        (Answer::ok(r#"{"issuer":"https://id.example.com/\u009b31m"}"#), ErrorKind::Misconfigured, "names no issuer"),
        (Answer::redirect(302, "https://elsewhere.example"), ErrorKind::Misconfigured, "answered 302"),
        (Answer::new(503), ErrorKind::Unavailable, "answered 503"),
        (Answer::new(429), ErrorKind::Unavailable, "try again later"),
    ] {
        let error = error_of(answer);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn endpoints_that_secrets_cannot_be_sent_to() {
    let place = "/.well-known/openid-configuration";
    for (endpoint, says) in [
        (r#""token_endpoint":"http://id.example.com/t""#, "plain http"),
        (r#""token_endpoint":"/t""#, "no scheme"),
        (r#""token_endpoint":["https://x/t"]"#, "no token endpoint"),
        (r#""device_authorization_endpoint":"https://x/d""#, "no token endpoint"),
    ] {
        let server = serving(place, move |origin| Answer::ok(format!(r#"{{"issuer":"{origin}",{endpoint}}}"#)));
        let error = Issuer::discover(&server.origin()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misconfigured);
        assert!(error.to_string().contains(says), "{error}");
    }

    // Not everybody needs the others: they are missed when they are asked for.
    let server = serving(place, |origin| {
        let device = r#""device_authorization_endpoint":"http://id.example.com/d""#;
        Answer::ok(format!(r#"{{"issuer":"{origin}","token_endpoint":"{origin}/t",{device}}}"#))
    });
    let issuer = Issuer::discover(&server.origin()).unwrap();
    for error in [issuer.device_code("c").unwrap_err(), issuer.revocation("c").unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Misconfigured);
        assert!(error.to_string().contains("names no usable"), "{error}");
    }
}

#[test]
fn addresses_that_are_no_issuers() {
    for (url, says) in [
        ("", "is empty"),
        ("id.example.com", "https://"),
        ("http://id.example.com", "plain http"),
        ("https://id.example.com?a=1", "query"),
        ("https://id.example.com#a", "fragment"),
    ] {
        let error = Issuer::discover(url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(says), "{error}");
    }
    let error = Issuer::builder("https://id.example.com").timeout(Duration::ZERO).discover().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_server_that_is_not_there_is_unavailable() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Issuer::discover(&format!("http://{nobody}")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[test]
fn what_an_issuer_makes_goes_the_way_of_the_discovery() {
    let own = Arc::new(OnceLock::<String>::new());
    let origin = Arc::clone(&own);
    let server = Server::start(move |seen| {
        let origin = origin.get().unwrap();
        assert_eq!(seen.header("user-agent"), Some("mine"), "{seen}");
        match seen.target.as_str() {
            "/t" => Answer::ok(r#"{"access_token":"abc","refresh_token":"r"}"#),
            "/r" => Answer::ok(""),
            "/d" => Answer::ok(r#"{"device_code":"d","user_code":"u","verification_uri":"https://x","interval":1}"#),
            _ => Answer::ok(metadata(origin, origin)),
        }
    });
    own.set(server.origin()).unwrap();
    let issuer = Issuer::builder(server.origin()).configure(|config| config.user_agent("mine")).discover().unwrap();

    let token = |session: Result<Session, Error>| session.unwrap().token().unwrap();
    assert_eq!(token(Session::new(issuer.client_credentials("c", "s"))).secret(), "abc");
    let token = token(Session::new(issuer.refresh_token("c", "kept")));
    issuer.revocation("c").unwrap().revoke(&token).unwrap();
    let session = Session::new(issuer.after_login("c")).unwrap();
    assert_eq!(session.token().unwrap_err().kind(), ErrorKind::NotLoggedIn);
    let device = issuer.device_code("c").unwrap().clock(ureq_auth::ManualClock::new(None));
    session.set(device.log_in(|_| {}).unwrap()).unwrap();
    assert_eq!(session.token().unwrap().secret(), "abc");
}
