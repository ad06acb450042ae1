//! The layers of `segloss-layers` as operations on Burn's tape, for tensors of Flex in `f32`;
//! everything else computes by Burn's own layers.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::nn::GroupNorm;
use burn::nn::conv::Conv3d;
use burn::tensor::activation::relu;
use burn::tensor::{Bytes, DType, Shape, Tensor};
use segloss_layers::{Convolution, LengthError, Normalisation, Pointwise};

/// A convolution three pixels wide, without offset, whose output is as large as its input.
pub(super) fn convolution(layer: &Conv3d, x: Tensor<5>) -> Tensor<5> {
    if !is_flex(&x) {
        return layer.forward(x);
    }
    let [samples, from, d, h, w] = x.dims();
    let [to, _, thick, ..] = layer.weight.dims();
    let size = Convolution { samples, channels: [from, to], size: [d, h, w], volumes: thick > 1 };
    Tensor::from_dispatch(Dispatch::convolution(x.into_dispatch(), layer.weight.val().into_dispatch(), size))
}

/// A convolution one pixel wide.
pub(super) fn pointwise(layer: &Conv3d, x: Tensor<5>) -> Tensor<5> {
    let (Some(offset), true) = (&layer.bias, is_flex(&x)) else {
        return layer.forward(x);
    };
    let [samples, from, d, h, w] = x.dims();
    let [to, ..] = layer.weight.dims();
    let size = Pointwise { samples, channels: [from, to], pixels: d * h * w };
    let [weights, offset] = [layer.weight.val().into_dispatch(), offset.val().into_dispatch()];
    Tensor::from_dispatch(Dispatch::pointwise(x.into_dispatch(), weights, offset, size))
}

/// Normalised by groups, and rectified.
pub(super) fn normalised(layer: &GroupNorm, x: Tensor<5>) -> Tensor<5> {
    let (Some(scale), Some(offset), true) = (&layer.gamma, &layer.beta, is_flex(&x)) else {
        return relu(layer.forward(x));
    };
    let [samples, channels, d, h, w] = x.dims();
    let size = Normalisation { samples, channels, groups: layer.num_groups, pixels: d * h * w, epsilon: layer.epsilon };
    let [scale, offset] = [scale, offset].map(|parameter| parameter.val().into_dispatch());
    Tensor::from_dispatch(Dispatch::normalisation(x.into_dispatch(), scale, offset, size))
}

fn is_flex(x: &Tensor<5>) -> bool {
    x.dtype() == DType::F32 && x.clone().without_autodiff().try_into_primitive::<Flex>().is_ok()
}

/// The two layers, each with what carries its gradients back.
#[backend_extension(Flex, Autodiff)]
trait Layers: Backend {
    fn convolution(input: FloatTensor<Self>, weights: FloatTensor<Self>, size: Convolution) -> FloatTensor<Self>;
    fn convolution_input(gradient: FloatTensor<Self>, weights: FloatTensor<Self>, size: Convolution) -> FloatTensor<Self>;
    fn convolution_weights(input: FloatTensor<Self>, gradient: FloatTensor<Self>, size: Convolution) -> FloatTensor<Self>;
    fn pointwise(
        input: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        size: Pointwise,
    ) -> FloatTensor<Self>;
    /// Of input, weights and offset.
    fn pointwise_gradients(
        input: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        size: Pointwise,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
    fn normalisation(
        input: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        size: Normalisation,
    ) -> FloatTensor<Self>;
    /// Of input, scale and offset.
    fn normalisation_gradients(
        input: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        size: Normalisation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

fn numbers(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() }
}

fn slice(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().unwrap_or_default()
}

/// Lengths were taken from the tensors; were they not to fit all the same, NaN is at least not
/// silent.
fn tensor(found: Result<Vec<f32>, LengthError>, shape: Shape) -> FlexTensor {
    let values = found.unwrap_or_else(|_| vec![f32::NAN; shape.num_elements()]);
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(shape), DType::F32)
}

fn parts(found: Result<[Vec<f32>; 3], LengthError>, [a, b, c]: [Shape; 3]) -> [FlexTensor; 3] {
    match found {
        Ok([of_a, of_b, of_c]) => [tensor(Ok(of_a), a), tensor(Ok(of_b), b), tensor(Ok(of_c), c)],
        Err(error) => [tensor(Err(error.clone()), a), tensor(Err(error.clone()), b), tensor(Err(error), c)],
    }
}

/// [N, C, D, H, W] with the channels of one side of a convolution.
fn shape(size: &Convolution, side: usize) -> Shape {
    let [d, h, w] = size.size;
    Shape::from([size.samples, size.channels[side], d, h, w])
}

impl Layers for Flex {
    fn convolution(input: FlexTensor, weights: FlexTensor, size: Convolution) -> FlexTensor {
        let [input, weights] = [input, weights].map(numbers);
        tensor(size.forward(slice(&input), slice(&weights)), shape(&size, 1))
    }

