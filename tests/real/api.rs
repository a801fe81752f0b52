//! The API's refusals: whose fault they are, and what they cost.

use serde_json::json;
use ureq_auth::Token;

use crate::servers::{Api, Issuer};

#[test]
fn challenges_are_judged_however_they_are_written() {
    let Some(issuer) = Issuer::start(json!({ "ttl": 600 })) else { return };
    let api = Api::start(&issuer);
    // A missing scope, and another scheme than ours, are not the token's fault.
    for (path, good, bad, refreshes) in [
        ("/notes", 200, 200, 1),
        ("/one-line", 200, 200, 1),
        ("/two-lines", 200, 200, 1),
        ("/none", 200, 200, 1),
        ("/basic-only", 200, 401, 0),
        ("/notes/admin", 403, 403, 1),
    ] {
        let session = issuer.session();
        let client = api.client(&session);
        assert_eq!(api.status(&client, path).unwrap(), good, "{path}");
        let of_good = session.stats().refreshes;
        assert_eq!((of_good, session.stats().replays), (1, 0), "{path}: the first token and no more");

        let refresh_token = session.current().unwrap().refresh_secret().unwrap().to_owned();
        session.set(Token::new("a-token-of-another-server").unwrap().with_refresh_token(refresh_token)).unwrap();
        assert_eq!(api.status(&client, path).unwrap(), bad, "{path}");
        assert_eq!(session.stats().refreshes - of_good, refreshes, "{path}");
        assert_eq!(session.stats().replays, refreshes, "{path}");
    }
}

#[test]
fn a_bare_401_for_a_missing_scope_costs_one_refresh_and_goes_to_the_caller() {
    let Some(issuer) = Issuer::start(json!({ "ttl": 600 })) else { return };
    let api = Api::start(&issuer);
    let session = issuer.session();
    let client = api.client(&session);
    assert_eq!(api.status(&client, "/notes").unwrap(), 200);
    assert_eq!(api.status(&client, "/unclear").unwrap(), 401);
    assert_eq!(session.stats().refreshes, 2, "the first token, and one more");
    // Whoever insists is stopped by the loop breaker.
    for _ in 0..50 {
        assert_eq!(api.status(&client, "/unclear").unwrap(), 401);
    }
    let stats = session.stats();
    assert!(stats.refreshes <= 6 && stats.ignored_refusals >= 40, "{stats:?}");
    assert_eq!(issuer.counts().refreshes(), stats.refreshes);
}

#[test]
fn bodies_are_sent_again_with_the_next_token() {
    let Some(issuer) = Issuer::start(json!({ "ttl": 600 })) else { return };
    let api = Api::start(&issuer);
    let session = issuer.session();
    let refresh_token = session.token().unwrap().refresh_secret().unwrap().to_owned();
    session.set(Token::new("a-token-of-another-server").unwrap().with_refresh_token(refresh_token)).unwrap();
    let answer = api.client(&session).post(api.url("/notes/write")).send("a note").unwrap();
    assert_eq!((answer.status().as_u16(), session.stats().replays), (200, 1));
}
