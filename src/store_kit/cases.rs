//! What a store has to do within one process.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use super::bench::{Bench, Case, LONG, SHORT, Stop, begin, check, failed, is_same, stored};
use crate::{ErrorKind, Exclusive, Stored};

pub(super) const ALL: &[(&str, Case)] = &[
    ("an empty store is no error", empty),
    ("a save is there for all, whole", whole),
    ("a save is never seen half done", torn),
    ("a failed save leaves what was there", failed_save),
    ("another program's text is an error", foreign),
    ("a later version is an error and stays", later),
    ("a logout empties the store for all", logout),
    ("one at a time is inside, and who waits too long hears so", waiters),
    ("a lost section saves nothing", late_save),
    ("before a save is made up for, nobody sends", owed_save),
];

fn empty(bench: &dyn Bench) -> Result<(), Stop> {
    let store = begin(bench, None)?;
    check(store.load()?.is_none(), "something is stored after a logout")?;
    let mut inside = store.exclusive(LONG)?;
    check(inside.load()?.is_none(), "something is stored after a logout, seen from inside")?;
    inside.remove()?;
    inside.prepare()?;
    inside.hold_for(LONG)?;
    Ok(())
}

fn whole(bench: &dyn Bench) -> Result<(), Stop> {
    let store = begin(bench, None)?;
    // Shorter ones after longer ones: what is left of those must not show.
    for (number, padding) in [5, 20_000, 0, 3000].into_iter().enumerate() {
        let text = stored(number, padding)?;
        let mut inside = store.exclusive(LONG)?;
        // Whoever has nothing to exchange saves without asking before.
        if number % 2 == 0 {
            inside.prepare()?;
            inside.hold_for(LONG)?;
        }
        inside.save(&text)?;
        check(is_same(inside.load()?.as_ref(), &text), "what was saved is not what is read in the section")?;
        drop(inside);
        check(is_same(store.load()?.as_ref(), &text), "what was saved is not what is read")?;
        check(is_same(bench.open().load()?.as_ref(), &text), "another process does not read what was saved")?;
    }
    Ok(())
}

fn torn(bench: &dyn Bench) -> Result<(), Stop> {
    let texts = [stored(1, 0)?, stored(2, 9000)?];
    let [short, long] = &texts;
    let store = begin(bench, Some(short))?;
    let (is_done, begun) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let readers = [(), ()].map(|()| {
            scope.spawn(|| {
                let store = bench.open();
                loop {
                    let is_last = is_done.load(SeqCst);
                    let found = store.load();
                    begun.fetch_add(1, SeqCst);
                    match found {
                        Ok(found) if is_same(found.as_ref(), short) || is_same(found.as_ref(), long) => {}
                        Ok(None) => return failed("the store is empty while somebody saves"),
                        Ok(Some(_)) => return failed("a token is read that nobody has saved"),
                        Err(error) => return failed(format!("while somebody saves: {error}")),
                    }
                    if is_last {
                        return Ok(());
                    }
                }
            })
        });
        let saved = (0..40).try_for_each(|number: usize| -> Result<(), Stop> {
            let mut inside = store.exclusive(LONG)?;
            inside.save(if number % 2 == 0 { long } else { short })?;
            Ok(())
        });
        is_done.store(true, SeqCst);
        let read = readers.map(|reader| reader.join().unwrap_or_else(|_| failed("load panics")));
        read.into_iter().fold(saved, Result::and)
    })?;
    check(begun.load(SeqCst) >= 2, "nothing was read")
}

fn failed_save(bench: &dyn Bench) -> Result<(), Stop> {
    let [before, after] = [stored(1, 3000)?, stored(2, 10)?];
    let store = begin(bench, Some(&before))?;
    if !bench.fail_saves(true) {
        return Err(Stop::NotTried("way to fail a save (Bench::fail_saves)"));
    }
    let saved = store.exclusive(LONG).and_then(|mut inside| {
        inside.prepare()?;
        inside.save(&after)
    });
    let direct = store.exclusive(LONG).and_then(|mut inside| inside.save(&after));
    check(bench.fail_saves(false), "the bench cannot end what it began")?;
    check(saved.is_err() && direct.is_err(), "a save that cannot be done is no error")?;
    let found = store.load()?;
    check(is_same(found.as_ref(), &before), "a failed save has changed what was there")?;
    let mut inside = store.exclusive(LONG)?;
    inside.prepare()?;
    inside.save(&after)?;
    drop(inside);
    check(is_same(store.load()?.as_ref(), &after), "after a failed save, the next one is not there")
}

fn foreign(bench: &dyn Bench) -> Result<(), Stop> {
    for text in ["hello", "{\"version\":1,\"access_token\":\"a", "{\"password\":\"x\"}"] {
        let store = begin(bench, Some(&stored(1, 0)?))?;
        if !bench.put_text(text) {
            return Err(Stop::NotTried("way to put a text there (Bench::put_text)"));
        }
        match store.load() {
            Ok(None) => {
                return failed("what cannot be read is taken for an empty store: sessions would take it for a logout");
            }
            Ok(Some(_)) => return failed("what cannot be read is a token"),
            Err(error) if error.to_string().contains(text) => return failed("the error quotes what is stored"),
            Err(_) => {}
        }
        // A logout and a login help.
        let store = begin(bench, None)?;
        check(store.load()?.is_none(), "a logout leaves what cannot be read")?;
    }
    Ok(())
}

