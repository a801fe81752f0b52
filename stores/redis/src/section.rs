//! The exclusive section: a lease, and a look at it with each step.

use std::sync::{MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ureq_auth::{Error, Exclusive, Result, Stored, TokenStore as _};

use crate::RedisStore;
use crate::left::{Lease, Left, Name};

/// The lease of somebody who has just come: for a look at what is stored, and a save.
const FIRST: Duration = Duration::from_secs(5);

/// What is left of a lease once its token is saved: should its end get lost, the others do not wait for long.
const AFTER_SAVE: Duration = Duration::from_secs(1);

/// The pauses between two attempts to get the lease: from here, doubled each time, up to there.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Free, or of a section that this store has left without a word. The arguments after the name and the time are how many
/// leases owe a save, these, and the rest. One that owes a save ends when it would have ended: a session that has gone with
/// its token must not keep the others out for longer. The repeat of a command whose answer was lost finds its own name.
const ENTER: &str = "local name, time, answer = redis.call('GET', KEYS[1]), tonumber(ARGV[2]), 1 \
                     if name == ARGV[1] then \
                     redis.call('PEXPIRE', KEYS[1], math.max(time, redis.call('PTTL', KEYS[1]))) return 3 end \
                     if name then \
                     answer = 0 \
                     for i = 4, #ARGV do if name == ARGV[i] then answer = i - 3 <= tonumber(ARGV[3]) and 2 or 1 end end \
                     if answer == 0 then return 0 end \
                     if answer == 2 then time = math.max(1, redis.call('PTTL', KEYS[1])) end end \
                     redis.call('SET', KEYS[1], ARGV[1], 'PX', time) return answer";
const ANOTHERS: i64 = 0;
const OWES_SAVE: i64 = 2;
const WAS_MINE: i64 = 3;

/// Never shorter than it is: `hold_for` has the say on that.
const PREPARE: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
                       redis.call('PEXPIRE', KEYS[1], math.max(tonumber(ARGV[2]), redis.call('PTTL', KEYS[1]))) return 1";
const HOLD: &str =
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end redis.call('PEXPIRE', KEYS[1], ARGV[2]) return 1";
const SAVE: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
                    redis.call('SET', KEYS[2], ARGV[2]) redis.call('PEXPIRE', KEYS[1], ARGV[3]) return 1";
const REMOVE: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end redis.call('DEL', KEYS[2]) return 1";
const LEAVE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1";

pub(crate) struct Section<'a> {
    store: &'a RedisStore,
    name: Name,
    /// A token request was allowed, and nothing is saved since.
    may_have_sent: bool,
    /// A token could not be saved, here or in the section whose lease this one took over: nobody may spend the one that it has
    /// replaced. So nothing is sent before a save, and the lease is left to run, for the store's next section.
    owes_save: bool,
}

