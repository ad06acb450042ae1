//! The network: a small U-Net for pictures and volumes.

mod operations;

use burn::module::Module;
use burn::nn::conv::{Conv3d, Conv3dConfig};
use burn::nn::{GroupNorm, GroupNormConfig, PaddingConfig3d};
use burn::tensor::module::{interpolate, max_pool2d};
use burn::tensor::ops::{InterpolateMode, InterpolateOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor};

use self::operations::{convolution, normalised, pointwise};

/// Sides of its input must be multiples of this, but for the one slice of a picture.
pub(crate) const STRIDE: usize = 4;

/// Channels are normalised in groups of this many.
pub(crate) const GROUP: usize = 4;

/// Numbers that make a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Its inputs.
    pub(crate) channels: usize,
    /// Its outputs.
    pub(crate) classes: usize,
    /// Channels of its first level.
    pub(crate) width: usize,
    /// Whether it looks along the slices too.
    pub(crate) volumes: bool,
}

/// A U-Net of three levels with `width`, 2 `width` and 4 `width` channels.
///
/// Pictures are volumes of one slice, on which kernels of 1x3x3 are the 3x3 ones of two dimensions;
/// volumes get 3x3x3. All else is the same.
///
/// Coarse features are narrowed before they are enlarged, and added to the fine ones rather than
/// put beside them: a convolution over both would take half of the time of a step on a CPU.
#[derive(Module, Debug)]
pub(crate) struct UNet {
    fine_in: Block,
    middle_in: Block,
    coarse: Block,
    to_middle: Conv3d,
    middle_out: Block,
    to_fine: Conv3d,
    fine_out: Block,
    head: Conv3d,
}

impl UNet {
    /// A network with random weights, drawn from the device's generator.
    pub(crate) fn new(shape: Shape, device: &Device) -> Self {
        let Shape { channels, classes, width, volumes } = shape;
        let point = |from, to| Conv3dConfig::new([from, to], [1, 1, 1]).init(device);
        let block = |from, to| Block::new(from, to, volumes, device);
        Self {
            fine_in: block(channels, width),
            middle_in: block(width, 2 * width),
            coarse: block(2 * width, 4 * width),
            to_middle: point(4 * width, 2 * width),
            middle_out: block(2 * width, 2 * width),
            to_fine: point(2 * width, width),
            fine_out: block(width, width),
            head: point(width, classes),
        }
    }

    /// Logits [N, K, D, H, W] of images [N, C, D, H, W].
    pub(crate) fn forward(&self, images: Tensor<5>) -> Tensor<5> {
        let fine = self.fine_in.forward(images);
        let middle = self.middle_in.forward(halved(fine.clone()));
        let coarse = self.coarse.forward(halved(middle.clone()));
        let middle = middle.clone() + doubled(pointwise(&self.to_middle, coarse), middle.dims());
        let middle = self.middle_out.forward(middle);
        let fine = fine.clone() + doubled(pointwise(&self.to_fine, middle), fine.dims());
        pointwise(&self.head, self.fine_out.forward(fine))
    }
}

/// The greatest of each two neighbours along the three axes; a single slice stays.
fn halved(x: Tensor<5>) -> Tensor<5> {
    let [n, c, d, h, w] = x.dims();
    let flat = max_pool2d(x.reshape([n, c * d, h, w]), MaxPoolOptions::new([2, 2]));
    let (h, w) = (h / 2, w / 2);
    if d == 1 {
        return flat.reshape([n, c, d, h, w]);
    }
    flat.reshape([n * c, d / 2, 2, h * w]).max_dim(2).reshape([n, c, d / 2, h, w])
}

