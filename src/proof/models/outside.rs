//! The gate when a flight fails, is slow, or is overtaken from outside.

use std::sync::Arc;
use std::time::Duration;

use super::gate::{Gate, LEADER, Value, Verdict, World, generation, good, refused, stands_until};
use super::{LONG, Latch, beside, caught, crowd, unwind};
use crate::clock::{Clock, ManualClock, Tick};
use crate::flight::{Current, Entry, Leader, Need, Pause, Waited, Waiter};
use crate::sync::{Mutex, on_waking};

/// Rule 6: all who waited, and all who come before `until`, get the one error of the one flight; then somebody leads again.
pub(super) fn leader_fails(threads: usize) {
    let world = World::new();
    let until = world.clock.now().after(LONG);
    let shared = Arc::clone(&world);
    let answers = crowd(threads, move |_| {
        shared.obtain(good, |leader, flight| {
            shared.work();
            assert!(leader.fail(Verdict::of(flight), stands_until(until), Current::Stays), "nobody supersedes it");
            Some(Err(Verdict::of(flight)))
        })
    });
    for answer in answers {
        assert_eq!(answer.err().map(|verdict| verdict.flight), Some(1), "rule 6: one error");
    }
    assert_eq!(world.led(), 1, "rule 6: one flight");
    assert_eq!(world.gate.current().1, 0, "rule 3: nothing was published");
    assert!(matches!(world.enter(good, until), Entry::Lead(_)), "the error stands until then");
}

/// Rules 2, 4: the first leader unwinds; of those who wait or come, one becomes the leader, and all but the unlucky one have
/// their value.
pub(super) fn leader_panics(threads: usize) {
    let world = World::new();
    let shared = Arc::clone(&world);
    let answers = crowd(threads, move |_| {
        caught(|| {
            shared.obtain(good, |leader, flight| {
                shared.work();
                if flight == 1 {
                    unwind();
                }
                shared.publish(leader)
            })
        })
    });
    let unwound = answers.iter().filter(|answer| answer.is_err()).count();
    assert_eq!(unwound, 1, "one thread ran the code that panics");
    assert!(answers.into_iter().flatten().all(|answer| generation(answer) == 1), "rule 2: the place was free again");
    assert_eq!(world.led(), 2, "rule 2: one of them took it");
}

/// Rule 4: a flight fails, and the first who takes its error unwinds. The next one wakes all the same.
pub(super) fn a_waiter_panics(threads: usize) {
    let world = World::new();
    let until = world.clock.now().after(LONG);
    let shared = Arc::clone(&world);
    let answers = crowd(threads, move |_| {
        caught(|| {
            shared.obtain(good, |leader, flight| {
                shared.work();
                // The first copy is for those who waited.
                let verdict = Verdict::that_unwinds(flight, 2);
                assert!(leader.fail(verdict, stands_until(until), Current::Stays), "nobody supersedes it");
                Some(Err(Verdict::of(flight)))
            })
        })
    });
    let unwound = answers.iter().filter(|answer| answer.is_err()).count();
    assert_eq!(unwound, 1, "one thread ran the code that panics");
    for answer in answers.into_iter().flatten() {
        assert_eq!(answer.err().map(|verdict| verdict.flight), Some(1), "rule 6: one error");
    }
    assert_eq!(world.led(), 1, "rule 6: one flight");
}

/// Rules 5, 6: a waiter may be slow to wake: by then its own thread's next flight is under way, or over as well. It returns
/// with the verdict of the flight that it joined.
pub(super) fn a_slow_waiter_keeps_its_verdict(threads: usize) {
    let world = World::new();
    let joined = Arc::new(Latch::new());
    let now = world.clock.now();
    let Entry::Lead(first) = world.enter(good, now) else { panic!("nobody else is there") };
    let (shared, all_joined) = (Arc::clone(&world), Arc::clone(&joined));
    let waiter = move |_| {
        let Entry::Join(waiter) = shared.enter(good, now) else { panic!("the flight is under way") };
        joined.arrive();
        let waited = waiter.wait(&shared.clock, now.after(LONG));
        let Waited::Failed(verdict) = waited else { panic!("rule 5: neither a new value nor the deadline came") };
        assert_eq!(verdict.flight, 1, "rule 5: the verdict of another flight");
    };
    beside(threads, waiter, || {
        all_joined.wait_for(threads - 1);
        assert!(first.fail(Verdict::of(1), stands_until(now), Current::Stays));
        let Entry::Lead(second) = world.enter(good, now) else { panic!("the error was over at once") };
        world.work();
        assert!(second.fail(Verdict::of(2), stands_until(now), Current::Stays));
    });
}

