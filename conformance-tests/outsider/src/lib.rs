//! A backend on plain `Vec<f64>`, as slow and as short as it can be: what [`loss_core::Passes`]
//! asks for, and nothing else.

use loss_core::backend::{
    LABEL_RANGE, ONE_HOT_RANGE, Pixels, SHARE_RANGE, SHARE_SLACK, Table, derive, ignored_classes, shares_within,
};
use loss_core::{
    Activation, Argument, Facts, Geometry, LossError, Map, Over, Passes, Plan, Precision, Probability, Quantity, Side,
    Statistic, TargetKind,
};

/// One call of a loss.
pub struct Plain {
    /// Logits, `[N, K, S]`.
    pub logits: Vec<f64>,
    /// The type that they come in.
    pub precision: Precision,
    /// What they are compared with.
    pub target: Target,
    /// Proportions for penalties with `target=given`.
    pub prior: Option<Table>,
}

/// Labels or shares of a target, with what belongs to them.
pub struct Target {
    /// Shape of the logits.
    pub shape: Vec<usize>,
    /// Samples, classes, pixels.
    pub geometry: Geometry,
    /// The loss's activation.
    pub activation: Activation,
    /// What it is.
    pub kind: TargetKind,
    /// Labels `[N, S]`, or one-hot `[N, K, S]`.
    pub labels: Vec<i128>,
    /// Shares `[N, K, S]`, if it is soft.
    pub shares: Vec<f64>,
    /// Weights `[N, S]`.
    pub weights: Option<Vec<f64>>,
    /// Ignored labels.
    pub ignore: Vec<i64>,
    /// Distances of neighbouring pixels.
    pub spacing: Option<Vec<f64>>,
    /// Maps by name, `[N, K, S]` or `[N, 1, S]`.
    pub maps: Vec<(String, Vec<f64>)>,
}

/// A valid pixel: its weight, and per class its share, its logit, and its factor of each map.
struct Pixel {
    weight: f64,
    share: Vec<f64>,
    logit: Vec<f64>,
    maps: Vec<Vec<f64>>,
}

impl Target {
    fn pixel(&self, logits: &[f64], plan: &Plan, n: usize, s: usize) -> Result<Option<Pixel>, LossError> {
        let Geometry { classes, pixels, .. } = self.geometry;
        let (at, plane) = (n * pixels + s, |k: usize| (n * classes + k) * pixels + s);
        let mut flat = self.shape.clone();
        flat.remove(1);
        let position = || Geometry::position(&flat, at);
        let weight = self.weights.as_ref().map_or(1.0, |weights| weights[at]);
        if !(weight >= 0.0 && weight.is_finite()) {
            let (what, expected) = (Argument::PixelWeights, "finite numbers >= 0");
            return Err(LossError::ValueOutOfRange { what, value: weight, expected, position: position() });
        }
        let share: Vec<f64> = match self.kind {
            TargetKind::Soft => (0..classes).map(|k| self.shares[plane(k)]).collect(),
            TargetKind::OneHot => {
                if ignored_classes(&self.ignore, classes).any(|k| self.labels[plane(k)] == 1) {
                    return Ok(None);
                }
                (0..classes).map(|k| self.labels[plane(k)] as f64).collect()
            }
            TargetKind::Labels => {
                let (label, allowed) = (self.labels[at], self.geometry.labels());
                if self.ignore.iter().any(|&ignored| i128::from(ignored) == label) {
                    return Ok(None);
                }
                if !(0..allowed as i128).contains(&label) {
                    return Err(match i64::try_from(label) {
                        Ok(label) => LossError::LabelOutOfRange { label, classes: allowed, position: position() },
                        Err(_) => {
                            let (what, value, expected) = (Argument::Labels, label as f64, LABEL_RANGE);
                            LossError::ValueOutOfRange { what, value, expected, position: position() }
                        }
                    });
                }
                // A single channel is the class 1.
                let first = i128::from(classes == 1);
                (0..classes).map(|k| f64::from(u8::from(label == first + k as i128))).collect()
            }
        };
        if weight == 0.0 {
            return Ok(None);
        }
        let logit: Vec<f64> = (0..classes).map(|k| logits[plane(k)]).collect();
        for k in 0..classes {
            let position = || Geometry::position(&self.shape, plane(k));
            if !shares_within(SHARE_SLACK).contains(&share[k]) {
                let what = self.kind.argument();
                let expected = if what == Argument::OneHot { ONE_HOT_RANGE } else { SHARE_RANGE };
                return Err(LossError::ValueOutOfRange { what, value: share[k], expected, position: position() });
            }
            if !logit[k].is_finite() {
                return Err(LossError::NonFiniteLogit { value: logit[k], position: position() });
            }
        }
        let share: Vec<f64> = share.into_iter().map(|share| share.clamp(0.0, 1.0)).collect();
        let sum: f64 = share.iter().sum();
        if self.activation == Activation::Softmax && (sum - 1.0).abs() > SHARE_SLACK {
            return Err(LossError::SharesSum { what: self.kind.argument(), sum, position: position() });
        }
        let maps = plan.maps().iter().map(|map| self.map(map, n, s)).collect::<Result<_, _>>()?;
        Ok(Some(Pixel { weight, share, logit, maps }))
    }

