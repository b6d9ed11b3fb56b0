//! The trainer: one pass over windows for all three models.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::corpus::Corpus;
use super::draw::{Draw, Noise};
use super::shared::Shared;

/// Words of a piece of work.
const BLOCK: usize = 10_000;
/// The sigmoid's table goes from minus this to this.
const REACH: f32 = 6.0;
const CELLS: usize = 1024;

/// Which model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A word's neighbours from the word (Mikolov et al., NeurIPS 2013).
    SkipGram,
    /// A word from the mean of its neighbours (Mikolov et al., 2013).
    Cbow,
    /// Skip-gram of words and their pieces (Bojanowski et al., TACL 2017).
    FastText,
}

/// Settings of a training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Which model.
    pub kind: Kind,
    /// Width of a vector.
    pub dim: usize,
    /// Words to each side, at most; each place draws how many.
    pub window: usize,
    /// Passes over the corpus.
    pub epochs: usize,
    /// Words drawn as no neighbours.
    pub negatives: usize,
    /// A word of a share above this is left out at times; 0: never.
    pub sample: f64,
    /// The first step; it falls to nearly 0.
    pub rate: f32,
    /// Of the draws.
    pub seed: u64,
}

/// What training gives.
pub struct Trained {
    /// Rows of words, then of pieces, `[n + buckets, dim]`.
    pub input: Vec<f32>,
    /// What words are predicted with, `[n, dim]`.
    pub output: Vec<f32>,
}

struct Trainer<'a> {
    settings: &'a Settings,
    corpus: &'a Corpus,
    /// Rows of each word's pieces, itself first; empty for the other models.
    pieces: &'a [Vec<u32>],
    input: Shared,
    output: Shared,
    noise: Noise,
    /// The chance of each word to be kept.
    kept: Vec<f32>,
    sigmoid: Vec<f32>,
}

/// Memory of one thread.
struct Buffers {
    hidden: Vec<f32>,
    input: Vec<f32>,
    input_grad: Vec<f32>,
    output: Vec<f32>,
    output_grad: Vec<f32>,
    targets: Vec<u32>,
}

/// Trains vectors on the threads of the pool. `pieces` are rows of the input matrix for each word, itself first (fastText), and `rows` its
/// rows. `done` gets how many words were read. One thread gives the same bits every time; several do not.
pub fn train(
    corpus: &Corpus,
    settings: &Settings,
    pieces: &[Vec<u32>],
    rows: usize,
    done: &(dyn Fn(u64) + Sync),
) -> Trained {
    let (dim, n) = (settings.dim, corpus.words.len());
    let mut draw = Draw(settings.seed);
    let spread = if settings.kind == Kind::FastText { 2.0 } else { 1.0 } / dim as f32;
    let input = Shared::new(dim, (0..rows * dim).map(|_| (draw.unit() - 0.5) * spread));
    let output = Shared::new(dim, std::iter::repeat_n(0.0, n * dim));
    let all: u64 = corpus.words.iter().map(|w| w.1).sum();
    let from = settings.sample * all as f64;
    let chance = |count: u64| if from > 0.0 { ((count as f64 / from).sqrt() + 1.0) * from / count as f64 } else { 1.0 };
    let kept = corpus.words.iter().map(|w| chance(w.1) as f32).collect();
    let noise = Noise::new(corpus.words.iter().map(|w| w.1));
    let at = |i: usize| (i as f32 + 0.5) / CELLS as f32 * 2.0 * REACH - REACH;
    let sigmoid = (0..CELLS).map(|i| 1.0 / (1.0 + (-at(i)).exp())).collect();
    let trainer = Trainer { settings, corpus, pieces, input, output, noise, kept, sigmoid };
    let blocks = trainer.blocks();
    let (next, read) = (AtomicUsize::new(0), AtomicU64::new(0));
    let total = (corpus.ids.len() * settings.epochs) as u64;
    let work = || {
        let mut buffers = trainer.buffers();
        loop {
            let number = next.fetch_add(1, Relaxed);
            let Some((first, end)) =
                blocks.get(number % blocks.len().max(1)).filter(|_| number < blocks.len() * settings.epochs)
            else {
                break;
            };
            let mut draw = Draw(settings.seed ^ (number as u64 + 1).wrapping_mul(0xd6e8_feb8_6659_fd93));
            for text in *first..*end {
                let ids = &corpus.ids[corpus.starts[text]..corpus.starts[text + 1]];
                let share = read.fetch_add(ids.len() as u64, Relaxed) as f32 / total as f32;
                let rate = settings.rate * (1.0 - share).max(1e-4);
                trainer.text(ids, rate, &mut draw, &mut buffers);
            }
            done(read.load(Relaxed));
        }
    };
    rayon::scope(|scope| (0..rayon::current_num_threads()).for_each(|_| scope.spawn(|_| work())));
    Trained { input: trainer.input.into_values(), output: trainer.output.into_values() }
}

