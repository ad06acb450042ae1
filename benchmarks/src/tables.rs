//! Results as Markdown tables, each made of the numbers alone.

use crate::cases::LOSS;
use crate::plan::{Axis, BYTES_AS_LABELS, COMPILED, CROSS_ENTROPY_OF_TORCH, EAGER, FLOOR, MONAI, OURS};
use crate::protocol::Op;
use crate::results::{Instructions, Memory, Results, Section, Series};
use crate::summary::{Summary, exponent, ratios, summary};

/// Logits from which on a machine's time is spent on them and not on starting.
const MANY: f64 = 1e5;

const MISSING: &str = "–";

/// A table in the making.
struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(headings: &[&str]) -> Self {
        Self { headings: headings.iter().map(|heading| (*heading).to_owned()).collect(), rows: Vec::new() }
    }

    fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Nothing where there is no row.
    fn markdown(&self) -> Option<String> {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        // The first column names things, the others hold numbers.
        let rule = |i: usize| if i == 0 { "---".to_owned() } else { "---:".to_owned() };
        let rules: Vec<String> = (0..self.headings.len()).map(rule).collect();
        let head = line(&self.headings) + &format!("|{}|\n", rules.join("|"));
        (!self.rows.is_empty()).then(|| self.rows.iter().fold(head, |text, row| text + &line(row)))
    }
}

/// Three significant digits.
fn digits(number: f64) -> String {
    let places = if number >= 100.0 {
        0
    } else if number >= 10.0 {
        1
    } else {
        2
    };
    format!("{number:.places$}")
}

/// A time and its range: `12.3 ms (12.1–14.0)`.
fn time(seconds: Option<&[f64]>) -> String {
    let Some(Summary { median, least, largest }) = seconds.and_then(summary) else { return MISSING.to_owned() };
    let (unit, factor) = if median >= 1.0 {
        ("s", 1.0)
    } else if median >= 1e-3 {
        ("ms", 1e3)
    } else {
        ("µs", 1e6)
    };
    let [median, least, largest] = [median, least, largest].map(|t| digits(t * factor));
    format!("{median} {unit} ({least}–{largest})")
}

/// How many times longer: `31.2× (28.0–33.1)`.
fn times(long: Option<&[f64]>, short: Option<&[f64]>) -> String {
    let (Some(long), Some(short)) = (long, short) else { return MISSING.to_owned() };
    ratios(long, short).map_or_else(
        || MISSING.to_owned(),
        |Summary { median, least, largest }| format!("**{}×** ({}–{})", digits(median), digits(least), digits(largest)),
    )
}

/// Lines of at most 100 columns.
fn wrapped(text: &str) -> String {
    const WIDTH: usize = 100;
    let mut lines = String::new();
    let mut width = 0;
    for word in text.split(' ') {
        let fits = width + 1 + word.len() <= WIDTH;
        if width > 0 {
            lines.push(if fits { ' ' } else { '\n' });
        }
        width = if fits && width > 0 { width + 1 + word.len() } else { word.len() };
        lines.push_str(word);
    }
    lines + "\n"
}

/// `1.25 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    let size = count as f64;
    let (unit, factor) = match size {
        size if size >= 1024f64.powi(3) => ("GiB", 1024f64.powi(3)),
        size if size >= 1024f64.powi(2) => ("MiB", 1024f64.powi(2)),
        size if size >= 1024.0 => ("KiB", 1024.0),
        _ => return format!("{count} B"),
    };
    format!("{} {unit}", digits(size / factor))
}

/// A difference in its power of ten: `2.1e-7`.
fn small(number: f64) -> String {
    if number == 0.0 { "0".to_owned() } else { format!("{number:.1e}") }
}

impl Results {
    /// A section's tables, if it was measured.
    pub(crate) fn table(&self, section: Section) -> Option<String> {
        let tables = match section {
            Section::Main => vec![self.main(), self.passes(), self.agreement(section)],
            Section::Ce => vec![self.cross_entropy(), self.agreement(section)],
            Section::Monai => vec![self.monai(), self.agreement(section)],
            Section::Memory => vec![self.memory()],
            Section::Types => vec![self.types()],
            Section::Threads => vec![self.threads()],
            Section::Terms => vec![self.terms()],
            Section::Growth => vec![self.growth()],
            Section::Volume => vec![self.volume()],
            Section::Instructions => vec![self.instructions()],
        };
        let tables: Vec<String> = tables.into_iter().flatten().collect();
        (!tables.is_empty()).then(|| format!("{}\n{}", tables.join("\n"), self.caption(section)))
    }

