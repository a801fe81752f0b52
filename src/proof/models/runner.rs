//! Who runs a scenario: the checker that this build is for, or real threads.
//!
//! How much of it is set by the environment: `MODEL_THREADS`, `MODEL_BOUND` (loom), `MODEL_SCHEDULES`, `MODEL_SEED`
//! (shuttle), `MODEL_ROUNDS` (real threads). What was done is printed in one line per scenario: `.ci/models` reads it.
#![expect(clippy::print_stdout, reason = "a model that does not say how much it has seen proves nothing")]

use std::time::Instant;

/// A whole number from the environment.
fn setting<N: std::str::FromStr>(name: &str) -> Option<N> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is to be a number, not {text:?}")))
}

fn report(name: &str, how: &str, executions: usize, begin: Instant) {
    println!("model | {name} | {how} | {executions} | {:.2}", begin.elapsed().as_secs_f64());
}

#[cfg(model = "loom")]
pub(super) fn run(name: &str, scenario: fn(usize)) {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    let begin = Instant::now();
    let threads = setting("MODEL_THREADS").unwrap_or(3);
    let bound: Option<usize> = setting("MODEL_BOUND");
    let mut model = loom::model::Builder::new();
    model.preemption_bound = bound;
    // A limit on endless executions, far beyond the longest here.
    model.max_branches = 20_000;
    let executions = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&executions);
    model.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        crate::sync::execution(|| scenario(threads));
    });
    let bound = bound.map_or("every schedule".into(), |bound| format!("{bound} preemptions"));
    let orders = crate::sync::orders();
    report(name, &format!("{threads} threads, {bound}, {orders} orders"), executions.load(Ordering::Relaxed), begin);
}

#[cfg(model = "shuttle")]
pub(super) fn run(name: &str, scenario: fn(usize)) {
    use shuttle::Runner;
    use shuttle::scheduler::{PctScheduler, RandomScheduler};

    /// Three places at which the priorities change: the depth of the bugs that PCT finds with a known probability.
    const DEPTH: usize = 3;

    let begin = Instant::now();
    let seed = setting("MODEL_SEED").unwrap_or(1);
    let crowds = setting("MODEL_THREADS").map_or(3..=6, |threads| threads..=threads);
    let schedules: usize = setting("MODEL_SCHEDULES").unwrap_or(2_000);
    // Half of them each; the fewest threads, which have the fewest schedules, as many as the most.
    let share = schedules.div_ceil(2 * crowds.clone().count());
    let mut done = 0;
    for threads in crowds.clone() {
        let random = RandomScheduler::new_from_seed(seed, share);
        done += Runner::new(random, Default::default()).run(move || scenario(threads));
        let pct = PctScheduler::new_from_seed(seed, DEPTH, share);
        done += Runner::new(pct, Default::default()).run(move || scenario(threads));
    }
    report(name, &format!("{crowds:?} threads, random and PCT"), done, begin);
}

#[cfg(not(model))]
pub(super) fn run(name: &str, scenario: fn(usize)) {
    use std::sync::mpsc::{self, RecvTimeoutError};
    use std::time::Duration;

    /// No round takes that long unless a thread is stuck for good.
    const STUCK: Duration = Duration::from_secs(60);
    /// Enough for `cargo test`; who asks for a number of rounds gets that number.
    const PATIENCE: Duration = Duration::from_millis(150);

    let begin = Instant::now();
    let asked: Option<usize> = setting("MODEL_ROUNDS");
    let stuck = setting("MODEL_STUCK").map_or(STUCK, Duration::from_secs);
    let (done, rounds) = mpsc::channel();
    let worker = std::thread::spawn(move || {
        for round in 0..asked.unwrap_or(300) {
            if asked.is_none() && begin.elapsed() > PATIENCE {
                break;
            }
            scenario(3 + round % 6);
            if done.send(()).is_err() {
                break;
            }
        }
    });
    let mut executions = 0;
    loop {
        match rounds.recv_timeout(stuck) {
            Ok(()) => executions += 1,
            Err(RecvTimeoutError::Timeout) => panic!("{name}: a thread is stuck after {executions} rounds"),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    report(name, "3..=8 real threads", executions, begin);
}
