//! Medians, ratios and slopes of repeated measurements.

/// The middle, the least and the largest of some numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) largest: f64,
}

/// Nothing, of nothing.
pub(crate) fn summary(numbers: &[f64]) -> Option<Summary> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (least, largest) = (*sorted.first()?, *sorted.last()?);
    let half = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 { sorted[half] } else { (sorted[half - 1] + sorted[half]) / 2.0 };
    Some(Summary { median, least, largest })
}

/// How many times longer one took than the other, round by round: what slows a whole round down cancels.
pub(crate) fn ratios(long: &[f64], short: &[f64]) -> Option<Summary> {
    summary(&long.iter().zip(short).map(|(long, short)| long / short).collect::<Vec<_>>())
}

/// The exponent b of y = a·x^b, by least squares on logarithms. Nothing for fewer than two different x.
pub(crate) fn exponent(points: &[(f64, f64)]) -> Option<f64> {
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let count = logs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let spread: f64 = logs.iter().map(|p| (p.0 - x) * (p.0 - x)).sum();
    (spread > 0.0).then(|| logs.iter().map(|p| (p.0 - x) * (p.1 - y)).sum::<f64>() / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_odd_and_even_numbers_of_rounds() {
        assert_eq!(summary(&[3.0, 1.0, 2.0]), Some(Summary { median: 2.0, least: 1.0, largest: 3.0 }));
        assert_eq!(summary(&[4.0, 1.0, 2.0, 8.0]).unwrap().median, 3.0);
        assert_eq!(summary(&[]), None);
    }

    #[test]
    fn a_slow_round_does_not_move_a_ratio() {
        // The second round is ten times slower for both.
        let found = ratios(&[2.0, 20.0, 2.2], &[1.0, 10.0, 1.0]).unwrap();
        assert_eq!((found.median, found.least, found.largest), (2.0, 2.0, 2.2));
    }

    #[test]
    fn the_exponent_of_a_power() {
        let points: Vec<(f64, f64)> = [1.0, 10.0, 1000.0].iter().map(|&x: &f64| (x, 5.0 * x.powf(1.25))).collect();
        assert!((exponent(&points).unwrap() - 1.25).abs() < 1e-12);
        assert_eq!(exponent(&[(2.0, 1.0), (2.0, 3.0)]), None);
        assert_eq!(exponent(&[]), None);
    }
}
