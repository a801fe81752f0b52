//! The exclusive section: a lease, and a look at it with each step.

use std::sync::{MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ureq_auth::{Error, Exclusive, Result, Stored, TokenStore as _};

use crate::RedisStore;
use crate::left::{Left, Name};

/// The lease of somebody who has just come: for a look at what is stored, and a save.
const FIRST: Duration = Duration::from_secs(5);

/// What is left of a lease once its token is saved: should its end get lost, the others do not wait for long.
const AFTER_SAVE: Duration = Duration::from_secs(1);

/// The pauses between two attempts to get the lease: from here, doubled each time, up to there.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Free, or of a section that this store has left without a word: taken over with what is left of its time. A repeat of a
/// command whose answer was lost does no harm. The answers are these.
const ENTER: &str = "local name, time, answer = redis.call('GET', KEYS[1]), tonumber(ARGV[2]), 1 \
                     if name == ARGV[1] then return 2 end \
                     if name then \
                     answer = 0 for i = 3, #ARGV do if name == ARGV[i] then answer = 2 end end \
                     if answer == 0 then return 0 end \
                     time = math.max(time, redis.call('PTTL', KEYS[1])) end \
                     redis.call('SET', KEYS[1], ARGV[1], 'PX', time) return answer";
const ANOTHERS: i64 = 0;
const WAS_FREE: i64 = 1;

const HOLD: &str =
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end redis.call('PEXPIRE', KEYS[1], ARGV[2]) return 1";
const SAVE: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
                    redis.call('SET', KEYS[2], ARGV[2]) redis.call('PEXPIRE', KEYS[1], ARGV[3]) return 1";
const REMOVE: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end redis.call('DEL', KEYS[2]) return 1";
const LEAVE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1";

pub(crate) struct Section<'a> {
    store: &'a RedisStore,
    name: Name,
}

impl<'a> Section<'a> {
    pub(crate) fn enter(store: &'a RedisStore, timeout: Duration) -> Result<Self> {
        let used_before = store.left().name();
        let name = used_before.map_or_else(new_name, Ok)?;
        let (begin, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            let (left, time) = (store.left().names(), milliseconds(FIRST));
            let mut arguments: Vec<&[u8]> = vec![&name, time.as_bytes()];
            arguments.extend(left.iter().map(Name::as_slice));
            // It may get there all the same.
            let entered = store.script(ENTER, &arguments).inspect_err(|_| store.left().keep_unheard(name))?;
            if entered != ANOTHERS {
                store.left().has_entered(entered == WAS_FREE);
                return Ok(Section { store, name });
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
        self.store.left().owes_save = false;
        Ok(())
    }

    fn save(&mut self, stored: &Stored) -> Result<()> {
        // Until it is known to be there.
        self.store.left().owes_save = true;
        self.under(SAVE, &[stored.to_text().as_bytes(), milliseconds(AFTER_SAVE).as_bytes()])?;
        self.store.left().owes_save = false;
        Ok(())
    }

    fn remove(&mut self) -> Result<()> {
        self.under(REMOVE, &[])?;
        self.store.left().owes_save = false;
        Ok(())
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        // With a save to make up for, the lease is left to run, for the store's next section.
        let owes_save = self.store.left().owes_save;
        if owes_save || self.store.script(LEAVE, &[&self.name]).is_err() {
            self.store.left().keep(self.name);
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
