//! The leader's work: from the moment it leads a flight to the flight's verdict.

use std::sync::Arc;
use std::time::Duration;

use super::shared::Shared;
use super::stored::{Answer, Between, Exchange, Look, Obtained};
use super::view::{Refresh, Replaces, Request};
use crate::clock::Tick;
use crate::events::{Event, Reason};
use crate::flight::{Current, Leader, Need, Pause};
use crate::outcome::{Outcome, Retry};
use crate::policy::Failure;
use crate::source::{Fetch, SourceError};
use crate::token::{Life, Secret, Token};
use crate::{Error, ErrorKind, Result};

/// How long a caller whose token is good waits for a store that is to be brought up to date.
const PATIENCE: Duration = Duration::from_secs(1);

/// Without a store there is nothing to look at.
struct NoStore;

impl Between for NoStore {
    fn may_send(&mut self) -> Result<(), SourceError> {
        Ok(())
    }

    fn look(&mut self, _: Option<&Token>) -> Look {
        Look::Same
    }

    fn keep(&mut self, _: &Token) {}

    fn refused(&mut self, _: Option<&Token>, error: SourceError) -> SourceError {
        error
    }
}

impl Shared {
    /// Does the leader's work. `None`: the flight was superseded, or there was nothing to refresh; look again.
    pub(super) fn lead(&self, leader: Leader<'_, Token, Error>, request: Request) -> Result<Option<Arc<Token>>> {
        let begin = self.clock.now();
        if !leader.rest().is_zero() {
            // All who come meanwhile join this flight, so one thread alone sits the pause out by the clock.
            self.clock.sleep(leader.rest());
            if !leader.stands() {
                return Ok(None);
            }
        }
        let previous = leader.previous().map(|token| &**token);
        let reason = self.reason(previous, request, self.clock.now());
        let replaced = leader.previous().cloned();
        // Before the observer is told, who may set new credentials: this flight is for those of now.
        let ahead = reason == Some(Reason::Stale);
        let refresh = Refresh { request, begin, login: self.history.lock().login(), ahead };
        let Some(reason) = reason else { return self.save_unsaved(leader, refresh) };
        if let Some(end) = self.end_that_stands(&leader) {
            let current = if end.kind() == ErrorKind::LoggedOut { Current::Goes } else { Current::Stays };
            let still_ours = leader.fail(end.clone(), self.pause_to_look_again(), current);
            return if still_ours { Err(end) } else { Ok(None) };
        }
        self.emit(Event::RefreshStarted { reason });
        let stands = || leader.stands();
        let mut obtained = match &self.store {
            None => Obtained::without_store(self.ask(previous, &stands, refresh, &mut NoStore)),
            Some(store) => {
                let ask = |used: Option<&Token>, between: &mut dyn Between| self.ask(used, &stands, refresh, between);
                store.obtain(self.view(), &Exchange { previous, refresh, stands: &stands, ask: &ask })
            }
        };
        let took = self.clock.now().since(begin);
        let answer = std::mem::replace(&mut obtained.answer, Answer::Superseded);
        let adopted = matches!(answer, Answer::Adopted(_));
        let verdict = match answer {
            Answer::Superseded => None,
            Answer::Fetched(token) | Answer::Adopted(token) => {
                let life = token.life;
                // Before the next flight can begin, and fail: that would be forgotten with it.
                self.history.lock().count_success(refresh.login);
                leader.publish(|generation| self.seal(token, life, generation)).map(Ok)
            }
            Answer::Failed { error, renewed } => self.settle(leader, error, renewed, refresh).map(Err),
        };
        match &verdict {
            None => obtained.unlock_superseded(self.view()),
            Some(_) => obtained.unlock(),
        }
        // Observers are told with no lock held, the store's included (but for a failed attempt, which is told during the flight).
        let notices = std::mem::take(&mut obtained.notices);
        if notices.saved_late {
            self.emit(Event::SavedLate);
        }
        if let Some(error) = &notices.save_error {
            self.emit(Event::SaveFailed { error });
        }
        match verdict {
            None => {
                self.emit(Event::Superseded);
                Ok(None)
            }
            Some(Ok(token)) => {
                self.note_replaced(reason, replaced, &token);
                if adopted {
                    self.emit(Event::Adopted { token: &token });
                } else {
                    let mut stats = self.stats.lock();
                    stats.refreshes_after_refusal += u64::from(reason == Reason::Refused);
                    stats.refreshes_on_request += u64::from(reason == Reason::Requested);
                    drop(stats);
                    self.emit(Event::Refreshed { token: &token, took });
                }
                Ok(Some(token))
            }
            Some(Err(error)) => {
                self.emit(Event::RefreshFailed { error: &error, took });
                if error.is_login_required() {
                    self.emit(Event::LoginRequired { error: &error });
                }
                Err(error)
            }
        }
    }

