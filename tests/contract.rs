//! What every ranker owes its callers, whatever its architecture (the idea is PyTerrier's conformance suite).
//!
//! A new architecture that `bundle` knows is met here by name: [`checkpoint`] has no answer for it until it has a random
//! checkpoint beside its golden numbers.

use std::path::{Path, PathBuf};

use sverka::bundle::{self, ARCHITECTURES, Bundle, Manifest, Storage};
use sverka::nn::{Device, Dtype};
use sverka::text::TextConfig;
use sverka::{Input, Ranker, Record};

const DTYPES: [Dtype; 3] = [Dtype::F32, Dtype::Bf16, Dtype::Int8];

/// Texts of all lengths: none, one letter, unknown signs, far more than fits.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> =
        ["", "а", "Монитор LG 27", "монитор 27 LG", "Чай чёрный, 100 г", "☃ ☃", "LG"].map(String::from).into();
    texts.push("Монитор LG 27 чёрный ".repeat(60));
    texts.extend((0..40).map(|i| format!("монитор {i} {}", "чай ".repeat(i % 7))));
    texts
}

/// A random checkpoint of an architecture that `bundle` knows.
fn checkpoint(architecture: &str) -> PathBuf {
    let folder = match architecture {
        "cross_encoder" => "bert/rubert",
        other => panic!("{other}: give it a random checkpoint in tests/golden and name it here"),
    };
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder)
}

/// Calls `check` with every architecture in every precision, with plain pairs and with shared words marked.
fn each(check: impl Fn(&str, &dyn Ranker)) {
    let dir = tempfile::tempdir().unwrap();
    for architecture in ARCHITECTURES {
        let from = checkpoint(architecture);
        for mark_shared in [false, true] {
            let rendering = TextConfig { max_tokens: 64, mark_shared, ..TextConfig::default() };
            let (mut config, mut weights) = bundle::read_directory(&from).unwrap();
            let rows = rendering.segment_count().max(config.type_vocab_size);
            bundle::grow_segments(&mut config, &mut weights, rows).unwrap();
            let manifest = Manifest { architecture: architecture.into(), rendering, ..Manifest::default() };
            let out = dir.path().join(format!("{architecture}-{mark_shared}"));
            bundle::save(&out, &manifest, &config, &weights, &from, Storage::F32, false).unwrap();
            for dtype in DTYPES {
                let bundle = Bundle::open(&out, Some(dtype), Device::Cpu).unwrap();
                check(&format!("{architecture} in {dtype:?}, shared words marked: {mark_shared}"), bundle.ranker());
            }
        }
    }
}

fn inputs(texts: &[String]) -> Vec<Input<'_>> {
    texts.iter().map(|t| Input::Text(t)).collect()
}

/// Equality of floats is not enough: `-0.0 == 0.0`.
fn bits(scores: &[f32]) -> Vec<u32> {
    scores.iter().map(|s| s.to_bits()).collect()
}

#[test]
fn one_finite_score_per_candidate() {
    let texts = texts();
    each(|name, ranker| {
        for query in [Input::Text(&texts[2]), Input::Text("")] {
            let scores = ranker.score(query, &inputs(&texts)).unwrap();
            assert_eq!(scores.len(), texts.len(), "{name}");
            assert!(scores.iter().all(|s| s.is_finite()), "{name}: {scores:?}");
        }
        let scores = ranker.score(Input::Text(&texts[2]), &inputs(&texts)).unwrap();
        assert!(scores.iter().any(|s| *s != scores[0]), "{name}: every candidate has the same score");
    });
}

#[test]
fn no_candidates_no_scores() {
    each(|name, ranker| {
        assert!(ranker.score(Input::Text("Монитор"), &[]).unwrap().is_empty(), "{name}");
        assert!(ranker.score_pairs(&[]).unwrap().is_empty(), "{name}");
    });
}

#[test]
fn company_and_padding_change_no_bit() {
    let texts = texts();
    each(|name, ranker| {
        let query = Input::Text(&texts[2]);
        let together = ranker.score(query, &inputs(&texts)).unwrap();
        for (text, score) in texts.iter().zip(&together) {
            let alone = ranker.score(query, &[Input::Text(text)]).unwrap();
            assert_eq!(bits(&alone), bits(&[*score]), "{name}: `{text}` alone and in company");
        }
        for size in [2, 7] {
            let pieces = inputs(&texts).chunks(size).flat_map(|c| ranker.score(query, c).unwrap()).collect::<Vec<_>>();
            assert_eq!(bits(&pieces), bits(&together), "{name}: {size} at once");
        }
    });
}

#[test]
fn a_permutation_of_candidates_permutes_scores() {
    let texts = texts();
    each(|name, ranker| {
        let query = Input::Text(&texts[4]);
        let scores = ranker.score(query, &inputs(&texts)).unwrap();
        // 17 shares no divisor with the length, so this visits every place
        let order: Vec<usize> = (0..texts.len()).map(|i| (i * 17 + 5) % texts.len()).collect();
        let permuted: Vec<Input> = order.iter().map(|&i| Input::Text(&texts[i])).collect();
        let expected: Vec<f32> = order.iter().map(|&i| scores[i]).collect();
        assert_eq!(bits(&ranker.score(query, &permuted).unwrap()), bits(&expected), "{name}");
    });
}

#[test]
fn the_same_again_on_any_number_of_threads() {
    let texts = texts();
    each(|name, ranker| {
        let score = || bits(&ranker.score(Input::Text(&texts[2]), &inputs(&texts)).unwrap());
        let first = score();
        assert_eq!(score(), first, "{name}: twice");
        for threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(score), first, "{name}: {threads} threads");
        }
    });
}

#[test]
fn pairs_score_as_lists_do() {
    let texts = texts();
    each(|name, ranker| {
        let queries = [&texts[2], &texts[0], &texts[7], &texts[4]];
        let pairs: Vec<(Input, Input)> = texts
            .iter()
            .flat_map(|candidate| queries.map(|query| (Input::Text(query), Input::Text(candidate))))
            .collect();
        let scores = ranker.score_pairs(&pairs).unwrap();
        for (place, query) in queries.into_iter().enumerate() {
            let of_query: Vec<f32> = scores.iter().copied().skip(place).step_by(queries.len()).collect();
            let list = ranker.score(Input::Text(query), &inputs(&texts)).unwrap();
            assert_eq!(bits(&of_query), bits(&list), "{name}: `{query}`");
        }
    });
}

#[test]
fn a_record_scores_as_its_text() {
    let record = |values: [&str; 2]| Record {
        id: "1".into(),
        columns: ["name".to_string(), "price".to_string()].into(),
        values: values.map(String::from).into(),
    };
    let (left, right) = (record(["Монитор LG", "27"]), record(["Чай чёрный", ""]));
    each(|name, ranker| {
        let of_records = ranker.score((&left).into(), &[(&right).into()]).unwrap();
        let of_texts = ranker.score(Input::Text("Монитор LG 27"), &[Input::Text("Чай чёрный")]).unwrap();
        assert_eq!(bits(&of_records), bits(&of_texts), "{name}");
    });
}
