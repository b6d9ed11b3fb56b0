//! A pipeline as a file: stages, how many documents each keeps, and how long a query may take.
//!
//! ```toml
//! collection = "../shared/data/scifact"      # a BEIR folder or a table
//! budget_ms = 800                            # of a query, all stages together
//!
//! [[stages]]
//! kind = "bm25"
//! k = 1000
//!
//! [[stages]]
//! kind = "yati"
//! model = "runs/scifact-yati-1/model"
//! store = "runs/scifact-states"
//! k = 50
//!
//! [[stages]]
//! kind = "duo"
//! model = "runs/scifact-duo-1/model"
//! k = 10
//! ```
//!
//! The first stage finds documents, the others put what the one before left in order and keep the best; with `fuse = true` both orders count.
//! Paths are relative to the file.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::models::duo;
use crate::{Error, Result};

/// A pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The documents: a BEIR folder or its JSON lines, or a table; none for `match`, which has lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<PathBuf>,
    /// Milliseconds that a query may take; what is not done by then is left out. None: as long as it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_ms: Option<f64>,
    /// The stages, first to last.
    pub stages: Vec<StagePlan>,
}

/// A stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StagePlan {
    /// What it does.
    pub kind: Kind,
    /// Documents that are left after it.
    #[serde(default = "hundred")]
    pub k: usize,
    /// The model's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
    /// States of the documents ([`crate::index::states`]), for `yati`; without, they are computed for each query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<PathBuf>,
    /// An index on disk. For a stage that finds documents: without, one is made in memory. For a later `dense` or `colbert`: the documents'
    /// vectors; without, they are computed for each query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<PathBuf>,
    /// Whether the order is that of this stage and of the one before it, fused by reciprocal ranks: a model that reads a pair does not know how rare
    /// its words are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fuse: bool,
    /// How a `duo` compares and counts, where it is not as its model says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duo: Option<duo::Config>,
    /// What `hybrid` fuses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartPlan>,
}

/// One of the methods that `hybrid` fuses by reciprocal ranks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartPlan {
    /// `bm25`, `dense` or `colbert`.
    pub kind: Kind,
    /// The model's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
    /// An index on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<PathBuf>,
    /// What its ranks weigh.
    #[serde(default = "one")]
    pub weight: f32,
}

fn hundred() -> usize {
    100
}

fn one() -> f32 {
    1.0
}

/// What a stage does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Finds documents that share words with the query.
    Bm25,
    /// Compares one vector a text: finds documents, or scores those of the stage before.
    Dense,
    /// Compares one vector a token: finds documents in an index, or scores those of the stage before.
    Colbert,
    /// Finds documents by several methods and fuses their ranks.
    Hybrid,
    /// Scores pairs.
    CrossEncoder,
    /// Scores pairs from stored states.
    Yati,
    /// Compares documents with each other.
    Duo,
    /// Boosted trees over a pair's features and rankers' scores.
    Boosting,
    /// Scores pairs by a model of any kind.
    Model,
}

impl Kind {
    /// Whether it can find documents.
    fn finds(self) -> bool {
        matches!(self, Kind::Bm25 | Kind::Dense | Kind::Colbert | Kind::Hybrid)
    }
    /// Whether it can score documents that were found.
    fn scores(self) -> bool {
        !matches!(self, Kind::Bm25 | Kind::Hybrid)
    }
    /// The architecture that its model must have.
    pub fn architecture(self) -> Option<&'static str> {
        match self {
            Kind::Dense => Some("dssm"),
            Kind::Colbert => Some("colbert"),
            Kind::CrossEncoder => Some("cross_encoder"),
            Kind::Yati => Some("yati"),
            Kind::Duo => Some("duo"),
            Kind::Bm25 | Kind::Hybrid | Kind::Boosting | Kind::Model => None,
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Bm25 => "bm25",
            Kind::Dense => "dense",
            Kind::Colbert => "colbert",
            Kind::Hybrid => "hybrid",
            Kind::CrossEncoder => "cross_encoder",
            Kind::Yati => "yati",
            Kind::Duo => "duo",
            Kind::Boosting => "boosting",
            Kind::Model => "model",
        })
    }
}

