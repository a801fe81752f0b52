//! Where tokens outlive the process: the trait, what is stored, and a store in memory.
//!
//! A store holds one token, the one of one login. Sessions in any number of processes may share it; what keeps them from
//! using one refresh token twice is the exclusive section, which one of them at a time is in.

#[cfg(all(
    feature = "file-store",
    any(target_os = "linux", target_os = "android", target_os = "freebsd", target_vendor = "apple", windows)
))]
mod file;
mod memory;
pub(crate) mod text;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Tick;
use crate::token::Secret;
use crate::{Error, Result, Token};

#[cfg(all(
    feature = "file-store",
    any(target_os = "linux", target_os = "android", target_os = "freebsd", target_vendor = "apple", windows)
))]
pub use file::FileStore;
pub use memory::MemoryStore;

/// Where a session keeps its token, so that the next process starts with it and processes beside it share it.
///
/// A keychain, a database row, a page of flash: what it needs is to hold one text ([`Stored::to_text`]) and to let one
/// session at a time into its exclusive section. `FileStore` (feature `file-store`) and [`MemoryStore`] are two.
///
/// The session calls it only when it is built, refreshes, is given a token, is ended, or is dropped: a call with a fresh
/// token touches no store, unless that token could not be stored before. No lock of the session's is held meanwhile.
pub trait TokenStore: Send + Sync {
    /// What is stored, read outside the exclusive section: the state before or after somebody's save, never half of it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Store`](crate::ErrorKind::Store) if that cannot be told. An empty store is no error; one whose content
    /// cannot be read is.
    fn load(&self) -> Result<Option<Stored>>;

    /// Enters the exclusive section: until the value returned is dropped, nobody else is in it, in this process or
    /// another. It must end with the process, however that ends.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) ([`Error::store_busy`]) if somebody else stays in it for longer
    /// than `timeout`; [`ErrorKind::Store`](crate::ErrorKind::Store) for the rest.
    fn exclusive(&self, timeout: Duration) -> Result<Box<dyn Exclusive + '_>>;

    /// What to call it in an error: "the token file /var/lib/my-program/token". No secret.
    fn place(&self) -> String {
        "the token store".to_owned()
    }
}

// Once for both pointers, so that a method with a default is not forgotten in one of them.
macro_rules! forward {
    ($($header:tt)*) => {
        $($header)* {
            fn load(&self) -> Result<Option<Stored>> {
                (**self).load()
            }

            fn exclusive(&self, timeout: Duration) -> Result<Box<dyn Exclusive + '_>> {
                (**self).exclusive(timeout)
            }

            fn place(&self) -> String {
                (**self).place()
            }
        }
    };
}

forward!(impl<S: TokenStore + ?Sized> TokenStore for Box<S>);
forward!(impl<S: TokenStore + ?Sized> TokenStore for Arc<S>);

/// A store's exclusive section. Dropping it ends it.
pub trait Exclusive {
    /// What is stored now.
    ///
    /// # Errors
    ///
    /// As [`TokenStore::load`].
    fn load(&mut self) -> Result<Option<Stored>>;

    /// Makes as sure as can be that [`save`](Exclusive::save) will succeed. Called before a refresh token is spent: a new
    /// one that cannot be stored is lost with the process.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Store`](crate::ErrorKind::Store), with what stands in the way.
    fn prepare(&mut self) -> Result<()>;

    /// Is the section still this one's, and will it be for `needed` longer? Asked before *each* token request, the first one
    /// included, with the time that this one may take; a save comes after it, for which the store adds its own time-out.
    ///
    /// For a store whose section can be lost while its holder lives: a lease that runs out, a connection that breaks. It renews
    /// the lease, or looks whether the connection is there. A refresh token that two sessions spend ends the login (RFC 9700
    /// section 4.14.2). A lock that only its holder's end takes away, the operating system's own say, has nothing to do here:
    /// that is the default.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) ([`Error::store_busy`]) if the section is lost,
    /// [`ErrorKind::Store`](crate::ErrorKind::Store) for the rest. Nothing is sent then, and the refresh ends; the session tries
    /// again after a pause, from the lock on.
    fn hold_for(&mut self, needed: Duration) -> Result<()> {
        let _until_the_holder_ends = needed;
        Ok(())
    }

    /// Stores a token in the place of what is there. When this returns, a power cut does not undo it.
    ///
    /// Where the section can be lost, the store itself refuses a save under a lost one, in one step with the save: what is
    /// there then is another session's, and later. Where a lock ends with its transaction, a save may end the section; what
    /// is asked of it after that enters it again, and is refused if somebody has saved meanwhile.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Store`](crate::ErrorKind::Store): what was stored before is still there, whole, or this is there but may
    /// not outlast a power cut. The session saves it again.
    fn save(&mut self, stored: &Stored) -> Result<()>;

