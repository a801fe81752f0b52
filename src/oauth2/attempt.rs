//! One attempt to get a token, for those who make values for it: an assertion, a subject token.

use std::fmt;
use std::time::Duration;

use super::answer::Answer;
use super::date::since_1970;
use super::endpoint::Endpoint;
use crate::clock::{Clock, SystemClock, Tick};
use crate::sync::Mutex;
use crate::{SourceError, Token};

/// What a closure may build on that makes values for one attempt. See [`Grant::params`](super::Grant::params) and
/// `client_assertion` on every grant.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) previous: Option<&'a Token>,
    pub(super) now: Duration,
}

impl Attempt<'_> {
    /// The time since 1970-01-01 00:00 UTC, for `iat` and `exp` (RFC 7519 §4.1.4, §4.1.6).
    ///
    /// By the server's clock, once it has answered anything over TLS or from this machine; until then by this machine's. A
    /// request that the server refuses while the two clocks differ is sent once more at once, with values made anew: so a
    /// device that starts in 1970 can log in.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// The token endpoint's address: what most servers want as the audience (`aud`, RFC 7523 §3).
    pub fn token_url(&self) -> &str {
        self.endpoint.token_url()
    }

    /// The client's id; empty for a [`Grant`](super::Grant) without one.
    pub fn client_id(&self) -> &str {
        self.endpoint.client_id()
    }

    /// The token that is to be replaced, if there is one, and if the grant tells.
    pub fn previous(&self) -> Option<&Token> {
        self.previous
    }
}

impl fmt::Debug for Attempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("endpoint", &self.endpoint)
            .field("previous", &self.previous)
            .field("now", &self.now)
            .finish()
    }
}

/// Clocks that differ by less are the same: a server's `Date` has no fractions, and takes its time to get here.
const SAME: Duration = Duration::from_secs(2);

/// When the values of one request are made.
#[derive(Clone, Copy)]
pub(super) struct Made {
    /// The server's time, as far as it is known.
    pub(super) time: Duration,
    /// The same moment by this machine's monotonic clock.
    at: Tick,
    /// Were they made anew already? Then a refusal has another reason.
    anew: bool,
}

/// The server's time at a moment of this machine's monotonic clock.
#[derive(Default)]
pub(super) struct ServerClock(Mutex<Option<(Duration, Tick)>>);

impl ServerClock {
    fn made(&self, anew: bool) -> Made {
        let at = SystemClock.now();
        Made { time: self.at(at, SystemClock.wall()), at, anew }
    }

    /// The server's time if it is known, or else what the wall clock says.
    fn at(&self, now: Tick, wall: Option<Duration>) -> Duration {
        match *self.0.lock() {
            Some((time, at)) => time.saturating_add(now.since(at)),
            None => wall.unwrap_or_default(),
        }
    }

    /// Takes note of the answer's `Date`, and says whether values that were `made` then may have been refused for their time.
    pub(super) fn blames(&self, answer: &Answer<'_>, made: Made) -> bool {
        let Some(time) = answer.date.filter(|_| answer.is_private).and_then(since_1970) else { return false };
        let now = SystemClock.now();
        *self.0.lock() = Some((time, now));
        matches!(answer.status, 400 | 401 | 403) && !made.anew && made.is_of_another_time(time, now)
    }
}

impl Made {
    /// Is the server's `time`, which came `now`, another than the one that the values are of? A signer that is far away and a
    /// slow server take their time: that has passed on both clocks.
    fn is_of_another_time(self, time: Duration, now: Tick) -> bool {
        let latest = self.time.saturating_add(now.since(self.at)).saturating_add(SAME);
        time.saturating_add(SAME) < self.time || time > latest
    }
}

/// Has `once` send a request whose values are made for the time that it is given, and does it again if the server refuses it
/// and has another time. `once` says by `true` that the answer was such a refusal.
pub(super) fn by_servers_time<T>(
    clock: &ServerClock,
    time_left: Duration,
    mut once: impl FnMut(Made, Duration) -> Result<Option<T>, SourceError>,
) -> Result<T, SourceError> {
    let start = SystemClock.now();
    for anew in [false, true] {
        let left = if time_left == Duration::MAX {
            time_left
        } else {
            time_left.saturating_sub(SystemClock.now().since(start))
        };
        if let Some(done) = once(clock.made(anew), left)? {
            return Ok(done);
        }
        log::debug!("the server has another time and refuses what was made by this one's: made and sent once more");
    }
    Err(SourceError::refused(
        "the server's clock changes from one answer to the next, so nothing can be made for its time",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn answer(status: u16, date: Option<&str>, is_private: bool) -> Answer<'_> {
        Answer {
            what: "token",
            status,
            content_type: None,
            retry_after: None,
            date,
            is_private,
            body: b"",
            token_type: None,
            secrets: &[],
        }
    }

    #[test]
    fn the_servers_time_goes_on_by_the_monotonic_clock() {
        let clock = ServerClock::default();
        let tick = |seconds| Tick::from_zero(secs(seconds));
        assert_eq!(clock.at(tick(5), None), Duration::ZERO);
        assert_eq!(clock.at(tick(5), Some(secs(7))), secs(7));
        *clock.0.lock() = Some((secs(1000), tick(5)));
        assert_eq!(clock.at(tick(8), Some(secs(7))), secs(1003));
        assert_eq!(clock.at(tick(1), None), secs(1000), "it never goes back");
    }

    fn made(time: Duration) -> Made {
        Made { time, at: SystemClock.now(), anew: false }
    }

    #[test]
    fn only_a_refusal_by_another_time_is_blamed_on_the_clock() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        let time = secs(784_111_777);
        for (status, used, blamed) in [
            (400, secs(0), true),
            (401, time + secs(3), true),
            (400, time - secs(1), false),
            (200, secs(0), false),
            (503, secs(0), false),
        ] {
            let clock = ServerClock::default();
            assert_eq!(clock.blames(&answer(status, date, true), made(used)), blamed, "{status} {used:?}");
            let now = clock.made(false).time;
            assert!(now >= time && now < time + secs(3600), "learned from every answer");
            assert!(!clock.blames(&answer(status, date, true), Made { anew: true, ..made(used) }), "but once");
        }
        for (date, is_private) in [(date, false), (None, true), (Some("yesterday"), true)] {
            let clock = ServerClock::default();
            assert!(!clock.blames(&answer(400, date, is_private), made(secs(0))));
            assert_eq!(*clock.0.lock(), None, "nobody's time");
        }
    }

    #[test]
    fn a_slow_signer_or_server_is_no_wrong_clock() {
        let tick = |seconds| Tick::from_zero(secs(seconds));
        let made = Made { time: secs(1000), at: tick(50), anew: false };
        for (server, now, other) in [
            (1000, 50, false),
            (1010, 60, false),
            (1000, 60, false),
            (1013, 60, true),
            (1005, 52, true),
            (997, 60, true),
        ] {
            assert_eq!(made.is_of_another_time(secs(server), tick(now)), other, "{server} at {now}");
        }
    }
}
