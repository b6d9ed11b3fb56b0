//! Non-matches for a set of links that knows matches only (a dealer's item and the product it is).
//!
//! The right records of the same part are the catalogue. For each match some non-matches come from the top of BM25, which
//! are what the matcher will meet in use, and some are drawn at random, which keep it honest about the easy rest (both as
//! in Karpukhin et al., "Dense Passage Retrieval", EMNLP 2020). A true link is never made a non-match, nor is a record
//! that reads the same as a true link's.
//!
//! In training's part a model may choose in place of BM25. What it finds nearly as good as a true link may be one that nobody linked, so
//! there is a ceiling, a share of the link's score (TopK-PercPos of Moreira et al., "NV-Retriever", arXiv 2407.15831).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use rand::seq::SliceRandom;

use super::recipe::Negatives;
use super::seed::generator;
use crate::bundle::Bundle;
use crate::index::Bm25;
use crate::nn::Device;
use crate::ranker::{DualEncoder, Input, List};
use crate::records::{Pair, PairSet, Record, Split};
use crate::text::{TextConfig, plain_text};
use crate::{Error, Ranker, Result};

/// Adds non-matches to every split of a set, drawn from the split's seed; gives their number.
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
        let mined = match &how.model {
            Some(model) if part == Split::Train => {
                let lists = Lists { set, catalogue: &catalogue, index: &index, text: &text };
                mine(model, how, config, &lists, &matches)?
            }
            _ => BTreeMap::new(),
        };
        for (&left, &links) in &of_left {
            let known = &known[&left];
            let same: HashSet<String> = known.iter().map(|&row| text(&set.right[row as usize])).collect();
            let free = |&place: &usize| !known.contains(&catalogue[place]) && !same.contains(&texts[place]);
            let (hard, random) = (how.hard * links, how.random * links);
            let depth = hard + known.len() + texts.iter().filter(|t| same.contains(*t)).count();
            let found = match mined.get(&left) {
                Some(places) => places.clone(),
                None if hard == 0 => Vec::new(),
                None => {
                    let top = index.top(&text(&set.left[left as usize]), depth)?;
                    top.into_iter().map(|(row, _)| row as usize).collect()
                }
            };
            let mut chosen: Vec<usize> = found.into_iter().filter(free).take(hard).collect();
            let mut rest: Vec<usize> = (0..catalogue.len()).filter(free).filter(|p| !chosen.contains(p)).collect();
            rest.shuffle(&mut generator(&[seed(part), part as u64, left.into()]));
            // where too few are found, chance fills up
            let missing = hard - chosen.len();
            chosen.extend(rest.into_iter().take(random + missing));
            let pair = |place| Pair { left, right: catalogue[place], grade: Some(0.0), split: Some(part) };
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

/// For each left row the places of the catalogue that a model finds most like a match, best first, below the ceiling.
fn mine(
    model: &Path,
    how: &Negatives,
    config: &TextConfig,
    lists: &Lists,
    matches: &[&Pair],
) -> Result<BTreeMap<u32, Vec<usize>>> {
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
    let towers = bundle.dual_encoder().map(|towers| {
        let documents: Vec<Input> = (0..lists.catalogue.len()).map(right).collect();
        towers.encode_documents(&documents).map(|documents| (towers, documents))
    });
    let towers = towers.transpose()?;
    let mut mined = BTreeMap::new();
    for (left, links) in links {
        let record = &lists.set.left[left as usize];
        let query = Input::Record(record);
        let mut scored: Vec<(usize, f32)> = match &towers {
            Some((towers, documents)) => {
                let query = towers.encode_queries(&[query])?;
                (0..documents.len()).map(|place| (place, query.dot(0, documents, place))).collect()
            }
            None => {
                let found = lists.index.top(&(lists.text)(record), (10 * how.hard).max(50))?;
                let found: BTreeSet<usize> = found.into_iter().map(|(row, _)| row as usize).collect();
                let places: Vec<usize> = found.into_iter().chain(links.iter().copied()).collect();
                let candidates = places.iter().map(|place| right(*place)).collect();
                let scores = bundle.score(&[List { query, candidates }])?.remove(0);
                // a share of a logit means nothing
                places.into_iter().zip(scores).map(|(place, s)| (place, 1.0 / (1.0 + (-s.value).exp()))).collect()
            }
        };
        let of_links = scored.iter().filter(|(place, _)| links.contains(place)).map(|(_, score)| *score);
        let limit = how.ceiling * of_links.fold(f32::INFINITY, f32::min);
        scored.retain(|(_, score)| *score < limit);
        scored.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        mined.insert(left, scored.into_iter().map(|(place, _)| place).collect());
    }
    Ok(mined)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{Architecture, Manifest};
    use crate::testing;

    /// 20 products, and the same as another shop writes them; links of 0 to 14 are for training, the others for test. Right row 20 reads as row 0.
    fn linked() -> PairSet {
        let columns: std::sync::Arc<[String]> = ["name".to_string()].into();
        let record =
            |i: usize, name: String| Record { id: i.to_string(), columns: columns.clone(), values: vec![name] };
        let names = |i: usize| {
            format!(
                "{} cleaner {}",
                ["floor", "glass", "oven", "wood"][i / 5],
                ["1 l", "5 l", "10 l", "20 l", "50 l"][i % 5]
            )
        };
        let mut right: Vec<Record> = (0..20).map(|i| record(i, names(i))).collect();
        right.push(record(20, names(0))); // reads the same as the true link of left 0
        let left: Vec<Record> = (0..20).map(|i| record(i, format!("{} by Acme", names(i)))).collect();
        let link = |l: u32, r: u32, part| Pair { left: l, right: r, grade: Some(1.0), split: Some(part) };
        let mut pairs: Vec<Pair> =
            (0..20).map(|i| link(i, i, if i < 15 { Split::Train } else { Split::Test })).collect();
        pairs.push(link(1, 20, Split::Train));
        PairSet { left, right, pairs }
    }

    #[test]
    fn hard_ones_are_near_and_true_links_are_never_made() {
        let mut set = linked();
        let links = set.pairs.clone();
        let made =
            make(&mut set, &Negatives { hard: 3, random: 1, ..Negatives::default() }, &TextConfig::default(), |_| 5)
                .unwrap();
        let new = &set.pairs[links.len()..];
        assert_eq!((made as usize, new.len()), (4 * 21, 4 * 21));
        for pair in new {
            assert_eq!(pair.label(), Some(false));
            assert!(!links.iter().any(|l| (l.left, l.right) == (pair.left, pair.right)));
            // wood (15..20) is the test part's catalogue, and stays there
            assert_eq!(pair.right >= 15 && pair.right < 20, pair.split == Some(Split::Test));
        }
        assert!(!new.iter().any(|p| p.left == 0 && p.right == 20), "a copy of the true link became a non-match");
        // Left 6 is "glass cleaner 5 l": what BM25 finds shares the product or the size, which 9 of 15 do not.
        let near = |p: &&Pair| p.left == 6 && ((5..10).contains(&p.right) || p.right % 5 == 1);
        assert!(new.iter().filter(near).count() >= 3);
        let mut twice: Vec<_> = new.iter().map(|p| (p.left, p.right)).collect();
        twice.sort_unstable();
        twice.dedup();
        assert_eq!(twice.len(), new.len());
    }

    #[test]
    fn a_model_chooses_the_likest_below_the_ceiling_and_in_training_alone() {
        let dir = tempfile::tempdir().unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bert/rubert");
        let (mut as_chosen, mut at_the_ceiling) = (0, 0);
        let towers = Architecture::Dssm(Default::default());
        // random towers find all texts much alike: under .97 nothing is below the ceiling
        for (architecture, ceiling) in [(towers.clone(), 1.0), (towers, 0.97), (Architecture::CrossEncoder, 1.0)] {
            let path = dir.path().join(format!("{} {ceiling}", architecture.name()));
            testing::write_bundle(&path, &from, &Manifest { architecture, ..Manifest::default() }).unwrap();
            let bundle = Bundle::open(&path, None, Device::Cpu).unwrap();
            let mine = Negatives { hard: 2, random: 0, model: Some(path), ceiling };
            let plain = Negatives { model: None, ..mine.clone() };
            let [by_model, by_words] = [mine, plain].map(|how| {
                let mut set = linked();
                make(&mut set, &how, &TextConfig::default(), |_| 5).unwrap();
                set
            });
            let of = |set: &PairSet, part: Split| -> Vec<(u32, u32)> {
                let made = set.pairs.iter().filter(|p| p.split == Some(part) && !p.is_match());
                made.map(|p| (p.left, p.right)).collect()
            };
            assert_eq!(of(&by_model, Split::Test), of(&by_words, Split::Test));
            // the catalogue of training's part
            let rows: Vec<usize> = (0..15).chain([20]).collect();
            for left in 2..15u32 {
                let query = Input::Record(&by_model.left[left as usize]);
                let candidates = rows.iter().map(|row| Input::Record(&by_model.right[*row])).collect();
                let scores = bundle.score(&[List { query, candidates }]).unwrap().remove(0);
                let share = |row: usize| {
                    let value = scores[rows.iter().position(|r| *r == row).unwrap()].value;
                    if bundle.dual_encoder().is_some() { value } else { 1.0 / (1.0 + (-value).exp()) }
                };
                let limit = ceiling * share(left as usize);
                let mut below: Vec<usize> = rows.iter().copied().filter(|row| share(*row) < limit).collect();
                at_the_ceiling += rows.len() - 1 - below.len();
                below.sort_by(|a, b| share(*b).total_cmp(&share(*a)));
                let chosen: BTreeSet<usize> = of(&by_model, Split::Train)
                    .into_iter()
                    .filter(|pair| pair.0 == left)
                    .map(|pair| pair.1 as usize)
                    .collect();
                // chance fills up where too few are below
                assert_eq!(chosen.len(), 2);
                assert!(below.iter().take(2).all(|row| chosen.contains(row)), "{left}: {chosen:?} of {below:?}");
                as_chosen += below.len().min(2);
            }
        }
        assert!(as_chosen > 4 && at_the_ceiling > 4, "{as_chosen} chosen, {at_the_ceiling} at the ceiling");
    }
}
