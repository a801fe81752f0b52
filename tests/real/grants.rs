//! Grants by an assertion and by another token: Authlib checks the signature, the audience and the times.

use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;
use ureq_auth::oauth2::{Attempt, Claims, Grant, SigningKey};
use ureq_auth::{Client, ErrorKind, Policy, Session, SourceError};

use crate::servers::{Process, installed};

const KEY: &str = include_str!("../it/signing_key/p256.pem");

struct Site {
    _process: Process,
    url: String,
}

impl Site {
    /// The options are those of `grants.py`.
    fn start(mut options: Value) -> Option<Self> {
        options["key"] = json!(KEY);
        let process = Process::start(&installed()?, "grants.py", &options, &[]);
        let url = process.text("url");
        Some(Site { _process: process, url })
    }

    fn grant(&self, grant_type: &str) -> Grant {
        Grant::new(format!("{}/token", self.url), grant_type)
    }

    /// By an assertion that the robot has signed on alice's behalf, at the time that `made` makes of the attempt's.
    fn bearer(&self, made: impl Fn(Duration) -> Duration + Send + Sync + 'static) -> Grant {
        let key = SigningKey::from_pem(KEY).unwrap();
        self.grant(Grant::JWT_BEARER).scope("read").params(move |attempt: &Attempt<'_>| {
            let claims = Claims::new(made(attempt.now())).issuer("robot").subject("alice");
            Ok([("assertion", key.sign(&claims.audience(attempt.token_url()))?)])
        })
    }

    /// Who the server says that the session's token is of.
    fn whose(&self, session: &Session) -> Value {
        let client = Client::new(session.clone(), &self.url).unwrap();
        client.get(format!("{}/me", self.url)).call().unwrap().body_mut().read_json().unwrap()
    }

    fn counts(&self) -> Value {
        let answer = Agent::new_with_defaults().get(format!("{}/counts", self.url)).call();
        answer.unwrap().body_mut().read_json().unwrap()
    }
}

/// A refusal is met at once.
fn session(grant: Grant) -> Session {
    Session::builder(grant).policy(Policy::new().with_patience(Duration::ZERO)).build().unwrap()
}

#[test]
fn an_assertion_for_a_token_and_the_next_one_for_the_next() {
    let Some(site) = Site::start(json!({})) else { return };
    let session = session(site.bearer(|now| now));
    assert_eq!(site.whose(&session), json!({ "user": "alice", "client": "robot", "by": Grant::JWT_BEARER }));
    let token = session.token().unwrap();
    assert_eq!((token.scope(), token.expires_in()), (Some("read"), Some(Duration::from_secs(60))));
    session.accepted(&token);
    session.rejected(&token).unwrap();
    assert_eq!(site.counts(), json!({ "token": 2, "ok": 2, "errors": {} }));
}

#[test]
fn an_assertion_that_has_expired_is_refused_with_the_servers_reason() {
    let Some(site) = Site::start(json!({})) else { return };
    // As from a signer whose clock is an hour slow.
    let error = session(site.bearer(|now| now - Duration::from_secs(3600))).token().unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Misconfigured, Some("invalid_grant")), "{error}");
    assert!(error.to_string().contains("expired"), "{error}");
    assert!(!error.is_login_required(), "nobody can log in here: {error}");
    assert_eq!(site.counts()["errors"], json!({ "invalid_grant": 1 }), "a second one would be as old");
}

#[test]
fn a_device_in_1970_has_its_assertions_by_the_servers_clock() {
    // Seen from there, the server is as far ahead.
    let Some(site) = Site::start(json!({ "ahead": 56 * 365 * 24 * 3600 })) else { return };
    let session = session(site.bearer(|now| now));
    assert_eq!(site.whose(&session)["user"], json!("alice"));
    assert_eq!(site.counts(), json!({ "token": 2, "ok": 1, "errors": { "invalid_grant": 1 } }), "made anew once");
    let token = session.token().unwrap();
    session.accepted(&token);
    session.rejected(&token).unwrap();
    assert_eq!(site.counts()["token"], json!(3), "the time is known from then on");
}

#[test]
fn a_token_for_a_token() {
    let Some(site) = Site::start(json!({})) else { return };
    let first = session(site.bearer(|now| now));
    let subject = first.clone();
    let exchange = site.grant(Grant::TOKEN_EXCHANGE).client_id("robot").client_secret("robot-secret").scope("write");
    let exchanged = session(exchange.params(move |_| {
        let token = subject.token().map_err(|error| SourceError::unavailable(error.to_string()))?;
        Ok([("subject_token", token.secret()), ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token")]
            .map(|(name, value)| (name, value.to_owned())))
    }));
    assert_eq!(site.whose(&exchanged), json!({ "user": "alice", "client": "robot", "by": Grant::TOKEN_EXCHANGE }));
    let token = exchanged.token().unwrap();
    assert_eq!(token.scope(), Some("write"));
    assert_ne!(token.secret(), first.token().unwrap().secret());
    assert_eq!(site.counts()["ok"], json!(2));
}

#[test]
fn a_token_that_cannot_be_exchanged() {
    let Some(site) = Site::start(json!({})) else { return };
    let exchange = |secret: &str, subject_token: &'static str, kind: &'static str| {
        let grant = site.grant(Grant::TOKEN_EXCHANGE).client_id("robot").client_secret(secret);
        let params = move |_: &Attempt<'_>| {
            let kind = format!("urn:ietf:params:oauth:token-type:{kind}");
            Ok([("subject_token", subject_token.to_owned()), ("subject_token_type", kind)])
        };
        session(grant.params(params)).token().unwrap_err()
    };
    for (error, code) in [
        (exchange("robot-secret", "a-foreign-token", "access_token"), "invalid_grant"),
        (exchange("robot-secret", "a-foreign-token", "jwt"), "invalid_request"),
        (exchange("wrong", "a-foreign-token", "access_token"), "invalid_client"),
    ] {
        assert_eq!(error.code(), Some(code), "{error}");
        assert!(!error.is_login_required(), "{error}");
        assert!(!format!("{error} {error:?}").contains("foreign"), "{error:?}");
    }
    assert_eq!(site.counts()["ok"], json!(0));
}
