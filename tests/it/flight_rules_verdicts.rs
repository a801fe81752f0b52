//! The rules at the top of `flight.rs`, 5 to 8: when a waiter returns, what a failure costs, re-entrancy, order.

use std::error::Error as StdError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ureq_auth::{Error, ErrorKind, Event, Policy, Session, SourceError, Token};

use crate::support::{
    Gate, MANY, Scene, Seen, Step, Watch, aside, crowd, gives, held, millis, panics, policy, refused, secs, step, token,
};

#[test]
fn rule_5_a_waiter_leaves_at_its_own_deadline_and_not_before() {
    let gate = Gate::default();
    let scene = Scene::expired(vec![held(&gate, gives("t2", 300))]);
    let crowd = scene.crowd_in_flight(&gate);
    // Every move of the clock wakes all waiters, though no waiter has a reason to return.
    for _ in 0..39 {
        scene.clock.advance(secs(1));
    }
    scene.clock.advance(millis(999));
    assert!(crowd.is_out());
    scene.clock.advance(millis(1));
    scene.watch.await_count(MANY - 1, |seen| matches!(seen, Seen::WaitEnded { timed_out: true, .. }));
    gate.open();
    let (tokens, errors): (Vec<_>, Vec<_>) = crowd.gather().into_iter().partition(Result::is_ok);
    // Whoever is so slow to leave that the token is out meanwhile takes it after all.
    assert_eq!((tokens.len() + errors.len(), tokens.is_empty()), (MANY, false), "the flight goes on without them");
    assert!(tokens.into_iter().all(|token| token.unwrap().secret() == "t2"));
    assert!(errors.into_iter().all(|error| error.unwrap_err().kind() == ErrorKind::Timeout));
    let waits = scene.watch.count(|seen| *seen == Seen::WaitEnded { waited: secs(40), timed_out: true });
    assert_eq!(waits, MANY - 1, "each waited for 40 s and not a millisecond less");
    assert_eq!(scene.session.stats().wait_timeouts, MANY as u64 - 1);
    assert_eq!(scene.session.token().unwrap().secret(), "t2");
}

#[test]
fn rule_5_a_waiter_that_times_out_while_its_token_still_serves_gets_that() {
    let gate = Gate::default();
    let scene = Scene::with(vec![held(&gate, gives("t2", 2000))], |builder| {
        // 5 % of 2000 s, 100 s of leeway: expired, and usable for longer than a waiter waits.
        builder.token(token("t1", 2000)).policy(Policy::new().with_leeway(5, secs(100)))
    });
    scene.clock.advance(secs(1901));
    let crowd = scene.crowd_in_flight(&gate);
    scene.clock.advance(secs(40));
    scene.watch.await_count(MANY - 1, |seen| matches!(seen, Seen::WaitEnded { timed_out: true, .. }));
    // All but the leader are back, or about to be: with the old token, for there is no other yet.
    let waiters = scene.watch.count(|seen| matches!(seen, Seen::WaitEnded { .. }));
    gate.open();
    let secrets: Vec<_> = crowd.gather().into_iter().map(|token| token.unwrap().secret().to_owned()).collect();
    assert!(secrets.iter().all(|secret| secret == "t1" || secret == "t2"), "{secrets:?}");
    assert_eq!((waiters, secrets.len()), (MANY - 1, MANY), "nobody got an error");
}

#[test]
fn rule_5_a_deadline_beyond_all_time_is_one_that_never_comes() {
    let (gate, watch) = (Gate::default(), Watch::default());
    let (noted, passing) = (watch.clone(), gate.clone());
    // On the machine's own clock: it is the one that turns a deadline into a real wait.
    let session = Session::builder(move |_: Option<&Token>| {
        passing.pass();
        Ok::<_, SourceError>(token("t", 300))
    })
    .policy(Policy::new().with_wait_timeout(Duration::MAX))
    .observer(move |event| noted.note(event))
    .build()
    .unwrap();
    let crowd = crowd(MANY, move |_| session.token());
    watch.await_waiters(MANY - 1);
    gate.open();
    assert!(crowd.gather().into_iter().all(|token| token.unwrap().secret() == "t"));
}

