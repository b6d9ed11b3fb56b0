//! What broken files say: the place, the trouble, the remedy, on one line; and what `skip_bad_rows` makes of them.

use std::path::Path;

use sverka::Error;
use sverka::data::{MAX_CELL, MAX_LINE, Parts, ReadOptions, Source, read_pairs, read_table, stream_pairs};

use crate::{Folder, gzip};

fn skip() -> ReadOptions {
    ReadOptions { skip_bad_rows: true, ..ReadOptions::default() }
}

/// Checks that an error is the user's, on one line, and says all that it should.
fn says(error: Error, words: &[&str]) {
    let text = error.to_string();
    assert!(error.is_user_error() && !text.contains('\n'), "{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}

fn table_error(path: &Path, words: &[&str]) {
    let error = read_table(path, &ReadOptions::default()).map(|t| t.0.records.len()).expect_err("a broken table");
    says(error, &[&[path.to_str().unwrap()], words].concat());
}

/// Ids that are left and the errors counted where bad rows are skipped.
fn skipping(path: &Path) -> (Vec<String>, u64, String) {
    let (table, skipped) = read_table(path, &skip()).expect("what is left of a table");
    (table.records.into_iter().map(|r| r.id).collect(), skipped.skipped, skipped.examples.join("\n"))
}

fn pair_error(source: &Source, words: &[&str]) {
    says(read_pairs(source, &ReadOptions::default()).map(|s| s.0.pairs.len()).expect_err("a broken set"), words);
}

#[test]
fn files_that_are_not_there_or_not_files() {
    let folder = Folder::new();
    table_error(&folder.path("none.csv"), &["read", "No such file"]);
    table_error(folder.0.path(), &["folder"]);
}

#[test]
fn empty_files() {
    let folder = Folder::new();
    for (name, bytes) in [("a.csv", &b""[..]), ("b.csv", b"\xef\xbb\xbf"), ("c.jsonl", b""), ("d.csv", b"\xff\xfe")] {
        table_error(&folder.write(name, bytes), &["is empty"]);
    }
    table_error(&folder.write("e.csv.gz", gzip(b"")), &["is empty"]);
    table_error(&folder.write("f.csv", "\r\n\n"), &["no header"]);
    table_error(&folder.write("g.csv", "id,name\n"), &["no rows"]);
    table_error(&folder.write("h.jsonl", "\n"), &["no rows"]);
    table_error(&folder.write("i.jsonl", "{}\n"), &["no columns"]);
    let empty = folder.write("test.txt", "");
    pair_error(
        &Source::Ditto(Parts { train: None, valid: None, test: Some(empty), ..Default::default() }),
        &["test.txt", "is empty"],
    );
    pair_error(
        &Source::Wdc(Parts { train: None, valid: None, test: None, ..Default::default() }),
        &["train, valid or test"],
    );
}

#[test]
fn a_file_of_one_column() {
    let folder = Folder::new();
    table_error(&folder.write("a.csv", "id\n1\n2\n"), &["only one column, `id`", ", ; | or tab"]);
    table_error(&folder.write("b.jsonl", "{\"id\":1}\n{\"id\":2}\n"), &["only one column, `id`"]);
}

#[test]
fn files_of_another_kind() {
    let folder = Folder::new();
    table_error(&folder.write("book.csv", b"PK\x03\x04 and so on"), &["zip archive", "CSV"]);
    table_error(&folder.write("cut.parquet", b"PAR1 and no more"), &["not a readable Parquet file"]);
    table_error(&folder.write("array.json", "[1, 2]"), &["where an object should begin"]);
    let zeros: Vec<u8> = (0..400u32).map(|i| if i % 3 == 0 { 0 } else { 40 }).collect();
    table_error(&folder.write("zeros.csv", zeros), &["zero bytes"]);
    let mut packed = gzip("id,name\n1,x\n".repeat(1000).as_bytes());
    packed.truncate(packed.len() / 2);
    table_error(&folder.write("cut.csv.gz", packed), &["read"]);
}

#[test]
fn a_conversion_is_a_note() {
    let folder = Folder::new();
    let (bytes, _, _) = encoding_rs::WINDOWS_1251.encode("id,name\n1,Молоко коровье пастеризованное\n");
    let path = folder.write("said.csv", bytes);
    let notes = read_table(&path, &ReadOptions::default()).unwrap().1.notes.join("\n");
    assert!(notes.contains("said.csv") && notes.contains("windows-1251"), "{notes}");
}

#[test]
fn an_encoding_that_could_be_two() {
    let folder = Folder::new();
    table_error(&folder.write("a.csv", b"id,name\n1,caf\xe9\n2,\xb9 5\n"), &["not UTF-8", "not clear", "iconv"]);
    let (bytes, _, _) = encoding_rs::WINDOWS_1251.encode("id,name\n1,Клей 5 л\n2,Nails 3 мм\n");
    table_error(&folder.write("b.csv", bytes), &["windows-1255 or windows-1251"]);
}

#[test]
fn broken_bytes_in_a_utf_8_file_are_not_another_encoding() {
    let folder = Folder::new();
    let bytes = ["id,name\n1,Молоко\n2,".as_bytes(), b"\xd0\x3f\xff", "\n3,Кефир\n".as_bytes()].concat();
    let path = folder.write("a.csv", &bytes);
    table_error(&path, &[":3: column name", "not UTF-8"]);
    assert_eq!((skipping(&path).0, skipping(&path).1), (vec!["1".into(), "3".into()], 1));
}

#[test]
fn broken_quotes() {
    let folder = Folder::new();
    let path = folder.write("open.csv", "id,name\n1,a\n2,\"never closed\n3,c\n4,d\n");
    table_error(&path, &[":3: column name", "never closes", "twice"]);
    let (left, count, said) = skipping(&path);
    assert_eq!((left, count), (vec!["1".into(), "3".into(), "4".into()], 1));
    assert!(said.contains(":3:"), "{said}");

    let path = folder.write("after.csv", "id,name\n1,\"24\" monitor\"\n2,b\n3,24\" is fine\n");
    table_error(&path, &[":2: column name", "closing quote"]);
    assert_eq!(skipping(&path).0, ["2", "3"]);

    // An open quote that a later row's quote seems to close.
    let path = folder.write("later.csv", "id,name\n1,\"a\n2,\"b\"\n3,c\n");
    table_error(&path, &[":3: column name", "closing quote"]);
    assert_eq!(skipping(&path).0, ["2", "3"]);

    let path = folder.write("header.csv", "id,\"name\n1,a\n");
    table_error(&path, &[":1: column 2", "never closes"]);
}

#[test]
fn rows_of_another_length() {
    let folder = Folder::new();
    let path = folder.write("a.csv", "id;name;note\n1;a;b\n2;a\n3;a;b;c\n4;a;b\n");
    table_error(&path, &[":3:", "2 cells", "header of 3", "`;`"]);
    let (left, count, said) = skipping(&path);
    assert_eq!((left, count), (vec!["1".into(), "4".into()], 2));
    assert!(said.contains(":3:") && said.contains(":4:"), "{said}");
}

#[test]
fn ids_that_repeat_or_lack() {
    let folder = Folder::new();
    let path = folder.write("a.csv", "id,name\n1,a\n2,b\n3,\"two\nlines\"\n1,c\n 2 ,d\n4,e\n");
    table_error(&path, &[":6:", "id `1`", "line 2"]);
    let (left, count, said) = skipping(&path);
    assert_eq!((left, count), (vec!["1".into(), "2".into(), "3".into(), "4".into()], 2));
    assert!(said.contains(":7:") && said.contains("line 3"), "{said}");
    let path = folder.write("b.csv", "id,name\n1,a\n,b\n");
    table_error(&path, &[":3: column id", "without an id"]);
    assert_eq!(skipping(&path).0, ["1"]);
    let error = read_table(&path, &ReadOptions { id: Some("sku".into()), ..skip() }).map(|_| ()).unwrap_err();
    says(error, &["no column `sku`", "id, name"]);
}

#[test]
fn two_columns_of_one_name() {
    let folder = Folder::new();
    table_error(&folder.write("a.csv", "id,name,name\n1,a,b\n"), &[":1: column 3", "called `name`"]);
}

#[test]
fn a_cell_of_ten_megabytes() {
    let folder = Folder::new();
    let huge = "x".repeat(10 << 20);
    let line = format!(":3: column name: a cell of {} bytes; the most is {MAX_CELL}", huge.len());
    let path = folder.write("plain.csv", format!("id,name\n1,a\n2,{huge}\n3,c\n"));
    table_error(&path, &[&line]);
    assert_eq!(skipping(&path).0, ["1", "3"]);
    let path = folder.write("quoted.csv", format!("id,name\n1,a\n2,\"{huge}\"\n3,c\n"));
    table_error(&path, &[&line]);
    assert_eq!(skipping(&path).0, ["1", "3"]);
    let path = folder.write("lines.csv", format!("id,name\n1,a\n2,\"{}\"\n", "text, a line\n".repeat(1 << 17)));
    table_error(&path, &[":3: column name", "doesn't close within 1 MiB"]);
    let path = folder.write("t.jsonl", format!("{{\"id\":1,\"name\":\"a\"}}\n{{\"id\":2,\"name\":\"{huge}\"}}\n"));
    table_error(&path, &[":2: column name", "the most is"]);
    let path = folder.write("t.txt", format!("COL name VAL a\tCOL name VAL {huge}\t1\n"));
    pair_error(
        &Source::Ditto(Parts { train: Some(path), valid: None, test: None, ..Default::default() }),
        &["t.txt:1: column name", "the most is"],
    );
    let path = folder.write("endless.csv", format!("id,name\n1,a\n2,{}\n3,c\n", "x".repeat(2 * MAX_LINE + 5)));
    table_error(&path, &[":3: a line of more than 16 MiB"]);
    assert_eq!(skipping(&path).0, ["1", "3"]);
    let fits = "y".repeat(MAX_CELL);
    let (table, _) = read_table(&folder.write("fits.csv", format!("id,name\n1,{fits}\n")), &skip()).unwrap();
    assert_eq!(table.records[0].values, [fits]);
}

#[test]
fn json_that_is_none() {
    let folder = Folder::new();
    let path = folder.write("a.jsonl", "{\"id\":1,\"name\":\"a\"}\n{\"id\":2,\n[3]\n{\"id\":4,\"name\":\"d\"}\n");
    table_error(&path, &[":2:", "not a JSON object"]);
    assert_eq!((skipping(&path).0, skipping(&path).1), (vec!["1".into(), "4".into()], 2));
}

#[test]
fn labels_that_are_not_0_or_1() {
    let folder = Folder::new();
    folder.write("tableA.csv", "id,name\n1,a\n");
    folder.write("tableB.csv", "id,name\n7,b\n");
    for (label, word) in
        [("2", "`2` is not 0 or 1"), ("maybe", "`maybe`"), ("0.5", "`0.5`"), ("", "no label"), ("NaN", "no label")]
    {
        let path = folder.write("train.csv", format!("ltable_id,rtable_id,label\n1,7,1\n1,7,{label}\n"));
        let source = Source::Deepmatcher { dir: folder.0.path().into() };
        pair_error(&source, &["train.csv:3: column label", word]);
        let (set, skipped) = read_pairs(&source, &skip()).unwrap();
        assert_eq!((set.pairs.len(), skipped.skipped), (1, 1));
        std::fs::remove_file(path).unwrap();

        let path = folder.write("joined.csv", format!("left_name,right_name,label\nx,y,1\nx,y,{label}\n"));
        pair_error(
            &Source::Joined(Parts { train: Some(path.clone()), valid: None, test: None, ..Default::default() }),
            &[":3: column label", word],
        );
        let streamed: Result<Vec<_>, _> = stream_pairs(&path, &ReadOptions::default()).unwrap().collect();
        assert_eq!(streamed.is_ok(), word == "no label", "an absent label is one that nobody asked for");

        let path = folder.write("ditto.txt", format!("COL a VAL x\tCOL a VAL y\t{label}\n"));
        pair_error(
            &Source::Ditto(Parts { train: None, valid: Some(path), test: None, ..Default::default() }),
            &["ditto.txt:1: column label", word],
        );
        let path = folder.write("wdc.jsonl", format!("{{\"t_left\":\"x\",\"t_right\":\"y\",\"label\":\"{label}\"}}\n"));
        pair_error(
            &Source::Wdc(Parts { train: None, valid: None, test: Some(path), ..Default::default() }),
            &["wdc.jsonl:1: column label", word],
        );
    }
    let path = folder.write("none.csv", "left_name,right_name\nx,y\n");
    pair_error(
        &Source::Joined(Parts { train: Some(path), valid: None, test: None, ..Default::default() }),
        &["no column `label`", "left_name, right_name"],
    );
    folder.write("train.csv", "ltable_id,rtable_id,label\n");
    pair_error(&Source::Deepmatcher { dir: folder.0.path().into() }, &["no pairs"]);
}

#[test]
fn an_id_that_no_table_has() {
    let folder = Folder::new();
    folder.write("tableA.csv", "id,name\n1,a\n");
    folder.write("tableB.csv", "id,name\n7,b\n");
    folder.write("valid.csv", "ltable_id,rtable_id,label\n1,7,1\n1,8,0\n9,7,0\n");
    let source = Source::Deepmatcher { dir: folder.0.path().into() };
    pair_error(&source, &["valid.csv:3: column rtable_id", "tableB.csv", "`8`"]);
    let (set, skipped) = read_pairs(&source, &skip()).unwrap();
    assert_eq!((set.pairs.len(), skipped.skipped), (1, 2));
    assert!(
        skipped.examples[1].contains("valid.csv:4: column ltable_id") && skipped.examples[1].contains("tableA.csv")
    );
}

#[test]
fn a_part_that_is_none() {
    let folder = Folder::new();
    let table = folder.write("t.csv", "id,name\n1,a\n");
    let links = folder.write("links.csv", "left_id,right_id,split\n1,1,trian\n");
    let source = sverka::data::guess_links(&table, &table, &links, &ReadOptions::default()).unwrap().0;
    pair_error(&source, &["links.csv:2: column split", "`trian`", "train, valid or test"]);
}

#[test]
fn ditto_lines_that_are_none() {
    let folder = Folder::new();
    let good = "COL a VAL x\tCOL a VAL y\t1\n";
    for (line, word) in [
        ("COL a VAL x\tCOL a VAL y\n", "2 cells"),
        ("x\tCOL a VAL y\t1\n", "left side"),
        ("COL a VAL x\ty\t1\n", "right side"),
    ] {
        let path = folder.write("train.txt", format!("{good}{line}{good}"));
        let source = Source::Ditto(Parts { train: Some(path), valid: None, test: None, ..Default::default() });
        pair_error(&source, &["train.txt:2", word]);
        let (set, skipped) = read_pairs(&source, &skip()).unwrap();
        assert_eq!((set.pairs.len(), skipped.skipped), (2, 1));
    }
}

#[test]
fn pairs_without_sides() {
    let folder = Folder::new();
    let stream = |name: &str, text: &str| -> Error {
        let path = folder.write(name, text);
        stream_pairs(&path, &ReadOptions::default()).unwrap().find_map(Result::err).expect("an error")
    };
    says(stream("a.csv", "name,other\nx,y\n"), &["no column of the left record", "left_*"]);
    says(stream("b.csv", "left_name,other\nx,y\n"), &["no column of the right record"]);
    says(
        stream("c.jsonl", "{\"left\":{\"a\":1},\"right\":{\"a\":2}}\n{\"left\":{\"a\":1}}\n"),
        &[":2: column right", "no record"],
    );
    let path =
        folder.write("d.jsonl", "{\"left\":\"x\",\"right\":\"y\"}\n{\"left\":1\n{\"left\":\"z\",\"right\":\"w\"}\n");
    let mut pairs = stream_pairs(&path, &skip()).unwrap();
    let texts: Vec<String> = pairs.by_ref().map(|p| p.unwrap().0.values[0].clone()).collect();
    assert_eq!((texts, pairs.report().skipped), (vec!["x".into(), "z".into()], 1));
}
