//! What a session does with its store: the order of steps that loses no token.
//!
//! ```text
//!   lock ─► re-read ─► another token, and it lives? ── yes ──► publish it                        (no token call)
//!                        │ no: the stored refresh token is the one to use
//!                        ▼
//!                      prepare ─► exchange ─► save ─► publish ─► unlock ─► tell observers
//! ```
//!
//! - Nothing is exchanged without the store's lock, nor before the store is known to be writable. Before each attempt the
//!   store is asked whether the lock still stands: a lease may have run out.
//! - A token is stored before any thread of ours uses it. If that fails it is used all the same, is marked unsaved, and is
//!   saved at the next chance: the next call, or the drop of the session. Nothing is exchanged before that.
//! - Tokens are compared by their text. Whoever finds another one than it knows takes it: it is the later one.
//! - What was refused is marked, and only while it is there. Nothing is removed but by a logout.
//! - What was stored for another owner is neither used nor overwritten.
//! - [`set`](crate::Session::set) and [`end`](crate::Session::end) change the flight first, then the store follows the
//!   flight: of several at once, the last one stands in both.

mod known;
mod locked;
mod persistent;

use std::time::Duration;

use super::view::{Refresh, View};
use crate::source::SourceError;
use crate::token::{Secret, Token};
use crate::{Error, Result};

pub(super) use self::persistent::Persistent;

/// What a session does with its store. A trait of one type, so that a program that never names a store does not carry the
/// code: only [`SessionBuilder::store`](crate::SessionBuilder::store) makes the vtable.
pub(super) trait Persist: Send + Sync {
    /// What is stored when the session is built, and whether the server has refused to renew it.
    fn restore(&self, view: View<'_>) -> Result<Option<(Token, bool)>>;

    /// Does the store hold nothing but what it held at the last look? Then a session that has ended stays so: otherwise
    /// another process has logged in.
    fn has_nothing_new(&self) -> bool;

    /// The leader's way to the next token.
    fn obtain<'a>(&'a self, view: View<'_>, exchange: &Exchange<'_>) -> Obtained<'a>;

    /// A token was put into the flight by somebody, or taken out of it. A new one is told under the flight's mutex, so no
    /// leader can see the one without the other.
    fn mark_unsaved(&self, unsaved: Unsaved);

    /// Is there something that the store should hold and does not, and that this thread can do something about? Asked with
    /// every call, under the flight's mutex.
    fn has_unsaved(&self) -> bool;

    /// Has the store follow the flight, if something is unsaved. Was there something to do?
    fn save_unsaved(&self, view: View<'_>, timeout: Duration) -> Result<bool>;

    /// The same after a logout. Returns what was stored until then.
    fn empty(&self, view: View<'_>) -> Result<Option<Token>>;
}

/// The flight's token is not in the store.
#[derive(Clone, Copy)]
pub(super) enum Unsaved {
    /// It was put there, or taken away, by `set` or `end`: that overwrites whatever is stored.
    ByHand,
    /// It came from a refresh, and overwrites only what this session last saw.
    ByRefresh,
}

/// One flight, as far as its store takes part in it.
pub(super) struct Exchange<'a> {
    pub(super) previous: Option<&'a Token>,
    pub(super) refresh: Refresh,
    /// Is the flight still the one under way?
    pub(super) stands: &'a dyn Fn() -> bool,
    /// Asks the source with a token to be renewed.
    pub(super) ask: &'a dyn Fn(Option<&Token>, &mut dyn Between) -> Answer,
}

/// What happens before an attempt and between two: with a store, another token may be there by now.
pub(super) trait Between {
    /// Does the store's lock stand for as long as an attempt may take? An error: nothing may be sent.
    fn may_send(&mut self) -> Result<(), SourceError>;

    /// Looks again.
    fn look(&mut self, used: Option<&Token>) -> Look;

    /// A new refresh token has come with an answer of no other use: `token` has it.
    fn keep(&mut self, token: &Token);

    /// The server has refused to renew `used`, and nothing else is there.
    fn refused(&mut self, used: Option<&Token>, error: SourceError) -> SourceError;
}

/// What a look between two attempts has found.
pub(super) enum Look {
    /// Nothing new.
    Same,
    /// Another token, which is to be renewed instead.
    Other(Token),
    /// One that serves as it is.
    Serves(Token),
}

pub(super) enum Answer {
    /// By a token call, stored if there is a store.
    Fetched(Token),
    /// From the store, without a token call.
    Adopted(Token),
    Failed {
        error: SourceError,
        /// A refresh token that came with a refused answer.
        renewed: Option<Secret>,
    },
    Superseded,
}

impl Answer {
    fn failed(error: SourceError) -> Self {
        Answer::Failed { error, renewed: None }
    }
}

/// How the way to the next token ended, and the store's lock, which is held until the token is out.
pub(super) struct Obtained<'a> {
    pub(super) answer: Answer,
    pub(super) notices: Notices,
    lock: Option<Box<dyn Lock + 'a>>,
}

/// What has happened to the store on the way: observers are told when all is done.
#[derive(Default)]
pub(super) struct Notices {
    pub(super) save_error: Option<Error>,
    pub(super) saved_late: bool,
}

/// The store's lock, which its drop lets go. A trait for the same reason as [`Persist`].
trait Lock {
    /// Has the store follow the flight, if something is unsaved. Was there something to do?
    fn save_unsaved(&mut self, view: View<'_>) -> Result<bool>;
}

impl Obtained<'_> {
    pub(super) fn without_store(answer: Answer) -> Self {
        Obtained { answer, notices: Notices::default(), lock: None }
    }

    /// All is done that is done under the lock.
    pub(super) fn unlock(&mut self) {
        self.lock = None;
    }

    /// The same where the flight was superseded: what was put into it by hand goes into the store.
    pub(super) fn unlock_superseded(&mut self, view: View<'_>) {
        if let Some(mut lock) = self.lock.take() {
            // Whoever put it there does this as well, and reports what stands in the way.
            let _reported = lock.save_unsaved(view);
        }
    }
}
