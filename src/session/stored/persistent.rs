//! A session with a store, as the session calls it.

use std::time::Duration;

use super::known::{Known, Memory};
use super::locked::{Locked, in_time};
use super::{Answer, Exchange, Lock as _, Notices, Obtained, Persist, Unsaved};
use crate::Result;
use crate::session::view::View;
use crate::source::SourceError;
use crate::store::{Stored, TokenStore};
use crate::sync::Leaf;
use crate::token::Token;

pub(in crate::session) struct Persistent(Known);

impl Persistent {
    pub(in crate::session) fn new(store: impl TokenStore + 'static) -> Self {
        Persistent(Known { store: Box::new(store), memory: Leaf::new(Memory::default()) })
    }

    fn lock(&self, timeout: Duration) -> Result<Locked<'_>> {
        let inside = self.0.store.exclusive(timeout)?;
        Ok(Locked::new(&self.0, inside))
    }
}

impl Persist for Persistent {
    fn restore(&self, view: View<'_>) -> Result<Option<(Token, bool)>> {
        let stored = self.0.store.load()?;
        self.0.check_owner(view.owner, stored.as_ref())?;
        let token = stored.as_ref().map(Stored::to_token).transpose()?;
        let is_refused = stored.as_ref().is_some_and(|stored| stored.refusal().is_some());
        self.0.memory.lock().begins_refused = is_refused;
        self.0.know(stored);
        Ok(token.map(|token| (token, is_refused)))
    }

    fn has_nothing_new(&self) -> bool {
        // Outside the section: whatever is there is read again inside, before anything is done about it.
        match self.0.store.load() {
            Ok(None) => true,
            Ok(Some(found)) => {
                let memory = self.0.memory.lock();
                // Somebody may have taken the mark away, to have it tried again.
                memory.stored.as_ref().is_some_and(|known| {
                    known.is_same_as(&found) && known.refusal().is_some() == found.refusal().is_some()
                })
            }
            // Nothing is known of what is there: the end stands.
            Err(_) => true,
        }
    }

    fn obtain<'a>(&'a self, view: View<'_>, exchange: &Exchange<'_>) -> Obtained<'a> {
        if self.0.memory.lock().is_mine() {
            return Obtained::without_store(Answer::failed(SourceError::reentrant()));
        }
        let mut locked = match self.lock(view.time_to_wait(exchange.refresh)) {
            Ok(locked) => locked,
            Err(error) => return Obtained::without_store(Answer::failed(SourceError::of_store(error))),
        };
        if let Err(late) = in_time(view, exchange.refresh) {
            return Obtained::without_store(Answer::failed(late));
        }
        let mut notices = Notices::default();
        // While we waited, somebody may have logged in or out: then there is nothing to be refreshed.
        let answer = if (exchange.stands)() {
            let answer = locked.renew(view, exchange, &mut notices);
            answer.unwrap_or_else(Answer::failed)
        } else {
            Answer::Superseded
        };
        Obtained { answer, notices, lock: Some(Box::new(locked)) }
    }

    fn mark_unsaved(&self, unsaved: Unsaved) {
        self.0.memory.lock().unsaved = Some(unsaved);
    }

    fn has_unsaved(&self) -> bool {
        let memory = self.0.memory.lock();
        memory.unsaved.is_some() && !memory.is_mine()
    }

    fn save_unsaved(&self, view: View<'_>, timeout: Duration) -> Result<bool> {
        if self.0.memory.lock().is_mine() {
            // Called from within the source: the flight on this thread is superseded by that, and writes it in the end.
            return Ok(false);
        }
        self.lock(timeout)?.save_unsaved(view)
    }

    fn empty(&self, view: View<'_>) -> Result<Option<Token>> {
        if self.0.memory.lock().is_mine() {
            return Ok(None);
        }
        let mut locked = self.lock(view.policy.budget)?;
        // What cannot be read is emptied all the same; what is another's is not.
        let stored = locked.load().ok().flatten();
        self.0.check_owner(view.owner, stored.as_ref())?;
        locked.save_unsaved(view)?;
        // Somebody may have logged in anew since, and have been here first: that token stays.
        let current = view.current();
        let stored = stored.filter(|stored| current.is_none_or(|current| !stored.has_access_of(&current)));
        Ok(stored.and_then(|stored| stored.to_token().ok()))
    }
}
