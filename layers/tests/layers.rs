//! Each layer beside the plain loops of its formula, in `f64`, and its gradients beside those.

use segloss_layers::{Convolution, LengthError, Normalisation, Pointwise};

/// Numbers from −1 to 1 without a pattern.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Calls `each` with the places in output, weights and input of every product.
fn products(layer: &Convolution, mut each: impl FnMut(usize, usize, usize)) {
    let ([channels, outputs], [d, h, w]) = (layer.channels, layer.size);
    let depth = if layer.volumes { 1 } else { 0 };
    for n in 0..layer.samples {
        for (o, c) in (0..outputs).flat_map(|o| (0..channels).map(move |c| (o, c))) {
            let mut tap = (o * channels + c) * 9 * (2 * depth + 1);
            for dz in -(depth as isize)..=depth as isize {
                for dy in -1..=1isize {
                    for dx in -1..=1isize {
                        for (z, y, x) in (0..d).flat_map(|z| (0..h).flat_map(move |y| (0..w).map(move |x| (z, y, x)))) {
                            let at = [z as isize + dz, y as isize + dy, x as isize + dx];
                            if at.iter().zip([d, h, w]).all(|(&at, length)| (0..length as isize).contains(&at)) {
                                let [zz, yy, xx] = at.map(|at| at as usize);
                                let out = (((n * outputs + o) * d + z) * h + y) * w + x;
                                each(out, tap, (((n * channels + c) * d + zz) * h + yy) * w + xx);
                            }
                        }
                        tap += 1;
                    }
                }
            }
        }
    }
}

fn close(found: &[f32], expected: &[f64], within: f64) {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1.0, |most: f64, e| most.max(e.abs()));
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((f64::from(*found) - expected).abs() <= within * scale, "{i}: {found}, not {expected}");
    }
}

#[test]
fn convolutions_are_their_formula() {
    let layer = |samples, channels, size, volumes| Convolution { samples, channels, size, volumes };
    for layer in [
        layer(1, [1, 1], [1, 1, 1], false),
        layer(2, [1, 8], [1, 7, 5], false),
        layer(3, [5, 3], [1, 4, 33], false),
        layer(1, [8, 16], [1, 16, 16], false),
        layer(1, [2, 5], [1, 4, 4], false),
        layer(1, [2, 5], [1, 2, 2], false),
        layer(1, [2, 5], [1, 1, 1], false),
        layer(2, [3, 6], [3, 4, 5], true),
        layer(1, [4, 4], [1, 2, 70], true),
        layer(2, [2, 9], [6, 1, 1], true),
    ] {
        let pixels: usize = layer.size.iter().product();
        let [input, output] = layer.channels.map(|channels| layer.samples * channels * pixels);
        let count = layer.channels[0] * layer.channels[1] * if layer.volumes { 27 } else { 9 };
        let (input, weights, gradient) = (numbers(input, 1), numbers(count, 2), numbers(output, 3));
        let mut out = vec![0.0; output];
        let (mut of_input, mut of_weights) = (vec![0.0; input.len()], vec![0.0; count]);
        products(&layer, |o, w, i| {
            out[o] += f64::from(weights[w]) * f64::from(input[i]);
            of_input[i] += f64::from(weights[w]) * f64::from(gradient[o]);
            of_weights[w] += f64::from(input[i]) * f64::from(gradient[o]);
        });
        close(&layer.forward(&input, &weights).unwrap(), &out, 2e-6);
        close(&layer.input_gradient(&gradient, &weights).unwrap(), &of_input, 2e-6);
        close(&layer.weight_gradient(&input, &gradient).unwrap(), &of_weights, 2e-6);
    }
}

#[test]
fn convolutions_of_a_pixel_are_their_formula() {
    for (samples, [channels, outputs], pixels) in [(1, [1, 1], 1), (2, [3, 5], 33), (3, [16, 8], 700), (1, [8, 2], 257)] {
        let layer = Pointwise { samples, channels: [channels, outputs], pixels };
        let (input, weights) = (numbers(samples * channels * pixels, 1), numbers(channels * outputs, 2));
        let (offset, gradient) = (numbers(outputs, 3), numbers(samples * outputs * pixels, 4));
        let mut out = vec![0.0; gradient.len()];
        let mut back = [vec![0.0; input.len()], vec![0.0; weights.len()], vec![0.0; outputs]];
        for (n, o, s) in (0..out.len()).map(|i| (i / pixels / outputs, i / pixels % outputs, i % pixels)) {
            let place = (n * outputs + o) * pixels + s;
            let g = f64::from(gradient[place]);
            out[place] += f64::from(offset[o]);
            back[2][o] += g;
            for c in 0..channels {
                let (x, w) = ((n * channels + c) * pixels + s, o * channels + c);
                out[place] += f64::from(weights[w]) * f64::from(input[x]);
                back[0][x] += f64::from(weights[w]) * g;
                back[1][w] += f64::from(input[x]) * g;
            }
        }
        close(&layer.forward(&input, &weights, &offset).unwrap(), &out, 2e-6);
        let found = layer.gradients(&input, &weights, &gradient).unwrap();
        found.iter().zip(&back).for_each(|(found, expected)| close(found, expected, 2e-6));
    }
}

