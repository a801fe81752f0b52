//! Addresses that refuse every token: a bare 401 for a missing scope, say. No refresh helps there, and each would cost all
//! other callers their token.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use crate::clock::Tick;

/// So many addresses are remembered; the oldest goes first.
const LIMIT: usize = 16;

/// How long an address gets no refresh, before one more is tried.
const QUIET: Duration = Duration::from_secs(300);

/// An address, as a hash of its parts: a call on its way has no need of the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Address(u64);

impl Address {
    pub(crate) fn of(parts: &[&str]) -> Self {
        let mut hasher = DefaultHasher::new();
        parts.hash(&mut hasher);
        Address(hasher.finish())
    }
}

/// Addresses that have refused a token and accepted none since.
#[derive(Debug, Default)]
pub(crate) struct Addresses(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    address: Address,
    /// The first generation that it refused, and the last.
    first: u64,
    last: u64,
    /// It is known to refuse every token, and gets no refresh until then.
    quiet_until: Option<Tick>,
}

impl Addresses {
    /// Notes that `address` has refused the present token, and says whether it refuses every token: it has refused an earlier
    /// one as well, and the present one is accepted elsewhere.
    pub(crate) fn refuse(&mut self, address: Address, generation: u64, was_accepted: bool, now: Tick) -> bool {
        let Some(entry) = self.0.iter_mut().find(|entry| entry.address == address) else {
            if self.0.len() == LIMIT {
                self.0.remove(0);
            }
            self.0.push(Entry { address, first: generation, last: generation, quiet_until: None });
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
        // A token that came in another way is a try as good as a refresh.
        let is_due = entry.quiet_until.is_some() && !is_quiet && !is_new;
        if !is_quiet || is_new {
            entry.quiet_until = Some(now.after(QUIET));
        }
        !is_due
    }

    /// Is it known that `address` refuses every token?
    #[cfg(any(feature = "ureq", test))]
    pub(crate) fn is_quiet(&self, address: Address, now: Tick) -> bool {
        let is_quiet = |entry: &Entry| entry.quiet_until.is_some_and(|until| now < until);
        self.0.iter().any(|entry| entry.address == address && is_quiet(entry))
    }

    /// Notes that `address` has accepted a token.
    pub(crate) fn accept(&mut self, address: Address) {
        self.0.retain(|entry| entry.address != address);
    }

    /// Another login, or other scopes: what was refused before may be accepted now.
    pub(crate) fn forget(&mut self) {
        self.0 = Vec::new();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests;
