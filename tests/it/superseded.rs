//! New credentials, or the end, while a refresh is under way.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ureq_auth::{Clock, ErrorKind, Event, ManualClock, Session, SourceError, Tick};

use crate::support::{
    Crowd, Gate, MANY, Scene, Script, Seen, Step, crowd, fails, gives, held, millis, panics, policy, rejected, secs,
    step, token, unavailable, unknown,
};

/// A crowd in a flight whose leader stands at `gate` and will answer with `then`.
fn in_flight(gate: &Gate, then: Step) -> (Scene, Crowd<ureq_auth::Result<Arc<ureq_auth::Token>>>) {
    let scene = Scene::expired(vec![held(gate, then)]);
    let crowd = scene.crowd_in_flight(gate);
    (scene, crowd)
}

#[test]
fn set_gives_the_waiters_its_token_at_once_and_the_leaders_result_is_dropped() {
    for answer in [gives("t2", 300), unknown(), rejected()] {
        let gate = Gate::default();
        let (scene, waiting) = in_flight(&gate, answer);
        scene.session.set(token("set", 300)).unwrap();
        // All but the leader, who still stands at the gate.
        scene.watch.await_count(MANY - 1, |seen| matches!(seen, Seen::WaitEnded { .. }));
        let session = scene.session.clone();
        assert!(
            crowd(MANY, move |_| session.token()).gather().into_iter().all(|token| token.unwrap().secret() == "set")
        );
        gate.open();
        assert!(
            waiting.gather().into_iter().all(|token| token.unwrap().secret() == "set"),
            "the leader's own included"
        );
        assert_eq!(scene.session.current().unwrap().generation(), 2, "one published token, the one that was set");
        assert_eq!((scene.session.stats().superseded, scene.session.stats().refreshes), (1, 0));
    }
}

#[test]
fn set_survives_a_leader_that_panics() {
    let gate = Gate::default();
    let (scene, crowd) = in_flight(&gate, panics());
    scene.session.set(token("set", 300)).unwrap();
    gate.open();
    let results = crowd.gather_caught();
    assert!(results.into_iter().filter_map(Result::ok).all(|token| token.unwrap().secret() == "set"));
    assert_eq!(scene.session.token().unwrap().secret(), "set");
}

#[test]
fn end_gives_the_waiters_its_error_at_once_and_no_later_result_resurrects_the_session() {
    for answer in [gives("t2", 300), unknown(), rejected()] {
        let gate = Gate::default();
        let (scene, waiting) = in_flight(&gate, answer);
        scene.session.end().unwrap();
        scene.watch.await_count(MANY - 1, |seen| matches!(seen, Seen::WaitEnded { .. }));
        gate.open();
        let kinds: Vec<_> = waiting.gather().into_iter().map(|result| result.unwrap_err().kind()).collect();
        assert_eq!(kinds, [ErrorKind::LoggedOut; MANY], "the leader's own included");
        assert!(scene.session.current().is_none());
        scene.clock.advance(secs(1_000_000));
        let error = scene.session.token().unwrap_err();
        assert!(error.kind() == ErrorKind::LoggedOut && error.is_login_required());
        scene.session.set(token("set", 300)).unwrap();
        assert_eq!(scene.session.token().unwrap().secret(), "set");
    }
}

#[test]
fn end_survives_a_leader_that_panics() {
    let gate = Gate::default();
    let (scene, crowd) = in_flight(&gate, panics());
    scene.session.end().unwrap();
    gate.open();
    let results = crowd.gather_caught();
    assert!(
        results.into_iter().filter_map(Result::ok).all(|result| result.unwrap_err().kind() == ErrorKind::LoggedOut)
    );
    assert_eq!(scene.session.token().unwrap_err().kind(), ErrorKind::LoggedOut);
}

#[test]
fn a_refusal_reported_after_the_end_starts_nothing() {
    let scene = Scene::with_token(Vec::new());
    let token = scene.session.token().unwrap();
    scene.session.end().unwrap();
    assert_eq!(scene.session.rejected(&token).unwrap_err().kind(), ErrorKind::LoggedOut);
}

