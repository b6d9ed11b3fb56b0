//! Ranked lists of any tool, measured by the names of ir-measures.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use sverka::data::{read_qrels, read_run};
use sverka::eval::{Measure, Measured, measure_run};
use sverka::records::{Judgement, Run};
use sverka::{Error, Result};

use crate::failure::Outcome;
use crate::labelled::{DataArgs, SplitArg};
use crate::output::{Output, counted, cut};

/// What is measured where nothing else is asked for.
const USUAL: &str = "nDCG@10 RR@10 AP R@100";

/// How a run is measured.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "For a run")]
pub struct RunArgs {
    #[command(flatten)]
    pub measures: MeasureArgs,
    /// Also print every query's measures
    #[arg(long)]
    per_query: bool,
}

/// Measures, and what their means go over; `compare` has them too.
#[derive(Debug, Clone, clap::Args)]
pub struct MeasureArgs {
    /// Measures by their names in ir-measures (default: nDCG@10, and for eval RR@10 AP R@100)
    #[arg(short = 'm', long = "measures", alias = "measure", value_name = "NAME", num_args = 1..)]
    names: Vec<String>,
    /// Leave judged queries out that a run lacks, as trec_eval does without -c
    #[arg(long)]
    pub only_common: bool,
}

impl MeasureArgs {
    /// The measures that were asked for, each once; `usual` if none was.
    pub fn measures(&self, usual: &str) -> Result<Vec<Measure>> {
        for name in &self.names {
            if Path::new(name).is_file() && name.parse::<Measure>().is_err() {
                return Err(Error::setting("--measures", name, "is a file; give the files before -m"));
            }
        }
        let text = if self.names.is_empty() { usual.to_string() } else { self.names.join(" ") };
        let mut measures: Vec<Measure> = Vec::new();
        for measure in Measure::list(&text)? {
            if !measures.contains(&measure) {
                measures.push(measure);
            }
        }
        Ok(measures)
    }
}

impl RunArgs {
    /// Whether the first argument is a run: a file, or a name that is not there and flags that are a run's.
    pub fn is_meant(&self, first: &Path) -> bool {
        !first.is_dir() && (first.exists() || first == Path::new("-") || self.flag().is_some())
    }

    /// The first of its flags that is given.
    fn flag(&self) -> Option<&'static str> {
        let given = [
            ("--measures", !self.measures.names.is_empty()),
            ("--per-query", self.per_query),
            ("--only-common", self.measures.only_common),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(flag, _)| flag)
    }

    /// Refuses a run's flags where the first argument is a model.
    pub fn refuse(&self) -> Result<()> {
        let refused = |flag| Err(Error::setting(flag, "", "is for a run; the first argument is a folder, so a model"));
        self.flag().map_or(Ok(()), refused)
    }
}

/// Reads a run; what was converted is said.
pub fn read(path: &Path, output: &Output) -> Result<Run> {
    let (run, report) = read_run(path)?;
    report.notes.iter().for_each(|note| output.warn(note));
    Ok(run)
}

/// Reads judgements: a file, or those of a split in a BEIR folder.
pub fn read_judgements(path: &Path, split: SplitArg, output: &Output) -> Result<Vec<Judgement>> {
    let mut file = path.to_path_buf();
    if path.is_dir() {
        let names: &[&str] = match split {
            SplitArg::Train => &["train"],
            SplitArg::Valid => &["dev", "valid", "validation"],
            SplitArg::Test => &["test"],
            SplitArg::All => return Err(Error::setting("--split", split, "name one part of the folder's judgements")),
        };
        let files: Vec<PathBuf> = names.iter().map(|name| path.join("qrels").join(format!("{name}.tsv"))).collect();
        file = files.iter().find(|file| file.is_file()).unwrap_or(&files[0]).clone();
    }
    let (judgements, report) = read_qrels(&file)?;
    report.notes.iter().for_each(|note| output.warn(note));
    Ok(judgements)
}

