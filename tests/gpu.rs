//! A GPU against the CPU, which is held against transformers elsewhere (`golden_bert.rs`, also on a GPU). Needs `--features cuda`
//! and an NVIDIA GPU; says that it was skipped if one of them is missing.

mod require;

use rand::{RngExt, SeedableRng};
use sverka::models::bert::{self, Config};
use sverka::nn::encoder::{Encoder, Request, Rows, Start};
use sverka::nn::{Array, Device, Dtype, Weights};
use sverka::text::{Batch, Encoding};

const GPU: Device = Device::Cuda(0);

fn config(hidden: usize, heads: usize, ff: usize, layers: usize) -> Config {
    let json = format!(
        r#"{{"vocab_size":50,"hidden_size":{hidden},"num_hidden_layers":{layers},"num_attention_heads":{heads},
        "intermediate_size":{ff},"max_position_embeddings":513,"type_vocab_size":3}}"#
    );
    serde_json::from_str(&json).unwrap()
}

/// As a trained model's: sums of about one, norms near one.
fn weights(config: &Config) -> Weights {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
    let arrays = config.arrays(bert::PREFIX).into_iter().map(|(name, shape)| {
        let centre = if name.ends_with("LayerNorm.weight") { 1.0 } else { 0.0 };
        let spread = if shape.len() == 2 { 1.7 / (shape[1] as f32).sqrt() } else { 0.2 };
        let data = (0..shape.iter().product()).map(|_| centre + spread * rng.random_range(-1.0..1.0)).collect();
        (name, Array::new(shape, data))
    });
    Weights(arrays.collect())
}

fn batch(lengths: &[usize]) -> Batch {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(lengths.len() as u64);
    let mut draw = |below: u32, n: usize| (0..n).map(|_| rng.random_range(0..below)).collect::<Vec<u32>>();
    let drawn = lengths.iter().map(|&n| Encoding { ids: draw(50, n), segments: draw(3, n), ..Encoding::default() });
    drawn.collect::<Vec<_>>().iter().collect()
}

fn encoder(config: &Config, weights: &Weights, dtype: Dtype, device: Device) -> sverka::Result<Encoder> {
    bert::encoder(config, bert::PREFIX, weights, dtype, device)
}

/// Last states of all tokens, or of first tokens.
fn run(encoder: &Encoder, batch: &Batch, rows: Rows) -> sverka::Result<Vec<f32>> {
    let request = Request { start: Start::Tokens(batch), layers: 0..encoder.layers(), rows, keep: &[] };
    Ok(encoder.run(&request)?.rows)
}

/// The encoder on the GPU; `None`, with a note, if there is no GPU.
fn on_gpu(config: &Config, weights: &Weights, dtype: Dtype) -> Option<Encoder> {
    match encoder(config, weights, dtype, GPU) {
        Ok(model) => Some(model),
        Err(e) => {
            assert!(e.is_user_error(), "{e}");
            require::skipped("gpu", &e.to_string());
            None
        }
    }
}

/// ‖a − b‖ / ‖b‖, which is NaN where a value is.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |x: f64| x * x;
    let apart: f64 = a.iter().zip(b).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    (apart / b.iter().map(|b| square(f64::from(*b))).sum::<f64>()).sqrt()
}

const LENGTHS: [usize; 15] = [1, 7, 63, 513, 64, 65, 2, 127, 128, 129, 16, 17, 31, 33, 1];

#[test]
fn states_and_first_rows_are_those_of_the_cpu() {
    // heads of 32, 64, 128 and an odd number of values; widths that 16 bytes divide and others
    for (hidden, heads, ff, layers) in
        [(384, 12, 1536, 2), (768, 12, 3072, 1), (128, 1, 512, 2), (30, 2, 37, 3), (72, 3, 100, 1)]
    {
        let config = config(hidden, heads, ff, layers);
        let weights = weights(&config);
        // a bf16 model's states are rounded between layers on a GPU, and kept as f32 on a CPU
        for (dtype, limit) in [(Dtype::F32, 1e-5), (Dtype::Bf16, 1e-2)] {
            let Some(gpu) = on_gpu(&config, &weights, dtype) else { return };
            let cpu = encoder(&config, &weights, Dtype::F32, Device::Cpu).unwrap();
            for lengths in [&LENGTHS[..], &[40], &[1], &[3; 500]] {
                let batch = batch(lengths);
                let states = distance(&run(&gpu, &batch, Rows::All).unwrap(), &run(&cpu, &batch, Rows::All).unwrap());
                let first =
                    distance(&run(&gpu, &batch, Rows::First).unwrap(), &run(&cpu, &batch, Rows::First).unwrap());
                let what = format!("{hidden} wide, {heads} heads, {dtype:?}, {} sequences", lengths.len());
                eprintln!("{what}: states {states:.1e}, first {first:.1e}");
                assert!(states < limit && first < limit, "{what}: states {states}, first {first}");
            }
        }
    }
}

