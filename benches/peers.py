"""Sverka's engine and PyTorch, ONNX Runtime and OpenVINO: same weights, same threads, runs in turn.

Every engine lives in a process of its own that waits for commands (examples/bench_worker.rs, peer_worker.py). A row of the
table is measured in rounds; in a round each contender gets a short turn, one after the other, so that a machine whose speed
drifts drifts under all of them. Figures are medians over rounds; a ratio has its lowest and highest round with it.

GFLOP/s count what the texts need by the textbook formula (every token through every layer, no padding), so an engine gains by
not computing. "share" is that over the best product of our own kernels at that precision on operands that stay in cache.
"""

import argparse
import csv
import fnmatch
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from statistics import median

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path.insert(0, HERE)

from prepare import SHAPES
from report import claims, cost_plot, machine, print_claims, print_row

SERVING = {
    "sverka": ["f32", "bf16", "int8"],
    "torch": ["f32", "bf16", "bf16-weights"],
    "onnxruntime": ["f32", "int8"],
    "openvino": ["f32", "bf16", "int8", "int8-bf16"],
}
ON_GPU = {"sverka": ["f32", "bf16"], "torch": ["f32", "bf16", "bf16-weights", "bf16-compiled"]}
TRAINING = {"sverka": ["f32", "bf16"], "torch": ["f32", "bf16"]}
# Workers that are programs of this repository.
WORKERS = {"sverka": os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release/examples/bench_worker")}
# What is prepared for all workers.
WORK = os.path.join(ROOT, "target", "peers")
STREAM = 32  # pairs of a batch
# Nothing is cut but two tokens of the longest pair; at 128 a third would be, and batches of like lengths hide what padding costs.
STREAM_TOKENS = 256


@dataclass
class Row:
    """One line of work that several contenders do."""

    name: str
    model: str
    command: dict
    pairs: int
    tokens: list  # tokens of each pair
    contenders: list  # (engine, setting, further keys of the command)
    train: bool = False
    quick: bool = False
    rounds: int = 3
    seconds: list = field(default_factory=list)


class Engine:
    """A worker process."""

    def __init__(self, name, threads, device):
        count = str(threads)
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
        env = dict(os.environ, TOKENIZERS_PARALLELISM="true", HF_HUB_OFFLINE="1", SVERKA_BENCH_DEVICE=device, **{n: count for n in names})
        command = [WORKERS[name]] if name in WORKERS else [sys.executable, os.path.join(HERE, "peer_worker.py"), name]
        self.name, self.loaded, self.texts = name, set(), None
        self.process = subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def send(self, **command):
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        return json.loads(line) if line else {"error": f"{self.name} died"}

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def read_texts(data, part):
    """Pairs of a DeepMatcher folder as [left, right, label], all fields but the id joined."""
    tables = []
    for table in ("tableA.csv", "tableB.csv"):
        with open(os.path.join(data, table), newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            join = lambda row: " ".join(" ".join(v.split()) for k, v in row.items() if k != "id" and v and v.strip())
            tables.append({row["id"]: join(row) for row in rows})
    with open(os.path.join(data, part + ".csv"), newline="", encoding="utf-8") as file:
        return [[tables[0][r["ltable_id"]], tables[1][r["rtable_id"]], float(r["label"])] for r in csv.DictReader(file)]


def gflop(shape, tokens, train):
    """Of one pair: products and attention of every layer; a training step is three forward passes."""
    h, f, layers = shape["hidden_size"], shape["intermediate_size"], shape["num_hidden_layers"]
    forward = layers * (tokens * (8 * h * h + 4 * h * f) + 4 * tokens * tokens * h)
    return forward * (3 if train else 1) / 1e9


def serving(against, settings=SERVING):
    return [(e, s, {}) for e in ("sverka", *against) for s in settings.get(e, [])]


def rows_of_model(args):
    """The fixed shapes, as far as the model's position table goes."""
    with open(os.path.join(args.model, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    if config["vocab_size"] <= 1000:
        sys.exit(f"error: --model {args.model}: token ids are drawn from 1000 up, and its vocabulary has {config['vocab_size']}")
    SHAPES["model"] = {key: config[key] for key in SHAPES["base"]}
    shapes = [(b, t) for b, t in ((32, 64), (8, 128), (1, 32)) if t <= config["max_position_embeddings"]]
    command = lambda b, t: {"do": "shape", "batch": b, "tokens": t, "seconds": args.seconds}
    return [Row(f"serve-model-{b}x{t}", "model", command(b, t), b, [t] * b, serving(args.against), quick=True) for b, t in shapes]


def rows_on_gpu(args):
    """Scoring on a GPU compared with PyTorch: batches that a request brings, and batches that fill the device."""
    out, contenders = [], serving(args.against, ON_GPU)
    for model in ("minilm", "base"):
        for batch, tokens in ((1, 32), (32, 64), (8, 128), (1024, 64), (256, 256)):
            command = {"do": "shape", "batch": batch, "tokens": tokens, "seconds": args.seconds}
            out.append(Row(f"serve-{model}-{batch}x{tokens}", model, command, batch, [tokens] * batch, contenders, quick=batch in (32, 1024)))
        if args.test:
            command = {"do": "stream", "batch": 512, "pairs": len(args.test), "texts": "test", "max_tokens": STREAM_TOKENS}
            settings = [c for c in contenders if not c[1].endswith("compiled")]
            ours = [c for c in settings if c[0] == "sverka"]
            peers = [(e, s, {"order": o}) for e, s, _ in settings if e != "sverka" for o in ("sorted", "arrival")]
            out.append(Row(f"stream-{model}", model, command, len(args.test), [], ours + peers, quick=True))
    return out


def rows(args):
    """Everything that can be measured."""
    if args.model:
        return rows_of_model(args)
    if args.device != "cpu":
        return chosen_rows(args, rows_on_gpu(args))
    out, against = [], args.against
    # MiniLM first: whoever stops early has the rows that matter most.
    for model, seconds in (("minilm", args.seconds), ("base", 0.7 * args.seconds)):
        for batch, tokens in ((32, 64), (8, 128), (1, 32)):
            command = {"do": "shape", "batch": batch, "tokens": tokens, "seconds": seconds}
            quick = model == "minilm" and batch != 8
            out.append(Row(f"serve-{model}-{batch}x{tokens}", model, command, batch, [tokens] * batch, serving(against), quick=quick))
        if model == "minilm" and args.test:
            pairs = 128 if args.quick else 256
            command = {"do": "stream", "batch": STREAM, "pairs": pairs, "texts": "test", "max_tokens": STREAM_TOKENS}
            contenders = [("sverka", s, {}) for s in ("f32", "bf16", "int8")]
            chosen = {"torch": ["f32", "bf16"], "onnxruntime": ["int8"], "openvino": ["bf16", "int8", "int8-bf16"]}
            if args.quick:
                chosen = {"onnxruntime": ["int8"], "openvino": ["int8", "int8-bf16"]}
            for engine in against:
                contenders += [(engine, s, {"order": o}) for o in ("sorted", "arrival") for s in chosen.get(engine, [])]
            out.append(Row("stream-minilm", model, command, pairs, [], contenders, quick=True))
        if "torch" not in against:
            continue
        for batch, tokens in ((32, 64), (8, 128)):
            command = {"do": "train", "batch": batch, "tokens": tokens, "seconds": 2 * args.seconds if model == "minilm" else 0.1}
            out.append(
                Row(
                    f"train-{model}-{batch}x{tokens}",
                    model,
                    command,
                    batch,
                    [tokens] * batch,
                    serving(["torch"], TRAINING),
                    train=True,
                    quick=model == "minilm" and batch == 32,
                    rounds=3 if model == "minilm" else 2,
                )
            )
        if model == "minilm" and args.train:
            pairs = 64 if args.quick else 128
            command = {"do": "train_stream", "batch": STREAM, "pairs": pairs, "texts": "train", "max_tokens": STREAM_TOKENS}
            contenders = serving(["torch"], TRAINING)
            out.append(Row("train-minilm-stream", model, command, pairs, [], contenders, train=True, quick=True))
    peers = [(e, s, {}) for e, s in (("openvino", "int8"), ("onnxruntime", "int8")) if e in against][:1]
    for tokens in (16, 32, 64, 96, 128, 192, 256, 384, 512):
        batch = max(1, 2048 // tokens)
        command = {"do": "shape", "batch": batch, "tokens": tokens, "seconds": 0.5 * args.seconds}
        contenders = [("sverka", s, {}) for s in ("f32", "int8")] + peers
        out.append(Row(f"length-minilm-{tokens}", "minilm", command, batch, [tokens] * batch, contenders, rounds=2))
    return chosen_rows(args, out)


def chosen_rows(args, out):
    if args.rows:
        return [r for r in out if any(fnmatch.fnmatch(r.name, p) or p in r.name for p in args.rows.split(","))]
    return [r for r in out if r.quick or not args.quick]


class Bench:
    def __init__(self, args):
        self.args = args
        self.engines, self.notes, self.hello = {}, [], {}

    def note(self, text):
        self.notes.append(text)
        print("note: " + text, file=sys.stderr, flush=True)

    def engine(self, name, key=None):
        key = key or name
        if key not in self.engines:
            self.engines[key] = Engine(name, self.args.threads, self.args.device)
            self.hello[name] = self.engines[key].send(do="hello")
        return self.engines[key]

    def close(self):
        for engine in self.engines.values():
            engine.close()
        self.engines = {}

    def folder(self, model):
        """The directory of a shape, prepared."""
        folder = os.path.join(WORK, model)
        weights = {"minilm": self.args.weights, "model": self.args.model}.get(model)
        export = self.args.device == "cpu" and self.args.against != ["torch"]
        job = {"name": model, "folder": folder, "weights": weights, "texts": self.args.texts, "export": export}
        threads = {"OMP_NUM_THREADS": str(self.args.threads)}
        done = subprocess.run(
            [sys.executable, os.path.join(HERE, "prepare.py")],
            input=json.dumps(job),
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=None if self.args.verbose else subprocess.PIPE,
            env=dict(os.environ, **threads),
        )
        if done.returncode:
            sys.exit(f"error: the peers' models of {model} could not be made:\n" + (done.stderr or "")[-2000:])
        return folder

    def peak(self):
        """Best products of the CPU's cores; of a GPU none is measured."""
        if self.args.device != "cpu":
            return {}
        return self.engine("sverka").send(do="peak", seconds=0.15)

    def ready(self, row, engine, setting, folder):
        """Loads what a contender needs; returns None where it can't."""
        key = f"{row.model}-{setting}-{'train' if row.train else 'serve'}"
        worker = self.engine(engine, f"{engine}-{key}" if row.train else engine)
        if row.command.get("texts"):
            wanted = (row.command["texts"], row.command["max_tokens"])
            if worker.texts != wanted:
                file = os.path.join(WORK, wanted[0] + ".jsonl")
                answer = worker.send(do="texts", file=file, model=folder, max_tokens=wanted[1])
                if "error" in answer:
                    return self.note(f"{row.name} {engine}: {answer['error']}")
                worker.texts = wanted
                if engine == "sverka":
                    row.tokens = answer["tokens"][: row.pairs]
                    row.pairs = len(row.tokens)
        if key not in worker.loaded:
            answer = worker.send(do="load", key=key, model=folder, setting=setting, train=row.train)
            if "error" in answer:
                return self.note(f"{row.name} {engine} {setting}: {answer['error']}")
            worker.loaded.add(key)
            if row.train:
                worker.send(do="memory", reset=True)
        return worker, key

    def row(self, row, folder, peak):
        """Measures one row; returns its results by contender."""
        results = {}
        command = {k: v for k, v in row.command.items() if k not in ("texts", "max_tokens")}
        for _ in range(self.args.rounds or row.rounds):
            for engine, setting, more in row.contenders:
                name = (engine, setting, *more.values())
                if name in results and results[name] is None:
                    continue
                ready = self.ready(row, engine, setting, folder)
                answer = ready[0].send(**command, key=ready[1], **more) if ready else {}
                if "ms" not in answer:
                    if ready:
                        self.note(f"{row.name} {' '.join(name)}: {answer.get('error')}")
                    results[name] = None
                    continue
                got = results.setdefault(name, {"rounds": [], "ms": [], "logit": answer.get("logit")})
                # a stream is one long run; of a shape, the middle run speaks for the round
                got["rounds"].append(1e3 * answer["seconds"] if "seconds" in answer else median(answer["ms"]))
                got["ms"] += answer["ms"]
                time.sleep(0.05)  # the last one's threads stop spinning
        results = {name: got for name, got in results.items() if got}
        work = sum(gflop(SHAPES[row.model], t, row.train) for t in row.tokens)
        for (engine, setting, *more), got in results.items():
            whole = median(got["rounds"]) / 1e3
            ms = sorted(got["ms"])
            got |= {
                "engine": engine,
                "setting": setting,
                "order": more[0] if more else ("arrival" if not row.command["do"] in ("shape", "train") else ""),
                "pairs_per_second": row.pairs / whole,
                "tokens_per_second": sum(row.tokens) / whole,
                "p50_ms": median(ms),
                "p95_ms": ms[min(len(ms) - 1, int(0.95 * len(ms)))],
                "gflops": work / whole,
                "share": work / whole / peak[setting.split("-")[0]] if peak else None,
            }
            if engine == "torch" and row.command["do"] == "train_stream":
                got["order"] = "buckets"
            if row.train:
                key = f"{row.model}-{setting}-train"
                memory = self.engines[f"{engine}-{key}"].send(do="memory", reset=False)
                got["peak_mb"], got["idle_mb"] = memory["peak_mb"], self.hello[engine].get("resident_mb")
            del got["ms"]
        self.compare_logits(row, results)
        return list(results.values())

    def compare_logits(self, row, results):
        """The same weights must give about the same score everywhere, or the speeds compare different work."""
        exact = next((g["logit"] for n, g in results.items() if n[:2] == ("sverka", "f32")), None)
        if exact is None or row.train:
            return
        for name, got in results.items():
            limit = 1e-3 if name[1] == "f32" else 0.1 + 0.1 * abs(exact)
            if got["logit"] is None or not abs(got["logit"] - exact) <= limit:
                self.note(f"{row.name} {' '.join(name)}: the first score is {got['logit']}, f32 has {exact}")


def arguments():
    p = argparse.ArgumentParser(description="Measure Sverka's engine and PyTorch, ONNX Runtime and OpenVINO.")
    p.add_argument("--quick", action="store_true", help="the table's most important rows, in about four minutes")
    p.add_argument("--rows", help="names or patterns of rows, separated by commas; --list names them")
    p.add_argument("--list", action="store_true", help="name the rows and stop")
    p.add_argument("--against", default="torch,onnxruntime,openvino", help="peers, separated by commas")
    p.add_argument("--model", help="measure this plain f32 directory of any BERT's shape, and nothing else (`sverka bench --against`)")
    p.add_argument("--weights", help="a directory of MiniLM-L6's shape with published weights [random weights]")
    p.add_argument("--data", default=os.path.join(ROOT, "..", "shared", "data", "products", "abt-buy"), help="a DeepMatcher folder")
    p.add_argument("--device", default="cpu", help="cpu, or cuda: scoring on a GPU compared with PyTorch (build bench_worker with --features cuda)")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--seconds", type=float, default=0.6, help="of a contender's turn on a fixed shape [0.6]")
    p.add_argument("--rounds", type=int, help="rounds of every row [3; 2 where a run takes long]")
    p.add_argument("--json", help="file to write the results to [target/peers/results.json]")
    p.add_argument("--plot", help="SVG file for the cost of a pair by length, e.g. docs/cost-by-length.svg")
    p.add_argument("--verbose", action="store_true", help="show what the preparation of models prints")
    args = p.parse_args()
    args.against = [a for a in args.against.split(",") if a]
    if args.device != "cpu":
        args.against = [a for a in args.against if a in ON_GPU]
    unknown = set(args.against) - set(SERVING)
    if unknown:
        sys.exit(f"error: --against {','.join(sorted(unknown))}: give some of torch,onnxruntime,openvino")
    if args.threads < 1 or args.seconds <= 0:
        sys.exit("error: --threads and --seconds are above 0")
    return args


def prepared():
    """What was asked for, with the texts, and the rows; the texts are written down for the workers."""
    args = arguments()
    if os.path.isdir(args.data):
        args.texts, args.test, args.train = (read_texts(args.data, part) for part in ("valid", "test", "train"))
    else:
        args.texts, args.test, args.train = [[f"item {i} red", f"item {i} blue", 0.0] for i in range(128)], [], []
    todo = rows(args)
    if args.list or not todo:
        names = " ".join(r.name for r in (todo or rows(argparse.Namespace(**vars(args) | {"rows": None, "quick": False}))))
        sys.exit(None if args.list and not print(names) else f"error: --rows {args.rows}: no such row; there are {names}")
    os.makedirs(WORK, exist_ok=True)
    for part in ("test", "train"):
        with open(os.path.join(WORK, part + ".jsonl"), "w", encoding="utf-8") as file:
            file.writelines(json.dumps(text) + "\n" for text in getattr(args, part))
    return args, todo


def main():
    args, todo = prepared()
    began, bench = time.time(), Bench(args)
    if not args.test:
        bench.note(f"no texts in {args.data}: the rows of the stream are left out")
    here = machine(args.threads, args.device)
    print(f"# {here['cpu']}: class {here['class']}, {args.threads} threads, load {here['load']}", flush=True)
    folders = {model: bench.folder(model) for model in dict.fromkeys(r.model for r in todo)}
    peak = bench.peak()
    if peak:
        print("best product, GFLOP/s: " + ", ".join(f"{k} {v:.0f}" for k, v in peak.items()), flush=True)
    report, last = [], None
    for row in todo:
        # memory of a training step is read from processes that do nothing else; one model's workers go before the next's come
        if last and (row.model, row.train, row.train and row.name) != last:
            bench.close()
        last = (row.model, row.train, row.train and row.name)
        results = bench.row(row, folders[row.model], peak)
        report.append({"row": row.name, "pairs": row.pairs, "tokens": sum(row.tokens), "results": results})
        print_row(report[-1])
    last_peak = bench.peak()
    bench.close()
    if any(abs(last_peak[k] / peak[k] - 1) > 0.1 for k in peak):
        after = ", ".join(f"{k} {v:.0f}" for k, v in last_peak.items())
        bench.note(f"the machine's speed moved by more than a tenth in between; best product afterwards: {after}")
    found = claims(report, here["class"])
    print_claims(found)
    versions = {name: hello.get("version") for name, hello in bench.hello.items()}
    whole = {
        "machine": here,
        "unit": bench.hello["sverka"].get("unit"),
        "versions": versions,
        "best_product_gflops": [peak, last_peak],
        "seconds": time.time() - began,
        "rows": report,
        "claims": found,
        "notes": bench.notes,
    }
    path = args.json or os.path.join(WORK, "results.json")
    with open(path, "w") as file:
        json.dump(whole, file, indent=1)
    if args.plot:
        cost_plot(report, args.plot, f"{here['cpu']}, {args.threads} threads")
    print(f"\n{whole['seconds']:.0f} s; unit {whole['unit']}; all figures in {os.path.relpath(path)}")


if __name__ == "__main__":
    main()
