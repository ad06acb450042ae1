use backend_ndarray::{Element, NdarrayLoss, NdarrayStatistics, NdarrayWhole, Target};
use half::{bf16, f16};
use loss_core::{Detail, Evaluation, Loss, LossError};
use ndarray::{Array2, ArrayD, ArrayViewD, IxDyn, ShapeError};

use crate::oracle;
use crate::{Adapter, Dtype, Input, InputMap, Labels, Output, Shares, parts_of};

/// `backend-ndarray`.
pub struct Ndarray;

/// An array of a shape; `strided` stores it with reversed axes, so that the view of the right shape
/// is not row-major.
fn array<T: Clone>(shape: &[usize], values: Vec<T>, strided: bool) -> Result<ArrayD<T>, LossError> {
    let array = ArrayD::from_shape_vec(IxDyn(shape), values).map_err(unfit)?;
    Ok(if strided { array.reversed_axes().as_standard_layout().into_owned().reversed_axes() } else { array })
}

fn unfit(error: ShapeError) -> LossError {
    super::failed("ndarray", "shaping an input's numbers")(error.into())
}

/// A target's numbers, in the type they are handed over in.
enum Owned {
    Bool(ArrayD<bool>),
    U8(ArrayD<u8>),
    I8(ArrayD<i8>),
    U16(ArrayD<u16>),
    I16(ArrayD<i16>),
    U32(ArrayD<u32>),
    I32(ArrayD<i32>),
    U64(ArrayD<u64>),
    I64(ArrayD<i64>),
    F64(ArrayD<f64>),
    F16(ArrayD<f16>),
    Bf16(ArrayD<bf16>),
}

impl Owned {
    fn new(input: &Input) -> Result<Self, LossError> {
        let (shape, strided) = (input.target_shape(), input.strided);
        fn each<A: Copy, B: Clone>(
            (shape, strided): (&[usize], bool),
            values: &[A],
            to: impl Fn(A) -> B,
        ) -> Result<ArrayD<B>, LossError> {
            array(shape, values.iter().map(|&value| to(value)).collect(), strided)
        }
        let to = (&shape[..], strided);
        Ok(match &input.target {
            oracle::Target::Labels(l) => match input.labels {
                Labels::Bool => Self::Bool(each(to, l, |l| l != 0)?),
                Labels::U8 => Self::U8(each(to, l, |l| l as u8)?),
                Labels::I8 => Self::I8(each(to, l, |l| l as i8)?),
                Labels::U16 => Self::U16(each(to, l, |l| l as u16)?),
                Labels::I16 => Self::I16(each(to, l, |l| l as i16)?),
                Labels::U32 => Self::U32(each(to, l, |l| l as u32)?),
                Labels::I32 => Self::I32(each(to, l, |l| l as i32)?),
                Labels::U64 => Self::U64(each(to, l, |l| l as u64)?),
                Labels::I64 => Self::I64(each(to, l, |l| l)?),
            },
            oracle::Target::Soft(shares) => match input.shares {
                Shares::Wide => Self::F64(each(to, shares, |y| y)?),
                Shares::F16 => Self::F16(each(to, shares, f16::from_f64)?),
                Shares::Bf16 => Self::Bf16(each(to, shares, bf16::from_f64)?),
            },
        })
    }

    fn target(&self) -> Target<'_> {
        match self {
            Self::Bool(labels) => Target::labels(labels.view()),
            Self::U8(labels) => Target::labels(labels.view()),
            Self::I8(labels) => Target::labels(labels.view()),
            Self::U16(labels) => Target::labels(labels.view()),
            Self::I16(labels) => Target::labels(labels.view()),
            Self::U32(labels) => Target::labels(labels.view()),
            Self::I32(labels) => Target::labels(labels.view()),
            Self::U64(labels) => Target::labels(labels.view()),
            Self::I64(labels) => Target::labels(labels.view()),
            Self::F64(shares) => Target::soft(shares.view()),
            Self::F16(shares) => Target::soft(shares.view()),
            Self::Bf16(shares) => Target::soft(shares.view()),
        }
    }
}

