//! The weights a run begins with, fitted to what the recipe asks for: fewer layers, a larger segment table.
//!
//! Taking layers away and fine-tuning what is left keeps most of the quality (Sajjad et al., "On the effect of dropping
//! layers of pre-trained Transformer models", Computer Speech & Language 2023). New segments begin as copies of the old
//! ones, so that the first step sees the pretrained network and not noise.

use crate::models::bert::Config;
use crate::nn::Weights;
use crate::{Error, Result};

const LAYERS: &str = "bert.encoder.layer.";
const SEGMENTS: &str = "bert.embeddings.token_type_embeddings.weight";

/// Keeps the layers `keep` (counted from 0), in that order.
pub fn keep_layers(config: &mut Config, weights: &mut Weights, keep: &[usize]) -> Result<()> {
    let layers = config.num_hidden_layers;
    let shown = || format!("{keep:?}");
    if keep.is_empty() {
        return Err(Error::setting("start.layers", shown(), "must keep at least one layer"));
    }
    if let Some(beyond) = keep.iter().find(|&&layer| layer >= layers) {
        let what = format!("there is no layer {beyond}; the start has layers 0 to {}", layers - 1);
        return Err(Error::setting("start.layers", shown(), what));
    }
    let mut kept = Weights::default();
    for (name, array) in std::mem::take(&mut weights.0) {
        let Some((layer, rest)) = name.strip_prefix(LAYERS).and_then(|rest| rest.split_once('.')) else {
            kept.0.insert(name, array);
            continue;
        };
        for (new, old) in keep.iter().enumerate() {
            if layer.parse() == Ok(*old) {
                kept.0.insert(format!("{LAYERS}{new}.{rest}"), array.clone());
            }
        }
    }
    config.num_hidden_layers = keep.len();
    *weights = kept;
    Ok(())
}

/// Grows the segment table `[segments, h]`; new rows are copies of the old ones in turn.
pub fn grow_segments(config: &mut Config, weights: &mut Weights, segments: usize) -> Result<()> {
    let (old, h) = (config.type_vocab_size, config.hidden_size);
    if segments < old {
        let what = format!("the start has {old} segments; only more can be asked for");
        return Err(Error::setting("start.segments", segments, what));
    }
    if segments == old {
        return Ok(());
    }
    let table = weights.0.get_mut(SEGMENTS).filter(|table| old > 0 && table.data.len() == old * h);
    let Some(table) = table else {
        let got = "a table of another size, or none".to_string();
        return Err(Error::Shape { op: "grow_segments", expected: format!("{SEGMENTS} [{old}, {h}]"), got });
    };
    for new in old..segments {
        let row = table.data[new % old * h..][..h].to_vec();
        table.data.extend(row);
    }
    table.shape = vec![segments, h];
    config.type_vocab_size = segments;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Array;

    fn start() -> (Config, Weights) {
        let text = r#"{"vocab_size": 9, "hidden_size": 2, "num_hidden_layers": 12, "num_attention_heads": 1,
            "intermediate_size": 4, "max_position_embeddings": 8}"#;
        let mut weights = Weights::default();
        weights.0.insert(SEGMENTS.into(), Array { shape: vec![2, 2], data: vec![1.0, 2.0, 3.0, 4.0] });
        for layer in 0..12 {
            let array = Array { shape: vec![1], data: vec![layer as f32] };
            weights.0.insert(format!("{LAYERS}{layer}.output.dense.bias"), array);
        }
        (serde_json::from_str(text).unwrap(), weights)
    }

    #[test]
    fn layers_are_kept_in_the_order_given() {
        let (mut config, mut weights) = start();
        keep_layers(&mut config, &mut weights, &[1, 11, 0]).unwrap();
        assert_eq!((config.num_hidden_layers, weights.0.len()), (3, 4));
        let at = |layer: usize| weights.0[&format!("{LAYERS}{layer}.output.dense.bias")].data[0];
        assert_eq!([at(0), at(1), at(2)], [1.0, 11.0, 0.0]);
        let error = keep_layers(&mut config, &mut weights, &[3]).unwrap_err();
        assert!(error.to_string().contains("0 to 2"), "{error}");
    }

    #[test]
    fn new_segments_copy_the_old() {
        let (mut config, mut weights) = start();
        grow_segments(&mut config, &mut weights, 5).unwrap();
        assert_eq!(weights.0[SEGMENTS].data, [1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0, 1.0, 2.0]);
        assert_eq!((config.type_vocab_size, weights.0[SEGMENTS].shape.clone()), (5, vec![5, 2]));
        assert!(grow_segments(&mut config, &mut weights, 2).is_err());
    }
}
