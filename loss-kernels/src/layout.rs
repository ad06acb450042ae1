//! Lengths that everything agrees on: of vectors, columns and blocks.

/// Numbers of the widest pair of vectors: 128 bytes of `f32`. In `f64` they are two pairs.
pub(crate) const WIDEST: usize = 32;

/// Columns are padded to an even number of pairs, so that loops can take two at once.
pub(crate) const PADDING: usize = 2 * WIDEST;

/// Pixels of a block, at least and at most. With very many classes, the work per class and block
/// must not outweigh that per pixel.
pub(crate) const SHORTEST: usize = 64;
pub(crate) const LONGEST: usize = 1024;
