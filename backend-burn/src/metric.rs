//! Metrics for the dashboard of burn-train: how large a class is predicted against how large it is,
//! and how far both agree.
//!
//! All are pooled over the epoch: masses are added up over batches before the formula is applied.
//! A step computes [`RegionCounts`] once, and its output hands them to the metrics.
//!
//! ```
//! use backend_burn::metric::{ClassDice, ClassSize, RegionCounts};
//! use burn::train::metric::Adaptor;
//!
//! #[derive(Clone)]
//! struct Output { counts: RegionCounts }
//!
//! impl Adaptor<RegionCounts> for Output {
//!     fn adapt(&self) -> RegionCounts { self.counts.clone() }
//! }
//! let metrics = (ClassSize::new(1), ClassDice::new(1));   // of class 1
//! ```

use std::sync::Arc;

use burn::tensor::{Tensor, TensorReadError};
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry, SerializedEntry,
};
use loss_core::expr::Table;
use loss_core::{AbsentClass, Loss, LossError, Plan, Probability, Side, Statistic, Temperature};

use crate::BurnTarget;
use crate::loss::tables;

/// Masses per class, summed over a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegionCounts {
    valid: f64,
    target: Vec<f64>,
    predicted: Vec<f64>,
    both: Vec<f64>,
}

impl RegionCounts {
    /// Counts the hard prediction (the most likely class; with sigmoid, each channel above ½) of a
    /// batch. Activation and ignored labels are those of the loss. Waits for the device.
    ///
    /// # Errors
    /// As [`BurnLoss::evaluate`](crate::BurnLoss::evaluate).
    pub fn new<const D: usize>(loss: &Loss, logits: &Tensor<D>, target: &BurnTarget) -> Result<Self, LossError> {
        let (target, geometry) = target.beside(logits, loss)?;
        // So high a temperature that a probability is 0 or 1: the same sums count pixels.
        let hard = Probability::new(loss.activation(), Temperature::new(1e6)?, Side::Region);
        let wanted =
            [Statistic::VALID_SIZE, Statistic::TARGET_SIZE, Statistic::predicted_size(hard), Statistic::intersection(hard)];
        let plan = Plan::new(geometry.classes, wanted)?;
        let tables = tables(loss, logits, &target, &plan)?;
        let [valid, target, predicted, both] = tables.as_slice() else { return Ok(Self::default()) };
        Ok(Self {
            valid: valid.values().iter().sum(),
            target: over_samples(target),
            predicted: over_samples(predicted),
            both: over_samples(both),
        })
    }

    fn add(&mut self, other: &Self) {
        self.valid += other.valid;
        for (sums, more) in
            [(&mut self.target, &other.target), (&mut self.predicted, &other.predicted), (&mut self.both, &other.both)]
        {
            sums.resize(sums.len().max(more.len()), 0.0);
            sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        }
    }

    /// Predicted minus true proportion of a class; 0 where no pixel is valid.
    #[must_use]
    pub fn size_difference(&self, class: usize) -> f64 {
        let at = |sums: &[f64]| sums.get(class).copied().unwrap_or(0.0);
        if self.valid > 0.0 { (at(&self.predicted) - at(&self.target)) / self.valid } else { 0.0 }
    }

    /// Dice of a class, 2I/(P+T); NaN where it is neither there nor predicted
    /// ([`AbsentClass::SkipEmpty`]).
    #[must_use]
    pub fn dice(&self, class: usize) -> f64 {
        let at = |sums: &[f64]| sums.get(class).copied().unwrap_or(0.0);
        let (predicted, target) = (at(&self.predicted), at(&self.target));
        AbsentClass::SkipEmpty.score(2.0 * at(&self.both), predicted + target, target).unwrap_or(f64::NAN)
    }

    /// Intersection over union of a class, I/(P+T−I); NaN as [`dice`](Self::dice).
    #[must_use]
    pub fn iou(&self, class: usize) -> f64 {
        let dice = self.dice(class);
        dice / (2.0 - dice)
    }

    /// Which part of what is predicted is true, I/P: 0 where the class is missed altogether; NaN as
    /// [`dice`](Self::dice).
    #[must_use]
    pub fn precision(&self, class: usize) -> f64 {
        self.part(&self.predicted, class)
    }

