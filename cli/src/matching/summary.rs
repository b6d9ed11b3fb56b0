//! What `match` reports when it is done.

use sverka::pipeline::MatchQuality;
use sverka::text::{TextConfig, plain_text};
use sverka::{Match, Record};

use super::{MatchOutput, Size};
use crate::output::{Output, counted, cut, grouped};

/// A pair to show.
struct Shown {
    probability: f32,
    ids: [String; 2],
    texts: [String; 2],
}

/// How many examples of either end are shown.
const EXAMPLES: usize = 3;

/// Counted on the way, for the report at the end.
#[derive(Default)]
pub(super) struct Summary {
    /// Sum of the accepted pairs' probabilities.
    pub(super) expected_true_positives: f64,
    /// Accepted pairs of probability .99 and more, of .9 to .99, and below.
    pub(super) by_confidence: [u64; 3],
    surest: Vec<Shown>,
    doubtful: Vec<Shown>,
}

impl Summary {
    /// Counts a match, and keeps it if it is among the surest or the most doubtful.
    pub(super) fn add(&mut self, found: &Match, left: &Record, right: &Record, rendering: &TextConfig) {
        if !found.decision {
            return;
        }
        let p = found.probability;
        self.expected_true_positives += f64::from(p);
        self.by_confidence[if p >= 0.99 {
            0
        } else if p >= 0.9 {
            1
        } else {
            2
        }] += 1;
        let example = || Shown {
            probability: p,
            ids: [found.left_id.clone(), found.right_id.clone()],
            texts: [plain_text(rendering, left.into()), plain_text(rendering, right.into())],
        };
        if self.surest.len() < EXAMPLES || self.surest.last().is_some_and(|s| p > s.probability) {
            self.surest.push(example());
            self.surest.sort_by(|a, b| b.probability.total_cmp(&a.probability));
            self.surest.truncate(EXAMPLES);
        }
        if p < 0.9 && (self.doubtful.len() < EXAMPLES || self.doubtful.last().is_some_and(|s| p < s.probability)) {
            self.doubtful.push(example());
            self.doubtful.sort_by(|a, b| a.probability.total_cmp(&b.probability));
            self.doubtful.truncate(EXAMPLES);
        }
    }

    /// The report for people.
    pub(super) fn render(&self, answer: &MatchOutput, lists: &[Size], output: &Output) -> String {
        let r = &answer.report;
        let name =
            |list: &Size| format!("{} ({})", list.path.display(), counted(list.records as u64, "record", "records"));
        let title = match lists {
            [left, right] => format!("{} against {}", name(left), name(right)),
            lists => format!("Duplicates within {}", lists.iter().map(name).collect::<String>()),
        };
        let mut text = format!("{}\n", output.strong(title));
        let mut line = |name: &str, value: String| text += &format!("  {name:12} {value}\n");
        let whose = if lists.len() == 2 { "left record" } else { "record" };
        line("looked at", format!("{} ({:.1} for each {whose})", counted(r.pairs, "pair", "pairs"), r.candidates.mean));
        let [certain, likely, doubtful] = answer.by_confidence.map(grouped);
        line("found", output.green(counted(r.accepted, "match", "matches")));
        if r.accepted > 0 {
            line("how sure", format!("{certain} of 99% and more, {likely} of 90 to 99%, {doubtful} below"));
            line(
                "so expect",
                format!("about {:.0} of {} to be right", answer.expected_true_positives, grouped(r.accepted)),
            );
        }
        line("unmatched", counted(r.unmatched, whose, &format!("{whose}s")));
        if answer.skipped_rows > 0 {
            line("left out", output.yellow(counted(answer.skipped_rows, "bad row", "bad rows")));
        }
        if r.truncated_pairs > 0 {
            line("cut short", format!("{}, longer than the model reads", counted(r.truncated_pairs, "pair", "pairs")));
        }
        if r.unreadable_pairs > 0 {
            let pairs = counted(r.unreadable_pairs, "pair", "pairs");
            line("unreadable", output.yellow(format!("{pairs}: no word, or mostly unknown ones; not accepted")));
        }
        line("written to", output.strong(answer.out.display()));
        line("took", format!("{:.1} s", answer.seconds));
        text += &r.labels.as_ref().map_or(String::new(), measured);
        let mut list = |title: &str, examples: &[Shown]| {
            if examples.is_empty() {
                return;
            }
            text += &format!("\n{title}\n");
            for e in examples {
                let percent = format!("{:.1}%", 100.0 * e.probability);
                text += &format!("  {percent:>6}  {:10} {}\n", cut(&e.ids[0], 10), cut(&e.texts[0], 80));
                text += &format!("          {:10} {}\n", cut(&e.ids[1], 10), cut(&e.texts[1], 80));
            }
        };
        list("The surest", &self.surest);
        list("Worth a look", &self.doubtful);
        text
    }
}

/// The decisions against the known pairs. Without a pair that is known to be none, nothing can be called wrong: then
/// the precision is unknown; only what it would be can be said.
fn measured(q: &MatchQuality) -> String {
    let percent = |share: f64| format!("{:.1}%", 100.0 * share);
    let mut text = format!("  against the {}:\n", counted(q.positives, "known match", "known matches"));
    text +=
        &format!("    among the candidates {}, accepted {} (recall)\n", percent(q.candidate_recall), percent(q.recall));
    if let (Some(precision), Some(f1)) = (q.precision, q.f1) {
        let left_out = counted(q.unlabelled, "accepted pair", "accepted pairs");
        let (precision, f1) = (percent(precision), percent(f1));
        text += &format!("    precision {precision}, F1 {f1} ({left_out} without a label left out)\n");
    } else {
        let unlabelled = counted(q.unlabelled, "accepted pair has", "accepted pairs have");
        text += &format!("    precision unknown: no non-match is labelled, and {unlabelled} no label\n");
        let [precision, f1] = [q.assuming_complete.precision, q.assuming_complete.f1].map(percent);
        text += &format!("    if these are all the matches there are: precision {precision}, F1 {f1}\n");
    }
    text
}
