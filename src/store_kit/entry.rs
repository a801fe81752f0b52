//! Who is in the exclusive section, for how long, and how it ends.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use super::bench::{Bench, Case, LONG, SHORT, Stop, begin, check, failed, is_same, number_of, stored};
use crate::{ErrorKind, TokenStore};

/// Before all others: where one of these fails, the others would wait for what does not come.
pub(super) const FIRST: &[(&str, Case)] =
    &[("every call ends", calls_end), ("a section ends with its holder, who may panic", ends_with_holder)];

pub(super) const ALL: &[(&str, Case)] = &[("one at a time is inside, and who waits too long hears so", waiters)];

/// Shorter than the wait for a call: the store's own time-out comes first.
const HALF: Duration = Duration::from_secs(15);

const DONE: &str = "";

fn calls_end(bench: &dyn Bench) -> Result<(), Stop> {
    let store = bench.open();
    // What the calls return is the other cases' affair.
    let token = stored(1, 0)?;
    end(move |tell| {
        tell("exclusive");
        let Ok(mut inside) = store.exclusive(HALF) else { return };
        tell("Exclusive::remove");
        drop(inside.remove());
        tell("Exclusive::prepare");
        drop(inside.prepare());
        tell("Exclusive::hold_for");
        drop(inside.hold_for(SHORT));
        tell("Exclusive::save");
        drop(inside.save(&token));
        tell("Exclusive::load");
        drop(inside.load());
        tell("Exclusive::was_set_aside");
        inside.was_set_aside();
        tell("the end of a section");
        drop(inside);
        tell("load");
        drop(store.load());
    })?;
    let (store, other) = (bench.open(), bench.open());
    end(move |tell| {
        tell("exclusive");
        let Ok(inside) = store.exclusive(HALF) else { return };
        for store in [&store, &other] {
            tell("load, while somebody is in the section,");
            drop(store.load());
            for timeout in [Duration::ZERO, SHORT] {
                tell("exclusive, while its own thread is in the section,");
                drop(store.exclusive(timeout));
                tell("exclusive, while another thread is in the section,");
                thread::scope(|scope| drop(scope.spawn(|| drop(store.exclusive(timeout))).join()));
            }
        }
        thread::scope(|scope| {
            for store in [&store, &other] {
                scope.spawn(|| drop(store.exclusive(HALF)));
            }
            tell("exclusive, of two who wait for the end of the section,");
            drop(inside);
        });
    })
}

/// Makes these calls on a thread that is left behind if one of them does not end.
fn end(calls: impl FnOnce(&dyn Fn(&'static str)) + Send + 'static) -> Result<(), Stop> {
    let (told, heard): (Sender<&'static str>, _) = mpsc::channel();
    thread::spawn(move || {
        let tell = |call| {
            let _nobody_waits = told.send(call);
        };
        calls(&tell);
        tell(DONE);
    });
    let mut last = "the first call";
    loop {
        match heard.recv_timeout(LONG) {
            Ok(DONE) => return Ok(()),
            Ok(call) => last = call,
            Err(RecvTimeoutError::Timeout) => return failed(format!("{last} does not return")),
            Err(RecvTimeoutError::Disconnected) => return failed(format!("{last} panics")),
        }
    }
}

fn ends_with_holder(bench: &dyn Bench) -> Result<(), Stop> {
    let (store, other) = (bench.open(), bench.open());
    for next in [&store, &other] {
        drop(store.exclusive(HALF)?);
        enter(&**next, "a section that has ended keeps the next one out")?;
        let unwound = catch_unwind(AssertUnwindSafe(|| -> Result<(), Stop> {
            let _inside = store.exclusive(HALF)?;
            // Nothing that a panic hook writes about.
            resume_unwind(Box::new(()))
        }));
        unwound.unwrap_or(Ok(()))?;
        enter(&**next, "the section of a holder that has panicked keeps the next one out")?;
    }
    Ok(())
}

fn enter(store: &dyn TokenStore, why_not: &str) -> Result<(), Stop> {
    let entered = catch_unwind(AssertUnwindSafe(|| store.exclusive(HALF).map(drop)));
    match entered {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => failed(format!("{why_not}: {error}")),
        Err(_) => failed(format!("{why_not}: it panics")),
    }
}

fn waiters(bench: &dyn Bench) -> Result<(), Stop> {
    let store = begin(bench, Some(&stored(0, 0)?))?;
    let inside = store.exclusive(LONG)?;
    let others = [bench.open(), bench.open()];
    for timeout in [Duration::ZERO, SHORT] {
        // Sessions may share a value, and threads a session.
        for other in others.iter().chain([&store]) {
            keeps_out(&**other, timeout)?;
            let elsewhere = thread::scope(|scope| scope.spawn(|| keeps_out(&**other, timeout)).join());
            elsewhere.unwrap_or_else(|_| failed("the store panics"))?;
            let found = other.load()?;
            check(found.is_some(), "nothing can be read while somebody is in the section")?;
        }
    }
    thread::scope(|scope| {
        let (told, heard) = mpsc::channel();
        scope.spawn(move || told.send(bench.open().exclusive(LONG).map(drop)));
        match heard.recv_timeout(SHORT) {
            Err(_) => {}
            Ok(Ok(())) => return failed("two are in the exclusive section at once"),
            Ok(Err(error)) => return failed(format!("who may wait for long is sent away at once: {error}")),
        }
        drop(inside);
        match heard.recv_timeout(2 * LONG) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => failed(format!("who waits is not let in when the section ends: {error}")),
            Err(_) => failed("who waits does not hear of the section's end"),
        }
    })?;
    let is_let_in = (0..TRIES).any(|_| store.exclusive(Duration::ZERO).is_ok());
    check(is_let_in, "who has no time to wait is not let into a section that is free")?;
    let (count, both) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let waiting = [(), (), (), ()].map(|()| {
            let (count, both) = (&count, &both);
            scope.spawn(move || -> Result<(), Stop> {
                let store = bench.open();
                for _ in 0..ENTRIES {
                    let mut inside = store.exclusive(LONG)?;
                    both.fetch_or(count.fetch_add(1, SeqCst) > 0, SeqCst);
                    let number = number_of(inside.load()?.as_ref());
                    thread::yield_now();
                    // Before the save, which may end the section.
                    count.fetch_sub(1, SeqCst);
                    inside.save(&stored(number + 1, 0)?)?;
                }
                Ok(())
            })
        });
        let done = waiting.map(|waiter| waiter.join().unwrap_or_else(|_| failed("the store panics")));
        done.into_iter().fold(Ok(()), Result::and)
    })?;
    check(!both.load(SeqCst), "two are in the exclusive section at once")?;
    let all = is_same(store.load()?.as_ref(), &stored(others.len() * 2 * ENTRIES, 0)?);
    check(all, "somebody has saved between another's look and save")
}

/// How often each of four goes in and counts one up.
const ENTRIES: usize = 5;

/// Whoever has just left may be heard of a moment later.
const TRIES: usize = 100;

fn keeps_out(store: &dyn TokenStore, timeout: Duration) -> Result<(), Stop> {
    match store.exclusive(timeout) {
        Ok(_) => failed("two are in the exclusive section at once"),
        Err(error) if error.kind() != ErrorKind::Timeout => {
            failed(format!("who waits too long hears {:?} and not Timeout: {error}", error.kind()))
        }
        Err(_) => Ok(()),
    }
}
