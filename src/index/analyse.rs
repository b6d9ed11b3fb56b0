//! A product's text into search terms. Numbers and codes are what distinguishes products, and every shop writes them in
//! its own way, so each is kept whole and split: `dsc-w120/b` gives `dsc`, `w`, `120`, `b`, `w120` and `dscw120b`.
//!
//! What the other shop may write otherwise is made one: case, `ё`, compatibility forms (NFKC), a decimal comma and its zeros
//! (`0,50` is `0.5`), scripts that touch (`концентратPROSEPT`), letters that look alike inside an article code (`ВС-120` and `BC-120`), and
//! volumes and weights in one unit in addition to the one written (`0,5 л`, `500мл` and `0.5L` share `500ml`).
//!
//! Refused: transliteration and look-alike letters of words without digits (brands differ more than they gain), imperial units
//! (ounces of weight and of volume can't be distinguished), and thousands separators (a comma is a decimal one more often).

use std::borrow::Cow;
use std::ops::Range;

use crate::text::lexicon::{index_unit, is_grammar, unit};
use crate::text::normalize::{folded_chars, latin_code, stem};

/// A record's words beyond this are not looked at: a cell of megabytes is no product name.
const MOST_WORDS: usize = 4096;
/// The same for prose, where a document may be a chapter.
const MOST_STEMS: usize = 1 << 16;
/// Longer words are cut, in characters.
const LONGEST_WORD: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Cyrillic,
    Letters,
}

/// Letters of one script, or a number with its decimal point.
struct Run {
    kind: Kind,
    /// Its bytes in [`Runs::letters`].
    bytes: Range<usize>,
    /// Which of the groups between punctuation marks it is in.
    group: usize,
}

/// The runs of a piece without spaces; its room is used again for the next piece.
#[derive(Default)]
struct Runs {
    chars: Vec<char>,
    letters: String,
    runs: Vec<Run>,
}

/// The words of a text, as often as they occur in it.
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    each_word(text, |word| words.push(word.to_string()));
    words
}

fn each_word(text: &str, mut each: impl FnMut(&str)) {
    let mut left = MOST_WORDS;
    let mut push = |word: &str| {
        if left > 0 {
            left -= 1;
            each(cut(word));
        }
        left > 0
    };
    // runs written together, an article code in Latin letters where they look alike
    fn code(letters: &str) -> Cow<'_, str> {
        latin_code(letters).map_or(Cow::Borrowed(letters), Cow::Owned)
    }
    // the run before, if it is a number
    let mut number: Option<String> = None;
    let (mut piece, mut has_room) = (Runs::default(), true);
    for chunk in text.split_whitespace() {
        piece.read(chunk);
        let Runs { letters, runs, .. } = &piece;
        let is_one_group = runs.first().map(|run| run.group) == runs.last().map(|run| run.group);
        if !is_one_group && runs.iter().any(|run| run.kind == Kind::Number) {
            push(&code(letters));
        }
        for group in runs.chunk_by(|a, b| a.group == b.group) {
            if let [first, .., last] = group {
                push(&code(&letters[first.bytes.start..last.bytes.end]));
            }
            for run in group {
                let run_letters = &letters[run.bytes.clone()];
                has_room = push(run_letters);
                if let Some(quantity) = number.take().and_then(|number| quantity(&number, run_letters)) {
                    push(&quantity);
                }
                number = (run.kind == Kind::Number).then(|| run_letters.to_string());
            }
        }
        if !has_room {
            break;
        }
    }
}

/// Its first characters.
fn cut(word: &str) -> &str {
    if word.len() <= LONGEST_WORD {
        return word;
    }
    word.char_indices().nth(LONGEST_WORD).map_or(word, |(end, _)| &word[..end])
}

/// The trigrams of a text's [`words`] of three letters or more, each word with a mark where it starts.
pub fn trigrams(text: &str) -> Vec<String> {
    trigrams_of(&words(text))
}

fn trigrams_of(words: &[String]) -> Vec<String> {
    let (mut grams, mut room) = (Vec::new(), Room::default());
    words.iter().for_each(|word| each_trigram(word, &mut room, |gram| grams.push(gram.to_string())));
    grams
}

/// Where a word's letters begin, and its first trigram: memory that the next word uses again.
#[derive(Default)]
struct Room {
    starts: Vec<usize>,
    first: String,
}

/// The trigrams of one word.
fn each_trigram(word: &str, Room { starts, first }: &mut Room, mut each: impl FnMut(&str)) {
    starts.clear();
    starts.extend(word.char_indices().map(|(start, _)| start));
    starts.push(word.len());
    // a word of two letters is a word already
    if starts.len() > 3 {
        first.clear();
        first.push('^');
        first.push_str(&word[..starts[2]]);
        each(first);
        starts.windows(4).for_each(|at| each(&word[at[0]..at[3]]));
    }
}

