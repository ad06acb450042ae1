use crate::expr::{Expr, Regions, Scalar};
use crate::maps::{Derive, Scope, View};
use crate::number::number;
use crate::options::{ClassOptions, Pooling, require, setters};
use crate::spec::describe::{Describe, Visitor};
use crate::term::Term;
use crate::{Activation, GroundTruthMatching, InsideTruth, LossError, Map, Side};

/// Top-k Cross-Entropy: the mean of −log p of the true class over the hardest pixels alone.
///
/// Of n valid pixels it takes the ⌈fraction·n⌉ with the largest −log p_y, and at least one.
/// Pixels tied at the threshold share the remaining places. No gradient flows through the choice.
///
/// - Pixel weights and class weights count in the mean, not in the ranking. With class weights c,
///   softmax divides by `Σ_k c_k T_k` of the pixels taken.
/// - Under sigmoid each channel ranks its own pixels. The value is the weighted mean over channels.
/// - `pooling=batch` ranks the pixels of the whole batch. `pooling=sample` ranks each sample by
///   itself and averages the samples.
/// - It is 0 where no pixel is valid.
///
/// It has no exact split: which pixels are hard says nothing about the sizes of whole regions.
///
/// The ranking runs on the host once a call, so a GPU waits for it. It takes 16 bytes for each
/// valid pixel and channel.
///
/// Source: Wu et al., "Bridging Category-level and Instance-level Semantic Image Segmentation",
/// arXiv 1605.06885. nnU-Net counts ignored pixels among the n, and returns NaN if it takes none.
///
/// ```
/// use loss_core::{matching, matching::TopK};
/// let loss = matching(TopK::new().fraction(0.2)?);
/// assert_eq!(loss.to_string(), "topk(fraction=0.2)");
/// assert!(TopK::new().fraction(0.0).is_err());
/// # Ok::<(), loss_core::LossError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TopK {
    fraction: f64,
    classes: ClassOptions,
    pooling: Pooling,
    activation: Option<Activation>,
}

impl Default for TopK {
    fn default() -> Self {
        Self { fraction: 0.1, classes: ClassOptions::default(), pooling: Pooling::Batch, activation: None }
    }
}

impl TopK {
    /// The hardest tenth of the batch's pixels.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Share of the valid pixels that is taken.
    ///
    /// # Errors
    /// [`LossError::OptionOutOfRange`] outside `(0, 1]`.
    pub fn fraction(mut self, fraction: f64) -> Result<Self, LossError> {
        self.fraction = fraction;
        self.check().map(|()| self)
    }

    fn contributions(&self, truth: &InsideTruth) -> Expr<Regions> {
        let truth = truth.under(self.activation);
        let activation = truth.activation();
        let map = Map::derived(HardestPixels { fraction: self.fraction, pooling: self.pooling, activation });
        let taken = truth.times(&map);
        let sides = taken.sides().iter().map(|&side| taken.log_likelihood(side)).reduce(|a, b| a + b);
        let weights = self.classes.expr();
        let losses = -(weights.clone() * sides.unwrap_or_else(|| Expr::constant(0.0)));
        let size = self.pooling.regions(truth.map_size(&map));
        match (activation, &self.classes.weights) {
            (Activation::Softmax, None) => losses.ratio(&size),
            (Activation::Softmax, Some(_)) => {
                losses.ratio(&(weights * self.pooling.regions(taken.target_size())).sum_classes())
            }
            (Activation::Sigmoid, _) => losses.ratio(&(size * weights.sum_classes())),
        }
    }
}

setters!(TopK []: pooling class_weights activation);

impl GroundTruthMatching for TopK {
    fn matching(&self, truth: &InsideTruth) -> Expr<Scalar> {
        self.pooling.total(&self.contributions(truth))
    }

    fn elements(&self, truth: &InsideTruth) -> Option<Expr<Regions>> {
        Some(self.contributions(truth))
    }

    crate::spec::describe::described!();
}

impl Describe for TopK {
    const NAME: &'static str = "topk";
    const SUMMARY: &'static str = "Cross-Entropy over the hardest pixels alone";
    const FORMULA: &'static str = "mean of the ⌈fraction·n⌉ largest -log p_y of the n valid pixels, at least one";

    fn visit(&mut self, visitor: &mut Visitor<'_>) -> Result<(), LossError> {
        visitor.option("fraction", "share of the valid pixels that is taken, above 0 to 1", &mut self.fraction)?;
        visitor.option("class_weights", "weight of each class", &mut self.classes.weights)?;
        visitor.option("pooling", "pixels of the batch, or of each sample", &mut self.pooling)?;
        visitor.option("activation", "the loss's own, or another", &mut self.activation)
    }

    fn check(&self) -> Result<(), LossError> {
        let fits = self.fraction > 0.0 && self.fraction <= 1.0;
        require(fits, Self::NAME, "fraction", self.fraction, "a share in (0, 1]")?;
        self.classes.check(Self::NAME)
    }

    fn into_term(self) -> Term {
        Term::Matching(std::sync::Arc::new(self))
    }
}

