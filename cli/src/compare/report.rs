//! What a comparison says, and its forms for a terminal and for programs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use sverka::eval::comparison::pair;
use sverka::eval::significance::Test;
use sverka::eval::{ComparedMeasure, Comparison, ComparisonOptions, Measure};

use super::{Format, html, marked};
use crate::output::{Output, counted, cut};

/// A comparison with the names of what was compared.
pub struct Report {
    /// The runs' names, short where that tells them apart.
    pub names: Vec<String>,
    /// Name of the judgements.
    pub judged: String,
    /// Names of the measures.
    pub measures: Vec<String>,
    pub comparison: Comparison,
    pub test: Test,
    texts: HashMap<String, String>,
    top: usize,
}

/// A query that a run wins or loses.
pub struct Moved<'a> {
    pub query: &'a str,
    pub text: &'a str,
    pub before: f64,
    pub after: f64,
}

impl Report {
    pub fn new(
        files: &[PathBuf],
        judged: &Path,
        comparison: Comparison,
        options: &ComparisonOptions,
        texts: HashMap<String, String>,
        top: usize,
    ) -> Self {
        let short = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut names: Vec<String> = files.iter().map(short).collect();
        let are_distinct = (1..names.len()).all(|i| !names[..i].contains(&names[i]));
        if !are_distinct {
            names = files.iter().map(|path| path.display().to_string()).collect();
        }
        let measures = options.measures.iter().map(Measure::to_string).collect();
        let (judged, test) = (judged.display().to_string(), options.test);
        Report { names, judged, measures, comparison, test, texts, top }
    }

    /// The comparison in a format; colours where `output` has them.
    pub fn written(&self, format: Format, output: Option<&Output>) -> String {
        match format {
            Format::Text => self.text(output),
            Format::Markdown => marked::markdown(self),
            Format::Latex => marked::latex(self),
            Format::Html => html::page(self),
        }
    }

    /// The letter of a run.
    pub fn letter(run: usize) -> char {
        char::from(b'a' + run as u8)
    }

    /// The letters of the runs that a run is better than.
    pub fn letters(of: &ComparedMeasure, run: usize) -> String {
        of.better_than[run].iter().map(|other| Self::letter(*other)).collect()
    }

    /// `300 queries; ...`.
    pub fn described(&self) -> String {
        let correction = if self.test == Test::TukeyHsd { "" } else { ", Holm's correction" };
        let queries = counted(self.comparison.queries.len() as u64, "query", "queries");
        format!("{queries}; letters: significantly better than that run ({}{correction}, 5%)", self.test)
    }

    /// The p value of a run against the first.
    pub fn p(of: &ComparedMeasure, test: Test, run: usize) -> f64 {
        let values = of.p.iter().find(|(t, _)| *t == test);
        values.map_or(1.0, |(_, values)| values[pair(0, run, of.columns.len())])
    }

    /// The queries that a run wins most against the first by the first measure, and those it loses most.
    pub fn moved(&self, run: usize) -> [Vec<Moved<'_>>; 2] {
        let columns = &self.comparison.measures[0].columns;
        let difference = |query: usize| columns[run][query] - columns[0][query];
        let mut order: Vec<usize> = (0..self.comparison.queries.len()).collect();
        order.sort_by(|a, b| difference(*b).total_cmp(&difference(*a)));
        let moved = |query: usize| Moved {
            query: &self.comparison.queries[query],
            text: self.texts.get(&self.comparison.queries[query]).map_or("", String::as_str),
            before: columns[0][query],
            after: columns[run][query],
        };
        let won = order.iter().filter(|query| difference(**query) > 0.0).take(self.top);
        let lost = order.iter().rev().filter(|query| difference(**query) < 0.0).take(self.top);
        [won.map(|query| moved(*query)).collect(), lost.map(|query| moved(*query)).collect()]
    }

    /// Why the first measure proves no gain, if it does not.
    pub fn missed(&self) -> Option<String> {
        let gains = self.comparison.measures[0].gains.iter().enumerate();
        let said = gains.filter(|(_, gain)| gain.interval.low <= 0.0).map(|(i, gain)| {
            let interval = &gain.interval;
            let verdict = if interval.holds_zero() { "holds 0" } else { "is below 0" };
            format!(
                "the gain of {} over {} in {} is {:+.4}, and its 95% interval {:+.4} to {:+.4} {verdict}",
                self.names[i + 1],
                self.names[0],
                self.measures[0],
                interval.mean,
                interval.low,
                interval.high
            )
        });
        let said: Vec<String> = said.collect();
        (!said.is_empty()).then(|| said.join("; "))
    }