    fn caption(&self, section: Section) -> String {
        let rounds = self.of(section).map(|s| s.seconds.len()).max();
        let rounds = rounds.map_or_else(String::new, |rounds| format!("; {rounds} rounds: median (least–largest)"));
        let quick = if self.quick { " --quick" } else { "" };
        wrapped(&format!("`cargo xtask bench{quick} --only {}`{rounds}. {}.", section.name(), self.machine.words()))
    }

    /// What the tables draw on: seconds of an engine's work in a case of a section.
    fn find<'a>(&'a self, section: Section, case: &'a str) -> impl Fn(&str, Op) -> Option<&'a [f64]> {
        move |who, op| self.seconds(section, case, who, op)
    }

    fn main(&self) -> Option<String> {
        let mut table = Table::new(&[
            "logits",
            "ours",
            "PyTorch",
            "torch.compile",
            "PyTorch ÷ ours",
            "torch.compile ÷ ours",
            "ours, array given",
            "PyTorch ÷ array given",
            "torch.compile ÷ array given",
            "one copy of the logits",
            "array given ÷ copy",
            "floor",
            "array given ÷ floor",
        ]);
        for case in self.cases(Section::Main) {
            let find = self.find(Section::Main, case);
            let (ours, given, copy) = (find(OURS, Op::Both), find(OURS, Op::Into), find(OURS, Op::Copy));
            let (eager, compiled) = (find(EAGER, Op::Both), find(COMPILED, Op::Both));
            table.row([
                case.to_owned(),
                time(ours),
                time(eager),
                time(compiled),
                times(eager, ours),
                times(compiled, ours),
                time(given),
                times(eager, given),
                times(compiled, given),
                time(copy),
                times(given, copy),
                time(find(FLOOR, Op::Into)),
                times(given, find(FLOOR, Op::Into)),
            ]);
        }
        table.markdown()
    }

    fn passes(&self) -> Option<String> {
        let mut table = Table::new(&[
            "logits",
            "value: ours",
            "PyTorch ÷ ours",
            "torch.compile ÷ ours",
            "ours ÷ floor",
            "gradient alone: ours",
            "PyTorch ÷ ours",
            "torch.compile ÷ ours",
            "ours ÷ floor",
        ]);
        for case in self.cases(Section::Main) {
            let find = self.find(Section::Main, case);
            let cells = [Op::Value, Op::Gradient].into_iter().flat_map(|op| {
                let ours = find(OURS, op);
                [time(ours), times(find(EAGER, op), ours), times(find(COMPILED, op), ours), times(ours, find(FLOOR, op))]
            });
            table.row([case.to_owned()].into_iter().chain(cells));
        }
        table.markdown()
    }

    fn agreement(&self, section: Section) -> Option<String> {
        let mut table = Table::new(&["logits", "the same work?", "value differs by", "gradient differs by, of its largest"]);
        for found in self.agreement.iter().filter(|a| a.section == section) {
            table.row([found.case.clone(), found.who.clone(), small(found.value), small(found.gradient)]);
        }
        table.markdown()
    }

    fn cross_entropy(&self) -> Option<String> {
        let mut table = Table::new(&[
            "logits",
            "ours",
            "F.cross_entropy",
            "F.cross_entropy ÷ ours",
            "ours, array given",
            "value: ours",
            "F.cross_entropy ÷ ours",
        ]);
        for case in self.cases(Section::Ce) {
            let find = self.find(Section::Ce, case);
            let (ours, theirs) = (find(OURS, Op::Both), find(CROSS_ENTROPY_OF_TORCH, Op::Both));
            let (value, their_value) = (find(OURS, Op::Value), find(CROSS_ENTROPY_OF_TORCH, Op::Value));
            let given = time(find(OURS, Op::Into));
            let cells = [time(ours), time(theirs), times(theirs, ours), given, time(value), times(their_value, value)];
            table.row([case.to_owned()].into_iter().chain(cells));
        }
        table.markdown()
    }

