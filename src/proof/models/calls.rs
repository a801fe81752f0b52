//! The session's use of the gate when something comes in between, and what becomes of the calls that rely on it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use once_cell::sync::OnceCell;

use super::refreshes::{Desk, token};
use super::{PlainClock, crowd};
use crate::events::Event;
use crate::sync::Leaf;
use crate::{ErrorKind, Session};

/// Rules 2, 3, 5: a login sets the session's token while a flight may be under way. Nobody's call fails, everybody has the
/// flight's token or the login's, and in the end the login's is in force, unless the flight began after it.
pub(super) fn session_set_during_a_flight(threads: usize) {
    let desk = Desk::new(PlainClock::default(), |number| Ok(token(number)));
    let session = desk.session.clone();
    let tokens = crowd(threads, move |number| {
        if number == 1 {
            session.set(token(0)).unwrap();
            return String::from("t0");
        }
        session.token().map(|token| token.secret().to_owned()).unwrap_or_else(|error| panic!("rule 8: {error}"))
    });
    assert!(tokens.iter().all(|token| token == "t0" || token == "t1"), "{tokens:?}");
    let current = desk.session.current().expect("there is one");
    assert_eq!(current.secret(), "t0", "rule 2: the token of a superseded flight is dropped");
    let stats = desk.session.stats();
    assert_eq!(current.generation(), stats.refreshes + 1, "rule 3: generations count publications");
    assert_eq!(stats.refreshes + stats.superseded, desk.fetches() as u64, "each flight has one end");
    assert!(desk.fetches() <= 1, "rule 2");
    desk.nobody_overslept();
}

/// Rules 4, 5, 6: a logout while a flight may be under way. Each caller has the flight's token or learns of the logout;
/// afterwards nobody has one, and the source is not asked, until a token is set.
pub(super) fn session_ended_during_a_flight(threads: usize) {
    let desk = Desk::new(PlainClock::default(), |number| Ok(token(number)));
    let session = desk.session.clone();
    let answers = crowd(threads, move |number| {
        if number == 1 {
            session.end().unwrap();
            return Err(ErrorKind::LoggedOut);
        }
        session.token().map(|token| token.generation()).map_err(|error| error.kind())
    });
    assert!(answers.iter().all(|answer| matches!(answer, Ok(1) | Err(ErrorKind::LoggedOut))), "{answers:?}");
    let before = desk.fetches();
    assert!(before <= 1, "rule 2");
    assert!(desk.session.current().is_none(), "rule 3: what comes after the end is dropped");
    assert_eq!(desk.session.token().expect_err("logged out").kind(), ErrorKind::LoggedOut, "rule 6");
    assert_eq!(desk.fetches(), before, "rule 6: no traffic");
    desk.session.set(token(0)).unwrap();
    assert_eq!(desk.session.token().expect("logged in").secret(), "t0");
    desk.nobody_overslept();
}

/// Rules 1, 8: a token near its end is replaced by one caller while the others go on. Each sees a token with its own number
/// and its own life, and never the old one after the new one; nobody waits.
pub(super) fn session_fast_path(threads: usize) {
    let clock = PlainClock::default();
    let desk = Desk::new(clock.clone(), |number| Ok(token(number).with_expires_in(Duration::from_secs(200))));
    desk.session.set(token(0).with_expires_in(Duration::from_secs(100))).unwrap();
    clock.skip(Duration::from_secs(90));
    let session = desk.session.clone();
    crowd(threads, move |_| {
        let mut last = 0;
        for _call in 0..2 {
            let token = session.token().expect("one of them lives in any case");
            let generation = token.generation();
            let expected = if generation == 1 { ("t0", 100) } else { ("t1", 200) };
            let lifetime = token.lifetime().map(|lifetime| lifetime.as_secs());
            assert_eq!((token.secret(), lifetime), (expected.0, Some(expected.1)), "rule 1: halves of two tokens");
            assert!(generation >= last, "rule 8: from generation {last} back to {generation}");
            last = generation;
        }
    });
    assert_eq!(desk.fetches(), 1, "rule 2");
    assert_eq!(desk.session.stats().joined_waits, 0, "nobody waits for a token that lives");
}

/// An API that takes one token, and keeps a book of the calls that reached it.
#[derive(Default)]
struct Api {
    taken: String,
    book: Vec<(usize, usize)>,
}

