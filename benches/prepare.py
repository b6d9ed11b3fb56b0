"""Models for the comparison: an ordinary Hugging Face directory, and what each peer makes of the same weights.

Run by peers.py in a process of its own; a job (name of a shape, folder, weights or none, texts) comes as JSON on stdin.
What is there is kept: the exports of a BERT-base take a minute.
"""

import hashlib
import json
import os
import shutil
import sys
import warnings

warnings.filterwarnings("ignore")

SHAPES = {
    "minilm": dict(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536),
    "base": dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072),
}
INPUTS = ["input_ids", "attention_mask", "token_type_ids"]


def train_tokenizer(path, texts):
    """A WordPiece tokenizer of the texts themselves, for machines without published weights."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=30522, special_tokens=special))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(path)


def classifier(name, folder, weights, texts):
    """Writes the directory: config.json, model.safetensors (f32, one logit) and tokenizer.json."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(1)
    if weights:
        # a head of two classes gives way to a fresh one: it does not change the work
        kind = dict(num_labels=1, ignore_mismatched_sizes=True, dtype=torch.float32)
        net = BertForSequenceClassification.from_pretrained(weights, **kind)
        if net.classifier.weight.std() < 1e-3:
            torch.nn.init.normal_(net.classifier.weight, std=0.02)
    else:
        net = BertForSequenceClassification(BertConfig(vocab_size=30522, num_labels=1, **SHAPES[name]))
    net.save_pretrained(folder)
    tokenizer = weights and os.path.join(weights, "tokenizer.json")
    if tokenizer and os.path.exists(tokenizer):
        shutil.copy(tokenizer, folder)
    else:
        train_tokenizer(os.path.join(folder, "tokenizer.json"), [side for text in texts for side in text[:2]])


def export(folder):
    """The graph for ONNX Runtime and OpenVINO, batch and length free."""
    import torch
    from transformers import BertForSequenceClassification

    # eager attention: the pattern that ONNX Runtime's BERT optimiser knows; OpenVINO fuses it as well (same speed either way)
    net = BertForSequenceClassification.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    ids = torch.arange(32).reshape(2, 16) + 1000
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    axes = {name: {0: "b", 1: "t"} for name in INPUTS} | {"logits": {0: "b"}}
    path = os.path.join(folder, "peers", "model.onnx")
    torch.onnx.export(
        net,
        (ids, mask, torch.zeros_like(ids)),
        path,
        dynamo=False,
        opset_version=17,
        input_names=INPUTS,
        output_names=["logits"],
        dynamic_axes=axes,
    )
    return net.config


def onnx_runtime(folder, config):
    from onnx import TensorProto
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers import optimizer

    graph, fused, int8 = (os.path.join(folder, "peers", f) for f in ("model.onnx", "fused.onnx", "fused-int8.onnx"))
    heads, width = config.num_attention_heads, config.hidden_size
    model = optimizer.optimize_model(graph, model_type="bert", num_heads=heads, hidden_size=width, opt_level=1)
    if model.get_fused_operator_statistics()["Attention"] != config.num_hidden_layers:
        print("prepare: ONNX Runtime's optimiser did not fuse every attention", file=sys.stderr)
    model.save_model_to_file(fused)
    # shapes after a fused operator are not inferred; all of its outputs are floats
    more = {"DefaultTensorType": TensorProto.FLOAT}
    kinds = ["MatMul", "Attention"]
    quantize_dynamic(fused, int8, op_types_to_quantize=kinds, per_channel=True, weight_type=QuantType.QInt8, extra_options=more)


def openvino(folder, texts):
    """The int8 model of nncf, its ranges taken from up to 128 texts of the data."""
    import nncf
    import numpy as np
    import openvino as ov
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    tokenizer.enable_truncation(128)
    tokenizer.no_padding()
    encoded = tokenizer.encode_batch([tuple(text[:2]) for text in texts[:128]])
    rows = [dict(zip(INPUTS, (np.array([v], np.int64) for v in (e.ids, e.attention_mask, e.type_ids)))) for e in encoded]
    graph = ov.Core().read_model(os.path.join(folder, "peers", "model.onnx"))
    model = nncf.quantize(graph, nncf.Dataset(rows), subset_size=len(rows), model_type=nncf.ModelType.TRANSFORMER)
    ov.save_model(model, os.path.join(folder, "peers", "nncf-int8.xml"), compress_to_fp16=False)


def fingerprint(weights):
    """Of a directory's weights: another model may come under the same name."""
    with open(os.path.join(weights, "model.safetensors"), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def prepare(name, folder, weights, texts, for_cpu):
    """Fills the folder unless it is full already; ONNX Runtime's and OpenVINO's graphs are for CPUs."""
    done = os.path.join(folder, "peers", "done.json")
    with open(os.path.join(os.path.dirname(__file__), "requirements.txt")) as file:
        made_of = {"weights": weights and fingerprint(weights), "versions": file.read(), "texts": len(texts), "for_cpu": for_cpu}
    if os.path.exists(done):
        with open(done) as file:
            if json.load(file) == made_of:
                return
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(os.path.join(folder, "peers"))
    print(f"preparing {name} for the peers", file=sys.stderr)
    classifier(name, folder, weights, texts)
    if for_cpu:
        config = export(folder)
        onnx_runtime(folder, config)
        openvino(folder, texts)
    with open(done, "w") as file:
        json.dump(made_of, file)


if __name__ == "__main__":
    job = json.load(sys.stdin)
    prepare(job["name"], job["folder"], job["weights"], job["texts"], job["export"])
