//! Texts that are read apart, as late interaction frames them: a marker that says which text it is, a query filled up with masks, tokens of a
//! document that do not count (Khattab and Zaharia, "ColBERT", SIGIR 2020).
//!
//! ```text
//! [CLS] [Q] query [SEP] [MASK] [MASK] ...      always `query_length` tokens
//! [CLS] [D] document [SEP]                     cut at `max_tokens`
//! ```
//!
//! Refused: new rows of the vocabulary for markers. BERT's has unused ones, and a checkpoint from Python brings its own.

use std::sync::Arc;

use super::batch::{Encoding, TokenSpan};
use super::encoder::{TextEncoder, TokenizedSide};
use super::files::Files;
use super::sequence::{push, push_side};
use crate::{Error, Result};

/// How texts that are read apart are framed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TowerConfig {
    /// The token after the first one of a query and of a document; `None`: `[Q]` and `[D]`, else `[unused0]` and `[unused1]`, where the vocabulary
    /// has them, else no token; an empty one: no token.
    pub markers: [Option<String>; 2],
    /// Tokens of a query at most, special ones included; exactly so many with `expand`.
    pub query_length: usize,
    /// Whether a query is filled up with mask tokens.
    pub expand: bool,
    /// Whether tokens look at those masks.
    pub attend: bool,
    /// Tokens of a document that do not count.
    pub skip: Vec<String>,
}

/// The same, as token ids.
#[derive(Debug)]
pub(super) struct Towers {
    markers: [Option<u32>; 2],
    query_length: usize,
    mask: Option<u32>,
    attend: bool,
    /// In ascending order.
    skip: Vec<u32>,
}

/// Markers, the most telling first: PyLate's, then BERT's tokens without a meaning of their own.
const MARKERS: [[&str; 3]; 2] = [["[Q] ", "[Q]", "[unused0]"], ["[D] ", "[D]", "[unused1]"]];

impl Towers {
    fn new(files: &Files, config: &TowerConfig) -> Result<Self> {
        let id = |token: &str| files.tokenizer.token_to_id(token);
        let mut markers = [None; 2];
        for (i, key) in ["model.query_marker", "model.document_marker"].into_iter().enumerate() {
            markers[i] = match config.markers[i].as_deref() {
                None => MARKERS[i].into_iter().find_map(id),
                Some("") => None,
                Some(token) => {
                    let what = "is no token of the vocabulary; name one that is, or give \"\" for no marker";
                    let found = id(token).or_else(|| id(token.trim_end()));
                    Some(found.ok_or_else(|| Error::setting(key, token, what))?)
                }
            };
        }
        let mask = ["[MASK]", "<mask>"].iter().find_map(|token| id(token));
        if config.expand && mask.is_none() {
            let what = "needs a mask token, and the vocabulary has none: give query_expansion = false";
            return Err(Error::setting("model.query_expansion", true, what));
        }
        let least = files.template.special(1) + usize::from(markers[0].is_some()) + 1;
        if config.query_length < least {
            let what = format!("a query takes {} special tokens; give at least {least}", least - 1);
            return Err(Error::setting("model.query_length", config.query_length, what));
        }
        // a word that is no token is in no text
        let mut skip: Vec<u32> =
            config.skip.iter().filter_map(|word| id(word)).filter(|id| Some(*id) != files.unknown).collect();
        skip.sort_unstable();
        let (query_length, attend) = (config.query_length, config.attend);
        Ok(Towers { markers, query_length, mask: mask.filter(|_| config.expand), attend, skip })
    }
}

impl TextEncoder {
    /// The same tokenizer for a model that reads its texts apart and frames them so.
    ///
    /// # Errors
    /// A marker or a mask that the vocabulary does not have; a query of no token.
    pub fn with_towers(self, config: &TowerConfig) -> Result<Self> {
        let towers = Some(Arc::new(Towers::new(&self.files, config)?));
        Ok(TextEncoder { towers, ..self })
    }

    /// Whether texts that are read apart are framed in a way of their own.
    pub fn has_towers(&self) -> bool {
        self.towers.is_some()
    }

    /// The markers of queries and documents, empty for none.
    pub fn tower_markers(&self) -> [String; 2] {
        let markers = self.towers.as_ref().map(|towers| towers.markers).unwrap_or_default();
        markers.map(|id| id.and_then(|id| self.files.tokenizer.id_to_token(id)).unwrap_or_default())
    }

