//! Which words are on both sides of a pair.
//!
//! A transformer has to learn from word pieces that two article codes are the same; saying so costs a segment number. The idea is
//! Boualili et al., MarkedBERT (SIGIR 2020), with segment embeddings instead of marker tokens, so that sequences do not grow.
//! A word counts as shared if the other side has a word of the same normalized form, or up to five neighbors that give it when written
//! together (`dsc-w120 /b` and `dscw120b`, `500мл` and `500 мл`).
//!
//! Normalized: see [`word_form`](super::normalize::word_form). A quantity is its amount (`0,5 л` is `500 мл`). Forms that are written
//! together need three characters, or to be a number with its unit. Inside an article code Cyrillic letters that look like Latin ones
//! are the same (`ВС-120` and `BC-120`).
//!
//! A shared word, or words together, that is an article code has a mark of its own: it says more than any other.
//!
//! A word that is not shared may be a *variant* of one of the other side, or *differ* from one: see [`word`](super::word).
//!
//! Two prices are the same, near or different by their ratio: see [`price`](super::price).
//!
//! Refused: look-alikes in words without digits, which are the model's matter.

use super::price::{PriceRatio, price, ratio};
use super::units::{number_and_unit, quantity};
use super::word::{NormalizedWord, differs, is_variant};

/// Hash of a normalized form, and the first and last word it covers.
type Key = (u64, u32, u32);

/// A number with its unit.
#[derive(Debug, Clone)]
struct Quantity {
    unit: Unit,
    /// Thousandths of the kind's smallest unit.
    amount: u64,
    first: usize,
    last: usize,
}

/// What a number counts.
#[derive(Debug, Clone)]
enum Unit {
    /// A kind of [`units`](super::units).
    Known(usize),
    /// Whatever word follows.
    Word(NormalizedWord),
}

impl Unit {
    fn same(&self, other: &Unit) -> bool {
        match (self, other) {
            (Unit::Known(a), Unit::Known(b)) => a == b,
            (Unit::Word(a), Unit::Word(b)) => a.text == b.text || is_variant(a, b),
            _ => false,
        }
    }
}

/// The words of a text: where they are, and the forms by which another text may share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Words {
    /// Byte ranges of the words that have a letter or a digit.
    pub(super) spans: Vec<(u32, u32)>,
    /// The words as they are compared.
    forms: Vec<NormalizedWord>,
    /// Forms of one word, sorted.
    single: Vec<Key>,
    /// Forms of up to five neighbors, sorted.
    merged: Vec<Key>,
    /// Numbers with their units, in the order of their words.
    quantities: Vec<Quantity>,
    /// The first price, and the first and the last of its words.
    price: Option<(f64, usize, usize)>,
}

