#!/usr/bin/env python3
"""Disturbs real runs and compares what becomes of them with the undisturbed run, to the bit (docs/drills.md).

usage: ./dev drill [kills|stops|files|full|damage|slurm|all] [--count N] [--seed S] [--json FILE] [--into DOCUMENT]
"""

import argparse
import importlib
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from drill_report import write_into, write_json  # noqa: E402

# What is tried, and how often when nothing is said (docs/drills.md has the long results).
DRILLS = {"kills": ("SIGKILL of random ranks at random instants", 50),
          "stops": ("SIGSTOP of each rank in every phase: 21 are each once", 42),
          "files": ("every file-system call fails in turn; --count: at most so many for each kind", 0),
          "full": ("a small file system fills up", 20),
          "damage": ("bit flips, truncations and deletions in checkpoints", 10000),
          "slurm": ("requeues, preemptions, time limits and scancel on ./dev cluster", 20)}


def main():
    parser = argparse.ArgumentParser(
        prog="./dev drill", formatter_class=argparse.RawDescriptionHelpFormatter,
        description=__doc__.splitlines()[0],
        epilog="\n".join(f"  {name:7} {what} [{count or 'all'}]"
                         for name, (what, count) in DRILLS.items()))
    parser.add_argument("drill", nargs="?", default="all", choices=[*DRILLS, "all"])
    parser.add_argument("--count", type=int, help="how many of each kind (see below)")
    parser.add_argument("--seed", type=int, default=1, help="of everything random [1]")
    parser.add_argument("--json", metavar="FILE", help="write tables and every bad outcome there")
    parser.add_argument("--into", metavar="DOCUMENT", help="replace the drill's results in docs/drills.md")
    given = parser.parse_args()
    reports = []
    for name in DRILLS if given.drill == "all" else [given.drill]:
        count = DRILLS[name][1] if given.count is None else given.count
        report = importlib.import_module(f"{name}_drill").drill(count, given.seed)
        report.show()
        reports.append(report)
        if given.json:
            write_json(given.json, reports)
        if given.into and not report.skipped:
            write_into(given.into, report.as_json())
    return 1 if any(report.bad for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
