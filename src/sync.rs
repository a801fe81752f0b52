//! The only file that names a lock crate: the seam where a model checker takes the place of the real locks.
//!
//! Narrow on purpose: what is not here cannot be used elsewhere, and so needs no model. `cfg(model)` is set by `.ci/models`
//! and by nothing else.
//!
//! A [`Leaf`] is a mutex under which no other is taken, no user code runs, and nobody waits. It is a kind of its own for the
//! sake of loom, which would try its every order against that of all other locks; see there what it does instead.

#[cfg(all(model, not(test)))]
compile_error!("cfg(model) is for the models, which are unit tests: cargo test --lib, as .ci/models does");

#[cfg(model = "loom")]
mod loom;
#[cfg(model = "shuttle")]
mod shuttle;

#[cfg(model = "loom")]
use self::loom as backend;
#[cfg(not(model))]
use self::real as backend;
#[cfg(model = "shuttle")]
use self::shuttle as backend;

pub(crate) use backend::{Condvar, Leaf, Mutex, MutexGuard, ThreadId, current_thread};

#[cfg(all(test, not(model = "loom")))]
pub(crate) use backend::thread;
/// What the models need besides: threads, and whether user code is called with a lock held.
#[cfg(model = "loom")]
pub(crate) use backend::{Latch, beside, crowd, execution, orders};
#[cfg(test)]
pub(crate) use backend::{locks_held, on_waking};
/// A lock of the models' own, for what they write down: no step to a checker. On real threads it is not std's, whose calls
/// ThreadSanitizer does not see.
#[cfg(all(test, not(model)))]
pub(crate) use parking_lot::Mutex as Unseen;
#[cfg(all(test, model))]
pub(crate) use unseen::Unseen;

#[cfg(not(model))]
mod real {
    use std::time::Duration;

    use parking_lot::lock_api::GetThreadId as _;
    pub(crate) use parking_lot::{Mutex, Mutex as Leaf, MutexGuard};

    pub(crate) type ThreadId = std::num::NonZeroUsize;

    pub(crate) struct Condvar(parking_lot::Condvar);

    impl Condvar {
        pub(crate) fn new() -> Self {
            Condvar(parking_lot::Condvar::new())
        }

        /// Waits until notified or, if given, until `timeout` has passed; whoever calls it looks at its predicate again.
        pub(crate) fn wait<T>(&self, state: &mut MutexGuard<'_, T>, timeout: Option<Duration>) {
            match timeout {
                // The result says nothing: a notification and the time-out may come together.
                Some(timeout) => drop(self.0.wait_for(state, timeout)),
                None => self.0.wait(state),
            }
            #[cfg(test)]
            if let Some(act) = ON_WAKING.take() {
                MutexGuard::unlocked(state, act);
            }
        }

        /// Wakes all who wait. The guard is the proof that the mutex is held: nobody can be on the way from its look at the
        /// state to its sleep, and miss it.
        pub(crate) fn notify_all<T>(&self, _state: &MutexGuard<'_, T>) {
            self.0.notify_all();
        }

        /// Wakes one who waits, if anybody does. The mutex is to be free again after a change: whoever is notified under it is put
        /// in its queue by parking_lot, and only the first of the queue is woken when the mutex is free.
        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }
    }

    /// Who is running: what tells the leader's own call from another thread's. Of the threads that live: whoever notes it
    /// takes it back before its thread ends.
    pub(crate) fn current_thread() -> ThreadId {
        parking_lot::RawThreadId.nonzero_thread_id()
    }

    #[cfg(test)]
    thread_local! {
        static ON_WAKING: std::cell::Cell<Option<Box<dyn FnOnce()>>> = const { std::cell::Cell::new(None) };
    }

    /// What this thread does when it is woken next, before it looks at anything: as if the system did not run it meanwhile.
    #[cfg(test)]
    pub(crate) fn on_waking(act: impl FnOnce() + 'static) {
        ON_WAKING.set(Some(Box::new(act)));
    }

    /// For the models, where these run on real threads as a stress test.
    #[cfg(test)]
    pub(crate) use std::thread;

    /// Not known here: only the checkers count.
    #[cfg(test)]
    pub(crate) fn locks_held() -> usize {
        0
    }
}

#[cfg(all(test, model))]
mod unseen {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    #[derive(Default)]
    pub(crate) struct Unseen<T>(Mutex<T>);

    impl<T> Unseen<T> {
        pub(crate) fn new(value: T) -> Self {
            Unseen(Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}
