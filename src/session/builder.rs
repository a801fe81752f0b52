//! The settings of a session.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Session;
use super::observer::Observer;
use super::shared::Shared;
use super::stored::{Persist, Persistent, Unsaved};
use crate::clock::{Clock, SystemClock};
use crate::events::{Event, Stats};
use crate::flight::Flight;
use crate::policy::{History, Policy};
use crate::source::TokenSource;
use crate::store::TokenStore;
use crate::sync::Leaf;
use crate::{Result, Token};

/// Settings of a [`Session`].
#[must_use = "a builder does nothing until build() is called"]
pub struct SessionBuilder {
    pub(super) source: Box<dyn TokenSource>,
    pub(super) store: Option<Box<dyn Persist>>,
    pub(super) owner: Option<String>,
    pub(super) token: Option<Token>,
    pub(super) policy: Policy,
    pub(super) clock: Box<dyn Clock>,
    pub(super) observer: Observer,
}

impl Session {
    /// A session on `source`, with everything else as it is by default. It starts without a token; the first call
    /// gets one.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if the source is not fit for use: a bad address, an empty token.
    pub fn new(source: impl TokenSource + 'static) -> Result<Self> {
        Self::builder(source).build()
    }

    /// A session on `source` with settings of your own.
    pub fn builder(source: impl TokenSource + 'static) -> SessionBuilder {
        SessionBuilder {
            source: Box::new(source),
            store: None,
            owner: None,
            token: None,
            policy: Policy::default(),
            clock: Box::new(SystemClock),
            observer: Observer::new(None),
        }
    }
}

impl SessionBuilder {
    /// Keeps the token in `store`: the session starts with what is there, stores each new token before it is used, and
    /// shares it with every other session on the same store, in this process and others.
    ///
    /// Of all that find the token due at the same time, one refreshes it, in the store's exclusive section; the others
    /// take what that one has stored. A failure to read or lock the store, or to make sure that it can be written, is a
    /// failure of the refresh, and leaves the refresh token unspent.
    ///
    /// A session that has ended, because its login was refused or another process has logged out, looks into the store now
    /// and then, with the pauses of [`Policy::with_backoff`], and goes on when somebody has logged in again.
    pub fn store(mut self, store: impl TokenStore + 'static) -> Self {
        self.store = Some(Box::new(Persistent::new(store)));
        self
    }

    /// Whose tokens these are, for a source that does not say it itself, such as a closure ([`TokenSource::owner`]): a token
    /// that was stored for another owner is neither used nor overwritten. No secret; the client's name and the token
    /// endpoint, say.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// Starts with this token instead of none: one that was kept from an earlier run, or that came with a login. With a
    /// store, it is used only if that is empty, or holds another one that the server has refused to renew, and is stored by
    /// the first call. Use [`Session::set`] to overwrite what is stored.
    pub fn token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    /// When to refresh, how often to try, how long to wait.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Another clock than the system's.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Registers an event callback. It is called on the thread where the event happens, with no lock held (but for the store's, where an
    /// [attempt has failed](Event::AttemptFailed)); it should be quick. If it asks for a token that it would have to wait for,
    /// it gets [`Reentrant`](crate::ErrorKind::Reentrant). It is told of the calls that it makes itself, but what comes of
    /// those that it makes while it is told so is only counted; a `log` backend that makes calls by this session is treated the
    /// same way.
    pub fn observer(mut self, observer: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Observer::new(Some(Box::new(observer)));
        self
    }

    /// Builds the session. Nothing is sent; a store is read.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a policy that makes no sense or a source not fit for use,
    /// [`Store`](crate::ErrorKind::Store) for a store that cannot be read.
    pub fn build(self) -> Result<Session> {
        static IDS: AtomicUsize = AtomicUsize::new(1);

        self.policy.check()?;
        self.source.check()?;
        let owner = self.owner.or_else(|| self.source.owner());
        let mut policy = self.policy;
        // A pause that takes most of the flight's time would leave none for the exchange.
        policy.patience = policy.patience.min(policy.time_to_wait(Duration::ZERO));
        let shared = Arc::new(Shared {
            flight: Flight::new(),
            policy,
            clock: self.clock,
            source: self.source,
            store: self.store,
            observer: self.observer,
            history: Leaf::new(History::default()),
            stats: Leaf::new(Stats::default()),
            looks_at_successes: AtomicBool::new(false),
            owner,
            id: IDS.fetch_add(1, Ordering::Relaxed),
        });
        // Weak: a clock that outlives the session must not keep it alive.
        let waiters: Weak<Shared> = Arc::downgrade(&shared);
        shared.clock.on_change(Arc::new(move || {
            if let Some(shared) = waiters.upgrade() {
                shared.flight.poke(true);
            }
        }));
        let session = Session(shared);
        let restored = session.0.store.as_ref().map(|store| store.restore(session.0.view())).transpose()?.flatten();
        match (restored, self.token) {
            // A new login: what is stored has been refused, and is not what was given.
            (Some((stored, true)), Some(token)) if !token.is_renewed_like(&stored) => {
                session.put(token, Some(Unsaved::ByHand), None);
            }
            (Some((stored, _)), _) => session.put(stored, None, None),
            (None, Some(token)) => session.put(token, Some(Unsaved::ByRefresh), None),
            (None, None) => {}
        }
        Ok(session)
    }
}

impl fmt::Debug for SessionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SessionBuilder { token, policy, clock, .. } = self;
        f.debug_struct("SessionBuilder")
            .field("token", token)
            .field("policy", policy)
            .field("clock", clock)
            .finish_non_exhaustive()
    }
}
