//! What `session.token()` costs while the token is fresh, beside the parts that it cannot do without: one look at the clock,
//! one lock, one count of references up and down again.

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

use parking_lot::Mutex;
use ureq_auth::{Clock, MemoryStore, Session, SystemClock};

use crate::statistics::{median, nanos};
use crate::table::{Row, Table};
use crate::{Effort, fresh_session};

/// Few, so that of many rounds some are not disturbed by the scheduler.
const CALLS: usize = 20_000;
/// Many, so that the threads are at it together for most of the time.
const CALLS_TOGETHER: usize = 100_000;

/// What is timed.
struct Subjects {
    session: Session,
    /// It looks at each call whether the store is up to date.
    stored: Session,
    lock: Mutex<u64>,
    arc: Arc<u64>,
    /// The parts as one would put them together by hand, with no look at what the token is.
    bare: Mutex<Arc<u64>>,
}

const NAMES: [&str; 7] = ["token", "stored", "clock", "lock", "arc", "together", "nothing"];

impl Subjects {
    fn new() -> Self {
        let arc = Arc::new(0);
        let subjects = Subjects {
            session: fresh_session(|builder| builder),
            stored: fresh_session(|builder| builder.store(MemoryStore::new())),
            lock: Mutex::new(0),
            bare: Mutex::new(Arc::clone(&arc)),
            arc,
        };
        // The first one is fetched.
        subjects.session.token().unwrap();
        subjects.stored.token().unwrap();
        subjects
    }

    /// Loops of its own for each, so that none is a call through a pointer.
    #[inline(never)]
    fn repeat(&self, what: &str, count: usize) {
        fn repeat<T>(count: usize, once: impl Fn() -> T) {
            for _ in 0..count {
                drop(black_box(once()));
            }
        }
        match what {
            "token" => repeat(count, || self.session.token()),
            "stored" => repeat(count, || self.stored.token()),
            "clock" => repeat(count, || SystemClock.now()),
            "lock" => repeat(count, || self.lock.lock()),
            "arc" => repeat(count, || Arc::clone(&self.arc)),
            "together" => repeat(count, || (SystemClock.now(), Arc::clone(&self.bare.lock()))),
            "nothing" => repeat(count, || ()),
            unknown => panic!("{unknown} is not one of {NAMES:?}"),
        }
    }

    /// Nanoseconds from one call to the next, by whichever thread: threads that share a core do not count twice.
    fn time(&self, what: &str, threads: usize, calls: usize) -> f64 {
        let barrier = Barrier::new(threads);
        let work = || {
            barrier.wait();
            let begin = Instant::now();
            self.repeat(what, calls);
            (begin, Instant::now())
        };
        let times: Vec<_> = if threads == 1 {
            vec![work()]
        } else {
            thread::scope(|scope| {
                let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
                running.into_iter().map(|thread| thread.join().unwrap()).collect()
            })
        };
        let begin = times.iter().map(|(begin, _)| *begin).min().unwrap();
        let end = times.iter().map(|(_, end)| *end).max().unwrap();
        nanos(end - begin) / (calls * threads) as f64
    }
}

/// For callgrind and strace.
pub(crate) fn repeat(what: &str, count: usize) {
    Subjects::new().repeat(what, count);
}

pub(crate) fn section(table: &mut Table, effort: Effort) {
    table.section("A FRESH TOKEN, session.token()", "clock + lock + Arc, each by itself; all in one");
    let subjects = Subjects::new();
    for threads in [1, 2, 4, 8] {
        let calls = if threads == 1 { CALLS } else { CALLS_TOGETHER };
        let rounds = effort.rounds(if threads == 1 { 200 } else { 20 }, 5);
        let rounds: Vec<_> = (0..rounds).map(|_| NAMES.map(|name| subjects.time(name, threads, calls))).collect();
        let [token, stored, clock, lock, arc, together, nothing] = std::array::from_fn(|index| {
            let times = rounds.iter().map(|round| round[index]);
            // The best of one thread is the one that nobody has disturbed. Of several, it is one in which they have not met.
            if threads == 1 { times.fold(f64::INFINITY, f64::min) } else { median(times) }
        });
        // What the loop costs is nobody's.
        let [token, stored, clock, lock, arc, together] =
            [token, stored, clock, lock, arc, together].map(|time| time - nothing);
        let sum = clock + lock + arc;
        let row = Row {
            what: &match threads {
                1 => "1 thread, ns from call to call".to_owned(),
                _ => format!("{threads} threads, ns from call to call of any"),
            },
            ours: format!("{token:.1}"),
            beside: format!("{clock:.1} + {lock:.1} + {arc:.1} = {sum:.1}; {together:.1}"),
            ratio: format!("{:.2}", token / sum),
        };
        if threads == 1 {
            table.aim(&row, "1.5", token <= 1.5 * sum);
            let ratio = format!("{:.2}", stored / sum);
            table.report(&Row { what: "  with a store", ours: format!("{stored:.1}"), ratio, ..Row::default() });
        } else {
            table.report(&row);
        }
    }
    table.instructions("instructions", "token", &["clock", "lock", "arc"], None);
}
