//! The exclusive section: a lease, and a look at it with each step.

use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use ureq_auth::{Error, Exclusive, Result, Stored, TokenStore as _};

use crate::{Left, RedisStore};

/// The lease of somebody who has just come: for a look at what is stored, and a save.
const FIRST: Duration = Duration::from_secs(5);

/// What is left of a lease once its token is saved: should its end get lost, the others do not wait for long.
const AFTER_SAVE: Duration = Duration::from_secs(1);

/// The pauses between two attempts to get the lease: from here, doubled each time, up to there.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// How many sections a store remembers that may still have the lease. More than that are long over.
const REMEMBERED: usize = 8;

/// Free, mine already, or of a section that this store has left without a word: taken over with what is left of its time.
/// A repeat of a command whose answer was lost does no harm. 0: another's; 1: mine; I + 1: taken over from argument I.
const ENTER: &str = "local name, time, from = redis.call('GET', KEYS[1]), tonumber(ARGV[2]), 1 \
                     if name == ARGV[1] then return 1 end \
                     if name then \
                     from = 0 for i = 3, #ARGV do if name == ARGV[i] then from = i + 1 end end \
                     if from == 0 then return 0 end \
                     time = math.max(time, redis.call('PTTL', KEYS[1])) end \
                     redis.call('SET', KEYS[1], ARGV[1], 'PX', time) return from";
const HOLD: &str =
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end redis.call('PEXPIRE', KEYS[1], ARGV[2]) return 1";
const SAVE: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
                    redis.call('SET', KEYS[2], ARGV[2]) redis.call('PEXPIRE', KEYS[1], ARGV[3]) return 1";
const REMOVE: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end redis.call('DEL', KEYS[2]) return 1";
const LEAVE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1";

pub(crate) struct Section<'a> {
    store: &'a RedisStore,
    /// What the lease holds while it is this section's.
    name: [u8; 16],
    /// A token could not be saved: nobody else may spend the one that it has replaced. So the lease is left to run, for the
    /// store's next section.
    owes_save: bool,
}

impl<'a> Section<'a> {
    pub(crate) fn enter(store: &'a RedisStore, timeout: Duration) -> Result<Self> {
        let mut name = [0; 16];
        getrandom::fill(&mut name).map_err(|error| Error::store(format!("the system has no randomness: {error}")))?;
        let (begin, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            let left = store.left();
            let time = milliseconds(FIRST);
            let mut arguments: Vec<&[u8]> = vec![&name, time.as_bytes()];
            arguments.extend(left.iter().map(|left| left.name.as_slice()));
            let entered = store.script(ENTER, &arguments).inspect_err(|_| {
                // It may have got there all the same.
                store.leave_behind(Left { name, owes_save: false });
            })?;
            // Behind the two arguments of its own, counted from one.
            let from =
                usize::try_from(entered).ok().and_then(|from| from.checked_sub(4)).and_then(|from| left.get(from));
            if entered != 0 {
                return Ok(Section { store, name, owes_save: from.is_some_and(|left| left.owes_save) });
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

    fn under(&self, script: &str, arguments: &[&[u8]]) -> Result<()> {
        let mut all: Vec<&[u8]> = vec![&self.name];
        all.extend(arguments);
        match self.store.script(script, &all)? {
            1 => Ok(()),
            _ => Err(Error::store_busy(format!(
                "the lease on {} has run out, and it may be another host's: nothing is sent or stored",
                self.store.place()
            ))),
        }
    }
}

impl Exclusive for Section<'_> {
    fn load(&mut self) -> Result<Option<Stored>> {
        self.store.load()
    }

    /// That it can be written to: a replica that is read only, and a disk that is full, say so to this as well.
    fn prepare(&mut self) -> Result<()> {
        self.under(HOLD, &[milliseconds(FIRST).as_bytes()])
    }

    fn hold_for(&mut self, needed: Duration) -> Result<()> {
        self.under(HOLD, &[milliseconds(needed.saturating_add(self.store.margin)).as_bytes()])?;
        // Whoever sends has saved before, or has found that there is nothing to save.
        self.owes_save = false;
        Ok(())
    }

    fn save(&mut self, stored: &Stored) -> Result<()> {
        // Until it is known to be there.
        self.owes_save = true;
        self.under(SAVE, &[stored.to_text().as_bytes(), milliseconds(AFTER_SAVE).as_bytes()])?;
        self.owes_save = false;
        Ok(())
    }

    fn remove(&mut self) -> Result<()> {
        self.under(REMOVE, &[])?;
        self.owes_save = false;
        Ok(())
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        if self.owes_save || self.store.script(LEAVE, &[&self.name]).is_err() {
            self.store.leave_behind(Left { name: self.name, owes_save: self.owes_save });
        }
    }
}

impl RedisStore {
    fn left(&self) -> Vec<Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn leave_behind(&self, section: Left) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if left.len() >= REMEMBERED {
            left.remove(0);
        }
        left.push(section);
    }
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
