//! What a session knows of its store between two stays in it.

use std::time::Duration;

use super::section::Section;
use super::{Answer, Behind, Keep, News, Obtained, Stay as _};
use crate::session::{Errand, Shared};
use crate::source::SourceError;
use crate::store::{Stored, TokenStore};
use crate::sync::{self, Leaf, ThreadId};
use crate::token::Token;
use crate::{Error, Result};

pub(crate) struct Keeper {
    store: Box<dyn TokenStore>,
    pub(super) memory: Leaf<Memory>,
}

#[derive(Default)]
pub(super) struct Memory {
    /// What the store held when this session last knew.
    pub(super) known: Option<Stored>,
    /// The session was built on a token that had been refused before: the source may have other credentials by now, and is
    /// asked once.
    pub(super) begins_refused: bool,
    /// Taken by who brings the store up to date, and put back should that fail.
    pub(super) behind: Option<Behind>,
    /// Who is in the exclusive section: it must not wait for itself.
    pub(super) inside: Option<ThreadId>,
}

impl Memory {
    fn is_mine(&self) -> bool {
        self.inside == Some(sync::current_thread())
    }
}

impl Keeper {
    pub(crate) fn new(store: impl TokenStore + 'static) -> Self {
        Keeper { store: Box::new(store), memory: Leaf::new(Memory::default()) }
    }

    fn enter(&self, timeout: Duration) -> Result<Section<'_>> {
        let inside = self.store.exclusive(timeout)?;
        Ok(Section::new(self, inside))
    }

    /// Is what is stored this session's own?
    pub(super) fn check_owner(&self, shared: &Shared, stored: Option<&Stored>) -> Result<()> {
        match (stored.and_then(Stored::owner), shared.owner.as_deref()) {
            (Some(theirs), Some(ours)) if theirs != ours => Err(Error::store(format!(
                "{} holds the token of another login, {theirs}, and this session is for {ours}: give each a store of its \
                 own, or remove the other's token",
                self.place()
            ))),
            _ => Ok(()),
        }
    }

    pub(super) fn place(&self) -> String {
        self.store.place()
    }

    pub(super) fn know(&self, stored: Option<Stored>) {
        let old = std::mem::replace(&mut self.memory.lock().known, stored);
        // Wiping memory is nothing to do under a lock.
        drop(old);
    }
}

impl Keep for Keeper {
    fn restore(&self, shared: &Shared) -> Result<Option<Token>> {
        let stored = self.store.load()?;
        self.check_owner(shared, stored.as_ref())?;
        let token = stored.as_ref().map(Stored::to_token).transpose()?;
        self.memory.lock().begins_refused = stored.as_ref().is_some_and(|stored| stored.refusal().is_some());
        self.know(stored);
        Ok(token)
    }

    fn has_nothing_new(&self) -> bool {
        // Outside the section: whatever is there is read again inside, before anything is done about it.
        match self.store.load() {
            Ok(None) => true,
            Ok(Some(found)) => {
                let memory = self.memory.lock();
                // Somebody may have taken the mark away, to have it tried again.
                memory.known.as_ref().is_some_and(|known| {
                    known.is_same_as(&found) && known.refusal().is_some() == found.refusal().is_some()
                })
            }
            // Nothing is known of what is there: the end stands.
            Err(_) => true,
        }
    }

    fn obtain<'a>(
        &'a self,
        shared: &Shared,
        previous: Option<&Token>,
        stands: &dyn Fn() -> bool,
        errand: Errand,
    ) -> Obtained<'a> {
        if self.memory.lock().is_mine() {
            return Obtained::without_store(Answer::failed(SourceError::reentrant()));
        }
        let mut section = match self.enter(shared.time_to_wait(errand)) {
            Ok(section) => section,
            Err(error) => return Obtained::without_store(Answer::failed(SourceError::of_store(error))),
        };
        // The device may have slept meanwhile.
        if shared.time_to_wait(errand).is_zero() {
            return Obtained::without_store(Answer::failed(SourceError::unavailable(
                "the wait for the store took most of the flight's time (Policy::with_budget); nothing was sent",
            )));
        }
        let mut news = News::default();
        // While we waited, somebody may have logged in or out: then there is nothing to be refreshed.
        let answer = if stands() {
            let answer = section.renew(shared, previous, stands, errand, &mut news);
            answer.unwrap_or_else(Answer::failed)
        } else {
            Answer::Superseded
        };
        Obtained { answer, news, stay: Some(Box::new(section)) }
    }

    fn fall_behind(&self, behind: Behind) {
        self.memory.lock().behind = Some(behind);
    }

    fn is_behind(&self) -> bool {
        let memory = self.memory.lock();
        memory.behind.is_some() && !memory.is_mine()
    }

    fn catch_up(&self, shared: &Shared, timeout: Duration) -> Result<bool> {
        if self.memory.lock().is_mine() {
            // Called from within the source: the flight on this thread is superseded by that, and writes it in the end.
            return Ok(false);
        }
        self.enter(timeout)?.catch_up(shared)
    }

    fn empty(&self, shared: &Shared) -> Result<Option<Token>> {
        if self.memory.lock().is_mine() {
            return Ok(None);
        }
        let mut section = self.enter(shared.policy.budget)?;
        // What cannot be read is emptied all the same; what is another's is not.
        let stored = section.load().ok().flatten();
        self.check_owner(shared, stored.as_ref())?;
        section.catch_up(shared)?;
        // Somebody may have logged in anew since, and have been here first: that token stays.
        let (current, _, _) = shared.flight.current();
        let stored = stored.filter(|stored| current.is_none_or(|current| !stored.has_access_of(&current)));
        Ok(stored.and_then(|stored| stored.to_token().ok()))
    }
}
