//! Changes of a patch that leave what it shows.

use ndarray::{Array, Axis, Dimension, RemoveAxis, Slice};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use segloss_data::{nearest, resize};

use super::data::Truth;
use super::patches::Patch;

/// Greatest zoom, in and out.
const ZOOM: f32 = 1.25;

/// Greatest change of the contrast, as a factor up and down.
const GAIN: f32 = 1.15;

/// Greatest change of the brightness, in standard deviations of the patch.
const OFFSET: f32 = 0.15;

/// Greatest exponent of intensities between the patch's least and greatest, and its inverse.
const GAMMA: f32 = 1.25;

/// Which changes a patch may undergo; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Augment {
    /// Mirrors along [D, H, W].
    pub(crate) flips: [bool; 3],
    /// Exchanges rows and columns, where the patch has as many of both.
    pub(crate) turns: bool,
    /// Changes contrast, brightness and gamma a little, each channel by itself.
    pub(crate) intensity: bool,
    /// Zooms by up to a quarter, in or out.
    pub(crate) scale: bool,
}

impl Augment {
    /// Everything.
    #[cfg(test)]
    pub(crate) fn all() -> Self {
        Self { flips: [true; 3], turns: true, intensity: true, scale: true }
    }

    /// From words with commas between them; `none` is no change.
    pub(crate) fn of(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected none, or some of flips, flips:x, flips:y, flips:z, turns, intensity and scale, \
                                with commas between them";
        let mut augment = Self::default();
        let words: Vec<&str> = text.split(',').map(str::trim).collect();
        for word in &words {
            match *word {
                "none" if words.len() == 1 => {}
                "flips" => augment.flips = [true; 3],
                "flips:z" => augment.flips[0] = true,
                "flips:y" => augment.flips[1] = true,
                "flips:x" => augment.flips[2] = true,
                "turns" => augment.turns = true,
                "intensity" => augment.intensity = true,
                "scale" => augment.scale = true,
                _ => return Err(EXPECTED.into()),
            }
        }
        Ok(augment)
    }

    /// The words again, each once and in a fixed order.
    pub(crate) fn words(&self) -> String {
        let [z, y, x] = self.flips;
        let all = [
            (z, "flips:z"),
            (y, "flips:y"),
            (x, "flips:x"),
            (self.turns, "turns"),
            (self.intensity, "intensity"),
            (self.scale, "scale"),
        ];
        let words: Vec<&str> = all.iter().filter(|(has, _)| *has).map(|(_, word)| *word).collect();
        if words.is_empty() { "none".into() } else { words.join(",") }
    }

    /// Size of the piece of an image that becomes a patch. Every second patch is zoomed.
    pub(crate) fn side(&self, patch: [usize; 3], rng: &mut ChaCha8Rng) -> [usize; 3] {
        if !self.scale || rng.random() {
            return patch;
        }
        let zoom = drawn(ZOOM, rng);
        patch.map(|length| if length == 1 { 1 } else { ((length as f32 * zoom).round() as usize).max(1) })
    }

    /// A piece of an image as a patch.
    pub(crate) fn change(&self, patch: Patch, side: [usize; 3], rng: &mut ChaCha8Rng) -> Patch {
        let mut patch = zoomed(patch, side);
        if self.turns && rng.random() && side[1] == side[2] {
            patch = turned(patch);
        }
        for axis in 0..3 {
            if self.flips[axis] && rng.random() {
                patch = flipped(patch, axis);
            }
        }
        if self.intensity {
            for mut channel in patch.input.axis_iter_mut(Axis(0)) {
                let light =
                    Light { gain: drawn(GAIN, rng), offset: rng.random_range(-OFFSET..=OFFSET), gamma: drawn(GAMMA, rng) };
                light.shine(&mut channel);
            }
        }
        patch
    }
}

/// A factor between the inverse of the greatest and the greatest, one as likely as its inverse.
fn drawn(greatest: f32, rng: &mut ChaCha8Rng) -> f32 {
    greatest.powf(rng.random_range(-1.0f32..=1.0))
}

