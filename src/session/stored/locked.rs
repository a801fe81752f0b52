//! The store while its lock is held: all that a session does there.

use super::known::Known;
use super::{Answer, Between, Exchange, Lock, Look, Notices, Unsaved};
use crate::Result;
use crate::outcome::Outcome;
use crate::session::view::{Refresh, Replaces, Request, View};
use crate::source::SourceError;
use crate::store::{Exclusive, Stored};
use crate::sync;
use crate::token::Token;

pub(super) struct Locked<'a> {
    known: &'a Known,
    inside: Box<dyn Exclusive + 'a>,
}

/// What is in the store, and what it is as a token.
struct Found {
    stored: Stored,
    token: Token,
}

impl<'a> Locked<'a> {
    pub(super) fn new(known: &'a Known, inside: Box<dyn Exclusive + 'a>) -> Self {
        known.memory.lock().holder = Some(sync::current_thread());
        Locked { known, inside }
    }

    pub(super) fn load(&mut self) -> Result<Option<Stored>> {
        self.inside.load()
    }

    /// Re-read, compare, then adopt or exchange.
    pub(super) fn renew(
        &mut self,
        view: View<'_>,
        exchange: &Exchange<'_>,
        notices: &mut Notices,
    ) -> Result<Answer, SourceError> {
        let saved_late = self.save_unsaved(view).map_err(SourceError::of_store)?;
        // Looked at again: what the store has just followed may be a logout. It counts as stored now, so that a token written
        // over it would stay.
        if !(exchange.stands)() {
            return Ok(Answer::Superseded);
        }
        notices.saved_late = saved_late;
        let (held_one, begins_refused) = {
            let memory = self.known.memory.lock();
            (memory.stored.is_some(), memory.begins_refused)
        };
        let found = self.find(view).map_err(SourceError::of_store)?;
        let (stored, refusal) = match found {
            Some(found) if found.serves(view, exchange.previous, exchange.refresh.request) => {
                return Ok(Answer::Adopted(found.token));
            }
            Some(found) => {
                let refusal = found.stored.refusal().cloned();
                (Some(found.token), refusal)
            }
            None if held_one && !self.inside.was_set_aside() => return Err(SourceError::logged_out()),
            None => (None, None),
        };
        let used = match &refusal {
            None => stored.as_ref().or(exchange.previous),
            // What is stored has been refused before this session was there: the source may have something of its own.
            Some(_) if begins_refused => None,
            Some(refusal) => return Err(SourceError::refused_before(refusal)),
        };
        self.inside.prepare().map_err(SourceError::of_store)?;
        let answer = (exchange.ask)(used, &mut Inside { locked: self, view, refresh: exchange.refresh, notices });
        match (answer, refusal) {
            (Answer::Fetched(token), _) => {
                notices.save_error = self.save(view, &token).err();
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
    fn find(&mut self, view: View<'_>) -> Result<Option<Found>> {
        let stored = self.inside.load().inspect_err(|_| {
            // Whatever is there next, it was not put there by another session's logout.
            self.known.know(None);
        })?;
        self.known.check_owner(view.owner, stored.as_ref())?;
        if let (Some(stored), Some(known)) = (&stored, self.known.stored()) {
            if !stored.has_key_of_stored(&known) {
                view.history.lock().note_rotation();
            }
        }
        self.known.know(stored.clone());
        let found = |stored: Stored| {
            let token = view.restored(stored.to_token()?);
            Ok(Found { stored, token })
        };
        stored.map(found).transpose()
    }

    fn save(&mut self, view: View<'_>, token: &Token) -> Result<()> {
        let stored = view.stored_of(token).or_owned_by(self.known.stored().as_ref());
        if let Err(error) = self.inside.save(&stored) {
            // What the user has set meanwhile goes first.
            self.known.memory.lock().unsaved.get_or_insert(Unsaved::ByRefresh);
            return Err(error);
        }
        self.known.memory.lock().begins_refused = false;
        self.known.know(Some(stored));
        Ok(())
    }

    fn remove(&mut self) -> Result<()> {
        self.inside.remove()?;
        self.known.know(None);
        Ok(())
    }

    /// Stores the flight's token, or empties the store with it.
    fn follow(&mut self, view: View<'_>, unsaved: Unsaved) -> Result<bool> {
        let known = self.known.stored();
        let current = view.current().map(|token| view.stored_of(&token).or_owned_by(known.as_ref()));
        if matches!(unsaved, Unsaved::ByHand) && view.owner.is_some() {
            // What cannot be read is the store's own affair: it is asked to write over it.
            let found = self.inside.load().ok().flatten();
            self.known.check_owner(view.owner, found.as_ref())?;
        }
        match (current, unsaved) {
            (Some(current), Unsaved::ByHand) => {
                self.inside.save(&current)?;
                self.known.know(Some(current));
            }
            (None, Unsaved::ByHand) => self.remove()?,
            (Some(current), Unsaved::ByRefresh) => {
                let found = self.inside.load()?;
                if !is_same(found.as_ref(), known.as_ref()) && !is_same(found.as_ref(), Some(&current)) {
                    // Another session has stored something since, or has emptied the store: it was later.
                    return Ok(false);
                }
                self.inside.save(&current)?;
                self.known.know(Some(current));
            }
            // Gone before it was stored.
            (None, Unsaved::ByRefresh) => return Ok(false),
        }
        Ok(true)
    }
}

/// The section as it is between two attempts.
struct Inside<'a, 's> {
    locked: &'a mut Locked<'s>,
    view: View<'a>,
    refresh: Refresh,
    notices: &'a mut Notices,
}

impl Between for Inside<'_, '_> {
    fn may_send(&mut self) -> Result<(), SourceError> {
        let was_late = self.view.time_to_wait(self.refresh).is_zero();
        let needed = self.view.time_left(self.refresh);
        self.locked.inside.hold_for(needed).map_err(SourceError::of_store)?;
        // That may have taken a while. Where an attempt is made late all the same, it is not for this that it is given up.
        if was_late { Ok(()) } else { in_time(self.view, self.refresh) }
    }

    fn look(&mut self, used: Option<&Token>) -> Look {
        // Nobody should have changed the store while we are in the section; somebody who copies files may have.
        let known = self.locked.known.stored();
        match self.locked.find(self.view) {
            // Nobody has: what `used` has more than that could not be stored.
            Ok(Some(found)) if is_same(Some(&found.stored), known.as_ref()) => Look::Same,
            Ok(Some(found)) if found.serves(self.view, used, self.refresh.request) => Look::Serves(found.token),
            Ok(Some(found)) if used.is_none_or(|used| !found.stored.has_key_of(used)) => match found.stored.refusal() {
                None => Look::Other(found.token),
                Some(_) => Look::Same,
            },
            _ => Look::Same,
        }
    }

    fn keep(&mut self, token: &Token) {
        self.notices.save_error = self.locked.save(self.view, token).err();
    }

    fn refused(&mut self, used: Option<&Token>, error: SourceError) -> SourceError {
        // As the look just now has found it.
        let known = self.locked.known.stored();
        let Some(found) = known.filter(|known| used.is_some_and(|used| known.has_key_of(used))) else { return error };
        let error = error.kept_in(&self.locked.known.store.place());
        // Where it cannot be marked, it costs the next process one round trip. Nothing is unsaved for that: there is nothing in
        // the flight that would bring the store up to date.
        let marked = found.refused_with(error.refusal());
        match self.locked.inside.save(&marked) {
            Ok(()) => self.locked.known.know(Some(marked)),
            Err(error) => self.notices.save_error = Some(error),
        }
        error
    }
}

impl Lock for Locked<'_> {
    fn save_unsaved(&mut self, view: View<'_>) -> Result<bool> {
        // Taken before the look at the flight: should somebody put something else there meanwhile, the token is unsaved again.
        let Some(unsaved) = self.known.memory.lock().unsaved.take() else { return Ok(false) };
        self.follow(view, unsaved).inspect_err(|_| {
            self.known.memory.lock().unsaved.get_or_insert(unsaved);
        })
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // Before the section itself ends, which is when `inside` is dropped: the next one enters its own name.
        self.known.memory.lock().holder = None;
    }
}

impl Found {
    /// Is it another token than `used`, and does it live for long enough?
    fn serves(&self, view: View<'_>, used: Option<&Token>, request: Request) -> bool {
        // A token of before would know nothing of the change that a new one was asked for.
        let is_asked_for = !matches!(request.replaces, Replaces::Good(_));
        let is_other = used.is_none_or(|used| !self.stored.has_access_of(used));
        is_asked_for && is_other && view.is_good(&self.token, request)
    }
}

/// An error if too little of the flight's time is left for an attempt: the device may have slept meanwhile.
pub(super) fn in_time(view: View<'_>, refresh: Refresh) -> Result<(), SourceError> {
    match view.time_to_wait(refresh).is_zero() {
        false => Ok(()),
        true => Err(SourceError::unavailable(
            "the wait for the store took most of the refresh's time (Policy::with_budget); nothing was sent",
        )),
    }
}

fn is_same(one: Option<&Stored>, other: Option<&Stored>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.is_same_as(other),
        (None, None) => true,
        _ => false,
    }
}
