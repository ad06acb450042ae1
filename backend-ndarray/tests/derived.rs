//! Maps that are made of target and logits: boundary and top-k by hand, what they refuse, and
//! statistics whose maps are of the whole.

use backend_ndarray::{NdarrayLoss, NdarrayStatistics, NdarrayWhole, Target};
use loss_core::backend::View;
use loss_core::expr::{Expr, Scalar};
use loss_core::{AllRegions, Derive, Loss, LossError, Map, Statistics, Unsplit, unsplit};
use ndarray::{Array2, Array3, Array4, array, s};

fn loss(text: &str) -> Loss {
    text.parse().unwrap()
}

fn close(got: f64, want: f64) {
    assert!((got - want).abs() <= 1e-12 * want.abs().max(1.0), "{got} for {want}");
}

/// Two samples of two classes on six pixels.
fn sample_logits() -> Array3<f64> {
    Array3::from_shape_fn((2, 2, 6), |(n, k, s)| ((7 * s + 3 * n + 5 * k) % 11) as f64 / 3.0 - 1.0)
}

fn probability(logits: &Array3<f64>, n: usize, k: usize, s: usize) -> f64 {
    let other = logits[[n, 1 - k, s]] - logits[[n, k, s]];
    1.0 / (1.0 + other.exp())
}

#[test]
fn boundary_weighs_probabilities_by_signed_distances() {
    let (logits, labels) = (sample_logits(), array![[0u8, 0, 1, 1, 1, 9], [0, 0, 0, 0, 0, 0]]);
    let loss = loss("boundary").with_ignore_index(9);
    // The second sample has no foreground, so no boundary; its pixels still count in M.
    for (spacing, phi) in [(1.0, [2.0, 1.0, 0.0, -1.0, -2.0]), (0.5, [1.0, 0.5, 0.5, 0.0, -0.5])] {
        let want: f64 = (0..5).map(|s| phi[s] * probability(&logits, 0, 1, s)).sum::<f64>() / 11.0;
        let target = Target::labels(labels.view()).spacing(&[spacing]);
        close(loss.value(logits.view(), &target).unwrap(), want);
        let term = &loss.evaluate(logits.view(), &target).unwrap().terms[0];
        assert!(term.split.is_none(), "it has no exact split");
    }
}

#[test]
fn the_step_between_slices_is_the_spacing() {
    let mut labels = Array4::<u8>::zeros((1, 3, 3, 3));
    labels[[0, 1, 1, 1]] = 1;
    let logits = ndarray::Array5::<f64>::zeros((1, 2, 3, 3, 3));
    // Inside 0; six neighbours, twelve over an edge, eight over a corner.
    let of = |z: f64, edge: f64| {
        let distance = |steps: [f64; 3]| (z * steps[0]).hypot(steps[1].hypot(steps[2]));
        let all = (0..27).map(|i| [i / 9, i / 3 % 3, i % 3].map(|at| f64::from(at) - 1.0));
        all.map(|steps| f64::from(distance(steps) as f32)).filter(|d| *d > 0.0).sum::<f64>() * 0.5 / edge
    };
    for z in [1.0, 3.0] {
        let target = Target::labels(labels.view()).spacing(&[z, 1.0, 1.0]);
        close(loss("boundary").value(logits.view(), &target).unwrap(), of(z, 27.0));
    }
}

#[test]
fn topk_is_the_mean_of_the_hardest_pixels() {
    let logits = sample_logits();
    let labels = array![[0u8, 1, 0, 1, 0, 9], [1, 1, 0, 0, 1, 0]];
    let losses = |n: usize| -> Vec<f64> {
        let valid = (0..6).filter(|&s| labels[[n, s]] != 9);
        let mut losses: Vec<f64> = valid.map(|s| -probability(&logits, n, labels[[n, s]].into(), s).ln()).collect();
        losses.sort_by(|a, b| b.total_cmp(a));
        losses
    };
    let mean = |losses: &[f64], taken: usize| losses[..taken].iter().sum::<f64>() / taken as f64;
    let target = Target::labels(labels.view());
    let value = |text: &str| loss(text).with_ignore_index(9).value(logits.view(), &target).unwrap();
    let mut all = [losses(0), losses(1)].concat();
    all.sort_by(|a, b| b.total_cmp(a));
    // ⌈0.3 · 11⌉ = 4 of the batch; ⌈0.3 · 5⌉ and ⌈0.3 · 6⌉ of the samples; one of
    // each.
    close(value("topk(fraction=0.3)"), mean(&all, 4));
    close(value("topk(fraction=0.3, pooling=sample)"), (mean(&losses(0), 2) + mean(&losses(1), 2)) / 2.0);
    close(value("topk(fraction=1e-6, pooling=sample)"), (losses(0)[0] + losses(1)[0]) / 2.0);
    close(value("topk(fraction=1)"), value("ce"));
    close(value("topk(fraction=1, class_weights=[1, 3])"), value("ce(class_weights=[1, 3])"));
    close(value("topk(fraction=1, activation=sigmoid)"), value("ce(activation=sigmoid)"));
}