impl<'a> Section<'a> {
    pub(crate) fn enter(store: &'a RedisStore, timeout: Duration) -> Result<Self> {
        let name = new_name()?;
        let (begin, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            // What is left after this look is not known to the engine: it stays.
            let left = store.left().all();
            let owing = left.iter().filter(|lease| lease.owes_save).count();
            let (time, number) = (milliseconds(FIRST), owing.to_string());
            let mut arguments: Vec<&[u8]> = vec![&name, time.as_bytes(), number.as_bytes()];
            arguments.extend(left.iter().map(|lease| lease.name.as_slice()));
            let entered = store.eval(ENTER, &arguments).map_err(|error| {
                // It may get there all the same, and take over a lease that owes a save. Not if the engine has answered.
                if error.is_io_error() && !error.is_connection_refusal() {
                    store.left().leave(Lease { name, owes_save: owing > 0, is_unheard: true });
                }
                store.failed(&error)
            })?;
            let entered = store.number(entered)?;
            if entered != ANOTHERS {
                store.left().forget(&left);
                let owes_save = entered == OWES_SAVE || entered == WAS_MINE && owing > 0;
                return Ok(Section { store, name, may_have_sent: false, owes_save });
            }
            let left = timeout.saturating_sub(begin.elapsed());
            if left.is_zero() {
                // It holds nothing that its drop would give back.
                return Err(Error::store_busy(format!(
                    "another host has kept {} for {timeout:?}: it refreshes the token, or has died in that, and its lease ends",
                    store.place()
                )));
            }
            thread::sleep(pause.min(left));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn under(&mut self, script: &str, arguments: &[&[u8]]) -> Result<()> {
        let mut all: Vec<&[u8]> = vec![&self.name];
        all.extend(arguments);
        match self.store.script(script, &all)? {
            1 => Ok(()),
            _ => {
                // There is nothing left to hold on to.
                self.owes_save = false;
                Err(Error::store_busy(format!(
                    "the lease on {} has run out, and it may be another host's: nothing is sent or stored",
                    self.store.place()
                )))
            }
        }
    }

    fn may_send(&self) -> Result<()> {
        if !self.owes_save {
            return Ok(());
        }
        Err(Error::store_busy(format!(
            "{} has been replaced, and its successor is not saved yet: the session that has that saves it with its next call",
            self.store.place()
        )))
    }

    fn is_settled(&mut self) {
        (self.may_have_sent, self.owes_save) = (false, false);
    }
}

impl Exclusive for Section<'_> {
    fn load(&mut self) -> Result<Option<Stored>> {
        self.store.load()
    }

    /// That it can be written to: a replica that is read only, and a disk that is full, say so to this as well.
    fn prepare(&mut self) -> Result<()> {
        self.may_send()?;
        self.under(PREPARE, &[milliseconds(FIRST).as_bytes()])
    }

    fn hold_for(&mut self, needed: Duration) -> Result<()> {
        self.may_send()?;
        // A save may wait for a whole call before it fails, and can be made up for.
        let time = needed.saturating_add(self.store.margin).saturating_add(self.store.connections.timeout());
        self.under(HOLD, &[milliseconds(time).as_bytes()])?;
        self.may_have_sent = true;
        Ok(())
    }

    /// The lease outlives a connection, and an engine that is started again: it is tried for as long as a call may take. The
    /// session may make no call in time that would make up for it.
    fn save(&mut self, stored: &Stored) -> Result<()> {
        // What was saved without a token request may be followed by one.
        let lasts = milliseconds(if self.may_have_sent { AFTER_SAVE } else { FIRST });
        // Until it is known to be there. A mark that a token is refused has none that replaces it.
        self.owes_save |= self.may_have_sent && !stored.is_refused();
        let (text, begin) = (stored.to_text(), Instant::now());
        loop {
            let saved = self.under(SAVE, &[text.as_bytes(), lasts.as_bytes()]);
            if saved.is_ok() {
                self.is_settled();
            }
            if saved.is_ok() || !self.owes_save || begin.elapsed() >= self.store.connections.timeout() {
                return saved;
            }
            thread::sleep(LONGEST_PAUSE);
        }
    }

    fn remove(&mut self) -> Result<()> {
        self.under(REMOVE, &[])?;
        self.is_settled();
        Ok(())
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        let (name, owes_save) = (self.name, self.owes_save);
        if owes_save || self.store.script(LEAVE, &[&name]).is_err() {
            self.store.left().leave(Lease { name, owes_save, is_unheard: false });
        }
    }
}

impl RedisStore {
    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn new_name() -> Result<Name> {
    let mut name = Name::default();
    getrandom::fill(&mut name).map_err(|error| Error::store(format!("the system has no randomness: {error}")))?;
    Ok(name)
}

/// At least one: a lease that ends at once is an error to the engine.
fn milliseconds(time: Duration) -> String {
    time.as_millis().clamp(1, 86_400_000).to_string()
}

/// A token's text, wiped when it is dropped.
pub(crate) struct Wiped(pub(crate) Vec<u8>);

impl Drop for Wiped {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}
