//! A teacher's scores reach training, from files and from a model; a share of the labels is the same share each time.

use std::collections::BTreeSet;

use super::corpus::{Folder, WORDS, lines, words};
use crate::bundle::{Architecture, Bundle, Manifest};
use crate::models::Reads;
use crate::models::bert::Config;
use crate::nn::Device;
use crate::records::{Pair, Split};
use crate::testing;
use crate::text::TextConfig;
use crate::train::corpus::Corpus;
use crate::train::sources::LoadedSource;
use crate::train::teacher::Teacher;
use crate::train::{Recipe, Silent, train};

const SET: &str = r#"
[[data.sources]]
name = "set"
from = { format = "ditto", train = "train.txt", valid = "valid.txt" }
teacher = "scores.csv"
"#;

/// A query with a match and three others, one with a match alone.
fn set() -> Folder {
    let folder = Folder::new();
    let train =
        [("red", "red x", 1), ("red", "blue", 0), ("red", "green", 0), ("red", "l", 0), ("glass", "glass x", 1)];
    folder.write("train.txt", &lines(&train));
    folder.write("valid.txt", &lines(&[("green", "green x", 1), ("green", "acme", 0)]));
    folder.write("scores.csv", "teacher,other\n4.5,a\n-1,b\n-2.25,c\n0.5,d\n3,e\n9,f\n9,g\n");
    folder
}

fn corpus(folder: &Folder, loss: &str, reads: Reads) -> crate::Result<Corpus> {
    folder.corpus_for(&format!("train = {{ loss = \"{loss}\", list_size = 3 }}\n{SET}"), reads)
}

#[test]
fn a_file_of_scores_in_the_order_of_pairs_makes_taught_lists() {
    let folder = set();
    let examples = corpus(&folder, "margin_mse", Reads::Towers).unwrap().train.epoch(0).unwrap();
    assert_eq!(examples.len(), 1, "only a query with a match and a non-match has a margin");
    let example = &examples[0];
    assert_eq!((example.texts.len(), &example.grades[..]), (4, &[1.0, 0.0, 0.0][..]));
    let texts: Vec<String> = example.texts.iter().map(|text| words(&text.ids)).collect();
    assert_eq!(&texts[..2], ["[CLS] red [SEP]", "[CLS] red x [SEP]"]);
    for (text, score) in texts[1..].iter().zip(&example.teacher) {
        let known = [("red x", 4.5), ("blue", -1.0), ("green", -2.25), (" l ", 0.5)];
        let of = known.iter().find(|(part, _)| text.contains(part)).unwrap();
        assert_eq!(*score, of.1, "{text}");
    }
    // joint sequences, all documents in lists of at most three; a list of one has nothing to compare
    let examples = corpus(&folder, "kl", Reads::Pair).unwrap().train.epoch(0).unwrap();
    assert_eq!(examples.iter().map(|e| e.texts.len()).collect::<Vec<_>>(), [3]);
    let examples = corpus(&folder, "mse", Reads::Pair).unwrap().train.epoch(0).unwrap();
    let lengths: Vec<usize> = examples.iter().map(|e| e.texts.len()).collect();
    assert_eq!(lengths.iter().sum::<usize>(), 5, "every scored pair: {lengths:?}");
    assert!(examples.iter().all(|e| e.teacher.len() == e.texts.len()));
}

