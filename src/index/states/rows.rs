//! How a row of values is stored.

use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use serde::{Deserialize, Serialize};

/// How a token's values are stored, in the machine's order of bytes (all that this runs on have the low one first).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RowStorage {
    /// As computed: scores have the bits of the joint model's.
    F32,
    /// Half precision: a value changes by at most 1/2048 of itself.
    #[default]
    F16,
    /// A scale for each row and a byte for each value: a value changes by at most 1/254 of the row's largest.
    Int8,
}

impl RowStorage {
    /// By name.
    pub const NAMES: [(&str, RowStorage); 3] =
        [("f32", RowStorage::F32), ("f16", RowStorage::F16), ("int8", RowStorage::Int8)];

    /// Bytes of a row of so many values.
    pub fn row_bytes(self, width: usize) -> usize {
        match self {
            RowStorage::F32 => 4 * width,
            RowStorage::F16 => 2 * width,
            RowStorage::Int8 => 4 + width.next_multiple_of(4),
        }
    }

    /// Appends rows `[t, width]`.
    pub(super) fn encode(self, rows: &[f32], width: usize, out: &mut Vec<u8>) {
        for row in rows.chunks_exact(width) {
            match self {
                RowStorage::F32 => out.extend_from_slice(bytemuck::cast_slice(row)),
                RowStorage::F16 => {
                    let most = f16::MAX.to_f32();
                    out.extend(row.iter().flat_map(|v| f16::from_f32(v.clamp(-most, most)).to_ne_bytes()));
                }
                RowStorage::Int8 => {
                    let scale = row.iter().fold(0f32, |most, v| most.max(v.abs())) / 127.0;
                    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
                    out.extend(scale.to_ne_bytes());
                    out.extend(row.iter().map(|v| (v * inverse).round_ties_even().clamp(-127.0, 127.0) as i8 as u8));
                    out.resize(out.len().next_multiple_of(4), 0);
                }
            }
        }
    }

    /// Reads rows `[t, width]` back.
    pub(super) fn decode(self, bytes: &[u8], width: usize, rows: &mut [f32]) {
        let stored = bytes.chunks_exact(self.row_bytes(width));
        for (bytes, row) in stored.zip(rows.chunks_exact_mut(width)) {
            match self {
                RowStorage::F32 => bytemuck::cast_slice_mut(row).copy_from_slice(bytes),
                RowStorage::F16 => match bytemuck::try_cast_slice::<u8, u16>(bytes) {
                    Ok(halves) => halves.reinterpret_cast::<f16>().convert_to_f32_slice(row),
                    Err(_) => {
                        let halves = bytes.chunks_exact(2).map(|b| f16::from_ne_bytes([b[0], b[1]]).to_f32());
                        row.iter_mut().zip(halves).for_each(|(value, half)| *value = half);
                    }
                },
                RowStorage::Int8 => {
                    let scale = f32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                    row.iter_mut().zip(&bytes[4..]).for_each(|(value, byte)| *value = f32::from(*byte as i8) * scale);
                }
            }
        }
    }
}

impl std::fmt::Display for RowStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(Self::NAMES.iter().find(|(_, storage)| storage == self).map_or("", |(name, _)| name))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_come_back_within_what_is_promised(
            (width, values) in (1usize..20).prop_flat_map(|w| (Just(w), prop::collection::vec(-50f32..50.0, 3 * w))),
        ) {
            for (_, storage) in RowStorage::NAMES {
                let (mut bytes, mut back) = (Vec::new(), vec![0.0; values.len()]);
                storage.encode(&values, width, &mut bytes);
                prop_assert_eq!(bytes.len(), 3 * storage.row_bytes(width));
                storage.decode(&bytes, width, &mut back);
                for (row, back) in values.chunks(width).zip(back.chunks(width)) {
                    let most = row.iter().fold(0f32, |most, v| most.max(v.abs()));
                    for (v, b) in row.iter().zip(back) {
                        let allowed = match storage {
                            RowStorage::F32 => 0.0,
                            RowStorage::F16 => v.abs() / 2048.0 + 1e-7,
                            RowStorage::Int8 => most / 254.0 * 1.0001,
                        };
                        prop_assert!((v - b).abs() <= allowed, "{} {} {}", storage, v, b);
                    }
                }
            }
        }
    }
}
