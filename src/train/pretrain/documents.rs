//! Documents of a recipe's sources, one after the other: what follows what, without the texts of any test part.
//!
//! Sets overlap, so what stays out goes by text: a record whose whole text, or one of whose values of [`WORDS`] words or more, is also a
//! test record's of any set of the recipe is left out, and so is such a line of a text file; compared without case and spacing. Copies of one
//! record are read once. Whether a document is held out goes by its own text, so copies in two files have one fate.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::recipe::{PretrainRecipe, TextSource, Unit};
use crate::data::{ReadReport, Reading, Source, is_table, read_pairs, read_texts};
use crate::ranker::Input;
use crate::records::{PairSet, Record, Split};
use crate::text::normalize::collapsed;
use crate::text::{TextConfig, plain_text};
use crate::train::recipe::SplitRatios;
use crate::train::splits;
use crate::{Error, Result};

/// Words of a value that is compared with those of test records: shorter ones are brands, colours and prices.
const WORDS: usize = 3;

/// Texts that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    /// Number of its source.
    pub source: usize,
    /// Its texts, in order; none is empty.
    pub texts: Vec<String>,
    /// Measured on and never learnt.
    pub held_out: bool,
}

/// What became of one source.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceCounts {
    /// Its name.
    pub name: String,
    /// Documents that are learnt.
    pub documents: u64,
    /// Documents that are held out.
    pub held_out: u64,
    /// Records and lines left out, since a test part has them.
    pub of_tests: u64,
    /// Records left out, since they were read before.
    pub copies: u64,
    /// Lines and rows skipped as bad.
    pub bad_rows: u64,
    /// Sequences made of what is learnt.
    pub sequences: u64,
    /// Tokens of what is learnt, without special ones.
    pub tokens: u64,
    /// Share of a pass's tokens.
    pub share: f64,
}

type Key = [u8; 16];

fn key(text: &str) -> Key {
    let mut key = Key::default();
    key.copy_from_slice(&Sha256::digest(collapsed(text).as_bytes())[..16]);
    key
}

/// The keys under which a record's texts are looked for.
fn keys(record: &Record) -> impl Iterator<Item = Key> {
    let whole = plain_text(&TextConfig::default(), Input::Record(record));
    let values = record.values.iter().filter(|value| value.split_whitespace().count() >= WORDS);
    std::iter::once(key(&whole)).chain(values.map(|value| key(value)))
}

/// Everything that documents are made of.
pub(super) struct Reader<'a> {
    recipe: &'a PretrainRecipe,
    tested: HashSet<Key>,
    seen: HashSet<Key>,
    counts: Vec<SourceCounts>,
    /// Documents of a source at most.
    most: u64,
}

impl<'a> Reader<'a> {
    /// Reads which texts are tested.
    ///
    /// # Errors
    /// A labelled set that can't be read.
    pub(super) fn new(recipe: &'a PretrainRecipe) -> Result<Self> {
        let mut reader = Reader {
            recipe,
            tested: HashSet::new(),
            seen: HashSet::new(),
            counts: Vec::with_capacity(recipe.data.sources.len()),
            most: u64::MAX,
        };
        let sources =
            recipe.data.sources.iter().filter_map(|s| Some((s.from.as_ref()?, s.read.clone(), &s.fields[..])));
        let excluded = recipe.data.exclude.iter().map(|source| (source, Reading::default(), &[][..]));
        for (source, how, fields) in sources.chain(excluded) {
            let (set, _) = reader.pairs(source, &how, fields)?;
            for pair in set.pairs.iter().filter(|pair| pair.split == Some(Split::Test)) {
                let (left, right, _) = set.sides(pair);
                reader.tested.extend(keys(left).chain(keys(right)));
            }
        }
        Ok(reader)
    }

    /// Gives no more than some documents of each source; the rest is read and counted as nothing.
    pub(super) fn first(self, documents: u64) -> Self {
        Reader { most: documents, ..self }
    }

    /// A set whose pairs all have a split.
    fn pairs(&self, source: &Source, how: &Reading, fields: &[String]) -> Result<(PairSet, ReadReport)> {
        let (mut set, report) = read_pairs(source, &how.options(self.recipe.data.skip_bad_rows)?)?;
        let config = TextConfig { fields: fields.to_vec(), ..TextConfig::default() };
        splits::assign(&mut set, &config, SplitRatios::default());
        Ok((set, report))
    }

