//! Prediction of whole images by windows that overlap.

use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::{Device, Tensor, TensorData};
use ndarray::{Array3, Array4, ArrayView4, Axis, s};
use segloss::Activation;

use super::network::UNet;
use crate::error::CliError;

/// Windows that go through the network together hold no more pixels than this, but for one alone.
const PIXELS: usize = 8 * 128 * 128;

/// Probabilities [K, D, H, W] of an image [C, D, H, W] as the network sees it. `None` when told to
/// stop.
///
/// Windows of the size of the patches that the network learnt from overlap by at least a quarter of
/// their sides; their probabilities are averaged with weights that fall linearly to their borders,
/// where a prediction lacks surroundings. An image no larger than a window is one, in its middle.
/// Besides image and result, memory is taken for the weights, one number for a pixel.
pub(crate) fn probabilities(
    network: &UNet,
    image: ArrayView4<f32>,
    window: [usize; 3],
    activation: Activation,
    device: &Device,
    stop: &AtomicBool,
) -> Result<Option<Array4<f32>>, CliError> {
    let (channels, d, h, w) = image.dim();
    let size = [d, h, w];
    let starts = [0, 1, 2].map(|axis| starts(size[axis], window[axis]));
    let corners: Vec<[isize; 3]> = (starts[0].iter())
        .flat_map(|&d| starts[1].iter().map(move |&h| [d, h]))
        .flat_map(|[d, h]| starts[2].iter().map(move |&w| [d, h, w]))
        .collect();
    let tent = tent(window);
    let pixels = window.iter().product::<usize>();
    let mut weights = Array3::<f32>::zeros(size);
    let mut sums: Option<Array4<f32>> = None;
    for group in corners.chunks((PIXELS / pixels.max(1)).max(1)) {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let inputs: Vec<f32> = group.iter().flat_map(|corner| cut(&image, *corner, window)).collect();
        let shape = [group.len(), channels, window[0], window[1], window[2]];
        let logits = network.forward(Tensor::from_data(TensorData::new(inputs, shape), device));
        let found = if activation == Activation::Sigmoid { sigmoid(logits) } else { softmax(logits, 1) };
        let classes = found.dims()[1];
        let found: Vec<f32> = found.try_into_vec_as().map_err(super::read_failure)?;
        let sums = sums.get_or_insert_with(|| Array4::zeros([classes, d, h, w]));
        for (corner, found) in group.iter().zip(found.chunks(classes * pixels)) {
            let Ok(found) = ArrayView4::from_shape([classes, window[0], window[1], window[2]], found) else { continue };
            // The part of the window that lies in the image, in both.
            let inside = [0, 1, 2].map(|axis| {
                let begin = corner[axis].max(0) as usize;
                let end = ((corner[axis] + window[axis] as isize) as usize).min(size[axis]);
                begin..end
            });
            let of = [0, 1, 2].map(|axis| {
                let shift = |i: usize| (i as isize - corner[axis]) as usize;
                shift(inside[axis].start)..shift(inside[axis].end)
            });
            let [d, h, w] = inside;
            let [od, oh, ow] = of;
            let tent = tent.slice(s![od.clone(), oh.clone(), ow.clone()]);
            let mut part = weights.slice_mut(s![d.clone(), h.clone(), w.clone()]);
            part += &tent;
            let found = found.slice(s![.., od, oh, ow]);
            let mut sums = sums.slice_mut(s![.., d, h, w]);
            for (mut sum, found) in sums.axis_iter_mut(Axis(0)).zip(found.axis_iter(Axis(0))) {
                ndarray::Zip::from(&mut sum).and(&found).and(&tent).for_each(|sum, &p, &weight| *sum += weight * p);
            }
        }
    }
    let mut sums = sums.unwrap_or_default();
    for mut sum in sums.axis_iter_mut(Axis(0)) {
        sum /= &weights;
    }
    Ok(Some(sums))
}

/// Where windows begin along an axis. An image no longer than a window stands in its middle, as in
/// training.
fn starts(length: usize, side: usize) -> Vec<isize> {
    if length <= side {
        return vec![-(((side - length) / 2) as isize)];
    }
    let gaps = (length - side).div_ceil((side - side / 4).max(1));
    (0..=gaps).map(|i| (i * (length - side) / gaps) as isize).collect()
}

