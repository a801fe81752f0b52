//! The pure decisions: when a token is due, how long to pause, when to stop. No thread, no lock, no clock: time comes in
//! as an argument, a decision goes out as a value.

mod addresses;
mod history;
mod jitter;
#[cfg_attr(not(feature = "ureq"), allow(dead_code, reason = "only a client sends a request again"))]
mod lag;
mod life;
mod settings;

use std::time::Duration;

use crate::clock::Tick;
use crate::outcome::{Outcome, Retry};
use crate::token::Life;
use crate::{Error, Result};
pub(crate) use addresses::Address;
pub(crate) use history::{Failure, History};
use jitter::Jitter;
#[cfg(any(feature = "ureq", test))]
pub(crate) use lag::{Next, Sent};

/// When to refresh, how often to try, how long to wait.
///
/// The defaults fit tokens of any life, from seconds to days: the windows are shares of the life with an upper bound. A
/// fixed margin would refresh a short-lived token on every call.
#[derive(Clone, PartialEq, Debug)]
pub struct Policy {
    pub(crate) proactive: bool,
    pub(crate) reactive: bool,
    stale: Window,
    /// The share of the time before the stale window by which a token is refreshed earlier that a whole fleet may have got at
    /// once, in percent.
    spread: u32,
    leeway: Window,
    pub(crate) attempts: u32,
    backoff_first: Duration,
    backoff_limit: Duration,
    pub(crate) budget: Duration,
    pub(crate) wait_timeout: Duration,
    pub(crate) patience: Duration,
    refusals: u32,
    refusal_period: Duration,
    token_lag: Duration,
    pub(crate) jitter: Jitter,
}

/// The stale window's share of a life unless set, in percent: the last fifth.
const USUAL_SHARE: u32 = 20;

/// A share of a token's life, with an upper bound.
#[derive(Clone, Copy, PartialEq, Debug)]
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
            stale: Window { percent: USUAL_SHARE, at_most: Duration::from_secs(300) },
            spread: 75,
            leeway: Window { percent: 5, at_most: Duration::from_secs(10) },
            attempts: 3,
            backoff_first: Duration::from_secs(1),
            backoff_limit: Duration::from_secs(300),
            budget: Duration::from_secs(30),
            wait_timeout: Duration::from_secs(40),
            patience: Duration::from_secs(2),
            refusals: 30,
            refusal_period: Duration::from_secs(30),
            token_lag: Duration::from_secs(2),
            jitter: Jitter::drawn(),
        }
    }
}

impl Policy {
    /// Is every value usable?
    pub(crate) fn check(&self) -> Result<()> {
        let problem = if self.stale.percent > 90 || self.leeway.percent > 90 || self.spread > 90 {
            "a window of more than 90 percent leaves a token no life; choose a smaller percentage for with_stale_window, \
             with_leeway or with_spread"
        } else if self.attempts == 0 {
            "a refresh needs at least one attempt: give with_attempts 1 or more"
        } else if self.backoff_first.is_zero() || self.backoff_first > self.backoff_limit {
            "the backoff's first pause must be more than zero and not more than its limit: see with_backoff"
        } else if self.budget.is_zero() {
            "a refresh needs a budget of more than zero: see with_budget"
        } else if self.wait_timeout < self.budget {
            "the waiting time must not be shorter than the flight's budget, or callers give up on a flight that succeeds: \
             make with_wait_timeout longer, or with_budget shorter"
        } else if self.refusals == 0 || self.refusal_period.is_zero() {
            "with_refusals needs a number and a period of more than zero; to switch refreshing after a 401 off, use \
             with_reactive(false)"
        } else {
            return Ok(());
        };
        Err(Error::invalid(problem))
    }

    fn windows(&self, lifetime: Duration, ends_at: Tick, at_best: Duration, arrived: Option<Tick>) -> Life {
        let before_end = |window: Duration| Some(ends_at.before(window));
        let leeway = self.leeway.of(lifetime);
        let stale = self.jitter.less(self.stale.of(lifetime), 3, 0).max(leeway);
        Life {
            stale_at: before_end(stale),
            expired_at: before_end(leeway),
            ends_at: Some(ends_at),
            lifetime: Some(lifetime),
            at_best,
            arrived,
        }
    }

    /// Is the token good for a call that starts now, and young? The windows begin with the stale one.
    #[inline]
    pub(crate) fn is_fresh(&self, life: &Life, now: Tick) -> bool {
        !self.proactive || life.stale_at.is_none_or(|at| now < at)
    }

    /// Is the token good for a call that starts now and needs it for `valid_for`?
    pub(crate) fn freshness(&self, life: &Life, now: Tick, valid_for: Duration) -> Freshness {
        if valid_for.is_zero() && self.is_fresh(life, now) {
            return Freshness::Fresh;
        }
        let reached = |at: Option<Tick>| at.is_some_and(|at| now >= at);
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
    pub(crate) fn pause_after(&self, failures: u32, retry: Retry, retry_after: Option<Duration>) -> Duration {
        let limit = match retry {
            Retry::ShortBackoff => self.backoff_limit.min(UNREACHED_LIMIT),
            _ => self.backoff_limit,
        };
        let doublings = if retry == Retry::AtLimit { 30 } else { failures.saturating_sub(1).min(30) };
        let doubled = self.backoff_first.saturating_mul(2_u32.saturating_pow(doublings));
        let pause = self.jitter.less(doubled.min(limit), 2, failures.into());
        // A server may ask for patience, but not for ever.
        pause.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER))
    }

    /// The pause that [`Session::retry_now`](crate::Session::retry_now) leaves.
    pub(crate) fn least_pause(&self, outcome: Outcome, retry_after: Option<Duration>, pause: Duration) -> Duration {
        match outcome.retry() {
            _ if outcome.is_later(retry_after) => pause,
            // Nobody is bothered.
            Retry::ShortBackoff => Duration::ZERO,
            _ => pause.min(self.backoff_first),
        }
    }

    /// When the pause after a refresh ahead of time ends: at the latest when the token expires, and others have to wait
    /// for the next one. A server that forbids early refreshes allows one then.
    pub(crate) fn pause_ahead(&self, pause: Duration, life: &Life, now: Tick) -> Duration {
        life.expired_at.map_or(pause, |at| pause.min(at.since(now).max(self.backoff_first)))
    }
}

/// The longest pause of our own where nobody was reached: after a night without a network, a device is back soon.
const UNREACHED_LIMIT: Duration = Duration::from_secs(30);

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
