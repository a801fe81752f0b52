//! The authorization server restarts in the middle of a storm, with a new signing key.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::json;
use ureq_auth::{Error, ErrorKind, Policy, Session};

use crate::servers::{Api, Issuer};

const THREADS: u64 = 16;

/// Calls the API from many threads until told to stop, and while `meanwhile` runs. Returns what went wrong, by kind.
struct Storm<'a> {
    api: &'a Api,
    session: &'a Session,
    stop: AtomicBool,
    good: AtomicU64,
    bad: Mutex<Vec<Option<Error>>>,
}

impl<'a> Storm<'a> {
    fn run(api: &'a Api, session: &'a Session, meanwhile: impl FnOnce(&Self)) -> Vec<Option<Error>> {
        let storm =
            Storm { api, session, stop: AtomicBool::new(false), good: AtomicU64::new(0), bad: Mutex::default() };
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| storm.call());
            }
            meanwhile(&storm);
            storm.stop.store(true, Ordering::SeqCst);
        });
        storm.bad.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self) {
        let client = self.api.client(self.session);
        while !self.stop.load(Ordering::SeqCst) {
            match self.api.status(&client, "/notes") {
                Ok(200) => drop(self.good.fetch_add(1, Ordering::SeqCst)),
                Ok(_) => self.note(None),
                Err(error) => self.note(Some(Error::in_ureq(&error).unwrap_or_else(|| panic!("{error}")).clone())),
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn note(&self, error: Option<Error>) {
        self.bad.lock().unwrap().push(error);
    }

    /// Waits until every thread has, on average, had that many answers more. A hang fails the test.
    fn answers(&self, rounds: u64) {
        let enough = self.good.load(Ordering::SeqCst) + rounds * THREADS;
        self.wait_until(|| self.good.load(Ordering::SeqCst) >= enough);
    }

    fn wait_until(&self, reached: impl Fn() -> bool) {
        for _ in 0..3000 {
            if reached() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("nothing went on for half a minute: {:?}", self.session.stats());
    }
}

fn session(issuer: &Issuer) -> Session {
    let policy = Policy::new().with_backoff(Duration::from_millis(200), Duration::from_millis(200));
    let source = issuer.discover().refresh_token("device", issuer.login());
    Session::builder(source).policy(policy).build().unwrap()
}

#[test]
fn a_restart_with_a_new_signing_key_does_not_end_the_session() {
    let Some(state) = Issuer::state() else { return };
    let mut issuer = Issuer::start(json!({ "ttl": 2, "state": state })).unwrap();
    let api = Api::start(&issuer);
    let session = session(&issuer);
    let bad = Storm::run(&api, &session, |storm| {
        storm.answers(20);
        issuer.stop();
        // Until the token in force has ended, and callers see that no other can be had.
        storm.wait_until(|| session.stats().unavailable > 0);
        issuer.start_again();
        storm.answers(100);
    });
    // Refused by the API, or nobody there to ask: nothing else, and never the end of the session.
    let kinds: Vec<_> = bad.iter().flatten().map(Error::kind).collect();
    assert!(kinds.iter().all(|kind| *kind == ErrorKind::Unavailable), "{bad:?}");
    let stats = session.stats();
    assert_eq!((stats.rejected, stats.unknown, stats.misconfigured), (0, 0, 0), "{stats:?}");
    assert_eq!((issuer.counts().errors("invalid_grant"), issuer.counts().at_once()), (0, 1));
    // The issuer judges by age alone. A young token that was signed with the old key is refused by the API: that is need too.
    let needless = issuer.counts().needless();
    assert!(needless <= stats.refreshes_after_refusal, "{needless} {stats:?}");
    std::fs::remove_file(state).unwrap();
}

#[test]
fn a_server_that_has_forgotten_everything_ends_the_session_and_says_so() {
    let Some(mut issuer) = Issuer::start(json!({ "ttl": 2 })) else { return };
    let api = Api::start(&issuer);
    let session = session(&issuer);
    let bad = Storm::run(&api, &session, |storm| {
        storm.answers(5);
        issuer.stop();
        issuer.start_again();
        storm.wait_until(|| storm.bad.lock().unwrap().len() as u64 > 20 * THREADS);
    });
    let last = bad.iter().flatten().next_back().unwrap();
    assert_eq!((last.kind(), last.code()), (ErrorKind::Rejected, Some("invalid_grant")), "{last}");
    assert!(last.to_string().contains("log in again"), "{last}");
    assert_eq!(
        (issuer.counts().errors("invalid_grant"), session.stats().rejected),
        (1, 1),
        "asked once, by one thread"
    );

    // And a new login is the way out.
    let token = ureq_auth::Token::new("old").unwrap().with_refresh_token(issuer.login());
    session.set(token).unwrap();
    assert_eq!(api.status(&api.client(&session), "/notes").unwrap(), 200);
}
