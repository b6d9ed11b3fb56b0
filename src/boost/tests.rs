use std::path::PathBuf;

use super::*;
use crate::records::{Pair, Split};

#[derive(serde::Deserialize)]
struct Golden {
    rows: Vec<Vec<Option<f32>>>,
    labels: Vec<u8>,
    theirs: Vec<f32>,
    #[serde(default)]
    ours: Vec<f32>,
}

fn golden() -> (PathBuf, Golden, Vec<f32>) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/boost");
    let golden: Golden = serde_json::from_slice(&std::fs::read(dir.join("expected.json")).unwrap()).unwrap();
    let values = golden.rows.iter().flatten().map(|x| x.unwrap_or(f32::NAN)).collect();
    (dir, golden, values)
}

fn assert_near(got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() <= 1e-6 * want.abs().max(1.0), "{got} {want}");
    }
}

#[test]
fn a_model_of_xgboost_gives_xgboosts_margins() {
    let (dir, golden, values) = golden();
    let trees = Trees::read(&dir.join("theirs.json")).unwrap();
    assert_eq!(trees.width(), 5);
    assert_near(&trees.margins(&values).unwrap(), &golden.theirs);
    // a row alone has the bits that it has in company
    let alone = trees.margins(&values[5..10]).unwrap();
    assert_eq!(alone[0].to_bits(), trees.margins(&values).unwrap()[1].to_bits());
}

#[test]
fn xgboost_reads_what_this_program_writes() {
    let (dir, golden, values) = golden();
    let path = dir.join("ours.json");
    if std::env::var_os("SVERKA_WRITE_GOLDEN").is_some() {
        let labels: Vec<bool> = golden.labels.iter().map(|label| *label == 1).collect();
        let groups: Vec<u32> = (0..labels.len() as u32).collect();
        let rows = trees::Rows { values: &values, width: 5, labels: &labels, groups: &groups, rising: &[0] };
        let grown = Trees::grow(&rows, &Growth { rounds: 12, depth: 3, ..Growth::default() }).unwrap();
        let names: Vec<String> = (0..5).map(|i| format!("f{i}")).collect();
        std::fs::write(&path, grown.trees.json(&names).unwrap()).unwrap();
    }
    // Python's margins of that file
    assert_near(&Trees::read(&path).unwrap().margins(&values).unwrap(), &golden.ours);
}

