//! Claims that a store's sections have left in the row when they ended: the store's next section takes them over.

use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) name: i64,
    /// The token of its section is not saved. Several sessions may share the store, and one of them has that token: until it
    /// has saved, the others may not spend the one that it has replaced.
    pub(crate) owes_save: bool,
}

/// One of them at most is in the row, and only who locks that can tell which.
#[derive(Default)]
pub(crate) struct Left(Mutex<Vec<Claim>>);

impl Left {
    fn claims(&self) -> MutexGuard<'_, Vec<Claim>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn all(&self) -> Vec<Claim> {
        self.claims().clone()
    }

    pub(crate) fn leave(&self, claim: Claim) {
        self.claims().push(claim);
    }

    /// Of those that were there before the row was locked, this one was in it. The others never come back.
    pub(crate) fn keep(&self, before: &[Claim], in_row: Option<Claim>) {
        self.claims().retain(|claim| Some(*claim) == in_row || !before.contains(claim));
    }
}
