//! The statistics of a plan, grouped by their probabilities.

use loss_core::{Activation, Over, Plan, Probability, Quantity, Side, Statistic, Temperature};

use crate::Real;
use crate::block::Needs;
use crate::upstream::Derivatives;

/// Places in the plan of the sums that most losses have, for one side of a group. None has a map.
#[derive(Clone, Copy, Default)]
pub(crate) struct Usual {
    pub(crate) mass: Option<usize>,
    pub(crate) intersection: Option<usize>,
    pub(crate) likelihood: Option<usize>,
}

impl Usual {
    pub(crate) fn any(self) -> bool {
        self.mass.or(self.intersection).or(self.likelihood).is_some()
    }

    /// Notes the place of a statistic; false where it is none of them.
    fn note(&mut self, i: usize, statistic: &Statistic) -> bool {
        if statistic.map.is_some() {
            return false;
        }
        let place = match (&statistic.of, statistic.over) {
            (Quantity::Mass(_), Over::Valid) => &mut self.mass,
            (Quantity::Mass(_), Over::Region | Over::Background) => &mut self.intersection,
            (Quantity::Log(..), Over::Region | Over::Background) => &mut self.likelihood,
            (Quantity::Log(..), Over::Valid) => return false,
            (Quantity::One | Quantity::Target | Quantity::SquaredMass(_) | Quantity::Function(..), _) => return false,
        };
        *place = Some(i);
        true
    }
}

/// Statistics that share their probabilities.
pub(crate) struct Group {
    pub(crate) activation: Activation,
    pub(crate) temperature: Temperature,
    /// Places in the plan.
    pub(crate) members: Vec<usize>,
    /// Those that most losses have, of the region and of the background.
    pub(crate) usual: [Usual; 2],
    /// The others.
    pub(crate) others: Vec<usize>,
    /// The place of the class sizes, where this group's loops may count them.
    pub(crate) size: Option<usize>,
    /// Whether any of them sums logarithms.
    pub(crate) logarithms: bool,
    /// Whether any of them sums probabilities of the background.
    pub(crate) background: bool,
    /// Whether any of them is of a pixel function.
    pub(crate) pixel_sums: bool,
}

/// The statistics of a plan.
pub(crate) struct Groups {
    /// Sums over the target alone.
    pub(crate) target: Vec<usize>,
    /// Sums over logits.
    pub(crate) groups: Vec<Group>,
}

impl Groups {
    pub(crate) fn new(plan: &Plan, wanted: impl Fn(usize) -> bool) -> Self {
        let mut all = Self { target: Vec::new(), groups: Vec::new() };
        for (i, statistic) in plan.statistics().iter().enumerate().filter(|(i, _)| wanted(*i)) {
            let Some(Probability { activation, temperature, side }) = statistic.probability() else {
                all.target.push(i);
                continue;
            };
            let known = all.groups.iter().position(|g| (g.activation, g.temperature) == (activation, temperature));
            let at = known.unwrap_or_else(|| {
                all.groups.push(Group {
                    activation,
                    temperature,
                    members: Vec::new(),
                    usual: [Usual::default(); 2],
                    others: Vec::new(),
                    size: None,
                    logarithms: false,
                    background: false,
                    pixel_sums: false,
                });
                all.groups.len() - 1
            });
            let group = &mut all.groups[at];
            group.members.push(i);
            if !group.usual[usize::from(side == Side::Background)].note(i, statistic) {
                group.others.push(i);
            }
            group.logarithms |= statistic.of.is_logarithmic();
            match &statistic.of {
                Quantity::One | Quantity::Target | Quantity::SquaredMass(_) | Quantity::Log(..) => {}
                Quantity::Mass(p) => group.background |= p.side == Side::Background,
                Quantity::Function(..) => group.pixel_sums = true,
            }
        }
        // Softmax first: its gradient of a pixel sums to 0, and by how much it does not is measured
        // before a sigmoid's is added.
        all.groups.sort_by_key(|group| group.activation != Activation::Softmax);
        let size = all.target.iter().copied().find(|&i| plan.statistics()[i] == Statistic::TARGET_SIZE);
        let by_class = |group: &&mut Group| group.usual[0].intersection.or(group.usual[0].likelihood).is_some();
        if let Some(group) = all.groups.iter_mut().find(by_class) {
            group.size = size;
        }
        all
    }

    /// The place of the class sizes that a group counts, in a block where pixels count 1 or 0.
    pub(crate) fn counted_size(&self, is_counted: bool) -> Option<usize> {
        self.groups.iter().find_map(|group| group.size).filter(|_| is_counted)
    }

    /// Whether every probability is a sigmoid's.
    pub(crate) fn is_sigmoid(&self) -> bool {
        !self.groups.is_empty() && !self.has(Activation::Softmax)
    }

    /// Whether every probability is a softmax's.
    pub(crate) fn is_softmax(&self) -> bool {
        !self.groups.is_empty() && !self.has(Activation::Sigmoid)
    }

    fn has(&self, activation: Activation) -> bool {
        self.groups.iter().any(|g| g.activation == activation)
    }

    pub(crate) fn needs(&self, soft: bool) -> Needs {
        Needs { softmax: self.has(Activation::Softmax), sigmoid: self.has(Activation::Sigmoid), soft }
    }
}

/// Whether the sums, and what they hand down to at most one gradient, are those that most losses
/// have: what the loops of `channels.rs` and `few.rs` compute.
pub(crate) fn usual<C: Real>(groups: &Groups, derivatives: &[Derivatives<C>], summed: bool) -> bool {
    let all = |group: &Group| {
        let [_, background] = group.usual;
        group.others.is_empty() && background.mass.or(background.intersection).is_none()
    };
    let handed = match derivatives {
        [] => true,
        [one] => one.groups.iter().all(|handed| !handed.more),
        _ => false,
    };
    (!summed || groups.groups.iter().all(all)) && handed
}

#[cfg(test)]
mod tests {
    use loss_core::Statistic;

    use super::*;

    #[test]
    fn buffers_are_those_of_the_activations_that_a_plan_has() {
        for (activation, softmax) in [(Activation::Softmax, true), (Activation::Sigmoid, false)] {
            let plan = Plan::new(3, [Statistic::predicted_size(Probability::new(activation, Temperature::ONE, Side::Region))])
                .unwrap();
            let needs = Groups::new(&plan, |_| true).needs(false);
            assert_eq!([needs.softmax, needs.sigmoid, needs.soft], [softmax, !softmax, false]);
        }
    }
}