impl Words {
    /// The words of the given byte ranges of `text`, with what is known to be a price. Neighbors of different ranges are
    /// not merged.
    pub(super) fn new(text: &str, ranges: impl IntoIterator<Item = (usize, usize, bool)>) -> Self {
        let mut words = Words::default();
        for (start, end, price_field) in ranges {
            let first = words.spans.len();
            for word in text[start..end].split_whitespace().flat_map(parts) {
                if let Some(form) = NormalizedWord::new(word) {
                    let at = (word.as_ptr() as usize - text.as_ptr() as usize) as u32;
                    words.spans.push((at, at + word.len() as u32));
                    words.forms.push(form);
                }
            }
            if words.price.is_none() && first < words.forms.len() {
                let amount = price(&text[start..end], price_field);
                words.price = amount.map(|amount| (amount, first, words.forms.len() - 1));
            }
            let forms = &words.forms[first..];
            for (i, form) in forms.iter().enumerate() {
                let at = (first + i) as u32;
                let mut hash = fnv(SEED, &form.text);
                words.single.push((hash, at, at));
                words.single.extend(form.latin_code().map(|code| (fnv(SEED, code), at, at)));
                let (mut is_latin, mut latin_hash) = (form.is_latin_part(), fnv(SEED, form.latin_part()));
                let next = forms.get(i + 1).map(|f| f.text.as_str());
                let pack = i >= 2 && forms[i - 1].text == "of" && forms[i - 2].text == "pack";
                let sign = form.sign.or(pack.then_some("pack"));
                if let Some((kind, amount, two)) = quantity(&form.text, sign.or(next)) {
                    let last = at + u32::from(two && sign.is_none());
                    words.single.push((fnv(!SEED, &format!("{kind} {amount}")), at, last));
                    let (first, last) = (first + i, last as usize);
                    words.quantities.push(Quantity { unit: Unit::Known(kind), amount, first, last });
                } else if let Some((unit, amount, more)) = unknown_unit(&form.text, next) {
                    let (first, last) = (first + i, first + i + more);
                    words.quantities.push(Quantity { unit: Unit::Word(unit), amount, first, last });
                }
                let mut length = form.text.chars().count();
                for (more, next) in (1..).zip(forms.iter().skip(i + 1).take(MERGED)) {
                    hash = fnv(hash, &next.text);
                    is_latin &= next.is_latin_part();
                    if is_latin {
                        latin_hash = fnv(latin_hash, next.latin_part());
                    }
                    length += next.text.chars().count();
                    if length >= 3 || (form.is_number() && more == 1 && next.text.chars().all(char::is_alphabetic)) {
                        words.merged.push((hash, at, at + more));
                        if is_latin && latin_hash != hash && NormalizedWord::code(&forms[i..=i + more as usize]) {
                            words.merged.push((latin_hash, at, at + more));
                        }
                    }
                }
            }
        }
        words.single.sort_unstable();
        words.merged.sort_unstable();
        words
    }

    /// The quantities that are compared one by one.
    fn first_quantities(&self) -> impl Iterator<Item = &Quantity> {
        self.quantities.iter().take_while(|q| q.first < COMPARED)
    }
}

/// Words that are written together with the one before them, at most: `средстводлямытьястекол`.
const MERGED: usize = 4;

/// How a word relates to the other text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum WordRelation {
    /// Nothing.
    #[default]
    Plain,
    /// The same.
    Shared,
    /// The same word in another form, it seems.
    Variant,
    /// Another number, code or attribute in its place.
    Differs,
    /// The same, and it is an article code.
    Code,
}

impl WordRelation {
    fn is_shared(self) -> bool {
        matches!(self, WordRelation::Shared | WordRelation::Code)
    }
}

