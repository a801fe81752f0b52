//! The store that is tested, and what all cases share.

use std::process::Command;
use std::time::Duration;

use crate::{Error, Stored, TokenStore};

/// Longer than anything takes that is to happen at all.
pub(super) const LONG: Duration = Duration::from_secs(30);

/// For how long the kit looks on while something must not happen.
pub(super) const SHORT: Duration = Duration::from_millis(300);

/// A store as the kit gets hold of it. The place that it opens must be the test's own: it is emptied again and again.
pub trait Bench: Sync {
    /// The store, as a process beside the others opens it: a connection of its own, where there are connections.
    fn open(&self) -> Box<dyn TokenStore>;

    /// The store of another login beside it: another row, another file. `None`: there is only one. It is emptied as well.
    fn open_other(&self) -> Option<Box<dyn TokenStore>> {
        None
    }

    /// A command that starts a process which opens the same store and calls [`hold`](super::hold); its standard input and output are
    /// the kit's. Needed for holders that die, are stopped, or save too late.
    fn holder(&self) -> Option<Command> {
        None
    }

    /// How long after its last [`hold_for`](crate::Exclusive::hold_for) a holder that is stopped can lose the section to
    /// somebody else. `None`: never while its process lives.
    fn lease(&self) -> Option<Duration> {
        None
    }

    /// Puts a text into the place of the stored one, past the store, as another program does. False: it cannot be done, which
    /// may be so for an empty text alone, where that is what an empty store has.
    fn put_text(&self, text: &str) -> bool {
        let _not_offered = text;
        false
    }

    /// Has every save fail from now on, in the way that is likeliest where it is: no room, no rights, no connection.
    /// With `false`, ends that. Returns false if it cannot be done.
    fn fail_saves(&self, fail: bool) -> bool {
        let _not_offered = fail;
        false
    }

    /// Takes the section away from whoever is in it, while they live: a lease that runs out, a connection that breaks.
    /// False: it cannot be done.
    fn lose_section(&self) -> bool {
        false
    }

    /// Breaks the way between whoever is in the section and what it saves to, as an engine does that is started again: no save is
    /// made, and the end of the section is not heard of. With `false`, the way is there again. Returns false if it cannot be done, or
    /// if there is no such way.
    fn cut_off(&self, is_cut: bool) -> bool {
        let _not_offered = is_cut;
        false
    }
}

/// Why a case ends before its end.
pub(super) enum Stop {
    NotTried(&'static str),
    Failed(String),
}

pub(super) type Case = fn(&dyn Bench) -> Result<(), Stop>;

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Failed(format!("an unexpected error: {error}"))
    }
}

pub(super) fn failed<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Failed(why.into()))
}

pub(super) fn check(holds: bool, why: &str) -> Result<(), Stop> {
    if holds { Ok(()) } else { failed(why) }
}

/// For what may fail and must not: says what that means.
pub(super) fn done<T>(result: crate::Result<T>, why: &str) -> Result<T, Stop> {
    result.or_else(|error| failed(format!("{why}: {error}")))
}

/// A stored token with this number, which has expired long ago. `padding` is the length of its refresh token.
pub(super) fn stored(number: usize, padding: usize) -> Result<Stored, Stop> {
    let rest = "x".repeat(padding);
    let text = format!(
        r#"{{"version":1,"access_token":"a{number}","refresh_token":"r{number}{rest}","scope":"it's \"\\\u0007 ü","lifetime_ms":1000,"received_at_ms":1}}"#
    );
    Ok(Stored::from_text(&text)?)
}

/// What [`stored`] was given, or 0.
pub(super) fn number_of(stored: Option<&Stored>) -> usize {
    let token = stored.and_then(|stored| stored.to_token().ok());
    token.and_then(|token| token.secret().strip_prefix('a')?.parse().ok()).unwrap_or(0)
}

pub(super) fn is_same(found: Option<&Stored>, wanted: &Stored) -> bool {
    found.is_some_and(|found| *found.to_text() == *wanted.to_text())
}

/// An empty store, or one with this in it.
pub(super) fn begin(bench: &dyn Bench, content: Option<&Stored>) -> Result<Box<dyn TokenStore>, Stop> {
    let store = bench.open();
    let mut inside = store.exclusive(LONG)?;
    match content {
        None => inside.remove()?,
        Some(content) => {
            // What cannot be read may still be there from the case before.
            inside.remove()?;
            inside.save(content)?;
        }
    }
    drop(inside);
    Ok(store)
}
