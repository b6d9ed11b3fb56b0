//! `sverka table`: families of rankers side by side on the data of one recipe; what is missing is trained.

use std::path::{Path, PathBuf};

use serde::Serialize;
use sverka::bundle::{Architecture, Bundle};
use sverka::train::table::{CANDIDATES, Row, bundle_row};
use sverka::train::{Labelled, LabelledOptions, Recipe};
use sverka::{Error, Split};

use crate::args::Resolved;
use crate::failure::Outcome;
use crate::output::Output;
use crate::train::train_recipe;

const EXAMPLE: &str = "\
Examples:
  sverka table recipes/abt-buy.toml --out runs/abt-buy-table
  sverka table recipes/abt-buy.toml --families dssm,knrm --set train.epochs=2 --out runs/short
  sverka table recipes/abt-buy.toml --families dssm --set data.label_fraction=0.05 --out runs/five

Each family is trained by the recipe with its own architecture (and a rate for its head) into OUT/FAMILY; one that is there
already is measured as it is, and one that was interrupted goes on. Families over static vectors leave the table of words
as it is. `boosting` is trees over features of the pair without any model.

Columns: F1 on test at the threshold from validation with its 95% bootstrap interval, area under precision and recall, milliseconds a
query at 10, 100 and 1,000 candidates (from text to score), bytes stored of a document before a query is known.";

/// Compare families of rankers on one recipe's data
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The recipe (TOML) whose data, texts and training are used
    recipe: PathBuf,
    /// The families [default: all but character_bert, whose tokens are characters, and boosting]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    families: Vec<String>,
    /// Set a key of the recipe for every family; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Only this one of the recipe's sources is measured
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// The folder of the runs
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Trees over features.
const BOOSTING: &str = "boosting";

/// What a family changes in a recipe that was written for a cross-encoder.
fn settings(family: &str) -> Vec<String> {
    let mut sets = vec![format!("model.architecture={family}")];
    let head = |rate: &str| format!("train.learning_rates={{ bert = 0.0, {family} = {rate} }}");
    match family {
        "knrm" | "drmm" => sets.extend([head("10.0"), "train.lr=1e-3".into(), "train.class_balance=oversample".into()]),
        "conv_knrm" | "pacrr" => sets.extend([head("1.0"), "train.lr=1e-3".into()]),
        "cedr" => sets.push("train.learning_rates={ cedr = 20.0 }".into()),
        _ => {}
    }
    if matches!(family, "knrm" | "conv_knrm" | "pacrr" | "drmm" | "dssm") {
        // marks of shared words would say what these models are to find, and two towers never see both texts
        sets.extend(["text.overlap_segments=false".into(), "train.swap_probability=0.0".into()]);
    }
    sets
}

#[derive(Serialize)]
struct TableOutput {
    recipe: PathBuf,
    candidates: [usize; 3],
    rows: Vec<Row>,
}

pub fn run(args: Args, global: &Resolved, output: &Output) -> Outcome {
    let known: Vec<&str> = Architecture::NAMES.into_iter().chain(has_boosting().then_some(BOOSTING)).collect();
    if let Some(family) = args.families.iter().find(|family| !known.contains(&family.as_str())) {
        let what = format!("is not known; there are {}", known.join(", "));
        return Err(Error::setting("--families", family, what).into());
    }
    let labelled = Labelled::read(&LabelledOptions {
        data: args.recipe.clone(),
        split: Some(Split::Test),
        source: args.source.clone(),
        ..LabelledOptions::default()
    })?;
    let mut families = args.families;
    if families.is_empty() {
        let all = known.iter().filter(|name| match **name {
            // trees look at the fields of one source
            BOOSTING => labelled.sets.len() == 1,
            // needs a start of its own
            name => name != "character_bert",
        });
        families = all.map(|name| name.to_string()).collect();
    } else if families.iter().any(|name| name == BOOSTING) && labelled.sets.len() != 1 {
        let what = "works on one source at a time; name it with --source, or leave boosting out";
        return Err(Error::setting("--families", BOOSTING, what).into());
    }
    let mut rows = Vec::new();
    for family in &families {
        output.note(format_args!("{family}"));
        if family == BOOSTING {
            rows.extend(boosting(&args.recipe, &args.set, args.source.as_ref(), &labelled)?);
            continue;
        }
        let sets: Vec<String> = settings(family).into_iter().chain(args.set.iter().cloned()).collect();
        let mut recipe = Recipe::read(&args.recipe, &sets)?;
        recipe.expect = None; // of another architecture
        let run = args.out.join(family);
        train_recipe(&recipe, &run, run.join("recipe.toml").exists(), output)?;
        let bundle = Bundle::open(&run.join("model"), global.dtype, global.device)?;
        let bar = output.bar(labelled.len() as u64, "measuring {bar:30} {pos}/{len} pairs, {eta} left");
        rows.push(bundle_row(family, &labelled, &bundle, &|done| bar.set_position(done))?);
        bar.finish_and_clear();
    }
    let text = render(&args.recipe, &rows, output);
    output.result(&TableOutput { recipe: args.recipe, candidates: CANDIDATES, rows }, &text)?;
    Ok(())
}

