//! A refresh that fails: unavailable, rejected, misconfigured, unknown. What callers see, and what the server sees.

use ureq_auth::{Clock as _, Error, ErrorKind, ManualClock, Policy, Reason, Session, SourceError, Token};

use crate::support::{
    Gate, MANY, Scene, Seen, Step, crowd, fails, gives, held, millis, policy, refused, rejected, secs, step, token,
    unavailable, unknown,
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
    let policy = || policy().with_attempts(1).with_backoff(secs(1), secs(60));
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
fn while_the_token_lives_nobody_sees_that_its_refresh_fails_and_nobody_sleeps() {
    let scene = Scene::with_token(vec![unavailable()]);
    scene.clock.advance(secs(270));
    let (session, begin) = (scene.session.clone(), scene.clock.now());
    let calls = crowd(MANY, move |_| (0..CALLS).map(|_| session.token()).collect::<Vec<_>>());
    assert!(calls.gather().into_iter().flatten().all(|token| token.unwrap().secret() == "t1"));
    assert_eq!((scene.calls(), scene.session.stats().unavailable), (1, 1), "and the server is left in peace");
    assert_eq!(scene.clock.now(), begin, "the leader has not paused");
    // The next attempt is another call's.
    scene.script.push(gives("t2", 300));
    scene.clock.advance(secs(1));
    assert_eq!(scene.session.token().unwrap().secret(), "t2");
}

#[test]
fn who_refreshes_ahead_of_time_sleeps_out_no_pause_of_the_servers() {
    let later = || fails(SourceError::unavailable("503").with_retry_after(secs(3)));
    let scene = Scene::with_token(vec![later(), gives("t2", 300)]);
    scene.clock.advance(secs(270));
    let begin = scene.clock.now();
    assert_eq!(scene.session.token().unwrap().secret(), "t1");
    assert_eq!(scene.clock.now(), begin);
    scene.clock.advance(secs(3) - millis(1));
    assert_eq!((scene.session.token().unwrap().secret(), scene.calls()), ("t1", 1));
    scene.clock.advance(millis(1));
    assert_eq!(scene.session.token().unwrap().secret(), "t2");
}

#[test]
fn a_server_that_forbids_early_refreshes_costs_no_error() {
    // Exact Online: 600 s of life, and no refresh before the last 30 s.
    let clock = ManualClock::new(None);
    let (now, begin) = (clock.clone(), clock.now());
    let source = move |_: Option<&Token>| match now.now().since(begin).as_secs() {
        0..570 => Err(SourceError::refused("access_token not expired").with_code("access_denied")),
        _ => Ok(token("t2", 600)),
    };
    let builder = Session::builder(source).clock(clock.clone()).token(token("t1", 600));
    let session = builder.policy(Policy::new().with_jitter_seed(7)).build().unwrap();
    for _ in 0..601 {
        session.token().expect("no caller has an error");
        clock.advance(secs(1));
    }
    assert_eq!(session.token().unwrap().secret(), "t2");
    let refused = session.stats().unavailable;
    assert!((1..10).contains(&refused), "{refused} attempts while it was forbidden");
}

#[test]
fn inside_the_leeway_a_token_serves_until_its_real_end_when_no_other_can_be_had() {
    let gate = Gate::default();
    let steps = vec![held(&gate, unknown()), unknown(), gives("t3", 300)];
    let scene = Scene::with_token(steps);
    scene.clock.advance(secs(292)); // the leeway of 300 s is 10 s
    let crowd = scene.crowd_in_flight(&gate);
    gate.open();
    assert!(crowd.gather().into_iter().all(|token| token.unwrap().secret() == "t1"), "leader and waiters");
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
    let scene = Scene::with_token(vec![refused(), gives("t2", 300)]);
    let refused = scene.session.token().unwrap();
    assert_eq!(scene.session.rejected(&refused).unwrap_err().kind(), ErrorKind::Unavailable);
    let error = scene.session.token().unwrap_err();
    scene.clock.advance(error.retry_after().unwrap());
    assert_eq!(scene.session.token().unwrap().secret(), "t2");
}

#[test]
fn a_verdict_is_told_at_once_and_the_token_serves_to_its_end() {
    let scene = Scene::with_token(vec![rejected()]);
    scene.clock.advance(secs(270));
    assert!(scene.session.failure().is_none());
    assert_eq!(scene.session.token().unwrap().secret(), "t1");
    assert_eq!(scene.watch.count(|seen| *seen == Seen::LoginRequired(ErrorKind::Rejected)), 1);
    let failure = scene.session.failure().unwrap();
    assert_eq!((failure.kind(), failure.code()), (ErrorKind::Rejected, Some("invalid_grant")));
    scene.clock.advance(secs(29));
    assert_eq!(scene.session.token().unwrap().secret(), "t1", "a second before its end");
    scene.clock.advance(secs(1));
    assert_eq!(call_on(&scene.session).len(), MANY * CALLS, "and after it everybody hears it at once");
    assert_eq!(scene.calls(), 1);
    assert!(!scene.session.retry_now(), "that brings nothing back");
    scene.session.set(token("t2", 300)).unwrap();
    assert!(scene.session.failure().is_none());
}

#[test]
fn a_verdict_and_a_401_end_a_token_that_would_live() {
    let scene = Scene::with_token(vec![rejected()]);
    let token = scene.session.token().unwrap();
    assert_eq!(scene.session.rejected(&token).unwrap_err().kind(), ErrorKind::Rejected);
    assert_eq!(scene.session.token().unwrap_err().kind(), ErrorKind::Rejected);
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
    scene.session.set(token("t2", 300)).unwrap();
    assert_eq!(scene.session.token().unwrap().secret(), "t2");
    scene.script.push(gives("t3", 300));
    scene.clock.advance(secs(300));
    assert_eq!(scene.session.token().unwrap().secret(), "t3", "and it goes on refreshing");
}

#[test]
fn misconfigured_is_one_call_too_and_is_tried_again_at_the_backoffs_limit() {
    let scene = Scene::expired(vec![misconfigured()]);
    let errors = call_on(&scene.session);
    assert_eq!((errors.len(), scene.calls()), (1280, 1));
    let pause = errors[0].retry_after().unwrap();
    assert!((secs(150)..=secs(300)).contains(&pause), "{pause:?}");
    for error in &errors {
        assert_eq!((error.kind(), error.code()), (ErrorKind::Misconfigured, Some("invalid_client")));
        assert!(!error.is_login_required() && error.is_retryable());
    }
    scene.clock.advance(pause - millis(1));
    assert_eq!(call_on(&scene.session).len(), MANY * CALLS);
    scene.script.push(gives("t2", 300));
    scene.clock.advance(millis(1));
    assert_eq!(scene.session.token().unwrap().secret(), "t2");
}

#[test]
fn a_lost_answer_while_many_wait_is_repeated_once_and_nobodys_error() {
    let gate = Gate::default();
    let scene = Scene::expired(vec![held(&gate, unknown()), gives("t2", 300)]);
    let crowd = scene.crowd_in_flight(&gate);
    gate.open();
    assert!(crowd.gather().into_iter().all(|token| token.unwrap().secret() == "t2"));
    assert_eq!((scene.calls(), scene.session.stats().repeated_attempts), (2, 1));
}

#[test]
fn two_lost_answers_in_one_flight_are_one_verdict_and_there_is_no_third_attempt() {
    let gate = Gate::default();
    let scene = Scene::expired(vec![held(&gate, unknown()), unknown()]);
    let crowd = scene.crowd_in_flight(&gate);
    gate.open();
    let errors: Vec<Error> = crowd.gather().into_iter().map(Result::unwrap_err).collect();
    for error in errors.iter().chain(&call_on(&scene.session)) {
        assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Unknown, None));
        assert!(error.is_login_required() && !error.is_retryable() && error.to_string().contains("log in again"));
    }
    assert_eq!(scene.watch.count(|seen| *seen == Seen::LoginRequired(ErrorKind::Unknown)), 1);
    scene.clock.advance(secs(1_000_000));
    assert!(call_on(&scene.session).iter().all(|error| error.to_string() == errors[0].to_string()));
    assert_eq!(scene.calls(), 2, "the second in a row was the last");

    scene.session.set(token("t2", 300)).unwrap();
    scene.clock.advance(secs(300));
    scene.script.push(unknown());
    scene.script.push(gives("t3", 300));
    assert_eq!(scene.session.token().unwrap().secret(), "t3", "new credentials have their own second try");
}

