//! A [`Plan`] at work: each query through all stages, timed, within its budget.
//!
//! A stage that is not done when the budget is spent counts for nothing: the answer is the order of the last one that is. The
//! stage that finds documents is always waited for. Pairs are scored a few at a time where there is a budget, a list of a duo at once.
//! Documents that a later stage does not have (deleted from its store, or not in the collection) are dropped and counted.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::model::{StageModel, open_bundle};
use super::plan::{Kind, PartPlan, Plan, StagePlan};
use crate::bundle::Bundle;
use crate::data::{ReadOptions, ReadReport, StoredTable, store_documents};
use crate::index::bm25::Bm25Builder;
use crate::index::fusion::{self, fuse};
use crate::index::states::{Place, StateStore};
use crate::index::{Bm25, Bm25Settings, Index, Method, ModelOptions};
use crate::nn::{Device, Dtype};
use crate::ranker::{self, DualEncoder, Hit, List, Retriever, Rows, Vectors};
use crate::text::{TextConfig, plain_text};
use crate::{Error, Input, Ranker, Result};

/// Pairs that are scored before the clock is looked at.
const PAIRS: usize = 64;
/// Documents that are encoded at once.
const ENCODED: usize = 2048;

/// A pipeline whose models and indexes are loaded. Of the documents only the ids are in memory.
pub struct Pipeline {
    plan: Plan,
    documents: StoredTable,
    ids: Vec<Box<str>>,
    first: Finder,
    others: Vec<Scorer>,
}

/// Finds documents.
enum Finder {
    Bm25(Box<Bm25>),
    Dense(Box<Bundle>, Vectors),
    Hybrid(Vec<(Finder, f32)>),
    /// An index on disk, and the number in the collection of each of its documents.
    Index(Box<Index>, Vec<Option<u32>>),
}

/// Scores documents.
enum Scorer {
    /// By their texts.
    Texts(StageModel),
    /// By their states, with where each document's are.
    States(Box<Bundle>, StateStore, Vec<Option<Place>>),
    /// By their vectors in an index, with the number of each document there.
    Index(Box<Index>, Method, Vec<Option<u32>>),
}

/// Scores of some documents for a query.
type ScoresOf<'a> = Box<dyn Fn(&[Hit]) -> Result<Vec<f32>> + 'a>;

/// What a stage did with a query.
#[derive(Debug, Clone, PartialEq)]
pub struct StageRun {
    /// How long it took.
    pub time: Duration,
    /// Documents that it was given.
    pub given: usize,
    /// Of these, what it does not have.
    pub gone: usize,
    /// What it left, best first.
    pub kept: Vec<u32>,
}

/// What became of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryRun {
    /// The documents of the last stage that was done, best first.
    pub hits: Vec<Hit>,
    /// The stages that were done.
    pub stages: Vec<StageRun>,
    /// Whether the budget ended before the stages did.
    pub over_budget: bool,
    /// How long all took.
    pub time: Duration,
}

