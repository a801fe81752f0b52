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
mod leases;
mod nodes;
mod outside;
mod pauses;
mod refreshes;
mod refusals;
mod runner;
mod stores;
#[cfg(not(model = "loom"))]
mod threads;
mod verdicts;
mod watches;

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use once_cell::sync::OnceCell;

use crate::clock::{Clock, Tick};
#[cfg(model = "loom")]
use crate::sync::{Latch, beside, crowd};
use crate::sync::{ThreadId, Unseen, current_thread};
#[cfg(not(model = "loom"))]
use threads::{Latch, beside, crowd};

/// How long anybody may wait. Nobody should: half of this is taken for a lost wake-up.
const LONG: Duration = Duration::from_secs(10);

/// What a call of the source is to the others: their turn. A checker gives it to them at the next lock; on real threads nobody
/// would ever come to wait for so short a call.
fn work() {
    #[cfg(not(model))]
    for _ in 0..5 {
        std::thread::yield_now();
    }
}

/// Rule 1, wherever user code is called.
fn assert_unlocked() {
    assert_eq!(crate::sync::locks_held(), 0, "rule 1: user code with a lock held");
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

/// The clock where the moment at which it is read is not the point. In a model it stands still but for [`skip`]; on real
/// threads it runs. Waits have no end: a wake-up that is lost must not be healed by time. To read it is no step to a checker:
/// `ManualClock` is for that.
/// Who sleeps wakes at once: what others may do meanwhile is up to [`on_sleep`].
///
/// [`skip`]: PlainClock::skip
/// [`on_sleep`]: PlainClock::on_sleep
#[derive(Clone, Default)]
struct PlainClock(Arc<Skipped>);

#[derive(Default)]
struct Skipped {
    seconds: AtomicU64,
    wakers: Unseen<Vec<Arc<dyn Fn() + Send + Sync>>>,
    sleepers: Unseen<Vec<ThreadId>>,
    on_sleep: OnceCell<Box<dyn Fn() + Send + Sync>>,
}

impl PlainClock {
    /// What happens while somebody sleeps, on the sleeper's thread.
    fn on_sleep(&self, act: impl Fn() + Send + Sync + 'static) {
        assert!(self.0.on_sleep.set(Box::new(act)).is_ok(), "it is said once");
    }

    /// Who has slept, each as often as they have.
    fn sleepers(&self) -> Vec<ThreadId> {
        self.0.sleepers.lock().clone()
    }

    fn skip(&self, time: Duration) {
        self.0.seconds.fetch_add(time.as_secs(), Ordering::SeqCst);
        let wakers = self.0.wakers.lock().clone();
        wakers.iter().for_each(|wake| wake());
    }
}

impl fmt::Debug for PlainClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainClock")
    }
}

impl Clock for PlainClock {
    fn now(&self) -> Tick {
        let skipped = Duration::from_secs(self.0.seconds.load(Ordering::SeqCst));
        #[cfg(not(model))]
        let begin = crate::SystemClock.now();
        #[cfg(model)]
        let begin = Tick::from_zero(Duration::from_secs(1000));
        begin.after(skipped)
    }

    fn timeout(&self, _deadline: Tick) -> Option<Duration> {
        None
    }

    fn wall(&self) -> Option<Duration> {
        assert_unlocked();
        None
    }

    fn sleep(&self, pause: Duration) {
        assert_unlocked();
        assert!(!pause.is_zero(), "a pause of no length");
        self.0.sleepers.lock().push(current_thread());
        match self.0.on_sleep.get() {
            Some(act) => act(),
            None => work(),
        }
    }

    fn on_change(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        self.0.wakers.lock().push(wake);
    }
}

macro_rules! scenarios {
    ($($file:ident { $($scenario:ident;)+ })+) => {
        $($(
            #[test]
            fn $scenario() {
                runner::run(stringify!($scenario), $file::$scenario);
            }
        )+)+
    };
}

scenarios! {
    gate {
        single_flight;
        late_refusal;
        fast_path_against_publication;
        several_flights_in_a_row;
        reentrancy;
        foreign_destructors;
    }
    outside {
        leader_fails;
        leader_panics;
        a_waiter_panics;
        a_slow_waiter_keeps_its_verdict;
        a_slow_waiter_is_not_given_a_refused_value;
        a_short_pause_is_sat_out;
        renewed_while_the_leader_fails;
        a_waiters_deadline;
        a_waiter_gives_up_before_the_others;
        a_waiter_that_does_not_run;
        installed_during_a_flight;
        installed_while_the_leader_fails;
        ended_during_a_flight;
    }
    watches {
        a_watch_sees_a_flight;
        a_watch_sees_what_comes_from_outside;
        a_watch_sees_a_leader_that_panics;
        a_watch_sees_the_end_of_a_pause;
    }
    refreshes {
        session_single_flight;
        session_late_refusal;
        session_leader_fails;
        session_failure_while_the_token_lives;
        session_leader_panics;
        session_deadline;
    }
    calls {
        session_set_during_a_flight;
        session_ended_during_a_flight;
        session_fast_path;
        session_calls_in_order;
        session_reentrancy;
        session_observer_looks_in;
    }
    pauses {
        session_short_pause_is_sat_out;
        session_pause_is_sat_out_once;
        session_set_while_a_pause_is_sat_out;
        session_ended_while_a_pause_is_sat_out;
        session_lost_answer_is_repeated;
        session_lost_twice;
        session_set_between_two_attempts;
        session_store_is_read_between_two_attempts;
    }
    refusals {
        session_new_refresh_token_is_kept;
        session_store_refusal_without_a_code;
        session_store_refusal_is_shared;
        session_store_new_refresh_token_is_shared;
        session_store_login_beside_a_new_refresh_token;
    }
    verdicts {
        session_refused_and_not_replaced;
        session_refusals_count_once;
        session_set_while_a_flight_is_rejected;
    }
    nodes {
        session_new_token_is_waited_for;
        session_accepted_token_is_not_waited_for;
        session_address_that_refuses_every_token;
        session_address_that_accepts_again;
    }
    leases {
        session_store_lease_runs_out;
    }
    stores {
        session_store_follows;
        session_store_keeps_the_login;
        session_store_is_shared;
        session_store_logout_elsewhere;
    }
}