#[test]
fn a_batch_that_does_not_fit_at_once_goes_in_parts() {
    let config = config(32, 2, 64, 1);
    let weights = weights(&config);
    let Some(gpu) = on_gpu(&config, &weights, Dtype::F32) else { return };
    let lengths: Vec<usize> = (0..2000).map(|i| 1 + i * 37 % 120).collect();
    let batch = batch(&lengths);
    assert!(batch.tokens() > 100_000);
    let cpu = encoder(&config, &weights, Dtype::F32, Device::Cpu).unwrap();
    assert!(distance(&run(&gpu, &batch, Rows::All).unwrap(), &run(&cpu, &batch, Rows::All).unwrap()) < 1e-5);
    assert!(distance(&run(&gpu, &batch, Rows::First).unwrap(), &run(&cpu, &batch, Rows::First).unwrap()) < 1e-5);
}

#[test]
fn ranges_of_layers_compose_and_states_are_kept() {
    let config = config(64, 2, 128, 4);
    let weights = weights(&config);
    let Some(gpu) = on_gpu(&config, &weights, Dtype::F32) else { return };
    let cpu = encoder(&config, &weights, Dtype::F32, Device::Cpu).unwrap();
    let mut batch = batch(&[5, 120, 1, 33]);
    batch.positions = batch.offsets.windows(2).flat_map(|w| (0..w[1] - w[0]).map(|p| p + 7)).collect();
    let lower = Request { start: Start::Tokens(&batch), layers: 0..2, rows: Rows::First, keep: &[0, 2] };
    let [on_gpu, on_cpu] = [&gpu, &cpu].map(|encoder| encoder.run(&lower).unwrap());
    assert!(distance(&on_gpu.rows, &on_cpu.rows) < 1e-5);
    for (a, b) in on_gpu.kept.iter().zip(&on_cpu.kept) {
        assert!(distance(a, b) < 1e-5);
    }
    let start = Start::States { states: &on_gpu.kept[1], offsets: &batch.offsets };
    let upper = Request { start, layers: 2..4, rows: Rows::First, keep: &[] };
    let whole = run(&gpu, &batch, Rows::First).unwrap();
    assert!(distance(&gpu.run(&upper).unwrap().rows, &whole) < 1e-6);
}

#[test]
fn what_a_gpu_cannot_do_is_refused_by_name() {
    let small = config(32, 2, 64, 1);
    let message = |config: &Config, dtype, device| {
        let refused = encoder(config, &weights(config), dtype, device);
        let error = refused.err().expect("it is refused");
        assert!(error.is_user_error(), "{error}");
        error.to_string()
    };
    assert!(message(&small, Dtype::F32, Device::Cuda(99)).contains("--device"), "no machine has a hundred");
    let Some(gpu) = on_gpu(&small, &weights(&small), Dtype::F32) else { return };
    assert!(message(&small, Dtype::F32, Device::Cuda(99)).contains("no such device"));
    assert!(message(&small, Dtype::Int8, GPU).contains("bf16"));
    assert!(message(&config(130, 1, 64, 1), Dtype::F32, GPU).contains("heads are of 130 values"));
    let past = Batch { ids: vec![50], segments: vec![0], offsets: vec![0, 1], ..Batch::default() };
    assert!(run(&gpu, &past, Rows::First).unwrap_err().to_string().contains("token id past the table of 50"));
    let long = batch(&[514]);
    assert!(run(&gpu, &long, Rows::First).unwrap_err().to_string().contains("past the table of 513"));
}
