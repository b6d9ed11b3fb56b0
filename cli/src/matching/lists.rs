//! Two lists: on disk, in parts, and taken up again after a kill.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sverka::bundle::Bundle;
use sverka::data::{StoredTable, store_records, store_table};
use sverka::files::NewFolder;
use sverka::index::{Bm25, Bm25Settings, bm25::Bm25Builder};
use sverka::pipeline::{ListMatching, MatchOptions, Stage, WorkFolder, WorkState, fingerprint, parts_done, run_lists};
use sverka::text::{TextConfig, plain_text};
use sverka::{Error, Result};

use super::{Args, Done, Lists, Size, Writing, read, selection};
use crate::args::Resolved;
use crate::failure::Outcome;
use crate::output::{Output, counted};

/// The lists as files, and what is known of them.
struct Stored {
    left: StoredTable,
    right: StoredTable,
    index: Bm25,
    bundle: Bundle,
    config: TextConfig,
}

pub(super) fn run(
    args: &Args,
    right: &Path,
    model: &Path,
    options: &MatchOptions,
    global: &Resolved,
    output: &Output,
) -> Outcome<Done> {
    let kept = crate::signals::end_keeping();
    // with labels the lists come with them, in memory
    let mut known = args.labels.as_ref().map(|_| read(args, output)).transpose()?;
    if known.is_none() {
        // a list that is not there is the first thing to say
        for path in [&args.left, right] {
            std::fs::metadata(path).map_err(Error::io("read", path))?;
        }
    }
    let mut writing = Writing::begin(args)?;
    let bundle = Bundle::open(model, global.dtype, global.device)?;
    let (work, state) = WorkFolder::open(&args.out, &plan(args, right, &bundle, global)?)?;
    kept.set(Some(work.path()));
    if state == WorkState::Other {
        output.note(format_args!("{}: of other lists, options or another model; begun anew", work.path().display()));
    }
    let dir = work.lists();
    let is_kept = state == WorkState::Same && dir.is_dir();
    if !is_kept {
        store(args, right, known.as_mut(), &bundle, &dir, output)?;
    }
    let stored = open(args, bundle, &dir)?;
    if known.is_none() {
        crate::tables::report(output, &args.left, &stored.left.report());
        crate::tables::report(output, right, &stored.right.report());
    }
    let skipped = match &known {
        Some(lists) => lists.skipped,
        None => stored.left.report().skipped + stored.right.report().skipped,
    };
    let labels = known.and_then(|lists| lists.labels);

    let part = args.part;
    let (done, all) = parts_done(&work.parts(), stored.left.len(), part);
    if done > 0 {
        let parts = counted(all as u64, "part", "parts");
        output.note(format_args!("going on: {done} of {parts} are done ({})", work.path().display()));
    }
    let bar = output.bar(stored.left.len() as u64, "matching {bar:30} {pos}/{len} records, {per_sec}, {eta} left");
    let (bundle, config) = (&stored.bundle, &stored.config);
    let matching = ListMatching {
        left: &stored.left,
        right: &stored.right,
        retriever: &stored.index,
        stages: &[Stage { ranker: bundle, keep: usize::MAX }],
        decide: &|score| bundle.decide(score),
        labels: labels.as_ref(),
        options,
        parts: &work.parts(),
        part,
        progress: &|done, _| bar.set_position(done),
    };
    let report = run_lists(&matching, &mut |found, left, right| writing.add(args, config, found, left, right))?;
    bar.finish_and_clear();
    writing.finish()?;
    let size = |table: &StoredTable| Size { path: table.head().path, records: table.len() };
    let sizes = vec![size(&stored.left), size(&stored.right)];
    let config = stored.config.clone();
    drop(stored);
    kept.set(None);
    work.finish(&args.out)?;
    Ok((writing, sizes, config, report, skipped))
}

