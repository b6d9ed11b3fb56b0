//! Token pooling: a document's vectors that are most alike become their mean (Clavié, Chaffin and Adams, "Reducing the Footprint of Multi-Vector
//! Retrieval with Minimal Performance Impact via Token Pooling", arXiv 2409.14683). The two nearest groups are joined until one in `factor` is left;
//! groups are compared by their means (the paper's Ward and this centroid linkage do about as well). The first vector, [CLS], stays alone.

use super::codec::normalize;

/// Vectors `[n, dim]` to about `n / factor`, each of length 1.
pub(super) fn pooled(vectors: &[f32], dim: usize, factor: usize) -> Vec<f32> {
    let n = vectors.len() / dim;
    let wanted = n.div_ceil(factor.max(1)).max(2);
    if n <= wanted {
        return vectors.to_vec();
    }
    // sums and sizes of the groups of all vectors but the first
    let mut groups: Vec<(Vec<f32>, usize)> =
        vectors[dim..].chunks_exact(dim).map(|vector| (vector.to_vec(), 1)).collect();
    let cosine = |a: &[f32], b: &[f32]| {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(f32::MIN_POSITIVE)
    };
    let nearest = |groups: &[(Vec<f32>, usize)], at: usize| {
        let others = (0..groups.len()).filter(|other| *other != at && groups[*other].1 > 0);
        others.map(|other| (cosine(&groups[at].0, &groups[other].0), other)).max_by(|a, b| a.0.total_cmp(&b.0))
    };
    let mut near: Vec<Option<(f32, usize)>> = (0..groups.len()).map(|at| nearest(&groups, at)).collect();
    for _ in 0..n - wanted {
        let alive = (0..groups.len()).filter(|at| groups[*at].1 > 0);
        let pair = alive.filter_map(|at| near[at].map(|(value, other)| (value, at, other)));
        let Some((_, a, b)) = pair.max_by(|x, y| x.0.total_cmp(&y.0)) else { break };
        let (taken, size) = std::mem::take(&mut groups[b]);
        groups[a].0.iter_mut().zip(&taken).for_each(|(sum, x)| *sum += x);
        groups[a].1 += size;
        near[b] = None;
        for at in 0..groups.len() {
            if groups[at].1 == 0 {
                continue;
            }
            let touched = at == a || near[at].is_some_and(|(_, other)| other == a || other == b);
            if touched {
                near[at] = nearest(&groups, at);
            } else {
                let value = cosine(&groups[at].0, &groups[a].0);
                if near[at].is_none_or(|(best, _)| value > best) {
                    near[at] = Some((value, a));
                }
            }
        }
    }
    let mut out = vectors[..dim].to_vec();
    for (mut sum, _) in groups.into_iter().filter(|(_, size)| *size > 0) {
        normalize(&mut sum);
        out.extend(sum);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_become_their_mean_and_the_first_stays() {
        let vectors = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [0.0, 1.0], [0.6, 0.8], [0.8, 0.6]].concat();
        let out = pooled(&vectors, 2, 2);
        assert_eq!((out.len(), &out[..2]), (6, &[1.0, 0.0][..]));
        assert!(out[2..].chunks(2).any(|v| v == [0.0, 1.0]), "{out:?}");
        assert_eq!(pooled(&vectors, 2, 1), vectors);
        assert_eq!(pooled(&vectors[..4], 2, 4), vectors[..4]);
    }
}
