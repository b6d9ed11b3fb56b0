mod cascade;

use std::cell::RefCell;

use super::*;
use crate::index::{Bm25, Bm25Settings};
use crate::ranker::{Input, List, Ranker};
use crate::records::{Pair, PairSet, Split};
use crate::text::TextConfig;

/// Scores the share of common words; calls nothing else a model.
struct Overlap;

fn plain(input: Input) -> Vec<String> {
    let text = match input {
        Input::Record(record) => record.values.join(" "),
        Input::Text(text) => text.to_string(),
    };
    text.split_whitespace().map(String::from).collect()
}

/// A ranker that scores one candidate at a time.
fn pointwise(lists: &[List], score: impl Fn(Input, Input) -> f32) -> Result<Vec<Vec<Score>>> {
    let of = |list: &List| list.candidates.iter().map(|c| read(score(list.query, *c))).collect();
    Ok(lists.iter().map(of).collect())
}

/// The score of a pair that was read whole.
fn read(value: f32) -> Score {
    Score { value, truncated: false, readable: true }
}

fn overlap(query: Input, candidate: Input) -> f32 {
    let (query, candidate) = (plain(query), plain(candidate));
    let common = query.iter().filter(|word| candidate.contains(word)).count() as f32;
    2.0 * common / (query.len() + candidate.len()) as f32
}

impl Ranker for Overlap {
    fn score(&self, lists: &[List]) -> Result<Vec<Vec<Score>>> {
        pointwise(lists, overlap)
    }
}

/// Gives every list so many scores of one value.
struct Broken(f32, usize);
impl Ranker for Broken {
    fn score(&self, lists: &[List]) -> Result<Vec<Vec<Score>>> {
        Ok(vec![vec![read(self.0); self.1]; lists.len()])
    }
}

/// Prefers what shares least.
struct Against;

impl Ranker for Against {
    fn score(&self, lists: &[List]) -> Result<Vec<Vec<Score>>> {
        pointwise(lists, |query, candidate| -overlap(query, candidate))
    }
}

/// Depends on the side: the share of the left words that are on the right.
struct OneSided;

impl Ranker for OneSided {
    fn score(&self, lists: &[List]) -> Result<Vec<Vec<Score>>> {
        pointwise(lists, |query, candidate| {
            let (query, candidate) = (plain(query), plain(candidate));
            query.iter().filter(|word| candidate.contains(word)).count() as f32 / query.len() as f32
        })
    }
}

/// Listwise: how much a candidate shares, less the mean of its list.
struct AboveMean;

impl Ranker for AboveMean {
    fn score(&self, lists: &[List]) -> Result<Vec<Vec<Score>>> {
        let of = |list: &List| {
            assert!(list.candidates.len() > 1, "a listwise ranker got a list of one");
            let all: Vec<f32> = list.candidates.iter().map(|c| overlap(list.query, *c)).collect();
            let mean = all.iter().sum::<f32>() / all.len() as f32;
            all.into_iter().map(|score| read(score - mean)).collect()
        };
        Ok(lists.iter().map(of).collect())
    }
    fn is_listwise(&self) -> bool {
        true
    }
}