/// The map `hardest_pixels`: 1 at the pixels that top-k Cross-Entropy takes, 0 at the others, and
/// between the two at pixels tied for the last places.
struct HardestPixels {
    fraction: f64,
    pooling: Pooling,
    activation: Activation,
}

impl HardestPixels {
    /// −log p_y of a pixel, for each channel of the map.
    fn losses(&self, view: &View<'_>, at: (usize, usize), log: &mut [f64], losses: &mut [f64]) {
        let (n, s) = at;
        losses.fill(0.0);
        let sides: &[Side] = match self.activation {
            Activation::Softmax => &[Side::Region],
            Activation::Sigmoid => &[Side::Region, Side::Background],
        };
        for &side in sides {
            view.log_probabilities(self.activation, side, at, log);
            for (k, log) in log.iter().enumerate() {
                let share = view.share(n, k, s);
                let share = if side == Side::Background { 1.0 - share } else { share };
                if share > 0.0 {
                    losses[if losses.len() == 1 { 0 } else { k }] -= share * log;
                }
            }
        }
    }
}

impl Derive for HardestPixels {
    fn name(&self) -> &'static str {
        "hardest_pixels"
    }

    fn id(&self) -> String {
        let pooling = if self.pooling == Pooling::Batch { "batch" } else { "sample" };
        format!("{}({}, {pooling}, {})", self.name(), number(self.fraction), self.activation)
    }

    fn scope(&self) -> Scope {
        match self.pooling {
            Pooling::Batch => Scope::Batch,
            Pooling::Sample => Scope::Sample,
        }
    }

    fn channels(&self, classes: usize) -> usize {
        if self.activation == Activation::Softmax { 1 } else { classes }
    }

    fn reads_spacing(&self) -> bool {
        false
    }

    fn bound(&self) -> f64 {
        1.0
    }

    fn fill(&self, view: &View<'_>, out: &mut [f32]) -> Result<(), LossError> {
        let (channels, pixels) = (self.channels(view.classes()), view.pixels());
        let (mut log, mut losses) = (vec![0.0; view.classes()], vec![0.0; channels]);
        // Per channel, of each valid pixel its loss and its place in the map.
        let mut ranks: Vec<Vec<(f64, usize)>> = vec![Vec::new(); channels];
        out.fill(0.0);
        for (n, s) in (0..view.samples()).flat_map(|n| (0..pixels).map(move |s| (n, s))) {
            if view.weight(n, s) > 0.0 {
                self.losses(view, (n, s), &mut log, &mut losses);
                let places = ranks.iter_mut().zip(&losses).enumerate();
                places.for_each(|(k, (rank, loss))| rank.push((*loss, (n * channels + k) * pixels + s)));
            }
        }
        for rank in &mut ranks {
            let count = count(self.fraction, rank.len());
            take_largest(rank, count, out);
        }
        Ok(())
    }
}

/// ⌈fraction·n⌉, at least one where there are any. A product that misses an integer by
/// rounding counts as that integer.
fn count(fraction: f64, n: usize) -> usize {
    let exact = fraction * n as f64;
    let whole = exact.round();
    let near = (exact - whole).abs() <= 4.0 * f64::EPSILON * exact;
    (if near { whole } else { exact.ceil() } as usize).clamp(n.min(1), n)
}

/// Writes 1 at the places of the `count` largest; those equal to the least of them share what is
/// left of the count.
fn take_largest(rank: &mut [(f64, usize)], count: usize, out: &mut [f32]) {
    let Some(last) = count.checked_sub(1) else { return };
    let (_, &mut (least, _), _) = rank.select_nth_unstable_by(last, |a, b| b.0.total_cmp(&a.0));
    let above = rank.iter().filter(|(loss, _)| loss.total_cmp(&least).is_gt()).count();
    let tied = rank.iter().filter(|(loss, _)| loss.total_cmp(&least).is_eq()).count();
    let share = (count - above) as f64 / tied as f64;
    for &(loss, place) in rank.iter() {
        match loss.total_cmp(&least) {
            std::cmp::Ordering::Greater => out[place] = 1.0,
            std::cmp::Ordering::Equal => out[place] = share as f32,
            std::cmp::Ordering::Less => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_taken_as_the_fraction_says() {
        let counts = [(0.1, 10), (0.1, 11), (0.07, 100), (1e-9, 5), (1.0, 7), (0.3, 0)].map(|(f, n)| count(f, n));
        assert_eq!(counts, [1, 2, 7, 1, 7, 0]);
    }

    #[test]
    fn ties_share_the_places_that_are_left() {
        let mut out = [9.0; 6];
        out.fill(0.0);
        let mut rank: Vec<_> = [1.0, 3.0, 2.0, 2.0, 0.0, 2.0].into_iter().zip(0..).collect();
        take_largest(&mut rank, 3, &mut out);
        assert_eq!(out, [0.0, 1.0, 2.0 / 3.0, 2.0 / 3.0, 0.0, 2.0 / 3.0]);
    }
}
