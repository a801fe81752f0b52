//! kill -9 at random points of a process that refreshes without pause: what is on disk afterwards, and who goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "it/server.rs"]
mod server;
mod worker;

use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use server::{Answer, Seen, Server};
use ureq_auth::oauth2::RefreshToken;
use ureq_auth::{ErrorKind, Exclusive, FileStore, Policy, Result, Session, Stored, TokenStore};
use worker::Worker;

/// 200 in CI; `UREQ_AUTH_KILLS=2000 cargo test --release --features file-store --test kill -- --nocapture` for the long run.
fn kills() -> usize {
    std::env::var("UREQ_AUTH_KILLS").map_or(200, |kills| kills.parse().unwrap())
}

/// The authorization server's side: refresh tokens are numbered, and each is good once.
#[derive(Default)]
struct Issuer {
    newest: u64,
    /// When each was issued, since 1970 in nanoseconds.
    issued_at: Vec<u128>,
    /// A token stays good until one that came for it is used: for clients that did not get the answer.
    grace: bool,
    used_last: u64,
    refused: u64,
}

impl Issuer {
    fn answer(&mut self, seen: &Seen) -> Answer {
        let body = seen.text();
        let sent = body.split('&').find_map(|field| field.strip_prefix("refresh_token=rt")).unwrap();
        let sent: u64 = sent.parse().unwrap();
        if !self.is_good(sent) {
            self.refused += 1;
            return Answer::new(400).body(r#"{"error":"invalid_grant"}"#);
        }
        self.used_last = sent;
        let newest = self.issue();
        Answer::ok(format!(
            r#"{{"access_token":"at{newest}","token_type":"bearer","refresh_token":"rt{newest}","expires_in":3600}}"#
        ))
    }

    fn is_good(&self, number: u64) -> bool {
        number == self.newest || (self.grace && number >= self.used_last)
    }

    fn issue(&mut self) -> u64 {
        self.newest += 1;
        self.issued_at.push(worker::nanos());
        self.newest
    }
}

/// What a run of kills came to.
#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    refreshes: u64,
    /// Killed after the server had issued the next token and before it was in its place.
    after_the_commit: usize,
    /// Killed after the request was sent, which the server then carried out for nobody.
    before_the_commit: usize,
    /// Killed while the next token was being written.
    left_a_temporary_file: usize,
    /// From the server's commit until the token was stored, in microseconds.
    widths: Vec<u128>,
}

#[test]
fn a_kill_costs_the_token_only_between_the_servers_commit_and_our_rename() {
    let tally = run("strict", false, kills() / 2);
    report("no grace period", &tally);
    assert!(tally.refreshes as usize > tally.kills);
}

#[test]
fn where_the_server_has_a_grace_period_no_kill_costs_the_token() {
    let tally = run("grace", true, kills() - kills() / 2);
    report("grace period", &tally);
    assert!(tally.refreshes as usize > tally.kills);
}

fn run(name: &str, grace: bool, kills: usize) -> Tally {
    let issuer = Arc::new(Mutex::new(Issuer { grace, ..Issuer::default() }));
    let answering = Arc::clone(&issuer);
    let server = Server::start(move |seen| match seen.target.as_str() {
        "/token" => answering.lock().unwrap().answer(seen),
        _ => Answer::ok(""),
    });
    let place = worker::Place::new(name);
    let path = place.path().join("token.json");
    let store = FileStore::new(&path);
    let random = RandomState::new();
    let mut tally = Tally::default();

    log_in(&store, &issuer);
    for kill in 0..kills {
        let mut worker = Worker::start(&[path.to_str().unwrap(), &server.url("/token")]);
        // Most are killed in the midst of their refreshes, some while they start.
        let mut saved = Vec::new();
        if kill % 8 != 0 {
            saved.push(worker.says().expect("the session does not go on"));
        }
        thread::sleep(Duration::from_micros(random.hash_one(kill) % 20_000));
        let (before, after) = worker.kill();
        saved.extend(std::iter::from_fn(|| worker.says()));
        for line in saved {
            let (number, at) = line.split_once(' ').unwrap();
            let number: usize = number.parse().unwrap();
            let (issued_at, at) = (issuer.lock().unwrap().issued_at[number - 1], at.parse::<u128>().unwrap());
            tally.widths.push(at.saturating_sub(issued_at) / 1000);
        }
        tally.kills += 1;
        tally.left_a_temporary_file += usize::from(path.with_extension("json.tmp").exists());

        // The lock has gone with the process, and the file is a whole token.
        let found = stored_number(&mut *store.exclusive(Duration::ZERO).unwrap());
        settle(&server);
        let issuer_now = issuer.lock().unwrap();
        assert_eq!(issuer_now.refused, 0, "a process had to send a refresh token that was spent");
        if found != issuer_now.newest {
            // There is one window: the file holds the token that was used last, and its user was killed before the next one
            // was in its place.
            assert_eq!(found, issuer_now.used_last, "a token was lost that had been stored");
            assert_eq!(issuer_now.is_good(found), grace);
            let committed = *issuer_now.issued_at.last().unwrap();
            if committed <= after {
                tally.after_the_commit += 1;
            } else {
                assert!(before <= committed);
                tally.before_the_commit += 1;
            }
            if !grace {
                drop(issuer_now);
                log_in(&store, &issuer);
            }
        }
    }
    let strays: Vec<_> = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(strays.len() <= 3, "token, lock, and one temporary file at most: {strays:?}");
    tally.refreshes = issuer.lock().unwrap().newest;
    tally
}

