//! The leader's work: from the moment it leads a flight to the flight's verdict.

use std::sync::Arc;
use std::time::Duration;

use super::{Errand, Shared, Wish};
use crate::clock::Tick;
use crate::events::{Event, Reason};
use crate::flight::{Leader, Need};
use crate::persist::{Answer, Obtained};
use crate::source::{Fetch, Outcome, SourceError};
use crate::store::Stored;
use crate::token::{Life, Token};
use crate::{Error, ErrorKind, Result};

/// How long a caller whose token is good waits for a store that is to be brought up to date.
const PATIENCE: Duration = Duration::from_secs(1);

impl Shared {
    /// Does the leader's work. `None`: the flight was superseded, or there was nothing to refresh; look again.
    pub(super) fn lead(&self, leader: Leader<'_, Token, Error>, wish: Wish) -> Result<Option<Arc<Token>>> {
        let begin = self.clock.now();
        let previous = leader.previous().map(|token| &**token);
        let reason = self.reason(previous, wish, begin);
        // Before the observer is told, who may set new credentials: this flight is for those of now.
        let errand = Errand { wish, begin, login: self.history.lock().login() };
        let Some(reason) = reason else { return self.catch_up(leader, errand) };
        if let Some(end) = self.end_that_stands(&leader) {
            let still_ours = leader.fail(end.clone(), Some(self.look_again()), is_end(&end));
            return if still_ours { Err(end) } else { Ok(None) };
        }
        self.emit(Event::RefreshStarted { reason });
        let stands = || leader.stands();
        let mut obtained = match &self.keeper {
            None => {
                let answer = self.ask(previous, &stands, errand);
                Obtained::without_store(answer.map_or_else(Answer::Failed, Answer::Fetched))
            }
            Some(keeper) => keeper.obtain(self, previous, &stands, errand),
        };
        let took = self.clock.now().since(begin);
        let answer = std::mem::replace(&mut obtained.answer, Answer::Superseded);
        let adopted = matches!(answer, Answer::Adopted(_));
        let verdict = match answer {
            Answer::Superseded => None,
            Answer::Fetched(token) | Answer::Adopted(token) => {
                let life = token.life;
                // Before the next flight can begin, and fail: that would be forgotten with it.
                self.history.lock().count_success(errand.login);
                leader.publish(|generation| self.seal(token, life, generation)).map(Ok)
            }
            Answer::Failed(error) => self.settle(leader, error, errand).map(Err),
        };
        match &verdict {
            None => obtained.leave_superseded(self),
            Some(_) => obtained.leave(),
        }
        // Observers are told with no lock held, the store's included (but for a failed attempt, which is told amid the flight).
        let news = std::mem::take(&mut obtained.news);
        if news.saved_late {
            self.emit(Event::SavedLate);
        }
        if let Some(error) = &news.save_error {
            self.emit(Event::SaveFailed { error });
        }
        match verdict {
            None => {
                self.emit(Event::Superseded);
                Ok(None)
            }
            Some(Ok(token)) => {
                if adopted {
                    self.emit(Event::Adopted { token: &token });
                } else {
                    self.stats.lock().refreshes_after_refusal += u64::from(reason == Reason::Refused);
                    self.emit(Event::Refreshed { token: &token, took });
                }
                Ok(Some(token))
            }
            Some(Err(error)) => {
                self.emit(Event::RefreshFailed { error: &error, took });
                Err(error)
            }
        }
    }

    /// Why a refresh is due. `None`: it is not, and the leader is here for the store's sake.
    fn reason(&self, previous: Option<&Token>, wish: Wish, now: Tick) -> Option<Reason> {
        let Some(previous) = previous else { return Some(Reason::First) };
        match self.due(wish, previous, previous.origin.generation, now) {
            Need::Refused => Some(Reason::Refused),
            Need::Mandatory { .. } => Some(Reason::Expired),
            Need::Advisory => Some(Reason::Stale),
            // Young, and known to be bad from another's report.
            Need::None if self.flight.current().2 => Some(Reason::Refused),
            Need::None => None,
        }
    }

    /// The error that the session has ended with, if that is still so: it looks into the store now and then, where another
    /// process may have logged in.
    fn end_that_stands(&self, leader: &Leader<'_, Token, Error>) -> Option<Error> {
        let keeper = self.keeper.as_ref()?;
        // The others have a time after which the session tries again.
        let end = leader.last_failure().filter(|error| error.retry_after().is_none())?;
        keeper.has_nothing_new().then(|| end.clone())
    }

