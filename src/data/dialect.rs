//! How a delimited file is written, found out from its start: the delimiter, the lines above the header, and whether
//! there is a header at all.
//!
//! A guess is checked against what it explains. A delimiter explains the records that have as many cells as the header;
//! between delimiters that explain about as much, the one under which the other is inside the first cells, or
//! between digits or before spaces as a decimal sign and in a sentence, is the right one; and if that settles nothing the
//! user is asked. A first row is no header where it looks like the rows below it in every column that can say so.

use super::cells::Cells;
use super::clean::is_missing;
use super::lines::body;

/// The delimiters that are looked for; the earlier one is the less likely to stand in a text.
const CANDIDATES: [u8; 4] = [b'\t', b'|', b';', b','];
/// Records of the start that are looked at.
const RECORDS: usize = 500;
/// Lines above a header, at most.
const TITLES: usize = 20;

/// How a file is written.
#[derive(Debug, PartialEq)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    /// Records above the header.
    pub(super) titles: usize,
    /// Cells of a record.
    pub(super) width: usize,
    /// Whether the first record below the titles names the columns.
    pub(super) has_header: bool,
    /// Whether cells are escaped as PostgreSQL's COPY does.
    pub(super) is_copy: bool,
}

/// The dialect of a file that starts with `sample` (`is_all`: and ends with it). `delimiter` and `has_header` are what
/// the user said. An error holds two delimiters between which nothing decides.
pub(super) fn dialect(
    sample: &[u8],
    is_all: bool,
    delimiter: Option<u8>,
    preferred: Option<u8>,
    has_header: Option<bool>,
) -> Result<Dialect, (u8, u8)> {
    let read = |d: u8| Reading::new(sample, is_all, d);
    let reading = match delimiter {
        Some(d) => read(d),
        None => {
            let readings = CANDIDATES.map(read);
            match readings.iter().position(|r| Some(r.delimiter) == preferred && r.width > 1) {
                Some(at) => readings.into_iter().nth(at).unwrap_or_else(|| read(b',')),
                None => choose(readings)?,
            }
        }
    };
    Ok(reading.dialect(has_header))
}

/// A file's start as one delimiter reads it.
struct Reading {
    delimiter: u8,
    records: Vec<Vec<String>>,
    /// Cells of most records; less than 2 where the delimiter is none.
    width: usize,
    /// Share of the records that have this width.
    share: f64,
    /// Records before the first one of this width.
    before: usize,
}

impl Reading {
    fn new(sample: &[u8], is_all: bool, delimiter: u8) -> Self {
        let records = records(sample, is_all, delimiter);
        let filled = |r: &[String]| r.iter().rposition(|c| !c.is_empty()).map_or(0, |i| i + 1);
        // a record fits a width where no text is beyond it
        let spans: Vec<(usize, usize)> = records.iter().map(|r| (filled(r), r.len())).collect();
        let fits = |width: usize| spans.iter().filter(move |(least, most)| *least <= width && width <= *most);
        let mut widths: Vec<usize> = spans.iter().flat_map(|s| [s.0, s.1]).filter(|w| *w > 1).collect();
        widths.sort_unstable();
        widths.dedup();
        // of equals the smallest: what is beyond it is empty everywhere
        let width = widths.into_iter().rev().max_by_key(|w| fits(*w).count()).unwrap_or(1);
        let share = fits(width).count() as f64 / spans.len().max(1) as f64;
        let before = spans.iter().position(|(least, most)| *least <= width && width <= *most).unwrap_or(0);
        Reading { delimiter, records, width, share, before }
    }

    /// The share of records whose first cell holds another delimiter: it should have been cut there.
    fn inside_first(&self, other: u8) -> f64 {
        let holding = self.records.iter().filter(|r| r.first().is_some_and(|c| c.contains(other as char)));
        holding.count() as f64 / self.records.len().max(1) as f64
    }

    fn dialect(self, has_header: Option<bool>) -> Dialect {
        let records = &self.records;
        let titles = if has_header == Some(false) { 0 } else { titles(records, self.width) };
        let has_header = has_header.unwrap_or_else(|| has_names(&records[titles.min(records.len())..]));
        let is_copy = self.delimiter == b'\t' && records.iter().flatten().any(|c| c == "\\N");
        Dialect { delimiter: self.delimiter, titles, width: self.width, has_header, is_copy }
    }
}

/// The reading that explains the most.
fn choose(readings: [Reading; 4]) -> Result<Reading, (u8, u8)> {
    let best = readings.iter().filter(|r| r.width > 1).map(|r| r.share).fold(0.0, f64::max);
    let mut rest: Vec<Reading> = Vec::new();
    for reading in readings {
        if reading.width > 1 && reading.share >= 0.8 * best && reading.share >= 0.5 {
            rest.push(reading);
        }
    }
    let Some(mut chosen) = rest.pop() else {
        return Ok(Reading { delimiter: b',', records: Vec::new(), width: 1, share: 0.0, before: 0 });
    };
    while let Some(other) = rest.pop() {
        let order = better(&chosen, &other);
        match order {
            std::cmp::Ordering::Greater => {}
            std::cmp::Ordering::Less => chosen = other,
            std::cmp::Ordering::Equal => return Err((other.delimiter, chosen.delimiter)),
        }
    }
    Ok(chosen)
}