/// Waits until the server has carried out what the killed process had sent.
fn settle(server: &Server) {
    // Connections are accepted in their order: when one of ours is answered, those of the dead process have been accepted,
    // and each of them ends.
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(b"GET /settled HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    std::io::read_to_string(stream).unwrap();
    let begin = Instant::now();
    while server.open() > 0 {
        assert!(begin.elapsed() < server::LONG, "a connection does not end");
        thread::yield_now();
    }
}

fn log_in(store: &FileStore, issuer: &Mutex<Issuer>) {
    let number = issuer.lock().unwrap().issue();
    let text = format!(r#"{{"version":1,"access_token":"at{number}","refresh_token":"rt{number}"}}"#);
    store.exclusive(Duration::ZERO).unwrap().save(&Stored::from_text(&text).unwrap()).unwrap();
}

fn stored_number(inside: &mut dyn Exclusive) -> u64 {
    number(&inside.load().expect("the file is torn").expect("the file is gone"))
}

fn number(stored: &Stored) -> u64 {
    let value: serde_json::Value = serde_json::from_str(&stored.to_text()).unwrap();
    value["refresh_token"].as_str().unwrap().strip_prefix("rt").unwrap().parse().unwrap()
}

fn report(name: &str, tally: &Tally) {
    let mut widths = tally.widths.clone();
    widths.sort_unstable();
    let at = |percent: usize| widths.get((widths.len().saturating_sub(1)) * percent / 100).copied().unwrap_or(0);
    let text = format!(
        "\n{name}: {} kills, {} refreshes, no file torn, no lock left; {} kills met the window after the server's commit, {} \
         a request on its way, {} left a temporary file; the window's width in microseconds: median {}, 99 % {}, longest \
         {}\n",
        tally.kills,
        tally.refreshes,
        tally.after_the_commit,
        tally.before_the_commit,
        tally.left_a_temporary_file,
        at(50),
        at(99),
        at(100),
    );
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}

/// A store that says when a token was in its place.
struct Timed(FileStore);

struct Inside<'a>(Box<dyn Exclusive + 'a>);

impl TokenStore for Timed {
    fn load(&self) -> Result<Option<Stored>> {
        self.0.load()
    }

    fn exclusive(&self, timeout: Duration) -> Result<Box<dyn Exclusive + '_>> {
        Ok(Box::new(Inside(self.0.exclusive(timeout)?)))
    }
}

impl Exclusive for Inside<'_> {
    fn load(&mut self) -> Result<Option<Stored>> {
        self.0.load()
    }

    fn prepare(&mut self) -> Result<()> {
        self.0.prepare()
    }

    fn save(&mut self, stored: &Stored) -> Result<()> {
        self.0.save(stored)?;
        worker::say(&format!("{} {}", number(stored), worker::nanos()));
        Ok(())
    }

    fn remove(&mut self) -> Result<()> {
        self.0.remove()
    }
}

/// Refreshes without pause until it is killed.
#[test]
fn worker() {
    let Some(arguments) = worker::arguments() else { return };
    let [path, token_url] = &arguments[..] else { panic!("{} arguments", arguments.len()) };
    // The first refresh token is one that the server does not know: all it has is in the store.
    let source = RefreshToken::new(token_url, "app", "rt0");
    let policy = Policy::new().with_refusals(1_000_000, Duration::from_secs(1));
    let session = Session::builder(source).store(Timed(FileStore::new(path))).policy(policy).build().unwrap();
    let stop = worker::told_to_stop();
    let mut token = session.token().unwrap();
    while !stop.load(Ordering::SeqCst) {
        token = match session.rejected(&token) {
            Ok(token) => token,
            Err(error) if error.kind() == ErrorKind::Rejected => panic!("the login is lost: {error}"),
            Err(error) => panic!("{error:?}"),
        };
    }
}
