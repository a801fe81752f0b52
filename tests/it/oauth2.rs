//! The grants against a token endpoint with fixed answers.

use std::io::Read as _;
use std::net::TcpListener;
use std::time::Duration;

use mockito::{Matcher, Mock, Server, ServerGuard};
use ureq::SendBody;
use ureq::middleware::MiddlewareNext;
use ureq_auth::oauth2::{ClientCredentials, RefreshToken};
use ureq_auth::{Error, ErrorKind, ManualClock, Policy, Session, Token, TokenSource};

use crate::server::{self, Answer};

/// A session that asks once, and takes no time for its pauses.
fn session(source: impl TokenSource + 'static) -> Session {
    session_with(source, None)
}

fn session_with(source: impl TokenSource + 'static, token: Option<Token>) -> Session {
    let builder = Session::builder(source).clock(ManualClock::new(None)).policy(Policy::new().with_attempts(1));
    match token {
        Some(token) => builder.token(token).build().unwrap(),
        None => builder.build().unwrap(),
    }
}

fn url(server: &ServerGuard) -> String {
    format!("{}/token", server.url())
}

fn refresh(server: &ServerGuard) -> RefreshToken {
    RefreshToken::new(url(server), "my-client", "first-refresh")
}

fn post(server: &mut ServerGuard) -> Mock {
    server.mock("POST", "/token").with_header("content-type", "application/json")
}

/// The error that a refresh ends with when this is the answer.
fn error_of(status: usize, content_type: &str, body: &str) -> Error {
    let mut server = Server::new();
    // Not post(): a header given twice is sent twice.
    let mock = server.mock("POST", "/token").with_header("content-type", content_type);
    let mock = mock.with_status(status).with_body(body).expect(1).create();
    let error = session(refresh(&server).client_secret("client-secret")).token().unwrap_err();
    mock.assert();
    error
}