/// Every number repeated along the axes that are twice as long in `to`.
fn doubled(x: Tensor<5>, to: [usize; 5]) -> Tensor<5> {
    let [n, c, d, h, w] = x.dims();
    let options = InterpolateOptions::new(InterpolateMode::Nearest).with_output_size([2 * h, 2 * w]);
    let wide = interpolate(x.reshape([n, c * d, h, w]), options);
    let (h, w) = (2 * h, 2 * w);
    if to[2] == d {
        return wide.reshape([n, c, d, h, w]);
    }
    wide.reshape([n * c, d, 1, h * w]).repeat_dim(2, 2).reshape([n, c, 2 * d, h, w])
}

/// Two convolutions, each normalised and rectified.
#[derive(Module, Debug)]
struct Block {
    first: Conv3d,
    first_norm: GroupNorm,
    second: Conv3d,
    second_norm: GroupNorm,
}

impl Block {
    fn new(from: usize, to: usize, volumes: bool, device: &Device) -> Self {
        let depth = usize::from(volumes);
        // The normalisation that follows has its own offset.
        let convolution = |from| {
            Conv3dConfig::new([from, to], [1 + 2 * depth, 3, 3])
                .with_padding(PaddingConfig3d::Explicit(depth, 1, 1))
                .with_bias(false)
                .init(device)
        };
        // By groups rather than by batch: the same in training and in use, and with a batch of one.
        let norm = || GroupNormConfig::new((to / GROUP).max(1), to).init(device);
        Self { first: convolution(from), first_norm: norm(), second: convolution(to), second_norm: norm() }
    }

    fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        let x = normalised(&self.first_norm, convolution(&self.first, x));
        normalised(&self.second_norm, convolution(&self.second, x))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::store::ModuleRecord;
    use burn::tensor::{Bytes, Distribution, TensorData};

    #[test]
    fn weights_survive_a_file() {
        let device = Device::flex();
        for (volumes, depth) in [(false, 1), (true, 8)] {
            let shape = Shape { channels: 1, classes: 3, width: 4, volumes };
            let images = Tensor::random([2, 1, depth, 16, 12], Distribution::Default, &device);
            let net = UNet::new(shape, &device);
            let logits = net.forward(images.clone());
            assert_eq!(logits.dims(), [2, 3, depth, 16, 12]);

            let bytes = net.into_record().into_bytes().unwrap();
            let record = ModuleRecord::from_bytes(Bytes::from_bytes_vec(bytes.to_vec())).unwrap();
            let again = UNet::new(shape, &device).try_load_record(record.clone()).unwrap();
            assert_eq!(again.forward(images).into_data(), logits.into_data());
            assert!(UNet::new(Shape { classes: 2, ..shape }, &device).try_load_record(record.clone()).is_err());
            assert!(UNet::new(Shape { volumes: !volumes, ..shape }, &device).try_load_record(record).is_err());
        }
    }

    #[test]
    fn levels_by_hand() {
        let device = Device::flex();
        let values = |x: Tensor<5>| x.try_into_vec_as::<f32>().unwrap();
        let ramp = |shape: [usize; 5]| {
            let count = shape.iter().product::<usize>();
            Tensor::<5>::from_data(TensorData::new((0..count).map(|i| i as f32).collect::<Vec<_>>(), shape), &device)
        };
        // Of two channels of 2x2x2 the last voxel each; of one slice the last of each square.
        assert_eq!(values(halved(ramp([1, 2, 2, 2, 2]))), [7.0, 15.0]);
        assert_eq!(values(halved(ramp([1, 1, 1, 2, 4]))), [5.0, 7.0]);
        assert_eq!(values(doubled(ramp([1, 2, 1, 1, 1]), [1, 2, 2, 2, 2])), [[0.0; 8], [1.0; 8]].concat());
        assert_eq!(values(doubled(ramp([1, 1, 2, 1, 1]), [1, 1, 4, 2, 2])), [[0.0; 8], [1.0; 8]].concat());
        assert_eq!(values(doubled(ramp([1, 1, 1, 1, 2]), [1, 1, 1, 2, 4])), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]);
    }
}
