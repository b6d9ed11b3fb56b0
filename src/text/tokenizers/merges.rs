//! Byte-pair merges: the most frequent pair of neighbours becomes a piece, again and again (Sennrich et al. 2016; WordPiece's pieces are
//! grown the same way in Hugging Face's `tokenizers`, and so here).
//!
//! The pieces are those of that library's trainer (a test compares them). All words lie in one array of piece numbers, a swallowed
//! piece leaves a gap, and a pair knows its places: 12 bytes a letter. Of two pairs that come equally often the one with the smaller
//! numbers is first, and numbers are given in the order of Unicode, so that every run gives the same bits.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

/// How a piece shows where in its word it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marks {
    /// It does not.
    None,
    /// `##` before all but the first.
    Inside,
    /// `</w>` after the last.
    End,
}

/// WordPiece's mark.
pub(super) const INSIDE: &str = "##";
/// BPE's mark.
pub(super) const END: &str = "</w>";

/// Pieces by number, and the pairs that were merged, the first first.
pub(super) struct Merged {
    pub(super) pieces: Vec<String>,
    pub(super) pairs: Vec<(u32, u32)>,
}

/// Settings of [`merge`].
pub(super) struct Limits {
    pub(super) pieces: usize,
    pub(super) min_frequency: u64,
}

/// A swallowed piece.
const GONE: u32 = u32::MAX;

type Pair = (u32, u32);

/// Grows pieces from words with their counts (sorted, so that all is the same every time).
pub(super) fn merge(
    words: &[(&str, u64)],
    special: &[String],
    alphabet: &[char],
    marks: Marks,
    limits: Limits,
    step: &mut dyn FnMut(usize),
) -> Merged {
    let mut pieces = special.to_vec();
    let forms = forms(alphabet, marks, &mut pieces);
    let mut state = State::new(words, &forms);
    let mut known: HashMap<String, u32> = pieces.iter().cloned().zip(0..).collect();
    let mut pairs = Vec::new();
    while pieces.len() < limits.pieces {
        let Some((pair, places)) = state.most_frequent(limits.min_frequency) else { break };
        let (first, second) = (&pieces[pair.0 as usize], &pieces[pair.1 as usize]);
        let second = if marks == Marks::Inside { second.strip_prefix(INSIDE).unwrap_or(second) } else { second };
        let piece = format!("{first}{second}");
        let id = *known.entry(piece).or_insert_with_key(|piece| {
            pieces.push(piece.clone());
            pieces.len() as u32 - 1
        });
        state.merge(pair, id, places);
        pairs.push(pair);
        step(pieces.len());
    }
    Merged { pieces, pairs }
}

/// How many pieces an alphabet is.
pub(super) fn pieces_of(alphabet: usize, marks: Marks) -> usize {
    if marks == Marks::None { alphabet } else { 2 * alphabet }
}

/// The numbers of a character where it is first, inside and last, and alone.
struct Forms {
    ids: HashMap<char, (u32, u32)>,
    marks: Marks,
}

fn forms(alphabet: &[char], marks: Marks, pieces: &mut Vec<String>) -> Forms {
    let plain = pieces.len() as u32;
    pieces.extend(alphabet.iter().map(char::to_string));
    let marked = if marks == Marks::None { plain } else { pieces.len() as u32 };
    match marks {
        Marks::None => {}
        Marks::Inside => pieces.extend(alphabet.iter().map(|c| format!("{INSIDE}{c}"))),
        Marks::End => pieces.extend(alphabet.iter().map(|c| format!("{c}{END}"))),
    }
    Forms { ids: alphabet.iter().copied().zip((plain..).zip(marked..)).collect(), marks }
}

impl Forms {
    fn id(&self, c: char, is_first: bool, is_last: bool) -> Option<u32> {
        let &(plain, marked) = self.ids.get(&c)?;
        let is_marked = match self.marks {
            Marks::None => false,
            Marks::Inside => !is_first,
            Marks::End => is_last,
        };
        Some(if is_marked { marked } else { plain })
    }
}

