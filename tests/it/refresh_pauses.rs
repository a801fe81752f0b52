//! The pauses after a refresh that failed: who sits them out, who ends them, how long they are.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ureq_auth::{Clock, ErrorKind, ManualClock, Policy, Session, SourceError, Tick};

use crate::support::{
    Gate, MANY, Scene, Script, crowd, fails, gives, held, policy, refused, secs, step, token, unavailable, unknown,
};

#[test]
fn a_short_pause_is_sat_out_once_a_call_and_a_long_one_fails_fast() {
    let scene =
        Scene::with(vec![refused(), gives("t1", 300)], |builder| builder.policy(policy().with_patience(secs(2))));
    let pause = scene.session.token().unwrap_err().retry_after().unwrap();
    let begin = scene.clock.now();
    assert_eq!(scene.session.token().unwrap().secret(), "t1");
    assert_eq!(scene.clock.now(), begin.after(pause), "no longer than it had to be");

    // A crowd that comes during the pause makes one flight of it.
    let gate = Gate::default();
    let steps = vec![refused(), held(&gate, gives("t1", 300))];
    let scene = Scene::with(steps, |builder| builder.policy(policy().with_patience(secs(2))));
    scene.session.token().unwrap_err();
    let joined = scene.crowd_in_flight(&gate);
    gate.open();
    assert!(joined.gather().into_iter().all(|token| token.unwrap().secret() == "t1"));

    // Once a call: the flight after the pause fails too, and that is the caller's error.
    let scene = Scene::with(vec![refused(), refused()], |builder| builder.policy(policy().with_patience(secs(2))));
    scene.session.token().unwrap_err();
    assert_eq!(scene.session.token().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(scene.calls(), 2);

    let long = fails(SourceError::unavailable("503").with_retry_after(secs(40)));
    let scene = Scene::with(vec![long], |builder| builder.policy(policy().with_patience(secs(2))));
    scene.session.token().unwrap_err();
    let begin = scene.clock.now();
    let session = scene.session.clone();
    let errors = crowd(MANY, move |_| session.token().unwrap_err().kind()).gather();
    assert!(errors.into_iter().all(|kind| kind == ErrorKind::Unavailable));
    assert_eq!(scene.clock.now(), begin);
}

#[test]
fn a_set_during_a_pause_that_is_sat_out_is_not_overtaken() {
    let later: Arc<OnceLock<Session>> = Arc::default();
    let clock = SetsInItsSleep(ManualClock::new(None), Arc::clone(&later));
    let builder = Session::builder(Script::new(vec![refused()])).clock(clock);
    let session = builder.policy(Policy::new().with_jitter_seed(7)).build().unwrap();
    session.token().unwrap_err();
    later.set(session.clone()).unwrap();
    assert_eq!(session.token().unwrap().secret(), "set", "and the source is not asked again");
}

/// Somebody logs in while a thread sits out a pause.
#[derive(Clone, Debug)]
struct SetsInItsSleep(ManualClock, Arc<OnceLock<Session>>);

impl Clock for SetsInItsSleep {
    fn now(&self) -> Tick {
        self.0.now()
    }

    fn wall(&self) -> Option<Duration> {
        self.0.wall()
    }

    fn sleep(&self, pause: Duration) {
        self.0.sleep(pause);
        self.1.get().unwrap().set(token("set", 300)).unwrap();
    }
}

#[test]
fn nobody_reached_backs_off_to_30_seconds_and_a_server_reached_begins_at_the_first_pause() {
    let unreachable = || fails(SourceError::unreachable("no route"));
    let scene = Scene::with(Vec::new(), |builder| builder.policy(policy().with_attempts(1)));
    let mut last = Duration::ZERO;
    for _ in 0..100 {
        scene.script.push(unreachable());
        last = scene.session.token().unwrap_err().retry_after().unwrap();
        assert!(last <= secs(30), "{last:?}");
        scene.clock.advance(last);
    }
    assert!(last >= secs(15), "{last:?}");
    scene.script.push(unavailable());
    assert!(
        scene.session.token().unwrap_err().retry_after().unwrap() <= secs(1),
        "a night offline is not held against it"
    );
}

#[test]
fn retry_now_ends_a_pause_at_once_but_hammers_nobody() {
    let failure = |error: SourceError| {
        let scene = Scene::with(vec![fails(error)], |builder| builder.policy(policy().with_attempts(1)));
        scene.session.token().unwrap_err();
        scene
    };
    // Nobody was reached: at once.
    let scene = failure(SourceError::unreachable("no route"));
    assert!(scene.session.retry_now());
    scene.script.push(gives("t1", 300));
    assert_eq!(scene.session.token().unwrap().secret(), "t1");
    assert!(!scene.session.retry_now(), "there is no pause any more");
    // Somebody was, and refused: a second later.
    let scene = failure(SourceError::misconfigured("who are you?"));
    assert!(scene.session.retry_now());
    assert!(!scene.session.retry_now(), "it cannot be shorter");
    scene.session.token().unwrap_err();
    scene.clock.advance(secs(1));
    scene.script.push(gives("t1", 300));
    assert_eq!(scene.session.token().unwrap().secret(), "t1");
    // A server that said "later" is left in peace.
    for later in [
        SourceError::unavailable("429").with_retry_after(secs(60)),
        SourceError::refused("limit").with_retry_after(secs(60)),
    ] {
        let scene = failure(later);
        assert!(!scene.session.retry_now());
        scene.clock.advance(secs(59));
        assert!(!scene.session.retry_now());
        scene.session.token().unwrap_err();
    }
}

#[test]
fn a_pause_that_is_sat_out_leaves_the_flight_its_time() {
    for (budget, patience, pause) in [(30, 60, 40), (2, 2, 2), (30, 60, 30)] {
        let later = fails(SourceError::refused("slow down").with_retry_after(secs(pause)));
        let given = Arc::new(OnceLock::new());
        let left = Arc::clone(&given);
        let looks = step(move |fetch| {
            left.set(fetch.time_left).unwrap();
            Ok(token("t1", 300))
        });
        let policy = policy().with_budget(secs(budget)).with_patience(secs(patience));
        let scene = Scene::with(vec![later, looks], |builder| builder.policy(policy));
        scene.session.token().unwrap_err();
        if scene.session.token().is_err() {
            // Not sat out, then: it is too long for that.
            scene.clock.advance(secs(pause));
            scene.session.token().unwrap();
        }
        let left = *given.get().unwrap();
        assert!(left >= secs(budget) / 4, "{left:?} of {budget} s are left for the exchange");
    }
}

#[test]
fn a_rotation_told_with_a_refused_answer_counts_as_one() {
    let refreshed =
        |name: &'static str, refresh: &'static str| step(move |_| Ok(token(name, 300).with_refresh_token(refresh)));
    let spent = fails(SourceError::misconfigured("a token of another type").with_new_refresh_token("r2"));
    let steps = vec![refreshed("t1", "r1"), refreshed("t2", "r1"), refreshed("t3", "r1"), spent, unknown(), unknown()];
    let scene = Scene::new(steps);
    for _ in 0..3 {
        scene.session.token().unwrap();
        scene.clock.advance(secs(300));
    }
    scene.session.token().unwrap_err();
    scene.clock.advance(secs(3600));
    let error = scene.session.token().unwrap_err();
    assert!(error.is_login_required(), "r2 was sent twice: {error}");
}
