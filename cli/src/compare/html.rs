//! A comparison as a page that is complete in itself: tables, the gains with their intervals, and every query's difference, drawn
//! as SVG.

use sverka::eval::significance::Test;

use super::report::{Moved, Report, probability};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem;color:#222;background:#fff}\
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .7rem;text-align:left;border-bottom:1px solid #ddd}\
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}svg{max-width:100%;height:auto}sup{color:#06c}\
.up{fill:#2a7}.down{fill:#c43}.line{stroke:#888}.mark{stroke:#06c;stroke-width:2}h2{font-size:1.1rem;margin-top:2rem}";
/// Width of a plot.
const WIDTH: f64 = 720.0;
/// Width of the names left of it.
const NAMES: f64 = 200.0;

/// The page.
pub fn page(report: &Report) -> String {
    let title = format!("{} runs on {}", report.names.len(), report.judged);
    let mut body =
        format!("<h1>{}</h1>\n<p>{}</p>\n<table>\n<tr><th></th><th>run</th>", safe(&title), safe(&report.described()));
    report.measures.iter().for_each(|name| body += &format!("<th class=\"n\">{}</th>", safe(name)));
    body += "</tr>\n";
    for (run, name) in report.names.iter().enumerate() {
        body += &format!("<tr><td>{}</td><td>{}</td>", Report::letter(run), safe(name));
        for of in &report.comparison.measures {
            let letters = Report::letters(of, run);
            body += &format!("<td class=\"n\">{:.4}<sup>{letters}</sup></td>", of.means[run].mean);
        }
        body += "</tr>\n";
    }
    body += "</table>\n";
    for measure in 0..report.measures.len() {
        body += &gains(report, measure);
    }
    for run in 1..report.names.len() {
        body += &by_query(report, run);
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{}</title><style>{STYLE}</style></head>\n<body>\n{body}</body>\n</html>\n",
        safe(&title)
    )
}

/// The gains in one measure: a table, and a plot of the intervals around 0.
fn gains(report: &Report, measure: usize) -> String {
    let of = &report.comparison.measures[measure];
    let name = safe(&report.measures[measure]);
    let mut text = format!("<h2>Gain over {} in {name}</h2>\n<table>\n<tr><th>run</th>", safe(&report.names[0]));
    for head in ["gain", "95% interval", "wins", "losses", "equal"] {
        text += &format!("<th class=\"n\">{head}</th>");
    }
    Test::ALL.iter().for_each(|test| text += &format!("<th class=\"n\">p ({})</th>", test.name()));
    text += "</tr>\n";
    for (gain, run) in of.gains.iter().zip(1..) {
        let i = &gain.interval;
        let mut cells = vec![format!("{:+.4}", i.mean), format!("{:+.4} to {:+.4}", i.low, i.high)];
        cells.extend([gain.wins, gain.losses, gain.equal].map(|count| count.to_string()));
        cells.extend(Test::ALL.map(|test| safe(&probability(Report::p(of, test, run)))));
        text += &format!("<tr><td>{}</td>", safe(&report.names[run]));
        cells.iter().for_each(|cell| text += &format!("<td class=\"n\">{cell}</td>"));
        text += "</tr>\n";
    }
    let ends = of.gains.iter().flat_map(|gain| [gain.interval.low.abs(), gain.interval.high.abs()]);
    let most = ends.fold(1e-9, f64::max);
    let x = |value: f64| NAMES + (value / most + 1.0) / 2.0 * (WIDTH - NAMES - 10.0);
    let height = 30.0 * of.gains.len() as f64 + 20.0;
    text += "</table>\n";
    text += &format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" role=\"img\" aria-label=\"gains in {name}\">\n"
    );
    text += &format!("<line class=\"line\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"0\" y2=\"{height}\"/>\n", x(0.0));
    for (i, gain) in of.gains.iter().enumerate() {
        let (y, interval) = (25.0 + 30.0 * i as f64, &gain.interval);
        text += &format!(
            "<text x=\"0\" y=\"{:.1}\" font-size=\"13\">{}</text>",
            y + 4.0,
            safe(&short(&report.names[i + 1]))
        );
        let (low, high) = (x(interval.low), x(interval.high));
        text += &format!("<line class=\"mark\" x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"{y}\" y2=\"{y}\"/>");
        text +=
            &format!("<circle class=\"{}\" cx=\"{:.1}\" cy=\"{y}\" r=\"5\"/>\n", way(interval.mean), x(interval.mean));
    }
    text + "</svg>\n"
}

/// The differences of every query, the largest gain first, and the queries at both ends with their texts.
fn by_query(report: &Report, run: usize) -> String {
    let of = &report.comparison.measures[0];
    let mut differences: Vec<f64> =
        of.columns[run].iter().zip(&of.columns[0]).map(|(own, first)| own - first).collect();
    differences.sort_by(|a, b| b.total_cmp(a));
    let most = differences.iter().fold(1e-9, |most: f64, d| most.max(d.abs()));
    let (name, measure) = (safe(&report.names[run]), safe(&report.measures[0]));
    let mut text = format!("<h2>{name}, query by query, in {measure}</h2>\n");
    text += &format!(
        "<svg viewBox=\"0 0 {WIDTH} 200\" width=\"{WIDTH}\" role=\"img\" aria-label=\"differences by query\">\n"
    );
    let step = WIDTH / differences.len() as f64;
    for (i, difference) in differences.iter().enumerate().filter(|(_, difference)| **difference != 0.0) {
        let height = 95.0 * difference.abs() / most;
        let y = if *difference > 0.0 { 100.0 - height } else { 100.0 };
        let (x, width) = (i as f64 * step, (0.9 * step).max(0.3));
        text += &format!(
            "<rect class=\"{}\" x=\"{x:.2}\" y=\"{y:.2}\" width=\"{width:.2}\" height=\"{height:.2}\"/>\n",
            way(*difference)
        );
    }
    text += &format!("<line class=\"line\" x1=\"0\" x2=\"{WIDTH}\" y1=\"100\" y2=\"100\"/>\n</svg>\n");
    for (moved, word) in report.moved(run).iter().zip(["wins", "loses"]) {
        if moved.is_empty() {
            continue;
        }
        text += &format!(
            "<table>\n<tr><th>{word} most</th><th>text</th><th class=\"n\">before</th><th class=\"n\">after</th></tr>\n"
        );
        for Moved { query, text: asked, before, after } in moved {
            text += &format!("<tr><td>{}</td><td>{}</td>", safe(query), safe(asked));
            text += &format!("<td class=\"n\">{before:.4}</td><td class=\"n\">{after:.4}</td></tr>\n");
        }
        text += "</table>\n";
    }
    text
}

fn way(difference: f64) -> &'static str {
    if difference > 0.0 { "up" } else { "down" }
}

/// A name that fits left of a plot.
fn short(name: &str) -> String {
    crate::output::cut(name, 26)
}

/// A text that HTML takes for nothing else.
fn safe(text: &str) -> String {
    let text = crate::output::visible(text);
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
