//! The objective of a ranker: examples of a corpus, the model's own loss, F1, average precision and log loss on validation.

use candle_core::Tensor;

use super::batches::{self, ClassBalance};
use super::corpus::{Corpus, Lists};
use super::objective::{Measures, Objective, Step};
use super::recipe::TrainSettings;
use crate::Result;
use crate::calibrate::softplus;
use crate::eval;
use crate::models::{Example, LossSettings, Mode, Model, Net, Scorer};
use crate::nn::Parameters;
use crate::text::TextEncoder;

/// A model over its parameters and a corpus.
pub struct RankingObjective<'a> {
    /// The model.
    pub model: &'a dyn Model,
    /// Its arrays.
    pub net: Net,
    /// Texts to sequences.
    pub text: &'a TextEncoder,
    /// What is learned and validated on.
    pub corpus: &'a Corpus,
    /// Seed, class balance and label smoothing.
    pub settings: &'a TrainSettings,
}

/// An example and what it weighs.
pub struct Weighted {
    example: Example,
    weight: f32,
}

impl RankingObjective<'_> {
    /// One score per candidate of the lists.
    ///
    /// # Errors
    /// What the model refuses.
    pub fn scores(&self, lists: &Lists) -> Result<Vec<f32>> {
        let scorer = Scorer { net: &self.net, text: self.text };
        let mut scores = Vec::with_capacity(lists.labels.len());
        // some lists at a time: the sequences of a long validation are never in memory at once
        for some in lists.lists().chunks(256) {
            scores.extend(self.model.score(&scorer, some)?.into_iter().flatten());
        }
        Ok(scores)
    }
}

impl Objective for RankingObjective<'_> {
    type Item = Weighted;

    fn parameters(&self) -> &Parameters {
        self.net.parameters()
    }
    fn parameters_mut(&mut self) -> &mut Parameters {
        self.net.parameters_mut()
    }
    fn epoch(&self, epoch: u64) -> Result<Vec<Weighted>> {
        let examples = self.corpus.train.epoch(epoch)?;
        let [yes, no] = match self.settings.class_balance {
            ClassBalance::Weight => batches::class_weights(&examples, self.settings.positive_share).into(),
            ClassBalance::None | ClassBalance::Oversample => [1.0, 1.0],
        };
        let weight = |example: &Example| if example.target > 0.5 { yes } else { no };
        Ok(examples.into_iter().map(|example| Weighted { weight: weight(&example), example }).collect())
    }
    fn order(&self, items: &[Weighted], epoch: u64) -> Vec<u32> {
        let s = self.settings;
        match s.class_balance {
            ClassBalance::Oversample => {
                let is_match: Vec<bool> = items.iter().map(|item| item.example.target > 0.5).collect();
                batches::oversampled(&is_match, s.positive_share, s.seed, epoch)
            }
            ClassBalance::None | ClassBalance::Weight => (0..items.len() as u32).collect(),
        }
    }
    fn tokens(&self, item: &Weighted) -> usize {
        item.example.tokens()
    }
    fn is_divisible(&self) -> bool {
        self.model.reads().is_divisible()
    }
    fn loss(&self, items: &[&Weighted], step: &Step) -> Result<Tensor> {
        let examples: Vec<&Example> = items.iter().map(|item| &item.example).collect();
        let weights: Vec<f32> = items.iter().map(|item| item.weight / step.items as f32).collect();
        let (label_smoothing, loss) = (self.settings.label_smoothing, self.settings.loss);
        let settings = LossSettings { weights: &weights, label_smoothing, loss };
        self.model.loss(&self.net.pass(Mode::Train { seed: step.seed }), &examples, &settings)
    }
    fn measures(&self) -> &'static [&'static str] {
        &["f1", "ap", "loss"]
    }
    fn validate(&self) -> Result<Measures> {
        let (scores, labels) = (self.scores(&self.corpus.valid)?, &self.corpus.valid.labels);
        let loss = mean_loss(&scores, labels);
        let (f1, ap) = match scores.iter().any(|z| z.is_nan()) {
            true => (f64::NAN, f64::NAN),
            false => {
                let curve = eval::Curve::new(&ranks(&scores), labels);
                (curve.best_f1().f1(), curve.average_precision())
            }
        };
        Ok([("f1", f1), ("ap", ap), ("loss", loss)].map(|(name, value)| (name.to_string(), value)).into())
    }
}

/// Scores as their ranks between 0 and 1, which is all that F1 and AP look at. A sigmoid would not do: of a sum over tokens, above 17 or so,
/// it is 1 in f32, and all of them would tie.
fn ranks(scores: &[f32]) -> Vec<f32> {
    let mut sorted = scores.to_vec();
    sorted.sort_by(f32::total_cmp);
    sorted.dedup();
    let most = sorted.len().max(1) as f32;
    scores.iter().map(|z| sorted.partition_point(|s| s < z) as f32 / most).collect()
}

/// Mean binary cross-entropy of raw scores taken as logits.
fn mean_loss(scores: &[f32], labels: &[bool]) -> f64 {
    let one = |(&z, &y): (&f32, &bool)| softplus(f64::from(if y { -z } else { z }));
    scores.iter().zip(labels).map(one).sum::<f64>() / scores.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::ranks;

    #[test]
    fn scores_that_a_sigmoid_would_make_equal_keep_their_order() {
        assert_eq!(ranks(&[31.5, 30.0, 31.0, 30.0]), [2.0 / 3.0, 0.0, 1.0 / 3.0, 0.0]);
    }
}