impl Pipeline {
    /// Reads the collection into a temporary file, opens all models and stores, and makes the indexes that are not on disk. `say` gets a line
    /// before each step.
    ///
    /// # Errors
    /// What the readers, models, indexes and stores refuse; a model of another kind than its stage.
    pub fn open(plan: Plan, dtype: Option<Dtype>, device: Device, say: &dyn Fn(&str)) -> Result<(Self, ReadReport)> {
        let missing = "give the documents: a BEIR folder, its JSON lines or a table";
        let collection =
            plan.collection.as_ref().ok_or_else(|| Error::setting("collection", "(not given)", missing))?;
        say(&format!("reading {}", collection.display()));
        let (read, report) = store_documents(collection, &ReadOptions::default(), &std::env::temp_dir())?;
        let bm25 = Bm25Settings::of(&read);
        let documents = read.records;
        if documents.is_empty() {
            return Err(Error::data(collection, None, "has no document", "give a collection with documents"));
        }
        let ids = documents.ids()?;
        let open = |key: String, kind: Kind, path: &Option<PathBuf>| {
            path.iter().for_each(|path| say(&format!("opening {}", path.display())));
            open_bundle(&key, kind, path.as_deref(), dtype, device)
        };
        let options = ModelOptions { path: None, dtype, device };
        let finder = |key: &str, kind: Kind, model: &Option<PathBuf>, index: &Option<PathBuf>| {
            if let Some(index) = index {
                say(&format!("opening {}", index.display()));
                let index = Index::open(index, &ModelOptions { path: Option::clone(model), dtype, device })?;
                let mut numbers = vec![None; index.numbers() as usize];
                for (number, id) in (0u32..).zip(&ids) {
                    if let Some(document) = index.find(id)? {
                        numbers[document as usize] = Some(number);
                    }
                }
                return Ok::<_, Error>(Finder::Index(Box::new(index), numbers));
            }
            match kind {
                Kind::Dense => {
                    let bundle = open(format!("{key}.model"), kind, model)?;
                    say(&format!("encoding {} documents", documents.len()));
                    let none = || Error::setting(key, kind, "is no model that encodes documents apart");
                    let vectors = vectors(&bundle.dual_encoder().ok_or_else(none)?, &documents)?;
                    Ok(Finder::Dense(Box::new(bundle), vectors))
                }
                _ => {
                    say(&format!("indexing {} documents", documents.len()));
                    let (mut builder, config) = (Bm25Builder::new(None, bm25)?, TextConfig::default());
                    let texts = documents.iter().map(|document| Ok(plain_text(&config, (&document?).into())));
                    builder.extend(texts, |_| ())?;
                    Ok(Finder::Bm25(Box::new(builder.finish(Some(&ranker::sorted(&ids)))?)))
                }
            }
        };
        let StagePlan { kind, model, index, parts, .. } = &plan.stages[0];
        let first = match kind {
            Kind::Hybrid if index.is_none() => {
                let part = |(at, part): (usize, &PartPlan)| {
                    Ok((finder(&format!("stages[0].parts[{at}]"), part.kind, &part.model, &part.index)?, part.weight))
                };
                Finder::Hybrid(parts.iter().enumerate().map(part).collect::<Result<_>>()?)
            }
            kind => finder("stages[0]", *kind, model, index)?,
        };
        let mut others = Vec::new();
        for (number, stage) in plan.stages.iter().enumerate().skip(1) {
            if let Some(path) = stage.index.as_ref().or(stage.model.as_ref()) {
                say(&format!("opening {}", path.display()));
            }
            others.push(Scorer::open(stage, &format!("stages[{number}]"), &ids, &options)?);
        }
        Ok((Pipeline { plan, documents, ids, first, others }, report))
    }

    /// What it was made of.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
    /// The documents; a hit's number is a place among them.
    pub fn documents(&self) -> &StoredTable {
        &self.documents
    }
    /// The id of a document.
    pub fn id(&self, document: u32) -> &str {
        &self.ids[document as usize]
    }

    /// A query through all stages, as far as the budget goes.
    ///
    /// # Errors
    /// What a model refuses; a score that is not a number.
    pub fn run(&self, query: Input) -> Result<QueryRun> {
        let start = Instant::now();
        let budget = self.plan.budget_ms.map(|ms| Duration::from_secs_f64(ms / 1000.0));
        let spent = || budget.is_some_and(|budget| start.elapsed() > budget);
        let k = self.plan.stages[0].k;
        let (mut hits, gone) = self.first.find(query, k.min(self.documents.len()))?;
        hits.truncate(k);
        let kept = hits.iter().map(|hit| hit.document).collect();
        let mut run = QueryRun {
            stages: vec![StageRun { time: start.elapsed(), given: self.documents.len(), gone, kept }],
            hits,
            over_budget: false,
            time: Duration::ZERO,
        };
        for (scorer, plan) in self.others.iter().zip(&self.plan.stages[1..]) {
            let began = Instant::now();
            let Some((mut hits, gone)) = scorer.score(query, &run.hits, &self.documents, budget.is_some(), &spent)?
            else {
                run.over_budget = true;
                break;
            };
            // stable: what is equal stays in the order of the stage before
            hits.sort_by(|a, b| b.score.total_cmp(&a.score));
            if plan.fuse {
                let there: HashSet<u32> = hits.iter().map(|hit| hit.document).collect();
                let before = run.hits.iter().copied().filter(|hit| there.contains(&hit.document));
                hits = fuse(&[&hits, &before.collect::<Vec<_>>()], &[], fusion::K, |a, b| a.cmp(&b));
            }
            hits.truncate(plan.k);
            let (given, kept) = (run.hits.len(), hits.iter().map(|hit| hit.document).collect());
            run.stages.push(StageRun { time: began.elapsed(), given, gone, kept });
            run.hits = hits;
        }
        run.time = start.elapsed();
        Ok(run)
    }
}

