//! `sverka.json`: what a bundle knows beyond the Hugging Face files.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Architecture, checksums};
use crate::calibrate::{Calibration, Threshold};
use crate::files::write_beside;
use crate::nn::Dtype;
use crate::nn::weights::Storage;
use crate::text::TextConfig;
use crate::{Error, Result};

/// The newest layout of a bundle that this version reads and writes.
pub const VERSION: u32 = 2;
/// The file's name.
pub(super) const NAME: &str = "sverka.json";
/// The key of the file's own checksum, which is that of all others.
const OWN: &str = "sha256";

/// How a model reads records and what its scores mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The layout, up to [`VERSION`]; set when saved.
    pub version: u32,
    /// What kind of model it is, with its own settings.
    pub architecture: Architecture,
    /// How records become text, as in training.
    pub rendering: TextConfig,
    /// How the weights are stored; set when saved.
    #[serde(default)]
    pub storage: Storage,
    /// What to compute in where the user does not say; f32 if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtype: Option<Dtype>,
    /// Score to probability; a plain sigmoid if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// The probability from which a pair is accepted; 0.5 if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Threshold>,
    /// Fingerprint of the training data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained_on: Option<String>,
    /// SHA-256 of `model.safetensors`, in hexadecimal; set when saved.
    pub weights_sha256: String,
    /// SHA-256 of the other files, in hexadecimal; set when saved. None in bundles of version 1.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// What int8 weights were made from, and what they cost; none where they were not fitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantised: Option<Quantized>,
}

/// Where int8 weights come from, and what they lose against f32.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantized {
    /// SHA-256 of the `model.safetensors` that they were made from.
    pub from_weights_sha256: String,
    /// Pairs that they were fitted on.
    pub sample_pairs: u64,
    /// Pairs that the loss was measured on; none of them in the sample.
    pub measured_pairs: u64,
    /// F1 in f32, a share of one, at the stored calibration and threshold.
    pub f1_f32: f64,
    /// F1 in int8, at the same.
    pub f1_int8: f64,
    /// `f1_f32 - f1_int8`.
    pub loss: f64,
    /// The loss that was allowed.
    pub max_loss: f64,
}

impl Default for Manifest {
    fn default() -> Self {
        Manifest {
            version: VERSION,
            architecture: Architecture::default(),
            rendering: TextConfig::default(),
            storage: Storage::default(),
            dtype: None,
            calibration: None,
            threshold: None,
            trained_on: None,
            weights_sha256: String::new(),
            files: BTreeMap::new(),
            quantised: None,
        }
    }
}

impl Manifest {
    /// Reads a model folder's `sverka.json`; `None` where there is none (a plain Hugging Face directory).
    ///
    /// # Errors
    /// A manifest of a newer version, of another architecture, or with a key that is missing, unknown or of another kind.
    pub fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(NAME);
        if std::fs::symlink_metadata(&path).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
            return Ok(None);
        }
        let bytes = super::directory::read(&path)?;
        let mut value: Value = serde_json::from_slice(&bytes)
            .map_err(|e| Error::model(&path, "JSON", e.to_string(), "the file is damaged; copy the bundle again"))?;
        // The version comes first: a newer file may hold anything.
        match value.get("version").and_then(Value::as_u64) {
            Some(version) if version <= u64::from(VERSION) && version > 0 => {}
            Some(version) => {
                let what = format!("the bundle's version is {version}, this Sverka reads versions 1 to {VERSION}");
                return Err(Error::model(&path, "version", what, "use a newer Sverka, or export the model with one"));
            }
            None => {
                let what = "is missing or not a whole number";
                return Err(Error::model(&path, "version", what, "the file is damaged; copy the bundle again"));
            }
        }
        let kind = value.get("architecture").map(|kind| match kind {
            Value::Object(map) => map.keys().next().cloned().unwrap_or_default(),
            other => other.as_str().unwrap_or_default().to_string(),
        });
        if let Some(kind) = kind.filter(|kind| !Architecture::NAMES.contains(&kind.as_str())) {
            let what = format!("is {kind}, this Sverka knows {}", Architecture::NAMES.join(", "));
            return Err(Error::model(&path, "architecture", what, "use a newer Sverka"));
        }
        let own = value.as_object_mut().and_then(|map| map.remove(OWN));
        let missing = own.is_none();
        let changed = own.is_some_and(|own| own != checksums::of_json(&value));
        let version = value["version"].clone();
        // a name alone has the settings that are usual
        if let Some(name) = value["architecture"].as_str()
            && let Ok(usual) = Architecture::named(name, &toml::Table::new()).map(serde_json::to_value)
        {
            value["architecture"] = usual.map_err(|e| Error::Internal { op: "manifest", what: e.to_string() })?;
        }
        let manifest: Manifest = serde_json::from_value(value).map_err(|e| {
            let what = e.to_string();
            let key = what.split('`').nth(1).unwrap_or("JSON").to_string();
            Error::model(&path, key, what, "correct it, or copy the bundle again")
        })?;
        if changed || (missing && version != 1) {
            let what = "does not fit the rest of the file: it was changed since it was written";
            let remedy = format!(
                "copy the bundle again; if you changed it yourself, delete the line `{OWN}` and set `version` to 1"
            );
            return Err(Error::model(&path, OWN, what, remedy));
        }
        let remedy = "choose it again with `sverka calibrate`";
        if let Some((key, what)) = manifest.calibration.as_ref().and_then(|c| c.fault()) {
            return Err(Error::model(&path, format!("calibration.{key}"), what, remedy));
        }
        if let Some(t) = manifest.threshold {
            // a hair above 1 accepts nothing
            let share = |v: f32| (0.0..=1.0f32.next_up()).contains(&v);
            if let Some(v) = [t.value, t.low, t.high].into_iter().find(|v| !share(*v)) {
                return Err(Error::model(&path, "threshold", format!("{v} is no probability"), remedy));
            }
        }
        Ok(Some(manifest))
    }

    /// Writes it into a model folder, next to the old one and renamed, with checksums of the files that are there.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(NAME);
        let failed = |e: serde_json::Error| Error::Internal { op: "write sverka.json", what: e.to_string() };
        let manifest = Manifest { version: VERSION, files: checksums::of_files(dir)?, ..self.clone() };
        // by way of text, which keeps an f32 as it is; the checksum is that of what a reader sees
        let text = serde_json::to_string_pretty(&manifest).map_err(failed)?;
        let own = checksums::of_json(&serde_json::from_str(&text).map_err(failed)?);
        let text = format!("{},\n  \"{OWN}\": \"{own}\"\n}}\n", text.trim_end().trim_end_matches('}').trim_end());
        write_beside(&path, |file| file.write_all(text.as_bytes()).map_err(Error::io("write", &path)))
    }
}
