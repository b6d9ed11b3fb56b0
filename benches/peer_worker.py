"""One peer in a process of its own: the same commands and answers as examples/bench_worker.rs, one JSON object a line.

Each peer runs as well as it can be run by an ordinary user: PyTorch with fused attention and inference mode, ONNX Runtime on a
graph fused for BERT, OpenVINO with fixed shapes where the shape is fixed. Nothing is padded beyond a batch's longest text.
"""

import contextlib
import gc
import json
import os
import sys
import time
import warnings

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # libraries print what they like; answers have a pipe of their own
warnings.filterwarnings("ignore")

import numpy as np
from tokenizers import Tokenizer


def drawn(vocabulary, batch, tokens):
    """Sequences by the rule of bench_worker.rs."""
    i, j = np.arange(batch)[:, None], np.arange(tokens)[None, :]
    ids = 1000 + (i * 977 + j * 131) % (vocabulary - 1000)
    segments = np.broadcast_to((j >= tokens // 2).astype(np.int64), ids.shape)
    return ids.astype(np.int64), np.ones_like(ids), np.ascontiguousarray(segments)


def padded(encodings):
    """[b, longest] arrays of ids, mask and segments."""
    longest = max(len(e.ids) for e in encodings)
    arrays = [np.zeros((len(encodings), longest), np.int64) for _ in range(3)]
    for row, e in enumerate(encodings):
        for array, values in zip(arrays, (e.ids, e.attention_mask, e.type_ids)):
            array[row, : len(values)] = values
    return tuple(arrays)


def status(name):
    try:
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name + ":"))
    except (OSError, StopIteration):
        return None


def threads():
    return int(os.environ["OMP_NUM_THREADS"])


class Torch:
    """PyTorch: f32, bf16 by autocast, bf16 weights; on a GPU also compiled for its shape. `SVERKA_BENCH_DEVICE` says where."""

    def __init__(self):
        import torch
        import transformers

        torch.set_num_threads(threads())
        transformers.logging.set_verbosity_error()
        self.torch, self.version = torch, torch.__version__
        self.module = transformers.BertForSequenceClassification
        self.device = os.environ.get("SVERKA_BENCH_DEVICE", "cpu")

    def load(self, model, setting):
        net = self.module.from_pretrained(model, attn_implementation="sdpa", dtype=self.torch.float32).eval().to(self.device)
        if setting == "bf16-compiled":
            return self.torch.compile(net.bfloat16(), mode="reduce-overhead", dynamic=False), setting
        return (net.bfloat16() if setting == "bf16-weights" else net), setting

    def cast(self, setting):
        return self.torch.autocast(self.device, self.torch.bfloat16) if setting == "bf16" else contextlib.nullcontext()

    def fix(self, loaded, batch, tokens):
        return loaded

    def score(self, loaded, arrays):
        net, setting = loaded
        ids, mask, segments = (self.torch.from_numpy(a).to(self.device) for a in arrays)
        with self.torch.inference_mode(), self.cast(setting):
            return net(input_ids=ids, attention_mask=mask, token_type_ids=segments).logits[:, 0].float().cpu().numpy()

    def load_training(self, model, setting):
        net = self.module.from_pretrained(
            model, attn_implementation="sdpa", dtype=self.torch.float32, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
        ).train()
        return net, setting, self.torch.optim.AdamW(net.parameters(), lr=2e-5, fused=True)

    def step(self, loaded, arrays, labels):
        net, setting, optimizer = loaded
        ids, mask, segments = (self.torch.from_numpy(a) for a in arrays)
        optimizer.zero_grad(set_to_none=True)
        with self.cast(setting):
            logits = net(input_ids=ids, attention_mask=mask, token_type_ids=segments).logits[:, 0]
        wanted = self.torch.from_numpy(labels)
        self.torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), wanted).backward()
        optimizer.step()


class OnnxRuntime:
    """ONNX Runtime on the graph that its own BERT optimiser fused: f32, and int8 with dynamic scales and weights per channel."""

    FILES = {"f32": "fused.onnx", "int8": "fused-int8.onnx"}

    def __init__(self):
        import onnxruntime

        self.ort, self.version = onnxruntime, onnxruntime.__version__

    def load(self, model, setting):
        options = self.ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads(), 1
        options.log_severity_level = 3
        path = os.path.join(model, "peers", self.FILES[setting])
        return self.ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def fix(self, session, batch, tokens):
        return session

    def score(self, session, arrays):
        ids, mask, segments = arrays
        return session.run(None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments})[0][:, 0]


