//! The pure decisions: when a token is due, how long to pause, when to stop. No thread, no lock, no clock: time comes in
//! as an argument, a decision goes out as a value.

mod jitter;

use std::time::Duration;

use crate::clock::Tick;
use crate::source::Outcome;
use crate::token::{Life, Token};
use crate::{Error, Result};
use jitter::Jitter;

/// When to refresh, how often to try, how long to wait.
///
/// The defaults fit tokens of any life, from seconds to days: the windows are shares of the life with an upper bound. A
/// fixed margin would refresh a short-lived token on every call.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(crate) proactive: bool,
    pub(crate) reactive: bool,
    stale: Window,
    leeway: Window,
    pub(crate) attempts: u32,
    backoff_first: Duration,
    backoff_limit: Duration,
    pub(crate) budget: Duration,
    pub(crate) wait_timeout: Duration,
    pub(crate) refusals: u32,
    pub(crate) refusal_period: Duration,
    pub(crate) jitter: Jitter,
}

/// A share of a token's life, with an upper bound.
#[derive(Clone, Copy, Debug)]
struct Window {
    percent: u32,
    at_most: Duration,
}

impl Window {
    fn of(self, lifetime: Duration) -> Duration {
        (lifetime.saturating_mul(self.percent) / 100).min(self.at_most)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            proactive: true,
            reactive: true,
            stale: Window { percent: 20, at_most: Duration::from_secs(300) },
            leeway: Window { percent: 5, at_most: Duration::from_secs(10) },
            attempts: 3,
            backoff_first: Duration::from_secs(1),
            backoff_limit: Duration::from_secs(300),
            budget: Duration::from_secs(30),
            wait_timeout: Duration::from_secs(40),
            refusals: 30,
            refusal_period: Duration::from_secs(30),
            jitter: Jitter::of_this_process(),
        }
    }
}

impl Policy {
    /// The default policy.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether tokens are looked at before a call and refreshed when they are due. On unless switched off.
    #[must_use]
    pub fn with_proactive(mut self, on: bool) -> Self {
        self.proactive = on;
        self
    }

    /// Whether a refused token (a 401) leads to a refresh. On unless switched off. Even then, a request that was refused
    /// with a token which has been replaced meanwhile goes out again with the new one: that costs no refresh.
    #[must_use]
    pub fn with_reactive(mut self, on: bool) -> Self {
        self.reactive = on;
        self
    }

    /// The last part of a token's life in which one caller refreshes it while the others go on: `percent` of the life,
    /// at most `at_most`. 20 % and 5 minutes unless set. Each process takes up to a third less, by chance, so that a
    /// fleet does not refresh in step.
    #[must_use]
    pub fn with_stale_window(mut self, percent: u32, at_most: Duration) -> Self {
        self.stale = Window { percent, at_most };
        self
    }

    /// The very last part, in which a token counts as expired already, since it must live until the server has read it:
    /// `percent` of the life, at most `at_most`. 5 % and 10 seconds unless set.
    #[must_use]
    pub fn with_leeway(mut self, percent: u32, at_most: Duration) -> Self {
        self.leeway = Window { percent, at_most };
        self
    }

    /// How many times one flight asks the source when it is [unavailable](crate::SourceError::unavailable): 3 unless set.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// The pause after a failed flight: `first`, doubled with each further failure up to `limit`, less up to a half by
    /// chance, and never less than the server's `Retry-After`. 1 second and 5 minutes unless set.
    #[must_use]
    pub fn with_backoff(mut self, first: Duration, limit: Duration) -> Self {
        self.backoff_first = first;
        self.backoff_limit = limit;
        self
    }

    /// How long one flight may take in all: 30 seconds unless set. At most three quarters of it go into waiting, for a store's
    /// lock or between attempts.
    #[must_use]
    pub fn with_budget(mut self, budget: Duration) -> Self {
        self.budget = budget;
        self
    }

    /// How long a caller waits for somebody else's flight: 40 seconds unless set, and not less than the budget.
    #[must_use]
    pub fn with_wait_timeout(mut self, timeout: Duration) -> Self {
        self.wait_timeout = timeout;
        self
    }

    /// The loop breaker: how many refused tokens are replaced per `period`, 30 per 30 seconds unless set. A token that
    /// was refused without ever having been accepted counts tenfold: then the trouble is the API's, and a new token will
    /// not cure it.
    #[must_use]
    pub fn with_refusals(mut self, refusals: u32, period: Duration) -> Self {
        self.refusals = refusals;
        self.refusal_period = period;
        self
    }

    /// Fixes what is otherwise drawn per process: the seed of all jitter. A fleet may use its devices' numbers, a test
    /// any number.
    #[must_use]
    pub fn with_jitter_seed(mut self, seed: u64) -> Self {
        self.jitter = Jitter::new(seed);
        self
    }

