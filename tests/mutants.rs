//! Damaged model folders and recipes, drawn with a fixed seed: each is refused as the user's error, or answers as the whole one does. The
//! number of mutants is 1,000 a kind, or what `SVERKA_MUTANTS` says (`scripts/fuzz`). Tables and lines of pairs: `tests/data/mutants.rs`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sverka::bundle::{self, Bundle, Export, Manifest};
use sverka::calibrate::{Calibration, Threshold, ThresholdObjective};
use sverka::nn::Device;
use sverka::testing;
use sverka::train::Recipe;
use sverka::{Input, List, Ranker, Result};

const PAIRS: [(&str, &str); 4] =
    [("Монитор LG 27", "монитор LG 27 чёрный"), ("Чай чёрный, 100 г", "Монитор"), ("LG", ""), ("чай 12", "чай 13")];

fn count() -> usize {
    std::env::var("SVERKA_MUTANTS").ok().and_then(|n| n.parse().ok()).unwrap_or(1000)
}

/// One to five changes: a cut, a byte, a part taken out, doubled, or overwritten with zeros or a larger number.
fn mutant(seed: &[u8], random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..=bytes.len());
        let end = |most: usize, random: &mut ChaCha8Rng| bytes.len().min(at + random.random_range(1..most));
        match random.random_range(0..6) {
            0 if random.random_range(0..4) == 0 => bytes.truncate(at),
            1 | 0 if at < bytes.len() => bytes[at] = random.random(),
            2 => drop(bytes.drain(at..end(20, random))),
            3 => {
                let copy = bytes[at..end(200, random)].to_vec();
                drop(bytes.splice(at..at, copy));
            }
            4 => {
                let end = end(16, random);
                bytes[at..end].fill(0);
            }
            _ => drop(
                bytes.splice(at..at, [&b"9"[..], b"\"", b"-", b"e30", b"null", b"\n", b"}", b"["][at % 8].to_vec()),
            ),
        }
    }
    bytes
}

/// A cross-encoder with drawn heads, a calibration and a threshold.
fn write_bundle(out: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bert/rubert");
    let calibration = Some(Calibration::Beta { a: 0.8, b: 1.1, c: -0.2 });
    let threshold = Some(Threshold { value: 0.4, goal: ThresholdObjective::F1, low: 0.3, high: 0.6 });
    let manifest = Manifest { calibration, threshold, ..Manifest::default() };
    testing::write_bundle(out, &from, &manifest).unwrap();
}

/// Score, probability and decision of each pair.
fn answers(dir: &Path) -> Result<Vec<(f32, f32, bool)>> {
    let bundle = Bundle::open(dir, None, Device::Cpu)?;
    let lists: Vec<List> = PAIRS.iter().map(|(a, b)| List::pair(Input::Text(a), Input::Text(b))).collect();
    let scores = bundle.score(&lists)?;
    Ok(scores.iter().flatten().map(|score| (score.value, bundle.decide(score).0, bundle.decide(score).1)).collect())
}

/// Damages one file of a folder at a time; `accept` says whether an answer of the damaged folder may be.
fn damage(dir: &Path, seed: u64, accept: impl Fn(&[(f32, f32, bool)]) -> bool) -> (usize, usize) {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut accepted, mut refused) = (0, 0);
    for i in 0..count() {
        let path = &files[i % files.len()];
        let whole = std::fs::read(path).unwrap();
        std::fs::write(path, mutant(&whole, &mut random)).unwrap();
        let start = Instant::now();
        match answers(dir) {
            Ok(got) => {
                assert!(accept(&got), "mutant {i} of {}: {got:?}", path.display());
                accepted += 1;
            }
            Err(error) => {
                let text = error.to_string();
                assert!(error.is_user_error() && !text.contains('\n'), "mutant {i} of {}: {text:?}", path.display());
                refused += 1;
            }
        }
        assert!(start.elapsed() < Duration::from_secs(20), "mutant {i} of {} takes too long", path.display());
        std::fs::write(path, whole).unwrap();
    }
    (accepted, refused)
}

#[test]
fn a_damaged_bundle_is_refused_or_answers_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("model");
    write_bundle(&out);
    let before = answers(&out).unwrap();
    let (accepted, refused) = damage(&out, 16, |got| got == before);
    // the model's card is no part of the model
    assert!(accepted > 0 && refused > count() / 2, "{accepted} accepted, {refused} refused");
}

#[test]
fn a_damaged_plain_folder_is_refused_or_has_finite_scores() {
    let dir = tempfile::tempdir().unwrap();
    let (out, plain) = (dir.path().join("model"), dir.path().join("plain"));
    write_bundle(&out);
    bundle::export(&out, &plain, Export::default()).unwrap();
    let finite = |got: &[(f32, f32, bool)]| got.iter().all(|(s, p, _)| s.is_finite() && (0.0..=1.0).contains(p));
    let (accepted, refused) = damage(&plain, 17, finite);
    assert!(accepted > 0 && refused > count() / 4, "{accepted} accepted, {refused} refused");
}

#[test]
fn a_damaged_recipe_is_read_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recipe.toml");
    let mut random = ChaCha8Rng::seed_from_u64(18);
    let (mut good, mut bad) = (0, 0);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
    let mut recipes: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    recipes.retain(|path| path.extension().is_some_and(|end| end == "toml"));
    recipes.sort();
    for i in 0..count() {
        let seed = std::fs::read(&recipes[i % recipes.len()]).unwrap();
        std::fs::write(&path, mutant(&seed, &mut random)).unwrap();
        match Recipe::read(&path, &[]).and_then(|recipe| recipe.model.architecture().map(|_| ())) {
            Ok(()) => good += 1,
            Err(error) => {
                let text = error.to_string();
                assert!(error.is_user_error() && !text.contains('\n'), "mutant {i}: {text:?}");
                bad += 1;
            }
        }
    }
    assert!(good > 0 && bad > count() / 4, "{good} read, {bad} refused");
}
