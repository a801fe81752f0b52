//! Where a new token comes from, and what a source says when it has none.

mod error;
#[cfg(feature = "ureq")]
mod from_ureq;

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::{Result, Token};

pub use error::SourceError;

/// Where a new token comes from.
///
/// Any closure `Fn(Option<&Token>) -> Result<Token, SourceError>` is one; the grants in `oauth2` are others. It is called
/// by one thread at a time, with no lock held, and may block, fail and panic as it likes: the session sorts it out. Only a
/// call that [`Session::set`](crate::Session::set) or [`end`](crate::Session::end) has overtaken may still be on its way
/// when the next one comes, with other credentials.
///
/// It must not call the API through the session that it serves; the session answers that with
/// [`ErrorKind::Reentrant`](crate::ErrorKind::Reentrant) instead of a deadlock.
pub trait TokenSource: Send + Sync {
    /// Gets a new token. The session's clock for its life starts *before* this call.
    ///
    /// # Errors
    ///
    /// The outcomes are told apart by [`SourceError`]'s constructors, and what the session does next depends on it.
    fn fetch(&self, request: Fetch<'_>) -> Result<Token, SourceError>;

    /// Is the source fit for use? Asked once, when a session is built on it, so that a bad address is an error there
    /// and not at the first call.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), with what to change.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Whose tokens these are: the client's name and the token endpoint, as a text without a secret. A token that was stored
    /// for another owner is not used, and not overwritten. `None`: this source does not tell, and any token will do.
    fn owner(&self) -> Option<String> {
        None
    }

    /// The refresh token that the source has of its own and would send next, if the session's token has none. A logout
    /// revokes it. A source around a grant passes on the grant's. `None`: it has none, or that one has been replaced.
    fn refresh_token(&self) -> Option<Zeroizing<String>> {
        None
    }
}

/// What a [`TokenSource`] is told.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Fetch<'a> {
    /// The token to be replaced: its refresh token is the one to use. `None` for the first one.
    pub previous: Option<&'a Token>,
    /// What is left of the refresh's budget: nobody waits for an answer that takes longer.
    pub time_left: Duration,
}

impl<'a> Fetch<'a> {
    /// For a test that asks a source by hand, and a source that asks another.
    pub fn new(previous: Option<&'a Token>, time_left: Duration) -> Self {
        Fetch { previous, time_left }
    }
}

impl<F> TokenSource for F
where
    F: Fn(Option<&Token>) -> Result<Token, SourceError> + Send + Sync,
{
    fn fetch(&self, request: Fetch<'_>) -> Result<Token, SourceError> {
        self(request.previous)
    }
}

// Once for both pointers, so that a method with a default is not forgotten in one of them.
macro_rules! forward {
    ($($header:tt)*) => {
        $($header)* {
            fn fetch(&self, request: Fetch<'_>) -> Result<Token, SourceError> {
                (**self).fetch(request)
            }

            fn check(&self) -> Result<()> {
                (**self).check()
            }

            fn owner(&self) -> Option<String> {
                (**self).owner()
            }

            fn refresh_token(&self) -> Option<Zeroizing<String>> {
                (**self).refresh_token()
            }
        }
    };
}

forward! {
    /// One of several kinds, chosen at run time.
    impl TokenSource for Box<dyn TokenSource>
}
forward! {
    /// One that somebody else holds as well.
    impl<T: TokenSource + ?Sized> TokenSource for Arc<T>
}