/// The words of prose, each as its stem, Russian or English by its letters. Letters and digits make words, apostrophes inside them and decimal
/// signs between digits too (as the word breaks of Unicode's annex 29 have it); words of English grammar are left out.
pub fn stems(text: &str) -> Vec<String> {
    let chars: Vec<char> = folded_chars(text).collect();
    let is_inside = |at: usize| {
        let around = |is: fn(&char) -> bool| at > 0 && is(&chars[at - 1]) && chars.get(at + 1).is_some_and(is);
        match chars[at] {
            c if c.is_alphanumeric() => true,
            '\'' | '\u{2019}' => around(|c| c.is_alphabetic()),
            '.' | ',' => around(|c| c.is_numeric()),
            _ => false,
        }
    };
    let (mut words, mut at) = (Vec::new(), 0);
    while at < chars.len() && words.len() < MOST_STEMS {
        let start = at;
        while at < chars.len() && is_inside(at) {
            at += 1;
        }
        if start == at {
            at += 1;
            continue;
        }
        let word: String = chars[start..at].iter().map(|c| if *c == '\u{2019}' { '\'' } else { *c }).collect();
        let word = word.strip_suffix("'s").unwrap_or(&word);
        if is_grammar(word) {
            continue;
        }
        match word.chars().all(char::is_alphabetic) {
            true => words.push(cut(&stem(word)).to_string()),
            false => words.push(cut(word).to_string()),
        }
    }
    words
}

/// Which terms of a text are indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Analysis {
    /// [`words`], and [`trigrams`] at a tenth of the weight: names of products.
    #[default]
    Products,
    /// [`stems`]: sentences and passages.
    Text,
}

/// A term as a number. Two terms of a list of ten million have the same one with a chance of 1 to 180,000; then they count as one.
/// The lowest bit is the field: 0 for words, 1 for trigrams.
pub(super) type TermHash = u64;

impl Analysis {
    /// The terms of a document in the order of their numbers, and how many there are of each field.
    pub(super) fn of_document(self, text: &str) -> (Vec<TermHash>, [usize; 2]) {
        let (mut terms, mut words) = (Vec::new(), 0);
        match self {
            Analysis::Products => {
                // about a trigram a letter, and a word for every few; a cell of megabytes is cut
                terms.reserve((text.len() * 3 / 2).min(MOST_WORDS));
                let mut room = Room::default();
                each_word(text, |word| {
                    words += 1;
                    terms.push(hash(word, 0));
                    each_trigram(word, &mut room, |gram| terms.push(hash(gram, 1)));
                });
            }
            Analysis::Text => {
                terms.extend(stems(text).iter().map(|word| hash(word, 0)));
                words = terms.len();
            }
        }
        terms.sort_unstable();
        let lengths = [words, terms.len() - words];
        (terms, lengths)
    }

    /// The terms of a query with how often each is there: words, then trigrams, both in the order of letters, which is the order in
    /// which scores are summed.
    pub(super) fn of_query(self, text: &str) -> Vec<(TermHash, u32)> {
        let fields = match self {
            Analysis::Products => {
                let words = words(text);
                let grams = trigrams_of(&words);
                [words, grams]
            }
            Analysis::Text => [stems(text), Vec::new()],
        };
        let mut terms = Vec::new();
        for (field, mut of_field) in (0u64..).zip(fields) {
            of_field.sort_unstable();
            terms.extend(of_field.chunk_by(|a, b| a == b).map(|same| (hash(&same[0], field), same.len() as u32)));
        }
        terms
    }
}

