//! 64 threads with 20 calls each, at a token that has expired, and a token endpoint whose answer is lost, slow or no token.

use std::sync::atomic::AtomicBool;

use ureq_auth::{ErrorKind, Policy, Token};

use super::*;
use crate::support::{MANY, Seen, crowd, millis};

/// How many times each thread calls.
const CALLS: usize = 20;

/// A token endpoint that rotates, whose first answer is lost: whatever it has sent, it has spent `r1`. `grace`: does it give the
/// same token for `r1` once more?
struct Rotating {
    endpoint: Server,
    api: Server,
    clock: ManualClock,
    store: MemoryStore,
    watch: Watch,
    client: Client,
}

impl Rotating {
    fn new(lost: &Answer, grace: bool) -> Self {
        Self::with(lost, grace, Duration::ZERO)
    }

    /// Each answer takes `takes` by the session's clock.
    fn with(lost: &Answer, grace: bool, takes: Duration) -> Self {
        let (clock, watch, store) = (ManualClock::new(Some(secs(WALL))), Watch::default(), MemoryStore::new());
        let (lost, is_first, slow, waiting) = (lost.clone(), AtomicBool::new(true), clock.clone(), watch.clone());
        let endpoint = Server::start(move |seen| {
            let is_first = is_first.swap(false, Ordering::SeqCst);
            if is_first {
                // All of them are in the flight.
                waiting.await_waiters(MANY - 1);
            }
            slow.advance(takes);
            let text = seen.text();
            match (is_first, text.split('&').find_map(|field| field.strip_prefix("refresh_token="))) {
                (true, Some("r1")) => lost.clone(),
                (false, Some("r1")) if grace => issue("a2", "r2"),
                (false, Some("r2")) => issue("a3", "r3"),
                (false, Some("r1")) => json(400, r#"{"error":"invalid_grant","error_description":"reuse"}"#),
                other => panic!("{other:?}"),
            }
        });
        let api = Server::start(|seen| match seen.bearer() {
            Some(token @ ("a2" | "a3")) => Answer::ok(token),
            _ => Answer::refused(),
        });
        let noting = watch.clone();
        // The default policy, as everybody has it.
        let session = Session::builder(RefreshToken::after_login(endpoint.url("/token"), CLIENT_ID))
            .store(store.clone())
            .clock(clock.clone())
            .policy(Policy::new().with_jitter_seed(7))
            .observer(move |event| noting.note(event))
            .build()
            .unwrap();
        session.set(Token::new("a1").unwrap().with_refresh_token("r1").with_expires_in(LIFE)).unwrap();
        let client = Client::builder(session).origin(api.origin()).configure(plain_statuses).build().unwrap();
        clock.advance(LIFE);
        Rotating { endpoint, api, clock, store, watch, client }
    }

    /// The answers of all calls of all threads.
    fn storm(&self) -> Vec<Result<String, Error>> {
        let (client, url) = (self.client.clone(), self.api.url("/"));
        let call = move || match client.get(&url).call() {
            Ok(mut answer) => Ok(answer.body_mut().read_to_string().unwrap()),
            Err(error) => Err(Error::in_ureq(&error).expect("an error of ours").clone()),
        };
        let answers = crowd(MANY, move |_| (0..CALLS).map(|_| call()).collect::<Vec<_>>()).gather();
        answers.into_iter().flatten().collect()
    }

    fn assert_all_answered(&self, by: &str, calls: usize, what: &str) {
        let answers = self.storm();
        assert_eq!(answers.len(), 1280);
        for answer in answers {
            assert_eq!(answer.unwrap_or_else(|error| panic!("{what}: {error}")), by, "{what}");
        }
        assert_eq!(self.endpoint.count(), calls, "{what}");
        assert_eq!(self.api.count(), 1280, "{what}: each call went out once");
        assert_eq!(self.watch.count(|seen| matches!(seen, Seen::RefreshFailed(_))), 0, "{what}");
    }

    fn stored(&self) -> String {
        self.store.load().unwrap().expect("nothing empties it").to_text().to_string()
    }
}

/// Answers that are lost, or cannot be read.
fn lost() -> [(&'static str, Answer); 7] {
    [
        ("closed", cut_after("")),
        ("cut in the head", cut_after("HTTP/1.1 200 OK\r\nContent-Ty")),
        ("cut in the body", cut_after("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"access_token\":\"a2\",\"refr")),
        ("garbage", cut_after("SSH-2.0-server\r\n")),
        ("HTML", html(200)),
        ("empty", Answer::new(200)),
        ("JSON of another kind", json(200, r#"{"status":"ok"}"#)),
    ]
}

#[test]
fn one_lost_answer_on_a_server_with_grace_is_nobodys_error() {
    for (what, answer) in lost() {
        let world = Rotating::new(&answer, true);
        world.assert_all_answered("a2", 2, what);
        assert_eq!(member(&world.stored(), "refresh_token").as_deref(), Some("r2"), "{what}");
    }
}

#[test]
fn one_lost_answer_on_a_server_without_grace_is_one_reuse_and_one_verdict() {
    for (what, answer) in lost() {
        let world = Rotating::new(&answer, false);
        let errors: Vec<Error> = world.storm().into_iter().map(Result::unwrap_err).collect();
        assert_eq!(errors.len(), 1280);
        for error in &errors {
            assert_eq!(error.to_string(), errors[0].to_string(), "{what}");
            assert_eq!((error.kind(), error.code()), (ErrorKind::Rejected, Some("invalid_grant")), "{what}");
            assert_agrees(error, what);
        }
        assert_eq!((world.endpoint.count(), world.api.count()), (2, 0), "{what}: one reuse");
        let stored = world.stored();
        let kept = (member(&stored, "access_token"), member(&stored, "refresh_token"));
        assert_eq!(kept, both("a1", "r1"), "{what}: it is set aside, not deleted");
        assert_eq!(member(&stored, "refused_code").as_deref(), Some("invalid_grant"), "{what}");
        // No time heals it, and nothing more is sent.
        world.clock.advance(secs(100_000));
        assert_eq!(world.client.session().token().unwrap_err().to_string(), errors[0].to_string(), "{what}");
        assert_eq!(world.endpoint.count(), 2, "{what}");
    }
}

/// The refresh token is used twice at most, whatever comes after it.
#[test]
fn an_answer_cut_behind_the_new_refresh_token_costs_no_login_even_without_grace() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n";
    let cut = cut_after(format!(r#"{head}{{"access_token":"a2","refresh_token":"r2","expires_"#));
    let world = Rotating::new(&cut, false);
    world.assert_all_answered("a3", 2, "cut behind the refresh token");
    assert_eq!(member(&world.stored(), "refresh_token").as_deref(), Some("r3"));
}

/// Twelve seconds pass on the session's clock while the endpoint answers; that ureq would wait for so long is a test beside the
/// endpoint (`a_request_may_take_most_of_the_flights_time`).
#[test]
fn a_slow_answer_is_nobodys_error() {
    let slow = issue("a2", "r2");
    let world = Rotating::with(&slow, false, secs(12));
    world.assert_all_answered("a2", 1, "slow");
    // Two of them, the first of which is lost, fit into a flight and into everybody's waiting time.
    for (what, answer) in lost() {
        let world = Rotating::with(&answer, true, secs(12));
        world.assert_all_answered("a2", 2, what);
    }
}

#[test]
fn a_pause_of_two_seconds_is_waited_out_by_all() {
    // A refusal without a reason is not repeated in its flight: whoever comes during the pause sits it out.
    let world = Rotating::new(&html(403), true);
    let session = world.client.session().clone();
    let first = crowd(MANY, move |_| session.token().map(|token| token.secret().to_owned())).gather();
    assert!(first.iter().all(|heard| heard.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unavailable)));
    let begin = world.clock.now();
    world.assert_all_answered_now("a2");
    assert!(world.clock.now().since(begin) <= secs(1) && world.clock.now().since(begin) >= millis(500));
    assert_eq!(world.endpoint.count(), 2);
}

impl Rotating {
    fn assert_all_answered_now(&self, by: &str) {
        let answers = self.storm();
        assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|token| token == by)), "{answers:?}");
    }
}
