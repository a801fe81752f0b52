//! An API that refuses whatever it is given: a few refreshes, then its 401 is the caller's.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ureq_auth::{Clock, ErrorKind, ManualClock, Policy, Reason, Tick, Token};

use crate::support::{Gate, MANY, Scene, Seen, Step, aside, crowd, gives, millis, policy, refused, secs, token};

/// So many answers, all good for an hour.
fn tokens(count: usize) -> Vec<Step> {
    (0..count).map(|_| gives("t", 3600)).collect()
}

/// A scene with a token that outlives everything here, and these answers.
fn scene(steps: Vec<Step>) -> Scene {
    Scene::with(steps, |builder| builder.token(token("t", 3600)))
}

/// Refuses one token after the other; returns how many were replaced before the loop breaker stepped in.
fn refuse_on(scene: &Scene) -> usize {
    for replaced in 0.. {
        let token = scene.session.token().unwrap();
        match scene.session.rejected(&token) {
            Ok(next) => assert_eq!(next.generation(), token.generation() + 1),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::RefusedTooOften, "{error}");
                return replaced;
            }
        }
    }
    unreachable!()
}

#[test]
fn tokens_that_are_never_accepted_and_always_refused_cost_a_handful_of_refreshes() {
    let scene = scene(tokens(3));
    assert_eq!(refuse_on(&scene), 3);
    let session = scene.session.clone();
    let crowd = crowd(MANY, move |_| {
        for _ in 0..20 {
            let token = session.token().unwrap();
            assert_eq!(session.rejected(&token).unwrap_err().kind(), ErrorKind::RefusedTooOften);
        }
    });
    crowd.gather();
    assert_eq!(scene.calls(), 3);
    assert_eq!(scene.session.stats().ignored_refusals, 1 + 1280);
}

#[test]
fn many_threads_that_are_refused_whatever_they_send_cost_a_handful_of_refreshes_too() {
    let scene = scene(tokens(3));
    let session = scene.session.clone();
    // Each call goes as a client's does: a token, a refusal, one replay, another refusal.
    let crowd = crowd(MANY, move |_| (0..20).filter(|_| session.rejected(&session.token().unwrap()).is_ok()).count());
    let replays: usize = crowd.gather().into_iter().sum();
    assert!(replays <= 3 * MANY, "{replays}");
    assert_eq!(scene.calls(), 3);
}

#[test]
fn the_bucket_leaks_so_that_an_api_that_recovers_is_served_again() {
    let scene = scene(tokens(3));
    assert_eq!(refuse_on(&scene), 3);
    // 30 per 30 s, and a token that was never accepted counts tenfold: one more in 10 s.
    scene.clock.advance(secs(10) - millis(1));
    assert_eq!(refuse_on(&scene), 0);
    for step in tokens(1) {
        scene.script.push(step);
    }
    scene.clock.advance(millis(1));
    assert_eq!(refuse_on(&scene), 1);
    for step in tokens(3) {
        scene.script.push(step);
    }
    scene.clock.advance(secs(1000));
    assert_eq!(refuse_on(&scene), 3, "and no more than that, however long it had nothing to do");
}

#[test]
fn tokens_that_were_accepted_may_be_revoked_three_hundred_times() {
    let scene = scene(tokens(300));
    for _ in 0..300 {
        let token = scene.session.token().unwrap();
        scene.session.accepted(&token);
        scene.session.rejected(&token).unwrap();
    }
    let token = scene.session.token().unwrap();
    scene.session.accepted(&token);
    assert_eq!(scene.session.rejected(&token).unwrap_err().kind(), ErrorKind::RefusedTooOften);
    scene.script.push(gives("t", 3600));
    scene.clock.advance(millis(100));
    assert!(scene.session.rejected(&token).is_ok(), "ten a second");
    assert!(scene.watch.reasons().iter().all(|reason| *reason == Reason::Refused));
}

#[test]
fn revocations_every_150_ms_of_tokens_that_were_accepted_are_met_for_ever() {
    let scene = scene(tokens(400));
    for _ in 0..400 {
        let token = scene.session.token().unwrap();
        scene.session.accepted(&token);
        scene.clock.advance(millis(150));
        scene.session.rejected(&token).unwrap();
    }
    assert_eq!(scene.session.stats().ignored_refusals, 0);
}

#[test]
fn one_refusal_that_many_threads_report_counts_once() {
    let scene = scene(tokens(3));
    for _ in 0..3 {
        let (session, token) = (scene.session.clone(), scene.session.token().unwrap());
        let next = crowd(MANY, move |_| session.rejected(&token)).gather();
        assert!(next.into_iter().all(|next| next.is_ok()));
    }
    assert_eq!(refuse_on(&scene), 0);
}

