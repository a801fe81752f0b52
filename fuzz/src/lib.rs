//! What the fuzzers share.

use std::time::UNIX_EPOCH;

use ureq_auth::fuzzing::Yardstick;

/// What they measure with.
pub const YARDSTICK: Yardstick = Yardstick {
    peak: |work| allocation_counter::measure(work).bytes_max,
    http_date: |date| httpdate::parse_http_date(date).ok()?.duration_since(UNIX_EPOCH).ok(),
};
