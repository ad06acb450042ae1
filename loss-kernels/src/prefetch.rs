//! Hints to the cache.

/// Bytes of a cache line.
const LINE: usize = 64;

/// Memory of the next block: a number for each pixel.
#[derive(Clone, Copy)]
struct Stream {
    /// Where the first pixel's number lies.
    address: usize,
    /// Bytes of a number.
    size: usize,
}

/// The next block's labels and gradient. They are fetched into the second-level cache a few lines
/// at a time, while this block is computed. Fetched all at once, the processor would wait for them.
/// Logits need no hint: they are read in order, and the processor fetches them ahead by itself.
#[derive(Default)]
pub(crate) struct Ahead {
    streams: Vec<Stream>,
}

impl Ahead {
    pub(crate) fn clear(&mut self) {
        self.streams.clear();
    }

    /// Adds memory, from the next block's first pixel on.
    pub(crate) fn add<T>(&mut self, memory: &[T]) {
        if !memory.is_empty() {
            self.streams.push(Stream { address: memory.as_ptr().addr(), size: size_of::<T>() });
        }
    }

    /// Brings in the numbers of the `b`-th group of `count` pixels.
    #[inline(always)]
    pub(crate) fn bring(&self, b: usize, count: usize) {
        for &Stream { address, size } in &self.streams {
            let (bytes, mut offset) = (count * size, 0);
            let first = address.wrapping_add(b * bytes);
            while offset < bytes {
                line(first.wrapping_add(offset));
                offset += LINE;
            }
        }
    }
}

#[inline(always)]
fn line(address: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a prefetch neither reads nor faults, whatever the address.
        #[allow(unsafe_code, reason = "a hint to the processor, for which there is no safe function")]
        unsafe {
            _mm_prefetch::<_MM_HINT_T1>(std::ptr::without_provenance(address));
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
