//! A size penalty of one's own, with its gradient, on two backends.
//!
//! ```text
//! cargo run --release -p conformance-tests --example size_cap
//! ```

use burn::tensor::{Device, Int, Tensor, TensorData};
use ndarray::array;
use segloss::burn::{BurnLoss, BurnTarget};
use segloss::expr::{Expr, Scalar};
use segloss::ndarray::{NdarrayLoss, Target};
use segloss::{RegionSizePenalty, RegionSizes, Temperature, matching, matching::CrossEntropy, penalty};

/// Proportions above a cap cost the square of what is above, summed over classes: Σ_k max(p̂_k
/// − cap_k, 0)².
pub struct SizeCap(pub Vec<f64>);

impl RegionSizePenalty for SizeCap {
    fn penalty(&self, sizes: &RegionSizes) -> Expr<Scalar> {
        (sizes.predicted(Temperature::ONE) - Expr::classes(&self.0)).relu().squared().sum_classes().mean_samples()
    }
}

/// Value and gradient on ndarray and on Burn.
///
/// # Errors
/// What either reports.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let loss = matching(CrossEntropy::new()) + 0.5 * penalty(SizeCap(vec![1.0, 0.05]));
    let logits = array![[[2.0f32, 0.5, 1.0], [0.0, 1.5, -1.0]]];
    let labels = array![[0u8, 1, 0]];

    let result = loss.value_and_gradient(logits.view(), &Target::labels(labels.view()))?;
    println!("{loss}\nndarray  {:.6}  {:.4?}", result.value.total, result.gradient.as_slice().unwrap_or_default());

    let tensor = Tensor::<3>::from_data(TensorData::from([[[2.0f32, 0.5, 1.0], [0.0, 1.5, -1.0]]]), &Device::flex().autodiff());
    let tensor = tensor.require_grad();
    let total = loss.forward(tensor.clone(), &BurnTarget::labels(Tensor::<2, Int>::from([[0, 1, 0]])))?.total;
    let gradient = tensor.grad(&total.backward()).ok_or("the total depends on the logits")?;
    println!("burn     {:.6}  {:.4?}", total.into_scalar::<f32>(), gradient.into_data().try_into_vec::<f32>()?);
    Ok(())
}
