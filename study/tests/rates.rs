//! How often a difference is found where there is none, and where there is one: simulated studies,
//! 1000 of each kind.

use segloss_metrics::{Bootstrap, Draws};
use segloss_study::{Comparison, Design, Direction, Interval, Metric, Options, Plan, Row, Run, Spread, Study, Verdict};
use statrs::distribution::{Binomial, DiscreteCDF};

const STUDIES: usize = 1000;

/// Normal numbers, by Box and Muller.
struct Chance(Draws);

impl Chance {
    fn even(&mut self) -> f64 {
        (self.0.index(1 << 53) as f64 + 0.5) / 2f64.powi(53)
    }

    fn normal(&mut self, sd: f64) -> f64 {
        let (radius, angle) = (self.even(), self.even());
        sd * (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}

/// Scores = 0.8 + image + seed + (loss, seed) + (loss, image) + rest.
#[derive(Clone, Copy)]
struct World {
    design: Design,
    seeds: usize,
    images: usize,
    /// Beside the reference: how many losses, and what the first of them gains.
    losses: usize,
    gain: f64,
    /// Standard deviations: of a run among those of its loss, of an image for one loss alone, of
    /// the rest.
    run: f64,
    image_of_loss: f64,
    rest: f64,
    /// Share of scores that are missing.
    missing: f64,
    margin: Option<f64>,
    /// Scores as they are, or as Dice is: within [0, 1], now and then 0.
    as_dice: bool,
}

/// Dice of small lesions: seeds ± 0.008, images ± 0.1.
const USUAL: World = World {
    design: Design::Crossed,
    seeds: 4,
    images: 40,
    losses: 1,
    gain: 0.0,
    run: 0.008,
    image_of_loss: 0.0,
    rest: 0.03,
    missing: 0.0,
    margin: None,
    as_dice: false,
};

impl World {
    fn rows(&self, condition: usize, chance: &mut Chance, rows: &mut Vec<Row>) {
        let shared: Vec<f64> = (0..self.images).map(|_| chance.normal(0.1)).collect();
        let of_seed: Vec<f64> = (0..self.seeds).map(|_| chance.normal(0.008)).collect();
        let nested = self.design == Design::Nested;
        let own: Vec<Vec<f64>> = (0..self.seeds).map(|_| (0..self.images).map(|_| chance.normal(0.1)).collect()).collect();
        for loss in 0..=self.losses {
            let gain = if loss == 1 { self.gain } else { 0.0 };
            let of_images: Vec<f64> = (0..self.images).map(|_| chance.normal(self.image_of_loss)).collect();
            for seed in 0..self.seeds {
                let of_run = chance.normal(self.run);
                for image in 0..self.images {
                    // An image of one seed has its part of a loss with that seed alone.
                    let of_image = if nested {
                        own[seed][image] + chance.normal(self.image_of_loss)
                    } else {
                        shared[image] + of_images[image]
                    };
                    let mut score = 0.8 + gain + of_seed[seed] + of_run + of_image + chance.normal(self.rest);
                    if self.as_dice {
                        score = if chance.even() < 0.03 { 0.0 } else { score.clamp(0.0, 1.0) };
                    }
                    let run = Run { condition: format!("{condition:04}"), loss: format!("loss {loss}"), seed: seed as u64 };
                    let image = if nested { format!("{seed}/{image:02}") } else { format!("{image:02}") };
                    let score = (chance.even() >= self.missing).then_some(score);
                    rows.push(Row { run, image, scores: vec![score] });
                }
            }
        }
    }

    /// The comparisons of the first loss, one of each study.
    fn studies(&self, random: u64, options: Options) -> Vec<Comparison> {
        let mut chance = Chance(Draws::new(random));
        let mut all = Vec::new();
        for start in (0..STUDIES).step_by(100) {
            let mut rows = Vec::new();
            (start..start + 100).for_each(|condition| self.rows(condition, &mut chance, &mut rows));
            let dice = Metric { margin: self.margin, ..Metric::new("Dice", Direction::Larger) };
            let study = Study::new(vec![dice], rows, vec![]).unwrap();
            let comparisons = study.compare("Dice", "loss 0", &options).unwrap();
            all.extend(comparisons.into_iter().filter(|comparison| comparison.loss == "loss 1"));
        }
        assert_eq!(all.len(), STUDIES);
        assert!(all.iter().all(|comparison| comparison.design == self.design));
        all
    }

    /// Of differences between two losses.
    fn spread(&self) -> Spread {
        let two = 2f64.sqrt();
        let [images, rest] = match self.design {
            Design::Crossed => [self.image_of_loss, self.rest],
            Design::Nested => [0.0, self.image_of_loss.hypot(self.rest)],
        };
        Spread { design: self.design, seeds: two * self.run, images: two * images, rest: two * rest }
    }

    fn plan(&self) -> Plan {
        Plan { seeds: self.seeds, images: self.images, comparisons: self.losses, level: 0.95 }
    }
}

/// As exact binomial tests: fewer would do in at most one of 200 test suites.
const CHANCE: f64 = 0.005;

fn at_least(found: usize, share: f64) -> f64 {
    found.checked_sub(1).map_or(1.0, |below| Binomial::new(share, STUDIES as u64).unwrap().sf(below as u64))
}

/// Whether the 99 % interval of what was found begins below the share.
fn is_at_most(found: usize, share: f64) -> bool {
    at_least(found, share) >= CHANCE
}

/// Whether that interval holds the share.
fn is(found: usize, share: f64) -> bool {
    is_at_most(found, share) && Binomial::new(share, STUDIES as u64).unwrap().cdf(found as u64) >= CHANCE
}

fn differences(comparisons: &[Comparison]) -> usize {
    comparisons.iter().filter(|comparison| comparison.verdict.is_difference()).count()
}

fn without(comparisons: &[Comparison], value: f64) -> usize {
    let misses = |[low, high]: [f64; 2]| value < low || value > high;
    comparisons.iter().filter(|comparison| misses(comparison.interval.unwrap())).count()
}

const BOOTSTRAP: Interval = Interval::Bootstrap { resamples: 400, seed: 0 };

#[test]
fn the_test_of_rates_would_notice() {
    // The 99 % interval of 50 of 1000 is from 3.4 % to 7.1 %.
    assert!(is_at_most(69, 0.05) && !is_at_most(71, 0.05));
    assert!(is(800, 0.8) && !is(760, 0.8) && !is(840, 0.8));
}

/// With four seeds, and fewer, and more; of any spread; images of both designs.
#[test]
fn one_loss_under_two_names_is_told_apart_in_5_percent_at_most() {
    let nested = World { design: Design::Nested, ..USUAL };
    for (kind, usual) in [("crossed", USUAL), ("nested", nested)] {
        let worlds = [
            ("usual", usual),
            ("as Dice", World { as_dice: true, ..usual }),
            ("with missing scores", World { missing: 0.1, ..usual }),
            ("runs do not differ", World { run: 0.0, images: 20, ..usual }),
            ("much rest", World { rest: 0.1, images: 20, ..usual }),
            ("little rest", World { rest: 0.001, images: 20, ..usual }),
            ("losses differ on images", World { image_of_loss: 0.03, images: 20, ..usual }),
            ("of three", World { losses: 3, images: 20, ..usual }),
            ("2 seeds", World { seeds: 2, images: 20, ..usual }),
            ("3 seeds", World { seeds: 3, images: 12, ..usual }),
            ("8 seeds", World { seeds: 8, images: 20, ..usual }),
            ("20 seeds", World { seeds: 20, images: 10, ..usual }),
        ];
        for (index, (name, world)) in worlds.into_iter().enumerate() {
            let all = world.studies(100 + index as u64, Options::default());
            let (found, intervals) = (differences(&all), without(&all, 0.0));
            println!("{kind}, {name}: {found} verdicts, {intervals} intervals of {STUDIES}");
            assert!(is_at_most(found, 0.05), "{kind}, {name}: {found}");
            assert!(is_at_most(intervals, 0.05), "{kind}, {name}: {intervals}");
        }
        for (name, world) in worlds.into_iter().take(2) {
            let found = differences(&world.studies(200, Options { interval: BOOTSTRAP, ..Options::default() }));
            println!("{kind}, {name}, bootstrap: {found} verdicts");
            assert!(is_at_most(found, 0.05), "{kind}, {name}, bootstrap: {found}");
        }
    }
}

/// Why a verdict asks for more than either.
#[test]
fn a_test_over_images_and_a_plain_bootstrap_of_seeds_tell_it_apart_far_more_often() {
    for design in [Design::Crossed, Design::Nested] {
        let all = World { design, ..USUAL }.studies(100, Options::default());
        let tests = all.iter().filter(|comparison| comparison.wilcoxon.p <= 0.05).count();
        println!("{design:?}: Wilcoxon alone {tests} of {STUDIES}");
        assert!(!is_at_most(tests, 0.2), "{tests}");
    }
    let (mut chance, bootstrap) = (Chance(Draws::new(5)), Bootstrap { resamples: 1000, ..Bootstrap::default() });
    let mut found = 0;
    for _ in 0..STUDIES {
        let seeds: Vec<f64> = (0..4).map(|_| chance.normal(1.0)).collect();
        let mean = |drawn: &[usize]| Some(drawn.iter().map(|&seed| seeds[seed]).sum::<f64>() / 4.0);
        let [low, high] = bootstrap.interval(4, mean).unwrap();
        found += usize::from(low > 0.0 || high < 0.0);
    }
    println!("percentile bootstrap of four seeds: {found} of {STUDIES}");
    assert!(!is_at_most(found, 0.1), "{found}");
}

#[test]
fn a_difference_is_found_as_often_as_the_power_says() {
    let nested = World { design: Design::Nested, ..USUAL };
    let worlds = [
        (World { gain: 0.028, ..USUAL }, 0.8),
        (World { gain: 0.02, ..USUAL }, 0.5),
        (World { gain: 0.03, losses: 5, ..USUAL }, 0.85),
        (World { gain: 0.021, run: 0.0, image_of_loss: 0.02, losses: 5, ..USUAL }, 0.8),
        (World { gain: 0.025, seeds: 8, images: 12, image_of_loss: 0.01, losses: 5, ..USUAL }, 0.75),
        (World { gain: 0.028, ..nested }, 0.8),
        (World { gain: 0.02, losses: 5, ..nested }, 0.5),
        (World { gain: 0.02, seeds: 8, images: 12, ..nested }, 0.8),
        (World { gain: 0.055, rest: 0.1, ..nested }, 0.8),
    ];
    for (index, (world, about)) in worlds.into_iter().enumerate() {
        let power = world.spread().power(world.gain, &world.plan());
        let all = world.studies(300 + index as u64, Options::default());
        let found = differences(&all);
        println!("{index}: power {power:.3}, found {found}, missed by {} intervals", without(&all, world.gain));
        assert!((power - about).abs() < 0.05, "{index}: {power}");
        assert!(is(found, power), "{index}: {power} {found}");
        assert!(is_at_most(without(&all, world.gain), 0.05), "{index}");
    }
}

#[test]
fn as_many_seeds_as_a_plan_asks_for_find_it_as_often_as_was_wanted() {
    for design in [Design::Crossed, Design::Nested] {
        let world = World { design, gain: 0.02, losses: 3, image_of_loss: 0.01, images: 30, ..USUAL };
        let needed = world.spread().seeds_needed(world.gain, 0.8, &world.plan()).unwrap();
        let planned = World { seeds: needed, ..world };
        let power = planned.spread().power(world.gain, &planned.plan());
        let found = differences(&planned.studies(400, Options::default()));
        println!("{design:?}: {needed} seeds, power {power:.3}, found {found}");
        assert!(needed > 4 && power >= 0.8);
        assert!(is(found, power), "{design:?}: {needed} {power} {found}");
    }
}

/// A difference as large as the margin is called smaller than that at most as often as a test of
/// 2.5 % would, and one of 0 is called so often.
#[test]
fn no_difference_larger_than_the_margin_is_seldom_said_of_one_that_is() {
    for (gain, rarely) in [(0.02, true), (0.0, false)] {
        let world = World { gain, seeds: 12, images: 10, margin: Some(0.02), ..USUAL };
        let all = world.studies(500, Options::default());
        let said = all.iter().filter(|one| matches!(one.verdict, Verdict::NoLargerThan { .. })).count();
        println!("difference of {gain}: {said} times none larger than 0.02");
        assert_eq!(is_at_most(said, 0.025), rarely, "{gain}: {said}");
        assert!(rarely || said > STUDIES / 2);
    }
}
