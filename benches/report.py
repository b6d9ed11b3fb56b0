"""Tables, the issue's targets and what was measured, and the plot of cost by length."""

import os
import subprocess

# What the engine must show: (AMX at least, aim), (AVX-512 without AMX at least, aim).
TARGETS = {
    "f32 against OpenVINO f32": ((1.0, 1.12), (1.0, 1.12)),
    "bf16 against OpenVINO bf16": ((1.2, 2.0), (1.0, 1.15)),
    "int8 against the best peer": ((1.2, 2.0), (1.15, 1.4)),
    "int8 against PyTorch f32": ((6.5, 10.0), (4.0, 4.8)),
    "int8 against own f32": (None, None),
    "one short pair, best of ours against the best peer": ((1.2, 2.0), (1.1, 1.4)),
    "stream int8 against the best peer's int8, sorted": ((1.2, 2.0), (1.15, 1.4)),
    "stream int8 against the best peer's int8, arrival": ((1.8, 3.0), (1.8, 2.2)),
    "training bf16 against PyTorch's better": ((2.3, 4.0), (1.4, 1.7)),
    "training stream bf16 against PyTorch's better": ((2.3, 4.0), (1.4, 1.8)),
    "peak memory of the step, share of PyTorch's": ((0.5, 0.3), (0.5, 0.3)),
    "GPU f32 against PyTorch f32": (None, None),
    "GPU bf16 against PyTorch's fastest": (None, None),
}


def machine(threads, device):
    """CPU (or GPU), class (amx, avx512, other; cuda) and load of this machine."""
    try:
        with open("/proc/cpuinfo") as file:
            lines = [line.split(":", 1) for line in file.read().split("\n\n")[0].splitlines() if ":" in line]
        facts = {k.strip(): v.strip() for k, v in lines}
    except OSError:
        facts = {}
    flags = set(facts.get("flags", "").split())
    kind = "amx" if "amx_int8" in flags else "avx512" if "avx512_vnni" in flags else "other"
    cpu = facts.get("model name", "unknown CPU")
    if facts.get("vendor_id") == "AuthenticAMD":
        cpu += f" family {facts.get('cpu family')} model {facts.get('model')}"
    if device != "cpu":
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        cpu, kind = subprocess.run(query, capture_output=True, text=True).stdout.strip().replace("\n", ", "), "cuda"
    return {"cpu": cpu, "class": kind, "cores": os.cpu_count(), "threads": threads, "load": f"{os.getloadavg()[0]:.1f}"}


def per_second(result):
    return result["pairs_per_second"]


def ratio(ours, theirs):
    """Medians' ratio, with those of the worst and the best round."""
    rounds = [t / o for o, t in zip(ours["rounds"], theirs["rounds"])]
    return {"ratio": per_second(ours) / per_second(theirs), "low": min(rounds), "high": max(rounds)}


def print_row(row):
    results = row["results"]
    peers = [r for r in results if r["engine"] != "sverka"]
    best = max(peers, key=per_second, default=None)
    mean = row["tokens"] / max(1, row["pairs"])
    print(f"\n## {row['row']}: {row['pairs']} pairs, {mean:.0f} tokens each")
    print("| engine | setting | order | pairs/s | tokens/s | p50 ms | p95 ms | GFLOP/s | share | peak MB (idle) | of best peer | rounds |")
    print("| --- | --- | --- | --: | --: | --: | --: | --: | --: | --: | --: | --- |")
    for r in sorted(results, key=per_second, reverse=True):
        memory = f"{r['peak_mb']:.0f} ({r['idle_mb']:.0f})" if r.get("peak_mb") and r.get("idle_mb") else ""
        against = ratio(r, best) if best else None
        cells = [r["engine"], r["setting"], r["order"], f"{per_second(r):.1f}", f"{r['tokens_per_second']:.0f}"]
        share = f"{r['share']:.0%}" if r["share"] else ""
        cells += [f"{r['p50_ms']:.2f}", f"{r['p95_ms']:.2f}", f"{r['gflops']:.0f}", share, memory]
        cells += [f"{against['ratio']:.2f}", f"{against['low']:.2f}-{against['high']:.2f}"] if against else ["", ""]
        print("| " + " | ".join(cells) + " |", flush=True)


