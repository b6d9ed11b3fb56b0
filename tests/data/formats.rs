//! What each format means.

use std::path::Path;

use sverka::data::{Parts, ReadOptions, Source, detect, guess_links, read_pairs, read_table, stream_pairs};
use sverka::{PairSet, Record, Split, Table};

use crate::{Folder, gzip};

fn table(path: &Path) -> Table {
    read_table(path, &ReadOptions::default()).expect("a good table").0
}

fn pairs(source: &Source) -> PairSet {
    read_pairs(source, &ReadOptions::default()).expect("a good set").0
}

fn fields(record: &Record) -> Vec<(&str, &str)> {
    record.fields().collect()
}

fn streamed(path: &Path) -> Vec<(Record, Record, Option<bool>)> {
    stream_pairs(path, &ReadOptions::default()).expect("a good file").collect::<Result<_, _>>().expect("good pairs")
}

#[test]
fn every_delimiter_line_end_and_quote() {
    let folder = Folder::new();
    let wanted = [("1", "Клей, 5 л", "a \"b\""), ("2", "two\nlines", "")];
    for (d, end) in [(",", "\n"), (";", "\r\n"), ("\t", "\n"), ("|", "\r\n")] {
        let text = ["\u{feff}id;name;note", "1;\"Клей, 5 л\";\"a \"\"b\"\"\"", "", "2;\"two\nlines\";", ""];
        let text = text.join(end).replace(';', d);
        for (name, bytes) in [("t.csv", text.as_bytes().to_vec()), ("t.csv.gz", gzip(text.as_bytes()))] {
            let table = table(&folder.write(name, bytes));
            assert_eq!(&table.columns[..], ["name", "note"]);
            let rows: Vec<_> = table.records.iter().map(|r| (r.id.as_str(), &*r.values[0], &*r.values[1])).collect();
            assert_eq!(rows, wanted, "{d:?} {end:?}");
        }
    }
}

#[test]
fn the_id_is_the_named_column_else_id_else_the_first() {
    let folder = Folder::new();
    let path = folder.write("t.csv", ",sku,id,name\n0,a,7,x\n1,b,8,y\n");
    assert_eq!(table(&path).records[1].id, "8");
    assert_eq!(&table(&path).columns[..], ["sku", "name"], "the row number of pandas is left out");
    let by_sku = read_table(&path, &ReadOptions { id: Some("sku".into()), ..Default::default() }).unwrap().0;
    assert_eq!((by_sku.records[1].id.as_str(), &by_sku.columns[..]), ("b", &["id".to_string(), "name".into()][..]));
    assert_eq!(by_sku.records[1].values, ["8", "y"]);
    let first = table(&folder.write("u.csv", "code,name\nk1,x\n"));
    assert_eq!((first.records[0].id.as_str(), fields(&first.records[0])), ("k1", vec![("name", "x")]));
}

#[test]
fn json_lines_may_bring_new_keys_and_lack_old_ones() {
    let folder = Folder::new();
    let text = "{\"name\":\"x\",\"id\":1}\n\n{\"id\":2,\"price\":3.50,\"tags\":[\"a\",1],\"name\":null}\n";
    let table = table(&folder.write("t.jsonl", text));
    assert_eq!(&table.columns[..], ["name", "price", "tags"]);
    assert_eq!(table.records[0].values, ["x", "", ""]);
    assert_eq!(
        (table.records[1].id.as_str(), &table.records[1].values[..]),
        ("2", &["".into(), "3.50".into(), "[\"a\",1]".to_string()][..])
    );
}

#[test]
fn parquet_as_pandas_writes_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/products.parquet");
    let table = table(&path);
    assert_eq!(&table.columns[..], ["name", "price", "stock", "sold", "seen"]);
    let rows: Vec<_> = table.records.iter().map(|r| (r.id.as_str(), r.values.clone())).collect();
    assert_eq!(
        rows[0],
        ("11", ["Клей «Момент», 5 л", "12.5", "3", "true", "2024-03-01 10:20:30.000 +00:00"].map(String::from).into())
    );
    assert_eq!(rows[1].1, ["", "", "0", "false", ""]);
    assert_eq!(rows[2].1[..2], ["a\nb".to_string(), "100".into()]);
}

