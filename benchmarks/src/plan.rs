//! What a run does, as a list of jobs.

use crate::cases::{self, CROSS_ENTROPY, Case, DICE_CE, LOSS, MAIN, MORE_TERMS, SMALL, VOLUME};
use crate::protocol::{Dtype, LabelType, Op};
use crate::results::Section;

/// Who works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Ours,
    Python,
    Floor,
}

/// An engine with its work.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Contender {
    /// Its name in tables.
    pub(crate) who: String,
    pub(crate) side: Side,
    pub(crate) slot: String,
    /// A loss, or what Python calls it.
    pub(crate) work: String,
    pub(crate) op: Op,
    pub(crate) threads: usize,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Job {
    /// Make logits and labels; where Python takes part, for it too.
    Load { slot: String, shape: Vec<usize>, sigmoid: bool, dtype: Dtype, labels: LabelType, python: bool },
    /// Drop them.
    Forget,
    /// Make sure that they compute the same.
    Agree { section: Section, case: String, ours: Contender, theirs: Contender },
    /// Let them work in turn, round by round.
    Measure { section: Section, case: String, rounds: usize, contenders: Vec<(usize, Contender)> },
    /// See what memory one call needs.
    Memory { section: Section, case: String, gradient: u64, contender: Contender },
    /// Count instructions.
    Instructions { case: Case, loss: String, op: Op },
}

/// What to measure.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) sections: Vec<Section>,
    /// Part of a case's name.
    pub(crate) case: Option<String>,
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) threads: usize,
    pub(crate) python: bool,
    pub(crate) compile: bool,
    /// Whether the floor takes part.
    pub(crate) floor: bool,
}

/// Names in tables.
pub(crate) const OURS: &str = "ours";
pub(crate) const FLOOR: &str = "floor";
pub(crate) const EAGER: &str = "PyTorch";
pub(crate) const COMPILED: &str = "torch.compile";
pub(crate) const MONAI: &str = "MONAI";
pub(crate) const CROSS_ENTROPY_OF_TORCH: &str = "F.cross_entropy";
pub(crate) const BYTES_AS_LABELS: &str = "f32, u8 labels";

const SLOT: &str = "main";

impl Job {
    /// How many requests it is.
    pub(crate) fn steps(&self) -> u64 {
        match self {
            // Two calls tell how often to repeat it.
            Self::Measure { rounds, contenders, .. } => ((rounds + 2) * contenders.len()) as u64,
            _ => 1,
        }
    }
}

/// `4x20` finds `4×20`.
fn plain(text: &str) -> String {
    text.replace('×', "x").to_lowercase()
}

impl Wanted {
    fn wants(&self, section: Section) -> bool {
        self.sections.contains(&section)
    }

    fn takes(&self, name: &str) -> bool {
        self.case.as_ref().is_none_or(|part| plain(name).contains(&plain(part)))
    }

    fn chosen(&self, cases: &[Case]) -> Vec<Case> {
        cases.iter().copied().filter(|case| self.takes(&case.name())).collect()
    }

    /// All cases, or the small one for a quick run.
    fn all_or_small(&self, cases: &[Case]) -> Vec<Case> {
        self.chosen(if self.quick { &[SMALL] } else { cases })
    }

    fn ours(&self, who: &str, work: &str, op: Op) -> Contender {
        let (side, slot, threads) = (Side::Ours, SLOT.to_owned(), self.threads);
        Contender { who: who.to_owned(), side, slot, work: work.to_owned(), op, threads }
    }

    fn theirs(&self, who: &str, work: &str, op: Op) -> Contender {
        Contender { side: Side::Python, ..self.ours(who, work, op) }
    }

    /// The engines of PyTorch that take part in the main comparison.
    fn torch(&self) -> Vec<(&'static str, &'static str)> {
        let mut engines = Vec::new();
        if self.python {
            engines.push((EAGER, "composed"));
            if self.compile {
                engines.push((COMPILED, "compiled"));
            }
        }
        engines
    }

    fn load(&self, case: Case) -> Job {
        let (slot, shape, dtype, labels) = (SLOT.to_owned(), case.shape.to_vec(), Dtype::F32, LabelType::I64);
        Job::Load { slot, shape, sigmoid: case.sigmoid(), dtype, labels, python: self.python }
    }

