use super::*;
use crate::losses::Loss;
use crate::models::bert;
use crate::models::cross_encoder::{CrossEncoder, logits};
use crate::models::tests::{assert_gradient_but, pair_examples};
use crate::models::{Mode, Net};
use crate::nn::{Array, Dtype};
use crate::testing::{self, config};
use crate::text::Encoding;

#[test]
fn gradients_equal_finite_differences_with_and_without_compression_and_marks() {
    let mut examples = pair_examples();
    for (split_at, compress, marked) in [(1, 0, false), (1, 8, true), (0, 8, false), (1, 0, true)] {
        for text in examples.iter_mut().flat_map(|example| &mut example.texts) {
            let mark = |at: usize| if marked && at % 3 == 1 { 2 } else { 0 };
            text.marks = (0..text.ids.len()).map(mark).collect();
        }
        let config = Config { split_at: Some(split_at), compress: Width(compress), ..Default::default() };
        println!("split at {split_at}, compressed to {compress}, marked: {marked}");
        // without marks their table does not learn
        let constant: &[&str] = if marked { &[] } else { &[MARKS] };
        assert_gradient_but(&Yati(config), &examples.iter().collect::<Vec<_>>(), Loss::Bce, constant);
    }
}

#[test]
fn marks_begin_with_what_segments_did_to_the_cross_encoder() {
    let config = bert::Config { type_vocab_size: 10, ..config(50) };
    let mut weights = testing::weights(&config, &CrossEncoder, 0.4, 7);
    let table = weights.0.get_mut("bert.embeddings.token_type_embeddings.weight").unwrap();
    // a mark moves a token, and does not replace it
    *table = Array::new(table.shape.clone(), table.values().iter().map(|x| x / 2.0).collect());
    let joint: Vec<Encoding> = (0..40)
        .map(|i| Encoding {
            ids: (0..12).map(|t| (i * 7 + t * 11) % 50).collect(),
            segments: (0..12).map(|t| u32::from(t >= 6) + 2 * ((t * 5 + i) % 5)).collect(),
            ..Encoding::default()
        })
        .collect();
    let halves = |marked: bool| -> Batch {
        let one = |joint: &Encoding| {
            let mark = |segment: &u32| if marked && *segment >= 2 { *segment } else { 0 };
            let marks = joint.segments.iter().map(mark).collect();
            let segments = joint.segments.iter().map(|segment| segment % 2).collect();
            Encoding { marks, segments, positions: (0..12).collect(), ..joint.clone() }
        };
        joint.iter().map(one).collect::<Vec<_>>().iter().collect()
    };
    let yati = Yati(Config { split_at: Some(0), ..Default::default() });
    let net = |model: &dyn Model, weights| Net::training(config.clone(), &model.modules(), weights, Dtype::F32, 1);
    let (split, whole) = (net(&yati, weights.clone()).unwrap(), net(&CrossEncoder, weights).unwrap());
    let score =
        |batch: &Batch| -> Vec<f32> { yati.forward(&split.pass(Mode::Infer), batch).unwrap().0.to_vec1().unwrap() };
    let wanted: Vec<f32> = logits(&whole.pass(Mode::Infer), &joint.iter().collect()).unwrap().to_vec1().unwrap();
    let off = |got: Vec<f32>| got.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).sum::<f32>();
    let (marked, plain) = (off(score(&halves(true))), off(score(&halves(false))));
    assert!(marked < 0.5 * plain, "off by {marked} with marks, {plain} without");
}

#[test]
fn widths_and_layers_that_are_none_are_refused() {
    let read = |text: &str| toml::from_str::<Config>(text);
    assert_eq!(read("compress = 64\nsplit_at = 3").unwrap().split_at, Some(3));
    assert!(read("compress = 65").unwrap_err().message().contains("one of [8, 16"));
    let yati = Yati(Config { split_at: Some(4), ..Config::default() });
    assert!(yati.split_at(3).unwrap_err().to_string().contains("give 0 to 3"));
    assert_eq!((yati.split_at(4).unwrap(), Yati(Config::default()).split_at(6).unwrap()), (4, 3));
}
