//! Pages that are complete in themselves: cuts in colours, and the report with its plot as SVG.

use sverka::text::Piece;
use sverka::text::tokenizers::{Recommendation, TokenizerReport};

use super::report::{ROWS, cells};
use crate::output::grouped;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem;color:#222;background:#fff}\
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .7rem;text-align:left;border-bottom:1px solid #ddd}\
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}svg{max-width:100%;height:auto}h2{font-size:1.1rem;margin-top:2rem}\
.p{border-radius:3px;padding:0 2px;margin-right:1px}.a{background:#dbe9ff}.b{background:#ffe7c7}.c{background:#d9f2d9}\
.grid{stroke:#ddd}.axis{stroke:#888}text{font-size:12px;fill:#444}";
/// Colours of a plot's lines.
const COLOURS: [&str; 5] = ["#c43", "#06c", "#2a7", "#a60", "#739"];
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
/// Room of a size under the axis.
const SIZE_LABEL: f64 = 44.0;
/// Around a plot: left, right, top, bottom.
const MARGIN: [f64; 4] = [60.0, 210.0, 15.0, 40.0];

/// A text, and its pieces by the tokenizers' names.
pub type Cuts<'a> = (&'a str, Vec<(&'a str, Vec<Piece>)>);

/// Texts as several tokenizers cut them.
pub fn cuts(shown: &[Cuts]) -> String {
    let mut body = String::from("<h1>Cuts</h1>\n");
    for (text, cuts) in shown {
        body += &format!("<h2>{}</h2>\n<table>\n", safe(text));
        for (name, pieces) in cuts {
            body += &format!("<tr><td>{}</td><td class=\"n\">{}</td><td>", safe(name), pieces.len());
            for (piece, class) in pieces.iter().zip(["a", "b", "c"].iter().cycle()) {
                let token = safe(&piece.token);
                body += &format!("<span class=\"p {class}\" title=\"{}\">{token}</span>", piece.id);
            }
            body += "</td></tr>\n";
        }
        body += "</table>\n";
    }
    page("Cuts", &body)
}

/// The report's tables, and a plot of the sizes.
pub fn report(reports: &[TokenizerReport], sizes: &[TokenizerReport], advised: Option<&Recommendation>) -> String {
    let mut body = String::from("<h1>Vocabularies</h1>\n");
    if let Some(advised) = advised {
        body += &format!("<p><b>{} pieces</b> are advised: {}.</p>\n", advised.vocabulary, safe(&advised.reason));
    }
    body += "<table>\n<tr><th></th>";
    reports.iter().for_each(|r| body += &format!("<th class=\"n\">{}</th>", safe(&r.name)));
    body += "</tr>\n";
    let columns: Vec<_> = reports.iter().map(cells).collect();
    // without held-out texts some rows say nothing
    let said = |i: &usize| columns.iter().any(|c| c[*i] != "-");
    for (i, row) in ROWS.iter().enumerate().filter(|(i, _)| said(i)) {
        body += &format!("<tr><td>{row}</td>");
        columns.iter().for_each(|c| body += &format!("<td class=\"n\">{}</td>", c[i]));
        body += "</tr>\n";
    }
    body += "</table>\n<p>A code is an unbroken run of letters and digits that has both and at least three characters, but no number \
             with its unit, or a run of five or more digits.</p>\n";
    let plotted = if sizes.len() > 1 { sizes } else { reports };
    if plotted.len() > 1 {
        let mut by_size: Vec<&TokenizerReport> = plotted.iter().collect();
        by_size.sort_by_key(|r| r.vocabulary);
        let line = |of: &dyn Fn(&TokenizerReport) -> Option<f64>| -> Vec<(f64, f64)> {
            by_size.iter().filter_map(|r| Some((r.vocabulary as f64, of(r)?))).collect()
        };
        let shares = [
            ("one-token codes, training", line(&|r| Some(r.single_token_codes))),
            ("one-token codes, held out", line(&|r| r.single_token_codes_held_out)),
            ("one-token codes, new", line(&|r| r.single_token_codes_fresh)),
            ("rare pieces", line(&|r| Some(r.rare_share))),
            ("Rényi efficiency", line(&|r| Some(r.renyi_efficiency))),
        ];
        body += &format!("<h2>Shares by size</h2>\n{}", plot(&shares, 0.0));
        let lengths = [
            ("tokens a word", line(&|r| Some(r.fertility))),
            ("letters a piece", line(&|r| Some(r.letters_per_piece))),
            ("letters a code piece", line(&|r| Some(r.letters_per_code_piece))),
        ];
        body += &format!("<h2>Lengths by size</h2>\n{}", plot(&lengths, 0.0));
    }
    page("Vocabularies", &body)
}

/// The next larger of 1, 2, 2.5 and 5 times a power of ten.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 2.5, 5.0].map(|n| n * power).into_iter().find(|step| *step >= least * 0.999).unwrap_or(10.0 * power)
}

/// Lines over the logarithm of the size, which share one axis from `low`.
fn plot(lines: &[(&str, Vec<(f64, f64)>)], low: f64) -> String {
    let all = || lines.iter().flat_map(|line| &line.1);
    let high = all().map(|p| p.1).fold(low + 1e-9, f64::max);
    let step = round_step((high - low) / 4.0);
    let steps = ((high - low) / step).ceil().max(1.0);
    let high = low + steps * step;
    let (first, last) = all().fold((f64::INFINITY, 0f64), |(a, b), p| (a.min(p.0), b.max(p.0)));
    let span = (last / first).ln().max(1e-9);
    let [left, right, top, bottom] = MARGIN;
    let x = |size: f64| left + (size / first).ln() / span * (WIDTH - left - right);
    let y = |value: f64| HEIGHT - bottom - (value - low) / (high - low) * (HEIGHT - top - bottom);
    let mut svg =
        format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" role=\"img\" aria-label=\"by size\">\n");
    for i in 0..=steps as usize {
        let value = low + step * i as f64;
        let (y, end) = (y(value), WIDTH - right);
        svg += &format!("<line class=\"grid\" x1=\"{left}\" x2=\"{end}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>");
        svg += &format!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value:.2}</text>\n", left - 6.0, y + 4.0);
    }
    let mut sizes: Vec<f64> = all().map(|p| p.0).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    let mut free = f64::NEG_INFINITY;
    for size in sizes {
        let (x, foot) = (x(size), HEIGHT - bottom);
        svg += &format!("<line class=\"axis\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{foot}\" y2=\"{}\"/>", foot + 5.0);
        if x >= free {
            free = x + SIZE_LABEL;
            let size = grouped(size as u64);
            svg += &format!("<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{size}</text>\n", foot + 18.0);
        }
    }
    // a line has its colour whichever others are there
    let drawn = lines.iter().zip(COLOURS).filter(|(line, _)| !line.1.is_empty());
    for (i, ((name, points), colour)) in drawn.enumerate() {
        let path: Vec<String> = points.iter().map(|p| format!("{:.1},{:.1}", x(p.0), y(p.1))).collect();
        svg +=
            &format!("<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>", path.join(" "));
        for p in points {
            svg += &format!(
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\" fill=\"{colour}\"><title>{name}, {} pieces: {:.4}</title></circle>",
                x(p.0),
                y(p.1),
                p.0,
                p.1
            );
        }
        let at = top + 18.0 * i as f64 + 10.0;
        let start = WIDTH - right + 12.0;
        svg += &format!("<rect x=\"{start}\" y=\"{}\" width=\"12\" height=\"4\" fill=\"{colour}\"/>", at - 5.0);
        svg += &format!("<text x=\"{}\" y=\"{at}\">{name}</text>\n", start + 18.0);
    }
    svg + "</svg>\n"
}

fn page(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head>\n<body>\n{body}</body>\n</html>\n"
    )
}

/// As HTML shows it.
fn safe(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_round_numbers_and_labels_do_not_meet() {
        for (least, step) in [(0.2, 0.2), (0.19, 0.2), (0.21, 0.25), (1.86, 2.0), (3.0, 5.0), (6.0, 10.0)] {
            assert!((round_step(least) - step).abs() < 1e-9, "{least}: {}", round_step(least));
        }
        let svg = plot(&[("a", vec![(500.0, 0.81), (2000.0, 0.3), (2100.0, 0.2)]), ("no point", Vec::new())], 0.0);
        assert!(svg.contains(">1.00<") && svg.contains(">2,000<") && !svg.contains(">2,100<"), "{svg}");
        assert!(!svg.contains("no point"));
    }
}