    fn measure(&self, section: Section, case: Case, contenders: Vec<Contender>) -> Job {
        let contenders = contenders.into_iter().map(|contender| (case.logits(), contender)).collect();
        Job::Measure { section, case: case.name(), rounds: self.rounds, contenders }
    }

    /// The jobs, in order.
    pub(crate) fn jobs(&self) -> Vec<Job> {
        let mut jobs = Vec::new();
        for case in self.all_or_small(MAIN) {
            jobs.extend(self.against_peers(case));
        }
        if self.wants(Section::Ce) {
            let cases = if self.quick { &CROSS_ENTROPY[..2] } else { CROSS_ENTROPY };
            self.chosen(cases).into_iter().for_each(|case| jobs.extend(self.cross_entropy(case)));
        }
        if self.wants(Section::Types) {
            self.all_or_small(&MAIN[..2]).into_iter().for_each(|case| jobs.extend(self.types(case)));
        }
        if self.wants(Section::Threads) {
            for case in self.all_or_small(MAIN) {
                let with = |op, threads: usize| {
                    let who = if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") };
                    Contender { threads, ..self.ours(&who, LOSS, op) }
                };
                let two = self.threads.max(2);
                let contenders = [Op::Value, Op::Into].into_iter().flat_map(|op| [with(op, 1), with(op, two)]).collect();
                jobs.push(self.load_ours(case));
                jobs.push(self.measure(Section::Threads, case, contenders));
            }
        }
        if self.wants(Section::Terms) {
            for case in self.all_or_small(&MAIN[..1]) {
                let mut loss = LOSS.to_owned();
                let mut contenders = vec![self.ours(LOSS, LOSS, Op::Into)];
                for term in MORE_TERMS {
                    loss = format!("{loss} + {term}");
                    contenders.push(self.ours(&format!("+ {term}"), &loss, Op::Into));
                }
                jobs.push(self.load_ours(case));
                jobs.push(self.measure(Section::Terms, case, contenders));
            }
        }
        if self.wants(Section::Growth) {
            for axis in [Axis::Pixels, Axis::Samples, Axis::Classes] {
                if self.takes(axis.name()) {
                    jobs.extend(self.growth(axis));
                }
            }
        }
        if self.wants(Section::Volume) && !self.quick && self.takes(&VOLUME.name()) {
            jobs.extend(self.volume());
        }
        if self.wants(Section::Instructions) {
            let losses = if self.quick { &cases::COUNTED_LOSSES[..1] } else { cases::COUNTED_LOSSES };
            for case in self.chosen(if self.quick { &cases::COUNTED[..1] } else { cases::COUNTED }) {
                for loss in losses {
                    let count = |op| Job::Instructions { case, loss: (*loss).to_owned(), op };
                    jobs.extend([Op::Value, Op::Gradient, Op::Into].map(count));
                }
            }
        }
        jobs
    }

    fn load_ours(&self, case: Case) -> Job {
        let mut job = self.load(case);
        if let Job::Load { python, .. } = &mut job {
            *python = false;
        }
        job
    }

    /// What has its logits from the main cases: the main comparison, MONAI and memory.
    fn against_peers(&self, case: Case) -> Vec<Job> {
        let mut jobs = Vec::new();
        let agree = |section, loss, theirs| {
            let ours = self.ours(OURS, loss, Op::Into);
            Job::Agree { section, case: case.name(), ours, theirs }
        };
        if self.wants(Section::Main) {
            for (who, work) in self.torch() {
                jobs.push(agree(Section::Main, LOSS, self.theirs(who, work, Op::Both)));
            }
            let ours = [Op::Both, Op::Into, Op::Value, Op::Gradient, Op::Copy].map(|op| self.ours(OURS, LOSS, op));
            let mut contenders = ours.to_vec();
            for (who, work) in self.torch() {
                contenders.extend([Op::Both, Op::Value, Op::Gradient].map(|op| self.theirs(who, work, op)));
            }
            if self.floor {
                let floor = |op| Contender { side: Side::Floor, ..self.ours(FLOOR, FLOOR, op) };
                contenders.extend([Op::Into, Op::Value, Op::Gradient].map(floor));
            }
            jobs.push(self.measure(Section::Main, case, contenders));
        }
        if self.wants(Section::Monai) && self.python {
            jobs.push(agree(Section::Monai, DICE_CE, self.theirs(MONAI, "monai", Op::Both)));
            let mut contenders = [Op::Both, Op::Into, Op::Value].map(|op| self.ours(OURS, DICE_CE, op)).to_vec();
            contenders.extend([Op::Both, Op::Value].map(|op| self.theirs(MONAI, "monai", op)));
            jobs.push(self.measure(Section::Monai, case, contenders));
        }
        if self.wants(Section::Memory) {
            let gradient = Dtype::F32.bytes() * case.logits() as u64;
            let mut contenders = [Op::Value, Op::Both, Op::Into].map(|op| self.ours(OURS, LOSS, op)).to_vec();
            for (who, work) in self.torch() {
                contenders.extend([Op::Value, Op::Both].map(|op| self.theirs(who, work, op)));
            }
            let memory = |contender| Job::Memory { section: Section::Memory, case: case.name(), gradient, contender };
            // Before the measurements, which leave arrays behind.
            jobs.splice(0..0, contenders.into_iter().map(memory));
        }
        if !jobs.is_empty() {
            jobs.insert(0, self.load(case));
            jobs.push(Job::Forget);
        }
        jobs
    }

