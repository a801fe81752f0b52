//! The traps that other systems fell into (one test each, named after it), as far as they concern memory and threads
//! alone. Those with HTTP in them are in `traps_http`; a saved token that is lost or replaced is a store's matter.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use ureq_auth::{ErrorKind, Event, ManualClock, Reason, Session, SourceError, Token};

use crate::support::{
    Gate, MANY, Scene, WALL, crowd, fails, gives, held, jwt, panics, rejected, secs, step, token, unknown,
};

#[test]
fn trap_leader_times_out_after_send() {
    let gate = Gate::default();
    let scene = Scene::expired(vec![held(&gate, unknown())]);
    let crowd = scene.crowd_in_flight(&gate);
    // The leader's whole budget goes by, and still every waiter is there to hear what became of it.
    scene.clock.advance(secs(30));
    gate.open();
    let errors: Vec<_> = crowd.gather().into_iter().map(Result::unwrap_err).collect();
    assert!(errors.iter().all(|error| error.kind() == ErrorKind::Unknown), "{errors:?}");
    assert_eq!(scene.session.token().unwrap_err().kind(), ErrorKind::Unknown);
    assert_eq!((scene.calls(), scene.session.stats().wait_timeouts), (1, 0), "the refresh token may be spent");
}

#[test]
fn trap_late_401_with_an_older_generation_after_two_newer_ones_are_out() {
    let scene = Scene::with_token(vec![gives("t2", 300), gives("t3", 300)]);
    let mut late = vec![scene.session.token().unwrap()];
    late.push(scene.session.rejected(&late[0]).unwrap());
    assert_eq!(scene.session.rejected(&late[1]).unwrap().secret(), "t3");
    let session = scene.session.clone();
    let answers = crowd(MANY, move |number| session.rejected(&late[number % 2])).gather();
    assert!(answers.into_iter().all(|token| token.unwrap().secret() == "t3"), "the newest, and no refresh for it");
    assert_eq!((scene.calls(), scene.session.stats().late_refusals), (2, MANY as u64));
}

#[test]
fn trap_401_for_the_new_token_is_the_answer_and_no_loop() {
    let steps = (0..3).map(|_| gives("refused", 3600)).collect();
    let scene = Scene::with(steps, |builder| builder.token(token("refused", 3600)));
    let session = scene.session.clone();
    // Each does what a client does: a call, a refresh, a replay, and what comes then goes to its own caller.
    let crowd = crowd(MANY, move |_| {
        for _ in 0..20 {
            let first = session.token().unwrap();
            let Ok(second) = session.rejected(&first) else { continue };
            assert!(second.generation() > first.generation(), "never the refused one again");
        }
    });
    crowd.gather();
    assert_eq!(scene.calls(), 3, "1280 calls of an API that refuses everything");
}

#[test]
fn trap_refresh_endpoint_itself_answers_401() {
    let scene = Scene::expired(vec![rejected()]);
    let session = scene.session.clone();
    let errors = crowd(MANY, move |_| session.token().unwrap_err()).gather();
    assert!(errors.iter().all(|error| error.kind() == ErrorKind::Rejected && error.is_login_required()));
    scene.clock.advance(secs(1_000_000));
    assert_eq!(scene.session.token().unwrap_err().kind(), ErrorKind::Rejected);
    assert_eq!(scene.calls(), 1, "a refusal of the refresh is not answered with a refresh");
}

#[test]
fn trap_refresh_called_through_the_same_session_inside_the_source() {
    let own: Arc<OnceLock<Session>> = Arc::default();
    let itself = Arc::clone(&own);
    let source = move |_: Option<&Token>| -> Result<Token, SourceError> {
        let token = itself.get().unwrap().token()?;
        Ok(Token::new(token.secret())?)
    };
    let session = Session::new(source).unwrap();
    own.set(session.clone()).unwrap();
    // On threads that are given up when they hang, which is what everybody else's do here.
    let errors = crowd(8, move |_| session.token().unwrap_err()).gather();
    assert!(errors.iter().all(|error| error.kind() == ErrorKind::Reentrant), "{errors:?}");
}