/// Which of two readings that explain about as much is the right one.
fn better(a: &Reading, b: &Reading) -> std::cmp::Ordering {
    // the header has the width of its rows; else the first line is not explained
    (a.before == 0).cmp(&(b.before == 0)).then_with(|| {
        let inside = |r: &Reading, other: &Reading| r.inside_first(other.delimiter);
        let (in_a, in_b) = (inside(a, b), inside(b, a));
        let clearly = (in_a - in_b).abs() > 0.3;
        let by_first = if clearly { in_b.total_cmp(&in_a) } else { std::cmp::Ordering::Equal };
        by_first
            .then_with(|| textual(b).total_cmp(&textual(a)))
            .then_with(|| {
                let alike = (a.share - b.share).abs() < 0.1;
                if alike { std::cmp::Ordering::Equal } else { a.share.total_cmp(&b.share) }
            })
            .then_with(|| a.width.cmp(&b.width))
    })
}

/// The share of a delimiter's places that look like a sentence's or a number's: before a space, or between digits.
fn textual(reading: &Reading) -> f64 {
    let (mut places, mut found) = (0usize, 0usize);
    for record in &reading.records {
        for pair in record.windows(2) {
            places += 1;
            let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
            let in_number =
                reading.delimiter == b',' && is_digit(pair[0].chars().last()) && is_digit(pair[1].chars().next());
            let in_sentence = pair[1].starts_with(' ') && !pair[0].ends_with(' ');
            found += usize::from(in_number || in_sentence);
        }
    }
    found as f64 / places.max(1) as f64
}

/// The records of a sample; a line that can't be read as one is itself a single cell.
fn records(sample: &[u8], is_all: bool, delimiter: u8) -> Vec<Vec<String>> {
    let mut lines: Vec<&[u8]> = sample.split_inclusive(|b| *b == b'\n').take(4 * RECORDS).collect();
    if !is_all && lines.len() > 1 && lines.last().is_some_and(|l| !l.ends_with(b"\n")) {
        lines.pop();
    }
    let mut records: Vec<Vec<String>> = Vec::new();
    let (mut cells, mut at) = (Cells::default(), 0);
    while at < lines.len() && records.len() < RECORDS {
        let (mut end, mut read) = (at, false);
        for has_escapes in [false, true] {
            cells.has_escapes = has_escapes;
            cells.clear();
            end = at;
            read = false;
            // a quote that opens a cell closes within a few lines, or it is none
            for line in &lines[at..lines.len().min(at + 50)] {
                end += 1;
                if cells.feed(body(line), delimiter).is_err() {
                    break;
                }
                if !cells.is_open() {
                    read = true;
                    break;
                }
                cells.bytes.push(b'\n');
            }
            let escaped = || lines[at..end].iter().any(|l| l.windows(2).any(|w| w == b"\\\""));
            if read || !escaped() {
                break;
            }
        }
        if !read {
            if end < lines.len() || is_all {
                records.push(vec![String::from_utf8_lossy(body(lines[at])).into_owned()]);
            }
            at += 1;
            continue;
        }
        at = end;
        let text = |range| String::from_utf8_lossy(&cells.bytes[range]).trim_matches(['\u{feff}', '\r']).to_string();
        if !cells.is_blank() {
            records.push(cells.ranges().map(text).collect());
        }
    }
    records
}

/// Records above the header: those with few cells filled, or cut to another width, before one that is mostly filled.
fn titles(records: &[Vec<String>], width: usize) -> usize {
    if width < 2 {
        return 0;
    }
    let filled = |r: &Vec<String>| r.iter().filter(|c| !c.trim().is_empty()).count();
    let is_title = |r: &Vec<String>| {
        let only_first = filled(r) == 1 && r.first().is_some_and(|c| !c.trim().is_empty());
        r.len() == 1 || only_first || (width > 2 && 2 * filled(r) <= width)
    };
    let count = records.iter().take(TITLES).take_while(|r| is_title(r)).count();
    // a list whose rows are as poor has no titles
    let is_filled = |r: &&Vec<String>| 2 * filled(r) > width && records.len() > count + 1;
    if count > 0 {
        return if count < TITLES && records.get(count).as_ref().is_some_and(is_filled) { count } else { 0 };
    }
    // a first line with empty cells, and below it one that surely names every column
    let before = records.iter().take(TITLES).take_while(|r| filled(r) < width).count();
    let is_header = |r: &Vec<String>| {
        let in_words = |c: &String| !c.trim().is_empty() && !c.contains(|c: char| c.is_ascii_digit());
        filled(r) == width && r.iter().take(width).all(in_words)
    };
    let names = records.get(before).is_some_and(is_header) && names_numbers(&records[before..]);
    if names { before } else { 0 }
}