/// Weights of the pixels of a window: 1 in the middle, along each axis falling to almost 0.
fn tent(side: [usize; 3]) -> Array3<f32> {
    let along = |i: usize, length: usize| (2 * (i + 1).min(length - i)) as f32 / (length + 1) as f32;
    Array3::from_shape_fn(side, |(d, h, w)| along(d, side[0]) * along(h, side[1]) * along(w, side[2]))
}

/// The numbers of a window in memory order; beyond the image its border is repeated.
fn cut(image: &ArrayView4<f32>, corner: [isize; 3], side: [usize; 3]) -> impl Iterator<Item = f32> {
    let size = image.shape();
    let places = [0, 1, 2].map(|axis| -> Vec<usize> {
        let last = size[axis + 1] as isize - 1;
        (0..side[axis]).map(|i| (corner[axis] + i as isize).clamp(0, last) as usize).collect()
    });
    let [d, h, w] = &places;
    Array4::from_shape_fn([size[0], side[0], side[1], side[2]], |(c, i, j, k)| image[[c, d[i], h[j], w[k]]]).into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::network::Shape;

    #[test]
    fn windows_cover_every_pixel_overlap_and_stay_inside() {
        for (length, side) in [(5, 8), (8, 8), (9, 8), (64, 16), (65, 16), (100, 64), (584, 128), (1024, 128), (3, 1), (50, 32)]
        {
            let starts = starts(length, side);
            if length <= side {
                assert_eq!(starts.len(), 1);
                assert!(starts[0] <= 0 && starts[0] + side as isize >= length as isize);
                continue;
            }
            assert_eq!((starts[0], starts[starts.len() - 1]), (0, (length - side) as isize), "{length} {side}");
            let overlap = |pair: &[isize]| pair[0] + side as isize - pair[1];
            assert!(starts.windows(2).all(|pair| overlap(pair) >= (side / 4) as isize && pair[1] > pair[0]), "{starts:?}");
        }
        let weights = tent([1, 2, 3]);
        assert_eq!(weights, ndarray::arr3(&[[[1.0 / 3.0, 2.0 / 3.0, 1.0 / 3.0]; 2]]));
    }

    fn network(volumes: bool) -> UNet {
        UNet::new(Shape { channels: 2, classes: 3, width: 4, volumes }, &Device::flex())
    }

    fn found(network: &UNet, image: &Array4<f32>, window: [usize; 3], activation: Activation) -> Array4<f32> {
        let go = AtomicBool::new(false);
        probabilities(network, image.view(), window, activation, &Device::flex(), &go).unwrap().unwrap()
    }

    fn waves(size: [usize; 3]) -> Array4<f32> {
        Array4::from_shape_fn([2, size[0], size[1], size[2]], |(c, d, h, w)| ((c + 2 * d + 3 * h + 5 * w) as f32).sin())
    }

    #[test]
    fn a_whole_image_equals_one_window() {
        for (volumes, size) in [(false, [1, 16, 12]), (true, [8, 16, 12])] {
            let (network, image) = (network(volumes), waves(size));
            let tensor =
                Tensor::from_data(TensorData::new(image.iter().copied().collect(), [1, 2, size[0], 16, 12]), &Device::flex());
            for activation in [Activation::Softmax, Activation::Sigmoid] {
                let logits = network.forward(tensor.clone());
                let expected = if activation == Activation::Sigmoid { sigmoid(logits) } else { softmax(logits, 1) };
                let expected: Vec<f32> = expected.try_into_vec_as().unwrap();
                let found = found(&network, &image, size, activation);
                assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6));
            }
            // A smaller image is one window too, with its border repeated.
            let small = image.slice(s![.., .., 2..14, 2..10]).to_owned();
            assert_eq!(found(&network, &small, size, Activation::Softmax).dim(), (3, size[0], 12, 8));
        }
    }

    #[test]
    fn averages_stay_probabilities_and_flat_images_flat() {
        let network = network(true);
        let found = found(&network, &waves([11, 21, 30]), [8, 16, 16], Activation::Softmax);
        assert_eq!(found.dim(), (3, 11, 21, 30));
        assert!(found.sum_axis(Axis(0)).iter().all(|sum| (sum - 1.0).abs() < 1e-5));
        let stopped = AtomicBool::new(true);
        let image = waves([8, 16, 16]);
        let none = probabilities(&network, image.view(), [8, 16, 16], Activation::Softmax, &Device::flex(), &stopped);
        assert!(none.unwrap().is_none());
    }
}
