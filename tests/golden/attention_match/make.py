#!/usr/bin/env python3
"""What compression changes in attention above the split, and its gradient, by PyTorch (tests/golden/matrices.py and yati/make.py have what is shared).

    python tests/golden/attention_match/make.py            (torch, transformers, safetensors)

As in PreTTR (MacAvaney et al., SIGIR 2020): the mean square between the attention of the layers above the split with compression and without, over
layers, heads and pairs of tokens; here the mean over some sequences of it. All arrays but the compression's stand still.
"""

import importlib.util
import json
import sys
from pathlib import Path

import torch
from torch.nn.functional import gelu, layer_norm

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from matrices import DOCUMENTS, QUERIES, TOKENIZER, head, ids_of  # noqa: E402

SPEC = importlib.util.spec_from_file_location("yati", HERE.parent / "yati/make.py")
YATI = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(YATI)
BERT = YATI.BERT


def attention(layer, x, mask):
    """Probabilities [heads, t, t], and the layer's output."""
    own = layer.attention.self
    q, k = [f(x).reshape(len(x), own.num_attention_heads, -1).transpose(0, 1) for f in (own.query, own.key)]
    return torch.softmax(q @ k.transpose(1, 2) / q.shape[-1] ** 0.5 + mask, -1), YATI.attend(layer, x, mask)


def maps(x, layers):
    found = []
    for layer in layers:
        probabilities, x = attention(layer, x, torch.zeros(()))
        found.append(probabilities)
    return found


def case(pairs, split_at, compress, room):
    h, eps = BERT.config.hidden_size, BERT.config.layer_norm_eps
    arrays = {
        "yati.compress.weight": head(compress, h),
        "yati.compress.bias": head(compress),
        "yati.restore.dense.weight": head(h, compress),
        "yati.restore.dense.bias": head(h),
        "yati.restore.LayerNorm.weight": head(h),
        "yati.restore.LayerNorm.bias": head(h),
    }
    for array in arrays.values():
        array.requires_grad_()
    compress_w, compress_b, dense_w, dense_b, gamma, beta = arrays.values()
    errors, sequences = [], []
    for query, document in pairs:
        q = [TOKENIZER.cls_token_id, *ids_of(query), TOKENIZER.sep_token_id]
        d = [*ids_of(document), TOKENIZER.sep_token_id]
        sequences.append({"query": q, "document": d})
        types = torch.tensor([0] * len(q) + [1] * len(d))
        positions = torch.tensor([*range(len(q)), *range(room, room + len(d))])
        tables = BERT.embeddings
        x = tables.word_embeddings(torch.tensor(q + d)) + tables.token_type_embeddings(types) + tables.position_embeddings(positions)
        x = tables.LayerNorm(x).detach()
        apart = torch.where(types[:, None] == types[None], 0.0, -10000.0)
        for layer in BERT.encoder.layer[:split_at]:
            x = YATI.attend(layer, x, apart).detach()
        back = layer_norm((x @ compress_w.T + compress_b) @ dense_w.T + dense_b, (h,), gamma, beta, eps)
        above = BERT.encoder.layer[split_at:]
        pairs_of_maps = list(zip(maps(x, above), maps(back, above)))
        errors.append(sum(((a.detach() - b) ** 2).mean() for a, b in pairs_of_maps) / len(pairs_of_maps))
    loss = sum(errors) / len(errors)
    loss.backward()
    values = lambda t: [float(f"{v:.7g}") for v in t.flatten().tolist()]  # noqa: E731
    return {
        "split_at": split_at,
        "compress": compress,
        "query_tokens": room,
        "sequences": sequences,
        "loss": float(f"{loss.item():.8g}"),
        "gradients": {name: values(array.grad) for name, array in arrays.items()},
    }


if __name__ == "__main__":
    pairs = [(QUERIES[0], DOCUMENTS[0]), (QUERIES[1], DOCUMENTS[2]), (QUERIES[2], DOCUMENTS[3]), (QUERIES[1], "")]
    cases = [case(pairs, 0, 8, 40), case(pairs, 1, 8, 64)]
    lines = ",\n".join(json.dumps(c) for c in cases)
    (HERE / "expected.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
