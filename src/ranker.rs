//! The traits everything plugs into. Matching and ranking are the same act: a query is the left record, its candidates are the
//! right ones. What is matched, indexed or searched may be longer than memory, so it is a list that is read by number ([`Rows`]).

use std::collections::HashMap;

use crate::records::Record;
use crate::{Error, Result};

/// What a person has: a record with named fields, or a plain text. Nobody outside `text` turns it into tokens.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// Named fields.
    Record(&'a Record),
    /// One text.
    Text(&'a str),
}

impl<'a> From<&'a Record> for Input<'a> {
    fn from(record: &'a Record) -> Self {
        Input::Record(record)
    }
}

/// A query and its candidates.
#[derive(Debug, Clone)]
pub struct List<'a> {
    /// The query.
    pub query: Input<'a>,
    /// Its candidates.
    pub candidates: Vec<Input<'a>>,
}

impl<'a> List<'a> {
    /// A list of one candidate.
    pub fn pair(query: Input<'a>, candidate: Input<'a>) -> Self {
        List { query, candidates: vec![candidate] }
    }
}

/// One candidate's score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Higher is better; only comparable within one model.
    pub value: f32,
    /// Whether the model did not read the texts to their ends.
    pub truncated: bool,
    /// False where one of the texts holds nothing to go by (no word, or mostly unknown tokens): never a match.
    pub readable: bool,
}

/// Scores lists of candidates; higher is better.
pub trait Ranker: Send + Sync {
    /// For each list one score per candidate, in the order given.
    ///
    /// # Errors
    /// A list that the ranker can't score, as a listwise one of a single candidate.
    fn score(&self, lists: &[List]) -> Result<Vec<Vec<Score>>>;
    /// Whether a candidate's score depends on the other candidates of its list.
    fn is_listwise(&self) -> bool {
        false
    }
}

/// A document that a first stage found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Its number in the collection.
    pub document: u32,
    /// The first stage's score; higher is better.
    pub score: f32,
}

impl Hit {
    /// The order of answers: best first, of equal scores the lower number first.
    pub fn best_first(a: &Hit, b: &Hit) -> std::cmp::Ordering {
        b.score.total_cmp(&a.score).then(a.document.cmp(&b.document))
    }
}

/// A first stage: finds candidates for a query in a collection.
pub trait Retriever: Send + Sync {
    /// For each query the `k` best documents, best first; fewer where fewer have anything in common with it.
    ///
    /// # Errors
    /// What the index refuses.
    fn retrieve(&self, queries: &[Input], k: usize) -> Result<Vec<Vec<Hit>>>;
}

/// Records that [`in_order`] has in memory.
const PIECE: usize = 2048;

/// A list whose records are read by number, so that they need not be in memory.
pub trait Rows: Send + Sync {
    /// How many records can be found.
    fn len(&self) -> usize;
    /// True without a record.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// One more than the largest number of a record.
    fn numbers(&self) -> usize {
        self.len()
    }
    /// Some records, in the order of `rows`.
    ///
    /// # Errors
    /// The system's; a damaged file.
    ///
    /// # Panics
    /// A number that no record has.
    fn records(&self, rows: &[u32]) -> Result<Vec<Record>>;
    /// The id of each number.
    ///
    /// # Errors
    /// Those of [`Rows::records`].
    fn ids(&self) -> Result<Vec<Box<str>>> {
        in_order(self, 0..self.numbers() as u32).map(|record| Ok(record?.id.into())).collect()
    }
    /// The numbers in the order of their ids' letters.
    ///
    /// # Errors
    /// Those of [`Rows::records`].
    fn by_id(&self) -> Result<Vec<u32>> {
        Ok(sorted(&self.ids()?))
    }
}

impl Rows for Vec<Record> {
    fn len(&self) -> usize {
        Vec::len(self)
    }
    fn records(&self, rows: &[u32]) -> Result<Vec<Record>> {
        Ok(rows.iter().map(|row| self[*row as usize].clone()).collect())
    }
    fn ids(&self) -> Result<Vec<Box<str>>> {
        Ok(self.iter().map(|record| record.id.as_str().into()).collect())
    }
}

/// Numbers of ids in the order of their letters; of equal ids the first one comes first.
pub fn sorted(ids: &[Box<str>]) -> Vec<u32> {
    let mut numbers: Vec<u32> = (0..ids.len() as u32).collect();
    numbers.sort_by(|a, b| ids[*a as usize].cmp(&ids[*b as usize]));
    numbers
}

