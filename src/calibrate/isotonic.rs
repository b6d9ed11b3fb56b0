//! Isotonic regression by pooling adjacent violators (Ayer et al. 1955): equal scores are one point, neighbours that
//! fall are merged into their mean until nothing falls. Kept as the two ends of each block, joined by straight lines.

/// The corners of the best non-decreasing map: ascending scores and the share of matches at each. Scores are finite.
pub(super) fn fit(scores: &[f64], labels: &[bool]) -> (Vec<f64>, Vec<f64>) {
    struct Block {
        first: f64,
        last: f64,
        matches: f64,
        count: f64,
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&i, &j| scores[i].total_cmp(&scores[j]));
    let mut blocks: Vec<Block> = Vec::new();
    let mut rest = &order[..];
    while let Some(&i) = rest.first() {
        let score = scores[i];
        let ties = rest.partition_point(|&j| scores[j] <= score);
        let matches = rest[..ties].iter().filter(|&&j| labels[j]).count() as f64;
        rest = &rest[ties..];
        let mut block = Block { first: score, last: score, matches, count: ties as f64 };
        while let Some(before) = blocks.pop_if(|b| b.matches * block.count >= block.matches * b.count) {
            block.first = before.first;
            block.matches += before.matches;
            block.count += before.count;
        }
        blocks.push(block);
    }
    let (mut xs, mut ys) = (Vec::new(), Vec::new());
    for block in blocks {
        xs.push(block.first);
        ys.push(block.matches / block.count);
        if block.last > block.first {
            xs.push(block.last);
            ys.push(block.matches / block.count);
        }
    }
    (xs, ys)
}

/// The value at `x` of the line through the corners, level beyond both ends; NaN for NaN or no corners.
pub(super) fn interpolate(xs: &[f64], ys: &[f64], x: f64) -> f64 {
    let n = xs.len().min(ys.len());
    if n == 0 || x.is_nan() {
        return f64::NAN;
    }
    let right = xs[..n].partition_point(|&at| at < x);
    if right == 0 {
        return ys[0];
    }
    if right == n {
        return ys[n - 1];
    }
    let (x0, x1, y0, y1) = (xs[right - 1], xs[right], ys[right - 1], ys[right]);
    // Rounding must not carry the value past the corner, or the map would fall there.
    (y0 + (y1 - y0) * ((x - x0) / (x1 - x0))).clamp(y0, y1.max(y0))
}