/// All that the parts depend on.
fn plan(args: &Args, right: &Path, bundle: &Bundle, global: &Resolved) -> Result<Value> {
    // what can't be read twice is another thing each time
    let once = format!("{:?}", std::time::SystemTime::now());
    let file = |path: &PathBuf| json!([path, fingerprint(path).unwrap_or_else(|| once.clone())]);
    let labels = args.labels.as_ref().map(|path| if path.is_dir() { json!(path) } else { file(path) });
    let manifest = serde_json::to_value(&bundle.manifest);
    Ok(json!({
        "version": crate::model::VERSION,
        "left": file(&args.left),
        "right": file(&right.to_path_buf()),
        "labels": labels,
        "tables": format!("{:?}", args.tables),
        "fields": args.fields,
        "label_column": args.label_column,
        "top_k": args.top_k,
        "bm25_weight": args.bm25_weight,
        "both_orders": args.both_orders,
        "model": manifest.map_err(|e| Error::Internal { op: "plan", what: e.to_string() })?,
        "weights": bundle.weights_sha256()?,
        "computed": format!("{:?} {:?}", global.dtype, global.device),
        "part": args.part,
    }))
}

/// Reads the lists into files and indexes the right one.
fn store(
    args: &Args,
    right: &Path,
    known: Option<&mut Lists>,
    bundle: &Bundle,
    dir: &Path,
    output: &Output,
) -> Result<()> {
    let folder = NewFolder::create(dir)?;
    let bar = output.bar(0, "reading the lists {spinner}");
    let (left, right) = match known {
        Some(lists) => {
            let right = lists.right.take();
            let left = store_records(&lists.left, folder.path(), "left")?;
            lists.left.records = Vec::new();
            let right = right.ok_or_else(|| Error::setting("right", "none", "give a second list"))?;
            (left, store_records(&right, folder.path(), "right")?)
        }
        None => {
            let options = args.tables.options()?;
            let of_right = options.right.as_deref().unwrap_or(&options);
            let left = store_table(&args.left, &options, folder.path(), "left")?;
            (left, store_table(right, of_right, folder.path(), "right")?)
        }
    };
    bar.finish_and_clear();
    let (_, right, config) = shown(args, bundle, left, right)?;
    let index = folder.path().join("bm25");
    std::fs::create_dir(&index).map_err(Error::io("create", &index))?;
    let mut builder = Bm25Builder::new(Some(&index), Bm25Settings::default())?;
    let bar = output.bar(right.len() as u64, "indexing {bar:30} {pos}/{len} records, {per_sec}, {eta} left");
    let mut texts = Vec::new();
    for record in right.iter() {
        texts.push(plain_text(&config, (&record?).into()));
        if texts.len() == 8192 {
            builder.add(&texts)?;
            bar.inc(texts.len() as u64);
            texts.clear();
        }
    }
    builder.add(&texts)?;
    drop(builder.finish(Some(&right.by_id()?))?);
    bar.finish_and_clear();
    drop(right);
    folder.commit()
}

fn open(args: &Args, bundle: Bundle, dir: &Path) -> Result<Stored> {
    let (left, right) = (StoredTable::open(dir, "left")?, StoredTable::open(dir, "right")?);
    let (left, right, config) = shown(args, &bundle, left, right)?;
    let bundle = bundle.with_fields(config.fields.clone());
    let index = Bm25::open(&dir.join("bm25"))?.with_rendering(&config);
    Ok(Stored { left, right, index, bundle, config })
}

/// The lists with the columns that are compared, and how they are rendered.
fn shown(
    args: &Args,
    bundle: &Bundle,
    mut left: StoredTable,
    mut right: StoredTable,
) -> Result<(StoredTable, StoredTable, TextConfig)> {
    let selection = selection(args, bundle, &left.head(), Some(&right.head()))?;
    if let Some(columns) = &selection.left {
        left.show(columns);
    }
    if let Some(columns) = &selection.right {
        right.show(columns);
    }
    let bundle = bundle.clone().with_fields(selection.fields);
    Ok((left, right, bundle.tokenizer().rendering().clone()))
}
