//! Devices that CubeCL compiles for: the statistics of a plan are one operation with a hand-written
//! backward, a kernel pair that reads the logits where they are and allocates nothing of their size
//! but the gradient. The algebra on them is the ordinary one.

#![allow(
    clippy::collapsible_if,
    clippy::manual_div_ceil,
    clippy::manual_range_contains,
    clippy::needless_range_loop,
    reason = "what is proposed instead is not in the language of kernels"
)]

mod elementary;
mod gradient;
mod pixel;
mod recipe;
mod statistics;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, DispatchTensorKind, backend_extension};
use burn::tensor::{DType, Int, Shape, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::cubecl::prelude::{AddressType, CubeCount, CubeDim};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use loss_core::{LossError, Plan};

use crate::BurnTarget;
use crate::device::{no_kernel, wide};
use crate::target::Values;
use recipe::{Layout, Recipe};

/// Whether the tensor is one that the kernels read: on such a device, of single or half precision.
pub(crate) fn has_kernel<const D: usize>(logits: &Tensor<D>) -> bool {
    logits.dtype() != DType::F64 && on_cube(&logits.clone().into_dispatch().kind)
}

fn on_cube(kind: &DispatchTensorKind) -> bool {
    match kind {
        DispatchTensorKind::Cube(_) => true,
        DispatchTensorKind::Autodiff(inner) => on_cube(inner),
        #[allow(unreachable_patterns, reason = "which other backends there are, Burn's features say")]
        _ => false,
    }
}

fn packed_shape(logits: &Shape, recipe: &Recipe) -> Shape {
    let [samples, classes, _] = logits.dims();
    Shape::from([samples, recipe.numbers(classes)])
}

/// Statistics as one operation on Burn's tape: logits in, `[N, statistics · K]` out. What the
/// recipe does not read of labels, shares and weights is empty.
#[backend_extension(Cube, Autodiff, Fusion)]
pub(crate) trait RegionStatistics: Backend {
    /// The statistics of a recipe.
    #[fusion(dtype = DType::F32, shape = packed_shape(logits, recipe))]
    fn region_statistics(
        logits: FloatTensor<Self>,
        labels: IntTensor<Self>,
        shares: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        recipe: Recipe,
    ) -> FloatTensor<Self>;

    /// The gradient for the logits, given that of the statistics.
    #[fusion(dtype = logits, shape = logits)]
    fn region_statistics_backward(
        logits: FloatTensor<Self>,
        labels: IntTensor<Self>,
        shares: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        recipe: Recipe,
    ) -> FloatTensor<Self>;
}

/// Enough cubes in two dimensions: one alone ends at 65535 on some devices.
fn cubes(count: usize) -> CubeCount {
    let across = count.clamp(1, 32_768);
    CubeCount::Static(across as u32, count.div_ceil(across) as u32, 1)
}

/// What indices into the tensors need.
fn addresses(tensors: &[&CubeTensor]) -> AddressType {
    tensors.iter().map(|tensor| tensor.required_address_type()).max().unwrap_or_default()
}

fn empty(like: &CubeTensor, shape: Shape, dtype: DType) -> CubeTensor {
    empty_device_contiguous_dtype(like.client.clone(), like.device.clone(), shape, dtype)
}

impl RegionStatistics for CubeBackend {
    fn region_statistics(
        logits: CubeTensor,
        labels: CubeTensor,
        shares: CubeTensor,
        weights: CubeTensor,
        recipe: Recipe,
    ) -> CubeTensor {
        let [logits, labels, shares, weights] = [logits, labels, shares, weights].map(into_contiguous);
        let shape = logits.meta.shape();
        let [samples, classes, pixels] = shape.dims();
        let out = empty(&logits, packed_shape(shape, &recipe), DType::F32);
        let rows = samples * recipe.sums.len() * classes;
        let per_sample = pixels.div_ceil(statistics::PER_CUBE);
        let partial = empty(&logits, Shape::from([rows, per_sample, 2]), DType::F32);
        let client = logits.client.clone();
        let units = CubeDim::new_1d(statistics::UNITS as u32);
        statistics::sum_pixels::launch(
            &client,
            cubes(samples * per_sample),
            units,
            addresses(&[&logits, &labels, &shares, &weights, &partial]),
            logits.clone().into_tensor_arg(),
            labels.clone().into_tensor_arg(),
            shares.into_tensor_arg(),
            weights.into_tensor_arg(),
            partial.clone().into_tensor_arg(),
            recipe.clone(),
            [logits.dtype, labels.dtype].map(dtype_to_storage_type),
        );
        statistics::sum_cubes::launch(
            &client,
            cubes(rows),
            units,
            addresses(&[&partial, &out]),
            partial.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            classes as u32,
            recipe.first_logarithm() as u32,
            recipe.pairs,
        );
        out
    }

    fn region_statistics_backward(
        logits: CubeTensor,
        labels: CubeTensor,
        shares: CubeTensor,
        weights: CubeTensor,
        gradient: CubeTensor,
        recipe: Recipe,
    ) -> CubeTensor {
        let [logits, labels, shares, weights, gradient] = [logits, labels, shares, weights, gradient].map(into_contiguous);
        let [samples, _, pixels] = logits.meta.shape().dims();
        let out = empty(&logits, logits.meta.shape().clone(), logits.dtype);
        let client = logits.client.clone();
        gradient::pull_back::launch(
            &client,
            cubes((samples * pixels).div_ceil(statistics::UNITS)),
            CubeDim::new_1d(statistics::UNITS as u32),
            addresses(&[&logits, &labels, &shares, &weights, &out]),
            logits.clone().into_tensor_arg(),
            labels.clone().into_tensor_arg(),
            shares.into_tensor_arg(),
            weights.into_tensor_arg(),
            gradient.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            recipe,
            [logits.dtype, labels.dtype].map(dtype_to_storage_type),
        );
        out
    }
}

impl<B: RegionStatistics, C: CheckpointStrategy> RegionStatistics for Autodiff<B, C> {
    fn region_statistics(
        logits: FloatTensor<Self>,
        labels: IntTensor<Self>,
        shares: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        recipe: Recipe,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct PullBack;

        /// The target's tensors, none of which is differentiated.
        type Target<B> = (IntTensor<B>, FloatTensor<B>, FloatTensor<B>);

        impl<B: RegionStatistics> Backward<B, 1> for PullBack {
            type State = (NodeId, Target<B>, Recipe);

            fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
                let [parent] = ops.parents;
                let gradient = gradients.consume::<B>(&ops.node);
                let (logits, (labels, shares, weights), recipe) = ops.state;
                let logits: FloatTensor<B> = checkpointer.retrieve_node_output(logits);
                if let Some(parent) = parent {
                    let gradient = B::region_statistics_backward(logits, labels, shares, weights, gradient, recipe);
                    gradients.register::<B>(parent.id, gradient);
                }
            }
        }

        let (shares, weights) = (shares.into_primitive(), weights.into_primitive());
        match PullBack.prepare::<C>([logits.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let node = prep.checkpoint(&logits);
                let target = (labels.clone(), shares.clone(), weights.clone());
                let out = B::region_statistics(logits.into_primitive(), labels, shares, weights, recipe.clone());
                prep.finish((node, target, recipe), out)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::region_statistics(logits.into_primitive(), labels, shares, weights, recipe))
            }
        }
    }

    fn region_statistics_backward(
        logits: FloatTensor<Self>,
        labels: IntTensor<Self>,
        shares: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        recipe: Recipe,
    ) -> FloatTensor<Self> {
        // Burn differentiates once, so nothing is recorded here: the gradient is a constant of the
        // tape.
        let [logits, shares, weights, gradient] = [logits, shares, weights, gradient].map(|tensor| tensor.into_primitive());
        Self::from_inner(B::region_statistics_backward(logits, labels, shares, weights, gradient, recipe))
    }
}

