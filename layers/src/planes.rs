//! Planes with a border of zeros, laid out so that every neighbour of a pixel lies at a fixed
//! distance in memory.

/// Zeros after each channel, that a pair of the widest vectors may reach into.
pub(crate) const SLACK: usize = 64;

/// Lengths of a volume with its border.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planes {
    size: [usize; 3],
    /// Slices in the border on either side.
    depth: usize,
}

impl Planes {
    pub(crate) fn new(size: [usize; 3], volumes: bool) -> Self {
        Self { size, depth: usize::from(volumes) }
    }

    fn rows(&self) -> usize {
        self.size[1] + 2
    }

    fn columns(&self) -> usize {
        self.size[2] + 2
    }

    /// Numbers of a channel with its border and what follows.
    pub(crate) fn area(&self) -> usize {
        (self.size[0] + 2 * self.depth) * self.rows() * self.columns() + SLACK
    }

    /// From a pixel to its neighbours, first that of the smallest indices, which is at distance 0.
    pub(crate) fn offsets(&self) -> Vec<usize> {
        let depth = 0..=2 * self.depth;
        let at = |z: usize, y: usize, x: usize| (z * self.rows() + y) * self.columns() + x;
        depth.flat_map(|z| (0..3).flat_map(move |y| (0..3).map(move |x| at(z, y, x)))).collect()
    }

    /// From a pixel to the middle of its neighbours.
    pub(crate) fn middle(&self) -> usize {
        (self.depth * self.rows() + 1) * self.columns() + 1
    }

    /// The first numbers of a channel, from its first pixel to its last, where pixels are numbered
    /// by their neighbour of the smallest indices.
    pub(crate) fn extent(&self) -> usize {
        let [d, h, w] = self.size;
        ((d.saturating_sub(1)) * self.rows() + h.saturating_sub(1)) * self.columns() + w
    }

    /// Where the rows of a channel begin in a plane, by their neighbours of the smallest indices.
    fn starts(&self) -> impl Iterator<Item = usize> {
        let [d, h, _] = self.size;
        let (rows, columns) = (self.rows(), self.columns());
        (0..d).flat_map(move |z| (0..h).map(move |y| (z * rows + y) * columns))
    }

    /// One image `[C, D, H, W]` amid zeros.
    pub(crate) fn widened(&self, image: &[f32]) -> Vec<f32> {
        let [d, h, w] = self.size;
        let mut out = vec![0.0; image.len() / (d * h * w).max(1) * self.area()];
        let middle = self.middle();
        for (channel, plane) in image.chunks_exact((d * h * w).max(1)).zip(out.chunks_exact_mut(self.area())) {
            for (row, start) in channel.chunks_exact(w.max(1)).zip(self.starts()) {
                plane[start + middle..][..w].copy_from_slice(row);
            }
        }
        out
    }

    /// The pixels of one channel that stand at their neighbour of the smallest indices.
    pub(crate) fn narrowed(&self, plane: &[f32], channel: &mut [f32]) {
        let w = self.size[2];
        for (row, start) in channel.chunks_exact_mut(w.max(1)).zip(self.starts()) {
            row.copy_from_slice(&plane[start..][..w]);
        }
    }
}
