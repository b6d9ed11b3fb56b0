//! What a model is made of: modules, the names and shapes of their arrays, and what an array begins with before it is trained.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::bert::{self, Config};
use crate::nn::{Array, Weights};
use crate::text::MARKS;
use crate::{Error, Result};

/// One thing that a model is made of, with arrays of its own.
#[derive(Debug, Clone, PartialEq)]
pub enum Module {
    /// A BERT encoder: the arrays of [`Config::arrays`] under a prefix.
    Encoder {
        /// `bert.`, or what comes before it in the names of a second encoder.
        prefix: &'static str,
        /// The prefix of the encoder whose arrays it starts from, if it has none of its own.
        copy_of: Option<&'static str>,
    },
    /// The encoder's table of words and nothing else: static vectors.
    Words {
        /// The prefix of the encoder that it is the table of.
        prefix: &'static str,
    },
    /// A linear layer: `{name}.weight [outputs, inputs]` and `{name}.bias [outputs]`.
    Affine {
        /// Its name.
        name: &'static str,
        /// Numbers of outputs that it may have; one that is drawn has the first.
        outputs: &'static [usize],
        /// The number of inputs.
        inputs: Inputs,
    },
    /// A linear layer of any width.
    Projection(Projection),
    /// Trained values `[n]`.
    Values {
        /// Their name.
        name: &'static str,
        /// What they begin with.
        init: Vec<f32>,
    },
    /// One value for each token of the vocabulary, `[vocab_size]`, that training counts and does not change.
    TokenValues {
        /// Their name.
        name: &'static str,
    },
    /// BERT's pooler, a linear layer `[h, h]`.
    Pooler,
    /// BERT's head of masked tokens: a linear layer `[h, h]`, a LayerNorm, and the bias `[vocab_size]` of a decoder that is tied to the
    /// table of words of the encoder under BERT's own names.
    MaskedHead,
    /// What states get that were given their segment and are marked later, `[marks, h]`: a row a mark. Before it is trained a row is
    /// what the mark's segment, in place of that of its text, would have changed in the embedding's output.
    Marks {
        /// Its name.
        name: &'static str,
    },
    /// From few values back to a state: a linear layer `[h, inputs]` and a LayerNorm, `{name}.dense` and `{name}.LayerNorm`.
    Restore {
        /// Its name.
        name: &'static str,
        /// Values that it starts from.
        inputs: usize,
    },
}

/// A linear layer of any width: `{name}.weight [outputs, inputs]`, and `{name}.bias [outputs]` if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Projection {
    /// Its name.
    pub name: &'static str,
    /// The number of inputs.
    pub inputs: Inputs,
    /// The number of outputs.
    pub outputs: usize,
    /// Whether it has a bias.
    pub bias: bool,
}

/// How many inputs a linear layer has: `states * h + layers * (l + 1) + features`, for an encoder of `l` layers, `h` wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inputs {
    /// States among them.
    pub states: usize,
    /// Features of each of the encoder's states, that of its embedding included.
    pub layers: usize,
    /// Features besides.
    pub features: usize,
}

impl Inputs {
    /// One state.
    pub const STATE: Inputs = Inputs { states: 1, layers: 0, features: 0 };
    /// Some features.
    pub const fn features(features: usize) -> Self {
        Inputs { states: 0, layers: 0, features }
    }
    pub(super) fn count(self, config: &Config) -> usize {
        self.states * config.hidden_size + self.layers * (config.num_hidden_layers + 1) + self.features
    }
}

/// The encoder under BERT's own names.
pub const ENCODER: Module = Module::Encoder { prefix: bert::PREFIX, copy_of: None };