/// The records of these numbers, one after the other; some thousand are in memory at once.
pub fn in_order<'a, R: Rows + ?Sized>(
    rows: &'a R,
    mut numbers: impl Iterator<Item = u32> + Send + 'a,
) -> impl Iterator<Item = Result<Record>> + Send + 'a {
    let mut piece = Vec::new().into_iter();
    std::iter::from_fn(move || {
        if piece.len() == 0 {
            let next: Vec<u32> = numbers.by_ref().take(PIECE).collect();
            match rows.records(&next) {
                Ok(records) => piece = records.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
        piece.next().map(Ok)
    })
}

/// Vectors of some texts, one after the other.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Vectors {
    /// Width of a vector.
    pub dim: usize,
    /// Their values, `[n, dim]`.
    pub values: Vec<f32>,
}

impl Vectors {
    /// How many there are, `n`.
    pub fn len(&self) -> usize {
        self.values.len() / self.dim.max(1)
    }
    /// True without a vector.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
    /// One of them.
    pub fn row(&self, at: usize) -> &[f32] {
        &self.values[at * self.dim..][..self.dim]
    }
    /// Dot product of one of these vectors and one of the others.
    pub fn dot(&self, at: usize, other: &Vectors, there: usize) -> f32 {
        self.row(at).iter().zip(other.row(there)).map(|(a, b)| a * b).sum()
    }
}

/// Several vectors for each of some texts, one text after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct MultiVectors {
    /// Width of a vector.
    pub dim: usize,
    /// Their values, `[vectors, dim]`.
    pub values: Vec<f32>,
    /// Where each text's vectors start, and the end: `[n + 1]`.
    pub ends: Vec<usize>,
}

impl MultiVectors {
    /// Of no text.
    pub fn new(dim: usize) -> Self {
        MultiVectors { dim, values: Vec::new(), ends: vec![0] }
    }
    /// How many texts there are, `n`.
    pub fn len(&self) -> usize {
        self.ends.len() - 1
    }
    /// True without a text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Adds a text of these values, `[vectors, dim]`.
    pub fn push(&mut self, values: &[f32]) {
        self.values.extend_from_slice(values);
        self.ends.push(self.values.len() / self.dim.max(1));
    }
    /// One text's values, `[vectors, dim]`.
    pub fn text(&self, at: usize) -> &[f32] {
        &self.values[self.ends[at] * self.dim..self.ends[at + 1] * self.dim]
    }
}

/// A ranker that has several vectors for each text, a document's before any query is known: late interaction.
pub trait LateEncoder: Ranker {
    /// Width of a vector.
    fn dim(&self) -> usize;
    /// Vectors of queries.
    fn encode_queries(&self, queries: &[Input]) -> Result<MultiVectors>;
    /// Vectors of documents.
    fn encode_documents(&self, documents: &[Input]) -> Result<MultiVectors>;
}

/// A ranker whose documents can be encoded once, before any query is known.
pub trait DualEncoder: Ranker {
    /// Vectors of queries.
    fn encode_queries(&self, queries: &[Input]) -> Result<Vectors>;
    /// Vectors of documents.
    fn encode_documents(&self, documents: &[Input]) -> Result<Vectors>;
    /// One score per document for one of the queries: what [`Ranker::score`] gives for the same texts.
    fn interact(&self, queries: &Vectors, query: usize, documents: &Vectors) -> Vec<f32> {
        (0..documents.len()).map(|document| queries.dot(query, documents, document)).collect()
    }
}

/// Pairs given to a ranker in one call, unless one list has more. A text of several pairs of a call is tokenized once.
const PAIRS_AT_ONCE: usize = 1024;

