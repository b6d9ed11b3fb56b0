//! A look inside a model: what its heads attend to, what its layers know, what excites the cells of its feed-forward blocks.
//!
//! Everything is read off one plain forward pass ([`crate::nn::reference`]) in f32, of an encoder folder or a bundle; nothing is trained
//! but linear probes, on states that stay as they are. What an attention weight means for a decision is a question that a picture does
//! not answer (Jain and Wallace, Attention is not Explanation, NAACL 2019): it says where a state came from.
//!
//! Refused: hooks into the fast layer (it never has a whole map in memory), attributions by gradients (another tool).
mod attention;
mod layers;
mod neurons;
pub mod probe;

use std::path::{Path, PathBuf};

use candle_core::Tensor;

pub use attention::Attention;
pub use layers::{EarlyExit, LayerProbe, LayerReport, LayerTexts, Surface, early_exit, layers, surface};
pub use neurons::{Cell, Excited, Neurons, Query, neurons};

use crate::bundle::{Architecture, Checkpoint, text_encoder};
use crate::models::bert::{self, Config, Family, PREFIX};
use crate::models::{Module, Reads};
use crate::nn::encoder::Encoder;
use crate::nn::reference::{Keep, Reference, States, Tensors, tensors};
use crate::nn::{Device, Dtype, Weights};
use crate::ranker::Input;
use crate::text::{Batch, Encoding, TextEncoder};
use crate::{Error, Result};

/// An encoder to look into.
pub struct Network {
    dir: PathBuf,
    config: Config,
    weights: Weights,
    parameters: Tensors,
    reference: Reference,
    text: TextEncoder,
    architecture: String,
    pairs: bool,
}

impl Network {
    /// Opens a bundle or a plain folder of an encoder; it needs no head.
    ///
    /// # Errors
    /// A file that is missing or damaged; a model without layers, which has nothing to look into.
    pub fn open(dir: &Path) -> Result<Self> {
        let checkpoint = Checkpoint::read(dir)?;
        let (architecture, text) = (checkpoint.architecture(), text_encoder(dir, &checkpoint)?);
        let model = architecture.model();
        if !model.modules().iter().any(|m| matches!(m, Module::Encoder { .. })) {
            let what = format!("a {} of static vectors has no layers and no attention", architecture.name());
            return Err(Error::model(dir, "architecture", what, "give a model that has an encoder"));
        }
        let Checkpoint { config, mut weights, manifest, .. } = checkpoint;
        weights.0.retain(|name, _| name.starts_with(PREFIX));
        let known = config.arrays(PREFIX);
        if let Some((name, shape)) = known.iter().find(|(n, s)| weights.0.get(n).is_none_or(|a| a.shape != *s)) {
            let what = format!("is missing, or has not the shape {shape:?} that config.json asks for");
            return Err(Error::model(dir, name, what, "weights and config.json are of two models: fetch both again"));
        }
        if matches!(architecture, Architecture::CharacterBert(_)) {
            let what = "is character_bert: its layers see words, and maps here are of tokens";
            return Err(Error::model(dir, "architecture", what, "give a model whose layers see tokens"));
        }
        for (key, there) in [
            ("attention_window", config.attention_window.is_some()),
            ("hashed_attention", config.hashed_attention.is_some()),
        ] {
            if there {
                let what = "is there: attention to some tokens has no maps here";
                return Err(Error::model(dir, key, what, "give a model that attends to all tokens"));
            }
        }
        let (layers, heads) = (config.num_hidden_layers, config.num_attention_heads);
        Ok(Network {
            dir: dir.into(),
            parameters: tensors(&weights, &candle_core::Device::Cpu)?,
            reference: Reference { layers, heads, epsilon: f64::from(config.layer_norm_eps) },
            text,
            pairs: model.reads() != Reads::Towers,
            architecture: if manifest.is_some() { architecture.name() } else { "encoder".into() },
            weights,
            config,
        })
    }

    /// Sizes of the network.
    pub fn config(&self) -> &Config {
        &self.config
    }
    /// Its family.
    pub fn family(&self) -> Family {
        self.config.family
    }
    /// What kind of model it is: `encoder` for a plain folder.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }
    /// How it reads texts.
    pub fn tokenizer(&self) -> &TextEncoder {
        &self.text
    }

