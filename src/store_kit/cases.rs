//! What a store has to do while nothing is in its way.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use super::bench::{Bench, Case, LONG, SHORT, Stop, begin, check, done, failed, is_same, stored};
use crate::Stored;

pub(super) const ALL: &[(&str, Case)] = &[
    ("an empty store is no error", empty),
    ("a save is there for all, whole", whole),
    ("what was saved last is read, by whoever has read before", latest),
    ("any text comes back as it was", texts),
    ("a save is never seen half done", torn),
    ("a section that saves nothing changes nothing", nothing_saved),
    ("after a save, the section goes on", goes_on),
    ("after a save, the section gives way to who has saved since", gives_way),
    ("a logout empties the store for all", logout),
    ("another login's token is another's", other_login),
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

fn latest(bench: &dyn Bench) -> Result<(), Stop> {
    let [first, second, third] = [stored(1, 0)?, stored(2, 0)?, stored(3, 0)?];
    let store = begin(bench, Some(&first))?;
    let reader = bench.open();
    let reads = |wanted: Option<&Stored>| -> Result<(), Stop> {
        for store in [&reader, &store] {
            let (outside, inside) = (store.load()?, store.exclusive(LONG)?.load()?);
            for (found, from) in [(outside, "outside"), (inside, "inside")] {
                let is_latest = wanted.map_or(found.is_none(), |wanted| is_same(found.as_ref(), wanted));
                check(is_latest, &format!("who has read before reads what was there before, {from} the section"))?;
            }
        }
        Ok(())
    };
    reads(Some(&first))?;
    let mut inside = store.exclusive(LONG)?;
    inside.save(&second)?;
    let found = bench.open().load()?;
    check(is_same(found.as_ref(), &second), "a save that has returned is not made before the section ends")?;
    drop(inside);
    reads(Some(&second))?;
    reader.exclusive(LONG)?.save(&third)?;
    reads(Some(&third))?;
    store.exclusive(LONG)?.remove()?;
    reads(None)
}

/// All that a text may have, and what gets lost on the way: letters outside of Latin-1 and of 16 bits, an accent of its own,
/// capitals, blanks at an end and in a row, the marks of SQL, of formats and of markup.
const TEXTS: &[&str] = &[
    r#"{"version":1,"access_token":"Aa.1-_~+/==","refresh_token":"Rr%s%%{}$1?:a","scope":" Ä  é é Ω 中 😀 -- '' `; & &amp; <b> ]]> \\n \\ \t\r\n ","owner":"Me at https://id.example.com/token ","lifetime_ms":3600001,"received_at_ms":1767225600123}"#,
    r#"{"version":1,"access_token":"a2","refresh_token":"r2","refused":"it was used before ","refused_code":"invalid_grant"}"#,
    r#"{"version":1,"access_token":"a3"}"#,
    r#"{"version":1,"refresh_token":"r4"}"#,
];

fn texts(bench: &dyn Bench) -> Result<(), Stop> {
    let store = begin(bench, None)?;
    for text in TEXTS {
        let text = Stored::from_text(text)?;
        store.exclusive(LONG)?.save(&text)?;
        for found in [store.load()?, bench.open().load()?, store.exclusive(LONG)?.load()?] {
            check(is_same(found.as_ref(), &text), "a text is not read as it was saved")?;
        }
    }
    // It may be too long, if that is said and the one of before stays.
    for length in [60 * 1024, 300 * 1024] {
        let [before, long] = [stored(1, 0)?, stored(2, length)?];
        store.exclusive(LONG)?.save(&before)?;
        let is_saved = store.exclusive(LONG)?.save(&long).is_ok();
        let found = store.load()?;
        let wanted = if is_saved { &long } else { &before };
        check(
            is_same(found.as_ref(), wanted),
            &format!("a text of {} KiB is not read as it was saved", length / 1024),
        )?;
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

/// A token request that fails ends so.
fn nothing_saved(bench: &dyn Bench) -> Result<(), Stop> {
    let before = stored(1, 3000)?;
    let store = begin(bench, Some(&before))?;
    let other = bench.open();
    let mut inside = store.exclusive(LONG)?;
    inside.prepare()?;
    inside.hold_for(LONG)?;
    check(is_same(other.load()?.as_ref(), &before), "what is stored is not read while a save is prepared")?;
    check(is_same(inside.load()?.as_ref(), &before), "what is stored is not read while a save is prepared")?;
    drop(inside);
    check(is_same(other.load()?.as_ref(), &before), "a section that has saved nothing has changed what is stored")?;
    let mut inside = other.exclusive(LONG)?;
    check(is_same(inside.load()?.as_ref(), &before), "a section that has saved nothing has changed what is stored")
}

/// What could not be saved before is saved first, and a server may answer more than once: all in one section.
fn goes_on(bench: &dyn Bench) -> Result<(), Stop> {
    let store = begin(bench, None)?;
    let mut inside = store.exclusive(LONG)?;
    for number in 1..=2 {
        let text = stored(number, 0)?;
        done(inside.prepare(), "the section cannot be prepared for another save")?;
        for _ in 0..2 {
            done(inside.hold_for(LONG), "the section does not stand for another token request")?;
        }
        // As after a save of which it is not known whether it lasts.
        for _ in 0..2 {
            done(inside.save(&text), "another save in one section is not made")?;
        }
        check(is_same(inside.load()?.as_ref(), &text), "another save in one section is not read")?;
    }
    done(inside.remove(), "a removal after a save is not made")?;
    check(inside.load()?.is_none(), "a removal after a save has removed nothing")?;
    let last = stored(3, 0)?;
    done(inside.save(&last), "a save after a removal is not made")?;
    drop(inside);
    check(is_same(store.load()?.as_ref(), &last), "the last save in a section is not read after it")
}

/// Where a lock ends with its transaction, a save may end the section: then others come in.
fn gives_way(bench: &dyn Bench) -> Result<(), Stop> {
    let [before, first, newer, late] = [stored(1, 0)?, stored(2, 0)?, stored(3, 0)?, stored(4, 0)?];
    let store = begin(bench, Some(&before))?;
    let mut inside = store.exclusive(LONG)?;
    inside.save(&first)?;
    let other = bench.open();
    // It lasts, which is well too.
    let Ok(mut next) = other.exclusive(SHORT) else { return Ok(()) };
    next.save(&newer)?;
    drop(next);
    check(inside.hold_for(LONG).is_err(), "a section that its save has ended stands, and somebody has saved since")?;
    check(inside.save(&late).is_err(), "a section that its save has ended saves over what was saved since")?;
    check(inside.remove().is_err(), "a section that its save has ended removes what was saved since")?;
    check(is_same(store.load()?.as_ref(), &newer), "a section that its save has ended has changed what is stored")
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

fn other_login(bench: &dyn Bench) -> Result<(), Stop> {
    let [one, two, three] = [stored(1, 0)?, stored(2, 0)?, stored(3, 0)?];
    let Some(other) = bench.open_other() else {
        return Err(Stop::NotTried("store of another login (Bench::open_other)"));
    };
    let store = begin(bench, Some(&one))?;
    other.exclusive(LONG)?.remove()?;
    check(is_same(store.load()?.as_ref(), &one), "a logout ends another login")?;
    check(other.load()?.is_none(), "another login's token is read")?;
    other.exclusive(LONG)?.save(&two)?;
    check(is_same(store.load()?.as_ref(), &one), "a save overwrites another login's token")?;
    store.exclusive(LONG)?.save(&three)?;
    for found in [other.load()?, other.exclusive(LONG)?.load()?] {
        check(is_same(found.as_ref(), &two), "another login's token is read")?;
    }
    store.exclusive(LONG)?.remove()?;
    check(is_same(other.load()?.as_ref(), &two), "a logout ends another login")?;
    other.exclusive(LONG)?.remove()?;
    check(other.load()?.is_none(), "a logout leaves the token")
}
