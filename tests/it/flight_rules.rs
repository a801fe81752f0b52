//! The rules at the top of `flight.rs`, 1 to 4: the mutex, the leader, the generation, the wake-up.

use std::error::Error as StdError;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use ureq_auth::{ErrorKind, Policy, Session, SourceError, SystemClock};

use crate::support::{
    Gate, MANY, Scene, Script, Seen, Step, Watch, aside, crowd, fails, gives, held, panics, rejected, secs, step,
    token, unavailable,
};

/// The session, for those who are made before it.
type Later = Arc<OnceLock<Session>>;

/// Calls everything that takes the mutex. With the mutex held, this would hang, and the watchdog would bark.
fn call_back(session: &Session) {
    session.stats();
    session.current();
    // Whatever comes of it; what counts is that something does.
    let _ = session.token();
    let _ = format!("{session:?}");
}

#[test]
fn rule_1_no_user_code_runs_under_the_mutex_the_source_calls_back() {
    let later = Later::default();
    let session = Arc::clone(&later);
    let calls_back = move |answer: Step| {
        let session = Arc::clone(&session);
        step(move |fetch| {
            call_back(session.get().unwrap());
            answer(fetch)
        })
    };
    let scene = Scene::new(vec![calls_back(gives("t1", 300)), calls_back(unavailable()), calls_back(rejected())]);
    later.set(scene.session.clone()).unwrap();
    let (session, clock) = (scene.session.clone(), scene.clock.clone());
    let back = aside(move || {
        assert_eq!(session.token().unwrap().secret(), "t1");
        clock.advance(secs(300));
        assert_eq!(session.token().unwrap_err().kind(), ErrorKind::Rejected);
    });
    back.result();
    // The source is told that it must not, but it is told at once.
    assert_eq!(scene.calls(), 3);
}

#[test]
fn rule_1_no_user_code_runs_under_the_mutex_the_observer_calls_back_on_every_event() {
    let later = Later::default();
    let (session, watch) = (Arc::clone(&later), Watch::default());
    let (noted, gate) = (watch.clone(), Gate::default());
    let steps = vec![
        held(&gate, unavailable()),
        gives("t1", 300),
        held(&gate, gives("dropped", 300)),
        gives("t3", 300),
        rejected(),
    ];
    let scene = Scene::with(steps, |builder| {
        builder.observer(move |event| {
            noted.note(event);
            call_back(session.get().unwrap());
        })
    });
    later.set(scene.session.clone()).unwrap();

    let first = scene.session.clone();
    let first = crowd(4, move |_| first.token().map(|token| token.generation()));
    gate.await_entered();
    watch.await_waiters(3);
    gate.open();
    assert!(first.gather().into_iter().all(|generation| generation.unwrap() == 1));

    let (session, clock) = (scene.session.clone(), scene.clock.clone());
    let rest = aside(move || {
        let t1 = session.current().unwrap();
        session.set(token("t2", 300)).unwrap();
        session.rejected(&t1).unwrap(); // late
        let t2 = session.token().unwrap();
        session.rejected(&t2).unwrap();
        clock.advance(secs(300));
        session.token().map(|token| token.generation())
    });
    assert_eq!(rest.result().unwrap(), 4);
    scene.session.end().unwrap();
    scene.session.set(token("t5", 300)).unwrap();
    scene.clock.advance(secs(300));
    assert_eq!(scene.session.token().unwrap_err().kind(), ErrorKind::Rejected);
    for event in [Seen::WaitStarted, Seen::LateRefusal(1), Seen::Refreshed(4), Seen::RefreshFailed(ErrorKind::Rejected)]
    {
        assert!(watch.seen().contains(&event), "{event:?} is missing: the test does not test it");
    }
}

/// An error behind an error, whose destructor is not as harmless as most.
struct CallsBackOnDrop(Later, Arc<AtomicUsize>);

impl Drop for CallsBackOnDrop {
    fn drop(&mut self) {
        let session = self.0.get().unwrap();
        session.stats();
        session.current();
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

impl fmt::Debug for CallsBackOnDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallsBackOnDrop")
    }
}

impl fmt::Display for CallsBackOnDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a cause")
    }
}

impl StdError for CallsBackOnDrop {}

