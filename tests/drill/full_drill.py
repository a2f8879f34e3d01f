"""A file system of its own that fills up, wherever in the run that happens to be."""

import os
import random
import re
import subprocess

from disturbed_run import SMALL_MODEL, DisturbedRun, owe, words_of
from drill_report import Report

RUN = (*SMALL_MODEL, "run.updates=6", "checkpoint.every_updates=1", "checkpoint.keep_last=0",
       "eval.every_updates=3", "eval.tokens=64")
FULL = r"No space left on device|not enough free space"


def mount(folder, size_kb, again=False):
    options = f"size={size_kb}k" + (",remount" if again else "")
    return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def size_of(folder):
    """KB of the whole run folder, in pages, as a tmpfs counts."""
    return sum(4 * -(-path.lstat().st_size // 4096) for path in folder.rglob("*") if path.is_file())


def fill(run, rng, ranks, size_kb, enough_kb):
    name = f"full-{ranks}-{size_kb}"
    folder = run.folder / name
    folder.mkdir()
    mounted = mount(folder, size_kb)
    owe(mounted.returncode == 0, mounted.stderr)
    try:
        result = run.run_once(ranks, name)
        num_saved = run.owe_whole_checkpoints(name)
        if result.returncode == 0:
            run.owe_same_result(name)
            return num_saved, "large enough"
        owe(result.returncode == 3, f"{words_of(result)}")
        ours = [line for line in result.stderr.splitlines() if line.startswith("sluice: ")]
        owe(len(ours) == 1 and re.search(FULL, ours[0]) and str(folder) in ours[0], result.stderr)
        owe(mount(folder, enough_kb, again=True).returncode == 0, "cannot be made larger")
        again = run.run_once(rng.choice((1, 2)), name)
        owe(again.returncode == 0, f"with space: {words_of(again)}")
        run.owe_same_result(name)
        return num_saved, re.search(FULL, ours[0]).group(0)
    finally:
        subprocess.run(["umount", "-l", str(folder)], stdout=subprocess.DEVNULL)


def drill(count, seed):
    report = Report("full", ["ranks", "size", "checkpoints when full", "ended with"],
                    {"count": count, "seed": seed})
    run = DisturbedRun(RUN)
    try:
        probe = run.folder / "probe"
        probe.mkdir()
        mounted = mount(probe, 64) if os.geteuid() == 0 else None
        if mounted is None or mounted.returncode != 0:
            report.skipped = "no tmpfs can be mounted: " + (
                mounted.stderr.strip() if mounted else "that needs root")
            return report
        subprocess.run(["umount", str(probe)])
        run.undisturbed()
        rng = random.Random(seed)
        whole_kb = size_of(run.folder / "undisturbed")
        for number in range(count):
            ranks = 1 + number % 2
            # Spread over the run; the first leave no place even for the run folder's own files.
            size_kb = max(8, int(whole_kb * (number + rng.random()) / count)) // 4 * 4
            try:
                num_saved, end = fill(run, rng, ranks, size_kb, 4 * whole_kb)
                report.add(ranks, f"{size_kb} KB", num_saved, end)
            except AssertionError as error:
                report.fail(f"{ranks} ranks, {size_kb} KB", error)
                report.add(ranks, f"{size_kb} KB", "?", "bad")
    finally:
        run.close()
    return report
