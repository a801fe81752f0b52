//! A [`Session`]: one token, shared by all threads, refreshed once whoever finds that it is due.

mod builder;
mod observer;
mod refresh;
mod refusal;
mod shared;
mod stored;
mod view;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Seconds, Tick};
use crate::events::{Event, Stats};
use crate::flight::{Entry, Waited, Watched};
use crate::source::SourceError;
use crate::token::{Publication, Token};
use crate::{Error, ErrorKind, Result};

pub use builder::SessionBuilder;
use shared::Shared;
use stored::Unsaved;
use view::{Replaces, Request};

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
///
/// # After `fork`
///
/// A forked child that runs no other program has a copy: it spends the parent's refresh token, sends on its connections, and
/// waits in vain for its refresh. Build sessions after the fork; they share a login by way of a store.
#[derive(Clone)]
pub struct Session(Arc<Shared>);

impl Session {
    /// A token to use now.
    ///
    /// Returns at once if the token is fresh. If it is near its end, one caller refreshes it here and now, and the others
    /// get the old one at once. If it has expired, one caller refreshes it and the others wait.
    ///
    /// # Errors
    ///
    /// Of a refresh that failed: see [`ErrorKind`]. [`Timeout`](ErrorKind::Timeout) if another's refresh took longer
    /// than [`Policy::with_wait_timeout`](crate::Policy::with_wait_timeout) allows.
    #[inline]
    pub fn token(&self) -> Result<Arc<Token>> {
        // Read before the lock is taken: the lock is held as shortly as can be.
        let now = self.0.clock.now();
        match self.0.flight.ready(|token| self.0.is_fresh(token, now)) {
            Some(token) => Ok(token),
            None => self.obtain(Request::default()),
        }
    }

    /// A token that lives for `valid_for` from now on: before a long upload.
    ///
    /// If that is more than three quarters of what the server grants (of what is left of it when it arrives), three
    /// quarters are asked for, otherwise every call would refresh.
    ///
    /// # Errors
    ///
    /// As [`token`](Session::token).
    pub fn token_valid_for(&self, valid_for: Duration) -> Result<Arc<Token>> {
        self.obtain(Request { valid_for, ..Request::default() })
    }

    /// Gets a new token now, whatever the present one's age: after a change of roles or scopes at the server, which only a
    /// new token knows of. A refresh under way will do. Others go on with the present token meanwhile; it stays in force if
    /// this fails.
    ///
    /// # Errors
    ///
    /// As [`token`](Session::token), also while the present token lives.
    pub fn refresh(&self) -> Result<Arc<Token>> {
        let generation = self.0.flight.current().1;
        self.obtain(Request { replaces: Replaces::Good(generation), ..Request::default() })
    }

