//! A plan as CUDA C: what `pair.cu` is compiled with.

use std::fmt::Write as _;
use std::sync::Arc;

use loss_core::{Over, Plan, Quantity, Statistic, Temperature};
use tch::Kind;

use super::function::{body, literal};
use super::sum::{Parts, Sum};

/// The part that is the same for all plans.
const PAIR: &str = include_str!("pair.cu");

/// Where in it the plan's own functions belong.
const PLACE: &str = "//@ plan\n";

/// Most statistics of a plan: what a block can keep of them at a time.
const MOST_SUMS: usize = 40;

/// Most maps, and most labels that are ignored: a kernel's arguments are 4 KB at most.
const MOST_MAPS: usize = 32;
const MOST_IGNORED: usize = 256;

/// Sums of logarithms are kept in units of this, so that a few of the largest logarithms do not
/// overflow. A power of two rounds nothing.
const LOGARITHMS_IN: f64 = 64.0;

/// Pixels of a thread whose sum is kept in the type computed in, before it is added up in `f64`.
const RUN: usize = 32;

/// Rows that a block adds up at a time, where it knows how many classes there are.
const ROWS_AT_A_TIME: usize = 16;

/// Numbers of 4 bytes that a thread may keep for the classes of a pixel.
const REGISTERS: usize = 160;

/// Bytes that the threads of a block share, of the 48 KB that every device has.
const SHARED: usize = 46 << 10;

/// What the target is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    Labels(Kind),
    Soft(Kind),
}

/// What a source is made for beside the plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Layout {
    /// Type of the logits.
    pub(crate) logits: Kind,
    pub(crate) target: Target,
    pub(crate) weights: Option<Kind>,
    /// How many labels are ignored.
    pub(crate) ignored: usize,
    /// Of each of the plan's maps its type, and whether it has a channel for each class.
    pub(crate) maps: Vec<(Kind, bool)>,
    /// Threads of a block, a multiple of 32.
    pub(crate) threads: usize,
}

/// The text of both kernels, and where they put what.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) text: Arc<str>,
    /// For each statistic of the plan its place in what the kernels give.
    pub(crate) places: Vec<usize>,
    /// How many sums there are beside the valid weight.
    pub(crate) sums: usize,
    /// For each statistic of the plan its place among those with a slope.
    pub(crate) slopes: Vec<Option<usize>>,
    /// Pixels that a thread takes at a time.
    pub(crate) pixels: usize,
}

/// How a number of a tensor is read.
fn number(kind: Kind, at: &str, to: &str) -> Option<String> {
    let stored = match kind {
        Kind::Half => return Some(format!("({to})from_f16(((const unsigned short *){at})[i])")),
        Kind::BFloat16 => return Some(format!("({to})from_bf16(((const unsigned short *){at})[i])")),
        Kind::Bool => return Some(format!("({to})(((const unsigned char *){at})[i] != 0)")),
        Kind::Double => "double",
        Kind::Float => "float",
        Kind::Int64 => "long long",
        Kind::Int => "int",
        Kind::Int16 => "short",
        Kind::Int8 => "signed char",
        Kind::Uint8 => "unsigned char",
        _ => return None,
    };
    Some(format!("({to})((const {stored} *){at})[i]"))
}

/// Whether there are kernels for a plan: not for more statistics, maps or ignored labels than they
/// have room for, nor for an operation that they do not know.
pub(crate) fn computes(plan: &Plan, ignored: usize) -> bool {
    let statistics = plan.statistics();
    let known = |statistic: &Statistic| match &statistic.of {
        Quantity::Function(.., function) => function.results().iter().all(|wanted| body(function, *wanted).is_some()),
        Quantity::One | Quantity::Target | Quantity::Mass(_) | Quantity::SquaredMass(_) | Quantity::Log(..) => true,
    };
    let sums = statistics.iter().filter(|statistic| !statistic.is_shared()).count();
    sums <= MOST_SUMS && plan.maps().len() <= MOST_MAPS && ignored <= MOST_IGNORED && statistics.iter().all(known)
}

