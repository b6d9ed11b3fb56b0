//! Files that people reported to tools of this kind, as they were: what is read of each.

use std::path::{Path, PathBuf};

use sverka::data::{MatchWriter, ReadOptions, ReadReport, detect, guess_links, read_pairs, read_table, stream_pairs};
use sverka::{Match, Table};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }
    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn read(path: &Path, options: &ReadOptions) -> (Table, ReadReport) {
    read_table(path, options).unwrap_or_else(|e| panic!("{e}"))
}

/// What a file of this text is read as: `id: value | value`, and the notes in one text.
fn rows(name: &str, bytes: impl AsRef<[u8]>) -> (Vec<String>, String) {
    rows_with(name, bytes, &ReadOptions::default())
}

fn rows_with(name: &str, bytes: impl AsRef<[u8]>, options: &ReadOptions) -> (Vec<String>, String) {
    let folder = Folder::new();
    let (table, report) = read(&folder.write(name, bytes), options);
    (table.records.iter().map(|r| format!("{}: {}", r.id, r.values.join(" | "))).collect(), report.notes.join("\n"))
}

fn error(name: &str, bytes: impl AsRef<[u8]>) -> String {
    let folder = Folder::new();
    let path = folder.write(name, bytes);
    read_table(&path, &ReadOptions::default()).map(|t| t.0.records.len()).expect_err("an error").to_string()
}

#[test]
fn a_semicolon_wins_over_commas_in_names_and_numbers() {
    let text = "Код;Название, цвет;Цена, руб\n7;Чайник Vega, белый;1990,00\n8;Утюг Nord, серый;2550,50\n";
    assert_eq!(rows("a.csv", text).0, ["7: Чайник Vega, белый | 1990,00", "8: Утюг Nord, серый | 2550,50"]);
}

#[test]
fn an_id_column_in_capitals_is_found_and_said() {
    let (rows, notes) = rows("a.csv", "Name,Price,ID\nKettle Vega white,19,501\nIron Nord,25.5,502\n");
    assert_eq!(rows, ["501: Kettle Vega white | 19", "502: Iron Nord | 25.5"]);
    assert!(notes.contains("`ID`") && notes.contains("--id"), "{notes}");
}

#[test]
fn row_numbers_of_other_programs_are_left_out() {
    for column in ["Unnamed: 0", "", "__index_level_0__", "level_0"] {
        let (rows, notes) = rows("a.csv", format!("{column},id,name\n407,1,Kettle\n11,2,Iron\n"));
        assert_eq!(rows, ["1: Kettle", "2: Iron"], "{column}");
        assert!(notes.contains("row numbers"), "{notes}");
    }
    let json = "{\"index\":0,\"id\":5,\"name\":\"a\"}\n{\"index\":1,\"id\":6,\"name\":\"b\"}\n";
    assert_eq!(rows("a.jsonl", json).0, ["5: a", "6: b"]);
    assert_eq!(rows("b.csv", "id,index\n1,55\n2,90\n").0, ["1: 55", "2: 90"], "a column of values stays");
}

#[test]
fn a_title_above_the_header_is_left_out_and_said() {
    let (rows, notes) = rows("a.csv", "Prices of May;;\nid;name;price\n1;Kettle Vega;19,00\n2;Iron Nord;25,50\n");
    assert_eq!(rows, ["1: Kettle Vega | 19,00", "2: Iron Nord | 25,50"]);
    assert!(notes.contains("above the header"), "{notes}");
}

