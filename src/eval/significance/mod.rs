//! Are two rankers different, or was one lucky with these queries? Tests over the same queries, paired.
//!
//! Student's paired t, Fisher's randomisation and Wilcoxon's signed ranks take one pair of rankers; with several pairs the
//! smallest of many p values is small by chance, so [`holm()`] corrects them. Tukey's HSD takes all rankers at once and needs
//! no correction. For IR measures t and randomisation agree, Wilcoxon tests something else, medians (Smucker, Allan and
//! Carterette, CIKM 2007). How large a difference is says its [`bootstrap()`] interval; a p value never does.
//!
//! Refused: the unpaired tests that some libraries run on these numbers. Queries differ more than rankers do, and a test that
//! does not know which numbers are of one query drowns in that.

pub mod bootstrap;
pub mod fisher;
pub mod holm;
pub mod paired_t;
pub mod studentized_range;
pub mod tukey;
pub mod wilcoxon;

use std::fmt;
use std::str::FromStr;

pub use bootstrap::{Interval, bootstrap};
pub use fisher::fisher;
pub use holm::holm;
pub use paired_t::paired_t;
pub use tukey::{Design, tukey_hsd};
pub use wilcoxon::wilcoxon;

use crate::{Error, Result};

/// A test of significance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// Student's paired t test, two-sided.
    PairedT,
    /// Fisher's randomisation test, two-sided.
    Fisher,
    /// Wilcoxon's signed-rank test, two-sided.
    Wilcoxon,
    /// Tukey's honestly significant difference over all rankers.
    TukeyHsd,
}

impl Test {
    /// All tests.
    pub const ALL: [Test; 4] = [Test::PairedT, Test::Fisher, Test::Wilcoxon, Test::TukeyHsd];

    /// The name that is typed.
    pub fn name(self) -> &'static str {
        match self {
            Test::PairedT => "t",
            Test::Fisher => "fisher",
            Test::Wilcoxon => "wilcoxon",
            Test::TukeyHsd => "tukey",
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Test::PairedT => "paired t test",
            Test::Fisher => "Fisher's randomisation test",
            Test::Wilcoxon => "Wilcoxon's signed-rank test",
            Test::TukeyHsd => "Tukey's HSD",
        })
    }
}

impl FromStr for Test {
    type Err = Error;

    /// # Errors
    /// A name that is none.
    fn from_str(text: &str) -> Result<Test> {
        let found = Test::ALL.into_iter().find(|test| test.name() == text);
        found.ok_or_else(|| Error::setting("test", text, "no test that is known; there are t, fisher, wilcoxon, tukey"))
    }
}

/// What random draws are taken with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resampling {
    /// How many; more of them cost time and make the last digits sure.
    pub rounds: usize,
    /// The same seed gives the same numbers.
    pub seed: u64,
}

impl Default for Resampling {
    fn default() -> Self {
        Resampling { rounds: 10_000, seed: 1 }
    }
}

/// The p value of each pair of columns `(i, j)` with `i < j`, in the order of `i`, then `j`. A column is a ranker, a row a
/// query. Without `corrected` those of the tests of two are not corrected for being several.
///
/// # Errors
/// Columns of different lengths.
pub fn p_values(columns: &[Vec<f64>], test: Test, resampling: Resampling, corrected: bool) -> Result<Vec<f64>> {
    let queries = columns.first().map_or(0, Vec::len);
    if let Some(other) = columns.iter().find(|column| column.len() != queries) {
        let (expected, got) = (format!("{queries} queries in every run"), other.len().to_string());
        return Err(Error::Shape { op: "significance", expected, got });
    }
    if test == Test::TukeyHsd {
        return Ok(tukey_hsd(columns, Design::Blocks));
    }
    let mut values = Vec::new();
    for (i, first) in columns.iter().enumerate() {
        for second in &columns[i + 1..] {
            let differences: Vec<f64> = second.iter().zip(first).map(|(b, a)| b - a).collect();
            values.push(match test {
                Test::Fisher => fisher(&differences, resampling),
                Test::Wilcoxon => wilcoxon(&differences),
                Test::PairedT | Test::TukeyHsd => paired_t(&differences),
            });
        }
    }
    Ok(if corrected { holm(&values) } else { values })
}

/// The mean; 0 of nothing.
pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |sum, value| sum + value) / values.len().max(1) as f64
}

#[cfg(test)]
mod tests;
