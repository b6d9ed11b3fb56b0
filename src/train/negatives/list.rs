//! Hard non-matches that a file names: what another program found for a query, or triples that somebody made.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use crate::data::each_hard_negative;
use crate::records::{Pair, PairSet};
use crate::{Error, Result};

/// For each left row of `matches` the right rows that a file names, best first; none of them twice.
///
/// # Errors
/// What [`each_hard_negative`] refuses; a file of which no line names a query and a document of the set.
pub(super) fn read(path: &Path, set: &PairSet, matches: &[&Pair]) -> Result<BTreeMap<u32, Vec<u32>>> {
    let mut documents: HashMap<&str, u32> = HashMap::new();
    for (record, row) in set.right.iter().zip(0..) {
        documents.entry(&record.id).or_insert(row);
    }
    let queries: HashSet<&str> = set.left.iter().map(|record| record.id.as_str()).collect();
    let linked = set.pairs.iter().filter(|pair| pair.is_match());
    let linked: HashSet<(&str, &str)> =
        linked.map(|pair| set.sides(pair)).map(|(l, r, _)| (l.id.as_str(), r.id.as_str())).collect();
    let lefts: BTreeSet<u32> = matches.iter().map(|pair| pair.left).collect();
    let wanted: HashSet<&str> = lefts.iter().map(|&left| set.left[left as usize].id.as_str()).collect();

    let (mut lines, mut unknown) = (0u64, 0u64);
    let mut named: HashMap<&str, Vec<u32>> = wanted.into_iter().map(|id| (id, Vec::new())).collect();
    let report = each_hard_negative(path, |query, positive, negative| {
        lines += 1;
        // a triple of another set, or the columns of something else: its third id may be anything
        let is_strange = positive.is_some_and(|positive| !linked.contains(&(query, positive)));
        match documents.get(negative) {
            Some(&row) if queries.contains(query) && !is_strange => {
                if let Some(rows) = named.get_mut(query).filter(|rows| !rows.contains(&row)) {
                    rows.push(row);
                }
            }
            _ => unknown += 1,
        }
    })?;
    report.notes.iter().for_each(|note| log::warn!("{note}"));
    let what = "a query or a document that the source lacks, or a first document that is no match of its query";
    if unknown == lines {
        let what = format!("each of its {lines} lines names {what}");
        return Err(Error::data(path, None, what, "give ids of the source's own records"));
    }
    if unknown > 0 {
        log::warn!("{}: {unknown} of {lines} lines left out, which name {what}", path.display());
    }
    let of = |left: u32| named.get(set.left[left as usize].id.as_str()).cloned().unwrap_or_default();
    Ok(lefts.into_iter().map(|left| (left, of(left))).collect())
}
