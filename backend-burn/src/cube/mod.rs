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
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, DispatchTensorKind, ExtensionType, backend_extension};
use burn::tensor::{DType, Int, Shape, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::cubecl::prelude::{AddressType, CubeCount, CubeDim};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use loss_core::{LossError, Plan};

use crate::BurnTarget;
use crate::device::wide;
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

/// What stands beside the logits; what the recipe does not read is empty. No gradient flows into
/// it.
#[derive(Clone, Debug, ExtensionType)]
#[extension_type(fusion)]
pub(crate) struct Problem<B: Backend> {
    labels: IntTensor<B>,
    shares: FloatTensor<B>,
    weights: FloatTensor<B>,
    /// `[N, channels, S]`, the plan's maps one after the other.
    maps: FloatTensor<B>,
    recipe: Recipe,
}

/// Statistics as one operation on Burn's tape: logits in, `[N, statistics · K]` out.
#[backend_extension(Cube, Autodiff, Fusion)]
pub(crate) trait RegionStatistics: Backend {
    /// The statistics of a recipe.
    #[fusion(dtype = DType::F32, shape = packed_shape(logits, &problem.recipe))]
    fn region_statistics(logits: FloatTensor<Self>, #[extension_type] problem: Problem<Self>) -> FloatTensor<Self>;

    /// The gradient for the logits, given that of the statistics.
    #[fusion(dtype = logits, shape = logits)]
    fn region_statistics_backward(
        logits: FloatTensor<Self>,
        #[extension_type] problem: Problem<Self>,
        gradient: FloatTensor<Self>,
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

impl Problem<CubeBackend> {
    /// As the kernels read it.
    fn contiguous(self) -> Self {
        let [labels, shares, weights, maps] = [self.labels, self.shares, self.weights, self.maps].map(into_contiguous);
        Self { labels, shares, weights, maps, ..self }
    }
}

impl RegionStatistics for CubeBackend {
    fn region_statistics(logits: CubeTensor, problem: Problem<Self>) -> CubeTensor {
        let logits = into_contiguous(logits);
        let Problem { labels, shares, weights, maps, recipe } = problem.contiguous();
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
            addresses(&[&logits, &labels, &shares, &weights, &maps, &partial]),
            logits.clone().into_tensor_arg(),
            labels.clone().into_tensor_arg(),
            shares.into_tensor_arg(),
            weights.into_tensor_arg(),
            maps.into_tensor_arg(),
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

    fn region_statistics_backward(logits: CubeTensor, problem: Problem<Self>, gradient: CubeTensor) -> CubeTensor {
        let [logits, gradient] = [logits, gradient].map(into_contiguous);
        let Problem { labels, shares, weights, maps, recipe } = problem.contiguous();
        let [samples, _, pixels] = logits.meta.shape().dims();
        let out = empty(&logits, logits.meta.shape().clone(), logits.dtype);
        let client = logits.client.clone();
        gradient::pull_back::launch(
            &client,
            cubes((samples * pixels).div_ceil(statistics::UNITS)),
            CubeDim::new_1d(statistics::UNITS as u32),
            addresses(&[&logits, &labels, &shares, &weights, &maps, &out]),
            logits.clone().into_tensor_arg(),
            labels.clone().into_tensor_arg(),
            shares.into_tensor_arg(),
            weights.into_tensor_arg(),
            maps.into_tensor_arg(),
            gradient.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            recipe,
            [logits.dtype, labels.dtype].map(dtype_to_storage_type),
        );
        out
    }
}

impl<B: Backend, C: CheckpointStrategy> Problem<Autodiff<B, C>> {
    fn into_inner(self) -> Problem<B> {
        let [shares, weights, maps] = [self.shares, self.weights, self.maps].map(|tensor| tensor.into_primitive());
        Problem { labels: self.labels, shares, weights, maps, recipe: self.recipe }
    }
}

impl<B: RegionStatistics, C: CheckpointStrategy> RegionStatistics for Autodiff<B, C> {
    fn region_statistics(logits: FloatTensor<Self>, problem: Problem<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct PullBack;

        impl<B: RegionStatistics> Backward<B, 1> for PullBack {
            type State = (NodeId, Problem<B>);

            fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
                let [parent] = ops.parents;
                let gradient = gradients.consume::<B>(&ops.node);
                let (logits, problem) = ops.state;
                let logits: FloatTensor<B> = checkpointer.retrieve_node_output(logits);
                if let Some(parent) = parent {
                    gradients.register::<B>(parent.id, B::region_statistics_backward(logits, problem, gradient));
                }
            }
        }

        let problem = problem.into_inner();
        match PullBack.prepare::<C>([logits.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let node = prep.checkpoint(&logits);
                let out = B::region_statistics(logits.into_primitive(), problem.clone());
                prep.finish((node, problem), out)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::region_statistics(logits.into_primitive(), problem)),
        }
    }

    fn region_statistics_backward(
        logits: FloatTensor<Self>,
        problem: Problem<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        // Burn differentiates once, so nothing is recorded here: the gradient is a constant of the
        // tape.
        let [logits, gradient] = [logits, gradient].map(|tensor| tensor.into_primitive());
        Self::from_inner(B::region_statistics_backward(logits, problem.into_inner(), gradient))
    }
}

/// Refuses a plan with a statistic that the kernels cannot compute.
pub(crate) fn computes(plan: &Plan) -> Result<(), LossError> {
    plan.statistics().iter().find(|statistic| !recipe::computes(statistic)).map_or(Ok(()), |statistic| {
        Err(LossError::Unsupported {
            what: "the fused path",
            got: statistic.to_string(),
            expected: "pixel functions whose constants are finite in F32",
        })
    })
}

/// Whether labels of a type can be a number.
fn holds(labels: DType, number: i64) -> bool {
    match labels {
        DType::U8 => u8::try_from(number).is_ok(),
        DType::I8 => i8::try_from(number).is_ok(),
        DType::U16 => u16::try_from(number).is_ok(),
        DType::I16 => i16::try_from(number).is_ok(),
        DType::U32 => u32::try_from(number).is_ok(),
        DType::I32 => i32::try_from(number).is_ok(),
        DType::U64 => u64::try_from(number).is_ok(),
        _ => true,
    }
}

/// The statistics of a plan that the kernels compute, each `[N, K]` or `[N, 1]`, of logits
/// `[N, K, S]` that they read, and a target on the same device.
///
/// # Errors
/// [`LossError::MissingMap`].
pub(crate) fn statistics(
    logits: &Tensor<3>,
    target: &BurnTarget,
    plan: &Plan,
    ignore: &[i64],
) -> Result<Vec<Tensor<2>>, LossError> {
    let device = logits.clone().without_autodiff().device();
    let maps = plan.maps().iter().map(|map| Ok(target.map_of(map)?.clone()));
    let maps = maps.collect::<Result<Vec<Tensor<3>>, LossError>>()?;
    let (soft, of_labels) = match &target.values {
        Values::Labels(labels) => (false, labels.dtype()),
        Values::OneHot(_) | Values::Soft(_) => (true, DType::I32),
    };
    let held = |label: &&i64| !soft && holds(of_labels, **label);
    let layout = Layout {
        soft,
        wide: matches!(of_labels, DType::I64 | DType::U64 | DType::U32),
        weighted: target.weights.is_some(),
        ignore: ignore.iter().filter(held).copied().collect(),
        maps: maps.iter().map(|map| map.dims()[1] > 1).collect(),
    };
    let wide = wide(&device);
    let (recipe, places) = Recipe::new(plan, layout, wide == DType::F64);
    let nothing = || Tensor::<1>::empty([1], (&device, DType::F32));
    let floats = |tensor: Tensor<1>| tensor.cast(DType::F32);
    let (labels, shares): (Tensor<1, Int>, Tensor<1>) = match &target.values {
        Values::Labels(labels) => (labels.clone().flatten(0, 1), nothing()),
        Values::OneHot(labels) => (Tensor::<1, Int>::empty([1], &device), floats(labels.clone().float().flatten(0, 2))),
        Values::Soft(shares) => (Tensor::<1, Int>::empty([1], &device), floats(shares.clone().flatten(0, 2))),
    };
    let weights = target.weights.as_ref().map_or_else(nothing, |weights| floats(weights.clone().flatten(0, 1)));
    let maps: Vec<Tensor<3>> = maps.into_iter().map(|map| map.cast(DType::F32)).collect();
    let maps = if maps.is_empty() { nothing().reshape([1, 1, 1]) } else { Tensor::cat(maps, 1) };
    let [samples, classes, _] = logits.dims();
    let half = recipe.sums.len() * classes;
    let pairs = recipe.pairs;
    let problem = Problem {
        labels: labels.into_dispatch(),
        shares: shares.into_dispatch(),
        weights: weights.into_dispatch(),
        maps: maps.into_dispatch(),
        recipe,
    };
    let packed = Tensor::<2>::from_dispatch(Dispatch::region_statistics(logits.clone().into_dispatch(), problem));
    let statistic = |(statistic, place): (&_, usize)| {
        let columns = |start: usize| packed.clone().slice([0..samples, start..start + plan.columns(statistic)]).cast(wide);
        let high = columns(place * classes);
        if pairs { high + columns(half + place * classes).detach() } else { high }
    };
    Ok(plan.statistics().iter().zip(places).map(statistic).collect())
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
        let loss: Loss = "ce + focal + dice(squared=true) + l1 + topk + boundary".parse().unwrap();
        let program = loss.program(3, Detail::Parts).unwrap();
        let layout = Layout { soft: false, wide: false, weighted: true, ignore: vec![2], maps: vec![false, true] };
        let (recipe, _) = Recipe::new(program.plan(), layout, false);
        let (samples, classes, pixels) = (2, 3, 5000);
        let numbers = recipe.numbers(classes);
        let sequence = |count: usize, step: f32| (0..count).map(move |i| (i as f32 * step).sin() * 3.0);
        let logits = TensorData::new(sequence(samples * classes * pixels, 0.7).collect(), [samples, classes, pixels]);
        let labels: Vec<i32> = sequence(samples * pixels, 0.3).map(|x| x.abs() as i32).collect();
        let labels = TensorData::new(labels, [samples * pixels]);
        let weights = TensorData::new(sequence(samples * pixels, 0.2).map(f32::abs).collect(), [samples * pixels]);
        let maps = TensorData::new(sequence(samples * 4 * pixels, 0.1).collect(), [samples, 4, pixels]);
        let upstream = TensorData::new(sequence(samples * numbers, 0.9).collect(), [samples, numbers]);

        let device = CubeDevice::wgpu(WgpuDeviceKind::DefaultDevice).unwrap();
        let float = |data: &TensorData| CubeBackend::float_from_data(data.clone(), &device);
        let problem = Problem {
            labels: CubeBackend::int_from_data(labels.clone(), &device),
            shares: float(&weights),
            weights: float(&weights),
            maps: float(&maps),
            recipe: recipe.clone(),
        };
        let bare = into_data_sync(CubeBackend::region_statistics(float(&logits), problem.clone()));
        let gradient = CubeBackend::region_statistics_backward(float(&logits), problem, float(&upstream));
        let bare_gradient = into_data_sync(gradient);

        let device = Device::wgpu(DeviceKind::DefaultDevice);
        let float = |data: &TensorData| Tensor::<1>::from_data(data.clone(), &device).into_dispatch();
        let problem = || Problem {
            labels: Tensor::<1, Int>::from_data(labels.clone(), &device).into_dispatch(),
            shares: float(&weights),
            weights: float(&weights),
            maps: Tensor::<3>::from_data(maps.clone(), &device).into_dispatch(),
            recipe: recipe.clone(),
        };
        let logits = || Tensor::<3>::from_data(logits.clone(), &device).into_dispatch();
        let upstream = Tensor::<2>::from_data(upstream, &device).into_dispatch();
        let fused = Tensor::<2>::from_dispatch(Dispatch::region_statistics(logits(), problem()));
        let fused_gradient = Dispatch::region_statistics_backward(logits(), problem(), upstream);
        assert_eq!(fused.into_data(), bare);
        assert_eq!(Tensor::<3>::from_dispatch(fused_gradient).into_data(), bare_gradient);
    }
}
