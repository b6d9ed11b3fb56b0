//! What is learnt, what is held out, what is made: on small files in the formats people have.

use std::path::{Path, PathBuf};

use crate::Result;
use crate::models::{Example, Reads};
use crate::text::TextEncoder;
use crate::train::Recipe;
use crate::train::corpus::{Corpus, Lists};

pub(super) const WORDS: [&str; 18] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "blue", "green", "floor", "glass", "cleaner", "1", "2", "5",
    "l", "x", "by", "acme",
];

pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.write("start/vocab.txt", &WORDS.join("\n"));
        folder
    }
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).unwrap();
        std::fs::write(path, text).unwrap();
    }
    pub(super) fn corpus(&self, recipe: &str) -> Result<Corpus> {
        self.corpus_for(recipe, Reads::Pair)
    }
    pub(super) fn corpus_for(&self, recipe: &str, reads: Reads) -> Result<Corpus> {
        self.write("recipe.toml", &format!("name = \"x\"\nmodel = {{ init = \"start\" }}\n{recipe}"));
        let recipe = Recipe::read(&self.path("recipe.toml"), &[]).unwrap();
        let text = TextEncoder::open(&recipe.model.init, recipe.text.clone()).unwrap();
        Corpus::read(&recipe, &text, reads)
    }
}

/// The words of a sequence.
pub(super) fn words(ids: &[u32]) -> String {
    ids.iter().map(|&id| WORDS[id as usize]).collect::<Vec<_>>().join(" ")
}

fn epoch(corpus: &Corpus, epoch: u64) -> Vec<Example> {
    corpus.train.epoch(epoch).unwrap()
}

/// The tokens of lists, query first.
fn tokens(lists: &Lists, text: &TextEncoder) -> Vec<(String, Vec<String>)> {
    let ids = |side| words(&text.join(&[side]).ids);
    lists.lists().iter().map(|l| (ids(l.query), l.candidates.iter().map(|c| ids(c)).collect())).collect()
}

/// Ditto's lines.
pub(super) fn lines(pairs: &[(&str, &str, u8)]) -> String {
    pairs.iter().map(|(l, r, y)| format!("COL title VAL {l}\tCOL title VAL {r}\t{y}\n")).collect()
}

fn two_sets() -> Folder {
    let folder = Folder::new();
    folder.write(
        "small/train.txt",
        &lines(&[("red floor", "red floor x", 1), ("red", "blue", 0), ("glass 1 l", "glass 5 l", 0)]),
    );
    folder.write("small/valid.txt", &lines(&[("green", "green x", 1), ("green", "red", 0)]));
    folder.write("small/test.txt", &lines(&[("cleaner 1", "cleaner", 1), ("cleaner 2", "cleaner", 0)]));
    // Of the larger set: one pair is the small test's, the other way round and in capitals; one is the small validation's;
    // its validation holds a test pair of the small one.
    let train = [("CLEANER", "Cleaner  1", 1), ("green", "green x", 1), ("blue l", "blue", 1), ("red 1", "red 2", 0)];
    folder.write("large/train.txt", &lines(&train));
    folder.write("large/valid.txt", &lines(&[("cleaner 2", "cleaner", 0), ("x", "x l", 1), ("x", "l", 0)]));
    folder
}

const SMALL: &str = r#"
[[data.sources]]
name = "small"
from = { format = "ditto", train = "small/train.txt", valid = "small/valid.txt", test = "small/test.txt" }
"#;
const LARGE: &str = r#"
[[data.sources]]
name = "large"
from = { format = "ditto", train = "large/train.txt", valid = "large/valid.txt" }
"#;

#[test]
fn pairs_that_are_held_out_anywhere_are_not_learnt() {
    let folder = two_sets();
    let corpus = folder.corpus(&format!("{SMALL}{LARGE}")).unwrap();
    let (small, large) = (&corpus.counts[0], &corpus.counts[1]);
    assert_eq!((small.train, small.train_matches, small.valid, small.test, small.dropped_train), (3, 1, 2, 2, 0));
    assert_eq!((large.train, large.valid, large.dropped_train, large.dropped_valid), (2, 2, 2, 1));
    assert_eq!((corpus.valid.labels.len(), corpus.test.len(), corpus.test["small"].labels.len()), (4, 1, 2));
    assert_eq!(epoch(&corpus, 0).len(), 5);
}

