//! What a session remembers from one refresh to the next.

use std::time::Duration;

use super::Policy;
use super::addresses::Addresses;
use super::lag::Lag;
use crate::clock::Tick;
use crate::outcome::{Outcome, Retry};
use crate::token::Token;

/// What a session remembers between refreshes.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Flights that failed in a row, though somebody was reached.
    failures: u32,
    /// Flights that reached nobody, in a row.
    unreached: u32,
    in_step: InStep,
    /// How many attempts ended in the unknown since the server last gave a clear answer.
    unknowns: u32,
    /// How many refreshes in a row have left the refresh token as it was.
    unchanged: u32,
    /// How many times credentials came from outside: what a flight for earlier ones met is not held against the later.
    login: u64,
    /// The life of the last token whose life was told.
    pub(crate) previous_lifetime: Option<Duration>,
    server: Option<(Tick, Duration)>,
    refusals: Refusals,
    pub(crate) lag: Lag,
    pub(crate) addresses: Addresses,
}

/// How likely is it that many sessions get their tokens at the same time as this one, and come back for the next ones together?
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub(crate) enum InStep {
    /// The session has just begun: it may be alone, or a fleet be switched on.
    #[default]
    Perhaps,
    /// The server was busy or out of reach, flight after flight: others were kept waiting, too.
    Likely,
    /// A refresh has succeeded since.
    No,
}

impl History {
    pub(crate) fn login(&self) -> u64 {
        self.login
    }

    /// New credentials have a clean record.
    pub(crate) fn begin_login(&mut self) {
        self.login += 1;
        (self.failures, self.unreached, self.unknowns, self.unchanged) = (0, 0, 0, 0);
        self.in_step = InStep::default();
        self.addresses.forget();
        self.lag.forget_previous();
    }

    pub(crate) fn count_success(&mut self, login: u64) {
        if login == self.login {
            (self.failures, self.unreached, self.unknowns) = (0, 0, 0);
            self.in_step = InStep::No;
        }
    }

    pub(crate) fn in_step(&self) -> InStep {
        self.in_step
    }

    /// Notes what a refresh has done to the refresh token.
    pub(crate) fn note_refresh(&mut self, previous: &Token, next: &Token, login: u64) {
        if login == self.login {
            self.unchanged = if next.has_refresh_of(previous) { self.unchanged.saturating_add(1) } else { 0 };
        }
    }

    /// Notes that the refresh token has changed in another way than by a refresh of this session's.
    pub(crate) fn note_rotation(&mut self) {
        self.unchanged = 0;
    }

    /// Is the refresh token one that does not rotate, by all that was seen? Then to send it again can do no harm.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.unchanged >= 2
    }

    /// Notes an attempt whose answer was lost.
    pub(crate) fn count_unknown(&mut self, login: u64) {
        if login == self.login {
            self.unknowns = self.unknowns.saturating_add(1);
        }
    }

    /// Notes a failed flight and says how long the session pauses; `None` if there is to be no other until new credentials.
    pub(crate) fn count_failure(&mut self, policy: &Policy, failure: Failure) -> Option<Duration> {
        let Failure { outcome, retry_after, login, ahead } = failure;
        let retry = outcome.retry();
        // A busy server or none at all is everybody's trouble; a refusal is this session's.
        let is_everybodys = matches!(outcome, Outcome::Unavailable | Outcome::Unreachable);
        let count = if retry == Retry::ShortBackoff { &mut self.unreached } else { &mut self.failures };
        *count = count.saturating_add(u32::from(login == self.login));
        // A single failure ahead of time is one lost attempt on a bad link.
        if is_everybodys && (!ahead || *count > 1) {
            self.in_step = InStep::Likely;
        }
        // Who has no token waits for a store that is back, and no server hears of the attempt. A store that answers slowly holds up
        // a caller with each: where the token lives, that may be rare.
        let failures = if outcome == Outcome::Store && !ahead { 1 } else { *count };
        let pause = policy.pause_after(failures, retry, retry_after);
        match retry {
            Retry::Never => None,
            // The second: a third use of what may be a spent refresh token would be blind.
            Retry::Once if self.unknowns > 1 => None,
            _ => Some(pause),
        }
    }

    /// How long a session that has ended does not look into its store.
    pub(crate) fn pause_to_look_again(&mut self, policy: &Policy) -> Duration {
        self.failures = self.failures.saturating_add(1);
        policy.pause_after(self.failures, Retry::Backoff, None)
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

/// A failed flight, as far as the next one depends on it.
#[derive(Clone, Copy)]
pub(crate) struct Failure {
    pub(crate) outcome: Outcome,
    pub(crate) retry_after: Option<Duration>,
    /// Which login it was for.
    pub(crate) login: u64,
    /// The token that was to be replaced lives.
    pub(crate) ahead: bool,
}

/// A bucket that leaks `refusals` per `refusal_period`.
#[derive(Debug, Default)]
struct Refusals {
    admitted: Option<u64>,
    level: Duration,
    at: Tick,
}

impl Refusals {
    /// The level is kept as time, so that it leaks without rounding: one refusal is worth `period / refusals`, ten times that
    /// if the token was never accepted, and a tenth if it was.
    fn admit(&mut self, policy: &Policy, generation: u64, accepted: bool, now: Tick) -> bool {
        // Or an earlier one: then a newer token is out, and the report has been overtaken by one of that.
        if self.admitted >= Some(generation) {
            return true;
        }
        let worth = policy.refusal_period / policy.refusals.max(1);
        let weight = if accepted { worth / 10 } else { worth.saturating_mul(10).min(policy.refusal_period) };
        let level = self.level.saturating_sub(now.since(self.at)).saturating_add(weight);
        if level > policy.refusal_period {
            return false;
        }
        *self = Refusals { admitted: Some(generation), level, at: now };
        true
    }
}
