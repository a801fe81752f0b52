//! New refresh tokens that a store could not follow, or that another process has brought.

use super::*;

fn attempts(world: &World, attempts: u32) -> Session {
    let policy = Policy::new().with_jitter_seed(1).with_attempts(attempts).with_patience(Duration::ZERO);
    world.builder().policy(policy).build().unwrap()
}

fn fetches(world: &World) -> Vec<String> {
    world.log().into_iter().filter(|step| step.starts_with("fetch")).collect()
}

#[test]
fn a_spent_refresh_token_is_not_taken_back_from_a_store_that_could_not_follow() {
    let world = World::new();
    world.put("a1", "r1");
    let session = attempts(&world, 3);
    world.1.advance(LATER);
    world.fail(&["save"]);
    world
        .answer(Err(SourceError::unavailable("200 with a code, and a new refresh token").with_new_refresh_token("r2")));
    world.answer(Err(SourceError::unknown("lost")));
    world.answer(Err(SourceError::rejected("no").with_code("invalid_grant")));
    assert_eq!(kind(session.token()), ErrorKind::Rejected);
    assert_eq!(fetches(&world), ["fetch r1", "fetch r2", "fetch r2"], "the server has spent r1");
}

#[test]
fn a_rotation_that_another_process_has_met_counts_as_one() {
    let world = World::new();
    world.put("a1", "r1");
    let session = attempts(&world, 3);
    for access in ["a2", "a3"] {
        world.1.advance(LATER);
        world.answer(Ok(token(access, "r1")));
        assert_eq!(secret(session.token()), access);
    }
    // The server rotates after all, as another process sees.
    world.1.advance(LATER);
    world.put("a4", "r4");
    assert_eq!(secret(session.token()), "a4");
    world.1.advance(LATER);
    world.log();
    for _ in 0..3 {
        world.answer(Err(SourceError::unknown("lost")));
    }
    let error = session.token().unwrap_err();
    assert_eq!(fetches(&world), ["fetch r4", "fetch r4"], "what may be spent is sent twice at most");
    assert!(error.is_login_required(), "{error}");
}

#[test]
fn a_refusal_that_could_not_be_marked_stands_all_the_same() {
    let world = World::new();
    world.put("a1", "r1");
    let session = world.builder().build().unwrap();
    // Stale, not expired.
    world.1.advance(LIFE * 9 / 10);
    world.answer(Err(SourceError::rejected("no").with_code("invalid_grant")));
    world.fail(&["save"]);
    assert_eq!(secret(session.token()), "a1");
    assert_eq!(session.failure().unwrap().code(), Some("invalid_grant"));
    world.fail(&[]);
    for _ in 0..20 {
        world.1.advance(LIFE);
        assert_eq!(kind(session.token()), ErrorKind::Rejected);
    }
    assert_eq!(fetches(&world), ["fetch r1"], "nothing is sent until new credentials come");
    assert_eq!(session.failure().unwrap().code(), Some("invalid_grant"));
}

#[test]
fn a_refusal_of_a_token_that_lives_is_not_forgotten_when_it_could_not_be_marked() {
    let world = World::new();
    world.put("a1", "r1");
    let session = world.builder().build().unwrap();
    // By a 401, or by request: the token is young.
    world.answer(Err(SourceError::rejected("no").with_code("invalid_grant")));
    world.fail(&["save"]);
    assert_eq!(kind(session.refresh()), ErrorKind::Rejected);
    world.fail(&[]);
    world.1.advance(Duration::from_secs(10));
    assert_eq!(secret(session.token()), "a1");
    assert_eq!(session.failure().map(|error| error.kind()), Some(ErrorKind::Rejected), "it can be asked for");
}

#[test]
fn a_source_without_an_owner_leaves_the_owner_that_is_stored() {
    let world = World::new();
    let text =
        r#"{"version":1,"access_token":"a1","refresh_token":"r1","owner":"somebody at https://id.example.com/"}"#;
    world.lock().content = Some(Stored::from_text(text).unwrap());
    let session = world.builder().build().unwrap();
    world.answer(Ok(token("a2", "r2")));
    assert_eq!(secret(session.refresh()), "a2");
    assert_eq!(world.member("owner"), "somebody at https://id.example.com/");
    session.set(token("b1", "s1")).unwrap();
    assert_eq!(world.member("owner"), "somebody at https://id.example.com/");
}

#[test]
fn a_logout_of_the_session_that_a_source_asks_marks_nothing() {
    let (world, session) = expired();
    let inner = Session::new(|_: Option<&Token>| Err(SourceError::not_logged_in("nobody"))).unwrap();
    inner.end().unwrap();
    world.answer(Err(inner.token().unwrap_err().into()));
    assert!(session.token().unwrap_err().is_login_required());
    assert_eq!(world.member("refused"), "-", "no server has refused what is stored");
    world.leave();
}
