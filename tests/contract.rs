//! What every ranker owes its callers, whatever its architecture (the idea is PyTerrier's conformance suite).
//!
//! The suite takes every architecture that `bundle` knows, with random weights. Laws of a score by itself are for pointwise
//! rankers; a listwise one may depend on its list, and owes other laws.

use std::path::Path;

use sverka::bundle::{Architecture, Bundle, Manifest};
use sverka::nn::{Device, Dtype};
use sverka::testing;
use sverka::text::TextConfig;
use sverka::{Input, List, Ranker, Record, Score};

const DTYPES: [Dtype; 3] = [Dtype::F32, Dtype::Bf16, Dtype::Int8];

/// Texts of all lengths: none, one letter, unknown signs, far more than fits.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> =
        ["", "а", "Монитор LG 27", "монитор 27 LG", "Чай чёрный, 100 г", "☃ ☃", "LG"].map(String::from).into();
    texts.push("Монитор LG 27 чёрный ".repeat(60));
    texts.extend((0..14).map(|i| format!("монитор {i} {}", "чай ".repeat(i % 7))));
    texts
}

/// A bundle of an architecture, with drawn heads.
fn write_bundle(out: &Path, architecture: &Architecture, overlap_segments: bool) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bert/rubert");
    let rendering = TextConfig { max_tokens: 64, overlap_segments, ..TextConfig::default() };
    let manifest = Manifest { architecture: architecture.clone(), rendering, ..Manifest::default() };
    testing::write_bundle(out, &from, &manifest).unwrap();
}

/// Calls `check` with every architecture in every precision, with plain texts and with shared words marked.
fn each(check: impl Fn(&str, &dyn Ranker)) {
    let dir = tempfile::tempdir().unwrap();
    for name in Architecture::NAMES {
        let architecture = Architecture::named(name, &toml::Table::new()).unwrap();
        for overlap_segments in [false, true] {
            let out = dir.path().join(format!("{name}-{overlap_segments}"));
            write_bundle(&out, &architecture, overlap_segments);
            for dtype in DTYPES {
                let bundle = Bundle::open(&out, Some(dtype), Device::Cpu).unwrap();
                check(&format!("{name} in {dtype:?}, shared words marked: {overlap_segments}"), &bundle);
            }
        }
    }
}

/// [`each`] of those whose scores do not depend on the list.
fn each_pointwise(check: impl Fn(&str, &dyn Ranker)) {
    each(|name, ranker| {
        if !ranker.is_listwise() {
            check(name, ranker);
        }
    });
}

fn list<'a>(query: &'a str, candidates: impl IntoIterator<Item = &'a String>) -> List<'a> {
    List { query: Input::Text(query), candidates: candidates.into_iter().map(|c| Input::Text(c)).collect() }
}

/// The scores of one list.
fn scored(ranker: &dyn Ranker, list: List) -> Vec<Score> {
    let mut scores = ranker.score(&[list]).unwrap();
    assert_eq!(scores.len(), 1);
    scores.remove(0)
}

/// Equality of floats is not enough: `-0.0 == 0.0`.
fn bits(scores: &[Score]) -> Vec<(u32, bool, bool)> {
    scores.iter().map(|s| (s.value.to_bits(), s.truncated, s.readable)).collect()
}

#[test]
fn one_finite_score_per_candidate_and_not_the_same_for_all() {
    let texts = texts();
    each(|name, ranker| {
        for query in [&texts[2], &texts[0]] {
            let scores = scored(ranker, list(query, &texts));
            assert_eq!(scores.len(), texts.len(), "{name}");
            assert!(scores.iter().all(|s| s.value.is_finite()), "{name}: {scores:?}");
            // a model that compares tokens has nothing to compare for a query without any
            let differ = query.is_empty() || scores.iter().any(|s| s.value != scores[0].value);
            assert!(differ, "{name}: every candidate has the same score");
        }
    });
}

#[test]
fn no_lists_no_scores_and_no_candidates_no_scores() {
    each(|name, ranker| {
        assert!(ranker.score(&[]).unwrap().is_empty(), "{name}");
        let empty = ranker.score(&[list("Монитор", []), list("", [])]).unwrap();
        assert_eq!(empty, [vec![], vec![]], "{name}");
    });
}