#[test]
fn codes_are_ids_where_the_first_column_holds_texts_and_the_flag_names_each_sides() {
    let folder = Folder::new();
    let left = folder.write("l.csv", "sku,name\n1,Kettle Vega white\n");
    let right = folder.write("r.csv", "name,code\nKettle Vega white,a\nIron Nord grey,b\n");
    let (table, report) = read(&right, &ReadOptions::default());
    assert_eq!((&*table.records[0].id, &*table.records[0].values[0]), ("a", "Kettle Vega white"));
    assert!(report.notes[0].contains("`code`"), "{:?}", report.notes);
    let links = folder.write("k.csv", "sku,code\n1,a\n");
    let of_right = ReadOptions { id: Some("code".into()), ..ReadOptions::default() };
    let options = ReadOptions { id: Some("sku".into()), right: Some(Box::new(of_right)), ..ReadOptions::default() };
    let (source, _) = guess_links(&left, &right, &links, &options).unwrap();
    let (set, _) = read_pairs(&source, &options).unwrap();
    assert_eq!((&*set.left[0].id, &*set.right[set.pairs[0].right as usize].id), ("1", "a"));
    let (rows, notes) = rows("n.csv", "name,price\nKettle Vega white,19\nIron Nord grey,25\n");
    assert_eq!(rows[0], "2: Kettle Vega white | 19");
    assert!(notes.contains("line number"), "{notes}");
}

#[test]
fn lines_may_end_in_a_bare_carriage_return() {
    let (rows, notes) = rows("a.csv", "id,name\r1,Kettle\r2,\"Iron, grey\"\r");
    assert_eq!(rows, ["1: Kettle", "2: Iron, grey"]);
    assert!(notes.contains("carriage return"), "{notes}");
}

#[test]
fn delimiters_at_the_ends_of_rows_and_rows_of_nothing_else() {
    assert_eq!(
        rows("a.csv", "id;name;price\n1;Kettle;19,00;\n2;Iron;25,50;\n").0,
        ["1: Kettle | 19,00", "2: Iron | 25,50"]
    );
    assert_eq!(rows("a.csv", "id;name;price;\n1;Kettle;19,00;\n2;Iron;;\n").0, ["1: Kettle | 19,00", "2: Iron | "]);
    let (rows, notes) = rows("b.csv", "id;name;price\n1;Kettle;19,00\n;;\n2;Iron;25,50\n;;\n;;\n");
    assert_eq!(rows, ["1: Kettle | 19,00", "2: Iron | 25,50"]);
    assert!(notes.contains("3 rows without any text left out"), "{notes}");
}

#[test]
fn html_is_read_as_text() {
    let (rows, notes) = rows("a.csv", "id,name\n1,Утюг&nbsp;Nord&nbsp;S5\n2,<b>Чайник</b> Vega<br/>1.7 л\n3,5 < 7\n");
    assert_eq!(rows, ["1: Утюг Nord S5", "2: Чайник Vega 1.7 л", "3: 5 < 7"]);
    assert!(notes.contains("2 cells with HTML"), "{notes}");
}

#[test]
fn nan_of_python_is_a_missing_value() {
    let text = "{\"id\":1,\"name\":\"NaN cable\",\"price\":NaN}\n{\"id\":2,\"name\":\"Iron\",\"price\":-Infinity}\n";
    let (rows, notes) = rows("a.jsonl", text);
    assert_eq!(rows, ["1: NaN cable | ", "2: Iron | "]);
    assert!(notes.contains("2 lines with NaN"), "{notes}");
}

#[test]
fn words_for_missing_are_empty_cells_and_ids_keep_theirs() {
    let (rows, notes) = rows("a.csv", "id,name,price\nNA,Kettle,NaN\nnull,None,#N/A\n-,Iron,-\n");
    assert_eq!(rows, ["NA: Kettle | ", "null:  | ", "-: Iron | "]);
    assert!(notes.contains("4 cells with a word for a missing value"), "{notes}");
}

#[test]
fn ids_of_json_stay_as_they_are_written() {
    let text = "{\"id\":1,\"n\":\"a\"}\n{\"id\":1.0,\"n\":\"b\"}\n{\"id\":\"01\",\"n\":\"c\"}\n\
                {\"id\":123456789012345678901234567890,\"n\":\"d\"}\n{\"id\":true,\"n\":\"e\"}\n";
    assert_eq!(rows("a.jsonl", text).0, ["1: a", "1.0: b", "01: c", "123456789012345678901234567890: d", "true: e"]);
    assert!(error("b.jsonl", "{\"id\":1,\"n\":\"a\"}\n{\"id\":\"1\",\"n\":\"b\"}\n").contains("the id `1`"));
}

