//! Sums, means, maxima and the softmax over groups of rows that lie one after the other; `offsets` says where each starts, and the end.

use candle_core::{Device, Tensor};

use super::pooling::Mean;
use crate::Result;

/// The group of each row, `[n]`.
fn group_of(offsets: &[u32]) -> Result<Tensor> {
    let lengths = offsets.windows(2).enumerate().flat_map(|(group, w)| (w[0]..w[1]).map(move |_| group as u32));
    let groups: Vec<u32> = lengths.collect();
    let n = groups.len();
    Ok(Tensor::from_vec(groups, n, &Device::Cpu)?)
}

/// Sums of rows `[n]` or `[n, w]`: `[groups]` or `[groups, w]`.
///
/// # Errors
/// What the tensor library refuses.
pub fn sum(rows: &Tensor, offsets: &[u32]) -> Result<Tensor> {
    let mut shape = rows.dims().to_vec();
    shape[0] = offsets.len() - 1;
    Ok(Tensor::zeros(shape, rows.dtype(), rows.device())?.index_add(&group_of(offsets)?, rows, 0)?)
}

/// Means of rows `[n]` or `[n, w]`: `[groups]` or `[groups, w]`.
///
/// # Errors
/// What the tensor library refuses.
pub fn mean(rows: &Tensor, offsets: Vec<u32>) -> Result<Tensor> {
    match rows.rank() {
        1 => Ok(rows.unsqueeze(1)?.apply_op1(Mean { offsets })?.squeeze(1)?),
        _ => Ok(rows.apply_op1(Mean { offsets })?),
    }
}

/// The largest value of each group, none of which is empty: `[n]` to `[groups]`. Its gradient goes to the first of equal ones.
///
/// # Errors
/// What the tensor library refuses.
pub fn max(values: &Tensor, offsets: &[u32]) -> Result<Tensor> {
    let plain = values.to_vec1::<f32>()?;
    let first_of_largest =
        |w: &[u32]| (w[0]..w[1]).rev().max_by(|a, b| plain[*a as usize].total_cmp(&plain[*b as usize])).unwrap_or(w[0]);
    let places: Vec<u32> = offsets.windows(2).map(first_of_largest).collect();
    Ok(values.index_select(&Tensor::new(places, values.device())?, 0)?)
}

/// The softmax within each group, `[n]`.
///
/// # Errors
/// What the tensor library refuses.
pub fn softmax(values: &Tensor, offsets: &[u32]) -> Result<Tensor> {
    let plain = values.to_vec1::<f32>()?;
    let largest = offsets.windows(2).flat_map(|w| {
        let own = &plain[w[0] as usize..w[1] as usize];
        std::iter::repeat_n(own.iter().copied().fold(f32::MIN, f32::max), own.len())
    });
    // the largest value cancels out and needs no gradient
    let exp = (values - Tensor::from_iter(largest, values.device())?)?.exp()?;
    Ok((&exp / sum(&exp, offsets)?.index_select(&group_of(offsets)?, 0)?)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::*;

    const OFFSETS: [u32; 4] = [0, 2, 3, 6];

    #[test]
    fn each_group_by_itself() {
        let x = Tensor::new(&[1f32, 3.0, -5.0, 2.0, 2.0, -1.0], &Device::Cpu).unwrap();
        let vec = |t: Result<Tensor>| t.unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(vec(sum(&x, &OFFSETS)), [4.0, -5.0, 3.0]);
        assert_eq!(vec(mean(&x, OFFSETS.into())), [2.0, -5.0, 1.0]);
        assert_eq!(vec(max(&x, &OFFSETS)), [3.0, -5.0, 2.0]);
        let softmax = vec(softmax(&Tensor::new(&[100f32, 100.0, -200.0], &Device::Cpu).unwrap(), &[0, 2, 3]));
        assert_eq!(softmax, [0.5, 0.5, 1.0]);
        let wide = x.reshape((6, 1)).unwrap();
        assert_eq!(sum(&wide, &OFFSETS).unwrap().dims(), [3, 1]);
        assert_eq!(mean(&wide, OFFSETS.into()).unwrap().to_vec2::<f32>().unwrap(), [[2.0], [-5.0], [1.0]]);
    }

    #[test]
    fn the_gradient_of_the_largest_goes_to_one_row() {
        let x = Var::from_slice(&[1f32, 3.0, -5.0, 2.0, 2.0, -1.0], 6, &Device::Cpu).unwrap();
        let grads = max(x.as_tensor(), &OFFSETS).unwrap().sum_all().unwrap().backward().unwrap();
        let grad = grads.get(x.as_tensor()).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(grad, [0.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
    }
}
