//! The concurrency of the gate and of the session, told as scenarios and checked in three ways: by loom (every schedule of
//! a few threads), by shuttle (many random schedules of more) and on real threads (`cargo test`).
//!
//! Each scenario is one function that knows nothing of who runs it. It says in its first line which of the eight rules of
//! `flight.rs` it asserts; `.ci/models` runs them all, and then again with one rule broken at a time, which they must notice.
//!
//! Not modelled: parking_lot itself, std's `Arc`, and the cells of once_cell. A flight's verdict, which lives in such a
//! cell, is written and read under the modelled mutex only, so that no schedule can tell the difference; the rest are counts.
//! Time does not pass by itself in a model: where it matters, a thread of the scenario moves the clock.

mod calls;
mod gate;
mod outside;
mod refreshes;
mod runner;
mod stores;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, ManualClock, Tick};
use crate::sync::{self, Condvar, Mutex, thread};

/// How long anybody may wait. Nobody should: a waiter that is not woken is healed by its deadline, so that on real threads
/// only the time it took tells a lost wake-up from a good run. Half of this is taken for lost.
const LONG: Duration = Duration::from_secs(10);

/// Runs `act` on that many threads at once, this one being number 0, and returns what each brought.
fn crowd<R: Send + 'static>(threads: usize, act: impl Fn(usize) -> R + Send + Sync + 'static) -> Vec<R> {
    let act = Arc::new(act);
    let start = Start::of(threads);
    let others = (1..threads).map(|number| {
        let (act, start) = (Arc::clone(&act), start.clone());
        thread::spawn(move || {
            start.wait();
            act(number)
        })
    });
    let others: Vec<_> = others.collect();
    start.wait();
    let mut results = vec![act(0)];
    results.extend(others.into_iter().map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic))));
    results
}

/// Real threads are started one by one, and the first would be done before the last is there. A checker needs no such
/// help, and a barrier would only hide schedules from it.
#[derive(Clone)]
struct Start(#[cfg(not(model))] Arc<std::sync::Barrier>);

impl Start {
    #[cfg(not(model))]
    fn of(threads: usize) -> Self {
        Start(Arc::new(std::sync::Barrier::new(threads)))
    }

    #[cfg(model)]
    fn of(_: usize) -> Self {
        Start()
    }

    fn wait(&self) {
        #[cfg(not(model))]
        self.0.wait();
    }
}

/// What a call of the source is to the others: their turn. A checker gives it to them at the counters beside it; on real
/// threads nobody would ever come to wait for so short a call.
fn work() {
    #[cfg(not(model))]
    for _ in 0..5 {
        thread::yield_now();
    }
}

/// Counts arrivals, and lets a thread wait for a number of them.
struct Latch {
    arrived: Mutex<usize>,
    changed: Condvar,
}

impl Latch {
    fn new() -> Self {
        Latch { arrived: Mutex::new(0), changed: Condvar::new() }
    }

    fn arrive(&self) {
        *self.arrived.lock() += 1;
        self.changed.notify_all();
    }

    fn wait_for(&self, number: usize) {
        let mut arrived = self.arrived.lock();
        while *arrived < number {
            sync::wait(&self.changed, &mut arrived, None);
        }
    }
}

/// A panic as it happens to user code: unwinds, without the hook's lines on the screen.
fn unwind() -> ! {
    resume_unwind(Box::new(Injected))
}

struct Injected;

/// `Err` if `act` was left by [`unwind`]. Any other panic goes on.
fn caught<R>(act: impl FnOnce() -> R) -> Result<R, Injected> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|panic: Box<dyn Any + Send>| match panic.downcast() {
        Ok(injected) => *injected,
        Err(panic) => resume_unwind(panic),
    })
}

/// The clock where time is not the point. In a model it stands still, and waits have no end; on real threads it runs, so
/// that they have one. [`skip`](PlainClock::skip) is for a scenario's beginning, before there is a second thread.
#[derive(Clone, Debug, Default)]
struct PlainClock(Arc<AtomicU64>);

impl PlainClock {
    fn skip(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for PlainClock {
    fn now(&self) -> Tick {
        let skipped = Duration::from_secs(self.0.load(Ordering::SeqCst));
        #[cfg(not(model))]
        let begin = crate::SystemClock.now();
        #[cfg(model)]
        let begin = Tick::from_zero(Duration::from_secs(1000));
        begin.after(skipped)
    }

    fn wall(&self) -> Option<Duration> {
        None
    }

    fn sleep(&self, _: Duration) {
        unreachable!("no scenario has a second attempt");
    }

    #[cfg(model)]
    fn timeout(&self, _: Tick) -> Option<Duration> {
        None
    }
}

/// The test itself fails if what it relies on, the deadline that never comes in a model, is not what it thinks.
#[test]
fn a_manual_clock_has_no_time_out() {
    runner::once(|| assert_eq!(ManualClock::new(None).timeout(Tick::default()), None));
}

macro_rules! scenarios {
    ($($file:ident { $($scenario:ident $bound:expr;)+ })+) => {
        $($(
            #[test]
            fn $scenario() {
                runner::run(stringify!($scenario), $bound, $file::$scenario);
            }
        )+)+
    };
}

/// Every schedule.
const ALL: Option<usize> = None;

// The number is how many times loom may take the processor from a thread that could go on; ALL is no bound. What has a bound
// has more steps than can be followed in every order within minutes: the clock is moved, a thread has two turns, or the
// session locks its counters and its history as well. Bugs in a gate need one or two such moments: see the mutants.
scenarios! {
    gate {
        single_flight ALL;
        late_refusal ALL;
        fast_path_against_publication ALL;
        several_flights_in_a_row Some(4);
        reentrancy ALL;
        foreign_destructors Some(4);
    }
    outside {
        leader_fails ALL;
        leader_panics ALL;
        a_slow_waiter_keeps_its_verdict Some(3);
        a_waiters_deadline Some(4);
        installed_during_a_flight ALL;
        installed_while_the_leader_fails ALL;
        ended_during_a_flight ALL;
    }
    refreshes {
        session_single_flight Some(4);
        session_late_refusal Some(3);
        session_leader_fails Some(4);
        session_failure_while_the_token_lives Some(4);
        session_leader_panics Some(4);
        session_deadline Some(2);
    }
    calls {
        session_set_during_a_flight Some(5);
        session_ended_during_a_flight ALL;
        session_fast_path ALL;
        session_calls_in_order Some(3);
        session_reentrancy Some(4);
        session_observer_looks_in Some(2);
    }
    stores {
        session_store_follows Some(3);
        session_store_keeps_the_login Some(3);
    }
}
