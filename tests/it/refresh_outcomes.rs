//! A refresh that fails: unavailable, rejected, misconfigured, unknown. What callers see, and what the server sees.

use ureq_auth::{Error, ErrorKind, Policy, Reason, Session, SourceError};

use crate::support::{
    Gate, MANY, Scene, Seen, Step, crowd, fails, gives, held, millis, rejected, secs, token, unavailable, unknown,
};

/// How many times each thread calls.
const CALLS: usize = 20;

/// Errors of `MANY` threads with `CALLS` calls each.
fn call_on(session: &Session) -> Vec<Error> {
    let session = session.clone();
    let crowd = crowd(MANY, move |_| (0..CALLS).map(|_| session.token().unwrap_err()).collect::<Vec<_>>());
    crowd.gather().into_iter().flatten().collect()
}

fn misconfigured() -> Step {
    fails(SourceError::misconfigured("who are you?").with_code("invalid_client"))
}

#[test]
fn unavailable_once_while_many_wait_is_nobodys_error() {
    let gate = Gate::default();
    let scene = Scene::expired(vec![held(&gate, unavailable()), gives("t2", 300)]);
    let crowd = scene.crowd_in_flight(&gate);
    gate.open();
    assert!(crowd.gather().into_iter().all(|token| token.unwrap().secret() == "t2"));
    assert_eq!(scene.session.stats().repeated_attempts, 1);
    assert_eq!(scene.session.stats().unavailable, 0);
}

#[test]
fn unavailable_for_good_is_one_flight_of_three_attempts_and_no_more_before_the_backoff_ends() {
    let gate = Gate::default();
    let scene = Scene::expired(vec![held(&gate, unavailable()), unavailable(), unavailable()]);
    let crowd = scene.crowd_in_flight(&gate);
    gate.open();
    let errors: Vec<Error> = crowd.gather().into_iter().map(Result::unwrap_err).collect();
    assert!(errors.iter().all(|error| error.kind() == ErrorKind::Unavailable && error.is_retryable()));
    assert!(errors.iter().all(|error| error.to_string() == errors[0].to_string()));

    let backoff = errors[0].retry_after().unwrap();
    assert!(backoff >= millis(500) && backoff <= secs(1), "{backoff:?}");
    assert_eq!(call_on(&scene.session).len(), MANY * CALLS);
    scene.clock.advance(backoff - millis(1));
    assert_eq!(call_on(&scene.session).len(), MANY * CALLS);
    assert_eq!(scene.calls(), 3, "not one more before the backoff ends");
    scene.script.push(gives("t2", 300));
    scene.clock.advance(millis(1));
    assert_eq!(scene.session.token().unwrap().secret(), "t2");
}

#[test]
fn the_pauses_between_attempts_grow_and_obey_retry_after_within_the_budget() {
    let later = |pause| fails(SourceError::unavailable("503").with_retry_after(secs(pause)));
    let scene = Scene::new(vec![later(0), later(10), later(0)]);
    assert!(scene.session.token().is_err());
    let pauses = |scene: &Scene| -> Vec<_> {
        let pause = |seen| if let Seen::AttemptFailed(pause) = seen { Some(pause) } else { None };
        scene.watch.seen().into_iter().filter_map(pause).collect()
    };
    let [first, second] = pauses(&scene)[..] else { panic!("three attempts have two pauses") };
    assert!(first >= millis(250) && first <= millis(500), "{first:?}");
    assert_eq!(second, secs(10));

    // A pause that does not fit into the budget is not slept away in the flight: it becomes the backoff.
    let scene = Scene::new(vec![later(31)]);
    let error = scene.session.token().unwrap_err();
    assert_eq!((scene.calls(), error.retry_after()), (1, Some(secs(31))));
    assert!(pauses(&scene).is_empty());
}

