#!/usr/bin/env python3
"""Scores of a cross-encoder over words made of characters, by PyTorch's convolutions below transformers' BERT (tests/golden/matrices.py has what is shared).

    python tests/golden/character_bert/make.py            (torch, transformers, safetensors)

Tokens of the random checkpoint tests/golden/bert/rubert take the place of characters; one of them begins a word. src/models/character_bert.rs reads it.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import BertForSequenceClassification

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from matrices import FROM, TOKENIZER, head, ids_of, write  # noqa: E402

MODEL = BertForSequenceClassification.from_pretrained(FROM, attn_implementation="eager").eval()
BERT = MODEL.bert
H, WIDTH = BERT.config.hidden_size, 16
FILTERS = [25, 50, 75, 100, 125, 150]
ALL = sum(FILTERS)


def word(ids):
    """The vector of a word, [h]."""
    x = BERT.embeddings.word_embeddings.weight[torch.tensor(ids)] @ head(WIDTH, H).T
    found = []
    for n, filters in enumerate(FILTERS, 1):
        # rows are [character, value]; a convolution has [value, character]
        kernel = head(filters, n * WIDTH).reshape(filters, n, WIDTH).transpose(1, 2)
        y = F.conv1d(F.pad(x.T[None], (0, n - 1)), kernel, head(filters))
        found.append(torch.relu(y)[0].max(dim=1).values)
    x = torch.cat(found)
    gate = torch.sigmoid(F.linear(x, head(ALL, ALL), head(ALL)) - 2)
    x = gate * torch.relu(F.linear(x, head(ALL, ALL), head(ALL))) + (1 - gate) * x
    x = F.layer_norm(F.linear(x, head(H, ALL), head(H)), (H,), head(H), head(H), BERT.config.layer_norm_eps)
    return x * BERT.config.initializer_range


def words(ids, first):
    """A text's ids by word: `first` begins one, each token is one where there is no such sign."""
    out = []
    for token in ids:
        if not out or first in (None, token):
            out.append([])
        out[-1].append(token)
    return out


@torch.no_grad()
def score(query, document, settings):
    first = settings.get("word_start")
    q, d = words(ids_of(query), first), words(ids_of(document), first)
    sep = [TOKENIZER.sep_token_id]
    rows = torch.stack([word(ids) for ids in [[TOKENIZER.cls_token_id], *q, sep, *d, sep]])[None]
    types = torch.tensor([[0] * (len(q) + 2) + [1] * (len(d) + 1)])
    logits = MODEL(inputs_embeds=rows, token_type_ids=types).logits[0]
    return (logits[0] if len(logits) == 1 else logits[1] - logits[0]).item()


def sign(text):
    return TOKENIZER.convert_tokens_to_ids(TOKENIZER.tokenize(text))[0]


# "27" is within titles, "чай" at their start
SETTINGS = [{}, {"word_start": sign("27")}, {"word_start": sign("чай")}]

if __name__ == "__main__":
    write(Path(__file__).resolve().parent, SETTINGS, score)
