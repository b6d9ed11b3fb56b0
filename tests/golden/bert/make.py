#!/usr/bin/env python3
"""Makes the small random checkpoints of this folder and the numbers that transformers computes with them and with two real ones.

    python tests/golden/bert/make.py            (torch, transformers, safetensors; run scripts/weights before)

Writes {one,three,five}-segments/ and rubert/ (model directories), and expected.json: by directory a list of sequences
(ids, segments; texts where the tokenizer is tested too), and for each of them first token, last token and mean over tokens of
the embeddings and of every layer's output, the pooled first token, the logits, and of each layer the attention of the first
token in the first head and of the last token in the last head: the first WIDE values of each, in f32. gradients.json: the
first WIDE values of each parameter's gradient, the loss being the sum over the sequences of three-segments/ of logit 1 - logit 0.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, BertModel, BertTokenizer

HERE = Path(__file__).resolve().parent
WEIGHTS = HERE.parents[2] / "weights"
WIDE = 16


def numbers(tensor):
    return [float(f"{v:.7g}") for v in tensor.flatten()[:WIDE].tolist()]


@torch.no_grad()
def sequence(model, ids, segments, pooler=True, **more):
    """What the model makes of one sequence, alone and without padding."""
    bert = getattr(model, "bert", model)
    out = bert(
        input_ids=torch.tensor([ids]),
        token_type_ids=torch.tensor([segments]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        output_hidden_states=True,
        output_attentions=True,
    )
    states = [h[0] for h in out.hidden_states]
    case = {"ids": ids, "segments": segments, **more}
    case["hidden"] = [[numbers(s[0]), numbers(s[-1]), numbers(s.mean(0))] for s in states]
    case["attention"] = [[numbers(a[0, 0, 0]), numbers(a[0, -1, -1])] for a in out.attentions]
    if pooler:
        case["pooled"] = numbers(out.pooler_output[0])
    if hasattr(model, "classifier"):
        case["logits"] = numbers(model.classifier(out.pooler_output)[0])
    return case


def random_model(kind, seed, **sizes):
    torch.manual_seed(seed)
    model = kind(BertConfig(hidden_act="gelu", attn_implementation="eager", **sizes)).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.normal_(1.0 if name.endswith("LayerNorm.weight") else 0.0, 0.25)
    return model


def drawn(seed, vocabulary, segments, lengths):
    """Sequences of these lengths with every segment in use."""
    g = torch.Generator().manual_seed(seed)
    for n in lengths:
        ids = torch.randint(0, vocabulary, (n,), generator=g).tolist()
        yield ids, sorted(torch.randint(0, segments, (n,), generator=g).tolist())


def save(model, out, rename=lambda name: name):
    out.mkdir(exist_ok=True)
    model.save_pretrained(out)
    tensors = {rename(name): value for name, value in load_file(out / "model.safetensors").items()}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})


def letters(out, words):
    """A vocabulary of special tokens, letters and a few words, so that the directory is whole."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (out / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")


