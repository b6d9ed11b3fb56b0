#!/usr/bin/env python3
"""Tokens a second of masked-language pre-training: `sverka pretrain --plan` against PyTorch in bf16, in one run on the same cores.

    benches/mlm_step.py [--sverka target/release/sverka] [--seconds 10]         (torch, transformers)

Both train a fresh BERT on batches of 32 sequences of 64 tokens with a vocabulary of 12,000 and AdamW: 4 layers of 256, and 6 of 384. PyTorch
computes logits of masked positions alone, as Sverka does (transformers' own head computes all of them). Prints one JSON line a model.
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import torch
from transformers import BertConfig, BertForMaskedLM

VOCABULARY, BATCH, LENGTH = 12_000, 32, 64
SIZES = [(4, 256, 4), (6, 384, 6)]


def sverka(binary, folder, layers, hidden, heads, seconds):
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir(exist_ok=True)
    words = [f"w{i}" for i in range(VOCABULARY - 5)]
    (tokenizer / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]) + "\n")
    drawn = torch.Generator().manual_seed(1)
    rows = torch.randint(0, len(words), (4000, LENGTH - 2), generator=drawn).tolist()
    (folder / "texts.txt").write_text("\n".join(" ".join(words[i] for i in row) for row in rows) + "\n")
    (folder / "recipe.toml").write_text(
        f'name = "bench"\n[model.fresh]\ntokenizer = "tokenizer"\nlayers = {layers}\nhidden = {hidden}\nheads = {heads}\npositions = 128\n'
        f'[text]\nmax_tokens = {LENGTH}\n[train]\ndtype = "bf16"\nbatch = {BATCH}\n[[data.sources]]\nname = "texts"\n'
        'files = ["texts.txt"]\ndocument = "line"\n'
    )
    command = [binary, "pretrain", folder / "recipe.toml", "--plan", "--measure", str(seconds), "--json", "-q"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["tokens_per_second"]


def pytorch(layers, hidden, heads, seconds):
    torch.manual_seed(1)
    model = BertForMaskedLM(BertConfig(
        vocab_size=VOCABULARY, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=4 * hidden,
        max_position_embeddings=128,
    )).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)
    ids = torch.randint(5, VOCABULARY, (BATCH, LENGTH))
    rows = torch.stack([torch.randperm(BATCH * LENGTH)[: round(0.15 * BATCH * LENGTH)]])[0]
    done, began = -1, time.perf_counter()
    while done < 3 or time.perf_counter() - began < seconds:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            states = model.bert(input_ids=ids).last_hidden_state.flatten(0, 1)[rows]
            logits = model.cls(states)
        loss = torch.nn.functional.cross_entropy(logits.float(), ids.flatten()[rows])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        done += 1
        if done == 0:
            began = time.perf_counter()  # the first step makes room for everything
    return done * BATCH * LENGTH / (time.perf_counter() - began)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sverka", default=Path(__file__).resolve().parent.parent / "target/release/sverka", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    for layers, hidden, heads in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            ours = sverka(arguments.sverka.resolve(), Path(folder), layers, hidden, heads, arguments.seconds)
        theirs = pytorch(layers, hidden, heads, arguments.seconds)
        print(json.dumps({
            "model": f"{layers}x{hidden}", "sverka": round(ours), "pytorch_bf16": round(theirs), "ratio": round(ours / theirs, 2),
            "torch": torch.__version__, "threads": torch.get_num_threads(),
        }))


if __name__ == "__main__":
    main()
