//! The network: a small U-Net.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::interpolate::{Interpolate2d, Interpolate2dConfig, InterpolateMode};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{GroupNorm, GroupNormConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

/// Sides of its input must be multiples of this.
pub(crate) const STRIDE: usize = 4;

/// Channels are normalised in groups of this many.
pub(crate) const GROUP: usize = 4;

/// A U-Net of three levels with `width`, 2 `width` and 4 `width` channels.
///
/// Coarse features are narrowed before they are enlarged, and added to the fine ones rather than
/// put beside them: a convolution over both would take half of the time of a step on a CPU.
#[derive(Module, Debug)]
pub(crate) struct UNet {
    fine_in: Block,
    middle_in: Block,
    coarse: Block,
    to_middle: Conv2d,
    middle_out: Block,
    to_fine: Conv2d,
    fine_out: Block,
    head: Conv2d,
    shrink: MaxPool2d,
    enlarge: Interpolate2d,
}

impl UNet {
    /// A network with random weights, drawn from the device's generator.
    pub(crate) fn new(channels: usize, classes: usize, width: usize, device: &Device) -> Self {
        let point = |from, to| Conv2dConfig::new([from, to], [1, 1]).init(device);
        Self {
            fine_in: Block::new(channels, width, device),
            middle_in: Block::new(width, 2 * width, device),
            coarse: Block::new(2 * width, 4 * width, device),
            to_middle: point(4 * width, 2 * width),
            middle_out: Block::new(2 * width, 2 * width, device),
            to_fine: point(2 * width, width),
            fine_out: Block::new(width, width, device),
            head: point(width, classes),
            shrink: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            enlarge: Interpolate2dConfig::new().with_scale_factor(Some([2.0, 2.0])).with_mode(InterpolateMode::Nearest).init(),
        }
    }

    /// Logits [N, K, H, W] of images [N, C, H, W].
    pub(crate) fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let fine = self.fine_in.forward(images);
        let middle = self.middle_in.forward(self.shrink.forward(fine.clone()));
        let coarse = self.coarse.forward(self.shrink.forward(middle.clone()));
        let middle = middle + self.enlarge.forward(self.to_middle.forward(coarse));
        let middle = self.middle_out.forward(middle);
        let fine = fine + self.enlarge.forward(self.to_fine.forward(middle));
        self.head.forward(self.fine_out.forward(fine))
    }
}

/// Two 3x3 convolutions, each normalised and rectified.
#[derive(Module, Debug)]
struct Block {
    first: Conv2d,
    first_norm: GroupNorm,
    second: Conv2d,
    second_norm: GroupNorm,
}

impl Block {
    fn new(from: usize, to: usize, device: &Device) -> Self {
        // The normalisation that follows has its own offset.
        let convolution = |from| {
            Conv2dConfig::new([from, to], [3, 3])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .with_bias(false)
                .init(device)
        };
        // By groups rather than by batch: the same in training and in use, and with a batch of one.
        let norm = || GroupNormConfig::new((to / GROUP).max(1), to).init(device);
        Self { first: convolution(from), first_norm: norm(), second: convolution(to), second_norm: norm() }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = relu(self.first_norm.forward(self.first.forward(x)));
        relu(self.second_norm.forward(self.second.forward(x)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::store::ModuleRecord;
    use burn::tensor::{Bytes, Distribution};

    #[test]
    fn weights_survive_a_file() {
        let device = Device::flex();
        let images = Tensor::random([2, 1, 16, 12], Distribution::Default, &device);
        let net = UNet::new(1, 3, 4, &device);
        let logits = net.forward(images.clone());
        assert_eq!(logits.dims(), [2, 3, 16, 12]);

        let bytes = net.into_record().into_bytes().unwrap();
        let record = ModuleRecord::from_bytes(Bytes::from_bytes_vec(bytes.to_vec())).unwrap();
        let again = UNet::new(1, 3, 4, &device).try_load_record(record.clone()).unwrap();
        assert_eq!(again.forward(images).into_data(), logits.into_data());
        assert!(UNet::new(1, 2, 4, &device).try_load_record(record).is_err());
    }
}
