//! `sverka pretrain`: raw text to a language model.

use std::path::PathBuf;

use sverka::Error;
use sverka::train::pretrain::{Machine, Plan, PretrainRecipe, Prices, SourceCounts, plan, pretrain, write_texts};

use crate::args::Resolved;
use crate::failure::{Failure, Outcome};
use crate::output::{Output, grouped};
use crate::training::{Bar, Words};

const EXAMPLE: &str = "\
Examples:
  sverka pretrain recipes/pretrain-products.toml --texts texts.txt           # what a tokenizer is grown on
  sverka pretrain recipes/pretrain-products.toml --plan --price-per-hour 0.4 --watts 65
  sverka pretrain recipes/pretrain-products.toml --run runs/lm
  sverka pretrain recipes/pretrain-products.toml --run runs/lm --resume
  sverka pretrain recipes/pretrain-products.toml --steps 0 --run runs/untrained
  sverka fill-mask runs/lm/model \"canon powershot [MASK] camera\"

A recipe says what the model begins with ([model] init = DIR, or [model.fresh] tokenizer, layers, hidden,
heads, intermediate, positions), the sources and their weights ([[data.sources]] files or from, fields,
document, weight), what is masked ([mask] share, masked, random, whole_words), whether pairs of texts are
distinguished ([next] positives, negatives, weight) and [train] steps, batch, lr and so on. Texts of any
test part stay out. The run's folder ends with `model`, a start for `train` that Python loads too.
Exit code 3: the result is below the recipe's [expect].
Ctrl-C (or SIGTERM) writes a checkpoint and ends with 130 (143); a second one ends at once.";

/// Grow a language model on your own texts (masked tokens, next texts)
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The recipe (TOML)
    recipe: PathBuf,
    /// Set a key of the recipe, for example train.steps=500; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Steps, in place of the recipe's; 0 writes the model that it begins with
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// The run's folder [default: runs/ and the recipe's name]
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Go on where the run in this folder stopped
    #[arg(long)]
    resume: bool,
    /// Only write the texts that would be learnt, one a line and as often as weights say, and stop
    #[arg(long, value_name = "FILE", conflicts_with_all = ["resume", "plan"])]
    texts: Option<PathBuf>,
    /// Only say what the run would take: some of its steps are timed here
    #[arg(long, conflicts_with = "resume")]
    plan: bool,
    /// Seconds that a plan measures, up to 60
    #[arg(long, value_name = "S", default_value_t = 20.0, requires = "plan")]
    measure: f64,
    /// Of a plan: what an hour of this machine costs
    #[arg(long, value_name = "MONEY", requires = "plan")]
    price_per_hour: Option<f64>,
    /// Of a plan: what this machine draws, in watts
    #[arg(long, value_name = "W", requires = "plan")]
    watts: Option<f64>,
    /// Of a plan: what a kilowatt-hour costs
    #[arg(long, value_name = "MONEY", requires = "watts")]
    price_per_kwh: Option<f64>,
    /// Of a plan: another machine to compare with, besides four V100: its peak in TFLOP/s at half precision
    #[arg(long, value_name = "T", requires_all = ["plan", "machine_price"])]
    machine_tflops: Option<f64>,
    /// What an hour of it costs
    #[arg(long, value_name = "MONEY", requires = "machine_tflops")]
    machine_price: Option<f64>,
    /// Hours that it is rented
    #[arg(long, value_name = "H", default_value_t = 24.0, requires = "machine_tflops")]
    machine_hours: f64,
}

pub fn run(args: Args, global: &Resolved, output: &Output) -> Outcome {
    global.on_cpu("pre-training")?;
    let mut sets = args.set.clone();
    if let Some(dtype) = global.dtype {
        sets.push(format!("train.dtype={}", format!("{dtype:?}").to_lowercase()));
    }
    sets.extend(args.steps.map(|steps| format!("train.steps={steps}")));
    let recipe = PretrainRecipe::read(&args.recipe, &sets)?;
    if let Some(path) = &args.texts {
        let counts = write_texts(&recipe, path)?;
        let text = format!("{}\nwritten to {}", listed(&counts), path.display());
        output.summary(&serde_json::json!({ "sources": counts, "out": path }), &text)?;
        return Ok(());
    }
    let words = Words {
        measure: "accuracy",
        shown: "held-out accuracy",
        held_out: "held-out",
        items: "sequences",
        in_epochs: false,
    };
    let bar = Bar::new(output, words, args.plan)?;
    if args.plan {
        let plan = planned(&args, &recipe, &bar)?;
        output.result(&plan, &described(&plan, &args))?;
        return Ok(());
    }
    let run = args.run.unwrap_or_else(|| PathBuf::from("runs").join(&recipe.name));
    let outcome = bar.finish(pretrain(&recipe, &run, args.resume, &bar))?;
    output.summary(&outcome, &format!("{outcome}\nwritten to {}", run.join("model").display()))?;
    match outcome.missed() {
        Some(missed) => Err(Failure::Gate(missed)),
        None => Ok(()),
    }
}