fn later(bench: &dyn Bench) -> Result<(), Stop> {
    let store = begin(bench, Some(&stored(1, 0)?))?;
    if !bench.put_text("{\"version\":2,\"new\":\"meaning\"}") {
        return Err(Stop::NotTried("way to put a text there (Bench::put_text)"));
    }
    for _ in 0..2 {
        check(store.load().is_err(), "a later version is no error")?;
        check(store.exclusive(LONG)?.load().is_err(), "a later version is no error, or has not stayed")?;
    }
    check(bench.put_text(&stored(1, 0)?.to_text()), "the bench cannot end what it began")
}

fn logout(bench: &dyn Bench) -> Result<(), Stop> {
    let store = begin(bench, Some(&stored(1, 0)?))?;
    let other = bench.open();
    store.exclusive(LONG)?.remove()?;
    check(other.load()?.is_none(), "another process still reads a token after a logout")?;
    let mut inside = other.exclusive(LONG)?;
    check(
        !inside.was_set_aside(),
        "a logout is said to be something set aside: sessions would go on with their token",
    )?;
    check(inside.load()?.is_none(), "another process still finds a token after a logout")
}

fn waiters(bench: &dyn Bench) -> Result<(), Stop> {
    let store = begin(bench, Some(&stored(0, 0)?))?;
    let inside = store.exclusive(LONG)?;
    let others = [bench.open(), bench.open()];
    for timeout in [Duration::ZERO, SHORT] {
        for other in &others {
            match other.exclusive(timeout) {
                Ok(_) => return failed("two are in the exclusive section at once"),
                Err(error) if error.kind() != ErrorKind::Timeout => {
                    return failed(format!("who waits too long hears {:?} and not Timeout: {error}", error.kind()));
                }
                Err(_) => {}
            }
            let found = other.load()?;
            check(found.is_some(), "nothing can be read while somebody is in the section")?;
        }
    }
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
        drop(inside);
        let done = waiting.map(|waiter| waiter.join().unwrap_or_else(|_| failed("the store panics")));
        done.into_iter().fold(Ok(()), Result::and)
    })?;
    check(!both.load(SeqCst), "two are in the exclusive section at once")?;
    let all = is_same(store.load()?.as_ref(), &stored(others.len() * 2 * ENTRIES, 0)?);
    check(all, "somebody has saved between another's look and save")
}

/// How often each of four goes in and counts one up.
const ENTRIES: usize = 5;

fn number_of(stored: Option<&Stored>) -> usize {
    let token = stored.and_then(|stored| stored.to_token().ok());
    token.and_then(|token| token.secret().strip_prefix('a')?.parse().ok()).unwrap_or(0)
}

fn late_save(bench: &dyn Bench) -> Result<(), Stop> {
    let [before, late, newer]: [Stored; 3] = [stored(1, 0)?, stored(2, 0)?, stored(3, 0)?];
    let store = begin(bench, Some(&before))?;
    let mut lost = store.exclusive(LONG)?;
    lost.prepare()?;
    lost.hold_for(LONG)?;
    if !bench.lose_section() {
        return Err(Stop::NotTried("way to take the section away (Bench::lose_section)"));
    }
    let other = bench.open();
    let mut inside = other.exclusive(LONG)?;
    check(lost.hold_for(LONG).is_err(), "a lost section is said to stand")?;
    inside.prepare()?;
    inside.hold_for(LONG)?;
    check(lost.save(&late).is_err(), "a save under a lost section is no error")?;
    inside.save(&newer)?;
    check(lost.save(&late).is_err(), "a save under a lost section is no error")?;
    check(lost.remove().is_err(), "a removal under a lost section is no error")?;
    check(is_same(inside.load()?.as_ref(), &newer), "a lost section has changed what is stored")?;
    // Its end does not end the next one.
    drop(lost);
    check(bench.open().exclusive(Duration::ZERO).is_err(), "the end of a lost section ends the next one")?;
    drop(inside);
    check(is_same(store.load()?.as_ref(), &newer), "a lost section has changed what is stored")
}

/// The refresh token was sent, and its successor is not saved: one session has that, and nothing tells which one comes next.
fn owed_save(bench: &dyn Bench) -> Result<(), Stop> {
    let [before, newer] = [stored(1, 0)?, stored(2, 0)?];
    let store = begin(bench, Some(&before))?;
    let mut inside = store.exclusive(LONG)?;
    inside.prepare()?;
    inside.hold_for(LONG)?;
    if !bench.cut_off(true) {
        return Err(Stop::NotTried("way to break the way to the store (Bench::cut_off)"));
    }
    let saved = inside.save(&newer);
    drop(inside);
    check(bench.cut_off(false), "the bench cannot end what it began")?;
    check(saved.is_err(), "a save that cannot be done is no error")?;
    let other = bench.open();
    let may_send = |inside: &mut dyn Exclusive| inside.prepare().and_then(|()| inside.hold_for(LONG)).is_ok();
    let [sent_elsewhere, sent_here] =
        [&other, &store].map(|store| store.exclusive(SHORT).is_ok_and(|mut inside| may_send(&mut *inside)));
    let mut inside = match store.exclusive(LONG) {
        Ok(inside) => inside,
        Err(error) => return failed(format!("who has a token to be saved is not let in: {error}")),
    };
    let found = inside.load()?;
    inside.save(&newer)?;
    let may_send_now = may_send(&mut *inside);
    drop(inside);
    check(!sent_elsewhere, "another process may send what was sent before")?;
    check(!sent_here, "another session on the same store may send what was sent before")?;
    check(is_same(found.as_ref(), &before), "what was saved is not what is read")?;
    check(may_send_now, "after a save that was made up for, nothing may be sent")?;
    let mut inside = other.exclusive(LONG)?;
    check(is_same(inside.load()?.as_ref(), &newer), "another process does not read what was saved late")?;
    check(may_send(&mut *inside), "after a save that was made up for, nothing may be sent")
}