    /// Waits for another token than `after`, the one that a long connection (MQTT, WebSocket) was opened with, for as long as
    /// `timeout`. `None` if that is over and there is no other to use.
    ///
    /// It returns when another caller has refreshed, or [`set`](Session::set) has put a token in force. When `after` is near
    /// its end, this call refreshes it as [`token`](Session::token) does: so the next token is there before the server closes the
    /// connection. If that fails while `after` lives, it waits for the end of the pause and tries again. A later token that
    /// is near its own end is refreshed as well, and one that has ended is not returned.
    ///
    /// `timeout` limits the waiting. A refresh that becomes due meanwhile is not cut short: it takes up to
    /// [`Policy::with_budget`](crate::Policy::with_budget), and waiting for another caller's up to
    /// [`Policy::with_wait_timeout`](crate::Policy::with_wait_timeout). With a `timeout` of zero it only looks, and refreshes if that is due.
    ///
    /// # Errors
    ///
    /// As [`token`](Session::token), once `after` no longer serves: it has ended or was refused, and the refresh failed, or the
    /// session has ended. After an error that a later refresh may cure, the next call waits for the pause to end.
    /// [`InvalidInput`](ErrorKind::InvalidInput) if `after` is not of this session. [`Reentrant`](ErrorKind::Reentrant) inside
    /// this session's source or observer, where it would wait for itself.
    pub fn wait_for_change(&self, after: &Token, timeout: Duration) -> Result<Option<Arc<Token>>> {
        let shared = &*self.0;
        let Publication { session, generation } = after.origin;
        if session != shared.id {
            return Err(Error::invalid(
                "the token is not of this session: pass the one that this session returned last",
            ));
        }
        if shared.observer.is_told_here() {
            return Err(SourceError::reentrant().into_error(None));
        }
        let deadline = shared.clock.now().after(timeout);
        let mut not_before = Tick::default();
        // The one that is to be replaced: `after`, or a later one that has ended too.
        let mut ended = generation;
        loop {
            let schedule = |token: &Token| shared.schedule(token, not_before);
            let watched = shared.flight.watch(ended, &*shared.clock, deadline, schedule);
            let begin = shared.clock.now();
            match watched {
                Watched::TimedOut => return Ok(None),
                Watched::Another(token) if schedule(&token).ends_at.is_some_and(|ends_at| begin >= ends_at) => {
                    ended = token.origin.generation;
                }
                Watched::Another(_) | Watched::Due => {
                    let token = self.token()?;
                    if token.origin.generation > generation {
                        return Ok(Some(token));
                    }
                    // Some failures have no pause, for there the next call may do better. This is not a next call.
                    if shared.flight.failure().is_none() {
                        not_before = begin.after(shared.policy.backoff().0);
                    }
                }
            }
        }
    }

    /// Puts a new token in force: after a login, or one that came by another way. Callers that wait get it at once, a
    /// failed session goes on, and the result of a refresh under way is dropped.
    ///
    /// If the session has a store, the token is stored next, in the place of whatever is there: other processes take it
    /// at their next refresh. That waits for the store as long as a refresh may ([`Policy::with_budget`](crate::Policy::with_budget)).
    ///
    /// # Errors
    ///
    /// Of the store alone, [`Store`](ErrorKind::Store) or [`Timeout`](ErrorKind::Timeout): the token is in force all the
    /// same, and is stored by the next call that can, or when the session is dropped.
    pub fn set(&self, token: Token) -> Result<()> {
        let shared = &*self.0;
        // Most likely the server has just issued it.
        self.put(token, Some(Unsaved::ByHand), Some(shared.clock.now()));
        let Some(store) = &shared.store else { return Ok(()) };
        shared.report(store.save_unsaved(shared.view(), shared.policy.budget)).map(drop)
    }

    /// `unsaved`: what the store is to do about it. `arrived`: when it came, unless it tells itself.
    fn put(&self, token: Token, unsaved: Option<Unsaved>, arrived: Option<Tick>) {
        let shared = &*self.0;
        let mut life = shared.view().restored_life(&token);
        life.arrived = life.arrived.or(arrived);
        shared.flight.install(token.has_access(), |generation| {
            shared.history.lock().begin_login();
            if let (Some(store), Some(unsaved)) = (&shared.store, unsaved) {
                store.mark_unsaved(unsaved);
            }
            shared.seal(token, life, generation)
        });
    }