#[test]
fn pixels_that_are_alike_share_the_last_places() {
    let logits = Array3::<f64>::zeros((1, 2, 8));
    let labels = Array2::<u8>::zeros((1, 8));
    let result = loss("topk(fraction=0.25)").value_and_gradient(logits.view(), &Target::labels(labels.view())).unwrap();
    close(result.value.total, 2f64.ln());
    let first = result.gradient[[0, 0, 0]];
    assert!(result.gradient.slice(s![0, 0, ..]).iter().all(|g| *g == first && (g + 0.5 / 8.0).abs() < 1e-8));
}

#[test]
fn a_map_that_is_given_takes_the_derived_ones_place() {
    let (logits, labels) = (sample_logits(), Array2::<u8>::ones((2, 6)));
    let phi = Array3::from_shape_fn((2, 1, 6), |(n, _, s)| s as f32 - 2.5 * n as f32);
    let target = Target::labels(labels.view()).map("signed_distances", phi.view());
    let want: f64 = phi.indexed_iter().map(|((n, _, s), phi)| f64::from(*phi) * probability(&logits, n, 1, s)).sum();
    close(loss("boundary").value(logits.view(), &target).unwrap(), want / 12.0);
}

#[test]
fn maps_of_the_target_alone_are_made_once_for_many_calls() {
    let (logits, labels) = (sample_logits(), array![[0u8, 0, 1, 1, 1, 9], [0, 1, 1, 0, 0, 1]]);
    let loss = loss("boundary + 0.5 * boundary(classes=all) + topk(fraction=0.3) + ce").with_ignore_index(9);
    let plain = Target::labels(labels.view()).spacing(&[0.5]);
    let maps = plain.derived_maps(&loss, logits.shape()).unwrap();
    let ids: Vec<&str> = maps.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["signed_distances[1]", "signed_distances[0, 1]"], "topk's depends on the logits");
    let mut target = plain.clone();
    for (id, map) in &maps {
        assert_eq!(map.shape(), [2, 2, 6]);
        target = target.map(id, map.view());
    }
    assert!(target.derived_maps(&loss, logits.shape()).unwrap().is_empty());
    for logits in [logits.clone(), logits.mapv(|z| 1.0 - 2.0 * z)] {
        let both = [&plain, &target].map(|target| loss.value_and_gradient(logits.view(), target).unwrap());
        assert_eq!(both[0].value.total, both[1].value.total);
        assert_eq!(both[0].gradient, both[1].gradient);
    }
    let soft = Array3::<f32>::from_elem((2, 2, 6), 0.5);
    assert!(Target::soft(soft.view()).derived_maps(&loss, logits.shape()).is_err());
}

#[test]
fn what_a_map_cannot_be_made_of_is_refused() {
    let refused = |shape: &[usize], soft: bool, spacing: Option<&[f64]>| {
        let logits = ndarray::ArrayD::<f32>::zeros(shape);
        let labels = ndarray::ArrayD::<u8>::zeros([&shape[..1], &shape[2..]].concat());
        let target = if soft { Target::soft(logits.view()) } else { Target::labels(labels.view()) };
        let target = spacing.iter().fold(target, |target, spacing| target.spacing(spacing));
        loss("boundary").value(logits.view(), &target).unwrap_err().to_string()
    };
    assert_eq!(
        refused(&[1, 2, 4], true, None),
        "target of signed distances: soft targets is not supported; \
         expected labels, or the map `signed_distances` given with the target"
    );
    let axes = refused(&[1, 2], false, None);
    assert!(axes.starts_with("signed distances: 0 spatial axes is not supported"), "{axes}");
    assert!(refused(&[1, 2, 2, 2, 2, 2], false, None).starts_with("signed distances: 4 spatial axes"));
    let count = refused(&[1, 2, 4, 4], false, Some(&[1.0]));
    assert!(count.starts_with("number of spacings: 1 for logits of shape [1, 2, 4, 4]"), "{count}");
    let range = refused(&[1, 2, 4], false, Some(&[0.0]));
    assert_eq!(range, "spacing 0 at [0] is outside [1e-18, 1e18]");
}

/// A map of as many channels.
struct Channels(usize);

impl Derive for Channels {
    fn name(&self) -> &'static str {
        "channels"
    }

    fn channels(&self, _: usize) -> usize {
        self.0
    }

    fn fill(&self, _: &View<'_>, out: &mut [f32]) -> Result<(), LossError> {
        out.fill(1.0);
        Ok(())
    }
}

struct Size(usize);