/// Rules 5, 8: the value that a waiter waited for is refused before it wakes, and another is on its way: it waits for that.
pub(super) fn a_slow_waiter_is_not_given_a_refused_value(threads: usize) {
    let world = World::new();
    let joined = Arc::new(Latch::new());
    let now = world.clock.now();
    let Entry::Lead(first) = world.enter(good, now) else { panic!("nobody else is there") };
    let refused_by_now = Arc::new(Mutex::new(false));
    let (shared, all_joined, is_refused) = (Arc::clone(&world), Arc::clone(&joined), Arc::clone(&refused_by_now));
    let waiter = move |_| {
        let Entry::Join(waiter) = shared.enter(good, now) else { panic!("the flight is under way") };
        joined.arrive();
        let oldest = if *is_refused.lock() { 2 } else { 1 };
        let got = match waiter.wait(&shared.clock, now.after(LONG)) {
            Waited::Published(value) => value.generation,
            Waited::Abandoned => generation(shared.obtain(good, |_, _| panic!("rule 2: a second leader"))),
            Waited::Failed(_) | Waited::TimedOut => panic!("rule 5: neither has happened"),
        };
        assert!(got >= oldest, "rule 8: given a value that is known to be refused");
    };
    beside(threads, waiter, || {
        all_joined.wait_for(threads - 1);
        assert!(first.publish(Value::by(LEADER)).is_some());
        let Entry::Lead(second) = world.enter(refused(1), now) else { panic!("it is refused") };
        *refused_by_now.lock() = true;
        world.work();
        assert!(second.publish(Value::by(LEADER)).is_some());
    });
}

/// Rules 2, 6: a flight has failed, and its pause is short beside what they may wait. One of them leads the next flight and
/// sits out the pause; the others join it, but for those without patience that come before it.
pub(super) fn a_short_pause_is_sat_out(threads: usize) {
    const HOUR: Duration = Duration::from_secs(3600);

    let world = World::new();
    let now = world.clock.now();
    let Entry::Lead(first) = world.enter(good, now) else { panic!("nobody else is there") };
    assert!(first.fail(Verdict::of(0), stands_until(now.after(HOUR)), Current::Stays));
    let shared = Arc::clone(&world);
    let answers = crowd(threads, move |number| {
        let patience = if number == 1 { HOUR / 2 } else { HOUR };
        shared.obtain_with(patience, good, |leader, _| {
            assert!(!leader.rest().is_zero() && leader.rest() <= patience, "rule 6: {:?}", leader.rest());
            shared.publish(leader)
        })
    });
    for (number, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(value) => assert_eq!(value.generation, 1, "rule 3"),
            Err(verdict) => assert_eq!((verdict.flight, number), (0, 1), "rule 6: a pause is waited out"),
        }
    }
    assert_eq!(world.led(), 1, "rule 2: one sits it out for all");
}

/// Rules 3, 6: a flight fails for a value that is good for a while yet, and brings another way to the next one. Who waited has
/// the flight's error, who comes later has the value; it counts as what it was.
pub(super) fn renewed_while_the_leader_fails(threads: usize) {
    let world = World::new();
    world.gate.install(true, Value::by("login"));
    let until = world.clock.now().after(LONG);
    let due = |_: &Value| Need::Mandatory { usable: true };
    let shared = Arc::clone(&world);
    let answers = crowd(threads, move |_| {
        shared.obtain(due, |leader, flight| {
            shared.work();
            let value = Value::by("renewed")(leader.previous().map_or(0, |previous| previous.generation));
            let renewed = Current::Becomes { value, usable: true };
            assert!(leader.fail(Verdict::of(flight), stands_until(until), renewed), "nobody supersedes it");
            Some(Err(Verdict::of(flight)))
        })
    });
    for answer in answers {
        match answer {
            Ok(value) => assert_eq!((value.generation, value.maker), (1, "renewed"), "rule 3"),
            Err(verdict) => assert_eq!(verdict.flight, 1, "rule 6"),
        }
    }
    assert_eq!(world.led(), 1, "rule 6: one flight");
    assert_eq!(world.gate.current().1, 1, "rule 3: nothing was published");
    let Entry::Lead(next) = world.enter(refused(1), until) else { panic!("rule 3: a refusal of it is no late one") };
    assert!(next.previous().is_some_and(|previous| previous.maker == "renewed"), "the next flight begins with that");
}

