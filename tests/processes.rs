//! Many processes, one token file, and a server that rotates refresh tokens and ends the login when one comes twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../examples/storm/server.rs"]
mod server;
mod worker;

use std::io::Write as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use server::{Options, Server};
use ureq::http::{Request, Response};
use ureq::middleware::MiddlewareNext;
use ureq::{Body, SendBody};
use ureq_auth::oauth2::RefreshToken;
use ureq_auth::{
    Client, Error, ErrorKind, FileStore, ManualClock, Policy, Session, SourceError, Token, TokenStore as _,
};
use worker::{Crew, Worker};

const PROCESSES: usize = 8;
const THREADS: usize = 8;
const EXPIRIES: u64 = 20;
/// Long enough for a call to reach the server with a token that was young, on a busy machine as well.
const LIFE: Duration = Duration::from_secs(1);
/// Nothing here takes this long unless something hangs.
const LONG: Duration = Duration::from_secs(60);

#[test]
fn one_token_call_per_expiry_for_all_processes() {
    let server = Server::start(Options {
        life: LIFE,
        // The client refreshes in the last fifth, counted from a moment before its request says when it asked, and sixty-four
        // threads on few processors may come in between. Two calls for one expiry would come within a moment, and not half a
        // life apart.
        early: LIFE / 2,
        // Long enough for every other process to find the token due meanwhile.
        refresh_delay: Duration::from_millis(30),
        // So that the processors have time to spare: sixty-four threads without a pause would keep each other waiting.
        think: Duration::from_millis(150),
        ..Options::default()
    })
    .unwrap();
    let place = worker::Place::new("processes");
    let path = place.path().join("token.json");
    let first = server.refresh_token();
    // All of them start with the same refresh token, of which one use is the only one there is.
    let workers = (0..PROCESSES).map(|number| {
        let (path, number) = (path.to_str().unwrap(), number.to_string());
        Worker::start(&["call", path, &server.api_url(), &server.token_url(), &first, &number])
    });
    // None of them has a token, and all want one at once.
    let crew = Crew::start(workers.collect());
    let mut revoked = false;
    // The first one and the one for the revoked token besides.
    for number in 1..=EXPIRIES + 2 {
        assert!(crew.refreshes_within(LONG), "no process refreshes any more");
        if !revoked && number > EXPIRIES / 2 {
            revoked = server.revoke();
        }
        assert_eq!(server.counts().invalid_grant, 0);
    }
    let [answered, adopted, refreshed] = crew.end();
    let counts = server.counts();
    let report = format!(
        "\n{PROCESSES} processes x {THREADS} threads, {} expiries, {} revocation: {} token calls, {} needed, {} at once, {} \
         invalid_grant; {answered} calls answered, {} refused and repeated; {adopted} times a token was adopted\n",
        counts.expiries,
        counts.revocations,
        counts.token_calls,
        counts.refreshes_needed,
        counts.token_calls_at_once,
        counts.invalid_grant,
        counts.refused,
    );
    std::io::stderr().write_all(report.as_bytes()).unwrap();
    assert_eq!(counts.token_calls, counts.refreshes, "every token call brought a token");
    assert_eq!(counts.refreshes, counts.refreshes_needed, "none was for a token that another process had replaced");
    assert_eq!((counts.token_calls_at_once, counts.invalid_grant), (1, 0), "and so no refresh token was used twice");
    assert_eq!(counts.refreshes, refreshed, "each is known to the session that made it");
    assert!(counts.expiries >= EXPIRIES);
    assert_eq!((counts.revocations, counts.replaced_after_revocation), (1, 1));
    assert_eq!((counts.accepted, counts.doubled, counts.out_of_order), (answered, 0, 0));
    // The others took it from the file: all of them, but for those that got no processor for as long as it lived.
    assert!(adopted >= counts.refreshes, "{adopted}");
}

