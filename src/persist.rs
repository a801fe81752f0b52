//! How a session and its store go together: the order of steps that loses no token.
//!
//! ```text
//!   lock ─► re-read ─► another token, and it lives? ── yes ──► publish it                        (no token call)
//!                        │ no: the stored refresh token is the one to use
//!                        ▼
//!                      prepare ─► exchange ─► save ─► publish ─► unlock ─► tell observers
//! ```
//!
//! - Nothing is exchanged outside the exclusive section, nor before the store is known to be writable.
//! - A token is stored before any thread of ours uses it. If that fails it is used all the same, the store is *behind*,
//!   and catches up at the next chance.
//! - Tokens are compared by their text. Whoever finds another one than it knows takes it: it is the later one.
//! - Only what was refused is removed, and only while it is there.
//! - [`set`](crate::Session::set) and [`end`](crate::Session::end) change the flight first, then the store follows the
//!   flight: of several at once, the last one stands in both.

use std::time::Duration;

use crate::events::Event;
use crate::policy::Freshness;
use crate::session::{Errand, Shared, Wish};
use crate::source::{Outcome, SourceError};
use crate::store::{Exclusive, Stored, TokenStore};
use crate::sync::{self, Mutex, ThreadId};
use crate::token::Token;
use crate::{Error, Result};

/// How long the drop of a session waits for the lock, to store what could not be stored before.
const LAST_CHANCE: Duration = Duration::from_secs(2);

/// What a session does with its store. A trait of one type, so that a program that never names a store does not carry the
/// code: only [`SessionBuilder::store`](crate::SessionBuilder::store) makes the vtable.
pub(crate) trait Keep: Send + Sync {
    /// What is stored when the session is built.
    fn restore(&self) -> Result<Option<Token>>;

    /// The error that the session has ended with, unless there is something new in the store.
    fn still_ended(&self) -> Option<Error>;

    /// The session has ended, `with` this in the store. It looks into the store now and then: another process may log in.
    fn end(&self, with: Option<Stored>, error: Error);

    /// The leader's way to the next token. `stands`: is its flight still the one under way?
    fn obtain<'a>(
        &'a self,
        shared: &Shared,
        previous: Option<&Token>,
        stands: &dyn Fn() -> bool,
        errand: Errand,
    ) -> Obtained<'a>;

    /// A token was put into the flight by hand, or taken out of it. A new one is told under the flight's mutex, so no leader
    /// can see the one without the other.
    fn fall_behind(&self, force: bool);

    /// Has the store follow the flight. Returns what was stored until then, if the store is emptied by that.
    fn follow(&self, shared: &Shared) -> Result<Option<Token>>;

    /// The last chance for a store that is behind.
    fn finish(&self, shared: &Shared);
}

/// How the way to the next token ended, and the exclusive section, which stays until the token is out.
pub(crate) struct Obtained<'a> {
    pub(crate) answer: Answer,
    /// What observers are to be told when all is done.
    pub(crate) news: News,
    section: Option<Section<'a>>,
}

pub(crate) enum Answer {
    /// By a token call, stored if there is a store.
    Fetched(Token),
    /// From the store, without a token call.
    Adopted(Token),
    Failed(SourceError),
    Superseded,
}

/// What has happened in the store on the way.
#[derive(Default)]
pub(crate) struct News {
    pub(crate) save_error: Option<Error>,
    pub(crate) saved_late: bool,
    /// What the store held when that was last looked at.
    pub(crate) held: Option<Stored>,
}

impl Obtained<'_> {
    pub(crate) fn without_store(answer: Answer) -> Self {
        Obtained { answer, news: News::default(), section: None }
    }

    /// Leaves the section: all is done that is done inside.
    pub(crate) fn leave(&mut self) {
        self.section = None;
    }

    /// The same where the flight was superseded: what was put into it by hand goes into the store.
    pub(crate) fn leave_superseded(&mut self, shared: &Shared) {
        if let Some(mut section) = self.section.take() {
            // Whoever put it there does this as well, and reports what stands in the way.
            let _reported = section.catch_up(shared);
        }
    }
}

pub(crate) struct Keeper {
    store: Box<dyn TokenStore>,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// What the store held when this session last knew.
    known: Option<Stored>,
    behind: Option<Behind>,
    /// How many times the store was left behind by hand: whether the last time came while it was being brought up to date.
    falls: u64,
    /// Who is in the exclusive section: it must not wait for itself.
    inside: Option<ThreadId>,
    ended: Option<Ended>,
}