#[test]
fn a_pointwise_score_is_the_same_alone_in_company_and_in_any_batch() {
    let texts = texts();
    each_pointwise(|name, ranker| {
        let together = scored(ranker, list(&texts[2], &texts));
        for (text, score) in texts.iter().zip(&together) {
            let alone = scored(ranker, list(&texts[2], [text]));
            assert_eq!(bits(&alone), bits(&[*score]), "{name}: `{text}` alone and in company");
        }
        for size in [2, 7] {
            let pieces: Vec<Score> =
                texts.chunks(size).flat_map(|some| scored(ranker, list(&texts[2], some))).collect();
            assert_eq!(bits(&pieces), bits(&together), "{name}: {size} at once");
        }
    });
}

#[test]
fn a_listwise_ranker_refuses_a_list_of_one_and_says_how_many_it_needs() {
    let mut listwise = std::cell::Cell::new(0);
    each(|name, ranker| {
        if ranker.is_listwise() {
            listwise.set(listwise.get() + 1);
            let error = ranker.score(&[list("Монитор", [&"LG".to_string()])]).unwrap_err();
            assert!(error.is_user_error(), "{name}: {error}");
            assert!(
                error.to_string().contains("candidates = 1") && error.to_string().contains("at least 2"),
                "{error}"
            );
        }
    });
    assert!(*listwise.get_mut() > 0, "no architecture is listwise, and the suite checks nothing of them");
}

#[test]
fn a_permutation_of_candidates_permutes_scores() {
    let texts = texts();
    each(|name, ranker| {
        let scores = scored(ranker, list(&texts[4], &texts));
        // 17 shares no divisor with the length, so this visits every place
        let order: Vec<usize> = (0..texts.len()).map(|i| (i * 17 + 5) % texts.len()).collect();
        let permuted = scored(ranker, list(&texts[4], order.iter().map(|&i| &texts[i])));
        let expected: Vec<Score> = order.iter().map(|&i| scores[i]).collect();
        match ranker.is_listwise() {
            false => assert_eq!(bits(&permuted), bits(&expected), "{name}"),
            // sums over the list come in another order
            true => {
                let near = |(a, b): (&Score, &Score)| (a.value - b.value).abs() < 1e-5;
                assert!(permuted.iter().zip(&expected).all(near), "{name}: {permuted:?} {expected:?}");
            }
        }
    });
}

#[test]
fn a_second_time_and_on_any_number_of_threads_the_bits_are_the_same() {
    let texts = texts();
    each(|name, ranker| {
        let score = || bits(&scored(ranker, list(&texts[2], &texts)));
        let first = score();
        assert_eq!(score(), first, "{name}: twice");
        for threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(score), first, "{name}: {threads} threads");
        }
    });
}

#[test]
fn lists_of_one_call_score_as_each_by_itself() {
    let texts = texts();
    each(|name, ranker| {
        let queries = [&texts[2], &texts[0], &texts[7], &texts[4]];
        let lists: Vec<List> = (2..).zip(queries).map(|(n, query)| list(query, texts.iter().take(5 * n))).collect();
        let together = ranker.score(&lists).unwrap();
        assert_eq!(together.len(), lists.len(), "{name}");
        for (list, scores) in lists.into_iter().zip(together) {
            assert_eq!(bits(&scores), bits(&scored(ranker, list)), "{name}");
        }
    });
}

#[test]
fn a_record_scores_as_its_text() {
    let record = |values: [&str; 2]| Record {
        id: "1".into(),
        columns: ["name".to_string(), "size".to_string()].into(),
        values: values.map(String::from).into(),
    };
    let (query, tea, tv) = (record(["Монитор LG", "27"]), record(["Чай чёрный", ""]), record(["монитор", "32"]));
    each(|name, ranker| {
        let of_records = List { query: (&query).into(), candidates: vec![(&tea).into(), (&tv).into()] };
        let texts = ["Чай чёрный".to_string(), "монитор 32".to_string()];
        let of_texts = scored(ranker, list("Монитор LG 27", &texts));
        assert_eq!(bits(&scored(ranker, of_records)), bits(&of_texts), "{name}");
    });
}

#[test]
fn what_is_cut_or_can_not_be_read_is_marked_by_every_ranker() {
    let texts = texts();
    each(|name, ranker| {
        let scores = scored(ranker, list(&texts[2], &texts));
        let truncated: Vec<&str> =
            texts.iter().zip(&scores).filter(|(_, s)| s.truncated).map(|(text, _)| text.as_str()).collect();
        assert_eq!(truncated, [texts[7].as_str()], "{name}");
        let unreadable: Vec<&str> =
            texts.iter().zip(&scores).filter(|(_, s)| !s.readable).map(|(text, _)| text.as_str()).collect();
        assert_eq!(unreadable, ["", "☃ ☃"], "{name}");
    });
}