#[test]
fn trap_refresh_called_through_the_same_session_inside_the_hook() {
    let own: Arc<OnceLock<Session>> = Arc::default();
    let answers = Arc::new(Mutex::new(Vec::new()));
    let (itself, noted) = (Arc::clone(&own), Arc::clone(&answers));
    let session = Session::builder(|_: Option<&Token>| Ok(token("t1", 300)))
        .observer(move |event| {
            let answer = itself.get().unwrap().token();
            noted.lock().unwrap().push(match (event, answer) {
                (Event::RefreshStarted { .. }, Err(error)) => format!("started: {:?}", error.kind()),
                (Event::Refreshed { .. }, Ok(token)) => format!("refreshed: {}", token.secret()),
                (event, answer) => panic!("{event:?}: {answer:?}"),
            });
        })
        .build()
        .unwrap();
    own.set(session.clone()).unwrap();
    let tokens = crowd(1, move |_| session.token().unwrap().secret().to_owned()).gather();
    assert_eq!(tokens, ["t1"]);
    assert_eq!(*answers.lock().unwrap(), ["started: Reentrant", "refreshed: t1"]);
}

#[test]
fn trap_two_different_scopes_in_flight() {
    // One session a scope. Each source stands still until both have been asked: a flight that they shared would hang.
    let gates = [Gate::default(), Gate::default()];
    let scope = |number: usize, name: &'static str| {
        let (own, other) = (gates[number].clone(), gates[1 - number].clone());
        let granted = step(move |_| {
            other.open();
            own.pass();
            Ok(token(name, 300).with_scope(name))
        });
        Scene::new(vec![granted])
    };
    let scenes = [scope(0, "read"), scope(1, "write")];
    let sessions = [scenes[0].session.clone(), scenes[1].session.clone()];
    let tokens = crowd(MANY, move |number| (number % 2, sessions[number % 2].token().unwrap())).gather();
    for (number, token) in tokens {
        let expected = ["read", "write"][number];
        assert_eq!((token.secret(), token.scope()), (expected, Some(expected)));
    }
    assert_eq!(scenes.each_ref().map(Scene::calls), [1, 1]);
}

