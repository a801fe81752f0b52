//! A new token that an API does not know yet: who waits, for how long, and who does not.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ureq_auth::{Client, Clock, ErrorKind, Event, ManualClock, NotReplayed, Policy, Session, SourceError, Token};

use crate::client::{kind, plain_statuses};
use crate::server::{Answer, Server};
use crate::support::{millis, secs};

/// A session on a manual clock, of which a pause takes no time, and all that it tells.
fn scene(server: &Server, policy: Policy, life: Duration) -> (Client, ManualClock, Arc<Mutex<Vec<String>>>) {
    let clock = ManualClock::new(None);
    let calls = AtomicUsize::new(0);
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    let session = Session::builder(move |_: Option<&Token>| -> Result<Token, SourceError> {
        let number = calls.fetch_add(1, Ordering::SeqCst) + 1;
        Ok(Token::new(format!("t{number}"))?.with_expires_in(life))
    })
    .clock(clock.clone())
    .policy(policy)
    .observer(move |event| {
        if let Event::TokenLag { generation, pause } = event {
            telling.lock().unwrap().push(format!("{generation} {}", pause.as_millis()));
        }
    })
    .build()
    .unwrap();
    let client = Client::builder(session).origin(server.origin()).configure(plain_statuses).build().unwrap();
    (client, clock, told)
}

/// The same with a client that keeps no body.
fn once(server: &Server) -> (Client, ManualClock, Arc<Mutex<Vec<String>>>) {
    let (client, clock, told) = scene(server, Policy::new(), secs(3600));
    let builder = Client::builder(client.session().clone()).origin(server.origin()).replay_limit(0);
    (builder.configure(plain_statuses).build().unwrap(), clock, told)
}

fn lines(told: &Mutex<Vec<String>>) -> Vec<String> {
    std::mem::take(&mut *told.lock().unwrap())
}

#[test]
fn a_new_token_that_is_refused_is_sent_again_after_a_pause_and_each_pause_is_told() {
    let refused = (0..3).map(|_| Answer::refused());
    let server = Server::script(refused.chain([Answer::ok("fine")]));
    let (client, _, told) = scene(&server, Policy::new(), secs(3600));
    assert_eq!(client.post(server.url("/")).send("body").unwrap().status(), 200);
    assert_eq!(lines(&told), ["1 100", "1 200", "1 400"]);
    assert_eq!(server.told(), ["POST / Bearer t1"; 4]);
    assert!(server.seen().iter().all(|seen| seen.text() == "body"));
    let stats = client.session().stats();
    assert_eq!((stats.refreshes, stats.token_lags, stats.time_lagged, stats.replays), (1, 3, millis(700), 0));
}

#[test]
fn a_token_that_stays_refused_is_replaced_and_the_call_waits_two_seconds_in_all() {
    let server = Server::start(|seen| if seen.bearer() == Some("t3") { Answer::ok("") } else { Answer::refused() });
    let (client, clock, told) = scene(&server, Policy::new(), secs(3600));
    let begin = clock.now();
    assert_eq!(client.get(server.url("/")).call().unwrap().status(), 401);
    assert_eq!(lines(&told), ["1 100", "1 200", "1 400", "1 800", "1 500"]);
    assert_eq!(clock.now().since(begin), secs(2));
    // The next token was refused too, but nobody has waited for that yet.
    assert_eq!(client.get(server.url("/")).call().unwrap().status(), 200);
    assert_eq!(lines(&told), ["2 100", "2 200", "2 400", "2 800", "2 500"]);
}

/// What docs/apis.md and `ClientBuilder::refused_if` say of a rule on a 2xx.
#[test]
fn a_post_whose_success_a_rule_refuses_goes_out_seven_times_at_most_and_once_more_with_the_previous_token() {
    let server = Server::start(|seen| if seen.target == "/begin" { Answer::ok("") } else { Answer::ok("expired") });
    let (client, clock, _) = scene(&server, Policy::new(), secs(3600));
    let builder = Client::builder(client.session().clone()).origin(server.origin());
    let client = builder.refused_if(|answer| answer.body() == b"expired").build().unwrap();
    let sent_by = |path: &str| {
        let before = server.count();
        assert_eq!(client.post(server.url(path)).send("body").unwrap().status(), 200);
        server.count() - before
    };
    assert_eq!(sent_by("/a-new-token"), 7);
    // The second token was accepted once, and a third one comes ahead of time.
    assert_eq!(sent_by("/begin"), 1);
    clock.advance(secs(3400));
    assert_eq!(sent_by("/a-token-ahead-of-time"), 8);
}

