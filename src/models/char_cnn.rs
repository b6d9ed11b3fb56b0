//! Vectors by convolutions over characters (Kim et al., "Character-Aware Neural Language Models", AAAI 2016): of words, below the layers of
//! [`character_bert`](super::character_bert), or of a whole text (Shen et al., "A Latent Semantic Model with Convolutional-Pooling Structure
//! for Information Retrieval", CIKM 2014), the tower of [`dssm`](super::dssm) with `vectors = "char_cnn"`.
//!
//! ```text
//! vectors of characters  ->  convolutions over 1 to 6 characters, 25 filters for each of them, ReLU  ->  the largest value of the run, [525]
//!                        ->  highway: g relu(W x) + (1 - g) x  ->  linear  ->  LayerNorm  ->  [h]
//! ```
//!
//! A token is a character (`sverka tokenizer train --kind char`), so the whole table is some hundred rows and no code is unknown. A run is a
//! word or a text; past its end are zeros. The gate `g` begins near 0.12 (a bias of -2, as in the paper): most passes.
//! Refused: a recurrent network above, and `tanh` in place of ReLU.

use candle_core::{Device, Tensor};

use super::bert::PREFIX;
use super::net::{Inputs, Module, Pass};
use crate::text::Batch;
use crate::{Error, Result};

/// Convolutions by the number of characters that they see, from 1, and their filters.
const GRAMS: [(&str, [usize; 1]); 6] = [
    ("char_cnn.gram1", [25]),
    ("char_cnn.gram2", [50]),
    ("char_cnn.gram3", [75]),
    ("char_cnn.gram4", [100]),
    ("char_cnn.gram5", [125]),
    ("char_cnn.gram6", [150]),
];
/// Filters of all.
const FILTERS: [usize; 1] = [525];
const CHANGED: &str = "char_cnn.highway";
const GATE: &str = "char_cnn.highway_gate";
/// Added to the gate's bias, which is drawn as 0.
const GATE_BIAS: f64 = -2.0;
const OUT: &str = "char_cnn.out";

/// What it is made of: the table of characters, and what is above vectors of characters as wide as a state, or of `narrow` values.
pub(super) fn modules(narrow: Option<usize>) -> Vec<Module> {
    let mut modules = vec![Module::Words { prefix: PREFIX }];
    for (at, (name, filters)) in GRAMS.iter().enumerate() {
        let n = at + 1;
        let inputs = narrow.map_or(Inputs { states: n, layers: 0, features: 0 }, |width| Inputs::features(n * width));
        modules.push(Module::Affine { name, outputs: filters, inputs });
    }
    let [inputs] = FILTERS;
    for name in [CHANGED, GATE] {
        modules.push(Module::Affine { name, outputs: &FILTERS, inputs: Inputs::features(inputs) });
    }
    modules.push(Module::Restore { name: OUT, inputs });
    modules
}

/// Vectors of characters, `[t, h]`.
///
/// # Errors
/// An id past the table.
pub(super) fn characters(pass: &Pass, batch: &Batch) -> Result<Tensor> {
    pass.words(PREFIX, batch)?.rows((0..batch.ids.len() as u32).collect())
}