    /// Is every value of use?
    pub(crate) fn check(&self) -> Result<()> {
        let problem = if self.stale.percent > 90 || self.leeway.percent > 90 {
            "a window of more than 90 percent leaves a token no life; choose a smaller percentage"
        } else if self.attempts == 0 {
            "a flight needs at least one attempt"
        } else if self.backoff_first.is_zero() || self.backoff_first > self.backoff_limit {
            "the backoff's first pause must be more than zero and not more than its limit"
        } else if self.budget.is_zero() {
            "a flight needs a budget of more than zero"
        } else if self.wait_timeout < self.budget {
            "the waiting time must not be shorter than the flight's budget, or callers give up on a flight that succeeds"
        } else if self.refusals == 0 || self.refusal_period.is_zero() {
            "the loop breaker needs a number and a period of more than zero; to switch refreshing after a 401 off, \
             use with_reactive(false)"
        } else {
            return Ok(());
        };
        Err(Error::invalid(problem))
    }

    /// When `token`'s windows begin, if its request was sent at `sent` and its answer came at `arrived`.
    ///
    /// The life is counted from before the request (the server's began somewhere in between), unless it would be over
    /// on arrival: a fresh token that looks expired is used, and a 401 decides.
    pub(crate) fn life(
        &self,
        token: &Token,
        sent: Tick,
        arrived: Tick,
        history: &History,
        wall: Option<Duration>,
    ) -> Life {
        let lifetime = token
            .told_lifetime()
            .or(history.previous_lifetime)
            .or_else(|| token.lifetime_from(history.server_time(arrived).or(wall)?));
        let Some(lifetime) = lifetime else { return Life::default() };

        let leeway = self.leeway.of(lifetime);
        let begin = if sent.after(lifetime.saturating_sub(leeway)) > arrived { sent } else { arrived };
        let ends_at = begin.after(lifetime);
        self.windows(lifetime, ends_at, ends_at.since(arrived))
    }

    /// The same for a token of unknown age, from a store or from the user: here the wall clock is all there is.
    pub(crate) fn restored_life(&self, token: &Token, now: Tick, history: &History, wall: Option<Duration>) -> Life {
        let times = token.times();
        // A token that has just come by another way may bring the server's time with it.
        let clock = token.server_time().or_else(|| history.time_of_day(now, wall));
        if let (Some(lifetime), Some(received)) = (token.expires_in(), token.received_at()) {
            // A clock that stands before the token came is wrong: the token is used, and a 401 decides.
            let age = clock.and_then(|clock| clock.checked_sub(received)).unwrap_or_default();
            return self.windows(lifetime, now.after(lifetime.saturating_sub(age)), lifetime);
        }
        let granted = token.claimed_lifetime().or(token.expires_in());
        let rest = match (times.exp, clock) {
            (Some(_), Some(clock)) if times.iat.is_none_or(|iat| iat <= clock) => {
                let rest = token.lifetime_from(clock).unwrap_or_default();
                Some(granted.map_or(rest, |granted| rest.min(granted)))
            }
            // A clock that stands before the token was made, or before 1970, is wrong; the token is used, and a 401 decides.
            _ => granted,
        };
        let Some(rest) = rest else { return Life::default() };
        let lifetime = granted.unwrap_or(rest);
        self.windows(lifetime, now.after(rest), lifetime)
    }

    fn windows(&self, lifetime: Duration, ends_at: Tick, at_best: Duration) -> Life {
        let before_end = |window: Duration| Some(ends_at.before(window));
        let leeway = self.leeway.of(lifetime);
        let stale = self.jitter.less(self.stale.of(lifetime), 3, 0).max(leeway);
        Life {
            stale_at: before_end(stale),
            expired_at: before_end(leeway),
            ends_at: Some(ends_at),
            lifetime: Some(lifetime),
            at_best,
        }
    }

    /// Is the token good for a call that starts now and needs it for `valid_for`?
    #[inline]
    pub(crate) fn freshness(&self, life: &Life, now: Tick, valid_for: Duration) -> Freshness {
        let reached = |at: Option<Tick>| at.is_some_and(|at| now >= at);
        if valid_for.is_zero() && (!self.proactive || !reached(life.stale_at)) {
            return Freshness::Fresh;
        }
        // More than most of what it had on arrival cannot be had: to insist would refresh on every call.
        let valid_for = valid_for.min(life.at_best.saturating_mul(3) / 4);
        let short = life.ends_at.is_some_and(|end| now.after(valid_for) > end);
        if reached(life.expired_at) || short {
            Freshness::Expired { usable: !reached(life.ends_at) && !short }
        } else if reached(life.stale_at) {
            Freshness::Stale
        } else {
            Freshness::Fresh
        }
    }

    /// How long a flight may still wait, for a lock or between attempts, when so much of its time is over: a quarter is kept for
    /// the exchange. One that is cut short may have spent the refresh token, and nobody knows.
    pub(crate) fn time_to_wait(&self, elapsed: Duration) -> Duration {
        (self.budget - self.budget / 4).saturating_sub(elapsed)
    }

    /// The pause between two attempts of one flight.
    pub(crate) fn pause(&self, attempt: u32, retry_after: Option<Duration>) -> Duration {
        let base = (self.backoff_first / 4).saturating_mul(2_u32.saturating_pow(attempt.min(8)));
        self.jitter.less(base, 2, attempt.into()).max(retry_after.unwrap_or_default())
    }

