//! The single-flight gate: any number of threads need a new value, one makes it, the others wait.
//!
//! ```text
//!             enter                                  publish
//!   Idle(g) ──────────► Refreshing(leader, record) ──────────► Idle(g+1)
//!     ▲                     │            │     │
//!     │ the pause is over   │ fail       │     │ leader unwound
//!     │ (or short), install ▼            │     ▼
//!     └───────────── Failed(error, until)│   Idle(g): of those who wake, one becomes the leader
//!                                        │
//!                            install, end: the flight is superseded; whatever its leader brings is dropped
//! ```
//!
//! The rules, which the rest of this file is written to and the tests are named after:
//!
//! 1. State changes only under the mutex. No I/O, no user code, no foreign destructor, no log call runs under it.
//!    (A waiter's look at its clock does: the clock's contract says so.)
//! 2. Refreshing has one leader, and the leader's `Drop` leaves Refreshing on every way out, unwinding included.
//! 3. `generation` grows only when a new value is published. "Was it refreshed already?" compares generations.
//! 4. Every change out of Refreshing wakes all who wait. A leader's own wakes two of its waiters, and each that leaves wakes the
//!    next, so that one which does not run holds up nobody; a change from outside wakes all at once.
//! 5. A waiter returns only on a newer generation that nobody has refused, the verdict of the flight that it joined, or its own
//!    deadline.
//! 6. One failed flight is one error, shared by all who waited on it; those who come later get it during the pause, or begin
//!    the next flight with the rest of a pause that is short.
//! 7. The leader entering its own flight again is told so, instead of waiting for itself.
//! 8. Calls of one thread stay in order: whoever enters comes back with the value before it does anything else.
//!
//! It knows nothing of what the value means: whether one is due is for the caller's `judge` to say, a pure function.

mod waiter;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Tick;
use crate::sync::{self, Condvar, Leaf, Mutex, MutexGuard, ThreadId};
pub(crate) use waiter::Waited;
pub(crate) use watch::{Schedule, Watched};

pub(crate) struct Flight<T, E> {
    state: Mutex<State<T, E>>,
    /// For those who watch. Those who have joined a flight wait for its [`Joined::over`].
    changed: Condvar,
}

struct State<T, E> {
    generation: u64,
    current: Option<Arc<T>>,
    /// The current value is not to be given out, whatever the judge says: it was refused, or it was never usable.
    refused: bool,
    phase: Phase<E>,
}

enum Phase<E> {
    Idle,
    Refreshing { leader: ThreadId, record: Record<E> },
    Failed { error: E, pause: Pause },
}

/// How long a failure stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pause {
    /// `None`: until something is installed.
    pub(crate) until: Option<Tick>,
    /// The earliest end that somebody may ask for ([`Flight::retry`]).
    pub(crate) at_least: Tick,
    /// Is it worth waiting for? After it, another flight may do better.
    pub(crate) is_sat_out: bool,
}

impl Pause {
    pub(crate) const FOR_EVER: Pause =
        Pause { until: None, at_least: Tick::from_zero(Duration::MAX), is_sat_out: false };

    fn rest(self, now: Tick) -> Duration {
        self.until.map_or(Duration::MAX, |until| until.since(now))
    }
}

/// What becomes of the current value when a flight fails.
pub(crate) enum Current<T> {
    Stays,
    Goes,
    /// The same value in the eyes of those who hold it, with another way to the next one: no new generation. `usable`: it
    /// can be given out.
    Becomes {
        value: T,
        usable: bool,
    },
}

/// One flight's verdict, kept by all who joined it: a waiter that is slow to wake still finds the verdict of *its* flight
/// when another has begun. Written and read under the mutex only.
type Record<E> = Arc<Joined<E>>;

/// What a leader and its waiters have in common.
struct Joined<E> {
    verdict: Leaf<Option<E>>,
    /// Each that is woken when the flight is over wakes the next ([`Waiter::wait`]).
    over: Condvar,
}