def claims(report, kind):
    """The issue's table for the rows that were measured."""
    found = []

    def claim(row, what, ours, peers):
        ours = [r for r in ours if r]
        if ours and peers:
            us, them = max(ours, key=per_second), max(peers, key=per_second)
            wanted = TARGETS[what] and TARGETS[what][0 if kind == "amx" else 1]
            name = " ".join(filter(None, (them["engine"], them["setting"], them["order"])))
            found.append({"row": row, "what": what, **ratio(us, them), "against": name, "wanted": wanted})

    for row in report:
        name, results = row["row"], row["results"]
        own = {r["setting"]: r for r in results if r["engine"] == "sverka"}
        peers = [r for r in results if r["engine"] != "sverka"]

        def pick(**wanted):
            return [r for r in peers if all(r[k].startswith(v) if k == "setting" else r[k] == v for k, v in wanted.items())]

        if kind == "cuda":
            claim(name, "GPU f32 against PyTorch f32", [own.get("f32")], pick(engine="torch", setting="f32"))
            claim(name, "GPU bf16 against PyTorch's fastest", [own.get("bf16")], peers)
        elif name.startswith("serve") and row["pairs"] == 1:
            claim(name, "one short pair, best of ours against the best peer", list(own.values()), peers)
        elif name.startswith("serve"):
            claim(name, "f32 against OpenVINO f32", [own.get("f32")], pick(engine="openvino", setting="f32"))
            claim(name, "bf16 against OpenVINO bf16", [own.get("bf16")], pick(engine="openvino", setting="bf16"))
            claim(name, "int8 against the best peer", [own.get("int8")], peers)
            claim(name, "int8 against PyTorch f32", [own.get("int8")], pick(engine="torch", setting="f32"))
            claim(name, "int8 against own f32", [own.get("int8")], [own["f32"]] if "f32" in own else [])
        elif name.startswith("stream"):
            for order in ("sorted", "arrival"):
                what = f"stream int8 against the best peer's int8, {order}"
                claim(name, what, [own.get("int8")], pick(setting="int8", order=order))
        elif name.startswith("train"):
            stream = "stream " if name.endswith("stream") else ""
            claim(name, f"training {stream}bf16 against PyTorch's better", [own.get("bf16")], peers)
            memory = [r for r in peers if r.get("peak_mb")]
            if memory and own.get("bf16", {}).get("peak_mb"):
                them, what = min(memory, key=lambda r: r["peak_mb"]), "peak memory of the step, share of PyTorch's"
                share = own["bf16"]["peak_mb"] / them["peak_mb"]
                above = (own["bf16"]["peak_mb"] - own["bf16"]["idle_mb"]) / (them["peak_mb"] - them["idle_mb"])
                # low and high: whole processes, and without what each held before the model was loaded
                ends = {"low": min(share, above), "high": max(share, above)}
                found.append({"row": name, "what": what, "ratio": share, **ends, "against": f"torch {them['setting']}", "wanted": TARGETS[what][1]})
    for c in found:
        if c["wanted"] is None:
            c["verdict"] = "reported"
            continue
        less, (least, aim) = "memory" in c["what"], c["wanted"]
        reached = lambda x: c["ratio"] <= x if less else c["ratio"] >= x
        c["verdict"] = "aim" if reached(aim) else "ok" if reached(least) else "SHORT"
    return found


def print_claims(found):
    if not found:
        return
    print("\n## What it must show\n| what | row | measured | rounds | against | at least / aim | |")
    print("| --- | --- | --: | --- | --- | --- | --- |")
    for c in sorted(found, key=lambda c: list(TARGETS).index(c["what"])):
        wanted = f"{c['wanted'][0]:g} / {c['wanted'][1]:g}" if c["wanted"] else "reported"
        cells = [c["what"], c["row"], f"{c['ratio']:.2f}", f"{c['low']:.2f}-{c['high']:.2f}", c["against"], wanted, c["verdict"]]
        print("| " + " | ".join(cells) + " |")
    print("(memory: of whole processes; its second figure leaves out what each process held before the model was loaded)")