impl Source {
    /// The kernels for a plan. `None` where they cannot compute it ([`computes`]), or read a type.
    pub(crate) fn new(plan: &Plan, layout: &Layout) -> Option<Self> {
        let mut parts = Parts::default();
        let mut count = 0;
        let mut next = |wanted: bool| wanted.then(|| (count, count += 1).0);
        let slopes: Vec<Option<usize>> = plan.statistics().iter().map(|s| next(s.depends_on_logits())).collect();
        let sum = |(i, statistic): (usize, &Statistic)| Sum {
            of: parts.of(&statistic.of),
            over: statistic.over,
            map: plan.map(i),
            logarithmic: statistic.of.is_logarithmic(),
            slope: slopes[i],
        };
        let sums: Vec<Sum> = plan.statistics().iter().enumerate().map(sum).collect();
        let shared: Vec<bool> = plan.statistics().iter().map(Statistic::is_shared).collect();
        let (classes, labels) = (plan.classes(), matches!(layout.target, Target::Labels(_)));
        let bytes = if layout.logits == Kind::Double { 8 } else { 4 };

        let own = |i: &usize| labels && sums[*i].over == Over::Region;
        let all: Vec<usize> = (0..sums.len()).filter(|i| !shared[*i]).collect();
        let (mine, rest): (Vec<usize>, Vec<usize>) = all.iter().copied().partition(own);
        let numbers = 1 + parts.softs.len() + 2 * parts.sigmoids.len() + rest.len();
        let rows = ROWS_AT_A_TIME + mine.len() * classes;
        let held = classes * numbers * bytes <= 4 * REGISTERS && rows * layout.threads * bytes <= SHARED;
        let (each, mine) = if held { (rest, mine) } else { (all, Vec::new()) };
        let total = each.len() + mine.len();
        if !computes(plan, layout.ignored) {
            return None;
        }
        let order: Vec<usize> = each.iter().chain(&mine).copied().collect();
        let places: Option<Vec<usize>> =
            (0..sums.len()).map(|i| if shared[i] { Some(total) } else { order.iter().position(|at| *at == i) }).collect();

        let batch = if held { ROWS_AT_A_TIME } else { (128 / bytes / total.max(1)).max(1) };
        let lines = Lines { plan, layout, parts: &parts, sums: &sums, each: &each, own: &mine, held, batch };
        let (before, after) = PAIR.split_once(PLACE)?;
        let text = [&lines.head(bytes)?, before, &lines.values()?, &lines.maps(), &lines.statistics(), after].concat();
        Some(Self { text: text.into(), places: places?, sums: total, slopes, pixels: if held { 1 } else { 4 } })
    }
}

/// What is written for a plan.
struct Lines<'a> {
    plan: &'a Plan,
    layout: &'a Layout,
    parts: &'a Parts,
    sums: &'a [Sum],
    /// Statistics that are summed for each class.
    each: &'a [usize],
    /// Statistics that are summed for a pixel's own class alone.
    own: &'a [usize],
    held: bool,
    batch: usize,
}

/// A function of the plan.
fn function(head: &str, body: &str) -> String {
    format!("INLINE {head} {{\n{body}}}\n\n")
}