#[test]
fn an_excluded_set_is_held_out_too_and_a_left_out_one_is_only_measured() {
    let folder = two_sets();
    let exclude =
        "[data]\nexclude = [{ format = \"ditto\", valid = \"small/valid.txt\", test = \"small/test.txt\" }]\n";
    let corpus = folder.corpus(&format!("{exclude}{LARGE}")).unwrap();
    let large = &corpus.counts[0];
    assert_eq!((large.train, large.dropped_train, large.dropped_valid), (2, 2, 1));

    let corpus = folder.corpus(&format!("data.eval_only = [\"small\"]\n{LARGE}{SMALL}")).unwrap();
    let small = &corpus.counts[1];
    assert_eq!((small.train, small.valid, small.test, corpus.test["small"].labels.len()), (0, 0, 2, 2));
    assert_eq!((corpus.counts[0].train, corpus.valid.labels.len()), (2, 2));
}

#[test]
fn max_pairs_repeat_swap_and_the_fingerprint() {
    let folder = two_sets();
    let whole = folder.corpus(&format!("train = {{ swap_probability = 0.5 }}\n{SMALL}repeat = 20\n")).unwrap();
    let first = epoch(&whole, 0);
    assert_eq!(first.len(), 60);
    assert_eq!(first, epoch(&whole, 0));
    assert_ne!(first, epoch(&whole, 1));
    let of_first: std::collections::BTreeSet<&[u32]> =
        first.iter().step_by(3).map(|e| e.texts[0].ids.as_slice()).collect();
    assert_eq!(of_first.len(), 2, "one pair in 20 repetitions comes both ways round");
    let fewer = folder.corpus(&format!("{SMALL}max_pairs = 2\n")).unwrap();
    assert_eq!(fewer.counts[0].train, 3);
    let mut seen: Vec<_> = (0..20).map(|n| epoch(&fewer, n)).collect();
    assert!(seen.iter().all(|epoch| epoch.len() == 2 && epoch[0] != epoch[1]));
    assert_eq!(seen[0], epoch(&fewer, 0));
    seen.sort_by(|a, b| a.iter().map(|e| &e.texts[0].ids).cmp(b.iter().map(|e| &e.texts[0].ids)));
    seen.dedup();
    assert_eq!(seen.len(), 3, "every choice of two of three comes up");
    let twice = epoch(&folder.corpus(&format!("{SMALL}max_pairs = 2\nrepeat = 3\n")).unwrap(), 0);
    assert_eq!((twice.len(), &twice[..2]), (6, &twice[4..]));
    assert_eq!(whole.fingerprint.len(), 64);
    assert_ne!(whole.fingerprint, folder.corpus(LARGE).unwrap().fingerprint);
}

#[test]
fn made_pairs_change_with_the_epoch_and_not_with_the_run() {
    let folder = two_sets();
    let recipe = format!("augment = {{ negatives = 2.0, positives = 2.0, word_dropout = 0.0 }}\n{SMALL}");
    let corpus = folder.corpus(&recipe).unwrap();
    let first = epoch(&corpus, 0);
    assert!([0.0, 1.0].iter().all(|target| first[3..].iter().any(|e| e.target == *target)));
    assert_eq!(first, epoch(&corpus, 0));
    assert_ne!(first, epoch(&corpus, 1));
}

