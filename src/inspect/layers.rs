//! What each layer does: how far it looks, how much it keeps of its input, what can be read off its states.
//!
//! "Low layers are local and formal, high ones are about meaning" (Tenney et al., BERT Rediscovers the Classical NLP Pipeline, ACL 2019)
//! is a claim about a trained network, so it is measured on one: mean distance of attention, its entropy, the cosine of a token's state
//! to its embedding, linear probes for the surface of words (a code, a unit, a brand), and for the decision of a pair the AUC of a probe
//! on the first token's state after each layer (an early exit: Schwartz et al., The Right Tool for the Job, ACL 2020).

use serde::Serialize;

use super::probe::held_out;
use super::{Network, rows, words};
use crate::Result;
use crate::nn::encoder::{Request, Rows, Start};
use crate::nn::reference::Keep;
use crate::ranker::Input;
use crate::text::{Batch, Encoding, lexicon};

/// Tokens whose states are kept for probes.
const MOST_TOKENS: usize = 8000;
/// Sequences through the encoder at once.
const BATCH: usize = 32;

/// A text, and its brand where a table has one.
#[derive(Debug, Clone, Default)]
pub struct LayerTexts {
    /// The text.
    pub text: String,
    /// The brand; its words are looked for in the text.
    pub brand: Option<String>,
}

/// What a word is by its spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Surface {
    /// Letters and digits in one word that is no quantity, or five digits and more.
    pub code: bool,
    /// A unit's name, or a number with one.
    pub unit: bool,
}

/// What a word is by its spelling.
pub fn surface(word: &str) -> Surface {
    let word = word.to_lowercase();
    let digits = word.chars().filter(char::is_ascii_digit).count();
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit() || ".,".contains(c));
    let unit = !rest.is_empty() && lexicon::unit(rest).is_some();
    let mixed = digits > 0 && word.chars().any(char::is_alphabetic);
    Surface { code: !unit && (mixed || (digits >= 5 && digits == word.chars().count())), unit }
}

/// One of a network's states: 0 is the embedding, `i` comes after layer `i`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerProbe {
    /// Its number.
    pub layer: usize,
    /// Mean distance of attention within the texts, in tokens; none for the embedding.
    pub distance: Option<f64>,
    /// Mean entropy of attention, in nats.
    pub entropy: Option<f64>,
    /// Share of attention that goes to tokens around the texts.
    pub to_special: Option<f64>,
    /// Mean cosine of a token's state and its embedding.
    pub similarity_to_input: f64,
    /// AUC of a probe for words with letters and digits, on texts that it was not fitted to.
    pub code_auc: Option<f64>,
    /// The same for units.
    pub unit_auc: Option<f64>,
    /// The same for words of the brand.
    pub brand_auc: Option<f64>,
}

/// A network's layers on some texts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerReport {
    /// Texts.
    pub texts: usize,
    /// Their tokens.
    pub tokens: usize,
    /// Tokens of codes, of units and of brands among those that the probes saw.
    pub found: [usize; 3],
    /// By state.
    pub layers: Vec<LayerProbe>,
}

/// Sums over texts.
#[derive(Default, Clone)]
struct Sums {
    distance: (f64, f64),
    entropy: (f64, f64),
    to_special: (f64, f64),
    cosine: (f64, f64),
}

fn add(sum: &mut (f64, f64), value: Option<f64>) {
    if let Some(value) = value {
        *sum = (sum.0 + value, sum.1 + 1.0);
    }
}

fn mean(sum: (f64, f64)) -> Option<f64> {
    (sum.1 > 0.0).then(|| sum.0 / sum.1)
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-30)
}

