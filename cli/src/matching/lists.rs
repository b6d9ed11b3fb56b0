//! Two lists: on disk, in parts, and taken up again after a kill.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sverka::data::{StoredTable, store_records, store_table};
use sverka::files::NewFolder;
use sverka::index::{Bm25, Bm25Settings, bm25::Bm25Builder};
use sverka::pipeline::{
    IndexedList, ListMatching, MatchOptions, StageModel, WorkFolder, WorkState, fingerprint, parts_done, run_lists,
};
use sverka::ranker::{Retriever, Rows};
use sverka::text::{FieldSelection, TextConfig, plain_text};
use sverka::{Error, Result, Table};

use super::chain::Chain;
use super::{Args, Done, Lists, Size, Writing, read, selection};
use crate::args::Resolved;
use crate::failure::Outcome;
use crate::output::{Output, counted};

/// The lists, how candidates are found, and how texts are rendered.
struct Opened {
    left: StoredTable,
    right: Right,
    chain: Chain,
    config: TextConfig,
}

/// The right list with what finds its records.
enum Right {
    Stored(Box<StoredTable>, Box<dyn Retriever>),
    Index(Box<IndexedList>),
}

impl Right {
    fn rows(&self) -> &dyn Rows {
        match self {
            Right::Stored(table, _) => &**table,
            Right::Index(list) => &**list,
        }
    }
    fn retriever(&self) -> &dyn Retriever {
        match self {
            Right::Stored(_, retriever) => &**retriever,
            Right::Index(list) => &**list,
        }
    }
    fn path(&self) -> PathBuf {
        match self {
            Right::Stored(table, _) => table.head().path,
            Right::Index(list) => list.head().path,
        }
    }
}

pub(super) fn run(
    args: &Args,
    chain: Chain,
    options: &MatchOptions,
    global: &Resolved,
    output: &Output,
) -> Outcome<Done> {
    let kept = crate::signals::end_keeping();
    // with labels the lists come with them, in memory
    let mut known = args.labels.as_ref().map(|_| read(args, output)).transpose()?;
    let against = chain.against(args).map(|dir| chain.open_against(&dir)).transpose()?;
    if known.is_none() {
        // a list that is not there is the first thing to say
        for path in std::iter::once(&args.left).chain(&args.right) {
            std::fs::metadata(path).map_err(Error::io("read", path))?;
        }
    }
    let mut writing = Writing::begin(args)?;
    let plan = plan(args, options, against.as_ref(), &chain, global)?;
    let (work, state) = WorkFolder::open(&args.out, &plan)?;
    kept.set(Some(work.path()));
    if state == WorkState::Other {
        output.note(format_args!("{}: of other lists, options or another model; started over", work.path().display()));
    }
    let dir = work.lists();
    let is_kept = state == WorkState::Same && dir.is_dir();
    if !is_kept {
        store(args, known.as_mut(), &chain, &dir, output)?;
    }
    let opened = open(args, chain, against, &dir)?;
    if known.is_none() {
        crate::tables::report(output, &args.left, &opened.left.report());
    }
    let mut skipped = known.as_ref().map_or(opened.left.report().skipped, |lists| lists.skipped);
    if let (Right::Stored(table, _), None) = (&opened.right, &known) {
        crate::tables::report(output, &opened.right.path(), &table.report());
        skipped += table.report().skipped;
    }
    let labels = known.and_then(|lists| lists.labels);

    let part = args.part;
    let (done, all) = parts_done(&work.parts(), opened.left.len(), part);
    if done > 0 {
        let parts = counted(all as u64, "part", "parts");
        output.note(format_args!("going on: {done} of {parts} are done ({})", work.path().display()));
    }
    let bar = output.bar(opened.left.len() as u64, "matching {bar:30} {pos}/{len} records, {per_sec}, {eta} left");
    let (chain, config) = (&opened.chain, &opened.config);
    let matching = ListMatching {
        left: &opened.left,
        right: opened.right.rows(),
        retriever: opened.right.retriever(),
        stages: &chain.stages(),
        decide: &|score| chain.last().decide(score),
        labels: labels.as_ref(),
        options,
        parts: &work.parts(),
        part,
        progress: &|done, _| bar.set_position(done),
    };
    let report = run_lists(&matching, &mut |found, left, right| writing.add(args, config, found, left, right))?;
    bar.finish_and_clear();
    writing.finish()?;
    let sizes = vec![
        Size { path: opened.left.head().path, records: opened.left.len() },
        Size { path: opened.right.path(), records: opened.right.rows().len() },
    ];
    let config = opened.config.clone();
    drop(opened);
    kept.set(None);
    work.finish(&args.out)?;
    Ok((writing, sizes, config, report, skipped))
}

