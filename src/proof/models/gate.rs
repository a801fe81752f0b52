//! The gate when nobody interferes, and what all scenarios of the gate share.

use std::sync::atomic::{AtomicUsize as PlainCounter, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::{LONG, PlainClock, assert_unlocked, crowd, unwind, work};
use crate::clock::{Clock, Tick};
use crate::flight::{Current, Entry, Flight, Leader, Need, Pause, Waited};
use crate::sync::Mutex;

pub(super) type Gate = Flight<Value, Verdict>;

/// A value that knows its place and its maker.
pub(super) struct Value {
    pub(super) generation: u64,
    pub(super) maker: &'static str,
    _probe: Option<Probe>,
}

/// The error of the flight with this number.
pub(super) struct Verdict {
    pub(super) flight: usize,
    _probe: Option<Probe>,
    /// Copies until one unwinds.
    copies: Option<Arc<PlainCounter>>,
}

impl Clone for Verdict {
    fn clone(&self) -> Self {
        if self.copies.as_ref().is_some_and(|copies| copies.fetch_sub(1, Ordering::SeqCst) == 1) {
            unwind();
        }
        Verdict { flight: self.flight, _probe: self._probe.clone(), copies: self.copies.clone() }
    }
}

/// A foreign destructor: it takes the gate's mutex, so that whoever runs it under the mutex waits for itself.
#[derive(Clone)]
struct Probe(Weak<World>);

impl Drop for Probe {
    fn drop(&mut self) {
        assert_unlocked();
        // The checkers know without a try, which would be a step more for them.
        if let Some(world) = self.0.upgrade().filter(|_| cfg!(not(model))) {
            drop(world.gate.current());
        }
    }
}

/// By a leader, unless said otherwise.
pub(super) const LEADER: &str = "leader";

impl Value {
    pub(super) fn by(maker: &'static str) -> impl FnOnce(u64) -> Value {
        move |generation| Value { generation, maker, _probe: None }
    }
}

impl Verdict {
    pub(super) fn of(flight: usize) -> Self {
        Verdict { flight, _probe: None, copies: None }
    }

    /// The copy with this number unwinds, as the code of a foreign error may.
    pub(super) fn that_unwinds(flight: usize, copy: usize) -> Self {
        Verdict { copies: Some(Arc::new(PlainCounter::new(copy))), ..Self::of(flight) }
    }
}

/// A gate, and what the scenarios count beside it.
pub(super) struct World {
    pub(super) gate: Gate,
    pub(super) clock: PlainClock,
    /// Flights begun. Not modelled: read when all threads are done.
    led: PlainCounter,
    /// Leaders at work. Modelled: the work is where the others get their turn.
    working: Mutex<usize>,
}

pub(super) type Answer = Result<Arc<Value>, Verdict>;

impl World {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(World {
            gate: Gate::new(),
            clock: PlainClock::default(),
            led: PlainCounter::new(0),
            working: Mutex::new(0),
        })
    }

    pub(super) fn led(&self) -> usize {
        self.led.load(Ordering::SeqCst)
    }

    /// The leader's call of the source. Rule 2: at most one at a time, where no flight is superseded.
    pub(super) fn work(&self) {
        {
            let mut working = self.working.lock();
            *working += 1;
            assert_eq!(*working, 1, "rule 2: a second leader");
        }
        work();
        *self.working.lock() -= 1;
    }

    /// Enters, as a session does, until there is an answer. `lead` does a leader's work and is told the flight's number;
    /// with `None` from it (the flight was superseded) the caller looks again.
    pub(super) fn obtain(
        &self,
        judge: impl Fn(&Value) -> Need,
        lead: impl Fn(Leader<'_, Value, Verdict>, usize) -> Option<Answer>,
    ) -> Answer {
        self.obtain_with(Duration::ZERO, judge, lead)
    }

    /// The same with patience for a pause.
    pub(super) fn obtain_with(
        &self,
        patience: Duration,
        judge: impl Fn(&Value) -> Need,
        lead: impl Fn(Leader<'_, Value, Verdict>, usize) -> Option<Answer>,
    ) -> Answer {
        loop {
            let answer = match self.enter_with(patience, &judge, self.clock.now()) {
                Entry::Ready(value) => Some(Ok(value)),
                Entry::Failed(verdict) => Some(Err(verdict)),
                Entry::Reentrant => panic!("rule 7: this thread leads nothing"),
                Entry::Lead(leader) => lead(leader, self.led.fetch_add(1, Ordering::SeqCst) + 1),
                Entry::Join(waiter) => {
                    let begin = self.clock.now();
                    let waited = waiter.wait(&self.clock, begin.after(LONG));
                    let took = self.clock.now().since(begin);
                    assert!(took < LONG / 2, "rule 4: woken by the deadline only, after {took:?}");
                    match waited {
                        Waited::Published(value) => Some(Ok(value)),
                        Waited::Failed(verdict) => Some(Err(verdict)),
                        Waited::Abandoned => None,
                        Waited::TimedOut => panic!("rule 5: the deadline has not come"),
                    }
                }
            };
            if let Some(answer) = answer {
                return answer;
            }
        }
    }

    /// One entry without patience.
    pub(super) fn enter(&self, judge: impl Fn(&Value) -> Need, now: Tick) -> Entry<'_, Value, Verdict> {
        self.enter_with(Duration::ZERO, judge, now)
    }

    /// One entry. Rules 1 and 3: whoever looks sees a value and its own generation, never one half of a change.
    fn enter_with(&self, patience: Duration, judge: impl Fn(&Value) -> Need, now: Tick) -> Entry<'_, Value, Verdict> {
        self.gate.enter(now, patience, |value, generation| {
            assert_eq!(value.generation, generation, "rule 1: half of a change is to be seen");
            judge(value)
        })
    }

    /// A leader that works and publishes.
    pub(super) fn publish(&self, leader: Leader<'_, Value, Verdict>) -> Option<Answer> {
        self.work();
        leader.publish(Value::by(LEADER)).map(Ok)
    }
}

