//! The steps of a refresh, and whatever stands in their way before the refresh token is spent.

use super::*;

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
