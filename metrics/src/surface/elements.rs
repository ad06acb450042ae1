//! Surface elements: what marching squares and cubes put at a corner of pixels.

use super::Points;
use super::distances::Percentile;
use crate::region::{PREDICTED, Region, TRUE};

/// Number of pixels around a corner, by number of axes.
const AROUND: [usize; 4] = [1, 2, 4, 8];

/// Corners between the pixels of a region, with the area there.
pub(super) fn points(region: &Region, spacing: &[f64]) -> Points {
    let axes = region.shape.len();
    let weights = match *spacing {
        [x, y, z] => areas([x, y, z]),
        [x, y] => lengths(x, y),
        _ => vec![0.0, 1.0, 1.0, 0.0],
    };
    let full = (1_usize << AROUND[axes.min(3)]) - 1;
    let is_point = (0..=full).map(|code| code != 0 && code != full).collect();
    let side = |bit| codes(region, bit);
    Points {
        shape: region.shape.iter().map(|length| length + 1).collect(),
        predicted: side(PREDICTED),
        target: side(TRUE),
        weights,
        is_point,
        percentile: Percentile::OfArea,
    }
}

/// For each corner which of the pixels around it are members: the first of them, in row-major
/// order, is the highest bit.
fn codes(region: &Region, bit: u8) -> Vec<u8> {
    let mut codes: Vec<u8> = region.members.iter().map(|member| u8::from(member & bit != 0)).collect();
    let (mut step, mut shift) = (1, 1);
    for &length in region.shape.iter().rev() {
        let mut wider = vec![0; codes.len() / length * (length + 1)];
        let rows = wider.chunks_exact_mut(step * (length + 1)).zip(codes.chunks_exact(step * length));
        for (wider, codes) in rows {
            wider[..codes.len()].copy_from_slice(codes);
            wider[step..].iter_mut().zip(codes).for_each(|(corner, before)| *corner |= before << shift);
        }
        codes = wider;
        step *= length + 1;
        shift *= 2;
    }
    codes
}

/// Lengths of the contour at a corner of four pixels, by code: half a pixel's diagonal where it
/// cuts a pixel off, a side where it passes between two and two.
fn lengths(rows: f64, columns: f64) -> Vec<f64> {
    let diagonal = 0.5 * (rows * rows + columns * columns).sqrt();
    let length = |code: u32| match code {
        0 | 0b1111 => 0.0,
        0b0011 | 0b1100 => columns,
        0b0101 | 0b1010 => rows,
        0b0110 | 0b1001 => 2.0 * diagonal,
        _ => diagonal,
    };
    (0..16).map(length).collect()
}

/// Triangles of one direction: its parts along the axes, and their area in eighths of it.
type Facet = ([u8; 3], u8);

/// The cases of marching cubes of which all others are turned, mirrored or inverted: which of the
/// eight pixels are inside, and the surface between them.
///
/// Lorensen and Cline, "Marching Cubes" (SIGGRAPH 1987), triangulated as in `surface-distance`.
const CASES: [(u8, &[Facet]); 13] = [
    (1, &[([1, 1, 1], 1)]),
    (3, &[([1, 1, 0], 4)]),
    (6, &[([1, 1, 1], 2)]),
    (7, &[([1, 0, 0], 4), ([1, 1, 1], 3)]),
    (15, &[([1, 0, 0], 8)]),
    (22, &[([1, 1, 1], 3)]),
    (23, &[([1, 1, 1], 6)]),
    (24, &[([1, 1, 1], 2)]),
    (25, &[([0, 1, 1], 4), ([1, 1, 1], 1)]),
    (27, &[([0, 1, 1], 2), ([1, 0, 1], 2), ([1, 1, 1], 4)]),
    (30, &[([1, 0, 0], 4), ([1, 1, 1], 4)]),
    (60, &[([1, 1, 0], 8)]),
    (105, &[([1, 1, 1], 4)]),
];

/// Orders of three axes.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// Areas of the surface at a corner of eight pixels, by code.
fn areas(spacing: [f64; 3]) -> Vec<f64> {
    let mut areas = vec![0.0; 256];
    // The sides that a pixel shows to each axis.
    let [x, y, z] = spacing;
    let sides = [y * z, x * z, x * y];
    for (code, facets) in CASES {
        for order in ORDERS {
            let part = |direction: &[u8; 3], axis: usize| f64::from(direction[order[axis]]) * sides[axis];
            let facet = |(direction, eighths): &Facet| {
                let squared: f64 = (0..3).map(|axis| part(direction, axis).powi(2)).sum();
                f64::from(*eighths) / 8.0 * squared.sqrt()
            };
            let area = facets.iter().map(facet).sum();
            for mirrored in 0..8 {
                let code = moved(code, order, mirrored);
                areas[usize::from(code)] = area;
                areas[usize::from(!code)] = area;
            }
        }
    }
    areas
}

/// A code whose axis `a` is axis `order[a]` of another, mirrored along the axes of a mask.
fn moved(code: u8, order: [usize; 3], mirrored: usize) -> u8 {
    let bit = |place: [usize; 3]| 7 - (4 * place[0] + 2 * place[1] + place[2]);
    let mut moved = 0;
    for pixel in 0..8_usize {
        let place = [pixel >> 2 & 1, pixel >> 1 & 1, pixel & 1];
        let mut old = [0; 3];
        (0..3).for_each(|axis| old[order[axis]] = place[axis] ^ (mirrored >> axis & 1));
        moved |= (code >> bit(old) & 1) << bit(place);
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All 256 codes have an area but for the empty and the full one; a plane has that of a side.
    #[test]
    fn every_code_has_an_area() {
        let areas = areas([2.0, 3.0, 5.0]);
        assert!((1..255).all(|code| areas[code] > 0.0));
        assert_eq!((areas[0], areas[255]), (0.0, 0.0));
        assert_eq!([0b0000_1111, 0b0011_0011, 0b0101_0101].map(|code: usize| areas[code]), [15.0, 10.0, 6.0]);
    }

    #[test]
    fn lengths_by_hand() {
        let lengths = lengths(3.0, 4.0);
        assert_eq!([0b0001, 0b0011, 0b0101, 0b0110, 0b0111].map(|code: usize| lengths[code]), [2.5, 4.0, 3.0, 5.0, 2.5]);
    }
}
