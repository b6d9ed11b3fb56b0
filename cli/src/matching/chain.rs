//! How candidates of two lists are found, and the models that they go through: the matcher alone, or the stages of a pipeline.

use std::path::{Path, PathBuf};

use sverka::data::StoredTable;
use sverka::index::{self, Index, Method, ModelOptions, Settings};
use sverka::pipeline::plan::{Kind, StagePlan};
use sverka::pipeline::{IndexedList, Plan, RowIndex, Stage, StageModel};
use sverka::ranker::Rows;
use sverka::{Error, Result};

use super::Args;
use crate::args::Resolved;
use crate::output::Output;

/// Where an index that is no BM25 is, in the work folder.
const INDEX: &str = "index";

/// The models, first to last, with how many candidates each leaves; and the stage that finds them, if a pipeline says so.
pub(super) struct Chain {
    finder: Option<StagePlan>,
    models: Vec<(StageModel, usize)>,
    global: ModelOptions,
}

/// The pipeline that was given, fit for two lists.
pub(super) fn pipeline(args: &Args, output: &Output) -> Result<Option<Plan>> {
    let Some(path) = &args.pipeline else { return Ok(None) };
    let plan = Plan::read(path)?;
    let in_file = |error| match error {
        Error::Setting { name, value, what } => {
            Error::data(path, None, format!("{name} = {value}: {what}"), "correct it there")
        }
        other => other,
    };
    plan.check_for_lists().map_err(in_file)?;
    let unused = plan.unused_for_lists();
    if !unused.is_empty() {
        output.note(format_args!("{}: match makes no use of {}", path.display(), unused.join(", ")));
    }
    let first = &plan.stages[0];
    if let (Some(index), true) = (&first.index, args.right.is_some() || args.against.is_some()) {
        let what = "the right list is this index's documents: leave RIGHT and --against out";
        return Err(in_file(Error::setting("stages[0].index", index.display(), what)));
    }
    Ok(Some(plan))
}

impl Chain {
    pub(super) fn open(plan: Option<&Plan>, model: &Path, global: &Resolved) -> Result<Self> {
        let options = ModelOptions { path: None, dtype: global.dtype, device: global.device };
        let Some(plan) = plan else {
            let model = StageModel::open(model, global.dtype, global.device)?;
            return Ok(Chain { finder: None, models: vec![(model, usize::MAX)], global: options });
        };
        let open = |(number, stage): (usize, &StagePlan)| {
            let key = format!("stages[{number}].model");
            Ok((StageModel::of_stage(&key, stage, global.dtype, global.device)?, stage.k))
        };
        let models = plan.stages.iter().enumerate().skip(1).map(open).collect::<Result<_>>()?;
        Ok(Chain { finder: plan.stages.first().cloned(), models, global: options })
    }

    /// The model that decides.
    pub(super) fn last(&self) -> &StageModel {
        &self.models[self.models.len() - 1].0
    }

    /// The models, reading these fields.
    pub(super) fn with_fields(self, fields: &[String]) -> Self {
        let models = self.models.into_iter().map(|(model, keep)| (model.with_fields(fields), keep));
        Chain { models: models.collect(), ..self }
    }

    pub(super) fn stages(&self) -> Vec<Stage<'_>> {
        self.models.iter().map(|(model, keep)| Stage { ranker: model, keep: *keep }).collect()
    }

    /// What the models are, for the plan of the work.
    pub(super) fn fingerprint(&self) -> Result<Vec<serde_json::Value>> {
        let failed = |e: serde_json::Error| Error::Internal { op: "plan", what: e.to_string() };
        let of = |(model, keep): &(StageModel, usize)| Ok(serde_json::json!([model.fingerprint()?, keep]));
        let mut all = self.models.iter().map(of).collect::<Result<Vec<_>>>()?;
        all.push(serde_json::to_value(&self.finder).map_err(failed)?);
        Ok(all)
    }

    /// The index that the right list is, if it is one.
    pub(super) fn against(&self, args: &Args) -> Option<PathBuf> {
        args.against.clone().or_else(|| self.finder.as_ref().and_then(|finder| finder.index.clone()))
    }

    /// Opens that index.
    pub(super) fn open_against(&self, dir: &Path) -> Result<IndexedList> {
        let model = self.finder.as_ref().and_then(|finder| finder.model.clone());
        let list = IndexedList::open(dir, &ModelOptions { path: model, ..self.global.clone() })?;
        let methods = &list.index().manifest().settings.methods;
        let fits = match self.finder.as_ref().map(|finder| finder.kind) {
            None => true,
            Some(Kind::Hybrid) => methods.len() > 1,
            Some(kind) => methods.len() == 1 && methods[0].name() == kind.to_string(),
        };
        if !fits {
            let kind = list.index().manifest().settings.kind();
            let what = format!("is an index of kind {kind}, and the pipeline's first stage is of another");
            return Err(Error::data(dir, None, what, "give an index of that kind, or change the stage"));
        }
        Ok(list)
    }

    /// Whether BM25 alone finds candidates.
    pub(super) fn is_bm25(&self) -> bool {
        self.finder.as_ref().is_none_or(|finder| finder.kind == Kind::Bm25)
    }

    /// Indexes the right list as the first stage says, where that is not BM25 alone.
    pub(super) fn index(&self, right: &StoredTable, fields: &[String], dir: &Path, output: &Output) -> Result<()> {
        let Some(StagePlan { kind, model, parts, .. }) = &self.finder else { return Ok(()) };
        let method = |kind: Kind| if kind == Kind::Bm25 { Method::Bm25 } else { Method::Dense };
        let (methods, weights) = match kind {
            Kind::Hybrid => (parts.iter().map(|p| method(p.kind)).collect(), parts.iter().map(|p| p.weight).collect()),
            kind => (vec![method(*kind)], Vec::new()),
        };
        let model = model.clone().or_else(|| parts.iter().find_map(|part| part.model.clone()));
        let settings = Settings { fields: fields.to_vec(), weights, ..Settings::new(&methods) };
        let bar = output.bar(right.len() as u64, "indexing {bar:30} {pos}/{len} records, {per_sec}, {eta} left");
        let options = ModelOptions { path: model, ..self.global.clone() };
        index::build_index(&dir.join(INDEX), right, &settings, &options, false, &|done, _| bar.set_position(done))?;
        bar.finish_and_clear();
        Ok(())
    }

    /// What [`Chain::index`] made.
    pub(super) fn open_index(&self, right: &StoredTable, dir: &Path) -> Result<RowIndex> {
        RowIndex::new(Index::open(&dir.join(INDEX), &self.global)?, right)
    }
}
