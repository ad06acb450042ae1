//! The terms whose sums are multiplied by a map: boundary and top-k.

use super::options::{Boundary, HARDEST_PIXELS, SIGNED_DISTANCES, TopK};
use super::tape::Var;
use super::terms::weights;
use super::{Activation, Quantity, World};

/// Σ_k c_k Σ w φ p / M
pub(super) fn boundary(world: &mut World<'_>, o: &Boundary) -> Var {
    let classes = world.problem.classes;
    let activation = o.activation.unwrap_or(world.problem.activation);
    let phi = world.given_map(SIGNED_DISTANCES).unwrap_or_else(|| world.signed_distances());
    let mass = world.sums_times(Quantity::Mass(activation, false, 1.0f64.to_bits()), |i, k| phi[i][k]);
    let (mass, valid) = (world.pooled(o.pooling, mass), world.pooled_valid(o.pooling));
    // All but the background.
    let all: Vec<usize> = (usize::from(classes > 1)..classes).collect();
    let c = weights(classes, Some(o.classes.as_deref().unwrap_or(&all)), o.class_weights.as_deref());
    let values: Vec<Var> = (0..valid.len())
        .map(|row| {
            let share = if valid[row] > 0.0 { 1.0 / valid[row] } else { 0.0 };
            let parts: Vec<_> = (0..classes).filter(|&k| c[k] > 0.0).map(|k| (share * c[k], mass[row][k])).collect();
            world.tape.combine(&parts)
        })
        .collect();
    world.mean(&values)
}

/// Softmax: −Σ_k Σ w m y log p / Σ w m, with class weights −Σ_k c_k Σ w m y log p / Σ_k
/// c_k Σ w m y. Sigmoid: the mean over channels, by their weights, of what each has as a problem
/// of its own.
pub(super) fn topk(world: &mut World<'_>, o: &TopK) -> Var {
    let classes = world.problem.classes;
    let activation = o.activation.unwrap_or(world.problem.activation);
    let m = world.given_map(HARDEST_PIXELS).unwrap_or_else(|| world.hardest_pixels(o, activation));
    let sides: &[bool] = if activation == Activation::Softmax { &[false] } else { &[false, true] };
    let likelihoods = sides.iter().map(|&outside| {
        let sums = world.sums_times(Quantity::Log(activation, outside), |i, k| m[i][k]);
        world.pooled(o.pooling, sums)
    });
    let likelihoods: Vec<Vec<Vec<Var>>> = likelihoods.collect();
    let chosen = world.pooled_constants(o.pooling, world.constants(|i, k| m[i][k]));
    let target = world.pooled_constants(o.pooling, world.constants(|i, k| m[i][k] * world.pixels[i].target[k]));
    let c = weights(classes, None, o.class_weights.as_deref());
    let total: f64 = c.iter().sum();
    let values: Vec<Var> = (0..chosen.len())
        .map(|row| {
            let divisor = |k: usize| match (activation, &o.class_weights) {
                (Activation::Softmax, None) => chosen[row][0],
                (Activation::Softmax, Some(_)) => (0..classes).map(|k| c[k] * target[row][k]).sum(),
                (Activation::Sigmoid, _) => total * chosen[row][k],
            };
            let mut parts = Vec::new();
            for k in (0..classes).filter(|&k| divisor(k) > 0.0) {
                parts.extend(likelihoods.iter().map(|sums| (-c[k] / divisor(k), sums[row][k])));
            }
            world.tape.combine(&parts)
        })
        .collect();
    world.mean(&values)
}

#[cfg(test)]
mod tests {
    use super::super::maps::{Map, share_at_threshold};
    use super::super::{Pooling, Problem, Target, Term, answer};
    use super::*;
    use crate::{Input, InputMap};

    /// One channel with sigmoid, and label 9 ignored.
    fn channel(spatial: &[usize], labels: &[i64], logits: &[f64]) -> Input {
        let shape = [&[labels.len() / spatial.iter().product::<usize>(), 1], spatial].concat();
        Input { shape, logits: logits.to_vec(), target: Target::Labels(labels.to_vec()), ..Input::default() }
    }

    fn problem(input: &Input) -> Problem {
        input.problem(Activation::Sigmoid, vec![9])
    }

    fn phi(input: &Input) -> Vec<f64> {
        let map: Map = World::new(&problem(input)).signed_distances();
        map.concat()
    }

