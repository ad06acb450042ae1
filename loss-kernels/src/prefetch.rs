//! Hints to the cache.

/// Bytes of a cache line.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// Loads memory into the cache, to be read or, with `WRITE`, written.
#[inline]
pub(crate) fn prefetch<const WRITE: bool, T>(values: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for lines in values.chunks(4 * LINE / size_of::<T>()) {
        use std::arch::x86_64::{_MM_HINT_ET0, _MM_HINT_T0, _mm_prefetch};
        let first = lines.as_ptr().cast::<i8>();
        for line in 0..4 {
            // SAFETY: a prefetch neither reads nor faults, whatever the address.
            #[allow(unsafe_code, reason = "a hint to the processor, for which there is no safe function")]
            unsafe {
                if WRITE {
                    _mm_prefetch::<_MM_HINT_ET0>(first.wrapping_add(line * LINE));
                } else {
                    _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(line * LINE));
                }
            }
        }
    }
}
