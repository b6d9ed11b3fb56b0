//! Non-matches for a set of links that knows matches only (a dealer's item and the product it is).
//!
//! The right records of the same part are the catalogue. For each match some non-matches come from the top of BM25, which
//! are what the matcher will meet in use, and some are drawn at random, which keep it honest about the easy rest (both as
//! in Karpukhin et al., "Dense Passage Retrieval", EMNLP 2020). A true link is never made a non-match, nor is a record
//! that reads the same as a true link's.
//!
//! In training's part a file may name the hard ones: what another program found, or triples. They may be any right records
//! of the set, since who made the file has chosen.
//!
//! Or a model may choose in place of BM25. What it finds nearly as good as a true link may be one that nobody linked, so
//! there is a ceiling, a share of the link's score (TopK-PercPos of Moreira et al., "NV-Retriever", arXiv 2407.15831).

mod list;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use rand::seq::SliceRandom;

use super::recipe::Negatives;
use super::seed::generator;
use crate::bundle::Bundle;
use crate::calibrate::sigmoid;
use crate::index::Bm25;
use crate::nn::Device;
use crate::ranker::{DualEncoder, Input, List};
use crate::records::{Pair, PairSet, Record, Split};
use crate::text::{TextConfig, plain_text};
use crate::{Error, Ranker, Result};

/// Adds non-matches to every split of a set, drawn from the split's seed; gives their number.
///
/// # Errors
/// What the model or the file of hard ones refuses.
pub fn make(set: &mut PairSet, how: &Negatives, config: &TextConfig, seed: impl Fn(Split) -> u64) -> Result<u64> {
    let text = |record: &Record| plain_text(config, Input::Record(record));
    let mut known: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for pair in &set.pairs {
        known.entry(pair.left).or_default().insert(pair.right);
    }
    let mut made = Vec::new();
    for part in [Split::Train, Split::Valid, Split::Test] {
        let matches: Vec<&Pair> = set.pairs.iter().filter(|p| p.split == Some(part) && p.is_match()).collect();
        let catalogue: Vec<u32> = matches.iter().map(|p| p.right).collect::<BTreeSet<_>>().into_iter().collect();
        if catalogue.is_empty() {
            continue;
        }
        let texts: Vec<String> = catalogue.iter().map(|&row| text(&set.right[row as usize])).collect();
        let index = Bm25::build(texts.iter().cloned())?;
        let mut of_left: BTreeMap<u32, usize> = BTreeMap::new();
        matches.iter().for_each(|p| *of_left.entry(p.left).or_default() += 1);
        let chosen_for = match (&how.model, &how.list) {
            (Some(model), _) if part == Split::Train => {
                let lists = Lists { set, catalogue: &catalogue, index: &index, text: &text };
                mine(model, how, config, &lists, &matches)?
            }
            (None, Some(list)) if part == Split::Train => list::read(list, set, &matches)?,
            _ => BTreeMap::new(),
        };
        for (&left, &links) in &of_left {
            let known = &known[&left];
            let same: HashSet<String> = known.iter().map(|&row| text(&set.right[row as usize])).collect();
            let free = |row: &u32, text: &String| !known.contains(row) && !same.contains(text);
            let (hard, random) = (how.hard * links, how.random * links);
            let depth = hard + known.len() + texts.iter().filter(|t| same.contains(*t)).count();
            let found = match chosen_for.get(&left) {
                Some(rows) => rows.clone(),
                None if hard == 0 => Vec::new(),
                None => {
                    let top = index.top(&text(&set.left[left as usize]), depth)?;
                    top.into_iter().map(|(place, _)| catalogue[place as usize]).collect()
                }
            };
            let is_free = |row: &u32| free(row, &text(&set.right[*row as usize]));
            let mut chosen: Vec<u32> = found.into_iter().filter(is_free).take(hard).collect();
            let rest = catalogue.iter().zip(&texts).filter(|(row, text)| free(row, text) && !chosen.contains(row));
            let mut rest: Vec<u32> = rest.map(|(row, _)| *row).collect();
            rest.shuffle(&mut generator(&[seed(part), part as u64, left.into()]));
            // where too few are found, chance fills up
            let missing = hard - chosen.len();
            chosen.extend(rest.into_iter().take(random + missing));
            let pair = |right| Pair { left, right, grade: Some(0.0), split: Some(part) };
            made.extend(chosen.into_iter().map(pair));
        }
    }
    let count = made.len() as u64;
    set.pairs.extend(made);
    Ok(count)
}

/// What a model chooses from.
struct Lists<'a> {
    set: &'a PairSet,
    /// Rows of the right list.
    catalogue: &'a [u32],
    /// Over the catalogue.
    index: &'a Bm25,
    text: &'a dyn Fn(&Record) -> String,
}

/// For each left row the rows of the catalogue that a model finds most like a match, best first, below the ceiling.
fn mine(
    model: &Path,
    how: &Negatives,
    config: &TextConfig,
    lists: &Lists,
    matches: &[&Pair],
) -> Result<BTreeMap<u32, Vec<u32>>> {
    let bundle = Bundle::open(model, None, Device::Cpu)?.with_fields(config.fields.clone());
    if bundle.is_listwise() {
        let what = "compares candidates with each other: give a model whose score is of one pair";
        return Err(Error::setting("negatives.model", model.display(), what));
    }
    let right = |place: usize| Input::Record(&lists.set.right[lists.catalogue[place] as usize]);
    let mut links: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for pair in matches {
        let place = lists.catalogue.binary_search(&pair.right);
        links.entry(pair.left).or_default().extend(place.ok());
    }
    let queries: Vec<Input> = links.keys().map(|left| Input::Record(&lists.set.left[*left as usize])).collect();
    let encoded = match bundle.dual_encoder() {
        Some(towers) => {
            let documents: Vec<Input> = (0..lists.catalogue.len()).map(right).collect();
            Some((towers.encode_queries(&queries)?, towers.encode_documents(&documents)?))
        }
        None => None,
    };
    let mut mined = BTreeMap::new();
    for (at, (left, links)) in links.into_iter().enumerate() {
        let mut scored: Vec<(usize, f32)> = match &encoded {
            Some((queries, documents)) => {
                (0..documents.len()).map(|place| (place, queries.dot(at, documents, place))).collect()
            }
            None => {
                let (record, query) = (&lists.set.left[left as usize], queries[at]);
                let found = lists.index.top(&(lists.text)(record), (10 * how.hard).max(50))?;
                let found: BTreeSet<usize> = found.into_iter().map(|(row, _)| row as usize).collect();
                let places: Vec<usize> = found.into_iter().chain(links.iter().copied()).collect();
                let candidates = places.iter().map(|place| right(*place)).collect();
                let scores = bundle.score(&[List { query, candidates }])?.remove(0);
                // a share of a logit means nothing
                places.into_iter().zip(scores).map(|(place, s)| (place, sigmoid(f64::from(s.value)) as f32)).collect()
            }
        };
        let of_links = scored.iter().filter(|(place, _)| links.contains(place)).map(|(_, score)| *score);
        let limit = how.ceiling * of_links.fold(f32::INFINITY, f32::min);
        scored.retain(|(_, score)| *score < limit);
        scored.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        mined.insert(left, scored.into_iter().map(|(place, _)| lists.catalogue[place]).collect());
    }
    Ok(mined)
}

#[cfg(test)]
mod tests;
