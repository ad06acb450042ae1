//! The pressure of a loss on the sizes of the classes, against the oracle's gradient.

use crate::check::{Check, loss, widest};
use crate::inputs::input;
use crate::oracle::{self, Problem, Term};
use crate::tolerance::{Tolerance, compared, tolerance};
use crate::{Adapter, cases};

/// All rows.
pub(crate) const CHECKS: &[Check] = &[
    ("pressure_is_the_gradient_summed_over_pixels", sums_of_the_gradient),
    ("pressure_of_ce_is_what_a_proportion_lacks", of_cross_entropy),
];

/// Situations whose gradients differ in what they are summed over.
const SITUATIONS: [&str; 9] = [
    "softmax/0d",
    "softmax/2d",
    "softmax/blocks",
    "softmax/nothing_valid_in_a_sample",
    "softmax/soft_and_weights",
    "softmax/regions",
    "sigmoid/three_channels",
    "sigmoid/one_channel_ignored",
    "sigmoid/regions",
];

fn sums_of_the_gradient(adapter: &dyn Adapter) -> Result<(), String> {
    let dtype = widest(adapter);
    let wanted = |case: &cases::Case| SITUATIONS.contains(&case.situation) && (adapter.reads_maps() || !case.reads_maps());
    let mut compared = 0;
    for case in cases::all().into_iter().filter(wanted) {
        let loss = case.loss().map_err(|error| error.to_string())?;
        let got = adapter.evaluate(&loss, &case.input, dtype).map_err(|error| format!("{}: {error}", case.name()))?;
        let pressure = got.pressure.ok_or_else(|| format!("{}: evaluated without its pressure", case.name()))?;
        let problem = case.problem(dtype);
        let lengths = [problem.samples, problem.classes, problem.pixels];
        let allowed = tolerance(dtype, lengths).with_algebra_in(adapter.algebra(), problem.classes);
        let check = |what: &str, got: &[f64], terms: &[(f64, Term)]| {
            same(got, &problem, terms, allowed).map_err(|error| format!("{}: {what}: {error}", case.name()))
        };
        check("total", &pressure.total, &case.terms)?;
        if pressure.terms.len() != case.terms.len() {
            return Err(format!("{}: pressure of {} terms", case.name(), pressure.terms.len()));
        }
        for (got, (_, term)) in pressure.terms.iter().zip(&case.terms) {
            check(&format!("{term:?}"), got, &[(1.0, term.clone())])?;
            compared += 1;
        }
    }
    if compared < 200 { Err(format!("only {compared} terms were compared")) } else { Ok(()) }
}

/// Compares a pressure with the oracle's gradient, summed up by class.
fn same(got: &[f64], problem: &Problem, terms: &[(f64, Term)], allowed: Tolerance) -> Result<(), String> {
    let answer = oracle::answer(problem, terms);
    let mut want = vec![0.0; problem.classes];
    for (plane, gradient) in answer.gradient.chunks(problem.pixels).enumerate() {
        want[plane % problem.classes] += gradient.iter().sum::<f64>();
    }
    // Each pixel's gradient may be off by what is allowed. Nothing is stored, so nothing is
    // rounded.
    let scale = answer.gradient_scale * (problem.samples * problem.pixels) as f64;
    let allowed = Tolerance { rounding: 0.0, least: 1e-30, ..allowed };
    let worst = compared("pressure", got, &want, scale, allowed)?;
    if worst.over() { Err(worst.to_string()) } else { Ok(()) }
}

/// p̂ − t̂, over the batch.
fn of_cross_entropy(adapter: &dyn Adapter) -> Result<(), String> {
    let dtype = widest(adapter);
    let scene = input(&[2, 3, 50], 77);
    let got = adapter.evaluate(&loss("ce")?, &scene, dtype).map_err(|error| error.to_string())?;
    let pressure = got.pressure.ok_or("evaluated without its pressure")?;
    let lacks: Vec<f64> = got.regions.iter().map(|region| region.predicted - region.target).collect();
    let allowed = tolerance(dtype, [2, 3, 50]).with_algebra_in(adapter.algebra(), 3);
    let worst = compared("p - t", &pressure.total, &lacks, 1.0, allowed)?;
    if worst.over() { Err(worst.to_string()) } else { Ok(()) }
}
