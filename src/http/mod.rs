//! The HTTP side: an agent whose calls carry the session's token to its origins, and there alone.

#[cfg(feature = "ureq")]
pub(crate) mod aside;
#[cfg(feature = "ureq")]
pub(crate) mod body;
pub mod challenge;
#[cfg(feature = "ureq")]
mod client;
#[cfg(feature = "ureq")]
pub(crate) mod connector;
#[cfg(feature = "ureq")]
mod middleware;
#[cfg(feature = "ureq")]
pub(crate) mod origin;
#[cfg(feature = "ureq")]
pub(crate) mod redirect;
#[cfg(feature = "ureq")]
mod refusal;
#[cfg(feature = "ureq")]
pub(crate) mod resolver;
#[cfg(feature = "ureq")]
mod token_in;

#[cfg(feature = "ureq")]
pub use client::{Client, ClientBuilder};
#[cfg(feature = "ureq")]
pub use middleware::{MaxRedirects, NotReplayed};
#[cfg(feature = "ureq")]
pub use refusal::Answer;
#[cfg(feature = "ureq")]
pub use token_in::{Outgoing, TokenIn};
