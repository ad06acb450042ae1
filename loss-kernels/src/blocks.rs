//! The work of one task: its blocks, one after another.

use loss_core::{Activation, LossError, Plan, Quantity};
use pulp::{Simd, WithSimd};

use crate::block::{Block, Logits, MapColumns, Span};
use crate::channels::{self, Slope};
use crate::few;
use crate::functions::Math;
use crate::gradient::{Destination, GradientColumns, Sink};
use crate::groups::Groups;
use crate::instructions::Instructions;
use crate::pixel::PixelColumns;
use crate::simd::apart;
use crate::statistics::{add_group, add_target};
use crate::sums::Sums;
use crate::upstream::Derivatives;
use crate::{Problem, Real};

/// The types that the kernels are compiled for.
pub trait Compiled: Real {
    /// Runs the blocks of a task. A method, so that the loops are compiled once, in this crate, and
    /// not in each that calls its generic functions.
    ///
    /// # Errors
    /// Those of the blocks.
    #[doc(hidden)]
    fn run(blocks: Blocks<'_, Self>, instructions: Instructions) -> Result<(), LossError>;
}

impl Compiled for f32 {
    fn run(blocks: Blocks<'_, Self>, instructions: Instructions) -> Result<(), LossError> {
        instructions.run(blocks)
    }
}

impl Compiled for f64 {
    fn run(blocks: Blocks<'_, Self>, instructions: Instructions) -> Result<(), LossError> {
        instructions.run(blocks)
    }
}

/// The buffers of a thread.
pub(crate) struct Buffers<C> {
    block: Block<C>,
    pixels: PixelColumns<C>,
    /// One for each output of the loss that is differentiated.
    gradients: Vec<GradientColumns<C>>,
    /// Lanes of the sums, all 0 between tasks.
    lanes: Vec<f64>,
}

impl<C: Real> Buffers<C> {
    /// For blocks of `capacity` pixels and so many sums.
    pub(crate) fn new(
        plan: &Plan,
        groups: &Groups,
        capacity: usize,
        soft: bool,
        maps: &[MapColumns],
        sums: usize,
        gradients: usize,
    ) -> Self {
        let members = groups.groups.iter().flat_map(|group| &group.members);
        let functions = members.filter_map(|&i| match &plan.statistics()[i].of {
            Quantity::Function(.., function) => Some(function),
            Quantity::One | Quantity::Target | Quantity::Mass(_) | Quantity::SquaredMass(_) | Quantity::Log(..) => None,
        });
        let pixel_sums = groups.groups.iter().any(|group| group.pixel_sums);
        let gradient = |_| GradientColumns::new(plan.classes(), capacity, pixel_sums, !maps.is_empty());
        Self {
            block: Block::new(plan.classes(), capacity, groups.needs(soft), maps),
            pixels: PixelColumns::new(functions, capacity),
            gradients: (0..gradients).map(gradient).collect(),
            lanes: Sums::slots(sums),
        }
    }
}

/// What all tasks of a sample have in common.
#[derive(Clone, Copy)]
pub(crate) struct Work<'a, C> {
    pub(crate) problem: &'a Problem<'a>,
    pub(crate) plan: &'a Plan,
    pub(crate) groups: &'a Groups,
    /// One for each output of the loss that is differentiated.
    pub(crate) derivatives: &'a [Derivatives<C>],
    pub(crate) logits: &'a dyn Logits<C>,
}

/// The blocks of a task.
pub struct Blocks<'a, C> {
    pub(crate) work: Work<'a, C>,
    pub(crate) buffers: &'a mut Buffers<C>,
    /// The pixels of the task.
    pub(crate) span: Span,
    /// Pixels of a block.
    pub(crate) step: usize,
    /// Empty where none are wanted.
    pub(crate) sums: &'a mut [f64],
    /// One for each of the derivatives.
    pub(crate) sinks: &'a mut [&'a mut dyn Sink<C>],
}

impl<C: Real> WithSimd for Blocks<'_, C> {
    type Output = Result<(), LossError>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        // Hidden from the optimiser, which would otherwise make known constants anew in every round
        // of a loop.
        let constants = C::constants(simd);
        let math = Math { simd, constants: std::hint::black_box(&constants) };
        let Self { work, buffers, span, step, sums, sinks } = self;
        let Work { problem, plan, groups, derivatives, logits } = work;
        let Buffers { block, pixels, gradients, lanes } = buffers;
        let summed = !sums.is_empty();
        let by_channel = block.is_hard() && channels::suffice(groups, derivatives, summed);
        let slopes = if by_channel { Slope::all(simd, work) } else { Vec::new() };
        let at_once = few::suffice::<S, C>(plan, groups, derivatives, summed);
        let few_slopes = if at_once { few::Slope::all(simd, work) } else { Vec::new() };
        let mut sums = Sums { lanes, totals: sums };
        for from in (0..span.len).step_by(step) {
            let part = Span { sample: span.sample, start: span.start + from, len: step.min(span.len - from) };
            apart!(simd, block.load(problem, part))?;
            if summed {
                apart!(simd, add_target(simd, block, plan, groups, &mut sums));
            }
            block.look_ahead(problem, part, span);
            for (gradient, sink) in gradients.iter_mut().zip(sinks.iter()) {
                sink.ahead(&mut block.ahead, from + step);
                gradient.begin();
            }
            if by_channel {
                let to = gradients.first_mut().zip(sinks.first_mut());
                let to = to.map(|(gradient, sink)| Destination { stage: gradient.stage(), sink: &mut **sink, from });
                channels::run(math, work, block, part, &slopes, summed.then_some(&mut sums), to)?;
                continue;
            }
            if at_once {
                let to = gradients.first_mut().zip(sinks.first_mut());
                let to = to.map(|(columns, sink)| few::To { columns, sink: &mut **sink, from });
                few::run(math, work, block, part, &few_slopes, summed.then_some(&mut sums), to)?;
                continue;
            }
            apart!(simd, block.load_logits(simd, problem, logits, part))?;
            for (g, group) in groups.groups.iter().enumerate() {
                // The derivative of a logarithm needs no logarithm.
                let logarithms = group.pixel_sums || (summed && group.logarithms);
                match group.activation {
                    Activation::Softmax => block.softmax(math, group.temperature, logarithms),
                    Activation::Sigmoid => {
                        let complements = !gradients.is_empty() || group.background;
                        block.sigmoid(math, group.temperature, complements, logarithms);
                    }
                }
                block.ahead.clear();
                if summed {
                    apart!(simd, add_group(math, block, pixels, plan, group, &mut sums));
                }
                for (gradient, derivatives) in gradients.iter_mut().zip(derivatives) {
                    let Some(handed) = derivatives.groups.get(g) else { continue };
                    apart!(simd, gradient.add_group(math, block, pixels, plan, group, handed));
                }
            }
            for ((gradient, derivatives), sink) in gradients.iter_mut().zip(derivatives).zip(sinks.iter_mut()) {
                apart!(simd, gradient.finish(simd, block, derivatives.unit, &mut **sink, from));
            }
        }
        sums.finish();
        Ok(())
    }
}
