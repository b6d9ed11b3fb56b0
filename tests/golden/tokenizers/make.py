"""Ids that Python gives to texts with vocabularies grown by `sverka tokenizer train`. Run: python tests/golden/tokenizers/make.py SVERKA

SVERKA is the program. It grows a vocabulary of every kind on corpus.txt into a temporary folder; `transformers` loads the folder and
cuts texts.txt. Words, characters and hashed n-grams are also cut by the plain Python below, which shares no code with either.
Writes ids.json: for every variant its arguments, its size, and the ids of every text with and without special tokens.
"""

import json
import os
import subprocess
import sys
import tempfile
import unicodedata
from collections import Counter

from transformers import AutoTokenizer, BertTokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VARIANTS = {
    "word": ["--kind", "word", "--vocab-size", "120"],
    "word-whole": ["--kind", "word", "--vocab-size", "120", "--codes", "space", "--cased", "--min-frequency", "1"],
    "char": ["--kind", "char", "--vocab-size", "140"],
    "bpe": ["--kind", "bpe", "--vocab-size", "400"],
    "byte-bpe": ["--kind", "byte-bpe", "--vocab-size", "420", "--cased", "--digits", "group"],
    "byte-bpe-borders": ["--kind", "byte-bpe", "--vocab-size", "400", "--codes", "borders", "--strip-accents=all"],
    "wordpiece": ["--kind", "wordpiece", "--vocab-size", "400"],
    "wordpiece-cased": ["--kind", "wordpiece", "--vocab-size", "500", "--cased", "--digits", "single", "--special", "[BRAND]"],
    "wordpiece-borders": ["--kind", "wordpiece", "--vocab-size", "400", "--codes", "borders", "--strip-accents"],
    "wordpiece-folded": ["--kind", "wordpiece", "--vocab-size", "400", "--strip-accents=all"],
    "unigram": ["--kind", "unigram", "--vocab-size", "300", "--digits", "group"],
    "unigram-whole": ["--kind", "unigram", "--vocab-size", "300", "--codes", "space"],
    "ngram-hash": ["--kind", "ngram-hash", "--vocab-size", "50000"],
    "ngram-hash-3-6": ["--kind", "ngram-hash", "--vocab-size", "2000", "--ngrams", "3-6", "--cased"],
}


def lines(name):
    with open(os.path.join(HERE, name), encoding="utf-8") as file:
        return [line.rstrip("\n") for line in file if line.strip()]


def is_punctuation(c):
    return (c.isascii() and not c.isalnum() and c.isprintable() and c != " ") or unicodedata.category(c).startswith("P")


def words(text, lower, whole):
    text = text.replace("\ufffd", "")  # as BERT's tokenizer does
    text = "".join(" " if c.isspace() else c for c in text if not unicodedata.category(c).startswith("C") or c.isspace())
    text = "".join(f" {c} " if 0x4E00 <= ord(c) <= 0x9FFF else c for c in text)  # BERT's rule for Chinese signs
    text = text.lower() if lower else text
    if whole:
        return text.split()
    return "".join(f" {c} " if is_punctuation(c) else c for c in text).split()


def word_vocabulary(corpus, lower, whole, size, least):
    counts = Counter(word for line in corpus for word in words(line, lower, whole))
    kept = sorted((w for w in counts if counts[w] >= least), key=lambda w: (-counts[w], w.encode()))
    return SPECIAL + kept[: size - len(SPECIAL)]


def char_pieces(text):
    """`▁` before every word between white space, cut at punctuation, then into characters: all characters in order."""
    return [c for word in words(text, True, True) for c in "▁" + word]


def char_vocabulary(corpus, size, least):
    counts = Counter(c for line in corpus for c in char_pieces(line))
    counts = Counter({c: n for c, n in counts.items() if n >= least})
    base = set("abcdefghijklmnopqrstuvwxyz0123456789ё▁") | {chr(c) for c in range(ord("а"), ord("я") + 1)}
    others = [c for c in counts if counts[c] >= least and c not in base]
    others = sorted(others, key=lambda c: (-counts[c], c))[: size - len(SPECIAL) - len(base)]
    return SPECIAL + sorted(base | set(others), key=lambda c: (-counts[c], c))


def fasttext_hash(text):
    h = 2166136261
    for byte in text.encode("utf-8"):
        signed = byte - 256 if byte > 127 else byte
        h = ((h ^ (signed & 0xFFFFFFFF)) * 16777619) & 0xFFFFFFFF
    return h


def ngrams(text, lower, low, high, buckets):
    ids = []
    for word in words(text, lower, False):
        word = f"<{word}>"
        for start in range(len(word)):
            for length in range(low, high + 1):
                if start + length <= len(word) and not (length == 1 and (start == 0 or start + 1 == len(word))):
                    ids.append(len(SPECIAL) + fasttext_hash(word[start : start + length]) % buckets)
    return ids


def reference(name, corpus, text):
    """Ids by plain Python; None for kinds whose pieces are learnt."""
    if name in ("word", "word-whole"):
        whole = name == "word-whole"
        vocabulary = word_vocabulary(corpus, not whole, whole, 120, 1 if whole else 2)
        ids = {piece: i for i, piece in enumerate(vocabulary)}
        return [ids.get(word, 1) for word in words(text, not whole, whole)]
    if name == "char":
        ids = {piece: i for i, piece in enumerate(char_vocabulary(corpus, 140, 2))}
        return [ids.get(c, 1) for c in char_pieces(text)]
    if name == "ngram-hash":
        return ngrams(text, True, 3, 3, 50000 - len(SPECIAL))
    if name == "ngram-hash-3-6":
        return ngrams(text, False, 3, 6, 2000 - len(SPECIAL))
    return None


def main():
    program = os.path.abspath(sys.argv[1])
    corpus, texts = lines("corpus.txt"), lines("texts.txt")
    out = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, arguments in VARIANTS.items():
            path = os.path.join(folder, name)
            command = [program, "tokenizer", "train", os.path.join(HERE, "corpus.txt"), *arguments, "--out", path, "-q"]
            subprocess.run(command, check=True)
            plain = [reference(name, corpus, text) for text in texts]
            if name.startswith("ngram"):
                size, ids, framed = int(arguments[arguments.index("--vocab-size") + 1]), plain, None
            else:
                tokenizer = AutoTokenizer.from_pretrained(path, split_special_tokens=True)  # as Sverka reads a user's text
                size = len(tokenizer)
                ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
                pair = tokenizer(texts[0], texts[1])
                framed = {"ids": pair["input_ids"], "types": pair["token_type_ids"]}
                assert tokenizer.mask_token_id == 4 and tokenizer.pad_token_id == 0, name
                for text, theirs, ours in zip(texts, ids, plain):
                    assert ours is None or ours == theirs, (name, text, ours, theirs)
                if name in ("wordpiece", "wordpiece-folded"):
                    # vocab.txt and the settings alone are enough
                    os.remove(os.path.join(path, "tokenizer.json"))
                    bare = BertTokenizer.from_pretrained(path, split_special_tokens=True)
                    assert ids == [bare(text, add_special_tokens=False)["input_ids"] for text in texts], name
            out[name] = {"arguments": arguments, "size": size, "ids": ids, "pair": framed}
    with open(os.path.join(HERE, "ids.json"), "w", encoding="utf-8") as file:
        json.dump(out, file, separators=(",", ":"))
        file.write("\n")
    print({name: variant["size"] for name, variant in out.items()})


if __name__ == "__main__":
    main()
