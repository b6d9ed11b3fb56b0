//! What training keeps beside a parameter: its gradient and the optimiser's moments, whole or by rows.
//!
//! A step's tokens touch some hundred rows of a word table of thirty thousand, and a corpus some thousand: the others have a
//! gradient and moments of zero, and are not there. Sums and updates have the bits that whole arrays would give.

use crate::{Error, Result};

/// An array of a parameter's size.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// All of it.
    Whole(Vec<f32>),
    /// Rows that are not zero.
    Rows(Rows),
}

/// A table of which some rows are there; the others are zero.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// In their order.
    pub list: Vec<Option<Box<[f32]>>>,
    /// A row that is not there.
    zero: Box<[f32]>,
}

impl Rows {
    /// A table of zeros.
    pub fn new(rows: usize, width: usize) -> Self {
        Rows { list: vec![None; rows], zero: vec![0.0; width].into() }
    }
    /// Values of a row.
    pub fn width(&self) -> usize {
        self.zero.len()
    }
    /// A row's values.
    pub fn row(&self, row: usize) -> &[f32] {
        self.list[row].as_ref().unwrap_or(&self.zero)
    }
    /// A row to be changed; it is there from now on.
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        self.list[row].get_or_insert_with(|| self.zero.clone())
    }
}

impl Values {
    /// Zeros, held as `self` is.
    pub fn zeros_like(&self) -> Self {
        match self {
            Values::Whole(values) => Values::Whole(vec![0.0; values.len()]),
            Values::Rows(rows) => Values::Rows(Rows::new(rows.list.len(), rows.width())),
        }
    }
    /// Makes all of it zero.
    pub fn clear(&mut self) {
        match self {
            Values::Whole(values) => values.fill(0.0),
            Values::Rows(rows) => rows.list.fill(None),
        }
    }
    /// All values where they are held whole.
    ///
    /// # Panics
    /// Held by rows: who writes a gradient knows how.
    pub fn whole_mut(&mut self) -> &mut [f32] {
        match self {
            Values::Whole(values) => values,
            Values::Rows(_) => unreachable!("a whole gradient for a parameter that is held by rows"),
        }
    }
    /// All values in order, in pieces that lie somewhere.
    pub fn pieces(&self) -> Vec<&[f32]> {
        match self {
            Values::Whole(values) => vec![values],
            Values::Rows(rows) => (0..rows.list.len()).map(|row| rows.row(row)).collect(),
        }
    }
    /// A copy of all values.
    pub fn to_vec(&self) -> Vec<f32> {
        self.pieces().concat()
    }
    /// Takes all values anew.
    ///
    /// # Errors
    /// Another number of values.
    pub fn set(&mut self, values: Vec<f32>) -> Result<()> {
        let length = self.pieces().iter().map(|piece| piece.len()).sum::<usize>();
        if values.len() != length {
            let (expected, got) = (format!("{length} values"), values.len().to_string());
            return Err(Error::Shape { op: "values", expected, got });
        }
        match self {
            Values::Whole(own) => *own = values,
            Values::Rows(rows) => {
                let there = |row: &[f32]| row.iter().any(|v| v.to_bits() != 0);
                let given = values.chunks_exact(rows.width().max(1));
                rows.list.iter_mut().zip(given).for_each(|(own, row)| *own = there(row).then(|| row.into()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_hold_what_whole_arrays_do() {
        let mut rows = Rows::new(3, 2);
        rows.row_mut(1).copy_from_slice(&[1.0, -0.0]);
        let mut values = Values::Rows(rows);
        assert_eq!(values.to_vec(), [0.0, 0.0, 1.0, -0.0, 0.0, 0.0]);
        let mut again = values.zeros_like();
        again.set(values.to_vec()).unwrap();
        assert_eq!(again, values);
        let Values::Rows(rows) = &again else { panic!("still by rows") };
        assert_eq!(rows.list.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false]);
        assert!(again.set(vec![0.0; 5]).unwrap_err().to_string().contains("6 values"));
        values.clear();
        assert_eq!(values, again.zeros_like());
    }

    #[test]
    fn a_row_of_negative_zeros_keeps_its_sign() {
        let mut values = Values::Rows(Rows::new(1, 2));
        values.set(vec![-0.0, 0.0]).unwrap();
        assert_eq!(values.to_vec().iter().map(|v| v.to_bits()).collect::<Vec<_>>(), [(-0.0f32).to_bits(), 0]);
    }
}
