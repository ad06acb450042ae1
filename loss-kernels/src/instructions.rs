//! The sets of instructions that the kernels are compiled for, and which is in use.

use loss_core::LossError;
use pulp::{Simd, WithSimd};

/// The sets of instructions that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instructions {
    /// What the compiler uses for the target in general.
    Plain,
    /// x86-64 with AVX2 and FMA: eight `f32` at a time.
    Avx2,
    /// x86-64 with AVX-512: sixteen.
    Avx512,
    /// AArch64: four.
    Neon,
}

/// The environment variable that names a set of instructions.
pub const INSTRUCTIONS_VARIABLE: &str = "SEGLOSS_SIMD";

const NAMES: [(&str, Instructions); 4] = [
    ("plain", Instructions::Plain),
    ("avx2", Instructions::Avx2),
    ("avx512", Instructions::Avx512),
    ("neon", Instructions::Neon),
];

impl Instructions {
    /// Those this machine has, the fastest last.
    #[must_use]
    pub fn available() -> Vec<Self> {
        NAMES.iter().map(|(_, set)| *set).filter(|set| set.arch().is_some()).collect()
    }

    /// Its name, as [`INSTRUCTIONS_VARIABLE`] takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, set)| *set == self).map_or("plain", |(name, _)| name)
    }

    /// Those in use: the fastest that the machine has, or those that the environment variable
    /// [`INSTRUCTIONS_VARIABLE`] names (`plain`, `avx2`, `avx512`, `neon`), read once. Sums differ
    /// in their last bits between them.
    ///
    /// # Errors
    /// [`LossError::Unsupported`] where the variable names none that the machine has.
    pub fn in_use() -> Result<Self, LossError> {
        static CHOSEN: std::sync::OnceLock<Result<Instructions, String>> = std::sync::OnceLock::new();
        let chosen = CHOSEN.get_or_init(|| {
            let available = Self::available();
            let fastest = available.last().copied().unwrap_or(Self::Plain);
            match std::env::var(INSTRUCTIONS_VARIABLE) {
                Err(_) => Ok(fastest),
                Ok(name) => available.into_iter().find(|set| set.name() == name).ok_or(name),
            }
        });
        chosen.clone().map_err(|got| LossError::Unsupported {
            what: INSTRUCTIONS_VARIABLE,
            got,
            expected: "plain, avx2, avx512 or neon, where the machine has it",
        })
    }

    fn arch(self) -> Option<Chosen> {
        match self {
            Self::Plain => Some(Chosen::Plain),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => pulp::x86::V3::try_new().map(Chosen::Avx2),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => pulp::x86::V4::try_new().map(Chosen::Avx512),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => pulp::aarch64::Neon::try_new().map(Chosen::Neon),
            #[allow(unreachable_patterns, reason = "which of them there are depends on the target")]
            _ => None,
        }
    }

    /// Runs what is compiled for these instructions, or for plain ones where the machine lacks
    /// them.
    pub(crate) fn run<Op: WithSimd>(self, op: Op) -> Op::Output {
        match self.arch() {
            #[cfg(target_arch = "x86_64")]
            Some(Chosen::Avx2(simd)) => Simd::vectorize(simd, op),
            #[cfg(target_arch = "x86_64")]
            Some(Chosen::Avx512(simd)) => Simd::vectorize(simd, op),
            #[cfg(target_arch = "aarch64")]
            Some(Chosen::Neon(simd)) => Simd::vectorize(simd, op),
            Some(Chosen::Plain) | None => Simd::vectorize(pulp::Scalar::new(), op),
        }
    }
}

/// A proof that the machine has a set of instructions.
enum Chosen {
    Plain,
    #[cfg(target_arch = "x86_64")]
    Avx2(pulp::x86::V3),
    #[cfg(target_arch = "x86_64")]
    Avx512(pulp::x86::V4),
    #[cfg(target_arch = "aarch64")]
    Neon(pulp::aarch64::Neon),
}