impl Module {
    /// Names and shapes of its arrays, given those that are there: a linear layer may have one of several numbers of outputs.
    fn arrays(&self, config: &Config, found: &Weights) -> Vec<(String, Vec<usize>)> {
        let affine = |name: &str, outputs: usize, inputs: usize| {
            vec![(format!("{name}.weight"), vec![outputs, inputs]), (format!("{name}.bias"), vec![outputs])]
        };
        match self {
            Module::Encoder { prefix, .. } => config.arrays(prefix),
            Module::Words { prefix } => {
                vec![(format!("{prefix}{}", bert::WORDS), vec![config.vocab_size, config.hidden_size])]
            }
            Module::Pooler => {
                let mut list = affine(bert::POOLER, config.hidden_size, config.hidden_size);
                list.extend(config.modern.map(|_| (bert::POOLER_NORM.to_string(), vec![config.hidden_size])));
                list
            }
            Module::MaskedHead => {
                let mut arrays = affine(bert::TRANSFORM, config.hidden_size, config.hidden_size);
                arrays.extend(bert::TRANSFORM_NORM.map(|name| (name.to_string(), vec![config.hidden_size])));
                arrays.push((bert::DECODER_BIAS.into(), vec![config.vocab_size]));
                arrays
            }
            Module::Marks { name } => vec![(name.to_string(), vec![MARKS, config.hidden_size])],
            Module::Restore { name, inputs } => {
                let mut arrays = affine(&format!("{name}.dense"), config.hidden_size, *inputs);
                arrays.extend(
                    ["weight", "bias"].map(|kind| (format!("{name}.LayerNorm.{kind}"), vec![config.hidden_size])),
                );
                arrays
            }
            Module::TokenValues { name } => vec![(name.to_string(), vec![config.vocab_size])],
            Module::Values { name, init } => vec![(name.to_string(), vec![init.len()])],
            Module::Projection(Projection { name, inputs, outputs, bias }) => {
                let mut arrays = affine(name, *outputs, inputs.count(config));
                arrays.truncate(if *bias { 2 } else { 1 });
                arrays
            }
            Module::Affine { name, outputs, inputs } => {
                let there = found.0.get(&format!("{name}.weight")).and_then(|a| a.shape.first()).copied();
                let outputs = there.filter(|n| outputs.contains(n)).unwrap_or(outputs[0]);
                affine(name, outputs, inputs.count(config))
            }
        }
    }
}

/// Names and shapes of all arrays that a model of these modules takes.
pub fn arrays(modules: &[Module], config: &Config, found: &Weights) -> Vec<(String, Vec<usize>)> {
    modules.iter().flat_map(|module| module.arrays(config, found)).collect()
}

/// Adds the arrays that a start does not have: a second encoder or table of words is a copy of the first, weights of heads are drawn from a normal
/// distribution by `seed`, biases are 0, values begin as their module says. An encoder's own arrays are never drawn.
pub fn complete(modules: &[Module], config: &Config, weights: &mut Weights, seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for module in modules {
        if let Module::Encoder { prefix, copy_of: Some(from) } = module {
            for (own, theirs) in config.arrays(prefix).into_iter().zip(config.arrays(from)) {
                if let Some(array) = weights.0.get(&theirs.0).cloned() {
                    weights.0.entry(own.0).or_insert(array);
                }
            }
        }
        if let Module::Words { prefix } = module
            && let Some(table) = weights.0.get(&format!("{}{}", bert::PREFIX, bert::WORDS)).cloned()
        {
            weights.0.entry(format!("{prefix}{}", bert::WORDS)).or_insert(table);
        }
        if let Module::TokenValues { name } = module {
            // nothing was counted: all weigh the same
            let (name, n) = (name.to_string(), config.vocab_size);
            weights.0.entry(name).or_insert_with(|| Array::new(vec![n], vec![1.0; n]));
        }
        if let Module::Values { name, init } = module {
            weights.0.entry(name.to_string()).or_insert(Array::new(vec![init.len()], init.clone()));
        }
        if let Module::Marks { name } = module
            && !weights.0.contains_key(*name)
        {
            let marks = Array::new(vec![MARKS, config.hidden_size], marks_of_segments(config, weights));
            weights.0.insert(name.to_string(), marks);
        }
        let never_drawn = matches!(
            module,
            Module::Encoder { .. }
                | Module::Words { .. }
                | Module::Values { .. }
                | Module::TokenValues { .. }
                | Module::Marks { .. }
        );
        if never_drawn {
            continue;
        }
        for (name, shape) in module.arrays(config, weights) {
            let data = drawn(&mut rng, config, &name, &shape);
            weights.0.entry(name).or_insert(Array::new(shape, data));
        }
    }
}

