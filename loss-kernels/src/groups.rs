//! The statistics of a plan, grouped by their probabilities.

use loss_core::{Activation, Plan, Probability, Quantity, Side, Temperature};

use crate::block::Needs;

/// Statistics that share their probabilities.
pub(crate) struct Group {
    pub(crate) activation: Activation,
    pub(crate) temperature: Temperature,
    /// Places in the plan.
    pub(crate) members: Vec<usize>,
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
            let Some(Probability { activation, temperature, .. }) = statistic.probability() else {
                all.target.push(i);
                continue;
            };
            let known = all.groups.iter().position(|g| (g.activation, g.temperature) == (activation, temperature));
            let at = known.unwrap_or_else(|| {
                all.groups.push(Group {
                    activation,
                    temperature,
                    members: Vec::new(),
                    logarithms: false,
                    background: false,
                    pixel_sums: false,
                });
                all.groups.len() - 1
            });
            let group = &mut all.groups[at];
            group.members.push(i);
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
        all
    }

    fn has(&self, activation: Activation) -> bool {
        self.groups.iter().any(|g| g.activation == activation)
    }

    pub(crate) fn needs(&self, soft: bool) -> Needs {
        Needs { softmax: self.has(Activation::Softmax), sigmoid: self.has(Activation::Sigmoid), soft }
    }
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