    /// Tokens of a text that a sequence of its own has place for.
    fn tower_room(&self, document: bool) -> usize {
        let special = self.files.template.special(1);
        let Some(towers) = &self.towers else { return self.config.max_tokens.saturating_sub(special) };
        let most = if document { self.config.max_tokens } else { self.config.max_tokens.min(towers.query_length) };
        most.saturating_sub(special + usize::from(towers.markers[usize::from(document)].is_some()))
    }

    /// Whether a text that is read apart fits whole.
    pub fn tower_fits(&self, side: &TokenizedSide, document: bool) -> bool {
        side.tokens() <= self.tower_room(document)
    }

    /// A text in a sequence of its own: a query or a document.
    pub fn tower(&self, side: &TokenizedSide, document: bool) -> Encoding {
        let Some(towers) = &self.towers else { return self.join(&[side]) };
        let kept = side.tokens().min(self.tower_room(document));
        let mut encoding = Encoding { truncated: (side.tokens() - kept) as u32, ..Encoding::default() };
        push(&mut encoding, &self.files.template.prefix, 0);
        push(&mut encoding, towers.markers[usize::from(document)].as_slice(), 0);
        push_side(&mut encoding, u8::from(document), side, 0..kept, &[], [0, 2, 4, 6, 8]);
        push(&mut encoding, &self.files.template.suffix, 0);
        let mut note = |input, start: usize, end: usize| {
            encoding.spans.push(TokenSpan { input, field: None, start: start as u32, end: end as u32 });
        };
        if document {
            let skipped = |id: &u32| towers.skip.binary_search(id).is_ok();
            for (at, _) in encoding.ids.iter().enumerate().filter(|(_, id)| skipped(id)) {
                note(TokenSpan::SKIPPED, at, at + 1);
            }
        } else if let Some(mask) = towers.mask {
            let (own, all) = (encoding.ids.len(), towers.query_length.min(self.config.max_tokens));
            if !towers.attend && own < all {
                note(TokenSpan::UNATTENDED, own, all);
            }
            encoding.ids.resize(all.max(own), mask);
            encoding.segments.resize(all.max(own), 0);
        }
        if self.config.one_segment {
            encoding.segments.fill(0);
        }
        encoding
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::ranker::Input;
    use crate::text::{Batch, TextConfig};

    fn config() -> TowerConfig {
        let markers = [Some("[PAD]".to_string()), None];
        TowerConfig { markers, query_length: 8, expand: true, attend: false, skip: vec![",".into(), "none".into()] }
    }

    fn open(config: &TowerConfig) -> Result<TextEncoder> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bert/rubert");
        TextEncoder::open(&dir, TextConfig { max_tokens: 10, ..TextConfig::default() })?.with_towers(config)
    }

    #[test]
    fn a_query_is_filled_up_and_a_document_leaves_signs_out() {
        let text = open(&config()).unwrap();
        let side = |of: &str| text.prepare(Input::Text(of)).unwrap();
        let query = text.tower(&side("Чай 100"), false);
        assert_eq!((query.ids.len(), &query.ids[..2], query.truncated), (8, &[2, 0][..], 0));
        assert_eq!(query.ids[4..], [3, 4, 4, 4], "[SEP], then masks");
        let document = text.tower(&side("Чай, 100, г"), true);
        let skipped: Vec<u32> =
            document.spans.iter().filter(|s| s.input == TokenSpan::SKIPPED).map(|s| s.start).collect();
        assert_eq!(skipped, [2, 4], "no marker in this vocabulary: [CLS] Чай , 100 , г [SEP]");
        let batch: Batch = [&query, &document].into_iter().collect();
        assert_eq!(batch.keys, [5, document.ids.len() as u32]);
        let attended = open(&TowerConfig { attend: true, ..config() }).unwrap();
        let batch: Batch = [&attended.tower(&side("Чай 100"), false)].into_iter().collect();
        assert!(batch.keys.is_empty() && batch.ids.len() == 8);
        let long = side("чай чай чай чай чай чай чай чай чай");
        assert!(!text.tower_fits(&long, false) && !text.tower_fits(&long, true));
        assert_eq!((text.tower(&long, false).ids.len(), text.tower(&long, true).ids.len()), (8, 10));
    }

    #[test]
    fn what_a_vocabulary_can_not_give_is_named() {
        let refused = |config: TowerConfig, part: &str| {
            let error = open(&config).err().unwrap();
            assert!(error.is_user_error() && error.to_string().contains(part), "{error}");
        };
        refused(TowerConfig { markers: [Some("[Q]".into()), None], ..config() }, "model.query_marker = [Q]");
        refused(TowerConfig { query_length: 3, ..config() }, "give at least 4");
    }
}