/// Rule 5: the leader is slow. The clock goes half-way to the deadline, and nobody gives up; it goes all the way, and all do.
pub(super) fn a_waiters_deadline(threads: usize) {
    let (gate, clock) = on_a_manual_clock();
    let begin = clock.now();
    let deadline = begin.after(LONG);
    let leader = leader_of(&gate, begin);
    let (shared, seen) = (Arc::clone(&gate), clock.clone());
    let waiter = move |_| {
        assert!(
            matches!(waiter_of(&shared, begin).wait(&seen, deadline), Waited::TimedOut),
            "rule 5: nothing else came"
        );
        assert!(seen.now() >= deadline, "rule 5: the deadline had not come");
    };
    beside(threads, waiter, || {
        clock.advance(LONG / 2);
        clock.advance(LONG / 2);
    });
    assert!(leader.publish(Value::by(LEADER)).is_some(), "the flight goes on without them");
}

/// Rules 4, 5: one waiter's deadline comes while the flight ends. It has the value or gives up, and the others have the value
/// either way.
pub(super) fn a_waiter_gives_up_before_the_others(threads: usize) {
    let (gate, clock) = on_a_manual_clock();
    let begin = clock.now();
    let leader = leader_of(&gate, begin);
    let joined = Arc::new(Latch::new());
    let (shared, seen, all_joined) = (Arc::clone(&gate), clock.clone(), Arc::clone(&joined));
    let waiter = move |number| {
        let waiter = waiter_of(&shared, begin);
        joined.arrive();
        let patience = if number == 1 { LONG } else { LONG * 2 };
        match waiter.wait(&seen, begin.after(patience)) {
            Waited::Published(value) => assert_eq!(value.generation, 1, "rule 3"),
            Waited::TimedOut => assert_eq!(number, 1, "rule 5: the deadline had not come"),
            Waited::Failed(_) | Waited::Abandoned => panic!("rule 5: neither has happened"),
        }
    };
    beside(threads, waiter, || {
        all_joined.wait_for(threads - 1);
        clock.advance(LONG);
        assert!(leader.publish(Value::by(LEADER)).is_some(), "nobody supersedes it");
    });
}

/// Rule 4: a waiter is woken and does not run before all others have gone on: a debugger holds it, or it has a low priority.
/// They do not wait for it.
pub(super) fn a_waiter_that_does_not_run(threads: usize) {
    let world = World::new();
    let (joined, gone) = (Arc::new(Latch::new()), Arc::new(Latch::new()));
    let begin = world.clock.now();
    let Entry::Lead(leader) = world.enter(good, begin) else { panic!("nobody else is there") };
    let (shared, all_joined) = (Arc::clone(&world), Arc::clone(&joined));
    let waiter = move |number| {
        let Entry::Join(waiter) = shared.enter(good, begin) else { panic!("the flight is under way") };
        if number == 1 {
            let others_gone = Arc::clone(&gone);
            on_waking(move || others_gone.wait_for(threads - 2));
        }
        joined.arrive();
        let waited = waiter.wait(&shared.clock, begin.after(LONG));
        assert!(matches!(waited, Waited::Published(value) if value.generation == 1), "rule 5: nothing else came");
        gone.arrive();
    };
    beside(threads, waiter, || {
        all_joined.wait_for(threads - 1);
        assert!(leader.publish(Value::by(LEADER)).is_some(), "nobody supersedes it");
    });
}

/// A gate without a value whose waiters look again when the clock moves.
fn on_a_manual_clock() -> (Arc<Gate>, ManualClock) {
    let (gate, clock) = (Arc::new(Gate::new()), ManualClock::new(None));
    let poked = Arc::downgrade(&gate);
    clock.on_change(Arc::new(move || {
        if let Some(gate) = poked.upgrade() {
            gate.poke(true);
        }
    }));
    (gate, clock)
}

fn leader_of(gate: &Gate, now: Tick) -> Leader<'_, Value, Verdict> {
    match gate.enter(now, Duration::ZERO, |_, _| unreachable!("there is no value")) {
        Entry::Lead(leader) => leader,
        _ => panic!("nobody else is there"),
    }
}

