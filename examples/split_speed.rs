//! How long does a query take with 1,000 candidates: a cross-encoder that reads them all, or a split encoder (YATI) over stored states?
//!
//!     cargo run --release --example split_speed -- weights/minilm ../shared/data/scifact 1000 5
//!
//! Heads are drawn: only times are looked at. Documents are cut to 30 and to 250 tokens; queries are short. Each figure is the median of some
//! rounds, which go through all systems in turn, so that a busy machine is busy for all of them. The joint model's last layer computes the row of
//! `[CLS]` only, as the split encoder's does; the same encoder with every row says what that is worth.
use std::path::{Path, PathBuf};
use std::time::Instant;

use sverka::bundle::{Architecture, Bundle, Checkpoint, Manifest, Purpose};
use sverka::data::{ReadOptions, store_documents};
use sverka::index::states::{Place, RowStorage, StateStore, StateWriter};
use sverka::models::{Net, Scorer, bert, net};
use sverka::nn::{Device, Dtype};
use sverka::text::{TextConfig, TextEncoder, TokenizedSide};
use sverka::{Input, List, Ranker, Record, Result, testing};

const QUERY: &str = "zero dimensional biomaterials show inductive properties";

/// Something that scores all candidates.
struct System {
    name: String,
    bytes: f64,
    /// Gives how many there were.
    score: Box<dyn Fn() -> Result<usize>>,
    milliseconds: Vec<f64>,
}

fn rendering(max_tokens: usize) -> TextConfig {
    TextConfig { max_tokens, fields: vec!["text".into()], ..TextConfig::default() }
}

fn bundle(dir: &Path, from: &Path, name: &str, settings: &str, max_tokens: usize) -> Result<Bundle> {
    let settings = settings.parse::<toml::Table>().expect("settings");
    let architecture = Architecture::named(name, &settings)?;
    let rendering = rendering(max_tokens);
    if !dir.exists() {
        testing::write_bundle(dir, from, &Manifest { architecture, rendering, ..Manifest::default() })?;
    }
    Bundle::open(dir, Some(Dtype::F32), Device::Cpu)
}

fn joint(bundle: Bundle, documents: Vec<Record>) -> Box<dyn Fn() -> Result<usize>> {
    Box::new(move || {
        let candidates = documents.iter().map(Input::Record).collect();
        Ok(bundle.score(&[List { query: Input::Text(QUERY), candidates }])?.remove(0).len())
    })
}

/// The joint model's encoder with every row of its last layer.
fn every_row(from: &Path, max_tokens: usize, documents: Vec<Record>) -> Result<Box<dyn Fn() -> Result<usize>>> {
    let mut checkpoint = Checkpoint::read(from)?;
    checkpoint.select_modules(&[net::ENCODER], Purpose::Start)?;
    let Checkpoint { config, weights, .. } = checkpoint;
    let last = config.num_hidden_layers;
    let net = Net::serving(config, &[net::ENCODER], &weights, Dtype::F32, Device::Cpu)?;
    let text = TextEncoder::open(from, rendering(max_tokens))?;
    Ok(Box::new(move || {
        let scorer = Scorer { net: &net, text: &text };
        let query = text.prepare(Input::Text(QUERY))?;
        let sides: Vec<TokenizedSide> =
            documents.iter().map(|d| text.prepare(Input::Record(d))).collect::<Result<_>>()?;
        let pairs: Vec<_> = sides.iter().map(|side| vec![&query, side]).collect();
        let sequences = scorer.join(&pairs);
        scorer.batches(&sequences, |pass, batch| pass.layers(bert::PREFIX, batch, &[last]).map(|_| ()))?;
        Ok(sequences.len())
    }))
}