def fit(points):
    """Least squares of relative errors: ms = a t + b t^2."""
    xs = [(1 / ms * t, 1 / ms * t * t) for t, ms in points]
    aa, ab, bb = (sum(x[i] * x[j] for x in xs) for i, j in ((0, 0), (0, 1), (1, 1)))
    ra, rb = (sum(x[i] for x in xs) for i in (0, 1))
    det = aa * bb - ab * ab
    return (ra * bb - rb * ab) / det, (rb * aa - ra * ab) / det


def cost_plot(report, path, subtitle):
    """Milliseconds of a pair by its length, measured, and what proportional cost would be."""
    series = {}
    for row in report:
        if row["row"].startswith("length"):
            for r in row["results"]:
                name = f"{r['engine']} {r['setting']}"
                series.setdefault(name, []).append((row["tokens"] // row["pairs"], 1e3 / per_second(r)))
    ours = "sverka int8"
    if len(series.get(ours, [])) < 3:
        print("no plot: it needs the rows length-*")
        return
    shown = {name: points for name, points in series.items() if not name.endswith("f32")}
    width, height, left, bottom, top, right = 760, 440, 64, 52, 64, 24
    most_t, most_ms = 512, 1.05 * max(ms for points in shown.values() for _, ms in points)
    x = lambda t: left + t / most_t * (width - left - right)
    y = lambda ms: height - bottom - ms / most_ms * (height - bottom - top)
    label = lambda px, py, words, more="": f'<text x="{px:.1f}" y="{py:.1f}" {more}>{words}</text>'
    step = next(s * 10**e for e in range(-3, 4) for s in (1, 2, 5) if most_ms / (s * 10**e) <= 8)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        label(left, 24, "Cost of a pair by its length, MiniLM-L6 shape, batches of 2,048 tokens", 'font-size="16"'),
        label(left, 44, subtitle, 'fill="#666"'),
        label(width - right, height - 12, "tokens of the pair", 'text-anchor="end" fill="#444"'),
        label(12, top - 8, "ms", 'fill="#444"'),
    ]
    for i in range(int(most_ms / step) + 1):
        at = y(i * step)
        out.append(f'<line x1="{left}" x2="{width - right}" y1="{at:.1f}" y2="{at:.1f}" stroke="#e4e4e4"/>')
        out.append(label(left - 8, at + 4, f"{i * step:g}", 'text-anchor="end" fill="#666"'))
    for t in (16, 64, 128, 192, 256, 320, 384, 448, 512):
        out.append(label(x(t), height - bottom + 18, t, 'text-anchor="middle" fill="#666"'))
    a, b = fit(series[ours])
    line = f'<line x1="{x(0):.1f}" y1="{y(0):.1f}" x2="{x(512):.1f}" y2="{y(a * 512):.1f}" stroke="#888" stroke-dasharray="5 4"/>'
    legend = [("#888", "int8 if cost grew with the tokens alone")]
    out.append(line)
    colours = {ours: "#0b5fa5", "openvino int8": "#c4570c", "onnxruntime int8": "#c4570c"}
    for name, points in shown.items():
        colour = colours.get(name, "#444")
        way = " ".join(f"{x(t):.1f},{y(ms):.1f}" for t, ms in points)
        out.append(f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{x(t):.1f}" cy="{y(ms):.1f}" r="3" fill="{colour}"/>' for t, ms in points]
        legend.append((colour, name))
    for i, (colour, name) in enumerate(legend):
        at = top + 14 + 20 * i
        out.append(f'<line x1="{left + 16}" x2="{left + 44}" y1="{at}" y2="{at}" stroke="{colour}" stroke-width="2"/>')
        out.append(label(left + 52, at + 4, name))
    share = b * 512 / (a + b * 512)
    words = f"int8: the quadratic term is {share:.0%} of a pair of 512 tokens"
    if b > 0:
        words += f"; it is a tenth from {a / b / 9:.0f} tokens on, and would be half at {a / b:.0f}"
    out += [label(left + 16, top + 22 + 20 * len(legend), words, 'fill="#444"'), "</svg>\n"]
    with open(path, "w") as file:
        file.write("\n".join(out))
    print(f"\n{words} -> {path}")
    for name, points in series.items():
        a, b = fit(points)
        print(f"{name}: ms = {a:.3g} t + {b:.3g} t^2; " + ", ".join(f"{t}: {ms:.2f}" for t, ms in points))
