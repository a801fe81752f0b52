//! Many processes, one token file, and a server that rotates refresh tokens and ends the login when one comes twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../examples/storm/server.rs"]
mod server;
mod worker;

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use server::{Options, Server};
use ureq_auth::oauth2::RefreshToken;
use ureq_auth::{Client, FileStore, Session};
use worker::Worker;

const PROCESSES: usize = 8;
const THREADS: usize = 8;
const EXPIRIES: u64 = 20;
const LIFE: Duration = Duration::from_millis(600);

#[test]
fn one_token_call_per_expiry_for_all_processes() {
    let server = Server::start(Options {
        life: LIFE,
        // The client refreshes in the last fifth, but counts the life from before its request, and sixty-four threads on
        // few processors may hold that up. Two calls for one expiry would come within a moment, and not half a life apart.
        early: LIFE / 2,
        // Long enough for every other process to find the token due meanwhile.
        refresh_delay: Duration::from_millis(30),
        think: Duration::from_millis(40),
        ..Options::default()
    })
    .unwrap();
    let place = worker::Place::new("processes");
    let path = place.path().join("token.json");
    let first = server.refresh_token();
    // All of them start with the same refresh token, of which one use is the only one there is.
    let mut workers: Vec<Worker> = (0..PROCESSES)
        .map(|number| {
            let (path, number) = (path.to_str().unwrap(), number.to_string());
            Worker::start(&[&number, path, &server.api_url(), &server.token_url(), &first])
        })
        .collect();
    let mut revoked = false;
    while server.counts().refreshes <= EXPIRIES {
        // Not a wait for something: the pace at which the count is looked at.
        thread::sleep(Duration::from_millis(20));
        if !revoked && server.counts().refreshes > EXPIRIES / 2 {
            revoked = server.revoke();
        }
        assert_eq!(server.counts().invalid_grant, 0);
    }
    workers.iter_mut().for_each(Worker::stop);
    let (mut answered, mut adopted, mut refreshed) = (0, 0, 0);
    for mut worker in workers {
        let report = worker.says().expect("a worker failed");
        let numbers: Vec<u64> = report.split(' ').map(|number| number.parse().unwrap()).collect();
        answered += numbers[0];
        adopted += numbers[1];
        refreshed += numbers[2];
        assert!(worker.end());
    }
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
    assert!(counts.expiries + counts.replaced_after_revocation >= EXPIRIES);
    assert_eq!(counts.revocations, 1);
    assert_eq!((counts.accepted, counts.doubled, counts.out_of_order), (answered, 0, 0));
    // The others took it from the file: all of them, but for those who were stopped before they needed it.
    assert!(adopted >= (counts.refreshes - 1) * (PROCESSES as u64 - 1), "{adopted}");
}

/// Calls until it is told to stop.
#[test]
fn worker() {
    let Some(arguments) = worker::arguments() else { return };
    let [number, path, api, token_url, first] = &arguments[..] else { panic!("{} arguments", arguments.len()) };
    let number: usize = number.parse().unwrap();
    let source = RefreshToken::new(token_url, "storm", first);
    let session = Session::builder(source).store(FileStore::new(path)).build().unwrap();
    let client = Client::new(session, api).unwrap();
    let stop = worker::told_to_stop();
    let answered = AtomicU64::new(0);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (client, stop, answered) = (&client, &stop, &answered);
            scope.spawn(move || {
                for call in 1.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let url = format!("{api}/call/{}/{call}", number * THREADS + thread);
                    let answer = client.get(url).call().unwrap();
                    assert_eq!(answer.status(), 200);
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    let stats = client.session().stats();
    worker::say(&format!("{} {} {}", answered.into_inner(), stats.adopted, stats.refreshes));
}
