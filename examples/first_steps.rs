//! The program of the README.

use ndarray::array;
use segloss::ndarray::prelude::*;

fn main() -> Result<(), LossError> {
    let loss = matching(CrossEntropy::new()) + 0.5 * penalty(L1::new()); // or "ce + 0.5 * l1".parse()?
    let logits = array![[[2.0f32, 0.5, -0.2], [0.0, 1.5, 0.3]]]; // one sample, two classes, three pixels
    let labels = array![[0u8, 1, 0]];
    let target = Target::labels(labels.view());
    for t in loss.evaluate(logits.view(), &target)?.terms {
        let Some(Split { matching, size, constant, .. }) = t.split else { continue };
        println!("{:<3} {:.4} = matching {matching:.4} + size {size:.4} + constant {constant:.4}", t.name, t.value);
    }
    println!("gradient {:.4}", loss.value_and_gradient(logits.view(), &target)?.gradient);
    Ok(())
}