    fn monai(&self) -> Option<String> {
        let mut table = Table::new(&["logits", "ours", "DiceCELoss", "DiceCELoss ÷ ours", "value: ours", "DiceCELoss ÷ ours"]);
        for case in self.cases(Section::Monai) {
            let find = self.find(Section::Monai, case);
            let cells = [Op::Both, Op::Value].into_iter().flat_map(|op| {
                let (ours, theirs) = (find(OURS, op), find(MONAI, op));
                // Their time for the value is in its ratio.
                let theirs_too = (op == Op::Both).then(|| time(theirs));
                [Some(time(ours)), theirs_too, Some(times(theirs, ours))].into_iter().flatten()
            });
            table.row([case.to_owned()].into_iter().chain(cells));
        }
        table.markdown()
    }

    fn types(&self) -> Option<String> {
        let kinds = ["f16", "bf16", "f64", BYTES_AS_LABELS];
        let mut headings = vec!["logits".to_owned(), "f32".to_owned()];
        headings.extend(kinds.iter().map(|kind| format!("{kind} ÷ f32")));
        let mut table = Table { headings, rows: Vec::new() };
        for case in self.cases(Section::Types) {
            let find = self.find(Section::Types, case);
            let base = find("f32", Op::Into);
            let others = kinds.iter().map(|kind| times(find(kind, Op::Into), base));
            table.row([case.to_owned(), time(base)].into_iter().chain(others));
        }
        table.markdown()
    }

    fn threads(&self) -> Option<String> {
        let more = self.of(Section::Threads).map(|s| &*s.who).find(|who| *who != "1 thread")?;
        let words = format!("1 thread ÷ {more}");
        let mut table = Table::new(&["logits", "value, 1 thread", &words, "value and gradient, 1 thread", &words]);
        for case in self.cases(Section::Threads) {
            let find = self.find(Section::Threads, case);
            let cells = [Op::Value, Op::Into].into_iter().flat_map(|op| {
                let one = find("1 thread", op);
                [time(one), times(one, find(more, op))]
            });
            table.row([case.to_owned()].into_iter().chain(cells));
        }
        table.markdown()
    }

    fn terms(&self) -> Option<String> {
        let mut table = Table::new(&["logits", "loss", "value and gradient", "more than the line above"]);
        for case in self.cases(Section::Terms) {
            let all: Vec<&Series> = self.of(Section::Terms).filter(|s| s.case == case).collect();
            let more = |later: &Series, earlier: &Series| ratios(&later.seconds, &earlier.seconds);
            let percent = |share: f64| format!("{:+.1} %", 100.0 * share);
            for (at, series) in all.iter().enumerate() {
                let before = at.checked_sub(1).and_then(|before| more(series, all[before]));
                let added = before.map_or_else(String::new, |found| percent(found.median - 1.0));
                table.row([case.to_owned(), format!("`{}`", series.who), time(Some(&series.seconds)), added]);
            }
            if let [first, .., last] = all.as_slice() {
                let whole = more(last, first).map_or(f64::NAN, |found| (found.median - 1.0) / (all.len() - 1) as f64);
                table.row([case.to_owned(), "each added term, on average".to_owned(), String::new(), percent(whole)]);
            }
        }
        table.markdown()
    }

    /// Logits and median seconds of what grows along an axis.
    pub(crate) fn points(&self, section: Section, mut takes: impl FnMut(&Series) -> bool) -> Vec<(f64, f64)> {
        let point = |s: &Series| Some((s.logits as f64, summary(&s.seconds)?.median));
        self.of(section).filter(|s| takes(s)).filter_map(point).collect()
    }

    fn growth(&self) -> Option<String> {
        let mut table =
            Table::new(&["what grows", "logits", "time per logit, largest size", "exponent from 10⁵ logits on", "over all"]);
        for axis in [Axis::Pixels, Axis::Samples, Axis::Classes] {
            let points = self.points(Section::Growth, |s| s.case == axis.name());
            let (Some(first), Some(last)) = (points.first(), points.last()) else { continue };
            let many: Vec<(f64, f64)> = points.iter().copied().filter(|(logits, _)| *logits >= MANY).collect();
            let slope = |points: &[(f64, f64)]| exponent(points).map_or_else(|| MISSING.to_owned(), |b| format!("{b:.3}"));
            let range = format!("{:.0e} to {:.0e}", first.0, last.0);
            let each = format!("{} ns", digits(1e9 * last.1 / last.0));
            table.row([axis.name().to_owned(), range, each, slope(&many), slope(&points)]);
        }
        table.markdown()
    }