    /// The factor of every class at a pixel.
    fn map(&self, map: &Map, n: usize, s: usize) -> Result<Vec<f64>, LossError> {
        let Geometry { samples, classes, pixels } = self.geometry;
        let (_, values) = &self.maps[map.place(self.maps.iter().map(|(name, _)| name.as_str()))?];
        let channels = values.len() / (samples * pixels);
        let factors = (0..classes).map(|k| values[(n * channels + if channels == 1 { 0 } else { k }) * pixels + s]);
        let factors: Vec<f64> = factors.collect();
        match factors.iter().position(|factor| !factor.is_finite()) {
            None => Ok(factors),
            Some(k) => {
                let position = Geometry::position(&self.shape, (n * classes + k) * pixels + s);
                let (what, expected) = (Argument::Map, "finite numbers of the type that is computed in");
                Err(LossError::ValueOutOfRange { what, value: factors[k], expected, position })
            }
        }
    }
}

impl Pixels for Plain {
    fn shape(&self) -> &[usize] {
        &self.target.shape
    }

    fn spacing(&self) -> Option<&[f64]> {
        self.target.spacing.as_deref()
    }

    fn kind(&self) -> TargetKind {
        self.target.kind
    }

    fn weight(&self, n: usize, s: usize) -> f64 {
        let Target { labels, weights, ignore, geometry, .. } = &self.target;
        let at = n * geometry.pixels + s;
        let ignored = match self.target.kind {
            TargetKind::Labels => ignore.iter().any(|&ignored| i128::from(ignored) == labels[at]),
            TargetKind::OneHot => ignored_classes(ignore, geometry.classes).any(|k| self.share(n, k, s) == 1.0),
            TargetKind::Soft => false,
        };
        if ignored { 0.0 } else { weights.as_ref().map_or(1.0, |weights| weights[at]) }
    }

    fn share(&self, n: usize, k: usize, s: usize) -> f64 {
        let Target { labels, shares, geometry: Geometry { classes, pixels, .. }, kind, .. } = &self.target;
        let at = (n * classes + k) * pixels + s;
        match kind {
            // A single channel is the class 1.
            TargetKind::Labels => f64::from(u8::from(labels[n * pixels + s] == k as i128 + i128::from(*classes == 1))),
            TargetKind::OneHot => labels[at] as f64,
            TargetKind::Soft => shares[at],
        }
    }

    fn logit(&self, n: usize, k: usize, s: usize) -> f64 {
        let Geometry { classes, pixels, .. } = self.target.geometry;
        self.logits[(n * classes + k) * pixels + s]
    }
}

/// The sign of the logits on a side: 1 − σ(x) is σ(−x).
fn sign(side: Side) -> f64 {
    if side == Side::Background { -1.0 } else { 1.0 }
}

fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) }
}

