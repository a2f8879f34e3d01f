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
import threading

SECONDS_OF_A_TORCH_CASE = 300 # eager and torch.compile, which takes a minute or two of it


def others_on_the_gpu():
    """Processes that compute on GPUs now, as far as nvidia-smi shows them to this user."""
    try:
        listed = subprocess.run(["nvidia-smi", "--query-compute-apps=pid,name", "--format=csv,noheader"],
                                text=True, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [line for line in listed.splitlines() if line.strip()]


def measured(arguments, file):
    """Runs the program. What it found by then is in `file` also where it fails or is cut off."""
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
    found = pathlib.Path(file)
    if code != 0 and (not found.exists() or not found.read_text()):
        sys.exit(code)
    return json.loads(found.read_text()), code


def run_torch(arguments, update, preset):
    """Rows of one model as they come, from a process of its own: its memory goes with it."""
    command = [sys.executable, "-B", str(pathlib.Path(__file__).with_name("gpu_torch.py")),
               "--device", arguments.torch_device, "--case",
               f"{preset}:{update['precision']}:{update['micro_batch_size']}"]
    if arguments.rounds:
        command += ["--repeat", str(arguments.rounds)]
    if arguments.tiny:
        command += ["--repeat", "1", "--eager-only"]
    ended = threading.Event()
    modes = ["eager"] if arguments.tiny else ["eager", "compile"]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE) as process:
        def end():
            ended.set()
            process.kill()

        ending = threading.Timer(SECONDS_OF_A_TORCH_CASE, end)
        ending.start()
        for line in process.stdout:
            if line.startswith("{") and line.endswith("}\n"): # libraries print other things
                row = json.loads(line)
                modes.remove(row["mode"])
                yield row
        process.wait()
        ending.cancel()
    why = f"longer than {SECONDS_OF_A_TORCH_CASE} s" if ended.is_set() else f"exit code {process.returncode}"
    for mode in modes: # of which there came no row
        yield {"mode": mode, "precision": update["precision"], "micro_batch_size": update["micro_batch_size"],
               "failed": why}


def compared(row, update):
    """How many times as fast Sluice is, and whether that is what it is to be."""
    if "tokens_per_second" not in row:
        return row
    faster = update["tokens_per_second"] / row["tokens_per_second"]
    row["sluice_over_torch"] = faster
    target = (update.get("targets") or {}).get(f"torch_{row['mode']}")
    if target:
        row["targets"] = target
        row["verdicts"] = {which: "met" if faster >= least else "below"
                           for which, least in target.items()}
    return row


def print_torch_title(row):
    print(f"\nPyTorch {row.get('torch', '')}, same model, tokens per update and run\n{'model':<15} "
          f"{'precision':>9} {'mode':>8} {'batch':>6} {'s/update':>10} {'tokens/s':>11} "
          f"{'Sluice is faster by':>20} {'floor':>12} {'goal':>12}")


def print_torch(row):
    start = (f"{row['preset']:<15} {row['precision']:>9} {row['mode']:>8} "
             f"{row['micro_batch_size']:>6}")
    if "failed" in row:
        print(f"{start}   failed: {row['failed']}", flush=True)
        return
    asked = [f"{row['targets'][which]}x {row['verdicts'][which]}" if "targets" in row else "-"
             for which in ("floor", "goal")]
    print(f"{start} {row['seconds']:>10.4f} {row['tokens_per_second']:>11.0f} "
          f"{row['sluice_over_torch']:>19.2f}x {asked[0]:>12} {asked[1]:>12}", flush=True)


def compare_with_torch(arguments, figures, keep):
    """The same models with as many tokens per update; every row is kept at once. Those that have targets
    come first: compiling a hundred layers takes minutes."""
    figures["torch"] = []
    for update in sorted(figures.get("updates", []), key=lambda row: "torch_eager" not in (row.get("targets") or {})):
        if not update["fits"] or update["recompute"] != "none": # PyTorch recomputes nothing here
            continue
        preset = "tiny" if arguments.tiny else update["preset"]
        for found in run_torch(arguments, update, preset):
            row = compared({**found, "preset": update["preset"]}, update)
            if not figures["torch"]:
                print_torch_title(row)
            figures["torch"].append(row)
            print_torch(row)
            keep(figures)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--json", help="also write the figures to this file")
    parser.add_argument("--preset", nargs="+", default=[], help="models [all of the program's list]")
    parser.add_argument("--precision", nargs="+", default=[], help="precision.compute, or tf32 (fp32 with precision.tf32) [bf16]")
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
        file = arguments.json or os.path.join(folder, "gpu.json")
        pathlib.Path(file).unlink(missing_ok=True)
        figures, code = measured(arguments, file)

        def keep(figures):
            pathlib.Path(file).write_text(json.dumps(figures, indent=1) + "\n")
        figures["others_on_the_gpu"] = others
        keep(figures)
        if arguments.skip_torch:
            pass
        elif importlib.util.find_spec("torch") is None:
            print("\nPyTorch is not installed: nothing to compare with")
        else:
            compare_with_torch(arguments, figures, keep)
    sys.exit(code)


if __name__ == "__main__":
    main()
