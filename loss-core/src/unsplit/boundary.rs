use crate::distance::{Membership, signed_distances};
use crate::expr::{Expr, Regions, Scalar};
use crate::maps::{Derive, View};
use crate::options::{ClassOptions, Pooling, setters};
use crate::regions::class_indicator;
use crate::spec::describe::{Describe, Visitor};
use crate::spec::value::{Misfit, OptionValue, Value};
use crate::term::Term;
use crate::{Activation, AllRegions, LossError, Map, TargetKind, Temperature, Unsplit};

/// Boundary loss: predicted mass, weighted by its signed distance to the true boundary.
///
/// `(1/M) Σ_k c_k Σ_s w φ_k p_k` over the foreground classes: all but class 0, and the one
/// channel of a single-channel sigmoid. φ is [`SignedDistances`]: positive outside the true
/// region, negative inside, in units of the target's spacing. A class with nothing but foreground,
/// or with none, has no boundary and adds 0. Where no pixel is valid the term is 0.
///
/// It has no lower bound of its own: use it beside a regional term, with a weight that
/// [grows](crate::Schedule::grow). It needs labels, and one to three spatial axes.
///
/// φ is computed on the host once a call, so a GPU waits for it. To avoid the wait, give the map
/// `signed_distances`, `[N, K, *spatial]`, with the target. A volume fed in tiles needs it.
///
/// Source: Kervadec et al., "Boundary loss for highly unbalanced segmentation", MIDL 2019. Their
/// code also divides by the number of classes.
///
/// ```
/// use loss_core::{Loss, unsplit, unsplit::Boundary};
/// let loss: Loss = "dice + grow(0.01, factor=1.05, every=1, cap=1) * boundary".parse()?;
/// assert_eq!(unsplit(Boundary::new().classes(&[2])?).to_string(), "boundary(classes=[2])");
/// # Ok::<(), loss_core::LossError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Boundary {
    classes: Chosen,
    class_weights: Option<Vec<f64>>,
    pooling: Pooling,
    activation: Option<Activation>,
}

/// The classes of a term that leaves the background out unless asked otherwise.
#[derive(Clone, Debug, PartialEq)]
enum Chosen {
    Foreground,
    All,
    Only(Vec<usize>),
}

impl OptionValue for Chosen {
    const EXPECTED: &'static str = "foreground, all or a list of class indices, [1, 2, ..]";
    fn write(&self) -> Value {
        match self {
            Self::Foreground => Value::Word("foreground".into()),
            Self::All => Value::Word("all".into()),
            Self::Only(classes) => Some(classes.clone()).write(),
        }
    }
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Word(word) if word == "foreground" => Some(Self::Foreground),
            _ => Option::<Vec<usize>>::read(value).map(|classes| classes.map_or(Self::All, Self::Only)),
        }
    }
    fn misfit(&self, classes: usize) -> Option<Misfit> {
        if let Self::Only(only) = self { Misfit::of_indices(only, classes) } else { None }
    }
}

impl Chosen {
    /// The foreground is all classes but the first; the one channel of two classes.
    fn of(&self, classes: usize) -> Vec<usize> {
        match self {
            Self::Foreground => (usize::from(classes > 1)..classes).collect(),
            Self::All => (0..classes).collect(),
            Self::Only(only) => only.clone(),
        }
    }
}

impl Default for Boundary {
    fn default() -> Self {
        Self { classes: Chosen::Foreground, class_weights: None, pooling: Pooling::Batch, activation: None }
    }
}

impl Boundary {
    /// Of the foreground classes, over the batch's pixels.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only these classes.
    ///
    /// # Errors
    /// [`LossError::OptionOutOfRange`] for an empty or repeating list; [`LossError::OptionClass`]
    /// when the loss meets its logits.
    pub fn classes(mut self, classes: &[usize]) -> Result<Self, LossError> {
        self.classes = Chosen::Only(classes.to_vec());
        self.check().map(|()| self)
    }

    /// All classes, the background among them: `classes=all`.
    #[must_use]
    pub fn all_classes(self) -> Self {
        Self { classes: Chosen::All, ..self }
    }