class OpenVino:
    """OpenVINO: f32 and bf16 by its precision hint; the int8 model of nncf under either hint."""

    def __init__(self):
        import openvino

        self.ov, self.version, self.core = openvino, openvino.__version__, openvino.Core()
        self.fixed = {}

    def load(self, model, setting):
        file = "nncf-int8.xml" if setting.startswith("int8") else "model.onnx"
        graph = self.core.read_model(os.path.join(model, "peers", file))
        graph.reshape({name: [-1, -1] for name in ("input_ids", "attention_mask", "token_type_ids")})
        return {"graph": graph, "hint": "bf16" if "bf16" in setting else "f32", "requests": {}}

    def compiled(self, loaded, shape):
        if shape not in loaded["requests"]:
            graph = loaded["graph"]
            if shape is not None:
                graph = graph.clone()
                graph.reshape({name: list(shape) for name in ("input_ids", "attention_mask", "token_type_ids")})
            settings = {"INFERENCE_NUM_THREADS": threads(), "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": loaded["hint"]}
            loaded["requests"] = {shape: self.core.compile_model(graph, "CPU", settings).create_infer_request()}
        return loaded["requests"][shape]

    def fix(self, loaded, batch, tokens):
        return {**loaded, "shape": (batch, tokens), "requests": {}} if (batch, tokens) != loaded.get("shape") else loaded

    def score(self, loaded, arrays):
        ids, mask, segments = arrays
        request = self.compiled(loaded, loaded.get("shape"))
        answer = request.infer({"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}, share_inputs=True)
        return answer[0][:, 0].copy()


class Worker:
    def __init__(self, peer):
        self.peer, self.models, self.fixed, self.warm = peer, {}, {}, set()
        self.texts, self.tokenizer = [], None

    def timed(self, seconds, run):
        began, times = time.perf_counter(), []
        while not times or time.perf_counter() - began < seconds:
            start = time.perf_counter()
            run()
            times.append((time.perf_counter() - start) * 1e3)
        return times

    def first_time(self, *what):
        new = what not in self.warm
        self.warm.add(what)
        return new

    def do_hello(self):
        return {"version": self.peer.version, "threads": threads(), "resident_mb": status("VmRSS")}

    def do_load(self, key, model, setting, train):
        began = time.perf_counter()
        with open(os.path.join(model, "config.json")) as file:
            vocabulary = json.load(file)["vocab_size"]
        load = self.peer.load_training if train else self.peer.load
        self.models[key] = (load(model, setting), vocabulary)
        return {"seconds": time.perf_counter() - began}

    def do_drop(self):
        self.models.clear()
        self.fixed.clear()
        self.warm.clear()
        gc.collect()
        return {}

    def do_texts(self, file, model, max_tokens):
        with open(file) as lines:
            self.texts = [json.loads(line) for line in lines]
        self.tokenizer = Tokenizer.from_file(os.path.join(model, "tokenizer.json"))
        self.tokenizer.enable_truncation(max_tokens, strategy="longest_first")
        self.tokenizer.no_padding()
        return {"tokens": [len(e.ids) for e in self.encode(self.texts)]}

    def encode(self, texts):
        return self.tokenizer.encode_batch([(left, right) for left, right, _ in texts])

    def do_shape(self, key, batch, tokens, seconds):
        model, vocabulary = self.models[key]
        arrays = drawn(vocabulary, batch, tokens)
        if (key, batch, tokens) not in self.fixed:
            # one fixed shape of a model at a time: the copies of a big one would fill the memory
            self.fixed = {k: v for k, v in self.fixed.items() if k[0] != key}
            self.fixed[key, batch, tokens] = self.peer.fix(model, batch, tokens)
        model = self.fixed[key, batch, tokens]
        if self.first_time(key, batch, tokens):
            self.peer.score(model, arrays)
        logit = []
        times = self.timed(seconds, lambda: logit.append(float(self.peer.score(model, arrays)[0])))
        return {"ms": times, "logit": logit[0]}

    def do_stream(self, key, batch, pairs, order):
        """`sorted`: all texts tokenised, then batches of like lengths; `arrival`: batches as they come."""
        model, _ = self.models[key]
        texts = self.texts[:pairs]
        if self.first_time(key, order):
            self.peer.score(model, padded(self.encode(texts[:batch])))
        began, times, first = time.perf_counter(), [], None
        if order == "sorted":
            encoded = self.encode(texts)
            ranks = sorted(range(len(encoded)), key=lambda i: len(encoded[i].ids))
            for at in range(0, len(ranks), batch):
                start, chosen = time.perf_counter(), ranks[at : at + batch]
                scores = self.peer.score(model, padded([encoded[i] for i in chosen]))
                times.append((time.perf_counter() - start) * 1e3)
                first = float(scores[chosen.index(0)]) if 0 in chosen else first
        else:
            for at in range(0, len(texts), batch):
                start = time.perf_counter()
                scores = self.peer.score(model, padded(self.encode(texts[at : at + batch])))
                times.append((time.perf_counter() - start) * 1e3)
                first = float(scores[0]) if at == 0 else first
        return {"ms": times, "seconds": time.perf_counter() - began, "logit": first}

    def do_train(self, key, batch, tokens, seconds):
        model, vocabulary = self.models[key]
        arrays, labels = drawn(vocabulary, batch, tokens), (np.arange(batch) % 2).astype(np.float32)
        if self.first_time(key, batch, tokens):
            self.peer.step(model, arrays, labels)
        return {"ms": self.timed(seconds, lambda: self.peer.step(model, arrays, labels))}

    def do_train_stream(self, key, batch, pairs):
        """Length buckets at their best: the sample sorted by length, then cut into batches."""
        model, _ = self.models[key]
        texts = self.texts[:pairs]
        rows = sorted(zip(self.encode(texts), texts), key=lambda row: len(row[0].ids))
        steps = [rows[at : at + batch] for at in range(0, len(rows), batch)]
        steps = [(padded([e for e, _ in step]), np.array([t[2] for _, t in step], np.float32)) for step in steps]
        if self.first_time(key, "stream"):
            self.peer.step(model, *steps[-1])
        began, times = time.perf_counter(), []
        for arrays, labels in steps:
            start = time.perf_counter()
            self.peer.step(model, arrays, labels)
            times.append((time.perf_counter() - start) * 1e3)
        return {"ms": times, "seconds": time.perf_counter() - began}

    def do_memory(self, reset):
        if reset:
            with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
                file.write("5")  # the highest resident size starts again
        return {"peak_mb": status("VmHWM"), "resident_mb": status("VmRSS")}


def main():
    worker = Worker({"torch": Torch, "onnxruntime": OnnxRuntime, "openvino": OpenVino}[sys.argv[1]]())
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = getattr(worker, "do_" + command.pop("do"))(**command)
        except Exception as error:  # a peer that fails in one setting must not end the comparison
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
