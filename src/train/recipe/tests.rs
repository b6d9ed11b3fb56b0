use super::keys::RENAMED;
use super::*;

const TEXT: &str = r#"
name = "toy"
[model]
init = "weights"
[[data.sources]]
name = "shop"
from = { format = "deepmatcher", dir = "data/shop" }
negatives = { hard = 3 }
[train]
epochs = 3
"#;

fn read(text: &str, sets: &[&str]) -> Result<Recipe> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("toy.toml");
    std::fs::write(&path, text).unwrap();
    Recipe::read(&path, &sets.iter().map(|s| s.to_string()).collect::<Vec<_>>())
}

#[test]
fn the_resolved_form_says_everything_and_reads_back_the_same() {
    let recipe = read(TEXT, &[]).unwrap();
    let resolved = recipe.resolved().unwrap();
    assert!(resolved.contains("batch = 32") && resolved.contains("max_tokens"), "{resolved}");
    assert!(recipe.model.init.is_absolute());
    assert_eq!(toml::from_str::<Recipe>(&resolved).unwrap(), recipe);
    assert_eq!(recipe.data.sources[0].negatives, Some(Negatives { hard: 3, ..Negatives::default() }));
}

#[test]
fn settings_go_above_the_file() {
    let sets = ["train.lr=1e-4", "train.dtype=bf16", "data.sources.0.max_pairs=7", "model.layers=[0, 2]", "name=x y"];
    let recipe = read(TEXT, &sets).unwrap();
    assert_eq!((recipe.train.lr, recipe.train.dtype, recipe.train.epochs), (1e-4, Dtype::Bf16, 3));
    assert_eq!(recipe.data.sources[0].max_pairs, Some(7));
    assert_eq!(recipe.model.layers, Some(vec![0, 2]));
    assert_eq!(recipe.name, "x y");
}

#[test]
fn names_of_before_are_still_read_and_a_setting_goes_above_either_name() {
    let old = r#"
name = "toy"
[start]
dir = "weights"
[data]
leave_out = ["shop"]
[[data.sources]]
name = "shop"
from = { format = "deepmatcher", dir = "data/shop" }
unique = true
[train]
accumulate = 2
tokens = 100
final_lr = 0.25
clip = 2.0
swap = 0.25
average = 0.5
measure = "ap"
[text]
marks = true
mark_shared = true
[augment]
thin = 0.5
words = 7
"#;
    let mut new = old.to_string();
    for (_, before, now) in RENAMED {
        let place = |text: &str| new.find(text).unwrap_or_else(|| panic!("the old recipe lacks {text}"));
        let at = if before == "start" { place("[start]") + 1 } else { place(&format!("\n{before} = ")) + 1 };
        new.replace_range(at..at + before.len(), now);
    }
    let [before, now] = [old, &new].map(|text| read(text, &[]).unwrap());
    assert_eq!((&before.train, &before.text), (&now.train, &now.text));
    assert!(now.text.overlap_segments && now.text.ditto_markers);
    let sets = ["train.swap=0.5", "data.sources.0.unique=false", "start.layers=[1]", "augment.word_dropout=0.0"];
    for text in [old, new.as_str()] {
        let recipe = read(text, &sets).unwrap();
        assert_eq!((recipe.train.swap_probability, recipe.data.sources[0].deduplicated), (0.5, false));
        assert_eq!((recipe.model.layers, recipe.augment.unwrap().word_dropout), (Some(vec![1]), 0.0));
        assert!(recipe.model.init.ends_with("weights"));
    }
}

#[test]
fn numbers_and_names_out_of_bounds_are_refused_by_key() {
    let refused = |set: &str, part: &str| {
        let error = read(TEXT, &[set.to_string().as_str()]).unwrap_err();
        let text = error.to_string();
        assert!(error.is_user_error() && text.contains(part) && !text.contains('\n'), "{set}: {text}");
    };
    refused("model.segments=1000000000000", "model.segments = 1000000000000");
    refused("model.segments=0", "model.segments = 0");
    refused("name=../up", "name = ../up");
    refused("name=..", "name = ..");
    refused("name=a/b", "name = a/b");
    refused("train.batch=99999999999999", "train.batch = 99999999999999");
    refused("train.gradient_accumulation=99999999999999", "train.gradient_accumulation");
    refused("data.sources.0.repeat=4000000000", "repeat = 4000000000");
    refused("data.sources.0.repeat=0", "repeat = 0");
    refused("data.sources.0.negatives.hard=99999999999", "negatives");
    refused("augment.negatives=1e12", "augment.negatives");
    refused("augment.word_dropout=-1.0", "augment.word_dropout");
    refused("augment.field_dropout=1.5", "augment.field_dropout");
    refused("augment.span_swap=-0.1", "augment.span_swap");
    refused("train.teacher=3", "a path, or a list of paths");
    refused("text.max_tokens=0", "text.max_tokens");
    refused("train.learning_rates.head=-1.0", "train.learning_rates.head = -1");
    refused("model.architecture=colbart", "cross_encoder, dssm, duo");
    refused("model.pooling=cls", "cross_encoder has no settings of its own");
}

