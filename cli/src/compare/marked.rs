//! A comparison as tables of Markdown and LaTeX: the first is read in an issue, the second printed in a paper.

use sverka::eval::significance::Test;

use super::report::{Moved, Report, probability};

/// Markdown.
pub fn markdown(report: &Report) -> String {
    // a bar ends a cell, an angle begins a tag
    let plain =
        |text: &str| text.replace('|', "\\|").replace('<', "&lt;").split_whitespace().collect::<Vec<_>>().join(" ");
    let mut text =
        format!("{} runs on {}. {}.\n\n| | run |", report.names.len(), plain(&report.judged), report.described());
    report.measures.iter().for_each(|name| text += &format!(" {} |", plain(name)));
    text += &format!("\n| --- | --- |{}\n", " ---: |".repeat(report.measures.len()));
    for (run, name) in report.names.iter().enumerate() {
        text += &format!("| {} | {} |", Report::letter(run), plain(name));
        for of in &report.comparison.measures {
            text += &format!(" {:.4}{} |", of.means[run].mean, raised(&Report::letters(of, run)));
        }
        text += "\n";
    }
    for (name, of) in report.measures.iter().zip(&report.comparison.measures) {
        text += &format!(
            "\nGain over {} in {}:\n\n| run | gain | 95% interval | wins | losses | equal |",
            plain(&report.names[0]),
            plain(name)
        );
        Test::ALL.iter().for_each(|test| text += &format!(" p ({}) |", test.name()));
        text += &format!("\n| --- |{}\n", " ---: |".repeat(5 + Test::ALL.len()));
        for (gain, run) in of.gains.iter().zip(1..) {
            let i = &gain.interval;
            text += &format!("| {} | {:+.4} | {:+.4} to {:+.4} |", plain(&report.names[run]), i.mean, i.low, i.high);
            text += &format!(" {} | {} | {} |", gain.wins, gain.losses, gain.equal);
            Test::ALL.iter().for_each(|test| text += &format!(" {} |", plain(&probability(Report::p(of, *test, run)))));
            text += "\n";
        }
    }
    for run in 1..report.names.len() {
        for (moved, word) in report.moved(run).iter().zip(["wins", "loses"]) {
            if moved.is_empty() {
                continue;
            }
            let (name, measure) = (plain(&report.names[run]), plain(&report.measures[0]));
            text += &format!(
                "\n{name} {word} most in {measure}:\n\n| query | text | before | after |\n| --- | --- | ---: | ---: |\n"
            );
            for Moved { query, text: asked, before, after } in moved {
                text += &format!("| {} | {} | {before:.4} | {after:.4} |\n", plain(query), plain(asked));
            }
        }
    }
    text
}

fn raised(letters: &str) -> String {
    if letters.is_empty() { String::new() } else { format!("<sup>{letters}</sup>") }
}

/// LaTeX, for the package booktabs: the table of means alone.
pub fn latex(report: &Report) -> String {
    let mut text = String::from("% \\usepackage{booktabs}\n\\begin{tabular}{ll");
    text += &"r".repeat(report.measures.len());
    text += "}\n\\toprule\n & run";
    report.measures.iter().for_each(|name| text += &format!(" & {}", escaped(name)));
    text += " \\\\\n\\midrule\n";
    for (run, name) in report.names.iter().enumerate() {
        text += &format!("{} & {}", Report::letter(run), escaped(name));
        for of in &report.comparison.measures {
            let letters = Report::letters(of, run);
            let raised = if letters.is_empty() { String::new() } else { format!("$^{{{letters}}}$") };
            let best = of.means.iter().all(|mean| mean.mean <= of.means[run].mean);
            let mean = format!("{:.4}", of.means[run].mean);
            text += &format!(" & {}{raised}", if best { format!("\\textbf{{{mean}}}") } else { mean });
        }
        text += " \\\\\n";
    }
    text + &format!("\\bottomrule\n\\end{{tabular}}\n% {}\n", report.described().replace('\n', " "))
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', c]),
            '~' => out += "\\textasciitilde{}",
            '^' => out += "\\textasciicircum{}",
            '\\' => out += "\\textbackslash{}",
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_prints_as_it_is_in_latex() {
        assert_eq!(
            super::escaped("my_run 50% {x}\\^~"),
            "my\\_run 50\\% \\{x\\}\\textbackslash{}\\textasciicircum{}\\textasciitilde{}"
        );
    }
}
