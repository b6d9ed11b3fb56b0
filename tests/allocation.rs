//! Once warm, a layer computes in memory that it has: a deeper model allocates no more than a shallow one.

use std::path::Path;

use sverka::bundle::{self, Bundle, Checkpoint, Contents, Manifest, Storage};
use sverka::nn::{Device, Dtype};
use sverka::text::TextConfig;
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

#[test]
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
