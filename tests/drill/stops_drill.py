"""SIGSTOP of a rank in every phase of a run: named, ended within the bound, nothing left behind."""

import collections
import concurrent.futures
import itertools
import os
import random
import re
import signal
import time

from disturbed_run import DisturbedRun, owe
from drill_report import Report

HANG_SECONDS = 4
MOST_SECONDS = 10
RANKS = 3
AT_A_TIME = 2
RUN = ("run.threads_per_rank=1", f"run.hang_seconds={HANG_SECONDS}", "batch.global_batch_size=20")
ENDLESS = ("run.updates=100000", "eval.every_updates=0")
SHORT = ("run.updates=4", "eval.every_updates=0")


class Phase:
    """Where a rank is stopped: from outside and by chance, until its last heartbeat says that it was
    there (`says`); or by itself, in a call that it makes nowhere else (`itself`: settings of the
    preloaded library for a rank)."""

    def __init__(self, name, overrides, says=None, itself=None):
        self.name, self.overrides, self.says, self.itself = name, overrides, says, itself


PHASES = (
    Phase("start", ENDLESS),
    Phase("forward and backward", ENDLESS, says=r"action \d+\w+"),
    Phase("reduction", ENDLESS, itself=lambda rank, rng: {
        "call": "MPI_Allreduce", "at": rng.randint(60, 200)}),
    Phase("evaluation", ("run.updates=100000", "eval.every_updates=1", "eval.tokens=100000"),
          says="evaluation behind update"),
    Phase("saving", (*ENDLESS, "checkpoint.every_updates=1"), itself=lambda rank, rng: {
        "under": "checkpoints", "at": rng.randint(1, 900 if rank == 0 else 90)}),
    Phase("ending", SHORT, itself=lambda rank, rng: {"call": "MPI_Barrier", "at": 1}),
    Phase("leaving MPI", SHORT, itself=lambda rank, rng: {"call": "MPI_Finalize", "at": 1}))
MOST_TRIES = 8


def is_stopped(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "T"
    except OSError:
        return False


class Stops:
    """Two at a time: most of it is waiting."""

    def __init__(self, count, seed):
        self.count, self.seed = count, seed
        self.run = DisturbedRun(RUN)
        self.names = itertools.count(1)
        self.found = collections.defaultdict(list)  # (phase, rank): (seconds of its tries, last words)

    @staticmethod
    def wait(condition, process, seconds=90, pause=0.005):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = condition()
            if found:
                return found
            owe(process.poll() is None, "the run ended before a rank had stopped")
            time.sleep(pause)
        owe(False, "no rank has stopped")

    def updates(self, name):
        path = self.run.folder / name / "metrics.jsonl"
        return path.read_text().count('"event":"update"') if path.exists() else 0

    def one(self, phase, rank, rng):
        """(seconds until all had ended, what the message said that the rank was doing)."""
        name = f"stop-{next(self.names):04}"
        preload = None
        if phase.itself:
            given = phase.itself(rank, rng)
            preload = {"kind": "stop", "rank": rank, **given,
                       "under": self.run.folder / name / given.get("under", "")}
        process = self.run.begin(RANKS, name, overrides=phase.overrides, preload=preload)
        try:
            pid = self.bring_to_stop(phase, rank, name, process, rng)
            start = time.monotonic()
            _, errors = process.communicate(timeout=60)
            seconds = time.monotonic() - start
            self.run.owe_no_process(name)
            return seconds, self.judge(phase, name, rank, pid, process.returncode, errors)
        finally:
            for left in self.run.processes(name):
                os.kill(left, signal.SIGKILL)
            process.communicate()
            self.run.forget(name)

    def bring_to_stop(self, phase, rank, name, process, rng):
        """Process id of the rank, which has stopped."""
        folder = self.run.folder / name
        if phase.itself:
            return self.wait(lambda: next((pid for pid in [self.run.ranks_of(folder).get(rank)]
                                           if pid and is_stopped(pid)), None), process, pause=0.05)
        if phase.says is None:
            self.wait((folder / ".lock").exists, process)
            time.sleep(rng.uniform(0.0, 0.02))
        else:
            self.wait(lambda: self.updates(name) >= 4, process)
            time.sleep(rng.uniform(0.3, 0.8))  # a heartbeat tells what the rank does
        pid = self.run.ranks_of(folder)[rank]
        os.kill(pid, signal.SIGSTOP)
        return pid

    def judge(self, phase, name, rank, pid, code, errors):
        owe(code == 71, f"exit code {code}: {errors[-1500:]}")
        ours = [line for line in errors.splitlines() if line.startswith("sluice: ")]
        owe(len(ours) == 1, f"{len(ours)} messages: {errors[-1500:]}")
        owe(f"rank {rank} hangs: its heartbeat stopped" in ours[0] and
            f"process {pid} " in ours[0], f"not named: {ours[0]}")
        status = self.run.status(name)
        failed = (status["state"], status["exit_code"]) == ("failed", 71) and \
            f"rank {rank} hangs" in status["reason"]
        # What has been done and said stays; then only processes were left to be ended.
        finished = status["state"] == "finished"
        owe(finished if phase.overrides == SHORT else failed, f"status.json: {status}")
        num_checkpoints = self.run.owe_whole_checkpoints(name)
        owe(not finished or num_checkpoints == 1, "finished without a checkpoint")
        return re.search(r"\((.*?)\), process", ours[0]).group(1)

    def until_hit(self, phase, rank, rng):
        """(seconds of every try, what the last message said; None: never hit)."""
        seconds = []
        for _ in range(MOST_TRIES if phase.says else 1):
            took, where = self.one(phase, rank, rng)
            seconds.append(took)
            owe(took <= MOST_SECONDS, f"ended after {took:.1f} s ({where})")
            if phase.says is None or re.search(phase.says, where):
                return seconds, where
        return seconds, None

    def stop(self, number):
        """The number-th: seven of them meet every phase, 21 every rank in every phase."""
        phase, rank = PHASES[number % len(PHASES)], number % RANKS
        took, where, why = [], None, None
        try:
            took, where = self.until_hit(phase, rank, random.Random(f"{self.seed} {number}"))
            owe(where, f"not hit in {len(took)} tries")
        except AssertionError as error:
            why = str(error)
        return phase, rank, took, where, why

    def go(self, report):
        with concurrent.futures.ThreadPoolExecutor(max_workers=AT_A_TIME) as pool:
            for number, found in enumerate(pool.map(self.stop, range(self.count)), 1):
                phase, rank, took, where, why = found
                self.found[(phase.name, rank)].append((took, where))
                if why:
                    report.fail(f"{phase.name}, rank {rank}", why)
                report.progress(f"{number} of {self.count}")
        for phase in PHASES:
            for rank in range(RANKS):
                found = self.found[(phase.name, rank)]
                seconds = [one for took, _ in found for one in took]
                words = [where for _, where in found if where]
                if found:
                    report.add(phase.name, rank, len(seconds), len(words),
                               f"{max(seconds, default=0):.1f}", words[0] if words else "-")


def drill(count, seed):
    report = Report("stops", ["phase", "rank", "stopped", "of them in this phase",
                              "s until all had ended, most", "last heard doing"],
                    {"count": count, "seed": seed, "hang_seconds": HANG_SECONDS})
    stops = Stops(count, seed)
    try:
        stops.go(report)
    finally:
        stops.run.close()
    return report