/// For each mark, what the embedding's output gains when a token's segment is the mark and not 0 or 1, which that of a plain word is: the
/// difference of the two rows less its mean, times the norm's scale and over the deviation of what the norm gets. So the norm is taken as
/// linear, and words and positions as of usual size. Zeros where the encoder has no such tables or rows.
fn marks_of_segments(config: &Config, weights: &Weights) -> Vec<f32> {
    let h = config.hidden_size;
    let mut marks = vec![0.0; MARKS * h];
    let table = |name: &str| weights.0.get(&format!("{}{name}", bert::PREFIX)).map(Array::values);
    let names = &bert::EMBEDDING_NAMES;
    let (Some(words), Some(segments), Some(positions), Some(gamma)) =
        (table(names.words), table(names.segments), table(names.positions), table(names.norm.gamma))
    else {
        return marks;
    };
    if words.is_empty() || positions.is_empty() {
        return marks;
    }
    let mean = |row: &[f32]| row.iter().sum::<f32>() / h as f32;
    let mut variance = 0.0;
    for (word, position) in words.chunks_exact(h).zip(positions.chunks_exact(h).cycle()) {
        let sum: Vec<f32> = (0..h).map(|i| word[i] + position[i] + segments[i]).collect();
        let mean = mean(&sum);
        variance += f64::from(sum.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / h as f32);
    }
    let deviation = (variance / (words.len() / h) as f64 + f64::from(config.layer_norm_eps)).sqrt() as f32;
    let rows = segments.len() / h;
    for (mark, row) in marks.chunks_exact_mut(h).enumerate().take(rows).skip(2) {
        let difference: Vec<f32> = (0..h).map(|i| segments[mark * h + i] - segments[mark % 2 * h + i]).collect();
        let mean = mean(&difference);
        for (i, value) in row.iter_mut().enumerate() {
            *value = gamma[i] * (difference[i] - mean) / deviation;
        }
    }
    marks
}

/// An encoder's arrays, none of them trained: matrices and tables from a normal distribution of `initializer_range`, biases 0, LayerNorms
/// 1 and 0, and the row of the padding token 0, as BERT begins (Devlin et al., NAACL 2019).
pub fn draw_encoder(prefix: &str, config: &Config, seed: u64) -> Weights {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut weights = Weights::default();
    for (name, shape) in config.arrays(prefix) {
        let mut data = drawn(&mut rng, config, &name, &shape);
        if name.ends_with(bert::WORDS) {
            data[config.pad_token_id as usize * config.hidden_size..][..config.hidden_size].fill(0.0);
        }
        weights.0.insert(name, Array::new(shape, data));
    }
    weights
}

/// What an array begins with: a norm's scale 1, other vectors 0, a matrix draws from a normal distribution.
fn drawn(rng: &mut ChaCha8Rng, config: &Config, name: &str, shape: &[usize]) -> Vec<f32> {
    let n = shape.iter().product();
    match shape.len() {
        1 if name.to_lowercase().ends_with("norm.weight") => vec![1.0; n],
        1 => vec![0.0; n],
        _ => normal(rng, n, config.initializer_range),
    }
}

/// Draws from a normal distribution (Box and Muller).
fn normal(rng: &mut ChaCha8Rng, n: usize, deviation: f32) -> Vec<f32> {
    let mut unit = || -> f32 { rng.random::<f32>().max(1e-7) };
    let gauss = |a: f32, b: f32| (-2.0 * a.ln()).sqrt() * (std::f32::consts::TAU * b).cos();
    (0..n).map(|_| gauss(unit(), unit()) * deviation).collect()
}

/// Refuses weights in which an array of the modules is missing or has another shape.
///
/// # Errors
/// [`Error::Shape`], with the array's name.
pub fn check(modules: &[Module], config: &Config, weights: &Weights) -> Result<()> {
    for (name, shape) in arrays(modules, config, weights) {
        let got = weights.0.get(&name).map(|a| a.shape.clone());
        if got.as_ref() != Some(&shape) {
            let got = got.map_or("nothing".into(), |s| format!("{name} {s:?}"));
            return Err(Error::Shape { op: "weights", expected: format!("{name} {shape:?}"), got });
        }
    }
    Ok(())
}
