//! The pauses of a session: what is left of one before a flight, and those between two attempts of one flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::refreshes::{Desk, policy, token};
use super::stores::Shelf;
use super::verdicts::{Answer, answer};
use super::{Latch, PlainClock, caught, crowd, unwind};
use crate::events::Event;
use crate::sync::{ThreadId, Unseen, current_thread};
use crate::{ErrorKind, Policy, Session, SourceError};

/// Nobody sleeps for so long here, and no machine is so slow that it is over by itself.
const SHORT: Duration = Duration::from_secs(10);

/// Each pause is one to be sat out.
fn patient() -> Policy {
    policy().with_backoff(SHORT, SHORT).with_patience(SHORT)
}

/// As many attempts in a flight as the source's outcome allows, up to three.
pub(super) fn persistent() -> Policy {
    let second = Duration::from_secs(1);
    policy().with_attempts(3).with_backoff(second, second).with_patience(Duration::ZERO)
}

/// Rules 2, 6: a failure stands, and its pause is short. Of all who come one sits it out and asks again, and all have that one's
/// token.
pub(super) fn session_short_pause_is_sat_out(threads: usize) {
    let clock = PlainClock::default();
    let source = |number, _: Option<&_>| match number {
        1 => Err(SourceError::unavailable("not there")),
        _ => Ok(token(number)),
    };
    let desk = Desk::built(source, |builder| builder.clock(clock.clone()).policy(patient()));
    assert_eq!(answer(desk.session.token()), Err(ErrorKind::Unavailable));
    let session = desk.session.clone();
    let answers = crowd(threads, move |_| answer(session.token()));
    assert!(answers.iter().all(|answer| answer.as_deref() == Ok("t2")), "rule 6: {answers:?}");
    assert_eq!((desk.fetches(), clock.sleepers().len()), (2, 1), "rule 2: one sits it out for all");
    desk.nobody_overslept();
}

/// Rules 2, 6: the same, but whoever sits the pause out is left by the source with a panic, and the next flight fails. Each
/// call sits out one pause at most, and none when it has waited for a flight.
pub(super) fn session_pause_is_sat_out_once(threads: usize) {
    let clock = PlainClock::default();
    let busy: Arc<Unseen<Vec<ThreadId>>> = Arc::default();
    let too_long = Arc::new(AtomicBool::new(false));
    let waited = Arc::clone(&busy);
    let source = |number, _: Option<&_>| match number {
        2 => unwind(),
        _ => Err(SourceError::unavailable("not there")),
    };
    let observer = move |event: &Event<'_>| {
        if let Event::WaitStarted = event {
            waited.lock().push(current_thread());
        }
    };
    let desk = Desk::built(source, |builder| builder.clock(clock.clone()).observer(observer).policy(patient()));
    assert_eq!(answer(desk.session.token()), Err(ErrorKind::Unavailable));
    let waits_again = Arc::clone(&too_long);
    clock.on_sleep(move || {
        let mut busy = busy.lock();
        waits_again.fetch_or(busy.contains(&current_thread()), Ordering::SeqCst);
        busy.push(current_thread());
    });
    let session = desk.session.clone();
    let answers = crowd(threads, move |_| caught(|| answer(session.token())));
    assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 1);
    let told = |answer: &Answer| *answer == Err(ErrorKind::Unavailable);
    assert!(answers.into_iter().flatten().all(|answer| told(&answer)), "rule 6");
    assert!(!too_long.load(Ordering::SeqCst), "rule 6: a second wait of one call");
    desk.nobody_overslept();
}

/// Somebody sits out a pause, or what the source's first answer makes of it, and meanwhile thread 0 does this; then all ask for
/// a token.
fn meanwhile(
    threads: usize,
    policy: Policy,
    failure: fn() -> SourceError,
    act: fn(&Session),
) -> (Desk, PlainClock, Vec<Answer>) {
    let clock = PlainClock::default();
    let (asleep, awake) = (Arc::new(Latch::new()), Arc::new(Latch::new()));
    let source = move |number, _: Option<&_>| if number == 1 { Err(failure()) } else { Ok(token(number)) };
    let desk = Desk::built(source, |builder| builder.clock(clock.clone()).policy(policy));
    let (sleeps, wakes) = (Arc::clone(&asleep), Arc::clone(&awake));
    let is_sat_out = failure().outcome() != crate::Outcome::Unknown;
    if is_sat_out {
        assert_eq!(answer(desk.session.token()), Err(ErrorKind::Unavailable));
    }
    clock.on_sleep(move || {
        sleeps.arrive();
        wakes.wait_for(1);
    });
    let session = desk.session.clone();
    let answers = crowd(threads, move |number| {
        if number == 0 {
            asleep.wait_for(1);
            act(&session);
            awake.arrive();
        }
        answer(session.token())
    });
    desk.nobody_overslept();
    (desk, clock, answers)
}

