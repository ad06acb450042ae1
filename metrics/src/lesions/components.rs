//! Connected components of a region, in any number of axes.

use crate::region::Region;

/// The components of one side of a region.
pub(super) struct Components {
    /// The component of each pixel, from 1; 0 of those that belong to none.
    pub(super) of_pixel: Vec<u32>,
    /// Pixels of each component.
    pub(super) sizes: Vec<u64>,
}

impl Components {
    /// Labels pixels in one reading, joins what turns out to be one (Rosenfeld and Pfaltz, 1966).
    /// Neighbours differ by at most 1 along at most so many axes.
    pub(super) fn of(region: &Region, side: u8, axes: usize) -> Self {
        let shape = &region.shape;
        let before = before(shape.len(), axes);
        let steps: Vec<isize> = before.iter().map(|offset| flat(offset, shape)).collect();
        let mut of_pixel = vec![0_u32; region.members.len()];
        // The parent of each provisional label; a root is its own. Label 0 is no component.
        let mut parents = vec![0_u32];
        let mut place = vec![0; shape.len()];
        for at in 0..of_pixel.len() {
            if at > 0 {
                advance(&mut place, shape);
            }
            if region.members[at] & side == 0 {
                continue;
            }
            let mut label = 0;
            for (offset, step) in before.iter().zip(&steps) {
                if !inside(&place, offset, shape) {
                    continue;
                }
                let neighbour = at.checked_add_signed(*step).map_or(0, |at| of_pixel[at]);
                if neighbour != 0 {
                    let root = root(&mut parents, neighbour);
                    label = if label == 0 { root } else { join(&mut parents, label, root) };
                }
            }
            if label == 0 {
                label = parents.len() as u32;
                parents.push(label);
            }
            of_pixel[at] = label;
        }
        Self::numbered(of_pixel, parents)
    }

    fn numbered(mut of_pixel: Vec<u32>, mut parents: Vec<u32>) -> Self {
        let mut numbers = vec![0_u32; parents.len()];
        let mut sizes = Vec::new();
        for label in of_pixel.iter_mut().filter(|label| **label != 0) {
            let root = root(&mut parents, *label) as usize;
            if numbers[root] == 0 {
                sizes.push(0);
                numbers[root] = sizes.len() as u32;
            }
            *label = numbers[root];
            sizes[*label as usize - 1] += 1;
        }
        Self { of_pixel, sizes }
    }
}

/// Neighbours that come earlier in row-major order.
fn before(rank: usize, axes: usize) -> Vec<Vec<isize>> {
    let mut all = vec![Vec::new()];
    for _ in 0..rank {
        all = all.iter().flat_map(|offset| [-1, 0, 1].map(|step| [&offset[..], &[step]].concat())).collect();
    }
    all.truncate(all.len() / 2);
    all.retain(|offset: &Vec<isize>| offset.iter().filter(|step| **step != 0).count() <= axes);
    all
}

/// Goes to the next pixel in row-major order.
fn advance(place: &mut [usize], shape: &[usize]) {
    for (at, &length) in place.iter_mut().zip(shape).rev() {
        *at += 1;
        if *at < length {
            return;
        }
        *at = 0;
    }
}

fn flat(offset: &[isize], shape: &[usize]) -> isize {
    offset.iter().zip(shape).fold(0, |at, (&step, &length)| at * length as isize + step)
}

fn inside(place: &[usize], offset: &[isize], shape: &[usize]) -> bool {
    let within =
        |((&at, &step), &length): ((&usize, &isize), &usize)| at.checked_add_signed(step).is_some_and(|at| at < length);
    place.iter().zip(offset).zip(shape).all(within)
}

/// The root of a label; every other label on the way is brought one step nearer to it.
fn root(parents: &mut [u32], mut label: u32) -> u32 {
    while parents[label as usize] != label {
        let above = parents[parents[label as usize] as usize];
        parents[label as usize] = above;
        label = above;
    }
    label
}

/// Makes two roots one, the smaller; so labels never point upwards.
fn join(parents: &mut [u32], a: u32, b: u32) -> u32 {
    let (small, large) = (a.min(b), a.max(b));
    parents[large as usize] = small;
    small
}
