//! How the work of a pass is cut up: by shapes, by the type that is computed in and by the plan,
//! never by the number of threads, so that results do not depend on it.

use crate::layout::{LONGEST, PADDING, SHORTEST};

/// Bytes of one buffer of a block: a few of them fit into the second-level cache together.
const BUFFER: usize = 32 * 1024;

/// The same for the first-level cache. Of few classes, a block may be longer than half of the
/// longest by it.
const NEAREST: usize = 8 * 1024;

/// Tasks of a large pass, and the bytes that all their sums may take together.
const TASKS: usize = 128;
const SUMS: usize = 256 * 1024;

/// Pixels of a task at least, where a sample has them: adding up a task's sums takes as long as
/// some hundred pixels.
const TASK: usize = 4096;

/// Pixels of a block, and of a segment, which is what a task has of a sample.
#[derive(Clone, Copy)]
pub(crate) struct Cut {
    pub(crate) block: usize,
    pub(crate) segment: usize,
}

impl Cut {
    /// `width`: sums of a task.
    pub(crate) fn new<C>(samples: usize, classes: usize, pixels: usize, width: usize) -> Self {
        let fitting = |bytes: usize| bytes / (classes * size_of::<C>()) / PADDING * PADDING;
        let block = fitting(NEAREST).max(fitting(BUFFER).min(LONGEST / 2)).clamp(SHORTEST, LONGEST);
        let tasks = TASKS.min(SUMS / (8 * width.max(1))).max(1);
        let segments = (tasks / samples.max(1)).max(1);
        let pixels = pixels.div_ceil(segments).max(TASK);
        Self { block, segment: pixels.div_ceil(block) * block }
    }
}

/// Tasks that a thread takes at once: a quarter of its share, so that it makes few buffers, and no
/// thread waits long for the last.
pub(crate) fn at_once(tasks: usize, threads: usize) -> usize {
    (tasks / (4 * threads)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_takes_a_quarter_of_its_part() {
        assert_eq!([at_once(128, 2), at_once(128, 64), at_once(1, 2)], [16, 1, 1]);
    }

    #[test]
    fn work_is_cut_into_as_many_parts_as_the_limits_allow() {
        for (samples, classes, pixels, statistics) in [
            (1, 2, 1 << 20, 3),
            (3, 19, 500_000, 8),
            (1, 150, 1 << 18, 5),
            (7, 33, 12_345, 2),
            (300, 2, 1000, 4),
            (1, 70, 1, 600),
        ] {
            let width = classes * statistics;
            let cut = Cut::new::<f32>(samples, classes, pixels, width);
            let Cut { block, segment } = cut;
            // A column per class of a block: 8 KiB together, or 32 up to 512 pixels; and between 64
            // and 1024 pixels.
            let bytes = |block: usize| block * classes * size_of::<f32>();
            let fits = |block: usize| bytes(block) <= if block > 512 { 8192 } else { 32_768 };
            assert!(block % PADDING == 0 && (block == 64 || fits(block)), "{samples} {classes}: {block}");
            assert!(block == 1024 || !fits(block + PADDING), "{samples} {classes}: {block}");
            assert!((64..=1024).contains(&block) && segment % block == 0);
            // At most 128 tasks, and 256 KiB of sums.
            let allowed = |segment: usize| {
                let tasks = samples * pixels.div_ceil(segment);
                tasks <= 128 && tasks * width * size_of::<f64>() <= 262_144
            };
            assert!(segment >= pixels || allowed(segment), "{samples} {classes}: {segment}");
            assert!(segment < TASK + block || !allowed(segment - block), "{samples} {classes}: {segment}");
            assert!(segment >= TASK, "{samples} {classes}: {segment}");
        }
    }
}
