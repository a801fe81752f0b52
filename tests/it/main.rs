//! All scenario tests in one binary: one link, one process, all threads at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

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
mod oauth2;
#[cfg(feature = "ureq")]
mod server;
#[cfg(feature = "ureq")]
mod traps_http;