    /// Brings a store that is behind up to date, while all others go on with the token.
    fn catch_up(&self, leader: Leader<'_, Token, Error>, errand: Errand) -> Result<Option<Arc<Token>>> {
        let caught_up = self.keeper.as_ref().map_or(Ok(false), |keeper| keeper.catch_up(self, PATIENCE));
        match caught_up {
            Ok(saved) => {
                if saved {
                    // What the store's failures have taught is over, before the next flight can begin.
                    self.history.lock().count_success(errand.login);
                }
                drop(leader);
                if saved {
                    self.emit(Event::SavedLate);
                }
                Ok(None)
            }
            Err(error) => {
                let verdict = self.settle(leader, SourceError::of_store(error.clone()), errand);
                self.emit(Event::SaveFailed { error: &error });
                verdict.map_or(Ok(None), Err)
            }
        }
    }

    /// Tells if the store could not follow.
    pub(crate) fn report<T>(&self, followed: Result<T>) -> Result<T> {
        followed.inspect_err(|error| self.emit(Event::SaveFailed { error }))
    }

    /// Asks the source, again after a pause if it is unavailable, within the budget.
    pub(crate) fn ask(
        &self,
        previous: Option<&Token>,
        stands: &dyn Fn() -> bool,
        errand: Errand,
    ) -> Result<Token, SourceError> {
        let mut attempt = 1;
        loop {
            let sent = self.clock.now();
            let time_left = self.policy.budget.saturating_sub(sent.since(errand.begin));
            let error = match self.source.fetch(Fetch { previous, time_left }) {
                Ok(mut token) => {
                    if let Some(previous) = previous {
                        token.keep_refresh_of(previous);
                    }
                    return Ok(self.received(token, sent));
                }
                Err(error) => error,
            };
            let pause = self.policy.pause(attempt, error.retry_after());
            let in_budget = pause < self.time_to_wait(errand);
            if error.outcome() != Outcome::Unavailable || attempt >= self.policy.attempts || !in_budget {
                return Err(error);
            }
            self.emit(Event::AttemptFailed { error: &error, pause });
            self.clock.sleep(pause);
            // Credentials that were replaced, or given up, in the meantime are not sent once more.
            if !stands() {
                return Err(error);
            }
            attempt += 1;
        }
    }

    /// What is left of the flight's time for anything but an exchange.
    pub(crate) fn time_to_wait(&self, errand: Errand) -> Duration {
        self.policy.time_to_wait(self.clock.now().since(errand.begin))
    }

    /// Works out the life of a token that has just come, and learns what it tells for the next one.
    fn received(&self, mut token: Token, sent: Tick) -> Token {
        let arrived = self.clock.now();
        let wall = self.clock.wall();
        let mut history = self.history.lock();
        if let Some(time) = token.server_time() {
            history.learn_server_time(arrived, time);
        }
        token.life = self.policy.life(&token, sent, arrived, &history, wall);
        history.previous_lifetime = token.told_lifetime().or(history.previous_lifetime);
        token
    }

    /// A token from the store, with its life as far as clocks can tell.
    pub(crate) fn restored(&self, mut token: Token) -> Token {
        token.life = self.restored_life(&token);
        token
    }

    pub(super) fn restored_life(&self, token: &Token) -> Life {
        let (now, wall) = (self.clock.now(), self.clock.wall());
        self.policy.restored_life(token, now, &self.history.lock(), wall)
    }

    pub(crate) fn to_be_stored(&self, token: &Token) -> Stored {
        let (now, wall) = (self.clock.now(), self.clock.wall());
        Stored::of(token, now, &self.history.lock(), wall)
    }

    /// When a session that has ended looks into the store again.
    fn look_again(&self) -> Tick {
        self.clock.now().after(self.history.lock().pause_to_look_again(&self.policy))
    }

    /// Decides how long a failure stands, and makes it the flight's verdict. `None`: the flight was superseded.
    fn settle(&self, leader: Leader<'_, Token, Error>, error: SourceError, errand: Errand) -> Option<Error> {
        let outcome = error.outcome();
        if outcome == Outcome::Reentrant {
            // The source's own mistake, in this one call: nothing is known of the server, and nothing to wait for.
            let error = error.into_error(None);
            leader.fail_once(error.clone());
            return Some(error);
        }
        // Superseded, perhaps before it knew its login: what it has met says nothing of that.
        if !leader.stands() {
            return None;
        }
        let backoff = self.history.lock().count_failure(&self.policy, outcome, error.retry_after(), errand.login);
        let error = error.into_error(backoff);
        let until = match &self.keeper {
            // For ever, but for what another process may store.
            Some(_) if backoff.is_none() => Some(self.look_again()),
            _ => backoff.map(|backoff| self.clock.now().after(backoff)),
        };
        leader.fail(error.clone(), until, is_end(&error)).then_some(error)
    }
}

/// Is the token dead with this error? Not so where there is nothing to refresh it with: it may still live.
fn is_end(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Rejected | ErrorKind::LoggedOut)
}
