//! What the statistics of a group hand down to the pixels of one sample.

use loss_core::{Over, Plan, Quantity, Side};
use pulp::Simd;

use crate::Real;
use crate::columns::Grid;
use crate::groups::Group;
use crate::membership::{Membership, label_of};
use crate::simd::Lanes;

/// The derivatives for one side of a class.
#[derive(Clone, Copy)]
pub(crate) struct Upstream<C> {
    /// The class's bits.
    class: C,
    /// ∂/∂P
    pub(crate) mass: C,
    /// ∂/∂I
    pub(crate) intersection: C,
    /// 2·∂/∂Q
    squared: C,
    /// ∂/∂L
    pub(crate) likelihood: C,
    /// ∂/∂A
    log_mass: C,
    /// Whether there is any ∂/∂F: the slopes have a column for it.
    pixels: bool,
    /// From that column to the one of sums with a map; 0 where there are none.
    to_mapped: usize,
}

/// The derivatives for a group.
pub(crate) struct Handed<C> {
    /// Per side and class; empty where all is zero.
    pub(crate) sides: [Vec<Upstream<C>>; 2],
    /// Places of pixel sums in the plan, and their derivatives per class.
    pub(crate) pixels: Vec<(usize, Vec<C>)>,
    /// The same of sums with a map.
    pub(crate) mapped: Vec<(usize, Vec<C>)>,
    /// Whether [`Upstream::own`] holds for any class.
    pub(crate) own: bool,
    /// Whether [`Upstream::more`] holds for any class.
    pub(crate) more: bool,
}

impl<C: Real> Handed<C> {
    /// `derivative`: for the statistic at a place in the plan, and a class.
    pub(crate) fn new(plan: &Plan, group: &Group, derivative: impl Fn(usize, usize) -> Option<C>) -> Self {
        let sides = [Side::Region, Side::Background].map(|side| {
            let classes = (0..plan.classes()).map(|k| Upstream::new(plan, group, &derivative, side, k));
            let classes: Vec<Upstream<C>> = classes.collect();
            if classes.iter().any(Upstream::any) { classes } else { Vec::new() }
        });
        let is_mapped = |i: &&usize| plan.statistics()[**i].map.is_some();
        let is_pixel_sum = |i: &&usize| !is_mapped(i) && matches!(plan.statistics()[**i].of, Quantity::Function(..));
        let row = |&i: &usize| Some((i, (0..plan.classes()).map(|k| derivative(i, k)).collect::<Option<_>>()?));
        let pixels = group.members.iter().filter(is_pixel_sum).filter_map(row).collect();
        let mapped = group.members.iter().filter(is_mapped).filter_map(row).collect();
        let (own, more) = (sides.iter().flatten().any(Upstream::own), sides.iter().flatten().any(Upstream::more));
        Self { sides, pixels, mapped, own, more }
    }
}

/// The derivatives of one output of a loss, for one sample.
pub(crate) struct Derivatives<C> {
    /// Group by group, in units of `unit`.
    pub(crate) groups: Vec<Handed<C>>,
    pub(crate) unit: C,
}

impl<C: Real> Handed<C> {
    /// The derivatives for one side of a class.
    pub(crate) fn of(&self, side: Side, k: usize, classes: usize) -> Upstream<C> {
        let all = &self.sides[usize::from(side == Side::Background)];
        all.get(k).copied().unwrap_or(Upstream::zero(k, classes))
    }
}

impl<C: Real> Upstream<C> {
    pub(crate) fn zero(k: usize, classes: usize) -> Self {
        let zero = C::zero();
        Self {
            class: C::of_class(label_of(k, classes)),
            mass: zero,
            intersection: zero,
            squared: zero,
            likelihood: zero,
            log_mass: zero,
            pixels: false,
            to_mapped: 0,
        }
    }

