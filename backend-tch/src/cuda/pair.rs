//! The kernels of a plan on one call's tensors.
#![allow(unsafe_code)]

use std::sync::Arc;

use loss_core::{LossError, Map, Plan};
use tch::{Kind, Tensor};

use super::launch::{Compiler, Kernel, Kernels};
use super::source::{Layout, Source, Target};
use super::strided::{Strided, address};
use crate::error::During;
use crate::loss::Call;
use crate::operations::Passes;
use crate::target::Values;

/// Numbers of `f64` that partial sums may take: 1 MiB.
const PARTIALS: usize = 1 << 17;

/// Pixels of a thread below which there are no more blocks: each adds up all its sums once.
const PIXELS: usize = 8;

/// Blocks of a sample: as many as keep the device busy, but none that has next to nothing to do,
/// and none whose sums would take much memory.
fn blocks_of(pixels: usize, samples: usize, rows: usize, at_a_time: usize, device: usize) -> usize {
    let useful = pixels.div_ceil(at_a_time);
    let kept = PARTIALS / (samples * rows).max(1);
    device.div_ceil(samples.max(1)).min(useful).min(kept).max(1)
}

/// Statistics and gradient by the kernels that were compiled for a plan.
pub(crate) struct Pair<'a> {
    compiler: &'a Compiler,
    plan: &'a Plan,
    kernels: Arc<dyn Kernels>,
    source: Source,
    call: &'a Call<'a>,
    logits: Strided,
    target: Strided,
    weights: Option<Strided>,
    maps: Vec<(Strided, usize)>,
}

impl<'a> Pair<'a> {
    /// Compiles the kernels, the first time.
    pub(crate) fn new(call: &'a Call<'a>, compiler: &'a Compiler) -> Result<Self, LossError> {
        let (target, plan) = (&call.target, call.program.plan());
        let kind = |tensor: &Tensor| tensor.f_kind().during("reading a type");
        let place = |map: &Map| map.place(target.maps.iter().map(|(name, _)| name.as_str()));
        let maps = plan.maps().iter().map(place).collect::<Result<Vec<_>, _>>()?;
        let channels = |at: &usize| call.checked.maps[*at][1];
        let layout = Layout {
            logits: call.checked.kind,
            target: match &target.values {
                Values::Labels(labels) => Target::Labels(kind(labels)?),
                Values::Soft(shares) => Target::Soft(kind(shares)?),
            },
            weights: target.weights.as_ref().map(kind).transpose()?,
            ignored: call.loss.ignored().len(),
            maps: maps.iter().map(|at| Ok((kind(&target.maps[*at].1)?, channels(at) > 1))).collect::<Result<_, LossError>>()?,
            threads: compiler.threads(),
        };
        let source = Source::new(plan, &layout).ok_or_else(|| LossError::Unsupported {
            what: "the fused path",
            got: format!("a plan of {} statistics and {} maps", plan.statistics().len(), plan.maps().len()),
            expected: "a plan that its kernels can compute, or Path::Operations",
        })?;
        let values = match &target.values {
            Values::Labels(labels) => Strided::new(labels, false)?,
            Values::Soft(shares) => Strided::new(shares, true)?,
        };
        let map = |at: &usize| Ok((Strided::new(&target.maps[*at].1, true)?, channels(at)));
        Ok(Self {
            compiler,
            plan,
            kernels: compiler.kernels(&source.text)?,
            source,
            call,
            logits: Strided::new(call.logits, true)?,
            target: values,
            weights: target.weights.as_ref().map(|weights| Strided::new(weights, false)).transpose()?,
            maps: maps.iter().map(map).collect::<Result<_, LossError>>()?,
        })
    }

    /// Blocks of a sample, in the sums and in the gradient.
    fn blocks(&self) -> [usize; 2] {
        let geometry = &self.call.checked.geometry;
        let (rows, threads) = (self.source.sums * geometry.classes + 2, self.compiler.threads());
        let blocks = |rows, pixels| {
            let device = self.compiler.blocks();
            blocks_of(geometry.pixels, geometry.samples, rows, threads * pixels, device)
        };
        [blocks(rows, PIXELS.max(self.source.pixels)), blocks(0, 1)]
    }