#[test]
fn a_process_that_hangs_in_the_section_costs_the_others_their_deadline_and_no_token_call() {
    let place = worker::Place::new("hangs");
    let path = place.path().join("token.json");
    let (clock, calls) = (ManualClock::new(Some(Duration::from_secs(1_800_000_000))), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&calls);
    let source = move |_: Option<&Token>| -> Result<Token, SourceError> {
        let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
        Ok(Token::new(format!("a{number}"))?.with_refresh_token("r").with_expires_in(Duration::from_secs(100)))
    };
    let policy = Policy::new().with_budget(Duration::from_millis(50)).with_jitter_seed(1);
    let store = FileStore::new(&path);
    let session = Session::builder(source).store(store).clock(clock.clone()).policy(policy).build().unwrap();
    assert_eq!(session.token().unwrap().secret(), "a1");

    let mut hanging = Worker::start(&["hang", path.to_str().unwrap()]);
    assert_eq!(hanging.says().as_deref(), Some("ready"));
    clock.advance(Duration::from_secs(90));
    assert_eq!(session.token().unwrap().secret(), "a1", "due, but it lives");
    clock.advance(Duration::from_secs(90));
    let error = session.token().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("token.json.lock"), "{error}");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    // A look into the store needs no lock.
    assert!(FileStore::new(&path).load().unwrap().is_some());

    hanging.kill();
    clock.advance(Duration::from_secs(90));
    assert_eq!(session.token().unwrap().secret(), "a2", "the lock has gone with the process");
}

#[test]
fn a_restart_with_a_wrong_clock_costs_one_token_call_at_most() {
    let server = Server::start(Options { life: Duration::from_secs(600), ..Options::default() }).unwrap();
    let place = worker::Place::new("clocks");
    let (path, first) = (place.path().join("token.json"), server.refresh_token());
    let arguments = ["call once", path.to_str().unwrap(), &server.api_url(), &server.token_url(), &first];
    let calls = |clock: Option<&str>| {
        let worker = match clock {
            Some(clock) => {
                let mut faketime = Command::new("faketime");
                // The clock that waits are reckoned with is right everywhere.
                faketime.args(["-f", clock]).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
                Worker::under(faketime, &arguments)
            }
            None => Worker::start(&arguments),
        };
        let said = worker.all();
        (said.iter().filter(|line| *line == worker::REFRESHED).count(), said.last().unwrap().clone())
    };
    let (refreshes, now) = calls(None);
    assert_eq!((refreshes, now.split(' ').next()), (1, Some("200")));
    if !Command::new("faketime").arg("--version").output().is_ok_and(|output| output.status.success()) {
        let text = "\nSKIPPED: there is no faketime here, so nothing was shown about a restart with a wrong clock\n";
        std::io::stderr().write_all(text.as_bytes()).unwrap();
        return;
    }
    // A device without a battery: the token is used, for nothing is known against it.
    assert_eq!(calls(Some("@1970-01-02 00:00:00")), (0, "200 in 1970".to_owned()));
    // It has expired long ago, as it seems, and is replaced before it is used.
    assert_eq!(calls(Some("+4000d")).0, 1);
    // That one came in years to come, as it seems.
    assert_eq!(calls(None), (0, now.clone()));
    assert_eq!(calls(Some("@1970-01-02 00:00:00")).0, 0);
    // Dead, which nobody's clock can tell in 1970.
    assert!(server.revoke());
    assert_eq!(calls(Some("@1970-01-02 00:00:00")).0, 1);
    // That one is half a century old, as it seems.
    assert_eq!(calls(None), (1, now.clone()));
    assert_eq!(calls(None), (0, now));
    assert_eq!((server.counts().token_calls, server.counts().invalid_grant), (4, 0));
}