#[test]
fn a_damaged_model_is_an_error_and_never_a_panic() {
    let (dir, _, values) = golden();
    let whole = std::fs::read(dir.join("theirs.json")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.json");
    let mut read = 0;
    for at in 0..300usize {
        let mut bytes = whole.clone();
        let place = (at * 7919) % bytes.len();
        match at % 3 {
            0 => bytes.truncate(place),
            1 => bytes[place] = b"0-9[,}\"n"[at % 8],
            _ => drop(bytes.splice(place..place, *b"99999999999")),
        }
        std::fs::write(&path, &bytes).unwrap();
        match Trees::read(&path) {
            Ok(trees) if trees.width() == 5 => drop((read += 1, trees.margins(&values))),
            Ok(_) => read += 1,
            Err(e) => assert!(e.is_user_error(), "{e}"),
        }
    }
    assert!(read < 300, "nothing was refused");
}

/// Two lists in which the same number in the name means the same thing, with one pair in four a match.
fn set() -> PairSet {
    let record = |id: usize, name: String, price: f32| Record {
        id: id.to_string(),
        columns: ["name", "price"].map(String::from).into(),
        values: vec![name, price.to_string()],
    };
    let left = (0..40).map(|i| record(i, format!("lamp ab{i:03}x red"), i as f32 + 1.0)).collect();
    let right = (0..40).map(|i| record(i, format!("red lamp AB-{i:03}X deluxe"), i as f32 + 1.5)).collect();
    let pair = |i: u32, step: u32| Pair {
        left: i,
        right: (i + step) % 40,
        grade: Some(Pair::grade_of(step == 0)),
        split: Some(Split::Train),
    };
    PairSet { left, right, pairs: (0..40).flat_map(|i| (0..4).map(move |step| pair(i, step * 3))).collect() }
}

#[test]
fn what_was_trained_comes_back_from_its_folder_with_the_same_scores() {
    let set = set();
    let growth = Growth { rounds: 40, ..Growth::default() };
    for goal in [Goal::Match, Goal::Order] {
        let (booster, trained) = Booster::train(&set, &[], Vec::new(), &Growth { goal, ..growth }, &|_| {}).unwrap();
        assert!(trained.held_out.f1 > 0.95, "{goal:?}: {trained:?}");
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("booster");
        booster.save(&out).unwrap();
        assert!(matches!(booster.save(&out), Err(Error::Exists(_))));
        let again = Booster::open(&out, None, Device::Cpu).unwrap();
        let places: Vec<(u32, u32)> = set.pairs.iter().map(|pair| (pair.left, pair.right)).collect();
        let score = |ranker: &Booster| score_rows(ranker, &set.left, &set.right, &places, &|_, _| {}).unwrap();
        assert_eq!(score(&again), score(&booster));
        let decided: Vec<bool> = score(&again).iter().map(|score| again.decide(score).1).collect();
        let right = decided.iter().zip(&set.pairs).filter(|(yes, pair)| **yes == pair.is_match()).count();
        assert!(right > 155, "{goal:?}: {right} of 160");
        // a changed file is refused by name
        let path = out.join(FEATURES);
        let text = std::fs::read_to_string(&path).unwrap().replace("\"name\"", "\"title\"");
        std::fs::write(&path, text).unwrap();
        let error = Booster::open(&out, None, Device::Cpu).err().unwrap();
        assert!(error.is_user_error() && error.to_string().contains(FEATURES), "{error}");
    }
}

#[test]
fn the_same_trees_on_one_thread_and_a_higher_rankers_score_never_lowers_a_margin() {
    let labels: Vec<bool> = (0..200).map(|i| i % 4 == 0).collect();
    let score = |i: usize| 0.8 * f32::from(u8::from(labels[i])) + (i as f32 * 1.3).sin();
    let values: Vec<f32> = (0..200).flat_map(|i| [score(i), (i as f32 * 0.7).cos()]).collect();
    let (groups, width): (Vec<u32>, usize) = ((0..200).map(|i| i / 4).collect(), 2);
    let rows = trees::Rows { values: &values, width, labels: &labels, groups: &groups, rising: &[0] };
    let names = ["score", "other"].map(String::from);
    let grow = || Trees::grow(&rows, &Growth { rounds: 20, ..Growth::default() }).unwrap();
    let all = grow();
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(grow);
    assert_eq!(all.trees.json(&names).unwrap(), one.trees.json(&names).unwrap());
    let margins = all.trees.margins(&values).unwrap();
    let mut raised = values.clone();
    raised.iter_mut().step_by(width).for_each(|score| *score += 1.0);
    let higher = all.trees.margins(&raised).unwrap();
    assert!(margins.iter().zip(&higher).all(|(a, b)| b >= a) && margins != higher);
}

#[test]
fn what_nothing_can_be_learnt_from_is_refused() {
    let mut few = set();
    few.pairs.truncate(8);
    let refused = |set: &PairSet, growth: Growth, part: &str| {
        let error = Booster::train(set, &[], Vec::new(), &growth, &|_| {}).err().unwrap();
        assert!(error.is_user_error() && error.to_string().contains(part), "{error}");
    };
    refused(&few, Growth::default(), "left records");
    few.pairs.retain(|pair| pair.is_match());
    refused(&few, Growth::default(), "one label");
    refused(&set(), Growth { depth: 0, ..Growth::default() }, "--depth");
    refused(&set(), Growth { rate: 2.0, ..Growth::default() }, "--rate");
}

#[test]
fn features_in_parquet_come_back_by_the_reader_of_tables() {
    let mut set = set();
    let mut place = 0..;
    set.pairs.retain(|_| place.next().is_some_and(|i| i % 5 == 0)); // no left record twice: the reader takes its id
    let (features, mut rows) = features_of(&set, &[], &[], &|_| {}).unwrap();
    rows[1] = f32::NAN;
    let dir = tempfile::tempdir().unwrap();
    for name in ["features.parquet", "features.csv"] {
        let path = dir.path().join(name);
        crate::data::write_features(&path, &set, &features.names(), &rows).unwrap();
        let (table, _) = crate::data::read_table(&path, &crate::data::ReadOptions::default()).unwrap();
        assert_eq!(table.records.len(), set.pairs.len());
        assert_eq!(table.records[4].get("label"), Some("1"));
        assert_eq!(table.records[0].get(&features.names()[1]), Some(""), "{name}: not known");
        let value: f32 = table.records[3].get(&features.names()[0]).unwrap().parse().unwrap();
        assert_eq!(value, rows[3 * features.names().len()]);
    }
    assert!(crate::data::write_features(&dir.path().join("x.txt"), &set, &features.names(), &rows).is_err());
}
