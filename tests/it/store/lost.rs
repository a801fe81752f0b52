//! Refused refresh tokens and lost answers: who lost a race, what is marked, what stays.

use super::*;

#[test]
fn a_refused_grant_is_marked_and_stays() {
    let (world, session) = expired();
    world.answer(Err(SourceError::rejected("no").with_code("invalid_grant")));
    let error = session.token().unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Rejected, Some("invalid_grant")));
    assert!(error.to_string().contains("kept in the token store"), "{error}");
    assert_eq!(world.log()[3..], ["fetch r1", "load", "save a1 while a1 is out", "unlock while a1 is out", "failed"]);
    assert!(world.holds("a1"));
    assert_eq!(world.member("refused_code"), "invalid_grant");
    // Nothing more is sent, by this session or by the next one, whose source has nothing of its own either.
    world.1.advance(LATER);
    assert_eq!(kind(session.token()), ErrorKind::Rejected);
    assert!(!world.log().iter().any(|step| step.starts_with("fetch")));
    world.leave();
}

#[test]
fn all_processes_on_a_refused_token_hear_the_same() {
    let (world, session) = expired();
    let others: Vec<Session> = (0..3).map(|_| world.builder().build().unwrap()).collect();
    world.answer(Err(SourceError::rejected("no").with_code("invalid_grant")));
    let heard = session.token().unwrap_err();
    for other in others {
        let error = other.token().unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Rejected, Some("invalid_grant")));
        assert_eq!(error.to_string(), heard.to_string());
        assert_eq!((error.is_login_required(), error.is_retryable(), error.retry_after()), (true, false, None));
    }
    assert_eq!(world.log().iter().filter(|step| step.starts_with("fetch")).count(), 1);
    world.leave();
}

#[test]
fn a_refused_token_serves_while_it_lives_in_every_process() {
    let world = World::new();
    world.put("a1", "r1");
    let session = world.session();
    // Stale, not expired.
    world.1.advance(LIFE * 9 / 10);
    world.answer(Err(SourceError::rejected("no").with_code("invalid_grant")));
    assert_eq!(secret(session.token()), "a1");
    assert!(session.failure().unwrap().is_login_required(), "it can be asked for");
    let next = world.builder().build().unwrap();
    // It may have credentials of its own.
    world.answer(Err(SourceError::not_logged_in("it has none")));
    assert_eq!(secret(next.token()), "a1");
    assert_eq!(next.failure().unwrap().code(), Some("invalid_grant"));
    // An API that wants it dead says 401.
    assert_eq!(kind(session.rejected(&session.token().unwrap())), ErrorKind::Rejected);
    world.1.advance(LIFE);
    assert_eq!(kind(session.token()), ErrorKind::Rejected);
    world.leave();
}

#[test]
fn whoever_starts_on_a_refused_token_asks_a_source_with_credentials_of_its_own() {
    let (world, session) = expired();
    world.answer(Err(SourceError::rejected("no").with_code("invalid_grant")));
    assert_eq!(kind(session.token()), ErrorKind::Rejected);
    drop(session);
    world.leave();
    let next = world.session();
    world.log();
    world.answer(Err(SourceError::not_logged_in("it has none")));
    let error = next.token().unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Rejected, Some("invalid_grant")));
    world.leave();
    drop(next);
    let next = world.session();
    world.answer(Ok(token("b1", "s1")));
    assert_eq!(secret(next.token()), "b1");
    assert!(world.log().contains(&"fetch nothing".to_owned()), "the refused one is not sent");
    assert!(world.holds("b1"));
    assert_eq!(world.member("refused"), "-", "what is stored now is good");
    world.leave();
}

#[test]
fn whoever_starts_on_a_refused_token_is_not_given_it_back_as_a_new_one() {
    let world = World::new();
    world.put("a1", "r1");
    let session = world.session();
    // Stale, not expired.
    world.1.advance(LIFE * 9 / 10);
    let refused = || Err(SourceError::rejected("no").with_code("invalid_grant"));
    world.answer(refused());
    assert_eq!(secret(session.token()), "a1");
    let next = world.builder().build().unwrap();
    // The source has something of its own, which is dead as well.
    world.answer(refused());
    let token = next.current().unwrap();
    assert_eq!(kind(next.rejected(&token)), ErrorKind::Rejected);
    assert_eq!(kind(next.rejected(&token)), ErrorKind::Rejected, "and nothing is sent again");
    world.leave();
}

#[test]
fn a_mark_that_was_taken_away_has_the_token_tried_again() {
    let (world, session) = expired();
    world.answer(Err(SourceError::rejected("no").with_code("invalid_grant")));
    assert_eq!(kind(session.token()), ErrorKind::Rejected);
    world.put("a1", "r1");
    world.1.advance(LATER);
    world.answer(Ok(token("a2", "r2")));
    assert_eq!(secret(session.token()), "a2");
    world.leave();
}

#[test]
fn an_uncoded_refusal_leaves_the_store_as_it_is() {
    for refusal in
        [SourceError::refused, SourceError::misconfigured, SourceError::unavailable, SourceError::unreachable]
    {
        let (world, session) = expired();
        world.answer(Err(refusal("a page")));
        assert!(session.token().unwrap_err().is_retryable());
        assert!(!world.log().iter().any(|step| step.starts_with("save") || step == "remove"));
        world.1.advance(LATER);
        world.answer(Ok(token("a2", "r2")));
        assert_eq!(secret(session.token()), "a2");
        world.leave();
    }
}