/// A session with a waiter that has joined its flight, and stands at `late` instead of waiting.
fn slow_waiter(steps: Vec<Step>, late: &Gate, start: fn() -> (Token, Policy, Duration)) -> Scene {
    let watch = Watch::default();
    let (noted, gate, done) = (watch.clone(), late.clone(), AtomicBool::new(false));
    let (token, policy, age) = start();
    let mut scene = Scene::with(steps, |builder| {
        builder.token(token).policy(policy).observer(move |event| {
            noted.note(event);
            if matches!(event, Event::WaitStarted) && !done.swap(true, Ordering::SeqCst) {
                gate.pass();
            }
        })
    });
    scene.watch = watch;
    scene.clock.advance(age);
    scene
}

/// Its token has expired, and under no special policy.
fn expired() -> (Token, Policy, Duration) {
    (token("t1", 300), policy(), secs(300))
}

#[test]
fn rule_5_a_slow_waiter_gets_the_verdict_of_the_flight_it_joined_although_another_is_under_way() {
    let (first, second, late) = (Gate::default(), Gate::default(), Gate::default());
    let scene = slow_waiter(vec![held(&first, refused()), held(&second, gives("t2", 300))], &late, expired);
    let leader = scene.ask();
    first.await_entered();
    let waiter = scene.ask();
    late.await_entered();
    first.open();
    assert_eq!(leader.result().unwrap_err().kind(), ErrorKind::Unavailable);
    scene.clock.advance(secs(10));
    let next = scene.ask();
    second.await_entered();
    late.open();
    // The second flight stands still, so that this comes from the first or not at all.
    assert_eq!(waiter.result().unwrap_err().kind(), ErrorKind::Unavailable);
    second.open();
    assert_eq!(next.result().unwrap().secret(), "t2");
}

#[test]
fn rule_5_a_slow_waiter_gets_the_newest_generation_whatever_became_of_its_flight() {
    let (first, late) = (Gate::default(), Gate::default());
    let scene = slow_waiter(vec![held(&first, gives("t2", 300)), gives("t3", 300)], &late, expired);
    let leader = scene.ask();
    first.await_entered();
    let waiter = scene.ask();
    late.await_entered();
    first.open();
    let second = leader.result().unwrap();
    assert_eq!(scene.session.rejected(&second).unwrap().secret(), "t3");
    late.open();
    assert_eq!(waiter.result().unwrap().secret(), "t3");
}

#[test]
fn rule_5_a_slow_waiter_is_not_given_a_token_that_was_refused_meanwhile() {
    let (first, second, late) = (Gate::default(), Gate::default(), Gate::default());
    let steps = vec![held(&first, gives("t2", 300)), held(&second, gives("t3", 300))];
    let scene = slow_waiter(steps, &late, expired);
    let leader = scene.ask();
    first.await_entered();
    let waiter = scene.ask();
    late.await_entered();
    first.open();
    let (session, refused) = (scene.session.clone(), leader.result().unwrap());
    let next = aside(move || session.rejected(&refused));
    second.await_entered();
    late.open();
    scene.watch.await_waiters(2);
    second.open();
    assert_eq!(waiter.result().unwrap().secret(), "t3");
    assert_eq!(next.result().unwrap().secret(), "t3");
}

#[test]
fn rule_5_a_slow_waiter_of_a_flight_that_was_given_up_joins_the_next_one() {
    let (first, second, late) = (Gate::default(), Gate::default(), Gate::default());
    let scene = slow_waiter(vec![held(&first, panics()), held(&second, gives("t2", 300))], &late, expired);
    let leader = scene.ask();
    first.await_entered();
    let waiter = scene.ask();
    late.await_entered();
    first.open();
    assert!(leader.gather_caught()[0].is_err());
    let heir = scene.ask();
    second.await_entered();
    late.open();
    scene.watch.await_waiters(2);
    second.open();
    assert_eq!(waiter.result().unwrap().secret(), "t2");
    assert_eq!(heir.result().unwrap().secret(), "t2");
}