fn split(bundle: Bundle, store: StateStore, documents: &[Record]) -> Box<dyn Fn() -> Result<usize>> {
    let places: Vec<Place> = documents.iter().map(|d| store.find(&d.id).expect("was stored")).collect();
    let lengths: Vec<u32> = places.iter().map(|place| store.length(*place)).collect();
    Box::new(move || {
        let encoder = bundle.split_encoder()?;
        let query = encoder.encode_query(Input::Text(QUERY))?;
        Ok(encoder.score(&query, &lengths, &|i, rows| store.fill(places[i], rows), None)?.len())
    })
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |at: usize, default: &str| arguments.get(at).cloned().unwrap_or(default.into());
    let (from, data) =
        (PathBuf::from(argument(0, "weights/minilm")), PathBuf::from(argument(1, "../shared/data/scifact")));
    let (count, rounds) = (argument(2, "1000").parse().unwrap_or(1000), argument(3, "5").parse().unwrap_or(5));
    let dir = tempfile::tempdir().expect("a folder");
    let (documents, _) = store_documents(&data, &ReadOptions::default(), dir.path())?;
    let is_long = |document: &Result<Record>| document.as_ref().map_or(true, |d| d.values[1].len() > 1000);
    let documents: Vec<Record> = documents.records.iter().filter(is_long).take(count).collect::<Result<_>>()?;
    for (tokens, max_tokens) in [(30, 48), (250, 272)] {
        let mut systems: Vec<System> = Vec::new();
        let open = |name: &str, settings: &str| {
            let folder = dir.path().join(format!("{name} {settings} {max_tokens}"));
            // a query has 18 tokens at most, a document the rest
            let settings = if name == "yati" { format!("query_tokens = 18\n{settings}") } else { settings.into() };
            bundle(&folder, &from, name, &settings, max_tokens)
        };
        let layers = open("cross_encoder", "")?.config().num_hidden_layers;
        let score = joint(open("cross_encoder", "")?, documents.clone());
        systems.push(System { name: "joint model".into(), bytes: 0.0, score, milliseconds: Vec::new() });
        let (name, score) =
            ("joint model, every row of its last layer", every_row(&from, max_tokens, documents.clone())?);
        systems.push(System { name: name.into(), bytes: 0.0, score, milliseconds: Vec::new() });
        for (joint_layers, compress, storage) in [
            (3, 0, RowStorage::F32),
            (2, 0, RowStorage::F32),
            (1, 0, RowStorage::F32),
            (2, 0, RowStorage::F16),
            (2, 0, RowStorage::Int8),
            (2, 128, RowStorage::F16),
            (1, 128, RowStorage::F16),
        ] {
            let settings = format!("split_at = {}\ncompress = {compress}", layers - joint_layers);
            let bundle = open("yati", &settings)?;
            let path = dir.path().join(format!("{joint_layers}-{compress}-{storage}-{tokens}"));
            let mut writer = StateWriter::build(&path, &bundle.split_encoder()?, storage)?;
            writer.add(&bundle.split_encoder()?, bundle.tokenizer().rendering(), &documents, &|_, _| {})?;
            writer.complete()?;
            let store = StateStore::open(&path, &bundle.split_encoder()?)?;
            let name = format!("{joint_layers} joint layers, {storage}, {compress} values");
            let bytes = store.bytes() as f64 / store.len() as f64;
            let score = split(bundle, store, &documents);
            systems.push(System { name, bytes, score, milliseconds: Vec::new() });
        }
        for round in 0..=rounds {
            for system in &mut systems {
                let start = Instant::now();
                assert_eq!((system.score)()?, documents.len());
                if round > 0 {
                    system.milliseconds.push(1000.0 * start.elapsed().as_secs_f64());
                }
            }
        }
        println!("{} candidates of about {tokens} tokens", documents.len());
        let median = |system: &System| {
            let mut all = system.milliseconds.clone();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        let whole = median(&systems[0]);
        for system in &systems {
            let (ms, bytes) = (median(system), system.bytes);
            println!("  {:40} {ms:>9.1} ms {:>6.1} x {bytes:>9.0} bytes a document", system.name, whole / ms);
        }
    }
    Ok(())
}