#[test]
fn scores_that_do_not_fit_are_refused_by_name() {
    let folder = set();
    let refused = |text: &str, loss: &str, part: &str| {
        folder.write("scores.csv", text);
        let error = corpus(&folder, loss, Reads::Towers).err().unwrap();
        assert!(error.is_user_error() && error.to_string().contains(part), "{error}");
    };
    refused("teacher\n1\n2\n", "kl", "2 rows without left_id and right_id, and the source has 7 pairs");
    refused("mark\n1\n2\n3\n4\n5\n6\n7\n", "kl", "no column of scores");
    refused("teacher\n1\n2\nNaN\n4\n5\n6\n7\n", "kl", "scores.csv:4");
    refused("left_id,right_id,score\nno,such,1\n", "kl", "none of its rows is a pair");
    // a teacher and a loss that does not look at it, and the reverse
    let recipe = |text: &str| {
        folder.write("r.toml", &format!("name = \"x\"\nmodel = {{ init = \"start\" }}\n{text}"));
        Recipe::read(&folder.path("r.toml"), &[]).err().map(|e| e.to_string()).unwrap_or_default()
    };
    assert!(recipe(SET).contains("train.loss = bce: does not look at a teacher's scores"), "{}", recipe(SET));
    let without = SET.replace("teacher = \"scores.csv\"\n", "");
    assert!(recipe(&format!("train.loss = \"kl\"\n{without}")).contains("wants a teacher"));
    assert!(recipe(&format!("data.label_fraction = 0.0\n{without}")).contains("data.label_fraction = 0"));
}

#[test]
fn offers_that_matches_connect_are_of_one_cluster() {
    let folder = set();
    let train = [("red", "red x", 1), ("blue", "red x", 1), ("blue", "blue x", 1), ("glass", "glass x", 1)];
    folder.write("train.txt", &lines(&train));
    let without = SET.replace("teacher = \"scores.csv\"\n", "");
    let corpus = folder.corpus_for(&format!("train.loss = \"sup_con\"\n{without}"), Reads::Towers).unwrap();
    let examples = corpus.train.epoch(0).unwrap();
    let clusters: Vec<u32> = examples.iter().map(|e| e.cluster).collect();
    assert_eq!((clusters[0], clusters[1]), (clusters[1], clusters[2]));
    assert_ne!(clusters[0], clusters[3]);
    assert!(examples.iter().all(|e| e.texts.len() == 2), "others of the batch are what repels");
}

#[test]
fn a_smaller_share_of_the_labels_is_part_of_a_larger_one() {
    let folder = set();
    let pairs: Vec<(String, String)> =
        (0..60).map(|i| (format!("red {}", "x ".repeat(i)), format!("blue {}", "l ".repeat(i)))).collect();
    let train: Vec<(&str, &str, u8)> =
        pairs.iter().enumerate().map(|(i, (l, r))| (l.as_str(), r.as_str(), u8::from(i % 3 == 0))).collect();
    folder.write("train.txt", &lines(&train));
    let without = SET.replace("teacher = \"scores.csv\"\n", "");
    let learnt = |share: f64| -> BTreeSet<String> {
        let corpus = folder.corpus(&format!("data.label_fraction = {share:?}\n{without}")).unwrap();
        let count = &corpus.counts[0];
        assert_eq!((count.train, count.valid), ((60.0 * share).ceil() as u64, 2));
        corpus.train.epoch(0).unwrap().iter().map(|e| words(&e.texts[0].ids)).collect()
    };
    let [all, fifth, twentieth] = [1.0, 0.2, 0.05].map(learnt);
    assert!(twentieth.is_subset(&fifth) && fifth.is_subset(&all) && twentieth.len() == 3);
    assert_eq!(learnt(0.2), fifth);
}

/// Two towers learn from a model's scores, which are made once.
#[test]
fn a_teachers_scores_are_kept_in_the_run_folder_and_not_made_again() {
    let folder = super::run::folder();
    let rendering = TextConfig { max_tokens: 24, ..TextConfig::default() };
    let manifest = Manifest { rendering, ..Manifest::default() };
    testing::write_bundle(&folder.path("teacher"), &folder.path("start"), &manifest).unwrap();
    let sets = [
        "model.architecture=dssm",
        "text.overlap_segments=false",
        "train.loss=mse",
        "train.teacher=teacher",
        "train.epochs=2",
        "train.swap_probability=0.0",
    ];
    let recipe = Recipe::read(&folder.path("recipe.toml"), &sets.map(String::from)).unwrap();
    let outcome = train(&recipe, &folder.path("run"), false, &Silent).unwrap();
    let kept = folder.path("run/teacher.json");
    let text = std::fs::read_to_string(&kept).unwrap();
    let scores: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(scores["scores"].as_array().unwrap().len() as u64, outcome.data[0].train);
    // scores in the folder are taken as they are
    std::fs::remove_file(folder.path("run/metrics.json")).unwrap();
    let again = train(&recipe, &folder.path("run"), true, &Silent).unwrap();
    assert_eq!((again.test, std::fs::read_to_string(&kept).unwrap()), (outcome.test, text));
}

