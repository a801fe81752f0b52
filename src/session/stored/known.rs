//! A session's store, and what the session knows of it while it does not hold the lock.

use super::Unsaved;
use crate::store::{Stored, TokenStore};
use crate::sync::{self, Leaf, ThreadId};
use crate::{Error, Result};

pub(super) struct Known {
    pub(super) store: Box<dyn TokenStore>,
    pub(super) memory: Leaf<Memory>,
}

#[derive(Default)]
pub(super) struct Memory {
    /// What the store held when this session last knew.
    pub(super) stored: Option<Stored>,
    /// The session was built on a token that had been refused before: the source may have other credentials by now, and is
    /// asked once.
    pub(super) begins_refused: bool,
    /// Taken by who saves it, and put back should that fail.
    pub(super) unsaved: Option<Unsaved>,
    /// Who holds the lock: it must not wait for itself.
    pub(super) holder: Option<ThreadId>,
}

impl Memory {
    pub(super) fn is_mine(&self) -> bool {
        self.holder == Some(sync::current_thread())
    }
}

impl Known {
    /// Is what is stored this session's own?
    pub(super) fn check_owner(&self, ours: Option<&str>, stored: Option<&Stored>) -> Result<()> {
        match (stored.and_then(Stored::owner), ours) {
            (Some(theirs), Some(ours)) if theirs != ours => Err(Error::store(format!(
                "{} holds the token of another login, {theirs}, and this session is for {ours}: give each a store of its \
                 own, or remove the other's token",
                self.store.place()
            ))),
            _ => Ok(()),
        }
    }

    pub(super) fn know(&self, stored: Option<Stored>) {
        let old = std::mem::replace(&mut self.memory.lock().stored, stored);
        // Wiping memory is nothing to do under a lock.
        drop(old);
    }

    pub(super) fn stored(&self) -> Option<Stored> {
        self.memory.lock().stored.clone()
    }
}