    fn cross_entropy(&self, case: Case) -> Vec<Job> {
        let mut jobs = vec![self.load(case)];
        let mut contenders = [Op::Both, Op::Into, Op::Value].map(|op| self.ours(OURS, "ce", op)).to_vec();
        if self.python {
            let theirs = |op| self.theirs(CROSS_ENTROPY_OF_TORCH, "cross_entropy", op);
            let ours = self.ours(OURS, "ce", Op::Into);
            jobs.push(Job::Agree { section: Section::Ce, case: case.name(), ours, theirs: theirs(Op::Both) });
            contenders.extend([Op::Both, Op::Value].map(theirs));
        }
        jobs.push(self.measure(Section::Ce, case, contenders));
        jobs.push(Job::Forget);
        jobs
    }

    fn types(&self, case: Case) -> Vec<Job> {
        let kinds = [
            ("f32", Dtype::F32, LabelType::I64),
            ("f16", Dtype::F16, LabelType::I64),
            ("bf16", Dtype::Bf16, LabelType::I64),
            ("f64", Dtype::F64, LabelType::I64),
            (BYTES_AS_LABELS, Dtype::F32, LabelType::U8),
        ];
        let load = |(who, dtype, labels): (&str, Dtype, LabelType)| {
            let (slot, shape) = (who.to_owned(), case.shape.to_vec());
            Job::Load { slot, shape, sigmoid: case.sigmoid(), dtype, labels, python: false }
        };
        let contenders = kinds.map(|(who, ..)| Contender { slot: who.to_owned(), ..self.ours(who, LOSS, Op::Into) });
        let mut jobs: Vec<Job> = kinds.into_iter().map(load).collect();
        jobs.push(self.measure(Section::Types, case, contenders.to_vec()));
        jobs.push(Job::Forget);
        jobs
    }

    fn growth(&self, axis: Axis) -> Vec<Job> {
        let shapes: Vec<[usize; 3]> = axis.shapes(if self.quick { 4 } else { 9 });
        let slot = |shape: &[usize; 3]| cases::name_of(shape);
        let load = |shape: &[usize; 3]| Job::Load {
            slot: slot(shape),
            shape: shape.to_vec(),
            sigmoid: false,
            dtype: Dtype::F32,
            labels: LabelType::I32,
            python: false,
        };
        let contender = |shape: &[usize; 3]| {
            let logits = shape.iter().product();
            (logits, Contender { slot: slot(shape), ..self.ours(&slot(shape), LOSS, Op::Into) })
        };
        let contenders = shapes.iter().map(contender).collect();
        let measure = Job::Measure { section: Section::Growth, case: axis.name().to_owned(), rounds: self.rounds, contenders };
        shapes.iter().map(load).chain([measure, Job::Forget]).collect()
    }

    fn volume(&self) -> Vec<Job> {
        let load = Job::Load {
            slot: SLOT.to_owned(),
            shape: VOLUME.shape.to_vec(),
            sigmoid: VOLUME.sigmoid(),
            dtype: Dtype::F32,
            labels: LabelType::U8,
            python: false,
        };
        let ops = [Op::Value, Op::Both, Op::Into];
        let (section, gradient) = (Section::Volume, Dtype::F32.bytes() * VOLUME.logits() as u64);
        let contender = |op| self.ours(OURS, LOSS, op);
        let memory = ops.map(|op| Job::Memory { section, case: VOLUME.name(), gradient, contender: contender(op) });
        let contenders = ops.map(|op| (VOLUME.logits(), contender(op))).to_vec();
        // It is there for its memory.
        let measure = Job::Measure { section, case: VOLUME.name(), rounds: self.rounds.min(3), contenders };
        [Job::Forget, load].into_iter().chain(memory).chain([measure, Job::Forget]).collect()
    }
}

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Axis {
    Pixels,
    Samples,
    Classes,
}

