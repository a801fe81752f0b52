//! What a store's sections have left with the engine when they ended without its word: leases that the next one takes over.

/// What a lease holds while it is a section's.
pub(crate) type Name = [u8; 16];

#[derive(Default)]
pub(crate) struct Left {
    /// Of sections that are over, and whose lease may still stand.
    over: Vec<Name>,
    /// Of sections that may have got the lease, and have not heard so. Each is used for the next attempt: however many fail
    /// while the engine is away, there are no more names than threads.
    unheard: Vec<Name>,
    /// A token could not be saved: nobody else may spend the one that it has replaced.
    pub(crate) owes_save: bool,
}

impl Left {
    /// The name of the next section, if one is to be used again.
    pub(crate) fn name(&mut self) -> Option<Name> {
        self.unheard.pop()
    }

    /// Whose leases it may take over.
    pub(crate) fn names(&self) -> Vec<Name> {
        self.over.iter().chain(&self.unheard).copied().collect()
    }

    pub(crate) fn keep_unheard(&mut self, name: Name) {
        self.unheard.push(name);
    }

    pub(crate) fn keep(&mut self, name: Name) {
        self.over.push(name);
    }

    /// A section has the lease, so no other has it. If that was free, somebody else may have saved, and nothing is owed.
    pub(crate) fn has_entered(&mut self, was_free: bool) {
        self.over.clear();
        self.owes_save &= !was_free;
    }
}