#[test]
fn real_pairs_alone_are_changed_where_nothing_is_made() {
    let folder = two_sets();
    let line = |left: &str, right: &str, label: u8| {
        format!("COL title VAL {left} COL brand VAL acme\tCOL title VAL {right} COL brand VAL acme\t{label}\n")
    };
    let train = line("red floor cleaner x", "red floor cleaner", 1) + &line("blue glass by", "green floor l", 0);
    folder.write("small/train.txt", &train);
    let texts = |augment: &str, n: u64| -> Vec<String> {
        let corpus =
            folder.corpus(&format!("augment = {{ negatives = 0, positives = 0, {augment} }}\n{SMALL}")).unwrap();
        let examples = epoch(&corpus, n);
        assert_eq!(examples.iter().map(|e| e.target).collect::<Vec<_>>(), [1.0, 0.0], "nothing is made");
        examples.iter().map(|e| words(&e.texts[0].ids)).collect()
    };
    let whole = texts("word_dropout = 0.0", 0);
    assert_eq!(whole[1], "[CLS] blue glass by acme [SEP] green floor l acme [SEP]");
    let both = "word_dropout = 0.0, field_dropout = 1.0, span_swap = 1.0";
    let (mut matches, mut rest) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    for n in 0..30 {
        let changed = texts(both, n);
        assert_eq!(changed, texts(both, n), "an epoch is a function of its number");
        // the brand is what the two of a non-match share: only that may go
        let sides = changed[1].trim_start_matches("[CLS] ").split(" [SEP]").map(|side| {
            let mut words: Vec<&str> = side.split_whitespace().collect();
            words.sort_unstable();
            words
        });
        assert_eq!(sides.take(2).collect::<Vec<_>>(), [["blue", "by", "glass"], ["floor", "green", "l"]]);
        // a field is gone from each side of a match, and the other is not
        let titles = changed[0].matches("cleaner").count();
        assert!(matches!((titles, changed[0].matches("acme").count()), (2, 0) | (0, 2)), "{changed:?}");
        matches.insert(changed[0].clone());
        rest.insert(changed[1].clone());
    }
    assert!(matches.len() > 3 && rest.len() > 3, "{matches:?} {rest:?}");
    // each change has draws of its own: words go as they went before there were others
    let sorted = |text: &String| {
        let mut words: Vec<String> = text.split(' ').map(str::to_string).collect();
        words.sort_unstable();
        words
    };
    let dropped: Vec<Vec<String>> = (0..20).map(|n| texts("word_dropout = 1.0", n)).collect();
    let swapped: Vec<Vec<String>> = (0..20).map(|n| texts("word_dropout = 1.0, span_swap = 1.0", n)).collect();
    assert!(dropped.iter().all(|texts| texts[0] != whole[0]) && dropped != swapped);
    for (dropped, swapped) in dropped.iter().flatten().zip(swapped.iter().flatten()) {
        assert_eq!(sorted(dropped), sorted(swapped));
    }
}

#[test]
fn neighbors_of_a_list_without_duplicates_are_non_matches() {
    let folder = Folder::new();
    folder.write("left.csv", "id,name\n1,red by x\n2,red by l\n3,red by acme\n");
    folder.write("right.csv", "id,name\n1,blue\n2,green\n");
    let made = |links: &str, deduplicated: bool| -> Vec<String> {
        folder.write("links.csv", &format!("l,r,y,s\n{links}"));
        let corpus = folder.corpus(&format!(
            r#"augment = {{ negatives = 20.0, positives = 0.0, word_dropout = 0.0 }}
[data]
split = {{ valid = 0.0, test = 0.0 }}
[[data.sources]]
name = "links"
deduplicated = {deduplicated}
from = {{ format = "links", left = "left.csv", right = "right.csv", links = "links.csv", left_column = "l", right_column = "r", label_column = "y", part_column = "s" }}
"#
        ));
        let made = epoch(&corpus.unwrap(), 0).split_off(3);
        assert!(made.iter().all(|e| e.target == 0.0));
        made.iter().map(|e| words(&e.texts[0].ids)).collect()
    };
    // "red by x" against "red by l": in one sequence, x first
    let neighbors = |pairs: &[String]| {
        let sides = pairs.iter().map(|p| p.split(" [SEP] ").map(|side| side.split(' ').collect::<Vec<_>>()));
        let mut sides = sides.map(Iterator::collect::<Vec<_>>);
        sides.any(|s| s[0].contains(&"x") && s[1].contains(&"l") && !s[1].contains(&"x") && !s[0].contains(&"l"))
    };
    let apart = "1,1,1,train\n2,2,1,train\n3,1,0,train\n";
    assert!(neighbors(&made(apart, true)) && !neighbors(&made(apart, false)));
    // both are the blue one
    let same = "1,1,1,train\n2,1,1,train\n1,2,0,train\n";
    assert_eq!(made(same, true), made(same, false));
}

