//! The locks under loom, which tries every order of its *steps*. So that it gets to the end of them, only what can make a
//! difference is a step here:
//!
//! - To take a mutex is one, and the only one. To let go of it is no step: what matters is who takes it next.
//! - To wait and to notify is no step. Both happen with the mutex held ([`Condvar::notify_all`] asks for the guard), which has
//!   put them in order already. loom's own condition variable counts them, and tries orders that the mutex rules out.
//!   [`Condvar::notify_one`] comes right after the mutex: who waits for the change by then has not seen it, and nobody else
//!   begins to.
//! - A [`Leaf`] is no step. Nothing happens under it, so that it goes with the step before it. That is the whole truth where the
//!   order of such sections decides nothing, as with counters; for the rest, `MODEL_LEAVES` in the environment makes each a
//!   step, and shuttle always does. That it *is* a leaf is asserted whenever a lock is taken.
//! - To begin is no step, nor to be woken from a condition variable: it is one with the thread's next step. What another does in
//!   between, it may as well do before: until that step the thread changes nothing that others see, and what it looks at, such
//!   as the clock, stands still while threads begin.
//! - While there is one thread alone, before the others begin and after they have ended, nothing is a step.
//! - A [`Latch`] is no step, and threads that end are not joined but counted by one.
//!
//! The last three are short cuts, and `MODEL_PLAIN` in the environment does without: `MODEL_LONG=1 .ci/models` asserts that the
//! orders in which threads take locks are the same ones, each found once instead of many times.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, TryLockError};
use std::time::Duration;

use ::loom::sync;
use ::loom::thread;

pub(crate) use ::loom::thread::ThreadId;

/// The state of the execution, and what was seen in all. loom's threads take turns on one real thread: this is theirs in
/// common.
#[derive(Default)]
struct Run {
    plain: Cell<bool>,
    leaves_are_steps: Cell<bool>,
    /// Threads beside the first.
    others: Cell<usize>,
    leaf_is_held: Cell<bool>,
    /// The thread that runs has begun, or has been woken, and has not taken a step since.
    fresh: Cell<bool>,
    mutexes: Cell<usize>,
    /// Which thread took which mutex, one after the other, since there is more than one thread: a hash of it.
    order: RefCell<DefaultHasher>,
    orders: RefCell<HashSet<u64>>,
}

thread_local! {
    static RUN: Run = Run::default();
}

/// What a thread knows of itself.
#[derive(Default)]
struct Me {
    number: Cell<usize>,
    held: Cell<usize>,
    on_waking: Cell<Option<Box<dyn FnOnce()>>>,
}

::loom::thread_local! {
    static ME: Me = Me::default();
}

/// One execution. The last one may have ended with a panic, so that nothing is left of it but the orders.
pub(crate) fn execution(scenario: impl FnOnce()) {
    RUN.with(|run| {
        let set = |name| std::env::var_os(name).is_some();
        run.plain.set(set("MODEL_PLAIN"));
        run.leaves_are_steps.set(set("MODEL_LEAVES"));
        run.others.set(0);
        run.leaf_is_held.set(false);
        run.fresh.set(false);
        run.mutexes.set(0);
        run.order.take();
        scenario();
        run.orders.borrow_mut().insert(run.order.take().finish());
    });
}

/// In how many different orders locks were taken in all executions.
pub(crate) fn orders() -> usize {
    RUN.with(|run| run.orders.take().len())
}

/// How many locks this thread holds.
pub(crate) fn locks_held() -> usize {
    RUN.with(|run| usize::from(run.leaf_is_held.get())) + ME.with(|me| me.held.get())
}

pub(crate) fn current_thread() -> ThreadId {
    thread::current().id()
}

/// What this thread does when it is woken next, before it takes the mutex again: as if the system did not run it meanwhile.
pub(crate) fn on_waking(act: impl FnOnce() + 'static) {
    ME.with(|me| me.on_waking.set(Some(Box::new(act))));
}

