//! Size error against region size.

use super::super::analysis::{OfCondition, SIZE, score};
use super::super::record::{Record, Role};
use crate::curves::Ink;
use crate::page::svg::{Axis, Chart, number};

/// Groups of images of similar sizes.
const GROUPS: usize = 5;

/// The mean size error of every loss on images of similar region sizes, as many in each group.
pub(super) fn chart(condition: &OfCondition, records: &[Record]) -> String {
    let of = |loss: &str| -> Vec<(f64, f64)> {
        let runs = records.iter().filter(|r| r.role == Role::Test && r.condition == condition.name && r.loss == loss);
        let mut points: Vec<(f64, f64)> = runs
            .flat_map(|record| {
                (0..record.images.len()).flat_map(move |i| {
                    record.classes.iter().filter_map(move |class| {
                        let counts = class.counts(i, record.valid.get(i));
                        Some((counts.target as f64 / counts.valid as f64, score(record, class, i, SIZE)?))
                    })
                })
            })
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        grouped(&points)
    };
    let lines: Vec<Vec<(f64, f64)>> = condition.losses.iter().map(|loss| of(&loss.loss)).collect();
    let points = || lines.iter().flatten();
    // What is many times too large would leave no room for the rest.
    let within = points().map(|(_, y)| y.clamp(-1.0, 1.5));
    let (x, y) = (Axis::logarithmic(points().map(|(x, _)| *x)), Axis::over(within, &[0.0]));
    let percent = |share: f64| format!("{} %", number(100.0 * share));
    let below: Vec<(f64, String)> = x.ticks().into_iter().map(|tick| (tick, percent(tick))).collect();
    let mut chart = Chart::new(x, y, "true share of the image", &below, &percent);
    chart.level("zero", 0.0);
    for (place, (line, loss)) in lines.iter().zip(&condition.losses).enumerate() {
        chart.line(Ink::of(place), &loss.loss, line, line);
    }
    chart.figure("Size error by region size: below 0 % too small")
}

/// Means of neighbouring points, in groups of as many.
fn grouped(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let groups = GROUPS.min(points.len());
    let part = |i: usize| points.len() * i / groups.max(1);
    let mean = |i: usize| {
        let group = &points[part(i)..part(i + 1)];
        let sum = group.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (sum.0 / group.len() as f64, sum.1 / group.len() as f64)
    };
    (0..groups).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_hold_as_many_points_each() {
        let points: Vec<(f64, f64)> = (0..10).map(|i| (f64::from(i), 1.0)).collect();
        assert_eq!(grouped(&points), [(0.5, 1.0), (2.5, 1.0), (4.5, 1.0), (6.5, 1.0), (8.5, 1.0)]);
        assert_eq!(grouped(&points[..2]), [(0.0, 1.0), (1.0, 1.0)]);
        assert!(grouped(&[]).is_empty());
    }
}
