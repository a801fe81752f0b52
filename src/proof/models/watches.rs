//! The gate as those see it who hold a value and wait for the next one, without needing it now.

use std::sync::Arc;

use super::gate::{LEADER, Value, Verdict, World, good, stands_until};
use super::{LONG, beside, caught, unwind};
use crate::clock::{Clock, Tick};
use crate::flight::{Current, Entry, Need, Schedule, Watched};

/// Never due for its age.
fn ageless(_: &Value) -> Schedule {
    Schedule { due_at: None, ends_at: None }
}

/// A gate with a value of generation 1.
fn with_a_value() -> Arc<World> {
    let world = World::new();
    world.gate.install(true, Value::by("login"));
    world
}

/// A watch of generation 1. Rule 4: its deadline is not what ends it.
fn watch(world: &World, schedule: impl Fn(&Value) -> Schedule) -> Watched<Value> {
    let begin = world.clock.now();
    let watched = world.gate.watch(1, &world.clock, begin.after(LONG), schedule);
    let took = world.clock.now().since(begin);
    assert!(took < LONG / 2, "rule 4: woken by the deadline only, after {took:?}");
    watched
}

/// The value that a watch was ended by.
fn another(watched: Watched<Value>) -> Arc<Value> {
    match watched {
        Watched::Another(value) => value,
        Watched::Due => panic!("rule 5: it is not due"),
        Watched::TimedOut => panic!("rule 5: the deadline has not come"),
    }
}

/// Rules 4, 5: whoever watches gets the value that a flight publishes, whether the watch begins before it, in it or after it.
pub(super) fn a_watch_sees_a_flight(threads: usize) {
    let world = with_a_value();
    let shared = Arc::clone(&world);
    let others = move |_| {
        let value = another(watch(&shared, ageless));
        assert_eq!((value.generation, value.maker), (2, LEADER), "rule 5");
    };
    beside(threads, others, || {
        let Entry::Lead(leader) = world.enter(|_| Need::Mandatory { usable: true }, world.clock.now()) else {
            panic!("nobody else enters")
        };
        world.work();
        assert!(leader.publish(Value::by(LEADER)).is_some(), "nobody supersedes it");
    });
}

/// Rules 4, 5: whoever watches gets what is installed, and is told of the end.
pub(super) fn a_watch_sees_what_comes_from_outside(threads: usize) {
    let world = with_a_value();
    let shared = Arc::clone(&world);
    let others = move |_| match watch(&shared, ageless) {
        Watched::Another(value) => assert_eq!((value.generation, value.maker), (2, "second login"), "rule 5"),
        Watched::Due => {
            let now = shared.clock.now();
            assert!(matches!(shared.enter(good, now), Entry::Failed(_)), "rule 5: it is the end that is due");
        }
        Watched::TimedOut => panic!("rule 5: the deadline has not come"),
    };
    beside(threads, others, || {
        world.gate.install(true, Value::by("second login"));
        world.gate.end(Verdict::of(0));
    });
}

/// Rules 2, 4: a leader unwinds, and the value is due. Of those who watch, one leads the next flight, and all get its value.
pub(super) fn a_watch_sees_a_leader_that_panics(threads: usize) {
    let world = with_a_value();
    let due = |_: &Value| Schedule { due_at: Some(Tick::default()), ends_at: None };
    let Entry::Lead(leader) = world.enter(|_| Need::Mandatory { usable: true }, world.clock.now()) else {
        panic!("nobody else is there")
    };
    let shared = Arc::clone(&world);
    let others = move |_| loop {
        match watch(&shared, due) {
            Watched::Another(value) => return assert_eq!((value.generation, value.maker), (2, LEADER), "rule 5"),
            Watched::Due => {
                let judge = |value: &Value| if value.generation == 1 { Need::Advisory } else { Need::None };
                if let Entry::Lead(leader) = shared.enter(judge, shared.clock.now()) {
                    shared.work();
                    assert!(leader.publish(Value::by(LEADER)).is_some(), "nobody supersedes it");
                }
            }
            Watched::TimedOut => panic!("rule 5: the deadline has not come"),
        }
    };
    beside(threads, others, || {
        let unwound = caught(|| {
            let _leader = leader;
            unwind()
        });
        assert!(unwound.is_err());
    });
}

/// Rules 4, 6: a flight fails ahead of time, with a pause. A watch lasts until the pause is over, or is made shorter.
pub(super) fn a_watch_sees_the_end_of_a_pause(threads: usize) {
    let world = with_a_value();
    let begin = world.clock.now();
    let until = begin.after(LONG * 100);
    let due = |_: &Value| Schedule { due_at: Some(Tick::default()), ends_at: None };
    let Entry::Lead(leader) = world.enter(|_| Need::Mandatory { usable: true }, begin) else {
        panic!("nobody else is there")
    };
    let shared = Arc::clone(&world);
    let others = move |_| {
        assert!(matches!(watch(&shared, due), Watched::Due), "rule 6");
        let now = shared.clock.now();
        assert!(
            !matches!(shared.enter(|_| Need::Mandatory { usable: false }, now), Entry::Failed(_)),
            "rule 6: the pause stands"
        );
    };
    beside(threads, others, || {
        let mut pause = stands_until(until);
        pause.at_least = begin;
        assert!(leader.fail(Verdict::of(1), pause, Current::Stays), "nobody supersedes it");
        assert!(world.gate.retry(world.clock.now()), "it is shorter now");
    });
}
