//! The token endpoint: what it answers, what gets lost, and what the server counts of it all.

use std::thread;
use std::time::Duration;

use serde_json::json;
use ureq_auth::oauth2::RefreshToken;
use ureq_auth::{ErrorKind, Policy, Session, Token};

use crate::servers::{Api, Issuer};

const ODD_ID: &str = "odd:id %+&/?";
const ODD_SECRET: &str = "odd:secret %+&/?=~*";

/// A token that the API refuses, so that a refresh is due.
fn refused(session: &Session) -> Result<std::sync::Arc<Token>, ureq_auth::Error> {
    let token = session.token()?;
    session.accepted(&token);
    session.rejected(&token)
}

#[test]
fn odd_credentials_are_understood() {
    let Some(issuer) = Issuer::start(json!({})) else { return };
    let api = Api::start(&issuer);
    let found = issuer.discover();
    let sessions = [
        Session::new(found.client_credentials("service", "service-secret")),
        Session::new(found.client_credentials(ODD_ID, ODD_SECRET)),
        Session::new(found.client_credentials("poster", ODD_SECRET).with_secret_in_body()),
        Session::new(found.refresh_token(ODD_ID, issuer.login_of(ODD_ID)).with_client_secret(ODD_SECRET)),
        Session::new(found.refresh_token("poster", issuer.login_of("poster")).with_client_secret_post(ODD_SECRET)),
    ];
    for session in sessions {
        assert_eq!(api.status(&api.client(&session.unwrap()), "/notes").unwrap(), 200);
    }
    let wrong = Session::new(found.client_credentials(ODD_ID, "wrong")).unwrap().token().unwrap_err();
    assert_eq!((wrong.kind(), wrong.code()), (ErrorKind::Misconfigured, Some("invalid_client")), "{wrong}");
}

#[test]
fn answers_with_less_in_them() {
    let Some(issuer) = Issuer::start(json!({ "ttl": 600 })) else { return };
    issuer.control("set", json!({ "rotate": false }));
    let session = issuer.session();
    issuer.next(json!({ "lower": true, "without": ["expires_in", "scope", "refresh_token"] }));
    let token = session.token().unwrap();
    assert_eq!(token.lifetime(), Some(Duration::from_secs(600)), "from the JWT");
    assert_eq!(token.scope(), None);
    // The old refresh token is still the one to use.
    assert!(refused(&session).unwrap().scope().unwrap().contains("notes:read"));
    assert_eq!((issuer.counts().refreshes(), session.stats().refreshes), (2, 2));
}

#[test]
fn answers_with_nothing_in_them() {
    let Some(issuer) = Issuer::start(json!({})) else { return };
    for status in [400, 403] {
        let session = issuer.session();
        issuer.next(json!({ "front": status, "bare": true }));
        let error = session.token().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("empty body"), "{error}");
        // Nobody's verdict: the next call sits out the pause, and the refresh token is as good as before.
        session.token().unwrap();
    }
}

#[test]
fn a_server_that_says_later_is_asked_again_when_it_wants_to_be() {
    let Some(issuer) = Issuer::start(json!({})) else { return };
    let session = issuer.session();
    issuer.next(json!({ "front": 503, "retryAfter": 1 }));
    issuer.next(json!({ "front": 429, "retryAfter": 1 }));
    session.token().unwrap();
    assert_eq!((session.stats().repeated_attempts, session.stats().refreshes), (2, 1));
    assert_eq!((issuer.counts().token_calls(), issuer.counts().refreshes()), (3, 1));
}

#[test]
fn a_lost_answer_is_repeated_once_and_the_servers_verdict_is_everybodys() {
    let Some(issuer) = Issuer::start(json!({})) else { return };
    let session = Session::new(issuer.discover().refresh_token("device", issuer.login())).unwrap();
    issuer.next(json!({ "lose": true }));
    // The first request was carried out, so that the token is spent, and this server gives no grace: the second says so.
    for _ in 0..5 {
        let error = session.token().unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Rejected, Some("invalid_grant")), "{error}");
        assert!(error.is_login_required() && !error.is_retryable(), "{error}");
    }
    assert_eq!((issuer.counts().token_calls(), issuer.counts().refreshes()), (2, 1), "one reuse at most");
    assert_eq!((session.stats().repeated_attempts, session.stats().rejected), (1, 1));
}

