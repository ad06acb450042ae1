//! What a backend has to sum up: derived from the leaves of the expressions, never written by hand.

use crate::{Activation, LossError, Map, Side, Statistic};

/// The statistics a loss needs of its logits and target, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    classes: usize,
    statistics: Vec<Statistic>,
    maps: Vec<Map>,
}

impl Plan {
    /// A plan for the given statistics, repeated ones dropped.
    ///
    /// # Errors
    /// [`LossError::TooFewClasses`] where a softmax is asked of a single channel;
    /// [`LossError::Unsupported`] where a background is asked of a softmax, which has none
    /// ([`Side`]), or a quantity is summed over pixels that no term sums it over.
    pub fn new(classes: usize, statistics: impl IntoIterator<Item = Statistic>) -> Result<Self, LossError> {
        let mut unique: Vec<Statistic> = Vec::new();
        for statistic in statistics {
            if statistic.activation() == Some(Activation::Softmax) && classes < 2 {
                return Err(LossError::TooFewClasses { classes });
            }
            if statistic.probability().is_some_and(|p| (p.activation, p.side) == (Activation::Softmax, Side::Background)) {
                return Err(LossError::Unsupported {
                    what: "statistic",
                    got: format!("{statistic} of a softmax"),
                    expected: "the region's side, or sigmoid channels",
                });
            }
            if !statistic.is_computed() {
                return Err(LossError::Unsupported {
                    what: "statistic",
                    got: format!("{:?} over {:?}", statistic.of, statistic.over),
                    expected: "a probability over all pixels or over its own side",
                });
            }
            if !unique.contains(&statistic) {
                unique.push(statistic);
            }
        }
        let mut maps: Vec<Map> = Vec::new();
        for map in unique.iter().filter_map(|statistic| statistic.map.as_ref()) {
            if !maps.contains(map) {
                maps.push(map.clone());
            }
        }
        Ok(Self { classes, statistics: unique, maps })
    }

    /// Number of classes K.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The statistics, in the order in which a backend returns them.
    #[must_use]
    pub fn statistics(&self) -> &[Statistic] {
        &self.statistics
    }

    /// The maps that statistics are multiplied by, each once.
    #[must_use]
    pub fn maps(&self) -> &[Map] {
        &self.maps
    }

    /// Place of a statistic's map among [`Plan::maps`], for a statistic by its own place.
    #[must_use]
    pub fn map(&self, statistic: usize) -> Option<usize> {
        let map = self.statistics.get(statistic)?.map.as_ref()?;
        self.maps.iter().position(|known| known == map)
    }

    /// The derived maps that are not among those there ([`Map::place`]).
    pub fn underived<'n>(&self, there: impl Iterator<Item = &'n str> + Clone) -> impl Iterator<Item = &Map> {
        self.maps.iter().filter(move |map| matches!(map, Map::Derived(_)) && map.place(there.clone()).is_err())
    }

    /// Columns of a statistic: K, or 1 for the valid size.
    #[must_use]
    pub fn columns(&self, statistic: &Statistic) -> usize {
        if statistic.is_shared() { 1 } else { self.classes }
    }
}
