//! Many threads at an expired token: how long it takes from the moment when the new one has come to the moment when the last
//! thread has it, and how many times the source was asked.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use ureq_auth::{Session, SourceError, Token};

use crate::careful::CarefulMutex;
use crate::statistics::{median, micros};
use crate::table::{Row, Table};
use crate::{ACCESS_TOKEN, Effort};

/// For a crowd to fall asleep in, and, once it is awake, to stay out of the way of those who still wake up.
const SETTLE: Duration = Duration::from_millis(30);

pub(crate) fn section(table: &mut Table, effort: Effort) {
    let rounds = effort.rounds(31, 3);
    table.section(
        &format!("A STAMPEDE, until the last is free ({rounds} rounds)"),
        "careful mutex; bare Condvar::notify_all",
    );
    for threads in [1, 8, 64, 512] {
        let contests: [fn(Arc<Stage>) -> Contest; 3] = [session, careful_mutex, bare_notification];
        let mut times: [Vec<f64>; 3] = std::array::from_fn(|_| Vec::new());
        let mut calls = [0; 3];
        for round in 0..rounds {
            for turn in 0..contests.len() {
                let which = (round + turn) % contests.len();
                let (time, asked) = stampede(threads, contests[which]);
                times[which].push(micros(time));
                calls[which] = calls[which].max(asked);
            }
        }
        let ratio = median(times[0].iter().zip(&times[2]).map(|(session, bare)| session / bare));
        let [session, careful, bare] = times.map(median);
        let row = Row {
            what: &format!("{threads} thread{}, µs", if threads == 1 { "" } else { "s" }),
            ours: format!("{session:.0}"),
            beside: format!("{careful:.0}; {bare:.0}"),
            ratio: format!("{ratio:.2} of the bare"),
        };
        if threads == 512 {
            table.aim(&row, "3", ratio <= 3.0);
        } else {
            table.report(&row);
        }
        let [session, careful, _] = calls.map(|calls| calls.to_string());
        let row = Row { what: "  token calls", ours: session, beside: careful, ..Row::default() };
        table.insist(&row, "1", calls[0] == 1);
    }
}

/// What a thread does to get the token.
type Contest = Box<dyn Fn() + Send + Sync>;

/// Where the source stands until all others wait for it.
#[derive(Default)]
struct Stage {
    entering: AtomicUsize,
    calls: AtomicUsize,
    open: Mutex<bool>,
    opened: Condvar,
    arrival: OnceLock<Instant>,
}

impl Stage {
    /// The token call. Who is not the first does not stand here, but is counted.
    fn fetch(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let mut open = self.open.lock().unwrap();
        while !*open {
            open = self.opened.wait(open).unwrap();
        }
        drop(open);
        self.arrival.get_or_init(Instant::now);
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

/// One crowd: from the arrival of the new token to the last thread's release, and the token calls.
fn stampede(threads: usize, contest: fn(Arc<Stage>) -> Contest) -> (Duration, usize) {
    let stage = Arc::new(Stage::default());
    let ask = contest(Arc::clone(&stage));
    let released = thread::scope(|scope| {
        let thread = || {
            stage.entering.fetch_add(1, Ordering::Relaxed);
            ask();
            let released = Instant::now();
            // A thread that ends is work for the kernel, which is not what is measured.
            thread::sleep(SETTLE);
            released
        };
        let small = || thread::Builder::new().stack_size(128 * 1024);
        let crowd: Vec<_> = (0..threads).map(|_| small().spawn_scoped(scope, thread).unwrap()).collect();
        while stage.entering.load(Ordering::Relaxed) < threads {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(SETTLE);
        stage.open();
        crowd.into_iter().map(|thread| thread.join().unwrap()).max().unwrap()
    });
    (released - *stage.arrival.get().unwrap(), stage.calls.load(Ordering::Relaxed))
}

fn session(stage: Arc<Stage>) -> Contest {
    let source = move |_: Option<&Token>| -> Result<Token, SourceError> {
        let token = Token::new(ACCESS_TOKEN)?.with_expires_in(Duration::from_secs(3600));
        stage.fetch();
        Ok(token)
    };
    let expired = Token::new("expired").unwrap().with_expires_in(Duration::from_nanos(1));
    let session = Session::builder(source).token(expired).build().unwrap();
    Box::new(move || drop(session.token().unwrap()))
}

fn careful_mutex(stage: Arc<Stage>) -> Contest {
    let mutex = CarefulMutex::new(move || {
        let token = ACCESS_TOKEN.to_owned();
        stage.fetch();
        Ok::<_, ()>((token, Duration::from_secs(3600)))
    });
    Box::new(move || drop(mutex.token(None).unwrap()))
}

/// What it takes to wake so many threads and nothing else.
fn bare_notification(stage: Arc<Stage>) -> Contest {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        Begin,
        Waiting,
        Over,
    }

    let (state, changed) = (parking_lot::Mutex::new(State::Begin), parking_lot::Condvar::new());
    Box::new(move || {
        let mut now = state.lock();
        if *now == State::Begin {
            *now = State::Waiting;
            drop(now);
            stage.fetch();
            *state.lock() = State::Over;
            changed.notify_all();
        } else {
            while *now != State::Over {
                changed.wait(&mut now);
            }
        }
    })
}
