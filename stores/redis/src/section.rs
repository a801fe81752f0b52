//! The exclusive section: a lease, and a look at it with each step.

use std::sync::{MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ureq_auth::{Error, Exclusive, Result, Stored, TokenStore as _};

use crate::RedisStore;
use crate::clock::EngineClock;
use crate::left::{Lease, Left, Name};

/// The lease of somebody who has just come: for a look at what is stored, and a save.
const FIRST: Duration = Duration::from_secs(5);

/// What is left of a lease once its token is saved: should its end get lost, the others do not wait for long.
const AFTER_SAVE: Duration = Duration::from_secs(1);

/// The pauses between two attempts to get the lease: from here, doubled each time, up to there.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// What the lease holds: its section's name, and the number of the last step that was run. A command may be run twice, or
/// late: by an engine that was frozen, or from a connection that has been given up. It changes nothing after a later step.
/// `last` is nil where the lease is another's, or past this step.
macro_rules! step {
    ($rest:literal) => {
        concat!(
            "local lease, number = redis.call('GET', KEYS[1]), tonumber(ARGV[2]) ",
            "local last = lease and lease:sub(1, 16) == ARGV[1] and tonumber(lease:sub(17)) ",
            "if last and last > number then last = nil end ",
            "local function keep(time) redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'PX', time) return 1 end ",
            $rest
        )
    };
}

/// Free, or of a section that this store has left without a word. The arguments after the name, the lease's time and the
/// deadline are how many leases owe a save, these, and the rest. One that owes a save ends when it would have ended: a session
/// that has gone with its token must not keep the others out for longer. The repeat of a command whose answer was lost finds
/// its own name.
const ENTER: &str = "local now, lease, time, answer = redis.call('TIME'), redis.call('GET', KEYS[1]), tonumber(ARGV[2]), 1 \
                     now = now[1] * 1000 + math.floor(now[2] / 1000) \
                     if ARGV[3] ~= '' and now > tonumber(ARGV[3]) then return {-1, now} end \
                     if lease == ARGV[1] .. '0' then \
                     redis.call('PEXPIRE', KEYS[1], math.max(time, redis.call('PTTL', KEYS[1]))) return {3, now} end \
                     if lease then \
                     local name = lease:sub(1, 16) \
                     answer = 0 \
                     for i = 5, #ARGV do if name == ARGV[i] then answer = i - 4 <= tonumber(ARGV[4]) and 2 or 1 end end \
                     if answer == 0 then return {0, now} end \
                     if answer == 2 then time = math.max(1, redis.call('PTTL', KEYS[1])) end end \
                     redis.call('SET', KEYS[1], ARGV[1] .. '0', 'PX', time) return {answer, now}";
const LATE: i64 = -1;
const ANOTHERS: i64 = 0;
const OWES_SAVE: i64 = 2;
const WAS_MINE: i64 = 3;

/// Never shorter than it is: `hold_for` has the say on that.
const PREPARE: &str =
    step!("if not last then return 0 end return keep(math.max(tonumber(ARGV[3]), redis.call('PTTL', KEYS[1])))");
const HOLD: &str = step!("if not last then return 0 end return keep(ARGV[3])");
/// The repeat of a save whose answer was lost may find that its lease has run out since: what it saves is there.
const SAVE: &str = step!(
    "if not last then return redis.call('GET', KEYS[2]) == ARGV[3] and 1 or 0 end \
     if last < number then redis.call('SET', KEYS[2], ARGV[3]) end return keep(ARGV[4])"
);
const REMOVE: &str = step!(
    "if not last then return 1 - redis.call('EXISTS', KEYS[2]) end \
     if last < number then redis.call('DEL', KEYS[2]) end return keep(math.max(1, redis.call('PTTL', KEYS[1])))"
);
const LEAVE: &str = step!("if last then redis.call('DEL', KEYS[1]) end return 1");

pub(crate) struct Section<'a> {
    store: &'a RedisStore,
    name: Name,
    /// Of the last step that was sent.
    number: u32,
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
            let sent = Instant::now();
            let deadline = store.clock().deadline(sent, store.connections.timeout());
            let (time, number) = (milliseconds(FIRST), owing.to_string());
            let mut arguments: Vec<&[u8]> = vec![&name, time.as_bytes(), deadline.as_bytes(), number.as_bytes()];
            arguments.extend(left.iter().map(|lease| lease.name.as_slice()));
            let entered = store.eval(ENTER, &arguments).map_err(|error| {
                // It may get there all the same, and take over a lease that owes a save. Not if the engine has answered.
                if error.is_io_error() && !error.is_connection_refusal() {
                    store.left().leave(Lease { name, owes_save: owing > 0, is_unheard: true });
                }
                store.failed(&error)
            })?;
            let (entered, now) = store.two_numbers(entered)?;
            if entered == LATE {
                // It is heard, so the engine's clock has been set: what it says next is believed.
                store.clock().forget();
                continue;
            }
            store.clock().hear(sent, now);
            if entered != ANOTHERS {
                store.left().forget(&left);
                let owes_save = entered == OWES_SAVE || entered == WAS_MINE && owing > 0;
                return Ok(Section { store, name, number: 0, may_have_sent: false, owes_save });
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

    fn next(&mut self) -> String {
        self.number = self.number.saturating_add(1);
        self.number.to_string()
    }

    fn under(&mut self, script: &str, number: &str, arguments: &[&[u8]]) -> Result<()> {
        let mut all: Vec<&[u8]> = vec![&self.name, number.as_bytes()];
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
        let number = self.next();
        self.under(PREPARE, &number, &[milliseconds(FIRST).as_bytes()])
    }

    fn hold_for(&mut self, needed: Duration) -> Result<()> {
        self.may_send()?;
        // A save may wait for a whole call before it fails, and can be made up for.
        let time = needed.saturating_add(self.store.margin).saturating_add(self.store.connections.timeout());
        let number = self.next();
        self.under(HOLD, &number, &[milliseconds(time).as_bytes()])?;
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
        let (text, number, begin) = (stored.to_text(), self.next(), Instant::now());
        loop {
            let saved = self.under(SAVE, &number, &[text.as_bytes(), lasts.as_bytes()]);
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
        let number = self.next();
        self.under(REMOVE, &number, &[])?;
        self.is_settled();
        Ok(())
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        let (name, owes_save, number) = (self.name, self.owes_save, self.next());
        if owes_save || self.store.script(LEAVE, &[&name, number.as_bytes()]).is_err() {
            self.store.left().leave(Lease { name, owes_save, is_unheard: false });
        }
    }
}

impl RedisStore {
    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clock(&self) -> MutexGuard<'_, EngineClock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
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
