//! Rows of a table of words in training: an operation of candle's graph whose gradients go to the table by rows.

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Shape, Tensor, Var};

use super::grad_buffer::GradBuffer;
use super::kernels;
use crate::{Error, Result};

/// Refuses ids past a table of so many rows.
///
/// # Errors
/// The id, and that the text was encoded for another model.
pub fn check_ids(ids: &[u32], rows: usize) -> Result<()> {
    match ids.iter().find(|&&id| id as usize >= rows) {
        Some(id) => {
            let what = format!("token id past the table of {rows}: this text was encoded for another model");
            Err(Error::setting("batch", id, what))
        }
        None => Ok(()),
    }
}

/// Rows `ids` of a table `[rows, hidden]`, `[t, hidden]`, with a graph that leads to the table's gradient.
///
/// # Errors
/// What [`check_ids`] refuses.
pub fn word_rows(table: &Arc<Vec<f32>>, hidden: usize, ids: &[u32], grad: &Arc<Mutex<GradBuffer>>) -> Result<Tensor> {
    check_ids(ids, table.len() / hidden)?;
    let tie = Var::zeros((), DType::F32, &Device::Cpu)?;
    let op = WordRows { table: table.clone(), hidden, ids: ids.to_vec(), grad: grad.clone() };
    Ok(tie.apply_op1(op)?)
}

/// Its argument is a scalar variable that only ties it to the graph.
struct WordRows {
    table: Arc<Vec<f32>>,
    hidden: usize,
    ids: Vec<u32>,
    grad: Arc<Mutex<GradBuffer>>,
}

impl CustomOp1 for WordRows {
    fn name(&self) -> &'static str {
        "word-rows"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let row = |id: &u32| &self.table[*id as usize * self.hidden..][..self.hidden];
        let rows: Vec<f32> = self.ids.iter().flat_map(row).copied().collect();
        Ok((CpuStorage::F32(rows), Shape::from((self.ids.len(), self.hidden))))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad_res: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let grad = grad_res.flatten_all()?.to_vec1::<f32>()?;
        let mut table = self.grad.lock().expect("no panic holds a gradient");
        let GradBuffer::SparseRows(table) = &mut *table else {
            candle_core::bail!("word-rows: the word table goes by rows")
        };
        for (id, grad) in self.ids.iter().zip(grad.chunks_exact(self.hidden)) {
            kernels::add(table.row_mut(*id as usize), grad);
        }
        Ok(None)
    }
}
