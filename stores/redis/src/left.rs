//! What a store's sections have left with the engine when they ended without its word: leases that the next one takes over.

/// What a lease holds while it is a section's, and no other section's ever: a command of one that is over may still be on
/// its way.
pub(crate) type Name = [u8; 16];

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) name: Name,
    /// The token of its section is not saved. Several sessions may share the store, and one of them has that token: until it
    /// has saved, the others may not spend the one that it has replaced.
    pub(crate) owes_save: bool,
    /// The section asked for it, and has not heard whether it got it: there was no section then.
    pub(crate) is_unheard: bool,
}

/// How many are remembered that may never have been there: each costs an attempt while the engine is away. One that is
/// forgotten ends by itself.
const MOST_UNHEARD: usize = 64;

/// The same for those that may have taken over one that owes a save. So many attempts take longer than such a lease lasts.
const MOST_OWING: usize = 1024;

#[derive(Default)]
pub(crate) struct Left(Vec<Lease>);

impl Left {
    /// Those that owe a save come first.
    pub(crate) fn all(&self) -> Vec<Lease> {
        let mut all = self.0.clone();
        all.sort_by_key(|lease| !lease.owes_save);
        all
    }

    pub(crate) fn leave(&mut self, lease: Lease) {
        let most = if lease.owes_save { MOST_OWING } else { MOST_UNHEARD };
        let is_alike = |other: &Lease| other.is_unheard && other.owes_save == lease.owes_save;
        if lease.is_unheard && self.0.iter().filter(|other| is_alike(other)).count() >= most {
            if let Some(oldest) = self.0.iter().position(is_alike) {
                self.0.remove(oldest);
            }
        }
        self.0.push(lease);
    }

    /// A section has entered that knew of these: the lease is its own now.
    pub(crate) fn forget(&mut self, known: &[Lease]) {
        self.0.retain(|lease| !known.contains(lease));
    }
}