    /// One weight ≥ 0 per class.
    ///
    /// # Errors
    /// [`LossError::OptionOutOfRange`] for weights outside `[0, 1e100]` or all zero;
    /// [`LossError::OptionCount`] when the loss meets its logits.
    pub fn class_weights(mut self, weights: &[f64]) -> Result<Self, LossError> {
        self.class_weights = Some(weights.to_vec());
        self.check().map(|()| self)
    }

    fn contributions(&self, regions: &AllRegions) -> Expr<Regions> {
        let regions = regions.under(self.activation);
        let classes = self.classes.of(regions.classes());
        let map = Map::derived(SignedDistances { classes: classes.clone() });
        let weights = self.class_weights.as_deref().map_or_else(|| Expr::constant(1.0), Expr::classes);
        let mass = regions.sizes().times(&map).predicted_size(Temperature::ONE);
        (weights * class_indicator(&classes) * mass).ratio(&self.pooling.samples(regions.sizes().valid_size()))
    }
}

setters!(Boundary []: pooling activation);

impl Unsplit for Boundary {
    fn value(&self, regions: &AllRegions) -> Expr<Scalar> {
        self.pooling.total(&self.contributions(regions))
    }

    fn elements(&self, regions: &AllRegions) -> Option<Expr<Regions>> {
        Some(self.contributions(regions))
    }

    crate::spec::describe::described!();
}

impl Describe for Boundary {
    const NAME: &'static str = "boundary";
    const SUMMARY: &'static str = "Predicted mass by its signed distance to the true boundary; beside a regional term";
    const FORMULA: &'static str = "(1/M) Σ_k Σ_s φ_k p_k, φ = d outside the true region, -(d - 1) inside";

    fn visit(&mut self, visitor: &mut Visitor<'_>) -> Result<(), LossError> {
        visitor.option("classes", "which classes count", &mut self.classes)?;
        visitor.option("class_weights", "weight of each class", &mut self.class_weights)?;
        visitor.option("pooling", "mean over the batch's pixels, or over samples of their means", &mut self.pooling)?;
        visitor.option("activation", "the loss's own, or another", &mut self.activation)
    }

    fn check(&self) -> Result<(), LossError> {
        let only = if let Chosen::Only(only) = &self.classes { Some(only.clone()) } else { None };
        ClassOptions { only, weights: self.class_weights.clone() }.check(Self::NAME)
    }

    fn into_term(self) -> Term {
        Term::Unsplit(std::sync::Arc::new(self))
    }
}

/// The map `signed_distances`, φ of [`signed_distances`](crate::distance::signed_distances) for
/// each class: the distance to the true region, and inside it 1 minus the distance to its outside.
///
/// Labels on one to three spatial axes; ignored pixels belong to neither side.
#[derive(Clone, Debug)]
pub struct SignedDistances {
    /// The classes that it is made for; it is 0 elsewhere.
    pub classes: Vec<usize>,
}

impl Derive for SignedDistances {
    fn name(&self) -> &'static str {
        "signed_distances"
    }

    fn id(&self) -> String {
        format!("{}{:?}", self.name(), self.classes)
    }

    fn channels(&self, classes: usize) -> usize {
        classes
    }

    fn reads_logits(&self) -> bool {
        false
    }

    fn fill(&self, view: &View<'_>, out: &mut [f32]) -> Result<(), LossError> {
        let unsupported = |what, got, expected| Err(LossError::Unsupported { what, got, expected });
        let (spatial, pixels) = (view.spatial(), view.pixels());
        if view.kind() == TargetKind::Soft {
            let expected = "labels, or the map `signed_distances` given with the target";
            return unsupported("target of signed distances", "soft targets".to_owned(), expected);
        }
        if !(1..=3).contains(&spatial.len()) {
            let got = format!("{} spatial axes", spatial.len());
            return unsupported("signed distances", got, "one to three spatial axes, [N, K, D, H, W] at most");
        }
        for (i, out) in out.chunks_mut(pixels.max(1)).enumerate() {
            let (n, k) = (i / view.classes(), i % view.classes());
            if !self.classes.contains(&k) {
                out.fill(0.0);
                continue;
            }
            let member = |s| match view.weight(n, s) {
                0.0 => Membership::Ignored,
                _ if view.share(n, k, s) > 0.0 => Membership::Inside,
                _ => Membership::Outside,
            };
            signed_distances((0..pixels).map(member), spatial, &view.spacing(), out)?;
        }
        Ok(())
    }
}