/// Measures a run and says what its means go over.
pub fn measured(
    paths: (&Path, &Path),
    measures: &[Measure],
    judgements: &[Judgement],
    run: &Run,
    only_common: bool,
    output: &Output,
) -> Result<Measured> {
    let (path, qrels) = paths;
    if !judgements.iter().any(|judgement| run.scores.contains_key(&judgement.query)) {
        let mine = run.scores.keys().next().map_or("", String::as_str);
        let theirs = judgements.first().map_or("", |judgement| judgement.query.as_str());
        let what = format!("no query in common with {}: here is {mine}, there is {theirs}", qrels.display());
        return Err(Error::data(path, None, what, "give judgements of the same queries, with ids written the same"));
    }
    let measured = measure_run(measures, judgements, run, only_common);
    let say = |count: u64, one: &str, many: &str| {
        if count > 0 {
            output.warn(format_args!("{}: {}", path.display(), counted(count, one, many)));
        }
    };
    let (one, many) = match only_common {
        false => (
            " in the run: it counts with 0 (--only-common leaves it out)",
            " in the run: they count with 0 (--only-common leaves them out)",
        ),
        true => (" in the run: it is left out", " in the run: they are left out"),
    };
    say(measured.missing, &format!("judged query is not{one}"), &format!("judged queries are not{many}"));
    let many = "judged queries have no relevant document and count with 0";
    say(measured.without_relevant, "judged query has no relevant document and counts with 0", many);
    say(measured.unjudged, "query has no judgements and is left out", "queries have no judgements and are left out");
    Ok(measured)
}

/// `sverka eval RUN QRELS`.
pub fn run(data: &DataArgs, args: &RunArgs, output: &Output) -> Outcome {
    let measures = args.measures.measures(USUAL)?;
    let run = read(&data.model, output)?;
    let judgements = read_judgements(&data.data, data.split, output)?;
    let paths = (&*data.model, &*data.data);
    let measured = measured(paths, &measures, &judgements, &run, args.measures.only_common, output)?;
    let names: Vec<String> = measures.iter().map(Measure::to_string).collect();
    let title = format!("{} on {}", data.model.display(), data.data.display());
    let text = render(&title, &names, &measured, args.per_query, output);
    output.result(&answer(&names, &measured, args.per_query), &text)?;
    Ok(())
}

fn answer(names: &[String], measured: &Measured, per_query: bool) -> Value {
    let named = |values: &[f64]| -> Map<String, Value> {
        names.iter().zip(values).map(|(name, value)| (name.clone(), json!(value))).collect()
    };
    let mut answer = named(&measured.means());
    answer.insert("queries".into(), json!(measured.queries.len()));
    answer.insert("missing_queries".into(), json!(measured.missing));
    answer.insert("queries_without_relevant".into(), json!(measured.without_relevant));
    answer.insert("unjudged_queries".into(), json!(measured.unjudged));
    if per_query {
        let queries = measured.queries.iter().map(|(query, values)| (query.clone(), named(values).into()));
        answer.insert("per_query".into(), Value::Object(queries.collect()));
    }
    answer.into()
}

fn render(title: &str, names: &[String], measured: &Measured, per_query: bool, output: &Output) -> String {
    let queries = counted(measured.queries.len() as u64, "judged query", "judged queries");
    let mut text = format!("{}\n  {queries}\n\n", output.strong(title));
    let width = names.iter().map(String::len).max().unwrap_or(0).max(8);
    for (name, mean) in names.iter().zip(measured.means()) {
        text += &format!("  {name:width$} {}\n", output.strong(format_args!("{mean:.4}")));
    }
    if per_query {
        text += &format!("\n  {:24}", "query");
        names.iter().for_each(|name| text += &format!(" {name:>width$}"));
        for (query, values) in &measured.queries {
            text += &format!("\n  {:24}", cut(query, 24));
            values.iter().for_each(|value| text += &format!(" {value:width$.4}"));
        }
        text += "\n";
    }
    text
}
