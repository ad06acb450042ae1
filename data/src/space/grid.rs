//! An image's own grid and the common one.

use ndarray::{Array3, Array4, Axis, Slice};

use super::resample::{nearest, resize};

/// What the images of a folder are brought to.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Common {
    /// Where the axes run to, the fastest first, such as `RAS`; none leaves them as they are.
    pub orientation: Option<String>,
    /// Millimetres between neighbours along [D, H, W]; none leaves sizes as they are.
    pub spacing: Option<[f64; 3]>,
}

impl Common {
    /// Both.
    #[must_use]
    pub fn new(orientation: Option<String>, spacing: Option<[f64; 3]>) -> Self {
        Self { orientation, spacing }
    }
}

/// How an image's own grid [D, H, W] lies to the common one: axes are exchanged and mirrored, then
/// resampled. A picture is a volume of one slice.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// For each common axis the own axis that it is.
    order: [usize; 3],
    /// Which common axes run against their own.
    mirrored: [bool; 3],
    own: [usize; 3],
    common: [usize; 3],
}

impl Grid {
    /// The same grid.
    #[must_use]
    pub fn same(size: [usize; 3]) -> Self {
        Self { order: [0, 1, 2], mirrored: [false; 3], own: size, common: size }
    }

    /// From an image of `size` [D, H, W], whose axes run to `orientation` (the fastest first), with
    /// `spacing` along [D, H, W]. An orientation that is not known, or not of the six directions of
    /// the common one, leaves the axes as they are; a spacing that is not known, the size.
    ///
    /// ```
    /// use segloss_data::{Common, Grid};
    /// let common = Common::new(Some("RAS".into()), Some([1.0, 1.0, 1.0]));
    /// let grid = Grid::new([10, 20, 30], Some("LAS"), Some([2.0, 1.0, 1.0]), &common);
    /// assert_eq!(grid.common(), [20, 20, 30]);
    /// ```
    #[must_use]
    pub fn new(size: [usize; 3], orientation: Option<&str>, spacing: Option<[f64; 3]>, common: &Common) -> Self {
        let turned = orientation.zip(common.orientation.as_deref()).and_then(|(own, to)| turn(own, to));
        let (order, mirrored) = turned.unwrap_or(([0, 1, 2], [false; 3]));
        let mut lengths: [usize; 3] = order.map(|axis| size[axis]);
        if let (Some(own), Some(to)) = (spacing, common.spacing) {
            for (i, length) in lengths.iter_mut().enumerate() {
                let scaled = (*length as f64 * own[order[i]] / to[i]).round();
                // A spacing so coarse or fine that it cannot be meant leaves one place.
                *length = if *length <= 1 || !scaled.is_finite() { *length } else { (scaled as usize).max(1) };
            }
        }
        Self { order, mirrored, own: size, common: lengths }
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_same(&self) -> bool {
        *self == Self::same(self.own)
    }

    /// The size of the image's own grid.
    #[must_use]
    pub fn own(&self) -> [usize; 3] {
        self.own
    }

    /// The size of the common grid.
    #[must_use]
    pub fn common(&self) -> [usize; 3] {
        self.common
    }

    /// What belongs to the own axes, in the order of the common ones.
    #[must_use]
    pub fn along<T: Copy>(&self, own: [T; 3]) -> [T; 3] {
        self.order.map(|axis| own[axis])
    }

    /// Channels [C, D, H, W] on the common grid, by [`resize`](crate::resize).
    #[must_use]
    pub fn image(&self, own: &Array4<f32>) -> Array4<f32> {
        let [d, h, w] = self.order.map(|axis| axis + 1);
        let mut turned = own.view().permuted_axes([0, d, h, w]);
        for axis in (0..3).filter(|&axis| self.mirrored[axis]) {
            turned.invert_axis(Axis(axis + 1));
        }
        resize(&turned.as_standard_layout().into_owned(), &self.common)
    }

    /// Labels [D, H, W] on the common grid, by [`nearest`](crate::nearest).
    #[must_use]
    pub fn labels<E: Clone>(&self, own: &Array3<E>) -> Array3<E> {
        let mut turned = own.view().permuted_axes(self.order);
        for axis in (0..3).filter(|&axis| self.mirrored[axis]) {
            turned.invert_axis(Axis(axis));
        }
        nearest(&turned.as_standard_layout().into_owned(), &self.common)
    }

    /// Channels of the common grid, such as probabilities, on the image's own grid.
    #[must_use]
    pub fn back(&self, common: &Array4<f32>) -> Array4<f32> {
        let mut plain = resize(common, &self.order.map(|axis| self.own[axis]));
        for axis in (0..3).filter(|&axis| self.mirrored[axis]) {
            plain.slice_axis_inplace(Axis(axis + 1), Slice { start: 0, end: None, step: -1 });
        }
        let mut back = [0; 4];
        for (axis, own) in self.order.iter().enumerate() {
            back[own + 1] = axis + 1;
        }
        plain.permuted_axes(back).as_standard_layout().into_owned()
    }
}

/// For each axis of the one orientation the axis of the other, and whether it runs against it, both
/// along [D, H, W], which is the letters' order from behind.
fn turn(own: &str, to: &str) -> Option<([usize; 3], [bool; 3])> {
    let letters = |text: &str| <[u8; 3]>::try_from(text.as_bytes()).ok().map(|[w, h, d]| [d, h, w]);
    let (own, to) = (letters(own)?, letters(to)?);
    let pair = |letter: u8| match letter {
        b'L' | b'R' => 0,
        b'A' | b'P' => 1,
        _ => 2,
    };
    let mut order = [0; 3];
    let mut mirrored = [false; 3];
    for (axis, letter) in to.iter().enumerate() {
        order[axis] = own.iter().position(|other| pair(*other) == pair(*letter))?;
        mirrored[axis] = own[order[axis]] != *letter;
    }
    let mut all = order;
    all.sort_unstable();
    (all == [0, 1, 2]).then_some((order, mirrored))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(shape: [usize; 4]) -> Array4<f32> {
        let count = shape.iter().product::<usize>();
        Array4::from_shape_vec(shape, (0..count).map(|i| i as f32).collect()).unwrap()
    }

    #[test]
    fn axes_are_exchanged_and_mirrored_by_hand() {
        // Own axes [D, H, W] run to A, S and L; the common ones to S, A and R.
        let common = Common::new(Some("RAS".into()), None);
        let grid = Grid::new([2, 3, 4], Some("LSA"), None, &common);
        assert_eq!((grid.common(), grid.is_same()), ([3, 2, 4], false));
        let image = ramp([1, 2, 3, 4]);
        let turned = grid.image(&image);
        for (s, a, r) in (0..3).flat_map(|s| (0..2).flat_map(move |a| (0..4).map(move |r| (s, a, r)))) {
            assert_eq!(turned[[0, s, a, r]], image[[0, a, s, 3 - r]]);
        }
        assert_eq!(grid.labels(&image.index_axis(Axis(0), 0).to_owned()), turned.index_axis(Axis(0), 0));
        assert_eq!(grid.back(&turned), image);
    }

    #[test]
    fn every_orientation_comes_back() {
        let image = ramp([2, 2, 3, 4]);
        let common = Common::new(Some("RAS".into()), None);
        for own in ["RAS", "LPI", "SRA", "PIL", "ASL", "IAR"] {
            let grid = Grid::new([2, 3, 4], Some(own), None, &common);
            assert_eq!(grid.back(&grid.image(&image)), image, "{own}");
        }
        let unknown = Grid::new([2, 3, 4], None, None, &common);
        assert!(unknown.is_same() && Grid::new([2, 3, 4], Some("RRS"), None, &common).is_same());
    }

    #[test]
    fn sizes_follow_the_spacing_of_their_axis() {
        let common = Common::new(Some("RAS".into()), Some([1.0, 1.0, 2.0]));
        // Own [D, H, W] is [R, A, S] here, with 4 mm along S.
        let grid = Grid::new([10, 20, 5], Some("SAR"), Some([1.0, 0.5, 4.0]), &common);
        assert_eq!(grid.common(), [20, 10, 5]);
        assert_eq!(grid.back(&grid.image(&ramp([1, 10, 20, 5]))).dim(), (1, 10, 20, 5));
        let picture = Grid::new([1, 10, 10], None, Some([1.0, 0.5, 0.5]), &Common::new(None, Some([9.0, 1.0, 1.0])));
        assert_eq!(picture.common(), [1, 5, 5]);
        let odd = Grid::new([4, 4, 4], None, Some([1e-9, 1.0, f64::NAN]), &Common::new(None, Some([1.0; 3])));
        assert_eq!(odd.common(), [1, 4, 4]);
    }
}
