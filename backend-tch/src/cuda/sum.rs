//! The statistics of a plan as lines of C: what a pixel adds to each, and what each hands back.

use loss_core::expr::PixelFunction;
use loss_core::{Activation, Over, Quantity, Side, Temperature};

/// Place of a value in a list, added to it where it is not there.
fn place<T: PartialEq>(list: &mut Vec<T>, value: T) -> usize {
    list.iter().position(|known| *known == value).unwrap_or_else(|| {
        list.push(value);
        list.len() - 1
    })
}

/// What a plan's statistics are made of, each once.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) softs: Vec<Temperature>,
    pub(super) sigmoids: Vec<Temperature>,
    pub(super) functions: Vec<PixelFunction>,
    pub(super) log_softmax: bool,
    pub(super) log_sigmoid: bool,
}

/// What a statistic sums up of a class.
pub(super) enum Of {
    One,
    Share,
    /// p, with where its activation puts it.
    Mass(Through),
    Squared(Through),
    Logarithm(Through),
    Function(Through, usize),
}

/// Where a probability comes from.
#[derive(Clone, Copy)]
pub(super) enum Through {
    /// Softmax at one of its temperatures.
    Soft(usize),
    /// Sigmoid at one of its temperatures, on a side.
    Sigmoid(usize, Side),
}

impl Through {
    /// p
    fn mass(self) -> String {
        match self {
            Self::Soft(t) => format!("v.soft[{t}]"),
            Self::Sigmoid(t, Side::Region) => format!("v.region[{t}]"),
            Self::Sigmoid(t, Side::Background) => format!("v.background[{t}]"),
        }
    }

    /// log p
    fn logarithm(self) -> &'static str {
        match self {
            Self::Soft(_) => "v.log_soft",
            Self::Sigmoid(_, Side::Region) => "v.log_region",
            Self::Sigmoid(_, Side::Background) => "v.log_background",
        }
    }
}

impl Parts {
    fn through(&mut self, activation: Activation, temperature: Temperature, side: Side) -> Through {
        match activation {
            Activation::Softmax => Through::Soft(place(&mut self.softs, temperature)),
            Activation::Sigmoid => Through::Sigmoid(place(&mut self.sigmoids, temperature), side),
        }
    }

    fn logarithm(&mut self, activation: Activation, side: Side) -> Through {
        match activation {
            Activation::Softmax => self.log_softmax = true,
            Activation::Sigmoid => self.log_sigmoid = true,
        }
        self.through(activation, Temperature::ONE, side)
    }

    pub(super) fn of(&mut self, quantity: &Quantity) -> Of {
        match quantity {
            Quantity::One => Of::One,
            Quantity::Target => Of::Share,
            Quantity::Mass(p) => Of::Mass(self.through(p.activation, p.temperature, p.side)),
            Quantity::SquaredMass(a) => Of::Squared(self.through(*a, Temperature::ONE, Side::Region)),
            Quantity::Log(a, side) => Of::Logarithm(self.logarithm(*a, *side)),
            Quantity::Function(a, side, function) => {
                let through = self.logarithm(*a, *side);
                Of::Function(through, place(&mut self.functions, function.clone()))
            }
        }
    }
}

/// A statistic, as its lines are written.
pub(super) struct Sum {
    pub(super) of: Of,
    pub(super) over: Over,
    pub(super) map: Option<usize>,
    pub(super) logarithmic: bool,
    /// Place among those with a slope.
    pub(super) slope: Option<usize>,
}

impl Sum {
    /// What a pixel's weight is multiplied by; `own` where y is known to be 1.
    fn factor(&self, own: bool) -> String {
        let weight = if self.logarithmic { "u" } else { "w" };
        self.over(weight, own)
    }

    fn over(&self, weight: &str, own: bool) -> String {
        match self.over {
            _ if own => weight.to_owned(),
            Over::Valid => weight.to_owned(),
            Over::Region => format!("{weight} * y"),
            Over::Background => format!("({weight} - {weight} * y)"),
        }
    }

    fn times_map(&self) -> String {
        self.map.map_or_else(String::new, |map| format!(" * m.at[{map}]"))
    }

    /// What a pixel adds.
    pub(super) fn summand(&self, own: bool) -> String {
        let (factor, map) = (self.factor(own), self.times_map());
        match &self.of {
            Of::One => format!("{factor}{map}"),
            Of::Share if own => format!("{factor}{map}"),
            Of::Share => format!("{factor} * y{map}"),
            Of::Mass(p) => format!("{factor} * {}{map}", p.mass()),
            Of::Squared(p) => format!("{factor} * {p} * {p}{map}", p = p.mass()),
            Of::Logarithm(p) => format!("{factor} * {}{map}", p.logarithm()),
            // However large it may be where nothing counts.
            Of::Function(p, i) => format!("times({factor}, function_{i}({})){map}", p.logarithm()),
        }
    }

    /// What a pixel hands on, given what comes back.
    pub(super) fn slope(&self, own: bool) -> Option<String> {
        let at = self.slope?;
        let (through, slope) = match &self.of {
            Of::One | Of::Share => return None,
            Of::Mass(p) => (*p, format!("h * {}", p.mass())),
            Of::Squared(p) => (*p, format!("2 * h * {p} * {p}", p = p.mass())),
            Of::Logarithm(p) => (*p, "h".to_owned()),
            Of::Function(p, i) => (*p, format!("times(h, slope_{i}({}))", p.logarithm())),
        };
        let to = match through {
            Through::Soft(t) => format!("g.through[{t}] += {slope};"),
            // ∂ log σ(τz)/∂z = τ·σ(−τz), which does not cancel.
            Through::Sigmoid(t, Side::Region) => format!("g.direct += {slope} * v.background[{t}] * SIGMOID_{t};"),
            Through::Sigmoid(t, Side::Background) => format!("g.direct -= {slope} * v.region[{t}] * SIGMOID_{t};"),
        };
        let (factor, map) = (self.over("w", own), self.times_map());
        Some(format!("    {{ const real h = (real)c[{at} * stride] * ({factor}){map}; {to} }}\n"))
    }
}
