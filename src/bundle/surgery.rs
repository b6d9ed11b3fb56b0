//! Changes to a checkpoint before training: more segments, fewer layers, fewer words.
//!
//! Taking layers away and fine-tuning what is left keeps most of the quality (Sajjad et al., On the effect of dropping layers
//! of pre-trained Transformer models, Computer Speech & Language 2023). New segments begin as copies of the old ones, so that
//! the first step sees the pretrained network and not noise.

use crate::models::Reads;
use crate::models::bert::{Config, LAYER, SEGMENTS, WORDS};
use crate::nn::Weights;
use crate::nn::weights::Array;
use crate::{Error, Result};

/// Grows the segment tables to `rows`; new rows are copies of the old ones in turn: of two, row 2 copies row 0, row 3 copies row 1,
/// row 4 copies row 0. Where three texts are read, the second document's rows copy those of the first.
///
/// # Errors
/// Fewer rows than there are.
pub fn grow_segments(config: &mut Config, weights: &mut Weights, rows: usize, reads: Reads) -> Result<()> {
    let old = config.type_vocab_size;
    if rows < old {
        return Err(Error::setting(
            "segments",
            rows,
            format!("the model has {old} segments; only more can be asked for"),
        ));
    }
    let from = |row: usize| match (reads, old) {
        (Reads::Triple, 2) if row == 2 => 1,
        (Reads::Triple, 10) if (10..15).contains(&row) => 2 * (row - 10) + 1,
        _ => row % old.max(1),
    };
    let picked: Vec<usize> = (0..rows).map(from).collect();
    // static vectors have no segments
    if weights.0.keys().any(|name| name.ends_with(SEGMENTS)) {
        pick_tables(weights, SEGMENTS, &picked)?;
    }
    config.type_vocab_size = rows;
    Ok(())
}

/// What the rows begin with that are new in a segment table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NewSegments {
    /// Copies of the old rows in turn: the first step sees the pretrained network.
    #[default]
    Copy,
    /// The mean of the old rows: for fields that are on both sides in one segment.
    Mean,
}

/// Sets the segment tables' rows after the first `old` to the mean of those.
///
/// # Errors
/// Fewer rows than `old`.
pub fn level_segments(weights: &mut Weights, old: usize) -> Result<()> {
    for (_, table) in weights.0.iter_mut().filter(|(name, _)| name.ends_with(SEGMENTS)) {
        let width = table.shape.last().copied().unwrap_or(1);
        let mut values = table.values().to_vec();
        if values.len() < old * width || old == 0 {
            let (expected, got) = (format!("{old} rows"), format!("{:?}", table.shape));
            return Err(Error::Shape { op: "level_segments", expected, got });
        }
        let mean: Vec<f32> =
            (0..width).map(|i| (0..old).map(|row| values[row * width + i]).sum::<f32>() / old as f32).collect();
        values[old * width..].chunks_mut(width).for_each(|row| row.copy_from_slice(&mean));
        *table = Array::new(table.shape.clone(), values);
    }
    Ok(())
}

/// Keeps the layers `keep`, counted from 0, in that order.
///
/// # Errors
/// No layer, or one that the model does not have.
pub fn take_layers(config: &mut Config, weights: &mut Weights, keep: &[usize]) -> Result<()> {
    let layers = config.num_hidden_layers;
    if let Some(what) = match keep.iter().find(|&&layer| layer >= layers) {
        Some(beyond) => {
            Some(format!("there is no layer {beyond}: the model's are numbered 0 to {}", layers.saturating_sub(1)))
        }
        None => keep.is_empty().then(|| "must keep at least one layer".to_string()),
    } {
        return Err(Error::setting("layers", format!("{keep:?}"), what));
    }
    let old = std::mem::take(&mut weights.0);
    for (name, array) in old {
        let layer = name.split_once(LAYER).and_then(|(prefix, rest)| {
            let (layer, rest) = rest.split_once('.')?;
            Some((prefix, layer.parse::<usize>().ok()?, rest))
        });
        let Some((prefix, layer, rest)) = layer else {
            weights.0.insert(name, array);
            continue;
        };
        for (new, _) in keep.iter().enumerate().filter(|(_, old)| **old == layer) {
            weights.0.insert(format!("{prefix}{LAYER}{new}.{rest}"), array.clone());
        }
    }
    config.num_hidden_layers = keep.len();
    if let Some(windows) = &mut config.attention_window {
        *windows = keep.iter().map(|layer| windows[*layer]).collect();
    }
    Ok(())
}

/// What the names of inverse document frequencies end with.
const IDF: &str = ".idf";

