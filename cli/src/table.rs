//! Numbers and tables as text.

use std::fmt::{Display, Formatter};

/// Rows of text in aligned columns: the first ones to the left, the others to the right.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    left: usize,
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self { rows: vec![headings.map(String::from).into()], left: 1 }
    }

    /// A table without headings.
    pub(crate) fn bare() -> Self {
        Self { rows: Vec::new(), left: 1 }
    }

    /// Aligns so many columns to the left.
    pub(crate) fn left(self, left: usize) -> Self {
        Self { left, ..self }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl Into<Vec<String>>) {
        self.rows.push(cells.into());
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let length = |column: usize| self.rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|column| length(column).unwrap_or(0)).collect();
        for (i, row) in self.rows.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            let mut line = String::new();
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                if column < self.left {
                    line.push_str(&format!("  {cell:<width$}"));
                } else {
                    line.push_str(&format!("  {cell:>width$}"));
                }
            }
            f.write_str(line.trim_end())?;
        }
        Ok(())
    }
}

/// Four decimals for numbers of ordinary size, so that they align; powers of ten for the others.
pub(crate) fn decimal(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0.0000".into()
    } else if !value.is_finite() {
        value.to_string()
    } else if !(5e-5..1e5).contains(&size) {
        format!("{value:.1e}")
    } else if size >= 1000.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.4}")
    }
}

/// Six decimals, where numbers are to be compared.
pub(crate) fn fine(value: f64) -> String {
    let size = value.abs();
    // Zero has no sign for a reader.
    let value = if value == 0.0 { 0.0 } else { value };
    let ordinary = value == 0.0 || (1e-4..1e6).contains(&size) || !value.is_finite();
    if ordinary { format!("{value:.6}") } else { format!("{value:.5e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sensible_digits() {
        let cases = [(-0.0, "0.0000"), (1.0 / 3.0, "0.3333"), (-12.5, "-12.5000"), (1234.56, "1234.6"), (1e-7, "1.0e-7")];
        for (value, text) in cases {
            assert_eq!(decimal(value), text);
        }
        assert_eq!(decimal(f64::INFINITY), "inf");
        assert_eq!([-0.0, 0.5, 2e-5].map(fine), ["0.000000", "0.500000", "2.00000e-5"]);
    }
}
