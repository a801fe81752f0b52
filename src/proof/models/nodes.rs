//! An API that learns late of a new token, and one of whose addresses refuses every token.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize as PlainCounter, Ordering};
use std::time::Duration;

use super::refreshes::{Desk, token};
use super::{PlainClock, crowd};
use crate::policy::{Address, Next, Sent};
use crate::{ErrorKind, Session};

/// A request that can be sent again.
const SENT: Sent =
    Sent { was_accepted: false, replayed: false, repeatable: true, waited: Duration::ZERO, waited_for: 0 };

/// Rule 3: a new token that was not accepted yet is sent again after a pause, and costs no refresh.
pub(super) fn session_new_token_is_waited_for(threads: usize) {
    let clock = PlainClock::default();
    let pauses = Arc::new(PlainCounter::new(0));
    let passed = Arc::clone(&pauses);
    clock.on_sleep(move || {
        passed.fetch_add(1, Ordering::SeqCst);
    });
    let desk = Desk::new(clock, |number| Ok(token(number)));
    desk.session.set(token(0)).unwrap();
    let session = desk.session.clone();
    let answered = crowd(threads, move |_| {
        let token = session.token().expect("it was set");
        let mut sent = Sent { was_accepted: token.was_accepted(), ..SENT };
        // The API knows it after two pauses, whoever makes them.
        while pauses.load(Ordering::SeqCst) < 2 {
            match session.wait_for_lag(&token, Address::of(&["address"]), sent) {
                Next::Pause(pause) => (sent.waited, sent.waited_for) = (sent.waited + pause, token.generation()),
                _ => return session.rejected(&token).is_err(),
            }
        }
        session.accepted(&token);
        true
    });
    assert!(answered.into_iter().all(|answered| answered), "rule 3: a new token was replaced");
    assert_eq!(desk.fetches(), 0, "rule 3");
}

/// Rule 3: a token that was accepted before is not waited for, and its refusals cost one refresh.
pub(super) fn session_accepted_token_is_not_waited_for(threads: usize) {
    let clock = PlainClock::default();
    let desk = Desk::new(clock.clone(), |number| Ok(token(number)));
    desk.session.set(token(0)).unwrap();
    let refused = desk.session.token().expect("it was set");
    desk.session.accepted(&refused);
    let session = desk.session.clone();
    let tokens = crowd(threads, move |_| {
        let sent = Sent { was_accepted: refused.was_accepted(), ..SENT };
        let next = session.wait_for_lag(&refused, Address::of(&["address"]), sent);
        assert!(matches!(next, Next::Report), "rule 3: a revoked token is waited for: {next:?}");
        session.rejected(&refused).map(|token| token.generation()).ok()
    });
    assert!(tokens.iter().all(|token| *token == Some(2)), "rule 3: {tokens:?}");
    assert_eq!((desk.fetches(), clock.sleepers().len()), (1, 0), "rule 3");
    desk.nobody_overslept();
}

fn accept(session: &Session, address: &str) {
    session.accepted_by(&session.token().expect("it is in force"), address);
}

/// Reports the present token as refused there.
fn refuse(session: &Session, address: &str) -> Result<u64, ErrorKind> {
    let token = session.token().expect("it is in force");
    session.rejected_by(&token, address).map(|token| token.generation()).map_err(|error| error.kind())
}

/// Rule 3: an address that refuses every token costs one refresh, whatever the others do meanwhile.
pub(super) fn session_address_that_refuses_every_token(threads: usize) {
    let desk = Desk::new(PlainClock::default(), |number| Ok(token(number)));
    desk.session.set(token(0)).unwrap();
    accept(&desk.session, "good");
    let session = desk.session.clone();
    crowd(threads, move |number| match number {
        0 => assert_eq!(refuse(&session, "bad"), Ok(2), "rule 3"),
        _ => accept(&session, "good"),
    });
    accept(&desk.session, "good");
    for _ in 0..2 {
        assert_eq!(refuse(&desk.session, "bad"), Err(ErrorKind::RefusedTooOften), "rule 3: a refresh for it");
    }
    assert_eq!(desk.fetches(), 1, "rule 3");
    desk.nobody_overslept();
}

/// Rule 3: an address that has accepted a token since is refreshed for, each time that it refuses one.
pub(super) fn session_address_that_accepts_again(threads: usize) {
    const ADDRESSES: [&str; 2] = ["one", "other"];
    let desk = Desk::new(PlainClock::default(), |number| Ok(token(number)));
    desk.session.set(token(0)).unwrap();
    let revoked = desk.session.token().expect("it was set");
    desk.session.accepted(&revoked);
    let session = desk.session.clone();
    crowd(threads, move |number| {
        let address = if number % 2 == 0 { ADDRESSES[0] } else { ADDRESSES[1] };
        let next = session.rejected_by(&revoked, address).expect("rule 3: it was replaced");
        session.accepted_by(&next, address);
    });
    for (address, generation) in ADDRESSES.into_iter().zip(3..) {
        assert_eq!(refuse(&desk.session, address), Ok(generation), "rule 3: a revocation is not met");
        accept(&desk.session, address);
    }
    assert_eq!(desk.fetches(), 3, "rule 3");
    desk.nobody_overslept();
}