/// The formula, and the derivatives of Σ gradient · output by central differences.
#[test]
fn normalisation_is_its_formula() {
    let layer = Normalisation { samples: 2, channels: 6, groups: 3, pixels: 131, epsilon: 1e-5 };
    let count = 2 * 6 * 131;
    // Far from 0 beside their spread, where single sums lose digits.
    let input: Vec<f32> = numbers(count, 1).iter().map(|x| 30.0 + x).collect();
    let (scale, offset, gradient) = (numbers(6, 2), numbers(6, 3), numbers(count, 4));
    let formula = |input: &[f64], scale: &[f64], offset: &[f64]| -> Vec<f64> {
        let mut out = Vec::new();
        for (i, group) in input.chunks(2 * 131).enumerate() {
            let mean = group.iter().sum::<f64>() / 262.0;
            let variance = group.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 262.0;
            for (j, x) in group.iter().enumerate() {
                let channel = i % 3 * 2 + j / 131;
                out.push((scale[channel] * (x - mean) / (variance + 1e-5).sqrt() + offset[channel]).max(0.0));
            }
        }
        out
    };
    let wide = |numbers: &[f32]| numbers.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    let at = [wide(&input), wide(&scale), wide(&offset)];
    let out = layer.forward(&input, &scale, &offset).unwrap();
    close(&out, &formula(&at[0], &at[1], &at[2]), 1e-5);
    let found = layer.gradients(&input, &scale, &offset, &gradient).unwrap();
    let value = |at: &[Vec<f64>; 3]| -> f64 {
        formula(&at[0], &at[1], &at[2]).iter().zip(&gradient).map(|(y, g)| y * f64::from(*g)).sum()
    };
    for (part, found) in found.iter().enumerate() {
        let places: Vec<usize> = (0..found.len()).step_by(if part == 0 { 97 } else { 1 }).collect();
        let slopes: Vec<f64> = places
            .iter()
            .map(|&place| {
                let shifted = |by: f64| {
                    let mut at = at.clone();
                    at[part][place] += by;
                    value(&at)
                };
                (shifted(1e-6) - shifted(-1e-6)) / 2e-6
            })
            .collect();
        let found: Vec<f32> = places.iter().map(|&place| found[place]).collect();
        close(&found, &slopes, 2e-4);
    }
}

#[test]
fn an_image_of_one_value_stays_finite() {
    let layer = Normalisation { samples: 1, channels: 1, groups: 1, pixels: 3, epsilon: 1e-5 };
    let out = layer.forward(&[7.0; 3], &[1.0], &[0.25]).unwrap();
    assert_eq!(out, [0.25; 3]);
    let [input, ..] = layer.gradients(&[7.0; 3], &[1.0], &[0.25], &[1.0, 2.0, 3.0]).unwrap();
    assert!(input.iter().all(|g| g.is_finite()));
}

#[test]
fn lengths_are_checked() {
    let layer = Convolution { samples: 1, channels: [1, 1], size: [1, 2, 2], volumes: false };
    let error = layer.forward(&[0.0; 3], &[0.0; 9]).unwrap_err();
    assert_eq!(error, LengthError { what: "input", found: 3, expected: 4 });
    assert_eq!(error.to_string(), "input: 3 numbers, where the layer has 4");
    assert!(layer.weight_gradient(&[0.0; 4], &[0.0; 5]).is_err());
    let layer = Pointwise { samples: 1, channels: [2, 1], pixels: 2 };
    let error = layer.forward(&[0.0; 4], &[0.0; 2], &[0.0; 2]).unwrap_err();
    assert_eq!(error, LengthError { what: "offset", found: 2, expected: 1 });
    assert!(layer.gradients(&[0.0; 4], &[0.0; 3], &[0.0; 2]).is_err());
    let empty = Pointwise { samples: 1, channels: [2, 1], pixels: 0 };
    assert_eq!(empty.gradients(&[], &[1.0; 2], &[]).unwrap(), [vec![], vec![0.0; 2], vec![0.0]]);
    let empty = Convolution { samples: 0, channels: [1, 1], size: [1, 0, 2], volumes: false };
    assert_eq!(empty.forward(&[], &[0.0; 9]).unwrap(), []);
    assert_eq!(empty.weight_gradient(&[], &[]).unwrap(), [0.0; 9]);
}
