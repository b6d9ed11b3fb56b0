//! What is learnt, what is held out, what is made: on small files in the formats people have.

use std::path::{Path, PathBuf};

use crate::text::TextEncoder;
use crate::train::Recipe;
use crate::train::corpus::Corpus;

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
    fn corpus(&self, recipe: &str) -> (Recipe, crate::Result<Corpus>) {
        self.write("recipe.toml", &format!("name = \"x\"\nstart = {{ dir = \"start\" }}\n{recipe}"));
        let recipe = Recipe::read(&self.path("recipe.toml"), &[]).unwrap();
        let tokenizer = TextEncoder::open(&recipe.start.dir, recipe.text.clone()).unwrap();
        let corpus = Corpus::read(&recipe, &tokenizer);
        (recipe, corpus)
    }
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
    let (recipe, corpus) = folder.corpus(&format!("{SMALL}{LARGE}"));
    let corpus = corpus.unwrap();
    let (small, large) = (&corpus.counts[0], &corpus.counts[1]);
    assert_eq!((small.train, small.train_matches, small.valid, small.test, small.dropped_train), (3, 1, 2, 2, 0));
    assert_eq!((large.train, large.valid, large.dropped_train, large.dropped_valid), (2, 2, 2, 1));
    assert_eq!((corpus.valid.len(), corpus.test.len(), corpus.test["small"].len()), (4, 1, 2));
    assert_eq!(corpus.epoch(&recipe, 0).unwrap().len(), 5);
}

#[test]
fn an_excluded_set_is_held_out_too_and_a_left_out_one_is_only_measured() {
    let folder = two_sets();
    let exclude =
        "[data]\nexclude = [{ format = \"ditto\", valid = \"small/valid.txt\", test = \"small/test.txt\" }]\n";
    let (_, corpus) = folder.corpus(&format!("{exclude}{LARGE}"));
    let large = &corpus.unwrap().counts[0];
    assert_eq!((large.train, large.dropped_train, large.dropped_valid), (2, 2, 1));

    let (_, corpus) = folder.corpus(&format!("data.leave_out = [\"small\"]\n{LARGE}{SMALL}"));
    let corpus = corpus.unwrap();
    let small = &corpus.counts[1];
    assert_eq!((small.train, small.valid, small.test, corpus.test["small"].len()), (0, 0, 2, 2));
    assert_eq!((corpus.counts[0].train, corpus.valid.len()), (2, 2));
}

#[test]
fn max_pairs_repeat_swap_and_the_fingerprint() {
    let folder = two_sets();
    let (recipe, whole) = folder.corpus(&format!("train = {{ swap = 0.5 }}\n{SMALL}repeat = 20\n"));
    let whole = whole.unwrap();
    let epoch = whole.epoch(&recipe, 0).unwrap();
    assert_eq!(epoch.len(), 60);
    assert_eq!(epoch, whole.epoch(&recipe, 0).unwrap());
    assert_ne!(epoch, whole.epoch(&recipe, 1).unwrap());
    let of_first: std::collections::BTreeSet<&[u32]> =
        epoch.iter().step_by(3).map(|e| e.encoding.ids.as_slice()).collect();
    assert_eq!(of_first.len(), 2, "one pair in 20 repetitions stands both ways round");
    let (recipe, fewer) = folder.corpus(&format!("{SMALL}max_pairs = 2\n"));
    let fewer = fewer.unwrap();
    assert_eq!(fewer.counts[0].train, 3);
    let mut seen: Vec<_> = (0..20).map(|epoch| fewer.epoch(&recipe, epoch).unwrap()).collect();
    assert!(seen.iter().all(|epoch| epoch.len() == 2 && epoch[0] != epoch[1]));
    assert_eq!(seen[0], fewer.epoch(&recipe, 0).unwrap());
    seen.sort_by(|a, b| a.iter().map(|e| &e.encoding.ids).cmp(b.iter().map(|e| &e.encoding.ids)));
    seen.dedup();
    assert_eq!(seen.len(), 3, "every choice of two of three comes up");
    let (recipe, twice) = folder.corpus(&format!("{SMALL}max_pairs = 2\nrepeat = 3\n"));
    let epoch = twice.unwrap().epoch(&recipe, 0).unwrap();
    assert_eq!((epoch.len(), &epoch[..2]), (6, &epoch[4..]));
    assert_eq!(whole.fingerprint.len(), 64);
    let (_, large) = folder.corpus(LARGE);
    assert_ne!(whole.fingerprint, large.unwrap().fingerprint);
}