    /// Which part of what is true is predicted, I/T: 0 where the class is predicted and not there;
    /// NaN as [`dice`](Self::dice).
    #[must_use]
    pub fn recall(&self, class: usize) -> f64 {
        self.part(&self.target, class)
    }

    fn part(&self, of: &[f64], class: usize) -> f64 {
        let at = |sums: &[f64]| sums.get(class).copied().unwrap_or(0.0);
        match (at(of), self.dice(class)) {
            (_, dice) if dice.is_nan() => f64::NAN,
            (0.0, _) => 0.0,
            (of, _) => at(&self.both) / of,
        }
    }
}

fn over_samples(table: &Table) -> Vec<f64> {
    let mut sums = vec![0.0; table.columns()];
    for row in table.values().chunks_exact(table.columns().max(1)) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    sums
}

macro_rules! metric {
    ($(#[$doc:meta])* $name:ident, $title:literal, $unit:literal, $higher:literal, |$counts:ident, $class:ident| $value:expr) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name {
            name: MetricName,
            class: usize,
            epoch: RegionCounts,
            state: NumericMetricState,
        }

        impl $name {
            /// For one class.
            #[must_use]
            pub fn new(class: usize) -> Self {
                let name = Arc::new(format!(concat!($title, " of class {}"), class));
                Self { name, class, epoch: RegionCounts::default(), state: NumericMetricState::default() }
            }

            fn of(&self, $counts: &RegionCounts) -> f64 {
                let $class = self.class;
                $value
            }

            fn format(&self) -> FormatOptions {
                FormatOptions::new(self.name()).unit($unit).precision(3)
            }
        }

        impl Metric for $name {
            type Input = RegionCounts;

            fn name(&self) -> MetricName {
                Arc::clone(&self.name)
            }

            fn attributes(&self) -> MetricAttributes {
                NumericAttributes { unit: Some($unit.to_owned()), higher_is_better: $higher }.into()
            }

            fn update(&mut self, counts: &RegionCounts, _: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
                self.epoch.add(counts);
                // The running value is that of all pixels so far, not a mean of the batches'
                // values.
                self.state.reset();
                self.state.update(100.0 * self.of(&self.epoch), 1);
                Ok(self.state.compute_update(self.format()))
            }

            fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
                Ok(self.state.compute_final(self.format()))
            }

            fn clear(&mut self) {
                self.epoch = RegionCounts::default();
                self.state.reset();
            }
        }

        impl Numeric for $name {
            fn value(&self) -> Option<NumericEntry> {
                Some(self.state.current_value())
            }

            fn running_value(&self) -> Option<NumericEntry> {
                Some(self.state.running_value())
            }

            fn final_value(&self) -> NumericEntry {
                self.state.final_value()
            }
        }
    };
}

metric! {
    /// Predicted minus true proportion of a class, in percent of the valid pixels.
    ClassSize, "Size difference", "%", false, |counts, class| counts.size_difference(class)
}

metric! {
    /// Dice of a class, in percent.
    ClassDice, "Dice", "%", true, |counts, class| counts.dice(class)
}

metric! {
    /// Intersection over union of a class, in percent.
    ClassIou, "IoU", "%", true, |counts, class| counts.iou(class)
}

metric! {
    /// Precision of a class, in percent: which part of what is predicted is true.
    ClassPrecision, "Precision", "%", true, |counts, class| counts.precision(class)
}

metric! {
    /// Recall of a class, in percent: which part of what is true is predicted.
    ClassRecall, "Recall", "%", true, |counts, class| counts.recall(class)
}

#[cfg(test)]
mod tests {
    use burn::data::dataloader::Progress;
    use burn::tensor::{Device, Int, TensorData};

    use super::*;

    /// Counts of one batch: labels and predicted classes of one sample after another, three
    /// classes, 255 ignored.
    fn counts(labels: [[i64; 4]; 2], predicted: [[usize; 4]; 2]) -> RegionCounts {
        let mut logits = [[[0.0f32; 4]; 3]; 2];
        for (sample, classes) in logits.iter_mut().zip(predicted) {
            classes.iter().enumerate().for_each(|(pixel, &class)| sample[class][pixel] = 0.25);
        }
        let target = BurnTarget::labels(Tensor::<2, Int>::from_data(TensorData::from(labels), &Device::flex()));
        let loss: Loss = "ce".parse().unwrap();
        let logits = Tensor::<3>::from_data(logits, &Device::flex());
        RegionCounts::new(&loss.with_ignore_index(255), &logits, &target).unwrap()
    }

