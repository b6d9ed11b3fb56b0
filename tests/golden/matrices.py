"""What the programs of interaction-matrix rankers share: vectors of the random checkpoint tests/golden/bert/rubert, by transformers, and cosines by PyTorch."""

import json
import math
from pathlib import Path

import torch
from transformers import BertForSequenceClassification, BertTokenizer

FROM = Path(__file__).resolve().parent / "bert" / "rubert"
QUERIES = ["Монитор игровой Acer 27 дюймов", "Чай чёрный 100 пакетиков", "чай", ""]
DOCUMENTS = ["монитор LG 27", "Чай зелёный, 25 пакетов по 2 г", "Ёлка № 5, 250мл/100г", "чай", " ".join(["Монитор 27"] * 12), ""]

torch.set_num_threads(2)
TOKENIZER = BertTokenizer(str(FROM / "vocab.txt"), do_lower_case=False)
BERT = BertForSequenceClassification.from_pretrained(FROM, attn_implementation="eager").bert.eval()


def head(*shape):
    """A head's array, which training would draw."""
    values = [0.3 * math.sin(1.7 * i + 1.0) for i in range(math.prod(shape))]
    return torch.tensor(values, dtype=torch.float32).reshape(shape)


def ids_of(text):
    return TOKENIZER.convert_tokens_to_ids(TOKENIZER.tokenize(text))


@torch.no_grad()
def pair(query, document, vectors):
    """Ids of both texts; their vectors [layers, tokens, h] in every state (one state, for static vectors); [CLS] of every state."""
    q, d = ids_of(query), ids_of(document)
    cls, sep = TOKENIZER.cls_token_id, TOKENIZER.sep_token_id

    def states(ids, segments):
        out = BERT(input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([segments]), output_hidden_states=True)
        return torch.stack([state[0] for state in out.hidden_states])

    if vectors == "static":
        table = BERT.embeddings.word_embeddings.weight
        rows = [table[torch.tensor(ids, dtype=torch.long)][None] for ids in (q, d)]
        return q, d, rows[0], rows[1], None
    if vectors == "apart":
        both = [states([cls, *ids, sep], [0] * (len(ids) + 2)) for ids in (q, d)]
        return q, d, both[0][:, 1:-1], both[1][:, 1:-1], None
    joint = states([cls, *q, sep, *d, sep], [0] * (len(q) + 2) + [1] * (len(d) + 1))
    return q, d, joint[:, 1 : 1 + len(q)], joint[:, 2 + len(q) : -1], joint[:, 0]


@torch.no_grad()
def passages(query, document, most, overlap, max_tokens=16):
    """The same of joint sequences of at most `max_tokens`: for each passage of the document its states of query and document, and [CLS]. A query
    keeps half of the room; passages are of equal length, as few as hold the document (in the authors' CEDR: ceil(d / ceil(d / room)))."""
    q, d = ids_of(query), ids_of(document)
    cls, sep = TOKENIZER.cls_token_id, TOKENIZER.sep_token_id
    room = max_tokens - 3
    cuts = [d]
    if len(q) + len(d) > room:
        q = q[: room // 2]
        room -= len(q)
        count = min(most, max(1, math.ceil((len(d) - overlap) / (room - overlap))))
        d = d[: count * room - (count - 1) * overlap]
        length = math.ceil((len(d) + (count - 1) * overlap) / count)
        cuts = [d[i * (length - overlap) :][:length] for i in range(count)]
    out = []
    for cut in cuts:
        ids, segments = [cls, *q, sep, *cut, sep], [0] * (len(q) + 2) + [1] * (len(cut) + 1)
        got = BERT(input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([segments]), output_hidden_states=True)
        states = torch.stack([state[0] for state in got.hidden_states])
        out.append((states[:, 1 : 1 + len(q)], states[:, 2 + len(q) : -1], states[:, 0]))
    return q, out


def cosines(q, d):
    """[.., query, document]"""
    unit = [x / (x.norm(dim=-1, keepdim=True) + 1e-9) for x in (q, d)]
    return unit[0] @ unit[1].transpose(-1, -2)


def write(folder, settings, score, more=lambda setting: {}):
    """expected.json: for each of the settings the score of every query with every document, and what else the setting has."""
    cases = []
    for setting in settings:
        scores = [[float(f"{score(q, d, setting):.8g}") for d in DOCUMENTS] for q in QUERIES]
        cases.append({"settings": setting, "scores": scores, **more(setting)})
    lines = ",\n".join(json.dumps(c) for c in cases)
    texts = json.dumps({"queries": QUERIES, "documents": DOCUMENTS}, ensure_ascii=False)[1:-1]
    (folder / "expected.json").write_text("{" + texts + ', "cases": [\n' + lines + "\n]}\n", encoding="utf-8")
