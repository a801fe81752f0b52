//! Refused refresh tokens and lost answers: who lost a race, who removes what.

use super::*;

#[test]
fn a_refused_grant_is_removed_and_ends_the_session() {
    let (world, session) = expired();
    world.answer(Err(SourceError::rejected("no").with_code("invalid_grant")));
    assert_eq!(kind(session.token()), ErrorKind::Rejected);
    assert_eq!(world.log()[3..], ["fetch r1", "load", "remove", "unlock while - is out", "failed"]);
    assert!(world.content().is_none());
    world.leave();
}

#[test]
fn the_loser_of_a_race_takes_the_winners_token_and_never_removes_it() {
    let (world, session) = expired();
    let other = world.clone();
    // Somebody who takes no lock: another program, another machine.
    world.before("fetch", move || other.put("b1", "s1"));
    world.answer(Err(SourceError::rejected("no").with_code("invalid_grant")));
    assert_eq!(secret(session.token()), "b1");
    assert!(world.holds("b1"));
    assert!(!world.log().contains(&"remove".to_owned()));
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
            assert!(world.content().is_none(), "now that very one was refused");
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