fn listed(counts: &[SourceCounts]) -> String {
    let line = |c: &SourceCounts| {
        let left_out = c.of_tests + c.copies + c.bad_rows;
        let numbers = [c.documents, c.held_out, left_out].map(grouped);
        format!("{}: {} documents, {} held out, {} left out", c.name, numbers[0], numbers[1], numbers[2])
    };
    counts.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn planned(args: &Args, recipe: &PretrainRecipe, progress: &Bar) -> Outcome<Plan> {
    let above = |name: &str, value: Option<f64>| match value.filter(|v| !(v.is_finite() && *v > 0.0)) {
        Some(value) => Err(Error::setting(name, value, "must be above 0")),
        None => Ok(()),
    };
    above("--price-per-hour", args.price_per_hour)?;
    above("--watts", args.watts)?;
    above("--price-per-kwh", args.price_per_kwh)?;
    above("--machine-tflops", args.machine_tflops)?;
    above("--machine-price", args.machine_price)?;
    above("--machine-hours", Some(args.machine_hours))?;
    if !(args.measure > 0.0 && args.measure <= 60.0) {
        return Err(Error::setting("--measure", args.measure, "must be above 0, and 60 at most").into());
    }
    let prices = Prices { per_hour: args.price_per_hour, watts: args.watts, per_kwh: args.price_per_kwh };
    let mut machines = vec![Machine::four_v100()];
    machines.extend(args.machine_tflops.zip(args.machine_price).map(|(tflops, price)| {
        let name = format!("{tflops} TFLOP/s");
        Machine { name, tflops, sustained: 0.3, per_hour: (price, price), hours: args.machine_hours }
    }));
    Ok(plan(recipe, &prices, &machines, args.measure, progress)?)
}

/// Hours as people say them.
fn hours(hours: f64) -> String {
    if hours < 1.0 / 60.0 {
        format!("{:.0} s", 3600.0 * hours)
    } else if hours < 2.0 {
        format!("{:.0} min", 60.0 * hours)
    } else {
        format!("{hours:.1} h")
    }
}

/// Money from and to.
fn money((low, high): (f64, f64)) -> String {
    let digits = if high < 10.0 { 2 } else { 0 };
    let written = |value: f64| if digits == 0 { grouped(value.round() as u64) } else { format!("{value:.2}") };
    if written(low) == written(high) { written(low) } else { format!("{} to {}", written(low), written(high)) }
}

/// A number of tokens.
fn tokens(count: f64) -> String {
    match count {
        n if n >= 1e9 => format!("{:.1} G tokens", n / 1e9),
        n if n >= 1e6 => format!("{:.1} M tokens", n / 1e6),
        n => format!("{} tokens", grouped(n.round() as u64)),
    }
}

fn described(plan: &Plan, args: &Args) -> String {
    let passes = plan.passes.map_or(String::new(), |passes| format!(", {passes:.1} passes over the sources"));
    let mut lines = vec![
        format!(
            "{:.1} M trained values; {} steps of {}: {}{passes}",
            plan.parameters as f64 / 1e6,
            grouped(plan.steps),
            tokens(plan.tokens_per_step),
            tokens(plan.tokens)
        ),
        format!(
            "here: {} tokens/s over {:.0} s of the run's own steps ({:.0} GFLOP/s): {}, validation not counted",
            grouped(plan.tokens_per_second.round() as u64),
            plan.measured_seconds,
            plan.gflops,
            hours(plan.hours)
        ),
    ];
    let memory = plan.memory.map_or(String::new(), |bytes| format!("{:.1} GB of memory, ", bytes as f64 / 1e9));
    lines.push(format!("{memory}{:.1} GB of disk for checkpoints and the model", plan.disk as f64 / 1e9));
    if let Some(kwh) = plan.kwh {
        lines.push(format!("energy: {kwh:.2} kWh at {} W", args.watts.unwrap_or_default()));
    }
    if let Some(price) = plan.price {
        lines.push(format!("price: {}", money((price, price))));
    }
    for other in &plan.elsewhere {
        lines.push(format!(
            "{} ({:.0} TFLOP/s assumed): this run {}, {} USD; rented {}: {} USD buy {:.0} such runs, {} of this model, or {} of a BERT-base",
            other.machine, other.sustained_tflops, hours(other.hours), money(other.price), hours(other.budget_hours),
            money(other.budget), other.runs, tokens(other.tokens), tokens(other.bert_base_tokens)
        ));
    }
    lines.join("\n")
}