/// Sixty items of a dealer, each with its product; no splits, no non-matches.
fn links() -> (Folder, &'static str) {
    let folder = Folder::new();
    let name = |i: usize| {
        format!(
            "{} {} {} {}",
            ["red", "blue", "green"][i % 3],
            ["floor", "glass"][i / 3 % 2],
            ["1", "2", "5", "x", "l"][i / 6 % 5],
            i
        )
    };
    let table = |tail: &str| (0..60).map(|i| format!("{i},{}{tail}\n", name(i))).collect::<String>();
    folder.write("left.csv", &format!("id,item\n{}", table(" by acme")));
    folder.write("right.csv", &format!("id,name\n{}", table("")));
    folder.write("links.csv", &format!("l,r\n{}", (0..60).map(|i| format!("{i},{i}\n")).collect::<String>()));
    let source = r#"
[[data.sources]]
name = "links"
from = { format = "links", left = "left.csv", right = "right.csv", links = "links.csv", left_column = "l", right_column = "r" }
"#;
    (folder, source)
}

#[test]
fn links_need_non_matches_and_pairs_without_splits_are_split() {
    let (folder, source) = links();
    let error = folder.corpus(source).err().unwrap();
    assert!(error.is_user_error() && error.to_string().contains("negatives"), "{error}");
    let corpus = folder.corpus(&format!("{source}negatives = {{ hard = 2, random = 1 }}\n")).unwrap();
    let c = &corpus.counts[0];
    assert_eq!((c.train + c.valid + c.test, c.made), (240, 180));
    assert!(c.valid >= 16 && c.test >= 16 && c.train > c.valid + c.test, "{c:?}");
    assert_eq!(c.train_matches * 4, c.train);
}

#[test]
fn all_training_seeds_are_measured_on_one_test_set() {
    let (folder, source) = links();
    let text = TextEncoder::open(&folder.path("start"), Default::default()).unwrap();
    let of = |seed: u32| {
        let recipe = format!("train = {{ seed = {seed} }}\n{source}negatives = {{ hard = 1, random = 2 }}\n");
        let corpus = folder.corpus(&recipe).unwrap();
        let held_out = (tokens(&corpus.valid, &text), tokens(&corpus.test["links"], &text));
        (held_out, epoch(&corpus, 0))
    };
    let (one, two) = (of(1), of(2));
    assert!(one.0.0.len() > 4 && one.0.1.len() > 4);
    assert_eq!(one.0, two.0);
    assert_ne!(one.1, two.1, "the non-matches of training follow the seed");
}

#[test]
fn two_towers_read_each_text_alone_with_a_non_match_of_the_query_if_there_is_one() {
    let folder = two_sets();
    let mix = lines(&[
        ("red", "red x", 1),
        ("red", "red l", 0),
        ("red", "red 1", 0),
        ("blue", "blue x", 1),
        ("green", "x", 0),
    ]);
    folder.write("small/train.txt", &mix);
    let corpus = folder.corpus_for(SMALL, Reads::Towers).unwrap();
    let texts = |n| -> Vec<Vec<String>> {
        epoch(&corpus, n).iter().map(|e| e.texts.iter().map(|t| words(&t.ids)).collect()).collect()
    };
    let mut negatives = std::collections::BTreeSet::new();
    for n in 0..20 {
        let examples = texts(n);
        assert_eq!(examples.len(), 2, "only matches are examples: {examples:?}");
        assert_eq!(examples[0][..2], ["[CLS] red [SEP]", "[CLS] red x [SEP]"]);
        assert_eq!(examples[1], ["[CLS] blue [SEP]", "[CLS] blue x [SEP]"]);
        negatives.insert(examples[0][2].clone());
    }
    assert_eq!(negatives.into_iter().collect::<Vec<_>>(), ["[CLS] red 1 [SEP]", "[CLS] red l [SEP]"]);
    assert_eq!(texts(3), texts(3));
}