#[test]
fn rule_1_no_foreign_destructor_runs_under_the_mutex_an_error_calls_back_when_it_is_dropped() {
    let later = Later::default();
    let drops = Arc::new(AtomicUsize::new(0));
    let fail = || {
        let cause = CallsBackOnDrop(Arc::clone(&later), Arc::clone(&drops));
        fails(SourceError::rejected("no").with_cause(cause))
    };
    let fail_for_now = || {
        let cause = CallsBackOnDrop(Arc::clone(&later), Arc::clone(&drops));
        fails(SourceError::refused("perhaps").with_cause(cause))
    };
    let superseded = |how: fn(&Session)| {
        let (later, fail) = (Arc::clone(&later), fail());
        step(move |fetch| {
            how(later.get().unwrap());
            fail(fetch)
        })
    };
    let steps = vec![
        fail(),
        fail(),
        fail_for_now(),
        gives("t", 300),
        superseded(|session| session.set(token("t", 300)).unwrap()),
        superseded(|session: &Session| drop(session.end())),
    ];
    let scene = Scene::new(steps);
    later.set(scene.session.clone()).unwrap();

    let (session, clock, count) = (scene.session.clone(), scene.clock.clone(), Arc::clone(&drops));
    let rest = aside(move || {
        let dropped = || count.load(Ordering::SeqCst);
        drop(session.token().unwrap_err());
        assert_eq!(dropped(), 0, "the session still remembers the failure");
        session.set(token("set", 300)).unwrap();
        assert_eq!(dropped(), 1, "by set");
        clock.advance(secs(300));
        drop(session.token().unwrap_err());
        session.end().unwrap();
        assert_eq!(dropped(), 2, "by end");
        session.set(token("set", 300)).unwrap();
        clock.advance(secs(300));
        drop(session.token().unwrap_err());
        clock.advance(secs(10));
        session.token().unwrap();
        assert_eq!(dropped(), 3, "by the next flight");
        clock.advance(secs(300));
        session.token().unwrap();
        assert_eq!(dropped(), 4, "the error of a superseded flight");
        clock.advance(secs(300));
        assert_eq!(session.token().unwrap_err().kind(), ErrorKind::LoggedOut);
        assert_eq!(dropped(), 5, "the error of a flight that came after the end");
    });
    rest.result();
}

#[test]
fn rule_2_of_those_who_wait_for_a_leader_that_panics_one_takes_over() {
    let gate = Gate::default();
    let scene = Scene::expired(vec![held(&gate, panics()), gives("t2", 300)]);
    let crowd = scene.crowd_in_flight(&gate);
    gate.open();
    let results = crowd.gather_caught();
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1, "the leader's own panic");
    for token in results.into_iter().filter_map(Result::ok) {
        assert_eq!(token.unwrap().generation(), 2);
    }
    assert_eq!(scene.calls(), 2);
}

#[test]
fn rule_2_a_leader_that_unwinds_alone_leaves_a_session_that_works() {
    let scene = Scene::new(vec![panics(), gives("t1", 300)]);
    assert!(catch_unwind(AssertUnwindSafe(|| scene.session.token())).is_err());
    assert_eq!(scene.ask().result().unwrap().generation(), 1, "another thread");
}

#[test]
fn rule_2_an_observer_that_panics_leaves_refreshing_too() {
    let panicked = AtomicUsize::new(0);
    let scene = Scene::with(vec![gives("t1", 300)], |builder| {
        builder.observer(move |event| {
            let started = matches!(event, ureq_auth::Event::RefreshStarted { .. });
            assert!(!started || panicked.fetch_add(1, Ordering::SeqCst) > 0, "the observer panics, as it should");
        })
    });
    assert!(catch_unwind(AssertUnwindSafe(|| scene.session.token())).is_err());
    assert_eq!(scene.calls(), 0);
    assert_eq!(scene.ask().result().unwrap().secret(), "t1");
}