fn with_target<R>(input: &Input, f: impl FnOnce(&Target<'_>) -> Result<R, LossError>) -> Result<R, LossError> {
    let (strided, owned) = (input.strided, Owned::new(input)?);
    let weights = input.weights.as_ref().map(|w| array(&input.weights_shape(), w.clone(), strided)).transpose()?;
    let map = |map: &InputMap| array(&input.map_shape(map), map.values.clone(), strided);
    let maps = input.maps.iter().map(map).collect::<Result<Vec<_>, _>>()?;
    let [samples, classes, _] = input.lengths();
    let prior =
        input.prior.as_ref().map(|p| Array2::from_shape_vec((samples, classes), p.clone()).map_err(unfit)).transpose()?;
    let mut target = owned.target();
    if let Some(weights) = &weights {
        target = target.weights(weights.view());
    }
    if let Some(prior) = &prior {
        target = target.prior(prior.view());
    }
    target = input.spacing.iter().fold(target, |target, spacing| target.spacing(spacing));
    for (map, values) in input.maps.iter().zip(&maps) {
        target = target.map(map.name, values.view());
    }
    f(&target)
}

fn run<E: Element>(loss: &Loss, input: &Input, from: impl Fn(f64) -> E, to: impl Fn(E) -> f64) -> Result<Output, LossError> {
    input.check()?;
    let logits = array(&input.shape, input.logits.iter().map(|&z| from(z)).collect(), input.strided)?;
    let view: ArrayViewD<'_, E> = logits.view();
    with_target(input, |target| {
        let result = loss.value_and_gradient(view.clone(), target)?;
        let parts = loss.evaluate(view.clone(), target)?;
        let terms = parts.terms.iter().map(parts_of).collect();
        let gradient = result.gradient.iter().map(|&g| to(g)).collect();
        Ok(Output { total: result.value.total, terms, gradient })
    })
}

impl Adapter for Ndarray {
    fn name(&self) -> &'static str {
        "ndarray"
    }

    fn known_differences(&self) -> &'static str {
        include_str!("../../ledgers/ndarray.txt")
    }

    fn versions(&self) -> String {
        super::built_on("ndarray", option_env!("SEGLOSS_NDARRAY"))
    }

    fn value_and_gradient(&self, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Output, LossError> {
        match dtype {
            Dtype::F64 => run(loss, input, |z| z, |g| g),
            Dtype::F32 => run(loss, input, |z| z as f32, f64::from),
            Dtype::F16 => run(loss, input, f16::from_f64, f16::to_f64),
            Dtype::Bf16 => run(loss, input, bf16::from_f64, bf16::to_f64),
        }
    }

    fn evaluate(&self, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Evaluation, LossError> {
        input.check()?;
        let logits: Vec<f64> = input.logits.iter().map(|&z| dtype.round(z)).collect();
        let logits = array(&input.shape, logits, input.strided)?;
        with_target(input, |target| match dtype {
            Dtype::F64 => loss.evaluate(logits.view(), target),
            Dtype::F32 => loss.evaluate(logits.mapv(|z| z as f32).view(), target),
            Dtype::F16 => loss.evaluate(logits.mapv(f16::from_f64).view(), target),
            Dtype::Bf16 => loss.evaluate(logits.mapv(bf16::from_f64).view(), target),
        })
    }
}

/// `backend-ndarray`, fed tile by tile.
pub struct NdarrayTiled;

/// A tile: pixels of all samples.
fn tile(input: &Input, pixels: std::ops::Range<usize>) -> Input {
    let [samples, classes, all] = input.lengths();
    let rows = |values: &[f64]| values.chunks(all).flat_map(|row| &row[pixels.clone()]).copied().collect::<Vec<f64>>();
    let target = match &input.target {
        oracle::Target::Soft(shares) => oracle::Target::Soft(rows(shares)),
        oracle::Target::Labels(labels) => {
            oracle::Target::Labels(labels.chunks(all).flat_map(|row| &row[pixels.clone()]).copied().collect())
        }
    };
    // The spatial axes of a tile are one; a class axis of the target's, or of the weights', stays.
    let cut = |shape: &Vec<usize>| {
        let axis = (shape.len() == input.shape.len()).then(|| shape[1]);
        std::iter::once(samples).chain(axis).chain([pixels.len()]).collect()
    };
    Input {
        shape: vec![samples, classes, pixels.len()],
        logits: rows(&input.logits),
        target_shape: input.target_shape.as_ref().map(cut),
        weights_shape: input.weights_shape.as_ref().map(cut),
        target,
        weights: input.weights.as_deref().map(rows),
        maps: input.maps.iter().map(|map| InputMap { values: rows(&map.values), ..map.clone() }).collect(),
        ..input.clone()
    }
}

fn run_tiles<E: Element>(
    loss: &Loss,
    input: &Input,
    from: impl Fn(f64) -> E,
    to: impl Fn(E) -> f64,
) -> Result<(Evaluation, Vec<f64>), LossError> {
    input.check()?;
    // Checked as a whole: tiles are made of what fits.
    with_target(input, |target| loss.elements(array(&input.shape, input.logits.clone(), false)?.view(), target).map(drop))?;
    let [samples, classes, pixels] = input.lengths();
    let cuts = [0, pixels / 3, pixels / 2 + 1, pixels].map(|cut| cut.min(pixels));
    let ranges = cuts.windows(2).map(|cut| cut[0]..cut[1]).filter(|range| !range.is_empty());
    // Maps are made of whole samples: those of a part have to be given.
    let derives =
        loss.program(classes, Detail::Parts)?.plan().underived(input.maps.iter().map(|map| map.name)).next().is_some();
    let tiles: Vec<_> =
        if derives { vec![(0, input.clone())] } else { ranges.map(|range| (range.start, tile(input, range))).collect() };
    let logits = |tile: &Input| array(&tile.shape, tile.logits.iter().map(|&z| from(z)).collect(), tile.strided);
    // Two collections, as of two machines.
    let mut sums = [loss.statistics(classes)?, loss.statistics(classes)?];
    for (i, (_, tile)) in tiles.iter().enumerate() {
        with_target(tile, |target| sums[i % 2].add(logits(tile)?.view(), target))?;
    }
    let [mut sums, others] = sums;
    sums.merge(others)?;
    let whole = sums.whole(input.prior_table().as_ref())?;
    let mut gradient = vec![f64::NAN; samples * classes * pixels];
    for (start, tile) in &tiles {
        let part = with_target(tile, |target| whole.gradient(logits(tile)?.view(), target))?;
        let [_, _, length] = tile.lengths();
        let part: Vec<f64> = part.iter().map(|&g| to(g)).collect();
        for (to, from) in gradient.chunks_mut(pixels).zip(part.chunks(length)) {
            to[*start..start + length].copy_from_slice(from);
        }
    }
    Ok((whole.evaluation().clone(), gradient))
}

impl Adapter for NdarrayTiled {
    fn name(&self) -> &'static str {
        "ndarray-tiles"
    }

    fn versions(&self) -> String {
        Ndarray.versions()
    }

    /// The adapter itself copies every tile.
    fn largest_case(&self) -> Option<usize> {
        Some(250_000)
    }

    fn value_and_gradient(&self, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Output, LossError> {
        let (evaluation, gradient) = match dtype {
            Dtype::F64 => run_tiles(loss, input, |z| z, |g| g),
            Dtype::F32 => run_tiles(loss, input, |z| z as f32, f64::from),
            Dtype::F16 => run_tiles(loss, input, f16::from_f64, f16::to_f64),
            Dtype::Bf16 => run_tiles(loss, input, bf16::from_f64, bf16::to_f64),
        }?;
        let terms = evaluation.terms.iter().map(parts_of).collect();
        Ok(Output { total: evaluation.total, terms, gradient })
    }

    fn evaluate(&self, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Evaluation, LossError> {
        Ndarray.evaluate(loss, input, dtype)
    }
}
