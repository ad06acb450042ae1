//! The kernels of a plan on one call's tensors.
#![allow(unsafe_code)]

use std::sync::Arc;

use loss_core::{Evaluation, LossError, Map, Plan, Statistic};
use tch::{Device, Kind, Tensor};

use super::algebra::{self, Place, Recorder};
use super::launch::{Compiler, Kernel, Kernels};
use super::source::{Layout, Source, Target};
use super::strided::{Strided, address};
use crate::error::During;
use crate::loss::Call;
use crate::operations::Passes;
use crate::surrogate::Edge;
use crate::target::Values;

/// Numbers of `f64` that partial sums may take: half a mebibyte. As many are left for the algebra.
const PARTIALS: usize = 1 << 16;

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
                Values::OneHot(shares) | Values::Soft(shares) => Target::Soft(kind(shares)?),
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
            Values::OneHot(shares) | Values::Soft(shares) => Strided::new(shares, true)?,
        };
        let map = |at: &usize| Ok((Strided::new(&target.maps[*at].1, true)?, channels(at)));
        Ok(Self {
            compiler,
            plan,
            kernels: compiler.kernels(&source.text, Kernel::OF_A_PLAN)?,
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

impl Pair<'_> {
    /// Numbers of all statistics.
    fn numbers(&self) -> usize {
        let geometry = &self.call.checked.geometry;
        (self.source.sums + 1) * geometry.samples * geometry.classes
    }

    /// Sums up the statistics, at the head of a tensor.
    fn sum(&self, statistics: &Tensor) -> Result<(), LossError> {
        let (geometry, device) = (&self.call.checked.geometry, self.call.checked.device);
        let (samples, classes, sums) = (geometry.samples, geometry.classes, self.source.sums);
        let [blocks, _] = self.blocks();
        let partials = empty(samples * (sums * classes + 2) * blocks, device)?;
        let buffers = [Some(&partials), Some(statistics), None, None];
        self.launch(Kernel::SumPixels, samples * blocks, blocks, buffers)?;
        let warps = self.compiler.threads() / 32;
        self.launch(Kernel::SumBlocks, (samples * (sums * classes + 1)).div_ceil(warps), blocks, buffers)
    }

    /// The gradient, given what comes back for each statistic with a slope, `[slopes, N, K]`.
    fn pull_back(&self, upstream: &Tensor) -> Result<Tensor, LossError> {
        let checked = &self.call.checked;
        let size: Vec<i64> = checked.logits.iter().map(|&length| length as i64).collect();
        let gradient = Tensor::f_empty(size, (checked.compute(), checked.device)).during("allocating a gradient")?;
        let [_, blocks] = self.blocks();
        let buffers = [None, None, Some(upstream), Some(&gradient)];
        self.launch(Kernel::PullBack, checked.geometry.samples * blocks, blocks, buffers)?;
        Ok(gradient)
    }

    /// Total and parts with the algebra as one kernel; `None` where its arrays are too large for
    /// that. The total is on the tape where the logits are.
    pub(crate) fn forward(&self) -> Result<Option<Evaluation<Tensor>>, LossError> {
        let Call { logits, checked, program, inputs, .. } = self.call;
        let geometry = &checked.geometry;
        let recorder = Recorder::new(geometry.samples, geometry.classes, self.numbers());
        let statistic = |(statistic, place): (&Statistic, &usize)| {
            let at = place * geometry.samples * geometry.classes;
            if statistic.is_shared() { recorder.column(at) } else { recorder.given(at) }
        };
        let statistics: Vec<Place> = self.plan.statistics().iter().zip(&self.source.places).map(statistic).collect();
        let edge = Edge::behind(logits)?;
        let (outputs, upstream) = if edge.is_some() {
            program.differentiated(&recorder, &statistics, inputs)?
        } else {
            (program.outputs(&recorder, &statistics, inputs)?, Vec::new())
        };
        let scalars: Vec<Option<Place>> = outputs.scalars().map(|place| Some(*place)).collect();
        let values = recorder.together(&scalars, false);
        let wanted = upstream.iter().zip(&self.source.slopes).filter(|(_, slope)| slope.is_some());
        let wanted: Vec<Option<Place>> = wanted.map(|(upstream, _)| *upstream).collect();
        let slopes = recorder.together(&wanted, true);
        let Some(numbers) = recorder.numbers() else { return Ok(None) };

        let all = empty(numbers, checked.device)?;
        self.sum(&all)?;
        let source: Arc<str> = algebra::source(self.compiler.threads()).into();
        let kernels = self.compiler.kernels(&source, Kernel::OF_ALL)?;
        for mut words in recorder.launches() {
            if let Some(first) = words.first_mut() {
                *first = address(&all);
            }
            // SAFETY: the words are those of `struct Arguments` in `algebra.cu`. Every array that
            // the recorder has placed lies within the tensor, which lives as those of `launch` do.
            let launched = unsafe { kernels.launch(Kernel::RunSteps, 1, &words) };
            launched.map_err(|error| self.compiler.failed("launching a kernel", error))?;
        }
        let part = |first: usize, length: usize| all.f_narrow(0, first as i64, length as i64);
        let values = part(values, scalars.len()).and_then(|values| values.f_to_kind(checked.compute()));
        let values = values.during("finishing a loss")?;
        let mut next = 0..;
        let mut value = |_: &Place| values.f_select(0, next.next().unwrap_or_default()).during("finishing a loss");
        let mut finished = outputs.try_map(&mut value)?;
        if let Some(edge) = edge {
            let length = wanted.len() * geometry.samples * geometry.classes;
            let gradient = self.pull_back(&part(slopes, length).during("handing a gradient on")?)?;
            finished.total = edge.attach(&finished.total, &gradient)?;
        }
        Ok(Some(finished))
    }
}

/// Room for numbers of `f64`.
fn empty(count: usize, device: Device) -> Result<Tensor, LossError> {
    Tensor::f_empty([count as i64], (Kind::Double, device)).during("allocating sums")
}

impl Passes for Pair<'_> {
    fn wide(&self) -> Kind {
        Kind::Double
    }

    fn statistics(&self) -> Result<Vec<Tensor>, LossError> {
        let geometry = &self.call.checked.geometry;
        let all = empty(self.numbers(), self.call.checked.device)?;
        self.sum(&all)?;
        let size = [-1, geometry.samples as i64, geometry.classes as i64];
        let all = all.f_view(size).during("reading sums")?;
        let view = |(statistic, &place): (&Statistic, &usize)| {
            all.f_select(0, place as i64)?.f_narrow(1, 0, self.plan.columns(statistic) as i64)
        };
        let views = self.plan.statistics().iter().zip(&self.source.places).map(view);
        views.collect::<Result<_, _>>().during("reading sums")
    }

    fn gradient(&self, upstream: &[Option<Tensor>]) -> Result<Tensor, LossError> {
        let checked = &self.call.checked;
        let size = [checked.geometry.samples as i64, checked.geometry.classes as i64];
        let one = |upstream: &Option<Tensor>| match upstream {
            Some(upstream) => upstream.f_expand(size, false),
            None => Tensor::f_zeros(size, (Kind::Double, checked.device)),
        };
        let wanted = upstream.iter().zip(&self.source.slopes).filter(|(_, slope)| slope.is_some());
        let wanted = wanted.map(|(upstream, _)| one(upstream)).collect::<Result<Vec<_>, _>>();
        let upstream = wanted.and_then(|all| {
            if all.is_empty() {
                Tensor::f_zeros([1], (Kind::Double, checked.device))
            } else {
                Tensor::f_stack(&all, 0)?.f_contiguous()
            }
        });
        self.pull_back(&upstream.during("handing a gradient on")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_keep_a_device_busy_within_half_a_mebibyte() {
        let (threads, device) = (128, 16 * 132);
        let blocks = |pixels, samples, rows| blocks_of(pixels, samples, rows, threads * PIXELS, device);
        assert_eq!(blocks(512 * 512, 4, 122), 134);
        assert_eq!(blocks(512 * 512 * 100, 4, 122), 65536 / (4 * 122));
        assert_eq!(blocks(1, 1, 8), 1);
        assert_eq!(blocks(1 << 20, 100_000, 8), 1);
        for (samples, rows) in [(1, 3), (4, 122), (16, 500)] {
            assert!(blocks(1 << 24, samples, rows) * samples * rows * 8 <= 1 << 19);
        }
    }
}
