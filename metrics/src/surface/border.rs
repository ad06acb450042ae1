//! Pixels on the border of a region.

use crate::region::Region;

/// The members, each side without the pixels all of whose neighbours across a face are of the same
/// side. Beyond the box is outside: it ends where the regions or the image end.
pub(super) fn border(region: &Region) -> Vec<u8> {
    let members = &region.members;
    let mut inner = members.clone();
    let mut step = 1;
    for &length in region.shape.iter().rev() {
        let rows = inner.chunks_exact_mut(step * length).zip(members.chunks_exact(step * length));
        for (inner, members) in rows {
            let beyond = members.len() - step;
            // Both sides at once: they are bits of one number.
            inner[..beyond].iter_mut().zip(&members[step..]).for_each(|(inner, next)| *inner &= next);
            inner[step..].iter_mut().zip(&members[..beyond]).for_each(|(inner, last)| *inner &= last);
            inner[..step].fill(0);
            inner[beyond..].fill(0);
        }
        step *= length;
    }
    members.iter().zip(inner).map(|(member, inner)| member & !inner).collect()
}