#[test]
fn rule_5_a_slow_waiter_of_a_flight_that_was_given_up_falls_back_on_a_token_that_serves_when_its_time_is_over() {
    let (first, late) = (Gate::default(), Gate::default());
    let scene = slow_waiter(vec![held(&first, panics())], &late, || {
        // Expired, and usable for 99 s: longer than a waiter waits.
        (token("t1", 2000), Policy::new().with_leeway(5, secs(100)), secs(1901))
    });
    let leader = scene.ask();
    first.await_entered();
    let waiter = scene.ask();
    late.await_entered();
    first.open();
    assert!(leader.gather_caught()[0].is_err());
    scene.clock.advance(secs(41));
    late.open();
    assert_eq!(waiter.result().unwrap().secret(), "t1");
}

/// What an error is made of: the same address, the same error.
fn cause(error: &Error) -> *const () {
    std::ptr::from_ref(error.source().unwrap()).cast()
}

#[test]
fn rule_6_one_failed_flight_is_one_error_for_its_waiters_and_for_those_who_come_before_the_backoff_ends() {
    let gate = Gate::default();
    let cause_of = |text: &str| SourceError::refused("a page").with_cause(text.to_owned());
    let first = cause_of("the one and only");
    let scene = Scene::expired(vec![held(&gate, step(move |_| Err(first))), gives("t2", 300)]);
    let waiting = scene.crowd_in_flight(&gate);
    gate.open();
    let errors: Vec<Error> = waiting.gather().into_iter().map(Result::unwrap_err).collect();
    assert!(errors.iter().all(|error| cause(error) == cause(&errors[0])), "64 copies of one error");

    let backoff = errors[0].retry_after().unwrap();
    scene.clock.advance(backoff - millis(1));
    let session = scene.session.clone();
    for result in crowd(MANY, move |_| session.token()).gather() {
        assert_eq!(cause(&result.unwrap_err()), cause(&errors[0]), "the same for those who come later");
    }
    assert_eq!(scene.calls(), 1);
    scene.clock.advance(millis(1));
    let session = scene.session.clone();
    for result in crowd(MANY, move |_| session.token()).gather() {
        assert_eq!(result.unwrap().secret(), "t2");
    }
    assert_eq!(scene.calls(), 2, "one new flight");
}

/// A session whose source does `ask` with it, once, and then what it is told.
fn asking_itself(
    ask: impl Fn(&Session) -> ureq_auth::Result<Arc<Token>> + Send + 'static,
) -> (Scene, Arc<OnceLock<ErrorKind>>) {
    let later: Arc<OnceLock<Session>> = Arc::default();
    let answer: Arc<OnceLock<ErrorKind>> = Arc::default();
    let (session, told) = (Arc::clone(&later), Arc::clone(&answer));
    let asks = step(move |_| {
        let error = ask(session.get().unwrap()).unwrap_err();
        told.set(error.kind()).unwrap();
        Err(error.into())
    });
    let scene = Scene::expired(vec![asks, gives("t2", 300)]);
    later.set(scene.session.clone()).unwrap();
    (scene, answer)
}

fn assert_reentrant(ask: impl Fn(&Session) -> ureq_auth::Result<Arc<Token>> + Send + 'static) {
    let (scene, answer) = asking_itself(ask);
    let error = scene.ask().result().unwrap_err();
    assert_eq!(answer.get(), Some(&ErrorKind::Reentrant), "to the source");
    assert_eq!(error.kind(), ErrorKind::Reentrant, "to the caller");
    assert!(error.to_string().contains("its own agent"), "{error}");
    assert_eq!(error.retry_after(), None, "no pause is announced");
    assert_eq!(scene.session.token().unwrap().secret(), "t2", "the very next call, with no time passed");
}

