#!/usr/bin/env python3
"""Scores of DeText by PyTorch over the random checkpoint tests/golden/bert/rubert.

    python tests/golden/detext/make.py            (torch, transformers)

Writes expected.json, of plain texts, in which numbers, categories and vectors are missing; and records.json, of records that have them, with what
training finds in their columns: mean and deviation of numbers, categories of two records or more, the length of vectors.
"""

import json
import math
import sys
from collections import Counter
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from matrices import BERT, TOKENIZER, head, ids_of, write  # noqa: E402

WIDTH = 8


@torch.no_grad()
def vector(text, pooling):
    ids = [TOKENIZER.cls_token_id, *ids_of(text), TOKENIZER.sep_token_id]
    states = BERT(input_ids=torch.tensor([ids]), token_type_ids=torch.zeros(1, len(ids), dtype=torch.long)).last_hidden_state[0]
    return states[0] if pooling == "cls" else states.mean(0)


def of_number(l, r, known):
    """Both in deviations from the mean, of the logarithm; how far apart; which is missing."""
    def scaled(x):
        return max(-10.0, min(10.0, (squeezed(x) - known["mean"]) / known["deviation"]))

    l, r = (None if x is None else scaled(x) for x in (l, r))
    missing = [float(x is None) for x in (l, r)]
    return torch.tensor([l or 0.0, r or 0.0, 0.0 if max(missing) else abs(l - r), *missing, max(missing)])


def squeezed(x):
    return math.copysign(math.log1p(abs(x)), x)


def of_category(l, r, known, table):
    """The product of their rows (of no category, of one that is not known, of those that are); whether it is the same; which is missing."""
    def row(x):
        return table[0] if not x else table[2 + known["values"].index(x)] if x in known["values"] else table[1]

    return torch.cat([row(l) * row(r), torch.tensor([float(bool(l) and l == r), float(not l), float(not r)])])


def of_vector(l, r, known):
    """The cosine, which is missing, the product of both at length 1."""
    missing = [float(x is None) for x in (l, r)]
    if max(missing):
        return torch.tensor([0.0, *missing, 1.0] + [0.0] * known["width"])
    l, r = (torch.nn.functional.normalize(torch.tensor(x, dtype=torch.float64), dim=0) for x in (l, r))
    return torch.cat([(l @ r)[None], torch.zeros(3), l * r]).float()


@torch.no_grad()
def joined(q, d, settings, cells):
    """The logit of two texts' vectors and, for each column, the values of both."""
    parts = []
    for interaction in settings["interactions"]:
        if interaction == "cosine":
            parts.append(torch.nn.functional.cosine_similarity(q, d, dim=0, eps=1e-12)[None])
        elif interaction == "hadamard":
            parts.append(q * d)
        else:
            parts += [q, d]
    known = settings.get("known", [])
    rows = [len(k["category"]["values"]) + 2 if "category" in k else 0 for k in known]
    tables = head(sum(rows), WIDTH).split(rows) if known else []
    for k, table, (l, r) in zip(known, tables, cells):
        if "vector" in k:
            parts.append(of_vector(l, r, k["vector"]))
        elif "number" in k:
            parts.append(of_number(l, r, k["number"]))
        else:
            parts.append(of_category(l, r, k["category"], table))
    x = torch.cat(parts)
    hidden = torch.relu(head(64, len(x)) @ x + head(64))
    return (head(1, 64)[0] @ hidden + head(1)[0]).item()


def score(query, document, settings):
    """Of plain texts."""
    q, d = vector(query, settings["pooling"]), vector(document, settings["pooling"])
    return joined(q, d, settings, [("", "") if "category" in k else (None, None) for k in settings.get("known", [])])


COLUMNS = {"numbers": ["price"], "categories": ["maker", "kind"], "vectors": ["picture"]}
SETTINGS = [
    {"pooling": "mean", "interactions": ["cosine", "hadamard"]},
    {
        "pooling": "cls",
        "interactions": ["hadamard", "concat", "cosine"],
        **COLUMNS,
        "known": [
            {"number": {"mean": 1.0, "deviation": 2.0}},
            {"category": {"values": ["lg", "sony"]}},
            {"category": {"values": ["tea"]}},
            {"vector": {"width": 6}},
        ],
    },
]

