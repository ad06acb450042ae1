//! The values of a mask, one pixel after the other.

use std::path::Path;

use crate::array::Array;
use crate::error::DataError;
use crate::formats::Raster;

/// Colours stand beyond all numbers that a mask may hold; a grey colour is its number.
const COLOURS: i64 = 1 << 40;

/// The value of a colour 0xRRGGBB.
pub(super) fn colour_value(colour: u32) -> i64 {
    let [_, r, g, b] = colour.to_be_bytes();
    if r == g && g == b { i64::from(r) } else { COLOURS + i64::from(colour) }
}

/// A value of a mask as a user writes it: a number, or a colour such as `#ff0000`.
pub fn value_text(value: i64) -> String {
    if value >= COLOURS { format!("#{:06x}", value - COLOURS) } else { value.to_string() }
}

/// The number of a value; none of a colour.
pub(crate) fn number_of(value: i64) -> Option<i64> {
    (value < COLOURS).then_some(value)
}

/// Gives every value of a mask in row-major order; of a colour mask the colours.
pub(crate) fn each_value(path: &Path, raster: &Raster, see: impl FnMut(i64)) -> Result<(), DataError> {
    match each_whole(path, raster, see)? {
        None => Ok(()),
        Some(value) => {
            let reason = format!(
                "holds {value}, which is no class; read probabilities with --soft, or say from where on pixels are foreground with --threshold"
            );
            Err(DataError::values(path, reason))
        }
    }
}

/// The same, rounded; gives the first number that is no integer.
pub(super) fn each_whole(path: &Path, raster: &Raster, mut see: impl FnMut(i64)) -> Result<Option<f64>, DataError> {
    let header = &raster.header;
    if header.channels == 3 && header.colour {
        return colours(path, &raster.values, see).map(|()| None);
    }
    let [slope, intercept] = header.scaling.unwrap_or([1.0, 0.0]);
    let scaled = header.scaling.is_some();
    match &raster.values {
        Array::U8(a) if !scaled => a.iter().for_each(|&v| see(v.into())),
        Array::U16(a) if !scaled => a.iter().for_each(|&v| see(v.into())),
        Array::I16(a) if !scaled => a.iter().for_each(|&v| see(v.into())),
        Array::I32(a) if !scaled => a.iter().for_each(|&v| see(v.into())),
        array => {
            let mut odd = None;
            array.each(|v| {
                let value = v * slope + intercept;
                let whole = value.round();
                if (value - whole).abs() > 1e-6 || value.is_nan() || whole.abs() >= COLOURS as f64 {
                    odd.get_or_insert(value);
                }
                see(whole as i64);
            });
            return Ok(odd);
        }
    }
    Ok(None)
}

fn colours(path: &Path, values: &Array, mut see: impl FnMut(i64)) -> Result<(), DataError> {
    let Array::U8(values) = values else {
        return Err(DataError::values(path, "a mask in colours of more than 8 bits; save it with the class as the value"));
    };
    let [r, g, b] = [0, 1, 2].map(|channel| values.index_axis(ndarray::Axis(0), channel));
    for ((&r, &g), &b) in r.iter().zip(&g).zip(&b) {
        see(colour_value(u32::from_be_bytes([0, r, g, b])));
    }
    Ok(())
}
