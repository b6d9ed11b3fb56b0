//! A cell that is a ready vector, as Parquet's and JSON's lists become.

/// A value's numbers between spaces, commas or semicolons, in brackets or not; empty where there is none, `None` where one of them is no finite
/// number.
pub fn vector(value: &str) -> Option<Vec<f32>> {
    let inside = value.trim().trim_start_matches('[').trim_end_matches(']');
    let cells = inside.split([',', ' ', ';']).filter(|cell| !cell.is_empty());
    cells.map(|cell| cell.parse().ok().filter(|x: &f32| x.is_finite())).collect()
}
