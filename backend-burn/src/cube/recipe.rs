//! A plan as the kernels are compiled for it: known on the host, so that every loop over statistics
//! is unrolled.

use std::ops::Deref;
use std::sync::Arc;

use loss_core::expr::{PixelFunction, PixelStep};
use loss_core::{Activation, Over, Plan, Probability, Quantity, Side, Statistic, Temperature};

/// What is summed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Of {
    /// The weight itself; w alone, without a map, is one number a pixel, and stands with the first
    /// class.
    One,
    /// y once more.
    Target,
    /// p of a [`Mass`].
    Mass(usize),
    /// p² of a [`Mass`].
    SquaredMass(usize),
    /// log p of a [`Logarithm`].
    Logarithm(usize),
    /// φ(log p).
    Function(usize, PixelFunction),
}

/// One statistic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sum {
    pub(crate) over: Over,
    pub(crate) of: Of,
    /// Place of its map among the plan's.
    pub(crate) map: Option<usize>,
}

impl Sum {
    /// Whether it is a sum of logarithms, which saturates.
    pub(crate) fn saturates(&self) -> bool {
        matches!(self.of, Of::Logarithm(_) | Of::Function(..))
    }

    /// The mass it needs, with whether it is squared.
    pub(crate) fn mass(&self) -> Option<(usize, bool)> {
        match self.of {
            Of::Mass(at) => Some((at, false)),
            Of::SquaredMass(at) => Some((at, true)),
            _ => None,
        }
    }

    /// The logarithm it needs.
    pub(crate) fn logarithm(&self) -> Option<usize> {
        match self.of {
            Of::Logarithm(at) | Of::Function(at, _) => Some(at),
            _ => None,
        }
    }

    /// Whether it is a sum of a pixel function.
    pub(crate) fn is_function(&self) -> bool {
        matches!(self.of, Of::Function(..))
    }

    /// The steps of its pixel function.
    pub(crate) fn steps(&self) -> Vec<PixelStep> {
        if let Of::Function(_, function) = &self.of { function.steps().collect() } else { Vec::new() }
    }

    /// Which of those steps is the function's value, or its slope.
    pub(crate) fn wanted(&self, slope: bool) -> usize {
        if let Of::Function(_, function) = &self.of { function.results()[usize::from(slope)] } else { 0 }
    }
}

/// A probability that is summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Mass {
    /// Place of its temperature among those of the softmax; `None` for a sigmoid.
    pub(crate) softmax: Option<usize>,
    temperature: Temperature,
    side: Side,
}

impl Mass {
    /// τ, negative on the background side of a sigmoid: 1 − σ(x) is σ(−x), without
    /// cancelling.
    pub(crate) fn tau(&self) -> f32 {
        let tau = self.temperature.value() as f32;
        if self.softmax.is_none() && self.side == Side::Background { -tau } else { tau }
    }
}

/// A logarithm that is summed, at temperature 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Logarithm {
    pub(crate) activation: Activation,
    side: Side,
}

impl Logarithm {
    pub(crate) fn softmax(&self) -> bool {
        self.activation == Activation::Softmax
    }

    /// 1, or −1 on the background side of a sigmoid.
    pub(crate) fn sign(&self) -> f32 {
        if self.activation == Activation::Sigmoid && self.side == Side::Background { -1.0 } else { 1.0 }
    }
}

/// How a target lies in memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Layout {
    /// Shares of the classes rather than labels.
    pub(crate) soft: bool,
    /// Labels of a type whose numbers `i32` does not hold.
    pub(crate) wide: bool,
    /// Pixels have weights.
    pub(crate) weighted: bool,
    /// Labels without influence; none that the labels' type cannot hold.
    pub(crate) ignore: Vec<i64>,
    /// Whether each of the plan's maps has a factor for every class, or one for all.
    pub(crate) maps: Vec<bool>,
}

/// What both kernels are compiled for. Clones share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Recipe(Arc<Parts>);

/// See [`Recipe`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Parts {
    /// The statistics; those that saturate stand last.
    pub(crate) sums: Vec<Sum>,
    pub(crate) masses: Vec<Mass>,
    pub(crate) logarithms: Vec<Logarithm>,
    /// Temperatures of the softmax.
    temperatures: Vec<Temperature>,
    pub(crate) layout: Layout,
    /// Sums are returned as two numbers each, the second being what the first has lost.
    pub(crate) pairs: bool,
}

