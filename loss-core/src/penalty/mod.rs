//! Terms that bias the size of the predicted region, openly. One term a file; what they share is in
//! `proportions`.

mod dice_bias;
mod kl;
mod l1;
pub(crate) mod proportions;

pub use dice_bias::DiceBias;
pub use kl::Kl;
pub use l1::L1;
pub use proportions::SizeTarget;