pub(crate) struct Mutex<T> {
    number: usize,
    value: std::sync::Mutex<T>,
    /// Held for the moment of a step only. loom's threads take turns on one real thread, so that while one of them unwinds,
    /// to std all do. A guard that lasts into such a turn would poison loom's mutex, which panics then.
    step: sync::Mutex<()>,
    /// The threads that have found it taken.
    waiting: std::sync::Mutex<Vec<thread::Thread>>,
}

pub(crate) struct MutexGuard<'a, T> {
    /// `None` only while its owner waits.
    value: Option<std::sync::MutexGuard<'a, T>>,
    mutex: &'a Mutex<T>,
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        let number = RUN.with(|run| run.mutexes.replace(run.mutexes.get() + 1));
        let (value, waiting) = (std::sync::Mutex::new(value), std::sync::Mutex::default());
        Mutex { number, value, step: sync::Mutex::new(()), waiting }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        RUN.with(|run| {
            assert!(!run.leaf_is_held.get(), "rule 1: a lock is taken under a leaf");
            if run.others.get() > 0 || run.plain.get() {
                self.take_step(run);
            }
            ME.with(|me| me.held.set(me.held.get() + 1));
            MutexGuard { value: Some(taken(&self.value)), mutex: self }
        })
    }

    fn take_step(&self, run: &Run) {
        // If it has to wait, others come to run, and theirs are steps of their own.
        let continues = run.fresh.replace(false) && self.is_free() && !run.plain.get();
        if continues {
            // Whoever might run in between is tried before the thread began, or was woken.
            ::loom::stop_exploring();
        }
        drop(self.step.lock());
        if continues {
            ::loom::explore();
        }
        while !self.is_free() {
            taken(&self.waiting).push(thread::current());
            thread::park();
            drop(self.step.lock());
        }
        if run.others.get() > 0 {
            (ME.with(|me| me.number.get()), self.number).hash(&mut *run.order.borrow_mut());
        }
    }

    fn is_free(&self) -> bool {
        !matches!(self.value.try_lock(), Err(TryLockError::WouldBlock))
    }
}

/// The value of a mutex that is known to be free.
fn taken<T>(value: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    match value.try_lock() {
        Ok(guard) => guard,
        // parking_lot knows no poison.
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => panic!("rule 1: a thread waits for a lock that it holds"),
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        if self.value.take().is_some() {
            ME.with(|me| me.held.set(me.held.get() - 1));
            taken(&self.mutex.waiting).drain(..).for_each(|waiter| waiter.unpark());
        }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("nobody looks into the guard of a thread that waits")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("nobody looks into the guard of a thread that waits")
    }
}

/// The threads that wait.
#[derive(Default)]
pub(crate) struct Condvar(std::sync::Mutex<Vec<thread::Thread>>);

impl Condvar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Without an end, as the checkers have it: who relies on the end hangs, and is found. Where time matters in a model, a
    /// thread moves the clock.
    pub(crate) fn wait<T>(&self, state: &mut MutexGuard<'_, T>, _timeout: Option<Duration>) {
        taken(&self.0).push(thread::current());
        // No step from here until it sleeps: nobody comes in between.
        let mutex = state.mutex;
        *state = MutexGuard { value: None, mutex };
        thread::park();
        RUN.with(|run| run.fresh.set(true));
        if let Some(act) = ME.with(|me| me.on_waking.take()) {
            act();
        }
        *state = mutex.lock();
    }

    pub(crate) fn notify_all<T>(&self, _state: &MutexGuard<'_, T>) {
        taken(&self.0).drain(..).for_each(|waiter| waiter.unpark());
    }

    /// Whoever has waited longest, as with the real one. shuttle tries the others.
    pub(crate) fn notify_one(&self) {
        let mut waiting = taken(&self.0);
        if !waiting.is_empty() {
            waiting.remove(0).unpark();
        }
    }
}

pub(crate) struct Leaf<T> {
    value: std::sync::Mutex<T>,
    step: Option<Mutex<()>>,
}

pub(crate) struct LeafGuard<'a, T> {
    value: std::sync::MutexGuard<'a, T>,
    _step: Option<MutexGuard<'a, ()>>,
}