/// FNV-1a, mixed once more (the last step of MurmurHash3): the same on every machine, as it is stored.
fn hash(term: &str, field: u64) -> TermHash {
    let mut h = 0xcbf2_9ce4_8422_2325_u64;
    for byte in term.bytes() {
        h = (h ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    h = (h ^ (h >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    h = (h ^ (h >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    ((h ^ (h >> 33)) & !1) | field
}

impl Runs {
    /// Reads a piece.
    fn read(&mut self, chunk: &str) {
        let Runs { chars, letters, runs } = self;
        chars.clear();
        letters.clear();
        runs.clear();
        chars.extend(folded_chars(chunk));
        let (mut group, mut i) = (0, 0);
        while i < chars.len() {
            let Some(kind) = kind(chars[i]) else {
                group += 1;
                i += 1;
                continue;
            };
            let (start, mut has_point) = (letters.len(), false);
            while let Some(&c) = chars.get(i) {
                let next_is_digit = || chars.get(i + 1).is_some_and(|&n| self::kind(n) == Some(Kind::Number));
                if self::kind(c) == Some(kind) {
                    letters.push(c);
                } else if kind == Kind::Number && !has_point && matches!(c, '.' | ',') && next_is_digit() {
                    letters.push('.');
                    has_point = true;
                } else {
                    break;
                }
                i += 1;
            }
            if has_point {
                let number = &letters[start..];
                let end = start + number.trim_end_matches('0').trim_end_matches('.').len();
                letters.truncate(end);
            }
            runs.push(Run { kind, bytes: start..letters.len(), group });
        }
    }
}

fn kind(c: char) -> Option<Kind> {
    match c {
        '\u{400}'..='\u{52f}' => Some(Kind::Cyrillic),
        _ if c.is_numeric() => Some(Kind::Number),
        _ if c.is_alphabetic() => Some(Kind::Letters),
        _ => None,
    }
}

/// A volume in millilitres or a weight in grams.
fn quantity(number: &str, name: &str) -> Option<String> {
    let unit = unit(name)?;
    let base = index_unit(unit.kind)?;
    let amount = (number.parse::<f64>().ok()? * unit.size * 1000.0).round() / 1000.0;
    (amount < 1e12).then(|| format!("{amount}{base}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(text: &str) -> Vec<String> {
        let mut words = words(text);
        words.sort();
        words
    }

    #[test]
    fn codes_are_kept_whole_and_split() {
        assert_eq!(sorted("DSC-W120/B"), ["120", "b", "dsc", "dscw120b", "w", "w120"]);
        assert_eq!(sorted("(pslx350h),"), ["350", "h", "pslx", "pslx350h"]);
        assert_eq!(sorted("black/white"), ["black", "white"]);
    }

    #[test]
    fn letters_that_look_alike_are_one_inside_a_code() {
        for code in ["ВС-120", "ВC-120", "BС-120", "BC-120"] {
            assert!(words(code).contains(&"bc120".to_string()), "{code}");
        }
        assert!(words("ДС-120").contains(&"дс120".to_string()));
        assert!(words("500см").contains(&"500см".to_string()) && words("сот") == ["сот"]);
    }

    #[test]
    fn numbers_and_units_are_made_one() {
        assert_eq!(sorted("500мл"), ["500", "500ml", "500мл", "мл"]);
        assert_eq!(sorted("0,50 Л"), ["0.5", "500ml", "л"]);
        assert_eq!(sorted("1.0kg"), ["1", "1000g", "1kg", "kg"]);
        assert_eq!(sorted("1,2,3"), ["1.2", "1.23", "3"]);
        assert_eq!(sorted("10. 200"), ["10", "200"]);
    }

    #[test]
    fn scripts_that_touch_are_split() {
        assert_eq!(sorted("концентратPROSEPT"), ["prosept", "концентрат", "концентратprosept"]);
        assert_eq!(sorted("Ёлка"), ["елка"]);
    }

    #[test]
    fn trigrams_mark_the_start() {
        assert_eq!(trigrams("лампа"), ["^ла", "лам", "амп", "мпа"]);
        assert_eq!(trigrams("no x cat"), ["^ca", "cat"], "shorter words are words already");
    }

    #[test]
    fn prose_is_stemmed_by_the_letters_of_each_word() {
        let found = stems("The patients' TRAILS, don\u{2019}t: CD8+ of 1.5 mg. Crohn's");
        assert_eq!(found, ["patient", "trail", "don't", "cd8", "1.5", "mg", "crohn"]);
        assert_eq!(stems("Чистки ковров"), stems("чистка ковра"));
    }

    #[test]
    fn a_term_is_one_number_and_each_field_has_its_own() {
        let (terms, lengths) = Analysis::Products.of_document("lamp lamp");
        let (words, grams): (Vec<TermHash>, Vec<TermHash>) = terms.into_iter().partition(|hash| hash & 1 == 0);
        assert_eq!((words.len(), grams.len()), (2, 4 * 2 - 2));
        assert_eq!(lengths, [2, 6]);
        assert_eq!(words[0], words[1]);
        let query = Analysis::Products.of_query("lamp lamp");
        assert_eq!(query[0], (words[0], 2));
        assert!(query[1..].iter().all(|(hash, count)| hash % 2 == 1 && *count == 2 && grams.contains(hash)));
        assert_ne!(hash("^la", 0), hash("^la", 1));
    }

    #[test]
    fn huge_texts_are_bounded() {
        assert_eq!(words(&"a ".repeat(100_000)).len(), MOST_WORDS);
        assert_eq!(words(&"я".repeat(1_000_000))[0].chars().count(), LONGEST_WORD);
        assert!(words(&"1-".repeat(1_000_000)).len() <= MOST_WORDS);
        assert!(words(" \u{0}\u{301} — ").is_empty());
    }
}