/// Whether values of a column all have digits, and its name in the first record has none.
fn names_numbers(records: &[Vec<String>]) -> bool {
    let Some((first, rows)) = records.split_first() else { return false };
    first.iter().enumerate().any(|(i, name)| {
        let cells = rows.iter().filter_map(|r| r.get(i)).map(|c| c.trim()).filter(|c| !is_missing(c));
        let (all, with_digits) = cells.fold((0, 0), |(all, some), c| (all + 1, some + usize::from(has_digit(c))));
        !name.trim().is_empty() && !has_digit(name) && all > 0 && 10 * with_digits > 9 * all
    })
}

fn has_digit(text: &str) -> bool {
    text.contains(|c: char| c.is_ascii_digit())
}

/// Whether the first record names columns, as far as the records below it say.
fn has_names(records: &[Vec<String>]) -> bool {
    let Some((first, rows)) = records.split_first().filter(|(_, rows)| !rows.is_empty()) else { return true };
    let counted = first.iter().position(|c| !c.trim().is_empty()).unwrap_or(0);
    if first.len() > counted + 1 && first[counted..].iter().enumerate().all(|(i, c)| c.trim() == i.to_string()) {
        return true; // 0, 1, 2, ...: what pandas calls columns without names
    }
    if names_numbers(records) {
        return true;
    }
    let is_number =
        |c: &str| has_digit(c) && c.chars().all(|c| c.is_ascii_digit() || "+-., %\u{a0}\u{202f}".contains(c));
    let mut looks_like_data = false;
    for (i, name) in first.iter().enumerate() {
        let name = name.trim();
        let cells: Vec<&str> =
            rows.iter().filter_map(|r| r.get(i)).map(|c| c.trim()).filter(|c| !is_missing(c)).collect();
        if cells.is_empty() || name.is_empty() {
            continue;
        }
        let share = |test: &dyn Fn(&str) -> bool| cells.iter().filter(|c| test(c)).count() as f64 / cells.len() as f64;
        let repeats = |(j, c): (usize, &&str)| *c == name && rows.get(j).is_none_or(|r| r != first);
        let repeated = rows.iter().enumerate().any(|(j, r)| r.get(i).is_some_and(|c| repeats((j, &c.trim()))));
        looks_like_data |= (is_number(name) && share(&is_number) > 0.9) || repeated;
    }
    !looks_like_data
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Dialect, (u8, u8)> {
        dialect(text.as_bytes(), true, None, None, None)
    }

    fn delimiter(text: &str) -> Option<char> {
        of(text).ok().map(|d| d.delimiter as char)
    }

    #[test]
    fn a_delimiter_is_the_one_that_explains_the_rows() {
        for (text, wanted) in [
            ("Код;Имя, марка;Цена, руб\n1;Монитор 24, белый;199,00\n2;Лампа, синяя;5,50\n", ';'),
            ("id,name\n1,a; b\n2,c; d\n", ','),
            ("id;price\n1;5,5\n2;6,5\n", ';'),
            ("id\tname, brand\tprice\n1\tx, y\t5,5\n2\tz, w\t6\n", '\t'),
            ("id|name|price\n1|a, b|5\n2|c, d|6\n", '|'),
            ("id,name\n1,a\n2,\"b\nc;d\"\n", ','),
            ("id;name;price\n1;a;5\n2;b, c\n3;d, e\n4;f;6\n", ';'),
            ("only\none\n", ','),
        ] {
            assert_eq!(delimiter(text), Some(wanted), "{text}");
        }
    }

    #[test]
    fn delimiters_between_which_nothing_decides_are_both_named() {
        assert_eq!(of("a,b;c\nd;e,f\n"), Err((b';', b',')));
    }

    #[test]
    fn titles_are_lines_above_the_header() {
        for (text, titles) in [
            ("Price list;;\nid;name;price\n1;a;5\n", 1),
            ("Price list, 01.03\n\nid;name;price\n1;a;5\n2;b;6\n", 1),
            ("Shop;;;\nDate;01.03;;\nid;name;brand;price\n1;a;x;5\n", 2),
            ("id;name;price\n1;a;5\n", 0),
            (",name\n0,a\n1,b\n", 0),
            ("id;;;name\n1;;;x\n2;;;y\n", 0),
        ] {
            assert_eq!(of(text).map(|d| d.titles), Ok(titles), "{text}");
        }
    }

    #[test]
    fn a_first_row_like_the_others_is_no_header() {
        for (text, names) in [
            ("id,name\n1,a\n2,b\n", true),
            ("name,2019,2020\nx1,5,6\ny2,7,8\n", true),
            ("0,1,2\na,b,5\nc,d,6\n", true),
            ("title,text\na,b\nc,d\n", true),
            ("1,lamp,5\n2,tv,6\n", false),
            ("lamp,5\ntv,6\n", false),
            ("l0,r0,1\nl1,r1,0\n", false),
            ("Sony,camera\nSony,tv\nLG,tv\n", false),
            ("id,name\nid,name\n", true),
        ] {
            assert_eq!(of(text).map(|d| d.has_header), Ok(names), "{text}");
        }
    }
}
