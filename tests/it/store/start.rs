//! What a session starts with, and how old it is then.

use super::*;
use crate::support::jwt;

#[test]
fn the_session_starts_with_what_is_stored() {
    let world = World::new();
    world.put("a1", "r1");
    world.1.advance(LIFE / 2);
    let session = world.builder().token(token("b1", "s1")).build().unwrap();
    assert_eq!(secret(session.token()), "a1", "not with the token it was given");
    world.1.advance(LIFE / 2);
    world.answer(Ok(token("a2", "r2")));
    assert_eq!(secret(session.token()), "a2", "half of its life was over already");
}

#[test]
fn a_store_that_cannot_be_read_is_an_error_of_build() {
    let world = World::new();
    world.fail(&["peek"]);
    assert_eq!(world.builder().build().unwrap_err().kind(), ErrorKind::Store);
}

#[test]
fn a_wrong_wall_clock_costs_one_round_trip_at_most() {
    // In 1970, and before the token came by any other clock: it is used. In a year to come: it is replaced.
    for (wall, fetches) in [(Some(Duration::from_secs(5)), 0), (None, 0), (Some(WALL - LIFE), 0), (Some(WALL * 2), 1)] {
        let world = World::new();
        world.put("a1", "r1");
        world.1.set_wall(wall);
        let session = world.session();
        if fetches > 0 {
            world.answer(Ok(token("a2", "r2")));
        }
        for _ in 0..3 {
            session.token().unwrap();
        }
        assert_eq!(session.stats().refreshes, fetches, "{wall:?}");
        // Had it expired long ago, the API says so, and that is all.
        world.answer(Ok(token("a3", "r3")));
        let refused = session.token().unwrap();
        assert_eq!(secret(session.rejected(&refused)), "a3");
        assert_eq!(secret(session.token()), "a3");
        world.leave();
    }
}

#[test]
fn the_age_of_a_token_that_is_older_than_the_devices_uptime() {
    let (world, session) = expired();
    let now = (WALL + LATER).as_secs();
    session.set(jwt(&format!(r#"{{"iat":{},"exp":{}}}"#, now - 3000, now + 600))).unwrap();
    world.leave();
    drop(session);
    let next = world.session();
    world.1.advance(Duration::from_secs(700));
    world.answer(Ok(token("new", "r")));
    assert_eq!(secret(next.token()), "new", "it was over 100 s ago");
    world.leave();
}
