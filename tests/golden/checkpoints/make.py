"""Tiny random checkpoints in every form that people have them, and the scores of transformers and sentence-transformers.

    python make.py               (torch, transformers 5.24, sentence-transformers 6.2; writes the folders and expected.json into its folder)
    python make.py --mpnet DIR   writes mpnet.json alone: states of the real all-mpnet-base-v2, which `scripts/weights --mpnet` brings

A case is a folder of small files; `weights` names the shared safetensors file that belongs into it, if it has none of its own.
Scores are CrossEncoder's logits (no activation); of two labels that of the match less that of the other, as `turned` says.
"""
import json
import os
import pathlib
import random
import shutil
import sys
import tempfile

os.environ["TRANSFORMERS_VERBOSITY"] = "error"

import torch
import transformers
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import trainers
from transformers import (BertConfig, BertForSequenceClassification, DistilBertConfig, DistilBertForSequenceClassification, LongformerConfig,
                          LongformerForSequenceClassification, ModernBertConfig,
                          ModernBertForSequenceClassification, MPNetConfig, MPNetForSequenceClassification, RobertaConfig, RobertaForSequenceClassification, XLMRobertaConfig,
                          XLMRobertaForSequenceClassification)

HERE = pathlib.Path(__file__).parent
PAIRS = [
    ("Monitor LENTA 24 inch", "lenta monitor 24 black"),
    ("Café Crème 250 g", "cafe creme 250g"),
    ("монитор Лента 24", "Монитор 27 чёрный"),
    ("keyboard orbit ☃ k30", "paint fasad 5 l"),
    ("", "чай 100 г"),
    ("瓶 500 ml", "瓶500ml zz-qq"),
    ("a much longer title of a monitor lenta 24 inch black with stand and cable and a remote control", "monitor lenta 24 " * 12),
]
random.seed(1)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["monitor", "Monitor", "LENTA", "lenta", "inch", "black", "café", "cafe", "creme", "crème", "монитор", "Монитор", "лента", "чай",
         "keyboard", "paint", "orbit", "瓶", "with", "and", "24", "250", "500", "5", "ml", "stand"]
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZéèабвгдежзиклмнопрстуфхцчшщъыьэюяёМЛ0123456789-"
for _ in range(43):
    draw = lambda: " ".join(random.choice(WORDS + ["zz", "LG-27", "250g", "цвет", "Café"]) for _ in range(random.randint(1, 9)))
    PAIRS.append((draw(), draw()))
VOCAB = SPECIAL + WORDS + list(LETTERS) + ["##" + c for c in LETTERS]
VOCAB = list(dict.fromkeys(VOCAB))
EXTRA = 2  # rows for added tokens


FAMILIES = {
    "bert": (BertConfig, BertForSequenceClassification),
    "mpnet": (MPNetConfig, MPNetForSequenceClassification),
    "roberta": (RobertaConfig, RobertaForSequenceClassification),
    "xlm-roberta": (XLMRobertaConfig, XLMRobertaForSequenceClassification),
    "distilbert": (DistilBertConfig, DistilBertForSequenceClassification),
    "modernbert": (ModernBertConfig, ModernBertForSequenceClassification),
    "longformer": (LongformerConfig, LongformerForSequenceClassification),
}


def network(rows, types=2, labels=1, positions=64, seed=1, family="bert", **more):
    torch.manual_seed(seed)
    kind, of = FAMILIES[family]
    sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, type_vocab_size=types)
    if family == "distilbert":
        sizes = dict(dim=16, n_layers=2, n_heads=2, hidden_dim=24)
    if family == "mpnet":
        del sizes["type_vocab_size"]
    if family == "longformer":
        sizes = {**sizes, "num_hidden_layers": 3, "pad_token_id": 1, "layer_norm_eps": 1e-5, **more}
    if family == "modernbert":
        sizes = dict(hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=24, local_attention=8, pad_token_id=0,
                     cls_token_id=2, bos_token_id=2, sep_token_id=3, eos_token_id=3, initializer_cutoff_factor=3.0, **more)
    model = of(kind(vocab_size=rows, max_position_embeddings=positions, num_labels=labels, initializer_range=0.3, **sizes)).eval()
    for name, value in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(value, std=0.3)
        if family == "modernbert" and "norm" in name:
            torch.nn.init.normal_(value, mean=1.0, std=0.3)
    return model


