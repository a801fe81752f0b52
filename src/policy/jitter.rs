//! Chance, so that a fleet does not act in step.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// Chance with a memory: the same seed and salt give the same share, so that a decision can be repeated in a test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Jitter(u64);

impl Jitter {
    /// What a seed of the user's own makes of chance.
    pub(super) fn new(seed: u64) -> Self {
        Jitter(seed)
    }

    /// Drawn for each policy by itself, from what std seeds its hash tables with. Clones of a policy have the same.
    pub(super) fn drawn() -> Self {
        Jitter(RandomState::new().build_hasher().finish())
    }

    /// `whole`, less up to its `part`-th part.
    pub(super) fn less(self, whole: Duration, part: u32, salt: u64) -> Duration {
        // SplitMix64: one round is plenty for spreading clients.
        let mut bits = self.0.wrapping_add(salt.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let share = ((bits ^ (bits >> 31)) >> 48) as u32;
        whole - (whole / part.max(1)) / 65_536 * share
    }
}
