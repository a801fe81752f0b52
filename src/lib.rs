//! Keeps bearer tokens fresh in blocking Rust.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

#[cfg(feature = "ureq")]
mod body;
pub mod challenge;
#[cfg(feature = "ureq")]
mod client;
mod clock;
mod error;
mod events;
mod flight;
pub mod jwt;
#[cfg(feature = "ureq")]
mod middleware;
#[cfg(feature = "ureq")]
mod origin;
mod policy;
#[cfg(feature = "ureq")]
mod redirect;
mod session;
mod source;
mod sync;
mod token;

#[cfg(feature = "ureq")]
pub use client::{Client, ClientBuilder};
pub use clock::{Clock, ManualClock, SystemClock, Tick};
pub use error::{Error, ErrorKind, Result};
pub use events::{Event, Reason, Stats};
#[cfg(feature = "ureq")]
pub use middleware::{MaxRedirects, NotReplayed};
pub use policy::Policy;
pub use session::{Session, SessionBuilder};
pub use source::{Fetch, SourceError, TokenSource};
pub use token::Token;

#[cfg(feature = "ureq")]
mod process_wide {
    use once_cell::sync::OnceCell;

    use crate::{Client, Error, ErrorKind, Result};

    static CLIENT: OnceCell<Client> = OnceCell::new();

    /// Makes `client` the one of the whole process: once, early in `main`. Every thread and module then has it by
    /// [`client`].
    ///
    /// # Errors
    ///
    /// [`AlreadyInitialized`](ErrorKind::AlreadyInitialized) if there is one: it stays in force.
    pub fn init(client: Client) -> Result<()> {
        CLIENT.set(client).map_err(|_| {
            Error::new(
                ErrorKind::AlreadyInitialized,
                "the process has its client already: call ureq_auth::init once, in main; for further ones build a Client",
            )
        })
    }

    /// The client of the whole process.
    ///
    /// # Errors
    ///
    /// [`NotInitialized`](ErrorKind::NotInitialized) if [`init`] was not called yet.
    pub fn client() -> Result<&'static Client> {
        CLIENT.get().ok_or_else(|| {
            Error::new(
                ErrorKind::NotInitialized,
                "the process has no client yet: call ureq_auth::init in main, before the first thread that uses it",
            )
        })
    }
}

#[cfg(feature = "ureq")]
pub use process_wide::{client, init};
