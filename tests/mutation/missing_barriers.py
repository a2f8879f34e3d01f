#!/usr/bin/env python3
"""Takes each barrier and each wait of the GPU kernels away, one at a time, and says what finds it.

usage: tests/mutation/missing_barriers.py [--only FILE]

The kernels of this very tree are changed, and put back (build/release): run it in a clone made for it.
Prints a row each: found as a race, and by the values that come out. Exit 1 where one is not found as a race.
"""

import argparse
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
KERNELS = ROOT / "layers" / "kernels" / "cuda"
BUILD = ROOT / "build" / "release"
CONFORMANCE = BUILD / "tests" / "layers" / "kernels" / "conformance"
PROGRAMS = {"races": "sluice_race_checked_conformance", "emulated": "sluice_conformance"}
SYNCHRONISATION = re.compile(r"\b(?:(?:warp_)?barrier\(\)|wait_for_copies<\d+>\(\));")
VOCABULARY = ("device_language.cuh", "device_language_nvidia.cuh", "device_launcher.cuh")


def included_from(file):
    return re.findall(r'#include "layers/kernels/cuda/(\w+\.cuh)"', file.read_text())


def suites_of(name):
    """The contracts whose kernels include this file."""
    using, more = {name}, True
    while more:
        users = {file.name for file in KERNELS.glob("*.cuh") if using & set(included_from(file))}
        more = not users <= using
        using |= users
    stems = {re.sub(r"(_backward|_wide|_simple)*_kernel\.cuh$", "", file) for file in using}
    stems = {"embedding" if stem == "token_sort" else stem for stem in stems}
    return sorted(stem for stem in stems
                  if (ROOT / "tests/layers/kernels/conformance" / f"{stem}_conformance.cpp").is_file())


def found_by(backend, suites):
    """What the first suite that fails says."""
    for suite in suites:
        try:
            ran = subprocess.run([CONFORMANCE / PROGRAMS[backend], f"--run_test={suite}",
                                  "--log_level=error", "--color_output=no", "--", backend],
                                 text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
        except subprocess.TimeoutExpired:
            return "no end"
        if ran.returncode != 0:
            race = re.search(r"race: a thread (.*?), at", ran.stdout)
            return race.group(1) if race else "other values" if "expected" in ran.stdout else \
                "other bits" if "other bits" in ran.stdout else "an error"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="kernels whose file's name contains this")
    arguments = parser.parse_args()
    missed = total = 0
    print("| taken away | found as a race | by values |\n| --- | --- | --- |", flush=True)
    for file in sorted(KERNELS.glob("*.cuh")):
        if file.name in VOCABULARY or arguments.only not in file.name:
            continue
        original = file.read_text()
        for match in SYNCHRONISATION.finditer(original):
            line = original.count("\n", 0, match.start()) + 1
            try:
                file.write_text(original[:match.start()] + ";" + original[match.end():])
                subprocess.run(["ninja", "-C", BUILD, *PROGRAMS.values()], check=True,
                               stdout=subprocess.DEVNULL)
                found = [found_by(backend, suites_of(file.name)) for backend in PROGRAMS]
            finally:
                file.write_text(original)
            total += 1
            missed += found[0] is None
            print(f"| `{file.name}:{line}` `{match.group()[:-1]}` | {found[0] or '-'} | "
                  f"{found[1] or '-'} |", flush=True)
    print(f"\n{total - missed} of {total} found as races", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