#[test]
fn arrays_of_objects_and_objects_over_lines_are_read() {
    let wanted = ["1: Kettle", "2: Iron"];
    for text in [
        "[{\"id\":1,\"name\":\"Kettle\"},{\"id\":2,\"name\":\"Iron\"}]",
        "\u{feff}[\n  {\n    \"id\": 1,\n    \"name\": \"Kettle\"\n  },\n  {\"id\": 2, \"name\": \"Iron\"}\n]\n",
        "{\n\"id\": 1,\n\"name\": \"Kettle\"\n}\n{\n\"id\": 2, \"name\": \"Iron\"}\n",
        "\u{feff}{\"id\":1,\"name\":\"Kettle\"}\r\n\r\n{\"id\":2,\"name\":\"Iron\"}",
    ] {
        assert_eq!(rows("a.json", text).0, wanted, "{text}");
    }
    assert!(error("b.json", "[[1,\"a\"]]").contains("array of objects"));
    assert!(error("c.json", "{\"id\":{\"0\":1},\"name\":{\"0\":\"a\"}}").contains("orient"));
    assert!(error("d.json", "[{\"id\":1,\"name\":\"a\"},{\"id\":2").contains("never ends"));
}

#[test]
fn parquet_of_every_codec_is_read() {
    use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
    use parquet::data_type::ByteArrayType;
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::ZSTD(ZstdLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
    ];
    for codec in codecs {
        let schema = "message m { required binary id (UTF8); required binary name (UTF8); }";
        let schema = parquet::schema::parser::parse_message_type(schema).unwrap();
        let properties = parquet::file::properties::WriterProperties::builder().set_compression(codec).build();
        let mut bytes = Vec::new();
        let mut writer =
            parquet::file::writer::SerializedFileWriter::new(&mut bytes, schema.into(), properties.into()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        for values in [["1", "2"], ["Kettle", "Iron"]] {
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&values.map(Into::into), None, None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
        writer.close().unwrap();
        assert_eq!(rows("a.parquet", &bytes).0, ["1: Kettle", "2: Iron"], "{codec:?}");
    }
}

const LEFT: &str = "id,name\nl0,Kettle A\nl1,Kettle B\nl2,Kettle C\n";
const RIGHT: &str = "id,name\nr0,A kettle\nr1,B kettle\nr2,C kettle\n";

/// Labels of the pairs that a file links, and the notes.
fn linked(pairs: &str) -> Result<(Vec<Option<bool>>, String), String> {
    linked_with(pairs, &ReadOptions::default())
}

fn linked_with(pairs: &str, options: &ReadOptions) -> Result<(Vec<Option<bool>>, String), String> {
    let folder = Folder::new();
    let (left, right, pairs) =
        (folder.write("l.csv", LEFT), folder.write("r.csv", RIGHT), folder.write("p.csv", pairs));
    let (source, mut report) = guess_links(&left, &right, &pairs, options).map_err(|e| e.to_string())?;
    let (set, more) = read_pairs(&source, options).map_err(|e| e.to_string())?;
    report.add(more);
    Ok((set.pairs.iter().map(|p| p.label()).collect(), report.notes.join("\n")))
}

#[test]
fn a_label_column_by_another_name_is_taken_or_asked_for() {
    let wanted = vec![Some(true), Some(false), Some(true)];
    for (name, [yes, no]) in
        [("is_duplicate", ["1", "0"]), ("same", ["yes", "no"]), ("ok", ["True", "False"]), ("verdict", ["да", "нет"])]
    {
        let (labels, notes) =
            linked(&format!("left_id,right_id,{name}\nl0,r0,{yes}\nl0,r1,{no}\nl1,r1,{yes}\n")).unwrap();
        assert_eq!(labels, wanted, "{name}");
        assert!(notes.contains(name) && notes.contains("--label-column"), "{notes}");
    }
    let asked = "left_id,right_id,source\nl0,r0,shop\nl0,r1,web\n";
    let error = linked(asked).unwrap_err();
    assert!(error.contains("`source`") && error.contains("--label-column"), "{error}");
    let none = ReadOptions { label_column: Some("none".into()), ..ReadOptions::default() };
    assert_eq!(linked_with(asked, &none).unwrap().0, [Some(true), Some(true)]);
    let two = linked("left_id,right_id,a,b\nl0,r0,1,0\nl0,r1,0,1\n").unwrap_err();
    assert!(two.contains("`a` or `b`"), "{two}");
    let absent = ReadOptions { label_column: Some("verdict".into()), ..ReadOptions::default() };
    assert!(linked_with(asked, &absent).unwrap_err().contains("no column `verdict`"));
    assert_eq!(linked("left_id,right_id,note\nl0,r0,x\nl0,r1,y\nl1,r1,z\n").unwrap().0.len(), 3);
}

#[test]
fn links_without_a_header_lose_no_pair() {
    let (labels, notes) = linked("l0,r0\nl1,r1\nl2,r2\n").unwrap();
    assert_eq!(labels, [Some(true); 3]);
    assert!(notes.contains("no header"), "{notes}");
    assert_eq!(linked("l0,r0,1\nl1,r1,0\nl2,r2,1\n").unwrap().0, [Some(true), Some(false), Some(true)]);
}

#[test]
fn ids_that_became_decimal_numbers_still_link() {
    let folder = Folder::new();
    let left = folder.write("l.csv", "id,name\n1,a\n2,b\n");
    let pairs = folder.write("p.csv", "left_id,right_id\n1.0,2.0\n");
    let (source, _) = guess_links(&left, &left, &pairs, &ReadOptions::default()).unwrap();
    let (set, report) = read_pairs(&source, &ReadOptions::default()).unwrap();
    assert_eq!((set.pairs[0].left, set.pairs[0].right), (0, 1));
    assert!(report.notes[0].contains("2 ids written as a decimal number"), "{:?}", report.notes);
}

#[test]
fn labels_in_rows_of_both_texts_have_other_names_too() {
    let folder = Folder::new();
    for name in ["gold_label", "is_match", "Match", "target", "is_duplicate"] {
        let path = folder.write("pairs.csv", format!("left_name,right_name,{name}\nOrbit,Orbit,1\nOrbit,Lenta,0\n"));
        let source = detect(&path, &ReadOptions::default()).unwrap();
        let (set, _) = read_pairs(&source, &ReadOptions::default()).unwrap();
        let labels: Vec<_> = set.pairs.iter().map(|p| (p.label(), p.split)).collect();
        assert_eq!(labels, [(Some(true), None), (Some(false), None)], "{name}");
    }
}

#[test]
fn rows_that_are_left_out_of_a_stream_are_counted_where_they_were() {
    let folder = Folder::new();
    let path =
        folder.write("p.jsonl", "{\"left\":\"a\",\"right\":\"b\"}\n{\"left\":\n{\"left\":\"c\",\"right\":\"d\"}\n");
    let mut pairs = stream_pairs(&path, &ReadOptions { skip_bad_rows: true, ..ReadOptions::default() }).unwrap();
    let mut seen = Vec::new();
    while let Some(pair) = pairs.next() {
        seen.push((pair.unwrap().0.values[0].clone(), pairs.skipped()));
    }
    assert_eq!(seen, [("a".to_string(), 0), ("c".to_string(), 1)]);
}

#[test]
fn an_encoding_that_is_not_clear_names_those_that_are_possible() {
    let polish = b"id;name\n1;Bateria \xbf\xf3\xb3ta 12V \x9cwie\xbfa\n";
    let message = error("pl.csv", polish);
    assert!(message.contains("windows-1250") && message.contains("--encoding"), "{message}");
    assert!(!message.contains("iconv -f WINDOWS-1251"), "{message}");
    let options = ReadOptions { encoding: Some("windows-1250".into()), ..ReadOptions::default() };
    assert_eq!(rows_with("pl.csv", polish, &options).0, ["1: Bateria żółta 12V świeża"]);
    let folder = Folder::new();
    let options = ReadOptions { encoding: Some("latin-99".into()), ..ReadOptions::default() };
    let message = read_table(&folder.write("a.csv", polish), &options).map(|_| ()).unwrap_err().to_string();
    assert!(message.contains("latin-99") && message.contains("windows-1252"), "{message}");
}

#[test]
fn a_missing_file_says_which_names_are_near() {
    let folder = Folder::new();
    folder.write("left_list.csv", LEFT);
    folder.write("other.txt", "x");
    let missing = |name: &str| {
        let path = folder.0.path().join(name);
        read_table(&path, &ReadOptions::default()).map(|_| ()).unwrap_err().to_string()
    };
    for name in ["left-list.csv", "left_list.parquet", "LEFT_LIST.CSV"] {
        assert!(missing(name).contains("`left_list.csv`") && !missing(name).contains("other"), "{}", missing(name));
    }
    assert!(missing("nothing/a.csv").contains("no folder"), "{}", missing("nothing/a.csv"));
}

#[test]
fn dumps_of_databases_and_spreadsheets() {
    let options = ReadOptions::default();
    for (name, text, wanted) in [
        ("mysql.csv", "\"id\",\"name\"\n\"1\",\"TV 24\\\" black\"\n\"2\",\"Iron\"\n", ["1: TV 24\" black", "2: Iron"]),
        ("copy.tsv", "id\tname\tnote\n1\tTV\\tset\t\\N\n2\tIron\t\\N\n\\.\n", ["1: TV\tset | ", "2: Iron | "]),
        ("psql.csv", "id|name\n--|----\n1|TV\n2|Iron\n(2 rows)\n", ["1: TV", "2: Iron"]),
        ("excel.csv", "sep=;\r\nid;name\r\n=\"001\";TV, black\r\n=\"002\";Iron\r\n", ["001: TV, black", "002: Iron"]),
        ("total.csv", "id;name;sum\n1;TV;5\n2;Iron;7\nИтого;;12\n", ["1: TV | 5", "2: Iron | 7"]),
        ("twice.csv", "id,name\n1,TV\nid,name\n2,Iron\n", ["1: TV", "2: Iron"]),
        ("marks.csv", "\u{feff}\u{feff}id,name\n1,T\u{ad}V\u{200b}\n2,Iron\u{0}\n", ["1: TV", "2: Iron"]),
    ] {
        assert_eq!(rows_with(name, text, &options).0, wanted, "{name}");
    }
}

#[test]
fn more_columns_than_a_list_has_are_refused() {
    let wide: Vec<String> = (0..100_000).map(|i| format!("c{i}")).collect();
    let message = error("wide.csv", format!("id,{}\n", wide.join(",")));
    assert!(message.contains("4096 columns"), "{message}");
    let keys: String = (0..20_000).map(|i| format!("{{\"id\":{i},\"key{i}\":\"x\"}}\n")).collect();
    let message = error("keys.jsonl", keys);
    assert!(message.contains("4096 columns"), "{message}");
}

#[cfg(unix)]
#[test]
fn a_device_is_no_file() {
    let message = read_table(Path::new("/dev/zero"), &ReadOptions::default()).map(|_| ()).unwrap_err().to_string();
    assert!(message.contains("device"), "{message}");
}

#[test]
fn texts_that_a_spreadsheet_takes_for_formulas_are_made_inert() {
    let folder = Folder::new();
    for (raw, wanted) in [(false, "'=1+1,-5,'@x"), (true, "=1+1,-5,@x")] {
        let path = folder.0.path().join(format!("{raw}.csv"));
        let mut writer = MatchWriter::create(&path, true, true).unwrap().raw_texts(raw);
        let found = Match { left_id: "=l".into(), right_id: "r".into(), probability: 0.5, decision: true, rank: 1 };
        writer.write(&found, Some(("=1+1", "-5")), Some("@x")).unwrap();
        writer.finish().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().nth(1), Some(&*format!("=l,r,0.500000,true,1,{wanted}")));
    }
}
