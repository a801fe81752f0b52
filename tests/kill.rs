//! kill -9 at random points of a process that refreshes without pause: what is on disk afterwards, and who goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "worker/issuer.rs"]
mod issuer;
#[path = "it/server.rs"]
mod server;
mod worker;

use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use issuer::{Issuer, log_in, number, settle, stored_number};
use ureq_auth::oauth2::RefreshToken;
use ureq_auth::{ErrorKind, Exclusive, FileStore, Policy, Result, Session, Stored, TokenStore};
use worker::Worker;

/// 200 in CI; `UREQ_AUTH_KILLS=2000 cargo test --release --features file-store --test kill -- --nocapture` for the long run.
fn kills() -> usize {
    std::env::var("UREQ_AUTH_KILLS").map_or(200, |kills| kills.parse().unwrap())
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
    let server = issuer::serve(&issuer);
    let place = worker::Place::new(name);
    let path = place.path().join("token.json");
    let store = FileStore::new(&path);
    let random = RandomState::new();
    // How long a refresh takes here, as far as is known, in nanoseconds. At first rather more than it can be: one that is killed
    // too soon to refresh twice tells nothing about that.
    let mut refresh: u128 = 100_000_000;
    let mut tally = Tally::default();

    log_in(&store, &issuer);
    for kill in 0..kills {
        let mut worker = Worker::start(&[path.to_str().unwrap(), &server.url("/token")]);
        // Most are killed in the midst of their refreshes, some while they start.
        let mut saved = Vec::new();
        if kill % 8 != 0 {
            saved.push(worker.says().expect("the session does not go on"));
        }
        thread::sleep(Duration::from_nanos(random.hash_one(kill) % (2 * refresh) as u64));
        let (before, after) = worker.kill();
        saved.extend(std::iter::from_fn(|| worker.says()));
        let mut last = None;
        for line in saved {
            let (number, at) = line.split_once(' ').unwrap();
            let number: usize = number.parse().unwrap();
            let (issued_at, at) = (issuer.lock().unwrap().issued_at[number - 1], at.parse::<u128>().unwrap());
            tally.widths.push(at.saturating_sub(issued_at) / 1000);
            if let Some(last) = last.replace(at) {
                refresh = (7 * refresh + at.saturating_sub(last)) / 8;
            }
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
