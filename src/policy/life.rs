//! When a token's windows begin, by all that is known of time.

use std::time::Duration;

use super::history::{History, InStep};
use super::{Policy, USUAL_SHARE, Window};
use crate::clock::Tick;
use crate::token::{Life, Token};

impl Policy {
    /// When `token`'s windows begin, if its request was sent at `sent` and its answer came at `arrived`.
    ///
    /// The life is counted from before the request (the server's began somewhere in between), or from the server's own word
    /// on how old the token is: what lies between its `iat` and the answer's `Date`. Unless it would be over on arrival: a
    /// fresh token that looks expired is used, and a 401 decides.
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
        let Some(lifetime) = lifetime else { return Life { arrived: Some(arrived), ..Life::default() } };

        let leeway = self.leeway.of(lifetime);
        // Both count whole seconds, and come from one server: no clock of ours has a hand in it.
        let age = token.server_time().zip(token.times().iat).and_then(|(date, iat)| date.checked_sub(iat));
        let issued = age.map_or(sent, |age| arrived.before(age).max(sent));
        let begin = if issued.after(lifetime.saturating_sub(leeway)) > arrived { issued } else { arrived };
        let ends_at = begin.after(lifetime);
        let mut life = self.windows(lifetime, ends_at, ends_at.since(arrived), Some(arrived));
        life.stale_at = life.stale_at.map(|at| at.before(self.spread_of(lifetime, at.since(arrived), history)));
        life
    }

    /// By how much earlier a token becomes stale that a whole fleet may have got at once. Once is enough to part them.
    fn spread_of(&self, lifetime: Duration, fresh: Duration, history: &History) -> Duration {
        // What the bound takes from the window. Where that is nothing, the window's own jitter is a share of the life, and moves
        // a fleet apart with each.
        let bounded = match self.stale.at_most {
            // No window at all.
            Duration::ZERO => Duration::ZERO,
            // However long a window that is asked for may be, a first token is not refreshed before the usual one's share.
            at_most => Window { percent: self.stale.percent.min(USUAL_SHARE), at_most: Duration::MAX }
                .of(lifetime)
                .saturating_sub(at_most),
        };
        let spread = match history.in_step() {
            InStep::Likely if !bounded.is_zero() => fresh.saturating_mul(self.spread) / 100,
            // Whoever has just begun is most likely alone: no more is given up than the bound.
            InStep::Perhaps if self.spread > 0 => bounded,
            _ => Duration::ZERO,
        };
        self.jitter.less(spread, 1, 1)
    }

    /// The same for a token of unknown age, from a store or from the user: here the wall clock is all there is.
    pub(crate) fn restored_life(&self, token: &Token, now: Tick, history: &History, wall: Option<Duration>) -> Life {
        let times = token.times();
        // A token that has just come by another way may bring the server's time with it.
        let clock = token.server_time().or_else(|| history.time_of_day(now, wall));
        if let (Some(lifetime), Some(received)) = (token.expires_in(), token.received_at()) {
            // A clock that stands before the token came is wrong: the token is used, and a 401 decides.
            let age = clock.and_then(|clock| clock.checked_sub(received));
            let rest = lifetime.saturating_sub(age.unwrap_or_default());
            return self.windows(lifetime, now.after(rest), lifetime, age.map(|age| now.before(age)));
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
        self.windows(lifetime, now.after(rest), lifetime, None)
    }
}
