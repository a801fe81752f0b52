//! A refresh, failed and killed at each of its system calls in turn, by strace: what is on disk afterwards, and who goes on.
//!
//! strace counts the calls of each name by thread, and where it is told to look at some files, those that concern them; a
//! first run, in which nothing happens, tells which belong to the refresh.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "worker/issuer.rs"]
mod issuer;
#[path = "it/server.rs"]
mod server;
mod worker;

use std::collections::HashMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use issuer::{Issuer, log_in, settle, stored_number};
use server::Server;
use ureq_auth::oauth2::RefreshToken;
use ureq_auth::{FileStore, ManualClock, Policy, Session, TokenStore as _};
use worker::Worker;

/// Calls that name a file or have one open, and those to the server.
const CALLS: &str = "trace=%file,%desc,%network";

/// One call of the refresh.
struct Step {
    name: String,
    /// It is the how-manieth of that name and kind in its thread.
    number: usize,
    /// As strace shows it.
    line: String,
    is_file: bool,
}

/// A login in a store, and the server that it is of.
struct Scene {
    issuer: Arc<Mutex<Issuer>>,
    server: Server,
    place: worker::Place,
}

impl Scene {
    fn new(name: &str) -> Self {
        let issuer = Arc::default();
        let scene = Scene { server: issuer::serve(&issuer), issuer, place: worker::Place::new(name) };
        log_in(&scene.store(), &scene.issuer);
        scene
    }

    fn file(&self) -> PathBuf {
        self.place.path().join("token.json")
    }

    fn store(&self) -> FileStore {
        FileStore::new(self.file())
    }

    fn log(&self) -> PathBuf {
        self.place.path().join("trace")
    }

    /// A worker under strace.
    fn start(&self, arguments: &[&str]) -> Worker {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-y", "-qq", "-o"]).arg(self.log()).args(arguments);
        Worker::under(strace, &[self.file().to_str().unwrap(), &self.server.url("/token")])
    }

    /// The same, and something happens to it at this step.
    fn disturb(&self, step: &Step, how: &str) -> Worker {
        let Step { name, number, is_file, .. } = step;
        let (trace, inject) = (format!("trace={name}"), format!("inject={name}:{how}:when={number}"));
        let mut arguments = vec!["-e", &trace, "-e", &inject];
        // No other thread has the file, or the directory, open.
        let names = ["", "/token.json", "/token.json.lock", "/token.json.tmp"];
        let paths = names.map(|name| format!("{}{name}", self.place.path().display()));
        if *is_file {
            arguments.extend(paths.iter().flat_map(|path| ["-P", path]));
        }
        self.start(&arguments)
    }

    fn stored(&self) -> u64 {
        stored_number(&mut *self.store().exclusive(Duration::ZERO).unwrap())
    }

    /// The calls of an undisturbed refresh, from the lock on. `None` where there is no strace, which is said loudly.
    fn steps(&self) -> Option<Vec<Step>> {
        if !Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success()) {
            say("\nSKIPPED: there is no strace here, so nothing was shown about single steps of a refresh\n");
            return None;
        }
        let mut worker = self.start(&["-e", CALLS]);
        assert_eq!(worker.says().as_deref(), Some("built"));
        assert_eq!(worker.says().as_deref(), Some("ok"));
        assert!(worker.end());
        Some(steps(&fs::read_to_string(self.log()).unwrap(), self.place.path()))
    }
}

/// The first stay in the section, until the lock is free again.
fn steps(trace: &str, place: &Path) -> Vec<Step> {
    let place = place.to_str().unwrap();
    let calls =
        || trace.lines().map(|line| line.split_once(' ').unwrap()).map(|(thread, call)| (thread, call.trim_start()));
    let (worker, _) = calls().find(|(_, call)| call.contains("LOCK_EX")).expect("the store is locked");
    let mut counts: HashMap<_, usize> = HashMap::new();
    let mut steps = Vec::new();
    for (_, call) in calls().filter(|(thread, _)| *thread == worker) {
        // Not the second line of one that was interrupted.
        let Some((name, _)) = call.split_once('(').filter(|(name, _)| !name.starts_with('<')) else { continue };
        let line = call.replace(place, "");
        let is_file = line != call;
        let number = counts.entry((name, is_file)).or_default();
        *number += 1;
        let is_network = ["socket", "connect", "setsockopt", "sendto", "recvfrom"].contains(&name);
        if call.contains("LOCK_EX") || (!steps.is_empty() && (is_file || is_network)) {
            steps.push(Step { name: name.to_owned(), number: *number, line, is_file });
        }
        if call.contains("LOCK_UN") {
            break;
        }
    }
    steps
}

fn say(what: &str) {
    std::io::stderr().write_all(what.as_bytes()).unwrap();
}