#[test]
fn pages_in_the_place_of_a_token_end_no_login_however_many() {
    let page = || fails(SourceError::unreadable("a page"));
    let scene = Scene::expired(Vec::new());
    for _ in 0..20 {
        (0..2).for_each(|_| scene.script.push(page()));
        let error = scene.session.token().unwrap_err();
        assert!(error.kind() == ErrorKind::Unknown && error.is_retryable() && !error.is_login_required(), "{error}");
        scene.clock.advance(error.retry_after().unwrap());
    }
    scene.script.push(gives("t2", 300));
    assert_eq!(scene.session.token().unwrap().secret(), "t2");
}

#[test]
fn a_lost_answer_to_who_refreshes_ahead_of_time_is_repeated_by_another_call() {
    let scene = Scene::with_token(vec![unknown(), unknown()]);
    scene.clock.advance(secs(270));
    assert_eq!(scene.session.token().unwrap().secret(), "t1");
    let pause = scene.session.failure().unwrap().retry_after().expect("there is a second attempt");
    scene.clock.advance(pause);
    assert_eq!(scene.session.token().unwrap().secret(), "t1");
    assert_eq!(scene.session.failure().unwrap().retry_after(), None, "and no third");
    scene.clock.advance(secs(20));
    assert_eq!((scene.session.token().unwrap().secret(), scene.calls()), ("t1", 2));
    scene.clock.advance(secs(10));
    assert_eq!(scene.session.token().unwrap_err().kind(), ErrorKind::Unknown);
}