/// A failure that stands until then.
pub(super) fn stands_until(moment: Tick) -> Pause {
    Pause { until: Some(moment), at_least: moment, is_sat_out: true }
}

pub(super) fn good(_: &Value) -> Need {
    Need::None
}

pub(super) fn refused(generation: u64) -> impl Fn(&Value) -> Need {
    move |value| if value.generation == generation { Need::Refused } else { Need::None }
}

pub(super) fn generation(answer: Answer) -> u64 {
    answer.unwrap_or_else(|verdict| panic!("flight {} failed, and none was to", verdict.flight)).generation
}

/// Rules 2, 3, 4: all want the first value; one makes it, all have it.
pub(super) fn single_flight(threads: usize) {
    let world = World::new();
    let shared = Arc::clone(&world);
    let answers = crowd(threads, move |_| shared.obtain(good, |leader, _| shared.publish(leader)));
    for answer in answers {
        assert_eq!(generation(answer), 1, "rule 3");
    }
    assert_eq!(world.led(), 1, "rule 2: one flight for all");
}

/// Rules 3, 8: all but one report the same value as refused; one flight, and nobody who knows of the refusal is given the
/// refused one.
pub(super) fn late_refusal(threads: usize) {
    let world = World::new();
    world.gate.install(true, Value::by("login"));
    let known = Arc::new(Mutex::new(false));
    let shared = Arc::clone(&world);
    let generations = crowd(threads, move |number| {
        let lead = |leader: Leader<'_, _, _>, _| {
            *known.lock() = true;
            shared.publish(leader)
        };
        if number > 0 {
            return generation(shared.obtain(refused(1), lead));
        }
        let oldest = if *known.lock() { 2 } else { 1 };
        let got = generation(shared.obtain(good, lead));
        assert!(got >= oldest, "rule 8: given a value that is known to be refused");
        got.max(2)
    });
    assert!(generations.iter().all(|generation| *generation == 2), "rule 3: {generations:?}");
    assert_eq!(world.led(), 1, "rule 3: a late refusal is no reason for a second flight");
}

