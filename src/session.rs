//! A [`Session`]: one token, shared by all threads, refreshed once whoever finds that it is due.

mod builder;
mod observer;
mod refresh;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Seconds, SystemClock, Tick};
use crate::events::{Event, Stats};
use crate::flight::{Entry, Flight, Need, Waited};
use crate::persist::{Behind, Keep};
use crate::policy::{Freshness, History, Policy};
use crate::source::{SourceError, TokenSource};
use crate::sync::Leaf;
use crate::token::{Life, Origin, Token};
use crate::{Error, ErrorKind, Result};

pub use builder::SessionBuilder;
use observer::Observer;

/// One token and where the next one comes from. Clones are the same session.
///
/// ```
/// use std::time::Duration;
/// use ureq_auth::{Session, SourceError, Token};
///
/// let session = Session::new(|_previous: Option<&Token>| -> Result<Token, SourceError> {
///     // one blocking call of your own
///     Ok(Token::new("an-access-token")?.with_expires_in(Duration::from_secs(300)))
/// })?;
/// assert_eq!(session.token()?.secret(), "an-access-token");
/// # Ok::<(), ureq_auth::Error>(())
/// ```
#[derive(Clone)]
pub struct Session(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) flight: Flight<Token, Error>,
    pub(crate) policy: Policy,
    pub(crate) clock: Box<dyn Clock>,
    source: Box<dyn TokenSource>,
    keeper: Option<Box<dyn Keep>>,
    observer: Observer,
    history: Leaf<History>,
    stats: Leaf<Stats>,
    /// Tells this session's tokens from another's, whose generations mean nothing here.
    id: usize,
}

/// What becomes of a refusal that was reported.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// The token had been replaced already.
    Late,
    /// It is to be replaced.
    Replace,
    /// It is the API's own trouble, or refreshing after a refusal is switched off.
    Ignored,
}

/// What a caller asks of a token.
#[derive(Clone, Copy)]
pub(crate) struct Wish {
    pub(crate) valid_for: Duration,
    /// The generation that was refused, and whether the API had accepted it before.
    refused: Option<u64>,
}

/// What one flight is about.
#[derive(Clone, Copy)]
pub(crate) struct Errand {
    pub(crate) wish: Wish,
    pub(crate) begin: Tick,
    /// Which login it was begun with: what comes of it says nothing of a later one.
    login: u64,
}

impl Session {
    /// A session on `source`, with everything else as it is by default. It starts without a token; the first call
    /// gets one.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if the source is not fit for use: a bad address, an empty token.
    pub fn new(source: impl TokenSource + 'static) -> Result<Self> {
        Self::builder(source).build()
    }

    /// A session on `source` with settings of your own.
    pub fn builder(source: impl TokenSource + 'static) -> SessionBuilder {
        SessionBuilder {
            source: Box::new(source),
            store: None,
            token: None,
            policy: Policy::default(),
            clock: Box::new(SystemClock),
            observer: Observer::new(None),
        }
    }

    /// A token to use now.
    ///
    /// Returns at once if the token is fresh. If it is near its end, one caller refreshes it here and now, and the others
    /// get the old one at once. If it has expired, one caller refreshes it and the others wait.
    ///
    /// # Errors
    ///
    /// Of a refresh that failed: see [`ErrorKind`]. [`Timeout`](ErrorKind::Timeout) if another's refresh took longer
    /// than [`Policy::with_wait_timeout`] allows.
    #[inline]
    pub fn token(&self) -> Result<Arc<Token>> {
        self.obtain(Wish { valid_for: Duration::ZERO, refused: None })
    }

    /// A token that lives for `valid_for` from now on: before a long upload.
    ///
    /// If that is more than three quarters of what the server grants (of what is left of it when it arrives), three
    /// quarters are asked for, lest every call refresh.
    ///
    /// # Errors
    ///
    /// As [`token`](Session::token).
    pub fn token_valid_for(&self, valid_for: Duration) -> Result<Arc<Token>> {
        self.obtain(Wish { valid_for, refused: None })
    }

