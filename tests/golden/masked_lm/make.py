#!/usr/bin/env python3
"""Makes the small random model of this folder and the numbers that transformers computes with it and with a published one.

    python tests/golden/masked_lm/make.py            (torch, transformers, safetensors; run scripts/weights before)

Writes model/ (config.json, model.safetensors of a BertForPreTraining) and expected.json: for `random` a padded batch (ids, segments,
lengths, places of masked tokens and what they were, labels of next sentences), transformers' loss of masked tokens, loss of next
sentences (label 0: is next), logits at the masked places, and of each parameter's gradient of both losses' sum the norm and WIDE values,
evenly spread; for `bert-tiny` sequences with masks, the logits of WIDE words at each, the five best words and the mean loss.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, BertForPreTraining

HERE = Path(__file__).resolve().parent
WEIGHTS = HERE.parents[2] / "weights"
WIDE = 16
TEXTS = [
    ("the capital of [MASK] is paris.", ["france"]),
    ("canon powershot digital [MASK] with a [MASK] zoom lens", ["camera", "wide"]),
    ("the man went to the [MASK] and bought milk.", ["store"]),
]


def numbers(tensor):
    return [float(f"{v:.8g}") for v in tensor.flatten().tolist()]


def random_model():
    torch.manual_seed(11)
    config = BertConfig(
        vocab_size=67, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, max_position_embeddings=24,
        hidden_act="gelu", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, attn_implementation="eager",
    )
    model = BertForPreTraining(config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.normal_(1.0 if name.endswith("LayerNorm.weight") else 0.0, 0.2)
    folder = HERE / "model"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.to_dict().items() if k in (
        "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings",
        "type_vocab_size", "hidden_act", "hidden_dropout_prob", "attention_probs_dropout_prob", "layer_norm_eps", "model_type",
        "pad_token_id")} | {"architectures": ["BertForPreTraining"]}, indent=1) + "\n")
    tied = ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias")
    state = {k: v.contiguous() for k, v in model.state_dict().items() if k not in tied and "position_ids" not in k}
    save_file(state, folder / "model.safetensors")

    lengths, splits, labels = [9, 14, 5, 20], [5, 8, 3, 12], [0, 1, 1, 0]
    drawn = torch.Generator().manual_seed(5)
    longest = max(lengths)
    ids = torch.zeros(len(lengths), longest, dtype=torch.long)
    segments, attention = torch.zeros_like(ids), torch.zeros_like(ids)
    targets = torch.full_like(ids, -100)
    masked = []
    for row, (length, split) in enumerate(zip(lengths, splits)):
        ids[row, :length] = torch.randint(5, 67, (length,), generator=drawn)
        segments[row, split:length] = 1
        attention[row, :length] = 1
        for place in sorted(torch.randperm(length - 2, generator=drawn)[:2].tolist()):
            targets[row, place + 1] = int(torch.randint(5, 67, (1,), generator=drawn))
            ids[row, place + 1] = 4
            masked.append([row, place + 1, int(targets[row, place + 1])])
    out = model(input_ids=ids, token_type_ids=segments, attention_mask=attention)
    logits = out.prediction_logits
    flat = torch.nn.functional.cross_entropy(logits.view(-1, 67), targets.view(-1), ignore_index=-100)
    next_loss = torch.nn.functional.cross_entropy(out.seq_relationship_logits, torch.tensor(labels))
    (flat + next_loss).backward()
    gradients = {}
    for name, p in model.named_parameters():
        values = p.grad.flatten()
        step = max(1, len(values) // WIDE)
        gradients[name] = {"norm": float(values.norm()), "step": step, "values": numbers(values[::step][:WIDE])}
    case = {
        "ids": [ids[r, :n].tolist() for r, n in enumerate(lengths)],
        "segments": [segments[r, :n].tolist() for r, n in enumerate(lengths)],
        "masked": masked,
        "is_next": [label == 0 for label in labels],
        "masked_loss": float(flat),
        "next_loss": float(next_loss),
        "logits": [numbers(logits[r, p, :WIDE]) for r, p, _ in masked],
        "next_logits": numbers(out.seq_relationship_logits),
        "gradients": gradients,
    }
    return case


@torch.no_grad()
def published(name):
    model = BertForMaskedLM.from_pretrained(WEIGHTS / name).eval()
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS / name)
    cases, losses = [], []
    for text, answers in TEXTS:
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        places = (ids[0] == tokenizer.mask_token_id).nonzero().flatten()
        logits = model(input_ids=ids).logits[0, places]
        targets = torch.tensor(tokenizer.convert_tokens_to_ids(answers))
        losses.append(torch.nn.functional.cross_entropy(logits, targets, reduction="none"))
        best = logits.softmax(-1).topk(5)
        cases.append({
            "text": text,
            "ids": ids[0].tolist(),
            "places": places.tolist(),
            "targets": targets.tolist(),
            "logits": [numbers(row[:: len(row) // WIDE][:WIDE]) for row in logits],
            "stride": logits.shape[1] // WIDE,
            "best": [tokenizer.convert_ids_to_tokens(row) for row in best.indices.tolist()],
            "probabilities": [numbers(row) for row in best.values],
        })
    return {"cases": cases, "loss": float(torch.cat(losses).mean())}


expected = {"random": random_model(), "bert-tiny": published("bert-tiny")}
(HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
