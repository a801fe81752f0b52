//! A test in several processes: it starts its own binary again, as a worker.
#![allow(dead_code, reason = "each test binary uses its share of it")]

use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, fs, thread};

use ureq_auth::Event;

const ARGUMENTS: &str = "UREQ_AUTH_WORKER";
/// What a worker says begins with this: the test harness writes to the same pipe.
const MARK: &str = "worker: ";
const READY: &str = "ready";
pub(crate) const REFRESHED: &str = "refreshed";

/// A worker. It ends when its input ends, so none is left behind when the test dies.
pub(crate) struct Worker {
    child: Child,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    /// Runs the test function `worker` of this binary in another process.
    pub(crate) fn start(arguments: &[&str]) -> Worker {
        Self::spawn(Command::new(env::current_exe().unwrap()), arguments)
    }

    /// The same by way of another program.
    pub(crate) fn under(mut program: Command, arguments: &[&str]) -> Worker {
        program.arg(env::current_exe().unwrap());
        Self::spawn(program, arguments)
    }

    fn spawn(mut command: Command, arguments: &[&str]) -> Worker {
        let mut child = command
            .args(["--exact", "worker", "--nocapture", "--quiet"])
            .env(ARGUMENTS, arguments.join("\n"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        Worker { child, input, lines: BufReader::new(output).lines() }
    }

    /// The next thing it says; `None` when it has ended.
    pub(crate) fn says(&mut self) -> Option<String> {
        // The harness may have left a line of its own without an end.
        self.lines.by_ref().map_while(Result::ok).find_map(|line| Some(line.split_once(MARK)?.1.to_owned()))
    }

    /// Lets it go on that is ready.
    pub(crate) fn go(&mut self) {
        self.input.as_mut().unwrap().write_all(b"!").unwrap();
    }

    /// All that it says until it has ended well.
    pub(crate) fn all(mut self) -> Vec<String> {
        self.input = None;
        let said = std::iter::from_fn(|| self.says()).collect();
        assert!(self.end());
        said
    }

    /// Tells it to stop, and says whether all went well.
    pub(crate) fn end(mut self) -> bool {
        self.input = None;
        while self.lines.next().is_some() {}
        self.child.wait().unwrap().success()
    }

    /// kill -9. Returns the time before and after, since 1970 in nanoseconds.
    pub(crate) fn kill(&mut self) -> (u128, u128) {
        let before = nanos();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        (before, nanos())
    }
}

/// Workers that begin at one moment, refresh, and report in numbers when they are told to stop.
pub(crate) struct Crew {
    leashes: Vec<ChildStdin>,
    readers: Vec<JoinHandle<Vec<u64>>>,
    refreshed: Receiver<()>,
}

impl Crew {
    pub(crate) fn start(mut workers: Vec<Worker>) -> Crew {
        let mut leashes: Vec<_> = workers.iter_mut().map(|worker| worker.input.take().unwrap()).collect();
        for worker in &mut workers {
            assert_eq!(worker.says().as_deref(), Some(READY));
        }
        leashes.iter_mut().for_each(|leash| leash.write_all(b"!").unwrap());
        let (sender, refreshed) = mpsc::channel();
        let readers = workers.into_iter().map(|worker| {
            let sender = sender.clone();
            thread::spawn(move || worker.report(&sender))
        });
        Crew { leashes, readers: readers.collect(), refreshed }
    }

    /// Waits for the next refresh of any of them. False if none comes in that time; the test fails if a worker does.
    pub(crate) fn refreshes_within(&self, time: Duration) -> bool {
        self.refreshed.recv_timeout(time).inspect_err(|error| assert_eq!(*error, RecvTimeoutError::Timeout)).is_ok()
    }

    /// Tells all to stop: what they report, number by number.
    pub(crate) fn end<const N: usize>(self) -> [u64; N] {
        drop(self.leashes);
        let mut sums = [0; N];
        for reader in self.readers {
            let numbers = reader.join().unwrap();
            assert_eq!(numbers.len(), N);
            sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
        }
        sums
    }
}

impl Worker {
    fn report(mut self, refreshed: &Sender<()>) -> Vec<u64> {
        loop {
            let line = self.says().expect("a worker failed");
            if line != REFRESHED {
                assert!(self.end());
                return line.split(' ').map(|number| number.parse().unwrap()).collect();
            }
            // Nobody listens any more when the last ones come.
            let _ = refreshed.send(());
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if thread::panicking() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// What this process was started with, if it is a worker.
pub(crate) fn arguments() -> Option<Vec<String>> {
    Some(env::var(ARGUMENTS).ok()?.lines().map(str::to_owned).collect())
}

pub(crate) fn say(what: &str) {
    let mut out = std::io::stdout().lock();
    // In one piece: should the process be killed meanwhile, all of it or nothing is there.
    out.write_all(format!("{MARK}{what}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// For a session's observer: says when it has refreshed.
pub(crate) fn observe(event: &Event<'_>) {
    if let Event::Refreshed { .. } = event {
        say(REFRESHED);
    }
}

/// Says that it is ready, and waits until it is told to go on. False if it is to stop instead.
pub(crate) fn ready() -> bool {
    say(READY);
    std::io::stdin().read_exact(&mut [0]).is_ok()
}

/// Becomes true when the input ends.
pub(crate) fn told_to_stop() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    thread::spawn(move || {
        let _ended = std::io::stdin().read_to_end(&mut Vec::new());
        told.store(true, Ordering::SeqCst);
    });
    stop
}

pub(crate) fn nanos() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()
}

/// A directory that is removed in the end.
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new(name: &str) -> Place {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let base = env::var_os("UREQ_AUTH_TEST_DIR").map_or_else(env::temp_dir, PathBuf::from);
        let path = base.join(format!("ureq-auth-{name}-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Place(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}
