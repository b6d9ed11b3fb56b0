#!/usr/bin/env python3
"""Scores of rankers over a small file of word vectors, and of DSSM over hashed letter trigrams, by PyTorch.

    python tests/golden/words/make.py            (torch, transformers)

Writes words.vec (random) and expected.json. The rankers' own programs (tests/golden/knrm and others) are run with other tokens and vectors: a text is cut
at signs and in lower case, and a word that the file lacks has zeros. DSSM over trigrams as published (Huang et al., CIKM 2013): counts of trigrams through
300, 300 and 128 units, tanh; buckets by FastText's hash.
"""

import importlib.util
import json
import math
import re
import sys
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import matrices  # noqa: E402

SPECIAL, DIM, BUCKETS, WIDTH = 5, 12, 30_000, 300
WORDS = "red lamp steel camera sony dsc w100 black 12 usb cable лампа красная".split()
QUERIES = ["Red lamp, steel", "SONY DSC-W100", "лампа красная 12", "unknown thing", ""]
DOCUMENTS = ["lamp (red)", "sony camera dsc w100, black", "Лампа 12 красная лампа", "usb cable; steel cable", "nothing known", ""]


def words_of(text):
    return re.findall(r"[^\W_]+", text.lower())


torch.manual_seed(7)
TABLE = torch.cat([torch.zeros(SPECIAL, DIM), torch.tensor([[round(v, 5) for v in row] for row in torch.randn(len(WORDS), DIM).tolist()])])


def pair(query, document, vectors):
    ids = [[SPECIAL + WORDS.index(w) if w in WORDS else 1 for w in words_of(text)] for text in (query, document)]
    rows = [TABLE[torch.tensor(i, dtype=torch.long)][None] for i in ids]
    return ids[0], ids[1], rows[0], rows[1], None


matrices.pair = pair


def program(name):
    spec = importlib.util.spec_from_file_location(name, HERE.parent / name / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.score


def cosine(a, b):
    unit = [x / torch.sqrt((x * x).sum() + 1e-24) for x in (a, b)]
    return (unit[0] @ unit[1]).item()


def dssm_static(query, document, settings):
    _, _, q, d, _ = pair(query, document, "static")
    mean = [x[0].sum(0) / max(x.shape[1], 1) for x in (q, d)]
    return cosine(*mean)


def fnv(text):
    value = 2166136261
    for byte in text.encode():
        value = ((value ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * 16777619) & 0xFFFFFFFF
    return value


def row(number):
    return torch.tensor([0.3 * math.sin(1.7 * i + 1.0) for i in range(number * WIDTH, (number + 1) * WIDTH)], dtype=torch.float32)


def trigrams(text):
    x = row(2).clone()  # [CLS] is the bias
    # each sign is a word, as BERT cuts
    for word in re.findall(r"[^\W_]+|[^\w\s]", text.lower()):
        bounded = f"<{word}>"
        for at in range(len(bounded) - 2):
            x += row(SPECIAL + fnv(bounded[at : at + 3]) % BUCKETS)
    hidden = torch.tanh(matrices.head(300, WIDTH) @ torch.tanh(x) + matrices.head(300))
    return torch.tanh(matrices.head(128, 300) @ hidden + matrices.head(128))


def dssm_trigrams(query, document, settings):
    return cosine(trigrams(query), trigrams(document))


CASES = [
    ("knrm", {"vectors": "static"}, program("knrm")),
    ("drmm", {"vectors": "static", "histogram": "log_count", "exact_bin": True, "gating": "vector"}, program("drmm")),
    ("drmm", {"vectors": "static", "histogram": "normalized", "exact_bin": True, "gating": "idf"}, program("drmm")),
    ("conv_knrm", {"vectors": "static"}, program("conv_knrm")),
    ("pacrr", {"vectors": "static"}, program("pacrr")),
    ("dssm", {"vectors": "static"}, dssm_static),
    ("dssm", {"vectors": "trigrams"}, dssm_trigrams),
]

if __name__ == "__main__":
    lines = [" ".join([word, *(f"{v:.5f}" for v in values)]) for word, values in zip(WORDS, TABLE[SPECIAL:].tolist())]
    (HERE / "words.vec").write_text("\n".join([f"{len(WORDS)} {DIM}", *lines]) + "\n", encoding="utf-8")
    cases = []
    for model, settings, score in CASES:
        both = {"train_kernels": False, **settings} if model == "knrm" else settings
        scores = [[float(f"{score(q, d, both):.8g}") for d in DOCUMENTS] for q in QUERIES]
        cases.append(json.dumps({"model": model, "settings": settings, "scores": scores}, ensure_ascii=False))
    texts = json.dumps({"queries": QUERIES, "documents": DOCUMENTS}, ensure_ascii=False)[1:-1]
    (HERE / "expected.json").write_text("{" + texts + ', "cases": [\n' + ",\n".join(cases) + "\n]}\n", encoding="utf-8")
