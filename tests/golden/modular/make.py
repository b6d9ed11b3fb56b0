#!/usr/bin/env python3
"""A tiny random reranker in sentence-transformers' modules (Transformer, Pooling, Dense, LayerNorm, Dense), as version 5.5 saves it, and its
scores for 50 pairs, with the pooling of `1_Pooling` and with the mean.

    python make.py        (torch, transformers; writes the folder `model` and expected.json next to itself)

The modules after the network are computed here by hand, as their sources have them. Pairs and tokenizer are those of ../checkpoints.
"""

import json
import os
import shutil
from pathlib import Path

os.environ["TRANSFORMERS_VERBOSITY"] = "error"

import torch
import transformers
from safetensors.torch import save_file
from torch.nn.functional import gelu, layer_norm
from transformers import ModernBertConfig, ModernBertModel, PreTrainedTokenizerFast

HERE = Path(__file__).resolve().parent
CHECKPOINTS = HERE.parent / "checkpoints"
FORMS = json.loads((CHECKPOINTS / "expected.json").read_text(encoding="utf-8"))
WIDTH, LONGEST = 16, 48
SPECIAL = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
PLACE = "sentence_transformers.{}.modules.{}"
MODULES = [
    ("", PLACE.format("base", "transformer.Transformer")),
    ("1_Pooling", PLACE.format("sentence_transformer", "pooling.Pooling")),
    ("2_Dense", PLACE.format("base", "dense.Dense")),
    ("3_LayerNorm", PLACE.format("sentence_transformer", "layer_norm.LayerNorm")),
    ("4_Dense", PLACE.format("base", "dense.Dense")),
]
# what the published ones have: rotary angles of one base, and a key that transformers does not read
ROPE = {kind: {"rope_theta": 160000.0, "rope_type": "default"} for kind in ["full_attention", "sliding_attention"]}
KEPT = ["architectures", "model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
        "max_position_embeddings", "pad_token_id", "norm_eps", "local_attention", "layer_types", "rope_parameters", "classifier_pooling",
        "hidden_activation", "cls_token_id", "sep_token_id", "bos_token_id", "eos_token_id"]


def draw(*shape, mean=0.0):
    return torch.randn(*shape) * 0.3 + mean


def network():
    config = ModernBertConfig(
        vocab_size=230, hidden_size=WIDTH, num_hidden_layers=4, num_attention_heads=2, intermediate_size=24, local_attention=8,
        max_position_embeddings=64, pad_token_id=0, cls_token_id=2, bos_token_id=2, sep_token_id=3, eos_token_id=3,
        initializer_range=0.3, initializer_cutoff_factor=3.0, rope_parameters=ROPE, classifier_pooling="mean")
    model = ModernBertModel(config).eval()
    for name, value in model.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(value, mean=1.0, std=0.3)
    return model


def put(file, value):
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(value) + "\n")


def save(folder, model, head):
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    put(folder / "config.json", {**{key: config[key] for key in KEPT if config.get(key) is not None}, "position_embedding_type": "sans_pos"})
    shutil.copy(CHECKPOINTS / "shared" / FORMS["cases"]["modernbert"]["files"]["tokenizer.json"], folder / "tokenizer.json")
    put(folder / "tokenizer_config.json", {"tokenizer_class": "TokenizersBackend", **SPECIAL, "model_max_length": LONGEST})
    put(folder / "modules.json", [{"idx": i, "name": str(i), "path": path, "type": kind} for i, (path, kind) in enumerate(MODULES)])
    put(folder / "config_sentence_transformers.json",
        {"__version__": {"sentence_transformers": "5.5.0"}, "activation_fn": "torch.nn.modules.linear.Identity",
         "default_prompt_name": None, "model_type": "CrossEncoder", "prompts": {}})
    put(folder / "sentence_bert_config.json",
        {"transformer_task": "feature-extraction", "module_output_name": "token_embeddings",
         "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}})
    put(folder / "1_Pooling/config.json", {"embedding_dimension": WIDTH, "pooling_mode": "cls", "include_prompt": True})
    dense = {"module_input_name": "sentence_embedding", "use_residual": False}
    put(folder / "2_Dense/config.json",
        {"in_features": WIDTH, "out_features": WIDTH, "bias": False, "activation_function": "torch.nn.modules.activation.GELU",
         "module_output_name": "sentence_embedding", **dense})
    put(folder / "3_LayerNorm/config.json", {"dimension": WIDTH})
    put(folder / "4_Dense/config.json",
        {"in_features": WIDTH, "out_features": 1, "bias": True, "activation_function": "torch.nn.modules.linear.Identity",
         "module_output_name": "scores", **dense})
    for name, arrays in head.items():
        save_file(arrays, folder / name / "model.safetensors", metadata={"format": "pt"})


@torch.no_grad()
def scores(folder, head, pooling):
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **SPECIAL)
    model = ModernBertModel.from_pretrained(folder).eval()
    dense, norm, last = (head[name] for name in ["2_Dense", "3_LayerNorm", "4_Dense"])
    found = []
    for left, right in FORMS["pairs"]:
        ids = tokenizer(left, right, truncation="longest_first", max_length=LONGEST)["input_ids"]
        states = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        x = states[0] if pooling == "cls" else states.mean(0)
        x = layer_norm(gelu(dense["linear.weight"] @ x), (WIDTH,), norm["norm.weight"], norm["norm.bias"], 1e-5)
        found.append(round((last["linear.weight"] @ x + last["linear.bias"]).item(), 6))
    return found


def main():
    torch.manual_seed(5)
    folder = HERE / "model"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    head = {
        "2_Dense": {"linear.weight": draw(WIDTH, WIDTH)},
        "3_LayerNorm": {"norm.weight": draw(WIDTH, mean=1.0), "norm.bias": draw(WIDTH)},
        "4_Dense": {"linear.weight": draw(1, WIDTH), "linear.bias": draw(1)},
    }
    save(folder, network(), head)
    found = {pooling: scores(folder, head, pooling) for pooling in ["cls", "mean"]}
    lines = ",\n".join(f' "{name}": {json.dumps(values)}' for name, values in found.items())
    (HERE / "expected.json").write_text(f'{{\n "transformers": "{transformers.__version__}",\n{lines}\n}}\n')


if __name__ == "__main__":
    main()
