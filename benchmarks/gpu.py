#!/usr/bin/env python3
"""One GPU: kernels and whole updates against a copy and a square product measured in the same run, and the same models
in PyTorch where it can be imported.

Exit code 77 where there is no GPU. Ratios hold, absolute rates are the GPU's.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile


def others_on_the_gpu():
    """Processes that compute on GPUs now, as far as nvidia-smi shows them to this user."""
    try:
        listed = subprocess.run(["nvidia-smi", "--query-compute-apps=pid,name", "--format=csv,noheader"],
                                text=True, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [line for line in listed.splitlines() if line.strip()]


def measured(arguments, folder):
    file = os.path.join(folder, "gpu.json")
    command = [arguments.program, "--json", file]
    for flag, values in (("--preset", arguments.preset), ("--precision", arguments.precision),
                         ("--micro-batch", arguments.micro_batch)):
        for value in values:
            command += [flag, str(value)]
    command += ["--attention", arguments.attention]
    if arguments.rounds:
        command += ["--rounds", str(arguments.rounds)]
    if arguments.skip_kernels:
        command.append("--skip-kernels")
    if arguments.tiny:
        command.append("--tiny")
    code = subprocess.run(command, check=False).returncode
    if code != 0:
        sys.exit(code)
    return json.loads(pathlib.Path(file).read_text())


def torch_rows(arguments, updates):
    """The same models at the same micro-batches, in a process of its own: its memory goes with it."""
    script = pathlib.Path(__file__).with_name("gpu_torch.py")
    rows = []
    for update in updates:
        if not update["fits"] or update["precision"] not in ("fp32", "bf16"):
            continue
        preset = "tiny" if arguments.tiny else update["preset"]
        command = [sys.executable, "-B", str(script), "--device", arguments.torch_device, "--case",
                   f"{preset}:{update['precision']}:{update['micro_batch_size']}"]
        if arguments.rounds:
            command += ["--repeat", str(arguments.rounds)]
        if arguments.tiny:
            command += ["--repeat", "1", "--eager-only"]
        done = subprocess.run(command, text=True, stdout=subprocess.PIPE, check=False)
        if done.returncode != 0:
            print(f"PyTorch failed on {preset} (exit code {done.returncode})", file=sys.stderr)
        for line in done.stdout.splitlines():
            row = json.loads(line)
            if "tokens_per_second" in row:
                row["sluice_over_torch"] = (update["tokens_per_second"] /
                                            row["tokens_per_second"])
            rows.append(row)
    return rows


def print_torch(rows):
    if not rows:
        return
    version = next((row["torch"] for row in rows if "torch" in row), "")
    print(f"\nPyTorch {version}, same model, micro-batch and run\n{'model':<15} {'precision':>9} "
          f"{'mode':>8} {'s/update':>10} {'tokens/s':>11} {'Sluice is faster by':>20}")
    for row in rows:
        start = f"{row['preset']:<15} {row['precision']:>9} {row['mode']:>8}"
        if "failed" in row:
            print(f"{start}   failed: {row['failed']}")
        else:
            print(f"{start} {row['seconds']:>10.4f} {row['tokens_per_second']:>11.0f} "
                  f"{row['sluice_over_torch']:>19.2f}x")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--json", help="also write the figures to this file")
    parser.add_argument("--preset", nargs="+", default=[], help="models [all of the program's list]")
    parser.add_argument("--precision", nargs="+", default=[], help="precision.compute [bf16]")
    parser.add_argument("--micro-batch", nargs="+", default=[], type=int,
                        help="sequences of a micro-batch [as many as fit]")
    parser.add_argument("--rounds", type=int, help="measurements whose median is printed [7]")
    parser.add_argument("--skip-torch", action="store_true", help="nothing in PyTorch")
    parser.add_argument("--attention", choices=("own", "cudnn"), default="own",
                        help="precision.attention of whole updates [own]")
    parser.add_argument("--skip-kernels", action="store_true", help="whole updates only")
    parser.add_argument("--tiny", action="store_true", help="show that it runs, nothing about speed")
    parser.add_argument("--torch-device", default="cuda", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    others = others_on_the_gpu()
    if others:
        print("warning: others compute on this machine's GPUs; these figures mean little:",
              *others, sep="\n  ", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        figures = measured(arguments, folder)
    figures["others_on_the_gpu"] = others
    if arguments.skip_torch:
        pass
    elif importlib.util.find_spec("torch") is None:
        print("\nPyTorch is not installed: nothing to compare with")
    else:
        figures["torch"] = torch_rows(arguments, figures["updates"])
        print_torch(figures["torch"])
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
