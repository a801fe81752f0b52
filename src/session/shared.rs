//! What a session's threads share, and what it says of a token at a moment.

use std::sync::Arc;
use std::time::Duration;

use super::observer::Observer;
use crate::Error;
use crate::clock::{Clock, Tick};
use crate::events::{Event, Stats};
use crate::flight::{Flight, Need};
use crate::persist::Keep;
use crate::policy::{Freshness, History, Policy};
use crate::source::TokenSource;
use crate::sync::Leaf;
use crate::token::{Life, Origin, Secret, Token};

/// What all clones of a session share.
pub(crate) struct Shared {
    pub(crate) flight: Flight<Token, Error>,
    pub(crate) policy: Policy,
    pub(crate) clock: Box<dyn Clock>,
    pub(super) source: Box<dyn TokenSource>,
    pub(super) keeper: Option<Box<dyn Keep>>,
    pub(super) observer: Observer,
    pub(super) history: Leaf<History>,
    pub(super) stats: Leaf<Stats>,
    /// Whose tokens these are.
    pub(crate) owner: Option<String>,
    /// Tells this session's tokens from another's, whose generations mean nothing here.
    pub(super) id: usize,
}

/// What a caller asks of a token.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wish {
    pub(crate) valid_for: Duration,
    /// The generation that was refused.
    pub(super) refused: Option<u64>,
    /// The generation that is to be replaced though it is good.
    pub(crate) renews: Option<u64>,
}

/// What one flight is about.
#[derive(Clone, Copy)]
pub(crate) struct Errand {
    pub(crate) wish: Wish,
    pub(crate) begin: Tick,
    /// Which login it was begun with: what comes of it says nothing of a later one.
    pub(super) login: u64,
    /// The token that is to be replaced lives: nobody has to wait.
    pub(super) ahead: bool,
}

impl Shared {
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

    #[inline]
    pub(super) fn need(&self, wish: Wish, token: &Token, generation: u64, now: Tick) -> Need {
        match self.due(wish, token, generation, now) {
            // It is good, but it is not stored: one caller sees to that.
            Need::None if self.keeper.as_ref().is_some_and(|keeper| keeper.is_behind()) => Need::Advisory,
            need => need,
        }
    }

    #[inline]
    pub(super) fn due(&self, wish: Wish, token: &Token, generation: u64, now: Tick) -> Need {
        // Rule 3: a refusal is about one generation. If a later one is out, its own age decides.
        if wish.refused == Some(generation) {
            return Need::Refused;
        }
        if wish.renews == Some(generation) {
            return Need::Mandatory { usable: false };
        }
        match self.policy.freshness(&token.life, now, wish.valid_for) {
            Freshness::Fresh => Need::None,
            Freshness::Stale => Need::Advisory,
            Freshness::Expired { usable } => Need::Mandatory { usable },
        }
    }

    /// The token that is there, if it still serves: a refresh that failed is nobody's error while it lives.
    pub(super) fn fall_back(&self, wish: Wish, now: Tick) -> Option<Arc<Token>> {
        let (current, generation, refused) = self.flight.current();
        let current = current.filter(|_| !refused)?;
        let usable = match self.need(wish, &current, generation, now) {
            Need::None | Need::Advisory => true,
            Need::Mandatory { usable } => usable,
            Need::Refused => false,
        };
        usable.then_some(current)
    }

    pub(super) fn seal(&self, mut token: Token, life: Life, generation: u64) -> Token {
        token.life = life;
        token.origin = Origin { session: self.id, generation };
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
        if let Some(keeper) = &self.keeper {
            keeper.finish(self);
        }
    }
}
