//! A stay in the store's exclusive section: all that a session does there.

use super::keeper::Keeper;
use super::{Answer, Behind, News, Stay};
use crate::Result;
use crate::outcome::Outcome;
use crate::policy::Freshness;
use crate::session::{Between, Errand, Look, Shared, Wish};
use crate::source::SourceError;
use crate::store::{Exclusive, Stored};
use crate::sync;
use crate::token::Token;

pub(super) struct Section<'a> {
    keeper: &'a Keeper,
    inside: Box<dyn Exclusive + 'a>,
}

/// What is in the store, and what it is as a token.
struct Found {
    stored: Stored,
    token: Token,
}

impl<'a> Section<'a> {
    pub(super) fn new(keeper: &'a Keeper, inside: Box<dyn Exclusive + 'a>) -> Self {
        keeper.memory.lock().inside = Some(sync::current_thread());
        Section { keeper, inside }
    }

    pub(super) fn load(&mut self) -> Result<Option<Stored>> {
        self.inside.load()
    }

    /// Re-read, compare, then adopt or exchange.
    pub(super) fn renew(
        &mut self,
        shared: &Shared,
        previous: Option<&Token>,
        stands: &dyn Fn() -> bool,
        errand: Errand,
        news: &mut News,
    ) -> Result<Answer, SourceError> {
        let saved_late = self.catch_up(shared).map_err(SourceError::of_store)?;
        // Looked at again: what the store has just followed may be a logout. It counts as stored now, so that a token written
        // over it would stay.
        if !stands() {
            return Ok(Answer::Superseded);
        }
        news.saved_late = saved_late;
        let (held_one, begins_refused) = {
            let memory = self.keeper.memory.lock();
            (memory.known.is_some(), memory.begins_refused)
        };
        let found = self.find(shared).map_err(SourceError::of_store)?;
        let (stored, refusal) = match found {
            Some(found) if found.serves(shared, previous, errand.wish) => return Ok(Answer::Adopted(found.token)),
            Some(found) => {
                let refusal = found.stored.refusal().cloned();
                (Some(found.token), refusal)
            }
            None if held_one && !self.inside.was_set_aside() => return Err(SourceError::logged_out()),
            None => (None, None),
        };
        let used = match &refusal {
            None => stored.as_ref().or(previous),
            // What is stored has been refused before this session was there: the source may have something of its own.
            Some(_) if begins_refused => None,
            Some(refusal) => return Err(SourceError::refused_before(refusal)),
        };
        self.inside.prepare().map_err(SourceError::of_store)?;
        let answer = shared.ask(used, stands, errand, &mut Inside { section: self, shared, errand, news });
        match (answer, refusal) {
            (Answer::Fetched(token), _) => {
                news.save_error = self.save(shared, &token).err();
                Ok(Answer::Fetched(token))
            }
            // It has nothing else.
            (Answer::Failed { error, .. }, Some(refusal)) if error.outcome() == Outcome::NotLoggedIn => {
                Err(SourceError::refused_before(&refusal))
            }
            (answer, _) => Ok(answer),
        }
    }

    /// What is in the store, which this session knows from now on.
    fn find(&mut self, shared: &Shared) -> Result<Option<Found>> {
        let stored = self.inside.load().inspect_err(|_| {
            // Whatever is there next, it was not put there by another session's logout.
            self.keeper.know(None);
        })?;
        self.keeper.check_owner(shared, stored.as_ref())?;
        self.keeper.know(stored.clone());
        let found = |stored: Stored| {
            let token = shared.restored(stored.to_token()?);
            Ok(Found { stored, token })
        };
        stored.map(found).transpose()
    }

    fn save(&mut self, shared: &Shared, token: &Token) -> Result<()> {
        self.store(self.still_owned(shared.to_be_stored(token)))
    }

    /// By a source that names no owner, a token is renewed for the one that it has.
    fn still_owned(&self, stored: Stored) -> Stored {
        let known = self.keeper.memory.lock().known.clone();
        match known.as_ref().and_then(Stored::owner) {
            Some(owner) if stored.owner().is_none() => stored.owned_by(Some(owner)),
            _ => stored,
        }
    }

    fn store(&mut self, stored: Stored) -> Result<()> {
        if let Err(error) = self.inside.save(&stored) {
            // What the user has set meanwhile goes first.
            self.keeper.memory.lock().behind.get_or_insert(Behind::ByItself);
            return Err(error);
        }
        self.keeper.memory.lock().begins_refused = false;
        self.keeper.know(Some(stored));
        Ok(())
    }

