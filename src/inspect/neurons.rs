//! The cells of feed-forward blocks (Geva et al., Transformer Feed-Forward Layers Are Key-Value Memories, EMNLP 2021): which are
//! strongest for a token, and which texts excite them most.
//!
//! A cell's strength is how far it moves the token's state: what it gives, times the length of its column of the second matrix.

use serde::Serialize;

use super::{Network, rows};
use crate::models::bert::{LAYER_NAMES, PREFIX, layer_array};
use crate::nn::reference::Keep;
use crate::ranker::Input;
use crate::text::{Batch, Encoding};
use crate::{Error, Result};

/// Texts through the network at once.
const BATCH: usize = 8;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Query {
    /// The token's place in the sequence.
    pub token: usize,
    /// Only this layer's cells, from 0.
    pub layer: Option<usize>,
    /// How many cells.
    pub cells: usize,
    /// How many texts a cell.
    pub texts: usize,
}

/// A place in a corpus that excites a cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Excited {
    /// What the cell gives there.
    pub activation: f32,
    /// The token.
    pub token: String,
    /// The text.
    pub text: String,
}

/// A cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cell {
    /// Its layer, from 1.
    pub layer: usize,
    /// Its number within the layer, from 0.
    pub cell: usize,
    /// What it gives for the token.
    pub activation: f32,
    /// How far that moves the token's state.
    pub strength: f32,
    /// The texts that excite it most, one place each.
    pub excited: Vec<Excited>,
}

/// The strongest cells for a token.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Neurons {
    /// The token.
    pub token: String,
    /// Its place.
    pub place: usize,
    /// Texts of the corpus that were read.
    pub texts: usize,
    /// The strongest first.
    pub cells: Vec<Cell>,
}

/// Finds the strongest cells for a token and reads a corpus for what excites them. `done` gets how many texts were read.
///
/// # Errors
/// A layer that is not there; what the tokenizer refuses.
pub fn neurons(
    network: &Network,
    encoding: &Encoding,
    query: Query,
    corpus: &[String],
    done: &dyn Fn(u64),
) -> Result<Neurons> {
    let layers = network.config().num_hidden_layers;
    if let Some(layer) = query.layer.filter(|layer| *layer >= layers) {
        return Err(Error::setting("--layer", layer + 1, format!("the model has layers 1 to {layers}")));
    }
    let keep = Keep { attention: false, cells: true };
    let states = network.forward(encoding, keep)?;
    let mut cells = Vec::new();
    for layer in query.layer.map_or(0..layers, |layer| layer..layer + 1) {
        let lengths = network.column_lengths(layer)?;
        let given = &rows(&states.cells[layer])?[query.token];
        cells.extend(given.iter().zip(lengths).enumerate().map(|(cell, (activation, length))| {
            let (activation, strength) = (*activation, activation.abs() * length);
            Cell { layer: layer + 1, cell, activation, strength, excited: Vec::new() }
        }));
    }
    cells.sort_by(|a, b| b.strength.total_cmp(&a.strength));
    cells.truncate(query.cells);
    for (number, texts) in corpus.chunks(BATCH).enumerate() {
        let encodings: Vec<Encoding> =
            texts.iter().map(|text| network.encode(&[Input::Text(text)])).collect::<Result<_>>()?;
        let batch: Batch = encodings.iter().collect();
        let states = network.reference.forward_keeping(&network.parameters, &batch, keep)?;
        for cell in &mut cells {
            let column = states.cells[cell.layer - 1].narrow(1, cell.cell, 1)?.flatten_all()?.to_vec1::<f32>()?;
            for (i, text) in texts.iter().enumerate() {
                let start = batch.offsets[i] as usize;
                let of_text = column[start..batch.offsets[i + 1] as usize].iter().enumerate();
                let Some((at, activation)) = of_text.max_by(|a, b| a.1.total_cmp(b.1)) else { continue };
                let (token, activation) = (network.text.piece(batch.ids[start + at]), *activation);
                cell.excited.push(Excited { activation, token, text: text.clone() });
            }
            cell.excited.sort_by(|a, b| b.activation.total_cmp(&a.activation));
            cell.excited.truncate(query.texts);
        }
        done((number * BATCH + texts.len()) as u64);
    }
    let token = network.text.piece(encoding.ids[query.token]);
    Ok(Neurons { token, place: query.token, texts: corpus.len(), cells })
}

impl Network {
    /// Length of each cell's column in a layer's second matrix, `[f]`.
    fn column_lengths(&self, layer: usize) -> Result<Vec<f32>> {
        let name = layer_array(PREFIX, layer, LAYER_NAMES.down.weight);
        let missing = || Error::Internal { op: "neurons", what: format!("no array {name}") };
        let down = self.parameters.get(&name).ok_or_else(missing)?;
        Ok(down.sqr()?.sum(0)?.sqrt()?.to_vec1::<f32>()?)
    }
}