#[test]
fn a_new_refresh_token_in_a_refused_answer_is_stored_and_used_next() {
    let (world, session) = expired();
    world.answer(Err(SourceError::misconfigured("an odd type").with_new_refresh_token("r2")));
    assert_eq!(kind(session.token()), ErrorKind::Misconfigured);
    assert_eq!(world.content(), Some(("a1".to_owned(), "r2".to_owned())));
    world.log();
    // Another process, and then this one.
    world.answer(Err(SourceError::refused("a page")));
    let other = world.builder().build().unwrap();
    assert_eq!(kind(other.token()), ErrorKind::Unavailable);
    world.1.advance(LATER);
    world.answer(Ok(token("a3", "r3")));
    assert_eq!(secret(session.token()), "a3");
    let sent: Vec<String> = world.log().into_iter().filter(|step| step.starts_with("fetch")).collect();
    assert_eq!(sent, ["fetch r2", "fetch r2"]);
    world.leave();
}

#[test]
fn a_new_refresh_token_without_an_access_token_is_stored_and_used_next() {
    let world = World::new();
    let session = world.session();
    world.answer(Err(SourceError::refused("no access token").with_new_refresh_token("r1")));
    assert_eq!(kind(session.token()), ErrorKind::Unavailable);
    assert_eq!(world.content(), Some(("-".to_owned(), "r1".to_owned())));
    assert!(session.current().is_none(), "there is nothing to be given out");
    // The next process begins with it, and this one goes on with it.
    let next = world.builder().policy(Policy::new().with_proactive(false)).build().unwrap();
    assert!(next.current().is_none());
    world.1.advance(LATER);
    world.answer(Ok(token("a2", "r2")));
    assert_eq!(secret(next.token()), "a2");
    assert_eq!(secret(session.token()), "a2");
    assert!(world.log().contains(&"fetch r1".to_owned()));
    world.leave();
}

#[test]
fn the_loser_of_a_race_takes_the_winners_token_and_never_marks_it() {
    let (world, session) = expired();
    let other = world.clone();
    // Somebody who takes no lock: another program, another machine.
    world.before("fetch", move || other.put("b1", "s1"));
    world.answer(Err(SourceError::rejected("no").with_code("invalid_grant")));
    assert_eq!(secret(session.token()), "b1");
    assert!(world.holds("b1"));
    assert_eq!(world.member("refused"), "-");
    world.leave();
}

#[test]
fn the_loser_tries_an_expired_winners_refresh_token_once() {
    for refused_again in [false, true] {
        let (world, session) = expired();
        let other = world.clone();
        world.before("fetch", move || {
            other.put("b1", "s1");
            other.1.advance(LATER);
        });
        world.answer(Err(SourceError::rejected("no").with_code("invalid_grant")));
        if refused_again {
            world.answer(Err(SourceError::rejected("no").with_code("invalid_grant")));
            assert_eq!(kind(session.token()), ErrorKind::Rejected);
            assert!(world.holds("b1"));
            assert_eq!(world.member("refused_code"), "invalid_grant", "now that very one was refused");
        } else {
            world.answer(Ok(token("b2", "s2")));
            assert_eq!(secret(session.token()), "b2");
        }
        assert!(world.log().contains(&"fetch s1".to_owned()));
        world.leave();
    }
}

#[test]
fn after_a_lost_answer_the_store_is_read_again() {
    let (world, session) = expired();
    let other = world.clone();
    world.before("fetch", move || other.put("b1", "s1"));
    world.answer(Err(SourceError::unknown("no answer")));
    assert_eq!(secret(session.token()), "b1");

    let (world, session) = expired();
    world.answer(Err(SourceError::unknown("no answer")));
    assert_eq!(kind(session.token()), ErrorKind::Unknown);
    assert!(world.holds("a1"), "nothing was refused, so nothing is removed");
    world.leave();
}

#[test]
fn a_lost_answer_is_not_forgotten_while_the_store_cannot_be_read() {
    let (world, session) = expired();
    for _ in 0..2 {
        world.answer(Err(SourceError::unknown("no answer")));
        assert_eq!(kind(session.token()), ErrorKind::Unknown);
        world.1.advance(LATER);
    }
    world.fail(&["peek", "load"]);
    assert_eq!(kind(session.token()), ErrorKind::Unknown);
    world.fail(&[]);
    world.1.advance(LATER);
    assert_eq!(kind(session.token()), ErrorKind::Unknown);
    let fetches = world.log().iter().filter(|step| **step == "fetch r1").count();
    assert_eq!(fetches, 2, "a third use of a refresh token that may be spent is blind");
    world.leave();
}

#[test]
fn a_refresh_token_is_not_sent_with_no_time_left_for_the_answer() {
    let (world, session) = expired();
    let clock = world.1.clone();
    world.before("lock", move || clock.advance(Duration::from_millis(29_800)));
    let error = session.token().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("nothing was sent"), "{error}");
    assert!(!world.log().iter().any(|step| step.starts_with("fetch")));
    world.leave();
}
