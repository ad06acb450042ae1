//! Shapes and losses that are measured: the one place where they stand.

use loss_core::Activation;

/// Logits of a shape, under an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// `[N, K, *spatial]`.
    pub shape: &'static [usize],
    /// Softmax, or sigmoid of one channel.
    pub activation: Activation,
}

const SOFTMAX: Activation = Activation::Softmax;
const SIGMOID: Activation = Activation::Sigmoid;

const fn case(shape: &'static [usize], activation: Activation) -> Case {
    Case { shape, activation }
}

/// The loss of the main comparison: Cross-Entropy, Dice over the batch, and L1 of the proportions
/// at temperature 10.
pub const LOSS: &str = "ce + dice + l1";

/// MONAI's `DiceCELoss` at its defaults (docs/peers.md).
pub const DICE_CE: &str = "dice(pooling=sample, absent=count, smooth_numerator=1e-5, smooth_denominator=1e-5) + ce";

/// Terms to add to [`LOSS`] one after the other. None needs a temperature, or a pass, that it has
/// not.
pub const MORE_TERMS: &[&str] = &["tversky", "jaccard", "db", "kl", "dice(form=log)", "log_recall"];

/// The cases of the main comparison: slices, volumes, small images, and lesions against a
/// background.
pub const MAIN: &[Case] = &[
    case(&[4, 20, 512, 512], SOFTMAX),
    case(&[2, 4, 96, 96, 96], SOFTMAX),
    SMALL,
    case(&[1, 2, 128, 128, 128], SOFTMAX),
    case(&[1, 1, 128, 128, 128], SIGMOID),
];

/// The one of them that takes no time.
pub const SMALL: Case = case(&[8, 4, 256, 256], SOFTMAX);

/// For Cross-Entropy alone: from 4096 to 21 million logits.
pub const CROSS_ENTROPY: &[Case] = &[
    case(&[1, 4, 32, 32], SOFTMAX),
    case(&[1, 4, 64, 64], SOFTMAX),
    case(&[1, 4, 128, 128], SOFTMAX),
    case(&[1, 4, 256, 256], SOFTMAX),
    SMALL,
    case(&[2, 4, 96, 96, 96], SOFTMAX),
    case(&[4, 20, 512, 512], SOFTMAX),
];

/// A gigabyte of logits.
pub const VOLUME: Case = case(&[2, 32, 160, 160, 160], SOFTMAX);

/// For instruction counts, under an emulator that is fifty times slower.
pub const COUNTED: &[Case] = &[case(&[1, 4, 64, 64], SOFTMAX), case(&[1, 20, 64, 64], SOFTMAX), case(&[1, 1, 64, 64], SIGMOID)];

/// Losses whose instructions are counted.
pub const COUNTED_LOSSES: &[&str] = &["ce", "dice", "focal", LOSS];

/// A seed for logits; labels have the next.
pub const SEED: u64 = 2024;

impl Case {
    /// Number of logits.
    #[must_use]
    pub fn logits(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it is sigmoid.
    #[must_use]
    pub fn sigmoid(&self) -> bool {
        self.activation == SIGMOID
    }

    /// `4×20×512×512`, and the activation where it is not softmax.
    #[must_use]
    pub fn name(&self) -> String {
        let shape = name_of(self.shape);
        if self.sigmoid() { format!("{shape} sigmoid") } else { shape }
    }
}

/// `4×20×512×512`.
#[must_use]
pub fn name_of(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×")
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::HashSet;

    use super::*;
    use loss_core::expr::Table;
    use loss_core::{Geometry, Loss, LossError, Passes, Plan, Probability, Temperature};

    /// Notes what is asked of it, and knows no answer.
    #[derive(Default)]
    struct Noting(RefCell<HashSet<Probability>>);

    impl Passes for Noting {
        type Gradient = ();

        fn geometry(&self) -> Geometry {
            Geometry { samples: 2, classes: 3, pixels: 5 }
        }

        fn prior(&self) -> Option<&Table> {
            None
        }

        fn statistics(&self, plan: &Plan) -> Result<Vec<Table>, LossError> {
            self.0.borrow_mut().extend(plan.statistics().iter().filter_map(|statistic| statistic.probability()));
            Err(LossError::Empty { what: "logits", shape: Vec::new() })
        }

        fn logit_gradient(&self, _: &Plan, _: &[Option<Table>], (): &mut ()) -> Result<(), LossError> {
            Ok(())
        }

        fn gradient_sums(&self, _: &Plan, _: &[Vec<Option<Table>>]) -> Result<Vec<Table>, LossError> {
            Ok(Vec::new())
        }
    }

    fn probabilities(text: &str) -> HashSet<Probability> {
        let (loss, mut noting): (Loss, _) = (text.parse().unwrap(), Noting::default());
        assert!(loss.evaluate_on(&mut noting).is_err());
        noting.0.into_inner()
    }

    #[test]
    fn added_terms_need_no_other_probabilities() {
        let base = probabilities(LOSS);
        let temperatures: HashSet<_> = base.iter().map(|p| p.temperature).collect();
        assert_eq!(temperatures, HashSet::from([Temperature::ONE, Temperature::TEN]));
        for term in MORE_TERMS {
            assert!(probabilities(term).is_subset(&base), "{term}");
        }
    }

    #[test]
    fn every_loss_fits_its_cases() {
        for text in [LOSS, DICE_CE].into_iter().chain(COUNTED_LOSSES.iter().copied()) {
            assert!(!probabilities(text).is_empty(), "{text}");
        }
        let alone = |case: &Case| case.sigmoid() == (case.shape[1] == 1);
        assert!([MAIN, CROSS_ENTROPY, COUNTED].concat().iter().all(alone));
    }

    #[test]
    fn names() {
        assert_eq!(SMALL.name(), "8×4×256×256");
        assert_eq!(MAIN[4].name(), "1×1×128×128×128 sigmoid");
        assert_eq!(MAIN[0].logits(), 20_971_520);
    }
}
