//! Terms that pull the predicted region onto the true one. One term a file.

mod cross_entropy;
mod focal;
mod log_recall;
mod top_k;

pub use cross_entropy::CrossEntropy;
pub use focal::Focal;
pub use log_recall::LogRecall;
pub use top_k::TopK;