#[test]
fn lists_of_parquet_are_the_cells_that_json_gives() {
    let folder = Folder::new();
    // the lists of make_parquet.py
    let lists = ["[0.5, -1.25, 2]", "[3, 0.0000001, 123456]", "[]", "null"];
    let line = |(i, list): (usize, &&str)| {
        format!(
            "{{\"id\": {}, \"picture\": {list}, \"sound\": {list}, \"name\": \"{}\"}}\n",
            i + 1,
            ["a", "b", "c", "d"][i]
        )
    };
    let of_json = table(&folder.write("t.jsonl", lists.iter().enumerate().map(line).collect::<String>()));
    let of_parquet = table(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/vectors.parquet"));
    assert_eq!(&of_parquet.columns[..], ["picture", "sound", "name"]);
    assert_eq!(of_parquet.records[0].values, ["[0.5,-1.25,2]", "[0.5,-1.25,2]", "a"]);
    assert_eq!(of_parquet.records[3].get("picture"), Some(""), "no list is no value");
    assert_eq!(of_parquet.records, of_json.records);
    assert_eq!(of_json.records.len(), lists.len());
}

#[test]
fn windows_1251_and_utf_16_are_converted() {
    let folder = Folder::new();
    let text = "id,name\n1,Антисептик невымываемый 5 литров\n2,Клей обойный\n";
    let (cyrillic, _, _) = encoding_rs::WINDOWS_1251.encode(text);
    let (short, _, _) = encoding_rs::WINDOWS_1251.encode("id,name\n1,Молоко\n");
    assert_eq!(table(&folder.write("short.csv", short)).records[0].values, ["Молоко"]);
    let mut files = vec![("1251.csv", cyrillic.into_owned())];
    let le: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let be: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    files.push(("le-bom.csv", [&[0xff, 0xfe], &le[..]].concat()));
    files.push(("be-bom.csv", [&[0xfe, 0xff], &be[..]].concat()));
    files.push(("le.csv", le));
    files.push(("be.csv", be));
    for (name, bytes) in files {
        let table = table(&folder.write(name, bytes));
        assert_eq!(table.records[0].values, ["Антисептик невымываемый 5 литров"], "{name}");
        assert_eq!(table.records[1].values, ["Клей обойный"], "{name}");
    }
}

#[test]
fn a_deepmatcher_folder() {
    let folder = Folder::new();
    folder.write("tableA.csv", "id,name\n0,a\n5,b\n");
    folder.write("tableB.csv", "id,title\n1,c\n");
    folder.write("train.csv", "ltable_id,rtable_id,label\n5,1,1\n");
    folder.write("test.csv", "ltable_id,rtable_id,label\n0,1,0\n");
    let source = detect(folder.0.path(), &ReadOptions::default()).unwrap();
    assert_eq!(source, Source::Deepmatcher { dir: folder.0.path().into() });
    let set = pairs(&source);
    let train: Vec<_> = set.split(Split::Train).collect();
    assert_eq!((train.len(), set.split(Split::Valid).count(), set.split(Split::Test).count()), (1, 0, 1));
    assert_eq!(
        (&*train[0].0.id, fields(train[0].0), fields(train[0].1), train[0].2),
        ("5", vec![("name", "b")], vec![("title", "c")], Some(true))
    );
}

#[test]
fn joined_rows_under_both_prefixes() {
    let folder = Folder::new();
    for (l, r) in [("left", "right"), ("ltable", "rtable")] {
        let text = format!("_id,{l}_id,{r}_id,{l}_name,{l}_price,{r}_name,label\n0,a1,b1,x,3,y,1\n1,a1,b2,x,3,z,0\n");
        let path = folder.write("train.csv", text);
        let source = detect(&path, &ReadOptions::default()).unwrap();
        assert_eq!(source, Source::Joined(Parts { train: Some(path), valid: None, test: None, ..Default::default() }));
        let set = pairs(&source);
        let rows: Vec<_> = set.split(Split::Train).collect();
        assert_eq!((&*rows[1].0.id, &*rows[1].1.id, rows[1].2), ("a1", "b2", Some(false)));
        assert_eq!((fields(rows[0].0), fields(rows[0].1)), (vec![("name", "x"), ("price", "3")], vec![("name", "y")]));
    }
}

#[test]
fn wdc_lines_plain_and_packed_without_the_cluster() {
    let folder = Folder::new();
    let line = |label: &str, title: &str| {
        format!(
            "{{\"id_left\":12,\"title_left\":\"{title}\",\"cluster_id_left\":9,\"keyValuePairs_left\":{{\"Brand\":\"K\"}},\
             \"id_right\":13,\"title_right\":\"r\",\"description_right\":null,\"cluster_id_right\":9,\
             \"label\":{label},\"pair_id\":\"12#13\"}}\n"
        )
    };
    let text = line("\"1\"", "l \\\"24\\\"") + &line("0", "m");
    let plain = folder.write("computers_train_small.json", &text);
    let packed = folder.write("computers_gs.json.gz", gzip(text.as_bytes()));
    let source = detect(folder.0.path(), &ReadOptions::default()).unwrap();
    assert_eq!(
        source,
        Source::Wdc(Parts { train: Some(plain), valid: None, test: Some(packed), ..Default::default() })
    );
    let set = pairs(&source);
    for part in [Split::Train, Split::Test] {
        let rows: Vec<_> = set.split(part).collect();
        assert_eq!((rows.len(), &*rows[0].0.id, &*rows[0].1.id), (2, "12", "13"));
        assert_eq!((rows[0].2, rows[1].2), (Some(true), Some(false)));
        assert_eq!(fields(rows[0].0), [("title", "l \"24\""), ("keyValuePairs", "{\"Brand\":\"K\"}")]);
        assert_eq!(fields(rows[0].1), [("title", "r"), ("description", "")]);
    }
}

#[test]
fn ditto_lines_may_repeat() {
    let folder = Folder::new();
    let line = "COL title VAL  \"Fire, 7\" Display\"@en COL price VAL COL x VAL 2\tCOL title VAL a COL price VAL \t1\n";
    let path = folder.write("valid.txt", format!("{line}{line}COL title VAL b\tCOL title VAL c\t0\n"));
    let source = detect(&path, &ReadOptions::default()).unwrap();
    assert_eq!(source, Source::Ditto(Parts { train: None, valid: Some(path), test: None, ..Default::default() }));
    let set = pairs(&source);
    let rows: Vec<_> = set.split(Split::Valid).collect();
    assert_eq!(rows.iter().map(|r| r.2).collect::<Vec<_>>(), [Some(true), Some(true), Some(false)]);
    assert_eq!(fields(rows[1].0), [("title", "\"Fire, 7\" Display\"@en"), ("price", ""), ("x", "2")]);
    assert_eq!((fields(rows[2].0), &*rows[2].0.id), (vec![("title", "b")], "3"));
}

#[test]
fn links_with_labels_parts_and_other_ids() {
    let folder = Folder::new();
    let left = folder.write("left.csv", "sku;name\nA;x\nB;y\n");
    let right = folder.write("right.tsv", "id\tcode\tname\n1\tq\tz\n2\tw\tv\n");
    let links = folder.write("links.csv", "code,sku,split,label\nq,A,train,1\nw,B,valid,0\nw,A,test,\nq,B,,NaN\n");
    let source = Source::Links {
        left: left.clone(),
        right: right.clone(),
        links,
        left_column: "sku".into(),
        right_column: "code".into(),
        label_column: Some("label".into()),
        part_column: Some("split".into()),
        left_id: None,
        right_id: Some("code".into()),
    };
    let set = pairs(&source);
    let seen: Vec<_> = set.pairs.iter().map(|p| (p.left, p.right, p.label(), p.split)).collect();
    let wanted = [
        (0, 0, Some(true), Some(Split::Train)),
        (1, 1, Some(false), Some(Split::Valid)),
        (0, 1, None, Some(Split::Test)),
        (1, 0, None, None),
    ];
    assert_eq!(seen, wanted);

    let bare = folder.write("bare.csv", "a,b\nB,2\n");
    let set = pairs(&guess_links(&left, &right, &bare, &ReadOptions::default()).unwrap().0);
    assert_eq!(
        (set.pairs[0].left, set.pairs[0].right, set.pairs[0].label(), set.pairs[0].split),
        (1, 1, Some(true), None)
    );
}

#[test]
fn pairs_stream_from_every_shape() {
    let folder = Folder::new();
    let json = "{\"left\":{\"id\":\"a\",\"name\":\"x\",\"n\":5},\"right\":{\"name\":\"y\"},\"label\":1}\n\
                {\"right\":\"plain text\",\"left\":{\"name\":\"z\"}}\n";
    let rows = streamed(&folder.write("pairs.jsonl", json));
    assert_eq!((fields(&rows[0].0), fields(&rows[0].1)), (vec![("name", "x"), ("n", "5")], vec![("name", "y")]));
    assert_eq!((&*rows[0].0.id, &*rows[0].1.id, rows[0].2), ("a", "1", Some(true)));
    assert_eq!((fields(&rows[1].1), &*rows[1].1.id, rows[1].2), (vec![("text", "plain text")], "2", None));

    let rows = streamed(&folder.write("pairs.csv", "left_name,right_name,label\nx,y,0\nz,w,\n"));
    assert_eq!((fields(&rows[1].0), fields(&rows[1].1)), (vec![("name", "z")], vec![("name", "w")]));
    assert_eq!((rows[0].2, rows[1].2), (Some(false), None));
}

#[test]
fn a_recipe_names_a_source() {
    let text = "format = \"links\"\nleft = \"l.csv\"\nright = \"r.csv\"\nlinks = \"k.csv\"\nleft_column = \"a\"\n\
                right_column = \"b\"\npart_column = \"split\"\n";
    let mut source: Source = toml::from_str(text).unwrap();
    assert_eq!(toml::from_str::<Source>(&toml::to_string(&source).unwrap()).unwrap(), source);
    source.rebase(Path::new("/recipes"));
    let Source::Links { left, part_column, label_column, .. } = source else { panic!("another format") };
    assert_eq!(
        (left.as_path(), part_column.as_deref(), label_column),
        (Path::new("/recipes/l.csv"), Some("split"), None)
    );
    assert!(toml::from_str::<Source>("format = \"ditto\"\ntest = \"t.txt\"\n").is_ok());
    let error = toml::from_str::<Source>("format = \"ditto\"\ntset = \"t.txt\"\n").unwrap_err().to_string();
    assert!(error.contains("tset"), "{error}");
}

#[test]
fn a_folder_is_recognised_or_says_what_it_lacks() {
    let folder = Folder::new();
    let error = detect(folder.0.path(), &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("tableA.csv") && error.contains("train"), "{error}");
    folder.write("train.txt.small", "COL a VAL b\tCOL a VAL c\t1\n");
    folder.write("train.py", "print()");
    assert!(matches!(
        detect(folder.0.path(), &ReadOptions::default()).unwrap(),
        Source::Ditto(Parts { train: Some(_), valid: None, test: None, .. })
    ));
    folder.write("train.txt.medium", "COL a VAL b\tCOL a VAL c\t1\n");
    let error = detect(folder.0.path(), &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("train.txt.small") && error.contains("train.txt.medium"), "{error}");
}
