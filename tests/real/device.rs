//! The device flow. The client's clock runs ten times as fast as the server's, so that its pauses are short.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq_auth::oauth2::{DeviceCode, DevicePrompt};
use ureq_auth::{Clock, Error, ErrorKind, Session, Tick, Token};

use crate::servers::{Api, Issuer};

const SPEED: u32 = 10;

#[derive(Debug)]
struct FastClock(Instant);

impl Clock for FastClock {
    fn now(&self) -> Tick {
        Tick::from_zero(self.0.elapsed() * SPEED)
    }

    fn wall(&self) -> Option<Duration> {
        None
    }

    fn sleep(&self, pause: Duration) {
        thread::sleep(pause / SPEED);
    }
}

fn device(issuer: &Issuer) -> DeviceCode {
    let device = issuer.discover().device_code("device").unwrap();
    device.with_scope("openid offline_access notes:read").with_clock(FastClock(Instant::now()))
}

/// What the user does when the code is shown.
fn user<'a>(issuer: &'a Issuer, answer: &'a str) -> impl FnOnce(&DevicePrompt) + 'a {
    move |prompt| {
        assert!(prompt.verification_uri_complete().unwrap().contains(prompt.user_code()));
        assert!(prompt.to_string().contains(prompt.verification_uri()));
        let done = issuer.control("answer", json!({ "userCode": prompt.user_code(), "answer": answer }));
        assert_eq!(done["found"], json!(true));
    }
}

/// Does something once the server has been asked that often for the token.
fn after_polls<'a>(issuer: &'a Issuer, polls: u64, act: impl FnOnce() + 'a) -> impl FnMut() -> bool + 'a {
    let mut act = Some(act);
    move || {
        if act.is_some() && issuer.counts().token_calls() >= polls {
            act.take().unwrap()();
        }
        true
    }
}

fn end(result: Result<Token, Error>) -> (ErrorKind, Option<String>) {
    let error = result.unwrap_err();
    assert!(error.is_login_required(), "{error}");
    (error.kind(), error.code().map(str::to_owned))
}

#[test]
fn approved_and_then_refreshed() {
    let Some(issuer) = Issuer::start(json!({})) else { return };
    let api = Api::start(&issuer);
    let device = device(&issuer);
    let session = Session::new(device.source()).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| session.set(device.log_in(|_| {}).unwrap()));
        // The user takes a while: until two polls have been answered, not only asked.
        while issuer.counts().errors("authorization_pending") < 2 {
            thread::sleep(Duration::from_millis(20));
        }
        issuer.control("answer", json!({}));
    });
    assert_eq!(issuer.counts().errors("authorization_pending"), 2);
    assert_eq!(api.status(&api.client(&session), "/notes").unwrap(), 200);
    let token = session.token().unwrap();
    session.accepted(&token);
    session.rejected(&token).unwrap();
    assert_eq!(issuer.counts().refreshes(), 1);
}

#[test]
fn denied() {
    let Some(issuer) = Issuer::start(json!({})) else { return };
    let denied = device(&issuer).log_in(user(&issuer, "deny"));
    assert_eq!(end(denied), (ErrorKind::Rejected, Some("access_denied".to_owned())));
}

#[test]
fn expired_by_the_servers_word() {
    let Some(issuer) = Issuer::start(json!({})) else { return };
    issuer.control("set", json!({ "deviceTtl": 1 }));
    // So that the client does not know when, and has to be told.
    issuer.next(json!({ "path": "/device/auth", "without": ["expires_in"] }));
    assert_eq!(end(device(&issuer).log_in(|_| {})), (ErrorKind::Rejected, Some("expired_token".to_owned())));
    assert_eq!(issuer.counts().errors("expired_token"), 1);
}

#[test]
fn polled_too_fast_for_this_server() {
    let Some(issuer) = Issuer::start(json!({})) else { return };
    // It wants seven of the client's seconds between two polls, but does not say so before it is asked too soon.
    issuer.control("set", json!({ "pollEvery": 7.0 / f64::from(SPEED) }));
    let approve = || drop(issuer.control("answer", json!({})));
    device(&issuer).log_in_while(|_| {}, after_polls(&issuer, 4, approve)).unwrap();
    let counts = issuer.counts();
    assert_eq!((counts.errors("slow_down"), counts.errors("authorization_pending")), (1, 4), "once, and not again");
}

#[test]
fn pages_of_a_front_end_between_two_polls() {
    let Some(issuer) = Issuer::start(json!({})) else { return };
    for front in [403, 404, 400] {
        issuer.next(json!({ "front": front }));
    }
    device(&issuer).log_in(user(&issuer, "approve")).unwrap();
    assert_eq!(issuer.counts().token_calls(), 4, "three pages, and then the token");
}

#[test]
fn the_server_is_down_for_a_while() {
    let Some(state) = Issuer::state() else { return };
    let mut issuer = Issuer::start(json!({ "state": state })).unwrap();
    let device = device(&issuer);
    let (asked, is_asked) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let log_in = scope.spawn(|| device.log_in(|prompt| asked.send(prompt.user_code().to_owned()).unwrap()));
        let user_code = is_asked.recv().unwrap();
        issuer.stop();
        // Two or three polls find nobody there.
        thread::sleep(Duration::from_millis(1500));
        issuer.start_again();
        let done: Value = issuer.control("answer", json!({ "userCode": user_code }));
        assert_eq!(done["found"], json!(true));
        log_in.join().unwrap().unwrap();
    });
    std::fs::remove_file(state).unwrap();
}

#[test]
fn stopped_by_the_caller() {
    let Some(issuer) = Issuer::start(json!({})) else { return };
    let mut asked = 0;
    let go_on = || {
        asked += 1;
        asked < 8
    };
    let stopped = device(&issuer).log_in_while(|_| {}, go_on);
    assert_eq!(end(stopped), (ErrorKind::NotLoggedIn, None));
    assert!(issuer.counts().token_calls() <= 1);
}
