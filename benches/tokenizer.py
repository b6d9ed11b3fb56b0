#!/usr/bin/env python3
"""Growing a WordPiece vocabulary of 8,000 pieces on a file of titles: seconds and peak memory of sverka and of Python's `tokenizers`, in turn.

    scripts/product-lines 1000000 /tmp/lines
    python benches/tokenizer.py target/release/sverka /tmp/lines/right.csv

The table's column `name` becomes a file of lines, which both read on two threads. Needs `tokenizers` (benches/requirements.txt).
"""

import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PYTHON = """
import sys
from tokenizers import BertWordPieceTokenizer
tokenizer = BertWordPieceTokenizer(lowercase=True, strip_accents=False)
tokenizer.train(files=[sys.argv[1]], vocab_size=8000, min_frequency=2, show_progress=False)
"""


def measure(command):
    """Seconds, and the most memory in MB."""
    start = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "RAYON_NUM_THREADS": "2"})
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"{command[0]} failed")
    return time.monotonic() - start, usage.ru_maxrss / 1024


def main():
    program, table = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "titles.txt"
        with open(table, encoding="utf-8", newline="") as file, open(lines, "w", encoding="utf-8") as out:
            out.writelines(row["name"] + "\n" for row in csv.DictReader(file))
        for turn in range(2):
            out = str(Path(folder) / f"vocabulary-{turn}")
            own = [program, "tokenizer", "train", str(lines), "--kind", "wordpiece", "--vocab-size", "8000", "--out", out]
            for name, command in [("sverka", own), ("tokenizers", [sys.executable, "-c", PYTHON, str(lines)])]:
                seconds, memory = measure(command)
                print(f"{name}: {seconds:.1f} s, {memory:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