    /// Bytes that a call needed beyond its gradient where it made one, as found by one who can count, or by the system.
    fn needed(&self, section: Section, case: &str, who: &str, op: Op) -> String {
        let is = |m: &&Memory| m.section == section && m.case == case && m.who == who && m.op == op;
        let Some(found) = self.memory.iter().find(is) else { return MISSING.to_owned() };
        let Some(count) = found.allocated.or(found.resident) else { return MISSING.to_owned() };
        match (op, count.checked_sub(found.gradient)) {
            (Op::Both, Some(beyond)) => format!("gradient + {}", bytes(beyond)),
            _ => bytes(count),
        }
    }

    fn memory(&self) -> Option<String> {
        let mut table = Table::new(&[
            "logits",
            "a gradient",
            "ours: value",
            "value and gradient",
            "array given",
            "PyTorch: value",
            "value and gradient",
            "torch.compile: value and gradient",
        ]);
        for case in self.cases(Section::Memory) {
            let gradient = self.memory.iter().find(|m| m.case == case).map_or(0, |m| m.gradient);
            let asked = [(OURS, Op::Value), (OURS, Op::Both), (OURS, Op::Into), (EAGER, Op::Value), (EAGER, Op::Both)];
            let needed =
                asked.into_iter().chain([(COMPILED, Op::Both)]).map(|(who, op)| self.needed(Section::Memory, case, who, op));
            table.row([case.to_owned(), bytes(gradient)].into_iter().chain(needed));
        }
        table.markdown()
    }

    fn volume(&self) -> Option<String> {
        let mut table = Table::new(&["logits", "a gradient", "what", "time", "memory beyond the inputs"]);
        for case in self.cases(Section::Volume) {
            let gradient = self.memory.iter().find(|m| m.case == case).map_or(0, |m| m.gradient);
            for op in [Op::Value, Op::Both, Op::Into] {
                let (seconds, needed) =
                    (self.find(Section::Volume, case)(OURS, op), self.needed(Section::Volume, case, OURS, op));
                table.row([case.to_owned(), bytes(gradient), op.words().to_owned(), time(seconds), needed]);
            }
        }
        table.markdown()
    }

    fn instructions(&self) -> Option<String> {
        let mut table = Table::new(&["logits", "loss", "value, per logit", "gradient alone", "both"]);
        for first in self.instructions.iter().filter(|found| found.op == Op::Value) {
            let each = |op| {
                let is = |found: &&Instructions| found.op == op && found.case == first.case && found.loss == first.loss;
                let found = self.instructions.iter().find(is);
                found.map_or_else(|| MISSING.to_owned(), |found| digits(found.count as f64 / found.logits as f64))
            };
            let cells = [Op::Value, Op::Gradient, Op::Into].map(each);
            table.row([first.case.clone(), format!("`{}`", first.loss)].into_iter().chain(cells));
        }
        table.markdown()
    }