/// Says of a pair with the word that it can't read it.
struct CannotRead(&'static str);

impl Ranker for CannotRead {
    fn score(&self, lists: &[List]) -> Result<Vec<Vec<Score>>> {
        let of = |list: &List| {
            let readable = |c: &Input| !plain(*c).iter().any(|word| word == self.0);
            list.candidates.iter().map(|c| Score { readable: readable(c), truncated: true, value: 1.0 }).collect()
        };
        Ok(lists.iter().map(of).collect())
    }
}

fn table(ids: &str, texts: &[&str]) -> Table {
    let columns: std::sync::Arc<[String]> = ["name".to_string()].into();
    let record = |(i, text): (usize, &&str)| Record {
        id: format!("{ids}{i}"),
        columns: columns.clone(),
        values: vec![text.to_string()],
    };
    Table {
        path: format!("{ids}.csv").into(),
        columns: columns.clone(),
        records: texts.iter().enumerate().map(record).collect(),
    }
}

fn decide(score: &Score) -> (f32, bool) {
    (score.value, score.readable && score.value >= 0.5)
}

fn index(table: &Table) -> Bm25 {
    Bm25::of_records(&table.records, &Bm25Settings::default(), &TextConfig::default()).unwrap()
}

/// Runs `match` with one ranker.
fn with(
    ranker: &dyn Ranker,
    left: &Table,
    right: Option<&Table>,
    options: &MatchOptions,
    labels: Option<&Labels>,
) -> Result<(MatchReport, Vec<Match>)> {
    through(&[Stage { ranker, keep: usize::MAX }], left, right, options, labels)
}

/// Runs `match` with some stages.
fn through(
    stages: &[Stage],
    left: &Table,
    right: Option<&Table>,
    options: &MatchOptions,
    labels: Option<&Labels>,
) -> Result<(MatchReport, Vec<Match>)> {
    let mut out = Vec::new();
    let sink = &mut |found: &Match, l: &Record, r: &Record| {
        assert_eq!((&found.left_id, &found.right_id), (&l.id, &r.id));
        assert!(left.records.contains(l) && right.unwrap_or(left).records.contains(r));
        out.push(found.clone());
        Ok(())
    };
    let retriever = &index(right.unwrap_or(left));
    let (decide, progress) = (&decide, &|_, _| {});
    let report = run_match(&Matching { left, right, retriever, stages, decide, labels, options, progress }, sink)?;
    Ok((report, out))
}

fn go(
    left: &Table,
    right: Option<&Table>,
    options: MatchOptions,
    labels: Option<&Labels>,
) -> (MatchReport, Vec<Match>) {
    with(&Overlap, left, right, &options, labels).unwrap()
}

fn ids(found: &[Match]) -> Vec<(&str, &str, u32)> {
    found.iter().map(|m| (m.left_id.as_str(), m.right_id.as_str(), m.rank)).collect()
}

fn shops() -> (Table, Table) {
    (
        table("a", &["red lamp 40w", "blue lamp 60w", "zebra", ""]),
        table("b", &["blue lamp 40w", "lamp red 40w", "blue lamp 60w new", "chair"]),
    )
}

#[test]
fn two_lists() {
    let (left, right) = shops();
    let (report, found) = go(&left, Some(&right), MatchOptions::default(), None);
    assert_eq!(ids(&found), [("a0", "b1", 1), ("a0", "b0", 2), ("a1", "b2", 1), ("a1", "b0", 2)]);
    assert!(found.iter().all(|m| m.decision));
    assert_eq!((report.left, report.right, report.accepted, report.unmatched), (4, 4, 4, 2));
    assert_eq!(report.candidates, Spread { mean: 1.5, min: 0, max: 3 });
    assert_eq!((report.pairs, report.not_assigned, report.labels), (6, 0, None));
}

#[test]
fn all_candidates_have_ranks_and_decisions() {
    let (left, right) = shops();
    let (report, found) = go(&left, Some(&right), MatchOptions { all: true, ..Default::default() }, None);
    assert_eq!(found.len() as u64, report.pairs);
    assert_eq!(ids(&found)[..3], [("a0", "b1", 1), ("a0", "b0", 2), ("a0", "b2", 3)]);
    assert_eq!(found.iter().filter(|m| m.decision).count() as u64, report.accepted);
    assert!(found.windows(2).all(|w| w[0].left_id != w[1].left_id || w[0].probability >= w[1].probability));
}

#[test]
fn the_retriever_may_decide_the_order_and_never_what_is_accepted() {
    let (left, right) = shops();
    let ranked = |retriever_weight| {
        go(&left, Some(&right), MatchOptions { all: true, retriever_weight, ..Default::default() }, None).1
    };
    let (model, both) = (ranked(0.0), ranked(1e6));
    let of_a0 =
        |found: &[Match]| found.iter().filter(|m| m.left_id == "a0").map(|m| m.right_id.clone()).collect::<Vec<_>>();
    let top = index(&right).top("red lamp 40w", 10).unwrap();
    assert_eq!(of_a0(&both), top.iter().map(|(row, _)| right.records[*row as usize].id.clone()).collect::<Vec<_>>());
    let decisions = |found: &[Match]| {
        let mut all: Vec<_> = found.iter().map(|m| (m.left_id.clone(), m.right_id.clone(), m.decision)).collect();
        all.sort();
        all
    };
    assert_eq!(decisions(&both), decisions(&model));
}

#[test]
fn one_to_one_leaves_one_each() {
    let (left, right) = shops();
    let (report, found) = go(&left, Some(&right), MatchOptions { one_to_one: true, ..Default::default() }, None);
    assert_eq!(ids(&found), [("a0", "b1", 1), ("a1", "b2", 1)]);
    assert_eq!((report.accepted, report.unmatched), (2, 2));
}

#[test]
fn one_list_against_itself() {
    let list = table("a", &["red lamp 40w", "chair", "lamp red 40w", "red lamp 40w", "table"]);
    let (report, found) = go(&list, None, MatchOptions { all: true, ..Default::default() }, None);
    assert_eq!(ids(&found), [("a0", "a2", 1), ("a0", "a3", 2), ("a2", "a3", 1)], "each pair once");
    assert_eq!((report.left, report.right, report.accepted, report.unmatched), (5, 5, 3, 2));
    // With one neighbour each, a pair that only the later record asks for still comes, once.
    let (report, found) = go(&list, None, MatchOptions { top_k: 1, ..Default::default() }, None);
    assert!(found.iter().all(|m| m.left_id < m.right_id));
    assert_eq!(report.candidates.max, 1);
    assert_eq!(report.unmatched, 2);
}

fn pair(left: u32, right: u32, label: impl Into<Option<bool>>, part: Split) -> Pair {
    Pair { left, right, grade: label.into().map(Pair::grade_of), split: Some(part) }
}

#[test]
fn labels_are_measured_and_the_unknown_is_counted() {
    let (left, right) = shops();
    let known =
        [(0, 1, true), (0, 0, false), (1, 2, true), (2, 3, true)].map(|(l, r, is)| pair(l, r, is, Split::Train));
    let known = Labels::of(&known, None).unwrap();
    let (report, found) = go(&left, Some(&right), MatchOptions::default(), Some(&known));
    let quality = report.labels.unwrap();
    assert_eq!((quality.positives, quality.negatives, quality.unlabelled), (3, 1, 1));
    assert!((quality.candidate_recall - 2.0 / 3.0).abs() < 1e-12, "a zebra is no chair, and no candidate either");
    assert!((quality.recall - 2.0 / 3.0).abs() < 1e-12);
    assert_eq!((quality.precision, quality.f1), (Some(2.0 / 3.0), Some(2.0 / 3.0)));
    assert_eq!(quality.assuming_complete, Shares { precision: 0.5, f1: 4.0 / 7.0 }, "of four accepted two are right");
    assert_eq!(found.len(), 4, "labels change nothing");
}

#[test]
fn labels_of_one_list_hold_either_way_round() {
    let list = table("a", &["red lamp 40w", "chair", "lamp red 40w"]);
    let (report, _) =
        go(&list, None, MatchOptions::default(), Some(&Labels::of(&[pair(2, 0, true, Split::Test)], None).unwrap()));
    let quality = report.labels.unwrap();
    assert_eq!((quality.positives, quality.recall, quality.unlabelled), (1, 1.0, 0));
}

#[test]
fn labels_that_call_nothing_wrong_give_no_precision() {
    let (left, right) = shops();
    let matches = Labels::of(&[pair(0, 1, true, Split::Test), pair(1, 2, true, Split::Test)], None).unwrap();
    let (report, found) = go(&left, Some(&right), MatchOptions::default(), Some(&matches));
    let quality = report.labels.unwrap();
    assert_eq!((quality.negatives, quality.precision, quality.f1, quality.recall), (0, None, None, 1.0));
    assert_eq!((found.len(), quality.unlabelled), (4, 2));
    assert_eq!(quality.assuming_complete, Shares { precision: 0.5, f1: 2.0 / 3.0 });
}

#[test]
fn labels_of_a_part() {
    let (left, right) = shops();
    let pairs = [
        pair(0, 0, true, Split::Train),
        pair(0, 1, true, Split::Test),
        pair(1, 2, true, Split::Train),
        pair(0, 2, None, Split::Test),
    ];
    let test = Labels::of(&pairs, Some(Split::Test)).unwrap();
    let (report, _) = go(&left, Some(&right), MatchOptions::default(), Some(&test));
    let quality = report.labels.unwrap();
    assert_eq!((quality.positives, quality.unlabelled), (1, 1), "a1 is not measured, and a0 only by the test pair");
    let (report, _) = go(&left, Some(&right), MatchOptions::default(), Some(&Labels::of(&pairs, None).unwrap()));
    assert_eq!(report.labels.unwrap().positives, 3);
}

fn error(options: MatchOptions, right: bool, labels: Option<&Labels>, ranker: &dyn Ranker) -> Error {
    let (a, b) = shops();
    with(ranker, &a, right.then_some(&b), &options, labels).unwrap_err()
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let usual = MatchOptions::default;
    assert!(error(MatchOptions { top_k: 0, ..usual() }, true, None, &Overlap).is_user_error());
    assert!(error(MatchOptions { one_to_one: true, ..usual() }, false, None, &Overlap).is_user_error());
    assert!(error(MatchOptions { retriever_weight: 1.0, ..usual() }, false, None, &Overlap).is_user_error());
    assert!(error(MatchOptions { retriever_weight: -1.0, ..usual() }, true, None, &Overlap).is_user_error());
}

#[test]
fn labels_that_contradict_each_other_are_refused() {
    let both = [pair(0, 1, true, Split::Test), pair(1, 0, false, Split::Test)];
    let labels = Labels::of(&both, None).unwrap();
    assert!(error(MatchOptions::default(), false, Some(&labels), &Overlap).is_user_error());
    let both = [pair(0, 1, true, Split::Test), pair(0, 1, false, Split::Train)];
    assert!(Labels::of(&both, None).unwrap_err().is_user_error());
    assert!(Labels::of(&both, Some(Split::Test)).is_ok());
}

#[test]
fn a_score_that_is_no_number_is_an_error_that_names_the_pair() {
    let (left, right) = (table("a", &["red lamp"]), table("b", &["red lamp"]));
    let nan = with(&Broken(f32::NAN, 1), &left, Some(&right), &MatchOptions::default(), None).unwrap_err().to_string();
    assert!(nan.contains("a0") && nan.contains("b0"), "{nan}");
    let error = with(&Broken(0.5, 2), &left, Some(&right), &MatchOptions::default(), None).unwrap_err();
    assert!(matches!(error, Error::Shape { .. }));
}

#[test]
fn a_sink_that_fails_stops_the_run() {
    let (left, right) = shops();
    let mut calls = 0;
    let sink = &mut |_: &Match, _: &Record, _: &Record| {
        calls += 1;
        Err(Error::setting("out", "x", "full"))
    };
    let (retriever, options) = (&index(&right), &MatchOptions::default());
    let (stages, decide, progress) = (&[Stage { ranker: &Overlap, keep: 10 }], &decide, &|_, _| {});
    let right = Some(&right);
    let matching = Matching { left: &left, right, retriever, stages, decide, labels: None, options, progress };
    assert!(run_match(&matching, sink).unwrap_err().to_string().contains("full"));
    assert_eq!(calls, 1);
}

#[test]
fn empty_lists_give_no_pairs() {
    let (left, empty) = (table("a", &["red lamp"]), table("b", &[]));
    for (l, r) in [(&left, Some(&empty)), (&empty, Some(&left)), (&empty, None)] {
        let (report, found) = go(l, r, MatchOptions::default(), None);
        assert!(found.is_empty() && report.pairs == 0 && report.candidates.mean == 0.0);
        assert_eq!((report.unmatched, report.without_candidates), (l.records.len() as u64, l.records.len() as u64));
    }
}

#[test]
fn progress_counts_every_pair_once() {
    let many: Vec<String> = (0..300).map(|i| format!("lamp {i}")).collect();
    let many = table("a", &many.iter().map(String::as_str).collect::<Vec<_>>());
    let seen = |both_orders| {
        let seen = RefCell::new(Vec::new());
        let progress = |done, total| seen.borrow_mut().push((done, total));
        let options = &MatchOptions { both_orders, ..MatchOptions::default() };
        let (retriever, decide) = (&index(&many), &decide);
        let stages = &[Stage { ranker: &Overlap, keep: 10 }];
        let (left, right) = (&many, Some(&many));
        let matching = Matching { left, right, retriever, stages, decide, labels: None, options, progress: &progress };
        assert_eq!(run_match(&matching, &mut |_, _, _| Ok(())).unwrap().pairs, 3000);
        seen.into_inner()
    };
    assert_eq!(seen(false), [(0, 3000), (1020, 3000), (2040, 3000), (3000, 3000)]);
    let both = seen(true);
    assert!(both.is_sorted() && both.last() == Some(&(6000, 6000)), "{both:?}");
}

#[test]
fn a_pair_that_can_not_be_read_is_counted_and_never_accepted() {
    let (left, right) = shops();
    let (report, found) = with(&CannotRead("new"), &left, Some(&right), &MatchOptions::default(), None).unwrap();
    assert_eq!((report.pairs, report.unreadable_pairs, report.truncated_pairs), (6, 2, 6));
    assert_eq!(report.accepted, 4);
    assert!(found.iter().all(|m| m.right_id != "b2"));
}

/// The pairs, each with its probability's bits, in an order that does not depend on rows.
fn sorted(found: &[Match]) -> Vec<(String, String, u32, bool)> {
    let mut all: Vec<_> =
        found.iter().map(|m| (m.left_id.clone(), m.right_id.clone(), m.probability.to_bits(), m.decision)).collect();
    all.sort();
    all
}

#[test]
fn the_order_of_one_list_changes_neither_pairs_nor_probabilities() {
    let texts = ["red lamp 40w", "red lamp", "lamp red 40w white", "blue lamp", "chair", "blue chair 40w", "red lamp"];
    let mut list = table("a", &texts);
    let options = MatchOptions { top_k: 2, all: true, ..MatchOptions::default() };
    for ranker in [&OneSided as &dyn Ranker, &Overlap, &AboveMean] {
        // two chairs in a list of lamps have one neighbour each: the listwise ranker needs another one before it
        let stages = [Stage { ranker: &OneSided, keep: 9 }, Stage { ranker, keep: 9 }];
        let expected = sorted(&through(&stages, &list, None, &options, None).unwrap().1);
        assert!(expected.len() > 5);
        for _ in 1..texts.len() {
            list.records.rotate_left(1);
            list.records.swap(0, 3);
            assert_eq!(sorted(&through(&stages, &list, None, &options, None).unwrap().1), expected);
        }
    }
}

#[test]
fn both_orders_of_two_lists_are_averaged_on_request() {
    let (left, right) = (table("a", &["red lamp"]), table("b", &["red lamp 40w new"]));
    let probability = |both_orders| {
        let options = MatchOptions { all: true, both_orders, ..MatchOptions::default() };
        with(&OneSided, &left, Some(&right), &options, None).unwrap().1[0].probability
    };
    assert_eq!((probability(false), probability(true)), (1.0, 0.75));
}

#[test]
fn a_later_stage_scores_what_an_earlier_one_kept() {
    let (left, right) = shops();
    let keep_one = [Stage { ranker: &Overlap, keep: 1 }, Stage { ranker: &Against, keep: 10 }];
    let options = MatchOptions { all: true, ..MatchOptions::default() };
    let (report, found) = through(&keep_one, &left, Some(&right), &options, None).unwrap();
    assert_eq!(ids(&found), [("a0", "b1", 1), ("a1", "b2", 1)]);
    assert!(found.iter().all(|m| m.probability < 0.0), "the last stage's scores: {found:?}");
    assert_eq!(report.pairs, 2);
}

#[test]
fn a_listwise_stage_leaves_a_single_candidate_its_score() {
    let (left, right) = (table("a", &["red lamp", "chair"]), table("b", &["red lamp", "red", "chair white"]));
    let stages = [Stage { ranker: &Overlap, keep: 10 }, Stage { ranker: &AboveMean, keep: 10 }];
    let options = MatchOptions { all: true, ..MatchOptions::default() };
    let (_, found) = through(&stages, &left, Some(&right), &options, None).unwrap();
    let of = |id: &str| found.iter().filter(|m| m.left_id == id).map(|m| m.probability).collect::<Vec<_>>();
    assert_eq!(of("a1"), [2.0 / 3.0], "the score of the stage before");
    assert!(of("a0").iter().sum::<f32>().abs() < 1e-6, "less the mean of the list");
}

#[test]
fn a_listwise_first_stage_refuses_a_single_candidate_by_name() {
    let (left, right) = (table("a", &["red lamp", "chair"]), table("b", &["red lamp", "red", "chair white"]));
    let error = with(&AboveMean, &left, Some(&right), &MatchOptions::default(), None).unwrap_err();
    assert!(error.is_user_error() && error.to_string().contains("a1"), "{error}");
}

fn catalogue() -> PairSet {
    let left = table("a", &["red lamp 40w", "blue lamp 60w", "zebra", "lamp lamp lamp chair"]).records;
    let right = table("b", &["blue lamp 40w", "lamp red 40w", "blue lamp 60w new", "chair lamp"]).records;
    let links = [(0, 1, true), (0, 0, false), (1, 2, true), (2, 3, true), (3, 0, true)];
    PairSet { left, right, pairs: links.map(|(l, r, is)| pair(l, r, is, Split::Test)).to_vec() }
}

fn linked(ranker: &dyn Ranker, split: Split, retriever_weight: f32) -> Result<RetrievalReport> {
    let set = catalogue();
    let retriever = Bm25::of_records(&set.right, &Bm25Settings::default(), &TextConfig::default()).unwrap();
    let options = RankingOptions { split: Some(split), top_k: 10, retriever_weight };
    evaluate_ranking(&set, &retriever, &[Stage { ranker, keep: 10 }], &options, &|_, _| {})
}

#[test]
fn links_to_a_catalogue_are_measured_over_records_that_have_one() {
    let report = linked(&Overlap, Split::Test, 0.0).unwrap();
    assert_eq!((report.queries, report.k), (4, 10));
    assert_eq!((report.recall_at_k, report.accuracy_at_1), (0.75, 0.5), "a zebra that finds nothing is an error");
    assert!(report.mrr > 0.5 && report.mrr < 0.75);
    assert_eq!(report.map, report.mrr, "one match a record");
    assert!(report.ndcg > report.mrr && report.ndcg < 0.75);
    assert!(linked(&Overlap, Split::Train, 0.0).unwrap_err().is_user_error());
}

#[test]
fn the_weight_of_the_retriever_decides_between_it_and_the_ranker() {
    let (right, wrong) = (linked(&Overlap, Split::Test, 0.0).unwrap(), linked(&Against, Split::Test, 0.0).unwrap());
    assert!(wrong.mrr < right.mrr);
    let retriever_alone = linked(&Against, Split::Test, 1e6).unwrap();
    assert_eq!(retriever_alone.accuracy_at_1, right.first_stage_accuracy_at_1);
    assert!([-1.0, f32::NAN].iter().all(|w| linked(&Overlap, Split::Test, *w).unwrap_err().is_user_error()));
}

/// What `run_lists` gives for the same as [`run_match`], in parts of three left records.
fn in_parts(
    ranker: &dyn Ranker,
    [left, right]: [&Table; 2],
    labels: Option<&Labels>,
    options: &MatchOptions,
    parts: &std::path::Path,
) -> Result<(MatchReport, Vec<Match>)> {
    let lists = tempfile::tempdir().unwrap();
    let stored = |table, name| crate::data::store_records(table, lists.path(), name).unwrap();
    let (retriever, stages, mut all) = (index(right), [Stage { ranker, keep: usize::MAX }], Vec::new());
    let matching = ListMatching {
        left: &stored(left, "left"),
        right: &stored(right, "right"),
        retriever: &retriever,
        stages: &stages,
        decide: &decide,
        labels,
        options,
        parts,
        part: 3,
        progress: &|_, _| {},
    };
    let report = run_lists(&matching, &mut |found, l, r| {
        assert_eq!((&found.left_id, &found.right_id), (&l.id, &r.id));
        all.push(found.clone());
        Ok(())
    })?;
    Ok((report, all))
}

#[test]
fn lists_in_parts_match_as_they_do_at_once_and_after_any_kill() {
    let words = ["red", "lamp", "blue", "tv", "40", "60", "sony", "chair"];
    let text = |i: usize| format!("{} {} {}", words[i % 8], words[i * 5 % 7], words[i * 3 % 5]);
    let texts: Vec<String> = (0..31).map(text).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let (left, right) = (table("l", &texts[..20]), table("r", &texts[4..]));
    let pair = |l: u32, r: u32, grade: f32| crate::Pair { left: l, right: r, grade: Some(grade), split: None };
    let labels = Labels::of(&[pair(4, 0, 1.0), pair(5, 1, 1.0), pair(6, 1, 0.0)], None).unwrap();
    let plain = MatchOptions { top_k: 4, ..MatchOptions::default() };
    for options in [
        plain.clone(),
        MatchOptions { all: true, ..plain.clone() },
        MatchOptions { one_to_one: true, ..plain.clone() },
        MatchOptions { one_to_one: true, all: true, retriever_weight: 0.5, both_orders: true, ..plain.clone() },
    ] {
        let stages = [Stage { ranker: &OneSided, keep: usize::MAX }];
        let mut expected = Vec::new();
        let matching = Matching {
            left: &left,
            right: Some(&right),
            retriever: &index(&right),
            stages: &stages,
            decide: &decide,
            labels: Some(&labels),
            options: &options,
            progress: &|_, _| {},
        };
        let report = run_match(&matching, &mut |found, _, _| {
            expected.push(found.clone());
            Ok(())
        });
        let report = report.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let run = || in_parts(&OneSided, [&left, &right], Some(&labels), &options, dir.path()).unwrap();
        assert_eq!(run(), (report.clone(), expected.clone()), "{options:?}");
        assert_eq!(parts_done(dir.path(), 20, 3), (7, 7));
        // a kill leaves some of the parts; one of them is cut short
        let part = |number: usize| dir.path().join(format!("part-{number:07}"));
        std::fs::remove_file(part(2)).unwrap();
        std::fs::write(part(4), &std::fs::read(part(4)).unwrap()[..70]).unwrap();
        assert_eq!(parts_done(dir.path(), 20, 3), (6, 7));
        assert_eq!(run(), (report, expected), "{options:?}");
        // what is there is not done again
        let broken = Broken(f32::NAN, 9);
        in_parts(&broken, [&left, &right], None, &options, dir.path()).unwrap();
    }
}