/// For each word of either side, in order, how it relates to the other side.
pub(super) fn relations(left: &Words, right: &Words) -> (Vec<WordRelation>, Vec<WordRelation>) {
    let (mut of_left, mut of_right) =
        (vec![WordRelation::Plain; left.spans.len()], vec![WordRelation::Plain; right.spans.len()]);
    let join = |a: &[Key], b: &[Key], of_left: &mut [WordRelation], of_right: &mut [WordRelation]| {
        join(
            a,
            b,
            |first, last| share(of_left, &left.forms, first, last),
            |first, last| share(of_right, &right.forms, first, last),
        );
    };
    join(&left.single, &right.single, &mut of_left, &mut of_right);
    let chance = [(left, right), (right, left)].map(|(words, other)| by_chance(words, other));
    chance[0].iter().for_each(|&at| of_left[at] = WordRelation::Plain);
    chance[1].iter().for_each(|&at| of_right[at] = WordRelation::Plain);
    join(&left.single, &right.merged, &mut of_left, &mut of_right);
    join(&left.merged, &right.single, &mut of_left, &mut of_right);
    if let (Some(a), Some(b)) = (left.price, right.price) {
        let mark = match ratio(a.0, b.0) {
            _ if a.0 == b.0 => WordRelation::Shared,
            PriceRatio::Near => WordRelation::Variant,
            PriceRatio::Between => WordRelation::Plain,
            PriceRatio::Far => WordRelation::Differs,
        };
        // also where a part of it is shared by chance: 129 of 129.95
        of_left[a.1..=a.2].fill(mark);
        of_right[b.1..=b.2].fill(mark);
    }
    for a in left.first_quantities() {
        for b in right.first_quantities().filter(|b| a.amount == b.amount && a.unit.same(&b.unit)) {
            share(&mut of_left, &left.forms, a.first, a.last);
            share(&mut of_right, &right.forms, b.first, b.last);
        }
    }
    let open = |marks: &[WordRelation]| -> Vec<usize> {
        (0..marks.len().min(COMPARED)).filter(|&i| !marks[i].is_shared()).collect()
    };
    let (open_left, open_right) = (open(&of_left), open(&of_right));
    // a word may be a variant of a shared one too: `черн.` next to `черный` where `черный` is on both sides
    for (i, a) in left.forms.iter().enumerate().take(COMPARED) {
        for (j, b) in right.forms.iter().enumerate().take(COMPARED) {
            if !(of_left[i].is_shared() && of_right[j].is_shared()) && is_variant(a, b) {
                set(&mut of_left[i], WordRelation::Variant);
                set(&mut of_right[j], WordRelation::Variant);
            }
        }
    }
    for &i in &open_left {
        for &j in &open_right {
            if of_left[i] != WordRelation::Variant
                && of_right[j] != WordRelation::Variant
                && differs(&left.forms[i], &right.forms[j])
            {
                set(&mut of_left[i], WordRelation::Differs);
                set(&mut of_right[j], WordRelation::Differs);
            }
        }
    }
    for a in left.first_quantities().filter(|q| open_left.contains(&q.first)) {
        for b in right.first_quantities().filter(|q| open_right.contains(&q.first)) {
            if a.amount != b.amount && a.unit.same(&b.unit) {
                of_left[a.first..=a.last].iter_mut().for_each(|mark| set(mark, WordRelation::Differs));
                of_right[b.first..=b.last].iter_mut().for_each(|mark| set(mark, WordRelation::Differs));
            }
        }
    }
    (of_left, of_right)
}

/// Numbers of a text whose like in the other counts something else each time: the 100 of `100 г` and of `100%`.
fn by_chance(words: &Words, other: &Words) -> Vec<usize> {
    let kind = |q: &Quantity| if let Unit::Known(kind) = q.unit { Some(kind) } else { None };
    let mut found = Vec::new();
    for of in words.first_quantities().filter(|q| words.forms[q.first].is_number()) {
        let Some(own) = kind(of) else { continue };
        let number = &words.forms[of.first].text;
        let counts = |at: usize| {
            let found = other.quantities.binary_search_by_key(&at, |q| q.first).ok()?;
            kind(&other.quantities[found])
        };
        let like =
            |(at, form): (usize, &NormalizedWord)| form.text == *number && counts(at).is_none_or(|kind| kind == own);
        let amount = |q: &Quantity| kind(q) == Some(own) && q.amount == of.amount;
        if !other.forms.iter().enumerate().any(like) && !other.quantities.iter().any(amount) {
            found.push(of.first);
        }
    }
    found
}

fn set(mark: &mut WordRelation, to: WordRelation) {
    if *mark == WordRelation::Plain {
        *mark = to;
    }
}

/// Words of a side that are compared one by one: a title's; the tail of a long description is not worth its square.
const COMPARED: usize = 64;

/// Marks words as shared; those of a code as one, however their parts are shared too.
fn share(marks: &mut [WordRelation], forms: &[NormalizedWord], first: usize, last: usize) {
    let mark = if NormalizedWord::code(&forms[first..=last]) { WordRelation::Code } else { WordRelation::Shared };
    marks[first..=last].iter_mut().filter(|m| **m != WordRelation::Code).for_each(|m| *m = mark);
}

