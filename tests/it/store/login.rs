//! Logging in and out, here and in other processes, and whatever meets a flight under way.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use ureq_auth::MemoryStore;

use super::*;

#[test]
fn a_login_is_stored_over_whatever_is_there() {
    let (world, session) = expired();
    world.put("a9", "r9");
    session.set(token("b1", "s1")).unwrap();
    assert_eq!(world.log(), ["lock", "save b1 while b1 is out", "unlock while b1 is out"]);
    assert_eq!(world.content().unwrap(), ("b1".into(), "s1".into()));
    assert_eq!(secret(session.token()), "b1");
    world.leave();
}

#[test]
fn a_login_that_cannot_be_stored_is_in_force_all_the_same_and_stored_later() {
    for step in ["lock", "save"] {
        let (world, session) = expired();
        world.fail(&[step]);
        let error = session.set(token("b1", "s1")).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Store | ErrorKind::Timeout), "{error:?}");
        assert_eq!(session.stats().save_failures, 1);
        assert_eq!(secret(session.token()), "b1");
        world.fail(&[]);
        // Whatever another process does to the old login meanwhile.
        world.put("a2", "r2");
        world.1.advance(LATER);
        world.answer(Ok(token("b2", "s2")));
        assert_eq!(secret(session.token()), "b2");
        assert!(world.log().contains(&"fetch s1".to_owned()));
        assert!(world.holds("b2"));
        world.leave();
    }
}

#[test]
fn a_logout_empties_the_store_whatever_is_there() {
    let (world, session) = expired();
    world.put("a9", "r9");
    session.end().unwrap();
    assert!(world.content().is_none());
    world.log();
    world.1.advance(LATER);
    world.put("b1", "s1");
    assert_eq!(kind(session.token()), ErrorKind::LoggedOut);
    assert!(world.log().is_empty(), "a logout by the program itself is for the program itself to undo");
    session.set(token("c1", "t1")).unwrap();
    assert_eq!(secret(session.token()), "c1");
    world.leave();
}

#[test]
fn a_logout_that_cannot_be_stored_is_tried_again_in_the_end() {
    let (world, session) = expired();
    world.fail(&["remove"]);
    assert_eq!(session.end().unwrap_err().kind(), ErrorKind::Store);
    assert_eq!(kind(session.token()), ErrorKind::LoggedOut);
    world.fail(&[]);
    world.leave();
    drop(session);
    assert!(world.content().is_none());
}

#[test]
fn a_logout_by_another_process_is_seen_at_the_next_refresh_and_so_is_its_login() {
    let (world, session) = expired();
    world.lock().content = None;
    assert_eq!(kind(session.token()), ErrorKind::LoggedOut);
    assert_eq!(world.log(), ["lock", "load", "unlock while - is out", "failed"]);
    world.1.advance(LATER);
    assert_eq!(kind(session.token()), ErrorKind::LoggedOut);
    assert_eq!(world.log(), ["peek"], "no lock, no token call");
    world.1.advance(LATER);
    world.put("b1", "s1");
    assert_eq!(secret(session.token()), "b1");
    world.leave();
}

#[test]
fn after_a_refused_grant_another_processes_login_is_seen() {
    let (world, session) = expired();
    world.fail(&["remove"]);
    world.answer(Err(SourceError::rejected("no").with_code("invalid_grant")));
    assert_eq!(kind(session.token()), ErrorKind::Rejected);
    assert!(world.holds("a1"), "it could not be removed");
    world.log();
    // At once for a while; then the store is looked into, and nothing is new there.
    assert_eq!(kind(session.token()), ErrorKind::Rejected);
    assert!(world.log().is_empty());
    world.1.advance(LATER);
    assert_eq!(kind(session.token()), ErrorKind::Rejected);
    assert_eq!(world.log(), ["peek"]);
    world.1.advance(LATER);
    world.put("b1", "s1");
    world.1.advance(LATER);
    world.answer(Ok(token("b2", "s2")));
    assert_eq!(secret(session.token()), "b2");
    assert!(world.log().contains(&"fetch s1".to_owned()));
    world.leave();
}

#[test]
fn a_login_under_a_refresh_wins_in_the_flight_and_in_the_store() {
    // From within the source, which holds the store: it neither waits for itself nor is it lost.
    let (world, session) = expired();
    let within = session.clone();
    world.before("fetch", move || within.set(token("b1", "s1")).unwrap());
    world.answer(Ok(token("a2", "r2")));
    assert_eq!(secret(session.token()), "b1");
    assert!(world.holds("b1"), "{:?}", world.log());
    assert!(world.log().iter().filter(|step| *step == "lock").count() <= 1);
    world.leave();
}

#[test]
fn a_logout_under_a_refresh_wins_in_the_flight_and_in_the_store() {
    let (world, session) = expired();
    let within = session.clone();
    world.before("fetch", move || drop(within.end().unwrap()));
    world.answer(Ok(token("a2", "r2")));
    assert_eq!(kind(session.token()), ErrorKind::LoggedOut);
    assert!(world.content().is_none(), "{:?}", world.log());
    world.leave();
}

