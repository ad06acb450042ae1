//! Images of small bright lesions, made up: a few percent of the pixels, among things that look
//! like them.

use std::f32::consts::{PI, TAU};
use std::str::FromStr;

use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::data::{Dataset, Picture, Reading};

/// Side of an image.
const SIDE: usize = 64;

/// How much of an image is lesion, as a share of its pixels: between the two numbers, evenly by
/// their logarithm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Lesions([f32; 2]);

/// Shares of images of one share lie within this factor of it.
const SPREAD: f32 = 1.25;

impl FromStr for Lesions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.trim().parse::<f32>().ok().map(|percent| percent / 100.0);
        let ends = match text.split_once(':') {
            Some((low, high)) => number(low).zip(number(high)).map(|(low, high)| [low, high]),
            None => number(text).map(|share| [share / SPREAD, share * SPREAD]),
        };
        let sound = |[low, high]: &[f32; 2]| *low >= 0.001 && low <= high && *high <= 0.4;
        let expected = "expected a percentage, or two as LOW:HIGH, between 0.1 and 40 (one: 0.125 to 32)";
        ends.filter(sound).map(Self).ok_or_else(|| expected.into())
    }
}

/// Images to train on and to validate with, so many of each. Image number i depends on the seed, on
/// the lesions and on i alone.
pub(crate) fn dataset([train, validation]: [usize; 2], seed: u64, sizes: Option<Lesions>) -> Dataset {
    let make = |stream: u64, kind: &str, i: usize| lesions(format!("{kind} {}", i + 1), seed, stream + i as u64, sizes);
    Dataset {
        origin: format!("made-up lesions, {SIDE}x{SIDE}"),
        classes: 2,
        class_names: ["background", "lesion"].map(String::from).into(),
        reading: Reading::default(),
        overlapping: false,
        channels: 1,
        volumes: false,
        common: segloss_data::Common::default(),
        notes: Vec::new(),
        train: (0..train).map(|i| make(0, "training", i)).collect(),
        validation: (0..validation).map(|i| make(1 << 32, "validation", i)).collect(),
    }
}

/// One image.
fn lesions(name: String, seed: u64, stream: u64, sizes: Option<Lesions>) -> Picture {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    let mut canvas = Canvas { grey: Array2::zeros([SIDE, SIDE]), rng };
    let mut labels = Array2::zeros([SIDE, SIDE]);

    canvas.light();
    canvas.texture();
    for _ in 0..canvas.count(0, 2) {
        canvas.haze();
    }
    for _ in 0..canvas.count(1, 3) {
        canvas.vessel();
    }
    for _ in 0..canvas.count(0, 2) {
        canvas.hole();
    }
    let count = canvas.count(1, 3);
    match sizes {
        Some(sizes) => canvas.lesions_of(sizes, count, &mut labels),
        None => (0..count).for_each(|_| {
            let centre = canvas.place(7.0);
            let [strength, radius] = [canvas.uniform(24.0, 55.0), canvas.uniform(2.0, 5.2)];
            canvas.lesion(centre, strength, radius, &mut labels);
        }),
    }
    canvas.specks();
    canvas.noise();
    Picture::new(name, canvas.grey.mapv(|v| v.clamp(0.0, 255.0) as u8), labels)
}

/// An image in the making.
struct Canvas {
    grey: Array2<f32>,
    rng: ChaCha8Rng,
}

impl Canvas {
    fn count(&mut self, least: usize, most: usize) -> usize {
        self.rng.random_range(least..=most)
    }

    fn uniform(&mut self, low: f32, high: f32) -> f32 {
        self.rng.random_range(low..high)
    }

    fn place(&mut self, margin: f32) -> [f32; 2] {
        [0, 1].map(|_| self.uniform(margin, SIDE as f32 - margin))
    }

    fn add(&mut self, value: impl Fn(f32, f32) -> f32) {
        for ((y, x), grey) in self.grey.indexed_iter_mut() {
            *grey += value(y as f32, x as f32);
        }
    }

