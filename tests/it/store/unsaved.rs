//! A store that could not be written after the exchange: what is in force is stored at the next chance.

use super::*;

#[test]
fn a_token_that_cannot_be_saved_is_used_and_saved_before_the_next_exchange() {
    let (world, session) = expired();
    world.answer(Ok(token("a2", "r2")));
    world.fail(&["save"]);
    assert_eq!(secret(session.token()), "a2");
    let log = world.log();
    assert_eq!(log[log.len() - 3..], ["unlock while a2 is out", "save-failed", "refreshed"]);
    assert_eq!(session.stats().save_failures, 1);
    assert!(world.holds("a1"));

    world.1.advance(LATER);
    world.fail(&[]);
    world.answer(Ok(token("a3", "r3")));
    assert_eq!(secret(session.token()), "a3");
    let log = world.log();
    let expected =
        ["lock", "load", "save a2 while a2 is out", "load", "prepare", "fetch r2", "save a3 while a2 is out"];
    assert_eq!(log[..expected.len()], expected);
    assert!(log.contains(&"saved-late".to_owned()));
    world.leave();
}

#[test]
fn a_token_that_cannot_be_saved_is_not_exchanged_for_another() {
    let (world, session) = expired();
    world.answer(Ok(token("a2", "r2")));
    world.fail(&["save"]);
    assert_eq!(secret(session.token()), "a2");
    world.1.advance(LATER);
    assert_eq!(kind(session.token()), ErrorKind::Store);
    world.leave();
}

#[test]
fn the_last_chance_to_save_is_the_drop_of_the_session() {
    let (world, session) = expired();
    world.answer(Ok(token("a2", "r2")));
    world.fail(&["save"]);
    assert_eq!(secret(session.token()), "a2");
    world.fail(&[]);
    world.leave();
    world.log();
    drop(session);
    assert_eq!(world.log(), ["lock", "load", "save a2 while - is out", "unlock while - is out", "saved-late"]);
    assert_eq!(world.content().unwrap(), ("a2".into(), "r2".into()));
}

#[test]
fn an_unsaved_token_never_overwrites_what_another_has_stored_since() {
    for in_the_end in [false, true] {
        let (world, session) = expired();
        world.answer(Ok(token("a2", "r2")));
        world.fail(&["save"]);
        assert_eq!(secret(session.token()), "a2");
        world.fail(&[]);
        world.1.advance(LATER);
        world.put("b1", "s1");
        if in_the_end {
            world.leave();
            drop(session);
        } else {
            assert_eq!(secret(session.token()), "b1");
            world.leave();
        }
        assert!(world.holds("b1"));
    }
}

#[test]
fn a_token_given_to_the_builder_goes_into_an_empty_store() {
    let world = World::new();
    let session = world.builder().token(token("b1", "s1")).build().unwrap();
    assert_eq!(secret(session.token()), "b1");
    drop(session);
    assert!(world.holds("b1"));
}

/// A session with a2 in force and a1 in the store, which could not be written.
fn with_an_unsaved_token() -> (World, Session) {
    let (world, session) = expired();
    world.answer(Ok(token("a2", "r2")));
    world.fail(&["save"]);
    assert_eq!(secret(session.token()), "a2");
    assert!(world.holds("a1"));
    world.log();
    (world, session)
}

#[test]
fn the_next_call_stores_what_could_not_be_stored() {
    let (world, session) = with_an_unsaved_token();
    world.fail(&[]);
    let token = session.token().unwrap();
    assert_eq!((token.secret(), token.generation()), ("a2", 2), "the same token, and no new one");
    let expected = ["lock", "load", "save a2 while a2 is out", "unlock while a2 is out", "saved-late"];
    assert_eq!(world.log(), expected);
    assert_eq!(world.content().unwrap(), ("a2".into(), "r2".into()));
    for _ in 0..100 {
        session.token().unwrap();
    }
    assert!(world.log().is_empty(), "once is enough");
    assert_eq!((session.stats().refreshes, session.stats().adopted), (1, 0));
    world.leave();
}

#[test]
fn a_store_that_stays_in_trouble_is_tried_with_pauses_and_is_nobodys_error() {
    let (world, session) = with_an_unsaved_token();
    world.lock().patience = Some(Duration::from_secs(1));
    for round in 1..=3 {
        for _ in 0..100 {
            assert_eq!(secret(session.token()), "a2");
        }
        let expected = ["lock", "load", "save a2 while a2 is out", "unlock while a2 is out", "save-failed"];
        assert_eq!(world.log(), expected, "one attempt, and then a pause");
        assert_eq!(session.stats().save_failures, 1 + round);
        world.1.advance(Duration::from_secs(10));
    }
    world.lock().patience = None;
    world.leave();
}

