//! One run of a study, in a process of its own: it ends with the process that started it, and its
//! numbers depend on nothing that runs beside it.

use std::io::Read;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use burn::tensor::Device;
use segloss::{Activation, Loss, Preference};

use super::plan::results;
use super::record::{ClassRecord, Epoch, Job, Preferred, Record, Role};
use super::sheet;
use crate::error::CliError;
use crate::output;
use crate::train::data::{Dataset, Picture};
use crate::train::folder::last_quarter;
use crate::train::judge::{self, Judged};
use crate::train::run::{self, End, EpochRecord, Observer, Outcome};
use crate::train::state::State;
use crate::train::{begin, fitting};

/// Images on which an epoch is watched, by their middle alone where they are large.
const WATCHED: usize = 16;

/// The images that each epoch is watched by: the first of those that judge the run. Large ones are
/// cut to twice a patch's sides, as predicting them whole took longer than learning.
pub(super) fn watched(judged_by: &[Picture], patch: [usize; 3]) -> Vec<Picture> {
    judged_by.iter().take(WATCHED).map(|picture| picture.middle(patch.map(|side| 2 * side))).collect()
}

/// Leaves as soon as nobody holds the other end of standard input: whoever started this run has
/// ended, or was killed.
pub(super) fn end_with_parent() {
    std::thread::spawn(|| {
        let mut nothing = [0; 64];
        while matches!(std::io::stdin().read(&mut nothing), Ok(read) if read > 0) {}
        std::process::exit(130);
    });
}

/// Computes on this thread, where there is to be one: handing every small piece of work to another
/// one and waiting for it takes time.
pub(super) fn on_this_thread() {
    if std::env::var("RAYON_NUM_THREADS").is_ok_and(|threads| threads == "1") {
        // Where threads are there already, they do as well.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global();
    }
}

/// Does a run and keeps its record.
pub(super) fn run(out: &Path, job: &Job) -> Result<(), CliError> {
    let started = Instant::now();
    let (dataset, loss, mut settings) = prepared(job)?;
    let data = format!("{:08x}", begin::checksum(&dataset));
    let device = Device::flex();
    let mut watched = dataset;
    let judged_by = watched.validation.split_off(0);
    watched.validation = self::watched(&judged_by, settings.patch);
    settings.seed = job.seed;
    let stop = AtomicBool::new(false);
    let outcome = run::train(&watched, &loss, &settings, State::new(&watched, &settings, &device), &stop, &mut Silent)?;
    let Outcome { network, history, end, .. } = &outcome;
    let failed = match end {
        End::Finished => None,
        End::Stopped => return Err(CliError::Interrupted { epochs: history.len(), out: out.to_path_buf() }),
        End::Diverged { total, epoch, step } => Some(format!("the loss became {total} in epoch {epoch}, step {step}")),
    };
    let predicting = settings.predicting(&watched, &loss);
    let judged = match &failed {
        None => judge::judge(network, &judged_by, watched.classes, &predicting, job.role == Role::Test, &device, &stop)?
            .unwrap_or_default(),
        Some(_) => Vec::new(),
    };
    let foreground = watched.foreground();
    let mut record = Record {
        segloss: env!("CARGO_PKG_VERSION").into(),
        condition: job.condition.name.clone(),
        asked: job.condition.asked(),
        loss: job.loss.clone(),
        role: job.role,
        seed: job.seed,
        rate: job.rate,
        data,
        trained_on: watched.train.len(),
        failed,
        seconds: 0.0,
        curve: history.iter().map(|epoch| epoch_of(epoch, foreground)).collect(),
        images: Vec::new(),
        diagonals: judged.iter().map(|image| image.scores.diagonal).collect(),
        valid: judged.iter().map(|image| image.scores.classes.first().map_or(0, |class| class.counts.valid)).collect(),
        classes: (foreground..watched.classes).map(|k| class(k, &watched.class_names, &judged)).collect(),
    };
    if !judged.is_empty() {
        record.images = judged_by.iter().map(|picture| picture.name.clone()).collect();
    }
    if job.role == Role::Test && loss.activation() == Activation::Softmax && !judged.is_empty() {
        let last = loss.at_epoch(settings.epochs.saturating_sub(1));
        for class in &mut record.classes {
            class.preferred = preferred(&judge::preferred(&last, &judged_by, &judged, class.class));
        }
    }
    record.seconds = started.elapsed().as_secs_f64();
    let folder = results(out, &job.condition.name, &job.loss);
    output::prepare_folder(&folder)?;
    if job.pictures && !judged.is_empty() {
        sheet::write(&folder.join(format!("seed-{}.png", job.seed)), &judged)?;
    }
    record.write(&folder.join(job.file()))
}