    /// Forgets the token: from now on every caller gets [`LoggedOut`](ErrorKind::LoggedOut), until [`set`](Session::set),
    /// and the result of a refresh under way is dropped. Nothing is sent.
    ///
    /// If the session has a store, it is emptied, whatever is in it: other processes on it find themselves logged out at
    /// their next refresh. That waits for the store as long as a refresh may ([`Policy::with_budget`](crate::Policy::with_budget)).
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
        stored.map(|()| token.filter(|token| token.has_access()))
    }

    /// The same for whoever wants the token whatever the store says, or what the next one would be got with.
    pub(crate) fn end_both(&self) -> (Option<Arc<Token>>, Result<()>) {
        let (token, stored) = self.end_and_empty();
        (self.0.with_the_sources_own(token), stored)
    }

    fn end_and_empty(&self) -> (Option<Arc<Token>>, Result<()>) {
        let shared = &*self.0;
        let error = Error::new(ErrorKind::LoggedOut, "logged out: log in again, then set the session's token");
        let token = shared.flight.end(error);
        shared.history.lock().lag.forget_previous();
        let Some(store) = &shared.store else { return (token, Ok(())) };
        store.mark_unsaved(Unsaved::ByHand);
        match shared.report(store.empty(shared.view())) {
            Ok(stored) => (stored.map(Arc::new).or(token), Ok(())),
            Err(error) => (token, Err(error)),
        }
    }

    /// The token as it is, whatever its state, without refreshing it.
    pub fn current(&self) -> Option<Arc<Token>> {
        self.0.flight.current().0.filter(|token| token.has_access())
    }

    /// Why the token cannot be renewed for now, if the last refresh failed. While the token lives,
    /// [`token`](Session::token) hides that: a program can ask here whether a new login will be needed
    /// ([`Error::is_login_required`]), and begin it in time. [`Event::LoginRequired`] tells it at once.
    pub fn failure(&self) -> Option<Error> {
        self.0.flight.failure()
    }

    /// Ends the pause after a failed refresh, so that the next call tries again: for a device that is told that its network
    /// is back. Returns whether there was a pause that is shorter now.
    ///
    /// Where a server was reached, a pause stays as long as the first one of [`Policy::with_backoff`](crate::Policy::with_backoff); where it said
    /// "later" (429, 5xx, `Retry-After`), as long as it is. A session that has ended is not brought back.
    pub fn retry_now(&self) -> bool {
        self.0.flight.retry(self.0.clock.now())
    }

    /// Stores a token that could not be stored when it came. Calls do the same by themselves, and so does the drop of a
    /// session; a session in a static is never dropped, so its program does this before it ends.
    ///
    /// # Errors
    ///
    /// Of the store, [`Store`](ErrorKind::Store) or [`Timeout`](ErrorKind::Timeout): what is in force is not what is stored.
    pub fn flush(&self) -> Result<()> {
        let shared = &*self.0;
        let Some(store) = shared.store.as_ref().filter(|store| store.has_unsaved()) else { return Ok(()) };
        if shared.report(store.save_unsaved(shared.view(), shared.policy.budget))? {
            shared.emit(Event::SavedLate);
        }
        Ok(())
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        *self.0.stats.lock()
    }

    #[cfg(feature = "ureq")]
    pub(crate) fn now(&self) -> Tick {
        self.0.clock.now()
    }

    #[cfg(feature = "ureq")]
    pub(crate) fn emit(&self, event: Event<'_>) {
        self.0.emit(event);
    }

    /// Not on the way of a token that is fresh.
    #[cold]
    fn obtain(&self, request: Request) -> Result<Arc<Token>> {
        let shared = &*self.0;
        let mut now = shared.clock.now();
        let mut deadline = now.after(shared.policy.wait_timeout);
        // One pause a call is sat out, or one flight waited for.
        let mut patience = shared.policy.patience;
        let mut is_first = true;
        loop {
            let judge = |token: &Token, generation| shared.need(request, token, generation, now);
            let entry = shared.flight.enter(now, patience, judge);
            // Only now: a token that is there is worth having at any time.
            if !is_first && now >= deadline && matches!(entry, Entry::Lead(_) | Entry::Join(_)) {
                let error = Error::new(
                    ErrorKind::Timeout,
                    "one refresh after the other was given up half-way, until this call's waiting time was over: \
                     see whether the token source panics",
                );
                return shared.fall_back(request, now).ok_or(error);
            }
            (patience, is_first) = (Duration::ZERO, false);
            let error = match entry {
                Entry::Ready(token) => return Ok(token),
                Entry::Failed(error) => return Err(error),
                Entry::Reentrant => return Err(SourceError::reentrant().into_error(None)),
                Entry::Lead(leader) => match shared.lead(leader, request) {
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
                        // The leader may have requested for less.
                        Waited::Published(_) if !request.valid_for.is_zero() => None,
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
            now = shared.clock.now();
            if let Some(error) = error {
                return shared.fall_back(request, now).ok_or(error);
            }
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("token", &self.current()).field("stats", &self.stats()).finish_non_exhaustive()
    }
}
