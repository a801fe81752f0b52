//! Figures from noisy rounds.

use std::time::Duration;

pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    Spread::of(values).median
}

/// The median of several rounds, and the interval in which the true one lies with a certainty of 95 %. By ranks, for times
/// on a busy machine are distributed as they like.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let last = (values.len() - 1) as f64;
        let rank = |rank: f64| values[rank.clamp(0.0, last) as usize];
        let middle = last / 2.0;
        // The binomial distribution's, by its normal approximation.
        let reach = 0.98 * (last + 1.0).sqrt();
        Spread {
            median: (rank(middle.floor()) + rank(middle.ceil())) / 2.0,
            low: rank((middle - reach).floor()),
            high: rank((middle + reach).ceil()),
        }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3} [{:.3}, {:.3}]", self.median, self.low, self.high)
    }
}

pub(crate) fn nanos(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