/// Reports the words of equal forms of two sorted lists, by first and last.
fn join(left: &[Key], right: &[Key], mut of_left: impl FnMut(usize, usize), mut of_right: impl FnMut(usize, usize)) {
    let (mut i, mut j) = (0, 0);
    while let (Some(a), Some(b)) = (left.get(i), right.get(j)) {
        if a.0 < b.0 {
            i += 1;
        } else if a.0 > b.0 {
            j += 1;
        } else {
            let hash = a.0;
            while let Some(&(_, first, last)) = left.get(i).filter(|f| f.0 == hash) {
                of_left(first as usize, last as usize);
                i += 1;
            }
            while let Some(&(_, first, last)) = right.get(j).filter(|f| f.0 == hash) {
                of_right(first as usize, last as usize);
                j += 1;
            }
        }
    }
}

/// The words of each text that the other lacks, as written but without punctuation around them, each once: what to look
/// at when asking why two texts are or are not the same thing.
pub fn differing_tokens(left: &str, right: &str) -> (Vec<String>, Vec<String>) {
    let words = [left, right].map(|text| Words::new(text, [(0, text.len(), false)]));
    let (of_left, of_right) = relations(&words[0], &words[1]);
    let lacking = |text: &str, words: &Words, marks: &[WordRelation]| {
        let mut found: Vec<String> = Vec::new();
        for (&(start, end), _) in words.spans.iter().zip(marks).filter(|(_, mark)| !mark.is_shared()) {
            let word = text[start as usize..end as usize].trim_matches(|c: char| !c.is_alphanumeric());
            if !found.iter().any(|f| f == word) {
                found.push(word.to_string());
            }
        }
        found
    };
    (lacking(left, &words[0], &of_left), lacking(right, &words[1], &of_right))
}

/// How many words of a text relate to another text in each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RelationCounts {
    /// Words.
    pub words: usize,
    /// Words that the other text has too, article codes included.
    pub shared: usize,
    /// Shared words that are article codes.
    pub codes: usize,
    /// Words that the other text has in another form.
    pub variants: usize,
    /// Words in whose place the other text has another number, code or attribute.
    pub differing: usize,
}

/// How the words of each text relate to the other's.
pub fn relation_counts(left: &str, right: &str) -> [RelationCounts; 2] {
    let words = [left, right].map(|text| Words::new(text, [(0, text.len(), false)]));
    let (of_left, of_right) = relations(&words[0], &words[1]);
    [of_left, of_right].map(|marks| {
        let count = |is: &dyn Fn(WordRelation) -> bool| marks.iter().filter(|mark| is(**mark)).count();
        RelationCounts {
            words: marks.len(),
            shared: count(&WordRelation::is_shared),
            codes: count(&|mark| mark == WordRelation::Code),
            variants: count(&|mark| mark == WordRelation::Variant),
            differing: count(&|mark| mark == WordRelation::Differs),
        }
    })
}

/// Whether a word of one text differs from one of the other: it cannot be the same thing.
#[cfg(test)]
pub(crate) fn excludes(left: &str, right: &str) -> bool {
    let words = [left, right].map(|text| Words::new(text, [(0, text.len(), false)]));
    let (of_left, of_right) = relations(&words[0], &words[1]);
    of_left.iter().chain(&of_right).any(|&relation| relation == WordRelation::Differs)
}

/// A number with a word at or after it, in thousandths: `25пак`, `2 аккум.`; and how many words follow the number's.
fn unknown_unit(word: &str, next: Option<&str>) -> Option<(NormalizedWord, u64, usize)> {
    let (number, unit, two) = number_and_unit(word, next)?;
    let unit = NormalizedWord::new(unit).filter(|_| unit.chars().all(char::is_alphabetic))?;
    Some((unit, (number * 1000.0).round() as u64, usize::from(two)))
}

/// A word that is several: halves joined by a slash (`д/посуды`, `black/white`), scripts that touch (`концентратPROSEPT`), a
/// number after an abbreviation (`уп.500шт`).
fn parts(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (part, more) = rest.split_at(seam(rest).unwrap_or(rest.len()));
        rest = more;
        Some(part)
    })
}