/// Whether the kernels can compute all statistics of a plan.
pub(crate) fn computes(logits: &Tensor<3>, target: &BurnTarget, plan: &Plan, ignore: &[i64]) -> bool {
    recipe(logits, target, plan, ignore).is_some()
}

/// What the kernels are compiled for, and the statistics' places in it.
fn recipe(logits: &Tensor<3>, target: &BurnTarget, plan: &Plan, ignore: &[i64]) -> Option<(Recipe, Vec<usize>)> {
    let wide_labels = match &target.values {
        Values::Labels(labels) => matches!(labels.dtype(), DType::I64 | DType::U64),
        Values::Soft(_) => false,
    };
    let soft = matches!(target.values, Values::Soft(_));
    let held = |label: &&i64| !soft && (wide_labels || i32::try_from(**label).is_ok());
    let layout = Layout {
        soft,
        wide: wide_labels,
        weighted: target.weights.is_some(),
        ignore: ignore.iter().filter(held).copied().collect(),
    };
    Recipe::new(plan, layout, wide(&logits.clone().without_autodiff().device()) == DType::F64)
}

/// The statistics of a plan, each `[N, K]` or `[N, 1]`, of logits `[N, K, S]` and a target on the
/// same device. `None` where the kernels cannot compute one.
///
/// # Errors
/// [`LossError::Unsupported`] for logits that the kernels do not read.
pub(crate) fn statistics(
    logits: &Tensor<3>,
    target: &BurnTarget,
    plan: &Plan,
    ignore: &[i64],
) -> Result<Option<Vec<Tensor<2>>>, LossError> {
    if !has_kernel(logits) {
        return Err(no_kernel(logits));
    }
    let device = logits.clone().without_autodiff().device();
    let Some((recipe, places)) = recipe(logits, target, plan, ignore) else { return Ok(None) };
    let nothing = || Tensor::<1>::empty([1], (&device, DType::F32));
    let floats = |tensor: Tensor<1>| tensor.cast(DType::F32);
    let (labels, shares): (Tensor<1, Int>, Tensor<1>) = match &target.values {
        Values::Labels(labels) => (labels.clone().flatten(0, 1), nothing()),
        Values::Soft(shares) => (Tensor::<1, Int>::empty([1], &device), floats(shares.clone().flatten(0, 2))),
    };
    let weights = target.weights.as_ref().map_or_else(nothing, |weights| floats(weights.clone().flatten(0, 1)));
    let wide = wide(&device);
    let [samples, classes, _] = logits.dims();
    let half = recipe.sums.len() * classes;
    let pairs = recipe.pairs;
    let packed = Dispatch::region_statistics(
        logits.clone().into_dispatch(),
        labels.into_dispatch(),
        shares.into_dispatch(),
        weights.into_dispatch(),
        recipe,
    );
    let packed = Tensor::<2>::from_dispatch(packed);
    let statistic = |(statistic, place): (&_, usize)| {
        let columns = |start: usize| packed.clone().slice([0..samples, start..start + plan.columns(statistic)]).cast(wide);
        let high = columns(place * classes);
        if pairs { high + columns(half + place * classes).detach() } else { high }
    };
    Ok(Some(plan.statistics().iter().zip(places).map(statistic).collect()))
}

