//! The only file that names a lock crate: the seam where a model checker can take the place of the real locks.
//!
//! Narrow on purpose: what is not here cannot be used elsewhere, and so needs no model.

pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
pub(crate) use std::thread::ThreadId;

use std::time::Duration;

/// Waits until notified or, if given, until `timeout` has passed; whoever calls it looks at its predicate again.
pub(crate) fn wait<T>(changed: &Condvar, state: &mut MutexGuard<'_, T>, timeout: Option<Duration>) {
    match timeout {
        // The result is of no use: a notification and the time-out may come together.
        Some(timeout) => drop(changed.wait_for(state, timeout)),
        None => changed.wait(state),
    }
}

/// Who is running: what tells the leader's own call from another thread's.
pub(crate) fn current_thread() -> ThreadId {
    std::thread::current().id()
}
