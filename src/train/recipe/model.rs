//! `[model]` of a recipe: the architecture, and the weights that training begins with.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::bundle::{Architecture, NewSegments};
use crate::train::pretrain::recipe::Fresh;
use crate::{Error, Result};

/// The architecture, and where its weights come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelSettings {
    /// One of [`Architecture::NAMES`].
    #[serde(default = "cross_encoder")]
    pub architecture: String,
    /// A Hugging Face directory, a bundle, or a file of word vectors (`.vec`, `.bin`); nothing where `vectors` says where vectors come from.
    #[serde(default, alias = "dir", skip_serializing_if = "no_path")]
    pub init: PathBuf,
    /// In its place: sizes of a model that is drawn, and the folder of its tokenizer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh: Option<Fresh>,
    /// Rows the segment table should have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segments: Option<usize>,
    /// What new rows begin with: copies of the old ones in turn, or their mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_segments: Option<NewSegments>,
    /// The layers to keep, counted from 0, in the order given; all if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<Vec<usize>>,
    /// The architecture's own settings.
    #[serde(flatten)]
    pub settings: toml::Table,
}

fn no_path(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

impl ModelSettings {
    /// The folder whose tokenizer is used.
    pub fn tokenizer(&self) -> &Path {
        self.fresh.as_ref().map_or(&self.init, |fresh| &fresh.tokenizer)
    }
    /// The architecture with its settings.
    ///
    /// # Errors
    /// A name or a setting that is not known.
    pub fn architecture(&self) -> Result<Architecture> {
        Architecture::named(&self.architecture, &self.settings)
    }
}

/// Where a model's vectors may come from by name; anything else is a file.
const SOURCES: [&str; 6] = ["static", "joint", "apart", "encoder", "trigrams", "char_cnn"];

impl ModelSettings {
    /// A file that `vectors` names becomes the start of a model over static vectors.
    pub(super) fn take_vectors(&mut self) -> Result<()> {
        let named = self.settings.get("vectors").and_then(toml::Value::as_str).map(str::to_string);
        if let Some(file) = named.as_ref().filter(|name| !SOURCES.contains(&name.as_str())) {
            if !self.init.as_os_str().is_empty() {
                let what = "names a file of vectors, which is the start: leave init out";
                return Err(Error::setting("model.vectors", file, what));
            }
            self.init = file.into();
            self.settings.insert("vectors".into(), "static".into());
        }
        Ok(())
    }

    /// Whether there is one start: a model, a file of word vectors, sizes of a model that is drawn, or none where trigrams need none.
    pub(super) fn check_start(&self) -> Result<()> {
        let vectors = self.settings.get("vectors").and_then(toml::Value::as_str);
        match (no_path(&self.init), &self.fresh) {
            (true, None) if vectors != Some("trigrams") => {
                let what = "is missing: give a model's folder, a file of word vectors, or fresh = { tokenizer = \"DIR\" } for a model \
                            from nothing";
                return Err(Error::setting("model.init", "", what));
            }
            (false, Some(_)) => return Err(Error::setting("model", "init and fresh", "give one of both")),
            (_, Some(fresh)) => fresh.check()?,
            _ => {}
        }
        if self.init.is_file() && vectors != Some("static") {
            let what = "is a file of word vectors: a model over static vectors begins with it (vectors = \"static\")";
            return Err(Error::setting("model.init", self.init.display(), what));
        }
        Ok(())
    }
}

fn cross_encoder() -> String {
    Architecture::default().name()
}
