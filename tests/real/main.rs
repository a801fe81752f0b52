//! End-to-end tests against servers that people run: oidc-provider and express-oauth2-jwt-bearer, each test with a pair of
//! its own, and Authlib. `.ci/real` installs them and runs this; without them every test passes and says loudly that it was skipped.
//!
//! Real servers keep real time, so these tests wait; they assert on counts and kinds, not on durations.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod api;
#[cfg(feature = "browser")]
mod browser;
mod device;
#[cfg(feature = "key")]
mod grants;
#[cfg(feature = "key")]
mod keys;
#[cfg(feature = "file-store")]
mod processes;
mod restart;
mod servers;
#[cfg(feature = "rustls")]
mod tls;
mod tokens;
#[cfg(feature = "file-store")]
#[path = "../worker/mod.rs"]
mod worker;

/// One of several processes, which is this binary started again.
#[cfg(feature = "file-store")]
#[test]
fn worker() {
    processes::work();
}