# a cell as a person writes it, and what it says
PRICES = {"": None, "по запросу": None, "60": 60.0, "110.5": 110.5, "1,299.00 $": 1299.0, "129,90": 129.9, "-5": -5.0, "0": 0.0, "1e9": 1e9}
PICTURES = {"": None, "[0.5,-1,2,0.25]": [0.5, -1, 2, 0.25], "[3, 4, 0, 0]": [3, 4, 0, 0], "1 2 3 4": [1, 2, 3, 4], "0;0.5;0;-0.5": [0, 0.5, 0, -0.5]}
# name, price, maker, kind, picture
TRAIN = [
    ("a", "60", "Acer", "чай", ""),
    ("b", "110.5", "acer", " Чай", "[0.5,-1,2,0.25]"),
    ("c", "1,299.00 $", "LG", "монитор", ""),
    ("d", "", "lg ", "Монитор", "1 2 3 4"),
    ("e", "по запросу", "Sony", "", "[3, 4, 0, 0]"),
]
QUERIES = [
    ("Монитор игровой Acer 27 дюймов", "1,299.00 $", "Acer", "монитор", "[0.5,-1,2,0.25]"),
    ("Чай чёрный 100 пакетиков", "", "Greenfield", "Чай", ""),
    ("чай", "по запросу", "", "чай", "1 2 3 4"),
    ("", "129,90", "Sony", "", "[3, 4, 0, 0]"),
]
DOCUMENTS = [
    ("монитор LG 27", "110.5", "LG", "Монитор", "[3, 4, 0, 0]"),
    ("Чай зелёный, 25 пакетов по 2 г", "-5", " greenfield ", "чай", ""),
    ("Ёлка № 5, 250мл/100г", "1e9", "ACER", "ёлка", "1 2 3 4"),
    ("чай", "0", "", "", "0;0.5;0;-0.5"),
    ("", "", "sony", "монитор", "[0.5,-1,2,0.25]"),
]


def category(cell):
    return cell.strip().lower()


def known_of_training():
    """In the order of the columns."""
    prices = [squeezed(PRICES[record[1]]) for record in TRAIN if PRICES[record[1]] is not None]
    mean = sum(prices) / len(prices)
    deviation = math.sqrt(sum((x - mean) ** 2 for x in prices) / len(prices))
    found = [{"number": {"mean": mean, "deviation": deviation}}]
    for column in (2, 3):
        counts = Counter(category(record[column]) for record in TRAIN)
        found.append({"category": {"values": sorted(value for value, count in counts.items() if value and count >= 2)}})
    return found + [{"vector": {"width": 4}}]


def of_records():
    columns = ["name", "price", "maker", "kind", "picture"]
    readers = [PRICES.get, category, category, PICTURES.get]
    cases = []
    for pooling, interactions in [("mean", ["cosine", "hadamard"]), ("cls", ["concat", "cosine"])]:
        settings = {"pooling": pooling, "interactions": interactions, **COLUMNS}
        known = known_of_training()
        scores = []
        for query in QUERIES:
            cells = lambda document: [(read(l), read(r)) for read, l, r in zip(readers, query[1:], document[1:])]  # noqa: B023, E731
            row = [(vector(query[0], pooling), vector(d[0], pooling), {**settings, "known": known}, cells(d)) for d in DOCUMENTS]
            scores.append([float(f"{joined(*parts):.8g}") for parts in row])
        cases.append({"settings": settings, "known": known, "scores": scores})
    table = {"columns": columns, "train": TRAIN, "queries": QUERIES, "documents": DOCUMENTS}
    lines = [f'"{key}": {json.dumps(value, ensure_ascii=False)}' for key, value in table.items()]
    lines.append('"cases": [\n' + ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]")
    (HERE / "records.json").write_text("{" + ",\n".join(lines) + "}\n", encoding="utf-8")


if __name__ == "__main__":
    write(HERE, SETTINGS, score)
    of_records()
