//! What training changes: named values with their gradients.

use std::sync::{Arc, Mutex};

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};

use super::grad_buffer::{GradBuffer, SparseRows};
use super::weights::{Array, Weights};
use crate::{Error, Result};

/// One trained array.
#[derive(Debug)]
pub struct Parameter {
    /// Its name in the safetensors file.
    pub name: String,
    /// Its axes.
    pub shape: Vec<usize>,
    /// The f32 master values. A graph shares them while it lives; who changes them meanwhile (`Arc::make_mut`) changes a copy.
    pub value: Arc<Vec<f32>>,
    /// The gradient of the loss, summed since [`Parameters::zero_grad`]. Custom operations write it from the backward pass.
    pub grad: Arc<Mutex<GradBuffer>>,
    /// Whether weight decay applies: not on LayerNorm and bias.
    pub decay: bool,
    /// What the learning rate is multiplied by.
    pub lr_scale: f32,
}

/// All trained arrays of a network, in a fixed order.
#[derive(Debug, Default)]
pub struct Parameters {
    /// The arrays, sorted by name.
    pub list: Vec<Parameter>,
    /// Leaves of the current graph, made by [`Parameters::var`].
    vars: Mutex<Vec<(usize, Var)>>,
}

impl Parameters {
    /// From loaded weights. Every array becomes a parameter.
    pub fn new(weights: Weights) -> Self {
        let list = weights.0.into_iter().map(|(name, array)| {
            let (shape, data) = (array.shape.clone(), array.into_values());
            let decay = shape.len() > 1;
            let grad = Arc::new(Mutex::new(GradBuffer::Zero(data.len())));
            Parameter { name, shape, value: Arc::new(data), grad, decay, lr_scale: 1.0 }
        });
        Parameters { list: list.collect(), vars: Mutex::default() }
    }
    /// Holds a table's gradient, and so the optimiser's moments, by rows: for tables of which a batch touches a few.
    pub fn mark_sparse(&mut self, name: &str) -> Result<()> {
        let index = self.index(name)?;
        let p = &mut self.list[index];
        let &[rows, width] = p.shape.as_slice() else {
            return Err(Error::Shape {
                op: "mark_sparse",
                expected: "a table".into(),
                got: format!("{name} {:?}", p.shape),
            });
        };
        p.grad = Arc::new(Mutex::new(GradBuffer::SparseRows(SparseRows::new(rows, width))));
        Ok(())
    }
    /// A copy of the values.
    pub fn weights(&self) -> Weights {
        let arrays = self.list.iter().map(|p| (p.name.clone(), Array::new(p.shape.clone(), p.value.to_vec())));
        Weights(arrays.collect())
    }
    /// Index of a parameter.
    pub fn index(&self, name: &str) -> Result<usize> {
        let found = self.list.binary_search_by(|p| p.name.as_str().cmp(name));
        found.map_err(|_| Error::Internal { op: "parameters", what: format!("no parameter {name}") })
    }
    /// Values of a parameter.
    pub fn get(&self, name: &str) -> Result<&Parameter> {
        Ok(&self.list[self.index(name)?])
    }
    /// The parameter as a leaf of the graph being built; [`Parameters::accumulate_grads`] takes its gradient.
    pub fn var(&self, name: &str) -> Result<Tensor> {
        let index = self.index(name)?;
        let p = &self.list[index];
        let var = Var::from_slice(&p.value, p.shape.as_slice(), &Device::Cpu)?;
        let tensor = var.as_tensor().clone();
        self.vars.lock().expect("no panic holds the leaves").push((index, var));
        Ok(tensor)
    }
    /// Adds the gradients of the leaves made since the last call to the parameters' own.
    pub fn accumulate_grads(&self, grads: &GradStore) -> Result<()> {
        for (index, var) in self.vars.lock().expect("no panic holds the leaves").drain(..) {
            let Some(grad) = grads.get(var.as_tensor()) else { continue };
            let values = grad.flatten_all()?.to_vec1::<f32>()?;
            let mut sum = self.list[index].grad.lock().expect("no panic holds a gradient");
            sum.dense_mut().iter_mut().zip(values).for_each(|(s, g)| *s += g);
        }
        Ok(())
    }
    /// Forgets the leaves of a graph that nobody walks back.
    pub fn clear_graph(&self) {
        self.vars.lock().expect("no panic holds the leaves").clear();
    }
    /// Forgets the gradients and gives their memory up.
    pub fn zero_grad(&self) {
        for p in &self.list {
            p.grad.lock().expect("no panic holds a gradient").clear();
        }
    }
}
