//! Scenario tests, one binary. Threads are ordered by gates and by the session's own events, time is moved by hand: no
//! test sleeps to wait for something, and none asserts on the wall clock (rule 4 has the one exception and its reason).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

#[cfg(any(feature = "ureq", feature = "file-store"))]
mod again;

#[cfg(all(
    feature = "file-store",
    any(target_os = "linux", target_os = "android", target_os = "freebsd", target_vendor = "apple")
))]
mod file_store;
mod flight_rules;
mod flight_rules_verdicts;
mod loop_breaker;
mod on_request;
mod one_refresh;
mod parsers;
mod policy;
mod refresh_outcomes;
mod refresh_pauses;
mod sharing;
mod superseded;
mod time;
mod traps_core;

#[cfg(feature = "ureq")]
mod answers;
#[cfg(feature = "ureq")]
mod attacks;
#[cfg(feature = "ureq")]
mod client;
#[cfg(feature = "ureq")]
mod client_body;
#[cfg(feature = "ureq")]
mod client_errors;
#[cfg(feature = "ureq")]
mod client_flight;
#[cfg(feature = "ureq")]
mod client_guilt;
#[cfg(feature = "ureq")]
mod client_redirect;
#[cfg(feature = "ureq")]
mod client_replay;
#[cfg(feature = "ureq")]
mod client_settings;
#[cfg(feature = "ureq")]
mod device_code;
#[cfg(feature = "ureq")]
mod device_code_answers;
#[cfg(feature = "ureq")]
mod discovery;
#[cfg(feature = "rustls")]
mod faults;
#[cfg(feature = "ureq")]
mod log_out;
#[cfg(feature = "ureq")]
mod oauth2;
#[cfg(feature = "ureq")]
mod providers;
#[cfg(feature = "ureq")]
mod server;
mod store;
#[cfg(feature = "ureq")]
mod traps_http;
