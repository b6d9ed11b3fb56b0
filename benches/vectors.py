#!/usr/bin/env python3
"""`sverka vectors train` against gensim: the same words, the same settings, Spearman on Russian STS-B and words a second.

    python benches/vectors.py --program target/release/sverka --data ../shared/data [--seeds 1,2,3] [--models skipgram,cbow,fasttext]

The corpus is the Russian plays and product titles. Words are cut once, here (runs of letters and digits, in lower case), and written one
text a line with spaces between, so that both programs read the same words (`--at-spaces`). A sentence is the mean of its words' vectors,
both programs' read from the same kind of file by the same code. Of fastText only words of the vocabulary count, in both.
Seconds are of training alone, without reading the texts: for gensim the one call that trains, for sverka what it prints.
Prints a table in Markdown. Needs gensim, numpy and scipy (gensim==4.4.0, see benches/requirements.txt).
"""

import argparse
import csv
import gzip
import json
import re
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

WORD = re.compile(r"[^\W_]+")
TABLES = ["products/amazon-google/tableA.csv", "products/amazon-google/tableB.csv", "products/abt-buy/tableA.csv",
          "products/abt-buy/tableB.csv", "prosept/Dealer_product.csv"]
# rates are each program's defaults of word2vec and fastText
MODELS = {"skipgram": 0.025, "cbow": 0.05, "fasttext": 0.05}
SETTINGS = {"dim": 100, "window": 5, "min_count": 5, "negatives": 5, "sample": 1e-3, "pieces": (3, 6), "buckets": 200_000}


def words(text):
    return WORD.findall(text.lower())


def corpus(data):
    with gzip.open(data / "russian-text/plays.txt.gz", "rt", encoding="utf-8") as file:
        texts = [words(line) for line in file]
    for name in TABLES:
        with open(data / name, encoding="utf-8", newline="") as file:
            texts += [words(row.get("title") or row.get("name") or row.get("product_name") or "") for row in csv.DictReader(file)]
    return [text[i : i + 1000] for text in texts for i in range(0, len(text), 1000)]  # both cut there


def sts(data):
    with open(data / "encodechka/stsb_dev.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [(words(r["sentence1"]), words(r["sentence2"]), float(r["similarity_score"])) for r in rows]


def spearman(vectors, pairs):
    def mean(text):
        rows = [vectors[w] for w in text if w in vectors]
        return np.mean(rows, axis=0) if rows else np.zeros(SETTINGS["dim"])

    def cosine(a, b):
        return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-12))

    return spearmanr([cosine(mean(a), mean(b)) for a, b, _ in pairs], [score for *_, score in pairs]).statistic


def sverka(program, model, seed, epochs, threads, lines, folder):
    out = folder / f"{model}-{seed}.vec"
    s = SETTINGS
    command = [program, "vectors", "train", lines, "--at-spaces", "--model", model, "--out", out, "--dim", s["dim"], "--window", s["window"],
               "--epochs", epochs, "--min-count", s["min_count"], "--negatives", s["negatives"], "--sample", s["sample"],
               "--rate", MODELS[model], "--pieces", "{},{}".format(*s["pieces"]), "--buckets", s["buckets"], "--seed", seed,
               "--threads", threads, "--json", "-q"]
    answer = json.loads(subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout)
    with open(out, encoding="utf-8") as file:
        next(file)
        rows = (line.rstrip().split(" ") for line in file)
        vectors = {row[0]: np.array(row[1:], dtype=np.float32) for row in rows}
    return vectors, answer["seconds"], answer["kept_tokens"]


def gensim(model, seed, epochs, threads, lines, folder):
    from gensim.models import FastText, Word2Vec

    s = SETTINGS
    common = dict(vector_size=s["dim"], window=s["window"], min_count=s["min_count"], negative=s["negatives"], sample=s["sample"],
                  alpha=MODELS[model], min_alpha=1e-4, epochs=epochs, workers=threads, seed=seed, sg=int(model != "cbow"), hs=0)
    if model == "fasttext":
        common.update(min_n=s["pieces"][0], max_n=s["pieces"][1], bucket=s["buckets"])
    kind = FastText if model == "fasttext" else Word2Vec
    trained = kind(**common)
    trained.build_vocab(corpus_file=str(lines))
    start = time.perf_counter()
    trained.train(corpus_file=str(lines), total_examples=trained.corpus_count, total_words=trained.corpus_total_words, epochs=epochs)
    seconds = time.perf_counter() - start
    keys = trained.wv.index_to_key
    return {word: trained.wv[word] for word in keys}, seconds, sum(trained.wv.get_vecattr(w, "count") for w in keys)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/release/sverka")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    pairs = sts(args.data)
    print("| model | Spearman, sverka | gensim | difference | words/s, sverka | gensim | ratio |\n" + "| --- " * 7 + "|")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        lines = folder / "corpus.txt"
        lines.write_text("".join(" ".join(text) + "\n" for text in corpus(args.data)), encoding="utf-8")
        for model in args.models.split(","):
            scores, speeds = {"sverka": [], "gensim": []}, {"sverka": [], "gensim": []}
            for seed in map(int, args.seeds.split(",")):
                ours = sverka(Path(args.program).resolve(), model, seed, args.epochs, args.threads, lines, folder)
                theirs = gensim(model, seed, args.epochs, args.threads, lines, folder)
                assert ours[0].keys() == theirs[0].keys() and ours[2] == theirs[2], "other words were read"
                for name, (vectors, seconds, tokens) in (("sverka", ours), ("gensim", theirs)):
                    scores[name].append(spearman(vectors, pairs))
                    speeds[name].append(tokens * args.epochs / seconds)
            a, b = (np.mean(scores[n]) for n in ("sverka", "gensim"))
            x, y = (np.median(speeds[n]) for n in ("sverka", "gensim"))
            spread = [f"{np.mean(v):.4f} ({', '.join(f'{s:.4f}' for s in v)})" for v in (scores["sverka"], scores["gensim"])]
            print(f"| {model} | {spread[0]} | {spread[1]} | {a - b:+.4f} | {x:,.0f} | {y:,.0f} | {x / y:.2f} |", flush=True)


if __name__ == "__main__":
    main()