impl Pixel {
    /// Differences to the largest logit, and the sum of their exponentials but for the largest's
    /// own.
    fn shifted(&self, tau: f64) -> (Vec<f64>, f64) {
        let max = self.logit.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let top = self.logit.iter().position(|z| *z == max).unwrap_or(0);
        let shifted: Vec<f64> = self.logit.iter().map(|z| tau * (z - max)).collect();
        let rest = shifted.iter().enumerate().filter(|(k, _)| *k != top).map(|(_, x)| x.exp()).sum();
        (shifted, rest)
    }

    /// p(τ), or 1 − p(τ) of a sigmoid's background.
    fn probability(&self, activation: Activation, tau: f64, side: Side) -> Vec<f64> {
        match activation {
            Activation::Softmax => {
                let (shifted, rest) = self.shifted(tau);
                shifted.into_iter().map(|x| x.exp() / (1.0 + rest)).collect()
            }
            Activation::Sigmoid => self.logit.iter().map(|z| sigmoid(sign(side) * tau * z)).collect(),
        }
    }

    /// log p, or log(1 − p) of a sigmoid's background.
    fn logarithm(&self, activation: Activation, side: Side) -> Vec<f64> {
        match activation {
            Activation::Softmax => {
                let (shifted, rest) = self.shifted(1.0);
                shifted.into_iter().map(|x| x - rest.ln_1p()).collect()
            }
            Activation::Sigmoid => self.logit.iter().map(|z| (sign(side) * z).min(0.0) - (-z.abs()).exp().ln_1p()).collect(),
        }
    }

    /// What a statistic sums up at this pixel, per class, and how that changes with log p(τ) on
    /// its side.
    fn summands(&self, statistic: &Statistic, map: Option<usize>) -> Vec<(f64, f64)> {
        let Self { share, .. } = self;
        let factor = |k: usize| {
            let weight = self.weight * map.map_or(1.0, |map| self.maps[map][k]);
            match statistic.over {
                Over::Valid => weight,
                Over::Region => weight * share[k],
                Over::Background => weight * (1.0 - share[k]),
            }
        };
        let each = |f: &dyn Fn(usize) -> (f64, f64)| {
            let columns = if statistic.is_shared() { 1 } else { share.len() };
            (0..columns).map(|k| (factor(k) * f(k).0, factor(k) * f(k).1)).collect()
        };
        match &statistic.of {
            Quantity::One => each(&|_| (1.0, 0.0)),
            Quantity::Target => each(&|k| (share[k], 0.0)),
            Quantity::Mass(p) => {
                let p = self.probability(p.activation, p.temperature.value(), p.side);
                each(&|k| (p[k], p[k]))
            }
            Quantity::SquaredMass(a) => {
                let p = self.probability(*a, 1.0, Side::Region);
                each(&|k| (p[k] * p[k], 2.0 * p[k] * p[k]))
            }
            Quantity::Log(a, side) => {
                let log = self.logarithm(*a, *side);
                each(&|k| (log[k], 1.0))
            }
            Quantity::Function(a, side, function) => {
                let log = self.logarithm(*a, *side);
                let (mut value, mut slope) = (vec![0.0; log.len()], vec![0.0; log.len()]);
                function.evaluate(&log, &mut value, Some(&mut slope));
                each(&|k| (value[k], slope[k]))
            }
        }
    }

    /// Adds Σ_k g_k · ∂log p_k(τ)/∂z to a gradient, where g is the derivative for log p(τ)
    /// on a side.
    fn add_gradient(&self, g: &[f64], Probability { activation, temperature, side }: Probability, out: &mut [f64]) {
        let tau = sign(side) * temperature.value();
        if activation == Activation::Sigmoid {
            out.iter_mut().zip(g).zip(&self.logit).for_each(|((out, g), z)| *out += tau * g * sigmoid(-tau * z));
            return;
        }
        let (p, sum) = (self.probability(activation, tau, side), g.iter().sum::<f64>());
        let likeliest = (0..p.len()).fold(0, |best, k| if p[k] > p[best] { k } else { best });
        // What remains for the likeliest class is what the others take: g − p·Σg would cancel.
        for k in (0..p.len()).filter(|&k| k != likeliest) {
            let value = tau * (g[k] - p[k] * sum);
            out[k] += value;
            out[likeliest] -= value;
        }
    }
}