struct State {
    /// Piece numbers of all words, one after another, `[letter]`.
    ids: Vec<u32>,
    /// The word of each place, `[letter]`; an unknown character ends one.
    word: Vec<u32>,
    /// How often each word comes.
    counts: Vec<u64>,
    /// How often each pair comes, and where.
    pairs: Table<(i64, Vec<u32>)>,
    /// Pairs by how often they came when they were put here.
    heap: BinaryHeap<(u64, Reverse<Pair>)>,
}

impl State {
    fn new(words: &[(&str, u64)], forms: &Forms) -> Self {
        let (mut ids, mut word, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        for &(text, count) in words {
            counts.push(count);
            let mut letters = text.chars().enumerate().peekable();
            while let Some((i, c)) = letters.next() {
                match forms.id(c, i == 0, letters.peek().is_none()) {
                    Some(id) => {
                        ids.push(id);
                        word.push(counts.len() as u32 - 1);
                    }
                    None => counts.push(count),
                }
            }
        }
        let mut pairs: Table<(i64, Vec<u32>)> = Table::default();
        for place in 1..ids.len() {
            if word[place - 1] == word[place] {
                let known = pairs.entry((ids[place - 1], ids[place])).or_default();
                known.0 += counts[word[place] as usize] as i64;
                known.1.push(place as u32 - 1);
            }
        }
        let heap = pairs.iter().map(|(pair, known)| (known.0 as u64, Reverse(*pair))).collect();
        State { ids, word, counts, pairs, heap }
    }

    /// Takes the most frequent pair and its places.
    fn most_frequent(&mut self, least: u64) -> Option<(Pair, Vec<u32>)> {
        while let Some((count, Reverse(pair))) = self.heap.pop() {
            let now = self.pairs.get(&pair).map_or(0, |known| known.0.max(0) as u64);
            if now == 0 || now < least {
                continue;
            }
            if now != count {
                self.heap.push((now, Reverse(pair)));
                continue;
            }
            return self.pairs.remove(&pair).map(|known| (pair, known.1));
        }
        None
    }

    fn merge(&mut self, (first, second): Pair, new: u32, mut places: Vec<u32>) {
        places.sort_unstable();
        places.dedup();
        let mut grown: Vec<Pair> = Vec::new();
        for place in places {
            let at = place as usize;
            let Some(next) = self.next(at).filter(|&next| self.ids[at] == first && self.ids[next] == second) else {
                continue;
            };
            let count = self.counts[self.word[at] as usize] as i64;
            if let Some(before) = self.before(at) {
                let left = self.ids[before];
                self.less((left, first), count);
                self.more((left, new), count, before, &mut grown);
            }
            if let Some(after) = self.next(next) {
                let right = self.ids[after];
                self.less((second, right), count);
                self.more((new, right), count, at, &mut grown);
            }
            self.ids[at] = new;
            self.ids[next] = GONE;
        }
        // of overlapping places (`aaa`) some are left over and are no pair any more
        self.pairs.remove(&(first, second));
        grown.sort_unstable();
        grown.dedup();
        for pair in grown {
            if let Some(count) = self.pairs.get(&pair).map(|known| known.0).filter(|&count| count > 0) {
                self.heap.push((count as u64, Reverse(pair)));
            }
        }
    }

    fn less(&mut self, pair: Pair, count: i64) {
        if let Some(known) = self.pairs.get_mut(&pair) {
            known.0 -= count;
        }
    }

    fn more(&mut self, pair: Pair, count: i64, place: usize, grown: &mut Vec<Pair>) {
        let known = self.pairs.entry(pair).or_default();
        known.0 += count;
        known.1.push(place as u32);
        if grown.last() != Some(&pair) {
            grown.push(pair);
        }
    }

    fn next(&self, at: usize) -> Option<usize> {
        let word = self.word[at];
        (at + 1..self.ids.len()).take_while(|&i| self.word[i] == word).find(|&i| self.ids[i] != GONE)
    }

    fn before(&self, at: usize) -> Option<usize> {
        let word = self.word[at];
        (0..at).rev().take_while(|&i| self.word[i] == word).find(|&i| self.ids[i] != GONE)
    }
}

/// A map by pairs of numbers; the library's own hash is made for keys of an enemy.
type Table<V> = HashMap<Pair, V, BuildHasherDefault<Mix>>;

/// Fibonacci hashing of two numbers.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|b| self.write_u32(*b as u32));
    }
    fn write_u32(&mut self, n: u32) {
        self.0 = (self.0.rotate_left(5) ^ n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests {
    use tokenizers::Trainer;
    use tokenizers::models::bpe::{BPE, BpeTrainer};

    use super::*;

    /// Words that look like a shop's, with counts.
    fn words() -> Vec<(String, u64)> {
        let (mut state, mut words) = (7u64, HashMap::new());
        let syllables = ["мо", "ни", "тор", "чер", "ный", "блу", "тул", "pro", "lite", "x1", "22", "a", "aa", "900"];
        for _ in 0..4000 {
            let mut word = String::new();
            for _ in 0..3 {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let pick = (state >> 33) as usize;
                word.push_str(syllables[pick % syllables.len()]);
                if pick.is_multiple_of(5) {
                    break;
                }
            }
            *words.entry(word).or_insert(0) += 1 + (state >> 60);
        }
        let mut words: Vec<_> = words.into_iter().collect();
        words.sort();
        words
    }

    #[test]
    fn pieces_are_those_of_the_tokenizers_library() {
        let words = words();
        for (min_frequency, size) in [(1, 5000), (2, 120), (40, 400)] {
            let mut trainer = BpeTrainer::new(min_frequency, size);
            trainer.show_progress = false;
            let texts = words.iter().flat_map(|(word, count)| std::iter::repeat_n(word, *count as usize));
            trainer.feed(texts, |word| Ok(vec![word.to_string()])).unwrap();
            let mut theirs = BPE::default();
            trainer.train(&mut theirs).unwrap();
            let json = serde_json::to_value(&theirs).unwrap();

            let mut alphabet: Vec<char> = words.iter().flat_map(|w| w.0.chars()).collect();
            alphabet.sort_unstable();
            alphabet.dedup();
            let borrowed: Vec<(&str, u64)> = words.iter().map(|(w, c)| (w.as_str(), *c)).collect();
            let limits = Limits { pieces: size, min_frequency };
            let ours = merge(&borrowed, &[], &alphabet, Marks::None, limits, &mut |_| ());
            let vocabulary: Vec<&String> = json["vocab"].as_object().unwrap().keys().collect();
            assert_eq!(ours.pieces.iter().collect::<Vec<_>>(), vocabulary);
            // a pair that is merged twice is written once there, at its later place
            let text = |pair: &Pair| [pair.0, pair.1].map(|id| ours.pieces[id as usize].clone());
            let ours: Vec<[String; 2]> = ours.pairs.iter().map(text).collect();
            let theirs: Vec<[String; 2]> = serde_json::from_value(json["merges"].clone()).unwrap();
            assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn marks_say_where_in_a_word_a_piece_is() {
        let words = [("aab", 5), ("b", 3), ("baab", 4)];
        let grow = |marks| {
            let limits = Limits { pieces: 100, min_frequency: 1 };
            merge(&words, &["[UNK]".into()], &['a', 'b'], marks, limits, &mut |_| ()).pieces
        };
        let inside = grow(Marks::Inside);
        assert_eq!(inside[..5], ["[UNK]", "a", "b", "##a", "##b"]);
        assert!(inside.contains(&"aab".to_string()) && inside.contains(&"baab".to_string()), "{inside:?}");
        let end = grow(Marks::End);
        assert_eq!(end[..5], ["[UNK]", "a", "b", "a</w>", "b</w>"]);
        assert!(end.contains(&"aab</w>".to_string()), "{end:?}");
    }

    #[test]
    fn repeated_letters_and_unknown_ones_merge_without_harm() {
        let words = [("aaaaaaa", 3), ("aa?aa", 2), ("?", 9)];
        let limits = Limits { pieces: 50, min_frequency: 1 };
        let merged = merge(&words, &[], &['a'], Marks::None, limits, &mut |_| ());
        assert!(merged.pieces.contains(&"aaaaaaa".to_string()) && merged.pieces.iter().all(|p| !p.contains('?')));
    }
}
