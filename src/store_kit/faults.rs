//! What a store has to do when something is in its way: saves that fail, sections that are lost, texts that are no tokens.

use std::time::Duration;

use super::bench::{Bench, Case, LONG, SHORT, Stop, begin, check, done, failed, is_same, stored};
use crate::{Exclusive, Stored};

pub(super) const ALL: &[(&str, Case)] = &[
    ("a failed save leaves what was there", failed_save),
    ("another program's text is an error", foreign),
    ("a later version is an error and stays", later),
    ("a lost section saves nothing", late_save),
    ("before a save is made up for, nobody sends", owed_save),
];

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
    let meanwhile = bench.open().load();
    check(bench.fail_saves(false), "the bench cannot end what it began")?;
    for saved in [saved, direct] {
        let Err(error) = saved else { return failed("a save that cannot be done is no error") };
        let said = format!("{error} {error:?}");
        check(!said.contains(after.to_token()?.refresh_secret().unwrap_or(SECRET)), "an error quotes what is stored")?;
    }
    check_not_other(&meanwhile, &before, "a failed save has changed what was there")?;
    let found = store.load()?;
    check(is_same(found.as_ref(), &before), "a failed save has changed what was there")?;
    let mut inside = done(store.exclusive(LONG), "the section of a failed save keeps the next one out")?;
    inside.prepare()?;
    inside.save(&after)?;
    drop(inside);
    check(is_same(store.load()?.as_ref(), &after), "after a failed save, the next one is not there")?;
    check(bench.fail_saves(true), "the bench cannot begin once more")?;
    let removed = store.exclusive(LONG).and_then(|mut inside| inside.remove());
    check(bench.fail_saves(false), "the bench cannot end what it began")?;
    check(removed.is_err() || store.load()?.is_none(), "a logout that cannot be done is no error")
}

/// An error is no harm, an empty store is: a session that has a token takes it for a logout.
fn check_not_other(found: &crate::Result<Option<Stored>>, wanted: &Stored, why: &str) -> Result<(), Stop> {
    check(found.as_ref().map_or(true, |found| is_same(found.as_ref(), wanted)), why)
}

/// In no error.
const SECRET: &str = "secret-of-another-program";

const FOREIGN: &[&str] = &[
    "hello",
    r#"{"version":1,"access_token":"secret-of-another-program"#,
    r#"{"password":"secret-of-another-program"}"#,
    "",
];

fn foreign(bench: &dyn Bench) -> Result<(), Stop> {
    // Whoever looks first may set it aside.
    for (text, first_from_inside) in FOREIGN.iter().flat_map(|text| [(*text, false), (*text, true)]) {
        let store = begin(bench, Some(&stored(1, 0)?))?;
        if !bench.put_text(text) {
            if text.is_empty() {
                continue;
            }
            return Err(Stop::NotTried("way to put a text there (Bench::put_text)"));
        }
        if !first_from_inside {
            check_unreadable(&store.load())?;
        }
        let mut inside = store.exclusive(LONG)?;
        for is_first in [first_from_inside, false] {
            let found = inside.load();
            if is_first || !matches!(found, Ok(None)) {
                check_unreadable(&found)?;
                continue;
            }
            let why = "after a look, what cannot be read is taken for an empty store, and not said to be set aside: sessions would \
                       take that for a logout";
            check(inside.was_set_aside(), why)?;
        }
        drop(inside);
        // A logout and a login help.
        let store = begin(bench, None)?;
        check(store.load()?.is_none(), "a logout leaves what cannot be read")?;
        let is_aside = store.exclusive(LONG)?.was_set_aside();
        check(!is_aside, "a logout leaves what was set aside: sessions would go on with their token")?;
        store.exclusive(LONG)?.save(&stored(2, 0)?)?;
        check(is_same(store.load()?.as_ref(), &stored(2, 0)?), "a login does not help against what cannot be read")?;
    }
    Ok(())
}

fn check_unreadable(found: &crate::Result<Option<Stored>>) -> Result<(), Stop> {
    match found {
        Ok(None) => failed("what cannot be read is taken for an empty store: sessions would take it for a logout"),
        Ok(Some(_)) => failed("what cannot be read is a token"),
        Err(error) => check(!format!("{error} {error:?}").contains(SECRET), "the error quotes what is stored"),
    }
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
    check(is_same(store.load()?.as_ref(), &newer), "a lost section has changed what is stored")?;
    for (saved, asks) in [(Some(&newer), true), (Some(&newer), false), (None, true), (None, false)] {
        later_save(bench, saved, asks)?;
    }
    Ok(())
}

/// Whoever has taken over has saved this or logged out, and has left.
fn later_save(bench: &dyn Bench, saved: Option<&Stored>, asks: bool) -> Result<(), Stop> {
    let store = begin(bench, Some(&stored(1, 0)?))?;
    let mut lost = store.exclusive(LONG)?;
    lost.prepare()?;
    lost.hold_for(LONG)?;
    check(bench.lose_section(), "the bench cannot take the section away once more")?;
    let other = bench.open();
    let mut inside = other.exclusive(LONG)?;
    match saved {
        Some(saved) => inside.save(saved)?,
        None => inside.remove()?,
    }
    drop(inside);
    if asks {
        check(lost.hold_for(LONG).is_err(), "a section that was lost is said to stand once its successor has left")?;
    }
    let why = match saved {
        Some(_) => "a lost section saves over its successor's token once that has left",
        None => "a lost section saves a token after its successor's logout",
    };
    check(lost.save(&stored(2, 0)?).is_err(), why)?;
    check(saved.is_none() || lost.remove().is_err(), "a lost section removes its successor's token")?;
    drop(lost);
    let found = store.load()?;
    check(saved.map_or(found.is_none(), |saved| is_same(found.as_ref(), saved)), why)
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
    let meanwhile = bench.open().load();
    check(bench.cut_off(false), "the bench cannot end what it began")?;
    check_not_other(
        &meanwhile,
        &before,
        "where the way is broken, the store is empty: sessions would take that for a logout",
    )?;
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