impl Axis {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pixels => "pixels",
            Self::Samples => "samples",
            Self::Classes => "classes",
        }
    }

    /// So many shapes, each about √10 times the last, the others' lengths fixed.
    fn shapes(self, count: u32) -> Vec<[usize; 3]> {
        let times = |least: f64, i: u32| (least * 10f64.powf(f64::from(i) / 2.0)).round() as usize;
        let shape = |i| match self {
            Self::Pixels => [1, 4, times(1000.0, i)],
            Self::Samples => [times(1.0, i), 4, 1000],
            Self::Classes => [1, times(2.0, i), 1000],
        };
        (0..count).map(shape).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    fn wanted() -> Wanted {
        let sections = Section::value_variants().to_vec();
        Wanted { sections, case: None, quick: false, rounds: 9, threads: 2, python: true, compile: true, floor: true }
    }

    #[test]
    fn growth_covers_four_decades() {
        for axis in [Axis::Pixels, Axis::Samples, Axis::Classes] {
            let shapes = axis.shapes(9);
            let logits = |shape: &[usize; 3]| shape.iter().product::<usize>() as f64;
            assert!((logits(&shapes[8]) / logits(&shapes[0]) - 1e4).abs() < 1.0, "{axis:?}");
            assert!(shapes.windows(2).all(|pair| logits(&pair[0]) < logits(&pair[1])), "{axis:?}");
        }
    }

    #[test]
    fn what_is_compared_was_found_equal_first() {
        let jobs = wanted().jobs();
        for (at, job) in jobs.iter().enumerate() {
            let Job::Measure { section, case, contenders, .. } = job else { continue };
            for (_, theirs) in contenders.iter().filter(|(_, c)| c.side == Side::Python) {
                let agrees = |job: &Job| match job {
                    Job::Agree { section: s, case: c, theirs: t, .. } => s == section && c == case && t.work == theirs.work,
                    _ => false,
                };
                assert!(jobs[..at].iter().any(agrees), "{section:?} {case} {}", theirs.who);
            }
        }
    }

    #[test]
    fn every_slot_is_loaded_before_it_is_used() {
        let mut loaded: Vec<String> = Vec::new();
        let mut python = false;
        for job in wanted().jobs() {
            let used: Vec<Contender> = match job {
                Job::Load { slot, python: p, .. } => {
                    python = p;
                    loaded.push(slot);
                    continue;
                }
                Job::Forget => {
                    loaded.clear();
                    continue;
                }
                Job::Agree { ours, theirs, .. } => vec![ours, theirs],
                Job::Measure { contenders, .. } => contenders.into_iter().map(|(_, c)| c).collect(),
                Job::Memory { contender, .. } => vec![contender],
                Job::Instructions { .. } => continue,
            };
            for contender in used {
                assert!(loaded.contains(&contender.slot) && (python || contender.side == Side::Ours), "{contender:?}");
            }
        }
    }

    #[test]
    fn filters() {
        let only = Wanted { sections: vec![Section::Main], case: Some("4X20x".into()), ..wanted() };
        let measured = |wanted: &Wanted| -> Vec<String> {
            let name = |job| match job {
                Job::Measure { case, .. } => Some(case),
                _ => None,
            };
            wanted.jobs().into_iter().filter_map(name).collect()
        };
        assert_eq!(measured(&only), ["4×20×512×512"]);
        let alone = Wanted { python: false, ..wanted() };
        let python = |job: &Job| match job {
            Job::Load { python, .. } => *python,
            Job::Agree { .. } => true,
            Job::Measure { contenders, .. } => contenders.iter().any(|(_, c)| c.side == Side::Python),
            Job::Memory { contender, .. } => contender.side == Side::Python,
            _ => false,
        };
        assert!(!alone.jobs().iter().any(python));
        assert!(wanted().jobs().iter().any(python));
        let nothing = Wanted { case: Some("no such case".into()), ..wanted() };
        assert!(nothing.jobs().is_empty());
    }
}