    /// All documents, source by source; what was left out is counted.
    ///
    /// # Errors
    /// A file that can't be read, a source without a text, what `each` refuses.
    pub(super) fn read(mut self, each: &mut dyn FnMut(Document) -> Result<()>) -> Result<Vec<SourceCounts>> {
        let recipe = self.recipe;
        for (number, source) in recipe.data.sources.iter().enumerate() {
            self.counts.push(SourceCounts { name: source.name.clone(), ..SourceCounts::default() });
            let place = match (&source.from, source.files.first()) {
                (Some(from), _) => {
                    self.set(number, source, from, each)?;
                    None
                }
                (None, first) => {
                    for file in &source.files {
                        match is_table(file) {
                            true => self.table(number, source, file, each)?,
                            false => self.lines(number, source, file, each)?,
                        }
                    }
                    first
                }
            };
            let counts = &self.counts[number];
            if counts.documents == 0 {
                let what = format!(
                    "no text is left to learn from ({} held out, {} of test parts, {} copies, {} bad rows)",
                    counts.held_out, counts.of_tests, counts.copies, counts.bad_rows
                );
                return Err(match place {
                    Some(file) => Error::data(file, None, what, "give more text"),
                    None => Error::setting(format!("data.sources.{number}"), &source.name, what),
                });
            }
        }
        Ok(self.counts)
    }

