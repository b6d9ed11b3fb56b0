//! Wilcoxon's signed-rank test (1945): are the larger differences on one side? Differences of 0 say nothing and are left out;
//! equal ones share the mean of their ranks.

/// The most differences whose distribution is summed up exactly, as in scipy.
const EXACT: usize = 50;

/// The two-sided p: exact for up to 50 differences of which no two are equal, else by the normal approximation.
pub fn wilcoxon(differences: &[f64]) -> f64 {
    let mut moved: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
    if moved.is_empty() {
        return 1.0;
    }
    moved.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    let (mut above, mut ties, mut start) = (0.0, 0.0, 0);
    for group in moved.chunk_by(|a, b| a.abs() == b.abs()) {
        let count = group.len() as f64;
        let rank = start as f64 + (count + 1.0) / 2.0;
        above += rank * group.iter().filter(|d| **d > 0.0).count() as f64;
        ties += count * (count * count - 1.0);
        start += group.len();
    }
    if moved.len() <= EXACT && ties == 0.0 && moved.len() == differences.len() {
        return exact(moved.len(), above as usize);
    }
    let n = moved.len() as f64;
    let deviation = ((n * (n + 1.0) * (2.0 * n + 1.0) - ties / 2.0) / 24.0).sqrt();
    let z = (above - n * (n + 1.0) / 4.0) / deviation;
    libm::erfc(z.abs() / std::f64::consts::SQRT_2)
}

/// `min(1, 2 P)` of the nearer tail of the sum of the ranks 1 to `n` that a coin each picks.
fn exact(n: usize, sum: usize) -> f64 {
    let most = n * (n + 1) / 2;
    let mut share = vec![0.0f64; most + 1];
    share[0] = 1.0;
    for rank in 1..=n {
        for s in (0..=most).rev() {
            share[s] = (share[s] + if s >= rank { share[s - rank] } else { 0.0 }) / 2.0;
        }
    }
    let tail: f64 = share[..=sum.min(most - sum)].iter().sum();
    (2.0 * tail).min(1.0)
}
