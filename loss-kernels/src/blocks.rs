//! The work of one task: its blocks, one after another.

use loss_core::{Activation, LossError, Plan, Quantity};
use pulp::{Simd, WithSimd};

use crate::block::{Block, MapColumns, Read, Span};
use crate::functions::Math;
use crate::gradient::{GradientColumns, Sink};
use crate::groups::Groups;
use crate::instructions::Instructions;
use crate::layout::FLUSH;
use crate::pixel::PixelColumns;
use crate::simd::apart;
use crate::statistics::{add_group, add_target};
use crate::sums::Sums;
use crate::upstream::Handed;
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
    gradient: Option<GradientColumns<C>>,
    /// Lanes of the sums, all 0 between tasks.
    lanes: Vec<C>,
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
        backward: bool,
    ) -> Self {
        let members = groups.groups.iter().flat_map(|group| &group.members);
        let functions = members.filter_map(|&i| match &plan.statistics()[i].of {
            Quantity::Function(.., function) => Some(function),
            Quantity::One | Quantity::Target | Quantity::Mass(_) | Quantity::SquaredMass(_) | Quantity::Log(..) => None,
        });
        let pixel_sums = groups.groups.iter().any(|group| group.pixel_sums);
        let gradient = || GradientColumns::new(plan.classes(), capacity, pixel_sums, !maps.is_empty());
        Self {
            block: Block::new(plan.classes(), capacity, groups.needs(soft), maps),
            pixels: PixelColumns::new(functions, capacity),
            gradient: backward.then(gradient),
            lanes: Sums::slots(sums),
        }
    }
}

/// The blocks of a task.
pub struct Blocks<'a, C> {
    pub(crate) problem: &'a Problem<'a>,
    pub(crate) plan: &'a Plan,
    pub(crate) groups: &'a Groups,
    /// Derivatives, group by group, in units of `unit`.
    pub(crate) handed: &'a [Handed<C>],
    pub(crate) unit: C,
    pub(crate) buffers: &'a mut Buffers<C>,
    /// The pixels of the task.
    pub(crate) span: Span,
    /// Pixels of a block.
    pub(crate) step: usize,
    /// Empty where none are wanted.
    pub(crate) sums: &'a mut [f64],
    pub(crate) read: Read<'a, C>,
    pub(crate) sink: &'a mut dyn Sink<C>,
}

impl<C: Real> WithSimd for Blocks<'_, C> {
    type Output = Result<(), LossError>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let Self { problem, plan, groups, handed, unit, buffers, span, step, sums, read, sink } = self;
        let Buffers { block, pixels, gradient, lanes } = buffers;
        let summed = !sums.is_empty();
        // Hidden from the optimiser, which would otherwise make known constants anew in every round
        // of a loop.
        let constants = C::constants(simd);
        let math = Math { simd, constants: std::hint::black_box(&constants) };
        let mut sums = Sums { lanes, totals: sums };
        for (i, from) in (0..span.len).step_by(step).enumerate() {
            let part = Span { sample: span.sample, start: span.start + from, len: step.min(span.len - from) };
            apart!(simd, block.load(simd, problem, read, part))?;
            if summed {
                apart!(simd, add_target(simd, block, plan, groups, &mut sums));
            }
            if let Some(gradient) = gradient {
                gradient.begin(block.padded());
            }
            for (g, group) in groups.groups.iter().enumerate() {
                // The derivative of a logarithm needs no logarithm.
                let logarithms = group.pixel_sums || (summed && group.logarithms);
                match group.activation {
                    Activation::Softmax => block.softmax(math, group.temperature, logarithms),
                    Activation::Sigmoid => {
                        let complements = gradient.is_some() || group.background;
                        block.sigmoid(math, group.temperature, complements, logarithms);
                    }
                }
                if summed {
                    apart!(simd, add_group(math, block, pixels, plan, group, &mut sums));
                }
                if let (Some(gradient), Some(handed)) = (&mut *gradient, handed.get(g)) {
                    apart!(simd, gradient.add_group(math, block, pixels, plan, group, handed));
                }
            }
            if let Some(gradient) = gradient {
                apart!(simd, gradient.finish(simd, block, unit, sink, from));
            }
            if i % FLUSH == FLUSH - 1 {
                sums.flush();
            }
        }
        sums.flush();
        Ok(())
    }
}