#[test]
fn a_login_while_the_leader_waits_for_the_lock_leaves_nothing_to_refresh() {
    let (world, session) = expired();
    let within = session.clone();
    world.before("lock", move || within.set(token("b1", "s1")).unwrap());
    assert_eq!(secret(session.token()), "b1");
    assert!(world.holds("b1"));
    world.leave();
}

#[test]
fn a_logout_while_the_first_leader_waits_for_the_lock_leaves_nothing_in_the_store() {
    let world = World::new();
    let session = world.session();
    let within = session.clone();
    world.before("lock", move || drop(within.end().unwrap()));
    assert_eq!(kind(session.token()), ErrorKind::LoggedOut);
    assert!(world.content().is_none());
    world.leave();
}

#[test]
fn a_source_that_panics_leaves_the_section() {
    let (world, session) = expired();
    assert!(catch_unwind(AssertUnwindSafe(|| session.token())).is_err());
    world.1.advance(LATER);
    assert!(!world.lock().locked);
    world.answer(Ok(token("a2", "r2")));
    assert_eq!(secret(session.token()), "a2");
    world.leave();
}

#[test]
fn a_store_that_is_found_torn_is_written_anew_by_a_session_that_has_the_token() {
    let (world, session) = expired();
    world.fail(&["load"]);
    assert_eq!(kind(session.token()), ErrorKind::Store);
    // The store has put it aside; there is nothing now, but nobody has logged out.
    world.lock().content = None;
    world.fail(&[]);
    world.1.advance(LATER);
    world.answer(Ok(token("a2", "r2")));
    assert_eq!(secret(session.token()), "a2");
    assert!(world.holds("a2"));
    world.leave();
}

#[test]
fn a_logout_heard_of_is_not_undone_by_a_store_that_cannot_be_read_for_a_while() {
    let (world, session) = expired();
    world.lock().content = None;
    assert_eq!(kind(session.token()), ErrorKind::LoggedOut);
    world.1.advance(LATER);
    world.fail(&["peek", "load"]);
    assert_eq!(kind(session.token()), ErrorKind::LoggedOut);
    world.fail(&[]);
    world.1.advance(LATER);
    // Nothing is fetched, or this world would panic.
    assert_eq!(kind(session.token()), ErrorKind::LoggedOut);
    world.put("b1", "s1");
    world.1.advance(LATER);
    world.answer(Ok(token("b2", "s2")));
    assert_eq!(secret(session.token()), "b2", "somebody has logged in");
    world.leave();
}

#[test]
fn a_logout_gives_back_the_token_that_it_has_ended_not_one_of_a_login_made_meanwhile() {
    let (world, session) = expired();
    let within = session.clone();
    world.before("lock", move || within.set(token("b1", "s1")).unwrap());
    let ended = session.end().unwrap().unwrap();
    assert_eq!(secret(session.token()), "b1");
    assert!(world.holds("b1"));
    assert_eq!(ended.secret(), "a1", "this is what the server is asked to revoke");
    world.leave();
}

#[test]
fn a_source_that_needs_the_section_it_is_in_is_told_so() {
    let (own, calls): (Arc<OnceLock<Session>>, _) = (Arc::default(), AtomicUsize::new(0));
    let asked = Arc::clone(&own);
    let source = move |_: Option<&Token>| {
        let session = asked.get().unwrap();
        if calls.fetch_add(1, Ordering::SeqCst) == 0 {
            session.set(token("b1", "s1")).unwrap();
            let login = session.current().unwrap();
            assert_eq!(kind(session.rejected(&login)), ErrorKind::Reentrant, "it would wait for itself");
        }
        Ok(token("a2", "r2"))
    };
    let builder = Session::builder(source).store(MemoryStore::new()).clock(ManualClock::new(Some(WALL)));
    let session = builder.build().unwrap();
    own.set(session.clone()).unwrap();
    assert_eq!(secret(session.token()), "a2", "the login was refused, and is replaced");
}

#[test]
fn a_login_given_to_the_builder_takes_the_place_of_a_token_that_was_refused() {
    let (world, session) = expired();
    world.answer(Err(SourceError::rejected("no").with_code("invalid_grant")));
    assert_eq!(kind(session.token()), ErrorKind::Rejected);
    world.leave();
    drop(session);
    // The same one as before is no new login.
    let next = world.builder().token(token("a1", "r1")).build().unwrap();
    world.1.advance(LATER);
    world.answer(Err(SourceError::not_logged_in("it has none")));
    assert_eq!(kind(next.token()), ErrorKind::Rejected);
    drop(next);
    let next = world.builder().token(token("b1", "s1")).build().unwrap();
    assert_eq!(secret(next.token()), "b1");
    assert_eq!((world.holds("b1"), world.member("refused")), (true, "-".to_owned()));
}