#[test]
fn triples_compare_each_match_with_non_matches_of_its_query_in_both_orders() {
    let folder = two_sets();
    let mut pairs = vec![("red", "red x", 1), ("blue", "blue x", 1), ("green", "x", 0)];
    let others: Vec<String> = ["1", "2", "5", "l", "by", "acme"].iter().map(|w| format!("red {w}")).collect();
    pairs.extend(others.iter().map(|other| ("red", other.as_str(), 0)));
    folder.write("small/train.txt", &lines(&pairs));
    let corpus = folder.corpus_for(SMALL, Reads::Triple).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for n in 0..20 {
        let examples = epoch(&corpus, n);
        assert_eq!(examples.len(), 8, "four of the six non-matches, in both orders");
        for pair in examples.chunks(2) {
            let (one, two) = (words(&pair[0].texts[0].ids), words(&pair[1].texts[0].ids));
            let sides: Vec<&str> = one.split(" [SEP]").collect();
            assert_eq!((sides[0], sides[1]), ("[CLS] red", " red x"), "{one}");
            assert_eq!(two, format!("[CLS] red [SEP]{} [SEP] red x [SEP]", sides[2]));
            assert_eq!((pair[0].target, pair[1].target), (1.0, 0.0));
            seen.insert(sides[2].to_string());
        }
    }
    assert_eq!(seen.len(), 6, "every non-match comes up");
    assert_eq!(epoch(&corpus, 3), epoch(&corpus, 3));
    // held-out pairs are lists, whatever the examples are; a list of one has nothing to compare
    folder.write("small/valid.txt", &lines(&[("green", "green x", 1), ("green", "red", 0), ("blue", "blue x", 1)]));
    let labels = |reads| folder.corpus_for(SMALL, reads).unwrap().valid.labels;
    assert_eq!((labels(Reads::Triple), labels(Reads::Pair)), (vec![true, false], vec![true, false, true]));
}

#[test]
fn lists_have_a_match_first_and_non_matches_of_its_query_after_it() {
    let folder = two_sets();
    let mut pairs = vec![("red", "red x", 1), ("blue", "blue x", 1), ("green", "x", 0)];
    let others: Vec<String> = ["1", "2", "5", "l"].iter().map(|w| format!("red {w}")).collect();
    pairs.extend(others.iter().map(|other| ("red", other.as_str(), 0)));
    folder.write("small/train.txt", &lines(&pairs));
    let recipe = format!("train = {{ loss = \"softmax\", list_size = 3 }}\n{SMALL}");
    let corpus = folder.corpus(&recipe).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for n in 0..20 {
        let examples = epoch(&corpus, n);
        assert_eq!(examples.len(), 1, "the only query with a match and a non-match");
        let texts: Vec<String> = examples[0].texts.iter().map(|text| words(&text.ids)).collect();
        assert_eq!((texts.len(), &examples[0].grades[..]), (3, &[1.0, 0.0, 0.0][..]));
        assert_eq!(texts[0], "[CLS] red [SEP] red x [SEP]");
        seen.extend(texts[1..].iter().cloned());
    }
    assert_eq!(seen.len(), 4, "every non-match comes up: {seen:?}");
}

#[test]
fn data_that_a_model_cannot_learn_from_is_refused() {
    let folder = two_sets();
    let refused = |train: &[(&str, &str, u8)], more: &str, reads: Reads, part: &str| {
        folder.write("small/train.txt", &lines(train));
        let error = folder.corpus_for(&format!("{more}{SMALL}"), reads).err().unwrap();
        assert!(error.is_user_error() && error.to_string().contains(part), "{error}");
    };
    let (matches, rest) = ([("red", "red x", 1)], [("red", "blue", 0)]);
    refused(&matches, "", Reads::Pair, "matches and non-matches");
    refused(&rest, "", Reads::Pair, "matches and non-matches");
    refused(&rest, "", Reads::Towers, "two towers learn from matches");
    let apart = [("red", "red x", 1), ("blue", "red x", 0)];
    refused(&apart, "", Reads::Triple, "queries that have a match and a non-match");
    refused(&[matches[0], rest[0]], "augment = {}\n", Reads::Triple, "augment");
    refused(&[matches[0], rest[0]], "augment = {}\n", Reads::Towers, "augment");
    let loss = |name: &str| format!("train = {{ loss = \"{name}\" }}\n");
    refused(&apart, &loss("softmax"), Reads::Pair, "queries that have a match and a non-match");
    refused(&[matches[0], rest[0]], &(loss("ranknet") + "augment = {}\n"), Reads::Pair, "a loss over lists");
    refused(&[matches[0], rest[0]], &loss("focal"), Reads::Towers, "train.loss = focal: two towers");
    refused(&[matches[0], rest[0]], &loss("lambda"), Reads::Triple, "train.loss = lambda: a duo");
}