impl<E> Joined<E> {
    /// How many wake at a time. More would all begin their calls at once, each with a connection of its own: with eight, 512
    /// threads overflow a server's queue of those.
    const FIRST: usize = 2;

    /// The mutex must be free.
    fn wake_first(&self) {
        for _ in 0..Self::FIRST {
            self.over.notify_one();
        }
    }
}

/// What is to be destroyed when the mutex is free (rule 1).
type Replaced<T, E> = (Option<Arc<T>>, Phase<E>);

/// What a judge thinks of the current value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    /// None: it is good.
    None,
    /// It is good, but one caller should replace it, and nobody should wait.
    Advisory,
    /// A new one. `usable`: the current one will do as long as no new one can be had.
    Mandatory { usable: bool },
    /// A new one, for everybody: this one was refused.
    Refused,
}

/// Where entering leads to.
pub(crate) enum Entry<'a, T, E> {
    Ready(Arc<T>),
    Lead(Leader<'a, T, E>),
    Join(Waiter<'a, T, E>),
    Failed(E),
    Reentrant,
}

impl<T, E: Clone> Flight<T, E> {
    pub(crate) fn new() -> Self {
        let state = State { generation: 0, current: None, refused: false, phase: Phase::Idle };
        Flight { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The current value, if `is_good` and no flight is under way: the way of nearly every call, with one lock, one look and
    /// one count. `is_good` runs under the mutex and must be pure.
    #[inline]
    pub(crate) fn ready(&self, is_good: impl FnOnce(&T) -> bool) -> Option<Arc<T>> {
        let state = self.state.lock();
        match &state.current {
            Some(current) if !state.refused && !matches!(state.phase, Phase::Refreshing { .. }) && is_good(current) => {
                Some(Arc::clone(current))
            }
            _ => None,
        }
    }

    /// Asks for a value. `judge` sees the current one and its generation; it runs under the mutex and must be pure. A pause
    /// whose rest is not longer than `patience` is no failure: whoever finds it leads the next flight, and sits it out first.
    pub(crate) fn enter(&self, now: Tick, patience: Duration, judge: impl FnOnce(&T, u64) -> Need) -> Entry<'_, T, E> {
        let mut state = self.state.lock();
        let need = match &state.current {
            Some(current) if !state.refused => judge(current, state.generation),
            // None, or one that is not even looked at.
            _ => Need::Mandatory { usable: false },
        };
        if need == Need::Refused {
            state.refused = true;
        }
        let usable = matches!(need, Need::None | Need::Advisory | Need::Mandatory { usable: true });
        let rest = match (&state.phase, &state.current) {
            // Rule 7, before all else: even a value that looks good may be the one that this flight replaces.
            (Phase::Refreshing { leader, .. }, _) if *leader == sync::current_thread() => return Entry::Reentrant,
            (Phase::Refreshing { .. }, Some(current)) if matches!(need, Need::None | Need::Advisory) => {
                return Entry::Ready(Arc::clone(current));
            }
            (Phase::Refreshing { record, .. }, _) => {
                return Entry::Join(Waiter { flight: self, record: Arc::clone(record), generation: state.generation });
            }
            (_, Some(current)) if need == Need::None => return Entry::Ready(Arc::clone(current)),
            (Phase::Idle, _) => Duration::ZERO,
            (Phase::Failed { error, pause }, current) => match (pause.rest(now), current) {
                (Duration::ZERO, _) => Duration::ZERO,
                (_, Some(current)) if usable => return Entry::Ready(Arc::clone(current)),
                (rest, _) if pause.is_sat_out && rest <= patience => rest,
                _ => return Entry::Failed(error.clone()),
            },
        };
        Entry::Lead(self.begin(&mut state, rest))
    }

    fn begin(&self, state: &mut State<T, E>, rest: Duration) -> Leader<'_, T, E> {
        let record = Record::new(Joined { verdict: Leaf::new(None), over: Condvar::new() });
        let phase = Phase::Refreshing { leader: sync::current_thread(), record: Arc::clone(&record) };
        // Rule 1: the last flight's error goes with the leader, to be destroyed when the mutex is free.
        let former = std::mem::replace(&mut state.phase, phase);
        Leader { flight: self, record, previous: state.current.clone(), former, rest, gone: false }
    }

    /// The failure that stands, if the last flight failed and no other has begun.
    pub(crate) fn failure(&self) -> Option<E> {
        match &self.state.lock().phase {
            Phase::Failed { error, .. } => Some(error.clone()),
            Phase::Idle | Phase::Refreshing { .. } => None,
        }
    }

    /// Ends the pause after a failure, or makes it as short as it may be. Is it shorter now?
    pub(crate) fn retry(&self, now: Tick) -> bool {
        let mut state = self.state.lock();
        let Phase::Failed { pause, .. } = &mut state.phase else { return false };
        let Some(until) = &mut pause.until else { return false };
        let sooner = pause.at_least.max(now);
        let is_sooner = sooner < *until;
        if is_sooner {
            *until = sooner;
            // Nobody joins a pause, but a watch may last until its end.
            self.changed.notify_all(&state);
        }
        is_sooner
    }

    /// The current value with its generation and whether it was refused.
    pub(crate) fn current(&self) -> (Option<Arc<T>>, u64, bool) {
        let state = self.state.lock();
        (state.current.clone(), state.generation, state.refused)
    }

    /// Publishes a value that comes from outside. A flight under way is superseded: its waiters get this value, unless it is
    /// not `usable` and only shows the way to the next one.
    pub(crate) fn install(&self, usable: bool, make: impl FnOnce(u64) -> T) -> Arc<T> {
        let (value, _old) = self.change(|state| {
            let published = state.publish(make);
            state.refused = !usable;
            published
        });
        value
    }

    /// Ends it all: everybody gets `error` until something is installed. A flight under way is superseded: its waiters find
    /// that it is over, and enter again. Returns what was current.
    pub(crate) fn end(&self, error: E) -> Option<Arc<T>> {
        let (old, _phase) = self.change(|state| {
            (state.current.take(), std::mem::replace(&mut state.phase, Phase::Failed { error, pause: Pause::FOR_EVER }))
        });
        old
    }

    /// A change from outside. `change` returns what is to be destroyed: destructors wipe memory, and an error's may be
    /// anybody's, so they run when the mutex is free (rule 1).
    fn change<R>(&self, change: impl FnOnce(&mut State<T, E>) -> R) -> R {
        let mut state = self.state.lock();
        self.wake_joined(&state);
        let old = change(&mut state);
        self.changed.notify_all(&state);
        old
    }

    /// Has all who watch look again. `joined`: so do those who have joined a flight, as for a clock that is moved by hand.
    pub(crate) fn poke(&self, joined: bool) {
        // Under the mutex: a waiter that has read the old time but does not sleep yet would miss the notification.
        let state = self.state.lock();
        if joined {
            self.wake_joined(&state);
        }
        self.changed.notify_all(&state);
    }

    /// All who have joined the flight that is under way.
    fn wake_joined(&self, state: &MutexGuard<'_, State<T, E>>) {
        if let Phase::Refreshing { record, .. } = &state.phase {
            record.over.notify_all(state);
        }
    }
}

impl<T, E> State<T, E> {
    /// Returns the new value, and what it has replaced.
    fn publish(&mut self, make: impl FnOnce(u64) -> T) -> (Arc<T>, Replaced<T, E>) {
        let generation = self.generation + 1;
        let value = Arc::new(make(generation));
        (self.generation, self.refused) = (generation, false);
        let old = self.current.replace(Arc::clone(&value));
        (value, (old, std::mem::replace(&mut self.phase, Phase::Idle)))
    }

    fn is_led_by(&self, flight: &Record<E>) -> bool {
        matches!(&self.phase, Phase::Refreshing { record, .. } if Arc::ptr_eq(record, flight))
    }
}

/// The one thread that makes the next value. Dropping it, by unwinding or otherwise, frees the place.
pub(crate) struct Leader<'a, T, E> {
    flight: &'a Flight<T, E>,
    record: Record<E>,
    previous: Option<Arc<T>>,
    former: Phase<E>,
    rest: Duration,
    gone: bool,
}