    /// One text, or two in one sequence; of a document in passages the first of them.
    ///
    /// # Errors
    /// Two texts for a model that reads each alone.
    pub fn encode(&self, inputs: &[Input]) -> Result<Encoding> {
        if inputs.len() > 1 && !self.pairs {
            let what = format!("a {} reads each text alone, so no token sees the other text", self.architecture);
            return Err(Error::model(&self.dir, "architecture", what, "give one text"));
        }
        Ok(Encoding { more: Vec::new(), ..self.text.encode(inputs)? })
    }

    /// The tokens of a sequence as the vocabulary spells them.
    pub fn pieces(&self, encoding: &Encoding) -> Vec<String> {
        encoding.ids.iter().map(|id| self.text.piece(*id)).collect()
    }

    /// Attention of one sequence, all layers and heads.
    ///
    /// # Errors
    /// An id or length past the tables.
    pub fn attention(&self, encoding: &Encoding) -> Result<Attention> {
        let states = self.forward(encoding, Keep { attention: true, cells: false })?;
        let (layers, heads, tokens) = (self.reference.layers, self.reference.heads, encoding.ids.len());
        let mut weights = Vec::with_capacity(layers * heads * tokens * tokens);
        for map in &states.attention {
            weights.extend(map.flatten_all()?.to_vec1::<f32>()?);
        }
        Ok(Attention { layers, heads, tokens, weights })
    }

    /// Which tokens of a sequence are around the texts and not in them.
    pub fn special(&self, encoding: &Encoding) -> Vec<bool> {
        let mut special = vec![true; encoding.ids.len()];
        for span in encoding.spans.iter().filter(|span| span.field.is_none()) {
            special[span.start as usize..span.end as usize].fill(false);
        }
        special
    }

    fn forward(&self, encoding: &Encoding, keep: Keep) -> Result<States> {
        let (tokens, most) = (encoding.ids.len(), self.config.max_position_embeddings);
        if tokens > most {
            return Err(Error::setting("text", tokens, format!("tokens, and the model has {most} positions")));
        }
        self.reference.forward_keeping(&self.parameters, &Batch::from_iter([encoding]), keep)
    }

    /// The fast encoder, for many texts.
    fn encoder(&self) -> Result<Encoder> {
        bert::encoder(&self.config, PREFIX, &self.weights, Dtype::F32, Device::Cpu)
    }
}

/// Rows of a tensor `[t, n]`.
fn rows(tensor: &Tensor) -> Result<Vec<Vec<f32>>> {
    Ok(tensor.to_vec2::<f32>()?)
}

/// Which word each token is a part of: the words in order, and each token's number of word; none for tokens around the texts.
/// Pieces of WordPiece (`##`) and of Unigram and BPE (`▁`, `Ġ` before a word) are put together; signs between letters of one word,
/// which BERT cuts off, are not.
pub fn words(pieces: &[String], special: &[bool]) -> (Vec<String>, Vec<Option<usize>>) {
    let begins = |piece: &str| piece.starts_with(['▁', 'Ġ']);
    let by_start = pieces.iter().zip(special).any(|(piece, special)| !special && begins(piece));
    let (mut words, mut of) = (Vec::<String>::new(), Vec::with_capacity(pieces.len()));
    let mut inside = false;
    for (piece, &special) in pieces.iter().zip(special) {
        if special {
            inside = false;
            of.push(None);
            continue;
        }
        let goes_on = inside && if by_start { !begins(piece) } else { piece.starts_with("##") };
        let letters = piece.trim_start_matches("##").trim_start_matches(['▁', 'Ġ']);
        match words.last_mut() {
            Some(word) if goes_on => word.push_str(letters),
            _ => words.push(letters.to_string()),
        }
        inside = true;
        of.push(Some(words.len() - 1));
    }
    (words, of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_put_together_from_pieces() {
        let of = |text: &str| {
            let pieces: Vec<String> = text.split(' ').map(str::to_string).collect();
            let special: Vec<bool> = pieces.iter().map(|p| p.starts_with(['[', '<'])).collect();
            words(&pieces, &special)
        };
        let (found, places) = of("[CLS] iiy ##ama e ##22 [SEP] lamp [SEP]");
        assert_eq!(found, ["iiyama", "e22", "lamp"]);
        assert_eq!(places, [None, Some(0), Some(0), Some(1), Some(1), None, Some(2), None]);
        assert_eq!(of("<s> ▁кра ска ▁5 л </s>").0, ["краска", "5л"]);
    }
}
