//! How many true matches BM25 proposes at k = 10 on the real sets of `../shared/data`, and that it does so fast enough.
//! The analyser was tuned on train and valid; test is only measured. `cargo test --release --test candidates -- --nocapture`
//! prints the table of `docs/results.md`.

mod require;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use require::data;
use sverka::data::read_beir;
use sverka::eval::{Gain, mean, ndcg, rankings, recall};
use sverka::index::{Bm25, Bm25Settings};
use sverka::records::{Run, Split};

type Row = HashMap<String, String>;
/// Left text, row of its match, part.
type Links = Vec<(String, u32, String)>;

fn read(path: &Path, delimiter: u8) -> Vec<Row> {
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_path(path).unwrap();
    reader.deserialize().map(|row| row.unwrap()).collect()
}

fn join(row: &Row, columns: &[&str]) -> String {
    columns.iter().map(|c| row[*c].as_str()).collect::<Vec<_>>().join(" ")
}

/// Texts of the right list and the links to it.
fn deepmatcher(folder: &Path, columns: &[&str]) -> (Vec<String>, Links) {
    let texts = |name| read(&folder.join(name), b',').iter().map(|r| join(r, columns)).collect::<Vec<_>>();
    let (left, right) = (texts("tableA.csv"), texts("tableB.csv"));
    let mut links = Vec::new();
    for part in ["train", "valid", "test"] {
        for pair in read(&folder.join(part).with_extension("csv"), b',').iter().filter(|p| p["label"] == "1") {
            let row = |side: &str| pair[side].parse::<u32>().unwrap();
            links.push((left[row("ltable_id") as usize].clone(), row("rtable_id"), part.to_string()));
        }
    }
    (right, links)
}

fn prosept(folder: &Path) -> (Vec<String>, Links) {
    let products = read(&folder.join("marketing_product.csv"), b';');
    let texts = products.iter().map(|p| join(p, &["name", "ozon_name", "name_1c", "wb_name"])).collect();
    let row: HashMap<&str, u32> = products.iter().map(|p| p["id"].as_str()).zip(0..).collect();
    let items = read(&folder.join("Dealer_product.csv"), b',');
    let name: HashMap<&str, &str> = items.iter().map(|i| (i["id"].as_str(), i["product_name"].as_str())).collect();
    let split = read(&folder.join("split.csv"), b',');
    let link =
        |l: &Row| (name[l["dealer_item_id"].as_str()].to_string(), row[l["product_id"].as_str()], l["split"].clone());
    (texts, split.iter().map(link).collect())
}

/// Split -> (share of matches among the top 10, share at the top); `all` is every part together.
fn measure(name: &str, right: Vec<String>, links: Links) -> BTreeMap<String, (f64, f64)> {
    let index = Bm25::build(right.into_iter()).unwrap();
    let lefts: Vec<String> = links.iter().map(|l| l.0.clone()).collect();
    let tops = index.top_all(&lefts, 10).unwrap();
    let mut counts: BTreeMap<String, [u32; 3]> = BTreeMap::new();
    for ((_, row, part), top) in links.iter().zip(tops) {
        let place = top.iter().position(|(r, _)| r == row);
        for key in [part.as_str(), "all"] {
            let count = counts.entry(key.to_string()).or_default();
            count[0] += 1;
            count[1] += place.is_some() as u32;
            count[2] += (place == Some(0)) as u32;
        }
    }
    let share = |(part, [n, at_10, at_1]): (String, [u32; 3])| {
        let (at_10, at_1) = (at_10 as f64 / n as f64, at_1 as f64 / n as f64);
        println!("{name:<24} {part:<5} n {n:>4}  recall@10 {at_10:.4}  accuracy@1 {at_1:.4}");
        (part, (at_10, at_1))
    };
    counts.into_iter().map(share).collect()
}