    /// Reports that a server refused `token`, and gets the next one: by a refresh, or without one where the token has been
    /// replaced already.
    ///
    /// # Errors
    ///
    /// As [`token`](Session::token), and [`RefusedTooOften`](ErrorKind::RefusedTooOften) if the loop breaker
    /// ([`Policy::with_refusals`]) finds that new tokens do not help, or refreshing after a refusal is switched off.
    /// [`InvalidInput`](ErrorKind::InvalidInput) if the token is not of this session.
    pub fn rejected(&self, token: &Token) -> Result<Arc<Token>> {
        let shared = &*self.0;
        let Origin { session, generation } = token.origin;
        if session != shared.id {
            return Err(Error::invalid(
                "the refused token is not of this session: report it to the session it came from",
            ));
        }
        let verdict = self.judge_refusal(token);
        if verdict == Refusal::Late {
            shared.emit(Event::LateRefusal { generation });
        } else if verdict == Refusal::Ignored {
            shared.emit(Event::RefusalIgnored { generation });
            return Err(Error::new(
                ErrorKind::RefusedTooOften,
                "the API refused the token, and another one is not fetched for it: new tokens were refused alike, or \
                 refreshing after a refusal is switched off; see what the API says with its 401",
            ));
        }
        self.obtain(Wish { valid_for: Duration::ZERO, refused: Some(generation) })
    }

    fn judge_refusal(&self, token: &Token) -> Refusal {
        let shared = &*self.0;
        let generation = token.origin.generation;
        let now = shared.clock.now();
        if shared.flight.current().1 > generation {
            return Refusal::Late;
        }
        // Reports of later tokens may overtake this one here: the loop breaker tells by the generation.
        let may_replace = || shared.history.lock().may_replace(&shared.policy, generation, token.was_accepted(), now);
        if shared.policy.reactive && may_replace() { Refusal::Replace } else { Refusal::Ignored }
    }

    /// Reports that a server accepted `token`. A client does so by itself; for other protocols it tells the loop breaker
    /// that a later refusal is a revocation.
    #[inline]
    pub fn accepted(&self, token: &Token) {
        token.mark_accepted();
    }

    /// Puts a new token in force: after a login, or one that came by another way. Callers that wait get it at once, a
    /// failed session goes on, and the result of a refresh under way is dropped.
    ///
    /// If the session has a store, the token is stored next, in the place of whatever is there: other processes take it
    /// at their next refresh. That waits for the store as long as a flight may ([`Policy::with_budget`]).
    ///
    /// # Errors
    ///
    /// Of the store alone, [`Store`](ErrorKind::Store) or [`Timeout`](ErrorKind::Timeout): the token is in force all the
    /// same, and is stored by the next call that can, or when the session is dropped.
    pub fn set(&self, token: Token) -> Result<()> {
        let shared = &*self.0;
        self.put(token, Some(Behind::ByHand));
        let Some(keeper) = &shared.keeper else { return Ok(()) };
        shared.report(keeper.catch_up(shared, shared.policy.budget)).map(drop)
    }

    /// `behind`: what the store is with it.
    fn put(&self, token: Token, behind: Option<Behind>) {
        let shared = &*self.0;
        let life = shared.restored_life(&token);
        shared.flight.install(|generation| {
            shared.history.lock().begin_login();
            if let (Some(keeper), Some(behind)) = (&shared.keeper, behind) {
                keeper.fall_behind(behind);
            }
            shared.seal(token, life, generation)
        });
    }

    /// Forgets the token: from now on every caller gets [`LoggedOut`](ErrorKind::LoggedOut), until [`set`](Session::set),
    /// and the result of a refresh under way is dropped. Nothing is sent.
    ///
    /// If the session has a store, it is emptied, whatever is in it: other processes on it find themselves logged out at
    /// their next refresh. That waits for the store as long as a flight may ([`Policy::with_budget`]).
    ///
    /// Returns the token that was in force, or the later one that another process had stored, for whoever wants the server
    /// to forget it as well (`oauth2::Revocation::log_out` does both).
    ///
    /// # Errors
    ///
    /// Of the store alone, [`Store`](ErrorKind::Store) or [`Timeout`](ErrorKind::Timeout): this session has forgotten its
    /// token all the same, but the store still holds it, until that can be cured when the session is dropped.
    pub fn end(&self) -> Result<Option<Arc<Token>>> {
        let (token, stored) = self.end_both();
        stored.map(|()| token)
    }

    /// The same for whoever wants the token whatever the store says.
    pub(crate) fn end_both(&self) -> (Option<Arc<Token>>, Result<()>) {
        let shared = &*self.0;
        let error = Error::new(ErrorKind::LoggedOut, "logged out: log in again, then set the session's token");
        let token = shared.flight.end(error);
        let Some(keeper) = &shared.keeper else { return (token, Ok(())) };
        keeper.fall_behind(Behind::ByHand);
        match shared.report(keeper.empty(shared)) {
            Ok(stored) => (stored.map(Arc::new).or(token), Ok(())),
            Err(error) => (token, Err(error)),
        }
    }

    /// The token as it is, whatever its state, without refreshing it.
    pub fn current(&self) -> Option<Arc<Token>> {
        self.0.flight.current().0
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        *self.0.stats.lock()
    }

