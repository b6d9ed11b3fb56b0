//! `sverka vectors`: static vectors of words, trained on one's own texts, and their nearest neighbours.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use sverka::Error;
use sverka::data::WordVectors;
use sverka::vectors::{CorpusBuilder, Kind, Model, PieceSettings, Settings, train_model};

use crate::args::Resolved;
use crate::failure::Outcome;
use crate::output::{Output, counted, grouped};

const EXAMPLE: &str = "\
Examples:
  sverka vectors train examples/left.csv examples/right.csv --min-count 1 --out shop.vec
  sverka vectors train titles.txt --model fasttext --out titles.bin
  sverka vectors near titles.bin монитор

FILES are tables (each record is a text), else files with a text a line, gzipped or not. Written are word2vec's and
fastText's files: .vec is text, .bin binary (of --model fasttext with pieces, so that unseen words have vectors too).
One thread gives the same vectors every time; several give others of the same quality.";

/// Train and look up static vectors of words (Word2Vec, fastText)
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Train(Train),
    Near(Near),
}

/// `--model`.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum ModelArg {
    /// a word's neighbours from the word
    Skipgram,
    /// a word from its neighbours
    Cbow,
    /// skip-gram of words and their pieces
    Fasttext,
}

/// Train vectors on texts
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
struct Train {
    /// Tables, or files with a text a line
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The file to be made: .vec (text) or .bin
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What is trained
    #[arg(long, value_enum, default_value_t = ModelArg::Skipgram)]
    model: ModelArg,
    /// Width of a vector
    #[arg(long, value_name = "N", default_value_t = 100)]
    dim: usize,
    /// Words to each side of a word, at most
    #[arg(long, value_name = "N", default_value_t = 5)]
    window: usize,
    /// Passes over the texts
    #[arg(long, value_name = "N", default_value_t = 5)]
    epochs: usize,
    /// Words that come less often are left out
    #[arg(long, value_name = "N", default_value_t = 5)]
    min_count: u64,
    /// Words drawn as no neighbours, for each neighbour
    #[arg(long, value_name = "N", default_value_t = 5)]
    negatives: usize,
    /// Words above this share of the texts are left out at times; 0: never
    #[arg(long, value_name = "SHARE", default_value_t = 1e-3)]
    sample: f64,
    /// The first step, which falls to nearly 0 [default: 0.025; cbow and fasttext: 0.05]
    #[arg(long, value_name = "RATE")]
    rate: Option<f32>,
    /// Characters of the shortest and longest piece (fasttext)
    #[arg(long, value_name = "MIN,MAX", value_delimiter = ',', default_value = "3,6")]
    pieces: Vec<usize>,
    /// Rows that pieces share (fasttext)
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    buckets: usize,
    /// Words are what is between spaces, as it is; else runs of letters and digits in lower case
    #[arg(long)]
    at_spaces: bool,
    /// Of what is drawn
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// Words whose vectors are nearest to a word's, by cosine
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
struct Near {
    /// A file of word vectors: .vec, word2vec's .bin or fastText's .bin
    file: PathBuf,
    /// A word
    word: String,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
}

pub fn run(args: Args, global: &Resolved, output: &Output) -> Outcome {
    match args.verb {
        Verb::Train(args) => train(args, global, output),
        Verb::Near(args) => near(args, output),
    }
}

fn train(args: Train, global: &Resolved, output: &Output) -> Outcome {
    let ending = args.out.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    if ending != "vec" && ending != "bin" {
        return Err(Error::setting("--out", args.out.display(), "give a name that ends in .vec or .bin").into());
    }
    let &[shortest, longest] = &args.pieces[..] else {
        return Err(Error::setting("--pieces", args.pieces.len(), "give two numbers, such as 3,6").into());
    };
    let mut builder = CorpusBuilder::new(args.at_spaces);
    for file in &args.files {
        crate::texts::each(file, output, |text| {
            builder.push(&text.text);
            text.brand.iter().for_each(|brand| builder.push(brand));
        })?;
    }
    let corpus = builder.finish(args.min_count);
    let kind = match args.model {
        ModelArg::Skipgram => Kind::SkipGram,
        ModelArg::Cbow => Kind::Cbow,
        ModelArg::Fasttext => Kind::FastText,
    };
    let rate = args.rate.unwrap_or(if kind == Kind::SkipGram { 0.025 } else { 0.05 });
    let Train { dim, window, epochs, negatives, sample, seed, .. } = args;
    if !(rate > 0.0 && rate < 10.0 && sample >= 0.0 && dim <= 1 << 14) {
        let what = "give a --rate above 0, a --sample from 0, a --dim up to 16384";
        return Err(Error::setting("--rate", rate, what).into());
    }
    let settings = Settings { kind, dim, window, epochs, negatives, sample, rate, seed };
    let all = corpus.ids.len() as u64 * epochs as u64;
    let bar = output.bar(all, "training {bar:30} {percent}% {per_sec}, {eta} left");
    let start = std::time::Instant::now();
    let pieces = PieceSettings { shortest, longest, buckets: args.buckets };
    let model = train_model(&corpus, &settings, pieces, args.min_count, &|done| bar.set_position(done))?;
    let seconds = start.elapsed().as_secs_f64();
    bar.finish_and_clear();
    match (model, ending.as_str()) {
        (Model::Pieces(model), "bin") => model.write(&args.out)?,
        (model, "bin") => model.into_vectors()?.write_binary(&args.out)?,
        (model, _) => model.into_vectors()?.write_text(&args.out)?,
    }
    let text = format!(
        "{} of {} in the texts, {} passes in {seconds:.1} s ({} a second, {})\nwritten to {}",
        counted(corpus.words.len() as u64, "word", "words"),
        grouped(corpus.tokens),
        epochs,
        counted((all as f64 / seconds.max(1e-9)) as u64, "word", "words"),
        counted(global.threads as u64, "thread", "threads"),
        args.out.display()
    );
    let answer = serde_json::json!({
        "words": corpus.words.len(), "tokens": corpus.tokens, "kept_tokens": corpus.ids.len(), "dim": dim,
        "seconds": seconds, "words_per_second": all as f64 / seconds.max(1e-9), "out": args.out,
    });
    output.summary(&answer, &text)?;
    Ok(())
}

fn near(args: Near, output: &Output) -> Outcome {
    let vectors = WordVectors::read(&args.file, None)?;
    let Some(own) = vectors.get(&args.word) else {
        let what = format!("has no vector among the {} words of {}", vectors.len(), args.file.display());
        return Err(Error::setting("WORD", &args.word, what).into());
    };
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    let length = |a: &[f32]| dot(a, a).sqrt().max(1e-30);
    let cosine = |place: usize| dot(&own, vectors.row(place)) / length(&own) / length(vectors.row(place));
    let others = vectors.words().iter().enumerate().filter(|(_, word)| **word != args.word);
    let mut found: Vec<(&str, f32)> = others.map(|(place, word)| (word.as_str(), cosine(place))).collect();
    found.sort_by(|a, b| b.1.total_cmp(&a.1));
    found.truncate(args.top);
    let text: String = found.iter().map(|(word, cosine)| format!("{cosine:.4}  {word}\n")).collect();
    let near: Vec<_> =
        found.iter().map(|(word, cosine)| serde_json::json!({ "word": word, "cosine": cosine })).collect();
    output.result(&serde_json::json!({ "word": args.word, "near": near }), &text)?;
    Ok(())
}
