//! What named checks are written with.

use loss_core::{Detail, Loss, LossError};

use crate::oracle::Target;
use crate::tolerance::tolerance;
use crate::{Adapter, Dtype, Input, Output};

/// A named check of a backend.
pub type Check = (&'static str, fn(&dyn Adapter) -> Result<(), String>);

pub(crate) fn loss(text: &str) -> Result<Loss, String> {
    text.parse().map_err(|error: LossError| format!("{text}: {error}"))
}

pub(crate) fn labels(input: &mut Input) -> Result<&mut Vec<i64>, String> {
    match &mut input.target {
        Target::Labels(labels) => Ok(labels),
        Target::Soft(_) => Err("the check's own input has soft targets where it needs labels".to_owned()),
    }
}

/// What the adapter computes, whose gradient has a number for every logit.
pub(crate) fn run(adapter: &dyn Adapter, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Output, String> {
    let out = adapter.value_and_gradient(loss, input, dtype).map_err(|error| error.to_string())?;
    let (got, want) = (out.gradient.len(), input.logits.len());
    if got == want { Ok(out) } else { Err(format!("the gradient has {got} numbers, the logits {want}")) }
}

pub(crate) fn same(what: &str, a: &Output, b: &Output) -> Result<(), String> {
    if a.total.to_bits() != b.total.to_bits() {
        return Err(format!("{what}: totals {} and {}", a.total, b.total));
    }
    match a.gradient.iter().zip(&b.gradient).position(|(a, b)| a != b) {
        Some(i) => Err(format!("{what}: gradients {} and {} at {i}", a.gradient[i], b.gradient[i])),
        None => Ok(()),
    }
}

/// Whether a backend takes a built-in term, which may read maps.
pub(crate) fn takes(adapter: &dyn Adapter, term: &str) -> bool {
    let program = term.parse::<Loss>().and_then(|loss| loss.program(3, Detail::Total));
    adapter.reads_maps() || program.is_ok_and(|program| program.plan().maps().is_empty())
}

/// The widest type of logits that a backend reads: what checks of values use.
pub(crate) fn widest(adapter: &dyn Adapter) -> Dtype {
    if adapter.supports(Dtype::F64) { Dtype::F64 } else { Dtype::F32 }
}

/// What two numbers of that type may be apart that should be equal, relative to their scale.
pub(crate) fn slack(adapter: &dyn Adapter) -> f64 {
    match widest(adapter) {
        Dtype::F64 => 1e-12,
        // Each may be off by this, and no check has more classes.
        single => 2.0 * tolerance(single, [1, 5, 1]).with_algebra_in(adapter.algebra(), 5).relative,
    }
}

pub(crate) fn close(adapter: &dyn Adapter, what: &str, a: &Output, b: &Output) -> Result<(), String> {
    let slack = slack(adapter);
    let scale = a.gradient.iter().fold(0.0f64, |m, g| m.max(g.abs()));
    let off = a.gradient.iter().zip(&b.gradient).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    if (a.total - b.total).abs() > slack * a.total.abs().max(1.0) || off.is_nan() || off > slack * scale {
        return Err(format!("{what}: totals {} and {}, gradients off by {off:e} of {scale:e}", a.total, b.total));
    }
    Ok(())
}

/// Pixels of an input: sample, pixel, in the order of the labels.
pub(crate) fn pixels(input: &Input) -> Vec<(usize, usize)> {
    let [samples, _, pixels] = input.lengths();
    (0..samples).flat_map(|n| (0..pixels).map(move |s| (n, s))).collect()
}

pub(crate) fn logit_at(input: &Input, (n, s): (usize, usize), k: usize) -> usize {
    let [_, classes, pixels] = input.lengths();
    (n * classes + k) * pixels + s
}

pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, LossError>, text: &str) -> Result<(), String> {
    match result {
        Err(error) if error.to_string() == text => Ok(()),
        Err(error) => Err(format!("says `{error}`, not `{text}`")),
        Ok(out) => Err(format!("not refused: {out:?}")),
    }
}
