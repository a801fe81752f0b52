//! `Session::wait_for_change`: what a long connection gets, and when.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use ureq_auth::{Clock, ErrorKind, ManualClock, Result, Session, SourceError, Tick, Token};

use crate::flight_rules::reentrant;
use crate::support::{
    Crowd, Gate, MANY, Scene, Seen, WATCHDOG, aside, crowd, fails, gives, held, panics, policy, refused, rejected,
    secs, step, token, unavailable,
};

const HOUR: Duration = Duration::from_secs(3600);

type Changed = Result<Option<Arc<Token>>>;

/// Waits on a thread of its own, for longer than any token here lives.
fn wait(session: &Session, after: &Arc<Token>) -> Crowd<Changed> {
    let (session, after) = (session.clone(), Arc::clone(after));
    aside(move || session.wait_for_change(&after, HOUR))
}

fn secret(changed: Changed) -> String {
    changed.unwrap().expect("another token").secret().to_owned()
}

#[test]
fn a_token_that_is_replaced_already_is_returned_at_once() {
    let scene = Scene::with_token(vec![]);
    let first = scene.session.token().unwrap();
    scene.session.set(token("set", 300)).unwrap();
    assert_eq!(secret(scene.session.wait_for_change(&first, Duration::ZERO)), "set");
}

#[test]
fn a_fresh_token_costs_no_request() {
    let scene = Scene::with_token(vec![]);
    let first = scene.session.token().unwrap();
    assert!(scene.session.wait_for_change(&first, Duration::ZERO).unwrap().is_none());
}

/// The later token has ended as well by the time that somebody looks.
#[test]
fn a_later_token_that_has_ended_is_refreshed_and_not_returned() {
    let scene = Scene::with_token(vec![gives("t3", 300)]);
    let first = scene.session.token().unwrap();
    scene.session.set(token("t2", 300)).unwrap();
    scene.clock.advance(secs(300));
    assert_eq!(secret(scene.session.wait_for_change(&first, Duration::ZERO)), "t3");
}

#[test]
fn a_later_token_that_is_stale_is_refreshed_too_and_serves_if_that_fails() {
    for (step, next) in [(gives("t3", 300), "t3"), (refused(), "t2")] {
        let scene = Scene::with_token(vec![step]);
        let first = scene.session.token().unwrap();
        scene.session.set(token("t2", 300)).unwrap();
        scene.clock.advance(secs(270));
        assert_eq!(secret(scene.session.wait_for_change(&first, Duration::ZERO)), next);
    }
}

#[test]
fn where_the_later_token_has_ended_the_wait_for_another_callers_refresh_ends_in_time() {
    let gate = Gate::default();
    let scene = Scene::with_token(vec![held(&gate, gives("t3", 300))]);
    let first = scene.session.token().unwrap();
    scene.session.set(token("t2", 300)).unwrap();
    scene.clock.advance(secs(300));
    let leader = scene.ask();
    gate.await_entered();
    assert!(scene.session.wait_for_change(&first, Duration::ZERO).unwrap().is_none());
    let waiting = wait(&scene.session, &first);
    gate.open();
    assert_eq!(secret(waiting.result()), "t3");
    leader.result().unwrap();
}

/// A clock that says when somebody goes to sleep on it.
#[derive(Debug)]
struct Bedside(ManualClock, mpsc::Sender<()>);

impl Clock for Bedside {
    fn now(&self) -> Tick {
        self.0.now()
    }

    fn wall(&self) -> Option<Duration> {
        self.0.wall()
    }

    fn sleep(&self, pause: Duration) {
        self.0.sleep(pause);
    }

    fn timeout(&self, deadline: Tick) -> Option<Duration> {
        self.1.send(()).unwrap();
        self.0.timeout(deadline)
    }

    fn on_change(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        self.0.on_change(wake);
    }
}

#[test]
fn the_wait_ends_when_its_time_is_over_and_not_before() {
    let (clock, (send, sleeps)) = (ManualClock::new(None), mpsc::channel());
    let scene = Scene::with(vec![], |builder| builder.clock(Bedside(clock.clone(), send)).token(token("t1", 300)));
    let first = scene.session.token().unwrap();
    let (session, after) = (scene.session.clone(), Arc::clone(&first));
    let waiting = aside(move || session.wait_for_change(&after, secs(60)));
    sleeps.recv_timeout(WATCHDOG).unwrap();
    clock.advance(secs(59));
    sleeps.recv_timeout(WATCHDOG).expect("a second is left");
    clock.advance(secs(1));
    assert!(waiting.result().unwrap().is_none());
}

