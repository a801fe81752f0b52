//! A store whose exclusive section can be lost while its holder lives: it is asked before each attempt.

use super::*;

/// A session on a lease that makes so many attempts; a1 and r1 are stored, and a1 has expired.
fn leased(attempts: u32) -> (World, Session) {
    let world = World::new();
    world.lock().is_lease = true;
    world.put("a1", "r1");
    let policy = Policy::new().with_jitter_seed(1).with_attempts(attempts).with_patience(Duration::ZERO);
    let session = world.builder().policy(policy).build().unwrap();
    world.1.advance(LATER);
    world.log();
    (world, session)
}

fn sent_and_asked(world: &World) -> Vec<String> {
    world.log().into_iter().filter(|step| step.starts_with("fetch") || step.starts_with("hold")).collect()
}

#[test]
fn a_lease_is_asked_before_each_attempt_for_as_long_as_that_may_take() {
    let (world, session) = leased(3);
    let clock = world.1.clone();
    world.before("fetch", move || clock.advance(Duration::from_secs(10)));
    world.answer(Err(SourceError::unavailable("busy").with_retry_after(Duration::from_secs(2))));
    world.answer(Err(SourceError::unavailable("busy").with_retry_after(Duration::from_secs(3))));
    world.answer(Ok(token("a2", "r2")));
    assert_eq!(secret(session.token()), "a2");
    assert_eq!(
        sent_and_asked(&world),
        ["hold for 30 s", "fetch r1", "hold for 18 s", "fetch r1", "hold for 15 s", "fetch r1"]
    );
}

#[test]
fn nothing_is_sent_under_a_lost_lease() {
    let (world, session) = leased(3);
    world.fail(&["hold"]);
    let error = session.token().unwrap_err();
    assert_eq!((error.kind(), error.is_login_required()), (ErrorKind::Unavailable, false));
    assert!(error.to_string().contains("the-lease is somebody else's"), "{error}");
    assert_eq!(sent_and_asked(&world), ["hold for 30 s"]);
    // The next flight begins with the lock.
    world.fail(&[]);
    world.1.advance(LATER);
    world.answer(Ok(token("a2", "r2")));
    assert_eq!(secret(session.token()), "a2");
    assert!(world.holds("a2"));
}

#[test]
fn a_lease_that_is_lost_between_two_attempts_ends_the_flight() {
    for failure in [SourceError::unavailable, SourceError::unknown] {
        let (world, session) = leased(3);
        let other = world.clone();
        world.before("fetch", move || other.fail(&["hold"]));
        world.answer(Err(failure("cut off")));
        assert_eq!(kind(session.token()), ErrorKind::Unavailable);
        assert_eq!(sent_and_asked(&world), ["hold for 30 s", "fetch r1", "hold for 29 s"]);
        assert!(world.holds("a1"), "what is stored is the next holder's");
    }
}

#[test]
fn who_took_the_lease_over_and_was_done_has_the_token_for_all() {
    let (world, session) = leased(3);
    let other = world.clone();
    world.before("fetch", move || other.fail(&["hold"]));
    let other = world.clone();
    world.before("hold", || {});
    world.before("hold", move || other.put("b1", "s1"));
    world.answer(Err(SourceError::unavailable("busy")));
    assert_eq!(secret(session.token()), "b1");
    assert_eq!(sent_and_asked(&world), ["hold for 30 s", "fetch r1", "hold for 29 s"]);
}

#[test]
fn the_repeat_after_a_refusal_asks_as_well() {
    let (world, session) = leased(1);
    let other = world.clone();
    // An expired token of somebody else's, found after the refusal.
    world.before("fetch", move || {
        other.put("b1", "s1");
        other.1.advance(LATER);
        other.fail(&["hold"]);
    });
    world.answer(Err(SourceError::rejected("no").with_code("invalid_grant")));
    assert!(session.token().unwrap_err().is_retryable());
    let done = sent_and_asked(&world);
    assert_eq!((done.len(), &done[..2]), (3, &["hold for 30 s".to_owned(), "fetch r1".to_owned()][..]), "{done:?}");
    assert!(done[2].starts_with("hold"), "s1 is not sent under a lost lease: {done:?}");
    assert_eq!(world.member("refused"), "-");
}

#[test]
fn a_lease_that_answers_too_late_leaves_the_refresh_token_unsent() {
    let (world, session) = leased(3);
    let clock = world.1.clone();
    world.before("hold", move || clock.advance(Duration::from_millis(29_800)));
    let error = session.token().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("nothing was sent"), "{error}");
    assert!(!world.log().iter().any(|step| step.starts_with("fetch")));
}

#[test]
fn a_save_that_a_lost_lease_refuses_leaves_what_is_there_and_the_token_in_force() {
    let (world, session) = leased(1);
    let other = world.clone();
    // The lease runs out while the server thinks about it; who took it over has been faster.
    world.before("save", move || {
        other.put("b1", "s1");
        other.fail(&["save"]);
    });
    world.answer(Ok(token("a2", "r2")));
    assert_eq!(secret(session.token()), "a2");
    assert!(world.holds("b1"), "it was refused");
    // The next call would save it late, and finds that another session's token is there: that is the later one.
    world.fail(&[]);
    assert_eq!(secret(session.token()), "a2");
    assert!(world.holds("b1"));
    world.1.advance(LATER);
    world.log();
    world.answer(Ok(token("b2", "s2")));
    assert_eq!(secret(session.token()), "b2");
    assert_eq!(sent_and_asked(&world), ["hold for 30 s", "fetch s1"]);
}
