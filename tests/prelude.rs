//! Programs as users write them: globs beside the tensor library's own name.
#![cfg(feature = "ndarray")]

mod losses {
    use ndarray::array;
    use segloss::ndarray::{NdarrayLoss, Target};
    use segloss::prelude::*;

    #[test]
    fn the_prelude_stands_beside_ndarray() -> Result<(), LossError> {
        let terms = [
            matching(CrossEntropy::new().class_weights(&[1.0, 2.0])?),
            matching(Focal::new().activation(Activation::Softmax)) + matching(LogRecall::new().absent(AbsentClass::Skip)),
            penalty(L1::new().target(SizeTarget::Prior(vec![0.5, 0.5]))?) + penalty(Kl::new()) + penalty(DiceBias::new()),
            overlap(Dice::new().form(Form::Log)) + overlap(Jaccard::new().pooling(Pooling::Sample)),
            overlap(Tversky::new().alpha(0.3)?) + overlap(GeneralizedDice::new().weighting(RegionWeight::Simple)),
        ];
        let loss = terms.into_iter().reduce(|a, b| a + b).unwrap_or_default().scheduled(Schedule::Constant(0.5))?;
        let (logits, labels) = (array![[[2.0f64, 0.5], [0.0, 1.5]]], array![[0u8, 1]]);
        let evaluation: Evaluation = loss.evaluate(logits.view(), &Target::labels(labels.view()))?;
        assert_eq!(evaluation.terms.len(), 10);
        Ok(())
    }
}

/// The README's first lines.
mod ndarray_alone {
    use ndarray::array;
    use segloss::ndarray::prelude::*;

    #[test]
    fn its_prelude_is_all_that_a_program_needs() -> Result<(), LossError> {
        let loss: Loss = "ce + 0.5 * l1".parse()?;
        let (logits, labels) = (array![[[2.0f32, 0.5], [0.0, 1.5]]], array![[0u8, 1]]);
        let result = loss.value_and_gradient(logits.view(), &Target::labels(labels.view()))?;
        assert!(result.value.total > 0.0);
        Ok(())
    }
}

#[test]
fn what_a_backend_is_written_with_has_a_module() {
    use segloss::backend::{Algebra, HostAlgebra, Op, Table};
    let sum = HostAlgebra.apply(Op::Add, &[&Table::scalar(1.0), &Table::scalar(2.0)]).unwrap();
    assert_eq!(sum.values(), [3.0]);
}
