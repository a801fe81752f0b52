//! Threads that wait for a refresh, are woken and do not run: this process holds them, as a debugger does, in another one.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod worker;

use std::io::Write as _;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, thread};

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, gettid};
use ureq_auth::{Event, ManualClock, Policy, Session, SourceError, Token};
use worker::Worker;

const WAITERS: usize = 8;
/// Nothing here takes this long unless something hangs.
const LONG: Duration = Duration::from_secs(60);

#[test]
fn one_that_does_not_run_holds_up_nobody() {
    // By the clock nobody would look again.
    the_others_go_on("manual clock", 1);
}

#[test]
fn some_that_do_not_run_hold_up_the_others_for_a_moment() {
    the_others_go_on("system clock", 3);
}

/// Holds the first of them, those that are woken first, until all others have the token.
fn the_others_go_on(clock: &str, held: usize) {
    let mut worker = Worker::start(&[clock]);
    let threads = worker.says().unwrap();
    let threads: Vec<_> = threads.split(' ').map(|thread| Pid::from_raw(thread.parse().unwrap())).collect();
    assert_eq!(threads.len(), WAITERS);
    let Some(are_held) = threads[..held].iter().map(|thread| Held::hold(*thread)).collect::<Option<Vec<_>>>() else {
        let text = "\nSKIPPED: no process may hold another one's threads here, so nothing was shown about threads that do not run\n";
        std::io::stderr().write_all(text.as_bytes()).unwrap();
        return;
    };
    assert_eq!(worker.says().as_deref(), Some("ready"));
    worker.go();
    let mut back = |count: usize| {
        let mut back: Vec<usize> = (0..count).map_while(|_| worker.says()?.parse().ok()).collect();
        back.sort();
        back
    };
    assert_eq!(back(WAITERS - held), Vec::from_iter(held..WAITERS), "the others have the token");
    drop(are_held);
    assert_eq!(back(held), Vec::from_iter(0..held), "and they, when they run again");
    assert!(worker.end());
}

/// A thread of another process that does not run. Only the thread that holds it can let go of it.
struct Held(Pid);

impl Held {
    /// Nothing where it is not allowed, as in some containers.
    fn hold(thread: Pid) -> Option<Self> {
        match ptrace::seize(thread, Options::empty()) {
            Err(Errno::EPERM | Errno::ENOSYS) if std::env::var_os("CI").is_none() => return None,
            seized => seized.unwrap(),
        }
        ptrace::interrupt(thread).unwrap();
        waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
        Some(Held(thread))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if ptrace::detach(self.0, None).is_err() {
            // Its process has failed, and does not end before this is known of each of its threads.
            let _ = waitpid(self.0, Some(WaitPidFlag::__WALL));
        }
    }
}

/// The process in which they wait. Says which threads they are, in the order in which they have begun to wait; ends the refresh
/// when it is told to, and says who comes back.
#[test]
fn worker() {
    let Some(arguments) = worker::arguments() else { return };
    let (begun, has_begun) = mpsc::channel();
    let (end, ends) = mpsc::channel::<()>();
    let ends = Mutex::new(ends);
    let source = move |_: Option<&Token>| -> Result<Token, SourceError> {
        begun.send(()).unwrap();
        ends.lock().unwrap().recv().unwrap();
        Ok(Token::new("t")?)
    };
    let (waiting, waits) = mpsc::channel();
    let builder =
        Session::builder(source).policy(Policy::default().with_wait_timeout(LONG * 60)).observer(move |event| {
            if let Event::WaitStarted = event {
                waiting.send(gettid()).unwrap();
            }
        });
    let builder = if arguments[0] == "manual clock" { builder.clock(ManualClock::new(None)) } else { builder };
    let session = Arc::new(builder.build().unwrap());
    let leader = Arc::clone(&session);
    let leader = thread::spawn(move || leader.token().map(drop));
    soon(&has_begun);
    let (came, comes) = mpsc::channel();
    let threads = (0..WAITERS).map(|number| {
        let (session, came) = (Arc::clone(&session), came.clone());
        thread::spawn(move || {
            session.token().unwrap();
            came.send(number).unwrap();
        });
        let thread = soon(&waits);
        while !sleeps(thread) {
            thread::yield_now();
        }
        thread.to_string()
    });
    worker::say(&threads.collect::<Vec<_>>().join(" "));
    if worker::ready() {
        end.send(()).unwrap();
        leader.join().unwrap().unwrap();
        (0..WAITERS).for_each(|_| worker::say(&soon(&comes).to_string()));
    }
}

/// What comes, or a failure when nothing does.
fn soon<T>(receiver: &Receiver<T>) -> T {
    receiver.recv_timeout(LONG).unwrap()
}

/// After its observer was told, a thread has one place left to sleep at.
fn sleeps(thread: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
    // The name before it, in parentheses, may be anything.
    stat.rsplit_once(") ").unwrap().1.starts_with('S')
}
