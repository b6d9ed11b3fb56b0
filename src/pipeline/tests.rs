use std::cell::RefCell;

use super::*;
use crate::records::{Pair, PairSet, Split};

/// Scores the share of common words; calls nothing else a model.
struct Overlap;

fn plain(input: Input) -> Vec<String> {
    let text = match input {
        Input::Record(record) => record.values.join(" "),
        Input::Text(text) => text.to_string(),
    };
    text.split_whitespace().map(String::from).collect()
}

impl Ranker for Overlap {
    fn score(&self, query: Input, candidates: &[Input]) -> Result<Vec<f32>> {
        let query = plain(query);
        let share = |candidate: &Input| {
            let candidate = plain(*candidate);
            let common = query.iter().filter(|word| candidate.contains(word)).count() as f32;
            2.0 * common / (query.len() + candidate.len()) as f32
        };
        Ok(candidates.iter().map(share).collect())
    }
}

struct Broken(f32, usize);
impl Ranker for Broken {
    fn score(&self, _: Input, _: &[Input]) -> Result<Vec<f32>> {
        Ok(vec![self.0; self.1])
    }
}

/// Prefers what shares least.
struct Against;

impl Ranker for Against {
    fn score(&self, query: Input, candidates: &[Input]) -> Result<Vec<f32>> {
        Ok(Overlap.score(query, candidates)?.into_iter().map(|score| -score).collect())
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

fn text(record: &Record) -> String {
    record.values.join(" ")
}

fn decide(score: f32) -> (f32, bool) {
    (score, score >= 0.5)
}

fn go(
    left: &Table,
    right: Option<&Table>,
    options: MatchOptions,
    labels: Option<&Labels>,
) -> (MatchReport, Vec<Match>) {
    let mut out = Vec::new();
    let sink = &mut |found: &Match, l: &Record, r: &Record| {
        assert_eq!((&found.left_id, &found.right_id), (&l.id, &r.id));
        assert!(left.records.contains(l) && right.unwrap_or(left).records.contains(r));
        out.push(found.clone());
        Ok(())
    };
    let report = run_match(left, right, &Overlap, &decide, &text, &options, labels, &|_, _| {}, sink).unwrap();
    (report, out)
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
fn bm25_may_decide_the_order_and_never_what_is_accepted() {
    let (left, right) = shops();
    let ranked = |bm25| go(&left, Some(&right), MatchOptions { all: true, bm25, ..Default::default() }, None).1;
    let (model, both) = (ranked(0.0), ranked(1e6));
    let of_a0 =
        |found: &[Match]| found.iter().filter(|m| m.left_id == "a0").map(|m| m.right_id.clone()).collect::<Vec<_>>();
    let index = crate::index::Bm25::build(right.records.iter().map(text)).unwrap();
    let top = index.top(&text(&left.records[0]), 10).unwrap();
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
    let (report, found) = go(&list, None, MatchOptions { k: 1, ..Default::default() }, None);
    assert!(found.iter().all(|m| m.left_id < m.right_id));
    assert_eq!(report.candidates.max, 1);
    assert_eq!(report.unmatched, 2);
}

fn pair(left: u32, right: u32, label: impl Into<Option<bool>>, part: Split) -> Pair {
    Pair { left, right, label: label.into(), split: Some(part) }
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
    assert_eq!(quality.if_complete, Shares { precision: 0.5, f1: 4.0 / 7.0 }, "of four accepted two are right");
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
    assert_eq!(quality.if_complete, Shares { precision: 0.5, f1: 2.0 / 3.0 });
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
    let right = right.then_some(&b);
    run_match(&a, right, ranker, &decide, &text, &options, labels, &|_, _| {}, &mut |_, _, _| Ok(())).unwrap_err()
}

#[test]
fn what_cannot_be_is_said() {
    let usual = MatchOptions::default;
    assert!(error(MatchOptions { k: 0, ..usual() }, true, None, &Overlap).is_user_error());
    assert!(error(MatchOptions { one_to_one: true, ..usual() }, false, None, &Overlap).is_user_error());
    assert!(error(MatchOptions { bm25: 1.0, ..usual() }, false, None, &Overlap).is_user_error());
    assert!(error(MatchOptions { bm25: -1.0, ..usual() }, true, None, &Overlap).is_user_error());
    let both = [pair(0, 1, true, Split::Test), pair(1, 0, false, Split::Test)];
    assert!(error(usual(), false, Some(&Labels::of(&both, None).unwrap()), &Overlap).is_user_error());
    let both = [pair(0, 1, true, Split::Test), pair(0, 1, false, Split::Train)];
    assert!(Labels::of(&both, None).unwrap_err().is_user_error());
    assert!(Labels::of(&both, Some(Split::Test)).is_ok());
    let nan = error(usual(), true, None, &Broken(f32::NAN, 1)).to_string();
    assert!(nan.contains("a0") && nan.contains('b'), "{nan}");
    assert!(matches!(error(usual(), true, None, &Broken(0.5, 2)), Error::Shape { .. }));
}

#[test]
fn a_sink_that_fails_stops_the_run() {
    let (a, b) = shops();
    let sink = &mut |_: &Match, _: &Record, _: &Record| Err(Error::setting("out", "x", "full"));
    let result = run_match(&a, Some(&b), &Overlap, &decide, &text, &MatchOptions::default(), None, &|_, _| {}, sink);
    assert!(result.unwrap_err().to_string().contains("full"));
}

#[test]
fn empty_lists_and_progress() {
    let (left, empty) = (table("a", &["red lamp"]), table("b", &[]));
    for (l, r) in [(&left, Some(&empty)), (&empty, Some(&left)), (&empty, None)] {
        let (report, found) = go(l, r, MatchOptions::default(), None);
        assert!(found.is_empty() && report.pairs == 0 && report.candidates.mean == 0.0);
        assert_eq!(report.unmatched, l.records.len() as u64);
    }
    let many: Vec<String> = (0..60).map(|i| format!("lamp {i}")).collect();
    let many = table("a", &many.iter().map(String::as_str).collect::<Vec<_>>());
    let seen = RefCell::new(Vec::new());
    let progress = |done, total| seen.borrow_mut().push((done, total));
    let options = MatchOptions::default();
    let report =
        run_match(&many, Some(&many), &Overlap, &decide, &text, &options, None, &progress, &mut |_, _, _| Ok(()))
            .unwrap();
    let seen = seen.into_inner();
    assert_eq!(report.pairs, 600);
    assert_eq!(seen, [(0, 600), (256, 600), (512, 600), (600, 600)]);
}

#[test]
fn links_to_a_catalogue() {
    let left = table("a", &["red lamp 40w", "blue lamp 60w", "zebra", "lamp lamp lamp chair"]).records;
    let right = table("b", &["blue lamp 40w", "lamp red 40w", "blue lamp 60w new", "chair lamp"]).records;
    let links = [(0, 1, true), (0, 0, false), (1, 2, true), (2, 3, true), (3, 0, true)];
    let pairs = links.map(|(l, r, is)| pair(l, r, is, Split::Test)).to_vec();
    let set = PairSet { left, right, pairs };
    let by = |ranker: &dyn Ranker, part, bm25| rank_links(&set, Some(part), ranker, &text, 10, bm25, &|_, _| {});
    let links = |part, bm25| by(&Overlap, part, bm25);
    let report = links(Split::Test, 0.0).unwrap();
    assert_eq!((report.queries, report.k), (4, 10));
    assert_eq!((report.recall_at_k, report.accuracy_at_1), (0.75, 0.5), "a zebra that finds nothing is an error");
    assert!(report.mrr > 0.5 && report.mrr < 0.75);
    assert!(links(Split::Train, 0.0).unwrap_err().is_user_error());
    // a ranker that is always wrong, and BM25 with all the weight
    let wrong = |bm25| by(&Against, Split::Test, bm25).unwrap();
    assert!(wrong(0.0).mrr < report.mrr);
    assert_eq!((wrong(1e6).accuracy_at_1, report.index_accuracy_at_1), (0.5, 0.5));
    assert_eq!(wrong(1e6).mrr, report.mrr);
    assert!([-1.0, f32::NAN].iter().all(|weight| links(Split::Test, *weight).unwrap_err().is_user_error()));
}
