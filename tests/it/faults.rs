//! Faults on the wire, at the token endpoint and at the API: what each costs, kept true in `docs/faults.md`.
//!
//! Nothing may hang: where only a time-out can end a fault, the test sets a short one; everywhere else the time-out is
//! long, and to be back before half of it is over shows that nobody waited for it. Pauses are a manual clock's.

mod api;
mod endpoint;
mod table;
mod wire;

use std::time::Duration;

use crate::client::in_threads;

/// So many callers meet a fault at once.
const CALLERS: usize = 8;

/// The time-out where only a time-out ends a fault. Also on a busy machine, a request is out before that.
const SHORT: Duration = Duration::from_secs(1);

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What the buffers of two sockets hold, and more than anybody is to take of an endless answer.
const MOST_TAKEN: u64 = 64 << 20;

#[test]
fn what_the_token_endpoint_does_wrong() {
    let rows = all(&endpoint::faults(), endpoint::meet);
    table::compare("token endpoint", &endpoint::HEAD, &rows);
}

#[test]
fn what_the_api_does_wrong() {
    let rows = all(&api::faults(), api::meet);
    table::compare("API", &api::HEAD, &rows);
}

/// A few at a time: most of the time is spent in time-outs.
fn all<F: Sync>(faults: &[F], meet: fn(&F) -> table::Row) -> Vec<table::Row> {
    let rows = faults.chunks(4).flat_map(|few| in_threads(few.len(), |number| meet(&few[number]))).collect();
    assert!(wire::most_taken() < MOST_TAKEN, "{} bytes", wire::most_taken());
    rows
}