/// A device whose clock jumps to `wall` while its token, of an hour, is in force; and one that starts with that clock
/// and such a token from a store. What both together cost.
fn refreshes_when_the_clock_jumps_to(wall: u64) -> usize {
    let made_at_wall = || jwt(&format!(r#"{{"iat":{WALL},"exp":{}}}"#, WALL + 3600));
    let scene = Scene::new(vec![step(move |_| Ok(made_at_wall()))]);
    scene.session.token().unwrap();
    scene.clock.set_wall(Some(secs(wall)));
    scene.clock.advance(secs(2800));
    assert_eq!(scene.session.token().unwrap().generation(), 1, "a life in force is no matter of the wall clock");
    scene.script.push(step(move |_| Ok(made_at_wall())));
    scene.clock.advance(secs(800));
    let session = scene.session.clone();
    let tokens = crowd(MANY, move |_| session.token().unwrap()).gather();
    assert!(
        tokens.iter().all(|token| token.generation() == 2),
        "over after an hour, and used although it looks expired"
    );

    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let source = move |_: Option<&Token>| {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(made_at_wall())
    };
    let clock = ManualClock::new(Some(secs(wall)));
    let restored = Session::builder(source).clock(clock).token(made_at_wall()).build().unwrap();
    crowd(MANY, move |_| (0..20).for_each(|_| drop(restored.token().unwrap()))).gather();
    calls.load(Ordering::SeqCst)
}

#[test]
fn trap_clock_jumps_two_hours_ahead() {
    assert_eq!(refreshes_when_the_clock_jumps_to(WALL + 7200), 1, "one round trip, for the stored token");
}

#[test]
fn trap_clock_jumps_two_hours_back() {
    assert_eq!(refreshes_when_the_clock_jumps_to(WALL - 7200), 0);
}

#[test]
fn trap_clock_jumps_to_1970() {
    assert_eq!(refreshes_when_the_clock_jumps_to(0), 0);
}

#[test]
fn trap_suspend_for_three_hours() {
    let scene = Scene::with(vec![gives("t2", 3600)], |builder| builder.token(token("t1", 3600)));
    assert_eq!(scene.session.token().unwrap().secret(), "t1");
    scene.clock.advance(Duration::from_secs(3 * 3600));
    let session = scene.session.clone();
    let tokens = crowd(MANY, move |_| session.token().unwrap()).gather();
    assert!(tokens.iter().all(|token| token.secret() == "t2"), "nobody goes out with what died while the lid was shut");
    assert_eq!((scene.calls(), scene.watch.reasons()), (1, vec![Reason::Expired]));
}

#[test]
fn trap_64_waiters_and_a_refresh_error() {
    let gate = Gate::default();
    let later = fails(SourceError::unavailable("503").with_retry_after(secs(60)));
    let scene = Scene::expired(vec![held(&gate, later)]);
    let session = scene.session.clone();
    // 64 besides the leader.
    let crowd = crowd(MANY + 1, move |_| session.token());
    gate.await_entered();
    scene.watch.await_waiters(MANY);
    gate.open();
    let errors: Vec<_> = crowd.gather().into_iter().map(Result::unwrap_err).collect();
    assert!(errors.iter().all(|error| error.kind() == ErrorKind::Unavailable), "{errors:?}");
    assert!(errors.iter().all(|error| error.to_string() == errors[0].to_string()), "one failure, one error");
    assert_eq!((scene.calls(), scene.session.stats().joined_waits), (1, MANY as u64), "64 waiters, one attempt");
}

#[test]
fn trap_suspend_for_three_hours_in_the_middle_of_a_flight() {
    let gate = Gate::default();
    let scene = Scene::expired(vec![held(&gate, gives("t2", 300))]);
    let crowd = scene.crowd_in_flight(&gate);
    scene.clock.advance(secs(3 * 3600));
    gate.open();
    // The waiters' time is over, or the token was faster; nobody hangs, and what came is used, old as it is.
    for result in crowd.gather() {
        match result {
            Ok(token) => assert_eq!(token.secret(), "t2"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Timeout),
        }
    }
    assert_eq!(scene.session.token().unwrap().secret(), "t2", "no loop, though its life was over when it came");
}

#[test]
fn trap_queue_that_is_not_drained() {
    // However a flight ends: the next one works, and nobody of the last one is left behind.
    for way in [unknown(), panics(), gives("t2", 300)] {
        let (gate, next) = (Gate::default(), Gate::default());
        let scene = Scene::expired(vec![held(&gate, way), held(&next, gives("t3", 300))]);
        let first = scene.crowd_in_flight(&gate);
        next.open();
        gate.open();
        assert_eq!(first.gather_caught().len(), MANY);
        // After a panic, an heir has led the second flight already.
        if scene.calls() == 1 {
            scene.clock.advance(secs(300));
        }
        let session = scene.session.clone();
        assert!(
            crowd(MANY, move |_| session.token()).gather().into_iter().all(|token| token.unwrap().secret() == "t3")
        );
        assert_eq!(scene.calls(), 2);
    }
}

#[test]
fn trap_rotated_refresh_token_forgotten() {
    // An answer without a refresh token leaves the old one in force, one with a new one replaces it.
    let used = |name: &'static str, next: Token| {
        step(move |fetch| {
            assert_eq!(fetch.previous.and_then(Token::refresh_secret), Some(name));
            Ok(next)
        })
    };
    let rotated = token("t2", 300).with_refresh_token("r2");
    let steps = vec![used("r1", rotated), used("r2", token("t3", 300)), used("r2", token("t4", 300))];
    let scene = Scene::with(steps, |builder| builder.token(token("t1", 300).with_refresh_token("r1")));
    for name in ["t2", "t3", "t4"] {
        scene.clock.advance(secs(300));
        assert_eq!(scene.session.token().unwrap().secret(), name);
    }
}