    /// Is the store empty because something unreadable was set aside, and not because somebody has logged out? Then other
    /// sessions go on with what they hold. Asked when an empty store is found; an ordinary store has nothing to say.
    fn was_set_aside(&mut self) -> bool {
        false
    }

    /// Empties the store, for a logout. An empty store stays empty, and that is no error. What was set aside goes too.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Store`](crate::ErrorKind::Store).
    fn remove(&mut self) -> Result<()>;
}

/// A token as it is stored: the access token, what came with it, its life, and when it came.
///
/// To a store it is a text that it need not understand. Its `Debug` shows no secret, its memory is wiped on drop.
#[derive(Clone)]
pub struct Stored {
    /// None where an answer brought a new refresh token and no access token that can be used.
    access: Option<Secret>,
    refresh: Option<Secret>,
    scope: Option<String>,
    lifetime: Option<Duration>,
    /// Since 1970, by the wall clock corrected by the server's. None if no clock told the time.
    received: Option<Duration>,
    /// Whose it is: see [`TokenSource::owner`](crate::TokenSource::owner).
    owner: Option<String>,
    /// The authorization server will not renew it. It stays: the access token may live, and a server may have been wrong.
    refused: Option<Refusal>,
}

/// What an authorization server said when it refused to renew a token: for all who come upon that token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    pub(crate) message: String,
    pub(crate) code: Option<String>,
}

impl Stored {
    /// The token as it is to be stored at `now`, which is that time of day.
    pub(crate) fn of(token: &Token, now: Tick, time_of_day: Option<Duration>) -> Self {
        let life = token.life;
        // Not by way of when its life began: that may have been before the clock's zero, which on Linux is the device's start.
        let age = life.lifetime.zip(life.ends_at).map_or(Duration::ZERO, |(lifetime, end)| {
            lifetime.saturating_add(now.since(end)).saturating_sub(end.since(now))
        });
        Stored {
            access: token.has_access().then(|| Secret::new(token.secret().to_owned())),
            refresh: token.refresh_secret().map(|refresh| Secret::new(refresh.to_owned())),
            scope: token.scope().map(str::to_owned),
            lifetime: life.lifetime,
            received: time_of_day.map(|time| time.saturating_sub(age)),
            owner: None,
            refused: None,
        }
    }

    pub(crate) fn owned_by(mut self, owner: Option<&str>) -> Self {
        self.owner = owner.map(str::to_owned);
        self
    }

    /// Where no owner is known, whoever had the login before still has it.
    pub(crate) fn or_owned_by(mut self, before: Option<&Stored>) -> Self {
        if self.owner.is_none() {
            self.owner = before.and_then(|before| before.owner.clone());
        }
        self
    }

    /// The same token, refused.
    pub(crate) fn refused_with(mut self, refusal: Refusal) -> Self {
        self.refused = Some(refusal);
        self
    }

    pub(crate) fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    /// Has the authorization server refused to renew this token? Such a text replaces none that is lost: a store with a lease
    /// need not keep the others out until it is saved.
    pub fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        self.refused.as_ref()
    }

    pub(crate) fn to_token(&self) -> Result<Token> {
        let mut token = match (&self.access, &self.refresh) {
            (Some(access), _) => Token::new(access.secret())?,
            (None, Some(refresh)) => Token::of_refresh(refresh.clone())?,
            (None, None) => return Err(Error::store("the stored token has neither an access nor a refresh token")),
        };
        token = token.with_received_at(self.received);
        if let Some(refresh) = &self.refresh {
            token = token.with_refresh_token(refresh.secret());
        }
        if let Some(scope) = &self.scope {
            token = token.with_scope(scope.as_str());
        }
        if let Some(lifetime) = self.lifetime {
            token = token.with_expires_in(lifetime);
        }
        Ok(token)
    }

    pub(crate) fn has_access_of(&self, token: &Token) -> bool {
        self.access() == token.secret()
    }

    /// Is it the same token? Texts are compared, never times: clocks differ, texts do not.
    pub(crate) fn is_same_as(&self, other: &Stored) -> bool {
        self.access() == other.access() && self.key() == other.key()
    }

    /// Is it renewed with the same credential? Then what the server says of one it says of the other.
    pub(crate) fn has_key_of(&self, token: &Token) -> bool {
        self.key() == token.refresh_secret().unwrap_or(token.secret())
    }

    pub(crate) fn has_key_of_stored(&self, other: &Stored) -> bool {
        self.key() == other.key()
    }

    fn access(&self) -> &str {
        self.access.as_ref().map_or("", Secret::secret)
    }

    fn key(&self) -> &str {
        self.refresh.as_ref().map_or(self.access(), Secret::secret)
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stored { refresh, scope, lifetime, received, owner, refused, .. } = self;
        f.debug_struct("Stored")
            .field("refresh", refresh)
            .field("scope", scope)
            .field("lifetime", lifetime)
            .field("received", received)
            .field("owner", owner)
            .field("refused", refused)
            .finish_non_exhaustive()
    }
}