#[test]
fn made_pairs_change_with_the_epoch_and_not_with_the_run() {
    let folder = two_sets();
    let (recipe, corpus) =
        folder.corpus(&format!("augment = {{ negatives = 2.0, positives = 2.0, thin = 0.0 }}\n{SMALL}"));
    let corpus = corpus.unwrap();
    let first = corpus.epoch(&recipe, 0).unwrap();
    assert!(
        first.len() > 3 && first[3..].iter().any(|e| e.target == 1.0) && first[3..].iter().any(|e| e.target == 0.0)
    );
    assert_eq!(first, corpus.epoch(&recipe, 0).unwrap());
    assert_ne!(first, corpus.epoch(&recipe, 1).unwrap());
}

#[test]
fn neighbours_of_a_list_without_duplicates_are_non_matches() {
    let folder = Folder::new();
    folder.write("left.csv", "id,name\n1,red by x\n2,red by l\n3,red by acme\n");
    folder.write("right.csv", "id,name\n1,blue\n2,green\n");
    let epoch = |links: &str, unique: bool| {
        folder.write("links.csv", &format!("l,r,y,s\n{links}"));
        let (recipe, corpus) = folder.corpus(&format!(
            r#"augment = {{ negatives = 20.0, positives = 0.0, thin = 0.0 }}
[[data.sources]]
name = "links"
unique = {unique}
from = {{ format = "links", left = "left.csv", right = "right.csv", links = "links.csv", left_column = "l", right_column = "r", label_column = "y", part_column = "s" }}
"#
        ));
        corpus.unwrap().epoch(&recipe, 0).unwrap()
    };
    let apart = "1,1,1,train\n2,2,1,train\n3,1,0,train\n";
    assert_ne!(epoch(apart, true), epoch(apart, false));
    // both are the blue one
    let same = "1,1,1,train\n2,1,1,train\n1,2,0,train\n";
    assert_eq!(epoch(same, true), epoch(same, false));
}

#[test]
fn links_need_non_matches_and_pairs_without_parts_are_split() {
    let folder = Folder::new();
    let name = |i: usize| format!("{} {} {}", ["red", "blue", "green"][i % 3], ["floor", "glass"][i / 3 % 2], i);
    let table = |tail: &str| (0..60).map(|i| format!("{i},{}{tail}\n", name(i))).collect::<String>();
    folder.write("left.csv", &format!("id,item\n{}", table(" by acme")));
    folder.write("right.csv", &format!("id,name\n{}", table("")));
    folder.write("links.csv", &format!("l,r\n{}", (0..60).map(|i| format!("{i},{i}\n")).collect::<String>()));
    let source = r#"
[[data.sources]]
name = "links"
from = { format = "links", left = "left.csv", right = "right.csv", links = "links.csv", left_column = "l", right_column = "r" }
"#;
    let (_, corpus) = folder.corpus(source);
    let error = corpus.err().unwrap();
    assert!(error.is_user_error() && error.to_string().contains("negatives"), "{error}");
    let (_, corpus) = folder.corpus(&format!("{source}negatives = {{ hard = 2, random = 1 }}\n"));
    let corpus = corpus.unwrap();
    let c = &corpus.counts[0];
    assert_eq!((c.train + c.valid + c.test, c.made), (240, 180));
    assert!(c.valid >= 16 && c.test >= 16 && c.train > c.valid + c.test, "{c:?}");
    assert_eq!(c.train_matches * 4, c.train);
}