    /// Passes a document on; one without a text is none.
    fn give(&mut self, source: usize, texts: Vec<String>, each: &mut dyn FnMut(Document) -> Result<()>) -> Result<()> {
        let texts: Vec<String> = texts.into_iter().filter(|text| text.chars().any(char::is_alphanumeric)).collect();
        if texts.is_empty() || self.counts[source].documents >= self.most {
            return Ok(());
        }
        let hash = key(&texts.join(" "));
        let at = f64::from(u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]])) / f64::from(u32::MAX);
        let held_out = at < self.recipe.data.held_out;
        let counts = &mut self.counts[source];
        *(if held_out { &mut counts.held_out } else { &mut counts.documents }) += 1;
        each(Document { source, texts, held_out })
    }

    fn is_tested(&mut self, source: usize, mut keys: impl Iterator<Item = Key>) -> bool {
        let tested = keys.any(|key| self.tested.contains(&key));
        self.counts[source].of_tests += u64::from(tested);
        tested
    }

    /// Whether a record may be read, for the first time by this text.
    fn is_new(&mut self, source: usize, record: &Record, text: &str) -> bool {
        if self.is_tested(source, keys(record)) {
            return false;
        }
        let new = self.seen.insert(key(text));
        self.counts[source].copies += u64::from(!new);
        new
    }

    fn set(
        &mut self,
        number: usize,
        source: &TextSource,
        from: &Source,
        each: &mut dyn FnMut(Document) -> Result<()>,
    ) -> Result<()> {
        let (set, report) = self.pairs(from, &source.read, &source.fields)?;
        self.report(number, report);
        let config = TextConfig { fields: source.fields.clone(), ..TextConfig::default() };
        let whole = |record: &Record| plain_text(&config, Input::Record(record));
        let records: Vec<&Record> = set.left.iter().chain(&set.right).collect();
        if source.unit() == Unit::Record {
            for record in records {
                if self.is_new(number, record, &whole(record)) {
                    let fields = match source.fields.is_empty() {
                        true => record.values.clone(),
                        false => source.fields.iter().filter_map(|f| record.get(f)).map(str::to_string).collect(),
                    };
                    self.give(number, fields, each)?;
                }
            }
            return Ok(());
        }
        // records by text, joined by matches of the training part
        let mut place: HashMap<Key, usize> = HashMap::new();
        let mut own = Vec::with_capacity(records.len());
        let (mut texts, mut root) = (Vec::new(), Vec::new());
        for record in &records {
            let text = whole(record);
            let at = *place.entry(key(&text)).or_insert_with(|| {
                let open = self.is_new(number, record, &text);
                texts.push(open.then_some(text));
                root.push(root.len());
                root.len() - 1
            });
            own.push(at);
        }
        fn find(root: &mut [usize], mut at: usize) -> usize {
            while root[at] != at {
                root[at] = root[root[at]];
                at = root[at];
            }
            at
        }
        for pair in set.pairs.iter().filter(|pair| pair.split == Some(Split::Train) && pair.is_match()) {
            let (left, right) = (own[pair.left as usize], own[set.left.len() + pair.right as usize]);
            if texts[left].is_some() && texts[right].is_some() {
                let (a, b) = (find(&mut root, left), find(&mut root, right));
                root[a.max(b)] = a.min(b);
            }
        }
        let mut clusters: Vec<Vec<String>> = vec![Vec::new(); texts.len()];
        for (at, text) in texts.into_iter().enumerate() {
            clusters[find(&mut root, at)].extend(text);
        }
        clusters.into_iter().try_for_each(|cluster| self.give(number, cluster, each))
    }

    fn table(
        &mut self,
        number: usize,
        source: &TextSource,
        path: &Path,
        each: &mut dyn FnMut(Document) -> Result<()>,
    ) -> Result<()> {
        let options = source.read.options(self.recipe.data.skip_bad_rows)?;
        let report = read_texts(path, &source.fields, &options, |_, values| {
            let whole = values.join(" ");
            let long = values.iter().filter(|value| value.split_whitespace().count() >= WORDS);
            let keys: Vec<Key> = std::iter::once(key(&whole)).chain(long.map(|value| key(value))).collect();
            if self.is_tested(number, keys.into_iter()) {
                return Ok(());
            }
            if !self.seen.insert(key(&whole)) {
                self.counts[number].copies += 1;
                return Ok(());
            }
            self.give(number, values.to_vec(), each)
        })?;
        self.report(number, report);
        Ok(())
    }

    fn lines(
        &mut self,
        number: usize,
        source: &TextSource,
        path: &Path,
        each: &mut dyn FnMut(Document) -> Result<()>,
    ) -> Result<()> {
        let options = source.read.options(self.recipe.data.skip_bad_rows)?;
        let (unit, mut texts) = (source.unit(), Vec::new());
        let report = read_texts(path, &[], &options, |_, line| {
            let line = line.concat();
            let line = line.trim();
            if line.is_empty() && unit == Unit::Paragraph {
                return self.give(number, std::mem::take(&mut texts), each);
            }
            if line.is_empty() || self.is_tested(number, std::iter::once(key(line))) {
                return Ok(());
            }
            match unit {
                Unit::Line => self.give(number, vec![line.to_string()], each),
                _ => {
                    texts.extend(sentences(line).map(str::to_string));
                    Ok(())
                }
            }
        })?;
        self.report(number, report);
        self.give(number, texts, each)
    }

    fn report(&mut self, number: usize, report: ReadReport) {
        report.notes.iter().chain(&report.examples).for_each(|note| log::warn!("{note}"));
        self.counts[number].bad_rows += report.skipped;
    }
}

/// How often a text comes where each comes `weight` times: a share of a time goes by its own hash.
pub(super) fn times(text: &str, weight: f64) -> usize {
    let hash = key(text);
    let at = f64::from(u32::from_le_bytes([hash[4], hash[5], hash[6], hash[7]])) / f64::from(u32::MAX);
    weight.floor() as usize + usize::from(at < weight.fract())
}

/// Pieces of a line that end with `.`, `!`, `?` or `…` before a space.
fn sentences(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let ends = rest.char_indices().filter(|(_, c)| matches!(c, '.' | '!' | '?' | '…'));
        let mut ends = ends.map(|(at, c)| at + c.len_utf8());
        let end = ends.find(|&end| rest[end..].starts_with(char::is_whitespace)).unwrap_or(rest.len());
        let (sentence, tail) = rest.split_at(end);
        rest = tail.trim_start();
        Some(sentence)
    })
}

#[cfg(test)]
mod tests {
    use super::sentences;

    #[test]
    fn sentences_end_before_a_space() {
        let cut = |line: &'static str| sentences(line).collect::<Vec<_>>();
        assert_eq!(cut("Да?.. Нет! 21.5\" и всё"), ["Да?..", "Нет!", "21.5\" и всё"]);
        assert_eq!(cut("one"), ["one"]);
        assert!(cut("").is_empty());
    }
}
