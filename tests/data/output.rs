//! What is written, and what is left when it isn't.

use std::io::Write;

use sverka::data::{MatchWriter, ReadOptions, read_table};
use sverka::files::write_beside;
use sverka::{Error, Match, Table};

use crate::Folder;

fn matches() -> Vec<Match> {
    let found = |left: &str, probability, decision, rank| Match {
        left_id: left.into(),
        right_id: "р,1".into(),
        probability,
        decision,
        rank,
    };
    vec![found("a", 0.987_654_3, true, 1), found("b \"x\"", 0.25, false, 2)]
}

fn written(folder: &Folder, name: &str, texts: bool, why: bool) -> Table {
    let path = folder.path(name);
    let mut out = MatchWriter::create(&path, texts, why).unwrap();
    for found in matches() {
        out.write(&found, texts.then_some(("l\n1", "r;2")), why.then_some("5 л | 1 л")).unwrap();
        assert!(!path.exists(), "nothing has the name before it is whole");
    }
    out.finish().unwrap();
    read_table(&path, &ReadOptions::default()).unwrap().0
}

#[test]
fn every_kind_of_file_reads_back() {
    let folder = Folder::new();
    for kind in ["csv", "jsonl", "parquet"] {
        let plain = written(&folder, &format!("plain.{kind}"), false, false);
        assert_eq!(&plain.columns[..], ["right_id", "probability", "decision", "rank"], "{kind}");
        assert_eq!(plain.records[1].id, "b \"x\"");
        assert_eq!(plain.records[1].values[0], "р,1");
        assert_eq!(plain.records[1].values[2..], ["false", "2"]);
        for (record, wanted) in plain.records.iter().zip(matches()) {
            let probability: f32 = record.values[1].parse().unwrap();
            assert!((probability - wanted.probability).abs() < 1e-6, "{kind}: {probability}");
        }
        let full = written(&folder, &format!("full.{kind}"), true, true);
        let last = ["rank", "left_text", "right_text", "why"];
        assert_eq!(full.columns[3..], last, "{kind}");
        assert_eq!(full.records[0].values[3..], ["1", "l\n1", "r;2", "5 л | 1 л"], "{kind}");
    }
    assert_eq!(folder.names().len(), 6, "nothing else is left: {:?}", folder.names());
    let csv = std::fs::read_to_string(folder.path("plain.csv")).unwrap();
    assert_eq!(
        csv,
        "left_id,right_id,probability,decision,rank\na,\"р,1\",0.987654,true,1\n\"b \"\"x\"\"\",\"р,1\",0.250000,false,2\n"
    );
    let json = std::fs::read_to_string(folder.path("plain.jsonl")).unwrap();
    assert!(
        json.starts_with(
            "{\"left_id\":\"a\",\"right_id\":\"р,1\",\"probability\":0.987654,\"decision\":true,\"rank\":1}\n"
        ),
        "{json}"
    );
}

#[test]
fn more_rows_than_a_row_group() {
    let folder = Folder::new();
    let path = folder.path("many.parquet");
    let mut out = MatchWriter::create(&path, false, false).unwrap();
    let rows = (1 << 16) + 3;
    for i in 0..rows {
        let found = Match { left_id: i.to_string(), right_id: "r".into(), probability: 0.5, decision: true, rank: 1 };
        out.write(&found, None, None).unwrap();
    }
    out.finish().unwrap();
    let (table, _) = read_table(&path, &ReadOptions::default()).unwrap();
    assert_eq!((table.records.len(), table.records[rows - 1].id.clone()), (rows, (rows - 1).to_string()));
}

#[test]
fn no_matches_are_a_file_with_a_header() {
    let folder = Folder::new();
    for name in ["a.csv", "a.jsonl", "a.parquet"] {
        MatchWriter::create(&folder.path(name), false, false).unwrap().finish().unwrap();
    }
    let asked_for = folder.path("b.csv");
    MatchWriter::create(&asked_for, true, true).unwrap().finish().unwrap();
    let columns = "left_id,right_id,probability,decision,rank,left_text,right_text,why\n";
    assert_eq!(std::fs::read_to_string(asked_for).unwrap(), columns);
    assert_eq!(std::fs::read_to_string(folder.path("a.csv")).unwrap(), "left_id,right_id,probability,decision,rank\n");
    assert_eq!(std::fs::read(folder.path("a.jsonl")).unwrap(), b"");
    assert!(std::fs::read(folder.path("a.parquet")).unwrap().ends_with(b"PAR1"));
}

#[test]
fn what_was_there_stays_until_the_new_file_is_whole() {
    let folder = Folder::new();
    let path = folder.write("out.csv", "old");
    let mut out = MatchWriter::create(&path, false, false).unwrap();
    out.write(&matches()[0], None, None).unwrap();
    drop(out);
    let full = |file: &mut std::fs::File| {
        file.write_all(b"half").unwrap();
        Err(Error::io("write", &path)(std::io::ErrorKind::StorageFull.into()))
    };
    let error = write_beside(&path, full).unwrap_err();
    assert!(error.is_user_error() && error.to_string().contains("out.csv"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(folder.names(), ["out.csv"]);
    write_beside(&path, |file| file.write_all(b"new").map_err(Error::io("write", &path))).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(folder.names(), ["out.csv"]);
}

#[test]
fn places_that_can_not_be_written() {
    let folder = Folder::new();
    let error = |name: &str| MatchWriter::create(&folder.path(name), false, false).map(|_| ()).unwrap_err().to_string();
    assert!(error("out.xlsx").contains(".csv, .jsonl or .parquet"), "{}", error("out.xlsx"));
    assert!(error("out.csv.gz").contains(".csv, .jsonl or .parquet"));
    assert!(error("none/out.csv").contains("none/out.csv"));
    std::fs::create_dir(folder.path("dir.csv")).unwrap();
    assert!(error("dir.csv").contains("is a folder"));
    assert_eq!(folder.names(), ["dir.csv"]);
}