/// Vectors of all documents.
fn vectors(encoder: &dyn DualEncoder, documents: &StoredTable) -> Result<Vectors> {
    let mut all = Vectors::default();
    for start in (0..documents.len()).step_by(ENCODED) {
        let some = documents.range(start..(start + ENCODED).min(documents.len()))?;
        let Vectors { dim, values } = encoder.encode_documents(&some.iter().map(Input::Record).collect::<Vec<_>>())?;
        if start == 0 {
            all = Vectors { dim, values: Vec::with_capacity(dim * documents.len()) };
        }
        all.values.extend(values);
    }
    Ok(all)
}

impl Finder {
    /// The best documents, and how many were found that the collection does not have.
    fn find(&self, query: Input, k: usize) -> Result<(Vec<Hit>, usize)> {
        let mut gone = 0;
        let hits = self.hits(query, k, &mut gone)?;
        Ok((hits, gone))
    }

    fn hits(&self, query: Input, k: usize, gone: &mut usize) -> Result<Vec<Hit>> {
        match self {
            Finder::Bm25(index) => Ok(index.retrieve(&[query], k)?.pop().unwrap_or_default()),
            Finder::Dense(bundle, documents) => {
                let none = || Error::Internal { op: "dense", what: "query and document meet in this encoder".into() };
                let queries = bundle.dual_encoder().ok_or_else(none)?.encode_queries(&[query])?;
                let score = |document: usize| queries.dot(0, documents, document);
                let scored = (0..documents.len()).into_par_iter();
                let mut hits: Vec<Hit> =
                    scored.map(|document| Hit { document: document as u32, score: score(document) }).collect();
                if k < hits.len() {
                    hits.select_nth_unstable_by(k, Hit::best_first);
                    hits.truncate(k);
                }
                hits.sort_unstable_by(Hit::best_first);
                Ok(hits)
            }
            Finder::Index(index, numbers) => {
                let mut hits = Vec::new();
                for hit in index.search(&[query], k)?.pop().unwrap_or_default() {
                    match numbers[hit.document as usize] {
                        Some(document) => hits.push(Hit { document, ..hit }),
                        None => *gone += 1,
                    }
                }
                Ok(hits)
            }
            Finder::Hybrid(parts) => {
                let lists: Vec<Vec<Hit>> =
                    parts.iter().map(|(finder, _)| finder.hits(query, k, gone)).collect::<Result<_>>()?;
                let lists: Vec<&[Hit]> = lists.iter().map(|list| &list[..]).collect();
                let weights: Vec<f32> = parts.iter().map(|(_, weight)| *weight).collect();
                let mut hits = fuse(&lists, &weights, fusion::K, |a, b| a.cmp(&b));
                hits.truncate(k);
                Ok(hits)
            }
        }
    }
}

