//! What the fuzzers share.

/// How many bytes of heap the work had at most at one time.
pub fn peak(work: &mut dyn FnMut()) -> u64 {
    allocation_counter::measure(work).bytes_max
}
