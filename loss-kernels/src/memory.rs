//! Memory that a gradient is written to: an existing array, or a new one.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};

use loss_core::LossError;

use crate::Element;

/// Where a gradient is put: a slice as long as the logits, or a `Vec`, which is written in place if
/// it is as long, and else replaced. A new array is not cleared before it is written.
pub trait Gradient {
    /// What its numbers are stored as.
    type Element: Element;

    /// Has `length` numbers written. On failure, an existing array may have been written in part.
    ///
    /// # Errors
    /// What `write` returns.
    fn put<R>(
        &mut self,
        length: usize,
        write: impl FnOnce(Output<'_, Self::Element>) -> Result<R, LossError>,
    ) -> Result<R, LossError>;
}

impl<G: Element> Gradient for [G] {
    type Element = G;

    fn put<R>(&mut self, _: usize, write: impl FnOnce(Output<'_, G>) -> Result<R, LossError>) -> Result<R, LossError> {
        write(Output::of(self))
    }
}

impl<G: Element> Gradient for Vec<G> {
    type Element = G;

    fn put<R>(&mut self, length: usize, write: impl FnOnce(Output<'_, G>) -> Result<R, LossError>) -> Result<R, LossError> {
        if self.len() == length {
            return write(Output::of(self));
        }
        let (new, result) = new(length, write)?;
        *self = new;
        Ok(result)
    }
}

/// Memory that a gradient is written to.
pub struct Output<'a, G> {
    numbers: &'a mut [MaybeUninit<G>],
    /// For new memory: how many numbers have been written.
    written: Option<&'a AtomicUsize>,
}

impl<'a, G: Element> Output<'a, G> {
    /// An existing array.
    pub(crate) fn of(array: &'a mut [G]) -> Self {
        let numbers: *mut [G] = array;
        // SAFETY: the same memory, borrowed for as long. It stays initialised: only numbers are
        // written.
        #[allow(unsafe_code, reason = "there is no safe way to see numbers as `MaybeUninit`")]
        let numbers = unsafe { &mut *(numbers as *mut [MaybeUninit<G>]) };
        Self { numbers, written: None }
    }

    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Planes of `plane` numbers, each cut into segments: plane, segment, part.
    pub(crate) fn parts(self, plane: usize, segment: usize) -> impl Iterator<Item = (usize, usize, Part<'a, G>)> {
        let Self { numbers, written } = self;
        numbers.chunks_mut(plane.max(1)).enumerate().flat_map(move |(plane, numbers)| {
            let parts = numbers.chunks_mut(segment.max(1)).enumerate();
            parts.map(move |(segment, numbers)| (plane, segment, Part { numbers, done: 0, written }))
        })
    }
}

/// A part of a plane, written by one task, from its beginning to its end.
pub(crate) struct Part<'a, G> {
    numbers: &'a mut [MaybeUninit<G>],
    /// For new memory: how many numbers from the first on have been written.
    done: usize,
    written: Option<&'a AtomicUsize>,
}

impl<G: Element> Part<'_, G> {
    /// The memory, to be prefetched.
    #[inline(always)]
    pub(crate) fn memory(&self) -> &[MaybeUninit<G>] {
        self.numbers
    }

    /// `length` numbers from one on, to write.
    #[inline(always)]
    pub(crate) fn piece(&mut self, from: usize, length: usize) -> &mut [G] {
        let piece = &mut self.numbers[from..from + length];
        if self.written.is_some() {
            // Zeros first: overwriting them soon hits the nearest cache.
            for number in &mut *piece {
                number.write(G::zeroed());
            }
            if from == self.done {
                self.done += length;
            }
        }
        // SAFETY: each has been initialised: just now, or in the existing array.
        #[allow(unsafe_code, reason = "clearing a new array first takes a fifth of a call")]
        unsafe {
            piece.assume_init_mut()
        }
    }
}

impl<G> Drop for Part<'_, G> {
    fn drop(&mut self) {
        if let Some(written) = self.written {
            written.fetch_add(self.done, Ordering::Relaxed);
        }
    }
}