#[test]
fn the_backoff_doubles_up_to_its_limit_and_begins_anew_after_a_success() {
    let policy = || Policy::new().with_attempts(1).with_backoff(secs(1), secs(60)).with_jitter_seed(7);
    let scene = Scene::with(Vec::new(), |builder| builder.policy(policy()));
    let mut backoffs = Vec::new();
    for _ in 0..40 {
        scene.script.push(unavailable());
        let backoff = scene.session.token().unwrap_err().retry_after().unwrap();
        backoffs.push(backoff);
        scene.clock.advance(backoff);
    }
    for (failure, backoff) in backoffs.iter().enumerate() {
        let whole = secs(60).min(secs(1 << failure.min(6)));
        assert!(*backoff <= whole && *backoff >= whole / 2, "failure {failure}: {backoff:?} of {whole:?}");
    }
    scene.script.push(gives("t1", 300));
    scene.session.token().unwrap();
    scene.clock.advance(secs(300));
    scene.script.push(unavailable());
    assert_eq!(scene.session.token().unwrap_err().retry_after(), Some(backoffs[0]));
}

#[test]
fn a_server_may_ask_for_an_hour_but_not_for_ever() {
    for (asked, obeyed) in [(120, 120), (3600, 3600), (1_000_000, 3600)] {
        let failure = fails(SourceError::unavailable("429").with_retry_after(secs(asked)));
        let scene = Scene::new(vec![failure]);
        assert_eq!(scene.session.token().unwrap_err().retry_after(), Some(secs(obeyed)));
    }
}

#[test]
fn while_the_token_lives_nobody_sees_that_its_refresh_fails() {
    let scene = Scene::with_token(vec![unavailable(), unavailable(), unavailable()]);
    scene.clock.advance(secs(270));
    let session = scene.session.clone();
    let calls = crowd(MANY, move |_| (0..CALLS).map(|_| session.token()).collect::<Vec<_>>());
    assert!(calls.gather().into_iter().flatten().all(|token| token.unwrap().secret() == "t1"));
    assert_eq!((scene.calls(), scene.session.stats().unavailable), (3, 1), "and the server is left in peace");
}

#[test]
fn inside_the_leeway_a_token_serves_until_its_real_end_when_no_other_can_be_had() {
    let gate = Gate::default();
    let steps = vec![held(&gate, unknown()), unknown(), gives("t3", 300)];
    let scene = Scene::with_token(steps);
    scene.clock.advance(secs(292)); // the leeway of 300 s is 10 s
    let crowd = scene.crowd_in_flight(&gate);
    gate.open();
    assert!(crowd.gather().into_iter().all(|token| token.unwrap().secret() == "t1"), "leader and waiters alike");
    assert_eq!(scene.watch.reasons(), [Reason::Expired]);
    assert_eq!(scene.session.token().unwrap().secret(), "t1", "and those who come during the backoff");
    scene.clock.advance(secs(7));
    assert_eq!(scene.session.token().unwrap().secret(), "t1", "a second before its end");
    scene.clock.advance(secs(1));
    assert_eq!(scene.session.token().unwrap_err().kind(), ErrorKind::Unknown, "at its end");
    scene.session.set(token("t2", 1)).unwrap();
    scene.clock.advance(secs(1));
    assert_eq!(scene.session.token().unwrap().secret(), "t3");
}

#[test]
fn a_refused_token_does_not_serve_although_its_time_has_not_come() {
    let scene = Scene::with_token(vec![unknown(), gives("t2", 300)]);
    let refused = scene.session.token().unwrap();
    assert_eq!(scene.session.rejected(&refused).unwrap_err().kind(), ErrorKind::Unknown);
    let error = scene.session.token().unwrap_err();
    scene.clock.advance(error.retry_after().unwrap());
    assert_eq!(scene.session.token().unwrap().secret(), "t2");
}

#[test]
fn rejected_while_many_wait_and_call_on_is_one_call_and_1280_errors() {
    let gate = Gate::default();
    let scene = Scene::expired(vec![held(&gate, rejected())]);
    let session = scene.session.clone();
    let crowd = crowd(MANY, move |_| (0..CALLS).map(|_| session.token().unwrap_err()).collect::<Vec<_>>());
    gate.await_entered();
    scene.watch.await_waiters(MANY - 1);
    gate.open();
    let errors: Vec<Error> = crowd.gather().into_iter().flatten().collect();
    assert_eq!((errors.len(), scene.calls()), (1280, 1));
    for error in &errors {
        assert_eq!((error.kind(), error.code()), (ErrorKind::Rejected, Some("invalid_grant")));
        assert!(error.is_login_required() && !error.is_retryable() && error.retry_after().is_none());
    }
    scene.clock.advance(secs(1_000_000));
    assert_eq!(scene.session.token().unwrap_err().kind(), ErrorKind::Rejected, "no time heals it");
    assert!(scene.session.current().is_none(), "the token died with its grant");

    scene.session.set(token("t2", 300)).unwrap();
    assert_eq!(scene.session.token().unwrap().secret(), "t2");
    scene.script.push(gives("t3", 300));
    scene.clock.advance(secs(300));
    assert_eq!(scene.session.token().unwrap().secret(), "t3", "and it goes on refreshing");
}