impl Plan {
    /// Reads a pipeline. Its paths are those of its folder.
    ///
    /// # Errors
    /// A file that is none; stages that do not go together: with the stage and the remedy.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        let mut plan = Self::parse(&text).map_err(|error| match error {
            Error::Setting { name, value, what } => {
                Error::data(path, None, format!("{name} = {value}: {what}"), "correct it there")
            }
            other => other,
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let within = |path: &mut PathBuf| *path = folder.join(&*path);
        plan.collection.iter_mut().for_each(within);
        for stage in &mut plan.stages {
            [&mut stage.model, &mut stage.store, &mut stage.index].into_iter().flatten().for_each(within);
            for part in &mut stage.parts {
                [&mut part.model, &mut part.index].into_iter().flatten().for_each(within);
            }
        }
        Ok(plan)
    }

    /// Reads a pipeline's text.
    ///
    /// # Errors
    /// As [`Plan::read`].
    pub fn parse(text: &str) -> Result<Self> {
        let plan: Plan = toml::from_str(text).map_err(|e: toml::de::Error| {
            let line = e.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            Error::setting("line", line, e.message().replace('\n', " "))
        })?;
        plan.check()?;
        Ok(plan)
    }

    /// Settings that `match` of two lists does without: it has the right list for a collection, does all stages for each record, and reads a document's
    /// text where `run` reads its states, to the same scores.
    pub fn unused_for_lists(&self) -> Vec<&'static str> {
        let stored = self.stages.iter().any(|stage| stage.store.is_some());
        let given =
            [("collection", self.collection.is_some()), ("budget_ms", self.budget_ms.is_some()), ("store", stored)];
        given.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name).collect()
    }

    /// Refuses what has no meaning in `match` of two lists, and stages that nothing is decided by.
    ///
    /// # Errors
    /// The setting and the remedy.
    pub fn check_for_lists(&self) -> Result<()> {
        if self.stages.len() < 2 {
            let what = "pairs are decided by the last stage's model: add a stage, as kind = \"cross_encoder\"";
            return Err(Error::setting("stages", self.stages.len(), what));
        }
        for (number, stage) in self.stages.iter().enumerate() {
            if stage.fuse {
                let what = "match decides by a model's probability, not by ranks: leave it out";
                return Err(Error::setting(format!("stages[{number}].fuse"), "true", what));
            }
            if let (Some(index), true) = (&stage.index, number > 0) {
                let what = "match scores records by a model: give it as `model`, and leave the index out";
                return Err(Error::setting(format!("stages[{number}].index"), index.display(), what));
            }
        }
        match self.stages[0].parts.iter().position(|part| part.index.is_some()) {
            None => Ok(()),
            Some(part) => {
                let what =
                    "match looks into one index: build a hybrid one with `sverka index`, and give it to the stage";
                Err(Error::setting(format!("stages[0].parts[{part}].index"), "(given)", what))
            }
        }
    }

    fn check(&self) -> Result<()> {
        if self.stages.is_empty() {
            return Err(Error::setting("stages", "[]", "give at least one: kind = \"bm25\" finds documents by words"));
        }
        if let Some(budget) = self.budget_ms.filter(|budget| !(budget.is_finite() && *budget > 0.0)) {
            return Err(Error::setting("budget_ms", budget, "a number of milliseconds above 0"));
        }
        for (number, stage) in self.stages.iter().enumerate() {
            let refuse = |key: &str, value: String, what: &str| {
                Err(Error::setting(format!("stages[{number}].{key}"), value, what))
            };
            let (kind, first) = (stage.kind, number == 0);
            match (first, kind.finds(), kind.scores()) {
                (true, false, _) => {
                    return refuse(
                        "kind",
                        kind.to_string(),
                        "the first stage must find documents: put bm25, dense, colbert or hybrid before it",
                    );
                }
                (false, _, false) => {
                    return refuse("kind", kind.to_string(), "finds documents, so it can only be the first stage");
                }
                _ => {}
            }
            if first && stage.fuse {
                return refuse("fuse", "true".into(), "no stage comes before this one: leave it out");
            }
            if stage.k == 0 {
                return refuse("k", "0".into(), "keep at least 1 document");
            }
            let has = |given: bool, key: &str, wanted: &str| match given {
                true => Ok(()),
                false => refuse(key, "(not given)".into(), wanted),
            };
            if kind.scores() && stage.index.is_none() {
                has(stage.model.is_some(), "model", "give the model's folder")?;
            }
            if first && kind == Kind::Colbert {
                has(stage.index.is_some(), "index", "documents are found in an index: make one with `sverka index`")?;
            }
            if kind == Kind::Hybrid && stage.index.is_none() && stage.parts.len() < 2 {
                return refuse("parts", stage.parts.len().to_string(), "give two or more to fuse, or an index");
            }
            if kind != Kind::Hybrid && !stage.parts.is_empty() {
                return refuse("parts", stage.parts.len().to_string(), "only hybrid has parts");
            }
            if stage.duo.is_some() && kind != Kind::Duo {
                return refuse("duo", kind.to_string(), "only duo compares documents with each other");
            }
            if stage.store.is_some() && kind != Kind::Yati {
                return refuse("store", kind.to_string(), "only yati reads stored states");
            }
            if stage.index.is_some() && !kind.finds() {
                return refuse("index", kind.to_string(), "reads no index: only bm25, dense, colbert and hybrid do");
            }
            for (at, part) in stage.parts.iter().enumerate() {
                let key = format!("parts[{at}]");
                if !part.kind.finds() || part.kind == Kind::Hybrid {
                    return refuse(&key, part.kind.to_string(), "give bm25, dense or colbert");
                }
                if part.kind == Kind::Dense && part.model.is_none() && part.index.is_none() {
                    return refuse(&key, "(no model)".into(), "give the model's folder");
                }
                if part.kind == Kind::Colbert && part.index.is_none() {
                    return refuse(
                        &key,
                        "(no index)".into(),
                        "documents are found in an index: make one with `sverka index`",
                    );
                }
                if !(part.weight.is_finite() && part.weight > 0.0) {
                    return refuse(&key, part.weight.to_string(), "a weight above 0");
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_with_paths_of_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.toml");
        let text = "collection = \"docs\"\nbudget_ms = 5\n[[stages]]\nkind = \"bm25\"\nk = 20\n\
                    [[stages]]\nkind = \"yati\"\nmodel = \"m\"\nstore = \"/s\"\n";
        std::fs::write(&path, text).unwrap();
        let plan = Plan::read(&path).unwrap();
        assert_eq!((plan.collection, plan.budget_ms), (Some(dir.path().join("docs")), Some(5.0)));
        assert_eq!((plan.stages[0].k, plan.stages[1].k), (20, 100));
        assert_eq!(plan.stages[1].model, Some(dir.path().join("m")));
        assert_eq!(plan.stages[1].store, Some("/s".into()));
    }

    #[test]
    fn what_lists_have_no_use_for_is_refused_by_name() {
        let refused = |text: &str, part: &str| {
            let error = Plan::parse(text).unwrap().check_for_lists().unwrap_err();
            assert!(error.is_user_error() && error.to_string().contains(part), "{error}");
        };
        let two = "[[stages]]\nkind = 'bm25'\n[[stages]]\nkind = 'model'\nmodel = 'm'\n";
        Plan::parse(two).unwrap().check_for_lists().unwrap();
        let stored = two.replace("'model'", "'yati'\nstore = 's'");
        let same = Plan::parse(&format!("collection = 'docs'\nbudget_ms = 5\n{stored}")).unwrap();
        same.check_for_lists().unwrap();
        assert_eq!(same.unused_for_lists(), ["collection", "budget_ms", "store"]);
        refused("[[stages]]\nkind = 'bm25'", "stages = 1: pairs are decided");
        refused(&two.replace("'model'", "'colbert'\nindex = 'i'"), "stages[1].index = i");
        refused(&two.replace("'model'", "'model'\nfuse = true"), "stages[1].fuse = true");
        let parts = "[[stages]]\nkind = 'hybrid'\nparts = [{ kind = 'bm25', index = 'i' }, { kind = 'bm25' }]\n";
        refused(&format!("{parts}[[stages]]\nkind = 'model'\nmodel = 'm'\n"), "parts[0].index");
    }

    #[test]
    fn stages_that_do_not_go_together_are_refused_by_name() {
        let refused = |stages: &str, part: &str| {
            let error = Plan::parse(&format!("collection = \"docs\"\n{stages}")).unwrap_err();
            assert!(error.is_user_error() && error.to_string().contains(part), "{error}");
        };
        let stage = |text: &str| format!("[[stages]]\n{text}\n");
        let bm25 = stage("kind = 'bm25'");
        refused("stages = []", "give at least one");
        refused("budget_ms = 0\n[[stages]]\nkind = 'bm25'", "budget_ms = 0");
        refused(&stage("kind = 'duo'\nmodel = 'm'"), "stages[0].kind = duo: the first stage must find");
        refused(&(bm25.clone() + &bm25), "stages[1].kind = bm25: finds documents");
        refused(&stage("kind = 'bm25'\nk = 0"), "stages[0].k = 0");
        refused(&stage("kind = 'bm25'\nfuse = true"), "stages[0].fuse = true: no stage comes before");
        refused(&(bm25.clone() + &stage("kind = 'cross_encoder'")), "stages[1].model = (not given)");
        refused(&stage("kind = 'colbert'\nmodel = 'm'"), "sverka index");
        refused(&stage("kind = 'hybrid'"), "give two or more");
        refused(&stage("kind = 'hybrid'\nparts = [{ kind = 'bm25' }, { kind = 'duo' }]"), "stages[0].parts[1] = duo");
        refused(&(bm25.clone() + &stage("kind = 'duo'\nmodel = 'm'\nstore = 's'")), "only yati");
        refused(&(bm25.clone() + &stage("kind = 'boosted'\nmodel = 'm'")), "line = 5");
        refused(&(bm25.clone() + &stage("kind = 'boosting'")), "stages[1].model = (not given)");
        refused(&(bm25.clone() + &stage("kind = 'duo'\nmodel = 'm'\nindex = 'i'")), "stages[1].index = duo");
        refused(&(bm25 + "kk = 3"), "kk");
    }
}