/// A cross-encoder of random weights in a folder, in place of one that is there.
fn write_teacher(folder: &Folder, name: &str, seed: u64) {
    let config = Config { max_position_embeddings: 32, ..testing::config(WORDS.len()) };
    let weights = testing::weights(&config, &*Architecture::default().model(), 0.3, seed);
    let start = format!("start of {name}");
    folder.write(&format!("{start}/vocab.txt"), &WORDS.join("\n"));
    testing::write_checkpoint(&folder.path(&start), &config, &weights).unwrap();
    let _ = std::fs::remove_dir_all(folder.path(name));
    let rendering = TextConfig { max_tokens: 24, ..TextConfig::default() };
    let manifest = Manifest { rendering, ..Manifest::default() };
    testing::write_bundle(&folder.path(name), &folder.path(&start), &manifest).unwrap();
}

/// Several models teach their mean, and the run folder's scores are those of these models or made again.
#[test]
fn the_mean_of_several_teachers_counts_and_a_change_of_any_is_noticed() {
    let folder = super::run::folder();
    [("a", 6), ("b", 7)].into_iter().for_each(|(name, seed)| write_teacher(&folder, name, seed));
    let run = folder.path("kept");
    std::fs::create_dir_all(&run).unwrap();
    let scores = |teacher: &str| -> Vec<f32> {
        let sets = ["train.loss=mse".to_string(), format!("train.teacher={teacher}")];
        let recipe = Recipe::read(&folder.path("recipe.toml"), &sets).unwrap();
        let source = LoadedSource::read(&recipe, 0).unwrap();
        let is_learnt = |pair: &&Pair| pair.split == Some(Split::Train);
        let pairs: Vec<Pair> = source.set.pairs.iter().filter(is_learnt).copied().collect();
        let mut teacher = Teacher::open(&recipe, Some(&run)).unwrap();
        let taught = teacher.scores(&source, &pairs).unwrap();
        teacher.keep(&run).unwrap();
        pairs.iter().map(|pair| taught[&(pair.left, pair.right)]).collect()
    };
    let (a, b, both) = (scores("a"), scores("b"), scores("[\"a\", \"b\"]"));
    assert!(a.len() > 20 && a.iter().zip(&b).any(|(a, b)| (a - b).abs() > 1e-3), "{a:?} {b:?}");
    for ((a, b), mean) in a.iter().zip(&b).zip(&both) {
        assert_eq!(*mean, ((f64::from(*a) + f64::from(*b)) / 2.0) as f32);
    }

    // scores in the folder are taken as they are, until they are of other models
    let file = run.join("teacher.json");
    let spoil = || {
        let mut kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let all = kept["scores"].as_array_mut().unwrap();
        assert_eq!(all.len(), a.len());
        all.iter_mut().for_each(|score| *score = 9.0.into());
        std::fs::write(&file, kept.to_string()).unwrap();
    };
    let spoilt = vec![9.0; a.len()];
    spoil();
    assert_eq!(scores("[\"a\", \"b\"]"), spoilt);
    assert_eq!(scores("b"), b);
    assert_eq!(scores("[\"a\", \"b\"]"), both);
    spoil();
    write_teacher(&folder, "b", 8);
    let changed = scores("[\"a\", \"b\"]");
    assert!(changed != spoilt && changed != both);
    assert_eq!(scores("[\"a\", \"b\"]"), changed);

    // a file of before, which knew one model alone
    let checksum = Bundle::open(&folder.path("a"), None, Device::Cpu).unwrap().weights_sha256().unwrap();
    let before = serde_json::json!({ "weights_sha256": checksum, "scores": spoilt });
    std::fs::write(&file, before.to_string()).unwrap();
    assert_eq!(scores("a"), a);
    spoil();
    assert_eq!(scores("a"), spoilt, "made again, they are kept in the new form");
}
