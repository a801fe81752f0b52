//! One address that refuses every token: its caller gets the 401, and the others keep their token.

use ureq_auth::{ErrorKind, Session};

use crate::support::{Scene, gives, millis, secs, token};

/// A scene with a token that is accepted somewhere, and these many to come.
fn scene(tokens: usize) -> Scene {
    let steps = (0..tokens).map(|_| gives("t", 36_000)).collect();
    Scene::with(steps, |builder| builder.token(token("t", 36_000)))
}

/// Reports that the present token is accepted at one address.
fn accept(session: &Session, address: &str) {
    session.accepted_by(&session.token().unwrap(), address);
}

/// Reports that it is refused there; says whether there is another one.
fn refuse(session: &Session, address: &str) -> bool {
    match session.rejected_by(&session.token().unwrap(), address) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::RefusedTooOften, "{error}");
            false
        }
    }
}

#[test]
fn an_address_that_refuses_two_tokens_of_which_others_accept_the_second_costs_one_refresh() {
    let scene = scene(1);
    let session = &scene.session;
    accept(session, "good");
    assert!(refuse(session, "bad"));
    accept(session, "good");
    for _ in 0..100 {
        assert!(!refuse(session, "bad"));
        scene.clock.advance(millis(50));
        accept(session, "good");
    }
    assert_eq!((scene.calls(), session.stats().address_refusals, session.stats().ignored_refusals), (1, 100, 0));
    let told = session.rejected_by(&session.token().unwrap(), "bad").unwrap_err().to_string();
    assert!(told.contains("this address refuses every token"), "{told}");
}

#[test]
fn a_revocation_is_met_at_every_address_that_has_accepted_a_token_since() {
    let scene = scene(9);
    for _ in 0..3 {
        for address in ["one", "two", "three"] {
            accept(&scene.session, address);
            assert!(refuse(&scene.session, address));
            accept(&scene.session, address);
        }
    }
    assert_eq!((scene.calls(), scene.session.stats().address_refusals), (9, 0));
}

#[test]
fn a_token_that_nobody_accepts_is_the_loop_breakers() {
    let scene = scene(3);
    for replaced in 0..4 {
        assert_eq!(refuse(&scene.session, "bad"), replaced < 3);
    }
    assert_eq!((scene.session.stats().address_refusals, scene.session.stats().ignored_refusals), (0, 1));
}

/// Has "bad" refuse two tokens in a row, and "good" accept each, the present one included.
fn known_as_bad(session: &Session) {
    for _ in 0..2 {
        accept(session, "good");
        refuse(session, "bad");
    }
    accept(session, "good");
}

#[test]
fn after_five_minutes_one_refresh_is_tried_for_it() {
    let scene = scene(2);
    let session = &scene.session;
    known_as_bad(session);
    scene.clock.advance(secs(300) - millis(1));
    accept(session, "good");
    assert!(!refuse(session, "bad"));
    scene.clock.advance(millis(1));
    assert!(refuse(session, "bad"), "one");
    accept(session, "good");
    assert!(!refuse(session, "bad"), "and no more");
}

/// Two revocations in a row, and all callers at addresses that have met both: nobody else is there to meet the third.
#[test]
fn where_nobody_is_accepted_any_more_a_refresh_is_tried_after_a_moment() {
    let scene = scene(2);
    let session = &scene.session;
    known_as_bad(session);
    scene.clock.advance(millis(249));
    assert!(!refuse(session, "bad"));
    scene.clock.advance(millis(1));
    assert!(refuse(session, "bad"), "the present one may be revoked");
    accept(session, "bad");
    assert_eq!(scene.calls(), 2);
}

#[test]
fn a_success_a_login_and_a_refresh_on_request_clear_the_memory() {
    let clear: [fn(&Session); 3] = [
        |session| accept(session, "bad"),
        |session| session.set(token("s", 36_000)).unwrap(),
        |session| drop(session.refresh().unwrap()),
    ];
    for (number, clear) in clear.into_iter().enumerate() {
        let scene = scene(if number == 2 { 3 } else { 2 });
        let session = &scene.session;
        for _ in 0..2 {
            accept(session, "good");
            refuse(session, "bad");
        }
        accept(session, "good");
        assert!(!refuse(session, "bad"));
        clear(session);
        accept(session, "good");
        assert!(refuse(session, "bad"), "{number}");
    }
}

#[test]
fn a_report_without_an_address_is_as_before() {
    let scene = scene(20);
    for _ in 0..20 {
        let token = scene.session.token().unwrap();
        scene.session.accepted(&token);
        scene.session.rejected(&token).unwrap();
    }
    assert_eq!(scene.session.stats().address_refusals, 0);
}