#[test]
fn an_error_of_any_call_on_a_file_costs_neither_the_token_nor_a_second_token_call() {
    let Some(steps) = Scene::new("profile").steps() else { return };
    let mut after_the_exchange = 0;
    for error in ["EIO", "ENOSPC", "EINTR"] {
        for step in steps.iter().filter(|step| step.is_file) {
            let (scene, what) = (Scene::new("errors"), format!("{error} of {}", step.line));
            let mut worker = scene.disturb(step, &format!("error={error}"));
            assert_eq!(worker.says().as_deref(), Some("built"), "{what}");
            let first = worker.says().unwrap_or_else(|| panic!("{what}: the worker failed"));
            let after_first = (scene.issuer.lock().unwrap().newest, scene.stored());
            let injected = fs::read_to_string(scene.log()).unwrap();
            assert_eq!(injected.matches("(INJECTED)").count(), 1, "{what}: {injected}");
            match first.as_str() {
                "ok" if after_first == (2, 2) => {}
                // In force, and not stored.
                "ok" => {
                    assert_eq!(after_first, (2, 1), "{what}");
                    after_the_exchange += 1;
                }
                _ => assert_eq!(after_first, (1, 1), "{what}: {first}, and the refresh token was spent"),
            }
            assert!(worker.end(), "{what}");
            assert_eq!(scene.issuer.lock().unwrap().newest, 2, "{what}: one token call in all");
            assert_eq!((scene.issuer.lock().unwrap().refused, scene.stored()), (0, 2), "{what}");
            let strays = fs::read_dir(scene.place.path()).unwrap().count();
            assert_eq!(strays, 3, "{what}: the token, the lock and the trace");
        }
    }
    assert!(after_the_exchange > 0, "no error came between exchange and rename");
    say(&format!(
        "\n{} calls on files, each failed by EIO, ENOSPC and EINTR: {after_the_exchange} times the token was in force before \
         it was stored, and stored by the next call\n",
        steps.iter().filter(|step| step.is_file).count()
    ));
}

#[test]
fn a_kill_at_any_call_costs_the_token_only_between_the_request_and_the_rename() {
    let Some(steps) = Scene::new("profile").steps() else { return };
    let request = steps.iter().rposition(|step| step.name == "sendto").expect("the request is sent");
    let rename = steps.iter().rposition(|step| step.name == "rename").expect("the token gets its name");
    assert!(request < rename);
    let (mut lost, mut kills) = (Vec::new(), 0);
    for (position, step) in steps.iter().enumerate() {
        let (scene, what) = (Scene::new("kills"), format!("killed at {}", step.line));
        // Before the call: the one before it was the last to be carried out.
        let mut worker = scene.disturb(step, "signal=KILL");
        assert_eq!(worker.says().as_deref(), Some("built"), "{what}");
        assert_eq!(worker.says(), None, "{what}: it was not");
        assert!(!worker.end(), "{what}: it was not");
        kills += 1;
        // The lock has gone with the process, and the file is a whole token.
        let stored = scene.stored();
        settle(&scene.server);
        let newest = scene.issuer.lock().unwrap().newest;
        assert!(stored == newest || (stored, newest) == (1, 2), "{what}");
        if stored != newest {
            assert!(request < position && position <= rename, "{what}: outside the window");
            lost.push(step.line.as_str());
        } else {
            assert!(position <= request || rename < position, "{what}: the server has not carried out the request");
            // The next process goes on where this one was killed.
            let mut next = scene.start(&["-e", "trace=none"]);
            assert_eq!((next.says().as_deref(), next.says().as_deref()), (Some("built"), Some("ok")), "{what}");
            assert!(next.end());
            assert_eq!((scene.issuer.lock().unwrap().refused, scene.stored()), (0, 2), "{what}");
        }
    }
    say(&format!(
        "\n{kills} kills, one before each call of a refresh; the token is lost before these {}:\n",
        lost.len()
    ));
    lost.iter().for_each(|line| say(&format!("    {line}\n")));
}

/// Refreshes once, and again where that failed, under a clock that passes by all pauses.
#[test]
fn worker() {
    let Some(arguments) = worker::arguments() else { return };
    let [path, token_url] = &arguments[..] else { panic!("{} arguments", arguments.len()) };
    let clock = ManualClock::new(Some(Duration::from_secs(1_800_000_000)));
    // The first refresh token is one that the server does not know: all it has is in the store.
    let source = RefreshToken::new(token_url, "app", "rt0");
    let policy = Policy::new().with_attempts(1);
    let session = Session::builder(source).store(FileStore::new(path)).clock(clock.clone()).policy(policy);
    let session = session.build().unwrap();
    worker::say("built");
    match session.token() {
        Ok(_) => worker::say("ok"),
        Err(error) => worker::say(&format!("{error:?}")),
    }
    // The parent has looked when the input ends.
    let _ended = std::io::Read::read_to_end(&mut std::io::stdin(), &mut Vec::new());
    for _ in 0..3 {
        clock.clone().advance(Duration::from_secs(10));
        drop(session.token());
    }
    session.token().unwrap();
    std::mem::forget(session);
}
