#!/usr/bin/env python3
"""ColBERT's scores by Python: plain PyTorch, PyLate and sentence-transformers.

    python make.py torch       (torch, transformers): expected.json, stanford/
    python make.py pylate      (pylate 1.6, sentence-transformers 5.3): pylate/
    python make.py st          (sentence-transformers 6.2): st/
    python make.py check DIR   either of the two: scores of a folder that `sverka export` wrote, as JSON, of the texts of expected.json

expected.json: for some settings the score of every query with every document over the random checkpoint of tests/golden/bert/rubert, by the
definition. stanford/, pylate/ and st/ are small random models as the three programs write them, each with `scores.json`.
"""

import json
import math
import string
import sys
from pathlib import Path

try:
    import torch
except ImportError:
    sys.exit(77)  # the test that checks says what is missing

HERE = Path(__file__).resolve().parent
FROM = HERE.parent / "bert" / "rubert"
QUERIES = ["Монитор игровой Acer 27 дюймов", "Чай чёрный 100 пакетиков", "чай", ""]
DOCUMENTS = ["монитор LG 27", "Чай зелёный, 25 пакетов по 2 г.", "Ёлка № 5, 250мл/100г", "чай", " ".join(["Монитор 27,"] * 12), ""]
SKIP = list(string.punctuation)


def texts():
    return {"queries": QUERIES, "documents": DOCUMENTS}


def write(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=None) + "\n", encoding="utf-8")


def rounded(scores):
    return [[float(f"{v:.8g}") for v in row] for row in scores]


@torch.no_grad()
def by_definition(bert, tokenizer, weight, markers, settings, max_tokens):
    """MaxSim of each query with each document."""
    ids = lambda text: tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text))
    cls, sep, mask = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.mask_token_id
    skip = set(tokenizer.convert_tokens_to_ids([w for w in settings.get("skip", SKIP) if w in tokenizer.get_vocab()]))

    def vectors(text, document):
        most = max_tokens if document else settings.get("query_length", 32)
        marker = [m for m in [markers[int(document)]] if m is not None]
        tokens = [cls, *marker, *ids(text)[: most - 2 - len(marker)], sep]
        seen = [1] * len(tokens)
        if not document and settings.get("query_expansion", True):
            more = most - len(tokens)
            tokens += [mask] * more
            seen += [int(settings.get("attend_to_expansion", False))] * more
        out = bert(input_ids=torch.tensor([tokens]), attention_mask=torch.tensor([seen])).last_hidden_state[0]
        kept = [i for i, t in enumerate(tokens) if not (document and t in skip)]
        return torch.nn.functional.normalize(out[kept] @ weight.T, dim=1)

    queries, documents = [vectors(q, False) for q in QUERIES], [vectors(d, True) for d in DOCUMENTS]
    return rounded([[(q @ d.T).max(1).values.sum().item() for d in documents] for q in queries])


def make_torch():
    from safetensors.torch import save_file
    from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizer

    tokenizer = BertTokenizer(str(FROM / "vocab.txt"), do_lower_case=False)
    bert = BertForSequenceClassification.from_pretrained(FROM, attn_implementation="eager").bert.eval()
    h = bert.config.hidden_size
    cases = []
    for settings in [
        {"dim": 24},
        {"dim": 128, "attend_to_expansion": True, "query_length": 20},
        {"dim": 8, "query_expansion": False, "query_length": 7, "skip": []},
        {"dim": 24, "query_marker": "[PAD]", "document_marker": "№", "skip": ["чай", ","]},
    ]:
        n = settings["dim"] * h
        weight = torch.tensor([0.3 * math.sin(1.7 * i + 1.0) for i in range(n)], dtype=torch.float32).reshape(-1, h)
        markers = [tokenizer.convert_tokens_to_ids(settings[k]) if k in settings else None for k in ("query_marker", "document_marker")]
        scores = by_definition(bert, tokenizer, weight, markers, settings, 128)
        cases.append({"settings": settings, "scores": scores})
    write(HERE / "expected.json", {**texts(), "cases": cases})

    # Stanford's form: one file of all arrays, markers among the unused tokens
    out = HERE / "stanford"
    out.mkdir(exist_ok=True)
    vocab = (FROM / "vocab.txt").read_text(encoding="utf-8").split("\n")
    vocab = [v for v in vocab if v] + ["[unused0]", "[unused1]"]
    (out / "vocab.txt").write_text("\n".join(vocab) + "\n", encoding="utf-8")
    torch.manual_seed(5)
    sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, max_position_embeddings=64)
    config = BertConfig(vocab_size=len(vocab), initializer_range=0.3, architectures=["HF_ColBERT"], **sizes)
    config._attn_implementation = "eager"
    bert = BertModel(config, add_pooling_layer=False).eval()
    weight = torch.randn(12, 16) * 0.3
    arrays = {f"bert.{name}": value.contiguous() for name, value in bert.state_dict().items()}
    save_file({**arrays, "linear.weight": weight}, out / "model.safetensors", metadata={"format": "pt"})
    write(out / "config.json", {**config.to_diff_dict(), "architectures": ["HF_ColBERT"], "model_type": "bert"})
    write(out / "tokenizer_config.json", {"do_lower_case": False, "tokenizer_class": "BertTokenizer", "model_max_length": 64})
    write(out / "artifact.metadata", {"query_token_id": "[unused0]", "doc_token_id": "[unused1]", "query_maxlen": 16, "doc_maxlen": 40,
                                      "dim": 12, "mask_punctuation": True, "attend_to_mask_tokens": False, "similarity": "cosine"})
    tokenizer = BertTokenizer(str(out / "vocab.txt"), do_lower_case=False)
    markers = tokenizer.convert_tokens_to_ids(["[unused0]", "[unused1]"])
    scores = by_definition(bert, tokenizer, weight, markers, {"query_length": 16}, 40)
    write(out / "scores.json", {**texts(), "scores": scores})


