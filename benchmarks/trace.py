#!/usr/bin/env python3
"""What tracing costs: one run in which stretches of updates are traced and others between them are not.

A stretch is compared with the ones beside it, so that a machine that slows down slows both. The first
update of each stretch is left out: it follows the writing of the last trace, or the lack of it.
"""

import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile

STRETCH = 4
RUN = """\
[model]
vocab_size = 257
hidden_size = 96
intermediate_size = 256
num_layers = 20
num_heads = 4
max_seq_len = 256
[optimizer]
lr = 1e-3
[batch]
global_batch_size = 8
seq_len = 256
[data]
train = "train.h5"
[checkpoint]
every_updates = 0
[eval]
every_updates = 0
[run]
updates = {updates}
threads_per_rank = 1
"""


def call(command, folder):
    done = subprocess.run([str(word) for word in command], cwd=folder, text=True, capture_output=True,
                          env={**os.environ, "OMP_WAIT_POLICY": "passive"}, check=False)
    if done.returncode != 0:
        sys.exit(f"{command}\n{done.stderr}")


def stretches(pairs):
    """[(first, last, traced)], plain and traced in turns, behind a stretch to warm up."""
    return [(STRETCH * (1 + i) + 1, STRETCH * (2 + i), i % 2 == 1) for i in range(2 * pairs + 1)]


def seconds_per_stretch(folder, plan):
    of_update = {}
    for line in (folder / "run" / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        if record["event"] == "update":
            of_update[record["update"]] = record["seconds"]
    return [statistics.median(of_update[update] for update in range(first + 1, last + 1))
            for first, last, _ in plan]


def median_interval(values):
    """95% of samples have their median between these two, by order statistics."""
    ordered, n = sorted(values), len(values)
    reach = int(0.98 * n ** 0.5)
    return ordered[max(0, n // 2 - reach)], ordered[min(n - 1, n // 2 + reach)]


def measure(program, ranks, pairs):
    plan = stretches(pairs)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "text.txt").write_text(
            "".join(random.Random(1).choices("abcdefgh \n", k=400_000)))
        (folder / "run.toml").write_text(RUN.format(updates=plan[-1][1]))
        call([program, "data", "prepare", "--input", "text.txt", "--tokenizer", "bytes", "--out",
              "train.h5"], folder)
        traced = ",".join(f"{first}-{last}" for first, last, on in plan if on)
        call([program, "train", "run.toml", *(["--ranks", ranks] if ranks > 1 else []), "--run-dir",
              "run", "--set", f'trace.updates="{traced}"'], folder)
        seconds = seconds_per_stretch(folder, plan)
    extra = [seconds[i] / (0.5 * (seconds[i - 1] + seconds[i + 1])) - 1.0
             for i in range(1, len(plan) - 1, 2)]
    low, high = median_interval(extra)
    return {"ranks": ranks, "pairs": len(extra), "seconds_per_update": statistics.median(seconds),
            "extra": statistics.median(extra), "extra_interval": [low, high]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--json", help="also write the results there")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--pairs", type=int, default=60, help="traced stretches of 4 updates")
    arguments = parser.parse_args()
    program = pathlib.Path(arguments.program).resolve()
    rows = [measure(program, ranks, arguments.pairs) for ranks in arguments.ranks]
    print(f"{'ranks':>5} {'s/update':>9} {'tracing adds':>13} {'95% interval':>18} {'stretches':>10}")
    for row in rows:
        low, high = row["extra_interval"]
        print(f"{row['ranks']:>5} {row['seconds_per_update']:>9.4f} {row['extra']:>12.2%} "
              f"{f'{low:+.2%}..{high:+.2%}':>18} {row['pairs']:>10}")
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