#[test]
fn a_public_client_sends_its_name_in_the_body_and_nothing_more() {
    let mut server = Server::new();
    let mock = post(&mut server)
        .match_header("content-type", "application/x-www-form-urlencoded")
        .match_header("accept", "application/json")
        .match_header("authorization", Matcher::Missing)
        .match_header("transfer-encoding", Matcher::Missing)
        .match_body(
            "grant_type=refresh_token&refresh_token=first-refresh&client_id=my-client&scope=a+b\
             &resource=https%3A%2F%2Fa&resource=x%26y%3D%C3%BC",
        )
        .with_body(r#"{"access_token":"abc","token_type":"bearer","expires_in":"3600","scope":"a"}"#)
        .create();
    let source = refresh(&server).scope("a b").param("resource", "https://a").param("resource", "x&y=ü");
    let token = session(source).token().unwrap();
    assert_eq!((token.secret(), token.scope()), ("abc", Some("a")));
    assert_eq!(token.lifetime(), Some(Duration::from_secs(3600)));
    mock.assert();
}

#[test]
fn odd_credentials_are_encoded_before_base64() {
    let mut server = Server::new();
    // base64 of my%3Aclient+%25%2B%26%2F%3F%C3%BC:p%3Aw+%25%2B%26%2F%3F%3D%C3%A9%7E*
    let basic = "Basic bXklM0FjbGllbnQrJTI1JTJCJTI2JTJGJTNGJUMzJUJDOnAlM0F3KyUyNSUyQiUyNiUyRiUzRiUzRCVDMyVBOSU3RSo=";
    let mock = post(&mut server)
        .match_header("authorization", basic)
        .match_body("grant_type=client_credentials")
        .with_body(r#"{"access_token":"abc","token_type":"Bearer"}"#)
        .create();
    let source = ClientCredentials::new(url(&server), "my:client %+&/?ü", "p:w %+&/?=é~*");
    assert_eq!(session(source).token().unwrap().secret(), "abc");
    mock.assert();
}

#[test]
fn credentials_in_the_body() {
    let mut server = Server::new();
    let mock = post(&mut server)
        .match_header("authorization", Matcher::Missing)
        .match_body("grant_type=client_credentials&client_id=c%3A&client_secret=p%26+%C3%BC")
        .with_body(r#"{"access_token":"abc"}"#)
        .create();
    session(ClientCredentials::new(url(&server), "c:", "p& ü").secret_in_body()).token().unwrap();
    mock.assert();

    let mut server = Server::new();
    let mock = post(&mut server)
        .match_header("authorization", Matcher::Missing)
        .match_body("grant_type=refresh_token&refresh_token=first-refresh&client_id=my-client&client_secret=s")
        .with_body(r#"{"access_token":"abc"}"#)
        .create();
    session(refresh(&server).client_secret("s").secret_in_body()).token().unwrap();
    mock.assert();
}

#[test]
fn rotation_is_kept_and_a_replaced_refresh_token_never_sent_again() {
    let mut server = Server::new();
    let mut answer = |sent: &str, answer: &str| {
        let body = Matcher::Regex(format!("refresh_token={sent}&"));
        post(&mut server).match_body(body).with_body(answer).expect(1).create()
    };
    let first = answer("first-refresh", r#"{"access_token":"a1","refresh_token":"second"}"#);
    let second = answer("second", r#"{"access_token":"a2"}"#);
    let session = session(refresh(&server));

    let token = session.token().unwrap();
    assert_eq!((token.secret(), token.refresh_secret()), ("a1", Some("second")));
    session.accepted(&token);
    let token = session.rejected(&token).unwrap();
    assert_eq!((token.secret(), token.refresh_secret()), ("a2", Some("second")), "no new one: the old one stays");
    first.assert();
    second.assert();

    session.set(Token::new("a3").unwrap()).unwrap();
    let bare = session.token().unwrap();
    session.accepted(&bare);
    let error = session.rejected(&bare).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.to_string().contains("no refresh token left"), "{error}");
    first.assert();
}

#[test]
fn a_refresh_token_is_out_of_date_as_soon_as_its_answer_is_read() {
    let mut server = Server::new();
    let mock = post(&mut server).with_body(r#"{"access_token":"a1","refresh_token":"second"}"#).expect(1).create();
    let session = session(refresh(&server));
    session.token().unwrap();
    session.set(Token::new("a2").unwrap()).unwrap();
    let bare = session.token().unwrap();
    session.accepted(&bare);
    assert_eq!(session.rejected(&bare).unwrap_err().kind(), ErrorKind::Rejected);
    mock.assert();
}

#[test]
fn a_kept_tokens_refresh_token_comes_before_the_first_one() {
    let mut server = Server::new();
    let mock = post(&mut server)
        .match_body(Matcher::Regex("refresh_token=kept&".into()))
        .with_body(r#"{"access_token":"a2"}"#)
        .create();
    let kept = Token::new("a1").unwrap().with_refresh_token("kept");
    let session = session_with(refresh(&server), Some(kept));
    session.rejected(&session.token().unwrap()).unwrap();
    mock.assert();
    // The first one was out of date from the start.
    session.set(Token::new("a3").unwrap()).unwrap();
    let bare = session.token().unwrap();
    session.accepted(&bare);
    assert_eq!(session.rejected(&bare).unwrap_err().kind(), ErrorKind::Rejected);
}

#[test]
fn a_token_without_refresh_token_is_followed_by_the_first_one_while_that_is_new() {
    let mut server = Server::new();
    let mock = post(&mut server)
        .match_body(Matcher::Regex("refresh_token=first-refresh&".into()))
        .with_body(r#"{"access_token":"a2"}"#)
        .create();
    let session = session_with(refresh(&server), Some(Token::new("a1").unwrap()));
    assert_eq!(session.rejected(&session.token().unwrap()).unwrap().secret(), "a2");
    mock.assert();
}

#[test]
fn a_refresh_token_for_a_client_is_dropped() {
    let mut server = Server::new();
    let _mock = post(&mut server).with_body(r#"{"access_token":"abc","refresh_token":"r"}"#).create();
    let token = session(ClientCredentials::new(url(&server), "c", "s")).token().unwrap();
    assert_eq!(token.refresh_secret(), None);
}

#[test]
fn errors_by_what_came() {
    let json = "application/json";
    let long = format!(r#"{{"access_token":"a","x":"{}"}}"#, "x".repeat(64 * 1024));
    for (status, content_type, body, kind, says) in [
        (400, json, r#"{"error":"invalid_grant"}"#, ErrorKind::Rejected, "invalid_grant"),
        (401, json, r#"{"error":"invalid_client"}"#, ErrorKind::Misconfigured, "invalid_client"),
        (503, json, r#"{"error":"temporarily_unavailable"}"#, ErrorKind::Unavailable, "temporarily_unavailable"),
        (400, json, "", ErrorKind::Unavailable, "400 with an empty body"),
        (403, json, "", ErrorKind::Unavailable, "403 with an empty body"),
        (403, "text/html", "<html>", ErrorKind::Unavailable, "no reason to give the login up"),
        (400, json, r#"{"error":"access_denied"}"#, ErrorKind::Unavailable, "access_denied"),
        (200, json, r#"{"ok":false,"error":"internal_error"}"#, ErrorKind::Unavailable, "internal_error"),
        (404, "text/html", "<html>", ErrorKind::Misconfigured, "not a JSON object (text/html)"),
        (
            502,
            "text/html",
            "<html>",
            ErrorKind::Unavailable,
            "502 with something that is not a JSON object (text/html)",
        ),
        (200, "text/html", "<html>", ErrorKind::Unknown, "200 with something that is not a JSON object (text/html)"),
        (200, json, r#"{"access_token":"#, ErrorKind::Unknown, "not a JSON object"),
        (200, json, &long, ErrorKind::Unknown, "more than 65536 bytes"),
        (400, json, &long, ErrorKind::Unavailable, "more than 65536 bytes"),
        (200, json, r#"{"error":"invalid_grant"}"#, ErrorKind::Rejected, "invalid_grant"),
        (200, json, r#"{"access_token":"a","token_type":"mac"}"#, ErrorKind::Misconfigured, "\"mac\""),
    ] {
        let error = error_of(status, content_type, body);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn an_echoed_secret_does_not_get_into_the_error() {
    // The last one is what was in the header: my-client:client-secret.
    let echo = "first-refresh of client-secret, bXktY2xpZW50OmNsaWVudC1zZWNyZXQ=, is used up";
    let body = format!(r#"{{"error":"invalid_grant","error_description":"{echo}"}}"#);
    let error = error_of(400, "application/json", &body);
    let text = format!("{error} {error:?}");
    assert!(text.contains("[redacted] of [redacted], [redacted], is used up"), "{text}");
    for secret in ["first-refresh", "client-secret", "bXkt"] {
        assert!(!text.contains(secret), "{text}");
    }
    assert_eq!(error.code(), Some("invalid_grant"));
}

#[test]
fn an_echoed_parameter_does_not_get_into_the_error_unless_it_is_no_secret() {
    let mut server = Server::new();
    let body = r#"{"error":"invalid_request","error_description":"no k+ey, no k%2Bey for urn:x and urn:y"}"#;
    let mock = post(&mut server).with_status(400).with_body(body).expect(1).create();
    let source = refresh(&server).param("api_key", "k+ey").param("audience", "urn:x").param("resource", "urn:y");
    let error = session(source).token().unwrap_err();
    mock.assert();
    assert!(error.to_string().contains("no [redacted], no [redacted] for urn:x and urn:y"), "{error}");
}

#[test]
fn what_nobody_asked_for_does_not_make_an_answer_unreadable() {
    let mut server = Server::new();
    let body = r#"{"access_token":"new","refresh_token":"next","name":"Jos\ud83d","size":1e999}"#;
    let mock = post(&mut server).with_body(body).expect(1).create();
    let token = session(refresh(&server)).token().unwrap();
    mock.assert();
    assert_eq!((token.secret(), token.refresh_secret()), ("new", Some("next")));
}

#[test]
fn a_redirect_is_not_followed_whatever_the_user_sets() {
    let mut server = Server::new();
    let elsewhere = server.mock("POST", "/elsewhere").expect(0).create();
    let moved = server.mock("GET", "/elsewhere").expect(0).create();
    for status in [301, 302, 303, 307, 308] {
        let redirect = post(&mut server).with_status(status).with_header("location", "/elsewhere").expect(1).create();
        let source = refresh(&server).configure(|config| config.max_redirects(5).http_status_as_error(true));
        let error = session(source).token().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misconfigured);
        assert!(error.to_string().contains("give the final address"), "{error}");
        redirect.assert();
        redirect.remove();
    }
    elsewhere.assert();
    moved.assert();
}

#[test]
fn retry_after_is_obeyed() {
    let mut server = Server::new();
    let _mock = post(&mut server).with_status(429).with_header("retry-after", "1000").create();
    let error = session(refresh(&server)).token().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.retry_after() >= Some(Duration::from_secs(1000)), "{error:?}");
}

#[test]
fn debug_shows_no_secret() {
    let refresh = RefreshToken::new("https://id.example.com/token?key=hidden-1", "my-client", "hidden-2")
        .client_secret("hidden-3")
        .param("extra", "hidden-4");
    let post =
        RefreshToken::new("not a URL hidden-1", "my-client", "hidden-2").client_secret("hidden-3").secret_in_body();
    let service = ClientCredentials::new("https://id.example.com/token", "my-client", "hidden-5");
    let text = format!("{refresh:?} {refresh:#?} {post:?} {service:?}");
    let text = format!("{text} {:?}", service.secret_in_body());
    assert!(text.contains("my-client") && text.contains("https://id.example.com"), "{text}");
    assert!(!text.contains("hidden"), "{text}");
}

#[test]
fn every_token_request_has_a_connection_of_its_own() {
    // It keeps its connections open, as a server does that hopes for more.
    let server = server::Server::start(|_| Answer::ok(r#"{"access_token":"abc"}"#));
    let source = RefreshToken::new(server.url("/token"), "c", "r").configure(|config| config.max_idle_connections(9));
    let session = session(source);
    let mut token = session.token().unwrap();
    for _ in 0..2 {
        session.accepted(&token);
        token = session.rejected(&token).unwrap();
    }
    assert_eq!((server.connections(), server.count()), (3, 3));
}

#[test]
fn a_lost_answer_is_unknown_where_a_repeat_could_cost_the_login() {
    for answer in [Answer::wire(|_| ()), Answer::ok(r#"{"access_token":"abc""#).torn()] {
        let server = server::Server::script([answer.clone(), answer]);
        let url = server.url("/token");
        let error = session(RefreshToken::new(&url, "c", "first-refresh")).token().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unknown, "{error}");
        let error = session(ClientCredentials::new(&url, "c", "s")).token().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert_eq!(server.count(), 2);
    }
}

#[test]
fn an_error_that_breaks_off_has_issued_no_token() {
    let server = server::Server::script([Answer::new(400).body(r#"{"error":"#).torn()]);
    let error = session(RefreshToken::new(server.url("/token"), "c", "first-refresh")).token().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_eq!(server.count(), 1);
}

#[test]
fn an_endpoint_that_cannot_be_reached_has_spent_nothing() {
    // Bound and closed again: nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = session(RefreshToken::new(format!("http://{address}/token"), "c", "r")).token().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

/// On a bad link most cuts are there: a certificate is longer than a token request.
#[cfg(feature = "rustls")]
#[test]
fn handshakes_that_break_off_one_after_another_have_spent_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/token", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        // The hello is read, or the system would refuse the connection in another way.
        (0..4).for_each(|_| assert_eq!(listener.accept().unwrap().0.read(&mut [0; 4096]).unwrap().min(1), 1));
    });
    let clock = ManualClock::new(None);
    let session = Session::builder(RefreshToken::new(url, "c", "r")).clock(clock.clone()).build().unwrap();
    for _ in 0..2 {
        let error = session.token().unwrap_err();
        assert!(error.kind() == ErrorKind::Unavailable && !error.is_login_required(), "{error}");
        clock.advance(error.retry_after().unwrap());
    }
    server.join().unwrap();
}

#[test]
fn what_fails_before_the_form_was_taken_has_spent_nothing() {
    // ureq names a time-out during the connection's setup by the limit that was hit, which may be the whole request's.
    let lost = || ureq::Error::Timeout(ureq::Timeout::Global);
    let failing = |taken: u64| {
        RefreshToken::new("http://localhost:1/token", "c", "r").configure(move |config| {
            config.middleware(move |request: ureq::http::Request<SendBody>, _: MiddlewareNext| {
                let mut body = request.into_body().into_reader();
                (0..taken).for_each(|_| assert_eq!(body.read(&mut [0]).unwrap(), 1));
                Err(lost())
            })
        })
    };
    assert_eq!(session(failing(0)).token().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(session(failing(1)).token().unwrap_err().kind(), ErrorKind::Unknown);
}
