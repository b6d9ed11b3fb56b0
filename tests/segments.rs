//! A segment table grown from two rows to five: nothing changes for texts that use the old rows, and fields find theirs by name.

use std::path::Path;

use sverka::bundle::{Bundle, Manifest};
use sverka::nn::Device;
use sverka::testing;
use sverka::text::{FieldSegment, TextConfig, TextEncoder};
use sverka::{Input, List, Ranker, Record, Score};

/// Both sides' titles keep their segments; categories have one on each side, the user's region one for all.
fn by_field() -> TextConfig {
    let segments = [
        ("title".to_string(), FieldSegment::Both(0)),
        ("category".to_string(), FieldSegment::Sides([2, 3])),
        ("region".to_string(), FieldSegment::Both(4)),
    ];
    TextConfig { max_tokens: 64, segments: segments.into(), ..TextConfig::default() }
}

fn record(fields: &[(&str, &str)]) -> Record {
    let columns: Vec<String> = fields.iter().map(|f| f.0.to_string()).collect();
    Record { id: "1".into(), columns: columns.into(), values: fields.iter().map(|f| f.1.to_string()).collect() }
}

fn rubert() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bert/rubert")
}

#[test]
fn scores_of_old_segments_are_the_same_bits_in_a_grown_table() {
    let dir = tempfile::tempdir().unwrap();
    let open = |name: &str, rendering: TextConfig| {
        let out = dir.path().join(name);
        testing::write_bundle(&out, &rubert(), &Manifest { rendering, ..Manifest::default() }).unwrap();
        Bundle::open(&out, None, Device::Cpu).unwrap()
    };
    let plain = open("plain", TextConfig { max_tokens: 64, ..TextConfig::default() });
    let grown = open("grown", by_field());
    assert_eq!((plain.config().type_vocab_size, grown.config().type_vocab_size), (2, 5));
    let titles: Vec<Record> =
        ["Монитор LG 27", "Чай чёрный, 100 г", ""].iter().map(|title| record(&[("title", title)])).collect();
    let scores = |bundle: &Bundle, query: &Record| -> Vec<Score> {
        let list = List { query: query.into(), candidates: titles.iter().map(Input::from).collect() };
        bundle.score(&[list]).unwrap().concat()
    };
    for query in &titles {
        let bits = |scores: Vec<Score>| scores.iter().map(|s| s.value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(scores(&plain, query)), bits(scores(&grown, query)));
    }
}

#[test]
fn fields_have_their_segments_on_their_sides() {
    let encoder = TextEncoder::open(&rubert(), by_field()).unwrap();
    let left = record(&[("title", "монитор"), ("category", "чай"), ("region", "чай")]);
    let right = record(&[("title", "чай"), ("category", "монитор")]);
    let tokens = |text: &str| encoder.token_ids(text).unwrap().len();
    let (monitor, tea) = (tokens("монитор"), tokens("чай"));
    let expected: Vec<(usize, u32)> =
        vec![(1, 0), (monitor, 0), (tea, 2), (tea, 4), (1, 0), (tea, 1), (monitor, 3), (1, 1)];
    let expected: Vec<u32> = expected.iter().flat_map(|&(n, segment)| std::iter::repeat_n(segment, n)).collect();
    assert_eq!(encoder.encode(&[(&left).into(), (&right).into()]).unwrap().segments, expected);
}
