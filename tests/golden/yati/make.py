#!/usr/bin/env python3
"""Scores of a split encoder over the random checkpoint of tests/golden/bert/rubert, by PyTorch (tests/golden/matrices.py has what is shared).

    python tests/golden/yati/make.py            (torch, transformers, safetensors)

As in PreTTR (MacAvaney et al., SIGIR 2020): the joint model with an additive mask of -10000 wherever token types differ, in the layers below the split;
a document's positions begin at a fixed place. Layers are written out here, so that the mask can differ between them.
"""

import sys
from pathlib import Path

import torch
from torch.nn.functional import gelu, layer_norm
from transformers import BertForSequenceClassification

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from matrices import FROM, TOKENIZER, head, ids_of, write  # noqa: E402

MODEL = BertForSequenceClassification.from_pretrained(FROM, attn_implementation="eager").eval()
BERT = MODEL.bert
MAX_TOKENS = 128


def attend(layer, x, mask):
    attention = layer.attention.self
    heads = attention.num_attention_heads
    q, k, v = [f(x).reshape(len(x), heads, -1).transpose(0, 1) for f in (attention.query, attention.key, attention.value)]
    weights = torch.softmax(q @ k.transpose(1, 2) / q.shape[-1] ** 0.5 + mask, -1)
    context = (weights @ v).transpose(0, 1).reshape(len(x), -1)
    out = layer.attention.output
    x = out.LayerNorm(out.dense(context) + x)
    return layer.output.LayerNorm(layer.output.dense(gelu(layer.intermediate.dense(x))) + x)


@torch.no_grad()
def score(query, document, settings):
    room = settings.get("query_tokens", MAX_TOKENS // 2)
    cls, sep = TOKENIZER.cls_token_id, TOKENIZER.sep_token_id
    q = [cls, *ids_of(query)[: room - 2], sep]
    d = [*ids_of(document)[: MAX_TOKENS - room - 1], sep]
    types = torch.tensor([0] * len(q) + [1] * len(d))
    positions = torch.tensor([*range(len(q)), *range(room, room + len(d))])
    tables = BERT.embeddings
    x = tables.word_embeddings(torch.tensor(q + d)) + tables.token_type_embeddings(types) + tables.position_embeddings(positions)
    x = tables.LayerNorm(x)
    apart = torch.where(types[:, None] == types[None], 0.0, -10000.0)
    layers = BERT.encoder.layer
    split_at = settings.get("split_at", len(layers) // 2)
    for number in range(len(layers) + 1):
        if number == split_at and settings.get("compress"):
            h, n = x.shape[1], settings["compress"]
            x = x @ head(n, h).T + head(n)
            x = layer_norm(x @ head(h, n).T + head(h), (h,), head(h), head(h), BERT.config.layer_norm_eps)
        if number < len(layers):
            x = attend(layers[number], x, apart if number < split_at else torch.zeros(()))
    logits = MODEL.classifier(torch.tanh(BERT.pooler.dense(x[0])))
    return (logits[0] if len(logits) == 1 else logits[1] - logits[0]).item()


SETTINGS = [
    {"split_at": 0},
    {"split_at": 1},
    {"split_at": 2},
    {"split_at": 1, "query_tokens": 9},
    {"split_at": 1, "compress": 8},
    {"split_at": 0, "compress": 16, "query_tokens": 100},
]

if __name__ == "__main__":
    write(Path(__file__).resolve().parent, SETTINGS, score)