#[test]
fn a_due_token_is_refreshed_by_one_of_all_who_wait() {
    let scene = Scene::with_token(vec![gives("t2", 300)]);
    let first = scene.session.token().unwrap();
    let (session, after) = (scene.session.clone(), Arc::clone(&first));
    let waiting = crowd(MANY, move |_| session.wait_for_change(&after, HOUR));
    // In the last fifth of its life, and before its leeway.
    scene.clock.advance(secs(270));
    assert!(waiting.gather().into_iter().all(|changed| secret(changed) == "t2"));
    assert_eq!(scene.calls(), 1);
}

#[test]
fn another_callers_refresh_wakes_who_waits() {
    let scene = Scene::with_token(vec![gives("t2", 300)]);
    let first = scene.session.token().unwrap();
    let waiting = wait(&scene.session, &first);
    scene.session.refresh().unwrap();
    assert_eq!(secret(waiting.result()), "t2");
}

#[test]
fn a_flight_under_way_is_waited_for_and_its_token_returned() {
    let gate = Gate::default();
    let scene = Scene::with_token(vec![held(&gate, gives("t2", 300))]);
    let first = scene.session.token().unwrap();
    scene.clock.advance(secs(270));
    let leader = scene.ask();
    gate.await_entered();
    let waiting = wait(&scene.session, &first);
    gate.open();
    assert_eq!(secret(waiting.result()), "t2");
    leader.result().unwrap();
}

#[test]
fn the_wait_ends_in_time_though_another_callers_refresh_does_not() {
    let gate = Gate::default();
    let scene = Scene::with_token(vec![held(&gate, gives("t2", 300))]);
    let first = scene.session.token().unwrap();
    scene.clock.advance(secs(270));
    let leader = scene.ask();
    gate.await_entered();
    assert!(scene.session.wait_for_change(&first, Duration::ZERO).unwrap().is_none());
    gate.open();
    leader.result().unwrap();
}

#[test]
fn set_wakes_who_waits() {
    let scene = Scene::with_token(vec![]);
    let first = scene.session.token().unwrap();
    let waiting = wait(&scene.session, &first);
    scene.session.set(token("set", 300)).unwrap();
    assert_eq!(secret(waiting.result()), "set");
}

#[test]
fn end_wakes_who_waits_with_its_error() {
    let scene = Scene::with_token(vec![]);
    let first = scene.session.token().unwrap();
    let waiting = wait(&scene.session, &first);
    scene.session.end().unwrap();
    assert_eq!(waiting.result().unwrap_err().kind(), ErrorKind::LoggedOut);
}

#[test]
fn a_refused_token_is_replaced_for_who_waits() {
    let gate = Gate::default();
    let scene = Scene::with_token(vec![held(&gate, gives("t2", 300))]);
    let first = scene.session.token().unwrap();
    let waiting = wait(&scene.session, &first);
    let (session, after) = (scene.session.clone(), Arc::clone(&first));
    let reporter = aside(move || session.rejected(&after));
    gate.await_entered();
    gate.open();
    assert_eq!(secret(waiting.result()), "t2");
    reporter.result().unwrap();
}

#[test]
fn a_refresh_ahead_of_time_that_fails_is_tried_again_after_the_pause() {
    let scene = Scene::with_token(vec![unavailable(), gives("t2", 300)]);
    let first = scene.session.token().unwrap();
    scene.clock.advance(secs(270));
    let waiting = wait(&scene.session, &first);
    scene.watch.await_count(1, |seen| matches!(seen, Seen::RefreshFailed(_)));
    assert!(waiting.is_out(), "the token lives");
    scene.clock.advance(secs(15));
    assert_eq!(secret(waiting.result()), "t2");
}

#[test]
fn retry_now_ends_the_pause_of_who_waits() {
    let scene = Scene::with(vec![fails(SourceError::unreachable("no network")), gives("t2", 300)], |builder| {
        builder.token(token("t1", 300))
    });
    let first = scene.session.token().unwrap();
    scene.clock.advance(secs(270));
    let waiting = wait(&scene.session, &first);
    scene.watch.await_count(1, |seen| matches!(seen, Seen::RefreshFailed(_)));
    assert!(scene.session.retry_now(), "there is a pause");
    assert_eq!(secret(waiting.result()), "t2");
}

#[test]
fn a_failure_without_a_pause_is_not_repeated_at_once() {
    let reentrant = fails(reentrant());
    let scene = Scene::with_token(vec![reentrant, gives("t2", 300)]);
    let first = scene.session.token().unwrap();
    scene.clock.advance(secs(270));
    let waiting = wait(&scene.session, &first);
    scene.watch.await_count(1, |seen| matches!(seen, Seen::RefreshFailed(_)));
    assert!(waiting.is_out(), "it waits as long as after a first failure");
    scene.clock.advance(secs(1));
    assert_eq!(secret(waiting.result()), "t2");
}