    /// Why a refresh is due. `None`: it is not, and the leader is here for the store's sake.
    fn reason(&self, previous: Option<&Token>, request: Request, now: Tick) -> Option<Reason> {
        let Some(previous) = previous.filter(|previous| previous.has_access()) else { return Some(Reason::First) };
        if request.replaces == Replaces::Good(previous.origin.generation) {
            return Some(Reason::Requested);
        }
        match self.due(request, previous, previous.origin.generation, now) {
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
        let store = self.store.as_ref()?;
        // The others have a time after which the session tries again.
        let end = leader.last_failure().filter(|error| error.retry_after().is_none())?;
        store.has_nothing_new().then(|| end.clone())
    }

    /// Saves the token that is not in the store yet, while all others go on with it.
    fn save_unsaved(&self, leader: Leader<'_, Token, Error>, refresh: Refresh) -> Result<Option<Arc<Token>>> {
        let saved = self.store.as_ref().map_or(Ok(false), |store| store.save_unsaved(self.view(), PATIENCE));
        match saved {
            Ok(saved) => {
                if saved {
                    // What the store's failures have taught is over, before the next flight can begin.
                    self.history.lock().count_success(refresh.login);
                }
                drop(leader);
                if saved {
                    self.emit(Event::SavedLate);
                }
                Ok(None)
            }
            Err(error) => {
                let verdict = self.settle(leader, SourceError::of_store(error.clone()), None, refresh);
                self.emit(Event::SaveFailed { error: &error });
                verdict.map_or(Ok(None), Err)
            }
        }
    }

    /// Tells if the store could not follow.
    pub(crate) fn report<T>(&self, followed: Result<T>) -> Result<T> {
        followed.inspect_err(|error| self.emit(Event::SaveFailed { error }))
    }

    /// Asks the source, and again after a pause where that can help, within the budget.
    fn ask(
        &self,
        previous: Option<&Token>,
        stands: &dyn Fn() -> bool,
        refresh: Refresh,
        between: &mut dyn Between,
    ) -> Answer {
        let mut attempt = 1;
        let (mut was_lost, mut was_refused) = (false, false);
        let mut renewed = None;
        // What is renewed instead of `previous`, once there is something else.
        let mut other: Option<Token> = None;
        loop {
            let used = other.as_ref().or(previous);
            // The repeat after a refusal asks as well: a lease may have run out while the server thought about it.
            if let Err(error) = between.may_send() {
                return match between.look(used) {
                    Look::Serves(token) => Answer::Adopted(token),
                    _ => Answer::Failed { error, renewed },
                };
            }
            let sent = self.clock.now();
            let time_left = self.policy.budget.saturating_sub(sent.since(refresh.begin));
            let mut error = match self.source.fetch(Fetch { previous: used, time_left }) {
                Ok(token) => return Answer::Fetched(self.received(token, used, sent, refresh)),
                Err(error) => self.weigh(error, stands, refresh),
            };
            if let Some(refresh_token) = error.take_renewed() {
                renewed = Some(refresh_token.clone());
                self.history.lock().note_rotation();
                let token = used.map_or_else(
                    || Token::of_refresh(refresh_token.clone()),
                    |used| Ok(used.renewed_with(refresh_token.clone())),
                );
                if let Ok(token) = token {
                    between.keep(&token);
                    other = Some(token);
                }
            }
            let outcome = error.outcome();
            let is_lost = outcome.may_be_spent();
            if outcome.is_repeated() && !(is_lost && was_lost) {
                let pause = match is_lost {
                    // What stood in the answer's way needs a moment to pass: this attempt may be the last.
                    true => self.policy.pause_after(1, Retry::Backoff, None),
                    false => self.policy.pause(attempt, error.retry_after()),
                };
                // Whoever refreshes ahead of time has a token that lives: the next attempt is another call's.
                let in_budget = attempt < self.policy.attempts && pause < self.view().time_to_wait(refresh);
                if in_budget && !refresh.ahead {
                    self.emit(Event::AttemptFailed { error: &error, pause });
                    self.clock.sleep(pause);
                    // Credentials that were replaced, or given up, in the meantime are not sent once more.
                    if !stands() {
                        return Answer::Superseded;
                    }
                    attempt += 1;
                    was_lost |= is_lost;
                    if !is_lost {
                        continue;
                    }
                    // A refresh token that may be spent: somebody may have used it with more luck.
                    match between.look(other.as_ref().or(previous)) {
                        Look::Serves(token) => return Answer::Adopted(token),
                        Look::Other(token) => other = Some(token),
                        Look::Same => {}
                    }
                    continue;
                }
            }
            let used = other.as_ref().or(previous);
            if is_lost || (outcome == Outcome::Rejected && !was_refused) {
                match between.look(used) {
                    Look::Serves(token) => return Answer::Adopted(token),
                    // One attempt with that, at once: its refresh token was not the one that was refused.
                    Look::Other(token) if !is_lost => {
                        (other, was_refused) = (Some(token), true);
                        continue;
                    }
                    _ => {}
                }
            }
            if outcome.marks_stored() {
                error = between.refused(used, error);
            }
            return Answer::Failed { error, renewed };
        }
    }

    /// Sees a lost answer for what it is: no loss where the refresh token does not rotate.
    fn weigh(&self, error: SourceError, stands: &dyn Fn() -> bool, refresh: Refresh) -> SourceError {
        // Superseded, perhaps before it knew its login: what it has met says nothing of that.
        if !error.outcome().may_be_spent() || !stands() {
            return error;
        }
        let mut history = self.history.lock();
        if history.is_repeatable() {
            return error.repeatable();
        }
        if error.outcome() == Outcome::Unknown {
            history.count_unknown(refresh.login);
        }
        error
    }

    /// Works out the life of a token that has just come, and learns what it tells for the next one.
    fn received(&self, mut token: Token, used: Option<&Token>, sent: Tick, refresh: Refresh) -> Token {
        let arrived = self.clock.now();
        let wall = self.clock.wall();
        let mut history = self.history.lock();
        if let Some(used) = used {
            token.keep_refresh_of(used);
            history.note_refresh(used, &token, refresh.login);
        }
        if let Some(time) = token.server_time() {
            history.learn_server_time(arrived, time);
        }
        token.life = self.policy.life(&token, sent, arrived, &history, wall);
        history.previous_lifetime = token.told_lifetime().or(history.previous_lifetime);
        token
    }

    /// How long a session that has ended does not look into its store.
    fn pause_to_look_again(&self) -> Pause {
        let pause = self.history.lock().pause_to_look_again(&self.policy);
        let until = self.clock.now().after(pause);
        Pause { until: Some(until), at_least: until, is_sat_out: false }
    }

    /// Decides how long a failure stands, and makes it the flight's verdict. `None`: the flight was superseded.
    fn settle(
        &self,
        leader: Leader<'_, Token, Error>,
        error: SourceError,
        renewed: Option<Secret>,
        refresh: Refresh,
    ) -> Option<Error> {
        let (outcome, retry_after) = (error.outcome(), error.retry_after());
        if outcome.retry() == Retry::AtOnce {
            // The source's own mistake, in this one call: nothing is known of the server, and nothing to wait for.
            let error = error.into_error(None);
            leader.fail_once(error.clone());
            return Some(error);
        }
        // Superseded, perhaps before it knew its login: what it has met says nothing of that.
        if !leader.stands() {
            return None;
        }
        let now = self.clock.now();
        let failure = Failure { outcome, retry_after, login: refresh.login, ahead: refresh.ahead };
        let mut backoff = self.history.lock().count_failure(&self.policy, failure);
        if let (Some(pause), Some(previous), true, None) = (&mut backoff, leader.previous(), refresh.ahead, retry_after)
        {
            *pause = self.policy.pause_ahead(*pause, &previous.life, now);
        }
        let error = error.into_error(backoff);
        let pause = match backoff {
            Some(pause) => Pause {
                until: Some(now.after(pause)),
                at_least: now.after(self.policy.least_pause(outcome, retry_after, pause)),
                is_sat_out: true,
            },
            // For ever, but for what another process may store.
            None if self.store.is_some() => self.pause_to_look_again(),
            None => Pause::FOR_EVER,
        };
        let current = match renewed {
            _ if outcome.ends_access() => Current::Goes,
            Some(refresh_token) => self.renew(leader.previous(), refresh_token),
            None => Current::Stays,
        };
        leader.fail(error.clone(), pause, current).then_some(error)
    }

    /// The flight's token with a new refresh token.
    fn renew(&self, previous: Option<&Arc<Token>>, refresh_token: Secret) -> Current<Token> {
        if let Some(previous) = previous {
            return Current::Becomes { value: previous.renewed_with(refresh_token), usable: previous.has_access() };
        }
        match Token::of_refresh(refresh_token) {
            Ok(token) => Current::Becomes { value: self.seal(token, Life::default(), 0), usable: false },
            Err(_) => Current::Stays,
        }
    }
}
