//! Which architectures there are: the only `match` on them.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Checkpoint, sentence};
use crate::models::{
    Model, cedr, character_bert, colbert, conv_knrm, cross_encoder, detext, drmm, dssm, duo, knrm, pacrr, parade, yati,
};
use crate::records::Record;
use crate::text::TextEncoder;
use crate::{Error, Result};

/// A model's kind and its own settings, as `sverka.json` and a recipe's `[model]` say it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// Query and document in one sequence.
    #[default]
    CrossEncoder,
    /// A cross-encoder over words made of their characters.
    CharacterBert(character_bert::Config),
    /// A cross-encoder over the passages of a long document.
    Parade(parade::Config),
    /// Two towers.
    Dssm(dssm::Config),
    /// Two towers with numbers and categories.
    Detext(detext::Config),
    /// Two documents compared.
    Duo(duo::Config),
    /// Kernels over a similarity matrix.
    Knrm(knrm::Config),
    /// Kernels over similarities of n-grams.
    ConvKnrm(conv_knrm::Config),
    /// Patterns of a similarity matrix.
    Pacrr(pacrr::Config),
    /// Histograms over a similarity matrix.
    Drmm(drmm::Config),
    /// Kernels or histograms over an encoder's states, joined by its first token.
    Cedr(cedr::Config),
    /// Lower layers that read query and document apart.
    Yati(yati::Config),
    /// Two towers that meet token by token.
    Colbert(colbert::Config),
}

impl Architecture {
    /// All names.
    pub const NAMES: [&str; 13] = [
        "cross_encoder",
        "dssm",
        "duo",
        "knrm",
        "drmm",
        "cedr",
        "conv_knrm",
        "pacrr",
        "detext",
        "yati",
        "colbert",
        "parade",
        "character_bert",
    ];

    /// The model of this kind.
    pub fn model(&self) -> Box<dyn Model> {
        match self {
            Architecture::CrossEncoder => Box::new(cross_encoder::CrossEncoder),
            Architecture::CharacterBert(config) => Box::new(character_bert::CharacterBert(*config)),
            Architecture::Parade(config) => Box::new(parade::Parade(*config)),
            Architecture::Dssm(config) => Box::new(dssm::Dssm(config.clone())),
            Architecture::Detext(config) => Box::new(detext::Detext { config: config.clone(), without: None }),
            Architecture::Duo(config) => Box::new(duo::Duo(*config)),
            Architecture::Knrm(config) => Box::new(knrm::Knrm(*config)),
            Architecture::ConvKnrm(config) => Box::new(conv_knrm::ConvKnrm(*config)),
            Architecture::Pacrr(config) => Box::new(pacrr::Pacrr(*config)),
            Architecture::Drmm(config) => Box::new(drmm::Drmm(*config)),
            Architecture::Cedr(config) => Box::new(cedr::Cedr(*config)),
            Architecture::Yati(config) => Box::new(yati::Yati(*config)),
            Architecture::Colbert(config) => Box::new(colbert::Colbert(config.clone())),
        }
    }

    /// Columns that it reads besides the text.
    pub fn inputs(&self) -> Vec<String> {
        if let Architecture::Detext(config) = self { config.inputs() } else { Vec::new() }
    }

    /// With what training's records have in those columns, and the tokenizer's sign of a word's start where words are made of characters.
    ///
    /// # Errors
    /// A column that is not there; a tokenizer without the sign.
    pub fn fitted(&self, records: &[&Record], text: &TextEncoder) -> Result<Self> {
        match self {
            Architecture::Detext(config) => Ok(Architecture::Detext(config.fitted(records)?)),
            Architecture::CharacterBert(character_bert::Config { word_start: None }) => {
                let word_start = Some(text.word_start()?);
                Ok(Architecture::CharacterBert(character_bert::Config { word_start }))
            }
            kind => Ok(kind.clone()),
        }
    }

    /// With the linear layers that the start in `dir` has after its pooling, where towers over an encoder name none; their arrays are added to
    /// the start's.
    ///
    /// # Errors
    /// A layer that is not known here, or whose arrays do not fit.
    pub fn begun_with(self, dir: &Path, start: &mut Checkpoint) -> Result<Self> {
        let Architecture::Dssm(mut config) = self else { return Ok(self) };
        if config.vectors == dssm::TextVectors::Encoder {
            let found = match &start.manifest {
                Some(manifest) => manifest.architecture.towers().map(|towers| towers.dense.clone()).unwrap_or_default(),
                None => sentence::dense(dir, &start.config, &mut start.weights)?,
            };
            config.dense = if config.dense.is_empty() { found } else { config.dense };
        }
        Ok(Architecture::Dssm(config))
    }

    /// Settings of two towers over an encoder.
    pub(super) fn towers(&self) -> Option<&dssm::Config> {
        match self {
            Architecture::Dssm(config) if config.vectors == dssm::TextVectors::Encoder => Some(config),
            _ => None,
        }
    }

    /// Settings of late interaction.
    pub(super) fn late_interaction(&self) -> Option<&colbert::Config> {
        match self {
            Architecture::Colbert(config) => Some(config),
            _ => None,
        }
    }