impl<T> Leaf<T> {
    pub(crate) fn new(value: T) -> Self {
        let is_step = RUN.with(|run| run.leaves_are_steps.get());
        Leaf { value: std::sync::Mutex::new(value), step: is_step.then(|| Mutex::new(())) }
    }

    pub(crate) fn lock(&self) -> LeafGuard<'_, T> {
        let step = self.step.as_ref().map(Mutex::lock);
        let under_another = RUN.with(|run| run.leaf_is_held.replace(true));
        assert!(!under_another, "rule 1: a lock is taken under a leaf");
        LeafGuard { value: taken(&self.value), _step: step }
    }
}

impl<T> Drop for LeafGuard<'_, T> {
    fn drop(&mut self) {
        RUN.with(|run| run.leaf_is_held.set(false));
    }
}

impl<T> Deref for LeafGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for LeafGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

/// Counts arrivals, and lets threads wait for a number of them. Who comes first makes no difference to anybody.
#[derive(Default)]
pub(crate) struct Latch(std::sync::Mutex<(usize, Vec<(usize, thread::Thread)>)>);

impl Latch {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn arrive(&self) {
        let (arrived, waiters) = &mut *taken(&self.0);
        *arrived += 1;
        waiters.retain(|(number, waiter)| {
            let waits = number > arrived;
            if !waits {
                waiter.unpark();
            }
            waits
        });
    }

    pub(crate) fn wait_for(&self, number: usize) {
        {
            let (arrived, waiters) = &mut *taken(&self.0);
            if *arrived >= number {
                return;
            }
            waiters.push((number, thread::current()));
        }
        // Whoever runs next goes on where it was.
        RUN.with(|run| run.fresh.set(false));
        // What it does next may be seen before its next step: to be woken is not one with that.
        thread::park();
    }
}

/// Of a thread, in words. loom's first thread has 4096 of them, which are too few for a session that is not optimised.
const STACK: usize = 1 << 15;

/// Runs `act` on that many threads, numbered from 0, and returns what each brought. This one only waits for them.
pub(crate) fn crowd<R: Send + 'static>(threads: usize, act: impl Fn(usize) -> R + Send + Sync + 'static) -> Vec<R> {
    beside(threads + 1, move |number| act(number - 1), || ()).1
}

/// Runs `others` on all threads but this one, from number 1 on, and `own` on this one. Returns what they brought.
pub(crate) fn beside<R: Send + 'static, Q>(
    threads: usize,
    others: impl Fn(usize) -> R + Send + Sync + 'static,
    own: impl FnOnce() -> Q,
) -> (Q, Vec<R>) {
    let others = Arc::new(others);
    let (results, ended) = (Arc::new(std::sync::Mutex::new(Vec::new())), Arc::new(Latch::new()));
    let set_others = |number| RUN.with(|run| run.others.set(number));
    set_others(threads - 1);
    let handles = (1..threads).map(|number| {
        let (other, results, ended) = (Arc::clone(&others), Arc::clone(&results), Arc::clone(&ended));
        let spawned = thread::Builder::new().stack_size(STACK).spawn(move || {
            ME.with(|me| me.number.set(number));
            RUN.with(|run| run.fresh.set(true));
            let result = other(number);
            // What it holds is to be gone before it counts as gone.
            drop(other);
            taken(&results).push((number, result));
            RUN.with(|run| run.fresh.set(false));
            ended.arrive();
        });
        spawned.expect("loom's threads cost nothing")
    });
    let handles: Vec<_> = handles.collect();
    drop(others);
    let own = own();
    if RUN.with(|run| run.plain.get()) {
        handles.into_iter().for_each(|other| other.join().expect("a panic ends the execution"));
    }
    ended.wait_for(threads - 1);
    set_others(0);
    let mut results = std::mem::take(&mut *taken(&results));
    results.sort_by_key(|(number, _)| *number);
    (own, results.into_iter().map(|(_, result)| result).collect())
}
