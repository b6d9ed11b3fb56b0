//! Which columns of two lists a model compares.

use std::sync::Arc;

use crate::records::Table;
use crate::{Error, Result};

/// The columns that are read of two lists, or of one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSelection {
    /// The fields to render, in order; empty: all columns, in the order of each list.
    pub fields: Vec<String>,
    /// Columns to which the left list is cut; `None`: it stays as it is.
    pub left: Option<Vec<String>>,
    /// The same for the right list.
    pub right: Option<Vec<String>>,
}

impl FieldSelection {
    /// What a model that was trained on some columns reads of lists with these.
    ///
    /// A list with all columns of the training is read by them, and one with other names is read whole. Two lists that have
    /// them all together, and neither alone, are lists like those of the training, whose two sides had different names: then
    /// each shows what it has of them.
    pub fn resolve(trained: &[String], left: &[String], right: Option<&[String]>) -> Self {
        let lists: Vec<&[String]> = std::iter::once(left).chain(right).collect();
        let fits = |list: &[String]| trained.iter().all(|f| list.contains(f));
        let shares = |list: &[String]| trained.iter().any(|f| list.contains(f));
        let together = trained.iter().all(|f| lists.iter().any(|list| list.contains(f)));
        let as_trained = together && lists.iter().all(|list| shares(list) && !fits(list));
        if as_trained || lists.iter().all(|list| fits(list)) {
            return FieldSelection { fields: trained.to_vec(), ..Self::default() };
        }
        let cut = |list: &[String]| (fits(list) && !trained.is_empty()).then(|| trained.to_vec());
        FieldSelection { fields: Vec::new(), left: cut(left), right: right.and_then(cut) }
    }

    /// The columns that a person named.
    ///
    /// # Errors
    /// A list that has none of them; one of them that no list has.
    pub fn named(wanted: &[String], left: &Table, right: Option<&Table>) -> Result<Self> {
        let lists: Vec<&Table> = std::iter::once(left).chain(right).collect();
        if let Some(list) = lists.iter().find(|list| !wanted.iter().any(|f| list.columns.contains(f))) {
            let columns = list.columns.join(", ");
            let what = format!("none of them is a column of {}; it has {columns}", list.path.display());
            return Err(Error::setting("--fields", wanted.join(","), what));
        }
        if let Some(field) = wanted.iter().find(|f| !lists.iter().any(|list| list.columns.contains(f))) {
            let what = format!("no list has this column; the left one has {}", left.columns.join(", "));
            return Err(Error::setting("--fields", field, what));
        }
        Ok(FieldSelection { fields: wanted.to_vec(), ..Self::default() })
    }

    /// Cuts the lists to what is read of them.
    pub fn apply(&self, left: &mut Table, right: Option<&mut Table>) {
        if let Some(columns) = &self.left {
            cut(left, columns);
        }
        if let (Some(columns), Some(right)) = (&self.right, right) {
            cut(right, columns);
        }
    }
}

/// Cuts a table to some of its columns.
fn cut(table: &mut Table, columns: &[String]) {
    let places: Vec<usize> = columns.iter().filter_map(|f| table.columns.iter().position(|c| c == f)).collect();
    let columns: Arc<[String]> = columns.into();
    for record in &mut table.records {
        record.values = places.iter().map(|&i| std::mem::take(&mut record.values[i])).collect();
        record.columns = columns.clone();
    }
    table.columns = columns;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Record;

    fn table(path: &str, columns: &[&str]) -> Table {
        let columns: Arc<[String]> = columns.iter().map(|c| c.to_string()).collect();
        let values = columns.iter().map(|c| format!("a {c}")).collect();
        Table { path: path.into(), records: vec![Record { id: "1".into(), columns: columns.clone(), values }], columns }
    }
    fn strings(all: &[&str]) -> Vec<String> {
        all.iter().map(|s| s.to_string()).collect()
    }
    /// The fields for two lists, which are cut.
    fn resolved(trained: &[&str], left: &[&str], right: &[&str]) -> (Vec<String>, Table, Table) {
        let (mut left, mut right) = (table("l.csv", left), table("r.csv", right));
        let selection = FieldSelection::resolve(&strings(trained), &left.columns, Some(&right.columns));
        selection.apply(&mut left, Some(&mut right));
        (selection.fields, left, right)
    }

    #[test]
    fn lists_with_the_training_columns_are_read_by_them() {
        let (fields, left, _) = resolved(&["name", "price"], &["url", "name", "price"], &["price", "name"]);
        assert_eq!(fields, ["name", "price"]);
        assert_eq!(left.records[0].values.len(), 3, "the list itself stays as it is");
    }

    #[test]
    fn a_list_with_other_columns_is_read_whole_next_to_one_that_fits() {
        let (fields, left, right) = resolved(&["name", "price"], &["url", "name", "price"], &["price", "title"]);
        assert!(fields.is_empty());
        assert_eq!(left.records[0].values, ["a name", "a price"]);
        assert_eq!(left.records[0].get("price"), Some("a price"));
        assert_eq!(right.records[0].values, ["a price", "a title"]);
    }

    #[test]
    fn lists_whose_names_differ_as_in_training_show_what_was_trained_on() {
        let trained = ["name", "brand", "title", "vendor"];
        let (fields, ..) = resolved(&trained, &["url", "name", "brand"], &["title", "vendor", "stock"]);
        assert_eq!(fields, trained);
        // a column of the training that neither list has: other lists, read whole
        assert!(resolved(&trained, &["url", "name", "brand"], &["title", "stock"]).0.is_empty());
        // nothing of the training on one side
        assert!(resolved(&["name", "brand"], &["name", "brand"], &["stock"]).0.is_empty());
    }

    #[test]
    fn one_list_is_read_by_the_training_columns_or_whole() {
        let resolve = |columns: &[&str]| FieldSelection::resolve(&strings(&["name"]), &strings(columns), None);
        assert_eq!(resolve(&["url", "name"]).fields, ["name"]);
        assert_eq!(resolve(&["url", "title"]), FieldSelection::default());
    }

    #[test]
    fn named_fields_must_be_columns() {
        let (left, right) = (table("l.csv", &["name"]), table("r.csv", &["title", "cost"]));
        let named = |fields: &[&str]| FieldSelection::named(&strings(fields), &left, Some(&right));
        assert_eq!(named(&["name", "title"]).unwrap().fields, ["name", "title"]);
        let error = named(&["name"]).unwrap_err().to_string();
        assert!(error.contains("--fields = name") && error.contains("r.csv; it has title, cost"), "{error}");
        let error = named(&["name", "title", "x"]).unwrap_err().to_string();
        assert!(error.contains("--fields = x: no list has this column"), "{error}");
    }
}
