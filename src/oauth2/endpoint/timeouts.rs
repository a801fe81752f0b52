//! How long one request may take.

use std::time::Duration;

/// Unless set, and where no flight says otherwise: most of a flight's budget as it is unless set.
const TIMEOUT: Duration = Duration::from_secs(25);

/// By how much the agent's time-out may be longer than what was reckoned for one request: a request with one of its own has
/// ureq set TLS up anew.
const SLACK: Duration = Duration::from_secs(5);

/// The longest time-out that makes sense; no sum of times in ureq can overflow with it.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

/// The time-out of one request, of which the flight can wait `time_left` for. A slow answer is not a lost one, and to cut it off
/// may spend the refresh token: unless `set` it is most of that.
pub(super) fn of_request(set: Option<Duration>, time_left: Duration) -> Duration {
    let usual = if time_left == Duration::MAX { TIMEOUT } else { time_left.saturating_mul(5) / 6 };
    set.unwrap_or(usual).min(time_left).min(MAX_TIMEOUT)
}

/// What an agent is built with, when its first request may take `wanted`. That one may be late in its flight, and the next one
/// have more time.
pub(super) fn of_agent(set: Option<Duration>, wanted: Duration) -> Duration {
    set.unwrap_or_else(|| wanted.max(TIMEOUT))
}

/// The time-out of a request that may take `wanted`, on an agent whose own is `usual`, and was built with `given`.
pub(super) fn on_agent(
    usual: Option<Duration>,
    given: Duration,
    set: Option<Duration>,
    wanted: Duration,
    time_left: Duration,
) -> Duration {
    // What was set is meant to the second.
    let slack = if set.is_some() { Duration::ZERO } else { SLACK };
    match usual {
        // The agent's is as good, unless it is longer than the flight can wait for, or shorter than need be. The user's own,
        // from `configure`, is not made longer.
        Some(usual) if usual <= wanted.saturating_add(slack).min(time_left) && (usual >= wanted || usual != given) => {
            usual
        }
        _ => wanted,
    }
}
