//! What time it is at the engine, as its last answer had it.

use std::time::{Duration, Instant};

#[derive(Default)]
pub(crate) struct EngineClock(Option<(Instant, u64)>);

impl EngineClock {
    /// The time that nobody waits for the answer any more, as the engine counts it, in milliseconds. Empty where no answer
    /// has told the time yet.
    pub(crate) fn deadline(&self, now: Instant, timeout: Duration) -> String {
        let Some((sent, told)) = self.0 else { return String::new() };
        let after = now.saturating_duration_since(sent).saturating_add(timeout).as_millis();
        u64::try_from(after).unwrap_or(u64::MAX).saturating_add(told).to_string()
    }

    /// It was told after `sent`. So no deadline is too early, as long as nobody sets the engine's clock.
    pub(crate) fn hear(&mut self, sent: Instant, told: u64) {
        self.0 = Some((sent, told));
    }

    pub(crate) fn forget(&mut self) {
        self.0 = None;
    }
}
