//! Numbers by seed and image: their mean, and how it varies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How images belong to seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Design {
    /// All seeds have the same images, as those of a folder: the chance of seeds and of images
    /// crosses.
    Crossed,
    /// Each seed has images of its own, as data that are made up for each: images are nested in
    /// seeds.
    Nested,
}

/// How much single numbers vary, as standard deviations: what more seeds and more images would
/// average out. Estimated from variances of the mean (analysis of variance); a part whose variance
/// comes out below 0 is 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// How images belong to seeds.
    pub design: Design,
    /// Of seeds: what all images of a seed share.
    pub seeds: f64,
    /// Of images: what all seeds share on an image. 0 where images are nested; there it is in the
    /// rest.
    pub images: f64,
    /// Of the rest: what an image has with one seed alone.
    pub rest: f64,
}

/// A part of the mean's variance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) variance: f64,
    pub(crate) freedom: f64,
}

/// The mean's variance as one would estimate it from...
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Parts {
    /// ... seeds alone; `None` of one seed.
    pub(crate) seeds: Option<Part>,
    /// ... images alone: crossed, of means over seeds; nested, within the seeds. `None` where a
    /// variance would need one more.
    pub(crate) images: Option<Part>,
    /// ... what is left beside seeds and images, and is in both of the others. Nested, as `images`.
    pub(crate) rest: f64,
    /// Variance of one number about what its seed and image have in common with others.
    residual: f64,
    /// Seeds and images.
    counts: [f64; 2],
}

/// Numbers at some pairs of seed and image, in the order of seeds, then images.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) design: Design,
    pub(crate) seeds: usize,
    pub(crate) images: usize,
    cells: Vec<(usize, usize, f64)>,
}