impl Lines<'_> {
    /// Types and numbers.
    fn head(&self, bytes: usize) -> Option<String> {
        let Layout { logits, target, weights, ignored, maps, threads } = self.layout;
        let mut text = String::new();
        let mut define = |name: &str, value: &str| {
            let _ = writeln!(text, "#define {name} {value}");
        };
        let (real, suffix) = if bytes == 8 { ("double", "") } else { ("float", "f") };
        define("real", real);
        for name in ["exp", "expm1", "log", "log1p", "pow", "sqrt", "fabs"] {
            define(&name.to_uppercase(), &format!("{name}{suffix}"));
        }
        define("LOGIT(i)", &number(*logits, "a.logits.at", "real")?);
        match target {
            Target::Labels(kind) => define("LABEL(i)", &number(*kind, "a.target.at", "long long")?),
            Target::Soft(kind) => define("SHARE(i)", &number(*kind, "a.target.at", "real")?),
        }
        if let Some(kind) = weights {
            define("WEIGHT(i)", &number(*kind, "a.weights.at", "real")?);
        }
        for (i, (kind, _)) in maps.iter().enumerate() {
            define(&format!("MAP_{i}(i)"), &number(*kind, &format!("a.maps[{i}].at"), "real")?);
        }
        for (name, list) in [("SOFT", &self.parts.softs), ("SIGMOID", &self.parts.sigmoids)] {
            for (i, temperature) in list.iter().enumerate() {
                define(&format!("{name}_{i}"), &literal(temperature.value()));
            }
        }
        let classes = if self.held { self.plan.classes().to_string() } else { "a.classes".to_owned() };
        define("CLASSES", &classes);
        let log_soft = self.parts.softs.iter().position(|t| *t == Temperature::ONE).filter(|_| self.parts.log_softmax);
        define("LOG_SOFT", &log_soft.map_or_else(|| "-1".to_owned(), |at| at.to_string()));
        define("LARGEST_SUM", &format!("{:e}", loss_core::backend::LARGEST_SUM));
        define("LOGARITHMS_IN", &format!("{LOGARITHMS_IN:e}"));
        let labels = matches!(target, Target::Labels(_));
        let numbers = [
            ("HELD", usize::from(self.held)),
            ("LABELS", usize::from(labels)),
            ("WEIGHTED", usize::from(weights.is_some())),
            ("IGNORED", if labels { *ignored } else { 0 }),
            ("MAPS", maps.len()),
            ("SOFTS", self.parts.softs.len()),
            ("SIGMOIDS", self.parts.sigmoids.len()),
            ("EACH", self.each.len()),
            ("OWN", self.own.len()),
            ("SUMS", self.each.len() + self.own.len()),
            ("SLOPES", self.sums.iter().filter(|sum| sum.slope.is_some()).count()),
            ("THREADS", *threads),
            ("RUN", RUN),
            ("BATCH", self.batch),
        ];
        numbers.iter().for_each(|(name, value)| define(name, &value.to_string()));
        Some(text)
    }

    /// What a logit comes to.
    fn values(&self) -> Option<String> {
        let mut text = function("real times(real factor, real value)", "    return factor != 0 ? factor * value : 0;\n");
        for (i, of) in self.parts.functions.iter().enumerate() {
            let [value, slope] = of.results();
            text += &function(&format!("real function_{i}(real x)"), &body(of, value)?);
            text += &function(&format!("real slope_{i}(real x)"), &body(of, slope)?);
        }
        let scaled =
            |x: &str, t: Temperature, name: String| if t == Temperature::ONE { x.to_owned() } else { format!("{x} * {name}") };
        let softs = || self.parts.softs.iter().enumerate();
        let powers = softs().map(|(i, t)| format!("    power[{i}] = EXP({});\n", scaled("d", *t, format!("SOFT_{i}"))));
        text += &function("void soft_powers(real d, real *power)", &powers.collect::<String>());
        let sum: Vec<String> = softs().map(|(i, t)| scaled(&format!("each[{i}]"), *t, format!("SOFT_{i}"))).collect();
        let sum = if sum.is_empty() { "0".to_owned() } else { sum.join(" + ") };
        text += &function("real times_temperatures(const real *each)", &format!("    return {sum};\n"));
        let sigmoid = |(i, t): (usize, &Temperature)| {
            let mut lines = format!("    const real x{i} = {};\n", scaled("z", *t, format!("SIGMOID_{i}")));
            lines += &format!("    const real e{i} = EXP(-FABS(x{i})), more{i} = 1 / (1 + e{i}), less{i} = e{i} * more{i};\n");
            lines += &format!("    v.region[{i}] = x{i} >= 0 ? more{i} : less{i};\n");
            lines += &format!("    v.background[{i}] = x{i} >= 0 ? less{i} : more{i};\n");
            if self.parts.log_sigmoid && *t == Temperature::ONE {
                lines += &format!("    const real l{i} = LOG1P(e{i});\n");
                lines += &format!("    v.log_region = (x{i} < 0 ? x{i} : 0) - l{i};\n");
                lines += &format!("    v.log_background = (x{i} > 0 ? -x{i} : 0) - l{i};\n");
            }
            lines
        };
        let sigmoids: String = self.parts.sigmoids.iter().enumerate().map(sigmoid).collect();
        text += &function("void sigmoids(real z, Values &v)", &sigmoids);
        Some(text)
    }

    /// How maps are read: those of one channel, and those of a channel for each class.
    fn maps(&self) -> String {
        let of = |wide: bool| {
            let maps = self.layout.maps.iter().enumerate().filter(move |(_, map)| map.1 == wide);
            let read = |(i, _)| {
                let at = format!("n * a.maps[{i}].n + k * a.maps[{i}].k + s * a.maps[{i}].s");
                format!("    m.at[{i}] = MAP_{i}({at});\n    poison += m.at[{i}] * 0;\n")
            };
            maps.map(read).collect::<String>()
        };
        let place = "const Arguments &a, long long n";
        let to = "long long s, Maps &m, real &poison";
        let narrow =
            function(&format!("void read_narrow_maps({place}, {to})"), &format!("    const long long k = 0;\n{}", of(false)));
        narrow + &function(&format!("void read_wide_maps({place}, long long k, {to})"), &of(true))
    }

    /// What a pixel adds to the statistics, and what they hand back to it.
    fn statistics(&self) -> String {
        let unit = format!("    const real u = w * {};\n", literal(1.0 / LOGARITHMS_IN));
        let add = |list: &[usize], own: bool, stride: &str| {
            let line = |(j, i): (usize, &usize)| format!("    sums[{j} * {stride}] += {};\n", self.sums[*i].summand(own));
            unit.clone() + &list.iter().enumerate().map(line).collect::<String>()
        };
        let slopes = |list: &[usize], own: bool| list.iter().filter_map(|&i| self.sums[i].slope(own)).collect::<String>();
        let values = "const Values &v, real w";
        let of = "const Maps &m";
        let stride = if self.held { "CLASSES" } else { "BATCH" };
        let upstream = "const Upstream *c, long long stride, Slopes &g";
        let logarithmic = self.each.iter().chain(self.own).enumerate().filter(|(_, i)| self.sums[**i].logarithmic);
        let places: Vec<String> = logarithmic.map(|(j, _)| format!("i == {j}")).collect();
        let any = if places.is_empty() { "false".to_owned() } else { places.join(" || ") };
        [
            function(&format!("void add_each({values}, real y, {of}, real *sums)"), &add(self.each, false, stride)),
            function(&format!("void add_own({values}, {of}, real *sums)"), &add(self.own, true, "CLASSES * THREADS")),
            "template <class Upstream>\n".to_owned(),
            function(&format!("void each_slopes({values}, real y, {of}, {upstream})"), &slopes(self.each, false)),
            "template <class Upstream>\n".to_owned(),
            function(&format!("void own_slopes({values}, {of}, {upstream})"), &slopes(self.own, true)),
            function("bool is_logarithm(long long i)", &format!("    return {any};\n")),
        ]
        .concat()
    }
}
