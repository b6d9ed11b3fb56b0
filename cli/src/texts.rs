//! Texts of a file, for the verbs that look into a model: records of a table, else lines.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use sverka::data::{self, ReadOptions};
use sverka::inspect::LayerTexts;
use sverka::{Error, Result};

use crate::output::Output;

/// Columns that name a brand.
const BRANDS: [&str; 4] = ["manufacturer", "brand", "vendor", "бренд"];

/// At most `limit` texts of a file, evenly spread. Of a table each record's values but the brand's, in one text.
pub fn read(path: &Path, limit: usize, output: &Output) -> Result<Vec<LayerTexts>> {
    let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let mut texts: Vec<LayerTexts> = Vec::new();
    if [".csv", ".tsv", ".jsonl", ".parquet"].iter().any(|e| name.ends_with(e)) {
        let (table, report) = data::read_table(path, &ReadOptions::default())?;
        crate::tables::report(output, path, &report);
        for record in &table.records {
            let is_brand = |column: &str| BRANDS.contains(&column.to_lowercase().as_str());
            let values = record.fields().filter(|(column, value)| !is_brand(column) && !value.is_empty());
            let text = values.map(|field| field.1).collect::<Vec<_>>().join(" ");
            let brand = record.fields().find(|(column, _)| is_brand(column)).map(|field| field.1.to_string());
            texts.push(LayerTexts { text, brand });
        }
    } else {
        let file = File::open(path).map_err(Error::io("read", path))?;
        for (i, line) in BufReader::new(file).lines().enumerate() {
            let text = line.map_err(|e| {
                let what = format!("not a line of UTF-8 text ({e})");
                Error::data(path, Some(i as u64 + 1), what, "save the file as UTF-8")
            })?;
            texts.push(LayerTexts { text, brand: None });
        }
    }
    texts.retain(|t| !t.text.trim().is_empty());
    if texts.is_empty() {
        return Err(Error::data(path, None, "no text in it", "give a table, or a file with a text a line"));
    }
    let (all, wanted) = (texts.len(), limit.max(1));
    if all > wanted {
        let mut number = 0;
        texts.retain(|_| {
            number += 1;
            number * wanted / all > (number - 1) * wanted / all
        });
    }
    Ok(texts)
}