#[test]
fn a_lost_answer_costs_nothing_where_a_repeat_is_harmless() {
    let Some(issuer) = Issuer::start(json!({})) else { return };
    let session = Session::new(issuer.discover().client_credentials("service", "service-secret")).unwrap();
    issuer.next(json!({ "lose": true }));
    session.token().unwrap();
    assert_eq!((issuer.counts().token_calls(), session.stats().repeated_attempts), (2, 1));
}

#[test]
fn a_connection_that_the_server_closes_for_idleness_never_makes_a_token_call_unknown() {
    let keep_alive = 60;
    let Some(issuer) = Issuer::start(json!({ "keepAlive": keep_alive })) else { return };
    let source = issuer.discover().refresh_token("device", issuer.login());
    let policy = Policy::new().with_refusals(1000, Duration::from_secs(30));
    let session = Session::builder(source).policy(policy).build().unwrap();
    session.token().unwrap();
    // As near to the moment of closing as can be, before and after it.
    for round in 0..40 {
        thread::sleep(Duration::from_millis(keep_alive - 10 + round % 20));
        refused(&session).unwrap();
    }
    let stats = session.stats();
    assert_eq!((stats.refreshes, stats.unknown, stats.repeated_attempts), (41, 0, 0));
    assert_eq!((issuer.counts().refreshes(), issuer.counts().token_calls()), (41, 41));
}

#[test]
fn a_connection_that_was_idle_for_longer_than_the_server_keeps_it() {
    // Five seconds is what Node and others keep a connection for.
    let Some(issuer) = Issuer::start(json!({ "ttl": 600 })) else { return };
    let api = Api::start(&issuer);
    let session = issuer.session();
    let client = api.client(&session);
    assert_eq!(api.status(&client, "/notes").unwrap(), 200);
    thread::sleep(Duration::from_millis(5500));
    refused(&session).unwrap();
    assert_eq!(api.status(&client, "/notes").unwrap(), 200);
    assert_eq!((session.stats().refreshes, session.stats().unknown), (2, 0));
}

#[test]
fn a_logout_that_the_server_knows_of() {
    let Some(issuer) = Issuer::start(json!({})) else { return };
    let found = issuer.discover();
    let session = issuer.session();
    let token = session.token().unwrap();
    found.revocation("device").unwrap().log_out(&session).unwrap();
    assert_eq!(session.token().unwrap_err().kind(), ErrorKind::LoggedOut);
    assert_eq!(issuer.counts().revoked(), 1);

    let thief = Session::new(found.refresh_token("device", token.refresh_secret().unwrap())).unwrap();
    assert_eq!(thief.token().unwrap_err().code(), Some("invalid_grant"));
    // It knows the token no more, and that is a success too (RFC 7009 section 2.2).
    found.revocation("device").unwrap().revoke(&token).unwrap();
    issuer.next(json!({ "path": "/token/revocation", "front": 503, "retryAfter": 7 }));
    let error = found.revocation("device").unwrap().revoke(&token).unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Unavailable, Some(Duration::from_secs(7))));
}

#[test]
fn what_callers_get_before_in_between_and_after() {
    let Some(issuer) = Issuer::start(json!({})) else { return };
    let found = issuer.discover();
    let session = Session::new(RefreshToken::after_login(found.token_endpoint(), "device")).unwrap();
    assert_eq!(session.token().unwrap_err().kind(), ErrorKind::NotLoggedIn);
    assert_eq!(issuer.counts().token_calls(), 0);

    let login = issuer.control("login", json!({}));
    let spent = Token::new("an-old-one").unwrap().with_refresh_token(login["refreshToken"].as_str().unwrap());
    session.set(spent).unwrap();
    refused(&session).unwrap();
    issuer.control("end", json!({ "grantId": login["grantId"] }));
    let error = refused(&session).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Rejected, Some("invalid_grant")));
}
