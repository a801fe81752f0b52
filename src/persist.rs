//! How a session and its store go together: the order of steps that loses no token.
//!
//! ```text
//!   lock ─► re-read ─► another token, and it lives? ── yes ──► publish it                        (no token call)
//!                        │ no: the stored refresh token is the one to use
//!                        ▼
//!                      prepare ─► exchange ─► save ─► publish ─► unlock ─► tell observers
//! ```
//!
//! - Nothing is exchanged outside the exclusive section, nor before the store is known to be writable.
//! - A token is stored before any thread of ours uses it. If that fails it is used all the same, the store is *behind*, and
//!   catches up at the next chance: the next call, or the drop of the session. Nothing is exchanged before that.
//! - Tokens are compared by their text. Whoever finds another one than it knows takes it: it is the later one.
//! - What was refused is marked, and only while it is there. Nothing is removed but by a logout.
//! - What was stored for another owner is neither used nor overwritten.
//! - [`set`](crate::Session::set) and [`end`](crate::Session::end) change the flight first, then the store follows the
//!   flight: of several at once, the last one stands in both.

mod keeper;
mod section;

use std::time::Duration;

use crate::events::Event;
use crate::session::{Errand, Shared};
use crate::source::SourceError;
use crate::token::{Secret, Token};
use crate::{Error, Result};

pub(crate) use self::keeper::Keeper;

/// What a session does with its store. A trait of one type, so that a program that never names a store does not carry the
/// code: only [`SessionBuilder::store`](crate::SessionBuilder::store) makes the vtable.
pub(crate) trait Keep: Send + Sync {
    /// What is stored when the session is built.
    fn restore(&self, shared: &Shared) -> Result<Option<Token>>;

    /// Does the store hold nothing but what it held at the last look? Then a session that has ended stays so: otherwise
    /// another process has logged in.
    fn has_nothing_new(&self) -> bool;

    /// The leader's way to the next token. `stands`: is its flight still the one under way?
    fn obtain<'a>(
        &'a self,
        shared: &Shared,
        previous: Option<&Token>,
        stands: &dyn Fn() -> bool,
        errand: Errand,
    ) -> Obtained<'a>;

    /// A token was put into the flight by somebody, or taken out of it. A new one is told under the flight's mutex, so no
    /// leader can see the one without the other.
    fn fall_behind(&self, behind: Behind);

    /// Is there something that the store should hold and does not, and that this thread can do something about? Asked with
    /// every call, under the flight's mutex.
    fn is_behind(&self) -> bool;

    /// Has the store follow the flight, if it is behind. Was there something to do?
    fn catch_up(&self, shared: &Shared, timeout: Duration) -> Result<bool>;

    /// The same after a logout. Returns what was stored until then.
    fn empty(&self, shared: &Shared) -> Result<Option<Token>>;

    /// The last chance, when the session is dropped.
    fn finish(&self, shared: &Shared) {
        if self.is_behind() {
            if let Ok(true) = shared.report(self.catch_up(shared, LAST_CHANCE)) {
                shared.emit(Event::SavedLate);
            }
        }
    }
}

/// How long the drop of a session waits for the lock.
const LAST_CHANCE: Duration = Duration::from_secs(2);

/// The flight's token is not in the store.
#[derive(Clone, Copy)]
pub(crate) enum Behind {
    /// It was put there, or taken away, by `set` or `end`: that goes over whatever is stored.
    ByHand,
    /// It came by itself, and goes over nothing but what this session knows.
    ByItself,
}

/// How the way to the next token ended, and the exclusive section, which stays until the token is out.
pub(crate) struct Obtained<'a> {
    pub(crate) answer: Answer,
    /// What observers are to be told when all is done.
    pub(crate) news: News,
    stay: Option<Box<dyn Stay + 'a>>,
}

/// A stay in the exclusive section, which its drop ends. A trait for the same reason as [`Keep`].
trait Stay {
    /// Has the store follow the flight, if it is behind. Was there something to do?
    fn catch_up(&mut self, shared: &Shared) -> Result<bool>;
}

pub(crate) enum Answer {
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

/// What has happened in the store on the way.
#[derive(Default)]
pub(crate) struct News {
    pub(crate) save_error: Option<Error>,
    pub(crate) saved_late: bool,
}

impl Obtained<'_> {
    pub(crate) fn without_store(answer: Answer) -> Self {
        Obtained { answer, news: News::default(), stay: None }
    }

    /// Leaves the section: all is done that is done inside.
    pub(crate) fn leave(&mut self) {
        self.stay = None;
    }

    /// The same where the flight was superseded: what was put into it by hand goes into the store.
    pub(crate) fn leave_superseded(&mut self, shared: &Shared) {
        if let Some(mut stay) = self.stay.take() {
            // Whoever put it there does this as well, and reports what stands in the way.
            let _reported = stay.catch_up(shared);
        }
    }
}
