//! Rows of features to a file that other tools of boosting read: Parquet, or CSV. Columns are `left_id`, `right_id`, `label` (empty where it is not known),
//! then the features; a value that is not known is empty (null in Parquet).

use std::path::Path;
use std::sync::Arc;

use ::parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use ::parquet::data_type::{ByteArray, ByteArrayType, FloatType, Int32Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::types::Type;

use super::rows::extension;
use crate::files::NewFile;
use crate::records::PairSet;
use crate::{Error, Result};

/// Rows in a Parquet row group.
const GROUP: usize = 1 << 16;

/// Writes the features `[pairs, names]` of a set's pairs; the extension (`parquet`, `csv`) says how.
///
/// # Errors
/// Another extension, rows of another width, a folder that can't be written to.
pub fn write_features(path: &Path, set: &PairSet, names: &[String], rows: &[f32]) -> Result<()> {
    if rows.len() != names.len() * set.pairs.len() {
        let expected = format!("{} rows of {}", set.pairs.len(), names.len());
        return Err(Error::Shape { op: "write features", expected, got: rows.len().to_string() });
    }
    match extension(path).as_str() {
        "parquet" => write_parquet(path, set, names, rows),
        "csv" => write_csv(path, set, names, rows),
        _ => {
            let what = "no kind of file that features are written to; end it in .parquet or .csv";
            Err(Error::setting("output", path.display(), what))
        }
    }
}

fn label(label: Option<bool>) -> &'static str {
    label.map_or("", |label| if label { "1" } else { "0" })
}

fn write_csv(path: &Path, set: &PairSet, names: &[String], rows: &[f32]) -> Result<()> {
    let failed = |e: csv::Error| Error::io("write", path)(e.into());
    let (new, file) = NewFile::create(path)?;
    let mut out = csv::Writer::from_writer(file);
    out.write_record(["left_id", "right_id", "label"].into_iter().chain(names.iter().map(String::as_str)))
        .map_err(failed)?;
    for (pair, row) in set.pairs.iter().zip(rows.chunks(names.len().max(1))) {
        let (left, right, judged) = set.sides(pair);
        let values = row.iter().map(|x| if x.is_nan() { String::new() } else { x.to_string() });
        let ids = [left.id.clone(), right.id.clone(), label(judged).into()];
        out.write_record(ids.into_iter().chain(values)).map_err(failed)?;
    }
    let file = out.into_inner().map_err(|e| Error::io("write", path)(e.into_error()))?;
    new.commit(file)
}

fn write_parquet(path: &Path, set: &PairSet, names: &[String], rows: &[f32]) -> Result<()> {
    let failed = |e: ParquetError| Error::io("write", path)(std::io::Error::other(e));
    let (new, file) = NewFile::create(path)?;
    let column = |name: &str, kind: Physical, required: bool| {
        let repetition = if required { Repetition::REQUIRED } else { Repetition::OPTIONAL };
        let text = (kind == Physical::BYTE_ARRAY).then_some(LogicalType::String);
        let built =
            Type::primitive_type_builder(name, kind).with_repetition(repetition).with_logical_type(text).build();
        built.map(Arc::new)
    };
    let schema = || {
        let mut fields = vec![
            column("left_id", Physical::BYTE_ARRAY, true)?,
            column("right_id", Physical::BYTE_ARRAY, true)?,
            column("label", Physical::INT32, false)?,
        ];
        for name in names {
            fields.push(column(name, Physical::FLOAT, false)?);
        }
        Type::group_type_builder("features").with_fields(fields).build()
    };
    let schema = Arc::new(schema().map_err(failed)?);
    let properties = Arc::new(WriterProperties::builder().set_compression(Compression::SNAPPY).build());
    let mut writer = SerializedFileWriter::new(file, schema, properties).map_err(failed)?;
    let width = names.len();
    for (number, pairs) in set.pairs.chunks(GROUP).enumerate() {
        let rows = &rows[number * GROUP * width..][..pairs.len() * width];
        let mut write = || -> Result<(), ParquetError> {
            let mut group = writer.next_row_group()?;
            for side in 0..2 {
                let id = |pair: &crate::Pair| {
                    let (left, right, _) = set.sides(pair);
                    ByteArray::from(if side == 0 { left.id.as_str() } else { right.id.as_str() })
                };
                let ids: Vec<ByteArray> = pairs.iter().map(id).collect();
                let Some(mut column) = group.next_column()? else { break };
                column.typed::<ByteArrayType>().write_batch(&ids, None, None)?;
                column.close()?;
            }
            let labels: Vec<Option<bool>> = pairs.iter().map(|pair| pair.label()).collect();
            let there: Vec<i16> = labels.iter().map(|label| i16::from(label.is_some())).collect();
            let values: Vec<i32> = labels.iter().flatten().map(|label| i32::from(*label)).collect();
            if let Some(mut column) = group.next_column()? {
                column.typed::<Int32Type>().write_batch(&values, Some(&there), None)?;
                column.close()?;
            }
            for at in 0..width {
                let own = || rows.iter().skip(at).step_by(width);
                let there: Vec<i16> = own().map(|x| i16::from(!x.is_nan())).collect();
                let values: Vec<f32> = own().copied().filter(|x| !x.is_nan()).collect();
                let Some(mut column) = group.next_column()? else { break };
                column.typed::<FloatType>().write_batch(&values, Some(&there), None)?;
                column.close()?;
            }
            group.close().map(|_| ())
        };
        write().map_err(failed)?;
    }
    new.commit(writer.into_inner().map_err(failed)?)
}
