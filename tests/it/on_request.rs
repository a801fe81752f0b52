//! A refresh that the program asks for, and the parts that a program is made of: boxes, shared parts, errors in errors.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ureq_auth::{
    Clock, Error, ErrorKind, Fetch, ManualClock, MemoryStore, Outcome, Policy, Reason, Session, SourceError, Token,
    TokenSource, TokenStore,
};

use crate::support::{Gate, MANY, Scene, crowd, gives, held, refused, secs, token};

#[test]
fn a_refresh_on_request_replaces_a_token_that_is_good() {
    let scene = Scene::with_token(vec![gives("t2", 300)]);
    assert_eq!(scene.session.refresh().unwrap().secret(), "t2");
    assert_eq!(scene.session.token().unwrap().secret(), "t2");
    assert_eq!(scene.watch.reasons(), [Reason::Requested]);
    let stats = scene.session.stats();
    assert_eq!((stats.refreshes, stats.refreshes_on_request, stats.refreshes_after_refusal), (1, 1, 0));
}

#[test]
fn many_who_request_at_once_make_one_refresh_and_nobody_else_waits() {
    let gate = Gate::default();
    let scene = Scene::with_token(vec![held(&gate, gives("t2", 300))]);
    let session = scene.session.clone();
    let requesting = crowd(MANY, move |_| session.refresh());
    gate.await_entered();
    scene.watch.await_waiters(MANY - 1);
    assert_eq!(scene.session.token().unwrap().secret(), "t1", "meanwhile");
    gate.open();
    assert!(requesting.gather().into_iter().all(|token| token.unwrap().secret() == "t2"));
}

#[test]
fn a_refresh_on_request_that_fails_is_an_error_and_the_token_stays_in_force() {
    let scene = Scene::with_token(vec![refused()]);
    assert_eq!(scene.session.refresh().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(scene.session.token().unwrap().secret(), "t1");
}

#[test]
fn a_refresh_on_request_takes_no_token_that_another_has_stored_before() {
    let store = MemoryStore::new();
    let build = |name: &'static str| {
        let source = move |_: Option<&Token>| Ok::<_, SourceError>(token(name, 300).with_refresh_token(name));
        Session::builder(source).store(store.clone()).clock(ManualClock::new(None)).build().unwrap()
    };
    let (one, other) = (build("a1"), build("b1"));
    assert_eq!((one.token().unwrap().secret(), other.token().unwrap().secret()), ("a1", "a1"));
    assert_eq!(one.refresh().unwrap().secret(), "a1");
    assert_eq!(other.refresh().unwrap().secret(), "b1");
}

#[test]
fn what_is_left_of_a_token() {
    let scene = Scene::new(vec![gives("t1", 300)]);
    let token = scene.session.token().unwrap();
    assert_eq!(token.expires_in(), Some(secs(300)));
    assert_eq!(token.time_left(scene.clock.now()), Some(secs(300)));
    scene.clock.advance(secs(100));
    assert_eq!(token.time_left(scene.clock.now()), Some(secs(200)));
    scene.clock.advance(secs(1000));
    assert_eq!(token.time_left(scene.clock.now()), Some(Duration::ZERO));
    assert_eq!(crate::support::token("t", 300).time_left(scene.clock.now()), None, "not published");
}

#[test]
fn a_policys_getters_say_what_its_setters_set() {
    let policy = Policy::new()
        .with_proactive(false)
        .with_reactive(false)
        .with_stale_window(7, secs(8))
        .with_leeway(3, secs(4))
        .with_attempts(9)
        .with_backoff(secs(2), secs(20))
        .with_budget(secs(50))
        .with_wait_timeout(secs(60))
        .with_patience(secs(1))
        .with_refusals(5, secs(6));
    assert_eq!((policy.proactive(), policy.reactive(), policy.attempts()), (false, false, 9));
    assert_eq!((policy.stale_window(), policy.leeway()), ((7, secs(8)), (3, secs(4))));
    assert_eq!((policy.backoff(), policy.refusals()), ((secs(2), secs(20)), (5, secs(6))));
    assert_eq!((policy.budget(), policy.wait_timeout(), policy.patience()), (secs(50), secs(60), secs(1)));
    assert_eq!(policy, policy.clone());
    assert_ne!(policy, Policy::new());
}

#[test]
fn parts_in_boxes_and_shared_ones_are_parts() {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(None));
    let store: Box<dyn TokenStore> = Box::new(MemoryStore::new());
    let source = |_: Option<&Token>| Ok::<_, SourceError>(token("t1", 300));
    let (boxed, shared): (Box<dyn TokenSource>, Arc<dyn TokenSource>) = (Box::new(source), Arc::new(source));
    assert_eq!(boxed.fetch(Fetch::new(None, secs(1))).unwrap().secret(), "t1");
    let session = Session::builder(boxed).clock(Arc::clone(&clock)).store(store).build().unwrap();
    assert_eq!(session.token().unwrap().secret(), "t1");
    let session = Session::builder(shared).clock(Box::new(clock)).store(Arc::new(MemoryStore::new())).build().unwrap();
    assert_eq!(session.token().unwrap().secret(), "t1");
}

/// Somebody's own error around another.
#[derive(Debug)]
struct Around(Box<dyn std::error::Error + Send + Sync>);

impl fmt::Display for Around {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the report failed")
    }
}

impl std::error::Error for Around {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

#[test]
fn an_error_is_found_through_the_wrapping_of_others() {
    let scene = Scene::new(vec![refused()]);
    let own = scene.session.token().unwrap_err();
    let twice = Around(Box::new(Around(Box::new(own.clone()))));
    assert_eq!(Error::find(&twice).unwrap().to_string(), own.to_string());
    assert_eq!(Error::find(&own).unwrap().kind(), ErrorKind::Unavailable);
    assert!(Error::find(&io::Error::other("nobody's")).is_none());
    #[cfg(feature = "ureq")]
    {
        let wrapped = Around(Box::new(ureq::Error::from(own)));
        assert_eq!(Error::find(&wrapped).unwrap().kind(), ErrorKind::Unavailable);
    }
}

#[test]
fn an_io_error_in_a_source_says_whether_anything_was_sent() {
    let outcome = |kind: io::ErrorKind| SourceError::from(io::Error::from(kind)).outcome();
    assert_eq!(outcome(io::ErrorKind::ConnectionRefused), Outcome::Unreachable);
    assert_eq!(outcome(io::ErrorKind::NetworkUnreachable), Outcome::Unreachable);
    assert_eq!(outcome(io::ErrorKind::ConnectionReset), Outcome::Unknown);
    assert_eq!(outcome(io::ErrorKind::UnexpectedEof), Outcome::Unknown);
}
