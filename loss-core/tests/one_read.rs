//! Which losses know their derivatives before the logits are read.

use loss_core::{Detail, Loss, Statistic};

fn target_plan(text: &str) -> Option<Vec<Statistic>> {
    let loss: Loss = text.parse().unwrap();
    let program = loss.program(3, Detail::Total).unwrap();
    program.target_plan().map(|plan| plan.statistics().to_vec())
}

#[test]
fn means_over_pixels_take_one_read() {
    for text in
        ["ce", "ce(pooling=sample)", "ce(label_smoothing=0.1)", "focal", "focal(activation=softmax)", "0.5 * ce + focal"]
    {
        assert_eq!(target_plan(text), Some(vec![Statistic::VALID_SIZE]), "{text}");
    }
    let weighted = target_plan("ce(class_weights=[1, 2, 3])").unwrap();
    assert!(weighted.contains(&Statistic::TARGET_SIZE), "its divisor is a sum over the target: {weighted:?}");
}

#[test]
fn functions_of_regions_take_two() {
    for text in ["dice", "log_recall", "l1", "kl", "db", "jaccard", "tversky", "gdice", "ce + dice", "ce + 0.1 * l1"] {
        assert_eq!(target_plan(text), None, "{text}");
    }
}