impl Unsplit for Size {
    fn value(&self, regions: &AllRegions) -> Expr<Scalar> {
        regions.map_size(&Map::derived(Channels(self.0))).mean_classes().sum_samples()
    }
}

#[test]
fn a_map_has_one_channel_or_one_for_each_class() {
    let (logits, labels) = (sample_logits(), Array2::<u8>::ones((2, 6)));
    let value = |channels| unsplit(Size(channels)).value(logits.view(), &Target::labels(labels.view()));
    assert_eq!([1, 2].map(|channels| value(channels).unwrap()), [12.0; 2]);
    for channels in [0, 3] {
        let error = value(channels).unwrap_err().to_string();
        assert!(error.ends_with("expected one channel, or one for each class"), "{error}");
    }
}

/// Statistics of each sample of `sample_logits` by itself.
fn each(loss: &Loss, logits: &Array3<f64>, labels: &Array2<u8>) -> Vec<Statistics> {
    let of = |n: usize| {
        let mut sums = loss.statistics(2).unwrap();
        sums.add(logits.slice(s![n..=n, .., ..]), &Target::labels(labels.slice(s![n..=n, ..]))).unwrap();
        sums
    };
    vec![of(0), of(1)]
}

#[test]
fn samples_of_several_machines_stack_to_the_batch() {
    let (logits, labels) = (sample_logits(), array![[0u8, 1, 0, 1, 0, 0], [1, 1, 0, 0, 1, 0]]);
    let loss = loss("ce + dice + topk(pooling=sample) + boundary(pooling=sample)");
    let batch = loss.value_and_gradient(logits.view(), &Target::labels(labels.view())).unwrap();
    // As kept and read back by another machine.
    let mut sent = each(&loss, &logits, &labels)
        .into_iter()
        .map(|sums| serde_json::from_str::<Statistics>(&serde_json::to_string(&sums).unwrap()).unwrap());
    let mut all = sent.next().unwrap();
    all.stack(sent.next().unwrap()).unwrap();
    let whole = all.whole(None).unwrap();
    close(whole.evaluation().total, batch.value.total);
    for n in 0..2 {
        let own = whole.rows(n..n + 1).unwrap();
        let target = Target::labels(labels.slice(s![n..=n, ..]));
        let gradient = own.gradient(logits.slice(s![n..=n, .., ..]), &target).unwrap();
        let off = &gradient - &batch.gradient.slice(s![n..=n, .., ..]);
        assert!(off.iter().all(|d| d.abs() < 1e-12), "{off}");
    }
    #[allow(clippy::reversed_empty_ranges, reason = "what is to be refused")]
    for none in [1..3, 2..1, 3..2] {
        assert!(matches!(whole.rows(none), Err(LossError::Unsupported { what: "rows", .. })));
    }
}

#[test]
fn a_map_of_the_whole_is_not_made_of_parts() {
    let (logits, labels) = (sample_logits(), array![[0u8, 1, 0, 1, 0, 0], [1, 1, 0, 0, 1, 0]]);
    // Two halves of the same samples.
    let mut tiles = loss("boundary").statistics(2).unwrap();
    let add = |tiles: &mut Statistics, range: std::ops::Range<usize>| {
        let target = Target::labels(labels.slice(s![.., range.clone()]));
        tiles.add(logits.slice(s![.., .., range]), &target)
    };
    add(&mut tiles, 0..3).unwrap();
    let error = add(&mut tiles, 3..6).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the map `signed_distances[1]` is made of whole samples, not of its parts; \
         give `signed_distances` with the target of each part"
    );
    // A ranking of the batch is none of a machine's samples.
    let mut one = each(&loss("topk"), &logits, &labels);
    let other = one.pop().unwrap();
    assert!(matches!(one[0].stack(other), Err(LossError::DerivedInParts { of: "whole batches", .. })));
    let mut both = loss("topk").statistics(2).unwrap();
    both.add(logits.view(), &Target::labels(labels.view())).unwrap();
    assert!(matches!(both.whole(None).unwrap().rows(0..1), Err(LossError::DerivedInParts { .. })));
}

#[test]
fn kept_statistics_are_those_of_their_loss() {
    let (logits, labels) = (sample_logits(), array![[0u8, 1, 0, 1, 0, 0], [1, 1, 0, 0, 1, 0]]);
    let kept = serde_json::to_string(&each(&loss("topk(fraction=0.3) + ce"), &logits, &labels)[0]).unwrap();
    assert!(kept.contains("hardest_pixels(0.3, batch, softmax)"), "a derived map is written by its id: {kept}");
    let other = kept.replace("topk(fraction=0.3)", "topk(fraction=0.2)");
    let error = serde_json::from_str::<Statistics>(&other).unwrap_err();
    assert!(error.to_string().starts_with("the sums are not those of the loss"), "{error}");
}
