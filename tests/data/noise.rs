//! Nothing that a file may hold makes a reader panic, and what is lost is counted.

use std::path::Path;

use proptest::prelude::*;
use sverka::data::{Parts, ReadOptions, Source, detect, read_pairs, read_table, stream_pairs};

use crate::{Folder, gzip};

/// Reads a file in every way, minding the results only in that there are some.
fn read_all(path: &Path) {
    for skip_bad_rows in [false, true] {
        let options = ReadOptions { skip_bad_rows, ..ReadOptions::default() };
        _ = read_table(path, &options);
        _ = stream_pairs(path, &options).map(|pairs| pairs.count());
        let [train, valid] = [None, None];
        _ = read_pairs(&Source::Ditto(Parts { train, valid, test: Some(path.into()), ..Default::default() }), &options);
        let [train, valid] = [None, None];
        _ = read_pairs(
            &Source::Joined(Parts { train, valid, test: Some(path.into()), ..Default::default() }),
            &options,
        );
    }
    _ = detect(path, &ReadOptions::default());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400), name in "(a\\.csv|a\\.tsv|a\\.jsonl|a\\.txt|a)") {
        let folder = Folder::new();
        read_all(&folder.write(&name, &bytes));
        read_all(&folder.write("b.gz", gzip(&bytes)));
    }

    #[test]
    fn almost_files(text in "(COL |VAL |id|left_|\"|,|;|\t|\r\n|\n|\\{|\\}|:|\"a\"|label|0|1|я){0,60}", name in "(a\\.csv|a\\.jsonl|a)") {
        read_all(&Folder::new().write(&name, text));
    }

    /// Without `<` and `&`, which may be HTML: that is read as a person would.
    #[test]
    fn what_csv_writes_is_read_back(rows in proptest::collection::vec(("[ -%'-;=-~я\"\n\r;,]{0,12}", "[ -%'-;=-~\t|\"]{0,12}"), 1..20)) {
        let mut out = csv::Writer::from_writer(Vec::new());
        out.write_record(["id", "a", "b"]).unwrap();
        for (i, (a, b)) in rows.iter().enumerate() {
            out.write_record([i.to_string(), format!("x{a}"), format!("x{b}")]).unwrap();
        }
        let folder = Folder::new();
        let path = folder.write("a.csv", out.into_inner().unwrap());
        let (table, skipped) = read_table(&path, &ReadOptions::default()).unwrap();
        prop_assert_eq!(skipped.skipped, 0);
        let read: Vec<(String, String)> = table.records.into_iter().map(|r| (r.values[0].clone(), r.values[1].clone())).collect();
        let rows: Vec<_> = rows.into_iter().map(|(a, b)| (format!("x{a}"), format!("x{b}"))).collect();
        prop_assert_eq!(read, rows);
    }
}

#[test]
fn a_parquet_file_with_any_byte_changed() {
    let good = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/products.parquet")).unwrap();
    let folder = Folder::new();
    let (mut read, mut refused) = (0, 0);
    for i in 4..good.len() {
        let mut bytes = good.clone();
        bytes[i] ^= 0xff;
        // A name each: some file systems flush a file that is cut and written again.
        match read_table(&folder.write(&format!("{i}.parquet"), bytes), &ReadOptions::default()) {
            Ok(_) => read += 1,
            Err(error) => {
                assert!(error.is_user_error() && !error.to_string().contains('\n'), "byte {i}: {error}");
                refused += 1;
            }
        }
    }
    assert!(read > 0 && refused > 0, "{read} {refused}");
}
