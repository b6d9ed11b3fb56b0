//! Damaged files, drawn with a fixed seed: whatever they hold, a reader ends, with rows or with the user's error. The
//! number of mutants is 1,000 a kind, or what `SVERKA_MUTANTS` says (`scripts/fuzz`).

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sverka::data::{Parts, ReadOptions, Source, detect, guess_links, read_pairs, read_table, stream_pairs};

use crate::Folder;

const SEEDS: [(&str, &str); 6] = [
    ("a.csv", "id;name;price\n1;\"Kettle; 1,7 l\";19,00\n2;Iron &amp; board;25,50\n3;\"TV 24\"\"\";NaN\nTotal;;44,5\n"),
    ("b.csv", "sep=,\nName,Price,ID\n\"Lamp, white\",5,1001\n'=x,6,1002\n\"TV 24\\\" black\",7,1003\n"),
    ("c.jsonl", "{\"id\":1,\"name\":\"Чайник\",\"price\":NaN}\n{\"id\":2.0,\"tags\":[\"a\",{\"b\":\"\\u0430\"}]}\n"),
    ("d.json", "[{\"id\":1,\"name\":\"a\"},\n {\"id\":2,\"name\":\"b\",\"x\":null}]"),
    ("e.tsv", "\tid\tname\n0\ta\tTV\\tset\n1\tb\t\\N\n"),
    (
        "f.jsonl",
        "{\"left\":{\"name\":\"a\"},\"right\":{\"name\":\"b\"},\"label\":1}\n{\"left\":\"x\",\"right\":\"y\"}\n",
    ),
];

fn mutant(seed: &[u8], random: &mut ChaCha8Rng) -> Vec<u8> {
    const PIECES: [&[u8]; 16] = [
        b"\"",
        b"\\\"",
        b"\n",
        b"\r",
        b";",
        b",",
        b"\t",
        b"\0",
        b"{",
        b"}",
        b"[",
        b"\xff",
        b"\xd0",
        b"NaN",
        b"&lt;b",
        b"\xef\xbb\xbf",
    ];
    let mut bytes = seed.to_vec();
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..=bytes.len());
        match random.random_range(0..5) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] = random.random(),
            2 => {
                let end = bytes.len().min(at + random.random_range(1..20));
                bytes.drain(at..end);
            }
            3 => {
                let end = bytes.len().min(at + random.random_range(1..40));
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            _ => drop(bytes.splice(at..at, PIECES[random.random_range(0..PIECES.len())].iter().copied())),
        }
    }
    bytes
}

#[test]
fn damaged_files_end_with_rows_or_an_error_of_the_user() {
    let count: usize = std::env::var("SVERKA_MUTANTS").ok().and_then(|n| n.parse().ok()).unwrap_or(1000);
    let folder = Folder::new();
    let mut random = ChaCha8Rng::seed_from_u64(16);
    let (mut good, mut bad) = (0, 0);
    for i in 0..count {
        for (name, seed) in SEEDS {
            let path = folder.write(&format!("{i}{name}"), mutant(seed.as_bytes(), &mut random));
            let options = ReadOptions { skip_bad_rows: i % 2 == 0, ..ReadOptions::default() };
            let files = || Parts { pairs: Some(path.clone()), ..Parts::default() };
            let results = [
                read_table(&path, &options).map(|_| ()),
                stream_pairs(&path, &options).and_then(|mut pairs| pairs.try_for_each(|p| p.map(|_| ()))),
                read_pairs(&Source::Joined(files()), &options).map(|_| ()),
                read_pairs(&Source::Ditto(files()), &options).map(|_| ()),
                guess_links(&path, &path, &path, &options).and_then(|s| read_pairs(&s.0, &options)).map(|_| ()),
                detect(&path, &options).map(|_| ()),
            ];
            for result in results {
                match result {
                    Ok(()) => good += 1,
                    Err(error) => {
                        let text = error.to_string();
                        assert!(error.is_user_error() && !text.contains('\n'), "mutant {i} of {name}: {text:?}");
                        bad += 1;
                    }
                }
            }
            std::fs::remove_file(&path).unwrap();
        }
    }
    assert!(good > count && bad > count, "{good} read, {bad} refused");
}