#[test]
fn the_token_of_the_replay_may_lag_too() {
    let answers = [Answer::ok(""), Answer::refused(), Answer::refused(), Answer::refused(), Answer::ok("")];
    let server = Server::script(answers);
    let (client, _, told) = scene(&server, Policy::new(), secs(3600));
    for _ in 0..2 {
        assert_eq!(client.get(server.url("/")).call().unwrap().status(), 200);
    }
    assert_eq!(lines(&told), ["2 100", "2 200"]);
    assert_eq!(client.session().stats().refreshes, 2);
}

#[test]
fn a_revoked_token_is_replaced_at_once_without_a_pause_or_another_request() {
    let server = Server::script([Answer::ok(""), Answer::refused(), Answer::ok("")]);
    let (client, clock, told) = scene(&server, Policy::new(), secs(3600));
    let begin = clock.now();
    for _ in 0..2 {
        assert_eq!(client.get(server.url("/")).call().unwrap().status(), 200);
    }
    assert_eq!(server.told(), ["GET / Bearer t1", "GET / Bearer t1", "GET / Bearer t2"]);
    assert_eq!((lines(&told).len(), clock.now()), (0, begin));
}

#[test]
fn a_token_that_is_not_new_is_replaced_at_once() {
    let server = Server::script([Answer::refused(), Answer::ok("")]);
    let (client, clock, told) = scene(&server, Policy::new(), secs(3600));
    client.session().token().unwrap();
    clock.advance(secs(5));
    assert_eq!(client.get(server.url("/")).call().unwrap().status(), 200);
    assert_eq!(server.told(), ["GET / Bearer t1", "GET / Bearer t2"]);
    assert_eq!(lines(&told).len(), 0);
}

#[test]
fn it_can_be_switched_off_and_is_where_refreshing_after_a_refusal_is() {
    for policy in [Policy::new().with_token_lag(Duration::ZERO), Policy::new().with_reactive(false)] {
        let refreshes = policy.reactive();
        let server = Server::start(|_| Answer::refused());
        let (client, clock, told) = scene(&server, policy, secs(3600));
        let begin = clock.now();
        assert_eq!(client.get(server.url("/")).call().unwrap().status(), 401);
        assert_eq!((lines(&told).len(), clock.now(), server.count()), (0, begin, 1 + usize::from(refreshes)));
    }
    assert_eq!(Policy::new().token_lag(), secs(2));
    assert_eq!(Policy::new().with_token_lag(secs(1)).token_lag(), secs(1));
}

#[test]
fn after_a_refresh_ahead_of_time_the_previous_token_serves() {
    let server = Server::start(|seen| match seen.bearer() {
        Some("t2") => Answer::refused(),
        _ => Answer::ok("fine"),
    });
    let (client, clock, told) = scene(&server, Policy::new(), secs(3600));
    assert_eq!(client.get(server.url("/")).call().unwrap().status(), 200);
    clock.advance(secs(3400));
    let begin = clock.now();
    for _ in 0..3 {
        assert_eq!(client.get(server.url("/")).call().unwrap().status(), 200);
    }
    assert_eq!(server.told()[1..], ["GET / Bearer t2", "GET / Bearer t1"].repeat(3));
    assert_eq!((lines(&told), clock.now()), (vec!["2 0".to_owned(); 3], begin));
    assert_eq!(client.session().stats().refreshes, 2);
}

