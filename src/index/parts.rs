//! How each method writes its files into a generation, and searches all generations together.

use std::path::Path;

use rayon::prelude::*;

use super::Bm25;
use super::bm25::Bm25Builder;
use super::colbert::{ColbertIndex, Effort, Scratch, write_colbert};
use super::documents::Documents;
use super::maker::{Maker, needed};
use super::manifest::{Method, Settings};
use super::nearest::{self, DenseIndex, VECTORS};
use super::strings::damaged;
use super::vectors::{VectorsWriter, dot};
use crate::nn::maxsim::Query;
use crate::ranker::{DualEncoder, Hit, Input, LateEncoder};
use crate::text::{TextConfig, plain_text};
use crate::{Error, Record, Result};

/// Documents that are encoded at once.
const ENCODED: usize = 256;

/// A document that a new generation copies: generation and number.
pub(super) type Origin = (usize, u32);

/// How records become text where no model says so.
pub(super) fn plain_config(settings: &Settings) -> TextConfig {
    TextConfig { fields: settings.fields.clone(), ..TextConfig::default() }
}

/// A model that encodes texts one at a time.
pub(super) fn encoder(maker: &Maker) -> Result<Box<dyn DualEncoder + '_>> {
    let none = || Error::Internal { op: "encode", what: "query and document meet in this encoder".into() };
    maker.dual().ok_or_else(none)
}

/// A model that has several vectors a text.
pub(super) fn late_encoder(maker: &Maker) -> Result<(Box<dyn LateEncoder + '_>, &TextConfig)> {
    let none = || Error::Internal { op: "encode", what: "this model has one vector a text".into() };
    maker.late().ok_or_else(none)
}

/// Refuses a model that a method has no use for.
pub(super) fn check_model(method: Method, maker: &Maker) -> Result<()> {
    let (is_dual, is_late) = (maker.dual().is_some(), maker.late().is_some());
    let what = match method {
        Method::Dense if !is_dual => "has several vectors a text: give --kind colbert",
        Method::Colbert if !is_late => "has one vector a text: give --kind dense, or a ColBERT",
        _ => return Ok(()),
    };
    Err(Error::setting("--model", maker.path().display(), what))
}

/// One method over all generations.
pub(super) enum Searcher {
    Bm25(TextConfig, Vec<Bm25>),
    Dense(Maker, Vec<DenseIndex>),
    Colbert(Maker, Vec<ColbertIndex>),
}

/// What a method needs to write a generation.
pub(super) struct Source<'a> {
    pub(super) settings: &'a Settings,
    pub(super) maker: Option<&'a Maker>,
    /// The new generation's documents, already written.
    pub(super) documents: &'a Documents,
    /// Where each of them was before; empty where they are new.
    pub(super) origins: &'a [Origin],
    /// The generations that they are from.
    pub(super) before: Option<&'a [Searcher]>,
    pub(super) progress: &'a dyn Fn(u64, u64),
}

impl Source<'_> {
    fn records(&self) -> impl Iterator<Item = Result<Record>> {
        (0..self.documents.len() as u32).map(|document| self.documents.record(document))
    }

    /// Writes the files of one method into its folder.
    pub(super) fn write(&self, method: Method, dir: &Path) -> Result<()> {
        match method {
            Method::Bm25 => self.write_bm25(dir),
            Method::Dense => {
                self.write_vectors(&dir.join(VECTORS))?;
                nearest::write(dir, self.settings.nearest, self.progress)
            }
            Method::Colbert => self.write_colbert(dir),
        }
    }

    /// Codes are of the centroids of one generation, so those of another one are made of the texts again.
    fn write_colbert(&self, dir: &Path) -> Result<()> {
        let ((encoder, config), total) = (late_encoder(needed(self.maker)?)?, self.documents.len() as u64);
        let texts = self.records().map(|record| Ok(plain_text(config, (&record?).into())));
        write_colbert(dir, &*encoder, texts, self.settings.colbert, &|done| (self.progress)(done, total))
    }

    fn write_bm25(&self, dir: &Path) -> Result<()> {
        let (config, total) = (plain_config(self.settings), self.documents.len() as u64);
        let mut builder = Bm25Builder::new(Some(dir), self.settings.bm25)?;
        let (documents, mut done) = (self.documents, 0);
        let text = |document| Ok(plain_text(&config, (&documents.record(document)?).into()));
        builder.extend((0..documents.len() as u32).map(text), |added| {
            done += added;
            (self.progress)(done, total);
        })?;
        builder.finish(None).map(drop)
    }

    fn write_vectors(&self, path: &Path) -> Result<()> {
        let mut writer = VectorsWriter::create(path, self.settings.vectors)?;
        let files = self.before.and_then(|searchers| searchers.iter().find_map(Searcher::vectors));
        if let Some(files) = files {
            for &(generation, document) in self.origins {
                writer.copy(&files[generation].vectors, document as usize)?;
            }
            return writer.finish();
        }
        let (encoder, total) = (encoder(needed(self.maker)?)?, self.documents.len() as u64);
        let mut records = self.records();
        let mut done = 0;
        loop {
            let some: Vec<Record> = records.by_ref().take(ENCODED).collect::<Result<_>>()?;
            if some.is_empty() {
                return writer.finish();
            }
            let inputs: Vec<Input> = some.iter().map(Input::from).collect();
            writer.push(&encoder.encode_documents(&inputs)?)?;
            done += some.len() as u64;
            (self.progress)(done, total);
        }
    }
}