#[test]
fn misconfigured_is_one_call_too_but_a_token_that_lives_stays_in_use() {
    let scene = Scene::with_token(vec![misconfigured()]);
    scene.clock.advance(secs(270));
    let session = scene.session.clone();
    let calls = crowd(MANY, move |_| (0..CALLS).map(|_| session.token()).collect::<Vec<_>>());
    assert!(calls.gather().into_iter().flatten().all(|token| token.unwrap().secret() == "t1"));
    scene.clock.advance(secs(30));
    let errors = call_on(&scene.session);
    assert_eq!((errors.len(), scene.calls()), (1280, 1));
    for error in &errors {
        assert_eq!((error.kind(), error.code()), (ErrorKind::Misconfigured, Some("invalid_client")));
        assert!(!error.is_login_required() && !error.is_retryable() && error.retry_after().is_none());
    }
    scene.session.set(token("t2", 300)).unwrap();
    assert_eq!(scene.session.token().unwrap().secret(), "t2");
}

#[test]
fn unknown_is_not_repeated_in_its_flight_and_only_once_after_the_backoff() {
    let gate = Gate::default();
    let scene = Scene::expired(vec![held(&gate, unknown())]);
    let crowd = scene.crowd_in_flight(&gate);
    gate.open();
    let error = crowd.gather().pop().unwrap().unwrap_err();
    assert!(error.kind() == ErrorKind::Unknown && error.is_retryable());
    assert_eq!(scene.calls(), 1, "never repeated blindly");
    scene.clock.advance(error.retry_after().unwrap() - millis(1));
    assert!(call_on(&scene.session).iter().all(|error| error.kind() == ErrorKind::Unknown));
    assert_eq!(scene.calls(), 1);

    scene.script.push(unknown());
    scene.clock.advance(millis(1));
    assert!(call_on(&scene.session).iter().all(|error| error.retry_after().is_none()));
    scene.clock.advance(secs(1_000_000));
    assert!(call_on(&scene.session).iter().all(|error| error.to_string().contains("log in again")));
    assert_eq!(scene.calls(), 2, "the second in a row was the last");

    scene.session.set(token("t2", 300)).unwrap();
    scene.clock.advance(secs(300));
    scene.script.push(unknown());
    let error = scene.session.token().unwrap_err();
    assert!(error.retry_after().is_some(), "new credentials have their own second try");
    scene.clock.advance(error.retry_after().unwrap());
    scene.script.push(gives("t3", 300));
    assert_eq!(scene.session.token().unwrap().secret(), "t3");
}

#[test]
fn unknown_is_forgiven_by_an_answer_but_not_by_a_server_that_cannot_be_reached() {
    let scene = Scene::with(vec![unknown(), gives("t1", 300), unknown(), unavailable(), unknown()], |builder| {
        builder.policy(Policy::new().with_attempts(1))
    });
    let wait_and_ask = || {
        scene.clock.advance(secs(300));
        scene.session.token()
    };
    assert!(wait_and_ask().unwrap_err().retry_after().is_some());
    assert_eq!(wait_and_ask().unwrap().secret(), "t1");
    assert!(wait_and_ask().unwrap_err().retry_after().is_some(), "the first since an answer came");
    assert_eq!(wait_and_ask().unwrap_err().kind(), ErrorKind::Unavailable);
    // Nothing was sent in between, so this is the second use of what may be spent: there is no third.
    assert_eq!(wait_and_ask().unwrap_err().retry_after(), None);
    assert_eq!(wait_and_ask().unwrap_err().kind(), ErrorKind::Unknown);
}
