//! Memory in use, to the byte, and what of it the system has given.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counting.
pub struct Counting;

fn add(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(live, Ordering::Relaxed);
}

fn remove(bytes: usize) {
    LIVE.fetch_sub(bytes, Ordering::Relaxed);
}

// SAFETY: every call is the system allocator's own, with the arguments that came; the counters are beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    // Not by `alloc`: pages that come zeroed need not be touched.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        remove(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both are there while one is copied to the other.
        add(size);
        remove(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Bytes that a call needed at one time beyond those in use before it: as allocated, and as the system gave them (Linux).
pub(crate) fn needed_by<T>(call: impl FnOnce() -> T) -> (u64, Option<u64>, T) {
    let resident = forget_highest().then(|| status("VmRSS")).flatten();
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let result = call();
    let allocated = PEAK.load(Ordering::Relaxed) - before;
    let resident = resident.and_then(|before| status("VmHWM").map(|highest| highest.saturating_sub(before)));
    (allocated as u64, resident, result)
}

/// Lets the system forget the highest number of bytes it has given.
fn forget_highest() -> bool {
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

fn status(field: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(1024 * line.split_whitespace().next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_was_in_use_at_one_time() {
        // Other tests allocate beside this one, with the allocator that tests have: the counters are this test's own.
        let bytes = |size| Layout::from_size_align(size, 8).unwrap();
        let (allocated, ..) = needed_by(|| {
            for _ in 0..3 {
                // SAFETY: of that size, and given back with the layout it has by then.
                unsafe {
                    let pointer = Counting.alloc(bytes(1000));
                    let pointer = Counting.realloc(pointer, bytes(1000), 1500);
                    let other = Counting.alloc_zeroed(bytes(600));
                    assert_eq!(*other.add(599), 0);
                    Counting.dealloc(other, bytes(600));
                    Counting.dealloc(pointer, bytes(1500));
                }
            }
        });
        assert_eq!(allocated, 2500);
        assert_eq!(LIVE.load(Ordering::Relaxed), 0);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_system_knows_how_much_is_resident() {
        assert!(status("VmRSS").unwrap() > 0);
        assert_eq!(status("NoSuchField"), None);
    }
}