#[test]
fn teachers_are_one_path_or_several_and_a_list_of_non_matches_goes_without_a_model() {
    let of = |teacher: &str| read(TEXT, &["train.loss=mse", teacher]).unwrap();
    let [one, two] = [of("train.teacher=some/model"), of("train.teacher=[\"some/model\", \"other\"]")];
    assert_eq!((one.train.teacher.len(), two.train.teacher.len()), (1, 2));
    let paths = one.train.teacher.iter().chain(&two.train.teacher);
    assert!(paths.clone().all(|path| path.is_absolute()));
    assert_eq!(paths.filter(|path| path.ends_with("some/model")).count(), 2);
    let written = |recipe: &Recipe| toml::from_str::<toml::Table>(&recipe.resolved().unwrap()).unwrap();
    assert!(written(&one)["train"]["teacher"].is_str() && written(&two)["train"]["teacher"].is_array());
    for recipe in [one, two] {
        assert_eq!(toml::from_str::<Recipe>(&recipe.resolved().unwrap()).unwrap(), recipe);
    }
    let none = read(TEXT, &[]).unwrap();
    assert!(none.train.teacher.is_empty() && !none.resolved().unwrap().contains("teacher"));

    let list = "data.sources.0.negatives.list=hard.run";
    let negatives = read(TEXT, &[list]).unwrap().data.sources.remove(0).negatives.unwrap();
    assert!(negatives.list.is_some_and(|path| path.is_absolute() && path.ends_with("hard.run")));
    let error = read(TEXT, &[list, "data.sources.0.negatives.model=m"]).unwrap_err();
    assert!(error.is_user_error() && error.to_string().contains("data.sources.0.negatives.list = "), "{error}");
}

#[test]
fn mistakes_name_the_place_on_one_line() {
    let error = |text: &str, sets: &[&str]| {
        let error = read(text, sets).unwrap_err();
        let text = error.to_string();
        assert!(error.is_user_error() && !text.contains('\n'), "{text}");
        text
    };
    let misspelt = error(&TEXT.replace("epochs = 3", "epoch = 3"), &[]);
    assert!(misspelt.contains("toy.toml:10") && misspelt.contains("epoch"), "{misspelt}");
    assert!(error(TEXT, &["train.epoch=3"]).contains("epoch"));
    assert!(error(TEXT, &["train.epochs=0"]).contains("train.epochs = 0"));
    assert!(error(TEXT, &["train.label_smoothing=1.0"]).contains("train.label_smoothing"));
    assert!(error(TEXT, &["train.dtype=int8"]).contains("f32 or bf16"));
    assert!(error(TEXT, &["data.sources.4.max_pairs=1"]).contains("leads nowhere"));
    assert!(error(TEXT, &["epochs"]).contains("key=value"));
    assert!(error(TEXT, &["data.eval_only=[\"sho\"]"]).contains("there are shop"));
    assert!(error(TEXT, &["data.sources.0.train=[\"train\", \"test\"]"]).contains("Test part twice"));
    assert!(error("name = \n", &[]).contains("toy.toml:1"));
}

/// Every leaf of a recipe with its name in `docs/recipes.md`; a key of a source is named without the way there.
fn leaves(prefix: &str, value: toml::Value, out: &mut Vec<(String, toml::Value)>) {
    match value {
        toml::Value::Table(table) if !prefix.ends_with("from") && !prefix.ends_with(".f1") => {
            for (key, value) in table {
                leaves(&if prefix.is_empty() { key } else { format!("{prefix}.{key}") }, value, out);
            }
        }
        toml::Value::Array(mut list) if prefix == "data.sources" => leaves("", list.remove(0), out),
        value => out.push((prefix.to_string(), value)),
    }
}

#[test]
fn the_page_about_recipes_names_every_key_and_its_default() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recipes.md")).unwrap();
    let row = |key: &str| page.lines().find(|l| l.starts_with(&format!("| `{key}` |")));
    let keys = |text: &str| {
        let recipe: Recipe = toml::from_str(text).unwrap();
        let mut keys = Vec::new();
        leaves("", toml::Value::try_from(&recipe).unwrap(), &mut keys);
        keys
    };
    let least = TEXT.replace("epochs = 3", "").replace("negatives = { hard = 3 }", "") + "[augment]\n";
    for (key, value) in keys(&least) {
        let row = row(&key).unwrap_or_else(|| panic!("docs/recipes.md has no row for `{key}`"));
        let documented = row.split('|').nth(2).unwrap().trim().trim_matches('`');
        // a default in words says what an empty list or a required key means
        if let Ok(mut table) = toml::from_str::<toml::Table>(&format!("x = {documented}")) {
            let documented = table.remove("x").unwrap();
            let number = |v: &toml::Value| v.as_float().or(v.as_integer().map(|i| i as f64));
            let same = match (number(&documented), number(&value)) {
                (Some(a), Some(b)) => (a - b).abs() <= 1e-6 * b.abs(),
                _ => documented == value,
            };
            assert!(same, "docs/recipes.md: `{key}` is {value}, not {documented}");
        }
    }
    let all = TEXT
        .replace("init = \"weights\"", "init = \"weights\"\nsegments = 6\nlayers = [0]")
        .replace("negatives =", "fields = [\"name\"]\nmax_pairs = 1\nnegatives =")
        .replace("hard = 3", "hard = 3, model = \"m\", list = \"x.run\"")
        .replace("epochs = 3", "epochs = 3\nteacher = [\"a\", \"b\"]")
        + "dropout = 0.1\nema_decay = 0.9\nearly_stopping = 1\nvalidate_every = 1\n[text]\nsegments.price = 2\n\
           [expect]\nf1.shop = 0.5\nhardware = \"x\"\nminutes = 1.0\n";
    let optional = keys(&all);
    assert!(optional.len() > 45, "{}", optional.len());
    for (key, _) in optional {
        let key = key.strip_suffix(".price").unwrap_or(&key);
        assert!(row(key).is_some(), "docs/recipes.md has no row for `{key}`");
    }
}