/// Rules 2, 4, 6: a login while a pause is sat out. All have its token at once, and nothing is sent for the credentials that it
/// has replaced.
pub(super) fn session_set_while_a_pause_is_sat_out(threads: usize) {
    let failure = || SourceError::unavailable("not there");
    let (desk, clock, answers) = meanwhile(threads, patient(), failure, |session| session.set(token(0)).unwrap());
    assert!(answers.iter().all(|answer| answer.as_deref() == Ok("t0")), "rule 2: {answers:?}");
    assert_eq!((desk.fetches(), clock.sleepers().len()), (1, 1), "rule 2: what was replaced is sent");
}

/// Rules 2, 4, 6: a logout while a pause is sat out. All hear of it, and nothing is sent.
pub(super) fn session_ended_while_a_pause_is_sat_out(threads: usize) {
    let failure = || SourceError::unavailable("not there");
    let (desk, clock, answers) = meanwhile(threads, patient(), failure, |session| drop(session.end().unwrap()));
    assert!(answers.iter().all(|answer| *answer == Err(ErrorKind::LoggedOut)), "rule 6: {answers:?}");
    assert_eq!((desk.fetches(), clock.sleepers().len()), (1, 1), "rule 2: what was given up is sent");
}

/// Rules 2, 6: a login between two attempts of a flight whose first answer was lost.
pub(super) fn session_set_between_two_attempts(threads: usize) {
    let failure = || SourceError::unknown("cut off");
    let (desk, clock, answers) = meanwhile(threads, persistent(), failure, |session| session.set(token(0)).unwrap());
    assert!(answers.iter().all(|answer| answer.as_deref() == Ok("t0")), "rule 2: {answers:?}");
    assert_eq!((desk.fetches(), clock.sleepers().len()), (1, 1), "rule 2: what was replaced is sent again");
}

/// Rules 2, 6: the first answer is lost. The attempt is repeated once, in the same flight, and that is nobody's error.
pub(super) fn session_lost_answer_is_repeated(threads: usize) {
    let clock = PlainClock::default();
    let source = |number, _: Option<&_>| match number {
        1 => Err(SourceError::unknown("cut off")),
        _ => Ok(token(number)),
    };
    let desk = Desk::built(source, |builder| builder.clock(clock.clone()).policy(persistent()));
    let session = desk.session.clone();
    let answers = crowd(threads, move |_| answer(session.token()));
    assert!(answers.iter().all(|answer| answer.as_deref() == Ok("t2")), "rule 6: {answers:?}");
    assert_eq!((desk.fetches(), clock.sleepers().len()), (2, 1), "rule 2: one repeats it for all");
    desk.nobody_overslept();
}

/// Rule 6: every answer is lost. A refresh token that may be spent is sent twice, in one flight, and never again; all hear that
/// somebody has to log in.
pub(super) fn session_lost_twice(threads: usize) {
    let clock = PlainClock::default();
    let source = |_, _: Option<&_>| Err(SourceError::unknown("cut off"));
    let desk = Desk::built(source, |builder| builder.clock(clock.clone()).policy(persistent()));
    desk.session.set(token(0).with_refresh_token("r0").with_expires_in(Duration::from_secs(60))).unwrap();
    clock.skip(Duration::from_secs(60));
    let session = desk.session.clone();
    let is_final = |error: &crate::Error| error.kind() == ErrorKind::Unknown && error.is_login_required();
    let answers = crowd(threads, move |_| session.token().is_err_and(|error| is_final(&error)));
    assert!(answers.iter().all(|is_final| *is_final), "rule 6: one verdict for all");
    clock.skip(360 * SHORT);
    assert!(desk.session.token().is_err_and(|error| is_final(&error)), "rule 6");
    assert_eq!((desk.fetches(), clock.sleepers().len()), (2, 1), "rule 6: a third use would be blind");
    desk.nobody_overslept();
}

/// Rules 2, 6: two sessions on one store; the first answer is lost, and before the second attempt another token is in the store,
/// which somebody has copied there. All have that one, and nothing is sent any more.
pub(super) fn session_store_is_read_between_two_attempts(threads: usize) {
    let shelf = Shelf::new();
    shelf.put(0);
    let clock = PlainClock::default();
    let desks = [(), ()].map(|()| {
        let source = |_, _: Option<&_>| Err(SourceError::unknown("cut off"));
        let (clock, shelf) = (clock.clone(), shelf.clone());
        Desk::built(source, |builder| builder.clock(clock).policy(persistent()).store(shelf))
    });
    let there = shelf.clone();
    clock.on_sleep(move || there.slip_in(7));
    let held = desks.each_ref().map(|desk| (desk.session.clone(), desk.session.current().expect("it was stored")));
    let answers = crowd(threads, move |number| {
        let [one, other] = &held;
        let (session, refused) = if number == 0 { one } else { other };
        answer(session.rejected(refused))
    });
    assert!(answers.iter().all(|answer| answer.as_deref() == Ok("t7")), "rule 6: {answers:?}");
    let [one, other] = &desks;
    assert_eq!(one.fetches() + other.fetches(), 1, "rule 2: a refresh token that may be spent is sent again");
    assert_eq!(clock.sleepers().len(), 1);
    desks.iter().for_each(Desk::nobody_overslept);
}