#[cfg(all(test, feature = "wgpu"))]
mod tests {
    use burn::backend::ops::{FloatTensorOps, IntTensorOps};
    use burn::tensor::{Device, DeviceKind, TensorData};
    use burn_cubecl::CubeDevice;
    use burn_cubecl::cubecl::device::WgpuDeviceKind;
    use burn_cubecl::ops::into_data_sync;
    use loss_core::{Detail, Loss};

    use super::*;

    #[test]
    fn the_operation_is_the_same_with_and_without_fusion() {
        let loss: Loss = "ce + focal + dice(squared=true) + l1".parse().unwrap();
        let program = loss.program(3, Detail::Parts).unwrap();
        let layout = Layout { soft: false, wide: false, weighted: true, ignore: vec![2] };
        let (recipe, _) = Recipe::new(program.plan(), layout, false).unwrap();
        let (samples, classes, pixels) = (2, 3, 5000);
        let numbers = recipe.numbers(classes);
        let sequence = |count: usize, step: f32| (0..count).map(move |i| (i as f32 * step).sin() * 3.0);
        let logits = TensorData::new(sequence(samples * classes * pixels, 0.7).collect(), [samples, classes, pixels]);
        let labels: Vec<i32> = sequence(samples * pixels, 0.3).map(|x| x.abs() as i32).collect();
        let labels = TensorData::new(labels, [samples * pixels]);
        let weights = TensorData::new(sequence(samples * pixels, 0.2).map(f32::abs).collect(), [samples * pixels]);
        let upstream = TensorData::new(sequence(samples * numbers, 0.9).collect(), [samples, numbers]);

        let device = CubeDevice::wgpu(WgpuDeviceKind::DefaultDevice).unwrap();
        let float = |data: &TensorData| CubeBackend::float_from_data(data.clone(), &device);
        let labels_there = CubeBackend::int_from_data(labels.clone(), &device);
        let target = || (labels_there.clone(), float(&weights), float(&weights));
        let (l, s, w) = target();
        let bare = into_data_sync(CubeBackend::region_statistics(float(&logits), l, s, w, recipe.clone()));
        let (l, s, w) = target();
        let gradient = CubeBackend::region_statistics_backward(float(&logits), l, s, w, float(&upstream), recipe.clone());
        let bare_gradient = into_data_sync(gradient);

        let device = Device::wgpu(DeviceKind::DefaultDevice);
        let float = |data: &TensorData| Tensor::<1>::from_data(data.clone(), &device).into_dispatch();
        let target =
            || (Tensor::<1, Int>::from_data(labels.clone(), &device).into_dispatch(), float(&weights), float(&weights));
        let logits = || Tensor::<3>::from_data(logits.clone(), &device).into_dispatch();
        let (l, s, w) = target();
        let fused = Tensor::<2>::from_dispatch(Dispatch::region_statistics(logits(), l, s, w, recipe.clone()));
        let (l, s, w) = target();
        let upstream = Tensor::<2>::from_data(upstream, &device).into_dispatch();
        let fused_gradient = Dispatch::region_statistics_backward(logits(), l, s, w, upstream, recipe);
        assert_eq!(fused.into_data(), bare);
        assert_eq!(Tensor::<3>::from_dispatch(fused_gradient).into_data(), bare_gradient);
    }
}