#[test]
fn rule_7_a_source_that_asks_its_own_session_is_told_so() {
    assert_reentrant(Session::token);
}

#[test]
fn rule_7_a_source_that_asks_for_a_validity_is_told_so() {
    assert_reentrant(|session| session.token_valid_for(secs(60)));
}

#[test]
fn rule_7_a_source_that_reports_a_refusal_is_told_so() {
    assert_reentrant(|session| session.rejected(&session.current().unwrap()));
}

#[test]
fn rule_7_a_source_that_asks_through_another_session_is_told_so() {
    assert_reentrant(|session| {
        let clone = session.clone();
        let nested = Session::new(move |_: Option<&Token>| {
            clone.token()?;
            Ok::<_, SourceError>(token("never", 300))
        });
        nested.unwrap().token()
    });
}

#[test]
fn rule_7_waiters_of_a_flight_that_asked_itself_get_its_error_and_not_a_hang() {
    let later: Arc<OnceLock<Session>> = Arc::default();
    let (session, gate) = (Arc::clone(&later), Gate::default());
    let asks = step(move |_| Err(session.get().unwrap().token().unwrap_err().into()));
    let scene = Scene::expired(vec![held(&gate, asks)]);
    later.set(scene.session.clone()).unwrap();
    let crowd = scene.crowd_in_flight(&gate);
    gate.open();
    assert!(crowd.gather().into_iter().all(|result| result.unwrap_err().kind() == ErrorKind::Reentrant));
}

#[test]
fn rule_7_it_is_about_the_leading_thread_only() {
    let later: Arc<OnceLock<Session>> = Arc::default();
    let session = Arc::clone(&later);
    // Another thread that the source waits for is a wait like any other, and ends at its deadline.
    let asks = step(move |_| {
        let session = session.get().unwrap().clone();
        let other = aside(move || session.token());
        Err(other.result().unwrap_err().into())
    });
    let scene = Scene::with(vec![asks, gives("t", 300)], |builder| {
        builder.policy(Policy::new().with_attempts(1).with_budget(millis(1)).with_wait_timeout(millis(2)))
    });
    later.set(scene.session.clone()).unwrap();
    let (session, clock, watch) = (scene.session.clone(), scene.clock.clone(), scene.watch.clone());
    let leader = aside(move || session.token());
    watch.await_waiters(1);
    clock.advance(millis(2));
    let error = leader.result().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    clock.advance(secs(10));
    assert_eq!(scene.session.token().unwrap().secret(), "t");
}

#[test]
fn rule_8_calls_of_one_thread_stay_in_order_whatever_is_refreshed_in_between() {
    const ROUNDS: u64 = 200;

    let published = Arc::new(AtomicU64::new(0));
    let (seen, steps) = (Arc::clone(&published), Vec::new());
    let scene = Scene::with(steps, |builder| {
        builder.token(token("t", 300)).observer(move |event| {
            if let Event::Refreshed { token, .. } = event {
                seen.fetch_max(token.generation(), Ordering::SeqCst);
            }
        })
    });
    for _ in 0..ROUNDS {
        scene.script.push(gives("t", 300));
    }
    let (session, clock, newest) = (scene.session.clone(), scene.clock.clone(), Arc::clone(&published));
    // The expiries fall between, before and after the calls of the others, as chance will have it.
    let crowd = crowd(9, move |number| {
        let mut last = 0;
        loop {
            let floor = newest.load(Ordering::SeqCst);
            // Time passes by one thread's hand, and only for as long as the script lasts.
            if number == 0 {
                clock.advance(secs(300));
            }
            let generation = session.token().unwrap().generation();
            assert!(generation >= floor, "older than what was out before the call began");
            assert!(generation >= last, "older than what this very thread had before");
            last = generation;
            if last > ROUNDS {
                return last;
            }
        }
    });
    assert!(crowd.gather().into_iter().all(|last| last == ROUNDS + 1));
    assert_eq!(scene.calls() as u64, ROUNDS);
}