    /// All tables, under headings.
    pub(crate) fn page(&self, sections: &[Section]) -> String {
        let mut page =
            format!("# Benchmarks\n\n`{LOSS}` where nothing else is said; softmax, f32, {} threads.\n", self.threads);
        for &section in sections {
            if let Some(table) = self.table(section) {
                page.push_str(&format!("\n## {}\n\n{table}", section.name()));
            }
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(section: Section, who: &str, op: Op, seconds: &[f64]) -> Series {
        let (case, logits) = ("2×4".to_owned(), 1000);
        Series { section, case, logits, who: who.to_owned(), op, repeat: 1, seconds: seconds.to_vec() }
    }

    #[test]
    fn numbers_as_text() {
        assert_eq!(time(Some(&[0.0123, 0.0121, 0.014])), "12.3 ms (12.1–14.0)");
        assert_eq!(time(Some(&[2.5e-6])), "2.50 µs (2.50–2.50)");
        assert_eq!(time(Some(&[1.5])), "1.50 s (1.50–1.50)");
        assert_eq!(time(None), "–");
        assert_eq!(times(Some(&[4.0, 6.0]), Some(&[1.0, 2.0])), "**3.50×** (3.00–4.00)");
        assert_eq!(times(None, Some(&[1.0])), "–");
        assert_eq!([bytes(12), bytes(1536), bytes(3 << 20), bytes(5 << 30)], ["12 B", "1.50 KiB", "3.00 MiB", "5.00 GiB"]);
        assert_eq!([small(0.0), small(2.13e-7)], ["0", "2.1e-7"]);
        assert_eq!(wrapped(&format!("{} b c", "a".repeat(98))), format!("{} b\nc\n", "a".repeat(98)));
    }

    #[test]
    fn the_main_table() {
        let main = Section::Main;
        let series = vec![
            series(main, OURS, Op::Both, &[0.010, 0.012, 0.011]),
            series(main, OURS, Op::Into, &[0.008]),
            series(main, OURS, Op::Copy, &[0.002]),
            series(main, EAGER, Op::Both, &[0.300, 0.360, 0.330]),
            series(main, FLOOR, Op::Into, &[0.004]),
        ];
        let text = Results { series, ..Results::default() }.table(main).unwrap();
        let row = text.lines().nth(2).unwrap();
        assert_eq!(
            row,
            "| 2×4 | 11.0 ms (10.0–12.0) | 330 ms (300–360) | – | **30.0×** (30.0–30.0) | – | 8.00 ms (8.00–8.00) | \
             **37.5×** (37.5–37.5) | – | 2.00 ms (2.00–2.00) | **4.00×** (4.00–4.00) | \
             4.00 ms (4.00–4.00) | **2.00×** (2.00–2.00) |"
        );
        assert!(text.contains("cargo xtask bench --only main`; 3 rounds"), "{text}");
    }

    #[test]
    fn memory_beyond_the_gradient() {
        let memory = |who: &str, op, allocated| Memory {
            section: Section::Memory,
            case: "2×4".to_owned(),
            who: who.to_owned(),
            op,
            gradient: 4096,
            allocated,
            resident: Some(1 << 20),
        };
        let memory =
            vec![memory(OURS, Op::Both, Some(5120)), memory(OURS, Op::Into, Some(1024)), memory(EAGER, Op::Both, None)];
        let text = Results { memory, ..Results::default() }.table(Section::Memory).unwrap();
        let row = text.lines().nth(2).unwrap();
        assert_eq!(row, "| 2×4 | 4.00 KiB | – | gradient + 1.00 KiB | 1.00 KiB | – | gradient + 1020 KiB | – |");
    }

    #[test]
    fn what_a_term_adds() {
        let of = |who: &str, seconds: &[f64]| series(Section::Terms, who, Op::Into, seconds);
        let series = vec![of("ce", &[1.0, 2.0, 1.0]), of("+ db", &[1.1, 2.2, 1.2]), of("+ kl", &[1.32, 2.2, 1.2])];
        let text = Results { series, ..Results::default() }.table(Section::Terms).unwrap();
        let added: Vec<&str> = text.lines().skip(2).take(4).map(|line| line.rsplit(" | ").next().unwrap()).collect();
        assert_eq!(added, [" |", "+10.0 % |", "+0.0 % |", "+10.0 % |"]);
    }

    #[test]
    fn growth_and_instructions() {
        let grown = |logits: usize, seconds: f64| Series {
            case: "pixels".to_owned(),
            logits,
            ..series(Section::Growth, "x", Op::Into, &[seconds])
        };
        let series = vec![grown(1000, 1e-5), grown(100_000, 1e-4), grown(10_000_000, 1e-2)];
        let counted = |op, count| Instructions { case: "2×4".to_owned(), logits: 100, loss: "ce".to_owned(), op, count };
        let instructions = vec![counted(Op::Value, 1250), counted(Op::Into, 4000)];
        let results = Results { series, instructions, ..Results::default() };
        let growth = results.table(Section::Growth).unwrap();
        assert!(growth.contains("| pixels | 1e3 to 1e7 | 1.00 ns | 1.000 | 0.750 |"), "{growth}");
        let counts = results.table(Section::Instructions).unwrap();
        assert!(counts.contains("| 2×4 | `ce` | 12.5 | – | 40.0 |"), "{counts}");
        assert_eq!(results.table(Section::Main), None);
        let page = results.page(&[Section::Main, Section::Growth]);
        assert!(page.contains("## growth") && !page.contains("## main"));
    }
}