    /// The pause after a flight that failed, `failures` being how many have in a row, this one included.
    pub(crate) fn backoff(&self, failures: u32, retry_after: Option<Duration>) -> Duration {
        let doubled = self.backoff_first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1).min(30)));
        let pause = self.jitter.less(doubled.min(self.backoff_limit), 2, failures.into());
        // A server may ask for patience, but not for ever.
        pause.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER))
    }
}

/// The longest `Retry-After` that is obeyed to the letter.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// What a look at a token's age says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Freshness {
    /// Use it.
    Fresh,
    /// Use it; one caller should see to the next.
    Stale,
    /// Wait for the next. `usable`: its real end has not come, so that it serves as long as no other can be had.
    Expired { usable: bool },
}

/// What a session remembers between refreshes.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Flights that failed in a row.
    failures: u32,
    /// How many flights ended in the unknown since the server last gave a clear answer.
    unknowns: u32,
    /// How many times credentials came from outside: what a flight for earlier ones met is not held against the later.
    login: u64,
    /// The life of the last token whose life was told.
    pub(crate) previous_lifetime: Option<Duration>,
    server: Option<(Tick, Duration)>,
    refusals: Refusals,
}

impl History {
    pub(crate) fn login(&self) -> u64 {
        self.login
    }

    /// New credentials have a clean record.
    pub(crate) fn begin_login(&mut self) {
        self.login += 1;
        (self.failures, self.unknowns) = (0, 0);
    }

    pub(crate) fn count_success(&mut self, login: u64) {
        if login == self.login {
            (self.failures, self.unknowns) = (0, 0);
        }
    }

    /// Notes a failed flight and says how long the session pauses; `None` if there is to be no other until new credentials.
    pub(crate) fn count_failure(
        &mut self,
        policy: &Policy,
        outcome: Outcome,
        retry_after: Option<Duration>,
        login: u64,
    ) -> Option<Duration> {
        if login == self.login {
            self.failures = self.failures.saturating_add(1);
            // One that was not sent tells nothing of one that was: only a clear answer does.
            self.unknowns = self.unknowns.saturating_add(u32::from(outcome == Outcome::Unknown));
        }
        match outcome {
            Outcome::NotLoggedIn | Outcome::Rejected | Outcome::LoggedOut | Outcome::Misconfigured => None,
            // The second: a third use of what may be a spent refresh token would be blind.
            Outcome::Unknown if self.unknowns > 1 => None,
            _ => Some(policy.backoff(self.failures, retry_after)),
        }
    }

    /// How long a session that has ended does not look into its store.
    pub(crate) fn pause_to_look_again(&mut self, policy: &Policy) -> Duration {
        self.failures = self.failures.saturating_add(1);
        policy.backoff(self.failures, None)
    }

    /// Learns the server's clock from the time in an answer.
    pub(crate) fn learn_server_time(&mut self, at: Tick, time: Duration) {
        self.server = Some((at, time));
    }

    /// The server's clock now, reckoned from its last answer: right on a device whose own clock is not.
    pub(crate) fn server_time(&self, now: Tick) -> Option<Duration> {
        self.server.map(|(at, time)| time.saturating_add(now.since(at)))
    }

    /// The best guess at the time of day, since 1970: the server's clock, else this machine's.
    pub(crate) fn time_of_day(&self, now: Tick, wall: Option<Duration>) -> Option<Duration> {
        match (self.server_time(now), wall) {
            // `Date` counts whole seconds and has travelled. A clock that agrees with it is finer, and the same one in all
            // processes that share a store.
            (Some(server), Some(wall)) if server.abs_diff(wall) < Duration::from_secs(2) => Some(wall),
            (server, wall) => server.or(wall),
        }
    }

    /// Asks the loop breaker whether a refusal of `generation` may lead to a refresh. The same refusal, reported by
    /// many threads, counts once.
    pub(crate) fn may_replace(&mut self, policy: &Policy, generation: u64, accepted: bool, now: Tick) -> bool {
        self.refusals.admit(policy, generation, accepted, now)
    }
}

/// A bucket that leaks `refusals` per `refusal_period`.
#[derive(Debug, Default)]
struct Refusals {
    admitted: Option<u64>,
    level: Duration,
    at: Tick,
}

impl Refusals {
    /// The level is kept as time, so that it leaks without rounding: one refusal is worth `period / refusals`.
    fn admit(&mut self, policy: &Policy, generation: u64, accepted: bool, now: Tick) -> bool {
        // Or an earlier one: then a newer token is out, and the report has been overtaken by one of that.
        if self.admitted >= Some(generation) {
            return true;
        }
        let worth = policy.refusal_period / policy.refusals.max(1);
        let weight = if accepted { 1 } else { 10.min(policy.refusals) };
        let level = self.level.saturating_sub(now.since(self.at)).saturating_add(worth.saturating_mul(weight));
        if level > policy.refusal_period {
            return false;
        }
        *self = Refusals { admitted: Some(generation), level, at: now };
        true
    }
}