/// Where a word ends and the next one begins, though there is no space.
fn seam(word: &str) -> Option<usize> {
    if let Some(first) = word.find(char::is_numeric) {
        let before = word[..first].strip_suffix('.')?;
        return before.ends_with(char::is_alphabetic).then_some(first);
    }
    let cyrillic = |c: char| ('а'..='я').contains(&c) || ('А'..='Я').contains(&c) || matches!(c, 'ё' | 'Ё');
    // letters of one script so far, and how many
    let (mut script, mut run) = (None, 0);
    for (at, c) in word.char_indices() {
        let (before, after) = (&word[..at], &word[at..]);
        if c == '/' && before.contains(char::is_alphabetic) && after.contains(char::is_alphabetic) {
            return Some(at + 1);
        }
        let of = c.is_alphabetic().then(|| cyrillic(c));
        if let (Some(of), Some(old)) = (of, script)
            && of != old
        {
            let next = after.chars().take_while(|&n| n.is_alphabetic() && cyrillic(n) == of).count();
            if run >= SEAM && next >= SEAM {
                return Some(at);
            }
        }
        run = if of.is_some() && of == script { run + 1 } else { usize::from(of.is_some()) };
        script = of;
    }
    None
}

/// Letters that either script needs where two touch; fewer may be a slip of the keyboard.
const SEAM: usize = 3;

