//! Keeps bearer tokens fresh in blocking Rust. The first thread to hit an expired or rejected token refreshes it once; other
//! threads wait, then continue with the new token.
//!
//! ```no_run
//! # #[cfg(feature = "json")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let refresh_token = "";
//! use ureq_auth::{Client, Session, oauth2::RefreshToken};
//!
//! let session = Session::new(RefreshToken::new("https://id.example.com/token", "my-client", refresh_token))?;
//! let client = Client::new(session, "https://api.example.com")?; // the token goes there and nowhere else
//! let me: serde_json::Value = client.get("https://api.example.com/me").call()?.body_mut().read_json()?;
//! # Ok(()) }
//! # #[cfg(not(feature = "json"))]
//! # fn main() {}
//! ```
//!
//! # Overview
//!
//! | item | what it is |
//! |---|---|
//! | `Client` | a `ureq::Agent` whose every call carries the token; its calls return ureq's own request builders |
//! | [`Session`] | one token shared by all threads, and when and how it is refreshed; works without any HTTP client |
//! | `oauth2` | token sources for OAuth 2.0: `RefreshToken`, `ClientCredentials`; a login without a browser: `DeviceCode`; discovery: `Issuer`; logout: `Revocation` |
//! | [`TokenSource`] | where a new token comes from; any closure will do |
//! | [`TokenStore`] | where the token outlives the process: [`MemoryStore`], `FileStore` |
//! | [`Policy`] | when to refresh, how often to try, how long to wait |
//! | [`Error`], [`ErrorKind`] | what went wrong, and what to do now |
//! | [`SourceError`], [`Outcome`] | how an attempt to get a token failed, and what follows |
//! | [`Event`], [`Stats`] | what happens inside, for an observer, and counted |
//! | [`Clock`] | the time; [`ManualClock`] for tests |
//! | [`challenge`], [`jwt`] | the two parsers, for whoever needs them |
//! | `init`, `client` | one client for the whole process |
//!
//! # What happens when
//!
//! A token is *stale* in the last fifth of its life: one caller refreshes it, inline, and nobody waits. It is *expired* a
//! little before its end: callers wait for the one refresh under way. A 401 that is the token's fault does the same, and
//! the refused request is sent again, once. No thread runs in the background.
//!
//! If a refresh fails, [`Outcome`] says how, and what follows: what callers hear, when it is tried again, what becomes of
//! the stored token. While the old token lives, nobody sees an error. Two things need a new login: the authorization server's
//! own refusal, with a code (`invalid_grant`), and a second lost response in a row where refresh tokens rotate.
//! [`Event::LoginRequired`] tells it at once, and nothing more is sent until [`Session::set`]. Everything else is retried,
//! with pauses.
//!
//! All who wait for one refresh get the same result, and each has a deadline of its own.
//!
//! # What it does not do
//!
//! - It does not log a user in by a browser on this machine. With a browser on another it does: `oauth2::DeviceCode`.
//! - It does not verify tokens: that is the API's part.
//! - It has no async API. A source that itself needs a runtime can block on it.
//! - It is no keychain: `FileStore` relies on the rights of a file; for another place there is the trait [`TokenStore`].
//!
//! # Logging
//!
//! Through the [`log`] facade, as ureq: refreshes, waits and replays at debug, failures at warn. No line at any level holds
//! a token or a secret. At *trace*, ureq itself writes what it sends and receives, tokens included: keep `ureq` and
//! `ureq_proto` at `debug` or quieter. At *debug* it writes the address of each request, of token requests too, and the harmless headers
//! of request and answer (`Host`, `Server`, `User-Agent`, `Date`, `Accept*`, `Content-*`, …). It masks path, query and
//! `Location` there only while *trace* is off for `ureq`, by [`log::max_level`] or the logger's `enabled`. A logger that
//! filters in `log` alone gets them in debug lines, so keep keys out of token URLs.
//!
//! A logger may ship its lines through the same client. A line that is written while another one is being shipped is told
//! once more, and no deeper than that. A call that would have to wait for a refresh fails then
//! ([`Reentrant`](ErrorKind::Reentrant)). ureq's own lines are not ours to stop: leave `ureq` out of what is shipped.
//!
//! # Features
//!
//! Features are additive. Default are `rustls`, `gzip` and `json`. All but the last three lines forward to the ureq feature of
//! the same name and imply `ureq`.
//!
//! | feature | what it adds |
//! |---|---|
//! | `rustls` (default), `rustls-no-provider`, `native-tls`, `platform-verifier` | TLS; without one of them only plain http to loopback works |
//! | `gzip` (default), `brotli`, `charset` | decoding of answers |
//! | `json` (default) | `send_json`, `read_json` |
//! | `multipart`, `cookies`, `socks-proxy` | as in ureq |
//! | `ureq` | the client and `oauth2`, without any of the above |
//! | `file-store` | `FileStore`: the token in a file, shared by processes |
//! | `store-kit` | `store_kit`: tests for a [`TokenStore`] of your own |
//!
//! With `default-features = false` and no feature at all there is a session on a source of your own, and no HTTP.
//!
//! # Versions
//!
//! Needs rustc 1.85, as ureq does. A newer one is asked for in a minor release, never in a patch. `ureq`'s types are part
//! of this API, so a new major version of ureq is one here.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![warn(unreachable_pub)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod clock;
mod error;
mod events;
mod flight;
mod http;
mod json;
pub mod jwt;
#[cfg(feature = "ureq")]
pub mod oauth2;
mod outcome;
mod policy;
#[cfg(any(test, fuzzing))]
mod proof;
mod session;
mod source;
mod store;
#[cfg(feature = "store-kit")]
pub mod store_kit;
mod sync;
mod token;

pub use clock::{Clock, ManualClock, SystemClock, Tick};
pub use error::{Error, ErrorKind, Result};
pub use events::{Event, Reason, Stats};
pub use http::challenge;
#[cfg(feature = "ureq")]
pub use http::{Client, ClientBuilder, MaxRedirects, NotReplayed};
pub use outcome::Outcome;
pub use policy::Policy;
// For the fuzzers alone, which are no users.
#[cfg(any(all(test, not(model)), fuzzing))]
#[doc(hidden)]
pub use proof::fuzzing;
pub use session::{Session, SessionBuilder};
pub use source::{Fetch, SourceError, TokenSource};
#[cfg(all(
    feature = "file-store",
    any(target_os = "linux", target_os = "android", target_os = "freebsd", target_vendor = "apple")
))]
pub use store::FileStore;
pub use store::{Exclusive, MemoryStore, Stored, TokenStore};
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

/// Compiles the code of the README and of the guides in `docs`, and runs it where that needs no network.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../docs/long-connections.md")]
    mod long_connections {}
    #[doc = include_str!("../docs/stores.md")]
    mod stores {}
    #[doc = include_str!("../docs/testing.md")]
    mod testing {}

    #[cfg(feature = "ureq")]
    mod with_http {
        #[doc = include_str!("../README.md")]
        mod readme {}
        #[doc = include_str!("../docs/discovery.md")]
        mod discovery {}
        #[doc = include_str!("../docs/errors.md")]
        mod errors {}
        #[doc = include_str!("../docs/http-status-as-error.md")]
        mod http_status_as_error {}
        #[doc = include_str!("../docs/tenants.md")]
        mod tenants {}
        #[cfg(all(
            feature = "file-store",
            any(target_os = "linux", target_os = "android", target_os = "freebsd", target_vendor = "apple")
        ))]
        #[doc = include_str!("../docs/token-files.md")]
        mod token_files {}
    }
}