/// Scores pairs of rows of two lists. All pairs of one left row are one [`List`]. The scores come in the order of the pairs.
/// `progress` gets the pairs done and the pairs in all.
///
/// # Errors
/// The ranker's; a number of scores other than that of the candidates; a score that is not a number.
pub fn score_rows(
    ranker: &dyn Ranker,
    left: &[Record],
    right: &[Record],
    pairs: &[(u32, u32)],
    progress: &dyn Fn(u64, u64),
) -> Result<Vec<Score>> {
    let total = pairs.len() as u64;
    progress(0, total);
    const NONE: Score = Score { value: f32::NAN, truncated: false, readable: false };
    let mut scores = vec![NONE; pairs.len()];
    let mut done = 0;
    for lists in grouped(pairs) {
        let inputs: Vec<List> = lists
            .iter()
            .map(|list| {
                let candidates = list.iter().map(|&i| Input::from(&right[pairs[i].1 as usize]));
                List { query: (&left[pairs[list[0]].0 as usize]).into(), candidates: candidates.collect() }
            })
            .collect();
        let new = ranker.score(&inputs)?;
        let fits = new.len() == lists.len() && new.iter().zip(&lists).all(|(scores, list)| scores.len() == list.len());
        if !fits {
            let lengths = |all: &mut dyn Iterator<Item = usize>| format!("{:?} scores", all.collect::<Vec<_>>());
            let expected = lengths(&mut lists.iter().map(Vec::len));
            return Err(Error::Shape { op: "score", expected, got: lengths(&mut new.iter().map(Vec::len)) });
        }
        for (i, score) in lists.iter().flatten().zip(new.into_iter().flatten()) {
            if score.value.is_nan() {
                let (l, r) = (&left[pairs[*i].0 as usize].id, &right[pairs[*i].1 as usize].id);
                return Err(Error::Internal { op: "score", what: format!("not a number for the pair {l}, {r}") });
            }
            scores[*i] = score;
            done += 1;
        }
        progress(done, total);
    }
    Ok(scores)
}

/// Places of the pairs, by left row in the order of first appearance, some lists at a time.
fn grouped(pairs: &[(u32, u32)]) -> Vec<Vec<Vec<usize>>> {
    let mut lists: Vec<Vec<usize>> = Vec::new();
    let mut list_of: HashMap<u32, usize> = HashMap::new();
    for (place, (left, _)) in pairs.iter().enumerate() {
        let list = *list_of.entry(*left).or_insert(lists.len());
        if list == lists.len() {
            lists.push(Vec::new());
        }
        lists[list].push(place);
    }
    let mut calls: Vec<Vec<Vec<usize>>> = Vec::new();
    let mut room = 0;
    for list in lists {
        if calls.is_empty() || list.len() > room {
            calls.push(Vec::new());
            room = PAIRS_AT_ONCE;
        }
        room = room.saturating_sub(list.len());
        calls.last_mut().expect("one was just pushed").push(list);
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_in_order_and_in_pieces() {
        /// Says how many records were asked for at once.
        struct Watched(Vec<Record>, std::sync::Mutex<Vec<usize>>);
        impl Rows for Watched {
            fn len(&self) -> usize {
                self.0.len()
            }
            fn records(&self, rows: &[u32]) -> Result<Vec<Record>> {
                self.1.lock().unwrap().push(rows.len());
                self.0.records(rows)
            }
        }
        let record = |at: usize| Record { id: (9999 - at).to_string(), columns: [].into(), values: Vec::new() };
        let list = Watched((0..2 * PIECE + 3).map(record).collect(), Default::default());
        let ids = list.ids().unwrap();
        assert_eq!(list.1.lock().unwrap()[..3], [PIECE, PIECE, 3]);
        assert_eq!(ids, list.0.ids().unwrap());
        let order = list.by_id().unwrap();
        let sorted: Vec<String> = in_order(&list, order.into_iter()).map(|record| record.unwrap().id).collect();
        assert!(sorted.is_sorted() && sorted.len() == list.len());
        assert!(list.1.lock().unwrap().iter().all(|asked| *asked <= PIECE));
        assert!(in_order(&list, std::iter::empty()).next().is_none());
    }

    #[test]
    fn pairs_of_one_left_row_are_one_list_and_no_call_is_larger_than_it_must_be() {
        let pairs = [(3, 0), (1, 1), (3, 2)];
        assert_eq!(grouped(&pairs), [vec![vec![0, 2], vec![1]]]);
        let many: Vec<(u32, u32)> = (0..5000).map(|i| (i / 10, i % 10)).collect();
        let calls = grouped(&many);
        assert!(calls.iter().all(|lists| lists.iter().map(Vec::len).sum::<usize>() <= PAIRS_AT_ONCE));
        assert!(calls.iter().flatten().all(|list| list.len() == 10));
        assert_eq!(calls.iter().flatten().flatten().copied().collect::<Vec<_>>(), (0..5000).collect::<Vec<_>>());
        let long: Vec<(u32, u32)> = (0..2 * PAIRS_AT_ONCE as u32).map(|i| (0, i)).collect();
        assert_eq!(grouped(&long).len(), 1, "a list is never divided");
        assert!(grouped(&[]).is_empty());
    }
}
