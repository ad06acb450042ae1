//! One large case: what a hundred million numbers do to an accumulated sum.

use loss_core::Loss;

use super::Reference;
use crate::check::run;
use crate::inputs::input;
use crate::oracle::{self, Target};
use crate::tolerance::{Compared, compared, tolerance};
use crate::{Adapter, Dtype, Input};

/// A small scene repeated along its pixels until it holds 10⁸ logits.
///
/// The losses used depend on proportions alone, so that value and parts are those of the small
/// scene, and each pixel's gradient is that of its original divided by the number of repetitions:
/// the oracle need not see the large one.
#[derive(Clone, Copy, Debug)]
pub struct Large {
    /// Pixels.
    pub pixels: usize,
}

/// Pixels of the small scene: no power of two, so that blocks and repetitions do not fall together.
const PERIOD: usize = 997;
const CLASSES: usize = 4;

impl Large {
    /// Text of the loss.
    pub const LOSS: &str = "ce + dice + l1(epsilon=0)";
    /// Type of its logits.
    pub const DTYPE: Dtype = Dtype::F32;

    /// Its situation: how many numbers there are.
    #[must_use]
    pub fn situation(self) -> String {
        format!("{:.0e} logits", (CLASSES * self.pixels) as f64)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> String {
        format!("ce + dice + l1 with {}", self.situation())
    }

    /// Runs a backend and measures it against the oracle's answer for the small scene.
    ///
    /// # Errors
    /// What the backend reports, in words.
    pub fn measure(self, adapter: &dyn Adapter) -> Result<Vec<Compared>, String> {
        let dtype = Self::DTYPE;
        let small = input(&[1, CLASSES, PERIOD], 4242);
        let Target::Labels(labels) = &small.target else { return Err("the scene has labels".to_owned()) };
        let repetitions = self.pixels / PERIOD;
        let repeat = |row: &[f64]| row.iter().copied().cycle().take(repetitions * PERIOD).collect::<Vec<f64>>();
        let logits: Vec<f64> = small.logits.iter().map(|&z| dtype.round(z)).collect();
        let large = Input {
            shape: vec![1, CLASSES, repetitions * PERIOD],
            logits: logits.chunks(PERIOD).flat_map(repeat).collect(),
            target: Target::Labels(labels.iter().copied().cycle().take(repetitions * PERIOD).collect()),
            ..small.clone()
        };
        let problem = Input { logits, ..small.clone() }.problem(oracle::Activation::Softmax, Vec::new());
        let loss: Loss = Self::LOSS.parse().map_err(|error: loss_core::LossError| error.to_string())?;
        let terms = [
            (1.0, oracle::Term::CrossEntropy(oracle::CrossEntropy::default())),
            (1.0, oracle::Term::Ratio(oracle::Ratio::default())),
            (1.0, oracle::Term::L1(oracle::Proportion { epsilon: 0.0, ..Default::default() })),
        ];
        let want = oracle::answer(&problem, &terms);
        let got = run(adapter, &loss, &large, dtype)?;
        let allowed = tolerance(dtype, [1, CLASSES, repetitions * PERIOD]).with_algebra_in(adapter.algebra(), CLASSES);
        let mut all = Reference::new(&want, allowed).values(&got)?;
        let share = 1.0 / repetitions as f64;
        let gradient: Vec<f64> = want.gradient.iter().map(|g| g * share).collect();
        let scale = want.gradient_scale * share;
        for (k, row) in got.gradient.chunks(repetitions * PERIOD).enumerate() {
            let want = &gradient[k * PERIOD..(k + 1) * PERIOD];
            let each = row.chunks(PERIOD).map(|got| compared("gradient", got, want, scale, allowed));
            all.extend(Compared::worst(each.collect::<Result<Vec<_>, _>>()?));
        }
        Ok(all)
    }
}
