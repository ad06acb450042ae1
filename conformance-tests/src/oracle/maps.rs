//! Maps: factors of pixels and classes, constants to the gradient. Given, or derived by brute
//! force.

use super::options::{Pooling, TopK};
use super::{Activation, Quantity, World};

/// A factor for each valid pixel and class.
pub(super) type Map = Vec<Vec<f64>>;

impl World<'_> {
    /// The map that comes with the problem under a name, if one does; of several the last.
    pub(super) fn given_map(&self, name: &str) -> Option<Map> {
        let count = self.problem.pixels;
        let map = self.problem.maps.iter().rfind(|map| map.name == name)?;
        let channel = |k: usize| if map.channels == 1 { 0 } else { k };
        let factors = self.pixels.iter().map(|pixel| {
            let at = |k: usize| (pixel.sample * map.channels + channel(k)) * count + pixel.place;
            (0..self.problem.classes).map(|k| map.values[at(k)]).collect()
        });
        Some(factors.collect())
    }

    /// φ: outside the true region the distance d to it, inside −(d − 1) with d the distance to
    /// what is outside; 0 where the other side is empty. Rounded to `f32`. NaN without labels.
    pub(super) fn signed_distances(&self) -> Map {
        let classes = self.problem.classes;
        if matches!(self.problem.target, super::Target::Soft(_)) {
            return vec![vec![f64::NAN; classes]; self.pixels.len()];
        }
        let places: Vec<Vec<f64>> = self.pixels.iter().map(|pixel| self.indices(pixel.place)).collect();
        let spacing = self.problem.spacing.clone().unwrap_or_else(|| vec![1.0; self.problem.spatial.len()]);
        let squared = |i: usize, j: usize| -> f64 {
            let along = places[i].iter().zip(&places[j]).zip(&spacing).map(|((a, b), length)| (a - b) * length);
            along.map(|distance| distance * distance).sum()
        };
        let mut map = vec![vec![0.0; classes]; self.pixels.len()];
        for (n, k) in (0..self.problem.samples).flat_map(|n| (0..classes).map(move |k| (n, k))) {
            let of_sample = (0..self.pixels.len()).filter(|&i| self.pixels[i].sample == n);
            let (inside, outside): (Vec<_>, Vec<_>) = of_sample.partition(|&i| self.pixels[i].target[k] == 1.0);
            let nearest =
                |i: usize, others: &[usize]| others.iter().map(|&j| squared(i, j)).min_by(f64::total_cmp).map(f64::sqrt);
            for &i in &outside {
                map[i][k] = nearest(i, &inside).map_or(0.0, |d| f64::from(d as f32));
            }
            for &i in &inside {
                map[i][k] = nearest(i, &outside).map_or(0.0, |d| f64::from(-(d - 1.0) as f32));
            }
        }
        map
    }

    /// Index of a pixel along each spatial axis.
    fn indices(&self, place: usize) -> Vec<f64> {
        let mut rest = place;
        let axes = self.problem.spatial.iter().rev().map(|&length| {
            let index = rest % length;
            rest /= length;
            index as f64
        });
        let reversed: Vec<f64> = axes.collect();
        reversed.into_iter().rev().collect()
    }

    /// m: 1 for the hardest fraction of the valid pixels of the batch or of each sample, by their
    /// unweighted Cross-Entropy; those tied at the threshold share the places that are left.
    pub(super) fn hardest_pixels(&mut self, o: &TopK, activation: Activation) -> Map {
        let losses = self.ranked(activation);
        let mut map = losses.clone();
        for group in self.groups(o.pooling) {
            for k in 0..losses[group[0]].len() {
                let of_group: Vec<f64> = group.iter().map(|&i| losses[i][k]).collect();
                let (threshold, at_threshold) = share_at_threshold(&of_group, o.fraction);
                for &i in &group {
                    let tied = losses[i][k] == threshold;
                    map[i][k] = if tied { at_threshold } else { f64::from(u8::from(losses[i][k] > threshold)) };
                }
            }
        }
        // One for all classes under softmax.
        let whole = |row: Vec<f64>| if row.len() == 1 { vec![row[0]; self.problem.classes] } else { row };
        map.into_iter().map(whole).collect()
    }

    /// What each pixel is ranked by: one number under softmax, one for each class under sigmoid.
    pub(super) fn ranked(&mut self, activation: Activation) -> Vec<Vec<f64>> {
        let pixels = 0..self.pixels.len();
        let of_pixel = |i: usize| {
            let [inside, outside] = [false, true].map(|outside| {
                let logs = self.pixel(i, Quantity::Log(activation, outside));
                logs.into_iter().map(|log| self.tape.value(log)).collect::<Vec<f64>>()
            });
            let target = self.pixels[i].target.iter().enumerate();
            match activation {
                Activation::Softmax => vec![target.map(|(k, y)| -y * inside[k]).sum()],
                Activation::Sigmoid => target.map(|(k, y)| -(y * inside[k] + (1.0 - y) * outside[k])).collect(),
            }
        };
        pixels.map(of_pixel).collect()
    }

    /// Valid pixels that are ranked together, where there are any.
    pub(super) fn groups(&self, pooling: Pooling) -> Vec<Vec<usize>> {
        let of = |n: usize| (0..self.pixels.len()).filter(|&i| self.pixels[i].sample == n).collect::<Vec<_>>();
        let samples: Vec<_> = (0..self.problem.samples).map(of).collect();
        let groups = if pooling == Pooling::Sample { samples } else { vec![samples.concat()] };
        groups.into_iter().filter(|group| !group.is_empty()).collect()
    }
}

/// How many a fraction of n is: rounded up, at least 1.
fn count(fraction: f64, n: usize) -> usize {
    let exact = fraction * n as f64;
    // 0.07 of 100 is 7, whatever the product rounds to.
    let whole = if (exact - exact.round()).abs() < 1e-9 { exact.round() } else { exact.ceil() };
    (whole as usize).clamp(1, n)
}

/// The least of the losses chosen, and which share of those equal to it is.
pub(super) fn share_at_threshold(losses: &[f64], fraction: f64) -> (f64, f64) {
    let count = count(fraction, losses.len());
    let mut sorted = losses.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let threshold = sorted[count - 1];
    let above = losses.iter().filter(|loss| **loss > threshold).count();
    let tied = losses.iter().filter(|loss| **loss == threshold).count();
    // Maps are kept in `f32`.
    (threshold, f64::from(((count - above) as f64 / tied as f64) as f32))
}

/// How far the losses next to the threshold are from it, relative to the larger of the two, at
/// least: nearer than a backend's rounding, it may choose others.
#[cfg(test)]
pub(crate) fn clearance(problem: &super::Problem, o: &TopK) -> f64 {
    let mut world = World::new(problem);
    let losses = world.ranked(o.activation.unwrap_or(problem.activation));
    let columns = losses.first().map_or(0, Vec::len);
    let ranks = world.groups(o.pooling).into_iter().flat_map(|group| (0..columns).map(move |k| (group.clone(), k)));
    let of_rank = ranks.map(|(group, k)| {
        let of_group: Vec<f64> = group.iter().map(|&i| losses[i][k]).collect();
        let (threshold, _) = share_at_threshold(&of_group, o.fraction);
        let others = of_group.iter().filter(|loss| **loss != threshold);
        others.map(|loss| (loss - threshold).abs() / loss.max(threshold)).fold(f64::INFINITY, f64::min)
    });
    of_rank.fold(f64::INFINITY, f64::min)
}