#[test]
fn a_lost_answer_is_no_loss_where_the_refresh_token_does_not_rotate() {
    let kept = |name: &str| {
        let token = token(name, 300).with_refresh_token("r");
        step(move |_| Ok(token))
    };
    let scene =
        Scene::with(vec![kept("t2"), kept("t3")], |builder| builder.token(token("t1", 300).with_refresh_token("r")));
    for name in ["t2", "t3"] {
        scene.clock.advance(secs(300));
        assert_eq!(scene.session.token().unwrap().secret(), name);
    }
    scene.clock.advance(secs(300));
    for _ in 0..5 {
        (0..3).for_each(|_| scene.script.push(unknown()));
        let error = scene.session.token().unwrap_err();
        assert!(error.kind() == ErrorKind::Unavailable && error.is_retryable(), "{error}");
        scene.clock.advance(error.retry_after().unwrap());
    }
    // Once it has changed, it may change again.
    scene.script.push(step(|_| Ok(token("t4", 300).with_refresh_token("r2"))));
    assert_eq!(scene.session.token().unwrap().secret(), "t4");
    scene.clock.advance(secs(300));
    scene.script.push(unknown());
    scene.script.push(unknown());
    assert!(scene.session.token().unwrap_err().is_login_required());
}

#[test]
fn predicates_pauses_and_texts_agree_in_every_state() {
    type Way = (&'static str, fn(&str) -> SourceError);
    let ways: [Way; 8] = [
        ("rejected", |text| SourceError::rejected(text)),
        ("refused", |text| SourceError::refused(text)),
        ("misconfigured", |text| SourceError::misconfigured(text)),
        ("unreachable", |text| SourceError::unreachable(text)),
        ("unavailable", |text| SourceError::unavailable(text)),
        ("unknown", |text| SourceError::unknown(text)),
        ("unreadable", |text| SourceError::unreadable(text)),
        ("not logged in", |text| SourceError::not_logged_in(text)),
    ];
    for (name, way) in ways {
        let scene = Scene::with(Vec::new(), |builder| builder.policy(policy().with_attempts(1)));
        // Four failures of the kind in a row, as far as the source is asked at all.
        for round in 0..4 {
            if scene.session.failure().is_none_or(|error| error.retry_after().is_some()) {
                scene.script.push(fails(way("it failed")));
            }
            let error = scene.session.token().unwrap_err();
            let state = format!("{name}, round {round}: {error}");
            assert_eq!(error.is_retryable(), error.retry_after().is_some(), "{state}");
            assert_eq!(error.is_login_required(), error.retry_after().is_none(), "{state}");
            assert_eq!(error.may_need_login(), error.to_string().contains("log in"), "{state}");
            assert_eq!(error.may_need_login(), error.is_login_required() || name == "unreadable", "{state}");
            scene.clock.advance(error.retry_after().unwrap_or(secs(1_000_000)));
        }
    }
}

#[test]
fn unknown_is_forgiven_by_an_answer_but_not_by_a_server_that_cannot_be_reached() {
    let scene = Scene::with(vec![unknown(), gives("t1", 300), unknown(), unavailable(), unknown()], |builder| {
        builder.policy(policy().with_attempts(1))
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