    fn text(&self, output: Option<&Output>) -> String {
        let strong = |text: String| output.map_or(text.clone(), |output| output.strong(&text));
        let mut text = strong(format!("{} runs on {}", self.names.len(), self.judged));
        text += &format!("\n  {}\n\n", self.described());
        let width = self.names.iter().map(|name| name.chars().count()).max().unwrap_or(0).clamp(8, 40);
        let letters = self.names.len();
        let columns = |name: &String| name.chars().count().max(7 + letters);
        text += &format!("     {:width$}", "run");
        self.measures.iter().for_each(|name| text += &format!("  {name:w$}", w = columns(name)));
        for (run, name) in self.names.iter().enumerate() {
            text += &format!("\n  {}  {:width$}", Self::letter(run), cut(name, width));
            for (measure, of) in self.measures.iter().zip(&self.comparison.measures) {
                let cell = format!("{:.4} {}", of.means[run].mean, Self::letters(of, run));
                text += &format!("  {cell:w$}", w = columns(measure));
            }
        }
        for (measure, of) in self.measures.iter().zip(&self.comparison.measures) {
            text +=
                &format!("\n\n  gain over {} in {measure}, 95% bootstrap interval, p of each test\n", self.names[0]);
            text += &format!(
                "     {:width$}  {:>7} {:>19}   {:>5} {:>6} {:>6}",
                "run", "gain", "interval", "wins", "losses", "equal"
            );
            Test::ALL.iter().for_each(|test| text += &format!(" {:>8}", test.name()));
            for (gain, run) in of.gains.iter().zip(1..) {
                let interval = format!("{:+.4} to {:+.4}", gain.interval.low, gain.interval.high);
                text += &format!("\n  {}  {:width$}", Self::letter(run), cut(&self.names[run], width));
                text += &format!("  {} {interval:>19}", strong(format!("{:+.4}", gain.interval.mean)));
                text += &format!("   {:>5} {:>6} {:>6}", gain.wins, gain.losses, gain.equal);
                Test::ALL.iter().for_each(|test| text += &format!(" {:>8}", probability(Self::p(of, *test, run))));
            }
        }
        for run in 1..self.names.len() {
            for (moved, word) in self.moved(run).iter().zip(["wins", "loses"]) {
                if moved.is_empty() {
                    continue;
                }
                text += &format!("\n\n  {} {word} most in {}", self.names[run], self.measures[0]);
                for Moved { query, text: asked, before, after } in moved {
                    text += &format!(
                        "\n    {:+.4}  {before:.4} to {after:.4}  {query}  {}",
                        after - before,
                        cut(asked, 70)
                    );
                }
            }
        }
        text + "\n"
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let mut measures = Map::new();
        for (name, of) in self.measures.iter().zip(&self.comparison.measures) {
            let pairs = |values: &[f64]| -> Vec<Value> {
                let runs = self.names.len();
                let all = (0..runs).flat_map(|i| (i + 1..runs).map(move |j| (i, j)));
                let names = |(i, j): (usize, usize)| (&self.names[i], &self.names[j], values[pair(i, j, runs)]);
                all.map(names).map(|(first, second, p)| json!({ "first": first, "second": second, "p": p })).collect()
            };
            let p: Map<String, Value> =
                of.p.iter().map(|(test, values)| (test.name().to_string(), pairs(values).into())).collect();
            let named = |values: Vec<Value>, skip: usize| -> Map<String, Value> {
                self.names[skip..].iter().cloned().zip(values).collect()
            };
            let means = of.means.iter().map(|mean| json!(mean)).collect();
            let gains = of.gains.iter().map(|gain| json!(gain)).collect();
            let better = of.better_than.iter().map(|of| json!(of.iter().map(|i| &self.names[*i]).collect::<Vec<_>>()));
            let value = json!({
                "means": named(means, 0), "gains": named(gains, 1), "p": p, "better_than": named(better.collect(), 0),
            });
            measures.insert(name.clone(), value);
        }
        let moved = |moved: Vec<Moved>| -> Vec<Value> {
            let one = |m: Moved| json!({ "query": m.query, "text": m.text, "before": m.before, "after": m.after });
            moved.into_iter().map(one).collect()
        };
        let by_query: Map<String, Value> = (1..self.names.len())
            .map(|run| (self.names[run].clone(), self.moved(run)))
            .map(|(name, [won, lost])| (name, json!({ "wins": moved(won), "losses": moved(lost) })))
            .collect();
        let mut answer = json!({
            "queries": self.comparison.queries.len(), "runs": self.names, "baseline": self.names[0],
            "test": self.test.name(), "measures": measures, "by_query": by_query,
        });
        if let Some(missed) = self.missed() {
            answer["error"] = json!(missed);
            answer["code"] = json!(3);
        }
        answer
    }
}

/// A p value with as many digits as say something.
pub fn probability(p: f64) -> String {
    if p < 0.0001 { "<.0001".into() } else { format!("{p:.4}") }
}
