//! The beginning and the end of a session, and what callers get before, after and in between.

use std::time::Duration;

use ureq_auth::oauth2::{RefreshToken, Revocation};
use ureq_auth::{ErrorKind, ManualClock, Session, Token};

use crate::client::in_threads;
use crate::server::{Answer, Gate, Seen, Server};

fn revocation(server: &Server) -> Revocation {
    Revocation::new(server.url("/revoke"), "my-client")
}

fn token() -> Token {
    Token::new("access").unwrap().with_refresh_token("refresh")
}

#[test]
fn three_kinds_of_no() {
    let server = Server::script([Answer::new(400).body(r#"{"error":"invalid_grant"}"#)]);
    let session = Session::new(RefreshToken::after_login(server.url("/token"), "my-client")).unwrap();
    for _ in 0..3 {
        let error = session.token().unwrap_err();
        assert_eq!((error.kind(), error.is_login_required()), (ErrorKind::NotLoggedIn, true), "before the login");
        assert!(error.to_string().contains("nobody has logged in yet"), "{error}");
    }

    session.set(token()).unwrap();
    assert_eq!(session.token().unwrap().secret(), "access");
    assert_eq!(session.end().unwrap().unwrap().secret(), "access");
    let error = session.token().unwrap_err();
    assert_eq!((error.kind(), error.is_login_required()), (ErrorKind::LoggedOut, true), "after the logout");
    assert!(session.end().unwrap().is_none());

    session.set(token()).unwrap();
    let current = session.token().unwrap();
    assert_eq!(session.rejected(&current).unwrap_err().kind(), ErrorKind::Rejected);
    let error = session.token().unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Rejected, Some("invalid_grant")), "after the server's end");
    assert!(error.is_login_required());

    session.set(token()).unwrap();
    assert_eq!(session.token().unwrap().secret(), "access", "and a login is the way out of each");
}

#[test]
fn a_login_without_a_refresh_token_lasts_as_long_as_its_token() {
    let server = Server::untouched();
    let clock = ManualClock::new(None);
    let source = RefreshToken::after_login(server.url("/token"), "my-client");
    let session = Session::builder(source).clock(clock.clone()).build().unwrap();
    session.set(Token::new("access").unwrap().with_expires_in(Duration::from_secs(100))).unwrap();
    clock.advance(Duration::from_secs(99));
    assert_eq!(session.token().unwrap().secret(), "access", "to its very end");
    clock.advance(Duration::from_secs(1));
    let error = session.token().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotLoggedIn);
    assert!(error.to_string().contains("without a refresh token"), "{error}");
}

#[test]
fn what_a_revocation_says() {
    let server = Server::script([Answer::ok(""), Answer::ok("{}"), Answer::ok("<html>"), Answer::new(204)]);
    let revocation_of = |token: &Token| revocation(&server).revoke(token);
    revocation_of(&token()).unwrap();
    revocation_of(&Token::new("only-access").unwrap()).unwrap();
    revocation(&server).with_client_secret("s").revoke(&token()).unwrap();
    revocation(&server).with_client_secret_post("s").revoke(&token()).unwrap();
    let seen = server.seen();
    assert_eq!(
        seen.iter().map(Seen::text).collect::<Vec<_>>(),
        [
            "token=refresh&token_type_hint=refresh_token&client_id=my-client",
            "token=only-access&token_type_hint=access_token&client_id=my-client",
            "token=refresh&token_type_hint=refresh_token",
            "token=refresh&token_type_hint=refresh_token&client_id=my-client&client_secret=s",
        ]
    );
    assert_eq!(seen[2].header("authorization"), Some("Basic bXktY2xpZW50OnM="));
}