impl Searcher {
    /// Opens a method's files in some generations.
    pub(super) fn open(
        method: Method,
        settings: &Settings,
        maker: Option<&Maker>,
        parts: &[(&Path, &Documents)],
    ) -> Result<Self> {
        match method {
            Method::Bm25 => {
                let config = plain_config(settings);
                let open = |(dir, documents): &(&Path, &Documents)| -> Result<Bm25> {
                    let path = dir.join(method.name());
                    let index = Bm25::open(&path)?;
                    if index.len() == documents.len() { Ok(index) } else { Err(damaged(&path)) }
                };
                let mut indexes = parts.iter().map(open).collect::<Result<Vec<_>>>()?;
                if indexes.len() > 1 {
                    Bm25::join(&mut indexes);
                }
                Ok(Searcher::Bm25(config, indexes))
            }
            Method::Dense => {
                let maker = needed(maker)?;
                let open = |(dir, documents): &(&Path, &Documents)| -> Result<DenseIndex> {
                    let path = dir.join(method.name());
                    let index = DenseIndex::open(&path)?;
                    let fits = index.vectors.len() == documents.len() && index.vectors.dim() == maker.dim();
                    if fits { Ok(index) } else { Err(damaged(&path)) }
                };
                Ok(Searcher::Dense(maker.clone(), parts.iter().map(open).collect::<Result<_>>()?))
            }
            Method::Colbert => {
                let maker = needed(maker)?;
                let width = late_encoder(maker)?.0.dim();
                let open = |(dir, documents): &(&Path, &Documents)| -> Result<ColbertIndex> {
                    let path = dir.join(method.name());
                    let index = ColbertIndex::open(&path)?;
                    let fits = index.len() == documents.len() && index.dim() == width;
                    if fits { Ok(index) } else { Err(damaged(&path)) }
                };
                Ok(Searcher::Colbert(maker.clone(), parts.iter().map(open).collect::<Result<_>>()?))
            }
        }
    }

    fn vectors(&self) -> Option<&[DenseIndex]> {
        match self {
            Searcher::Dense(_, files) => Some(files),
            Searcher::Bm25(..) | Searcher::Colbert(..) => None,
        }
    }

    /// Scores of documents, each a generation and a number there, by what is stored of them; `None` where nothing is.
    pub(super) fn scores(&self, query: Input, documents: &[Origin]) -> Result<Option<Vec<f32>>> {
        match self {
            Searcher::Bm25(..) => Ok(None),
            Searcher::Dense(maker, files) => {
                let query = encoder(maker)?.encode_queries(&[query])?;
                let score = |(part, document): &Origin| dot(query.row(0), &files[*part].vectors.rows(&[*document]));
                Ok(Some(documents.par_iter().map(score).collect()))
            }
            Searcher::Colbert(maker, indexes) => {
                let vectors = late_encoder(maker)?.0.encode_queries(&[query])?;
                let query = Query::new(vectors.text(0), vectors.dim);
                let score =
                    |scratch: &mut Scratch, (part, document): &Origin| indexes[*part].score(&query, *document, scratch);
                Ok(Some(documents.par_iter().map_init(Scratch::default, score).collect()))
            }
        }
    }

    /// For each generation and query the best documents, as many as `k` says of the generation. Generations are searched at the same time;
    /// each is by itself, so that does not change what is found.
    pub(super) fn search(&self, queries: &[Input], k: &[usize], effort: Effort) -> Result<Vec<Vec<Vec<Hit>>>> {
        match self {
            Searcher::Bm25(config, indexes) => {
                let texts: Vec<String> = queries.iter().map(|query| plain_text(config, *query)).collect();
                let of = |(index, k): (&Bm25, &usize)| {
                    let hits = |top: Vec<(u32, f32)>| {
                        top.into_iter().map(|(document, score)| Hit { document, score }).collect()
                    };
                    Ok(index.top_all(&texts, *k)?.into_iter().map(hits).collect())
                };
                indexes.par_iter().zip(k).map(of).collect()
            }
            Searcher::Dense(maker, files) => {
                let vectors = encoder(maker)?.encode_queries(queries)?;
                files.par_iter().zip(k).map(|(file, k)| file.top(&vectors, *k)).collect()
            }
            Searcher::Colbert(maker, indexes) => {
                let vectors = late_encoder(maker)?.0.encode_queries(queries)?;
                let search = |(index, k): (&ColbertIndex, &usize)| {
                    (0..vectors.len()).map(|at| index.search(vectors.text(at), *k, effort)).collect()
                };
                indexes.par_iter().zip(k).map(search).collect()
            }
        }
    }
}
