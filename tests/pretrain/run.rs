//! Whole runs: a model that learns, goes on with the same bits, and is a start for `train`.

use std::ops::ControlFlow;

use sverka::bundle::{Architecture, Checkpoint, LanguageModel, Purpose};
use sverka::train::pretrain::{Machine, Prices, plan, pretrain, write_texts};
use sverka::train::{Progress, Silent, StepReport};

use super::{Folder, TEXTS, texts};

struct StopAt(u64);

impl Progress for StopAt {
    fn step(&self, report: &StepReport) -> ControlFlow<()> {
        if report.step == self.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("texts.txt", texts());
    folder
}

#[test]
fn a_model_learns_and_a_stopped_run_gives_the_same_bits() {
    let folder = folder();
    let recipe = folder.recipe(TEXTS, &["next.weight=0.5", "train.gradient_accumulation=2"]).unwrap();
    let whole = pretrain(&recipe, &folder.path("whole"), false, &Silent).unwrap();
    assert_eq!((whole.steps, whole.sequences), (12, 96));
    assert_eq!(whole.validations.iter().map(|v| v.step).collect::<Vec<_>>(), [5, 10, 12]);
    let parts = folder.path("parts");
    for stop in [2, 7] {
        let error = pretrain(&recipe, &parts, stop > 2, &StopAt(stop)).unwrap_err();
        assert!(error.to_string().contains("--resume"), "{error}");
    }
    // what the run read is its own by now
    folder.write("texts.txt", "something else\n");
    let resumed = pretrain(&recipe, &parts, true, &Silent).unwrap();
    assert_eq!(resumed.held_out, whole.held_out);
    for file in ["model.safetensors", "config.json", "vocab.txt"] {
        let of = |run: &str| std::fs::read(folder.path(run).join("model").join(file)).unwrap();
        assert!(of("parts") == of("whole"), "{file}");
    }
    let config = std::fs::read_to_string(folder.path("whole/model/config.json")).unwrap();
    assert!(config.contains("BertForPreTraining"), "{config}");
    LanguageModel::open(&folder.path("whole/model"), true, None).unwrap().next("the lamp", "is red").unwrap();
}

#[test]
fn accuracy_rises_and_perplexity_falls() {
    let folder = folder();
    let sets = [
        "train.steps=1200",
        "train.validate_every=400",
        "train.batch=8",
        "model.fresh.dropout=0.0",
        "mask.whole_words=true",
    ];
    let recipe = folder.recipe(TEXTS, &sets).unwrap();
    let outcome = pretrain(&recipe, &folder.path("run"), false, &Silent).unwrap();
    let fresh = folder.recipe(TEXTS, &["train.steps=0"]).unwrap();
    let before = pretrain(&fresh, &folder.path("fresh"), false, &Silent).unwrap();
    assert_eq!((before.steps, before.validations.len()), (0, 0));
    let (then, now) = (&before.held_out, &outcome.held_out);
    // a vocabulary of 29: a fresh model's perplexity is about that; colours and things are half of what can be guessed
    assert!((20.0..40.0).contains(&then["perplexity"]) && now["perplexity"] < 5.0, "{then:?} {now:?}");
    assert!(now["accuracy"] > then["accuracy"] + 0.3, "{then:?} {now:?}");
    let model = LanguageModel::open(&folder.path("run/model"), false, None).unwrap();
    let best = model.fill("the lamp is red . a big lamp in [MASK] , 1 1 1 1", 3).unwrap().remove(0);
    assert!(best.iter().all(|p| ["red", "blue", "green"].contains(&p.token.as_str())), "a colour is missing: {best:?}");
    assert!(best.iter().map(|p| p.probability).sum::<f32>() > 0.9, "{best:?}");
    // one more epoch from it, as any start
    let again = format!(
        "name = 'on'\n[model]\ninit = 'run/model'\n[text]\nmax_tokens = 24\n[train]\nsteps = 2\nbatch = 4\n[data]\nheld_out = 0.1\n{TEXTS}"
    );
    folder.write("again.toml", again);
    let again = sverka::train::pretrain::PretrainRecipe::read(&folder.path("again.toml"), &[]).unwrap();
    let on = pretrain(&again, &folder.path("on"), false, &Silent).unwrap();
    assert!(on.held_out["perplexity"] < 1.3 * now["perplexity"], "{on:?}");
}

#[test]
fn a_ranker_begins_with_it() {
    let folder = folder();
    for (name, set) in [("with", "next.enabled=true"), ("without", "next.enabled=false")] {
        let recipe = folder.recipe(TEXTS, &["train.steps=2", set]).unwrap();
        pretrain(&recipe, &folder.path(name), false, &Silent).unwrap();
        let model = folder.path(name).join("model");
        let mut start = Checkpoint::read(&model).unwrap();
        let notes = start.select(&*Architecture::default().model(), Purpose::Start).unwrap();
        assert!(start.weights.0.contains_key("bert.pooler.dense.weight"), "{name}");
        assert!(notes.iter().all(|note| note.contains("cls.")), "{notes:?}");
        let config = std::fs::read_to_string(model.join("config.json")).unwrap();
        assert_eq!(config.contains("BertForMaskedLM"), name == "without", "{config}");
    }
}

#[test]
fn cutting_a_step_into_pieces_changes_memory_and_not_the_result() {
    let folder = folder();
    let run = |name: &str, tokens: &str| {
        let sets = ["train.steps=4", "next.weight=1", "model.fresh.dropout=0", tokens];
        let recipe = folder.recipe(TEXTS, &sets).unwrap();
        pretrain(&recipe, &folder.path(name), false, &Silent).unwrap().held_out
    };
    let (whole, pieces) = (run("a", "train.max_tokens_per_pass=8192"), run("b", "train.max_tokens_per_pass=24"));
    assert!((whole["masked_loss"] - pieces["masked_loss"]).abs() < 1e-3, "{whole:?} {pieces:?}");
}

const SET: &str = "[[data.sources]]\nname = 'shop'\nfrom = { format = 'ditto', train = 'train.txt', test = 'test.txt' }\ndocument = 'cluster'\n";

fn set(folder: &Folder) {
    let line = |left: &str, right: &str, label: u8| format!("COL title VAL {left}\tCOL title VAL {right}\t{label}\n");
    let mut train = String::new();
    for i in 1..=5 {
        for j in 1..=5 {
            train += &line(&format!("red lamp {i} {j} big"), &format!("lamp red {i} {j}"), 1);
            train += &line(&format!("blue cup {i} {j} small"), &format!("cup blue {i} {j}"), 1);
            train += &line(&format!("red lamp {i} {j} big"), &format!("cup blue {j} {i}"), 0);
        }
    }
    folder.write("train.txt", train);
    folder.write("test.txt", line("green car 1 2 3", "red lamp 1 2 big", 1));
}

#[test]
fn texts_of_a_test_part_stay_out_wherever_they_are() {
    let folder = Folder::new();
    set(&folder);
    folder.write("texts.txt", format!("{}\nGreen  car 1 2 3\nblue car 1\n", texts()));
    folder.write("table.csv", "id,name,price\n1,green car 1 2 3,5\n2,small cup,3\n3,big cup in red,4\n");
    let table = "[[data.sources]]\nname = 'table'\nfiles = ['table.csv']\nfields = ['name']\n";
    let lines = format!("{TEXTS}document = 'line'\n");
    let recipe = folder.recipe(&format!("{lines}{SET}{table}"), &["data.held_out=1e-9"]).unwrap();
    let counts = write_texts(&recipe, &folder.path("out.txt")).unwrap();
    let out = std::fs::read_to_string(folder.path("out.txt")).unwrap();
    assert!(!out.to_lowercase().contains("green car 1 2 3") && !out.contains("red lamp 1 2 big"), "{out}");
    assert_eq!(counts.iter().map(|c| c.of_tests).collect::<Vec<_>>(), [1, 2, 1]);
    assert!(
        out.contains("blue car 1\n")
            && out.contains("small cup\n")
            && out.contains("red lamp 1 1 big\nlamp red 1 1\n")
            && out.contains("cup blue 1 2\n"),
        "{out}"
    );
    // as often as weights say
    let recipe = folder.recipe(&format!("{lines}weight = 0.5\n{SET}weight = 3\n"), &[]).unwrap();
    write_texts(&recipe, &folder.path("weighed.txt")).unwrap();
    let weighed = std::fs::read_to_string(folder.path("weighed.txt")).unwrap();
    let offers = weighed.matches("lamp red ").count();
    assert!(offers > 0 && offers.is_multiple_of(3), "{weighed}");
    let lines = |text: &str| text.lines().filter(|line| line.contains(" . ")).count();
    assert!((100..250).contains(&lines(&weighed)) && lines(&out) == 400, "{} of 400", lines(&weighed));
    // a pair's left side comes in two lines of the file and is read once
    assert_eq!(out.matches("red lamp 2 2 big").count(), 1);
}

#[test]
fn offers_of_one_cluster_follow_each_other_and_next_texts_are_learnt() {
    let folder = Folder::new();
    set(&folder);
    let sets = ["next.weight=1", "train.steps=1200", "train.validate_every=400", "train.batch=16", "data.held_out=0.3"];
    let recipe = folder.recipe(SET, &sets).unwrap();
    let outcome = pretrain(&recipe, &folder.path("run"), false, &Silent).unwrap();
    assert!(outcome.held_out["next_accuracy"] > 0.6, "{:?}", outcome.held_out);
    let distant = folder.recipe(TEXTS, &["next.negatives=distant", "train.steps=1"]).unwrap();
    folder.write("texts.txt", texts());
    pretrain(&distant, &folder.path("distant"), false, &Silent).unwrap();
}

#[test]
fn a_plan_measures_and_computes() {
    let folder = folder();
    let recipe = folder.recipe(TEXTS, &["train.steps=1000"]).unwrap();
    let prices = Prices { per_hour: Some(2.0), watts: Some(100.0), per_kwh: Some(0.5) };
    let plan = plan(&recipe, &prices, &[Machine::four_v100()], 0.05, &Silent).unwrap();
    assert!(plan.tokens_per_second > 0.0 && plan.parameters > 10_000);
    assert!((plan.hours - plan.tokens / plan.tokens_per_second / 3600.0).abs() < 1e-9);
    let price = 2.0 * plan.hours + 0.5 * 0.1 * plan.hours;
    assert!((plan.price.unwrap() - price).abs() < 1e-9 && (plan.kwh.unwrap() - 0.1 * plan.hours).abs() < 1e-12);
    let other = &plan.elsewhere[0];
    assert_eq!(other.budget, (1152.0, 1440.0));
    assert!((other.runs * other.hours - 96.0).abs() < 1e-6 && other.bert_base_tokens < other.tokens);
    assert!(!folder.path("runs").exists(), "a plan makes no folder");
}
