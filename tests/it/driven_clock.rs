//! A clock that stands still while any thread of the test works, and goes on to the next moment that one waits for when all
//! of them sleep: a run of half a minute takes as long as its calls do, and every thread sees its time in order.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use ureq_auth::{Clock, Tick};

use crate::support::WATCHDOG;

#[derive(Clone)]
pub(crate) struct DrivenClock(Arc<(Mutex<State>, Condvar)>);

struct State {
    now: Duration,
    working: usize,
    /// When each sleeper wakes.
    sleepers: Vec<Duration>,
}

impl State {
    fn go_on_if_all_sleep(&mut self) {
        if self.working == 0 {
            if let Some(next) = self.sleepers.iter().copied().min() {
                self.now = next;
                let before = self.sleepers.len();
                self.sleepers.retain(|at| *at > next);
                self.working = before - self.sleepers.len();
            }
        }
    }
}

impl DrivenClock {
    /// For so many threads, each of which calls [`leave`](DrivenClock::leave) at its end.
    pub(crate) fn new(threads: usize) -> Self {
        let state = State { now: Duration::from_secs(1000), working: threads, sleepers: Vec::new() };
        DrivenClock(Arc::new((Mutex::new(state), Condvar::new())))
    }

    /// The time since the beginning.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.0.lock().unwrap().now - Duration::from_secs(1000)
    }

    pub(crate) fn leave(&self) {
        let mut state = self.0.0.lock().unwrap();
        state.working -= 1;
        state.go_on_if_all_sleep();
        self.0.1.notify_all();
    }
}

impl Clock for DrivenClock {
    fn now(&self) -> Tick {
        Tick::from_zero(self.0.0.lock().unwrap().now)
    }

    fn wall(&self) -> Option<Duration> {
        None
    }

    fn sleep(&self, pause: Duration) {
        if pause.is_zero() {
            return;
        }
        let mut state = self.0.0.lock().unwrap();
        let end = state.now + pause;
        state.sleepers.push(end);
        state.working -= 1;
        state.go_on_if_all_sleep();
        self.0.1.notify_all();
        // The work of others until then may take long. What hangs is a clock that stands.
        while state.now < end {
            let before = state.now;
            let (next, wait) = self.0.1.wait_timeout_while(state, WATCHDOG, |state| state.now == before).unwrap();
            assert!(!wait.timed_out(), "a thread neither works on nor sleeps");
            state = next;
        }
    }

    fn timeout(&self, _deadline: Tick) -> Option<Duration> {
        None
    }
}

impl fmt::Debug for DrivenClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DrivenClock")
    }
}