/// A new array of `length` numbers, all of which `write` has to write.
fn new<G: Element, R>(
    length: usize,
    write: impl FnOnce(Output<'_, G>) -> Result<R, LossError>,
) -> Result<(Vec<G>, R), LossError> {
    let (mut array, written) = (Vec::with_capacity(length), AtomicUsize::new(0));
    let numbers = &mut array.spare_capacity_mut()[..length];
    populate(numbers);
    let result = write(Output { numbers, written: Some(&written) })?;
    let written = written.into_inner();
    if written != length {
        return Err(LossError::Length { what: "the gradient written", shape: vec![length], got: written });
    }
    // SAFETY: all have been initialised: those counted are the first ones of disjoint parts, and as
    // many as the array has.
    #[allow(unsafe_code, reason = "the array is not cleared first: see `Part::piece`")]
    unsafe {
        array.set_len(length);
    }
    Ok((array, result))
}

/// Has the system map all pages of an array now, some megabytes a call: page by page, at the first
/// write, takes twice as long.
#[cfg(target_os = "linux")]
fn populate<T: Send>(values: &mut [T]) {
    use rayon::prelude::*;
    const PIECE: usize = 4 << 20;
    if size_of_val(values) < 2 * PIECE {
        return;
    }
    values.par_chunks_mut(PIECE / size_of::<T>()).for_each(|piece| {
        let Some((inner, bytes)) = pages(piece) else { return };
        // SAFETY: the pages lie within memory that is borrowed for writing, and their content
        // stays. A system that does not know the advice does nothing, and maps pages at their first
        // write.
        #[allow(unsafe_code, reason = "a call of the system for which there is no safe function")]
        let _ = unsafe { libc::madvise(inner.as_mut_ptr().cast(), bytes, libc::MADV_POPULATE_WRITE) };
    });
}

/// The part that begins at a page, and the bytes of its whole pages; `None` where no page begins.
#[cfg(target_os = "linux")]
fn pages<T>(piece: &mut [T]) -> Option<(&mut [T], usize)> {
    // A multiple of every page's size.
    const PAGE: usize = 64 << 10;
    let before = piece.as_ptr().align_offset(PAGE);
    let inner = piece.get_mut(before..)?;
    let bytes = size_of_val(inner) / PAGE * PAGE;
    Some((inner, bytes))
}

#[cfg(not(target_os = "linux"))]
fn populate<T>(_: &mut [T]) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn pages_are_whole() {
        const PAGE: usize = 65_536;
        let mut values = vec![0f32; 5 * PAGE / 4];
        for (from, to) in [(0, 5 * PAGE / 4), (1, 3 * PAGE / 4), (7, 2 * PAGE / 4 + 3)] {
            let piece = &mut values[from..to];
            let end = piece.as_ptr_range().end as usize;
            let (inner, bytes) = pages(piece).unwrap();
            let first = inner.as_ptr() as usize;
            assert!(first.is_multiple_of(PAGE) && bytes.is_multiple_of(PAGE), "{first} {bytes}");
            assert!(bytes > 0 && (first + bytes..first + bytes + PAGE).contains(&end), "{first} {bytes} {end}");
        }
        assert!(pages(&mut [0u8]).is_none_or(|(_, bytes)| bytes == 0));
    }

    #[test]
    fn what_has_not_been_written_is_not_handed_out() {
        // Two planes of five numbers, in parts of three and two.
        let all = |skipped: Option<usize>, from: usize| {
            new::<f32, _>(10, |output| {
                for (i, (plane, segment, mut part)) in output.parts(5, 3).enumerate() {
                    let length = part.memory().len();
                    assert_eq!(length, if segment == 0 { 3 } else { 2 });
                    if skipped != Some(i) {
                        part.piece(from, length - from).fill((10 * plane + segment) as f32);
                    }
                }
                Ok(())
            })
        };
        assert_eq!(all(None, 0).unwrap().0, [0.0, 0.0, 0.0, 1.0, 1.0, 10.0, 10.0, 10.0, 11.0, 11.0]);
        for (skipped, from, wanted) in [(Some(0), 0, 7), (Some(3), 0, 8), (None, 1, 0)] {
            let refused = all(skipped, from).unwrap_err();
            assert!(matches!(refused, LossError::Length { got, .. } if got == wanted), "{refused}");
        }
    }

    #[test]
    fn a_vec_is_written_in_place_where_it_is_as_long() {
        let fill = |output: Output<'_, f32>| {
            output.parts(6, 6).for_each(|(_, _, mut part)| part.piece(0, part.memory().len()).fill(1.0));
            Ok(())
        };
        let refuse = |_: Output<'_, f32>| Err::<(), _>(LossError::NonFiniteLogit { value: f64::NAN, position: Vec::new() });
        let mut vec = vec![0.0; 6];
        let at = vec.as_ptr();
        vec.put(6, fill).unwrap();
        assert_eq!((vec.as_ptr(), &vec[..]), (at, &[1.0; 6][..]));
        assert!(vec.put(4, refuse).is_err());
        assert_eq!(vec, [1.0; 6]);
        vec.put(4, fill).unwrap();
        assert_eq!(vec, [1.0; 4]);
    }

    #[test]
    fn an_array_that_is_there_keeps_what_is_not_written() {
        let mut array = [7.0f64; 4];
        for (_, segment, mut part) in Output::of(&mut array).parts(4, 2) {
            part.piece(1, 1).fill(segment as f64);
        }
        assert_eq!(array, [7.0, 0.0, 7.0, 1.0]);
    }

    /// Whether the system maps pages when asked to, as Linux does from 5.14 on.
    #[cfg(target_os = "linux")]
    fn brings_pages() -> Option<bool> {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
        Some((numbers.next()?, numbers.next()?) >= (5, 14))
    }

    /// How many of the system's pages, of 4 KiB, from an address on are in memory.
    #[cfg(target_os = "linux")]
    fn present(first: usize, bytes: usize) -> std::io::Result<usize> {
        use std::io::{Read, Seek, SeekFrom};
        let (mut pages, mut entries) = (std::fs::File::open("/proc/self/pagemap")?, vec![0; bytes / 4096 * 8]);
        pages.seek(SeekFrom::Start(first as u64 / 4096 * 8))?;
        pages.read_exact(&mut entries)?;
        // The highest bit of each entry, whose last byte is the highest.
        Ok(entries.as_chunks::<8>().0.iter().filter(|entry| entry[7] & 0x80 != 0).count())
    }

    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    #[test]
    fn a_large_array_comes_with_its_pages() {
        const BYTES: usize = 64 << 20;
        let mut in_memory = None;
        let refused = new::<f64, ()>(BYTES / 8, |output| {
            in_memory = present(output.numbers.as_ptr() as usize, BYTES).ok();
            Ok(())
        });
        assert!(refused.is_err());
        if let (Some(true), Some(pages)) = (brings_pages(), in_memory) {
            assert!(pages > BYTES / 4096 / 10 * 9, "{pages} of {}", BYTES / 4096);
        }
    }
}
