//! However many threads find out at once that a token is due, it is refreshed once, and every call goes on.

use std::sync::Arc;

use ureq_auth::{Reason, Token};

use crate::support::{Gate, MANY, Scene, Seen, crowd, gives, held, secs};

#[test]
fn many_threads_meet_an_expired_token_at_once_and_one_call_serves_them_all() {
    let gate = Gate::default();
    let scene = Scene::expired(vec![held(&gate, gives("t2", 300))]);
    let crowd = scene.crowd_in_flight(&gate);
    gate.open();
    let tokens: Vec<Arc<Token>> = crowd.gather().into_iter().map(Result::unwrap).collect();
    assert!(tokens.iter().all(|token| Arc::ptr_eq(token, &tokens[0])), "one token, not 64 copies");
    assert_eq!((tokens[0].secret(), tokens[0].generation()), ("t2", 2));
    assert_eq!(scene.watch.reasons(), [Reason::Expired]);
    let stats = scene.session.stats();
    assert_eq!((stats.refreshes, stats.joined_waits), (1, MANY as u64 - 1));
}

#[test]
fn many_threads_start_without_a_token_and_one_call_serves_them_all() {
    let gate = Gate::default();
    let scene = Scene::new(vec![held(&gate, gives("t1", 300))]);
    let crowd = scene.crowd_in_flight(&gate);
    gate.open();
    assert!(crowd.gather().into_iter().all(|token| token.unwrap().generation() == 1));
    assert_eq!(scene.watch.reasons(), [Reason::First]);
}

#[test]
fn many_threads_are_refused_at_once_and_one_call_serves_them_all() {
    let gate = Gate::default();
    let scene = Scene::with_token(vec![held(&gate, gives("t2", 300))]);
    let session = scene.session.clone();
    let refused = session.token().unwrap();
    let crowd = crowd(MANY, move |_| session.rejected(&refused));
    gate.await_entered();
    scene.watch.await_waiters(MANY - 1);
    gate.open();
    assert!(crowd.gather().into_iter().all(|token| token.unwrap().secret() == "t2"));
    assert_eq!(scene.watch.reasons(), [Reason::Refused]);
    let stats = scene.session.stats();
    assert_eq!((stats.refreshes, stats.refreshes_after_refusal), (1, 1));
}

#[test]
fn a_refused_token_is_given_to_nobody_else_while_it_is_replaced() {
    let gate = Gate::default();
    let scene = Scene::with_token(vec![held(&gate, gives("t2", 300))]);
    let session = scene.session.clone();
    let refused = session.token().unwrap();
    let leader = crate::support::aside(move || session.rejected(&refused));
    gate.await_entered();
    // These know nothing of the refusal, and their token is as fresh as can be.
    let session = scene.session.clone();
    let others = crowd(MANY, move |_| session.token());
    scene.watch.await_waiters(MANY);
    gate.open();
    assert!(others.gather().into_iter().all(|token| token.unwrap().secret() == "t2"));
    assert_eq!(leader.result().unwrap().secret(), "t2");
}

#[test]
fn refusals_that_arrive_during_the_flight_join_it_and_those_that_arrive_after_it_cost_nothing() {
    let gate = Gate::default();
    let scene = Scene::with_token(vec![held(&gate, gives("t2", 300))]);
    let refused = scene.session.token().unwrap();
    let reports = |threads| {
        let (session, refused) = (scene.session.clone(), Arc::clone(&refused));
        crowd(threads, move |_| session.rejected(&refused))
    };
    let first = reports(1);
    gate.await_entered();
    let during = reports(MANY);
    scene.watch.await_waiters(MANY);
    gate.open();
    assert!(during.gather().into_iter().all(|token| token.unwrap().generation() == 2));
    assert_eq!(first.result().unwrap().generation(), 2);
    assert!(reports(MANY).gather().into_iter().all(|token| token.unwrap().generation() == 2));
    assert_eq!(scene.session.stats().late_refusals, MANY as u64);
    assert_eq!(scene.calls(), 1);
}

#[test]
fn a_refusal_of_any_older_generation_is_answered_with_the_newest_token_and_no_refresh() {
    let scene = Scene::with_token(vec![gives("t2", 300), gives("t3", 300)]);
    let session = &scene.session;
    let first = session.token().unwrap();
    let second = session.rejected(&first).unwrap();
    scene.clock.advance(secs(300));
    assert_eq!(session.token().unwrap().secret(), "t3");
    // Long after: generation g with g+1 out, and with g+2 out.
    scene.clock.advance(secs(200));
    assert_eq!(session.rejected(&second).unwrap().secret(), "t3");
    assert_eq!(session.rejected(&first).unwrap().secret(), "t3");
    assert_eq!(scene.watch.count(|seen| matches!(seen, Seen::LateRefusal(_))), 2);
    assert_eq!(scene.calls(), 2);
}

#[test]
fn refusals_of_an_old_generation_that_arrive_while_a_newer_one_is_replaced_wait_for_that() {
    let gate = Gate::default();
    let scene = Scene::with_token(vec![gives("t2", 300), held(&gate, gives("t3", 300))]);
    let first = scene.session.token().unwrap();
    let second = scene.session.rejected(&first).unwrap();
    let session = scene.session.clone();
    let leader = crate::support::aside(move || session.rejected(&second));
    gate.await_entered();
    let session = scene.session.clone();
    let late = crowd(MANY, move |_| session.rejected(&first));
    scene.watch.await_waiters(MANY);
    gate.open();
    assert!(late.gather().into_iter().all(|token| token.unwrap().secret() == "t3"), "t2 is known to be bad");
    assert_eq!(leader.result().unwrap().secret(), "t3");
    assert_eq!((scene.calls(), scene.session.stats().late_refusals), (2, MANY as u64));
}

#[test]
fn in_the_stale_window_one_caller_refreshes_and_nobody_waits() {
    let gate = Gate::default();
    let scene = Scene::with_token(vec![held(&gate, gives("t2", 300))]);
    scene.clock.advance(secs(280));
    let one = scene.ask();
    gate.await_entered();
    let session = scene.session.clone();
    // The flight stands still until all of these are back.
    let others = crowd(MANY, move |_| session.token()).gather();
    assert!(others.into_iter().all(|token| token.unwrap().secret() == "t1"));
    gate.open();
    assert_eq!(one.result().unwrap().secret(), "t2");
    assert_eq!(scene.watch.reasons(), [Reason::Stale]);
    assert_eq!(scene.session.stats().joined_waits, 0);
}

#[test]
fn a_token_that_expires_during_the_stale_refresh_makes_the_others_join_it() {
    let gate = Gate::default();
    let scene = Scene::with_token(vec![held(&gate, gives("t2", 300))]);
    scene.clock.advance(secs(280));
    let one = scene.ask();
    gate.await_entered();
    scene.clock.advance(secs(20));
    let session = scene.session.clone();
    let others = crowd(MANY, move |_| session.token());
    scene.watch.await_waiters(MANY);
    gate.open();
    assert!(others.gather().into_iter().all(|token| token.unwrap().secret() == "t2"));
    assert_eq!(one.result().unwrap().secret(), "t2");
}

#[test]
fn one_call_per_expiry_however_many_threads_and_expiries() {
    let scene = Scene::with(Vec::new(), |builder| builder);
    for expiry in 1..=20 {
        scene.script.push(gives("t", 300));
        let session = scene.session.clone();
        let tokens = crowd(16, move |_| session.token()).gather();
        assert!(tokens.into_iter().all(|token| token.unwrap().generation() == expiry));
        scene.clock.advance(secs(300));
    }
    assert_eq!(scene.calls(), 20);
}