#[test]
fn one_refusal_counts_once_however_often_its_refresh_fails() {
    let policy = || policy().with_attempts(1).with_backoff(millis(1), millis(1));
    let steps = (0..9).map(|_| crate::support::unavailable()).chain(tokens(1)).collect();
    let scene = Scene::with(steps, |builder| builder.token(token("t", 3600)).policy(policy()));
    let refused = scene.session.token().unwrap();
    for _ in 0..9 {
        assert_eq!(scene.session.rejected(&refused).unwrap_err().kind(), ErrorKind::Unavailable);
        scene.clock.advance(millis(1));
    }
    assert_eq!(scene.session.rejected(&refused).unwrap().generation(), 2);
}

#[test]
fn a_refusal_that_was_ignored_leaves_the_token_to_those_it_serves() {
    let scene = scene(tokens(3));
    assert_eq!(refuse_on(&scene), 3);
    // One API may refuse it and another take it: nobody else is kept from it.
    assert_eq!(scene.session.token().unwrap().generation(), 4);
    assert_eq!(scene.watch.count(|seen| *seen == Seen::RefusalIgnored(4)), 1);
}

#[test]
fn a_late_report_of_an_old_refusal_neither_counts_nor_is_turned_away() {
    let scene = scene(tokens(3));
    let old: Vec<Arc<Token>> = (0..3)
        .map(|_| {
            let token = scene.session.token().unwrap();
            scene.session.rejected(&token).unwrap();
            token
        })
        .collect();
    for token in old {
        assert_eq!(
            scene.session.rejected(&token).unwrap().generation(),
            4,
            "the bucket is full, and it does not matter"
        );
    }
}

#[test]
fn the_numbers_are_the_policys() {
    for (refusals, fresh, accepted) in [(1, 1, 10), (5, 1, 50), (20, 2, 200), (100, 10, 1000)] {
        let build = |count| {
            let policy = Policy::new().with_refusals(refusals, secs(60));
            Scene::with(tokens(count), |builder| builder.token(token("t", 3600)).policy(policy))
        };
        assert_eq!(refuse_on(&build(fresh)), fresh, "{refusals}");
        let scene = build(accepted);
        for _ in 0..accepted {
            let token = scene.session.token().unwrap();
            scene.session.accepted(&token);
            scene.session.rejected(&token).unwrap();
        }
        assert_eq!(refuse_on(&scene), 0, "{refusals}");
    }
}

#[test]
fn a_refusal_that_cannot_be_refreshed_for_now_is_not_turned_into_too_many_refusals() {
    let scene = Scene::with_token(vec![refused()]);
    let refused = scene.session.token().unwrap();
    for _ in 0..10 {
        assert_eq!(scene.session.rejected(&refused).unwrap_err().kind(), ErrorKind::Unavailable);
    }
}

thread_local! {
    /// This thread's next look at the clock is held up.
    static HELD_UP: Cell<bool> = const { Cell::new(false) };
}

/// A clock at which a thread can be stopped on its way through the session.
#[derive(Clone)]
struct Stopping(ManualClock, Gate);

impl Clock for Stopping {
    fn now(&self) -> Tick {
        if HELD_UP.take() {
            self.1.pass();
        }
        self.0.now()
    }

    fn wall(&self) -> Option<Duration> {
        self.0.wall()
    }

    fn sleep(&self, pause: Duration) {
        self.0.sleep(pause);
    }

    fn timeout(&self, deadline: Tick) -> Option<Duration> {
        self.0.timeout(deadline)
    }

    fn on_change(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        self.0.on_change(wake);
    }
}

impl fmt::Debug for Stopping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[test]
fn a_report_that_is_overtaken_by_others_is_a_late_one_and_neither_counts_nor_is_turned_away() {
    for others in [2, 3] {
        let gate = Gate::default();
        let clock = Stopping(ManualClock::new(None), gate.clone());
        let scene = Scene::with(tokens(3), |builder| builder.token(token("t", 3600)).clock(clock));
        let (session, refused) = (scene.session.clone(), scene.session.token().unwrap());
        let overtaken = aside(move || {
            HELD_UP.set(true);
            session.rejected(&refused)
        });
        gate.await_entered();
        for _ in 0..others {
            let refused = scene.session.token().unwrap();
            scene.session.rejected(&refused).unwrap();
        }
        gate.open();
        assert_eq!(overtaken.result().unwrap().generation(), others + 1, "the newest, whatever the bucket says");
        assert_eq!(scene.session.stats().late_refusals, 1);
        assert_eq!(refuse_on(&scene), 3 - others as usize, "and the bucket holds what it held");
    }
}
