//! Tables of sentence pairs as Python's libraries write them: `sentence1`, `sentence2` (or `sentence_1`, `text1`, `text_a`,
//! `question1`, `premise` and their partners) and a score or a label. Scores above 1 are of the scale 0 to 5 of STS (Cer et
//! al., SemEval 2017) and divided by 5; a label of inference counts 1 for entailment and 0 for the two others.

use std::path::Path;
use std::sync::Arc;

use super::rows::{Reader, bad_cell};
use super::{ReadOptions, ReadReport, label};
use crate::records::{Pair, PairSet, Record, Split};
use crate::{Error, Result};

/// Names of the two columns of texts.
const TEXTS: [[&str; 2]; 6] = [
    ["sentence1", "sentence2"],
    ["sentence_1", "sentence_2"],
    ["text1", "text2"],
    ["text_a", "text_b"],
    ["question1", "question2"],
    ["premise", "hypothesis"],
];
/// Names of the column that says how alike they are, in the order of preference.
const SCORES: [&str; 7] =
    ["score", "similarity_score", "similarity", "label", "gold_label", "is_duplicate", "relatedness_score"];
/// The top of the scale of STS.
const STS: f32 = 5.0;

/// The columns of a table of pairs: two texts and a score.
fn columns(names: &[String]) -> Option<[usize; 3]> {
    let at = |name: &str| names.iter().position(|column| column.to_lowercase() == name);
    let [first, second] = TEXTS.iter().find_map(|[first, second]| Some([at(first)?, at(second)?]))?;
    Some([first, second, SCORES.iter().find_map(|name| at(name))?])
}

/// Whether a table's columns are those of sentence pairs.
pub(super) fn is_sentence_pairs(names: &[String]) -> bool {
    columns(names).is_some()
}

/// Reads the pairs of one part.
pub(super) fn read(path: &Path, part: Option<Split>, options: &ReadOptions, set: &mut PairSet) -> Result<ReadReport> {
    let mut reader = Reader::open(path, options)?;
    let text: Arc<[String]> = Arc::new(["text".into()]);
    let start = set.pairs.len();
    while let Some(mut row) = reader.next()? {
        let Some([first, second, score]) = columns(reader.columns()) else {
            let what = format!("no columns of sentence pairs; there is: {}", reader.columns().join(", "));
            return Err(Error::data(path, None, what, "call them sentence1, sentence2 and score"));
        };
        match grade(path, row.line, &reader.columns()[score], &row.values[score]) {
            Ok(grade) => {
                let at = set.left.len() as u32;
                let mut record = |at: usize| {
                    let values = vec![std::mem::take(&mut row.values[at])];
                    Record { id: row.line.to_string(), columns: text.clone(), values }
                };
                let (left, right) = (record(first), record(second));
                set.left.push(left);
                set.right.push(right);
                set.pairs.push(Pair { left: at, right: at, grade: Some(grade), split: part });
            }
            Err(error) => reader.refuse(error)?,
        }
    }
    let new = &mut set.pairs[start..];
    if new.iter().any(|pair| pair.grade.is_some_and(|grade| grade > 1.0)) {
        new.iter_mut().for_each(|pair| pair.grade = pair.grade.map(|grade| grade / STS));
        reader.notes.say("scores of 0 to 5, divided by 5");
    }
    Ok(reader.report())
}

fn grade(path: &Path, line: u64, column: &str, cell: &str) -> Result<f32> {
    let word = cell.trim().to_lowercase();
    let grade = match word.as_str() {
        "entailment" => Some(1.0),
        "neutral" | "contradiction" => Some(0.0),
        _ => word.parse().ok().or(label::word(&word).map(Pair::grade_of)),
    };
    grade.filter(|grade| (0.0..=STS).contains(grade)).ok_or_else(|| {
        let what = format!("`{}` is no score", cell.trim().chars().take(40).collect::<String>().escape_debug());
        bad_cell(path, line, column, what, "write a number of 0 to 1 or 0 to 5, or entailment, neutral, contradiction")
    })
}
