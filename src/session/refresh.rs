//! The leader's work: from the moment it leads a flight to the flight's verdict.

use std::sync::Arc;

use super::{Errand, Shared, Wish};
use crate::clock::Tick;
use crate::events::{Event, Reason};
use crate::flight::{Leader, Need};
use crate::persist::{Answer, Obtained};
use crate::source::{Fetch, Outcome, SourceError};
use crate::store::Stored;
use crate::token::Token;
use crate::{Error, ErrorKind, Result};

impl Shared {
    /// Does the leader's work. `None`: the flight was superseded; look again.
    pub(super) fn lead(&self, leader: Leader<'_, Token, Error>, wish: Wish) -> Result<Option<Arc<Token>>> {
        let begin = self.clock.now();
        let previous = leader.previous().map(|token| &**token);
        let reason = self.reason(previous, wish, begin);
        // Before the observer is told, who may set new credentials: this flight is for those of now.
        let errand = Errand { wish, begin, login: self.history.lock().login() };
        if let Some(error) = self.keeper.as_ref().and_then(|keeper| keeper.still_ended()) {
            let still_ours = leader.fail(error.clone(), Some(self.look_again()), is_end(&error));
            return if still_ours { Err(error) } else { Ok(None) };
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
                leader.publish(|generation| self.seal(token, life, generation)).map(Ok)
            }
            Answer::Failed(error) => self.settle(leader, error, errand, obtained.news.held.take()).map(Err),
        };
        match &verdict {
            None => obtained.leave_superseded(self),
            Some(_) => obtained.leave(),
        }
        // Observers are told with no lock held, the store's included.
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
                    self.history.lock().count_success(errand.login);
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

    fn reason(&self, previous: Option<&Token>, wish: Wish, now: Tick) -> Reason {
        match previous {
            None => Reason::First,
            Some(previous) => match self.need(wish, previous, previous.origin.generation, now) {
                Need::Refused => Reason::Refused,
                Need::Mandatory { .. } => Reason::Expired,
                Need::None | Need::Advisory => Reason::Stale,
            },
        }
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
                    return Ok(self.received(token, sent, errand.login));
                }
                Err(error) => error,
            };
            let pause = self.policy.pause(attempt, error.retry_after());
            let in_budget = self.clock.now().since(errand.begin).saturating_add(pause) < self.policy.budget;
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

    /// Works out the life of a token that has just come, and learns what it tells for the next one.
    fn received(&self, mut token: Token, sent: Tick, login: u64) -> Token {
        let arrived = self.clock.now();
        let wall = self.clock.wall();
        let mut history = self.history.lock();
        if let Some(time) = token.server_time() {
            history.learn_server_time(arrived, time);
        }
        token.life = self.policy.life(&token, sent, arrived, &history, wall);
        history.previous_lifetime = token.told_lifetime().or(history.previous_lifetime);
        history.count_success(login);
        token
    }

    /// A token from the store, with its life as far as clocks can tell.
    pub(crate) fn restored(&self, mut token: Token) -> Token {
        let (now, wall) = (self.clock.now(), self.clock.wall());
        token.life = self.policy.restored_life(&token, now, &self.history.lock(), wall);
        token
    }

    pub(crate) fn to_be_stored(&self, token: &Token) -> Stored {
        let (now, wall) = (self.clock.now(), self.clock.wall());
        Stored::of(token, now, &self.history.lock(), wall)
    }

    /// When a session that has ended looks into the store again.
    fn look_again(&self) -> Tick {
        self.clock.now().after(self.history.lock().pause_to_look_again(&self.policy))
    }

    /// Decides how long a failure stands, and makes it the flight's verdict. `None`: the flight was superseded. `held`: what
    /// is in the store with it.
    fn settle(
        &self,
        leader: Leader<'_, Token, Error>,
        error: SourceError,
        errand: Errand,
        held: Option<Stored>,
    ) -> Option<Error> {
        let outcome = error.outcome();
        if outcome == Outcome::Reentrant {
            // The source's own mistake, in this one call: nothing is known of the server, and nothing to wait for.
            let error = error.into_error(None);
            leader.fail_once(error.clone());
            return Some(error);
        }
        let backoff = self.history.lock().count_failure(&self.policy, outcome, error.retry_after(), errand.login);
        let error = error.into_error(backoff);
        let until = match &self.keeper {
            // For ever, but for what another process may store.
            Some(keeper) if backoff.is_none() => {
                keeper.end(held, error.clone());
                Some(self.look_again())
            }
            _ => backoff.map(|backoff| self.clock.now().after(backoff)),
        };
        leader.fail(error.clone(), until, is_end(&error)).then_some(error)
    }
}

/// Is the token dead with this error? Not so where there is nothing to refresh it with: it may still live.
fn is_end(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Rejected | ErrorKind::LoggedOut)
}