fn zoomed(patch: Patch, side: [usize; 3]) -> Patch {
    if <[usize; 3]>::from(patch.inside.dim()) == side {
        return patch;
    }
    let truth = match &patch.truth {
        Truth::Labels(labels) => Truth::Labels(nearest(labels, &side)),
        Truth::Shares(shares) => Truth::Shares(resize(shares, &side)),
    };
    Patch { input: resize(&patch.input, &side), truth, inside: nearest(&patch.inside, &side) }
}

fn turned(mut patch: Patch) -> Patch {
    patch.input.swap_axes(2, 3);
    patch.inside.swap_axes(1, 2);
    match &mut patch.truth {
        Truth::Labels(labels) => labels.swap_axes(1, 2),
        Truth::Shares(shares) => shares.swap_axes(2, 3),
    }
    patch
}

/// Mirrors one of the axes of space.
fn flipped(mut patch: Patch, axis: usize) -> Patch {
    fn flip<E, D: Dimension + RemoveAxis>(array: &mut Array<E, D>, axis: usize) {
        array.slice_axis_inplace(Axis(axis), Slice { start: 0, end: None, step: -1 });
    }
    flip(&mut patch.input, axis + 1);
    flip(&mut patch.inside, axis);
    match &mut patch.truth {
        Truth::Labels(labels) => flip(labels, axis),
        Truth::Shares(shares) => flip(shares, axis + 1),
    }
    patch
}

/// Another exposure.
struct Light {
    gain: f32,
    offset: f32,
    gamma: f32,
}

impl Light {
    /// With least a and greatest b of a channel, first v' = a + (b - a) ((v - a) / (b - a))^gamma;
    /// then, with the mean m and the deviation s of v', m + gain (v' - m) + offset s. A flat
    /// channel stays.
    fn shine<D: Dimension>(&self, channel: &mut ndarray::ArrayViewMut<f32, D>) {
        let [low, high] = channel.iter().fold([f32::INFINITY, f32::NEG_INFINITY], |[a, b], &v| [a.min(v), b.max(v)]);
        let range = high - low;
        if !(range > 0.0 && range.is_finite()) {
            return;
        }
        channel.mapv_inplace(|v| low + range * ((v - low) / range).powf(self.gamma));
        let count = channel.len() as f64;
        let mean = channel.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let deviation = (channel.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count).sqrt();
        let (mean, shift) = (mean as f32, self.offset * deviation as f32);
        channel.mapv_inplace(|v| mean + self.gain * (v - mean) + shift);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array3, Array4, arr1};
    use rand::SeedableRng;

    /// Inputs that name their place, labels that do too.
    fn patch(side: [usize; 3]) -> Patch {
        let [_, h, w] = side;
        let labels = Array3::from_shape_fn(side, |(d, y, x)| (d * h * w + y * w + x) as u8);
        let input = labels.mapv(f32::from).insert_axis(Axis(0));
        Patch { input, truth: Truth::Labels(labels), inside: Array3::ones(side) }
    }

    fn labels(patch: &Patch) -> Vec<u8> {
        match &patch.truth {
            Truth::Labels(labels) => labels.iter().copied().collect(),
            Truth::Shares(shares) => shares.iter().map(|share| *share as u8).collect(),
        }
    }

    #[test]
    fn flips_and_turns_by_hand() {
        let small = patch([2, 2, 2]);
        assert_eq!(labels(&flipped(small.clone(), 0)), [4, 5, 6, 7, 0, 1, 2, 3]);
        assert_eq!(labels(&flipped(small.clone(), 1)), [2, 3, 0, 1, 6, 7, 4, 5]);
        assert_eq!(labels(&flipped(small.clone(), 2)), [1, 0, 3, 2, 5, 4, 7, 6]);
        assert_eq!(labels(&turned(small.clone())), [0, 2, 1, 3, 4, 6, 5, 7]);
        let shares = small.input.clone();
        let soft = Patch { truth: Truth::Shares(shares), ..small };
        assert_eq!(labels(&flipped(turned(soft), 1)), [1, 3, 0, 2, 5, 7, 4, 6]);
    }

