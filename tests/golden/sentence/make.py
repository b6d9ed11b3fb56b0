#!/usr/bin/env python3
"""A tiny random sentence encoder with linear layers after its pooling (Transformer, Pooling, Dense with tanh, Dense without bias and activation,
Normalize), as sentence-transformers saves it; its vectors of 50 texts, and the scores of 50 pairs with each activation of the first layer.

    python make.py               (torch, transformers, sentence-transformers 6.2; writes the folder `model` and expected.json next to itself)
    python make.py check DIR     prints the scores of the pairs by the model in DIR, and its modules; status 77 without sentence-transformers

Pairs and tokenizer are those of ../checkpoints; the texts are their first halves.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ["TRANSFORMERS_VERBOSITY"] = "error"

try:
    import sentence_transformers
except ImportError:
    sys.exit(77)

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from torch import nn
from transformers import BertConfig, BertModel

HERE = Path(__file__).resolve().parent
CHECKPOINTS = HERE.parent / "checkpoints"
FORMS = json.loads((CHECKPOINTS / "expected.json").read_text(encoding="utf-8"))
PAIRS = FORMS["pairs"]
WIDTH, BETWEEN, OUTPUTS, LONGEST = 16, 12, 20, 48
TOKENIZER = {"tokenizer_class": "BertTokenizer", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]",
             "mask_token": "[MASK]", "model_max_length": LONGEST}
KEPT = ["architectures", "model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
        "max_position_embeddings", "type_vocab_size", "pad_token_id", "hidden_act", "layer_norm_eps"]
ACTIVATIONS = ["tanh", "identity", "relu", "gelu", "sigmoid"]
TORCH = {"tanh": nn.Tanh, "identity": nn.Identity, "relu": nn.ReLU, "gelu": nn.GELU, "sigmoid": nn.Sigmoid}


def network(folder):
    config = BertConfig(vocab_size=230, hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
                        max_position_embeddings=64, initializer_range=0.3)
    model = BertModel(config, add_pooling_layer=False).eval()
    for name, value in model.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(value, std=0.3)
    model.save_pretrained(folder)
    shutil.copy(CHECKPOINTS / "shared" / FORMS["cases"]["usual"]["files"]["tokenizer.json"], folder / "tokenizer.json")
    (folder / "tokenizer_config.json").write_text(json.dumps(TOKENIZER) + "\n")


def drawn(*shape):
    return torch.randn(*shape) * 0.5


def vectors(model, texts):
    """One text at a time: no padding takes part."""
    with torch.no_grad():
        return torch.cat([model.encode([text], convert_to_tensor=True, device="cpu") for text in texts])


def scores(model):
    left, right = (vectors(model, [pair[i] for pair in PAIRS]) for i in range(2))
    return [round(x, 7) for x in model.similarity_pairwise(left, right).tolist()]


def main():
    torch.manual_seed(11)
    torch.set_num_threads(1)
    folder = HERE / "model"
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as plain:
        network(Path(plain))
        first = Dense(WIDTH, BETWEEN, init_weight=drawn(BETWEEN, WIDTH), init_bias=drawn(BETWEEN))
        second = Dense(BETWEEN, OUTPUTS, bias=False, activation_function=None, init_weight=drawn(OUTPUTS, BETWEEN))
        model = SentenceTransformer(modules=[Transformer(plain), Pooling(WIDTH, "mean"), first, second, Normalize()], device="cpu")
    model.save_pretrained(str(folder), create_model_card=False)
    # what transformers and sentence-transformers write besides, and the tokenizer as it was
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({key: config[key] for key in KEPT}) + "\n")
    shutil.copy(CHECKPOINTS / "shared" / FORMS["cases"]["usual"]["files"]["tokenizer.json"], folder / "tokenizer.json")
    (folder / "tokenizer_config.json").write_text(json.dumps(TOKENIZER) + "\n")
    model = SentenceTransformer(str(folder), device="cpu")
    found = {"vectors": [[round(x, 7) for x in row] for row in vectors(model, [pair[0] for pair in PAIRS]).tolist()], "scores": {}}
    for name in ACTIVATIONS:
        model[2].activation_function = TORCH[name]()
        found["scores"][name] = scores(model)
    rows = ",\n".join(json.dumps(row) for row in found["vectors"])
    lines = ",\n".join(f'"{name}": {json.dumps(values)}' for name, values in found["scores"].items())
    text = f'{{"sentence_transformers": "{sentence_transformers.__version__}",\n"vectors": [\n{rows}],\n"scores": {{\n{lines}}}}}\n'
    (HERE / "expected.json").write_text(text)


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "check":
        loaded = SentenceTransformer(sys.argv[2], device="cpu")
        print(json.dumps({"scores": scores(loaded), "modules": [type(module).__name__ for module in loaded]}))
    else:
        main()