/// The flight's token is not in the store.
struct Behind {
    /// By `set` or `end`: goes over whatever is stored. Otherwise it only goes over what is known.
    force: bool,
}

/// The session has ended, but for another process that logs in again.
struct Ended {
    /// What was in the store then: anything else is new.
    with: Option<Stored>,
    error: Error,
}

impl Keeper {
    pub(crate) fn new(store: impl TokenStore + 'static) -> Self {
        Keeper { store: Box::new(store), memory: Mutex::new(Memory::default()) }
    }

    fn enter(&self, timeout: Duration) -> Result<Section<'_>> {
        let inside = self.store.exclusive(timeout)?;
        self.memory.lock().inside = Some(sync::current_thread());
        Ok(Section { keeper: self, inside })
    }

    fn forget_end(&self) {
        let old = self.memory.lock().ended.take();
        drop(old);
    }

    fn know(&self, stored: Option<Stored>) {
        let old = std::mem::replace(&mut self.memory.lock().known, stored);
        drop(old);
    }
}

impl Keep for Keeper {
    fn restore(&self) -> Result<Option<Token>> {
        let stored = self.store.load()?;
        let token = stored.as_ref().map(Stored::to_token).transpose()?;
        self.know(stored);
        Ok(token)
    }

    fn still_ended(&self) -> Option<Error> {
        let (with, error, behind) = {
            let memory = self.memory.lock();
            let ended = memory.ended.as_ref()?;
            (ended.with.clone(), ended.error.clone(), memory.behind.is_some())
        };
        // Outside the section: whatever is there is read again inside, before anything is done about it.
        match (self.store.load(), with) {
            // A token was set that is not in the store yet.
            _ if behind => {}
            (Ok(None), _) => return Some(error),
            (Ok(Some(found)), Some(with)) if found.is_same_as(&with) => return Some(error),
            _ => {}
        }
        self.forget_end();
        None
    }

    fn end(&self, with: Option<Stored>, error: Error) {
        let old = self.memory.lock().ended.replace(Ended { with, error });
        drop(old);
    }

    fn obtain<'a>(
        &'a self,
        shared: &Shared,
        previous: Option<&Token>,
        stands: &dyn Fn() -> bool,
        errand: Errand,
    ) -> Obtained<'a> {
        let time_left = shared.policy.budget.saturating_sub(shared.clock.now().since(errand.begin));
        let mut section = match self.enter(time_left) {
            Ok(section) => section,
            Err(error) => return Obtained::without_store(Answer::Failed(SourceError::of_store(error))),
        };
        let mut news = News::default();
        // While we waited, somebody may have logged in or out: then there is nothing to be refreshed.
        let answer = if stands() {
            let answer = section.renew(shared, previous, stands, errand, &mut news);
            answer.unwrap_or_else(Answer::Failed)
        } else {
            Answer::Superseded
        };
        Obtained { answer, news, section: Some(section) }
    }

    fn fall_behind(&self, force: bool) {
        let mut memory = self.memory.lock();
        memory.falls += 1;
        memory.behind = Some(Behind { force });
    }

    fn follow(&self, shared: &Shared) -> Result<Option<Token>> {
        if self.memory.lock().inside == Some(sync::current_thread()) {
            // Called from within the source: the flight on this thread is superseded by that, and writes it in the end.
            return Ok(None);
        }
        self.forget_end();
        let followed = self.enter(shared.policy.budget).and_then(|mut section| {
            let is_logout = shared.flight.current().0.is_none();
            let stored = if is_logout { section.inside.load().ok().flatten() } else { None };
            section.catch_up(shared)?;
            Ok(stored.and_then(|stored| stored.to_token().ok()))
        });
        if let Err(error) = &followed {
            shared.emit(Event::SaveFailed { error });
        }
        followed
    }

    fn finish(&self, shared: &Shared) {
        if self.memory.lock().behind.is_none() {
            return;
        }
        let saved = self.enter(LAST_CHANCE).and_then(|mut section| section.catch_up(shared));
        match saved {
            Ok(true) => shared.emit(Event::SavedLate),
            Ok(false) => {}
            Err(error) => shared.emit(Event::SaveFailed { error: &error }),
        }
    }
}

/// A stay in the store's exclusive section.
struct Section<'a> {
    keeper: &'a Keeper,
    inside: Box<dyn Exclusive + 'a>,
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        // Before the section itself ends, which is when `inside` is dropped: the next one enters its own name.
        self.keeper.memory.lock().inside = None;
    }
}

