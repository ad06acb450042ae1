//! The pixels of one class, cut to the box around them.

/// Bit of a pixel that is predicted.
pub(crate) const PREDICTED: u8 = 1;
/// Bit of a pixel that is true.
pub(crate) const TRUE: u8 = 2;

/// For each pixel of the smallest box around both regions whether it is true and predicted, in
/// row-major order.
#[derive(Clone, Debug)]
pub(crate) struct Region {
    pub(crate) shape: Vec<usize>,
    pub(crate) members: Vec<u8>,
}

impl Region {
    pub(crate) fn member(predicted: bool, target: bool) -> u8 {
        PREDICTED * u8::from(predicted) + TRUE * u8::from(target)
    }

    /// Whether a pixel of this side is there.
    pub(crate) fn has(&self, side: u8) -> bool {
        self.members.iter().any(|member| member & side != 0)
    }

    /// Cuts; `None` where no pixel is a member.
    pub(crate) fn cut(members: &[u8], shape: &[usize]) -> Option<Self> {
        let bounds = bounds(members, shape)?;
        let cut: Vec<usize> = bounds.iter().map(|(first, last)| last - first + 1).collect();
        let (&(from, to), outer) = bounds.split_last()?;
        let mut kept = Vec::with_capacity(cut.iter().product());
        for (row, members) in members.chunks_exact(*shape.last()?).enumerate() {
            let inside = |(at, &(first, last)): (usize, &(usize, usize))| (first..=last).contains(&at);
            if places(row, &shape[..shape.len() - 1]).into_iter().zip(outer).all(inside) {
                kept.extend_from_slice(&members[from..=to]);
            }
        }
        Some(Self { shape: cut, members: kept })
    }
}

/// First and last place of a member along each axis.
fn bounds(members: &[u8], shape: &[usize]) -> Option<Vec<(usize, usize)>> {
    let (&length, outer) = shape.split_last()?;
    let mut bounds: Option<Vec<(usize, usize)>> = None;
    for (row, members) in members.chunks_exact(length).enumerate() {
        let Some(first) = members.iter().position(|&m| m != 0) else { continue };
        let last = members.iter().rposition(|&m| m != 0).unwrap_or(first);
        let mut row: Vec<(usize, usize)> = places(row, outer).into_iter().map(|at| (at, at)).collect();
        row.push((first, last));
        match &mut bounds {
            None => bounds = Some(row),
            Some(bounds) => {
                for (bound, (first, last)) in bounds.iter_mut().zip(row) {
                    *bound = (bound.0.min(first), bound.1.max(last));
                }
            }
        }
    }
    bounds
}

/// The index on each axis of a flat position.
pub(crate) fn places(mut flat: usize, shape: &[usize]) -> Vec<usize> {
    let mut places = vec![0; shape.len()];
    for (place, &length) in places.iter_mut().zip(shape).rev() {
        (*place, flat) = (flat % length, flat / length);
    }
    places
}