#[test]
fn all_processes_on_a_file_hear_the_same_verdict_and_the_server_is_asked_once() {
    let server = Server::start(Options { life: Duration::from_secs(600), ..Options::default() }).unwrap();
    let place = worker::Place::new("verdict");
    let path = place.path().join("token.json");
    let first = server.refresh_token();
    let (path_text, api, token_url) = (path.to_str().unwrap(), server.api_url(), server.token_url());
    let once = Worker::start(&["call once", path_text, &api, &token_url, &first]).all();
    assert_eq!(once.first().map(String::as_str), Some(worker::REFRESHED));
    let stored = || FileStore::new(&path).load().unwrap().expect("the stored token is gone").to_text();
    let before = stored();

    let start = || Worker::start(&["hear", path_text, &api, &token_url, &first]);
    let mut workers: Vec<_> = (0..4).map(|_| start()).collect();
    for worker in &mut workers {
        assert_eq!(worker.says().as_deref(), Some("ready"));
    }
    server.end_logins();
    workers.iter_mut().for_each(Worker::go);
    let heard: Vec<_> = workers.into_iter().map(Worker::all).collect();
    let verdict = &heard[0][0];
    assert!(verdict.starts_with("Rejected, invalid_grant, a login is required: "), "{verdict}");
    assert!(verdict.contains("the login has ended") && verdict.contains("token.json"), "{verdict}");
    assert!(heard.iter().all(|other| *other == [&**verdict; 2]), "not all hear the same, each time: {heard:#?}");
    let asked = || (server.counts().token_calls, server.counts().invalid_grant);
    assert_eq!(asked(), (2, 1), "one refresh, and one that was refused");

    // One that starts later has the refresh token that it was given, and asks with that, once: it may be a new one.
    let mut late = start();
    assert_eq!(late.says().as_deref(), Some("ready"));
    late.go();
    let late = late.all();
    assert!(late[0].starts_with("Rejected, invalid_grant, a login is required: ") && late[1] == late[0], "{late:#?}");
    assert_eq!(asked(), (3, 2));

    // It is all there, and marked.
    let members = |text: &str| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).unwrap();
    let mut after = members(&stored());
    assert!(after.remove("refused").is_some_and(|text| text.as_str().unwrap().contains("the login has ended")));
    assert_eq!(after.remove("refused_code").unwrap(), "invalid_grant");
    assert_eq!(after, members(&before));
}

#[test]
fn worker() {
    let Some(arguments) = worker::arguments() else { return };
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["hang", path] => hang(path),
        ["call", path, api, token_url, first, number] => {
            call(&client(path, api, token_url, first), api, number.parse().unwrap());
        }
        ["call once", path, api, token_url, first] => call_once(&client(path, api, token_url, first), api),
        ["hear", path, api, token_url, first] => hear(&client(path, api, token_url, first), api),
        _ => panic!("{arguments:?}"),
    }
}

/// Stays in the section until it is told to go on.
fn hang(path: &str) {
    let store = FileStore::new(path);
    let _inside = store.exclusive(LONG).unwrap();
    worker::ready();
}

fn client(path: &str, api: &str, token_url: &str, first: &str) -> Client {
    let source = RefreshToken::new(token_url, "storm", first).configure(|config| config.middleware(say_when));
    let session = Session::builder(source).store(FileStore::new(path)).observer(worker::observe).build().unwrap();
    Client::new(session, api).unwrap()
}

/// A request may be long on its way to the server, which judges by this whether it was made too early.
fn say_when(mut request: Request<SendBody<'_>>, next: MiddlewareNext<'_>) -> Result<Response<Body>, ureq::Error> {
    let asked_at = worker::nanos().to_string();
    request.headers_mut().insert(server::endpoint::ASKED_AT, asked_at.parse().unwrap());
    next.handle(request)
}

fn call_once(client: &Client, api: &str) {
    let answer = client.get(format!("{api}/anything")).call().unwrap();
    let year = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / (365 * 24 * 3600);
    worker::say(&format!("{} in {}", answer.status().as_u16(), 1970 + year));
}

/// Says what two calls are told by the session.
fn hear(client: &Client, api: &str) {
    if !worker::ready() {
        return;
    }
    for _ in 0..2 {
        let error = client.get(format!("{api}/anything")).call().unwrap_err();
        let error = Error::in_ureq(&error).unwrap_or_else(|| panic!("not the session's word: {error}"));
        let login = if error.is_login_required() { "a login is required" } else { "no login is required" };
        worker::say(&format!("{:?}, {}, {login}: {error}", error.kind(), error.code().unwrap_or("no code")));
    }
}

/// Calls until it is told to stop.
fn call(client: &Client, api: &str, number: usize) {
    if !worker::ready() {
        return;
    }
    let stop = worker::told_to_stop();
    let answered = AtomicU64::new(0);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (stop, answered) = (&stop, &answered);
            scope.spawn(move || {
                let mut refused_twice = false;
                for call in 1.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let url = format!("{api}/call/{}/{call}", number * THREADS + thread);
                    let mut answer = client.get(&url).call();
                    // One that was too late with its token and then met the one that is revoked: a client sends again once.
                    if matches!(answer, Err(ureq::Error::StatusCode(401))) && !refused_twice {
                        refused_twice = true;
                        answer = client.get(&url).call();
                    }
                    assert_eq!(answer.unwrap().status(), 200);
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    let stats = client.session().stats();
    worker::say(&format!("{} {} {}", answered.into_inner(), stats.adopted, stats.refreshes));
}
