//! The threads of a scenario where loom has no hand in them: how they begin, wait for each other, and end.

use std::panic::resume_unwind;
use std::sync::Arc;

use crate::sync::{Condvar, Mutex, thread};

/// Runs `act` on that many threads at once, this one being number 0, and returns what each brought.
pub(super) fn crowd<R: Send + 'static>(threads: usize, act: impl Fn(usize) -> R + Send + Sync + 'static) -> Vec<R> {
    let act = Arc::new(act);
    let own = Arc::clone(&act);
    let (own, others) = beside(threads, move |number| act(number), move || own(0));
    std::iter::once(own).chain(others).collect()
}

/// Runs `others` on all threads but this one, from number 1 on, and `own` on this one. Returns what they brought.
pub(super) fn beside<R: Send + 'static, Q>(
    threads: usize,
    others: impl Fn(usize) -> R + Send + Sync + 'static,
    own: impl FnOnce() -> Q,
) -> (Q, Vec<R>) {
    let others = Arc::new(others);
    let start = Start::of(threads);
    let handles = (1..threads).map(|number| {
        let (other, start) = (Arc::clone(&others), start.clone());
        thread::spawn(move || {
            start.wait();
            other(number)
        })
    });
    let handles: Vec<_> = handles.collect();
    start.wait();
    let own = own();
    let ended = handles.into_iter().map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic)));
    (own, ended.collect())
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

/// Counts arrivals, and lets threads wait for a number of them.
pub(super) struct Latch {
    arrived: Mutex<usize>,
    changed: Condvar,
}

impl Latch {
    pub(super) fn new() -> Self {
        Latch { arrived: Mutex::new(0), changed: Condvar::new() }
    }

    pub(super) fn arrive(&self) {
        let mut arrived = self.arrived.lock();
        *arrived += 1;
        self.changed.notify_all(&arrived);
    }

    pub(super) fn wait_for(&self, number: usize) {
        let mut arrived = self.arrived.lock();
        while *arrived < number {
            self.changed.wait(&mut arrived, None);
        }
    }
}
