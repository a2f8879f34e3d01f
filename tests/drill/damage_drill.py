"""Bit flips, truncations, deletions over all files of a checkpoint: found before use, the one before taken."""

import json
import os
import random
import shutil
import subprocess

from disturbed_run import SMALL_MODEL, DisturbedRun, owe, words_of
from drill_report import Report
from harness import environment

PROGRAM = os.environ.get("SLUICE_DAMAGE_DRILL", "sluice_damage_drill")
RUN = (*SMALL_MODEL, "run.updates=6", "checkpoint.every_updates=2", "checkpoint.keep_last=0",
       "eval.every_updates=3", "eval.tokens=64")
COLUMNS = ("damage", "tried", "found", "in_a_tensor", "tensor_named", "previous_chosen")
# So many of the damaged checkpoints meet a whole `sluice train` as well.
RESTARTS = {False: 3, True: 20}


def in_process(run, report, count, seed):
    """Thousands of damages to a checkpoint of two ranks, each judged by the reader itself; as many
    programs at a time as there are cores, each with a copy and a seed of its own."""
    programs = []
    workers = os.cpu_count() or 1
    for worker in range(workers):
        folder = run.folder / f"trained-{worker}"
        shutil.copytree(run.folder / "trained", folder)
        share = (count + worker) // workers
        programs.append(subprocess.Popen(
            [PROGRAM, str(folder / "checkpoints"), str(share), str(seed + 1000 * worker)],
            env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    rows = {}
    for program in programs:
        output, errors = program.communicate()
        owe(program.returncode in (0, 1), errors)
        found = json.loads(output)
        for row in found["rows"]:
            sums = rows.setdefault(row["damage"], dict.fromkeys(COLUMNS[1:], 0))
            for column in sums:
                sums[column] += row[column]
        for text in found["bad"][:20]:
            report.fail("in process", text)
    for damage, sums in rows.items():
        report.add(damage, *sums.values())
    owe(sum(sums["tried"] for sums in rows.values()) > 0.8 * count, "too few were tried")


def restart(run, rng, number):
    """The newest checkpoint is damaged behind the trainer's back; it goes on from the one before."""
    name = f"restart-{number}"
    result = run.run_once(rng.choice((1, 2)), name, "--stop-after", 4)
    owe(result.returncode == 75, result.stderr)
    newest = run.checkpoints(name)[-1]
    file = rng.choice(sorted(newest.iterdir()))
    bytes_ = bytearray(file.read_bytes())
    kind = rng.choice(("flip", "truncate", "delete"))
    if kind == "flip":
        bytes_[rng.randrange(len(bytes_))] ^= 1 << rng.randrange(8)
        file.write_bytes(bytes_)
    elif kind == "truncate":
        file.write_bytes(bytes_[:rng.randrange(len(bytes_))])
    else:
        file.unlink()
    again = run.run_once(rng.choice((1, 2)), name)
    owe(again.returncode == 0, f"{kind} of {file.name}: {words_of(again)}")
    owe(f"skipping damaged checkpoint {newest}" in again.stderr and file.name in again.stderr,
        f"{kind} of {file.name}: not a word: {again.stderr}")
    owe("at update 2" in again.stderr, f"{kind} of {file.name}: {again.stderr}")
    run.owe_same_result(name)
    run.forget(name)


def drill(count, seed):
    report = Report("damage", list(COLUMNS), {"count": count, "seed": seed})
    run = DisturbedRun(RUN)
    try:
        run.undisturbed()
        result = run.run_once(2, "trained")
        owe(result.returncode == 0, result.stderr)
        rng = random.Random(seed)
        restarts = RESTARTS[count >= 10000]
        report.facts["restarts from damaged checkpoints"] = restarts
        for work in [lambda: in_process(run, report, count, seed),
                     *[lambda number=number: restart(run, rng, number)
                       for number in range(restarts)]]:
            try:
                work()
            except AssertionError as error:
                report.fail("damage", error)
    finally:
        run.close()
    return report
