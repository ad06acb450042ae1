//! What compiles sources and launches kernels: CUDA's driver, and in tests the CPU.

#![allow(unsafe_code)]

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use loss_core::LossError;

/// A kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// Sums over the pixels of each block.
    SumPixels,
    /// Sums over the blocks of each sample.
    SumBlocks,
    /// The gradient.
    PullBack,
    /// The algebra between the two.
    RunSteps,
}

impl Kernel {
    /// Those of a plan.
    pub const OF_A_PLAN: &[Self] = &[Self::SumPixels, Self::SumBlocks, Self::PullBack];

    /// The one that is the same for all losses.
    pub const OF_ALL: &[Self] = &[Self::RunSteps];

    /// Its name in the source.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SumPixels => "sum_pixels",
            Self::SumBlocks => "sum_blocks",
            Self::PullBack => "pull_back",
            Self::RunSteps => "run_steps",
        }
    }
}

/// Why a source was not compiled, or a kernel not launched.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Compiles sources for one device.
pub trait Launcher: Send + Sync {
    /// What compiles and launches, for errors: `CUDA`.
    fn name(&self) -> &'static str;

    /// Threads of a block, a multiple of 32.
    fn threads(&self) -> usize;

    /// Blocks that keep the device busy.
    fn blocks(&self) -> usize;

    /// Compiles a source with these kernels in it.
    ///
    /// # Errors
    /// What the compiler says.
    fn compile(&self, source: &str, kernels: &[Kernel]) -> Result<Arc<dyn Kernels>, Failure>;
}

/// A source that was compiled.
pub trait Kernels: Send + Sync {
    /// Launches a kernel after what was launched before, and does not wait for it.
    ///
    /// # Errors
    /// What the driver says.
    ///
    /// # Safety
    /// `arguments` are the source's `struct Arguments`, whose addresses lie on the launcher's
    /// device, and their tensors live until what is launched now has run.
    unsafe fn launch(&self, kernel: Kernel, blocks: u32, arguments: &[u64]) -> Result<(), Failure>;
}

/// A launcher with what it has compiled.
pub struct Compiler {
    launcher: Box<dyn Launcher>,
    /// By source. Never emptied: an entry is a plan for some types, and the kernels of those that
    /// a program uses are some ten KB each.
    compiled: Mutex<HashMap<Arc<str>, Arc<dyn Kernels>>>,
}

impl Compiler {
    /// Nothing is compiled yet.
    #[must_use]
    pub fn new(launcher: Box<dyn Launcher>) -> Self {
        Self { launcher, compiled: Mutex::default() }
    }

    pub(crate) fn threads(&self) -> usize {
        self.launcher.threads()
    }

    pub(crate) fn blocks(&self) -> usize {
        self.launcher.blocks()
    }

    /// How many sources were compiled.
    #[must_use]
    pub fn compiled(&self) -> usize {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The kernels of a source, compiled the first time.
    pub(crate) fn kernels(&self, source: &Arc<str>, kernels: &[Kernel]) -> Result<Arc<dyn Kernels>, LossError> {
        if let Some(kernels) = self.compiled.lock().unwrap_or_else(PoisonError::into_inner).get(source) {
            return Ok(Arc::clone(kernels));
        }
        // Outside of the lock: another thread may need another source meanwhile.
        let kernels = self.launcher.compile(source, kernels).map_err(|source| self.failed("compiling kernels", source))?;
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(compiled.entry(Arc::clone(source)).or_insert(kernels)))
    }

    pub(crate) fn failed(&self, operation: &'static str, source: Failure) -> LossError {
        LossError::Backend { backend: self.launcher.name(), operation, source }
    }
}
