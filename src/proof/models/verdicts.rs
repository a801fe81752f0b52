//! The session when there is no new token to be had: who is told what, and what the loop breaker makes of a crowd.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::refreshes::{Desk, token};
use super::{PlainClock, crowd};
use crate::{ErrorKind, Session, SourceError, Token};

/// What a caller has in the end: the token's secret, or the kind of its error.
pub(super) type Answer = Result<String, ErrorKind>;

pub(super) fn answer(asked: crate::Result<Arc<Token>>) -> Answer {
    asked.map(|token| token.secret().to_owned()).map_err(|error| error.kind())
}

/// Rules 6, 8: a refused token, and a source that is not there. It is asked once; who knows of the refusal has its one error,
/// and when all is done nobody is given the refused token, however young it is. After the pause the session goes on.
pub(super) fn session_refused_and_not_replaced(threads: usize) {
    let clock = PlainClock::default();
    let asked = Arc::new(AtomicBool::new(false));
    let ask = Arc::clone(&asked);
    let desk = Desk::new(clock.clone(), move |number| {
        ask.store(true, Ordering::SeqCst);
        if number == 1 { Err(SourceError::unavailable("not there")) } else { Ok(token(number)) }
    });
    desk.session.set(token(0).with_expires_in(Duration::from_secs(3600))).unwrap();
    let refused = desk.session.current().expect("it was set");
    let session = desk.session.clone();
    let answers = crowd(threads, move |number| {
        if number != 1 {
            return answer(session.rejected(&refused));
        }
        let is_known = asked.load(Ordering::SeqCst);
        let answer = answer(session.token());
        assert!(!is_known || answer.is_err(), "rule 8: a refused token is given to who has waited for another");
        answer.and(Err(ErrorKind::Unavailable))
    });
    let told = answers.iter().all(|answer| matches!(answer, Err(ErrorKind::Unavailable)));
    assert!(told, "rule 6: one verdict for all: {answers:?}");
    assert_eq!(answer(desk.session.token()), Err(ErrorKind::Unavailable), "rule 8: a refused token is given out");
    assert_eq!(desk.fetches(), 1, "rule 6: one call for all");
    clock.skip(Duration::from_secs(60));
    assert_eq!(answer(desk.session.token()).as_deref(), Ok("t2"), "rule 6: the pause is over");
    desk.nobody_overslept();
}

/// Rule 3: to the loop breaker the same refusal counts once, however many report it, and so does one that was overtaken by
/// the next token's. Of tokens that were never accepted it lets three be replaced in a row.
pub(super) fn session_refusals_count_once(threads: usize) {
    let desk = Desk::new(PlainClock::default(), |number| Ok(token(number)));
    desk.session.set(token(0)).unwrap();
    let refused = desk.session.current().expect("it was set");
    let session = desk.session.clone();
    let first = Arc::clone(&refused);
    let answers = crowd(threads, move |number| {
        let next = session.rejected(&first);
        match next {
            // One of them goes on to the next token while others may still be on their way with the first.
            Ok(next) if number == 0 => session.rejected(&next).map(|token| token.generation()),
            next => next.map(|token| token.generation()),
        }
    });
    assert!(answers.iter().all(|answer| matches!(answer, Ok(2 | 3))), "rule 3: {answers:?}");
    assert_eq!(answers.first().and_then(|first| first.as_ref().ok()), Some(&3), "rule 3");
    let refuse = |session: &Session| {
        let current = session.current().expect("there is one");
        session.rejected(&current).map(|token| token.generation()).map_err(|error| error.kind())
    };
    assert_eq!(refuse(&desk.session), Ok(4), "the third is let through");
    assert_eq!(refuse(&desk.session), Err(ErrorKind::RefusedTooOften), "the fourth is not");
    assert_eq!(refuse(&desk.session), Err(ErrorKind::RefusedTooOften), "nor is it by asking again");
    assert_eq!(desk.fetches(), 3, "rule 3: one call for each token that was replaced");
    desk.nobody_overslept();
}

/// Rules 2, 5, 6: a login while a flight may be about to end the session for good. Each caller has the login's token or the
/// verdict; in the end the login stands, unless the flight was begun with it.
pub(super) fn session_set_while_a_flight_is_rejected(threads: usize) {
    let desk = Desk::new(PlainClock::default(), |_| Err(SourceError::rejected("invalid_grant")));
    let session = desk.session.clone();
    let answers = crowd(threads, move |number| {
        if number == 1 {
            session.set(token(0)).unwrap();
        }
        answer(session.token())
    });
    for (number, answer) in answers.iter().enumerate() {
        let is_verdict = matches!(answer, Err(ErrorKind::Rejected)) && number != 1;
        assert!(is_verdict || answer.as_deref() == Ok("t0"), "rule 2: thread {number}: {answer:?}");
    }
    assert_eq!(answer(desk.session.token()).as_deref(), Ok("t0"), "rule 2: an old flight ends a new login");
    assert!(desk.fetches() <= 1, "rule 6");
    desk.nobody_overslept();
}
