//! The exclusive section: a lease, and a look at it with each step.

use std::thread;
use std::time::{Duration, Instant};

use ureq_auth::{Error, Exclusive, Result, Stored, TokenStore as _};

use crate::{MARGIN, RedisStore};

/// The lease of somebody who has just come: for a look at what is stored, and a save.
const FIRST: Duration = Duration::from_secs(5);

/// The pauses between two attempts to get the lease: from here, doubled each time, up to there.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Mine already, or free: a repeat of a command whose answer was lost does no harm.
const ENTER: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] or redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) \
                     then return 1 end return 0";
const HOLD: &str =
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end redis.call('PEXPIRE', KEYS[1], ARGV[2]) return 1";
const SAVE: &str =
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end redis.call('SET', KEYS[2], ARGV[2]) return 1";
const REMOVE: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end redis.call('DEL', KEYS[2]) return 1";
const LEAVE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1";

pub(crate) struct Section<'a> {
    store: &'a RedisStore,
    /// What the lease holds while it is this section's.
    name: [u8; 16],
}

impl<'a> Section<'a> {
    pub(crate) fn enter(store: &'a RedisStore, timeout: Duration) -> Result<Self> {
        let mut name = [0; 16];
        getrandom::fill(&mut name).map_err(|error| Error::store(format!("the system has no randomness: {error}")))?;
        let section = Section { store, name };
        let (begin, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            if store.script(ENTER, &[&name, milliseconds(FIRST).as_bytes()])? == 1 {
                return Ok(section);
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

    fn under(&self, script: &str, argument: &[u8]) -> Result<()> {
        match self.store.script(script, &[&self.name, argument])? {
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
        self.under(HOLD, milliseconds(FIRST).as_bytes())
    }

    fn hold_for(&mut self, needed: Duration) -> Result<()> {
        self.under(HOLD, milliseconds(needed.saturating_add(MARGIN)).as_bytes())
    }

    fn save(&mut self, stored: &Stored) -> Result<()> {
        self.under(SAVE, stored.to_text().as_bytes())
    }

    fn remove(&mut self) -> Result<()> {
        self.under(REMOVE, &[])
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        // Where that does not get there, the lease ends by itself.
        let _ends_by_itself = self.store.script(LEAVE, &[&self.name]);
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