def main():
    torch.set_num_threads(2)
    expected = {}
    odd = {"num_hidden_layers": 2, "intermediate_size": 37}
    latin = [c for c in "abcdefghijklmnopqrstuvwxyz0123456789"]

    # One segment, one label.
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "type_vocab_size": 1, "max_position_embeddings": 40}
    model = random_model(BertForSequenceClassification, 1, vocab_size=50, num_labels=1, **sizes, **odd)
    save(model, HERE / "one-segment")
    letters(HERE / "one-segment", latin)
    expected["one-segment"] = [sequence(model, *s) for s in drawn(1, 50, 1, [1, 2, 7, 16, 40])]

    # Three segments, three heads of ten, two labels, the old names of LayerNorm.
    sizes = {"hidden_size": 30, "num_attention_heads": 3, "type_vocab_size": 3, "max_position_embeddings": 67}
    model = random_model(BertForSequenceClassification, 3, vocab_size=61, num_labels=2, **sizes, **odd)
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    save(model, HERE / "three-segments", lambda n: next((n.replace(k, v) for k, v in old.items() if n.endswith(k)), n))
    letters(HERE / "three-segments", latin)
    expected["three-segments"] = [sequence(model, *s) for s in drawn(3, 61, 3, [1, 3, 17, 33, 67])]

    model.zero_grad()
    for case in expected["three-segments"]:
        logits = model(torch.tensor([case["ids"]]), token_type_ids=torch.tensor([case["segments"]])).logits
        (logits[0, 1] - logits[0, 0]).backward()
    gradients = {name: numbers(p.grad) for name, p in model.named_parameters()}
    lines = ",\n".join(json.dumps(name) + ": " + json.dumps(values) for name, values in gradients.items())
    (HERE / "gradients.json").write_text("{\n" + lines + "\n}\n")

    # Five segments, the names of a bare BertModel, a larger epsilon.
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "type_vocab_size": 5, "max_position_embeddings": 64}
    model = random_model(BertModel, 5, vocab_size=48, layer_norm_eps=1e-3, **sizes, **odd)
    save(model, HERE / "five-segments")
    letters(HERE / "five-segments", latin)
    expected["five-segments"] = [sequence(model, *s) for s in drawn(5, 48, 5, [5, 1, 64, 31, 32])]

    # RuBERT's manner: cased Cyrillic WordPiece in vocab.txt, no tokenizer.json; long and empty texts.
    out = HERE / "rubert"
    out.mkdir(exist_ok=True)
    pieces = ["Монитор", "монитор", "игровой", "Чай", "чай", "чёрный", "зелёный", "пакет", "##ов", "##ый", "##ик", "100", "25"]
    pieces += ["г", "##г", "мл", "##мл", "Acer", "LG", "27", "дюйм", "##ов", "##а", "-", ".", ",", "/", "%", "№", "(", ")"]
    singles = "абвгдеёжзийклмнопрстуфхцчшщъыьэюяАБВГДЕЁЖЗИЙКЛМНОПРСТУФХЦЧШЩЭЮЯabcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    pieces = list(dict.fromkeys(pieces + list(singles) + ["##" + c for c in singles]))
    letters(out, pieces)
    settings = {"do_lower_case": False, "tokenizer_class": "BertTokenizer", "model_max_length": 512}
    (out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    tokenizer = BertTokenizer(str(out / "vocab.txt"), do_lower_case=False)
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "type_vocab_size": 2, "max_position_embeddings": 512}
    model = random_model(BertForSequenceClassification, 7, vocab_size=len(pieces) + 5, num_labels=1, **sizes, **odd)
    save(model, out)
    texts = [
        ("Монитор игровой Acer 27 дюймов", "монитор LG 27\" (Игровой)"),
        ("Чай чёрный 100 пакетиков", "Чай зелёный, 25 пакетов по 2 г"),
        ("", ""),
        ("", "чай 100%"),
        ("Ёлка № 5, 250мл/100г", "ЁЛКА -- 250 мл ☃"),
        (" ".join(["чай"] * 300), " ".join(["Монитор 27"] * 104)),
    ]
    cases = []
    for left, right in texts:
        encoded = tokenizer(left, right, truncation=False)
        case = sequence(model, encoded["input_ids"], encoded["token_type_ids"], texts=[left, right])
        cases.append(case)
    expected["rubert"] = cases
    assert [len(c["ids"]) for c in cases][-1] == 511, [len(c["ids"]) for c in cases]

    # The real ones, which scripts/weights brings. bert-tiny was saved with a masked-language head and has no pooler.
    for name in ["minilm", "bert-tiny"]:
        tokenizer = AutoTokenizer.from_pretrained(WEIGHTS / name)
        model, info = BertModel.from_pretrained(
            WEIGHTS / name, output_loading_info=True, attn_implementation="eager"
        )
        pooler = not any("pooler" in key for key in info["missing_keys"])
        texts = [
            ("sony walkman nwz-e453 8gb blue", "Sony NWZ-E453 8 GB MP3 Player, Blue"),
            ("", ""),
            ("linksys etherfast 8-port 10/100 switch " * 14, "switch, 8 ports " * 60),
            ("a", "монитор"),
        ]
        cases = []
        for left, right in texts:
            encoded = tokenizer(left, right, truncation=True, max_length=512)
            more = {"texts": [left, right]} if len(encoded["input_ids"]) < 512 else {}
            cases.append(sequence(model.eval(), encoded["input_ids"], encoded["token_type_ids"], pooler, **more))
        expected[name] = cases

    lines = ",\n".join(
        json.dumps(name) + ": [\n" + ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases) + "\n]"
        for name, cases in expected.items()
    )
    (HERE / "expected.json").write_text("{\n" + lines + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
