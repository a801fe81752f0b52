//! Token sources for OAuth 2.0: one type per grant, each asking the token endpoint (RFC 6749 §3.2).
//!
//! - [`RefreshToken`] (§6): on behalf of a user who has logged in before.
//! - [`ClientCredentials`] (§4.4): on the program's own behalf.
//! - [`Grant`] (§4.5): any other, such as JWT bearer (RFC 7523 §2.1) and token exchange (RFC 8693), with values made for each attempt.
//!
//! And how a session begins and ends:
//!
//! - `BrowserLogin` (RFC 8252, feature `browser`): a user logs in by the browser on this machine.
//! - [`DeviceCode`] (RFC 8628): a user logs in on a machine without a browser.
//! - [`Issuer`] (RFC 8414, OpenID Connect Discovery): the server tells where its endpoints are.
//! - [`Revocation`] (RFC 7009): a logout that the server knows of.
//!
//! They use an agent of their own: with time-outs, without redirects, and with a new connection for each request, since
//! on a kept one that the server has just closed nobody can tell whether it has seen the request. What ureq needs to
//! know to reach the server (a private CA, a proxy) goes into `configure`; a connector or a resolver of your own into
//! `make_agent`.
//!
//! Every answer is sorted into the three outcomes of [`SourceError`](crate::SourceError). Error texts hold the server's
//! `error` and `error_description`, reduced to printable ASCII, cut, and without the secrets that were sent or what looks
//! like a token.
//!
//! Tokens, secrets and all that they were read from or written into are wiped before they are freed. Copies in the buffers of
//! ureq and of a TLS library are not: an allocator that wipes what is freed takes care of those. Core dumps (`ulimit -c 0`,
//! `prctl(PR_SET_DUMPABLE, 0)`) and swapped-out pages (`mlock`) are up to the program. `docs/threats.md` in the repository counts
//! the copies.

#[macro_use]
mod settings;

pub(crate) mod answer;
mod attempt;
#[cfg(feature = "browser")]
mod browser_login;
#[cfg(any(feature = "browser", all(test, not(model)), fuzzing))]
pub(crate) mod callback;
mod claims;
mod client_assertion;
mod client_credentials;
pub(crate) mod date;
pub(crate) mod device_code;
pub(crate) mod discovery;
mod endpoint;
mod fields;
mod form;
mod grant;
mod quote;
mod refresh_token;
pub(crate) mod revocation;
#[cfg(feature = "key")]
mod signing_key;
mod texts;

pub use attempt::Attempt;
#[cfg(feature = "browser")]
pub use browser_login::{BrowserLogin, BrowserProgress};
pub use claims::Claims;
pub use client_credentials::ClientCredentials;
pub use device_code::{DeviceCode, DevicePrompt};
pub use discovery::{Issuer, IssuerBuilder};
pub use grant::Grant;
pub use refresh_token::RefreshToken;
pub use revocation::Revocation;
#[cfg(feature = "key")]
pub use signing_key::SigningKey;