impl Scorer {
    fn open(stage: &StagePlan, key: &str, ids: &[Box<str>], options: &ModelOptions) -> Result<Self> {
        if let Some(path) = &stage.index {
            let index = Index::open(path, &ModelOptions { path: stage.model.clone(), ..options.clone() })?;
            let method = if stage.kind == Kind::Colbert { Method::Colbert } else { Method::Dense };
            if !index.manifest().settings.methods.contains(&method) {
                let what = format!(
                    "is an index of kind {}, and the stage is {}",
                    index.manifest().settings.kind(),
                    stage.kind
                );
                return Err(Error::setting(format!("{key}.index"), path.display(), what));
            }
            let numbers = ids.iter().map(|id| index.find(id)).collect::<Result<_>>()?;
            return Ok(Scorer::Index(Box::new(index), method, numbers));
        }
        let model = StageModel::of_stage(&format!("{key}.model"), stage, options.dtype, options.device)?;
        match (model, &stage.store) {
            (StageModel::Bundle(bundle), Some(path)) => {
                let store = StateStore::open(path, &bundle.split_encoder()?)?;
                let places = ids.iter().map(|id| store.find(id)).collect();
                Ok(Scorer::States(bundle, store, places))
            }
            (model, _) => Ok(Scorer::Texts(model)),
        }
    }

    /// Whether it knows a document.
    fn has(&self, document: u32) -> bool {
        match self {
            Scorer::Texts(_) => true,
            Scorer::States(_, _, places) => places[document as usize].is_some(),
            Scorer::Index(_, _, numbers) => numbers[document as usize].is_some(),
        }
    }

    /// Scores hits, and how many of them it does not have; `None` where the budget was spent meanwhile.
    fn score(
        &self,
        query: Input,
        hits: &[Hit],
        documents: &StoredTable,
        timed: bool,
        spent: &dyn Fn() -> bool,
    ) -> Result<Option<(Vec<Hit>, usize)>> {
        let listwise = matches!(self, Scorer::Texts(model) if model.is_listwise());
        if hits.is_empty() || (listwise && hits.len() < 2) {
            return Ok(Some((hits.to_vec(), 0))); // nothing to score, or to compare with
        }
        if spent() {
            return Ok(None);
        }
        let there: Vec<Hit> = hits.iter().copied().filter(|hit| self.has(hit.document)).collect();
        let records = |part: &[Hit]| documents.records(&part.iter().map(|hit| hit.document).collect::<Vec<_>>());
        let scores_of: ScoresOf = match self {
            Scorer::Texts(model) => Box::new(move |part| {
                let candidates = records(part)?;
                let list = List { query, candidates: candidates.iter().map(Input::Record).collect() };
                let scores = model.score(&[list])?.pop().unwrap_or_default();
                Ok(scores.into_iter().map(|score| score.value).collect())
            }),
            Scorer::States(bundle, store, places) => {
                let encoder = bundle.split_encoder()?;
                let encoded = encoder.encode_query(query)?;
                Box::new(move |part| {
                    let found: Vec<Place> = part.iter().filter_map(|hit| places[hit.document as usize]).collect();
                    let lengths: Vec<u32> = found.iter().map(|place| store.length(*place)).collect();
                    let texts = encoder.needs_texts().then(|| records(part)).transpose()?;
                    let texts = texts.as_ref().map(|texts| texts.iter().map(Input::Record).collect::<Vec<_>>());
                    let fill = |i: usize, rows: &mut [f32]| store.fill(found[i], rows);
                    encoder.score(&encoded, &lengths, &fill, texts.as_deref())
                })
            }
            Scorer::Index(index, method, numbers) => Box::new(move |part| {
                let found: Vec<u32> = part.iter().filter_map(|hit| numbers[hit.document as usize]).collect();
                index.scores(*method, query, &found)
            }),
        };
        // a list of a duo is scored at once, and stored vectors take no time
        let whole = !timed || listwise || matches!(self, Scorer::Index(..));
        let size = if whole { there.len().max(1) } else { PAIRS };
        let mut scored: Vec<Hit> = Vec::with_capacity(there.len());
        for part in there.chunks(size) {
            scored.extend(part.iter().zip(scores_of(part)?).map(|(hit, score)| Hit { score, ..*hit }));
            if spent() && scored.len() < there.len() {
                return Ok(None);
            }
        }
        if scored.iter().any(|hit| !hit.score.is_finite()) {
            return Err(Error::Internal { op: "run", what: "a score that is not a number".into() });
        }
        // what came too late counts for nothing
        Ok((!spent()).then(|| (scored, hits.len() - there.len())))
    }
}