/// Vectors `[n, h]` of `n` runs of characters `[t, width]`; run `i` is from `runs[i]` to `runs[i + 1]`.
///
/// # Errors
/// A run without a character.
pub(super) fn vectors(pass: &Pass, characters: &Tensor, runs: &[u32]) -> Result<Tensor> {
    if runs.windows(2).any(|run| run[0] == run[1]) {
        let (expected, got) = ("tokens".to_string(), "a sequence without a token".to_string());
        return Err(Error::Shape { op: "char_cnn", expected, got });
    }
    let none = Tensor::zeros((1, characters.dim(1)?), characters.dtype(), characters.device())?;
    let rows = Tensor::cat(&[characters, &none], 0)?;
    let gram = |(at, (name, _)): (usize, &(&'static str, [usize; 1]))| -> Result<Tensor> {
        largest(&pass.affine(name, &windows(&rows, runs, at + 1)?)?.relu()?, runs)
    };
    let found = GRAMS.iter().enumerate().map(gram).collect::<Result<Vec<_>>>()?;
    let found = Tensor::cat(&found, 1)?;
    let gate = (((pass.affine(GATE, &found)? + GATE_BIAS)?.neg()?.exp()? + 1.0)?.recip())?;
    let changed = pass.affine(CHANGED, &found)?.relu()?;
    let passed = (&found + (gate * (changed - &found)?)?)?;
    pass.restore(OUT, FILTERS[0], &pass.dropout(&passed)?)
}

/// `n` vectors in a row from each character on, `[t, n * width]`; `rows` are those of all characters and one of zeros, `[t + 1, width]`.
fn windows(rows: &Tensor, runs: &[u32], n: usize) -> Result<Tensor> {
    let (t, width) = (rows.dim(0)? - 1, rows.dim(1)?);
    let mut places = Vec::with_capacity(t * n);
    for run in runs.windows(2) {
        for at in run[0]..run[1] {
            places.extend((at..at + n as u32).map(|at| if at < run[1] { at } else { t as u32 }));
        }
    }
    Ok(rows.index_select(&Tensor::from_vec(places, t * n, &Device::Cpu)?, 0)?.reshape((t, n * width))?)
}

/// The largest value of each column in each run, `[t, f]` to `[n, f]`; of equal ones the first has the gradient.
fn largest(values: &Tensor, runs: &[u32]) -> Result<Tensor> {
    let (n, f, plain) = (runs.len() - 1, values.dim(1)?, values.flatten_all()?.to_vec1::<f32>()?);
    let mut places = Vec::with_capacity(n * f);
    for run in runs.windows(2) {
        for column in 0..f {
            let at = |row: u32| row * f as u32 + column as u32;
            let mut best = at(run[0]);
            for place in (run[0] + 1..run[1]).map(at) {
                if plain[place as usize] > plain[best as usize] {
                    best = place;
                }
            }
            places.push(best);
        }
    }
    let places = Tensor::from_vec(places, n * f, &Device::Cpu)?;
    Ok(values.flatten_all()?.index_select(&places, 0)?.reshape((n, f))?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde::Deserialize;

    use super::super::bert::Config;
    use super::super::dssm::{self, Dssm};
    use super::super::net::{Mode, Net};
    use super::super::{Example, LossSettings, Model};
    use super::*;
    use crate::losses::Loss;
    use crate::nn::{Array, Device as NnDevice, Dtype, Weights};
    use crate::text::Encoding;

    #[derive(Deserialize)]
    struct Golden {
        /// Ids of texts: a query, its match, other documents, an example a list.
        examples: Vec<Vec<Vec<u32>>>,
        /// Vectors of all texts, one after the other, before the cosine.
        vectors: Vec<Vec<f32>>,
        /// Cosines of each query with its documents.
        scores: Vec<Vec<f32>>,
        loss: f32,
        /// Of each array: the gradient's length, its product with a fixed vector, its first values.
        gradients: std::collections::BTreeMap<String, (f64, f64, Vec<f32>)>,
    }

    fn encoding(ids: &[u32]) -> Encoding {
        Encoding { ids: ids.to_vec(), segments: vec![0; ids.len()], ..Encoding::default() }
    }

    /// Arrays by a formula, as in make.py.
    fn weights(model: &Dssm, config: &Config) -> Weights {
        let arrays = super::super::net::arrays(&model.modules(), config, &Weights::default());
        let array = |(number, (name, shape)): (usize, (String, Vec<usize>))| {
            let scale = match (shape.len(), name.ends_with("LayerNorm.weight")) {
                (2, _) if number > 0 => 1.5 / (shape[1] as f64).sqrt(),
                _ => 0.5,
            };
            let centre = if name.ends_with("LayerNorm.weight") { 1.0 } else { 0.0 };
            let drawn = |i: usize| ((31 * i * i + 7919 * i + 104729 * number) % 10007) as f64 / 10007.0;
            let value = |i: usize| (centre + scale * (2.0 * drawn(i) - 1.0)) as f32;
            let n = shape.iter().product();
            (name, Array::new(shape, (0..n).map(value).collect()))
        };
        Weights(arrays.into_iter().enumerate().map(array).collect())
    }

    #[test]
    fn vectors_scores_and_gradients_are_pythons() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/char_cnn/expected.json");
        let golden: Golden = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let json = r#"{"vocab_size":40,"hidden_size":12,"num_hidden_layers":1,"num_attention_heads":3,"intermediate_size":8,
            "max_position_embeddings":64,"type_vocab_size":2,"hidden_dropout_prob":0.0,"attention_probs_dropout_prob":0.0}"#;
        let config: Config = serde_json::from_str(json).unwrap();
        let model = Dssm(dssm::Config { vectors: dssm::TextVectors::CharCnn, temperature: 0.5, ..Default::default() });
        let weights = weights(&model, &config);
        let near = |got: f32, want: f32, what: &str| {
            assert!((got - want).abs() <= 1e-4 * want.abs().max(1.0), "{what}: {got}, Python {want}");
        };
        let net = Net::training(config.clone(), &model.modules(), weights.clone(), Dtype::F32, 1).unwrap();
        let texts: Vec<Encoding> = golden.examples.iter().flatten().map(|ids| encoding(ids)).collect();
        let serving = Net::serving(config, &model.modules(), &weights, Dtype::F32, NnDevice::Cpu).unwrap();
        let of_texts = |pass: &Pass, batch: &Batch| {
            vectors(pass, &characters(pass, batch).unwrap(), &batch.offsets).unwrap().to_vec2::<f32>().unwrap()
        };
        let all = of_texts(&serving.pass(Mode::Infer), &texts.iter().collect());
        let trained = of_texts(&net.pass(Mode::Train { seed: 1 }), &texts.iter().collect());
        for got in [&all, &trained] {
            let wanted = golden.vectors.iter().flatten();
            got.iter().flatten().zip(wanted).for_each(|(got, want)| near(*got, *want, "vector"));
        }
        for (i, text) in texts.iter().enumerate() {
            let alone = of_texts(&serving.pass(Mode::Infer), &[text.clone()].iter().collect());
            assert_eq!(alone[0], all[i], "the same bits whatever the batch");
        }
        let cosine = |a: &[f32], b: &[f32]| {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
        };
        let mut at = 0;
        for (texts, scores) in golden.examples.iter().zip(&golden.scores) {
            let own = &all[at..at + texts.len()];
            own[1..].iter().zip(scores).for_each(|(d, want)| near(cosine(&own[0], d), *want, "score"));
            at += texts.len();
        }
        let example = |texts: &Vec<Vec<u32>>| Example {
            texts: texts.iter().map(|ids| encoding(ids)).collect(),
            target: 1.0,
            ..Example::default()
        };
        let examples: Vec<Example> = golden.examples.iter().map(example).collect();
        let each = vec![1.0 / examples.len() as f32; examples.len()];
        let settings = LossSettings { weights: &each, label_smoothing: 0.0, loss: Loss::Bce };
        let pass = net.pass(Mode::Train { seed: 1 });
        let loss = model.loss(&pass, &examples.iter().collect::<Vec<_>>(), &settings).unwrap();
        near(loss.to_scalar().unwrap(), golden.loss, "loss");
        net.parameters().accumulate_grads(&loss.backward().unwrap()).unwrap();
        assert_eq!(net.parameters().list.len(), golden.gradients.len());
        for parameter in &net.parameters().list {
            let name = &parameter.name;
            let got = parameter.grad.lock().unwrap().to_vec();
            let (length, product, first) = &golden.gradients[name];
            let norm = got.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            let fixed = got.iter().enumerate().map(|(i, g)| f64::from(*g) * (0.9 * i as f64).cos()).sum::<f64>();
            assert!((norm - length).abs() <= 1e-4 * length && *length > 1e-6, "{name}: {norm}, Python {length}");
            assert!((fixed - product).abs() <= 1e-4 * length, "{name}: {fixed}, Python {product}");
            for (got, want) in got.iter().zip(first) {
                assert!(f64::from(got - want).abs() <= 1e-4 * length.max(1e-3), "{name}: {got}, Python {want}");
            }
        }
    }
}
