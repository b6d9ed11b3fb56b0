//! `sverka tokenizer train`: a vocabulary grown on texts.

use std::path::PathBuf;

use clap::ValueEnum;
use sverka::text::tokenizers::{self as library, TokenizerSettings, WordCounts, grow};
use sverka::{Error, Result};

use super::corpus::{self, Reading};
use crate::failure::Outcome;
use crate::output::{Output, counted, grouped};

const EXAMPLE: &str = "\
Example:
  sverka tokenizer train titles.csv more.txt --kind wordpiece --vocab-size 8000 --out tokenizers/shop

Writes tokenizer.json and tokenizer_config.json (and vocab.txt of a WordPiece), which Python's transformers
loads with the same ids; all but ngram-hash, which only this program reads. Files: tables (CSV, TSV, JSON
lines, Parquet), else lines of text; any may be gzipped.";

/// Grow a vocabulary on texts
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// Files with texts; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    grown: Growing,
    /// Pieces at most, special tokens included; of ngram-hash exactly
    #[arg(long, default_value_t = 8000, value_name = "N")]
    vocab_size: usize,
    /// The folder to be made; it must not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// What is grown.
#[derive(Debug, clap::Args)]
pub struct Growing {
    /// What pieces are
    #[arg(long, value_enum, default_value_t = Kind::Wordpiece)]
    kind: Kind,
    /// Make all letters small (the default)
    #[arg(long, overrides_with = "cased")]
    lowercase: bool,
    /// Keep capital letters
    #[arg(long, overrides_with = "lowercase")]
    cased: bool,
    /// Take marks off letters: off Latin ones alone, or off all, which makes й an и and ё an е
    #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "latin", require_equals = true)]
    strip_accents: Option<Strip>,
    /// Cut runs of digits: not at all, one by one, or in groups of three
    #[arg(long, value_enum, default_value_t = Digits::Plain)]
    digits: Digits,
    /// Cut codes and numbers with units: at white space only, at punctuation, or also between letters and digits
    #[arg(long, value_enum, default_value_t = Codes::Punctuation)]
    codes: Codes,
    /// How often the corpus must have a word, a character or a pair that becomes a piece
    #[arg(long, default_value_t = 2, value_name = "N")]
    min_frequency: u64,
    /// Characters at most; the rarest others are unknown
    #[arg(long, default_value_t = 1000, value_name = "N")]
    max_alphabet: usize,
    /// Leave out Latin and Cyrillic letters and digits that the corpus does not have
    #[arg(long)]
    no_base_alphabet: bool,
    /// Special tokens after [PAD] [UNK] [CLS] [SEP] [MASK]
    #[arg(long, value_name = "TOKEN", value_delimiter = ',')]
    special: Vec<String>,
    /// Lengths of hashed n-grams, the boundaries of a word included
    #[arg(long, default_value = "3-3", value_name = "MIN-MAX")]
    ngrams: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    Word,
    Char,
    Bpe,
    ByteBpe,
    Wordpiece,
    Unigram,
    NgramHash,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Strip {
    Latin,
    All,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Digits {
    Plain,
    Single,
    Group,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Codes {
    Space,
    Punctuation,
    Borders,
}

impl Growing {
    /// The settings, with a size.
    pub fn settings(&self, vocab_size: usize) -> Result<TokenizerSettings> {
        let ngrams = self.ngrams.split_once('-').and_then(|(low, high)| Some((low.parse().ok()?, high.parse().ok()?)));
        let ngrams = ngrams.ok_or_else(|| Error::setting("--ngrams", &self.ngrams, "give two lengths, as in 3-6"))?;
        let settings = TokenizerSettings {
            kind: match self.kind {
                Kind::Word => library::Kind::Word,
                Kind::Char => library::Kind::Char,
                Kind::Bpe => library::Kind::Bpe,
                Kind::ByteBpe => library::Kind::ByteBpe,
                Kind::Wordpiece => library::Kind::Wordpiece,
                Kind::Unigram => library::Kind::Unigram,
                Kind::NgramHash => library::Kind::NgramHash,
            },
            vocab_size,
            min_frequency: self.min_frequency,
            lowercase: !self.cased,
            accents: match self.strip_accents {
                None => library::Accents::Keep,
                Some(Strip::Latin) => library::Accents::Latin,
                Some(Strip::All) => library::Accents::All,
            },
            digits: match self.digits {
                Digits::Plain => library::Digits::Plain,
                Digits::Single => library::Digits::Single,
                Digits::Group => library::Digits::Group,
            },
            codes: match self.codes {
                Codes::Space => library::Codes::Space,
                Codes::Punctuation => library::Codes::Punctuation,
                Codes::Borders => library::Codes::Borders,
            },
            base_alphabet: !self.no_base_alphabet,
            max_alphabet: self.max_alphabet,
            special: self.special.clone(),
            ngrams,
        };
        settings.check()?;
        Ok(settings)
    }
}

pub fn run(args: Args, output: &Output) -> Outcome {
    if args.out.exists() {
        return Err(Error::Exists(args.out).into()); // before the corpus is read, which may take long
    }
    crate::signals::end_without_a_trace("nothing is written");
    let settings = args.grown.settings(args.vocab_size)?;
    let mut counts = WordCounts::new(&settings)?;
    let skipped = corpus::read(&args.files, &args.reading, output, |texts| counts.add(texts))?;
    let bar = output.bar(settings.vocab_size as u64, "growing {bar:30} {pos}/{len} pieces, {eta} left");
    let grown = grow(&counts, &mut |pieces| bar.set_position(pieces as u64))?;
    bar.finish_and_clear();
    grown.save(&args.out)?;
    grown.notes.iter().for_each(|note| output.warn(note));
    let text = format!(
        "{} pieces from {} and {} different words\nwritten to {}",
        grouped(grown.size as u64),
        counted(counts.texts, "text", "texts"),
        grouped(counts.words() as u64),
        args.out.display()
    );
    let answer = serde_json::json!({
        "vocabulary": grown.size, "texts": counts.texts, "words": counts.words(), "skipped": skipped,
        "too_long": counts.too_long, "out": args.out, "settings": settings,
    });
    output.summary(&answer, &text)?;
    Ok(())
}