    fn convolution_input(gradient: FlexTensor, weights: FlexTensor, size: Convolution) -> FlexTensor {
        let [gradient, weights] = [gradient, weights].map(numbers);
        tensor(size.input_gradient(slice(&gradient), slice(&weights)), shape(&size, 0))
    }

    fn convolution_weights(input: FlexTensor, gradient: FlexTensor, size: Convolution) -> FlexTensor {
        let [input, gradient] = [input, gradient].map(numbers);
        let [from, to] = size.channels;
        let shape = Shape::from([to, from, if size.volumes { 3 } else { 1 }, 3, 3]);
        tensor(size.weight_gradient(slice(&input), slice(&gradient)), shape)
    }

    fn pointwise(input: FlexTensor, weights: FlexTensor, offset: FlexTensor, size: Pointwise) -> FlexTensor {
        let mut shape = input.shape();
        shape[1] = size.channels[1];
        let [input, weights, offset] = [input, weights, offset].map(numbers);
        tensor(size.forward(slice(&input), slice(&weights), slice(&offset)), shape)
    }

    fn pointwise_gradients(
        input: FlexTensor,
        weights: FlexTensor,
        gradient: FlexTensor,
        size: Pointwise,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let [input, weights, gradient] = [input, weights, gradient].map(numbers);
        let found = size.gradients(slice(&input), slice(&weights), slice(&gradient));
        let shapes = [input.shape(), weights.shape(), Shape::from([size.channels[1]])];
        let [input, weights, offset] = parts(found, shapes);
        (input, weights, offset)
    }

    fn normalisation(input: FlexTensor, scale: FlexTensor, offset: FlexTensor, size: Normalisation) -> FlexTensor {
        let [input, scale, offset] = [input, scale, offset].map(numbers);
        tensor(size.forward(slice(&input), slice(&scale), slice(&offset)), input.shape())
    }

    fn normalisation_gradients(
        input: FlexTensor,
        scale: FlexTensor,
        offset: FlexTensor,
        gradient: FlexTensor,
        size: Normalisation,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let [input, scale, offset, gradient] = [input, scale, offset, gradient].map(numbers);
        let found = size.gradients(slice(&input), slice(&scale), slice(&offset), slice(&gradient));
        let [input, scale, offset] = parts(found, [input.shape(), scale.shape(), offset.shape()]);
        (input, scale, offset)
    }
}

impl<B: Layers, C: CheckpointStrategy> Layers for Autodiff<B, C> {
    fn convolution(input: FloatTensor<Self>, weights: FloatTensor<Self>, size: Convolution) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct PullBack;

        impl<B: Layers> Backward<B, 2> for PullBack {
            type State = ([NodeId; 2], Convolution);

            fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
                let [input, weights] = ops.parents;
                let gradient = gradients.consume::<B>(&ops.node);
                let (nodes, size) = ops.state;
                if let Some(parent) = weights {
                    let input = checkpointer.retrieve_node_output(nodes[0]);
                    gradients.register::<B>(parent.id, B::convolution_weights(input, gradient.clone(), size));
                }
                if let Some(parent) = input {
                    let weights = checkpointer.retrieve_node_output(nodes[1]);
                    gradients.register::<B>(parent.id, B::convolution_input(gradient, weights, size));
                }
            }
        }

        match PullBack.prepare::<C>([input.node(), weights.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let nodes = [prep.checkpoint(&input), prep.checkpoint(&weights)];
                let out = B::convolution(input.into_primitive(), weights.into_primitive(), size);
                prep.finish((nodes, size), out)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::convolution(input.into_primitive(), weights.into_primitive(), size)),
        }
    }

    fn convolution_input(gradient: FloatTensor<Self>, weights: FloatTensor<Self>, size: Convolution) -> FloatTensor<Self> {
        // Burn differentiates once, so that gradients are constants of the tape.
        Self::from_inner(B::convolution_input(gradient.into_primitive(), weights.into_primitive(), size))
    }

    fn convolution_weights(input: FloatTensor<Self>, gradient: FloatTensor<Self>, size: Convolution) -> FloatTensor<Self> {
        Self::from_inner(B::convolution_weights(input.into_primitive(), gradient.into_primitive(), size))
    }

    fn pointwise(
        input: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        size: Pointwise,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct PullBack;

        impl<B: Layers> Backward<B, 3> for PullBack {
            type State = ([NodeId; 2], Pointwise);

            fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
                let gradient = gradients.consume::<B>(&ops.node);
                let (nodes, size) = ops.state;
                let [input, weights] = nodes.map(|node| checkpointer.retrieve_node_output(node));
                let found = B::pointwise_gradients(input, weights, gradient, size);
                register::<B>(ops.parents.map(|parent| parent.map(|parent| parent.id)), found, gradients);
            }
        }

        match PullBack.prepare::<C>([input.node(), weights.node(), offset.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let nodes = [prep.checkpoint(&input), prep.checkpoint(&weights)];
                let out = B::pointwise(input.into_primitive(), weights.into_primitive(), offset.into_primitive(), size);
                prep.finish((nodes, size), out)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::pointwise(input.into_primitive(), weights.into_primitive(), offset.into_primitive(), size))
            }
        }
    }

    fn pointwise_gradients(
        input: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        size: Pointwise,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [input, weights, gradient] = [input, weights, gradient].map(|tensor| tensor.into_primitive());
        let found = B::pointwise_gradients(input, weights, gradient, size);
        (Self::from_inner(found.0), Self::from_inner(found.1), Self::from_inner(found.2))
    }

    fn normalisation(
        input: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        size: Normalisation,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct PullBack;

        impl<B: Layers> Backward<B, 3> for PullBack {
            type State = ([NodeId; 3], Normalisation);

            fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
                let gradient = gradients.consume::<B>(&ops.node);
                let (nodes, size) = ops.state;
                let [input, scale, offset] = nodes.map(|node| checkpointer.retrieve_node_output(node));
                let found = B::normalisation_gradients(input, scale, offset, gradient, size);
                register::<B>(ops.parents.map(|parent| parent.map(|parent| parent.id)), found, gradients);
            }
        }

        let nodes = [input.node(), scale.node(), offset.node()];
        let forward = |input: FloatTensor<Self>, scale: FloatTensor<Self>, offset: FloatTensor<Self>| {
            B::normalisation(input.into_primitive(), scale.into_primitive(), offset.into_primitive(), size)
        };
        match PullBack.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let nodes = [prep.checkpoint(&input), prep.checkpoint(&scale), prep.checkpoint(&offset)];
                prep.finish((nodes, size), forward(input, scale, offset))
            }
            OpsKind::UnTracked(prep) => prep.finish(forward(input, scale, offset)),
        }
    }

    fn normalisation_gradients(
        input: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        size: Normalisation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [input, scale, offset, gradient] = [input, scale, offset, gradient].map(|tensor| tensor.into_primitive());
        let found = B::normalisation_gradients(input, scale, offset, gradient, size);
        (Self::from_inner(found.0), Self::from_inner(found.1), Self::from_inner(found.2))
    }
}

