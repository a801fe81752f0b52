//! The steps of a refresh, and whatever stands in their way before the refresh token is spent.

use std::sync::atomic::{AtomicBool, Ordering};

use ureq_auth::MemoryStore;

use super::*;
use crate::support::{Gate, Watch, aside};

#[test]
fn the_order_of_a_refresh() {
    let (world, session) = expired();
    world.answer(Ok(token("a2", "r2")));
    assert_eq!(secret(session.token()), "a2");
    assert_eq!(
        world.log(),
        ["lock", "load", "prepare", "fetch r1", "save a2 while a1 is out", "unlock while a2 is out", "refreshed"]
    );
    assert_eq!(world.content().unwrap(), ("a2".into(), "r2".into()));
    world.leave();
}

#[test]
fn a_fresh_token_touches_no_store() {
    let world = World::new();
    world.put("a1", "r1");
    let session = world.session();
    for _ in 0..1000 {
        assert_eq!(secret(session.token()), "a1");
    }
    assert_eq!(world.log(), ["peek"], "at the start, and never again");
    world.leave();
    drop(session);
    assert!(world.log().is_empty(), "nothing to be done in the end");
}

#[test]
fn what_another_has_stored_is_adopted_without_a_token_call() {
    let (world, session) = expired();
    world.put("a2", "r2");
    assert_eq!(secret(session.token()), "a2");
    assert_eq!(world.log(), ["lock", "load", "unlock while a2 is out", "adopted"]);
    let stats = session.stats();
    assert_eq!((stats.adopted, stats.refreshes), (1, 0));
    world.leave();
}

#[test]
fn what_another_stores_while_we_wait_for_the_lock_is_adopted() {
    let (world, session) = expired();
    let other = world.clone();
    world.before("lock", move || other.put("a2", "r2"));
    assert_eq!(secret(session.token()), "a2");
    world.leave();
}

#[test]
fn of_an_expired_one_that_another_has_stored_the_refresh_token_is_used() {
    let (world, session) = expired();
    world.put("a2", "r2");
    world.1.advance(LATER);
    world.answer(Ok(token("a3", "")));
    assert_eq!(secret(session.token()), "a3");
    assert!(world.log().contains(&"fetch r2".to_owned()));
    assert_eq!(
        world.content().unwrap(),
        ("a3".into(), "r2".into()),
        "an answer without one leaves the one that was used"
    );
    world.leave();
}

#[test]
fn texts_are_compared_not_times() {
    let (world, session) = expired();
    // The very token that is to be replaced, in a file that is newer than it.
    world.put("a1", "r1");
    world.answer(Ok(token("a2", "r2")));
    assert_eq!(secret(session.token()), "a2");
    world.leave();
}

#[test]
fn a_refused_token_is_replaced_from_the_store_only_by_another() {
    let world = World::new();
    world.put("a1", "r1");
    let session = world.session();
    let first = session.token().unwrap();
    world.put("a2", "r2");
    assert_eq!(secret(session.rejected(&first)), "a2");
    let second = session.token().unwrap();
    world.log();
    world.answer(Ok(token("a3", "r3")));
    assert_eq!(secret(session.rejected(&second)), "a3");
    assert!(world.log().contains(&"fetch r2".to_owned()));
    assert_eq!(session.stats().refreshes_after_refusal, 1);
    world.leave();
}

#[test]
fn a_caller_that_needs_more_than_what_is_stored_lives_gets_a_new_one() {
    let (world, session) = expired();
    world.put("a2", "r2");
    world.1.advance(LIFE / 2);
    world.answer(Ok(token("a3", "r3")));
    assert_eq!(secret(session.token_valid_for(LIFE * 7 / 10)), "a3");
    world.leave();
}

#[test]
fn what_stands_in_the_way_beforehand_leaves_the_refresh_token_unspent() {
    for (step, expected) in
        [("lock", ErrorKind::Unavailable), ("load", ErrorKind::Store), ("prepare", ErrorKind::Store)]
    {
        let (world, session) = expired();
        world.fail(&[step]);
        let error = session.token().unwrap_err();
        assert_eq!(error.kind(), expected, "{step}");
        assert!(error.to_string().contains("the-"), "it names what is in the way: {error}");
        assert!(!world.log().iter().any(|step| step.starts_with("fetch")), "{step}");
        // And it goes on once that is cured.
        world.fail(&[]);
        world.1.advance(LATER);
        world.answer(Ok(token("a2", "r2")));
        assert_eq!(secret(session.token()), "a2");
        world.leave();
    }
}

#[test]
fn with_an_expired_token_a_store_in_trouble_is_looked_at_after_the_first_pause_each_time() {
    let (world, session) = expired();
    world.fail(&["load"]);
    for attempt in 1..=10 {
        let error = session.token().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Store);
        assert!(error.retry_after().unwrap() <= Duration::from_secs(1), "attempt {attempt}: {error:?}");
        assert_eq!(world.log(), ["lock", "load", "unlock while a1 is out", "failed"]);
        world.1.advance(Duration::from_secs(1));
    }
    world.fail(&[]);
    world.answer(Ok(token("a2", "r2")));
    assert_eq!(secret(session.token()), "a2");
    world.leave();
}

#[test]
fn while_the_token_lives_a_store_in_trouble_is_nobodys_error() {
    let world = World::new();
    world.put("a1", "r1");
    let session = world.session();
    world.1.advance(LIFE * 9 / 10);
    world.fail(&["prepare"]);
    assert_eq!(secret(session.token()), "a1");
    assert!(world.log().contains(&"prepare".to_owned()));
    world.leave();
}

#[test]
fn who_waits_for_a_token_of_some_length_does_not_get_the_shorter_one_that_its_leader_was_content_with() {
    let (store, clock, watch, gate) =
        (MemoryStore::new(), ManualClock::new(Some(WALL)), Watch::default(), Gate::default());
    let never = |_: Option<&Token>| -> Result<Token, SourceError> { panic!("this one only fills the store") };
    let fill = Session::builder(never).store(store.clone()).clock(clock.clone()).build().unwrap();
    fill.set(token("a1", "r1")).unwrap();
    let (noted, held, begun) = (watch.clone(), gate.clone(), AtomicBool::new(false));
    let session = Session::builder(|_: Option<&Token>| Ok(token("a3", "r3")))
        .store(store)
        .clock(clock.clone())
        .observer(move |event| {
            noted.note(event);
            if matches!(event, Event::RefreshStarted { .. }) && !begun.swap(true, Ordering::SeqCst) {
                held.pass();
            }
        })
        .build()
        .unwrap();
    let refused = session.token().unwrap();
    fill.set(token("a2", "r2")).unwrap();
    clock.advance(Duration::from_secs(60));

    let reporting = session.clone();
    let leader = aside(move || reporting.rejected(&refused));
    gate.await_entered();
    let waiter = aside(move || session.token_valid_for(Duration::from_secs(70)));
    watch.await_waiters(1);
    gate.open();
    assert_eq!(secret(leader.result()), "a2");
    assert_eq!(secret(waiter.result()), "a3");
}
