//! What the targets share: a file that they write again and again, and an allocator that knows how
//! much memory is taken.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Read;
use std::path::PathBuf;

use segloss_data::formats::Header;

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, which counts the bytes that this thread holds.
pub struct Counting;

fn add(size: usize) {
    let _ = NOW.try_with(|now| {
        now.set(now.get().wrapping_add(size));
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(now.get().min(isize::MAX as usize))));
    });
}

fn remove(size: usize) {
    let _ = NOW.try_with(|now| now.set(now.get().saturating_sub(size)));
}

// Every call is passed on with its arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        remove(layout.size());
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both are there while one is copied to the other.
        add(size);
        remove(layout.size());
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// The most memory that a call holds at a time, and what it gives.
pub fn measured<T>(call: impl FnOnce() -> T) -> (T, usize) {
    let before = NOW.with(Cell::get);
    PEAK.with(|peak| peak.set(before));
    let result = call();
    (result, PEAK.with(Cell::get).saturating_sub(before))
}

/// Panics where a call took more than ten times its input, or than ten times what a compressed
/// input unpacks to. `constant` is what it takes whatever the input: buffers of files, blocks and
/// tables of decoders, messages.
pub fn bounded<T>(input: usize, unpacked: usize, constant: usize, call: impl FnOnce() -> T) -> T {
    let (result, peak) = measured(call);
    let most = 10 * input.max(unpacked) + constant;
    assert!(peak <= most, "{peak} bytes of memory for an input of {input}, unpacked {unpacked}");
    result
}

/// Bytes that the pixels of a picture unpack to.
pub fn unpacked(header: &Header) -> usize {
    let sample = match header.dtype {
        "uint16" | "int16" | "float16" => 2,
        "uint32" | "int32" | "float32" => 4,
        "uint64" | "int64" | "float64" => 8,
        _ => 1,
    };
    let pixels: usize = header.size.iter().product();
    pixels * (header.channels + usize::from(header.alpha)) * sample
}

/// Bytes that come out of a stream before it ends or fails, at most so many.
pub fn length(stream: impl Read, most: u64) -> usize {
    let (mut stream, mut block, mut all) = (stream.take(most), [0; 4096], 0);
    while let Ok(found @ 1..) = stream.read(&mut block) {
        all += found;
    }
    all
}

/// A file of this process with these bytes, on the file system of `TMPDIR`.
pub fn file(name: &str, bytes: &[u8]) -> Option<PathBuf> {
    let folder = std::env::temp_dir().join(format!("segloss-fuzz-{}", std::process::id()));
    let path = folder.join(name);
    if std::fs::write(&path, bytes).is_err() {
        std::fs::create_dir_all(path.parent()?).ok()?;
        std::fs::write(&path, bytes).ok()?;
    }
    Some(path)
}
