//! Criterion on this code alone: `cargo bench -p benchmarks`, and a part of a name to choose.

use std::hint::black_box;
use std::time::Duration;

use benchmarks::cases::{CROSS_ENTROPY, Case, LOSS, MAIN, SEED};
use benchmarks::slot::{LabelArray, Slot, labels_of};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use loss_core::{Loss, LossError};

fn slot(case: Case) -> Result<Slot<f32>, LossError> {
    Slot::new(case.shape, SEED, |z| z as f32, LabelArray::I64(labels_of(case.shape, SEED, |label| label)?))
}

/// Forward, gradient and both of a loss on some cases.
fn passes(criterion: &mut Criterion, text: &str, chosen: &[Case]) -> Result<(), LossError> {
    for case in chosen {
        let loss = text.parse::<Loss>()?.with_activation(case.activation);
        let mut group = criterion.benchmark_group(format!("{text}/{}", case.name()));
        group.throughput(Throughput::Elements(case.logits() as u64));
        if case.logits() > 1 << 20 {
            group.sample_size(10);
        }
        let mut slot = slot(*case)?;
        slot.spare();
        group.bench_function("forward", |bencher| bencher.iter(|| black_box(slot.value(&loss))));
        slot.with_gradient_pass(&loss, |pass| {
            group.bench_function("gradient", |bencher| bencher.iter(|| black_box(pass())));
        })?;
        group.bench_function("both", |bencher| bencher.iter(|| black_box(slot.both_into_spare(&loss))));
        group.finish();
    }
    Ok(())
}

/// Shapes of the conformance suite: what a call costs beside its pixels.
fn suite(criterion: &mut Criterion) -> Result<(), LossError> {
    let mut group = criterion.benchmark_group("conformance");
    let mut known = Vec::new();
    for case in conformance_tests::cases::all() {
        let key = (case.input.shape.clone(), case.activation);
        if known.contains(&key) {
            continue;
        }
        let loss = LOSS.parse::<Loss>()?.with_activation(key.1);
        let labels = LabelArray::I64(labels_of(&key.0, SEED, |label| label)?);
        let mut slot = Slot::new(&key.0, SEED, |z| z as f32, labels)?;
        group.bench_function(case.situation, |bencher| bencher.iter(|| black_box(slot.both_into_spare(&loss))));
        known.push(key);
    }
    group.finish();
    Ok(())
}

fn all(criterion: &mut Criterion) -> Result<(), LossError> {
    suite(criterion)?;
    passes(criterion, "ce", CROSS_ENTROPY)?;
    passes(criterion, LOSS, MAIN)
}

fn losses(criterion: &mut Criterion) {
    if let Err(error) = all(criterion) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = losses
}
criterion_main!(benches);