    #[test]
    fn image_and_labels_change_together_and_only_as_told() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let start = patch([2, 4, 4]);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..60 {
            let flips = Augment { flips: [false, false, true], ..Augment::default() };
            let changed = flips.change(start.clone(), [2, 4, 4], &mut rng);
            assert_eq!(changed.input.iter().map(|v| *v as u8).collect::<Vec<_>>(), labels(&changed));
            seen.insert(labels(&changed));
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [labels(&start), labels(&flipped(start.clone(), 2))]);
        assert_eq!(Augment::default().change(start.clone(), [2, 4, 4], &mut rng), start);
        assert_eq!(Augment::default().side([1, 8, 8], &mut rng), [1, 8, 8]);
    }

    #[test]
    fn zooms_reach_a_quarter_and_not_more() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let sides: Vec<_> = (0..400).map(|_| Augment::all().side([1, 40, 80], &mut rng)).collect();
        assert!(sides.iter().all(|&[d, h, w]| d == 1 && (32..=50).contains(&h) && w.abs_diff(2 * h) <= 1));
        let count = |keep: &dyn Fn(usize) -> bool| sides.iter().filter(|side| keep(side[1])).count();
        assert!((140..260).contains(&count(&|h| h == 40)) && count(&|h| h < 34) > 10 && count(&|h| h > 47) > 10);
        let zoomed = zoomed(patch([1, 2, 2]), [1, 4, 4]);
        assert_eq!(labels(&zoomed), [0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3]);
        assert_eq!(zoomed.input.iter().take(4).copied().collect::<Vec<_>>(), [0.0, 0.25, 0.75, 1.0]);
    }

    #[test]
    fn light_by_hand() {
        let shone = |light: Light, values: [f32; 3]| {
            let mut channel = arr1(&values);
            light.shine(&mut channel.view_mut());
            channel
        };
        let near = |found: ndarray::Array1<f32>, expected: [f32; 3]| {
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found}");
        };
        let plain = || Light { gain: 1.0, offset: 0.0, gamma: 1.0 };
        near(shone(plain(), [-1.0, 0.0, 4.0]), [-1.0, 0.0, 4.0]);
        near(shone(Light { gain: 2.0, ..plain() }, [-1.0, 0.0, 4.0]), [-3.0, -1.0, 7.0]);
        near(shone(Light { gamma: 2.0, ..plain() }, [0.0, 2.0, 4.0]), [0.0, 1.0, 4.0]);
        near(shone(Light { offset: 0.5, ..plain() }, [0.0, 0.0, 3.0]), [0.0, 0.0, 3.0].map(|v| v + 0.5 * 2.0f32.sqrt()));
        near(shone(Light { gain: 2.0, offset: 1.0, gamma: 2.0 }, [5.0, 5.0, 5.0]), [5.0; 3]);
    }

    #[test]
    fn words_are_read() {
        assert_eq!(Augment::of("none"), Ok(Augment::default()));
        assert_eq!(Augment::of("flips, turns,intensity,scale"), Ok(Augment::all()));
        assert_eq!(Augment::of("flips:x,flips:z").unwrap().flips, [true, false, true]);
        for wrong in ["", "none,flips", "rotate", "flips:w", "flips,,scale"] {
            assert!(Augment::of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn soft_targets_stay_shares() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let ones = Array4::from_elem([2, 4, 10, 10], 0.5f32);
        let patch = Patch { input: ones.clone(), truth: Truth::Shares(ones), inside: Array3::ones([4, 10, 10]) };
        let changed = Augment::all().change(patch, [4, 8, 8], &mut rng);
        let Truth::Shares(shares) = changed.truth else { panic!("labels") };
        assert_eq!(shares.dim(), (2, 4, 8, 8));
        assert!(shares.iter().all(|share| (share - 0.5).abs() < 1e-6));
    }
}
