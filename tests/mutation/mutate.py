#!/usr/bin/env python3
"""Applies one deliberate fault at a time to a copy of the tree and shows that the tests catch it.

usage: tests/mutation/mutate.py [--only WORDS] [--new] [--markdown FILE] [--in-place]

The copy is built in build/mutation, tests run until the first that fails. Exit 1 when a fault survives.
With --new only faults run that FILE has no row of; the other rows stay as they are.
With --in-place the faults go into this very tree (built in build/release): for a clone made for it.
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import time

from faults import FAULTS

ROOT = pathlib.Path(__file__).resolve().parents[2]
COPY = ROOT / "build" / "mutation" / "tree"
BUILD = ROOT / "build" / "mutation" / "build"


def run(*command, **options):
    return subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          **options)


def copy_tree():
    """The files git knows, with their times, so that only what changes is built again."""
    names = run("git", "ls-files", "--cached", "--others", "--exclude-standard",
                cwd=ROOT).stdout.splitlines()
    for name in names:
        target = COPY / name
        if (ROOT / name).is_file() and (not target.exists() or
                                        target.read_bytes() != (ROOT / name).read_bytes()):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)


def build():
    return run("ninja", "-C", str(BUILD))


def first_failing_test():
    """The unit tests, those that know an independent answer first; then the whole program."""
    for selection in (("-R", "oracle"), ("-L", "unit", "-E", "oracle"),
                      ("-R", "end_to_end/(checkpoints|same_bits)"),
                      ("-L", "emulated", "-LE", "unit")):
        output = run("ctest", "--test-dir", str(BUILD), "-j2", "--stop-on-failure", *selection).stdout
        failed = re.findall(r"Test\s+#\d+: (\S+) \.*\s*\**(?:Failed|Timeout|Exception|Subprocess)",
                            output)
        if failed:
            return failed[0]
    return None


def check(name, file, text, replacement):
    path = COPY / file
    original = path.read_text()
    if original.count(text) != 1:
        return f"cannot apply: the text occurs {original.count(text)} times in {file}"
    path.write_text(original.replace(text, replacement))
    try:
        built = build()
        if built.returncode != 0:
            return "cannot apply: does not compile\n" + built.stdout[-2000:]
        return first_failing_test()
    finally:
        path.write_text(original)


def rows_of(document):
    """By fault that was caught: what a table made before says of it."""
    rows = re.findall(r"^\| (.+?) \| `(.+?)` \| (.+?) \|$", document.read_text(), re.MULTILINE) \
        if document.is_file() else []
    return {row[0]: row for row in rows if not row[2].startswith(("**survived**", "cannot apply"))}


def write_table(document, rows):
    document.write_text(
        "# Faults put in on purpose, and what catches them\n\n"
        "Made by `tests/mutation/mutate.py --markdown docs/mutations.md`; a fault that is new, with "
        "`--new`.\n\n| fault | where | caught by |\n| --- | --- | --- |\n" +
        "".join(f"| {name} | `{file}` | {caught} |\n"
                for name, file, caught in (rows[fault[0]] for fault in FAULTS if fault[0] in rows)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="faults whose name contains these words")
    parser.add_argument("--new", action="store_true", help="only faults that FILE has no row of")
    parser.add_argument("--markdown", metavar="FILE", type=pathlib.Path,
                        help="also write the table to this file")
    parser.add_argument("--in-place", action="store_true", help="mutate this tree, not a copy of it")
    arguments = parser.parse_args()
    if arguments.new and not arguments.markdown:
        parser.error("--new needs --markdown FILE: the table that is to be completed")
    rows = rows_of(arguments.markdown) if arguments.new else {}
    if arguments.in_place:
        global COPY, BUILD
        COPY, BUILD = ROOT, ROOT / "build" / "release"
    else:
        copy_tree()
    configured = run("cmake", "-S", str(COPY), "-B", str(BUILD), "-G", "Ninja",
                     "-DCMAKE_BUILD_TYPE=Release", "-DSLUICE_BENCHMARKS=OFF")
    if configured.returncode != 0 or build().returncode != 0:
        sys.exit("the tree without any fault does not build: " + configured.stdout[-2000:])
    if (failed := first_failing_test()) is not None:
        sys.exit(f"the tree without any fault fails {failed}")
    survivors, tried = 0, 0
    for name, file, text, replacement in FAULTS:
        if name in rows or arguments.only not in name:
            continue
        start = time.monotonic()
        caught = check(name, file, text, replacement)
        survived = caught is None or caught.startswith("cannot apply")
        survivors += survived
        tried += 1
        rows[name] = (name, file, "**survived**" if caught is None else caught)
        print(f"{'SURVIVED' if survived else 'caught':9} {name}: {caught} "
              f"({time.monotonic() - start:.0f} s)", flush=True)
        if arguments.markdown:
            write_table(arguments.markdown, rows)
    print(f"{tried - survivors} of {tried} faults caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