#[test]
fn to_revoke_what_is_revoked_unknown_or_expired_is_a_success() {
    for (who, status, body) in [
        ("Google: revoked already", 400, r#"{"error":"invalid_token","error_description":"Token expired or revoked"}"#),
        ("Salesforce", 400, r#"{"error":"invalid_token","error_description":"invalid token: x"}"#),
        ("another status", 404, r#"{"error":"invalid_token"}"#),
        ("RFC 6750's status", 401, r#"{"error":"invalid_token"}"#),
        ("RFC 6749's code", 400, r#"{"error":"invalid_grant"}"#),
        ("expired", 400, r#"{"error":"expired_token"}"#),
        ("Twitch", 400, r#"{"status":400,"message":"Invalid token"}"#),
        ("Fitbit", 401, r#"{"errors":[{"errorType":"invalid_token","message":"x"}],"success":false}"#),
        ("Slack, in a 200", 200, r#"{"ok":false,"error":"token_revoked"}"#),
        ("a code of its own", 409, r#"{"code":"TOKEN_ALREADY_REVOKED"}"#),
        ("gone", 410, r#"{"message":"The refresh token has already been revoked."}"#),
        ("an object", 400, r#"{"error":{"code":"invalid_token"}}"#),
        ("invalid_request, explained", 400, r#"{"error":"invalid_request","error_description":"Token not found"}"#),
        ("form-urlencoded", 400, "error=invalid_token"),
    ] {
        let server = Server::script([Answer::new(status).body(body)]);
        let result = revocation(&server).revoke(&token());
        assert!(result.is_ok(), "{who}: {result:?}");
    }
}

#[test]
fn nothing_else_is_taken_for_a_revocation() {
    let (refused, later) = (ErrorKind::Misconfigured, ErrorKind::Unavailable);
    for (status, body, kind, says) in [
        (401, r#"{"error":"invalid_client","error_description":"Invalid token"}"#, refused, "settings"),
        (401, r#"{"error":{"code":"invalid_client","message":"Invalid token"}}"#, refused, "settings"),
        (403, r#"{"error":"unauthorized_client"}"#, refused, "unauthorized_client"),
        (400, r#"{"error":"invalid_request"}"#, refused, "invalid_request"),
        (
            400,
            r#"{"error":"invalid_request","error_description":"invalid token_type_hint"}"#,
            refused,
            "token_type_hint",
        ),
        (400, r#"{"error":"invalid_request","error_description":"missing token"}"#, refused, "missing token"),
        (400, r#"{"message":"The token has not been revoked"}"#, refused, "has not been revoked"),
        (404, r#"{"status":404,"message":"client does not exist"}"#, refused, "client does not exist"),
        (404, "<html>Invalid token</html>", refused, "is this the revocation endpoint's address?"),
        (403, "<html>", refused, "403"),
        (400, "", refused, "400"),
        (302, r#"{"error":"invalid_token"}"#, refused, "redirects are not followed"),
        (200, r#"{"ok":false,"error":"invalid_client"}"#, refused, "invalid_client"),
        (200, r#"{"error":"server_error"}"#, later, "later"),
        (429, r#"{"message":"Invalid token"}"#, later, "later"),
        (503, r#"{"error":"invalid_token"}"#, later, "later"),
        (500, r#"{"error":"invalid_token"}"#, later, "later"),
    ] {
        let server = Server::script([Answer::new(status).body(body)]);
        let error = revocation(&server).revoke(&token()).unwrap_err();
        assert_eq!(error.kind(), kind, "{status} {body}: {error}");
        let text = error.to_string();
        assert!(text.contains("the refresh token may still be valid") && text.contains(says), "{text}");
    }
}

#[test]
fn a_kind_of_token_that_is_not_revoked_is_said_to_live_on() {
    for (token, says) in [
        (token(), "this server does not revoke refresh tokens: it is valid until it expires"),
        (Token::new("only-access").unwrap(), "this server does not revoke access tokens: it is valid until it expires"),
    ] {
        // Asked once: the other token of the two is not revoked in its place.
        let server = Server::script([Answer::new(400).body(r#"{"error":"unsupported_token_type"}"#)]);
        let error = revocation(&server).revoke(&token).unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Misconfigured, Some("unsupported_token_type")), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn a_logout_ends_the_session_whatever_the_server_says() {
    let later = Answer::new(503).header("Retry-After", "120");
    for (answer, kind, says) in [
        (later, ErrorKind::Unavailable, "503"),
        (
            Answer::new(400).body(r#"{"error":"unsupported_token_type"}"#),
            ErrorKind::Misconfigured,
            "unsupported_token_type",
        ),
        (Answer::new(401).body(r#"{"error":"invalid_client"}"#), ErrorKind::Misconfigured, "invalid_client"),
        (Answer::new(403), ErrorKind::Misconfigured, "403"),
        (Answer::new(400).body(r#"{"error":"x","error_description":"refresh access"}"#), ErrorKind::Misconfigured, "x"),
        (Answer::redirect(302, "/elsewhere"), ErrorKind::Misconfigured, "302"),
    ] {
        let server = Server::script([answer]);
        let session = Session::new(RefreshToken::after_login(server.url("/token"), "my-client")).unwrap();
        session.set(token()).unwrap();
        let error = revocation(&server).log_out(&session).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        let text = error.to_string();
        assert!(text.contains("the revocation endpoint answered") && text.contains(says), "{text}");
        assert!(!text.contains("refresh access"), "{text}");
        let pause = (kind == ErrorKind::Unavailable).then_some(Duration::from_secs(120));
        assert_eq!(error.retry_after(), pause);
        assert_eq!(session.token().unwrap_err().kind(), ErrorKind::LoggedOut);
        revocation(&server).log_out(&session).unwrap();
        assert_eq!(server.count(), 1, "there is nothing left to revoke");
    }
}

#[test]
fn a_revocation_that_cannot_be_sent() {
    let invalid = |revocation: Revocation| revocation.revoke(&token()).unwrap_err();
    assert_eq!(invalid(Revocation::new("http://id.example.com/r", "c")).kind(), ErrorKind::InvalidInput);
    let error = invalid(Revocation::new("", "c"));
    assert!(error.to_string().contains("the revocation URL is empty"), "{error}");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(invalid(Revocation::new(format!("http://{nobody}"), "c")).kind(), ErrorKind::Unavailable);
}

#[test]
fn a_logout_does_not_wait_for_the_refresh_under_way() {
    let (asked, answer_now) = (Gate::new(1), Gate::new(1));
    let (is_asked, gate) = (asked.clone(), answer_now.clone());
    let server = Server::start(move |seen| match seen.target.as_str() {
        "/token" => {
            is_asked.open();
            gate.wait();
            Answer::ok(r#"{"access_token":"late","refresh_token":"late"}"#)
        }
        _ => Answer::ok(""),
    });
    let session = Session::new(RefreshToken::after_login(server.url("/token"), "my-client")).unwrap();
    session.set(token()).unwrap();
    let current = session.token().unwrap();
    std::thread::scope(|scope| {
        let refreshing = scope.spawn(|| session.rejected(&current));
        asked.wait();
        revocation(&server).log_out(&session).unwrap();
        answer_now.open();
        assert_eq!(refreshing.join().unwrap().unwrap_err().kind(), ErrorKind::LoggedOut);
    });
    assert!(session.current().is_none());
}

#[test]
fn two_sessions_in_flight_at_once_share_nothing() {
    // Both token requests are in before either is answered: one session's flight does not hold up the other's.
    let both = Gate::new(2);
    let server = Server::start(move |seen| {
        both.arrive();
        let scope = if seen.text().contains("scope=a") { "a" } else { "b" };
        assert!(seen.text().contains(&format!("refresh_token=refresh-{scope}&")), "{}", seen.text());
        Answer::ok(format!(r#"{{"access_token":"{scope}","scope":"{scope}","refresh_token":"next-{scope}"}}"#))
    });
    let session = |scope: &str| {
        let source = RefreshToken::new(server.url("/token"), "my-client", format!("refresh-{scope}")).with_scope(scope);
        Session::new(source).unwrap()
    };
    let sessions = [("a", session("a")), ("b", session("b"))];
    let tokens = in_threads(16, |number| {
        let (scope, session) = &sessions[number % 2];
        (*scope, session.token().unwrap())
    });
    for (scope, token) in tokens {
        assert_eq!((token.secret(), token.scope(), token.generation()), (scope, Some(scope), 1));
        assert_eq!(token.refresh_secret(), Some(&*format!("next-{scope}")));
    }
    assert_eq!(server.count(), 2, "one token call for each");

    // The end of one is not the other's, nor is a refused token.
    let [(_, a), (_, b)] = &sessions;
    assert_eq!(a.rejected(&b.token().unwrap()).unwrap_err().kind(), ErrorKind::InvalidInput);
    a.end().unwrap();
    assert_eq!(a.token().unwrap_err().kind(), ErrorKind::LoggedOut);
    assert_eq!(b.token().unwrap().secret(), "b");
}