#[test]
fn a_superseded_leader_neither_ends_nor_disturbs_the_flight_that_came_after_it() {
    for answer in [gives("dropped", 300), unknown(), rejected(), panics()] {
        let (first, second) = (Gate::default(), Gate::default());
        let (scene, waiting) = in_flight(&first, answer);
        scene.session.set(token("set", 300)).unwrap();
        scene.watch.await_count(MANY - 1, |seen| matches!(seen, Seen::WaitEnded { .. }));
        scene.clock.advance(secs(300));
        scene.script.push(held(&second, gives("t3", 300)));
        let session = scene.session.clone();
        let next = crowd(MANY, move |_| session.token());
        second.await_entered();
        scene.watch.await_waiters(2 * MANY - 2);
        first.open();
        // The first leader finds a flight under way and joins it, or has panicked.
        scene.watch.await_count(1, |seen| *seen == Seen::Superseded || *seen == Seen::WaitStarted);
        second.open();
        assert!(next.gather().into_iter().all(|token| token.unwrap().secret() == "t3"));
        for token in waiting.gather_caught().into_iter().filter_map(Result::ok) {
            assert_ne!(token.unwrap().secret(), "dropped");
        }
        assert_eq!((scene.session.current().unwrap().generation(), scene.calls()), (3, 2));
    }
}

#[test]
fn a_source_may_set_the_token_itself() {
    let later: Arc<OnceLock<Session>> = Arc::default();
    let session = Arc::clone(&later);
    let login = step(move |_| {
        session.get().unwrap().set(token("login", 300)).unwrap();
        Err(SourceError::rejected("replaced by a login"))
    });
    let scene = Scene::new(vec![login]);
    later.set(scene.session.clone()).unwrap();
    assert_eq!(scene.ask().result().unwrap().secret(), "login");
}

#[test]
fn a_leader_that_took_longer_than_a_waiter_may_wait_still_gets_the_token_that_was_set_meanwhile() {
    let gate = Gate::default();
    let scene = Scene::expired(vec![held(&gate, gives("t2", 300))]);
    let leader = scene.ask();
    gate.await_entered();
    scene.clock.advance(secs(41));
    scene.session.set(token("set", 300)).unwrap();
    gate.open();
    assert_eq!(leader.result().unwrap().secret(), "set");
}

#[test]
fn a_leader_that_took_longer_than_a_waiter_may_wait_is_told_of_the_end_and_not_of_its_time() {
    let gate = Gate::default();
    let scene = Scene::expired(vec![held(&gate, gives("t2", 300))]);
    let leader = scene.ask();
    gate.await_entered();
    scene.clock.advance(secs(41));
    scene.session.end().unwrap();
    gate.open();
    assert_eq!(leader.result().unwrap_err().kind(), ErrorKind::LoggedOut);
}

