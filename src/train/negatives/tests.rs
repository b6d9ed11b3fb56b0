use super::*;
use crate::bundle::{Architecture, Manifest};
use crate::testing;

/// 20 products, and the same as another shop writes them; links of 0 to 14 are for training, the others for test. Right row 20 reads as row 0.
fn linked() -> PairSet {
    let columns: std::sync::Arc<[String]> = ["name".to_string()].into();
    let record = |i: usize, name: String| Record { id: i.to_string(), columns: columns.clone(), values: vec![name] };
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
    let mut pairs: Vec<Pair> = (0..20).map(|i| link(i, i, if i < 15 { Split::Train } else { Split::Test })).collect();
    pairs.push(link(1, 20, Split::Train));
    PairSet { left, right, pairs }
}

#[test]
fn hard_ones_are_near_and_true_links_are_never_made() {
    let mut set = linked();
    let links = set.pairs.clone();
    let made = make(&mut set, &Negatives { hard: 3, random: 1, ..Negatives::default() }, &TextConfig::default(), |_| 5)
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
        let mine = Negatives { hard: 2, random: 0, model: Some(path), ceiling, list: None };
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

/// What is made of a list's text: non-matches of training and of test by left row, in order.
fn listed(text: &str, hard: usize) -> Result<[BTreeMap<u32, Vec<u32>>; 2]> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hard");
    std::fs::write(&path, text).unwrap();
    let how = Negatives { hard, random: 0, list: Some(path), ..Negatives::default() };
    let mut set = linked();
    make(&mut set, &how, &TextConfig::default(), |_| 5)?;
    Ok([Split::Train, Split::Test].map(|part| {
        let mut made: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for pair in set.pairs.iter().filter(|p| p.split == Some(part) && !p.is_match()) {
            made.entry(pair.left).or_default().push(pair.right);
        }
        made
    }))
}

#[test]
fn a_run_names_the_hard_ones_of_training_and_chance_fills_up() {
    // in no order; left 2 is row 2; row 17 is a record of the test part; row 20 reads as the match of left 0; left 16 is for test
    let run = "2 Q0 5 9 1 x\n2 Q0 17 2 8.5 x\n2 Q0 2 1 9 x\n2 Q0 7 3 9.5 x\n0 Q0 20 1 3 x\n0 Q0 4 2 2 x\n0 Q0 6 3 1 x\n\
               16 Q0 1 1 1 x\n4 Q0 9 1 1 x\n4 Q0 lost 2 0.5 x\nnobody Q0 1 1 1 x\n";
    let [train, test] = listed(run, 2).unwrap();
    assert_eq!((&train[&2][..], &train[&0][..]), (&[7, 17][..], &[4, 6][..]));
    assert_eq!((train[&4][0], train[&4].len()), (9, 2), "one is named, chance adds the other");
    // two links: twice as many
    assert_eq!((train[&3].len(), train[&1].len()), (2, 4));
    assert!(
        train[&3].iter().all(|row| *row != 3 && (*row < 15 || *row == 20)),
        "chance draws from the part's records: {train:?}"
    );
    let mut by_words = linked();
    let plain = Negatives { hard: 2, random: 0, ..Negatives::default() };
    make(&mut by_words, &plain, &TextConfig::default(), |_| 5).unwrap();
    for (left, rows) in test {
        let of = by_words.pairs.iter().filter(|p| p.left == left && !p.is_match());
        assert_eq!(of.map(|p| p.right).collect::<Vec<_>>(), rows, "BM25 chooses those of the test part");
    }
}

#[test]
fn triples_name_the_hard_ones_in_their_order() {
    // a second time the same; a first document that is no match; a match as the second one
    let triples =
        "2\t2\t9\n1\t1\t5\n2\t2\t8\n2\t2\t9\n2\t2\t7\n1\t20\t6\n1\t1\t20\n1\t1\t7\n1\t1\t8\n1\t1\t9\n3\t9\t8\n";
    let [train, _] = listed(triples, 2).unwrap();
    assert_eq!((&train[&2][..], &train[&1][..]), (&[9, 8][..], &[5, 6, 7, 8][..]));
    assert!(train.values().all(|rows| rows.len() >= 2));
    let whole: u32 = listed("3\t3\t8\n", 1).unwrap()[0][&3][0];
    assert_eq!(whole, 8);
}

#[test]
fn a_list_of_strange_ids_is_refused() {
    for text in ["q1 Q0 d1 1 0.5 x\n", "2 Q0 d1 1 0.5 x\n", "a query\ta text\tanother\n", "2\t7\t1\n2\t8\t2\n"] {
        let error = listed(text, 2).err().unwrap();
        let said = error.to_string();
        assert!(error.is_user_error() && said.contains("hard: each of its") && said.contains("own records"), "{said}");
    }
}
