//! The crate from outside: one binary, one module per part.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[cfg(feature = "ureq")]
mod oauth2;