impl Passes for Plain {
    type Gradient = [f64];

    fn geometry(&self) -> Geometry {
        self.target.geometry
    }

    fn prior(&self) -> Option<&Table> {
        self.prior.as_ref()
    }

    fn facts(&self) -> Option<Facts> {
        let Target { geometry, weights, ignore, maps, spacing, .. } = &self.target;
        let counted = || (0..geometry.samples * geometry.pixels).filter(|&at| self.weight(0, at) != 0.0).count();
        let facts = Facts::new(self.precision, *geometry, self.kind(), ignore).with_valid(weights.as_ref().map(|_| counted()));
        Some(facts.with_given(maps.iter().map(|(name, _)| name.as_str()), spacing.is_some()))
    }

    fn derive<'p>(&mut self, plan: &'p Plan) -> Result<Vec<&'p Map>, LossError> {
        let missing: Vec<&Map> = plan.underived(self.target.maps.iter().map(|(name, _)| name.as_str())).collect();
        for map in &missing {
            let values = derive(map, self)?.into_iter().map(f64::from).collect();
            self.target.maps.push((map.id(), values));
        }
        Ok(missing)
    }

    fn statistics(&self, plan: &Plan) -> Result<Vec<Table>, LossError> {
        let Geometry { samples, pixels, .. } = self.target.geometry;
        let columns: Vec<usize> = plan.statistics().iter().map(|statistic| plan.columns(statistic)).collect();
        let mut sums: Vec<Vec<f64>> = columns.iter().map(|columns| vec![0.0; samples * columns]).collect();
        for (n, s) in (0..samples).flat_map(|n| (0..pixels).map(move |s| (n, s))) {
            let Some(pixel) = self.target.pixel(&self.logits, plan, n, s)? else { continue };
            for (i, statistic) in plan.statistics().iter().enumerate() {
                for (sum, (value, _)) in sums[i][n * columns[i]..].iter_mut().zip(pixel.summands(statistic, plan.map(i))) {
                    // Only logits near the end of f64 get this far.
                    *sum = (*sum + value).clamp(-1e299, 1e299);
                }
            }
        }
        sums.into_iter().zip(columns).map(|(sums, columns)| Table::new(samples, columns, sums)).collect()
    }

    fn logit_gradient(&self, plan: &Plan, upstream: &[Option<Table>], gradient: &mut [f64]) -> Result<(), LossError> {
        let Geometry { samples, classes, pixels } = self.target.geometry;
        gradient.fill(0.0);
        for (n, s) in (0..samples).flat_map(|n| (0..pixels).map(move |s| (n, s))) {
            let Some(pixel) = self.target.pixel(&self.logits, plan, n, s)? else { continue };
            let mut out = vec![0.0; classes];
            for (i, (statistic, upstream)) in plan.statistics().iter().zip(upstream).enumerate() {
                let (Some(upstream), Some(through)) = (upstream, statistic.probability()) else { continue };
                let slopes = pixel.summands(statistic, plan.map(i)).into_iter().enumerate();
                let g: Vec<f64> = slopes.map(|(k, (_, slope))| slope * upstream.get(n, k).unwrap_or(f64::NAN)).collect();
                pixel.add_gradient(&g, through, &mut out);
            }
            out.into_iter().enumerate().for_each(|(k, value)| gradient[(n * classes + k) * pixels + s] = value);
        }
        Ok(())
    }

    fn gradient_sums(&self, plan: &Plan, upstreams: &[Vec<Option<Table>>]) -> Result<Vec<Table>, LossError> {
        let Geometry { samples, classes, pixels } = self.target.geometry;
        let mut gradient = vec![0.0; samples * classes * pixels];
        let of_output = |upstream: &Vec<Option<Table>>| {
            self.logit_gradient(plan, upstream, &mut gradient)?;
            Table::new(samples, classes, gradient.chunks(pixels).map(|plane| plane.iter().sum()).collect())
        };
        upstreams.iter().map(of_output).collect()
    }
}