impl<T, E> Leader<'_, T, E> {
    /// The way out, the only one: `change` makes the state what it is to be after the flight. It returns what is to be
    /// destroyed when the mutex is free. `None` if the flight was superseded meanwhile.
    fn leave<R>(&mut self, change: impl FnOnce(&mut State<T, E>, &Record<E>) -> R) -> Option<R> {
        let mut state = self.flight.state.lock();
        let left = if state.is_led_by(&self.record) {
            let old = change(&mut state, &self.record);
            self.flight.changed.notify_all(&state);
            Some(old)
        } else {
            None
        };
        // Not before: should `change` unwind, the place is still to be freed.
        self.gone = true;
        drop(state);
        if left.is_some() {
            self.record.wake_first();
        }
        left
    }
}

impl<T, E: Clone> Leader<'_, T, E> {
    /// The value to be replaced.
    pub(crate) fn previous(&self) -> Option<&Arc<T>> {
        self.previous.as_ref()
    }

    /// What is left of the pause before this flight: to be sat out first.
    pub(crate) fn rest(&self) -> Duration {
        self.rest
    }

    /// The verdict of the flight before this one, if it failed and nothing was installed since.
    pub(crate) fn last_failure(&self) -> Option<&E> {
        match &self.former {
            Phase::Failed { error, .. } => Some(error),
            Phase::Idle | Phase::Refreshing { .. } => None,
        }
    }

    /// Is the flight still under way? Where something was installed meanwhile, or all was ended, its result will be dropped.
    pub(crate) fn stands(&self) -> bool {
        self.flight.state.lock().is_led_by(&self.record)
    }

    /// Publishes the new value; `None` if the flight was superseded meanwhile and the value dropped.
    pub(crate) fn publish(mut self, make: impl FnOnce(u64) -> T) -> Option<Arc<T>> {
        self.leave(|state, _| state.publish(make)).map(|(value, _old)| value)
    }

    /// Gives the flight's verdict to all who joined it, and to those who come during the pause. False if the flight was
    /// superseded meanwhile.
    pub(crate) fn fail(mut self, error: E, pause: Pause, current: Current<T>) -> bool {
        // Made before the mutex is taken: memory is got outside of it, as it is given back.
        let change = match current {
            Current::Stays => None,
            Current::Goes => Some((None, true)),
            Current::Becomes { value, usable } => Some((Some(Arc::new(value)), usable)),
        };
        let left = self.leave(|state, record| {
            let unheard = record.verdict.lock().replace(error.clone());
            let old = change.map(|(current, usable)| {
                state.refused |= !usable;
                std::mem::replace(&mut state.current, current)
            });
            (old, unheard, std::mem::replace(&mut state.phase, Phase::Failed { error, pause }))
        });
        left.is_some()
    }

    /// The same, but only for those who joined it: whoever comes next starts anew.
    pub(crate) fn fail_once(mut self, error: E) {
        self.leave(|state, record| {
            (record.verdict.lock().replace(error), std::mem::replace(&mut state.phase, Phase::Idle))
        });
    }
}

impl<T, E> Drop for Leader<'_, T, E> {
    fn drop(&mut self) {
        if !self.gone {
            self.leave(|state, _| std::mem::replace(&mut state.phase, Phase::Idle));
        }
    }
}

/// A thread that has joined a flight and does not wait yet: between the two, user code may run.
pub(crate) struct Waiter<'a, T, E> {
    flight: &'a Flight<T, E>,
    record: Record<E>,
    generation: u64,
}
