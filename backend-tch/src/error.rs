//! LibTorch's errors as the library's own.

use loss_core::LossError;
use tch::TchError;

/// LibTorch's message without the C++ stack trace that follows it; the whole of it is the source.
#[derive(Debug, thiserror::Error)]
#[error("{summary}")]
struct Failure {
    summary: String,
    #[source]
    source: TchError,
}

/// Names what was being done when LibTorch failed.
pub(crate) trait During<T> {
    fn during(self, operation: &'static str) -> Result<T, LossError>;
}

impl<T> During<T> for Result<T, TchError> {
    fn during(self, operation: &'static str) -> Result<T, LossError> {
        self.map_err(|source| {
            let text = source.to_string();
            let summary = text.lines().next().unwrap_or_default().to_owned();
            LossError::Backend { backend: "LibTorch", operation, source: Box::new(Failure { summary, source }) }
        })
    }
}