/// Images, loss and settings of a run. Runs that find a learning rate are judged by images that no
/// test sees: made-up ones of their seed, of a folder the last quarter of those to learn from,
/// which are then not learnt from.
pub(super) fn prepared(job: &Job) -> Result<(Dataset, Loss, run::Settings), CliError> {
    let args = job.condition.args(&job.loss, job.seed, job.rate)?;
    let mut dataset = args.dataset(job.condition.test)?;
    if job.role == Role::Tune && !job.condition.made_up() {
        let groups: Vec<&str> = dataset.train.iter().map(|picture| picture.group.as_str()).collect();
        let Some(held) = last_quarter(&groups) else {
            return Err(CliError::Study(format!(
                "condition {:?} has one image or group to learn from; a learning rate needs two, or give one by --rate",
                job.condition.name
            )));
        };
        let mut held = held.into_iter();
        let (validation, train) = dataset.train.drain(..).partition(|_| held.next() == Some(true));
        (dataset.train, dataset.validation) = (train, validation);
    }
    let settings = args.settings(&dataset)?;
    let loss = fitting(job.loss.parse()?, &dataset)?;
    Ok((dataset, loss, settings))
}

/// Nobody watches.
struct Silent;

impl Observer for Silent {
    fn step(&mut self, _: usize, _: usize, _: f64) {}
    fn validating(&mut self, _: usize) {}
    fn keep(&mut self, _: &State) -> Result<(), CliError> {
        Ok(())
    }
    fn epoch(&mut self, _: &EpochRecord) -> Result<(), CliError> {
        Ok(())
    }
}

/// Numbers as they are worth keeping.
fn rounded(value: f64) -> f64 {
    let scale = 1e6;
    if value.is_finite() { (value * scale).round() / scale } else { value }
}

fn epoch_of(record: &EpochRecord, foreground: usize) -> Epoch {
    let classes = || record.classes.iter().skip(foreground);
    let finite = |value: f64| value.is_finite().then(|| rounded(value));
    Epoch {
        loss: rounded(record.total),
        dice: classes().map(|class| finite(class.dice)).collect(),
        size: classes().map(|class| finite(class.predicted / class.target)).collect(),
        pressure: record.pressure.iter().skip(foreground).map(|&pressure| rounded(pressure)).collect(),
    }
}

fn class(k: usize, names: &[String], judged: &[Judged]) -> ClassRecord {
    let of = || judged.iter().filter_map(|image| image.scores.classes.get(k));
    ClassRecord {
        class: k,
        name: names.get(k).cloned().unwrap_or_else(|| k.to_string()),
        target: of().map(|class| class.counts.target).collect(),
        predicted: of().map(|class| class.counts.predicted).collect(),
        both: of().map(|class| class.counts.both).collect(),
        hd95: of().map(|class| class.hd95.map(rounded)).collect(),
        preferred: None,
    }
}

/// What cannot be measured, such as a loss of distances on a class that no image has, is left out.
fn preferred(found: &Result<Preference, segloss::LossError>) -> Option<Preferred> {
    let outcome = |outcome: &str, predicted, decided| Some(Preferred { outcome: outcome.into(), predicted, decided });
    match found {
        Ok(Preference::Size(size)) => outcome("size", size.predicted_ratio().map(rounded), size.decided_ratio().map(rounded)),
        Ok(Preference::Nothing) => outcome("nothing", None, None),
        Ok(Preference::Everything) => outcome("everything", None, None),
        Ok(Preference::Extremes) => outcome("extremes", None, None),
        Ok(_) => outcome("indifferent", None, None),
        Err(_) => None,
    }
}
