//! Ways of finding documents next to each other on one collection with judgements: quality, time a query, bytes a document, time of building.
//!
//! Each builds its files in a folder that is removed again, and answers every query alone, its encoding included.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::answers::{Answers, Quality, judged};
use super::colbert::Effort;
use super::manifest::Stored;
use super::vectors::{VectorFile, VectorsWriter};
use super::{Bm25, Bm25Settings, ColbertIndex, ColbertSettings, write_colbert};
use crate::data::Collection;
use crate::ranker::{DualEncoder, Hit, Input, LateEncoder};
use crate::records::Judgement;
use crate::text::{TextConfig, plain_text};
use crate::{Error, Result};

/// Documents asked for.
const K: usize = 100;
/// Documents that are encoded at once.
const TEXTS: usize = 256;

/// A way of finding documents.
pub enum Way<'a> {
    /// By words in common.
    Bm25(Bm25Settings),
    /// By one vector a text, exactly.
    Dense(&'a dyn DualEncoder),
    /// By one vector a token, through the index of centroids. The texts are those of this rendering.
    Colbert(&'a dyn LateEncoder, &'a TextConfig, ColbertSettings),
}

/// What a way of finding documents gives and takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// What it was called.
    pub name: String,
    /// Quality and time.
    #[serde(flatten)]
    pub quality: Quality,
    /// Bytes of all files, for each document.
    pub bytes_per_document: f64,
    /// Seconds from the first document to the last file, encoding included.
    pub build_seconds: f64,
}

/// What was compared, on what.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Documents of the collection.
    pub documents: u64,
    /// Queries asked.
    pub queries: u64,
    /// A row for each way.
    pub ways: Vec<Compared>,
}

/// Compares some ways on the first `most` judged queries. `progress` gets documents encoded, of how many, and the way's name.
///
/// # Errors
/// No judged query; what a model, the settings or the system refuse.
pub fn compare(
    ways: &[(String, Way)],
    collection: &Collection,
    judgements: &[Judgement],
    most: usize,
    progress: &dyn Fn(u64, u64, &str),
) -> Result<Comparison> {
    let queries = judged(collection, judgements, most)?;
    let total = collection.documents.len() as u64;
    let mut compared = Vec::new();
    for (name, way) in ways {
        let folder = tempfile::tempdir().map_err(Error::io("create", Path::new("a temporary folder")))?;
        let dir = folder.path();
        let start = Instant::now();
        progress(0, total, name);
        let input = |at: usize| Input::Text(&queries[at].text);
        let (answers, build_seconds) = match way {
            Way::Bm25(settings) => {
                let config = TextConfig::default();
                let texts = collection.documents.iter().map(|document| plain_text(&config, document.into()));
                Bm25::write(dir, texts, settings)?;
                let (index, built) = (Bm25::open(dir)?, start.elapsed());
                let hit = |(document, score)| Hit { document, score };
                let ask = |at: usize| Ok(index.top(&queries[at].text, K)?.into_iter().map(hit).collect());
                (Answers::of(queries.len(), ask)?, built)
            }
            Way::Dense(encoder) => {
                let path = dir.join("vectors");
                let mut writer = VectorsWriter::create(&path, Stored::F16)?;
                for (number, some) in collection.documents.chunks(TEXTS).enumerate() {
                    writer.push(&encoder.encode_documents(&some.iter().map(Input::Record).collect::<Vec<_>>())?)?;
                    progress((number * TEXTS + some.len()) as u64, total, name);
                }
                writer.finish()?;
                let (file, built) = (VectorFile::open(&path)?, start.elapsed());
                let ask =
                    |at: usize| Ok(file.top(&encoder.encode_queries(&[input(at)])?, K)?.pop().unwrap_or_default());
                (Answers::of(queries.len(), ask)?, built)
            }
            Way::Colbert(encoder, config, settings) => {
                let texts = collection.documents.iter().map(|document| Ok(plain_text(config, document.into())));
                write_colbert(dir, *encoder, texts, *settings, &|done| progress(done, total, name))?;
                let (index, built) = (ColbertIndex::open(dir)?, start.elapsed());
                let ask = |at: usize| index.search(encoder.encode_queries(&[input(at)])?.text(0), K, Effort::default());
                (Answers::of(queries.len(), ask)?, built)
            }
        };
        let mut bytes = 0;
        for entry in std::fs::read_dir(dir).map_err(Error::io("read", dir))? {
            bytes += entry.and_then(|entry| entry.metadata()).map_err(Error::io("read", dir))?.len();
        }
        compared.push(Compared {
            name: name.clone(),
            quality: answers.quality(&queries, collection, judgements)?,
            bytes_per_document: bytes as f64 / total.max(1) as f64,
            build_seconds: build_seconds.as_secs_f64(),
        });
    }
    Ok(Comparison { documents: total, queries: queries.len() as u64, ways: compared })
}