#[test]
fn abt_buy_keeps_99_of_100_matches() {
    let Some(folder) = data("products/abt-buy") else { return };
    let (right, links) = deepmatcher(&folder, &["name", "description", "price"]);
    assert!(measure("Abt-Buy", right, links)["all"].0 >= 0.99);
    let (right, links) = deepmatcher(&folder, &["name"]);
    assert!(measure("Abt-Buy, names alone", right, links)["all"].0 >= 0.994, "plain BM25 reaches .994");
}

#[test]
fn amazon_google_as_found() {
    let Some(folder) = data("products/amazon-google") else { return };
    let (right, links) = deepmatcher(&folder, &["title", "manufacturer", "price"]);
    assert!(measure("Amazon-Google", right, links)["all"].0 >= 0.975);
}

#[test]
fn prosept_keeps_98_of_100_matches() {
    let Some(folder) = data("prosept") else { return };
    let (right, links) = prosept(&folder);
    let test = measure("Prosept", right, links)["test"];
    assert!(test.0 >= 0.98, "recall@10 {:.4}", test.0);
    assert!(test.1 >= 0.725, "plain BM25 reaches .725 at the top");
}

/// BM25 of prose, from files, as Anserini has it (flat index: nDCG@10 .6789, R@100 .9253).
#[test]
fn scifact_by_stems() {
    let Some(folder) = data("scifact") else { return };
    let (collection, _) = read_beir(&folder).unwrap();
    let judgements = collection.of_split(Some(Split::Test));
    let dir = tempfile::tempdir().unwrap();
    let texts = collection.documents.iter().map(|d| d.values.join(" "));
    Bm25::write(dir.path(), texts, &Bm25Settings::text()).unwrap();
    let index = Bm25::open(dir.path()).unwrap();
    let judged: HashSet<&str> = judgements.iter().map(|j| j.query.as_str()).collect();
    let mut run = Run::default();
    for query in collection.queries.iter().filter(|q| judged.contains(q.id.as_str())) {
        let hits = index.top(&query.text, 100).unwrap();
        let id = |row: u32| collection.documents[row as usize].id.clone();
        run.scores.insert(query.id.clone(), hits.into_iter().map(|(row, score)| (id(row), score)).collect());
    }
    let rankings = rankings(&judgements, &run);
    let (ndcg, recall) = (mean(&rankings, |r| ndcg(r, 10, Gain::Linear)), mean(&rankings, |r| recall(r, 100)));
    println!("SciFact  test  n {}  nDCG@10 {ndcg:.4}  R@100 {recall:.4}", rankings.len());
    assert!(ndcg >= 0.67 && recall >= 0.92, "{ndcg:.4} {recall:.4}");
}

/// `SVERKA_SCALE=100000` builds and asks an index of that many made records; 5,000 by default.
#[test]
fn a_large_list_is_indexed_and_asked() {
    let rows: usize = std::env::var("SVERKA_SCALE").ok().and_then(|v| v.parse().ok()).unwrap_or(5_000);
    let kinds = ["антисептик", "sony camera", "краска акриловая", "usb cable", "стиральный порошок", "led lamp"];
    let text = |i: usize| {
        let (a, b) = (i * 7919 % 10_007, i * 104_729 % 997);
        format!(
            "{} {} model kx-{i}/{} размер {a} {} мл, series {b} white steel",
            kinds[i % 6],
            kinds[b % 6],
            i % 26,
            b * 10
        )
    };
    let started = std::time::Instant::now();
    let index = Bm25::build((0..rows).map(text)).unwrap();
    let built = started.elapsed();
    let asked: Vec<usize> = (0..rows).step_by(rows.div_ceil(1000)).collect();
    let texts: Vec<String> = asked.iter().map(|&i| text(i)).collect();
    let tops = index.top_all(&texts, 10).unwrap();
    println!("{rows} rows: built in {built:.1?}, {} asked in {:.1?}", texts.len(), started.elapsed() - built);
    assert!(tops.iter().zip(asked).all(|(top, row)| top[0].0 as usize == row), "a record finds itself");
}
