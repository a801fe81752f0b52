//! Addresses that refuse every token: a bare 401 for a missing scope, say. No refresh helps there, and each would cost all
//! other callers their token.

use std::hash::{DefaultHasher, Hasher as _};
use std::time::Duration;

use crate::clock::Tick;

/// So many addresses are remembered; the oldest goes first.
const LIMIT: usize = 16;

/// How long an address gets no refresh, before one more is tried.
const QUIET: Duration = Duration::from_secs(300);

/// So long after the last success anywhere nobody knows whether the present token is good, and a refresh is tried. Twice as long
/// for each that was in vain.
const UNPROVEN: Duration = Duration::from_millis(250);

/// An address, as a hash of its parts: a call on its way has no need of the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Address(u64);

impl Address {
    pub(crate) fn of(parts: &[&str]) -> Self {
        let mut hasher = DefaultHasher::new();
        for part in parts {
            hasher.write(part.as_bytes());
            // Ends it, as no text can.
            hasher.write(&[0xff]);
        }
        Address(hasher.finish())
    }
}

/// Addresses that have refused a token and accepted none since.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    entries: Vec<Entry>,
    /// When any address has last accepted a token.
    last_success: Tick,
}

#[derive(Debug)]
struct Entry {
    address: Address,
    /// The first generation that it refused, and the last.
    first: u64,
    last: u64,
    /// How long nobody may have accepted a token before one more refresh is tried.
    patience: Duration,
    /// It is known to refuse every token, and gets no refresh until then.
    quiet_until: Option<Tick>,
}

impl Addresses {
    /// Notes that `address` has refused the present token, and says whether it refuses every token: it has refused an earlier
    /// one as well, and the present one is accepted elsewhere. Two revocations in a row look like that too, so it takes
    /// successes now and then to keep a refusal from being met.
    pub(crate) fn refuse(&mut self, address: Address, generation: u64, was_accepted: bool, now: Tick) -> bool {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.address == address) else {
            if self.entries.len() == LIMIT {
                self.entries.remove(0);
            }
            self.entries.push(Entry {
                address,
                first: generation,
                last: generation,
                patience: UNPROVEN,
                quiet_until: None,
            });
            return false;
        };
        let is_new = generation > entry.last;
        entry.last = entry.last.max(generation);
        if generation <= entry.first {
            return false;
        }
        let is_quiet = entry.quiet_until.is_some_and(|until| now < until);
        if !is_quiet && !was_accepted {
            return false;
        }
        let quiet_since = entry.quiet_until.map(|until| until.before(QUIET));
        let is_unproven = quiet_since.is_some_and(|since| now.since(since.max(self.last_success)) >= entry.patience);
        // A token that came in another way is a try as good as a refresh.
        let is_due = !is_new && (is_unproven || (quiet_since.is_some() && !is_quiet));
        if !is_quiet || is_new || is_due {
            entry.quiet_until = Some(now.after(QUIET));
        }
        if is_new && quiet_since.is_some() {
            entry.patience = entry.patience.saturating_mul(2).min(QUIET);
        }
        !is_due
    }

    /// Is it known that `address` refuses every token?
    #[cfg(any(feature = "ureq", test))]
    pub(crate) fn is_quiet(&self, address: Address, now: Tick) -> bool {
        let is_quiet = |entry: &Entry| entry.quiet_until.is_some_and(|until| now < until);
        self.entries.iter().any(|entry| entry.address == address && is_quiet(entry))
    }

    /// Notes that a token was accepted, by `address` if that is known.
    pub(crate) fn accept(&mut self, address: Option<Address>, now: Tick) {
        self.last_success = now;
        self.entries.retain(|entry| Some(entry.address) != address);
    }

    /// Another login, or other scopes: what was refused before may be accepted now.
    pub(crate) fn forget(&mut self) {
        self.entries = Vec::new();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests;