    /// Uneven light: a slope and a slow wave.
    fn light(&mut self) {
        let level = self.uniform(70.0, 110.0);
        let [slope, wave] = [self.uniform(10.0, 45.0), self.uniform(4.0, 14.0)];
        let [towards, along, phase] = [0, 1, 2].map(|_| self.uniform(0.0, TAU));
        let frequency = self.uniform(0.8, 1.6) * TAU / SIDE as f32;
        let half = SIDE as f32 / 2.0;
        self.add(|y, x| {
            let [v, u] = [y / half - 1.0, x / half - 1.0];
            let ripple = (frequency * (x * along.cos() + y * along.sin()) + phase).sin();
            level + slope * (u * towards.cos() + v * towards.sin()) + wave * ripple
        });
    }

    /// Tissue: smooth noise at two scales.
    fn texture(&mut self) {
        for (cell, strength) in [(8, 7.0), (3, 6.0)] {
            let nodes = SIDE / cell + 2;
            let rng = &mut self.rng;
            let grid = Array2::from_shape_simple_fn([nodes, nodes], || rng.random_range(-1.0f32..1.0));
            self.add(|y, x| {
                let [y, x] = [y / cell as f32, x / cell as f32];
                let [i, j] = [y as usize, x as usize];
                let [v, u] = [y.fract(), x.fract()];
                let row = |i| grid[[i, j]] * (1.0 - u) + grid[[i, j + 1]] * u;
                strength * (row(i) * (1.0 - v) + row(i + 1) * v)
            });
        }
    }

    /// Distractor: a wide, faint bright cloud.
    fn haze(&mut self) {
        let [cy, cx] = self.place(0.0);
        let [strength, width] = [self.uniform(15.0, 40.0), self.uniform(7.0, 15.0)];
        self.add(|y, x| strength * (-((y - cy).powi(2) + (x - cx).powi(2)) / (2.0 * width * width)).exp());
    }

    /// Distractor: a thin bright curve, as bright as a lesion.
    fn vessel(&mut self) {
        let [mut y, mut x] = self.place(0.0);
        let mut heading = self.uniform(0.0, TAU);
        let [strength, bend, width] = [self.uniform(25.0, 60.0), self.uniform(-0.08, 0.08), self.uniform(0.6, 1.1)];
        let mut distance = Array2::from_elem([SIDE, SIDE], f32::INFINITY);
        for _ in 0..60 {
            for ((i, j), d) in distance.indexed_iter_mut() {
                *d = d.min((i as f32 - y).powi(2) + (j as f32 - x).powi(2));
            }
            y += heading.sin();
            x += heading.cos();
            heading += bend;
        }
        self.add(|y, x| strength * (-distance[[y as usize, x as usize]] / (2.0 * width * width)).exp());
    }

    /// Distractor: a dark spot of a lesion's size.
    fn hole(&mut self) {
        let [cy, cx] = self.place(4.0);
        let [depth, radius] = [self.uniform(20.0, 45.0), self.uniform(2.0, 5.0)];
        self.add(|y, x| -depth * edge(radius - (y - cy).hypot(x - cx)));
    }

    /// Lesions that make up a share of the image. They part it unevenly; what one lacks because it
    /// lies on others or beyond the border, the next has more. What the last one lacks is lacking:
    /// of 25 % a tenth, on average.
    fn lesions_of(&mut self, Lesions([low, high]): Lesions, count: usize, labels: &mut Array2<u8>) {
        let share = low * (high / low).powf(self.uniform(0.0, 1.0));
        let area = share * (SIDE * SIDE) as f32;
        for left in (1..=count).rev() {
            let missing = area - labels.iter().filter(|&&label| label == 1).count() as f32;
            let part = if left == 1 { 1.0 } else { self.uniform(0.5, 1.5) / left as f32 };
            let radius = (missing.max(4.0) * part / PI).sqrt().max(0.8);
            let centre = self.place((1.2 * radius).clamp(2.0, SIDE as f32 / 2.0 - 1.0));
            let strength = self.uniform(24.0, 55.0);
            self.lesion(centre, strength, radius, labels);
        }
    }

