#!/usr/bin/env python3
"""Checkpoints: bandwidth against a plain write with fsync, and how long training stands still.

Bandwidth: a stage's file with index and manifest, against a write of as many random bytes in blocks of 1 MiB with
fsync (what `dd bs=1M conv=fsync` does, from memory), in turns. Stall: training on 2 ranks with a save every few
updates, asynchronous and not, in turns. A table, and JSON with --json FILE.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

RUN_FILE = """\
[model]
vocab_size = 257
hidden_size = {hidden}
intermediate_size = {intermediate}
num_layers = {layers}
num_heads = 8
max_seq_len = 128
[prores]
warmup_steps = 2
[optimizer]
lr = 0.001
[batch]
global_batch_size = {microbatches}
micro_batch_size = 1
seq_len = 128
[data]
train = "train.h5"
[checkpoint]
every_updates = {every}
keep_last = 1
[run]
updates = {updates}
seed = 1
threads_per_rank = 1
"""


def call(*command, cwd=None):
    environment = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
                   "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=environment, text=True,
                          capture_output=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")
    return done.stdout


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def bandwidth(arguments):
    output = call(arguments.program, "--folder", arguments.folder, "--megabytes",
                  arguments.megabytes, "--rounds", arguments.rounds)
    rounds = [json.loads(line) for line in output.splitlines()]
    for one in rounds:
        one["plain_mb_per_second"] = one["bytes"] * 1e-6 / one["plain_seconds"]
        one["save_mb_per_second"] = one["bytes"] * 1e-6 / one["save_seconds"]
    plain = spread([one["plain_mb_per_second"] for one in rounds])
    save = spread([one["save_mb_per_second"] for one in rounds])
    return {"bytes": rounds[0]["bytes"], "rounds": rounds, "plain_mb_per_second": plain,
            "save_mb_per_second": save,
            # Of neighbours in time, and of the medians: a disk's rate moves more than either.
            "save_over_plain": spread([one["plain_seconds"] / one["save_seconds"] for one in rounds]),
            "save_over_plain_medians": save["median"] / plain["median"]}


def train(arguments, folder, asynchronous, number):
    run_dir = folder / f"run-{number}-{asynchronous}"
    call(arguments.sluice, "train", folder / "run.toml", "--ranks", 2, "--run-dir", run_dir, "--set",
         f"checkpoint.asynchronous={asynchronous}", cwd=folder)
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    saves = [row for row in rows if row["event"] == "checkpoint"][:-1]  # the last one waits
    # Updates that ran while a file was written, and those that did not.
    writing, beside, alone = None, [], []
    for row in rows:
        if row["event"] != "update" or row["update"] <= 2:
            continue
        update = row["update"]
        if asynchronous == "true":
            writing = any(save["update"] < update and rows.index(save) > rows.index(row)
                          for save in saves)
        (beside if writing else alone).append(row["seconds"])
    return {"stalls": [save["stall_seconds"] for save in saves],
            "writes": [save["write_seconds"] for save in saves], "beside": beside, "alone": alone}


def stall(arguments):
    result = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = pathlib.Path(name)
        (folder / "text.txt").write_text("".join(f"{n} gates open one after another\n" for n in range(20000)))
        call(arguments.sluice, "data", "prepare", "--input", "text.txt", "--tokenizer", "bytes", "--out",
             "train.h5", cwd=folder)
        (folder / "run.toml").write_text(RUN_FILE.format(
            hidden=512, intermediate=1376, layers=arguments.layers, microbatches=arguments.microbatches,
            every=arguments.every, updates=arguments.every * (arguments.saves + 1)))
        found = {"true": [], "false": []}
        for number in range(arguments.runs):
            for asynchronous in found:
                found[asynchronous].append(train(arguments, folder, asynchronous, number))
        for asynchronous, runs in found.items():
            joined = {key: [value for run in runs for value in run[key]] for key in runs[0]}
            update = statistics.median(joined["alone"])
            result["asynchronous" if asynchronous == "true" else "waiting"] = {
                "update_seconds": spread(joined["alone"]),
                "update_seconds_while_writing": spread(joined["beside"]) if joined["beside"] else None,
                "stall_seconds": spread(joined["stalls"]), "write_seconds": spread(joined["writes"]),
                "stall_over_update": statistics.median(joined["stalls"]) / update,
                "largest_stall_over_update": max(joined["stalls"]) / update}
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--sluice", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--json", help="also write the results there")
    parser.add_argument("--folder", default=".", help="on the disk to be measured [this folder]")
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--microbatches", type=int, default=8)
    parser.add_argument("--every", type=int, default=4)
    parser.add_argument("--saves", type=int, default=3, help="per run")
    parser.add_argument("--runs", type=int, default=2, help="of each kind")
    arguments = parser.parse_args()
    for name in ("program", "sluice", "folder"):
        setattr(arguments, name, os.path.abspath(getattr(arguments, name)))

    disk = bandwidth(arguments)
    print(f"{disk['bytes'] * 1e-6:.0f} MB of random numbers, {len(disk['rounds'])} rounds, MB/s: median (range)")
    for name in ("plain", "save"):
        rate = disk[f"{name}_mb_per_second"]
        print(f"  {name:<6}{rate['median']:>8.0f}   ({rate['min']:.0f} .. {rate['max']:.0f})")
    ratio = disk["save_over_plain"]
    print(f"  save over plain: {ratio['median']:.0%} ({ratio['min']:.0%} .. {ratio['max']:.0%}); "
          f"of the medians {disk['save_over_plain_medians']:.0%}")
    standstill = stall(arguments)
    print(f"\n2 ranks, {arguments.layers} layers of 512, a save every {arguments.every} updates, seconds: median (range)")
    print(f"  {'':<14}{'update':>22}{'training stands still':>26}{'writing':>24}")
    for name, row in standstill.items():
        cells = [f"{row[key]['median']:.3f} ({row[key]['min']:.3f} .. {row[key]['max']:.3f})"
                 for key in ("update_seconds", "stall_seconds", "write_seconds")]
        print(f"  {name:<14}{cells[0]:>22}{cells[1]:>26}{cells[2]:>24}   "
              f"{row['stall_over_update']:.2f} updates")
    if arguments.json:
        pathlib.Path(arguments.json).write_text(
            json.dumps({"bandwidth": disk, "stall": standstill}, indent=1) + "\n")


if __name__ == "__main__":
    main()