fn render(recipe: &Path, rows: &[Row], output: &Output) -> String {
    let pairs = rows.first().map_or(0, |row| row.pairs);
    let mut text = format!("{}, {pairs} test pairs\n\n", output.strong(recipe.display()));
    text += &format!(
        "  {:14} {:>6} {:>16} {:>7} {:>9} {:>9} {:>9} {:>9}  computed beforehand\n",
        "family", "F1", "95% interval", "PR-AUC", "ms, 10", "ms, 100", "ms, 1000", "bytes"
    );
    for row in rows {
        let percent = |share: f64| format!("{:.1}", 100.0 * share);
        let interval = format!("{} to {}", percent(row.f1_low), percent(row.f1_high));
        let [ten, hundred, thousand] = row.ms.map(|ms| ms.map_or("-".into(), |ms| format!("{ms:.1}")));
        text += &format!(
            "  {:14} {:>6} {interval:>16} {:>7} {ten:>9} {hundred:>9} {thousand:>9} {:>9}  {}\n",
            row.name,
            percent(row.f1),
            percent(row.pr_auc),
            row.document_bytes,
            row.beforehand
        );
    }
    text
}

#[cfg(feature = "boosting")]
fn has_boosting() -> bool {
    true
}
#[cfg(not(feature = "boosting"))]
fn has_boosting() -> bool {
    false
}

#[cfg(feature = "boosting")]
fn boosting(
    recipe: &Path,
    sets: &[String],
    source: Option<&String>,
    labelled: &Labelled,
) -> sverka::Result<Option<Row>> {
    use sverka::boost::{Booster, Growth};
    use sverka::ranker::score_rows;
    use sverka::train::corpus::share_of;
    use sverka::train::table::row;

    let test = &labelled.sets[0].set; // one, or `run` refused
    let mut read = Labelled::read(&LabelledOptions {
        data: recipe.into(),
        split: Some(Split::Train),
        source: source.cloned(),
        ..LabelledOptions::default()
    })?;
    let settings = Recipe::read(recipe, sets)?;
    let train = &mut read.sets[0].set;
    train.pairs = share_of(std::mem::take(&mut train.pairs), settings.data.label_fraction, settings.train.seed, 0);
    let (booster, _) = Booster::train(train, &[], Vec::new(), &Growth::default(), &|_| {})?;
    let places: Vec<(u32, u32)> = test.pairs.iter().map(|pair| (pair.left, pair.right)).collect();
    let scores = score_rows(&booster, &test.left, &test.right, &places, &|_, _| {})?;
    let decided: Vec<(f32, bool)> = scores.iter().map(|score| booster.decide(score)).collect();
    row(BOOSTING, labelled, &booster, &decided, booster.threshold()).map(Some)
}
#[cfg(not(feature = "boosting"))]
fn boosting(_: &Path, _: &[String], _: Option<&String>, _: &Labelled) -> sverka::Result<Option<Row>> {
    Ok(None)
}
