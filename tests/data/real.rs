//! The real sets hold what their README counts.

use std::path::Path;

use sverka::data::{Parts, ReadOptions, Source, detect, guess_links, read_pairs, read_table, stream_pairs};
use sverka::{PairSet, Split};

use crate::real_sets;

fn pairs(source: &Source) -> PairSet {
    read_pairs(source, &ReadOptions::default()).unwrap_or_else(|e| panic!("{e}")).0
}

/// Pairs and matches of the three parts.
fn counts(set: &PairSet) -> [(usize, usize); 3] {
    [Split::Train, Split::Valid, Split::Test]
        .map(|part| (set.split(part).count(), set.split(part).filter(|p| p.2 == Some(true)).count()))
}

#[test]
fn deepmatcher_folders() {
    let Some(data) = real_sets() else { return };
    for (name, left, right, wanted, columns) in [
        ("abt-buy", 1081, 1092, [(5743, 616), (1916, 206), (1916, 206)], &["name", "description", "price"][..]),
        ("amazon-google", 1363, 3226, [(6874, 699), (2293, 234), (2293, 234)], &["title", "manufacturer", "price"]),
        ("dblp-acm", 2616, 2294, [(7417, 1332), (2473, 444), (2473, 444)], &["title", "authors", "venue", "year"]),
    ] {
        let source = detect(&data.join("products").join(name), &ReadOptions::default()).unwrap();
        assert!(matches!(source, Source::Deepmatcher { .. }));
        let set = pairs(&source);
        assert_eq!((set.left.len(), set.right.len(), counts(&set)), (left, right, wanted), "{name}");
        assert_eq!(&set.left[0].columns[..], columns, "{name}");
    }
}

#[test]
fn ditto_folders_with_repeated_lines() {
    let Some(data) = real_sets() else { return };
    for (name, wanted, columns) in [
        ("beer", [(268, 40), (91, 14), (91, 14)], &["Beer_Name", "Brew_Factory_Name", "Style", "ABV"][..]),
        ("itunes-amazon", [(321, 78), (109, 27), (109, 27)], &[]),
        ("dirty-itunes-amazon", [(321, 78), (109, 27), (109, 27)], &[]),
        ("fodors-zagats", [(567, 66), (190, 22), (189, 22)], &["name", "addr", "city", "phone", "type", "class"]),
    ] {
        let source = detect(&data.join("ditto").join(name), &ReadOptions::default()).unwrap();
        assert!(matches!(source, Source::Ditto(_)));
        let set = pairs(&source);
        assert_eq!(counts(&set), wanted, "{name}");
        let first = &set.left[0].columns;
        assert!(
            set.left.iter().chain(&set.right).all(|r| r.columns == *first),
            "{name}: one list of columns in all lines"
        );
        assert!(columns.is_empty() || &first[..] == columns, "{name}: {first:?}");
    }
}

#[test]
fn wdc_as_ditto_lines() {
    let Some(data) = real_sets() else { return };
    for (name, size, wanted) in [
        ("computers", "small", [(2231, 557), (536, 149), (1098, 299)]),
        ("computers", "medium", [(6332, 1378), (1567, 341), (1098, 299)]),
        ("cameras", "small", [(1409, 367), (392, 97), (1057, 288)]),
        ("cameras", "medium", [(4081, 856), (924, 192), (1057, 288)]),
    ] {
        let folder = data.join("wdc").join(name);
        assert!(detect(&folder, &ReadOptions::default()).is_err(), "two sizes, and nobody said which");
        let [train, valid] = ["train", "valid"].map(|part| Some(folder.join(format!("{part}.txt.{size}"))));
        let set =
            pairs(&Source::Ditto(Parts { train, valid, test: Some(folder.join("test.txt")), ..Default::default() }));
        assert_eq!(counts(&set), wanted, "{name} {size}");
        assert!(set.left.iter().chain(&set.right).all(|r| r.columns[..] == ["title"]), "{name} {size}");
    }
}

