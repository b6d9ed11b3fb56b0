//! One list written in thousands of ways: it is read rightly, or refused, or read with a note, and never wrongly in
//! silence.

use sverka::data::{ReadOptions, read_table};

use crate::Folder;

/// The list: id, name, price in hundredths.
const ROWS: [(&str, &str, u32); 7] = [
    ("1001", "Монитор Лента 24 дюйма, чёрный", 1999000),
    ("1002", "Клавиатура Орбита К30; проводная", 255050),
    ("1003", "Краска фасадная 5 л, белая, матовая", 189090),
    ("1004", "Лампа настольная", 99900),
    ("1005", "Чайник \"Весна\" 1,7 л", 120000),
    ("1006", "Кабель USB-C | 2 м", 45005),
    ("1007", "Пылесос без мешка", 1000000),
];

#[derive(Clone, Copy, Debug)]
enum Quoting {
    Needed,
    All,
    Backslash,
}

#[derive(Clone, Copy, Debug)]
enum Header {
    Plain,
    Capitals,
    IdLast,
    Title,
    TitleWide,
    Separator,
    RowNumbers,
    Bare,
}

#[derive(Clone, Copy, Debug)]
enum Ends {
    Clean,
    Delimiter,
    BlankRows,
}

#[derive(Clone, Copy, Debug)]
struct Way {
    delimiter: char,
    encoding: &'static str,
    quoting: Quoting,
    header: Header,
    decimal: char,
    line: &'static str,
    ends: Ends,
}

fn cell(text: &str, way: Way) -> String {
    match way.quoting {
        Quoting::Backslash => format!("\"{}\"", text.replace('"', "\\\"")),
        Quoting::Needed if !text.contains([way.delimiter, '"', '\n']) => text.into(),
        Quoting::Needed | Quoting::All => format!("\"{}\"", text.replace('"', "\"\"")),
    }
}

fn written(way: Way) -> Vec<u8> {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|c| cell(c, way)).collect();
        let end = if matches!(way.ends, Ends::Delimiter) { way.delimiter.to_string() } else { String::new() };
        cells.join(&way.delimiter.to_string()) + &end + way.line
    };
    let mut text = String::new();
    let owned = |cells: &[&str]| cells.iter().map(|c| c.to_string()).collect::<Vec<_>>();
    match way.header {
        Header::Title => text += &format!("Прайс-лист на май{0}{0}", way.line),
        Header::TitleWide => text += &format!("Прайс-лист, май{0}{0}{1}", way.delimiter, way.line),
        Header::Separator => text += &format!("sep={}{}", way.delimiter, way.line),
        _ => {}
    }
    match way.header {
        Header::Bare => {}
        Header::Capitals => text += &line(&owned(&["ID", "Название, цвет", "Цена, руб"])),
        Header::IdLast => text += &line(&owned(&["name", "price", "id"])),
        Header::RowNumbers => text += &line(&owned(&["", "id", "name", "price"])),
        _ => text += &line(&owned(&["id", "name", "price"])),
    }
    for (i, (id, name, price)) in ROWS.iter().enumerate() {
        let price = format!("{}{}{:02}", price / 100, way.decimal, price % 100);
        let (id, name) = (id.to_string(), name.to_string());
        text += &line(&match way.header {
            Header::IdLast => vec![name, price, id],
            Header::RowNumbers => vec![i.to_string(), id, name, price],
            _ => vec![id, name, price],
        });
        if matches!(way.ends, Ends::BlankRows) && i % 3 == 2 {
            text += &format!("{0}{0}{1}", way.delimiter, way.line);
        }
    }
    match way.encoding {
        "utf-8" => text.into_bytes(),
        "utf-8-bom" => [b"\xef\xbb\xbf", text.as_bytes()].concat(),
        "utf-16le" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        "utf-16be-bom" => [vec![0xfe, 0xff], text.encode_utf16().flat_map(u16::to_be_bytes).collect()].concat(),
        other => encoding_rs::Encoding::for_label(other.as_bytes()).unwrap().encode(&text).0.into_owned(),
    }
}

#[test]
fn no_way_of_writing_a_list_is_misread_in_silence() {
    let folder = Folder::new();
    let (mut right, mut noted, mut refused) = (0usize, 0usize, 0usize);
    for delimiter in [',', ';', '\t', '|'] {
        for encoding in ["utf-8", "utf-8-bom", "utf-16le", "utf-16be-bom", "windows-1251"] {
            for quoting in [Quoting::Needed, Quoting::All, Quoting::Backslash] {
                for header in [
                    Header::Plain,
                    Header::Capitals,
                    Header::IdLast,
                    Header::Title,
                    Header::TitleWide,
                    Header::Separator,
                    Header::RowNumbers,
                    Header::Bare,
                ] {
                    for decimal in ['.', ','] {
                        for (line, ends) in [
                            ("\n", Ends::Clean),
                            ("\r\n", Ends::Delimiter),
                            ("\n", Ends::BlankRows),
                            ("\r", Ends::Clean),
                        ] {
                            let way = Way { delimiter, encoding, quoting, header, decimal, line, ends };
                            let count = right + noted + refused;
                            let path = folder.write(&format!("{count}.csv"), written(way));
                            let Ok((table, report)) = read_table(&path, &ReadOptions::default()) else {
                                refused += 1;
                                continue;
                            };
                            std::fs::remove_file(&path).unwrap();
                            let wanted = ROWS.iter().map(|(id, name, price)| {
                                let price = format!("{}{decimal}{:02}", price / 100, price % 100);
                                (id.to_string(), vec![name.to_string(), price])
                            });
                            let read = table.records.into_iter().map(|r| (r.id, r.values));
                            if read.eq(wanted) {
                                right += 1;
                            } else {
                                assert!(!report.notes.is_empty(), "misread in silence: {way:?}");
                                noted += 1;
                            }
                        }
                    }
                }
            }
        }
    }
    let all = right + noted + refused;
    println!("{all} files: {right} right, {noted} with a note, {refused} refused");
    assert!(all >= 2000 && right * 100 >= all * 97, "{right} of {all} right, {noted} noted, {refused} refused");
}