    fn remove(&mut self) -> Result<()> {
        self.inside.remove()?;
        self.keeper.know(None);
        Ok(())
    }

    /// Stores the flight's token, or empties the store with it.
    fn follow(&mut self, shared: &Shared, behind: Behind) -> Result<bool> {
        let (current, _, _) = shared.flight.current();
        let current = current.map(|token| shared.to_be_stored(&token));
        if matches!(behind, Behind::ByHand) && shared.owner.is_some() {
            // What cannot be read is the store's own affair: it is asked to write over it.
            let found = self.inside.load().ok().flatten();
            self.keeper.check_owner(shared, found.as_ref())?;
        }
        match (current, behind) {
            (Some(current), Behind::ByHand) => {
                self.inside.save(&current)?;
                self.keeper.know(Some(current));
            }
            (None, Behind::ByHand) => self.remove()?,
            (Some(current), Behind::ByItself) => {
                let found = self.inside.load()?;
                let known = self.keeper.memory.lock().known.clone();
                if !is_same(found.as_ref(), known.as_ref()) && !is_same(found.as_ref(), Some(&current)) {
                    // Another session has stored something since, or has emptied the store: it was later.
                    return Ok(false);
                }
                let current = self.still_owned(current);
                self.inside.save(&current)?;
                self.keeper.know(Some(current));
            }
            // Gone before it was stored.
            (None, Behind::ByItself) => return Ok(false),
        }
        Ok(true)
    }
}

/// The section as it is between two attempts.
struct Inside<'a, 's> {
    section: &'a mut Section<'s>,
    shared: &'a Shared,
    errand: Errand,
    news: &'a mut News,
}

impl Between for Inside<'_, '_> {
    fn look(&mut self, used: Option<&Token>) -> Look {
        // Nobody should have changed the store while we are in the section; somebody who copies files may have.
        match self.section.find(self.shared) {
            Ok(Some(found)) if found.serves(self.shared, used, self.errand.wish) => Look::Serves(found.token),
            Ok(Some(found)) if used.is_none_or(|used| !found.stored.has_key_of(used)) => match found.stored.refusal() {
                None => Look::Other(found.token),
                Some(_) => Look::Same,
            },
            _ => Look::Same,
        }
    }

    fn keep(&mut self, token: &Token) {
        self.news.save_error = self.section.save(self.shared, token).err();
    }

    fn refused(&mut self, used: Option<&Token>, error: SourceError) -> SourceError {
        // As the look just now has found it.
        let known = self.section.keeper.memory.lock().known.clone();
        let Some(found) = known.filter(|known| used.is_some_and(|used| known.has_key_of(used))) else { return error };
        let error = error.kept_in(&self.section.keeper.place());
        // Where it cannot be marked, it costs the next process one round trip.
        self.news.save_error = self.section.store(found.refused_with(error.refusal())).err();
        error
    }
}

impl Stay for Section<'_> {
    fn catch_up(&mut self, shared: &Shared) -> Result<bool> {
        // Taken before the look at the flight: should somebody put something else there meanwhile, the store is behind again.
        let Some(behind) = self.keeper.memory.lock().behind.take() else { return Ok(false) };
        self.follow(shared, behind).inspect_err(|_| {
            self.keeper.memory.lock().behind.get_or_insert(behind);
        })
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        // Before the section itself ends, which is when `inside` is dropped: the next one enters its own name.
        self.keeper.memory.lock().inside = None;
    }
}

impl Found {
    /// Is it another token than `used`, and does it live for long enough?
    fn serves(&self, shared: &Shared, used: Option<&Token>, wish: Wish) -> bool {
        let is_other = self.token.has_access() && used.is_none_or(|used| !self.stored.has_access_of(used));
        // A token of before would know nothing of the change that a new one was asked for.
        let is_other = is_other && wish.renews.is_none();
        let freshness = shared.policy.freshness(&self.token.life, shared.clock.now(), wish.valid_for);
        is_other && matches!(freshness, Freshness::Fresh | Freshness::Stale)
    }
}

fn is_same(one: Option<&Stored>, other: Option<&Stored>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.is_same_as(other),
        (None, None) => true,
        _ => false,
    }
}
