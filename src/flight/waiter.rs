//! Waiting for the verdict of a flight that another thread leads.
//!
//! A crowd is not woken at once. It would stand before the mutex, and every call that takes the mutex meanwhile would have to
//! hand it on to one of them. The leader wakes one waiter, and each that leaves wakes the next.

use std::sync::Arc;

use super::{State, Waiter};
use crate::clock::{Clock, Tick};
use crate::sync::{Condvar, MutexGuard};

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
        let mut leaving = Leaving { state: self.flight.state.lock(), over: &self.record.over };
        let state = &mut leaving.state;
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
            self.record.over.wait(state, clock.timeout(deadline));
        }
    }
}

/// A waiter that has the mutex. Whichever way it leaves, unwinding included, the next one wakes, and looks for itself.
struct Leaving<'a, T, E> {
    state: MutexGuard<'a, State<T, E>>,
    over: &'a Condvar,
}

impl<T, E> Drop for Leaving<'_, T, E> {
    fn drop(&mut self) {
        self.over.notify_one(&self.state);
    }
}
