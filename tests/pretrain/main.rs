//! Pre-training: the heads against transformers, runs, and what a user may do wrong.

mod bad_input;
mod golden;
#[path = "../require/mod.rs"]
mod require;
mod run;

use std::path::{Path, PathBuf};

use sverka::train::pretrain::PretrainRecipe;

/// Words of the tests' texts, and the special tokens.
pub const WORDS: &str = "[PAD] [UNK] [CLS] [SEP] [MASK] red blue green big small lamp cup car is are was in on the a very ##s . , 1 2 3 4 5";

/// A folder with a tokenizer, texts and recipes.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.write("tokenizer/vocab.txt", WORDS.replace(' ', "\n"));
        folder.write("tokenizer/tokenizer_config.json", "{\"do_lower_case\": true}");
        folder
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).unwrap();
        std::fs::write(path, text).unwrap();
    }
    /// A recipe of a tiny fresh model over `sources`, with more settings.
    pub fn recipe(&self, sources: &str, sets: &[&str]) -> sverka::Result<PretrainRecipe> {
        let text = format!(
            "name = 'tiny'\n[model.fresh]\ntokenizer = 'tokenizer'\nlayers = 2\nhidden = 32\nheads = 2\npositions = 40\n\
             [text]\nmax_tokens = 24\n[train]\ndtype = 'f32'\nsteps = 12\nbatch = 4\nlr = 3e-3\nvalidate_every = 5\n\
             checkpoint_every = 4\n[data]\nheld_out = 0.2\n{sources}"
        );
        self.write("recipe.toml", text);
        let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
        PretrainRecipe::read(&self.path("recipe.toml"), &sets)
    }
}

/// Texts in which colour and thing go together, so that there is something to guess; paragraphs of four sentences.
pub fn texts() -> String {
    let mut text = String::new();
    for i in 0..400 {
        let (colour, thing, number) = [("red", "lamp", 1), ("blue", "cup", 2), ("green", "car", 3)][i * 7 % 3];
        let size = ["big", "small"][i % 2];
        text += &format!(
            "the {thing} is {colour} . a {size} {thing} in {colour} , {number} {} {} {}\n",
            i % 5 + 1,
            i / 5 % 5 + 1,
            i / 25 % 5 + 1
        );
        if i % 4 == 3 {
            text += "\n";
        }
    }
    text
}

/// A source of [`texts`].
pub const TEXTS: &str = "[[data.sources]]\nname = 'texts'\nfiles = ['texts.txt']\n";