#[test]
fn one_panic_after_the_other_ends_at_the_callers_deadline() {
    let (first, second) = (Gate::default(), Gate::default());
    let scene = Scene::expired(vec![held(&first, panics()), held(&second, panics()), gives("t2", 300)]);
    let leader = scene.ask();
    first.await_entered();
    let (one, two) = (scene.ask(), scene.ask());
    scene.watch.await_waiters(2);
    first.open();
    assert!(leader.gather_caught()[0].is_err());
    // One of the two leads now, and the other waits again.
    second.await_entered();
    scene.watch.await_waiters(3);
    scene.clock.advance(secs(40));
    let timed_out = |seen: &Seen| matches!(seen, Seen::WaitEnded { timed_out: true, .. });
    scene.watch.await_count(1, timed_out);
    second.open();
    let mut results: Vec<_> = one.gather_caught().into_iter().chain(two.gather_caught()).collect();
    results.sort_by_key(Result::is_ok);
    assert!(results[0].is_err());
    assert_eq!(results.pop().unwrap().unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(scene.session.token().unwrap().secret(), "t2");
}

#[test]
fn the_failure_of_a_superseded_flight_is_not_held_against_the_new_credentials() {
    let gate = Gate::default();
    let scene = Scene::with(vec![held(&gate, unknown())], |builder| {
        builder.token(token("t1", 300)).policy(policy().with_attempts(1))
    });
    scene.clock.advance(secs(300));
    let leader = scene.ask();
    gate.await_entered();
    scene.session.set(token("set", 300)).unwrap();
    gate.open();
    assert_eq!(leader.result().unwrap().secret(), "set");
    // The first lost answer since the login: one more try is due, after the first and shortest of all pauses.
    scene.clock.advance(secs(300));
    scene.script.push(unknown());
    let error = scene.session.token().unwrap_err();
    let pause = error.retry_after().expect("the first unknown of these credentials");
    assert!(pause <= secs(1));
    scene.clock.advance(pause);
    scene.script.push(gives("t3", 300));
    assert_eq!(scene.session.token().unwrap().secret(), "t3");
}

#[test]
fn a_source_that_asked_its_own_session_does_not_hide_a_lost_answer() {
    let policy = || policy().with_attempts(1).with_backoff(secs(1), secs(1));
    let later: Arc<OnceLock<Session>> = Arc::default();
    let session = Arc::clone(&later);
    let asks = step(move |_| Err(session.get().unwrap().token().unwrap_err().into()));
    let scene = Scene::with(vec![unknown(), asks, unknown()], |builder| builder.policy(policy()));
    later.set(scene.session.clone()).unwrap();
    assert!(scene.session.token().unwrap_err().retry_after().is_some());
    scene.clock.advance(secs(1));
    assert_eq!(scene.session.token().unwrap_err().kind(), ErrorKind::Reentrant);
    // That was the program's mistake and no answer of the server: this is the second lost answer in a row.
    assert_eq!(scene.session.token().unwrap_err().retry_after(), None);
    scene.clock.advance(millis(1_000_000));
    assert_eq!(scene.session.token().unwrap_err().kind(), ErrorKind::Unknown);
}

#[test]
fn set_after_a_failure_ends_its_backoff() {
    let failure = fails(SourceError::unavailable("later").with_retry_after(secs(3600)));
    let scene = Scene::new(vec![failure, unavailable(), gives("t2", 300)]);
    assert!(scene.session.token().is_err());
    scene.session.set(token("set", 300)).unwrap();
    assert_eq!(scene.session.token().unwrap().secret(), "set");
    scene.clock.advance(secs(300));
    assert_eq!(scene.session.token().unwrap().secret(), "t2", "and the history begins anew");
}

#[test]
fn a_flight_that_is_superseded_during_a_pause_makes_no_further_attempt() {
    let ways: [fn(&Session); 2] = [|session| drop(session.end()), |session| session.set(token("set", 300)).unwrap()];
    for supersede in ways {
        let later: Arc<OnceLock<Session>> = Arc::default();
        let session = Arc::clone(&later);
        let scene = Scene::with(vec![unavailable()], |builder| {
            builder.token(token("t1", 300)).observer(move |event| {
                if matches!(event, Event::AttemptFailed { .. }) {
                    supersede(session.get().unwrap());
                }
            })
        });
        later.set(scene.session.clone()).unwrap();
        scene.clock.advance(secs(300));
        match scene.session.token() {
            Ok(token) => assert_eq!(token.secret(), "set"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::LoggedOut),
        }
        assert_eq!(scene.calls(), 1, "the old refresh token was not sent once more");
    }
}

#[test]
fn credentials_that_an_observer_sets_have_a_clean_record() {
    let later: Arc<OnceLock<Session>> = Arc::default();
    let (session, done) = (Arc::clone(&later), OnceLock::new());
    let scene = Scene::with(vec![unknown(), unknown(), gives("t", 300)], |builder| {
        builder.policy(policy().with_attempts(1)).observer(move |event| {
            if matches!(event, Event::RefreshStarted { .. }) && done.set(()).is_ok() {
                session.get().unwrap().set(token("set", 300)).unwrap();
            }
        })
    });
    later.set(scene.session.clone()).unwrap();
    assert_eq!(scene.session.token().unwrap().secret(), "set");
    scene.clock.advance(secs(300));
    let pause = scene.session.token().unwrap_err().retry_after().expect("the first lost answer of these credentials");
    scene.clock.advance(pause);
    assert_eq!(scene.session.token().unwrap().secret(), "t");
}

/// Sets a token in the leader's first look at the clock: when it leads already, and knows nothing of its login yet.
#[derive(Clone, Debug)]
struct Meddler {
    clock: ManualClock,
    looks: Arc<AtomicUsize>,
    session: Arc<OnceLock<Session>>,
}

impl Clock for Meddler {
    fn now(&self) -> Tick {
        let now = self.clock.now();
        // The first one is before it enters.
        if let Some(session) = self.session.get().filter(|_| self.looks.fetch_add(1, Ordering::SeqCst) == 1) {
            session.set(token("login", 300)).unwrap();
        }
        now
    }

    fn wall(&self) -> Option<Duration> {
        self.clock.wall()
    }

    fn sleep(&self, pause: Duration) {
        self.clock.sleep(pause);
    }

    fn timeout(&self, deadline: Tick) -> Option<Duration> {
        self.clock.timeout(deadline)
    }
}

#[test]
fn what_an_old_flight_has_met_is_not_held_against_a_login_made_as_it_began() {
    let clock = Meddler { clock: ManualClock::new(None), looks: Arc::default(), session: Arc::default() };
    let builder = Session::builder(Script::new(vec![unknown(), unknown()])).clock(clock.clone());
    let session = builder.token(token("t1", 300)).policy(policy().with_attempts(1)).build().unwrap();
    clock.clock.advance(secs(300));
    clock.session.set(session.clone()).unwrap();
    assert_eq!(session.token().unwrap().secret(), "login", "the flight with the old one was overtaken");
    clock.clock.advance(secs(300));
    let error = session.token().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown);
    assert!(error.retry_after().is_some(), "the login's first: {error}");
}