impl Sample {
    /// Of numbers by seed and image's name. Nested, an image is another with each seed.
    pub(crate) fn new<'a>(design: Design, values: impl IntoIterator<Item = (u64, &'a str, f64)>) -> Self {
        let mut sorted: Vec<(u64, &str, f64)> = values.into_iter().collect();
        sorted.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        let (mut seeds, mut images) = (BTreeMap::new(), BTreeMap::new());
        for &(seed, image, _) in &sorted {
            seeds.insert(seed, 0);
            images.insert((if design == Design::Nested { seed } else { 0 }, image), 0);
        }
        seeds.values_mut().enumerate().for_each(|(index, at)| *at = index);
        images.values_mut().enumerate().for_each(|(index, at)| *at = index);
        let place = |(seed, image, value): (u64, &str, f64)| {
            (seeds[&seed], images[&(if design == Design::Nested { seed } else { 0 }, image)], value)
        };
        let cells = sorted.into_iter().map(place).collect();
        Self { design, seeds: seeds.len(), images: images.len(), cells }
    }

    pub(crate) fn pairs(&self) -> usize {
        self.cells.len()
    }

    /// Whether all numbers are 0.
    pub(crate) fn is_zero(&self) -> bool {
        self.cells.iter().all(|&(_, _, value)| value == 0.0)
    }

    /// Means of the cells that share a seed or an image, each cell weighed; `None` where the
    /// weights are 0.
    fn means(&self, of: usize, key: impl Fn(usize, usize) -> usize, weight: impl Fn(usize, usize) -> f64) -> Vec<Option<f64>> {
        let mut sums = vec![(0.0, 0.0); of];
        for &(seed, image, value) in &self.cells {
            let (sum, weights) = &mut sums[key(seed, image)];
            let weight = weight(seed, image);
            *sum += weight * value;
            *weights += weight;
        }
        sums.into_iter().map(|(sum, weights)| (weights > 0.0).then(|| sum / weights)).collect()
    }

    /// Of each image, the mean over the seeds that have it.
    pub(crate) fn image_means(&self) -> Vec<f64> {
        self.means(self.images, |_, image| image, |_, _| 1.0).into_iter().flatten().collect()
    }

    /// Of each seed, the mean over its images.
    pub(crate) fn seed_means(&self) -> Vec<f64> {
        self.means(self.seeds, |seed, _| seed, |_, _| 1.0).into_iter().flatten().collect()
    }

    /// Crossed, the mean over images of means over seeds; nested, the mean over seeds of means over
    /// their images. Without missing numbers both are the mean of all.
    pub(crate) fn mean(&self) -> Option<f64> {
        match self.design {
            Design::Crossed => mean(&self.image_means()),
            Design::Nested => mean(&self.seed_means()),
        }
    }

    /// The mean with each seed taken as often as it says; crossed. `None` where no image is left.
    pub(crate) fn mean_of_seeds(&self, times: &[usize]) -> Option<f64> {
        let means = self.means(self.images, |_, image| image, |seed, _| times[seed] as f64);
        mean(&means.into_iter().flatten().collect::<Vec<f64>>())
    }

    /// The numbers of each seed, in the order of images.
    pub(crate) fn by_seed(&self) -> Vec<Vec<f64>> {
        let mut values = vec![Vec::new(); self.seeds];
        for &(seed, _, value) in &self.cells {
            values[seed].push(value);
        }
        values
    }

    /// Variances of the mean: by leaving out one seed or one image at a time (jackknife), which
    /// without missing numbers are MS/(SI) of the analysis of variance.
    pub(crate) fn parts(&self) -> Parts {
        match self.design {
            Design::Crossed => self.crossed(),
            Design::Nested => self.nested(),
        }
    }

    fn crossed(&self) -> Parts {
        let (images, s) = (self.image_means(), self.seeds as f64);
        let without = |seed: usize| {
            let times: Vec<usize> = (0..self.seeds).map(|other| usize::from(other != seed)).collect();
            self.mean_of_seeds(&times)
        };
        let left: Option<Vec<f64>> = (0..self.seeds).map(without).collect();
        let seeds = left.and_then(|left| part(&left, (s - 1.0) * (s - 1.0) / s));
        let residual = self.residual();
        // The mean's weights, squared: 1/(SI) without missing numbers.
        let mut seen = vec![0.0; self.images];
        self.cells.iter().for_each(|&(_, image, _)| seen[image] += 1.0);
        let weights = seen.iter().map(|n| 1.0 / n).sum::<f64>() / (images.len() as f64).powi(2);
        let counts = [s, images.len() as f64];
        Parts { seeds, images: part(&images, 1.0 / counts[1]), rest: residual * weights, residual, counts }
    }

    /// Variance of what remains of the numbers beside a part of each seed and one of each image, by
    /// least squares. 0 where nothing can remain.
    fn residual(&self) -> f64 {
        let freedom = (self.cells.len() + 1).saturating_sub(self.seeds + self.images);
        if freedom == 0 {
            return 0.0;
        }
        let mut rest = self.clone();
        let mut sum = f64::INFINITY;
        // Without missing numbers the first sweep is the last but one.
        for _ in 0..1000 {
            let seeds = rest.seed_means();
            rest.cells.iter_mut().for_each(|(seed, _, value)| *value -= seeds[*seed]);
            let images = rest.image_means();
            rest.cells.iter_mut().for_each(|(_, image, value)| *value -= images[*image]);
            let next = rest.cells.iter().map(|(_, _, value)| value * value).sum::<f64>();
            if next >= sum * (1.0 - 1e-9) {
                break;
            }
            sum = next;
        }
        sum / freedom as f64
    }

    fn nested(&self) -> Parts {
        let s = self.seeds as f64;
        let within = self.by_seed().iter().map(|values| part(values, 1.0)).collect::<Option<Vec<Part>>>();
        let counted = within.map(|within| {
            let of_mean = |part: &Part| part.variance / (part.freedom + 1.0) / (s * s);
            let freedom = within.iter().map(|part| part.freedom).sum::<f64>();
            let pooled = within.iter().map(|part| part.variance * part.freedom).sum::<f64>() / freedom;
            (Part { variance: within.iter().map(of_mean).sum(), freedom }, pooled)
        });
        Parts {
            seeds: part(&self.seed_means(), 1.0 / s),
            images: counted.map(|(part, _)| part),
            rest: counted.map_or(0.0, |(part, _)| part.variance),
            residual: counted.map_or(0.0, |(_, pooled)| pooled),
            counts: [s, self.images as f64],
        }
    }
}

impl Parts {
    /// `None` where there is no interval.
    pub(crate) fn spread(&self, design: Design) -> Option<Spread> {
        let [seeds, images] = self.counts;
        let beyond = |part: Part, times: f64| ((part.variance - self.rest).max(0.0) * times).sqrt();
        let images = match design {
            Design::Crossed => beyond(self.images?, images),
            Design::Nested => 0.0,
        };
        Some(Spread { design, seeds: beyond(self.seeds?, seeds), images, rest: self.residual.sqrt() })
    }
}

pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The variance of some numbers (of n - 1), times a factor; `None` of fewer than two.
fn part(values: &[f64], times: f64) -> Option<Part> {
    let mean = mean(values)?;
    let freedom = values.len() as f64 - 1.0;
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (freedom > 0.0).then(|| Part { variance: times * squares / freedom, freedom })
}
