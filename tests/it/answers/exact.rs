//! A server that allows a refresh in the last 30 seconds of a token's 600 only, and says `access_denied` before.

use std::sync::atomic::AtomicU64;

use ureq_auth::{Policy, Token};

use super::*;
use crate::support::{crowd, millis};

const LIFE: Duration = secs(600);

#[test]
fn a_server_that_forbids_early_refreshes_costs_no_call_an_error_with_the_default_policy() {
    for seed in 0..3 {
        let clock = ManualClock::new(Some(secs(WALL)));
        let begin = clock.now();
        // When the server has issued the last token, and how often it has said no.
        let (issued, refused) = (Arc::new(AtomicU64::new(0)), Arc::<AtomicUsize>::default());
        let (now, last, refusing) = (clock.clone(), Arc::clone(&issued), Arc::clone(&refused));
        let endpoint = Server::start(move |_| {
            // It is slow, too.
            now.advance(millis(400));
            let (at, last_at) = (now.now().since(begin), Duration::from_millis(last.load(Ordering::SeqCst)));
            if at - last_at < LIFE - secs(30) {
                refusing.fetch_add(1, Ordering::SeqCst);
                let body = r#"{"error":"access_denied","error_description":"access_token not expired"}"#;
                return json(400, body);
            }
            last.store(at.as_millis() as u64, Ordering::SeqCst);
            json(200, r#"{"access_token":"new","refresh_token":"next","expires_in":"600","token_type":"bearer"}"#)
        });
        // An API that knows when the token ends.
        let (now, last) = (clock.clone(), Arc::clone(&issued));
        let api = Server::start(move |_| {
            let age = now.now().since(begin) - Duration::from_millis(last.load(Ordering::SeqCst));
            if age < LIFE { Answer::ok("fine") } else { Answer::refused() }
        });
        let store = MemoryStore::new();
        let session = Session::builder(RefreshToken::after_login(endpoint.url("/token"), CLIENT_ID))
            .store(store)
            .clock(clock.clone())
            .policy(Policy::new().with_jitter_seed(seed))
            .build()
            .unwrap();
        session.set(Token::new("first").unwrap().with_refresh_token("r").with_expires_in(LIFE)).unwrap();
        let client = Client::builder(session).origin(api.origin()).configure(plain_statuses).build().unwrap();
        for second in (0..1500).step_by(2) {
            let (client, url) = (client.clone(), api.url("/"));
            // Now and then, several at once.
            let threads = if second % 50 == 49 { 8 } else { 1 };
            let statuses = crowd(threads, move |_| client.get(&url).call().map(|answer| answer.status())).gather();
            for status in statuses {
                assert_eq!(status.unwrap_or_else(|error| panic!("{seed}, second {second}: {error}")), 200);
            }
            clock.advance(secs(2));
        }
        assert_eq!(client.session().stats().refreshes, 2, "{seed}");
        assert!(api.told().iter().all(|told| told.ends_with(" first") || told.ends_with(" new")), "{seed}");
        let refused = refused.load(Ordering::SeqCst);
        assert!((2..20).contains(&refused), "{seed}: {refused} attempts while it was forbidden");
    }
}
