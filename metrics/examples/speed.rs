//! Seconds for the surface distances of two volumes of 256³ voxels, from label maps to HD95.
//!
//! `cargo run --release -p segloss-metrics --example speed`, beside `speed.py`, which times others
//! on the same maps. Prints the least of some rounds, for each scene and surface.

use std::time::Instant;

use ndarray::Array3;
use segloss_metrics::{LabelMaps, MetricError, Surface};

const SIDE: usize = 256;
const SPACING: [f64; 3] = [1.5, 0.8, 0.8];
const ROUNDS: usize = 5;

/// An ellipsoid with waves on it, moved; its semi-axes are this part of the volume's sides.
fn scene(size: f64, moved: f64, waves: f64) -> Array3<u8> {
    let side = SIDE as f64;
    Array3::from_shape_fn([SIDE; 3], |(z, y, x)| {
        let part = |i: usize| (i as f64 - 0.5 * (side - 1.0) - moved) / (size * side);
        let radius = part(z).powi(2) + part(y).powi(2) + part(x).powi(2);
        let wave = waves * ((0.3 * x as f64).sin() + (0.3 * y as f64).sin() + (0.3 * z as f64).sin());
        u8::from(radius + wave <= 1.0)
    })
}

fn main() -> Result<(), MetricError> {
    let scenes = [("a tenth of the volume", 0.29, 0.0), ("four tenths, uneven", 0.46, 0.05)];
    for (name, size, waves) in scenes {
        let (target, prediction) = (scene(size, 0.0, waves), scene(size, 4.0, waves));
        for surface in [Surface::Border, Surface::Elements, Surface::Pixels] {
            let mut least = f64::INFINITY;
            let mut found = (0.0, 0.0);
            for _ in 0..ROUNDS {
                let start = Instant::now();
                let maps = LabelMaps::new(prediction.view(), target.view())?.with_spacing(&SPACING)?;
                let Some(distances) = maps.surface_distances(1, surface)? else { continue };
                found = (distances.hausdorff_percentile(95.0)?, distances.average());
                least = least.min(start.elapsed().as_secs_f64());
            }
            println!("{name}, {surface:?}: {least:.3} s, HD95 {:.4}, average {:.4}", found.0, found.1);
        }
    }
    Ok(())
}
