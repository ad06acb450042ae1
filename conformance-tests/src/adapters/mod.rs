//! The backends of this workspace.

#[cfg(feature = "burn")]
mod burn;
#[cfg(feature = "ndarray")]
mod ndarray;
#[cfg(feature = "tch")]
mod tch;

#[cfg(feature = "burn")]
pub use self::burn::{BurnFused, BurnOn, BurnOperations};
#[cfg(feature = "ndarray")]
pub use self::ndarray::{Ndarray, NdarrayTiled};
#[cfg(feature = "tch")]
pub use self::tch::Tch;

/// A term's numbers, as [`crate::Output`] has them.
#[cfg(feature = "ndarray")]
fn numbers(term: &loss_core::TermEvaluation) -> Vec<f64> {
    vec![term.value, term.matching, term.size, term.constant]
}

/// A library failed, or a backend broke a promise.
#[cfg(any(feature = "ndarray", feature = "burn", feature = "tch"))]
fn failed(
    backend: &'static str,
    operation: &'static str,
) -> impl Fn(Box<dyn std::error::Error + Send + Sync>) -> loss_core::LossError {
    move |source| loss_core::LossError::Backend { backend, operation, source }
}

/// A name with the version that this crate was built with (see `build.rs`), or nothing.
#[cfg(any(feature = "ndarray", feature = "burn", feature = "tch"))]
fn built_on(name: &str, version: Option<&str>) -> String {
    version.map_or_else(String::new, |version| format!("{name} {version}"))
}
