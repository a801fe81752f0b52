//! What a session's threads share, and what it says of a token at a moment.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::observer::Observer;
use super::stored::Persist;
use super::view::{Replaces, Request, View};
use crate::Error;
use crate::clock::{Clock, Tick};
use crate::events::{Event, Stats};
use crate::flight::{Flight, Need, Schedule};
use crate::policy::{Freshness, History, Policy};
use crate::source::TokenSource;
use crate::sync::Leaf;
use crate::token::{Life, Publication, Secret, Token};

/// How long the drop of a session waits for the store's lock.
const LAST_CHANCE: Duration = Duration::from_secs(2);

/// What all clones of a session share.
pub(crate) struct Shared {
    pub(super) flight: Flight<Token, Error>,
    pub(super) policy: Policy,
    pub(super) clock: Box<dyn Clock>,
    pub(super) source: Box<dyn TokenSource>,
    pub(super) store: Option<Box<dyn Persist>>,
    pub(super) observer: Observer,
    pub(super) history: Leaf<History>,
    pub(super) stats: Leaf<Stats>,
    /// A success may change the history: an address has refused a token, or a previous token is kept.
    pub(super) looks_at_successes: AtomicBool,
    /// Whose tokens these are.
    pub(super) owner: Option<String>,
    /// Tells this session's tokens from another's, whose generations mean nothing here.
    pub(super) id: usize,
}

impl Shared {
    /// What the store sees of it.
    pub(super) fn view(&self) -> View<'_> {
        View {
            flight: &self.flight,
            policy: &self.policy,
            clock: &*self.clock,
            history: &self.history,
            owner: self.owner.as_deref(),
        }
    }

    /// What a session is renewed with is a part of its token, even if that came without it, or has not come yet.
    pub(super) fn with_the_sources_own(&self, token: Option<Arc<Token>>) -> Option<Arc<Token>> {
        if token.as_ref().is_some_and(|token| token.refresh_secret().is_some()) {
            return token;
        }
        let Some(own) = self.source.refresh_token().map(Secret::from) else { return token };
        match token {
            Some(token) => Some(Arc::new(token.renewed_with(own))),
            None => Token::of_refresh(own).ok().map(Arc::new),
        }
    }

    /// Is there nothing to do for it? What [`need`](Shared::need) says of nearly every call, at the least cost.
    #[inline]
    pub(super) fn is_fresh(&self, token: &Token, now: Tick) -> bool {
        self.policy.is_fresh(&token.life, now) && !self.store.as_ref().is_some_and(|store| store.has_unsaved())
    }

    /// When a caller that holds the token has to come back for another. The same ages as in [`need`](Shared::need).
    pub(super) fn schedule(&self, token: &Token, not_before: Tick) -> Schedule {
        let by_age = |at: Option<Tick>| at.filter(|_| self.policy.proactive);
        let due_at = by_age(token.life.stale_at).map(|at| at.max(not_before));
        Schedule { due_at, ends_at: by_age(token.life.ends_at) }
    }

    pub(super) fn need(&self, request: Request, token: &Token, generation: u64, now: Tick) -> Need {
        match self.due(request, token, generation, now) {
            // It is good, but it is not stored: one caller sees to that.
            Need::None if self.store.as_ref().is_some_and(|store| store.has_unsaved()) => Need::Advisory,
            need => need,
        }
    }

    pub(super) fn due(&self, request: Request, token: &Token, generation: u64, now: Tick) -> Need {
        match request.replaces {
            // Rule 3: a refusal is about one generation. If a later one is out, its own age decides.
            Replaces::Refused(refused) if refused == generation => return Need::Refused,
            Replaces::Good(good) if good == generation => return Need::Mandatory { usable: false },
            _ => {}
        }
        match self.policy.freshness(&token.life, now, request.valid_for) {
            Freshness::Fresh => Need::None,
            Freshness::Stale => Need::Advisory,
            Freshness::Expired { usable } => Need::Mandatory { usable },
        }
    }

    /// The token that is there, if it still serves: a refresh that failed is nobody's error while it lives.
    pub(super) fn fall_back(&self, request: Request, now: Tick) -> Option<Arc<Token>> {
        let (current, generation, refused) = self.flight.current();
        let current = current.filter(|_| !refused)?;
        let usable = match self.need(request, &current, generation, now) {
            Need::None | Need::Advisory => true,
            Need::Mandatory { usable } => usable,
            Need::Refused => false,
        };
        usable.then_some(current)
    }

    pub(super) fn seal(&self, mut token: Token, life: Life, generation: u64) -> Token {
        token.life = life;
        token.origin = Publication { session: self.id, generation };
        token
    }

    /// Counts, logs, tells: outside every lock but the counters' own.
    pub(crate) fn emit(&self, event: Event<'_>) {
        self.stats.lock().count(&event);
        self.observer.tell(&event);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let Some(store) = self.store.as_ref().filter(|store| store.has_unsaved()) else { return };
        if let Ok(true) = self.report(store.save_unsaved(self.view(), LAST_CHANCE)) {
            self.emit(Event::SavedLate);
        }
    }
}
