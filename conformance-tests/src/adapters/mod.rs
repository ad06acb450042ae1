//! The backends of this workspace.

#[cfg(feature = "burn")]
mod burn;
#[cfg(feature = "ndarray")]
mod ndarray;

#[cfg(feature = "burn")]
pub use self::burn::{BurnFused, BurnOperations};
#[cfg(feature = "ndarray")]
pub use self::ndarray::Ndarray;