impl Deref for Recipe {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Recipe {
    /// The recipe for a plan, and where it has put each of the plan's statistics.
    pub(crate) fn new(plan: &Plan, layout: Layout, pairs: bool) -> (Self, Vec<usize>) {
        let mut parts =
            Parts { sums: Vec::new(), masses: Vec::new(), logarithms: Vec::new(), temperatures: Vec::new(), layout, pairs };
        let statistics = plan.statistics().iter().enumerate();
        let all: Vec<Sum> = statistics.map(|(i, statistic)| parts.sum(statistic, plan.map(i))).collect();
        let (last, first): (Vec<Sum>, Vec<Sum>) = all.iter().cloned().partition(Sum::saturates);
        parts.sums = first.into_iter().chain(last).collect();
        let places = all.iter().filter_map(|sum| parts.sums.iter().position(|other| other == sum)).collect();
        (Self(Arc::new(parts)), places)
    }
}

/// Whether the kernels can compute a statistic: shading languages have no literal for a pixel
/// function's constant that is not finite in `f32`.
pub(crate) fn computes(statistic: &Statistic) -> bool {
    let finite = |step| !matches!(step, PixelStep::Constant(bits) if !(f64::from_bits(bits) as f32).is_finite());
    !matches!(&statistic.of, Quantity::Function(_, _, function) if !function.steps().all(finite))
}

/// Place of a value in a list, added to it where it is not there.
fn place<T: PartialEq>(list: &mut Vec<T>, value: T) -> usize {
    list.iter().position(|known| *known == value).unwrap_or_else(|| {
        list.push(value);
        list.len() - 1
    })
}

impl Parts {
    fn mass(&mut self, Probability { activation, temperature, side }: Probability) -> usize {
        let softmax = (activation == Activation::Softmax).then(|| place(&mut self.temperatures, temperature));
        place(&mut self.masses, Mass { softmax, temperature, side })
    }

    fn logarithm(&mut self, activation: Activation, side: Side) -> usize {
        if activation == Activation::Softmax {
            place(&mut self.temperatures, Temperature::ONE);
        }
        place(&mut self.logarithms, Logarithm { activation, side })
    }

    fn sum(&mut self, statistic: &Statistic, map: Option<usize>) -> Sum {
        let of = match &statistic.of {
            Quantity::One => Of::One,
            Quantity::Target => Of::Target,
            Quantity::Mass(p) => Of::Mass(self.mass(*p)),
            Quantity::SquaredMass(a) => Of::SquaredMass(self.mass(Probability::new(*a, Temperature::ONE, Side::Region))),
            Quantity::Log(a, side) => Of::Logarithm(self.logarithm(*a, *side)),
            Quantity::Function(a, side, function) => Of::Function(self.logarithm(*a, *side), function.clone()),
        };
        Sum { over: statistic.over, of, map }
    }

    /// Numbers per sample of the packed statistics `[N, numbers]` for K classes.
    pub(crate) fn numbers(&self, classes: usize) -> usize {
        self.sums.len() * classes * if self.pairs { 2 } else { 1 }
    }

    /// Whether any softmax is needed.
    pub(crate) fn softmax(&self) -> bool {
        !self.temperatures.is_empty()
    }

    /// How many temperatures the softmax has.
    pub(crate) fn temperatures(&self) -> usize {
        self.temperatures.len()
    }

    /// One of the softmax's temperatures.
    pub(crate) fn tau(&self, at: usize) -> f32 {
        self.temperatures.get(at).map_or(f32::NAN, |temperature| temperature.value() as f32)
    }

    /// Whether the logarithms belong to a temperature of the softmax.
    pub(crate) fn is_one(&self, at: usize) -> bool {
        self.temperatures.get(at) == Some(&Temperature::ONE)
    }

    /// Whether any logarithm of a softmax is needed.
    pub(crate) fn log_softmax(&self) -> bool {
        self.logarithms.iter().any(Logarithm::softmax)
    }

    /// The first of the sums that saturate.
    pub(crate) fn first_logarithm(&self) -> usize {
        self.sums.iter().position(Sum::saturates).unwrap_or(self.sums.len())
    }

    /// Whether the gradient of a sum goes through a softmax at one of its temperatures.
    pub(crate) fn through_softmax(&self, sum: usize, at: usize) -> bool {
        let Some(sum) = self.sums.get(sum) else { return false };
        let mass = sum.mass().is_some_and(|(mass, _)| self.masses[mass].softmax == Some(at));
        let logarithm = sum.logarithm().is_some_and(|logarithm| self.logarithms[logarithm].softmax());
        mass || (logarithm && self.is_one(at))
    }

    /// τ of the sigmoid that the gradient of a sum goes through, with its sign; `None` for all
    /// others.
    pub(crate) fn through_sigmoid(&self, sum: usize) -> Option<f32> {
        let sum = self.sums.get(sum)?;
        let mass = sum.mass().map(|(mass, _)| self.masses[mass]).filter(|mass| mass.softmax.is_none());
        let logarithm = sum.logarithm().map(|at| self.logarithms[at]).filter(|logarithm| !logarithm.softmax());
        mass.map(|mass| mass.tau()).or(logarithm.map(|logarithm| logarithm.sign()))
    }
}