    fn value(input: &Input, term: Term) -> f64 {
        let answer = answer(&problem(input), &[(1.0, term)]);
        assert_eq!(answer.terms[0].len(), 1, "no split");
        answer.total.value
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-14, "{a} is not {b}");
    }

    #[test]
    fn signed_distances_by_hand() {
        let none = vec![0.0; 6];
        assert_eq!(phi(&channel(&[5], &[0, 0, 1, 1, 1], &none[..5])), [2.0, 1.0, 0.0, -1.0, -2.0]);
        // An ignored pixel is in the way of nobody, and nobody's nearest.
        assert_eq!(phi(&channel(&[6], &[0, 0, 9, 1, 1, 1], &none)), [3.0, 2.0, -1.0, -2.0, -3.0]);
        let weights = Some(vec![1.0, 1.0, 0.0, 1.0, 1.0, 1.0]);
        let unweighted = Input { weights, ..channel(&[6], &[0, 0, 0, 1, 1, 1], &none) };
        assert_eq!(phi(&unweighted), [3.0, 2.0, -1.0, -2.0, -3.0]);
        let one_sided = channel(&[2], &[1, 1, 0, 9, 0, 1], &none);
        assert_eq!(phi(&one_sided), [0.0, 0.0, 0.0, 1.0, 0.0]);
        // The 1 stays a 1.
        let grid =
            |spacing: [f64; 2]| Input { spacing: Some(spacing.to_vec()), ..channel(&[2, 3], &[1, 0, 0, 0, 0, 0], &none) };
        let slant = |a: f64, b: f64| f64::from(a.hypot(b) as f32);
        assert_eq!(phi(&grid([3.0, 1.5])), [-0.5, 1.5, 3.0, 3.0, slant(3.0, 1.5), slant(3.0, 3.0)]);
        assert_eq!(phi(&grid([4.0, 0.5])), [0.5, 0.5, 1.0, 4.0, slant(4.0, 0.5), slant(4.0, 1.0)]);
    }

    #[test]
    fn boundary_by_hand() {
        // p is 3/4 at the first and 1/2 elsewhere.
        let logits = [3.0f64.ln(), 0.0, 0.0, 0.0, 0.0, 0.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0];
        let one = channel(&[6], &[0, 0, 9, 1, 1, 1], &logits[..6]);
        close(value(&one, Term::Boundary(Boundary::default())), (3.0 * 0.75 + (2.0 - 1.0 - 2.0 - 3.0) * 0.5) / 5.0);
        let weighted = Input { weights: Some(vec![4.0, 1.0, 1.0, 1.0, 1.0, 1.0]), ..one.clone() };
        close(value(&weighted, Term::Boundary(Boundary::default())), (4.0 * 3.0 * 0.75 - 2.0) / 8.0);
        // A sample that is all inside has no boundary, but it has pixels; one without any has not.
        let both = |label: i64| {
            let labels = [0, 0, 9, 1, 1, 1].into_iter().chain([label; 6]).collect::<Vec<i64>>();
            channel(&[6], &labels, &logits)
        };
        let by_sample = || Term::Boundary(Boundary { pooling: Pooling::Sample, ..Default::default() });
        close(value(&both(1), Term::Boundary(Boundary::default())), 0.25 / 11.0);
        close(value(&both(1), by_sample()), 0.05 / 2.0);
        close(value(&both(9), Term::Boundary(Boundary::default())), 0.25 / 5.0);
        close(value(&both(9), by_sample()), 0.05 / 2.0);
        // Three equally likely classes, without the first: of 1 and 2, φ is 1, 0, 1 and 2, 1, 0.
        let shape = vec![1, 3, 3];
        let three = Input { shape, logits: vec![0.0; 9], target: Target::Labels(vec![0, 1, 2]), ..Input::default() };
        let of = |o: Boundary| answer(&three.problem(Activation::Softmax, Vec::new()), &[(1.0, Term::Boundary(o))]).total.value;
        close(of(Boundary::default()), (2.0 + 3.0) / 9.0);
        let weighted = Boundary { classes: Some(vec![0, 2]), class_weights: Some(vec![0.5, 7.0, 2.0]), ..Default::default() };
        close(of(weighted), (0.5 * 3.0 + 2.0 * 3.0) / 9.0);
    }

    #[test]
    fn the_hardest_by_hand() {
        let order = [0.1, 0.9, 0.5, 0.7];
        assert_eq!(share_at_threshold(&order, 0.5), (0.7, 1.0));
        assert_eq!(share_at_threshold(&order, 0.51), (0.5, 1.0));
        assert_eq!(share_at_threshold(&order, 0.001), (0.9, 1.0));
        assert_eq!(share_at_threshold(&order, 1.0), (0.1, 1.0));
        assert_eq!(share_at_threshold(&[0.2, 0.9, 0.2, 0.2], 0.5), (0.2, f64::from(1.0f32 / 3.0)));
        let hundred: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!(share_at_threshold(&hundred, 0.07), (93.0, 1.0));
    }

    #[test]
    fn topk_by_hand() {
        let topk = |fraction| Term::TopK(TopK { fraction, ..Default::default() });
        let loss = |z: f64| (-z).exp().ln_1p();
        // Labels 1, 1, 0, 1, and an ignored one: losses of z, z, −z, z.
        let one = channel(&[5], &[1, 1, 0, 1, 9], &[1.0, -2.0, -0.5, 3.0, -9.0]);
        close(value(&one, topk(0.5)), (loss(-2.0) + loss(0.5)) / 2.0);
        close(value(&one, topk(0.01)), loss(-2.0));
        let weighted = Input { weights: Some(vec![1.0, 3.0, 0.5, 1.0, 1.0]), ..one.clone() };
        close(value(&weighted, topk(0.5)), (3.0 * loss(-2.0) + 0.5 * loss(0.5)) / 3.5);
        // Given, in place of the hardest.
        let maps = vec![InputMap { name: HARDEST_PIXELS, channels: 1, values: vec![0.0, 0.0, 1.0, 0.5, f64::NAN] }];
        close(value(&Input { maps, ..one }, topk(0.5)), (loss(0.5) + 0.5 * loss(3.0)) / 1.5);
        // Three of a kind share one place: a third of a slope each.
        let tied = channel(&[4], &[1, 1, 1, 1], &[1.0, -2.0, 1.0, 1.0]);
        let found = answer(&problem(&tied), &[(1.0, topk(0.5))]);
        let third = f64::from(1.0f32 / 3.0);
        close(found.total.value, (loss(-2.0) + 3.0 * third * loss(1.0)) / (1.0 + 3.0 * third));
        close(found.gradient[2], -third / (1.0 + 1.0f64.exp()) / (1.0 + 3.0 * third));
        // Samples by themselves; the second has nothing valid.
        let two = channel(&[2], &[1, 1, 9, 9], &[1.0, -2.0, 0.0, 0.0]);
        close(value(&two, Term::TopK(TopK { pooling: Pooling::Sample, ..Default::default() })), loss(-2.0) / 2.0);
    }

    #[test]
    fn topk_of_classes_by_hand() {
        // Log-odds of 1 and −2 against the other class; labels 0 and 1.
        let shape = vec![1, 2, 3];
        let logits = vec![1.0, -2.0, 9.0, 0.0, 0.0, 0.0];
        let two = Input { shape, logits, target: Target::Labels(vec![0, 1, 0]), ..Input::default() };
        let of = |activation, o: TopK| answer(&two.problem(activation, Vec::new()), &[(1.0, Term::TopK(o))]).total.value;
        let loss = |z: f64| (-z).exp().ln_1p();
        let (first, second) = (loss(1.0), loss(2.0));
        close(of(Activation::Softmax, TopK { fraction: 0.6, ..Default::default() }), (first + second) / 2.0);
        let class_weights = Some(vec![0.25, 2.0]);
        let weighted = || TopK { fraction: 0.6, class_weights: class_weights.clone(), ..Default::default() };
        close(of(Activation::Softmax, weighted()), (0.25 * first + 2.0 * second) / 2.25);
        // Each channel has its own two hardest; the second is everywhere at 1/2.
        let channels = [(loss(1.0) + loss(2.0)) / 2.0, 2.0f64.ln()];
        close(of(Activation::Sigmoid, weighted()), (0.25 * channels[0] + 2.0 * channels[1]) / 2.25);
        // Soft targets: the Cross-Entropy of a pixel.
        let soft = Input { target: Target::Soft(vec![0.5, 0.5, 1.0, 0.5, 0.5, 0.0]), ..two.clone() };
        let hardest = answer(&soft.problem(Activation::Softmax, Vec::new()), &[(1.0, Term::TopK(TopK::default()))]);
        close(hardest.total.value, (loss(2.0) + loss(-2.0)) / 2.0);
    }
}