/// Rules 1, 3, 8: one caller replaces a value that is still good, and nobody waits for it; whoever looks sees all of the old
/// one or all of the new one, and never the old one after the new one.
pub(super) fn fast_path_against_publication(threads: usize) {
    let world = World::new();
    world.gate.install(true, Value::by("login"));
    let shared = Arc::clone(&world);
    crowd(threads, move |_| {
        let mut last = 0;
        for _call in 0..2 {
            let judge = |value: &Value| if value.generation == 1 { Need::Advisory } else { Need::None };
            let now = match shared.enter(judge, shared.clock.now()) {
                Entry::Ready(value) => value.generation,
                Entry::Lead(leader) => {
                    shared.led.fetch_add(1, Ordering::SeqCst);
                    generation(shared.publish(leader).expect("nobody supersedes it"))
                }
                _ => panic!("nobody waits for a value that is only to be replaced in time"),
            };
            assert!(now >= last, "rule 8: from generation {last} back to {now}");
            last = now;
        }
    });
    assert_eq!((world.led(), world.gate.current().1), (1, 2), "rules 2 and 3");
}

/// Rules 2, 3, 8: the values of two flights in a row, in order, for every thread.
pub(super) fn several_flights_in_a_row(threads: usize) {
    let world = World::new();
    let shared = Arc::clone(&world);
    crowd(threads, move |_| {
        for call in 1..=2 {
            let due = |value: &Value| match value.generation < call {
                true => Need::Mandatory { usable: false },
                false => Need::None,
            };
            let got = generation(shared.obtain(due, |leader, _| shared.publish(leader)));
            assert!(got >= call, "rule 8: call {call} goes out with generation {got}");
        }
    });
    assert_eq!((world.led(), world.gate.current().1), (2, 2), "rules 2 and 3: one flight per value");
}

/// Rule 7: the leader enters its own flight again, with and without a value to hand, and is told so; nobody else is.
pub(super) fn reentrancy(threads: usize) {
    let world = World::new();
    let shared = Arc::clone(&world);
    let answers = crowd(threads, move |_| {
        shared.obtain(good, |leader, _| {
            assert!(matches!(shared.enter(good, shared.clock.now()), Entry::Reentrant), "rule 7: without a value");
            shared.publish(leader)
        })
    });
    // The value looks good, but it is the one that the flight replaces.
    let due = |value: &Value| if value.generation == 1 { Need::Advisory } else { Need::None };
    let replaced = world.obtain(due, |leader, _| {
        assert!(matches!(world.enter(good, world.clock.now()), Entry::Reentrant), "rule 7: with a value");
        world.publish(leader)
    });
    assert_eq!(generation(replaced), 2, "the flight goes on after it");
    assert!(answers.into_iter().all(|answer| generation(answer) == 1));
}

/// Rule 1: every value and every error has a destructor that takes the gate's mutex, and every way of changing the state
/// gets rid of some, also at the same time.
pub(super) fn foreign_destructors(threads: usize) {
    let world = World::new();
    let probe = || Some(Probe(Arc::downgrade(&world)));
    let (installed, ended) = (probe(), probe());
    let shared = Arc::clone(&world);
    crowd(threads, move |number| {
        let probe = || Some(Probe(Arc::downgrade(&shared)));
        match number {
            0 => {
                for attempt in 1..=4 {
                    let now = shared.clock.now();
                    let need = |_: &Value| Need::Refused;
                    let Entry::Lead(leader) = shared.enter(need, now) else { break };
                    let verdict = Verdict { _probe: probe(), ..Verdict::of(attempt) };
                    let made = |generation| Value { generation, maker: LEADER, _probe: probe() };
                    match attempt {
                        1 => leader.fail_once(verdict),
                        2 => {
                            let value = made(leader.previous().map_or(0, |previous| previous.generation));
                            let _still_ours =
                                leader.fail(verdict, stands_until(now), Current::Becomes { value, usable: true });
                        }
                        3 => {
                            let _still_ours = leader.fail(verdict, stands_until(now), Current::Goes);
                        }
                        _ => drop(leader.publish(made)),
                    }
                }
            }
            1 => {
                let maker = "login";
                drop(shared.gate.install(true, |generation| Value { generation, maker, _probe: installed.clone() }));
            }
            _ => drop(shared.gate.end(Verdict { _probe: ended.clone(), ..Verdict::of(0) })),
        }
    });
}