fn waiter_of(gate: &Gate, now: Tick) -> Waiter<'_, Value, Verdict> {
    match gate.enter(now, Duration::ZERO, |_, _| unreachable!("there is no value")) {
        Entry::Join(waiter) => waiter,
        _ => panic!("the flight is under way"),
    }
}

/// Rules 2, 3, 5: a value is installed from outside while a flight is under way, and the installed value is refused, so that
/// a new flight is under way when the superseded leader comes back. What that one brings is dropped.
pub(super) fn installed_during_a_flight(threads: usize) {
    let world = World::new();
    let now = world.clock.now();
    let Entry::Lead(leader) = world.enter(good, now) else { panic!("nobody else is there") };
    let shared = Arc::clone(&world);
    let other = move |number| {
        if number == 1 {
            return (shared.gate.install(true, Value::by("login")).generation, 0);
        }
        let obtain = |judge: &dyn Fn(&Value) -> _| {
            // Not by World::publish: a flight that supersedes may overlap with the superseded one.
            generation(shared.obtain(judge, |leader, _| leader.publish(Value::by("second")).map(Ok)))
        };
        let first = obtain(&good);
        let second = obtain(&refused(first));
        assert!(second > first, "rule 8: generation {second} for the refused {first}");
        (0, second)
    };
    let (own, results) = beside(threads, other, || leader.publish(Value::by("first")).map(|value| value.generation));
    let (installed, last) = results.into_iter().fold((0, 0), |most, one| (one.0.max(most.0), one.1.max(most.1)));
    assert!(own.is_none_or(|own| own < installed), "rule 2: a superseded leader has published");
    let (current, generation, _) = world.gate.current();
    assert_eq!(generation, installed.max(last), "rule 3: generations grow by publications alone");
    assert!(current.is_some_and(|current| current.generation == generation && current.maker != "first"));
}

/// Rules 2, 5: a value is installed while a flight is under way that then fails for good. Whatever came first, the installed
/// value is there in the end, for all who come.
pub(super) fn installed_while_the_leader_fails(threads: usize) {
    let world = World::new();
    let now = world.clock.now();
    let Entry::Lead(leader) = world.enter(good, now) else { panic!("nobody else is there") };
    let shared = Arc::clone(&world);
    let other = move |number| match number {
        1 => drop(shared.gate.install(true, Value::by("login"))),
        _ => match shared.obtain(good, |_, _| panic!("rule 6: the error stands until the login")) {
            Ok(value) => assert_eq!(value.maker, "login", "rule 5"),
            Err(verdict) => assert_eq!(verdict.flight, 1, "rule 5"),
        },
    };
    beside(threads, other, || leader.fail(Verdict::of(1), Pause::FOR_EVER, Current::Goes));
    assert!(
        matches!(world.enter(good, now), Entry::Ready(value) if value.maker == "login"),
        "rule 2: a superseded leader has ended what came after it"
    );
}

/// Rules 4, 5, 6: it is all ended while a flight is under way. Whoever waits gets the flight's value, if that came first, or
/// the end's error; afterwards everybody gets that, whatever the leader brings, until something is installed.
pub(super) fn ended_during_a_flight(threads: usize) {
    const END: usize = 99;

    let world = World::new();
    let now = world.clock.now();
    let Entry::Lead(leader) = world.enter(good, now) else { panic!("nobody else is there") };
    let shared = Arc::clone(&world);
    let other = move |number| match number {
        1 => drop(shared.gate.end(Verdict::of(END))),
        _ => match shared.obtain(good, |_, _| panic!("rule 6: an ended gate has no leader")) {
            Ok(value) => assert_eq!((value.generation, value.maker), (1, LEADER)),
            Err(verdict) => assert_eq!(verdict.flight, END, "rule 5"),
        },
    };
    let (own, _) = beside(threads, other, || leader.publish(Value::by(LEADER)));
    assert!(own.is_none_or(|own| own.generation == 1));
    assert!(world.gate.current().0.is_none(), "rule 3: what comes after the end is dropped");
    let later = now.after(Duration::from_secs(1 << 40));
    assert!(matches!(world.enter(good, later), Entry::Failed(verdict) if verdict.flight == END), "rule 6");
    world.gate.install(true, Value::by("login"));
    assert!(matches!(world.enter(good, now), Entry::Ready(value) if value.maker == "login"));
}