def encoded(model, **of):
    q = [torch.as_tensor(x).float() for x in model.encode(QUERIES, **of["query"])]
    d = [torch.as_tensor(x).float() for x in model.encode(DOCUMENTS, **of["document"])]
    return rounded([[(a @ b.T).max(1).values.sum().item() for b in d] for a in q])


def by_pylate(model):
    kinds = {"query": {"is_query": True}, "document": {"is_query": False}}
    return encoded(model, **{k: {**v, "show_progress_bar": False, "convert_to_numpy": True} for k, v in kinds.items()})


def pylate_models():
    for name in ["fast_plaid", "fast_plaid.search", "voyager", "scann"]:  # indexes, which are not used here
        import importlib.machinery
        import types

        if name not in sys.modules:
            module = types.ModuleType(name)
            module.__spec__, module.__path__ = importlib.machinery.ModuleSpec(name, None), []
            module.__getattr__ = lambda n: type(n, (), {}) if not n.startswith("__") else None
            sys.modules[name] = module
    from pylate import models

    return models


def make_pylate():
    models = pylate_models()
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(6)
    sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, max_position_embeddings=64)
    import tempfile

    with tempfile.TemporaryDirectory() as base:
        tokenizer = BertTokenizerFast(vocab=str(FROM / "vocab.txt"), vocab_file=str(FROM / "vocab.txt"), do_lower_case=False)
        tokenizer.save_pretrained(base)
        BertModel(BertConfig(vocab_size=len(tokenizer), initializer_range=0.3, **sizes), add_pooling_layer=False).save_pretrained(base)
        model = models.ColBERT(base, embedding_size=12, query_length=16, document_length=40, device="cpu")
        with torch.no_grad():
            model[1].linear.weight.copy_(torch.randn(12, 16) * 0.3)
        model.save(str(HERE / "pylate"), create_model_card=False)
    model = models.ColBERT(str(HERE / "pylate"), device="cpu")
    write(HERE / "pylate" / "scores.json", {**texts(), "scores": by_pylate(model)})


def by_st(model):
    query = [torch.as_tensor(x).float() for x in model.encode_query(QUERIES, show_progress_bar=False)]
    document = [torch.as_tensor(x).float() for x in model.encode_document(DOCUMENTS, show_progress_bar=False)]
    return rounded([[(a @ b.T).max(1).values.sum().item() for b in document] for a in query])


def make_st():
    from sentence_transformers import MultiVectorEncoder

    model = MultiVectorEncoder(str(HERE / "stanford"), device="cpu")
    model.save(str(HERE / "st"), create_model_card=False)
    model = MultiVectorEncoder(str(HERE / "st"), device="cpu")
    write(HERE / "st" / "scores.json", {**texts(), "scores": by_st(model)})


def check(folder):
    try:
        from sentence_transformers import MultiVectorEncoder

        print(json.dumps(by_st(MultiVectorEncoder(folder, device="cpu"))))
    except ImportError:
        try:
            print(json.dumps(by_pylate(pylate_models().ColBERT(folder, device="cpu"))))
        except ImportError:
            sys.exit(77)


if __name__ == "__main__":
    torch.set_num_threads(2)
    {"torch": make_torch, "pylate": make_pylate, "st": make_st}.get(sys.argv[1], lambda: check(sys.argv[2]))()
