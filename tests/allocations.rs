//! What the hot path takes from the heap, in a process of its own: the counting allocator is the process's.
#![cfg(not(all(windows, target_env = "gnu")))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use allocation_counter::measure;
use ureq_auth::{Session, SourceError, Token};

#[cfg(feature = "ureq")]
#[path = "it/server.rs"]
mod server;

fn session() -> Session {
    Session::new(|_: Option<&Token>| -> Result<Token, SourceError> {
        Ok(Token::new("a-token")?.with_expires_in(Duration::from_secs(3600)))
    })
    .unwrap()
}

#[test]
fn a_fresh_token_costs_no_allocation() {
    let session = session();
    assert!(measure(|| drop(session.token().unwrap())).count_total > 0, "the first one is fetched, and is counted");
    assert_eq!(measure(|| drop(session.token().unwrap())).count_total, 0);
}

#[cfg(feature = "ureq")]
mod client {
    use ureq_auth::Client;

    use super::server::{Answer, Server};
    use super::{measure, session};

    #[test]
    fn a_get_costs_at_most_two_allocations_more_than_by_plain_ureq() {
        let server = Server::start(|_| Answer::ok("ok"));
        let url = format!("{}/x", server.origin());
        let client = Client::new(session(), &server.origin()).unwrap();
        let plain = ureq::Agent::new_with_defaults();
        // The fewest of several: others open a connection, or have a buffer grow.
        let fewest = |get: &dyn Fn()| (0..10).map(|_| measure(get).count_total).min().unwrap();
        let by_plain = fewest(&|| {
            plain
                .get(&url)
                .header("authorization", "Bearer a-token")
                .call()
                .unwrap()
                .body_mut()
                .read_to_string()
                .unwrap();
        });
        let by_client = fewest(&|| {
            client.get(&url).call().unwrap().body_mut().read_to_string().unwrap();
        });
        assert!(by_client <= by_plain + 2, "{by_client} allocations, plain ureq {by_plain}");
    }
}
