//! What training keeps in addition to a parameter: its gradient and the optimizer's moments, dense, as bf16 or by rows.
//!
//! A gradient is there from the moment the backward pass reaches its layer until the next step, when the activations of
//! the layers after it are gone; so a step's memory is the larger of the two and not their sum.
//!
//! A step's tokens touch some hundred rows of a word table of thirty thousand, and a corpus some thousand: the others have a
//! gradient and moments of zero, and are not there. Sums and updates have the bits that whole arrays would give.

use half::bf16;

use super::kernels::Buffer;
use crate::{Error, Result};

/// An array of a parameter's size.
#[derive(Debug, Clone, PartialEq)]
pub enum GradBuffer {
    /// All zeros; nothing is allocated.
    Zero(usize),
    /// All of it.
    Dense(Buffer<f32>),
    /// All of it as bfloat16.
    Bf16(Buffer<u16>),
    /// Rows that are not zero.
    SparseRows(SparseRows),
}

/// A table of which some rows are there; the others are zero.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseRows {
    /// In their order.
    pub list: Vec<Option<Box<[f32]>>>,
    /// A row that is not there.
    zero: Box<[f32]>,
}

impl SparseRows {
    /// A table of zeros.
    pub fn new(rows: usize, width: usize) -> Self {
        SparseRows { list: vec![None; rows], zero: vec![0.0; width].into() }
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

impl GradBuffer {
    /// How many.
    pub fn count(&self) -> usize {
        match self {
            GradBuffer::Zero(n) => *n,
            GradBuffer::Dense(values) => values.len(),
            GradBuffer::Bf16(values) => values.len(),
            GradBuffer::SparseRows(rows) => rows.list.len() * rows.width(),
        }
    }
    /// Makes all of it zero, and gives its memory up.
    pub fn clear(&mut self) {
        match self {
            GradBuffer::SparseRows(rows) => rows.list.fill(None),
            whole => *whole = GradBuffer::Zero(whole.count()),
        }
    }
    /// All values as f32 at one place, zeros where there were none.
    ///
    /// # Panics
    /// If the buffer is sparse or bf16.
    pub fn dense_mut(&mut self) -> &mut [f32] {
        if let GradBuffer::Zero(n) = *self {
            *self = GradBuffer::Dense(Buffer::new(n));
        }
        match self {
            GradBuffer::Dense(values) => values,
            _ => unreachable!("a whole gradient for a parameter that is held otherwise"),
        }
    }
    /// The bytes of all values in order, in pieces that lie somewhere; bfloat16 where [`GradBuffer::Bf16`], else f32.
    pub fn pieces(&self) -> Vec<&[u8]> {
        match self {
            GradBuffer::Zero(_) => unreachable!("only gradients are not there, and nobody keeps them"),
            GradBuffer::Dense(values) => vec![bytemuck::cast_slice(values)],
            GradBuffer::Bf16(values) => vec![bytemuck::cast_slice(values)],
            GradBuffer::SparseRows(rows) => {
                (0..rows.list.len()).map(|row| bytemuck::cast_slice(rows.row(row))).collect()
            }
        }
    }
    /// A copy of all values.
    pub fn to_vec(&self) -> Vec<f32> {
        match self {
            GradBuffer::Zero(n) => vec![0.0; *n],
            GradBuffer::Dense(values) => values.to_vec(),
            GradBuffer::Bf16(values) => values.iter().map(|&v| bf16::from_bits(v).to_f32()).collect(),
            GradBuffer::SparseRows(rows) => {
                (0..rows.list.len()).flat_map(|row| rows.row(row).iter().copied()).collect()
            }
        }
    }
    /// Replaces all values, rounded in a bf16 buffer.
    ///
    /// # Errors
    /// Another number of values.
    pub fn set(&mut self, values: Vec<f32>) -> Result<()> {
        let length = self.count();
        if values.len() != length {
            let (expected, got) = (format!("{length} values"), values.len().to_string());
            return Err(Error::Shape { op: "values", expected, got });
        }
        match self {
            GradBuffer::Zero(_) | GradBuffer::Dense(_) => *self = GradBuffer::Dense(Buffer::from_slice(&values)),
            GradBuffer::Bf16(own) => own.iter_mut().zip(values).for_each(|(own, v)| *own = bf16::from_f32(v).to_bits()),
            GradBuffer::SparseRows(rows) => {
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
        let mut rows = SparseRows::new(3, 2);
        rows.row_mut(1).copy_from_slice(&[1.0, -0.0]);
        let mut values = GradBuffer::SparseRows(rows);
        assert_eq!(values.to_vec(), [0.0, 0.0, 1.0, -0.0, 0.0, 0.0]);
        let mut again = GradBuffer::SparseRows(SparseRows::new(3, 2));
        again.set(values.to_vec()).unwrap();
        assert_eq!(again, values);
        let GradBuffer::SparseRows(rows) = &again else { panic!("still by rows") };
        assert_eq!(rows.list.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false]);
        assert!(again.set(vec![0.0; 5]).unwrap_err().to_string().contains("6 values"));
        values.clear();
        assert_eq!(values, GradBuffer::SparseRows(SparseRows::new(3, 2)));
    }

    #[test]
    fn zeros_are_there_when_they_are_written() {
        let mut values = GradBuffer::Zero(3);
        assert_eq!((values.count(), values.to_vec()), (3, vec![0.0; 3]));
        values.dense_mut()[1] = 2.0;
        assert_eq!(values.to_vec(), [0.0, 2.0, 0.0]);
        values.clear();
        assert_eq!(values, GradBuffer::Zero(3));
        assert!(values.set(vec![0.0; 4]).is_err());
    }

    #[test]
    fn half_rounds_to_the_nearest() {
        let mut values = GradBuffer::Bf16(Buffer::new(3));
        values.set(vec![1.0, 1.0 + 1.0 / 512.0, 1.0 + 3.0 / 512.0]).unwrap();
        assert_eq!(values.to_vec(), [1.0, 1.0, 1.0 + 1.0 / 128.0]);
        assert_eq!(values.pieces()[0].len(), 6);
        let again = values.to_vec();
        values.set(again.clone()).unwrap();
        assert_eq!(values.to_vec(), again);
    }

    #[test]
    fn a_row_of_negative_zeros_keeps_its_sign() {
        let mut values = GradBuffer::SparseRows(SparseRows::new(1, 2));
        values.set(vec![-0.0, 0.0]).unwrap();
        assert_eq!(values.to_vec().iter().map(|v| v.to_bits()).collect::<Vec<_>>(), [(-0.0f32).to_bits(), 0]);
    }
}