/// A call, as the client makes it: the token, the request, after a 401 the next token and the request again, once.
fn call(session: &Session, api: &Leaf<Api>, thread: usize, number: usize) {
    let mut token = session.token().unwrap_or_else(|error| panic!("rule 8: call {number} is lost: {error}"));
    for attempt in 1..=2 {
        {
            let mut api = api.lock();
            if api.taken == token.secret() {
                api.book.push((thread, number));
                return;
            }
        }
        assert_eq!(attempt, 1, "rule 8: call {number} is lost: refused twice");
        token = session.rejected(&token).unwrap_or_else(|error| panic!("rule 8: call {number} is lost: {error}"));
    }
}

/// Rules 3, 8: the server revokes the token during the calls of all threads. One refresh; each call reaches the API exactly
/// once, in its thread's order.
pub(super) fn session_calls_in_order(threads: usize) {
    /// Has one call: with two, three threads have four times as many schedules, and no new kind of one.
    const BRIEF: usize = 2;

    let api = Arc::new(Leaf::new(Api { taken: "t0".into(), book: Vec::new() }));
    let server = Arc::clone(&api);
    let desk = Desk::new(PlainClock::default(), move |number| {
        server.lock().taken = format!("t{number}");
        Ok(token(number))
    });
    desk.session.set(token(0)).unwrap();
    let (session, book) = (desk.session.clone(), Arc::clone(&api));
    crowd(threads, move |thread| {
        call(&session, &api, thread, 1);
        if thread == 0 {
            api.lock().taken.clear();
        }
        if thread != BRIEF {
            call(&session, &api, thread, 2);
        }
    });
    let book = std::mem::take(&mut book.lock().book);
    for thread in 0..threads {
        let calls: Vec<usize> = book.iter().filter(|entry| entry.0 == thread).map(|entry| entry.1).collect();
        let expected: &[usize] = if thread == BRIEF { &[1] } else { &[1, 2] };
        assert_eq!(calls, expected, "rule 8: thread {thread}");
    }
    assert_eq!(desk.fetches(), 1, "rule 3: one revocation, one refresh");
    desk.nobody_overslept();
}

/// Rule 7: the source asks the session that waits for it, and is told so, whether there is a token or not; the others wait.
pub(super) fn session_reentrancy(threads: usize) {
    let own: Arc<OnceCell<Session>> = Arc::new(OnceCell::new());
    // Weak: a source that keeps its own session alive would never end.
    let asked: Weak<OnceCell<Session>> = Arc::downgrade(&own);
    let desk = Desk::new(PlainClock::default(), move |number| {
        let session = asked.upgrade().and_then(|own| own.get().cloned()).expect("it is set before the first call");
        let error = session.token().map(drop).expect_err("rule 7: it waits for itself");
        assert_eq!(error.kind(), ErrorKind::Reentrant, "rule 7");
        Ok(token(number))
    });
    assert!(own.set(desk.session.clone()).is_ok());
    let session = desk.session.clone();
    let answers = crowd(threads, move |_| session.token().map(|token| token.generation()));
    assert!(answers.iter().all(|answer| matches!(answer, Ok(1))), "rule 7: {answers:?}");
    let first = desk.session.token().expect("it is there");
    assert_eq!(desk.session.rejected(&first).map(|token| token.generation()).ok(), Some(2));
    assert_eq!(desk.fetches(), 2);
    desk.nobody_overslept();
}

/// Rule 1: an observer is user code. It looks into the session at every event, which would never return if a lock of the
/// session's were held.
pub(super) fn session_observer_looks_in(threads: usize) {
    let own: Arc<OnceCell<Session>> = Arc::new(OnceCell::new());
    let seen: Weak<OnceCell<Session>> = Arc::downgrade(&own);
    let observer = move |_: &Event<'_>| {
        if let Some(session) = seen.upgrade().and_then(|own| own.get().cloned()) {
            drop((session.current(), session.stats()));
        }
    };
    let desk = Desk::observed(PlainClock::default(), |number| Ok(token(number)), observer);
    assert!(own.set(desk.session.clone()).is_ok());
    let session = desk.session.clone();
    crowd(threads, move |_| session.token().expect("the source is there").generation());
    assert_eq!(desk.fetches(), 1);
}