    #[test]
    fn counts_are_of_pixels_and_add_up_over_batches() {
        let first = counts([[0, 1, 1, 255], [1, 0, 0, 0]], [[0, 1, 0, 1], [1, 1, 1, 2]]);
        // Of class 1 there are 3 of 7 valid pixels, 4 are predicted, 2 are both.
        assert_eq!((first.valid, first.target[1], first.predicted[1], first.both[1]), (7.0, 3.0, 4.0, 2.0));
        assert_eq!((first.dice(1), first.size_difference(1)), (4.0 / 7.0, 1.0 / 7.0));
        assert_eq!((first.dice(2), first.size_difference(2)), (0.0, 1.0 / 7.0));
        assert!((first.iou(1) - 2.0 / 5.0).abs() < 1e-15);
        assert_eq!((first.precision(1), first.recall(1)), (2.0 / 4.0, 2.0 / 3.0));
        // Class 2 is predicted once and nowhere true.
        assert_eq!((first.iou(2), first.precision(2), first.recall(2)), (0.0, 0.0, 0.0));
        let second = counts([[1, 1, 1, 1], [0, 0, 0, 255]], [[1, 0, 0, 0], [0, 0, 0, 0]]);
        assert!(second.dice(2).is_nan() && second.size_difference(2) == 0.0);
        assert!([second.iou(2), second.precision(2), second.recall(2)].iter().all(|value| value.is_nan()));
        let missed = counts([[1, 1, 1, 1], [0, 0, 0, 0]], [[0, 0, 0, 0], [0, 0, 0, 0]]);
        assert_eq!((missed.precision(1), missed.recall(1), missed.iou(1)), (0.0, 0.0, 0.0));
        let mut both = RegionCounts::default();
        assert!(both.dice(1).is_nan() && both.size_difference(1) == 0.0);
        both.add(&first);
        assert_eq!(both, first);
        both.add(&second);
        assert_eq!((both.dice(1), both.size_difference(1)), (6.0 / 12.0, -2.0 / 14.0));
    }

    #[test]
    fn metrics_are_of_all_pixels_so_far() {
        let progress = Progress { items_processed: 1, items_total: 1, unit: None };
        let about = MetricMetadata { progress, iteration: None, lr: None };
        let first = counts([[0, 1, 1, 255], [1, 0, 0, 0]], [[0, 1, 0, 1], [1, 1, 1, 2]]);
        let second = counts([[1, 1, 1, 1], [0, 0, 0, 255]], [[1, 0, 0, 0], [0, 0, 0, 0]]);
        let (mut dice, mut size) = (ClassDice::new(1), ClassSize::new(1));
        let near = |entry: &NumericEntry, want: f64| match entry {
            NumericEntry::Value(got) | NumericEntry::Final(got) => (got - want).abs() < 1e-12,
            NumericEntry::Aggregated { aggregated_value: got, .. } => (got - want).abs() < 1e-12,
        };
        for _epoch in 0..2 {
            for (batch, wanted) in [(&first, [400.0 / 7.0, 100.0 / 7.0]), (&second, [50.0, -100.0 / 7.0])] {
                dice.update(batch, &about).unwrap();
                size.update(batch, &about).unwrap();
                for (metric, want) in [(&dice as &dyn Numeric, wanted[0]), (&size, wanted[1])] {
                    assert!(near(&metric.value().unwrap(), want), "{:?}", metric.value());
                    assert!(near(&metric.running_value().unwrap(), want), "{:?}", metric.running_value());
                    assert!(near(&metric.final_value(), want), "{:?}", metric.final_value());
                }
            }
            assert!(dice.compute().unwrap().formatted.contains("50.000 %"), "{}", dice.compute().unwrap().formatted);
            dice.clear();
            size.clear();
        }
        assert_eq!([dice.name(), size.name()].map(|name| name.to_string()), ["Dice of class 1", "Size difference of class 1"]);
    }
}