def word_piece(lower=True, mpnet=False):
    vocab = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"] + VOCAB[5:] if mpnet else VOCAB
    tokenizer = Tokenizer(models.WordPiece({t: i for i, t in enumerate(vocab)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    if mpnet:
        tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
        tokenizer.add_special_tokens(vocab[:5])
        return tokenizer
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def unigram():
    pieces = ["<s>", "<pad>", "</s>", "<unk>"] + ["▁"] + list(LETTERS) + ["▁" + w for w in WORDS]
    pieces = list(dict.fromkeys(pieces)) + ["<mask>"]
    tokenizer = Tokenizer(models.Unigram([(p, -float(i % 7) - 2) for i, p in enumerate(pieces)], unk_id=3))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    return tokenizer, len(pieces)


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=330, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator([text for pair in PAIRS[:7] for text in pair] + [" ".join(WORDS)] * 3, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer, tokenizer.get_vocab_size()


BERT = {"tokenizer_class": "BertTokenizer", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]",
        "mask_token": "[MASK]", "model_max_length": 48}
MODERN = {**BERT, "tokenizer_class": "PreTrainedTokenizerFast"}
XLMR = {"tokenizer_class": "XLMRobertaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>",
        "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>", "model_max_length": 48}
MPNET = {"tokenizer_class": "MPNetTokenizer", "bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>",
         "pad_token": "<pad>", "unk_token": "[UNK]", "mask_token": "<mask>", "model_max_length": 48}
ROBERTA = {**XLMR, "tokenizer_class": "RobertaTokenizer"}


def without(settings, *keys):
    return {k: v for k, v in settings.items() if k not in keys}


def token(text, **more):
    return {"content": text, "lstrip": False, "rstrip": False, "single_word": False, "normalized": True, "special": False, **more}


ROWS = len(VOCAB) + EXTRA
QQ = {str(len(VOCAB)): token("qq")}
# name -> tokenizer_config.json (None: no such file), then what else differs
CASES = {
    "usual": (BERT, {}),
    "fast-class": ({**BERT, "tokenizer_class": "BertTokenizerFast"}, {}),
    "cased-by-settings": ({**BERT, "do_lower_case": False}, {}),
    "lower-by-default": (BERT, {"lower": False}),
    "lower-without-settings": (None, {"lower": False}),
    "lower-by-settings": ({**BERT, "do_lower_case": True}, {"lower": False}),
    "accents-kept": ({**BERT, "strip_accents": False}, {}),
    "signs-joined": ({**BERT, "tokenize_chinese_chars": False}, {}),
    "no-types-by-input-names": ({**BERT, "model_input_names": ["input_ids", "attention_mask"]}, {}),
    "no-types-by-distilbert": ({**BERT, "tokenizer_class": "DistilBertTokenizer"}, {}),
    "no-types-by-generic-class": ({**BERT, "tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": False}, {}),
    "types-by-generic-class": ({**BERT, "tokenizer_class": "PreTrainedTokenizerFast",
                                "model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}, {"lower": False}),
    "class-in-config": (None, {"config": {"tokenizer_class": "DistilBertTokenizer"}}),
    "electra-class": ({**BERT, "tokenizer_class": "ElectraTokenizerFast", "do_lower_case": False}, {}),
    "other-sep": ({**BERT, "sep_token": "[MASK]"}, {}),
    "other-sep-by-map": (BERT, {"files": {"special_tokens_map.json": {"sep_token": "[MASK]", "cls_token": {"content": "[PAD]"}}}}),
    "map-without-effect": ({**BERT, "added_tokens_decoder": {"4": token("[MASK]", special=True, normalized=False)}},
                           {"files": {"special_tokens_map.json": {"sep_token": "[MASK]"}}}),
    "other-unknown": ({**BERT, "unk_token": "[MASK]"}, {}),
    "added-by-decoder": ({**BERT, "added_tokens_decoder": QQ}, {}),
    "added-by-file": (BERT, {"files": {"added_tokens.json": {"qq": len(VOCAB)}}}),
    "added-special": ({**BERT, "additional_special_tokens": ["zz"]}, {}),
    "short": ({**BERT, "model_max_length": 16}, {}),
    "as-long-as-positions": (without(BERT, "model_max_length"), {}),
    "vocab-only": ({**BERT, "do_lower_case": True}, {"vocab": True}),
    "vocab-cased": ({**BERT, "do_lower_case": False, "strip_accents": False}, {"vocab": True}),
    "xlmr-tokenizer": (XLMR, {"unigram": True}),
    # Python has no row for segment 1 and fails: what it gives without token types is right
    "one-segment": (BERT, {"network": {"types": 1}, "measured": {"model_input_names": ["input_ids", "attention_mask"]}}),
    "two-labels": (BERT, {"network": {"labels": 2}}),
    "two-labels-named": (BERT, {"network": {"labels": 2}, "config": {"id2label": {"0": "not_duplicate", "1": "duplicate"}}}),
    "two-labels-turned": (BERT, {"network": {"labels": 2}, "turned": True,
                                 "config": {"id2label": {"0": "MATCH", "1": "NO_MATCH"}, "label2id": {"MATCH": 0, "NO_MATCH": 1}}}),
    "identity": (BERT, {"config": {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity", "version": "4.1.0"}}}),
    "mpnet": (MPNET, {"network": {"family": "mpnet", "positions": 66}}),
    "mpnet-two-labels": (MPNET, {"network": {"family": "mpnet", "positions": 66, "labels": 2}}),
    "roberta": (ROBERTA, {"bytes": True, "network": {"family": "roberta", "positions": 66, "types": 1}}),
    "roberta-without-length": (without(ROBERTA, "model_max_length"), {"bytes": True,
                               "network": {"family": "roberta", "positions": 52, "types": 1}, "measured": {"model_max_length": 50}}),
    "roberta-prefix-space": ({**ROBERTA, "add_prefix_space": True}, {"bytes": True, "network": {"family": "roberta", "positions": 66, "types": 1}}),
    "xlm-roberta": (XLMR, {"unigram": True, "network": {"family": "xlm-roberta", "positions": 66, "types": 1}}),
    "distilbert": ({**BERT, "tokenizer_class": "DistilBertTokenizer"}, {"network": {"family": "distilbert"}}),
    "distilbert-module-prefix": (BERT, {"network": {"family": "distilbert"}, "prefix": "module."}),
    "modernbert": (MODERN, {"lower": False, "network": {"family": "modernbert"}}),
    "modernbert-mean": (MODERN, {"lower": False, "network": {"family": "modernbert", "labels": 2, "classifier_pooling": "mean"}}),
    "modernbert-module-prefix": (MODERN, {"lower": False, "network": {"family": "modernbert"}, "prefix": "module."}),
    "module-prefix": (BERT, {"prefix": "module."}),
    "model-prefix": (BERT, {"prefix": "model."}),
    "no-prefix": (BERT, {"prefix": "-bert."}),
    "gamma-beta": (BERT, {"gamma": True}),
    "buffers": (BERT, {"buffers": True}),
    "shards": (BERT, {"shards": True}),
    "cross-encoder-saved": (BERT, {"saved": True}),
    "cross-encoder-saved-short": (BERT, {"saved": True, "sentence": {"max_seq_length": 20, "do_lower_case": True},
                                         "tokenizer": {"tokenizer_class": "PreTrainedTokenizerFast"}, "lower": False}),
    "longformer": (ROBERTA, {"bytes": True, "network": {"family": "longformer", "positions": 66, "types": 1, "attention_window": [8, 4, 16]}}),
    # as allenai/longformer-base-4096 is: no class of the tokenizer, one window for all layers; two labels
    "longformer-one-window": ({"model_max_length": 48}, {"bytes": True, "config": {"attention_window": 6}, "network": {
        "family": "longformer", "positions": 66, "types": 1, "labels": 2, "attention_window": 6}}),
}


def build(name, settings, how, folder):
    if how.get("unigram"):
        tokenizer, rows = unigram()
    elif how.get("bytes"):
        tokenizer, rows = byte_level()
    elif how.get("network", {}).get("family") == "mpnet":
        tokenizer, rows = word_piece(mpnet=True), ROWS
    else:
        tokenizer, rows = word_piece(how.get("lower", True)), ROWS
    model = network(rows, **how.get("network", {}))
    model.save_pretrained(folder)
    if how.get("vocab"):
        (folder / "vocab.txt").write_text("\n".join(VOCAB) + "\n", encoding="utf-8")
    else:
        tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    files = dict(how.get("files", {}))
    if settings is not None:
        files["tokenizer_config.json"] = settings
    if how.get("saved"):
        with tempfile.TemporaryDirectory() as other:
            (folder / "tokenizer_config.json").write_text(json.dumps(settings))
            CrossEncoder(str(folder)).save_pretrained(other)
            for file in ["modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"]:
                shutil.copy(pathlib.Path(other) / file, folder / file)
        tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
        sentence = json.loads((folder / "sentence_bert_config.json").read_text())
        files["sentence_bert_config.json"] = {**sentence, **how.get("sentence", {})}
        files["tokenizer_config.json"] = {**settings, **how.get("tokenizer", {})}
    for file, value in files.items():
        (folder / file).write_text(json.dumps(value, ensure_ascii=False))
    config = json.loads((folder / "config.json").read_text())
    config.update(how.get("config", {}))
    keep = ["architectures", "model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
            "max_position_embeddings", "type_vocab_size", "pad_token_id", "hidden_act", "layer_norm_eps", "tokenizer_class", "id2label",
            "label2id", "sentence_transformers", "relative_attention_num_buckets", "dim", "n_layers", "n_heads", "hidden_dim", "activation",
            "norm_eps", "local_attention", "layer_types", "rope_parameters", "classifier_pooling", "cls_token_id", "sep_token_id",
            "bos_token_id", "eos_token_id", "attention_window"]
    (folder / "config.json").write_text(json.dumps({k: config[k] for k in keep if config.get(k) is not None}))


def scores(folder, turned):
    logits = CrossEncoder(str(folder)).predict(PAIRS, activation_fn=torch.nn.Identity(), convert_to_tensor=True, batch_size=1)
    if logits.ndim == 2:
        logits = logits[:, 1] - logits[:, 0]
    return [round(float(x) * (-1 if turned else 1), 6) for x in logits]


def bias_gradient(folder):
    """Of the sum of all logits, by MPNet's relative attention bias."""
    model = CrossEncoder(str(folder))
    for left, right in PAIRS:
        model.model(**model.tokenizer(left, right, truncation="longest_first", max_length=48, return_tensors="pt")).logits.sum().backward()
    return [float(f"{v:.7g}") for v in model.model.mpnet.encoder.relative_attention_bias.weight.grad.flatten().tolist()]


def gradients(folder):
    """Of the sum of all logits, by each array: its sum, and its sum with the weights -3 to 3 in turn."""
    model = CrossEncoder(str(folder))
    for left, right in PAIRS:
        tokens = model.tokenizer(left, right, truncation="longest_first", max_length=48, return_tensors="pt")
        tokens.pop("token_type_ids", None)
        model.model(**tokens).logits.sum().backward()
    found = {}
    for name, value in model.model.named_parameters():
        grad = value.grad.flatten().double()
        found[name] = [float(f"{v:.7g}") for v in [grad.sum(), (grad * (torch.arange(len(grad)) % 7 - 3)).sum()]]
    return found


def respell(folder, how):
    """Another form of the same arrays, which transformers need not be able to read."""
    path = folder / "model.safetensors"
    arrays = load_file(path)
    if prefix := how.get("prefix"):
        arrays = {(n.removeprefix(prefix[1:]) if prefix[0] == "-" else prefix + n): a for n, a in arrays.items()}
    if how.get("gamma"):
        arrays = {n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): a for n, a in arrays.items()}
    if how.get("buffers"):
        arrays["bert.embeddings.position_ids"] = torch.arange(64).unsqueeze(0)
        arrays["bert.embeddings.token_type_ids"] = torch.zeros(1, 64, dtype=torch.int64)
    if how.get("shards"):
        names = sorted(arrays)
        half = len(names) // 2
        parts = {f"model-0000{i + 1}-of-00002.safetensors": part for i, part in enumerate([names[:half], names[half:]])}
        for file, part in parts.items():
            save_file({n: arrays[n] for n in part}, folder / file, metadata={"format": "pt"})
        index = {"metadata": {"total_size": 0}, "weight_map": {n: file for file, part in parts.items() for n in part}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        path.unlink()
    elif any(how.get(key) for key in ["prefix", "gamma", "buffers"]):
        save_file(arrays, path, metadata={"format": "pt"})


def share(folder, kept):
    """Moves a file that another case has too under `shared/`; gives its name there."""
    links = {}
    for file in sorted(folder.iterdir()):
        if file.stat().st_size > 2000:
            data = file.read_bytes()
            at = next((name for name, other in kept.items() if other == data), None)
            if at is None:
                at = f"{len(kept)}-{file.name}"
                kept[at] = data
            links[file.name] = at
            file.unlink()
    return links


def main():
    assert transformers.__version__.startswith("5.24"), transformers.__version__
    kept, expected = {}, {"pairs": PAIRS, "transformers": transformers.__version__, "cases": {}}
    for old in ["cases", "shared"]:
        shutil.rmtree(HERE / old, ignore_errors=True)
    for name, (settings, how) in CASES.items():
        folder = HERE / "cases" / name
        folder.mkdir(parents=True)
        build(name, settings, how, folder)
        own = folder / "tokenizer_config.json"
        if "measured" in how:
            own.write_text(json.dumps({**settings, **how["measured"]}))
        values = scores(folder, how.get("turned", False))
        if "measured" in how:
            own.write_text(json.dumps(settings))
        extra = {"bias_gradient": bias_gradient(folder)} if name == "mpnet" else {}
        if name in ("modernbert", "longformer"):
            extra = {"gradients": gradients(folder)}
        respell(folder, how)
        if how.get("shards"):
            assert all(abs(a - b) < 1e-5 for a, b in zip(scores(folder, False), values)), name
        for file in folder.iterdir():
            if file.name == "README.md":
                file.unlink()
        expected["cases"][name] = {"files": share(folder, kept), "scores": values, **extra}
        print(name, values[:4], flush=True)
    (HERE / "shared").mkdir()
    for name, data in kept.items():
        (HERE / "shared" / name).write_bytes(data)
    (HERE / "expected.json").write_text(json.dumps(expected, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


@torch.no_grad()
def real_mpnet(folder):
    """Ids, and 8 values of the first token's last state and of the mean, of each pair."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    cases = []
    for left, right in PAIRS:
        tokens = tokenizer(left, right, truncation="longest_first", max_length=128, return_tensors="pt")
        states = model(**tokens).last_hidden_state[0]
        values = [[float(f"{v:.7g}") for v in row[:: 768 // 8].tolist()] for row in [states[0], states.mean(0)]]
        cases.append({"ids": tokens["input_ids"][0].tolist(), "first": values[0], "mean": values[1]})
    lines = ",\n".join(json.dumps(case) for case in cases)
    (HERE / "mpnet.json").write_text("[\n" + lines + "\n]\n")


if __name__ == "__main__":
    real_mpnet(sys.argv[2]) if sys.argv[1:2] == ["--mpnet"] else main()
