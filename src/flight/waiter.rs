//! Waiting for the verdict of a flight that another thread leads.
//!
//! A crowd is not woken at once. It would stand before the mutex, and every call that takes the mutex meanwhile would have to
//! hand it on to one of them. The leader wakes the first two, and each that leaves wakes the next.
//!
//! A thread that is woken may not run for long: a debugger holds it, or it has a low priority on a busy machine. One such
//! thread holds up nobody. Where there are more of them, the others look for themselves after [`LOOK_AGAIN`].

use std::sync::Arc;
use std::time::Duration;

use super::Waiter;
use crate::clock::{Clock, Tick};
use crate::sync::Condvar;

const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How waiting ends.
pub(crate) enum Waited<T, E> {
    Published(Arc<T>),
    Failed(E),
    /// The flight ended without a result. Enter again: one of those who do becomes the leader.
    Abandoned,
    TimedOut,
}

impl<T, E: Clone> Waiter<'_, T, E> {
    pub(crate) fn wait(self, clock: &dyn Clock, deadline: Tick) -> Waited<T, E> {
        // Declared first, so that it comes last: when the mutex is free.
        let _next = Next(&self.record.over);
        let mut state = self.flight.state.lock();
        loop {
            match &state.current {
                // Unless it is known to be bad already: then the next one is on its way.
                Some(current) if state.generation > self.generation && !state.refused => {
                    return Waited::Published(Arc::clone(current));
                }
                _ => {}
            }
            let verdict = self.record.verdict.lock().clone();
            if let Some(error) = verdict {
                return Waited::Failed(error);
            }
            if !state.is_led_by(&self.record) {
                return Waited::Abandoned;
            }
            if clock.now() >= deadline {
                return Waited::TimedOut;
            }
            let timeout = clock.timeout(deadline).map(|timeout| timeout.min(LOOK_AGAIN));
            self.record.over.wait(&mut state, timeout);
        }
    }
}

/// A waiter that is to leave. Whichever way it does, unwinding included, the next one wakes, and looks for itself.
struct Next<'a>(&'a Condvar);

impl Drop for Next<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}
