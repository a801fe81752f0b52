//! Keeps bearer tokens fresh in blocking Rust.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod clock;
mod error;
mod events;
mod flight;
pub mod jwt;
#[cfg(feature = "ureq")]
pub mod oauth2;
#[cfg(feature = "ureq")]
#[allow(dead_code, reason = "the client needs what the grants do not")]
mod origin;
mod policy;
mod session;
mod source;
mod sync;
mod token;

pub use clock::{Clock, ManualClock, SystemClock, Tick};
pub use error::{Error, ErrorKind, Result};
pub use events::{Event, Reason, Stats};
pub use policy::Policy;
pub use session::{Session, SessionBuilder};
pub use source::{Fetch, SourceError, TokenSource};
pub use token::Token;
