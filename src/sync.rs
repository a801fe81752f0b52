//! The only file that names a lock crate: the seam where a model checker takes the place of the real locks.
//!
//! Narrow on purpose: what is not here cannot be used elsewhere, and so needs no model. `cfg(model)` is set by `.ci/models`
//! and by nothing else.

#[cfg(all(model, not(test)))]
compile_error!("cfg(model) is for the models, which are unit tests: cargo test --lib, as .ci/models does");

#[cfg(model)]
pub(crate) use checked::{Condvar, Mutex, MutexGuard, ThreadId, current_thread, wait};
#[cfg(not(model))]
pub(crate) use real::{Condvar, Mutex, MutexGuard, ThreadId, current_thread, wait};

#[cfg(not(model))]
mod real {
    use std::time::Duration;

    pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
    pub(crate) use std::thread::ThreadId;

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

    /// Threads and atomics for the models, where these run on real threads as a stress test.
    #[cfg(test)]
    pub(crate) use std::{sync::atomic, thread};
}

/// The same face over a model checker.
#[cfg(model)]
mod checked {
    use std::ops::{Deref, DerefMut};
    use std::sync::PoisonError;
    use std::time::Duration;

    #[cfg(model = "loom")]
    use loom as checker;
    #[cfg(model = "shuttle")]
    use shuttle as checker;

    pub(crate) use checker::thread::ThreadId;
    pub(crate) use checker::{sync::atomic, thread};

    pub(crate) struct Mutex<T>(checker::sync::Mutex<T>);

    /// `None` only while its owner waits.
    pub(crate) struct MutexGuard<'a, T>(Option<checker::sync::MutexGuard<'a, T>>);

    pub(crate) struct Condvar(checker::sync::Condvar);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Mutex(checker::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            // parking_lot knows no poison.
            MutexGuard(Some(self.0.lock().unwrap_or_else(PoisonError::into_inner)))
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.0.as_ref().expect("nobody looks into the guard of a thread that waits")
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().expect("nobody looks into the guard of a thread that waits")
        }
    }

    impl Condvar {
        pub(crate) fn new() -> Self {
            Condvar(checker::sync::Condvar::new())
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    pub(crate) fn wait<T>(changed: &Condvar, state: &mut MutexGuard<'_, T>, timeout: Option<Duration>) {
        // Neither checker ever lets a wait time out. In the models, time passes when a thread moves the clock.
        assert_eq!(
            timeout, None,
            "a wait with a time-out cannot be modelled: give the model a clock that stands still"
        );
        state.0 = state.0.take().map(|guard| changed.0.wait(guard).unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn current_thread() -> ThreadId {
        thread::current().id()
    }
}

/// What the models need besides: threads and atomics that the checkers know.
#[cfg(all(test, model))]
pub(crate) use checked::{atomic, thread};
#[cfg(all(test, not(model)))]
pub(crate) use real::{atomic, thread};
