//! Answers made of a status, a body, a content type and a code: none of them loses a token that lives, or one that is stored,
//! and none but the authorization server's refusal with a code of its own ends anything.

use ureq_auth::{ErrorKind, Outcome, Policy, Session, Token};

use super::*;

const STATUSES: [u16; 26] = [
    200, 201, 204, 206, 301, 302, 307, 308, 400, 401, 402, 403, 404, 405, 407, 408, 409, 410, 422, 425, 429, 451, 500,
    502, 503, 530,
];

/// Those with which servers send error codes.
const CODED: [u16; 8] = [200, 400, 401, 403, 404, 429, 500, 503];

const BODIES: [&str; 7] = [
    "",
    "<html><title>403</title></html>",
    "blocked by policy",
    r#"{"message":"Forbidden"}"#,
    r#"{"error":{"code":403,"message":"denied"}}"#,
    r#"{"access_token":"a","refresh_to"#,
    r#"["denied"]"#,
];

const TYPES: [Option<&str>; 3] = [Some("application/json"), Some("text/html; charset=utf-8"), None];

/// A refusal of the grant, each in the words of some server.
const REFUSALS: [&str; 9] = [
    "invalid_grant",
    "invalid_token",
    "bad_refresh_token",
    "invalid_refresh_token",
    "token_revoked",
    "expired_token",
    "login_required",
    "interaction_required",
    "consent_required",
];

const OTHER_CODES: [&str; 16] = [
    "access_denied",
    "invalid_client",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_request",
    "invalid_target",
    "temporarily_unavailable",
    "server_error",
    "slow_down",
    "authorization_pending",
    "rate_limited",
    "INVALID_GRANT",
    "invalid_grant.",
    "internal_error",
    "1001",
];

struct Made {
    name: String,
    answer: Answer,
    is_final: bool,
}

