//! Segmentation losses composed from a ground-truth matching term and an explicit region-size
//! penalty.
//!
//! Each backend is a module behind its feature: `ndarray` (default), `burn` (with kernels for GPUs:
//! `burn-wgpu`, `burn-cuda`; metrics: `burn-train`) and `tch` (LibTorch; it must be there when the
//! feature is built: see `backend-tch`). A program takes the prelude of the backend that it
//! computes with; all of [`loss_core`] is at the root, and [`backend`] is for those who write a
//! backend. The feature `metrics` has metrics of label maps in a module of its own.
//!
//! ```
//! # #[cfg(feature = "ndarray")] {
//! use ndarray::array;
//! use segloss::ndarray::prelude::*;
//!
//! let loss: Loss = "ce + 0.5 * kl(temperature=10)".parse()?;
//! let logits = array![[[2.0f32, 0.5], [0.0, 1.5]]];
//! let labels = array![[0u8, 1]];
//! let total = loss.value(logits.view(), &Target::labels(labels.view()))?;
//! assert!(total > 0.0);
//! # }
//! # Ok::<(), segloss::LossError>(())
//! ```

pub use loss_core::*;

/// What a user of losses names, whichever the backend: `use segloss::prelude::*`.
///
/// The extension traits are not among it. Several backends call a method `evaluate`, so that with
/// two traits in scope no call would compile. Take one backend's prelude, such as
/// `segloss::ndarray::prelude`: it is this one and the backend's trait and target.
pub mod prelude {
    pub use loss_core::matching::{CrossEntropy, Focal, LogRecall, TopK};
    pub use loss_core::overlap::{Dice, GeneralizedDice, Jaccard, RegionWeight, Tversky};
    pub use loss_core::penalty::{DiceBias, Kl, L1, SizeTarget};
    pub use loss_core::unsplit::Boundary;
    pub use loss_core::{
        AbsentClass, Activation, Evaluation, Form, Loss, LossError, Map, Pooling, Preference, PreferredSize, Pressure,
        Schedule, Shifted, Split, matching, overlap, penalty, preferred_size, unsplit,
    };
}

macro_rules! backend {
    ($feature:literal, $module:ident, $backend:ident, [$($name:ident),*]) => {
        #[cfg(feature = $feature)]
        #[doc = concat!("The backend `", $feature, "`.")]
        pub mod $module {
            pub use $backend::*;

            /// What a program that computes with this backend names.
            pub mod prelude {
                pub use crate::prelude::*;
                pub use $backend::{$($name),*};
            }
        }
    };
}

backend!("ndarray", ndarray, backend_ndarray, [NdarrayLoss, Target]);
backend!("burn", burn, backend_burn, [BurnLoss, BurnTarget]);
backend!("tch", tch, backend_tch, [TchLoss, TchTarget]);

/// Metrics of label maps: Dice, surface distances, lesions, calibration.
#[cfg(feature = "metrics")]
pub use segloss_metrics as metrics;