    /// Launches a kernel on buffers: partial sums, statistics, what comes back, gradient.
    fn launch(&self, kernel: Kernel, grid: usize, blocks: usize, buffers: [Option<&Tensor>; 4]) -> Result<(), LossError> {
        let (geometry, ignored) = (&self.call.checked.geometry, self.call.loss.ignored());
        let nothing = [0u64; 4];
        let mut words: Vec<u64> = Vec::new();
        words.extend(self.logits.words(geometry.classes));
        words.extend(self.target.words(geometry.classes));
        words.extend(self.weights.as_ref().map_or(nothing, |weights| weights.words(1)));
        words.extend(buffers.map(|buffer| buffer.map_or(0, address)));
        words.extend([geometry.samples, geometry.classes, geometry.pixels, blocks].map(|length| length as u64));
        words.extend(self.maps.iter().flat_map(|(map, channels)| map.words(*channels)));
        words.extend(nothing.iter().take(if self.maps.is_empty() { 4 } else { 0 }));
        words.extend(ignored.iter().map(|label| *label as u64));
        words.extend(nothing.iter().take(usize::from(ignored.is_empty())));
        let grid = u32::try_from(grid).ok().filter(|grid| *grid < 1 << 31).ok_or_else(|| LossError::Unsupported {
            what: "logits",
            got: format!("shape {:?}", self.call.checked.logits),
            expected: "fewer samples than a launch has blocks, or Path::Operations",
        })?;
        // SAFETY: the words are those of `struct Arguments` in `pair.cu`, in its order. The
        // tensors are on the compiler's device, of the types that the source was made for, and
        // `Strided` took addresses and strides from them; `self` and the caller hold them. What is
        // freed after this call is used again only by what is launched later, on the same stream.
        let launched = unsafe { self.kernels.launch(kernel, grid, &words) };
        launched.map_err(|error| self.compiler.failed("launching a kernel", error))
    }
}

impl Passes for Pair<'_> {
    fn wide(&self) -> Kind {
        Kind::Double
    }

    fn statistics(&self) -> Result<Vec<Tensor>, LossError> {
        let (geometry, device) = (&self.call.checked.geometry, self.call.checked.device);
        let (samples, classes, sums) = (geometry.samples, geometry.classes, self.source.sums);
        let [blocks, _] = self.blocks();
        let empty = |size: &[usize]| {
            let size: Vec<i64> = size.iter().map(|&length| length as i64).collect();
            Tensor::f_empty(size, (Kind::Double, device)).during("allocating sums")
        };
        let partials = empty(&[samples, sums * classes + 2, blocks])?;
        let all = empty(&[sums + 1, samples, classes])?;
        let buffers = [Some(&partials), Some(&all), None, None];
        self.launch(Kernel::SumPixels, samples * blocks, blocks, buffers)?;
        let warps = self.compiler.threads() / 32;
        self.launch(Kernel::SumBlocks, (samples * (sums * classes + 1)).div_ceil(warps), blocks, buffers)?;
        let view = |(statistic, &place)| all.f_select(0, place as i64)?.f_narrow(1, 0, self.plan.columns(statistic) as i64);
        let views = self.plan.statistics().iter().zip(&self.source.places).map(view);
        views.collect::<Result<_, _>>().during("reading sums")
    }

    fn gradient(&self, upstream: &[Option<Tensor>]) -> Result<Tensor, LossError> {
        let checked = &self.call.checked;
        let geometry = &checked.geometry;
        let options = (checked.compute(), checked.device);
        let size: Vec<i64> = checked.logits.iter().map(|&length| length as i64).collect();
        if upstream.iter().all(Option::is_none) {
            return Tensor::f_zeros(size, options).during("allocating a gradient");
        }
        let none = [geometry.samples as i64, geometry.classes as i64];
        let one = |upstream: &Option<Tensor>| match upstream {
            Some(upstream) => upstream.f_expand(none, false),
            None => Tensor::f_zeros(none, (Kind::Double, checked.device)),
        };
        let wanted = upstream.iter().zip(&self.source.slopes).filter(|(_, slope)| slope.is_some());
        let upstream = wanted.map(|(upstream, _)| one(upstream)).collect::<Result<Vec<_>, _>>();
        let upstream = upstream.and_then(|all| Tensor::f_stack(&all, 0)?.f_contiguous()).during("handing a gradient on")?;
        let gradient = Tensor::f_empty(size, options).during("allocating a gradient")?;
        let [_, blocks] = self.blocks();
        let buffers = [None, None, Some(&upstream), Some(&gradient)];
        self.launch(Kernel::PullBack, geometry.samples * blocks, blocks, buffers)?;
        Ok(gradient)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_keep_a_device_busy_within_a_mebibyte() {
        let (threads, device) = (128, 16 * 132);
        let blocks = |pixels, samples, rows| blocks_of(pixels, samples, rows, threads * PIXELS, device);
        assert_eq!(blocks(512 * 512, 4, 122), 256);
        assert_eq!(blocks(512 * 512 * 100, 4, 122), 131072 / (4 * 122));
        assert_eq!(blocks(1, 1, 8), 1);
        assert_eq!(blocks(1 << 20, 100_000, 8), 1);
        for (samples, rows) in [(1, 3), (4, 122), (16, 500)] {
            assert!(blocks(1 << 24, samples, rows) * samples * rows * 8 <= 1 << 20);
        }
    }
}