/// All that the parts depend on.
fn plan(
    args: &Args,
    options: &MatchOptions,
    against: Option<&IndexedList>,
    chain: &Chain,
    global: &Resolved,
) -> Result<Value> {
    // what can't be read twice is another thing each time
    let once = format!("{:?}", std::time::SystemTime::now());
    let file = |path: &PathBuf| json!([path, fingerprint(path).unwrap_or_else(|| once.clone())]);
    let labels = args.labels.as_ref().map(|path| if path.is_dir() { json!(path) } else { file(path) });
    let commit = against.map(|list| serde_json::to_value(list.index().manifest()));
    Ok(json!({
        "version": crate::model::VERSION,
        "left": file(&args.left),
        "right": args.right.as_ref().map(file),
        "against": commit.transpose().map_err(|e| Error::Internal { op: "plan", what: e.to_string() })?,
        "labels": labels,
        "tables": format!("{:?}", args.tables),
        "vectors": args.tables.vector_files().iter().map(file).collect::<Vec<_>>(),
        "fields": args.fields,
        "label_column": args.label_column,
        "top_k": options.top_k,
        "bm25_weight": args.bm25_weight,
        "both_orders": args.both_orders,
        "models": chain.fingerprint()?,
        "computed": format!("{:?} {:?}", global.dtype, global.device),
        "part": args.part,
    }))
}

/// Reads the lists into files and indexes the right one; of an index's documents there is nothing to read.
fn store(args: &Args, known: Option<&mut Lists>, chain: &Chain, dir: &Path, output: &Output) -> Result<()> {
    let folder = NewFolder::create(dir)?;
    let bar = output.bar(0, "reading the lists {spinner}");
    let (left, right) = match known {
        Some(lists) => {
            let right = lists.right.take();
            let left = store_records(&lists.left, folder.path(), "left")?;
            lists.left.records = Vec::new();
            (left, right.map(|right| store_records(&right, folder.path(), "right")).transpose()?)
        }
        None => {
            let options = args.tables.options()?;
            let of_right = options.right.as_deref().unwrap_or(&options);
            let left = store_table(&args.left, &options, folder.path(), "left")?;
            let right = args.right.as_ref().map(|path| store_table(path, of_right, folder.path(), "right"));
            (left, right.transpose()?)
        }
    };
    bar.finish_and_clear();
    if let Some(mut right) = right {
        let (selection, config) = shown(args, chain.last(), &left.head(), &right.head())?;
        selection.right.iter().for_each(|columns| right.show(columns));
        match chain.is_bm25() {
            true => index(&right, &config, &folder.path().join("bm25"), output)?,
            false => chain.index(&right, &config.fields, folder.path(), output)?,
        }
    }
    folder.commit()
}

/// BM25 over the right list, in files.
fn index(right: &StoredTable, config: &TextConfig, dir: &Path, output: &Output) -> Result<()> {
    std::fs::create_dir(dir).map_err(Error::io("create", dir))?;
    let mut builder = Bm25Builder::new(Some(dir), Bm25Settings::default())?;
    let bar = output.bar(right.len() as u64, "indexing {bar:30} {pos}/{len} records, {per_sec}, {eta} left");
    let texts = right.iter().map(|record| Ok(plain_text(config, (&record?).into())));
    builder.extend(texts, |added| bar.inc(added))?;
    drop(builder.finish(Some(&right.by_id()?))?);
    bar.finish_and_clear();
    Ok(())
}

fn open(args: &Args, chain: Chain, against: Option<IndexedList>, dir: &Path) -> Result<Opened> {
    let mut left = StoredTable::open(dir, "left")?;
    let (right, selection, config) = match against {
        Some(mut list) => {
            let (selection, config) = shown(args, chain.last(), &left.head(), &list.head())?;
            selection.right.iter().for_each(|columns| list.show(columns));
            (Right::Index(Box::new(list)), selection, config)
        }
        None => {
            let mut table = StoredTable::open(dir, "right")?;
            let (selection, config) = shown(args, chain.last(), &left.head(), &table.head())?;
            selection.right.iter().for_each(|columns| table.show(columns));
            let retriever: Box<dyn Retriever> = match chain.is_bm25() {
                true => Box::new(Bm25::open(&dir.join("bm25"))?.with_rendering(&config)),
                false => Box::new(chain.open_index(&table, dir)?),
            };
            (Right::Stored(Box::new(table), retriever), selection, config)
        }
    };
    selection.left.iter().for_each(|columns| left.show(columns));
    let chain = chain.with_fields(&config.fields);
    Ok(Opened { left, right, chain, config })
}

/// The columns that are compared, and how they are rendered.
fn shown(args: &Args, model: &StageModel, left: &Table, right: &Table) -> Result<(FieldSelection, TextConfig)> {
    let selection = selection(args, model, left, Some(right))?;
    let config = model.rendering(selection.fields.clone());
    Ok((selection, config))
}