/// Reads texts and gives what each layer does to them. `done` gets how many texts were read.
///
/// # Errors
/// What the tokenizer refuses.
pub fn layers(network: &Network, texts: &[LayerTexts], done: &dyn Fn(u64)) -> Result<LayerReport> {
    let (count, heads) = (network.config().num_hidden_layers, network.config().num_attention_heads);
    let mut sums = vec![Sums::default(); count + 1];
    let mut kept: Vec<Vec<Vec<f32>>> = vec![Vec::new(); count + 1];
    let (mut labels, mut groups, mut tokens) = ([Vec::new(), Vec::new(), Vec::new()], Vec::new(), 0);
    for (number, text) in texts.iter().enumerate() {
        let encoding = network.encode(&[Input::Text(&text.text)])?;
        let special = network.special(&encoding);
        let attention = network.attention(&encoding)?;
        let states = network.forward(&encoding, Keep::default())?;
        let (found, of) = words(&network.pieces(&encoding), &special);
        let brand: Vec<String> = words_of(text.brand.as_deref().unwrap_or_default());
        let inside: Vec<usize> = (0..special.len()).filter(|i| !special[*i]).collect();
        let keep = labels[0].len() < MOST_TOKENS;
        tokens += inside.len();
        let input = rows(&states.hidden[0])?;
        for (at, (sums, hidden)) in sums.iter_mut().zip(&states.hidden).enumerate() {
            let hidden = rows(hidden)?;
            inside.iter().for_each(|&i| add(&mut sums.cosine, Some(cosine(&hidden[i], &input[i]))));
            for head in 0..if at == 0 { 0 } else { heads } {
                add(&mut sums.distance, attention.distance(at - 1, head, &special));
                add(&mut sums.entropy, Some(attention.entropy(at - 1, head)));
                add(&mut sums.to_special, attention.to_special(at - 1, head, &special));
            }
            if keep {
                kept[at].extend(inside.iter().map(|&i| hidden[i].clone()));
            }
        }
        for &i in inside.iter().filter(|_| keep) {
            let word = of[i].map_or("", |w| found[w].as_str());
            let of_word = surface(word);
            let is_brand = brand.contains(&word.to_lowercase());
            let values = [of_word.code, of_word.unit, is_brand];
            labels.iter_mut().zip(values).for_each(|(labels, value)| labels.push(value));
            groups.push(number);
        }
        done(number as u64 + 1);
    }
    let probe = |at: usize, of: usize| held_out(&kept[at], &labels[of], &groups).map(|p| p.0);
    let layers = (0..=count).map(|at| LayerProbe {
        layer: at,
        distance: mean(sums[at].distance),
        entropy: mean(sums[at].entropy),
        to_special: mean(sums[at].to_special),
        similarity_to_input: mean(sums[at].cosine).unwrap_or(0.0),
        code_auc: probe(at, 0),
        unit_auc: probe(at, 1),
        brand_auc: probe(at, 2),
    });
    let layers = layers.collect();
    let found = [0, 1, 2].map(|of| labels[of].iter().filter(|l| **l).count());
    Ok(LayerReport { texts: texts.len(), tokens, found, layers })
}

/// The words of a brand, in lower case.
fn words_of(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.chars().count() > 1);
    words.map(str::to_lowercase).collect()
}

/// How well a pair could be decided after each layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EarlyExit {
    /// Pairs, half of them to fit probes, half to measure them.
    pub pairs: usize,
    /// Matches among those that are measured.
    pub matches: usize,
    /// AUC of a linear probe on the first token's state, by state; none where a half has one class only.
    pub auc: Vec<Option<f64>>,
}

/// Probes of the first token's state after each layer, for the decision of labelled pairs: fitted on every other pair, measured on the
/// rest. `done` gets how many pairs were read.
///
/// # Errors
/// A model that reads each text alone; what the tokenizer refuses.
pub fn early_exit(network: &Network, pairs: &[[Input; 2]], labels: &[bool], done: &dyn Fn(u64)) -> Result<EarlyExit> {
    let encoder = network.encoder()?;
    let (count, h) = (encoder.layers(), encoder.hidden());
    let keep: Vec<usize> = (0..count).collect();
    let mut first: Vec<Vec<Vec<f32>>> = vec![Vec::with_capacity(pairs.len()); count + 1];
    for (number, batch) in pairs.chunks(BATCH).enumerate() {
        let encodings: Vec<Encoding> = batch.iter().map(|pair| network.encode(pair)).collect::<Result<_>>()?;
        let batch: Batch = encodings.iter().collect();
        let request = Request { start: Start::Tokens(&batch), layers: 0..count, rows: Rows::First, keep: &keep };
        let states = encoder.run(&request)?;
        for (at, states) in states.kept.iter().enumerate() {
            let starts = batch.offsets[..batch.len()].iter().map(|start| *start as usize * h);
            first[at].extend(starts.map(|start| states[start..start + h].to_vec()));
        }
        first[count].extend(states.rows.chunks_exact(h).map(<[f32]>::to_vec));
        done((number * BATCH + batch.len()) as u64);
    }
    let groups: Vec<usize> = (0..pairs.len()).collect();
    let measured: Vec<_> = first.iter().map(|states| held_out(states, labels, &groups)).collect();
    let matches = labels.iter().skip(1).step_by(2).filter(|l| **l).count();
    Ok(EarlyExit { pairs: pairs.len(), matches, auc: measured.into_iter().map(|m| m.map(|m| m.0)).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_units_by_their_spelling() {
        for (word, code, unit) in [
            ("e2282hs", true, false),
            ("047611", true, false),
            ("мл", false, true),
            ("500мл", false, true),
            ("0,5л", false, true),
            ("2019", false, false),
            ("монитор", false, false),
            ("A317", true, false),
            (",", false, false),
        ] {
            assert_eq!(surface(word), Surface { code, unit }, "{word}");
        }
        assert_eq!(words_of("Hewlett-Packard, A"), ["hewlett", "packard"]);
    }
}
