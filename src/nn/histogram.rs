//! Matching histograms over similarity matrices: how many of a document's tokens fall into each bin of similarity to a query token (Guo et
//! al., A Deep Relevance Matching Model for Ad-hoc Retrieval, CIKM 2016).
//!
//! One pass over the cells of all pairs and layers. A count has no gradient.

use rayon::prelude::*;

use super::similarity::MatrixLayout;

/// What is made of a bin's count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Counting {
    /// The count itself.
    Count,
    /// Divided by the number of document tokens.
    Share,
    /// The logarithm of the count and this.
    Log(f32),
}

/// What the last bin is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastBin {
    /// The most similar tokens, as wide as the others.
    Wide,
    /// Tokens of a cosine of 1.
    Cosine,
    /// The same token, whatever the cosine.
    Token,
}

/// The bins, which divide the cosines from -1 to 1 evenly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bins {
    /// How many, the last one included.
    pub count: usize,
    /// What the last one is for.
    pub last: LastBin,
    /// What is made of counts.
    pub counting: Counting,
}

/// What rounding may take from a cosine of 1.
const ROUNDING: f32 = 1.000_001;

impl Bins {
    /// Into how many bins the cosines are divided evenly, and the last of them.
    fn even(&self) -> (f32, u32) {
        let last = self.count - 1;
        let (bins, most) = match self.last {
            LastBin::Wide => (self.count, last),
            LastBin::Cosine => (last, last),
            LastBin::Token => (last, last.saturating_sub(1)),
        };
        (bins as f32, most as u32)
    }
    /// Counts one query token's row of cosines, given which of the document's tokens are the same.
    fn count(&self, cosines: &[f32], own: u32, ids: &[u32], out: &mut [f32]) {
        let ((bins, most), last, by_token) = (self.even(), self.count - 1, self.last == LastBin::Token);
        for (&cosine, &id) in cosines.iter().zip(ids) {
            let place = (((cosine + ROUNDING) / 2.0 * bins) as u32).min(most) as usize;
            out[if by_token && id == own { last } else { place }] += 1.0;
        }
    }
}

/// `[query tokens, layers * bins]` of cosines `[cells]`, one array a layer; `ids` are the tokens of the rows that the layout speaks of.
pub fn histograms(layout: &MatrixLayout, layers: &[Vec<f32>], ids: &[u32], bins: &Bins) -> Vec<f32> {
    let width = layers.len() * bins.count;
    // counts are whole numbers, so a logarithm is made once for each
    let longest = layout.pairs.iter().map(|pair| pair.document.len()).max().unwrap_or(0);
    let logs: Vec<f32> = match bins.counting {
        Counting::Log(more) => (0..=longest).map(|count| (count as f32 + more).ln()).collect(),
        _ => Vec::new(),
    };
    let mut out = vec![0f32; layout.query_tokens() * width];
    let parts = MatrixLayout::divide(&mut out, layout.pairs.iter().map(|pair| pair.query.len() * width));
    parts.into_par_iter().enumerate().for_each(|(pair, out)| {
        let (rows, cells) = (&layout.pairs[pair], layout.matrix(pair));
        let n = rows.document.len();
        for (i, out) in out.chunks_exact_mut(width.max(1)).enumerate() {
            let own = ids[rows.query.start + i];
            for (cosines, out) in layers.iter().zip(out.chunks_exact_mut(bins.count)) {
                bins.count(&cosines[cells.start + i * n..][..n], own, &ids[rows.document.clone()], out);
                match bins.counting {
                    Counting::Count => {}
                    Counting::Share => out.iter_mut().for_each(|count| *count /= n.max(1) as f32),
                    Counting::Log(_) => out.iter_mut().for_each(|count| *count = logs[*count as usize]),
                }
            }
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::similarity::PairRows;

    const COSINES: [f32; 6] = [-1.0, -0.1, 0.1, 0.6, 0.999, 1.0];

    fn row(last: LastBin, counting: Counting, count: usize) -> Vec<f32> {
        let layout = MatrixLayout::new(vec![PairRows { query: 0..1, document: 1..7 }]);
        // the token of the query is at the cosine of 0.6
        histograms(&layout, &[COSINES.to_vec()], &[9, 1, 2, 3, 9, 4, 5], &Bins { count, last, counting })
    }

    #[test]
    fn bins_divide_the_cosines_and_the_last_one_may_be_for_exact_matches() {
        assert_eq!(row(LastBin::Wide, Counting::Count, 4), [1.0, 1.0, 1.0, 3.0]);
        assert_eq!(row(LastBin::Cosine, Counting::Count, 5), [1.0, 1.0, 1.0, 2.0, 1.0]);
        assert_eq!(row(LastBin::Token, Counting::Count, 5), [1.0, 1.0, 1.0, 2.0, 1.0]);
        assert_eq!(row(LastBin::Token, Counting::Count, 3), [2.0, 3.0, 1.0]);
    }

    #[test]
    fn counts_become_shares_and_logarithms() {
        assert_eq!(row(LastBin::Wide, Counting::Share, 2), [2.0 / 6.0, 4.0 / 6.0]);
        let logs = row(LastBin::Wide, Counting::Log(1.0), 4);
        assert_eq!(logs, [2f32.ln(), 2f32.ln(), 2f32.ln(), 4f32.ln()]);
    }

    #[test]
    fn layers_come_one_after_the_other_and_a_text_without_tokens_has_empty_bins() {
        let pairs = [(0..2, 2..4), (4..5, 5..5), (5..5, 5..6)].map(|(query, document)| PairRows { query, document });
        let layout = MatrixLayout::new(pairs.into());
        let bins = Bins { count: 2, last: LastBin::Wide, counting: Counting::Share };
        let layers = [vec![0.5, 0.5, -0.5, 0.5], vec![-0.5, -0.5, -0.5, -0.5]];
        let out = histograms(&layout, &layers, &[1, 2, 3, 4, 5, 6], &bins);
        assert_eq!(out, [0.0, 1.0, 1.0, 0.0, 0.5, 0.5, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