impl Trainer<'_> {
    /// Texts in pieces of work.
    fn blocks(&self) -> Vec<(usize, usize)> {
        let starts = &self.corpus.starts;
        let (mut blocks, mut first) = (Vec::new(), 0);
        for text in 0..starts.len().saturating_sub(1) {
            if starts[text + 1] - starts[first] >= BLOCK || text + 2 == starts.len() {
                blocks.push((first, text + 1));
                first = text + 1;
            }
        }
        blocks
    }

    fn buffers(&self) -> Buffers {
        let Settings { dim, window, negatives, .. } = *self.settings;
        let (zeros, outputs) = (|rows: usize| vec![0f32; rows * dim], negatives + 1);
        Buffers {
            hidden: zeros(1),
            input: zeros(2 * window),
            input_grad: zeros(2 * window),
            output: zeros(outputs),
            output_grad: zeros(outputs),
            targets: Vec::with_capacity(outputs),
        }
    }

    /// One text.
    fn text(&self, ids: &[u32], rate: f32, draw: &mut Draw, buffers: &mut Buffers) {
        let kept = |id: &u32, draw: &mut Draw| {
            let chance = self.kept[*id as usize];
            chance >= 1.0 || draw.unit() < chance
        };
        let ids: Vec<u32> = ids.iter().copied().filter(|id| kept(id, draw)).collect();
        let mut around = Vec::with_capacity(2 * self.settings.window);
        for (at, &center) in ids.iter().enumerate() {
            let reach = 1 + draw.below(self.settings.window);
            around.clear();
            around.extend_from_slice(&ids[at.saturating_sub(reach)..at]);
            around.extend_from_slice(&ids[at + 1..(at + 1 + reach).min(ids.len())]);
            if around.is_empty() {
                continue;
            }
            match self.settings.kind {
                Kind::SkipGram => self.skip_gram(center, &around, rate, draw, buffers),
                Kind::Cbow => self.learn_from_mean(&around, &[center], rate, draw, buffers),
                Kind::FastText => self.learn_from_mean(&self.pieces[center as usize], &around, rate, draw, buffers),
            }
        }
    }

    /// A word and the words that are drawn against it.
    fn draw_targets(&self, word: u32, draw: &mut Draw, targets: &mut Vec<u32>) {
        targets.clear();
        targets.push(word);
        for _ in 0..self.settings.negatives {
            let drawn = self.noise.word(draw);
            if drawn != word {
                targets.push(drawn);
            }
        }
    }

    /// How far a score is from its label, times the rate.
    #[inline]
    fn error(&self, score: f32, label: f32, rate: f32) -> f32 {
        let at = ((score + REACH) * (CELLS as f32 / (2.0 * REACH))) as i32;
        let p = match at {
            at if at < 0 => 0.0,
            at if at >= CELLS as i32 => 1.0,
            at => self.sigmoid[at as usize],
        };
        (label - p) * rate
    }

    /// All neighbours of a place against the same drawn words (Ji et al., Parallelizing Word2Vec in Shared and Distributed Memory, 2016):
    /// rows are read and written once a window and not once a pair.
    fn skip_gram(&self, center: u32, around: &[u32], rate: f32, draw: &mut Draw, buffers: &mut Buffers) {
        let dim = self.settings.dim;
        let Buffers { input, input_grad, output, output_grad, targets, .. } = buffers;
        self.draw_targets(center, draw, targets);
        self.input.touch(around);
        self.output.touch(targets);
        for (row, word) in around.iter().enumerate() {
            self.input.load(*word as usize, &mut input[row * dim..][..dim]);
        }
        for (row, word) in targets.iter().enumerate() {
            self.output.load(*word as usize, &mut output[row * dim..][..dim]);
        }
        input_grad[..around.len() * dim].fill(0.0);
        output_grad[..targets.len() * dim].fill(0.0);
        for i in 0..around.len() {
            let (own, grad) = (&input[i * dim..][..dim], &mut input_grad[i * dim..][..dim]);
            for j in 0..targets.len() {
                let other = &output[j * dim..][..dim];
                let error = self.error(dot(own, other), if j == 0 { 1.0 } else { 0.0 }, rate);
                add_scaled(grad, other, error);
                add_scaled(&mut output_grad[j * dim..][..dim], own, error);
            }
        }
        for (row, word) in around.iter().enumerate() {
            self.input.add(*word as usize, &input_grad[row * dim..][..dim]);
        }
        for (row, word) in targets.iter().enumerate() {
            self.output.add(*word as usize, &output_grad[row * dim..][..dim]);
        }
    }

    /// Some words, one after the other, from the mean of some rows. Each row gets the whole gradient (as in word2vec and fastText), so the
    /// mean moves by it as well.
    fn learn_from_mean(&self, rows: &[u32], words: &[u32], rate: f32, draw: &mut Draw, buffers: &mut Buffers) {
        let dim = self.settings.dim;
        let Buffers { hidden, input_grad, targets, .. } = buffers;
        hidden.fill(0.0);
        self.input.touch(rows);
        rows.iter().for_each(|row| self.input.add_to(*row as usize, hidden));
        hidden.iter_mut().for_each(|v| *v /= rows.len() as f32);
        let (total, step) = input_grad.split_at_mut(dim);
        let step = &mut step[..dim];
        total.fill(0.0);
        for &word in words {
            self.draw_targets(word, draw, targets);
            self.output.touch(targets);
            step.fill(0.0);
            for (j, target) in targets.iter().enumerate() {
                let score = self.output.dot(*target as usize, hidden);
                let error = self.error(score, if j == 0 { 1.0 } else { 0.0 }, rate);
                self.output.learn(*target as usize, hidden, error, step);
            }
            hidden.iter_mut().zip(step.iter()).for_each(|(h, s)| *h += s);
            total.iter_mut().zip(step.iter()).for_each(|(t, s)| *t += s);
        }
        rows.iter().for_each(|row| self.input.add(*row as usize, total));
    }
}

#[inline]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 16];
    let (a16, b16) = (a.chunks_exact(16), b.chunks_exact(16));
    let rest: f32 = a16.remainder().iter().zip(b16.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a16.zip(b16) {
        for i in 0..16 {
            sums[i] += x[i] * y[i];
        }
    }
    sums.iter().sum::<f32>() + rest
}

#[inline]
fn add_scaled(to: &mut [f32], from: &[f32], scale: f32) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from * scale);
}
