//! A model whose documents' states are stored: documents to rows, a query and stored rows to scores.

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::Bundle;
use crate::models::yati::{Stored, Yati};
use crate::models::{Mode, Pass};
use crate::text::{Batch, Encoding, TokenizedSide};
use crate::{Error, Input, Result};

/// Tokens given to the lower layers at once.
const TOKENS: usize = 16 << 10;

/// A bundle as a split encoder.
pub struct SplitEncoder<'a> {
    bundle: &'a Bundle,
    yati: &'a Yati,
}

/// Rows of some halves, one a token.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Halves {
    /// Tokens of each.
    pub lengths: Vec<u32>,
    /// All rows, `[t, width]`.
    pub rows: Vec<f32>,
}

/// A query that went through the lower layers.
pub struct EncodedQuery {
    side: TokenizedSide,
    /// Its rows, `[q, width]`.
    pub rows: Vec<f32>,
}

impl Bundle {
    /// The model as one whose documents' states can be stored.
    ///
    /// # Errors
    /// It is of another architecture.
    pub fn split_encoder(&self) -> Result<SplitEncoder<'_>> {
        let what = "is no split encoder, whose documents' states can be stored: train one with architecture = \"yati\"";
        let yati = self.network.model.split();
        let yati = yati.ok_or_else(|| Error::setting("model", self.manifest.architecture.name(), what))?;
        Ok(SplitEncoder { bundle: self, yati })
    }
}

impl SplitEncoder<'_> {
    fn pass(&self) -> Pass<'_> {
        self.bundle.network.net.pass(Mode::Infer)
    }
    /// Values of a stored row.
    pub fn width(&self) -> usize {
        self.yati.width(self.bundle.config().hidden_size)
    }
    /// Whether scores need the documents' texts too, because words that both texts have are marked.
    pub fn needs_texts(&self) -> bool {
        self.bundle.text.rendering().overlap_segments
    }
    /// What rows depend on, as one hexadecimal number: weights, architecture and how records become text.
    ///
    /// # Errors
    /// Weights that can't be read.
    pub fn fingerprint(&self) -> Result<String> {
        let failed = |e: serde_json::Error| Error::Internal { op: "fingerprint", what: e.to_string() };
        let architecture = serde_json::to_string(&self.bundle.manifest.architecture).map_err(failed)?;
        let rendering = serde_json::to_string(self.bundle.text.rendering()).map_err(failed)?;
        let digest = Sha256::digest([self.bundle.weights_sha256()?, architecture, rendering].join("\n"));
        Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
    /// Tokens of documents' halves, without computing them.
    ///
    /// # Errors
    /// What the tokenizer refuses.
    pub fn lengths(&self, documents: &[Input]) -> Result<Vec<u32>> {
        Ok(self.halves(documents)?.iter().map(|half| half.ids.len() as u32).collect())
    }
    fn halves(&self, documents: &[Input]) -> Result<Vec<Encoding>> {
        let text = &self.bundle.text;
        documents.par_iter().map(|document| Ok(text.half(&text.prepare(*document)?, true))).collect()
    }
    /// Rows of documents.
    ///
    /// # Errors
    /// What the tokenizer refuses.
    pub fn encode_documents(&self, documents: &[Input]) -> Result<Halves> {
        let (halves, mut out) = (self.halves(documents)?, Halves::default());
        let (mut batch, pass) = (Batch::default(), self.pass());
        for (i, half) in halves.iter().enumerate() {
            out.lengths.push(half.ids.len() as u32);
            // a document may have no token, where the tokenizer ends no text with one
            if !half.ids.is_empty() {
                batch.push(half);
            }
            if batch.tokens() >= TOKENS || (i + 1 == halves.len() && !batch.is_empty()) {
                out.rows.extend(self.yati.encode(&pass, &std::mem::take(&mut batch))?);
            }
        }
        Ok(out)
    }
    /// A query through the lower layers.
    ///
    /// # Errors
    /// What the tokenizer refuses.
    pub fn encode_query(&self, query: Input) -> Result<EncodedQuery> {
        let side = self.bundle.text.prepare(query)?;
        let half = self.bundle.text.half(&side, false);
        let rows = self.yati.encode(&self.pass(), &[half].iter().collect())?;
        Ok(EncodedQuery { side, rows })
    }
    /// One score a document, as [`Ranker::score`](crate::Ranker::score) gives for the same texts. `fill` writes the rows of one of them; `texts` are
    /// the documents' own, and needed where [`needs_texts`](Self::needs_texts) says so.
    ///
    /// # Errors
    /// Texts that are needed and not there; what the tokenizer refuses.
    pub fn score(
        &self,
        query: &EncodedQuery,
        lengths: &[u32],
        fill: &(dyn Fn(usize, &mut [f32]) + Sync),
        texts: Option<&[Input]>,
    ) -> Result<Vec<f32>> {
        let text = &self.bundle.text;
        let sides: Vec<TokenizedSide> = match (self.needs_texts(), texts) {
            (false, _) => Vec::new(),
            (true, Some(texts)) => texts.par_iter().map(|document| text.prepare(*document)).collect::<Result<_>>()?,
            (true, None) => {
                let what = "marks words that query and document share, and needs the documents' texts to score";
                return Err(Error::setting("text.overlap_segments", true, what));
            }
        };
        let marks = |i: usize| sides.get(i).map_or_else(Vec::new, |side| text.marks(&query.side, side));
        self.yati.join(&self.pass(), &query.rows, &Stored { lengths, fill, marks: &marks })
    }
}