/// Where hashes of words begin; those of quantities begin at its complement.
const SEED: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, which can go on where it stopped: the hash of two words written together needs no string.
fn fnv(hash: u64, text: &str) -> u64 {
    text.bytes().fold(hash, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differing(left: &str, right: &str) -> (String, String) {
        let (l, r) = differing_tokens(left, right);
        (l.join(" "), r.join(" "))
    }

    #[test]
    fn written_together_or_apart() {
        assert_eq!(differing("Sony dsc-w120 /b", "sony DSCW120B"), ("".into(), "".into()));
        assert_eq!(differing("Гель 500мл", "гель / 500 мл"), ("".into(), "".into()));
        assert_eq!(differing("масло 5 л", "масло 5л"), ("".into(), "".into()));
        assert_eq!(differing("масло 0,5 л", "масло 0.5л"), ("".into(), "".into()));
        assert_eq!(differing("масло 0,5 л", "масло 500мл"), ("".into(), "".into()));
        assert_eq!(differing("масло 0,5 л", "масло 5 л"), ("0,5".into(), "5".into()));
        assert_eq!(differing("концентрат/1л x", "Концентрат / 1 л"), ("x".into(), "".into()));
        // two characters that are no number with a unit stay apart
        assert_eq!(differing("a b", "ab"), ("a b".into(), "ab".into()));
    }

    #[test]
    fn differences_are_found_in_order_and_once() {
        assert_eq!(
            differing("Гель «Лимон», 1,5 л (арт. 023-05) лимон", "гель Яблоко 15 л арт 023-06"),
            ("Лимон 1,5 023-05 лимон".into(), "Яблоко 15 023-06".into())
        );
        assert_eq!(differing("", "a a"), ("".into(), "a".into()));
    }

    #[test]
    fn fields_are_not_merged_across() {
        let text = "dsc w120";
        let whole = Words::new(text, [(0, 8, false)]);
        let apart = Words::new(text, [(0, 3, false), (4, 8, false)]);
        let code = Words::new("dscw120", [(0, 7, false)]);
        assert_eq!(relations(&whole, &code), (vec![WordRelation::Code; 2], vec![WordRelation::Code]));
        assert_eq!(relations(&apart, &code), (vec![WordRelation::Plain; 2], vec![WordRelation::Plain]));
    }

    /// Marks as letters: what is the same, near, different, or nothing.
    fn marks(left: &str, right: &str) -> (String, String) {
        let words = [left, right].map(|text| Words::new(text, [(0, text.len(), false)]));
        let (l, r) = relations(&words[0], &words[1]);
        let letters =
            |marks: Vec<WordRelation>| marks.iter().map(|&mark| [".", "s", "n", "d", "c"][mark as usize]).collect();
        (letters(l), letters(r))
    }

    #[test]
    fn marks_of_words() {
        for (left, right, of_left, of_right) in [
            ("гель 500 мл лимон", "гель 0,5 л яблоко", "sssd", "sssd"),
            ("гель 250мл лимон", "гель 0,5 л лимон", "sds", "sdds"),
            ("дрель 18 В", "Дрель 12 в", "sds", "sds"),
            ("monitor 27\" 144 Hz", "Monitor 27 inch, 165Hz", "ssdd", "sssd"),
            ("LCD 27in", "LCD 27\", 4K", "ss", "ss."),
            ("Sony dsc-w120", "sony DSC-W130 black", "sd", "sd."),
            ("Sony dsc-w120", "sony DSC-W120/B", "sn", "sn"),
            ("лампа E27", "Лампа E14", "sd", "sd"),
            ("кофе 80% 100 г", "кофе 100% 100 гр", "sdss", "sdss"),
            ("кофе 80% 100 г", "кофе 100% 250 гр", "sddd", "sddd"),
            ("чай 25пак", "чай 25 пакетиков", "ss", "sss"),
            ("дрель 2 аккум.", "дрель 1 аккумулятор", "sdn", "sdn"),
            ("AA pack of 4", "AA 4 pcs", "s..s", "sss"),
            ("AA pack of 4", "AA 12-pack", "s..d", "sd"),
            ("саморез 3,5 х 35 мм", "саморез 3.5x35", "ssss.", "ss"),
            ("Средстводлямытьястекол", "средство для мытья стекол", "s", "ssss"),
            ("Spray+ 1л", "spray 1 л", "ns", "nss"),
            ("саморез 3,5х35", "саморез 3,5 x 35 мм", "ss", "ssss."),
            ("саморез 3,5х35", "саморез 3.5x41 мм", "sd", "sd."),
            ("Ср-во д/посуды бел.", "Средство для посуды белое", "n.sn", "n.sn"),
            ("концентратPROSEPT UNIVERSALсостав", "Prosept состав", ".s.s", "ss"),
            ("гель уп.500шт", "гель (500 шт)", "s.s", "sss"),
            ("ВАЗa кот", "ваз КОТ", "ns", "ns"),
            ("cbl hdmi blk", "HDMI Cable, black", "nsn", "snn"),
            ("эмаль белая", "белый лак", ".n", "n."),
            ("Sony dsc-w120 /b", "sony DSCW120B", "scc", "sc"),
            ("гель 023-05 500мл", "гель 023-05, 0,5 л", "scs", "scss"),
            ("SSD Talmera 512GB", "SSD Veldan 512 GB", "s.s", "s.ss"),
            // the first is Cyrillic
            ("монитор ВС-120", "монитор BC-120", "sc", "sc"),
            ("монитор ВС 120", "монитор BC-120", "scc", "sc"),
            ("монитор ВС-120", "монитор BC-130", "sd", "sd"),
            ("лампа Е27", "лампа E27", "ss", "ss"),
            ("сот 5", "cot 5", ".s", ".s"),
        ] {
            assert_eq!(marks(left, right), (of_left.into(), of_right.into()), "{left} | {right}");
            assert_eq!(marks(right, left), (of_right.into(), of_left.into()), "{right} | {left}");
        }
    }

    #[test]
    fn prices_are_compared_as_amounts() {
        use WordRelation::*;
        for (left, right, mark) in [
            ("$129.95", "$129.99", Variant),
            ("$129.95", "129.95", Shared),
            ("$129.95", "$199.00", Plain),
            ("129.00", "$299.00", Differs),
            ("1 290 руб.", "1 350 руб.", Variant),
        ] {
            let words = [left, right].map(|value| {
                let text = format!("гель {value}");
                Words::new(&text, [(0, 8, false), (9, text.len(), false)])
            });
            let (l, r) = relations(&words[0], &words[1]);
            assert!(l[0].is_shared() && l[1..].iter().chain(&r[1..]).all(|m| *m == mark), "{left} {right} {l:?} {r:?}");
        }
    }
}