    #[cfg(feature = "ureq")]
    pub(crate) fn emit(&self, event: Event<'_>) {
        self.0.emit(event);
    }

    #[inline]
    fn obtain(&self, wish: Wish) -> Result<Arc<Token>> {
        // Read before the lock is taken: the lock is held as shortly as can be.
        let now = self.0.clock.now();
        match self.0.flight.enter(now, |token, generation| self.0.need(wish, token, generation, now)) {
            Entry::Ready(token) => Ok(token),
            entry => self.obtain_slowly(wish, entry, now.after(self.0.policy.wait_timeout)),
        }
    }

    #[cold]
    fn obtain_slowly<'a>(
        &'a self,
        wish: Wish,
        mut entry: Entry<'a, Token, Error>,
        mut deadline: Tick,
    ) -> Result<Arc<Token>> {
        let shared = &*self.0;
        loop {
            let error = match entry {
                Entry::Ready(token) => return Ok(token),
                Entry::Failed(error) => return Err(error),
                Entry::Reentrant => return Err(SourceError::reentrant().into_error(None)),
                Entry::Lead(leader) => match shared.lead(leader, wish) {
                    Ok(Some(token)) => return Ok(token),
                    Ok(None) => {
                        // It has led, not waited: what comes now has its whole time.
                        deadline = shared.clock.now().after(shared.policy.wait_timeout);
                        None
                    }
                    Err(error) => Some(error),
                },
                Entry::Join(_) if shared.observer.is_told_here() => Some(SourceError::reentrant().into_error(None)),
                Entry::Join(waiter) => {
                    let begin = shared.clock.now();
                    shared.emit(Event::WaitStarted);
                    let waited = waiter.wait(&*shared.clock, deadline);
                    let timed_out = matches!(waited, Waited::TimedOut);
                    shared.emit(Event::WaitEnded { waited: shared.clock.now().since(begin), timed_out });
                    match waited {
                        // The leader may have wished for less.
                        Waited::Published(_) if !wish.valid_for.is_zero() => None,
                        Waited::Published(token) => return Ok(token),
                        Waited::Failed(error) => Some(error),
                        Waited::Abandoned => None,
                        Waited::TimedOut => Some(Error::new(
                            ErrorKind::Timeout,
                            format!(
                                "another thread's token refresh took longer than this call may wait ({}): try again \
                                 later, or allow more with Policy::with_wait_timeout",
                                Seconds(shared.policy.wait_timeout)
                            ),
                        )),
                    }
                }
            };
            let now = shared.clock.now();
            if let Some(error) = error {
                return shared.fall_back(wish, now).ok_or(error);
            }
            entry = shared.flight.enter(now, |token, generation| shared.need(wish, token, generation, now));
            // Only now: a token that is there is worth having at any time.
            if now >= deadline && matches!(entry, Entry::Lead(_) | Entry::Join(_)) {
                let error = Error::new(
                    ErrorKind::Timeout,
                    "one refresh after the other was given up half-way, until this call's waiting time was over: \
                     see whether the token source panics",
                );
                return shared.fall_back(wish, now).ok_or(error);
            }
        }
    }
}

impl Shared {
    #[inline]
    fn need(&self, wish: Wish, token: &Token, generation: u64, now: Tick) -> Need {
        match self.due(wish, token, generation, now) {
            // It is good, but it is not stored: one caller sees to that.
            Need::None if self.keeper.as_ref().is_some_and(|keeper| keeper.is_behind()) => Need::Advisory,
            need => need,
        }
    }

    #[inline]
    fn due(&self, wish: Wish, token: &Token, generation: u64, now: Tick) -> Need {
        // Rule 3: a refusal is about one generation. If a later one is out, its own age decides.
        if wish.refused == Some(generation) {
            return Need::Refused;
        }
        match self.policy.freshness(&token.life, now, wish.valid_for) {
            Freshness::Fresh => Need::None,
            Freshness::Stale => Need::Advisory,
            Freshness::Expired { usable } => Need::Mandatory { usable },
        }
    }

    /// The token that is there, if it still serves: a refresh that failed is nobody's error while it lives.
    fn fall_back(&self, wish: Wish, now: Tick) -> Option<Arc<Token>> {
        let (current, generation, refused) = self.flight.current();
        let current = current.filter(|_| !refused)?;
        let usable = match self.need(wish, &current, generation, now) {
            Need::None | Need::Advisory => true,
            Need::Mandatory { usable } => usable,
            Need::Refused => false,
        };
        usable.then_some(current)
    }

    fn seal(&self, mut token: Token, life: Life, generation: u64) -> Token {
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

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("token", &self.current()).field("stats", &self.stats()).finish_non_exhaustive()
    }
}