#[test]
fn rule_3_the_generation_grows_only_when_a_token_is_published() {
    let scene = Scene::new(vec![
        fails(SourceError::refused("first failure")),
        panics(),
        gives("same", 300),
        gives("same", 300),
        rejected(),
    ]);
    let Scene { session, clock, .. } = &scene;
    assert!(session.token().is_err());
    clock.advance(secs(10));
    assert!(catch_unwind(AssertUnwindSafe(|| session.token())).is_err());
    let first = session.token().unwrap();
    assert_eq!(first.generation(), 1, "neither a failure nor a panic is a generation");
    // The server gives the very same text and the clock stands still: only the generation tells the two apart.
    let second = session.rejected(&first).unwrap();
    assert_eq!((second.generation(), second.secret()), (2, first.secret()));
    assert_eq!(session.rejected(&first).unwrap().generation(), 2, "refreshed already, whatever text and time say");
    session.end().unwrap();
    session.set(token("set", 300)).unwrap();
    assert_eq!(session.token().unwrap().generation(), 3, "the end is not a generation, a set token is");
    clock.advance(secs(300));
    assert!(session.token().is_err());
    session.set(token("set", 300)).unwrap();
    assert_eq!(session.token().unwrap().generation(), 4);
}

/// A lost wake-up would not hang here, it would look like a time-out: so this one test needs real time, with a deadline so
/// long that half of it tells the two apart.
#[test]
fn rule_4_every_change_out_of_refreshing_wakes_all_waiters() {
    /// Its name, the leader's step, and what else is done meanwhile.
    type Way = (&'static str, fn() -> Step, fn(&Session));
    let ways: [Way; 6] = [
        ("publish", || gives("t1", 300), |_| ()),
        ("fail", rejected, |_| ()),
        ("fail without a backoff", || step(|_| Err(reentrant())), |_| ()),
        ("unwind", panics, |_| ()),
        ("set", || gives("dropped", 300), |session| session.set(token("set", 300)).unwrap()),
        ("end", || gives("dropped", 300), |session: &Session| drop(session.end())),
    ];
    for (way, answer, meanwhile) in ways {
        let (gate, watch) = (Gate::default(), Watch::default());
        let noted = watch.clone();
        // The second one is for the heir of the leader that unwinds.
        let script = Script::new(vec![held(&gate, answer()), gives("t2", 300)]);
        let policy = Policy::new();
        let deadline = secs(40); // the policy's own
        let session = Session::builder(script)
            .clock(SystemClock)
            .policy(policy)
            .observer(move |event| noted.note(event))
            .build()
            .unwrap();
        let asking = session.clone();
        let crowd = crowd(MANY, move |_| asking.token().map(|token| token.generation()));
        gate.await_entered();
        watch.await_waiters(MANY - 1);
        let begin = Instant::now();
        meanwhile(&session);
        gate.open();
        let results = crowd.gather_caught();
        assert!(begin.elapsed() < deadline / 2, "{way}: somebody slept until the deadline");
        assert_eq!(session.stats().wait_timeouts, 0, "{way}");
        let panics = results.iter().filter(|result| result.is_err()).count();
        assert_eq!(panics, usize::from(way == "unwind"), "{way}");
    }
}

#[test]
fn moving_the_clock_wakes_those_who_wait_for_it() {
    let gate = Gate::default();
    let scene = Scene::expired(vec![held(&gate, gives("t2", 300))]);
    let leader = scene.ask();
    gate.await_entered();
    let session = scene.session.clone();
    let waiters = crowd(MANY, move |_| session.token());
    scene.watch.await_waiters(MANY);
    // Nobody else wakes them: the leader stands at the gate, and no real time passes on this clock.
    scene.clock.advance(secs(3 * 3600));
    assert!(waiters.gather().into_iter().all(|token| token.unwrap_err().kind() == ErrorKind::Timeout));
    assert_eq!(scene.watch.count(|seen| matches!(seen, Seen::WaitEnded { timed_out: true, .. })), MANY);
    gate.open();
    assert_eq!(leader.result().unwrap().secret(), "t2");
}

/// What a source gets that asks its own session.
pub(crate) fn reentrant() -> SourceError {
    let later = Later::default();
    let inner = Arc::clone(&later);
    let session = Session::new(move |_: Option<&ureq_auth::Token>| {
        Err::<ureq_auth::Token, _>(inner.get().unwrap().token().unwrap_err().into())
    });
    let session = session.unwrap();
    later.set(session.clone()).unwrap();
    session.token().unwrap_err().into()
}
