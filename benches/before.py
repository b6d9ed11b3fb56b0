"""This engine and that of an earlier commit, in turn over the rows of benches/peers: is any row slower?

    git worktree add /tmp/before COMMIT && (cd /tmp/before && cargo build --release --workspace --example bench_worker)
    cargo build --release --workspace --example bench_worker
    python benches/before.py /tmp/before/target/release/examples/bench_worker --weights weights/minilm --seconds 0.12 --rounds 15

What follows the earlier program's path is as for benches/peers. The earlier program runs twice, under two names: its ratio to itself is what the
machine's noise makes of no difference at all.
"""

import os
import sys
from statistics import median

import peers


def main():
    if len(sys.argv) < 2 or not os.path.isfile(sys.argv[1]):
        sys.exit(f"error: give the bench_worker of an earlier commit\n\n{__doc__}")
    before = os.path.abspath(sys.argv.pop(1))
    peers.WORKERS |= {"before": before, "before again": before}
    sys.argv += ["--against", "torch"]  # whose rows have training
    (args, rows), last, ratios = peers.prepared(), None, []
    bench = peers.Bench(args)
    folders = {model: bench.folder(model) for model in dict.fromkeys(row.model for row in rows)}
    for row in rows:
        if last and (row.model, row.train) != last:
            bench.close()
        last = (row.model, row.train)
        settings = [setting for engine, setting, _ in row.contenders if engine == "sverka"]
        row.contenders = [(engine, setting, {}) for setting in settings for engine in ("before", "sverka", "before again")]
        results = {(r["engine"], r["setting"]): median(r["rounds"]) for r in bench.row(row, folders[row.model], None)}
        for setting in settings:
            ms, now, again = (results[engine, setting] for engine in ("before", "sverka", "before again"))
            ratios.append((ms / now, ms / again))
            print(f"{row.name:22} {setting:5} {ms:9.2f} ms before: now {ms / now:.3f} of that speed, before again {ms / again:.3f}", flush=True)
    bench.close()
    for name, of in zip(("now", "before again"), zip(*ratios)):
        slower = sum(ratio < 0.98 for ratio in of)
        print(f"{name}: median {median(of):.3f}, {min(of):.3f} to {max(of):.3f}; below .98 in {slower} of {len(of)}")


if __name__ == "__main__":
    main()