/// Keeps the rows `kept` of the word embeddings, in that order: new id `i` is old id `kept[i]`.
///
/// # Errors
/// No row, or one that the table does not have.
pub fn prune_embeddings(config: &mut Config, weights: &mut Weights, kept: &[u32]) -> Result<()> {
    let rows: Vec<usize> = kept.iter().map(|&id| id as usize).collect();
    pick_tables(weights, WORDS, &rows)?;
    // values of a gate, one a token
    for (_, array) in weights.0.iter_mut().filter(|(name, array)| name.ends_with(IDF) && array.shape.len() == 1) {
        let values = array.values().into_owned();
        let kept = rows.iter().map(|row| values.get(*row).copied().unwrap_or(0.0)).collect();
        *array = Array::new(vec![rows.len()], kept);
    }
    config.vocab_size = kept.len();
    config.pad_token_id = kept.iter().position(|&id| id == config.pad_token_id).unwrap_or(0) as u32;
    Ok(())
}

/// Takes some rows of every encoder's table of this name.
fn pick_tables(weights: &mut Weights, name: &str, rows: &[usize]) -> Result<()> {
    let mut found = false;
    for (_, table) in weights.0.iter_mut().filter(|(full, _)| full.ends_with(name)) {
        *table = pick(table, rows, name)?;
        found = true;
    }
    let missing = || Error::Internal { op: "surgery", what: format!("the weights have no {name}") };
    if found { Ok(()) } else { Err(missing()) }
}

/// Some rows of a matrix.
fn pick(table: &Array, rows: &[usize], name: &str) -> Result<Array> {
    let wrong = |got: String| Error::Shape { op: "surgery", expected: format!("rows that {name} has"), got };
    let &[have, _] = table.shape.as_slice() else { return Err(wrong(format!("{:?}", table.shape))) };
    if let Some(beyond) = rows.iter().find(|&&row| row >= have) {
        return Err(wrong(format!("row {beyond} of {have}")));
    }
    if rows.is_empty() {
        return Err(wrong("none".into()));
    }
    Ok(table.select_rows(rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> (Config, Weights) {
        let text = r#"{"vocab_size": 4, "hidden_size": 2, "num_hidden_layers": 12, "num_attention_heads": 1,
            "intermediate_size": 4, "max_position_embeddings": 8, "pad_token_id": 1}"#;
        let mut weights = Weights::default();
        let counted = |rows: usize| Array::new(vec![rows, 2], (0..rows * 2).map(|v| v as f32).collect());
        weights.0.insert(format!("bert.{SEGMENTS}"), counted(2));
        weights.0.insert(format!("bert.{WORDS}"), counted(4));
        for layer in 0..12 {
            let array = Array::new(vec![1], vec![layer as f32]);
            weights.0.insert(format!("bert.{LAYER}{layer}.output.dense.bias"), array);
        }
        (serde_json::from_str(text).unwrap(), weights)
    }

    #[test]
    fn new_segments_copy_the_old_in_turn() {
        let (mut config, mut weights) = model();
        grow_segments(&mut config, &mut weights, 5, Reads::Pair).unwrap();
        assert_eq!(
            weights.0[&format!("bert.{SEGMENTS}")].values()[..],
            [0.0, 1.0, 2.0, 3.0, 0.0, 1.0, 2.0, 3.0, 0.0, 1.0]
        );
        assert_eq!((config.type_vocab_size, &weights.0[&format!("bert.{SEGMENTS}")].shape), (5, &vec![5, 2]));
        assert!(grow_segments(&mut config, &mut weights, 4, Reads::Pair).unwrap_err().is_user_error());
    }

    #[test]
    fn new_segments_may_be_the_mean_of_the_old() {
        let (mut config, mut weights) = model();
        grow_segments(&mut config, &mut weights, 4, Reads::Pair).unwrap();
        level_segments(&mut weights, 2).unwrap();
        assert_eq!(weights.0[&format!("bert.{SEGMENTS}")].values()[..], [0.0, 1.0, 2.0, 3.0, 1.0, 2.0, 1.0, 2.0]);
        assert!(level_segments(&mut weights, 5).is_err());
    }

    #[test]
    fn layers_are_taken_in_the_order_given() {
        let (mut config, mut weights) = model();
        take_layers(&mut config, &mut weights, &[1, 11, 1]).unwrap();
        let taken: Vec<f32> =
            (0..3).map(|l| weights.0[&format!("bert.{LAYER}{l}.output.dense.bias")].values()[0]).collect();
        assert_eq!((taken, config.num_hidden_layers, weights.0.len()), (vec![1.0, 11.0, 1.0], 3, 5));
        assert!(take_layers(&mut config, &mut weights, &[3]).unwrap_err().to_string().contains("no layer 3"));
        assert!(take_layers(&mut config, &mut weights, &[]).is_err());
        assert_eq!(weights.0.len(), 5, "a refusal changes nothing");
    }

    #[test]
    fn pruned_embeddings_follow_the_kept_ids() {
        let (mut config, mut weights) = model();
        assert!(prune_embeddings(&mut config, &mut weights, &[0, 4]).is_err());
        prune_embeddings(&mut config, &mut weights, &[0, 1, 3]).unwrap();
        assert_eq!(weights.0[&format!("bert.{WORDS}")].values()[..], [0.0, 1.0, 2.0, 3.0, 6.0, 7.0]);
        assert_eq!((config.vocab_size, config.pad_token_id), (3, 1));
    }
}
