//! int8 matrices: whole numbers of -127 to 127 with one scale per row.
//!
//! For a linear layer `[out, in]` a row is an output channel, for a table of embeddings a token. There is one rounding rule
//! ([`quantize_row`]), so a matrix that is rounded when it is saved and one that is rounded when it is packed have the same bytes.

use std::borrow::Cow;

/// A row whose largest value is below this becomes zeros: its scale would lose all precision.
const SMALLEST: f32 = 1e-30;

/// Whole numbers `[rows, columns]` and scales `[rows]`; a value is the product of its number and its row's scale.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct QuantizedMatrix {
    columns: usize,
    values: Vec<i8>,
    scales: Vec<f32>,
}

impl QuantizedMatrix {
    /// From its parts: `values` are `scales.len()` rows of `columns`.
    ///
    /// # Panics
    /// If they are not.
    pub fn new(columns: usize, values: Vec<i8>, scales: Vec<f32>) -> Self {
        assert_eq!(values.len(), columns * scales.len(), "rows of {columns} columns");
        QuantizedMatrix { columns, values, scales }
    }
    /// Rounds rows of `columns` values.
    pub fn quantize(rows: &[f32], columns: usize) -> Self {
        Self::clipped(rows, columns, 1.0)
    }
    /// As [`QuantizedMatrix::quantize`], with rows cut to this share of their largest value.
    pub fn clipped(rows: &[f32], columns: usize, clip: f32) -> Self {
        let mut values = Vec::with_capacity(rows.len());
        let scales = rows.chunks_exact(columns.max(1)).map(|row| quantize_row(row, clip, &mut values)).collect();
        QuantizedMatrix { columns, values, scales }
    }
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.scales.len()
    }
    /// Values of a row.
    pub fn columns(&self) -> usize {
        self.columns
    }
    /// All numbers, `[rows, columns]`.
    pub fn values(&self) -> &[i8] {
        &self.values
    }
    /// The scales, `[rows]`.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }
    /// A row's numbers and its scale.
    pub fn row(&self, row: usize) -> (&[i8], f32) {
        (&self.values[row * self.columns..][..self.columns], self.scales[row])
    }
    /// Copies a row of another matrix of the same width.
    pub fn set_row(&mut self, row: usize, (values, scale): (&[i8], f32)) {
        self.values[row * self.columns..][..self.columns].copy_from_slice(values);
        self.scales[row] = scale;
    }
    /// The rows of these numbers, in this order.
    pub fn select(&self, rows: &[usize]) -> Self {
        let values = rows.iter().flat_map(|&row| self.row(row).0).copied().collect();
        QuantizedMatrix { columns: self.columns, values, scales: rows.iter().map(|&row| self.scales[row]).collect() }
    }
    /// The values, `[rows, columns]`.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut out = Vec::with_capacity(self.values.len());
        (0..self.rows()).for_each(|row| self.extend(row, &mut out));
        out
    }
    /// Adds a row's values to `out`.
    fn extend(&self, row: usize, out: &mut Vec<f32>) {
        let (values, scale) = self.row(row);
        out.extend(values.iter().map(|&q| f32::from(q) * scale));
    }
}

/// Adds a row's numbers to `out` and gives its scale: `clip` times the largest magnitude, divided by 127. Values beyond are cut.
pub fn quantize_row(row: &[f32], clip: f32, out: &mut Vec<i8>) -> f32 {
    let largest = clip * row.iter().fold(0f32, |most, x| most.max(x.abs()));
    if largest < SMALLEST {
        out.resize(out.len() + row.len(), 0);
        return 0.0;
    }
    let by = 127.0 / largest;
    // To even at a tie. `round_ties_even` is a function call for each value where the compiler may not use SSE4.1.
    const MIDDLE: f32 = 12_582_912.0; // 1.5 * 2^23: the next f32 after a value there is 1 more
    out.extend(row.iter().map(|x| ((x * by).clamp(-127.0, 127.0) + MIDDLE - MIDDLE) as i8));
    largest / 127.0
}

/// A matrix `[rows, columns]` as it is stored.
#[derive(Debug, Clone, Copy)]
pub enum Matrix<'a> {
    /// Its values.
    F32(&'a [f32]),
    /// Its numbers and scales.
    Int8(&'a QuantizedMatrix),
}

impl<'a> Matrix<'a> {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Matrix::F32(values) => values.len(),
            Matrix::Int8(matrix) => matrix.values.len(),
        }
    }
    /// Without a value?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Its values; a copy if it is int8.
    pub fn values(&self) -> Cow<'a, [f32]> {
        match self {
            Matrix::F32(values) => Cow::Borrowed(values),
            Matrix::Int8(matrix) => Cow::Owned(matrix.to_f32()),
        }
    }
    /// Rows `first..first + count` of `columns` values; a copy if it is int8.
    pub(super) fn values_of_rows(&self, first: usize, count: usize, columns: usize) -> Cow<'a, [f32]> {
        match self {
            Matrix::F32(values) => Cow::Borrowed(&values[first * columns..][..count * columns]),
            Matrix::Int8(matrix) => {
                let mut out = Vec::with_capacity(count * columns);
                (first..first + count).for_each(|row| matrix.extend(row, &mut out));
                Cow::Owned(out)
            }
        }
    }
    /// Adds the int8 numbers of a row of `columns` values to `out` and gives the scale; an f32 row is rounded.
    pub(super) fn quantized_row(&self, row: usize, columns: usize, out: &mut Vec<i8>) -> f32 {
        match self {
            Matrix::F32(values) => quantize_row(&values[row * columns..][..columns], 1.0, out),
            Matrix::Int8(matrix) => {
                let (values, scale) = matrix.row(row);
                out.extend_from_slice(values);
                scale
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_rounded_to_even_and_the_largest_value_is_127() {
        let rows = [127.0, 0.5, 1.5, -2.5, -127.0, 0.0, 0.0, 0.0, 1e-31, -1e-31];
        let matrix = QuantizedMatrix::quantize(&rows, 5);
        assert_eq!((matrix.row(0), matrix.row(1)), ((&[127, 0, 2, -2, -127][..], 1.0), (&[0; 5][..], 0.0)));
        assert_eq!(matrix.to_f32(), [127.0, 0.0, 2.0, -2.0, -127.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        let cut = QuantizedMatrix::clipped(&rows[..5], 5, 0.5);
        assert_eq!(cut.row(0), (&[127, 1, 3, -5, -127][..], 0.5));
    }

    #[test]
    fn every_part_of_a_matrix_is_the_same_in_both_forms() {
        let rows: Vec<f32> = (0..12).map(|i| (i as f32 - 5.0) * 0.37).collect();
        let matrix = QuantizedMatrix::quantize(&rows, 4);
        let values = matrix.to_f32();
        let (int8, f32) = (Matrix::Int8(&matrix), Matrix::F32(&values));
        assert_eq!((int8.len(), int8.values()), (f32.len(), f32.values()));
        assert_eq!(int8.values_of_rows(1, 2, 4), f32.values_of_rows(1, 2, 4));
        assert_eq!(matrix.select(&[2, 0]).to_f32(), [&values[8..], &values[..4]].concat());
        let (mut one, mut other) = (Vec::new(), Vec::new());
        let scales = (int8.quantized_row(2, 4, &mut one), Matrix::F32(&rows).quantized_row(2, 4, &mut other));
        assert_eq!((scales.0, one), (scales.1, other), "rounding at packing is the rounding at saving");
    }
}
