//! Once warm, a layer computes in memory that it has: a deeper model allocates no more than a shallow one. The head of masked tokens takes
//! memory for these alone.

use std::path::Path;

use sverka::bundle::{self, Bundle, Checkpoint, Contents, Manifest, Storage};
use sverka::models::masked_lm::{MaskedLm, Targets};
use sverka::models::{Mode, Net, bert, net};
use sverka::nn::{Device, Dtype};
use sverka::text::{Batch, TextConfig};
use sverka::{Input, List, Ranker, Record};

#[global_allocator]
static COUNTED: dhat::Alloc = dhat::Alloc;

/// Blocks that a warm model of so many layers allocates to score the candidates.
fn blocks(folder: &Path, layers: usize, dtype: Dtype) -> u64 {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bert/rubert");
    let Checkpoint { mut config, mut weights, .. } = Checkpoint::read(&from).unwrap();
    bundle::take_layers(&mut config, &mut weights, &vec![0; layers]).unwrap();
    let manifest = Manifest { rendering: TextConfig::default(), ..Manifest::default() };
    let out = folder.join(format!("{layers}-{dtype:?}"));
    let contents = Contents {
        manifest: &manifest,
        config: &config,
        weights: &weights,
        tokenizer_from: &from,
        storage: Storage::F32,
    };
    bundle::save(&out, &contents, false).unwrap();
    let model = Bundle::open(&out, Some(dtype), Device::Cpu).unwrap();
    let texts: Vec<String> = (0..40).map(|i| format!("монитор {i} {}", "чай ".repeat(i % 7))).collect();
    let candidates: Vec<Input> = texts.iter().map(|text| Input::Text(text)).collect();
    let query =
        Record {
            id: "1".into(), columns: vec!["name".to_string()].into(), values: vec!["Монитор LG 27".into()]
        };
    let list = [List { query: Input::Record(&query), candidates }];
    let score = || model.score(&list).unwrap();
    let warm = score();
    (0..3).for_each(|_| assert_eq!(score(), warm));
    // the least of some: a task that a thread takes up while its buffers are lent gets fresh ones
    let once = |_| {
        let before = dhat::HeapStats::get().total_blocks;
        score();
        dhat::HeapStats::get().total_blocks - before
    };
    (0..8).map(once).min().unwrap_or_default()
}

/// The most memory that a step takes, beyond what the model has: 32 sequences of 64 tokens, of which `masked` are masked.
fn peak_of_step(dtype: Dtype, vocabulary: usize, masked: usize) -> usize {
    let json = format!(
        r#"{{"vocab_size":{vocabulary},"hidden_size":16,"num_hidden_layers":1,"num_attention_heads":2,"intermediate_size":16,
            "max_position_embeddings":64}}"#
    );
    let config: bert::Config = serde_json::from_str(&json).unwrap();
    let weights = net::draw_encoder(bert::PREFIX, &config, 1);
    let model = MaskedLm { next: false };
    let net = Net::training(config, &model.modules(), weights, dtype, 1).unwrap();
    let (tokens, rows) = (32 * 64, (0..masked as u32).collect());
    let batch = Batch {
        ids: vec![7; tokens],
        segments: vec![0; tokens],
        offsets: (0..=32).map(|i| i * 64).collect(),
        span_offsets: vec![0; 33],
        ..Batch::default()
    };
    let targets = Targets { rows, ids: vec![5; masked], weight: 1.0 / masked as f32, ..Targets::default() };
    let step = || {
        let loss = model.loss(&net.pass(Mode::Train { seed: 1 }), &batch, &targets).unwrap();
        net.parameters().accumulate_grads(&loss.backward().unwrap()).unwrap();
    };
    step();
    // a thread allocates what it keeps for itself when it first has such work, in whichever step that is: the smallest peak has none of it
    let peak = |_| {
        let _profiler = dhat::Profiler::builder().testing().build();
        step();
        dhat::HeapStats::get().max_bytes
    };
    (0..5).map(peak).min().unwrap()
}

#[test]
fn allocations() {
    no_allocation_per_layer();
    the_head_of_masked_tokens_takes_memory_for_these_alone();
}

fn the_head_of_masked_tokens_takes_memory_for_these_alone() {
    let (vocabulary, masked) = (30_000, 307);
    for dtype in [Dtype::F32, Dtype::Bf16] {
        // what a step takes besides, measured where the head has next to nothing to do
        let rest = peak_of_step(dtype, vocabulary, 1);
        let head = peak_of_step(dtype, vocabulary, masked) - rest;
        println!("{dtype:?}, the head of {masked} masked tokens of 2,048: {head} bytes over {rest} of the rest");
        assert!(head <= masked * vocabulary * size_of::<f32>() + (1 << 20), "{head} bytes of {masked} x {vocabulary}");
    }
}

fn no_allocation_per_layer() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let folder = tempfile::tempdir().unwrap();
    for dtype in [Dtype::F32, Dtype::Bf16, Dtype::Int8] {
        let (shallow, deep) = (blocks(folder.path(), 1, dtype), blocks(folder.path(), 65, dtype));
        println!("{dtype:?}: {shallow} blocks with 1 layer, {deep} with 65");
        // the thread pool's queue takes a block now and then
        assert!(shallow > 0 && deep < shallow + 64, "{dtype:?}: {shallow} blocks with 1 layer, {deep} with 65");
    }
}