#[test]
fn a_login_that_is_required_is_an_error_when_the_token_ends_and_not_before() {
    let scene = Scene::with_token(vec![rejected()]);
    let first = scene.session.token().unwrap();
    scene.clock.advance(secs(270));
    let waiting = wait(&scene.session, &first);
    scene.watch.await_count(1, |seen| matches!(seen, Seen::RefreshFailed(_)));
    scene.clock.advance(secs(29));
    assert!(waiting.is_out(), "the token lives");
    scene.clock.advance(secs(1));
    assert!(waiting.result().unwrap_err().is_login_required());
}

#[test]
fn an_ended_tokens_failed_refresh_is_an_error_and_the_next_wait_lasts_as_long_as_the_pause() {
    let scene = Scene::expired(vec![refused(), gives("t2", 300)]);
    let first = scene.session.current().unwrap();
    let error = scene.session.wait_for_change(&first, HOUR).unwrap_err();
    assert!(!error.is_login_required(), "{error}");
    let waiting = wait(&scene.session, &first);
    assert!(waiting.is_out(), "the pause has just begun, and time stands still");
    scene.clock.advance(HOUR / 2);
    assert_eq!(secret(waiting.result()), "t2");
}

/// Nothing joins a pause, and nothing ends one that has no end: but who watches learns that the token no longer serves.
#[test]
fn a_refusal_during_a_pause_is_heard_at_once() {
    let (clock, (send, sleeps)) = (ManualClock::new(None), mpsc::channel());
    let scene = Scene::with(vec![rejected()], |builder| builder.clock(Bedside(clock, send)).token(token("t1", 300)));
    let first = scene.session.token().unwrap();
    assert!(scene.session.refresh().unwrap_err().is_login_required());
    let waiting = wait(&scene.session, &first);
    sleeps.recv_timeout(WATCHDOG).expect("the token lives");
    assert!(scene.session.rejected(&first).unwrap_err().is_login_required());
    assert!(waiting.result().unwrap_err().is_login_required());
}

#[test]
fn a_refusal_during_a_pause_that_ends_is_met_at_its_end() {
    let (clock, (send, sleeps)) = (ManualClock::new(None), mpsc::channel());
    let steps = vec![refused(), gives("t2", 300)];
    let scene =
        Scene::with(steps, |builder| builder.clock(Bedside(clock.clone(), send)).token(Token::new("t1").unwrap()));
    let first = scene.session.token().unwrap();
    scene.session.refresh().unwrap_err();
    let waiting = wait(&scene.session, &first);
    sleeps.recv_timeout(WATCHDOG).expect("nobody knows when this token ends");
    scene.session.rejected(&first).unwrap_err();
    sleeps.recv_timeout(WATCHDOG).expect("it goes to sleep until the pause ends");
    clock.advance(HOUR / 2);
    assert_eq!(secret(waiting.result()), "t2");
}

#[test]
fn without_refreshing_by_age_only_another_callers_token_or_the_time_ends_it() {
    let scene = Scene::with(vec![], |builder| builder.policy(policy().with_proactive(false)).token(token("t1", 300)));
    let first = scene.session.token().unwrap();
    scene.clock.advance(secs(1000));
    assert!(scene.session.wait_for_change(&first, Duration::ZERO).unwrap().is_none());
}

#[test]
fn a_leader_that_panics_leaves_the_refresh_to_who_waits() {
    let gate = Gate::default();
    let scene = Scene::with_token(vec![held(&gate, panics()), gives("t2", 300)]);
    let first = scene.session.token().unwrap();
    scene.clock.advance(secs(270));
    let leader = scene.ask();
    gate.await_entered();
    let waiting = wait(&scene.session, &first);
    gate.open();
    assert_eq!(secret(waiting.result()), "t2");
    assert!(leader.gather_caught().pop().unwrap().is_err(), "its own caller gets the panic");
}

#[test]
fn inside_its_own_source_it_is_an_error() {
    let place = Arc::new(std::sync::OnceLock::<(Session, Arc<Token>)>::new());
    let inside = Arc::clone(&place);
    let scene = Scene::with_token(vec![step(move |_| {
        let (session, after) = inside.get().unwrap();
        assert!(session.wait_for_change(after, HOUR).is_err());
        Ok(token("t2", 300))
    })]);
    let first = scene.session.token().unwrap();
    assert!(place.set((scene.session.clone(), first)).is_ok());
    assert_eq!(scene.session.refresh().unwrap().secret(), "t2");
}

#[test]
fn another_sessions_token_is_invalid_input() {
    let (scene, other) = (Scene::with_token(vec![]), Scene::with_token(vec![]));
    let foreign = other.session.token().unwrap();
    let error = scene.session.wait_for_change(&foreign, HOUR).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}
