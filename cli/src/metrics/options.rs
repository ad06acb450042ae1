//! Which metrics are wanted, and by which definitions.

use std::str::FromStr;

use clap::{Args, ValueEnum};
use segloss_metrics::{AbsentClass, Bootstrap, Connectivity, Empties, Matching, Metric, OneEmpty, Settings, Surface};

use crate::error::CliError;

/// The metrics of a table that are asked for unless others are: surface Dice needs a tolerance.
pub(crate) const USUAL: &str = "dice,iou,precision,recall,size_error,hausdorff,hd95,assd,lesion_f1";

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Definitions")]
pub(super) struct MetricOptions {
    /// Metrics: those of the default, another percentile (hd99), surface_dice@TOLERANCE,
    /// lesion_precision, lesion_recall
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = USUAL)]
    metric: Vec<String>,
    #[command(flatten)]
    definitions: Definitions,
    /// Draws of images for the intervals
    #[arg(long, value_name = "N", default_value_t = Bootstrap::default().resamples)]
    resamples: usize,
    /// Part of the draws that intervals cover
    #[arg(long, value_name = "LEVEL", default_value_t = Bootstrap::default().level)]
    level: f64,
    /// Seed of the draws
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

/// What metrics are measured by.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Definitions")]
pub(crate) struct Definitions {
    /// Surface: pixels at the border (as MONAI), elements weighted by their area (as
    /// surface-distance), or all pixels (as SimpleITK)
    #[arg(long, value_enum, default_value_t)]
    surface: SurfaceArg,
    /// Which pixels of a lesion touch: those that share a face, an edge or a corner
    #[arg(long, value_enum, default_value_t)]
    connectivity: ConnectivityArg,
    /// Intersection over union, at least 0.5, above which lesions match [default: one shared pixel
    /// is enough]
    #[arg(long, value_name = "IOU")]
    lesion_iou: Option<f64>,
    /// What an image counts of whose two regions one is empty: worst (score 0, the image's
    /// diagonal), a distance instead of the diagonal, or skip
    #[arg(long, value_name = "worst|skip|DISTANCE", default_value = "worst")]
    empty: EmptyArg,
    /// What an image without a true pixel counts: by what is predicted, or nothing where that is
    /// empty too (skip-empty); nothing (skip); a perfect score (zero); 0 (count)
    #[arg(long, value_enum, default_value_t)]
    absent: AbsentArg,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum SurfaceArg {
    #[default]
    Border,
    Elements,
    Pixels,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ConnectivityArg {
    Faces,
    Edges,
    #[default]
    Corners,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum AbsentArg {
    #[default]
    SkipEmpty,
    Skip,
    Zero,
    Count,
}

#[derive(Clone, Copy, Debug)]
struct EmptyArg(OneEmpty);

impl Default for EmptyArg {
    fn default() -> Self {
        Self(OneEmpty::Worst)
    }
}

impl FromStr for EmptyArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "worst" => Ok(Self(OneEmpty::Worst)),
            "skip" => Ok(Self(OneEmpty::Skip)),
            _ => text.parse().map(|d| Self(OneEmpty::Distance(d))).map_err(|_| "expected worst, skip or a distance".into()),
        }
    }
}

impl MetricOptions {
    /// In the words of the library.
    pub(super) fn settings(&self) -> Result<Settings, CliError> {
        self.definitions.settings(&self.metric)
    }

    pub(super) fn bootstrap(&self) -> Result<Bootstrap, CliError> {
        let bootstrap = Bootstrap { resamples: self.resamples, level: self.level, seed: self.seed };
        bootstrap.check()?;
        Ok(bootstrap)
    }
}

impl Definitions {
    /// Metrics by their names, in the words of the library.
    pub(crate) fn settings(&self, metrics: &[String]) -> Result<Settings, CliError> {
        let settings = Settings {
            metrics: metrics.iter().map(|name| name.trim().parse::<Metric>()).collect::<Result<_, _>>()?,
            surface: match self.surface {
                SurfaceArg::Border => Surface::Border,
                SurfaceArg::Elements => Surface::Elements,
                SurfaceArg::Pixels => Surface::Pixels,
            },
            connectivity: match self.connectivity {
                ConnectivityArg::Faces => Connectivity::Faces,
                ConnectivityArg::Edges => Connectivity::Edges,
                ConnectivityArg::Corners => Connectivity::Corners,
            },
            matching: self.lesion_iou.map_or(Matching::Overlap, Matching::Iou),
            empties: Empties {
                absent: match self.absent {
                    AbsentArg::SkipEmpty => AbsentClass::SkipEmpty,
                    AbsentArg::Skip => AbsentClass::Skip,
                    AbsentArg::Zero => AbsentClass::Zero,
                    AbsentArg::Count => AbsentClass::Count,
                },
                one_empty: self.empty.0,
            },
        };
        settings.check()?;
        Ok(settings)
    }
}