#[test]
fn prosept_as_links() {
    let Some(data) = real_sets() else { return };
    let [items, products, links] =
        ["Dealer_product.csv", "marketing_product.csv", "split.csv"].map(|n| data.join("prosept").join(n));
    let source = guess_links(&items, &products, &links, &ReadOptions::default()).unwrap().0;
    let Source::Links { left_column, right_column, label_column, part_column, .. } = &source else {
        panic!("another format")
    };
    assert_eq!((left_column.as_str(), right_column.as_str()), ("dealer_item_id", "product_id"));
    assert_eq!((label_column.as_deref(), part_column.as_deref()), (None, Some("split")));
    let set = pairs(&source);
    assert_eq!((set.left.len(), set.right.len()), (1904, 496));
    assert_eq!(counts(&set), [(907, 907), (371, 371), (324, 324)]);
    assert!(!set.right[0].columns.iter().any(String::is_empty), "{:?}", set.right[0].columns);
    let product = set.right.iter().find(|r| r.id == "245").unwrap();
    assert_eq!(product.get("article"), Some("008-1"));
    assert!(set.left.iter().all(|r| !r.values.iter().any(|v| v.contains('\r'))));
}

#[test]
fn other_files_as_free_tables() {
    let Some(data) = real_sets() else { return };
    let rows = |name: &str, id: Option<&str>| -> usize {
        let options = ReadOptions { id: id.map(str::to_string), ..Default::default() };
        read_table(&data.join(name), &options).unwrap_or_else(|e| panic!("{e}")).0.records.len()
    };
    assert_eq!(rows("prosept/marketing_dealer.csv", None), 18);
    assert_eq!(rows("prosept/marketing_productdealerkey.csv", None), 1700);
    assert_eq!(rows("scifact/corpus.jsonl", None), 5183);
    let dealers = read_table(&data.join("prosept/marketing_dealer.csv"), &ReadOptions::default()).unwrap().0;
    let broken = dealers.records.iter().find(|r| r.id == "18").unwrap();
    assert_eq!(broken.values, ["Мasterstroy_spb_OZON\r\n"], "the line end inside quotes belongs to the value");
}

#[test]
fn an_ordinary_table_is_no_file_of_pairs() {
    let Some(data) = real_sets() else { return };
    let path: &Path = &data.join("products/abt-buy/tableA.csv");
    let error = stream_pairs(path, &ReadOptions::default()).unwrap().next().unwrap().unwrap_err();
    assert!(error.to_string().contains("left_*"), "{error}");
}

#[test]
fn a_russian_catalogue_in_three_encodings() {
    let Some(data) = real_sets() else { return };
    let path = data.join("prosept/marketing_product.csv");
    let wanted = read_table(&path, &ReadOptions::default()).unwrap().0;
    let text = std::fs::read_to_string(&path).unwrap();
    let folder = crate::Folder::new();
    let utf_16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf_16 = read_table(&folder.write("a.csv", utf_16), &ReadOptions::default()).unwrap().0;
    assert_eq!(utf_16.records, wanted.records);
    for rows in [2, 5, 50, 497] {
        let part: String = text.split_inclusive('\n').take(rows).collect();
        let (bytes, _, _) = encoding_rs::WINDOWS_1251.encode(&part);
        let (part, _) = encoding_rs::WINDOWS_1251.decode_without_bom_handling(&bytes);
        let wanted = read_table(&folder.write("w.csv", part.as_bytes()), &ReadOptions::default()).unwrap().0;
        let read =
            read_table(&folder.write("b.csv", bytes), &ReadOptions::default()).unwrap_or_else(|e| panic!("{e}")).0;
        assert_eq!(read.records, wanted.records, "{rows} rows");
    }
}

#[test]
fn sets_for_ranking_and_sentence_pairs_have_the_sizes_that_their_readme_gives() {
    let Some(data) = real_sets() else { return };
    for (set, left, right, all, matches) in [
        ("scifact", 1109, 5183, 1258, 1258),
        ("xquad/xquad.ru.json", 1190, 240, 1190, 1190),
        ("paraphraser/paraphrases_train.xml", 7227, 7227, 7227, 1688 + 2957),
        ("paraphraser/paraphrases_gold.xml", 1924, 1924, 1924, 374 + 778),
        ("encodechka/xnli_ru.csv", 5010, 5010, 5010, 1670),
    ] {
        let path = data.join(set);
        // `scripts/data` does not fetch them all
        if !path.exists() {
            continue;
        }
        let set = pairs(&detect(&path, &ReadOptions::default()).unwrap());
        assert_eq!((set.left.len(), set.right.len(), set.pairs.len()), (left, right, all), "{}", path.display());
        assert_eq!(set.pairs.iter().filter(|pair| pair.is_match()).count(), matches, "{}", path.display());
    }
}
