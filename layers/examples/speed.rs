//! Time and arithmetic of each layer: `cargo run --release -p segloss-layers --example speed`.

use std::time::Instant;

use segloss_layers::{Convolution, Normalisation, Pointwise};

fn main() -> Result<(), segloss_layers::LengthError> {
    let shapes = [([8, 8], [1, 64, 64], false, 8), ([32, 32], [1, 16, 16], false, 8), ([8, 8], [32, 32, 32], true, 2)];
    for (channels, size, volumes, samples) in shapes {
        let layer = Convolution { samples, channels, size, volumes };
        let pixels: usize = size.iter().product::<usize>() * samples;
        let taps = if volumes { 27 } else { 9 };
        let numbers = |count: usize| (0..count).map(|i| (i % 7) as f32 - 3.0).collect::<Vec<f32>>();
        let (input, weights, gradient) =
            (numbers(channels[0] * pixels), numbers(channels[0] * channels[1] * taps), numbers(channels[1] * pixels));
        let operations = (2 * channels[0] * channels[1] * taps * pixels) as f64;
        let norm =
            Normalisation { samples, channels: channels[0], groups: channels[0] / 4, pixels: pixels / samples, epsilon: 1e-5 };
        let ones = vec![1.0; channels[0]];
        let point = Pointwise { samples, channels, pixels: pixels / samples };
        let of_pixels = &weights[..channels[0] * channels[1]];
        println!("{channels:?} {size:?}, {samples} images");
        let time = |name: &str, call: &dyn Fn() -> Result<usize, segloss_layers::LengthError>| {
            call()?;
            let start = Instant::now();
            for _ in 0..20 {
                call()?;
            }
            let seconds = start.elapsed().as_secs_f64() / 20.0;
            println!("  {name:16} {:7.2} ms {:6.1} GFLOP/s", 1e3 * seconds, operations / seconds / 1e9);
            Ok(())
        };
        time("forward", &|| Ok(layer.forward(&input, &weights)?.len()))?;
        time("input gradient", &|| Ok(layer.input_gradient(&gradient, &weights)?.len()))?;
        time("weight gradient", &|| Ok(layer.weight_gradient(&input, &gradient)?.len()))?;
        time("pointwise", &|| Ok(point.forward(&input, of_pixels, &ones)?.len()))?;
        time("its gradients", &|| Ok(point.gradients(&input, of_pixels, &gradient)?[0].len()))?;
        time("normalisation", &|| Ok(norm.forward(&input, &ones, &ones)?.len()))?;
        time("its gradients", &|| Ok(norm.gradients(&input, &ones, &ones, &input)?[0].len()))?;
    }
    Ok(())
}