impl Section<'_> {
    /// Re-read, compare, then adopt or exchange.
    fn renew(
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
        let found = match self.inside.load() {
            Ok(found) => found,
            Err(error) => {
                // Whatever is there next, it was not put there by another session's logout.
                self.keeper.know(None);
                return Err(SourceError::of_store(error));
            }
        };
        news.held.clone_from(&found);
        let known = std::mem::replace(&mut self.keeper.memory.lock().known, found.clone());
        let mut stored = None;
        match found {
            None if known.is_some() => return Err(SourceError::logged_out()),
            None => {}
            Some(found) => {
                let token = self.restored(shared, &found)?;
                if previous.is_none_or(|previous| !found.has_access_of(previous)) && lives(shared, &token, errand.wish)
                {
                    return Ok(Answer::Adopted(token));
                }
                stored = Some(token);
            }
        }
        self.inside.prepare().map_err(SourceError::of_store)?;
        let mut repeated = false;
        loop {
            let used = stored.as_ref().or(previous);
            let error = match shared.ask(used, stands, errand) {
                Ok(token) => {
                    news.save_error = self.save(shared, &token).err();
                    return Ok(Answer::Fetched(token));
                }
                Err(error) => error,
            };
            if !matches!(error.outcome(), Outcome::Rejected | Outcome::Unknown) {
                return Err(error);
            }
            // Nobody should have changed it while we are in the section; somebody who copies files may have.
            let Ok(Some(found)) = self.inside.load() else { return Err(error) };
            news.held = Some(found.clone());
            let is_used = used.is_some_and(|used| found.has_key_of(used));
            let token = self.restored(shared, &found)?;
            if used.is_none_or(|used| !found.has_access_of(used)) && lives(shared, &token, errand.wish) {
                self.keeper.know(Some(found));
                return Ok(Answer::Adopted(token));
            }
            if error.outcome() == Outcome::Rejected && is_used {
                // Where it cannot be removed, it costs the next process one round trip.
                news.save_error = self.inside.remove().err();
                self.keeper.know(None);
                return Err(error);
            }
            if error.outcome() == Outcome::Unknown || repeated {
                return Err(error);
            }
            self.keeper.know(Some(found));
            repeated = true;
            stored = Some(token);
        }
    }

    fn restored(&self, shared: &Shared, stored: &Stored) -> Result<Token, SourceError> {
        let token = stored.to_token().map_err(SourceError::of_store)?;
        Ok(shared.restored(token))
    }

    fn save(&mut self, shared: &Shared, token: &Token) -> Result<()> {
        let stored = shared.to_be_stored(token);
        match self.inside.save(&stored) {
            Ok(()) => {
                self.keeper.know(Some(stored));
                Ok(())
            }
            Err(error) => {
                // What the user has set meanwhile goes first.
                let mut memory = self.keeper.memory.lock();
                memory.behind.get_or_insert(Behind { force: false });
                Err(error)
            }
        }
    }

    /// Stores the flight's token, or empties the store with it, if the store is behind. Was there something to do?
    fn catch_up(&mut self, shared: &Shared) -> Result<bool> {
        let (force, known, falls) = {
            let memory = self.keeper.memory.lock();
            let Some(behind) = &memory.behind else { return Ok(false) };
            (behind.force, memory.known.clone(), memory.falls)
        };
        let (current, _, _) = shared.flight.current();
        let stored = current.as_deref().map(|token| shared.to_be_stored(token));
        let is = |a: &Option<Stored>, b: &Option<Stored>| match (a, b) {
            (Some(a), Some(b)) => a.is_same_as(b),
            (None, None) => true,
            _ => false,
        };
        // Another session has stored something since, or has emptied the store: it was later.
        let theirs = !force && {
            let found = self.inside.load()?;
            !is(&found, &known) && !is(&found, &stored)
        };
        match &stored {
            _ if theirs => {}
            Some(stored) => self.inside.save(stored)?,
            None if force => self.inside.remove()?,
            None => {}
        }
        let mut memory = self.keeper.memory.lock();
        let old = if theirs { None } else { std::mem::replace(&mut memory.known, stored) };
        // Only if nothing came since the look at the flight. Its generation cannot tell: an end has none of its own.
        if memory.falls == falls {
            memory.behind = None;
        }
        drop(memory);
        drop((old, known));
        Ok(!theirs)
    }
}

/// Does the token that was found serve whoever asked?
fn lives(shared: &Shared, token: &Token, wish: Wish) -> bool {
    let freshness = shared.policy.freshness(&token.life, shared.clock.now(), wish.valid_for);
    matches!(freshness, Freshness::Fresh | Freshness::Stale)
}
