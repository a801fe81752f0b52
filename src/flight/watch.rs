//! Waiting for the next value without needing one now: for those who hold a connection that was opened with the present one.
//!
//! A watch begins no flight. It says when one is due, and the caller enters as everybody does.

use std::sync::Arc;
use std::time::Duration;

use super::{Flight, Phase};
use crate::clock::{Clock, Tick};
use crate::sync;

/// A condition variable's time stands still while a device is suspended, a [`Clock`]'s need not. So a watcher looks at its
/// clock now and then, or it would be late by the whole suspension.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// What ends a watch.
pub(crate) enum Watched<T> {
    /// A later value that can be given out.
    Another(Arc<T>),
    /// Somebody has to enter: the value is to be replaced, or there is no value and no flight that would bring one.
    Due,
    TimedOut,
}

/// When a value is to be replaced. `None`: never for its age.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Schedule {
    /// From here on a flight is worth it.
    pub(crate) due_at: Option<Tick>,
    /// From here on it cannot be given out.
    pub(crate) ends_at: Option<Tick>,
}

impl<T, E> Flight<T, E> {
    /// Waits for a later value than that of `generation`, until one has to be made, or until `deadline`. `schedule` runs
    /// under the mutex and must be pure.
    pub(crate) fn watch(
        &self,
        generation: u64,
        clock: &dyn Clock,
        deadline: Tick,
        schedule: impl Fn(&T) -> Schedule,
    ) -> Watched<T> {
        let mut state = self.state.lock();
        loop {
            let now = clock.now();
            let current = state.current.as_ref().filter(|_| !state.refused);
            if let Some(current) = current.filter(|_| state.generation > generation) {
                return Watched::Another(Arc::clone(current));
            }
            let schedule = current.map_or(Schedule { due_at: Some(now), ends_at: Some(now) }, |value| schedule(value));
            let due_at = match &state.phase {
                // Rule 7: whoever enters is told so.
                Phase::Refreshing { leader, .. } if *leader == sync::current_thread() => Some(now),
                // Rule 4: its end wakes everybody.
                Phase::Refreshing { .. } => None,
                Phase::Idle => schedule.due_at,
                Phase::Failed { pause, .. } => match pause.until {
                    Some(until) => schedule.due_at.map(|due_at| due_at.max(until)),
                    // Another flight would do no better. Whoever enters gets the error, once the value has ended.
                    None => schedule.ends_at,
                },
            };
            if due_at.is_some_and(|due_at| now >= due_at) {
                return Watched::Due;
            }
            if now >= deadline {
                return Watched::TimedOut;
            }
            let until = due_at.map_or(deadline, |due_at| due_at.min(deadline));
            let timeout = clock.timeout(until).map(|timeout| timeout.min(LOOK_AGAIN));
            self.changed.wait(&mut state, timeout);
        }
    }
}