    /// What is to be found: a bright blob of irregular outline.
    fn lesion(&mut self, [cy, cx]: [f32; 2], strength: f32, radius: f32, labels: &mut Array2<u8>) {
        let waves = [2.0, 3.0].map(|n| (n, self.uniform(0.0, 0.16), self.uniform(0.0, TAU)));
        let depth = |y: f32, x: f32| {
            let angle = (y - cy).atan2(x - cx);
            let outline = waves.iter().map(|(n, height, phase)| height * (n * angle + phase).cos()).sum::<f32>();
            radius * (1.0 + outline) - (y - cy).hypot(x - cx)
        };
        self.add(|y, x| strength * edge(depth(y, x)));
        for ((y, x), label) in labels.indexed_iter_mut() {
            if depth(y as f32, x as f32) > 0.0 {
                *label = 1;
            }
        }
    }

    /// Distractor: single hot pixels.
    fn specks(&mut self) {
        for _ in 0..self.count(4, 12) {
            let at = [0, 1].map(|_| self.rng.random_range(0..SIDE));
            self.grey[at] += self.uniform(40.0, 90.0);
        }
    }

    /// Noise of the camera, by Box and Muller.
    fn noise(&mut self) {
        let strength = self.uniform(7.0, 14.0);
        let rng = &mut self.rng;
        self.grey.mapv_inplace(|grey| {
            let [radius, angle] = [rng.random_range(f32::EPSILON..1.0), rng.random_range(0.0..TAU)];
            grey + strength * (-2.0 * radius.ln()).sqrt() * angle.cos()
        });
    }
}

/// From 0 outside to 1 inside, over about two pixels.
fn edge(depth: f32) -> f32 {
    (depth / 2.0 + 0.5).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::super::data::Truth;
    use super::*;

    fn labels(picture: &Picture) -> impl Iterator<Item = &u8> {
        match &picture.truth {
            Truth::Labels(labels) => labels.iter(),
            Truth::Shares(_) => panic!("shares"),
        }
    }

    #[test]
    fn imbalanced_and_reproducible() {
        let data = dataset([40, 10], 7, None);
        assert_eq!((data.train.len(), data.validation.len()), (40, 10));
        let share = Dataset::shares(&data.train, 2)[1];
        assert!((0.01..0.06).contains(&share), "{share}");
        assert_eq!(data.train, dataset([40, 10], 7, None).train);
        // More images leave the first ones as they were; another seed does not.
        assert_eq!(data.train[..], dataset([41, 1], 7, None).train[..40]);
        assert_ne!(data.train[0].pixels, dataset([1, 1], 8, None).train[0].pixels);
        assert_ne!(data.train[0].pixels, data.validation[0].pixels);
    }

    #[test]
    fn lesions_have_the_size_that_was_asked_for() {
        for (text, low, high) in [("0.5", 0.004, 0.007), ("8", 0.06, 0.105), ("25", 0.16, 0.32), ("0.3:30", 0.002, 0.33)] {
            let sizes = text.parse::<Lesions>().unwrap();
            let data = dataset([60, 1], 3, Some(sizes));
            let shares: Vec<f64> = data.train.iter().map(|p| Dataset::shares(std::slice::from_ref(p), 2)[1]).collect();
            let within = shares.iter().filter(|share| (low..=high).contains(*share)).count();
            assert!(within >= 54, "{text}: {shares:?}");
            assert!(shares.iter().all(|share| *share > 0.0));
        }
        for refused in ["", "x", "0.05", "60", "3:2", "1:50", "nan", "1:2:3"] {
            assert!(refused.parse::<Lesions>().is_err(), "{refused}");
        }
    }

    #[test]
    fn lesions_are_brighter_than_their_surroundings_but_not_alone_in_that() {
        let data = dataset([20, 1], 1, None);
        let mean = |class: u8| {
            let values = data.train.iter().flat_map(|p| p.input.iter().zip(labels(p)));
            let values: Vec<f32> = values.filter(|&(_, &l)| l == class).map(|(&v, _)| v).collect();
            values.iter().sum::<f32>() / values.len() as f32
        };
        assert!(mean(1) > mean(0) + 0.5);
        // No threshold would do: much of the background is brighter than the mean lesion.
        let values = data.train.iter().flat_map(|p| p.input.iter().zip(labels(p)));
        let brighter = values.filter(|&(&v, &l)| l == 0 && v > mean(1)).count();
        let lesion = data.train.iter().flat_map(labels).filter(|&&l| l == 1).count();
        assert!(brighter > lesion);
    }
}