    /// What Python's libraries can't load of this kind: setting, value, what is missing.
    pub(super) fn lacking_in_python(&self) -> Option<(&'static str, String, &'static str)> {
        match self {
            Architecture::CrossEncoder => None,
            Architecture::Dssm(dssm::Config { vectors, .. }) if *vectors != dssm::TextVectors::Encoder => {
                let name = toml::Value::try_from(vectors).expect("a word").as_str().expect("a word").to_string();
                Some(("model.vectors", name, "sentence-transformers has no such module"))
            }
            Architecture::Dssm(config) if config.shared => None,
            Architecture::Colbert(_) => None,
            Architecture::Dssm(_) => {
                Some(("model.shared", "false".into(), "sentence-transformers loads one encoder, not two"))
            }
            other => Some(("model.architecture", other.name(), "transformers has no class for it")),
        }
    }

    /// The kind of this name with some of its settings; those that are left out have their defaults.
    ///
    /// # Errors
    /// A name or a setting that is not known, a value that a setting can't have.
    pub fn named(name: &str, settings: &toml::Table) -> Result<Self> {
        if !Self::NAMES.contains(&name) {
            let what = format!("is not known; this Sverka knows {}", Self::NAMES.join(", "));
            return Err(Error::setting("model.architecture", name, what));
        }
        let with = toml::Table::from_iter([(name.to_string(), toml::Value::Table(settings.clone()))]);
        let one_tower = |key: &str| {
            let what = "convolutions over characters are one tower for both texts: leave it out";
            Error::setting(format!("model.{key}"), "false", what)
        };
        let plain = settings.is_empty().then(|| toml::Value::from(name).try_into().ok()).flatten();
        let kind = plain.map_or_else(|| toml::Value::Table(with).try_into(), Ok).map_err(|e: toml::de::Error| {
            let key = settings.keys().next().map_or("model".into(), |key| format!("model.{key}"));
            let what = e.message().replace('\n', " ");
            let what = if ["unit variant", "empty table"].iter().any(|part| what.contains(part)) {
                format!("{name} has no settings of its own")
            } else {
                what
            };
            Error::setting(key, settings.to_string().trim().replace('\n', ", "), what)
        })?;
        match kind {
            Architecture::Dssm(config) if config.vectors != dssm::TextVectors::Encoder && !config.dense.is_empty() => {
                let what = "linear layers follow the pooling of an encoder: leave vectors or dense out";
                Err(Error::setting("model.dense", format!("{} layers", config.dense.projections().count()), what))
            }
            Architecture::Dssm(config) if config.vectors == dssm::TextVectors::CharCnn && !config.shared => {
                Err(one_tower("shared"))
            }
            kind => Ok(kind),
        }
    }

    /// Its name.
    pub fn name(&self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            Ok(serde_json::Value::Object(map)) => map.keys().next().cloned().unwrap_or_default(),
            _ => unreachable!("a variant is a name or a map of one"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::dssm::{Config, Pooling};

    #[test]
    fn names_and_settings_come_back() {
        for name in Architecture::NAMES {
            let kind = Architecture::named(name, &toml::Table::new()).unwrap();
            assert_eq!(kind.name(), name);
            let text = serde_json::to_string(&kind).unwrap();
            assert_eq!(serde_json::from_str::<Architecture>(&text).unwrap(), kind);
        }
        let settings = toml::from_str("pooling = 'cls'").unwrap();
        let dssm = Architecture::named("dssm", &settings).unwrap();
        assert_eq!(dssm, Architecture::Dssm(Config { pooling: Pooling::Cls, ..Config::default() }));
    }

    #[test]
    fn words_of_characters_need_a_tokenizer_with_their_sign() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bert/rubert");
        let text = TextEncoder::open(&dir, Default::default()).unwrap();
        let given = |settings| Architecture::named("character_bert", &toml::from_str(settings).unwrap()).unwrap();
        let error = given("").fitted(&[], &text).unwrap_err();
        assert!(error.is_user_error() && error.to_string().contains("--kind char"), "{error}");
        assert_eq!(given("word_start = 5").fitted(&[], &text).unwrap(), given("word_start = 5"));
    }

    #[test]
    fn what_is_not_known_is_named() {
        let refused = |name: &str, settings: &str, part: &str| {
            let error = Architecture::named(name, &toml::from_str(settings).unwrap()).unwrap_err();
            assert!(error.is_user_error() && error.to_string().contains(part), "{error}");
        };
        let known = Architecture::NAMES.join(", ");
        refused("colbart", "", &format!("model.architecture = colbart: is not known; this Sverka knows {known}"));
        refused("dssm", "poling = 'cls'", "poling");
        refused("dssm", "pooling = 'max'", "max");
        refused("dssm", "vectors = 'char_cnn'\nshared = false", "model.shared = false: convolutions over characters");
        refused("duo", "aggregation = 'median'", "median");
        let layer = "{ outputs = 8, bias = true, activation = 'tanh' }";
        refused("dssm", &format!("dense = [{layer}, {layer}, {layer}, {layer}, {layer}]"), "known are up to 4");
        refused(
            "dssm",
            &format!("vectors = 'static'\ndense = [{layer}]"),
            "linear layers follow the pooling of an encoder",
        );
        refused("dssm", &format!("dense = [{}]", layer.replace('8', "0")), "dense");
        refused("dssm", &format!("dense = [{}]", layer.replace("tanh", "silu")), "silu");
        refused("cross_encoder", "pooling = 'cls'", "cross_encoder has no settings of its own");
    }
}
