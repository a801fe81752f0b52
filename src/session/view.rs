//! What a session's store sees of the session: the values that it needs, and no more.

use std::sync::Arc;
use std::time::Duration;

use crate::Error;
use crate::clock::{Clock, Tick};
use crate::flight::Flight;
use crate::policy::{Freshness, History, Policy};
use crate::store::Stored;
use crate::sync::Leaf;
use crate::token::{Life, Token};

/// A look at a session.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(super) flight: &'a Flight<Token, Error>,
    pub(super) policy: &'a Policy,
    pub(super) clock: &'a dyn Clock,
    pub(super) history: &'a Leaf<History>,
    /// Whose tokens these are.
    pub(super) owner: Option<&'a str>,
}

/// What a caller asks for.
#[derive(Clone, Copy, Default)]
pub(crate) struct Request {
    pub(super) valid_for: Duration,
    pub(super) replaces: Replaces,
}

/// Whether a certain token will not do, by its generation.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Replaces {
    #[default]
    Nothing,
    /// It was refused.
    Refused(u64),
    /// It is good, and a new one is asked for.
    Good(u64),
}

/// What one refresh is for.
#[derive(Clone, Copy)]
pub(crate) struct Refresh {
    pub(super) request: Request,
    pub(super) begin: Tick,
    /// Which login it was begun with: what comes of it says nothing of a later one.
    pub(super) login: u64,
    /// The token that is to be replaced lives: nobody has to wait.
    pub(super) ahead: bool,
}

impl View<'_> {
    /// The flight's token.
    pub(super) fn current(&self) -> Option<Arc<Token>> {
        self.flight.current().0
    }

    /// Does `token` live for as long as is asked?
    pub(super) fn is_good(&self, token: &Token, request: Request) -> bool {
        let freshness = self.policy.freshness(&token.life, self.clock.now(), request.valid_for);
        token.has_access() && matches!(freshness, Freshness::Fresh | Freshness::Stale)
    }

    /// What is left of the flight's time for anything but an exchange.
    pub(super) fn time_to_wait(&self, refresh: Refresh) -> Duration {
        self.policy.time_to_wait(self.clock.now().since(refresh.begin))
    }

    /// The most that an attempt begun now may take.
    pub(super) fn time_left(&self, refresh: Refresh) -> Duration {
        self.policy.budget.saturating_sub(self.clock.now().since(refresh.begin))
    }

    /// A token from the store, with its life as far as clocks can tell.
    pub(super) fn restored(&self, mut token: Token) -> Token {
        token.life = self.restored_life(&token);
        token
    }

    pub(super) fn restored_life(&self, token: &Token) -> Life {
        let (now, wall) = (self.clock.now(), self.clock.wall());
        self.policy.restored_life(token, now, &self.history.lock(), wall)
    }

    pub(super) fn stored_of(&self, token: &Token) -> Stored {
        let (now, wall) = (self.clock.now(), self.clock.wall());
        let time_of_day = self.history.lock().time_of_day(now, wall);
        Stored::of(token, now, time_of_day).owned_by(self.owner)
    }
}