type Three<B> = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>);

/// Hands gradients to those who want them.
fn register<B: Backend>(parents: [Option<NodeId>; 3], found: Three<B>, gradients: &mut Gradients) {
    for (parent, found) in parents.into_iter().zip([found.0, found.1, found.2]) {
        if let Some(parent) = parent {
            gradients.register::<B>(parent, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::conv::Conv3dConfig;
    use burn::nn::{GroupNormConfig, PaddingConfig3d};
    use burn::tensor::{Device, Distribution};

    /// The greatest difference between two ways, in output, gradient of the input and gradients of
    /// the parameters.
    fn differences(x: Tensor<5>, parameters: &[Tensor<1>], ways: [&dyn Fn(Tensor<5>) -> Tensor<5>; 2]) -> Vec<f32> {
        let x = x.require_grad();
        let found = ways.map(|way| {
            let y = way(x.clone());
            // A gradient that is not the same everywhere.
            let mut gradients = (y.clone() * y.clone()).sum().backward();
            let mut all = vec![y.without_autodiff().flatten::<1>(0, 4)];
            all.extend(x.grad_remove(&mut gradients).map(|g| g.flatten::<1>(0, 4)));
            all.extend(parameters.iter().map(|p| p.grad(&gradients).unwrap()));
            all
        });
        let [ours, theirs] = found;
        assert_eq!(ours.len(), 2 + parameters.len());
        ours.into_iter().zip(theirs).map(|(a, b)| ((a - b.clone()).abs().max() / b.abs().max()).into_scalar::<f32>()).collect()
    }

    fn weights_agree(layer: &Conv3d, x: &Tensor<5>, ways: [&dyn Fn(Tensor<5>) -> Tensor<5>; 2]) {
        let [ours, theirs] = ways.map(|way| {
            let y = way(x.clone());
            let gradients = (y.clone() * y).sum().backward();
            layer.weight.grad(&gradients).unwrap()
        });
        let most = (ours - theirs.clone()).abs().max() / theirs.abs().max();
        assert!(most.into_scalar::<f32>() < 1e-5);
    }

    #[test]
    fn as_burns_own_layers() {
        let device = Device::flex().autodiff();
        for (thick, depth) in [(1, 1), (3, 6)] {
            let x = Tensor::random([2, 4, depth, 9, 12], Distribution::Default, &device);
            let layer = Conv3dConfig::new([4, 8], [thick, 3, 3])
                .with_padding(PaddingConfig3d::Explicit(thick / 2, 1, 1))
                .with_bias(false)
                .init(&device);
            let ways: [&dyn Fn(Tensor<5>) -> Tensor<5>; 2] = [&|x| convolution(&layer, x), &|x| layer.forward(x)];
            let found = differences(x.clone(), &[], ways);
            assert!(found.iter().all(|d| *d < 1e-5), "{found:?}");
            weights_agree(&layer, &x, ways);

            let layer = Conv3dConfig::new([4, 3], [1, 1, 1]).init(&device);
            let offset = layer.bias.as_ref().unwrap().val();
            let ways: [&dyn Fn(Tensor<5>) -> Tensor<5>; 2] = [&|x| pointwise(&layer, x), &|x| layer.forward(x)];
            let found = differences(x.clone(), &[offset], ways);
            assert!(found.iter().all(|d| *d < 1e-5), "{found:?}");
            weights_agree(&layer, &x, ways);

            let norm = GroupNormConfig::new(2, 4).init(&device);
            let parameters = [&norm.gamma, &norm.beta].map(|p| p.as_ref().unwrap().val());
            let found = differences(x, &parameters, [&|x| normalised(&norm, x), &|x| relu(norm.forward(x))]);
            assert!(found.iter().all(|d| *d < 1e-4), "{found:?}");
        }
    }
}
