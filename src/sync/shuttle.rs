//! The locks under shuttle: its own, with parking_lot's face. Each step of each lock is one that it may interrupt.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
use std::time::Duration;

use ::shuttle::sync;

pub(crate) use ::shuttle::thread;
pub(crate) use ::shuttle::thread::ThreadId;

::shuttle::thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static ON_WAKING: Cell<Option<Box<dyn FnOnce()>>> = const { Cell::new(None) };
}

/// How many locks this thread holds.
pub(crate) fn locks_held() -> usize {
    HELD.with(Cell::get)
}

pub(crate) fn current_thread() -> ThreadId {
    thread::current().id()
}

/// What this thread does when it is woken next, before it looks at anything: as if the system did not run it meanwhile.
pub(crate) fn on_waking(act: impl FnOnce() + 'static) {
    ON_WAKING.with(|next| next.set(Some(Box::new(act))));
}

pub(crate) struct Mutex<T>(sync::Mutex<T>);

/// A lock like any other here.
pub(crate) use Mutex as Leaf;

/// `None` only while its owner waits.
pub(crate) struct MutexGuard<'a, T>(Option<sync::MutexGuard<'a, T>>, &'a Mutex<T>);

pub(crate) struct Condvar(sync::Condvar);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Mutex(sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        // parking_lot knows no poison.
        let guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        HELD.with(|held| held.set(held.get() + 1));
        MutexGuard(Some(guard), self)
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        if self.0.is_some() {
            HELD.with(|held| held.set(held.get() - 1));
        }
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
        Condvar(sync::Condvar::new())
    }

    /// Without an end, as the checkers have it: who relies on the end hangs, and is found. Where time matters in a model, a
    /// thread moves the clock.
    pub(crate) fn wait<T>(&self, state: &mut MutexGuard<'_, T>, _timeout: Option<Duration>) {
        state.0 = state.0.take().map(|guard| self.0.wait(guard).unwrap_or_else(PoisonError::into_inner));
        if let Some(act) = ON_WAKING.with(Cell::take) {
            let mutex = state.1;
            // First, for what follows is the same lock.
            *state = MutexGuard(None, mutex);
            act();
            *state = mutex.lock();
        }
    }

    pub(crate) fn notify_all<T>(&self, _state: &MutexGuard<'_, T>) {
        self.0.notify_all();
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }
}
