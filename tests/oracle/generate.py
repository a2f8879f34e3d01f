#!/usr/bin/env python3
"""Regenerates every fixture, or checks that the committed ones come out again (--check)."""

import argparse
import pathlib
import sys
import tempfile

import torch

from cases import all_fixtures
from fixtures import differences

FIXTURES = pathlib.Path(__file__).resolve().parent / "fixtures"


def write_all(folder):
    folder.mkdir(exist_ok=True)
    total_bytes = 0
    for name, write in all_fixtures():
        write(folder / name)
        size_bytes = (folder / name).stat().st_size
        total_bytes += size_bytes
        print(f"{name:34s} {size_bytes / 1000:8.1f} kB", flush=True)
        if size_bytes > 1_000_000:
            raise RuntimeError(f"{name} is larger than 1 MB")
    print(f"{'together':34s} {total_bytes / 1000:8.1f} kB")


def check_all():
    """Exit status: 0 when every committed fixture is reproduced and none is left over."""
    lines = []
    with tempfile.TemporaryDirectory() as temporary:
        for name, write in all_fixtures():
            if not (FIXTURES / name).exists():
                lines.append(f"{name}: not there; run generate.py")
                continue
            regenerated = pathlib.Path(temporary) / name
            write(regenerated)
            lines += [f"{name}: {line}" for line in differences(FIXTURES / name, regenerated)]
    expected = {name for name, _ in all_fixtures()}
    lines += [f"{path.name}: nobody writes it" for path in sorted(FIXTURES.glob("*"))
              if path.name not in expected]
    print("\n".join(lines) if lines else f"all {len(expected)} fixtures are reproduced")
    return 1 if lines else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true",
                        help="write nothing; compare with the committed files")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.check:
        return check_all()
    write_all(FIXTURES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
