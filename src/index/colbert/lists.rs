//! The documents of a centroid in few bytes: each as what it is more than the one before, 7 bits a byte, the lowest first, the highest bit set where
//! more follow. A list of a collection has gaps of some hundreds, so most take one or two bytes in place of four.

/// Adds a list, which rises, to some bytes.
pub(super) fn pack(documents: &[u32], to: &mut Vec<u8>) {
    let mut before = 0;
    for &document in documents {
        let mut gap = document - before;
        while gap >= 0x80 {
            to.push(gap as u8 | 0x80);
            gap >>= 7;
        }
        to.push(gap as u8);
        before = document;
    }
}

/// The list in some bytes. Bytes that are none give a number that no document has.
pub(super) fn unpack(bytes: &[u8]) -> impl Iterator<Item = u32> {
    let (mut rest, mut before) = (bytes, 0u64);
    std::iter::from_fn(move || {
        let (mut gap, mut shift) = (0u64, 0);
        loop {
            let Some((byte, after)) = rest.split_first() else { return (shift > 0).then_some(u32::MAX) };
            rest = after;
            gap |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                break;
            }
            shift = (shift + 7).min(56);
        }
        before = before.saturating_add(gap);
        Some(u32::try_from(before).unwrap_or(u32::MAX))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_back_and_bytes_that_are_none_are_past_every_document() {
        let lists =
            [vec![], vec![0], vec![0, 1, 127, 128, 300, 70_000, u32::MAX - 1], (0..1000).map(|i| i * i).collect()];
        for list in lists {
            let mut bytes = Vec::new();
            pack(&list, &mut bytes);
            assert_eq!(unpack(&bytes).collect::<Vec<_>>(), list);
        }
        for bytes in [&[0xff; 3][..], &[0xff; 40], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], &[5, 0x80]]
        {
            assert_eq!(unpack(bytes).last(), Some(u32::MAX), "{bytes:?}");
        }
    }
}
