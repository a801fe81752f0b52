//! Scenario tests, one binary. Threads are ordered by gates and by the session's own events, time is moved by hand: no
//! test sleeps to wait for something, and none asserts on the wall clock (rule 4 has the one exception and its reason).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

#[cfg(any(feature = "ureq", feature = "file-store"))]
mod again;

#[cfg(all(
    feature = "file-store",
    any(target_os = "linux", target_os = "android", target_os = "freebsd", target_vendor = "apple", windows)
))]
mod file_store;
mod flight_rules;
mod flight_rules_verdicts;
mod loop_breaker;
mod on_request;
mod one_refresh;
#[cfg(not(all(windows, target_env = "gnu")))]
mod parsers;
mod policy;
#[cfg(all(feature = "key", feature = "json"))]
mod recipes;
mod refresh_outcomes;
mod refresh_pauses;
mod sharing;
mod superseded;
mod time;
mod traps_core;
mod wait_for_change;

#[cfg(feature = "ureq")]
mod answers;
#[cfg(feature = "ureq")]
mod any_api;
#[cfg(feature = "ureq")]
mod any_api_bodies;
#[cfg(feature = "ureq")]
mod any_api_forms;
#[cfg(feature = "ureq")]
mod attacks;
mod bad_address;
#[cfg(feature = "ureq")]
mod bad_address_crowds;
#[cfg(feature = "browser")]
mod browser_login;
#[cfg(feature = "ureq")]
mod client;
#[cfg(feature = "ureq")]
mod client_aside;
#[cfg(feature = "ureq")]
mod client_body;
#[cfg(feature = "ureq")]
mod client_challenges;
#[cfg(feature = "ureq")]
mod client_errors;
#[cfg(feature = "ureq")]
mod client_flight;
#[cfg(feature = "ureq")]
mod client_redirect;
#[cfg(feature = "ureq")]
mod client_replay;
#[cfg(feature = "ureq")]
mod client_settings;
#[cfg(all(feature = "ureq", not(feature = "cookies")))]
mod client_tenants;
#[cfg(feature = "ureq")]
mod device_code;
#[cfg(feature = "ureq")]
mod device_code_answers;
#[cfg(feature = "ureq")]
mod discovery;
#[cfg(feature = "ureq")]
mod driven_clock;
#[cfg(feature = "ureq")]
mod error_chains;
#[cfg(feature = "ureq")]
mod error_texts;
#[cfg(feature = "rustls")]
mod faults;
#[cfg(feature = "ureq")]
mod grant;
#[cfg(feature = "ureq")]
mod log_out;
#[cfg(feature = "ureq")]
mod make_agent;
#[cfg(feature = "ureq")]
mod oauth2;
#[cfg(feature = "ureq")]
mod overdue;
#[cfg(feature = "ureq")]
mod providers;
#[cfg(feature = "ureq")]
mod server;
#[cfg(feature = "key")]
mod signing_key;
mod store;
#[cfg(feature = "rustls")]
mod tls;
#[cfg(feature = "ureq")]
mod token_in;
#[cfg(feature = "ureq")]
mod token_lag;
#[cfg(feature = "ureq")]
mod token_lag_crowds;
#[cfg(feature = "ureq")]
mod traps_http;
