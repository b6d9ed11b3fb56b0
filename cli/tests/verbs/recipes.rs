//! `sverka init` and `train`.

use crate::common::*;

#[test]
fn init_then_train_then_use() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    pairs(dir.path());
    let run = |arguments: &[&str], code: i32| sverka(dir.path()).args(arguments).assert().code(code);
    let answer = json(&stdout(&run(&["init", "pairs", "--start", "model", "--out", "shop.toml", "--json"], 0)));
    assert_eq!(answer["fields"], serde_json::json!(["name", "price"]));
    one_line(&run(&["init", "pairs", "--out", "shop.toml"], 2), &["shop.toml", "already exists"]);
    let train = ["train", "shop.toml", "--set", "train.epochs=2", "--set", "train.lr=1e-3", "--run", "run"];
    let said = stdout(&run(&[&train[..], &["--json"]].concat(), 0));
    assert!(json(&said)["steps"].as_u64().unwrap() > 0);
    one_line(&run(&train, 2), &["run"]);
    run(&[&train[..], &["--resume"]].concat(), 0);
    run(&["eval", "run/model", "pairs"], 0);
    let said = stderr(&run(&[&train[..4], &["--run", "dated"]].concat(), 0));
    assert!(said.contains("validation ap") && !said.contains(['\r', '\x1b']), "a bar without a terminal: {said:?}");
    one_line(&run(&["train", "shop.toml", "--set", "train.epoch=2"], 2), &["epoch"]);
    one_line(&run(&["train", "shop.toml", "--dtype", "int8", "--run", "r2"], 2), &["int8"]);
    one_line(
        &run(&["train", "shop.toml", "--device", "cuda", "--run", "r2"], 2),
        &["--device", "training is a CPU's work"],
    );
    // no machine has a hundred GPUs, and most binaries are built for none
    one_line(&run(&["eval", "model", "pairs", "--device", "cuda:99"], 2), &["--device = cuda:99: ", "--device"]);
    // below what the recipe expects: a quality gate
    let expecting = [&train[..6], &["--run", "r3", "--set", "expect.f1.shop=1.1"]].concat();
    one_line(&run(&[&expecting[..], &["-q"]].concat(), 3), &["shop", "expected"]);
    // links
    lists(dir.path());
    let mut links = String::from("left_id,right_id,label\n");
    for (l, r, label) in [("1", "a", 1), ("2", "e", 1), ("3", "c", 1), ("4", "d", 1), ("2", "b", 0), ("1", "d", 0)] {
        links += &format!("{l},{r},{label}\n");
    }
    write(&dir.path().join("links.csv"), links);
    let answer = run(&["init", "left.csv", "right.csv", "links.csv", "--start", "model", "--json"], 0);
    assert_eq!(json(&stdout(&answer))["matches"], 4);
    assert!(std::fs::read_to_string(dir.path().join("recipe.toml")).unwrap().contains("[data.split]"));
}

#[test]
fn init_begins_with_what_is_there_and_counts_tokens_as_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let model = model(dir.path());
    // letters are the only pieces that the random model has for these: three times as many as letters would let expect
    let text = "ы".repeat(40);
    write(&dir.path().join("train.csv"), format!("left_name,right_name,label\n{text},{text},1\nя,{text},0\n"));
    let init = |out: &str| {
        let assert =
            sverka(dir.path()).args(["init", "train.csv", "--json", "--out", out]).env("SVERKA_MODEL", &model).assert();
        let answer = json(&stdout(&assert.code(0)));
        (answer, std::fs::read_to_string(dir.path().join(out)).unwrap().parse::<toml::Table>().unwrap())
    };
    let (answer, recipe) = init("a.toml");
    assert_eq!(answer["max_tokens"], 96, "80 letters are 83 tokens");
    assert_eq!(recipe["model"]["init"].as_str(), model.to_str());
    assert_eq!(recipe["text"]["overlap_segments"].as_bool(), Some(true));
    // MiniLM for texts that are not Cyrillic, where it has been brought
    std::fs::create_dir_all(dir.path().join("weights/minilm")).unwrap();
    assert_eq!(init("b.toml").1["model"]["init"].as_str(), model.to_str());
    write(&dir.path().join("train.csv"), "left_name,right_name,label\nlamp,red lamp,1\nlamp,tv,0\n");
    assert_eq!(init("c.toml").1["model"]["init"].as_str(), Some("weights/minilm"));
}

/// What `init` was said of the files is in the recipe, since `train` has no such flags.
#[test]
fn a_recipe_says_how_its_tables_are_written() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    // no header, and Cyrillic in an encoding that so few letters can't prove
    let rows = |side: char| {
        let row = |i: usize| format!("{side}{i}~лампа {i}, белая\n");
        let byte = |c: char| if c.is_ascii() { c as u8 } else { (c as u32 - 0x350) as u8 };
        (0..12).map(row).collect::<String>().chars().map(byte).collect::<Vec<u8>>()
    };
    std::fs::write(dir.path().join("left.csv"), rows('a')).unwrap();
    std::fs::write(dir.path().join("right.csv"), rows('b')).unwrap();
    let links = |i: usize| format!("a{i},b{},{}\n", i / 2, i % 2);
    let links: String = (0..12).map(links).collect();
    std::fs::write(dir.path().join("links.csv"), format!("left_id,right_id,same\n{links}")).unwrap();
    let flags = ["--delimiter", "~", "--encoding", "windows-1251", "--no-header", "--label-column", "same"];
    let init = ["init", "left.csv", "right.csv", "links.csv", "--start", "model", "--out", "shop.toml"];
    sverka(dir.path()).args(init).args(flags).assert().code(0);
    let recipe = std::fs::read_to_string(dir.path().join("shop.toml")).unwrap();
    assert!(
        recipe.contains("[data.sources.read]\ndelimiter = \"~\"\nencoding = \"windows-1251\"\nno_header = true"),
        "{recipe}"
    );
    let eval = ["eval", "model", "shop.toml", "--split", "all", "--json"];
    let answer = json(&stdout(&sverka(dir.path()).args(eval).assert().code(0)));
    assert_eq!(answer["pairs"].as_u64(), Some(12), "{answer}");
    // the same keys, mistyped
    let broken = recipe.replace("delimiter = \"~\"", "delimiter = \"~~\"");
    std::fs::write(dir.path().join("broken.toml"), broken).unwrap();
    let eval = ["eval", "model", "broken.toml", "--split", "all"];
    one_line(&sverka(dir.path()).args(eval).assert().code(2), &["delimiter", "one character"]);
}