fn made() -> Vec<Made> {
    let mut made = Vec::new();
    let mut make = |status: u16, body: &str, content_type: Option<&str>, is_final: bool| {
        let answer = Answer::new(status).body(body);
        let answer = content_type.map_or(answer.clone(), |value| answer.header("Content-Type", value));
        // What a server asks for is obeyed, and is shorter than the limit here.
        let asks = (status + body.len() as u16) % 3 == 0;
        let answer = if asks { answer.header("Retry-After", "20") } else { answer };
        made.push(Made { name: format!("{status} {content_type:?} {body}"), answer, is_final });
    };
    for (number, status) in STATUSES.into_iter().enumerate() {
        for (place, body) in BODIES.into_iter().enumerate() {
            // A body of its own has no answer of 204; the content type changes nothing, so one of three will do.
            if status != 204 || body.is_empty() {
                make(status, body, TYPES[(number + place) % 3], false);
            }
        }
    }
    let codes = REFUSALS.into_iter().map(|code| (code, true)).chain(OTHER_CODES.into_iter().map(|code| (code, false)));
    for (place, (code, is_final)) in codes.enumerate() {
        for (number, status) in CODED.into_iter().enumerate() {
            let body = format!(r#"{{"error":"{code}","error_description":"so it is"}}"#);
            make(status, &body, TYPES[(number + place) % 3], is_final);
        }
        // Who redirects is no token endpoint, whatever it says.
        make(302, &format!(r#"{{"error":"{code}"}}"#), TYPES[0], false);
    }
    made
}

#[test]
fn there_are_many_of_them() {
    let made = made();
    let finals = made.iter().filter(|made| made.is_final).count();
    assert!(
        made.len() - finals > 300 && finals == REFUSALS.len() * CODED.len(),
        "{} and {finals}",
        made.len() - finals
    );
}

/// What is stored is what was stored, but for the mark.
fn assert_kept(made: &Made, world: &World, before: &str) {
    if !made.is_final {
        return assert_eq!(world.text(), before, "{}", made.name);
    }
    assert_eq!(world.stored(), both("a1", "r1"), "{}", made.name);
    assert!(world.member("refused").is_some(), "{}", made.name);
}

#[test]
fn neither_a_token_that_lives_nor_the_stored_one_is_lost() {
    for made in made() {
        let (name, world) = (&made.name, World::new());
        let (session, before) = (world.session(), world.text());
        world.clock.advance(LIFE - REST);
        world.meets(&made.answer, 1);
        assert_eq!(session.token().unwrap().secret(), "a1", "{name}");
        assert_eq!(world.endpoint.count(), 1, "{name}");
        assert_kept(&made, &world, &before);
        let failure = session.failure().unwrap();
        assert_agrees(&failure, name);
        assert_eq!(failure.is_login_required(), made.is_final, "{name}: {failure}");
        // A caller every ten seconds has an answer each time.
        for step in 1..=LIMIT.as_secs() / 10 {
            world.clock.advance(secs(10));
            match session.token() {
                Ok(token) if made.is_final => assert!(token.secret() == "a1" && step < 10, "{name}: {step}"),
                Ok(_) => {}
                Err(error) => {
                    assert!(made.is_final && step >= 10, "{name}: {error}");
                    assert_eq!(error.to_string(), failure.to_string(), "{name}");
                }
            }
        }
        if made.is_final {
            assert_eq!(world.endpoint.count(), 1, "{name}: nothing is sent after a verdict");
            assert_kept(&made, &world, &before);
        } else {
            assert_eq!(session.token().unwrap().secret(), "a2", "{name}");
            assert_eq!(world.sent(), ["r1", "r1"], "{name}");
        }
    }
}

#[test]
fn after_the_tokens_end_it_goes_on_within_the_backoffs_limit() {
    for made in made() {
        let (name, world) = (&made.name, World::new());
        let (session, before) = (world.session(), world.text());
        world.clock.advance(LIFE);
        world.meets(&made.answer, usize::MAX);
        // For a minute, and a pause.
        let begin = world.clock.now();
        let error = loop {
            let error = session.token().unwrap_err();
            assert_agrees(&error, name);
            assert_eq!(error.is_login_required(), made.is_final, "{name}: {error}");
            assert_eq!(error.kind() == ErrorKind::Rejected, made.is_final, "{name}: {error}");
            let Some(pause) = error.retry_after() else { break error };
            assert!(pause <= LIMIT, "{name}: {pause:?}");
            if world.clock.now().since(begin) > secs(60) {
                break error;
            }
            world.clock.advance(pause);
        };
        assert_kept(&made, &world, &before);
        assert!(world.sent().iter().all(|sent| sent == "r1"), "{name}");
        world.is_well();
        let count = world.endpoint.count();
        world.clock.advance(LIMIT);
        if made.is_final {
            assert_eq!(session.token().unwrap_err().to_string(), error.to_string(), "{name}");
            assert_eq!(world.endpoint.count(), count, "{name}");
        } else {
            assert_eq!(session.token().unwrap().secret(), "a2", "{name}");
            assert_eq!(world.endpoint.count(), count + 1, "{name}");
        }
    }
}

#[test]
fn no_answer_ends_a_program_with_a_secret_of_its_own_or_sends_it_to_a_login() {
    for made in made() {
        for lives in [true, false] {
            let (name, world) = (&made.name, World::new());
            let session = world.builder(world.service()).build().unwrap();
            let before = world.text();
            world.clock.advance(if lives { LIFE - REST } else { LIFE });
            world.meets(&made.answer, if lives { 1 } else { usize::MAX });
            let error = match session.token() {
                Ok(token) => {
                    assert!(lives && token.secret() == "a1", "{name}");
                    session.failure().unwrap()
                }
                Err(error) => error,
            };
            assert_eq!(world.text(), before, "{name}");
            assert_agrees(&error, name);
            assert!(!error.may_need_login() && !error.to_string().contains("log in"), "{name}: {error}");
            assert!(error.retry_after().is_some_and(|pause| pause <= LIMIT), "{name}: {error:?}");
            world.is_well();
            world.clock.advance(error.retry_after().unwrap());
            assert_eq!(session.token().unwrap().secret(), "a2", "{name}");
        }
    }
}

#[test]
fn a_new_refresh_token_is_nothing_to_a_program_with_a_secret_of_its_own() {
    for body in
        [r#"{"refresh_token":"r2"}"#, r#"{"access_token":"a b","refresh_token":"r2"}"#, r#"{"refresh_token":"r2""#]
    {
        let world = World::new();
        save(&world.store, r#"{"version":1,"access_token":"a1"}"#);
        let (session, before) = (world.builder(world.service()).build().unwrap(), world.text());
        world.meets(&json(200, body), usize::MAX);
        let error = session.rejected(&session.token().unwrap()).unwrap_err();
        assert_eq!(world.text(), before, "{body}");
        world.is_well();
        world.clock.advance(error.retry_after().unwrap());
        assert_eq!(session.token().unwrap().refresh_secret(), None);
        assert_eq!(world.sent().iter().filter(|sent| *sent != "-").count(), 0);
    }
}

/// Without a store it is the session alone that must not lose them.
#[test]
fn a_session_without_a_store_keeps_its_refresh_token_too() {
    for made in made().iter().step_by(5) {
        let (name, world) = (&made.name, World::new());
        let token = Token::new("a1").unwrap().with_refresh_token("r1").with_expires_in(LIFE);
        let policy = Policy::new().with_jitter_seed(3);
        let session = Session::builder(world.source()).clock(world.clock.clone()).token(token).policy(policy);
        let session = session.build().unwrap();
        world.clock.advance(LIFE);
        world.meets(&made.answer, usize::MAX);
        let error = session.token().unwrap_err();
        assert_eq!(session.current().unwrap().refresh_secret(), Some("r1"), "{name}");
        world.is_well();
        world.clock.advance(LIMIT);
        assert_eq!(session.token().is_ok(), !made.is_final, "{name}: {error}");
    }
}

/// What a source around the grant hears is what the session does.
#[test]
fn a_source_around_the_grant_hears_a_verdict_where_there_is_one() {
    for made in made() {
        let (outcome, code, pause) = sources::heard(&World::new(), &made.answer);
        assert_eq!(outcome == Outcome::Rejected, made.is_final, "{}: {outcome:?}", made.name);
        assert!(!made.is_final || code.is_some() && pause.is_none(), "{}", made.name);
    }
}

/// A refresh that the program asks for is told what came, and costs nobody the token that is good.
#[test]
fn a_refresh_on_request_that_meets_them_changes_nothing_either() {
    for made in made().iter().step_by(3) {
        let (name, world) = (&made.name, World::new());
        let (session, before) = (world.session(), world.text());
        world.meets(&made.answer, usize::MAX);
        let error = session.refresh().unwrap_err();
        assert_agrees(&error, name);
        assert_eq!(error.is_login_required(), made.is_final, "{name}: {error}");
        assert_kept(made, &world, &before);
        // The pause is everybody's, also of those who ask for it.
        let count = world.endpoint.count();
        for _ in 0..5 {
            assert_eq!(session.token().unwrap().secret(), "a1", "{name}");
            assert_eq!(session.refresh().unwrap_err().to_string(), error.to_string(), "{name}");
        }
        assert_eq!(world.endpoint.count(), count, "{name}");
        world.is_well();
        world.clock.advance(error.retry_after().unwrap_or(LIMIT));
        match session.refresh() {
            Ok(token) => assert!(!made.is_final && token.secret() == "a2", "{name}"),
            Err(error) => assert!(made.is_final && world.endpoint.count() == count, "{name}: {error}"),
        }
    }
}
