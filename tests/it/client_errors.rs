//! Unusable values: each error, read aloud, says what was wrong and what to do.

use ureq::Agent;
use ureq_auth::{Client, ErrorKind, Session, Token};

use crate::client::session;
use crate::server::Server;

fn refused(origin: &str) -> String {
    let error = Client::new(session().0, origin).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{origin:?}: {error}");
    assert!(!error.is_retryable() && !error.is_login_required());
    error.to_string()
}

#[test]
fn what_is_no_origin_is_refused_with_advice() {
    for (origin, advice) in [
        ("", "give an address such as https://example.com"),
        ("api.example.com", "begin it with https://"),
        ("localhost:8080", "begin it with https://"),
        ("https://api.example.com/v1", "write https://api.example.com"),
        ("https://api.example.com?key=1", "write https://api.example.com"),
        ("https://me:hunter2@api.example.com", "leave that out"),
        ("https://api.example.com:99999", "from 1 to 65535"),
        ("https://api example.com", "look for blanks"),
        ("https://api.example.com\r\n", "line breaks"),
        ("ftp://api.example.com", "only those can be used"),
        ("http://api.example.com", "use https, or allow_plain_http()"),
    ] {
        let message = refused(origin);
        assert!(message.contains(advice), "{origin:?}: {message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn a_client_without_an_origin_is_refused() {
    let error = Client::builder(session().0).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("needs an origin"), "{error}");
}

#[test]
fn one_bad_origin_among_good_ones_is_refused() {
    let builder = Client::builder(session().0).origin("https://a.example").origin("http://b.example");
    assert!(builder.build().unwrap_err().to_string().contains("http://b.example"));
}

#[test]
fn plain_http_to_another_machine_has_to_be_asked_for() {
    Client::builder(session().0).origin("http://api.example").allow_plain_http().build().unwrap();
    for loopback in ["http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1"] {
        Client::new(session().0, loopback).unwrap();
    }
}

#[test]
fn a_configuration_that_was_not_built_on_the_clients_own_is_refused() {
    let server = Server::untouched();
    let builder = Client::builder(session().0).origin(server.origin());
    let error = builder.configure(|_| Agent::config_builder()).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("begin with the argument"), "{error}");
}

#[test]
fn a_malformed_url_is_ureqs_error_and_nothing_is_sent() {
    let server = Server::untouched();
    let (session, calls) = session();
    let client = Client::new(session, &server.origin()).unwrap();
    for url in ["/path", "no scheme", "http://", ""] {
        client.get(url).call().unwrap_err();
    }
    assert_eq!(calls.count(), 0);
}

#[test]
fn a_token_of_another_session_is_refused() {
    let token = session().0.token().unwrap();
    let error = session().0.rejected(&token).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("the session it came from"), "{error}");
}

#[test]
fn debug_of_everything_shows_no_token() {
    let session = Session::builder(|_: Option<&Token>| Ok(Token::new("unused")?))
        .token(Token::new("access-hunter2").unwrap().with_refresh_token("refresh-hunter2"));
    let builder = format!("{session:?}");
    let session = session.build().unwrap();
    let client = Client::builder(session.clone()).origin("https://api.example");
    let shown = format!("{builder} {session:#?} {client:#?} {:#?}", client_of(session.clone()));
    assert!(shown.contains("https://api.example") && shown.contains("[redacted]"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

fn client_of(session: Session) -> Client {
    Client::new(session, "https://api.example").unwrap()
}