    fn new(plan: &Plan, group: &Group, derivative: impl Fn(usize, usize) -> Option<C>, side: Side, k: usize) -> Self {
        let mut all = Self::zero(k, plan.classes());
        for &i in &group.members {
            let statistic = &plan.statistics()[i];
            let (Some(u), Some(p)) = (derivative(i, k), statistic.probability()) else { continue };
            if p.side != side {
                continue;
            }
            if statistic.map.is_some() {
                all.to_mapped = 2 * plan.classes();
                continue;
            }
            match (&statistic.of, statistic.over) {
                (Quantity::Mass(_), Over::Valid) => all.mass = u,
                (Quantity::Mass(_), Over::Region | Over::Background) => all.intersection = u,
                (Quantity::SquaredMass(_), _) => all.squared = u + u,
                (Quantity::Log(..), Over::Valid) => all.log_mass = u,
                (Quantity::Log(..), Over::Region | Over::Background) => all.likelihood = u,
                (Quantity::Function(..), _) => all.pixels = true,
                (Quantity::One | Quantity::Target, _) => {}
            }
        }
        all
    }

    /// Whether anything is handed only to the pixels of this side.
    fn own(&self) -> bool {
        self.pixels || self.intersection != C::zero() || self.likelihood != C::zero()
    }

    /// Whether there is anything besides ∂/∂P, ∂/∂I and ∂/∂L.
    fn more(&self) -> bool {
        self.pixels || self.to_mapped > 0 || self.squared != C::zero() || self.log_mass != C::zero()
    }

    fn any(&self) -> bool {
        self.own() || self.more() || self.mass != C::zero()
    }

    /// ∂/∂(log p) of this side without the weight, as p·`.0` + `.1`, at the pair `b` of the
    /// class `k`. `column`: the side's in `slopes`. `OWN`, `MORE`: as in [`Handed`]; without
    /// `MORE`, p is not used.
    #[inline(always)]
    pub(crate) fn parts<S: Simd, T: Membership<S, C>, const BACKGROUND: bool, const OWN: bool, const MORE: bool>(
        &self,
        p: Lanes<S, C>,
        y: T,
        slopes: Grid<'_, S, C>,
        column: usize,
        k: usize,
        b: usize,
    ) -> (Lanes<S, C>, Lanes<S, C>) {
        let class = p.splat(self.class);
        let (mut per_p, mut alone) = (p.splat(self.mass), p.splat(C::zero()));
        if OWN {
            per_p = per_p + y.of::<BACKGROUND>(k, b, class, p.splat(self.intersection));
            alone = y.of::<BACKGROUND>(k, b, class, p.splat(self.likelihood));
        }
        if MORE {
            per_p = p.mul_add(p.splat(self.squared), per_p);
            alone = alone + p.splat(self.log_mass);
            if self.pixels {
                alone = alone + y.of::<BACKGROUND>(k, b, class, slopes.at(column, b));
            }
            if self.to_mapped > 0 {
                alone = alone + slopes.at(column + self.to_mapped, b);
            }
        }
        (per_p, alone)
    }
}

#[cfg(test)]
mod tests {
    use loss_core::{Activation, Probability, Statistic, Temperature};

    use super::*;
    use crate::groups::Groups;

    #[test]
    fn what_is_not_handed_down_is_not_computed() {
        let p = Probability::new(Activation::Softmax, Temperature::ONE, Side::Region);
        let statistics = [Statistic::predicted_size(p), Statistic::intersection(p), Statistic::squared_mass(p.activation)];
        let plan = Plan::new(2, statistics.clone()).unwrap();
        let groups = Groups::new(&plan, |_| true);
        let cases = [
            ([0.0, 0.0, 0.0], (false, false, 0)),
            ([1.0, 0.0, 0.0], (false, false, 2)),
            ([0.0, 1.0, 0.0], (true, false, 2)),
            ([0.0, 0.0, 1.0], (false, true, 2)),
        ];
        for (given, wanted) in cases {
            let derivative = |i: usize, _: usize| {
                let at = statistics.iter().position(|statistic| *statistic == plan.statistics()[i]);
                at.map(|at| given[at])
            };
            let handed = Handed::<f64>::new(&plan, &groups.groups[0], derivative);
            assert_eq!((handed.own, handed.more, handed.sides[0].len()), wanted, "{given:?}");
        }
    }
}
