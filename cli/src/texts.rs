//! Texts of a file, for the verbs that look into a model: records of a table, else lines.

use std::path::Path;

use sverka::data::{self, ReadOptions};
use sverka::inspect::LayerTexts;
use sverka::{Error, Result};

use crate::output::Output;

/// Columns that name a brand.
const BRANDS: [&str; 4] = ["manufacturer", "brand", "vendor", "бренд"];

/// Gives each text of a file: of a table each record's values but the brand's in one text, of another file each line.
pub fn each(path: &Path, output: &Output, mut each: impl FnMut(LayerTexts)) -> Result<()> {
    let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    if ![".csv", ".tsv", ".jsonl", ".parquet"].iter().any(|e| name.ends_with(e)) {
        let report = data::read_texts(path, &[], &ReadOptions::default(), |_, cells| {
            let text = cells.join(" ");
            if !text.trim().is_empty() {
                each(LayerTexts { text, brand: None });
            }
            Ok(())
        })?;
        crate::tables::report(output, path, &report);
        return Ok(());
    }
    let (table, report) = data::read_table(path, &ReadOptions::default())?;
    crate::tables::report(output, path, &report);
    for record in &table.records {
        let is_brand = |column: &str| BRANDS.contains(&column.to_lowercase().as_str());
        let values = record.fields().filter(|(column, value)| !is_brand(column) && !value.is_empty());
        let text = values.map(|field| field.1).collect::<Vec<_>>().join(" ");
        let brand = record.fields().find(|(column, _)| is_brand(column)).map(|field| field.1.to_string());
        if !text.is_empty() {
            each(LayerTexts { text, brand });
        }
    }
    Ok(())
}

/// At most `limit` texts of a file, evenly spread.
pub fn read(path: &Path, limit: usize, output: &Output) -> Result<Vec<LayerTexts>> {
    let mut texts: Vec<LayerTexts> = Vec::new();
    each(path, output, |text| texts.push(text))?;
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