#[test]
fn a_previous_token_that_is_refused_as_well_is_tried_once() {
    // The new one was accepted before: that is a revocation.
    let server = Server::start(|seen| match (seen.bearer(), seen.target.as_str()) {
        (Some("t1"), "/first") | (Some("t2"), "/known") | (Some("t3"), _) => Answer::ok(""),
        _ => Answer::refused(),
    });
    let (client, clock, told) = scene(&server, Policy::new(), secs(3600));
    client.get(server.url("/first")).call().unwrap();
    clock.advance(secs(3400));
    let begin = clock.now();
    for path in ["/known", "/other", "/other"] {
        assert_eq!(client.get(server.url(path)).call().unwrap().status(), 200);
    }
    let sent = ["GET /other Bearer t2", "GET /other Bearer t1", "GET /other Bearer t3", "GET /other Bearer t3"];
    assert_eq!(server.told()[2..], sent);
    assert_eq!((lines(&told), clock.now()), (vec!["2 0".to_owned()], begin));
}

#[test]
fn an_api_that_was_seen_to_lag_is_waited_for_whoever_has_had_the_token_accepted() {
    // By the path: how often it refuses each token.
    let refusals = Mutex::new(HashMap::new());
    let server = Server::start(move |seen| {
        let mut refusals = refusals.lock().unwrap();
        let count: &mut usize = refusals.entry((seen.target.clone(), seen.bearer().unwrap().to_owned())).or_default();
        *count += 1;
        let late: usize = seen.target[1..].parse().unwrap();
        if *count <= late { Answer::refused() } else { Answer::ok("") }
    });
    let (client, _, told) = scene(&server, Policy::new(), secs(3600));
    for path in ["/1", "/0", "/2"] {
        assert_eq!(client.get(server.url(path)).call().unwrap().status(), 200);
    }
    assert_eq!(lines(&told), ["1 100", "1 100", "1 200"]);
    assert_eq!(client.session().stats().refreshes, 1);
}

#[test]
fn a_body_that_cannot_be_sent_again_is_marked_after_the_pauses_and_costs_no_token() {
    let server = Server::script([Answer::refused(), Answer::ok("")]);
    let (client, clock, told) = once(&server);
    let begin = clock.now();
    let answer = client.post(server.url("/")).send("body").unwrap();
    assert!(answer.status() == 401 && answer.extensions().get::<NotReplayed>().is_some());
    assert_eq!(clock.now().since(begin), secs(2));
    assert_eq!(client.post(server.url("/")).send("body").unwrap().status(), 200);
    assert_eq!((lines(&told).len(), client.session().stats().refreshes), (5, 1));
}

#[test]
fn and_the_next_one_that_is_refused_is_not_waited_for() {
    let server = Server::script([Answer::refused(), Answer::refused(), Answer::ok("")]);
    let (client, _, told) = once(&server);
    for (pauses, refreshes) in [(5, 1), (0, 2)] {
        let answer = client.post(server.url("/")).send("body").unwrap();
        assert!(answer.status() == 401 && answer.extensions().get::<NotReplayed>().is_some());
        assert_eq!((lines(&told).len(), client.session().stats().refreshes), (pauses, refreshes));
    }
    assert_eq!(client.post(server.url("/")).send("body").unwrap().status(), 200);
}

#[test]
fn with_statuses_as_errors_it_is_the_same() {
    let server = Server::script([Answer::refused(), Answer::refused(), Answer::ok("")]);
    let (client, _, told) = scene(&server, Policy::new(), secs(3600));
    let session = client.session().clone();
    let client = Client::builder(session).origin(server.origin()).build().unwrap();
    assert_eq!(client.get(server.url("/")).call().unwrap().status(), 200);
    assert_eq!(lines(&told), ["1 100", "1 200"]);
}

#[test]
fn a_logout_during_the_pause_ends_the_call() {
    let server = Server::script([Answer::refused()]);
    let ends = Arc::new(Mutex::new(None::<Session>));
    let held = Arc::clone(&ends);
    let session = Session::builder(|_: Option<&Token>| -> Result<Token, SourceError> { Ok(Token::new("t")?) })
        .clock(ManualClock::new(None))
        .observer(move |event| {
            if let Event::TokenLag { .. } = event {
                held.lock().unwrap().take().unwrap().end().unwrap();
            }
        })
        .build()
        .unwrap();
    *ends.lock().unwrap() = Some(session.clone());
    let client = Client::builder(session).origin(server.origin()).configure(plain_statuses).build().unwrap();
    assert_eq!(kind(client.get(server.url("/")).call()), ErrorKind::LoggedOut);
}