#[test]
fn a_login_that_could_not_be_stored_is_stored_by_the_next_call() {
    let (world, session) = expired();
    world.fail(&["lock"]);
    assert_eq!(session.set(token("b1", "s1")).unwrap_err().kind(), ErrorKind::Timeout);
    world.fail(&[]);
    world.log();
    assert_eq!(secret(session.token()), "b1");
    assert_eq!(world.log(), ["lock", "save b1 while b1 is out", "unlock while b1 is out", "saved-late"]);
    world.leave();
}

#[test]
fn a_token_given_to_the_builder_is_stored_by_the_first_call() {
    let world = World::new();
    let session = world.builder().token(token("b1", "s1")).build().unwrap();
    assert_eq!(secret(session.token()), "b1");
    assert!(world.holds("b1"));
}

#[test]
fn what_another_has_stored_since_stands_and_is_adopted_when_the_token_is_due() {
    let (world, session) = with_an_unsaved_token();
    world.fail(&[]);
    world.put("b1", "s1");
    for _ in 0..3 {
        assert_eq!(secret(session.token()), "a2", "it lives");
    }
    assert_eq!(world.log(), ["lock", "load", "unlock while a2 is out"]);
    assert!(world.holds("b1"));
    world.1.advance(LIFE);
    world.put("b2", "s2");
    assert_eq!(secret(session.token()), "b2");
    world.leave();
}

#[test]
fn a_call_from_within_the_source_leaves_the_store_to_who_is_inside() {
    let (world, session) = expired();
    let within = session.clone();
    world.before("fetch", move || {
        within.set(token("b1", "s1")).unwrap();
        assert_eq!(secret(within.token()), "b1");
    });
    world.answer(Ok(token("a2", "r2")));
    assert_eq!(secret(session.token()), "b1");
    assert!(world.holds("b1"));
    world.leave();
}

#[test]
fn an_observer_that_is_told_of_it_may_use_the_session() {
    let world = World::new();
    world.put("a1", "r1");
    let slot: Arc<Mutex<Option<Session>>> = Arc::default();
    let (seen, inner) = (Arc::new(Mutex::new(Vec::new())), Arc::clone(&slot));
    let told = Arc::clone(&seen);
    let session = world
        .builder()
        .observer(move |event: &Event<'_>| {
            let session = inner.lock().unwrap().clone();
            if let (Event::SaveFailed { .. }, Some(session)) = (event, session) {
                let token = secret(session.token());
                told.lock().unwrap().push(token);
            }
        })
        .build()
        .unwrap();
    *slot.lock().unwrap() = Some(session.clone());
    world.1.advance(LATER);
    world.answer(Ok(token("a2", "r2")));
    world.fail(&["save"]);
    assert_eq!(secret(session.token()), "a2");
    assert_eq!(
        *seen.lock().unwrap(),
        ["a2", "a2"],
        "the refresh's own failure, and that of the attempt that came of it"
    );
    slot.lock().unwrap().take();
}

#[test]
fn a_save_that_fails_after_all_was_done_is_done_again() {
    let (world, session) = expired();
    world.answer(Ok(token("a2", "r2")));
    // Renamed, but not known to be durable.
    world.fail(&["saved"]);
    assert_eq!(secret(session.token()), "a2");
    assert!(world.holds("a2"));
    assert_eq!(session.stats().save_failures, 1);
    world.fail(&[]);
    world.log();
    assert_eq!(secret(session.token()), "a2");
    assert!(world.log().contains(&"save a2 while a2 is out".to_owned()));
    world.leave();
}

#[test]
fn what_a_store_has_failed_at_does_not_lengthen_the_pauses_once_it_is_cured() {
    let (world, session) = expired();
    world.answer(Ok(token("a2", "r2").with_expires_in(Duration::from_secs(100_000))));
    world.fail(&["save"]);
    assert_eq!(secret(session.token()), "a2");
    for _ in 0..8 {
        world.1.advance(Duration::from_secs(301));
        assert_eq!(secret(session.token()), "a2");
    }
    world.fail(&[]);
    world.1.advance(Duration::from_secs(301));
    assert_eq!(secret(session.token()), "a2");
    assert!(world.holds("a2"));
    world.1.advance(Duration::from_secs(100_000));
    world.answer(Err(SourceError::unavailable("no")));
    assert!(session.token().unwrap_err().retry_after().unwrap() <= Duration::from_secs(1));
    world.leave();
}
