//! Keeps bearer tokens fresh in blocking Rust. The first thread to hit an expired or rejected token refreshes it once; other
//! threads wait, then continue with the new token.
//!
//! ```no_run
//! # #[cfg(feature = "json")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let refresh_token = "";
//! use ureq_auth::{Client, Session, oauth2::RefreshToken};
//!
//! let url = "https://id.example.com/token";
//! let session = Session::new(RefreshToken::new(url, "my-client", refresh_token))?;
//! // The token goes to this origin and nowhere else.
//! let client = Client::new(session, "https://api.example.com")?;
//! let mut response = client.get("https://api.example.com/me").call()?;
//! let me: serde_json::Value = response.body_mut().read_json()?;
//! # Ok(()) }
//! # #[cfg(not(feature = "json"))]
//! # fn main() {}
//! ```
//!
//! # Overview
//!
//! | item | what it is |
//! |---|---|
//! | [`Client`], [`ClientBuilder`] | a `ureq::Agent` whose every call carries the token; its calls return ureq's own request builders |
//! | [`Answer`], [`TokenIn`], [`Outgoing`] | for other APIs: which response is a refusal, and how the token goes in (`docs/apis.md`) |
//! | [`MaxRedirects`], [`NotReplayed`] | extensions of a request and of an answer |
//! | [`Session`], [`SessionBuilder`] | one token shared by all threads, and when and how it is refreshed; works without any HTTP client |
//! | [`Token`] | an access token, and what is known of it |
//! | [`oauth2`] | token sources for OAuth 2.0: [`RefreshToken`], [`ClientCredentials`], any other [`Grant`]; logins: [`BrowserLogin`], [`DeviceCode`]; discovery: [`Issuer`]; logout: [`Revocation`] |
//! | [`TokenSource`], [`Fetch`] | where a new token comes from; any closure will do |
//! | [`Zeroizing`] | what [`TokenSource::refresh_token`] returns: a text that is wiped when it is dropped |
//! | [`TokenStore`], [`Exclusive`], [`Stored`] | where the token outlives the process: [`MemoryStore`], [`FileStore`] |
//! | [`Policy`] | when to refresh, how often to try, how long to wait |
//! | [`Error`], [`ErrorKind`], [`Result`] | what went wrong, and what to do now |
//! | [`SourceError`], [`Outcome`] | how an attempt to get a token failed, and what follows |
//! | [`Event`], [`Reason`], [`Stats`] | what happens inside, for an observer, and counted |
//! | [`Clock`], [`SystemClock`], [`Tick`] | the time; [`ManualClock`] for tests |
//! | [`challenge`], [`jwt`] | the two parsers, for whoever needs them |
//! | [`init`], [`client`] | one client for the whole process |
//!
//! # What happens when
//!
//! A token is *stale* in the last fifth of its life, five minutes at most: one caller refreshes it, inline, and nobody waits. A
//! session's first token, and one after trouble, may be [refreshed earlier](Policy::with_spread).
//! It is *expired* a little before its end: callers wait for the one refresh under way. A 401 that is the token's fault does
//! the same, and the refused request is sent again, once. No thread runs in the background.
//!
//! Two refusals are no reason for a refresh. An API of several nodes may not know a new token yet. So a token
//! that has just come, and was not accepted before the request was sent, is sent again after short pauses: two seconds a call in
//! all. [`Policy::with_token_lag`] changes that or switches it off. After a refresh ahead of time the previous token is sent
//! instead, while it lives. And one address may refuse every token, because a scope is missing. If it has refused two in a row,
//! and the second is accepted elsewhere, its callers get the 401 for five minutes. All others keep their token.
//! [`Event::TokenLag`] and [`Event::AddressRefuses`] tell of both.
//!
//! If a refresh fails, [`Outcome`] says how, and what follows: what callers hear, when it is tried again, what becomes of
//! the stored token. While the old token lives, nobody sees an error. Two things need a new login: the authorization server's
//! own refusal, with a code (`invalid_grant`), and a second lost response in a row where refresh tokens rotate.
//! [`Event::LoginRequired`] tells it at once, and nothing more is sent until [`Session::set`]. Everything else is retried,
//! with pauses.
//!
//! All who wait for one refresh get the same result, and each has a deadline of its own.
//!
//! # Errors at the call site
//!
//! A call through a [`Client`] returns `ureq::Error`. An error of the session is inside it, and [`Error::find`] gets it out of that
//! and of whatever else has wrapped it. Ask the predicates first, since they answer for kinds of later versions too.
//!
//! ```
//! # use ureq_auth::Error;
//! fn advice(error: &(dyn std::error::Error + 'static)) -> &'static str {
//!     match Error::find(error) {
//!         None => "ureq's own: a status, a timeout, a connection",
//!         Some(error) if error.is_login_required() => "log in, then Session::set",
//!         Some(error) if error.is_retryable() => "call again after Error::retry_after",
//!         Some(_) => "fix what the text says",
//!     }
//! }
//! # let error = Error::store("the disk is full");
//! # assert_eq!(advice(&error), "fix what the text says");
//! ```
//!
//! # What it does not do
//!
//! - It does not verify tokens: that is the API's part.
//! - It has no async API. A source that itself needs a runtime can block on it.
//! - It is no keychain: [`FileStore`] relies on the rights of a file (Windows: of its directory). For another place there is
//!   the trait [`TokenStore`].
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
//! Features are additive. Default are `rustls`, `gzip` and `json`. All but the last five lines forward to the ureq feature of
//! the same name and imply `ureq`.
//!
//! | feature | what it adds |
//! |---|---|
//! | `rustls` (default), `rustls-no-provider`, `native-tls`, `platform-verifier` | TLS; without one of them only plain http to loopback works. With `native-tls` alone, `configure` has to choose ureq's `TlsProvider::NativeTls` |
//! | `gzip` (default), `brotli`, `charset` | decoding of answers |
//! | `json` (default) | `send_json`, `read_json` |
//! | `multipart`, `cookies`, `socks-proxy` | as in ureq |
//! | `ureq` | the client and `oauth2`, without any of the above |
//! | `browser` | [`BrowserLogin`]: a login by the browser on this machine |
//! | `key` | [`SigningKey`]: assertions signed by a key in a PEM file |
//! | `file-store` | [`FileStore`]: the token in a file, shared by processes |
//! | `store-kit` | `store_kit`: tests for a [`TokenStore`] of your own |
//!
//! With `default-features = false` and no feature at all there is a session on a source of your own, and no HTTP.
//!
//! # Versions
//!
//! Needs rustc 1.85, as ureq does. A newer one is asked for in a minor release, never in a patch. `ureq`'s types are part
//! of this API, so a new major version of ureq is one here.
// What a build without the feature does not have is linked where all features are documented.
#![doc = ""]
#![cfg_attr(feature = "ureq", doc = "[`Client`]: crate::Client")]
#![cfg_attr(feature = "ureq", doc = "[`Answer`]: crate::Answer")]
#![cfg_attr(feature = "ureq", doc = "[`TokenIn`]: crate::TokenIn")]
#![cfg_attr(feature = "ureq", doc = "[`Outgoing`]: crate::Outgoing")]
#![cfg_attr(feature = "ureq", doc = "[`ClientBuilder`]: crate::ClientBuilder")]
#![cfg_attr(feature = "ureq", doc = "[`MaxRedirects`]: crate::MaxRedirects")]
#![cfg_attr(feature = "ureq", doc = "[`NotReplayed`]: crate::NotReplayed")]
#![cfg_attr(feature = "ureq", doc = "[`oauth2`]: crate::oauth2")]
#![cfg_attr(feature = "ureq", doc = "[`RefreshToken`]: crate::oauth2::RefreshToken")]
#![cfg_attr(feature = "ureq", doc = "[`ClientCredentials`]: crate::oauth2::ClientCredentials")]
#![cfg_attr(feature = "ureq", doc = "[`DeviceCode`]: crate::oauth2::DeviceCode")]
#![cfg_attr(feature = "ureq", doc = "[`Grant`]: crate::oauth2::Grant")]
#![cfg_attr(
    not(feature = "ureq"),
    doc = "[`Grant`]: https://docs.rs/ureq-auth/latest/ureq_auth/oauth2/struct.Grant.html"
)]
#![cfg_attr(feature = "browser", doc = "[`BrowserLogin`]: crate::oauth2::BrowserLogin")]
#![cfg_attr(
    not(feature = "browser"),
    doc = "[`BrowserLogin`]: https://docs.rs/ureq-auth/latest/ureq_auth/oauth2/struct.BrowserLogin.html"
)]
#![cfg_attr(feature = "key", doc = "[`SigningKey`]: crate::oauth2::SigningKey")]
#![cfg_attr(
    not(feature = "key"),
    doc = "[`SigningKey`]: https://docs.rs/ureq-auth/latest/ureq_auth/oauth2/struct.SigningKey.html"
)]
#![cfg_attr(feature = "ureq", doc = "[`Issuer`]: crate::oauth2::Issuer")]
#![cfg_attr(feature = "ureq", doc = "[`Revocation`]: crate::oauth2::Revocation")]
#![cfg_attr(feature = "ureq", doc = "[`init`]: crate::init()")]
#![cfg_attr(feature = "ureq", doc = "[`client`]: crate::client()")]
#![cfg_attr(not(feature = "ureq"), doc = "[`Answer`]: https://docs.rs/ureq-auth/latest/ureq_auth/struct.Answer.html")]
#![cfg_attr(not(feature = "ureq"), doc = "[`TokenIn`]: https://docs.rs/ureq-auth/latest/ureq_auth/struct.TokenIn.html")]
#![cfg_attr(
    not(feature = "ureq"),
    doc = "[`Outgoing`]: https://docs.rs/ureq-auth/latest/ureq_auth/struct.Outgoing.html"
)]
#![cfg_attr(not(feature = "ureq"), doc = "[`Client`]: https://docs.rs/ureq-auth/latest/ureq_auth/struct.Client.html")]
#![cfg_attr(
    not(feature = "ureq"),
    doc = "[`ClientBuilder`]: https://docs.rs/ureq-auth/latest/ureq_auth/struct.ClientBuilder.html"
)]
#![cfg_attr(
    not(feature = "ureq"),
    doc = "[`MaxRedirects`]: https://docs.rs/ureq-auth/latest/ureq_auth/struct.MaxRedirects.html"
)]
#![cfg_attr(
    not(feature = "ureq"),
    doc = "[`NotReplayed`]: https://docs.rs/ureq-auth/latest/ureq_auth/struct.NotReplayed.html"
)]
#![cfg_attr(not(feature = "ureq"), doc = "[`oauth2`]: https://docs.rs/ureq-auth/latest/ureq_auth/oauth2/index.html")]
#![cfg_attr(
    not(feature = "ureq"),
    doc = "[`RefreshToken`]: https://docs.rs/ureq-auth/latest/ureq_auth/oauth2/struct.RefreshToken.html"
)]
#![cfg_attr(
    not(feature = "ureq"),
    doc = "[`ClientCredentials`]: https://docs.rs/ureq-auth/latest/ureq_auth/oauth2/struct.ClientCredentials.html"
)]
#![cfg_attr(
    not(feature = "ureq"),
    doc = "[`DeviceCode`]: https://docs.rs/ureq-auth/latest/ureq_auth/oauth2/struct.DeviceCode.html"
)]
#![cfg_attr(
    not(feature = "ureq"),
    doc = "[`Issuer`]: https://docs.rs/ureq-auth/latest/ureq_auth/oauth2/struct.Issuer.html"
)]
#![cfg_attr(
    not(feature = "ureq"),
    doc = "[`Revocation`]: https://docs.rs/ureq-auth/latest/ureq_auth/oauth2/struct.Revocation.html"
)]
#![cfg_attr(not(feature = "ureq"), doc = "[`init`]: https://docs.rs/ureq-auth/latest/ureq_auth/fn.init.html")]
#![cfg_attr(not(feature = "ureq"), doc = "[`client`]: https://docs.rs/ureq-auth/latest/ureq_auth/fn.client.html")]
#![cfg_attr(
    all(
        feature = "file-store",
        any(target_os = "linux", target_os = "android", target_os = "freebsd", target_vendor = "apple", windows)
    ),
    doc = "[`FileStore`]: crate::FileStore"
)]
#![cfg_attr(
    not(all(
        feature = "file-store",
        any(target_os = "linux", target_os = "android", target_os = "freebsd", target_vendor = "apple", windows)
    )),
    doc = "[`FileStore`]: https://docs.rs/ureq-auth/latest/ureq_auth/struct.FileStore.html"
)]
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
pub use http::{Answer, Client, ClientBuilder, MaxRedirects, NotReplayed, Outgoing, TokenIn};
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
    any(target_os = "linux", target_os = "android", target_os = "freebsd", target_vendor = "apple", windows)
))]
pub use store::FileStore;
pub use store::{Exclusive, MemoryStore, Stored, TokenStore};
pub use token::Token;
#[doc(no_inline)]
pub use zeroize::Zeroizing;

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
        #[doc = include_str!("../docs/apis.md")]
        mod apis {}
        #[doc = include_str!("../docs/discovery.md")]
        mod discovery {}
        #[doc = include_str!("../docs/errors.md")]
        mod errors {}
        #[doc = include_str!("../docs/http-status-as-error.md")]
        mod http_status_as_error {}
        #[cfg(all(feature = "browser", feature = "key", feature = "json", feature = "file-store", unix))]
        #[doc = include_str!("../docs/logins.md")]
        mod logins {}
        #[doc = include_str!("../docs/tenants.md")]
        mod tenants {}
        #[cfg(all(
            feature = "file-store",
            any(target_os = "linux", target_os = "android", target_os = "freebsd", target_vendor = "apple", windows)
        ))]
        #[doc = include_str!("../docs/token-files.md")]
        mod token_files {}
    }
}
