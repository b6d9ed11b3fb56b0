"""Hashes of the ids of 3,000 held-out titles and 7,000 lines of plays. Run: python tests/golden/tokenizers/at_size.py SVERKA DATA

SVERKA is the program, DATA the folder of public sets (../shared/data). As make.py, on texts that may not be committed: SVERKA grows a
vocabulary of every kind on the other titles and lines, `transformers` cuts the held-out ones; words, characters and hashed n-grams are
cut by plain Python as well. Writes at_size.json: for every variant a hash of its pieces and one of the ids of every 100 texts.
"""

import csv
import gzip
import hashlib
import json
import os
import struct
import subprocess
import sys
import tempfile

from transformers import AutoTokenizer

from make import HERE, SPECIAL, char_pieces, char_vocabulary, ngrams, word_vocabulary, words

BLOCK = 100
VARIANTS = {
    "word": ["--kind", "word", "--vocab-size", "8000"],
    "char": ["--kind", "char", "--vocab-size", "300"],
    "bpe": ["--kind", "bpe", "--vocab-size", "8000"],
    "bpe-cased": ["--kind", "bpe", "--vocab-size", "8000", "--cased", "--digits", "single"],
    "byte-bpe": ["--kind", "byte-bpe", "--vocab-size", "8000"],
    "wordpiece": ["--kind", "wordpiece", "--vocab-size", "8000"],
    "wordpiece-cased": ["--kind", "wordpiece", "--vocab-size", "8000", "--cased", "--codes", "borders"],
    "unigram": ["--kind", "unigram", "--vocab-size", "3000"],
    "ngram-hash": ["--kind", "ngram-hash", "--vocab-size", "50000"],
    "ngram-hash-3-6": ["--kind", "ngram-hash", "--vocab-size", "200000", "--ngrams", "3-6", "--cased"],
}
TABLES = [
    ("products/amazon-google/tableA.csv", "title", ","),
    ("products/amazon-google/tableB.csv", "title", ","),
    ("products/abt-buy/tableA.csv", "name", ","),
    ("products/abt-buy/tableB.csv", "name", ","),
    ("prosept/marketing_product.csv", "name", ";"),
    ("prosept/Dealer_product.csv", "product_name", ","),
]
PAIRS = ["wdc/computers/train.txt.medium", "wdc/cameras/train.txt.medium"]


def titles(data):
    """All different titles, in the order of the files."""
    found = {}
    for name, column, delimiter in TABLES:
        with open(os.path.join(data, name), encoding="utf-8", newline="") as file:
            found.update((row[column], None) for row in csv.DictReader(file, delimiter=delimiter))
    for name in PAIRS:
        with open(os.path.join(data, name), encoding="utf-8", newline="\n") as file:
            for line in file:
                found.update((side.removeprefix("COL title VAL "), None) for side in line.split("\t")[:2])
    assert not any("\n" in title or "\r" in title for title in found)
    return [title for title in found if title.strip(" ")]


def plays(data):
    with gzip.open(os.path.join(data, "russian-text/plays.txt.gz"), "rt", encoding="utf-8", newline="\n") as file:
        return [line.removesuffix("\n") for line in file]


def divide(data):
    """Texts that are learnt from, and held-out ones: 3,000 titles and 7,000 lines."""
    every, lines = titles(data), plays(data)
    held_out = [t for i, t in enumerate(every) if i % 4 == 3][:3000] + [t for i, t in enumerate(lines) if i % 16 == 5][:7000]
    assert len(held_out) == 10_000
    return [t for i, t in enumerate(every) if i % 4 != 3] + lines[::16], held_out


def digest(parts):
    h = hashlib.sha256()
    for part in parts:
        h.update(part)
    return h.hexdigest()[:12]


def blocks(texts, as_bytes):
    return [digest(as_bytes(text) + b"\xff\xff\xff\xff" for text in texts[i : i + BLOCK]) for i in range(0, len(texts), BLOCK)]


def reference(name, corpus, arguments):
    """A function from text to ids in plain Python, with its pieces; None for kinds whose pieces are learnt."""
    size, lower = int(arguments[3]), "--cased" not in arguments
    if name == "word":
        pieces = word_vocabulary(corpus, True, False, size, 2)
        ids = {piece: i for i, piece in enumerate(pieces)}
        return pieces, lambda text: [ids.get(word, 1) for word in words(text, True, False)]
    if name == "char":
        pieces = char_vocabulary(corpus, size, 2)
        ids = {piece: i for i, piece in enumerate(pieces)}
        return pieces, lambda text: [ids.get(c, 1) for c in char_pieces(text)]
    if name.startswith("ngram-hash"):
        longest = 6 if name.endswith("6") else 3
        return None, lambda text: ngrams(text, lower, 3, longest, size - len(SPECIAL))
    return None, None


def main():
    program, data = os.path.abspath(sys.argv[1]), sys.argv[2]
    corpus, texts = divide(data)
    out = {"texts": blocks(texts, str.encode), "corpus": digest(text.encode() + b"\n" for text in corpus), "variants": {}}
    with tempfile.TemporaryDirectory() as folder:
        train = os.path.join(folder, "corpus.txt")
        with open(train, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(text + "\n" for text in corpus)
        for name, arguments in VARIANTS.items():
            path = os.path.join(folder, name)
            command = [program, "tokenizer", "train", train, *arguments, "--out", path, "-q"]
            subprocess.run(command, check=True)
            pieces, plain = reference(name, corpus, arguments)
            if name.startswith("ngram"):
                ids = [plain(text) for text in texts]
            else:
                tokenizer = AutoTokenizer.from_pretrained(path, split_special_tokens=True)  # as Sverka reads a user's text
                theirs = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
                assert pieces is None or pieces == theirs, [(a, b) for a, b in zip(pieces, theirs) if a != b][:5]
                pieces = theirs
                ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
                for text, own in zip(texts, ids):
                    assert plain is None or plain(text) == own, (name, text, plain(text), own)
            out["variants"][name] = {
                "arguments": arguments,
                "tokens": sum(map(len, ids)),
                "pieces": digest(piece.encode() + b"\n" for piece in pieces or []),
                "ids": blocks(ids, lambda ids: struct.pack(f"<{len(ids)}I", *ids)),
            }
            print(name, out["variants"][name]["tokens"], flush=True)
    with open(os.path.join(HERE, "at_size.json"), "w", encoding="utf-8") as file:
        json.dump(out, file, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()
