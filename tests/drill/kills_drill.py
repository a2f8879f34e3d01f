"""SIGKILL of random ranks at random instants, a third of them inside a checkpoint."""

import os
import random
import re
import signal
import time

from disturbed_run import DisturbedRun, owe
from drill_report import Report

# Updates for each kill that is to come: a run that ends too early is followed by another.
UPDATES_PER_KILL = 12
MODEL = ("model.num_layers=16", "model.hidden_size=16", "model.intermediate_size=16",
         "run.threads_per_rank=1", "checkpoint.every_updates=2", "checkpoint.keep_last=2",
         "eval.every_updates=10", "eval.tokens=256")
SCHEDULES = {"gpipe": 1, "1f1b": 1, "zb-h1": 1, "interleaved-1f1b": 2, "interleaved-zb": 2,
             "zb-v": 2, "v-half": 2}
INSTANTS = ("any instant", "while it trains", "inside a checkpoint")
FSYNC_MS = 40


def random_layout(rng):
    ranks = rng.randint(2, 8)
    schedule = rng.choice(list(SCHEDULES))
    return ranks, (f"pipeline.schedule={schedule}",
                   f"pipeline.chunks_per_rank={SCHEDULES[schedule]}")


def wait_until(condition, process, seconds=60):
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.005)
    return False


class Kills:
    def __init__(self, count, seed):
        self.rng = random.Random(seed)
        updates = max(24, UPDATES_PER_KILL * min(count, 50))
        self.run = DisturbedRun((*MODEL, f"run.updates={updates}"))
        self.run.undisturbed(overrides=("checkpoint.every_updates=0",))  # the last one is compared
        self.report = Report("kills", ["instant", "kills", "ranks", "of all ranks at once",
                                       "while a save was under way", "updates lost, most"],
                             {"count": count, "seed": seed})
        self.count = count
        self.name = "run-1"
        self.done = {instant: [] for instant in INSTANTS}

    def progress(self):
        """Size of the metrics: grows with every update."""
        path = self.run.folder / self.name / "metrics.jsonl"
        return path.stat().st_size if path.exists() else 0

    def saving(self):
        folder = self.run.folder / self.name / "checkpoints"
        return folder.exists() and any(entry.name.startswith(".update-")
                                       for entry in folder.iterdir())

    def reach_instant(self, instant, process):
        """False where the run ended first."""
        if instant == "any instant":
            time.sleep(self.rng.uniform(0.0, 4.0))
        elif instant == "while it trains":
            before = self.progress()
            if not wait_until(lambda: self.progress() > before + 2000, process):
                return False
            time.sleep(self.rng.uniform(0.0, 1.0))
        else:
            for _ in range(self.rng.randint(1, 3)):
                wait_until(lambda: not self.saving(), process)
                if not wait_until(self.saving, process):
                    return False
            # Rank 0's part of a save has about eight fsyncs, that of others three.
            time.sleep(self.rng.uniform(0.0, 5 * FSYNC_MS / 1000))
            if not self.saving():  # this one was over: the next
                return self.reach_instant(instant, process)
        return process.poll() is None

    def last_update(self):
        try:
            rows = self.run.lines(self.name, "update")
        except (OSError, ValueError):
            return 0
        return rows[-1]["update"] if rows else 0

    def one_kill(self, number):
        """False where the run finished before it was killed."""
        instant = INSTANTS[number % len(INSTANTS)]
        ranks, layout = random_layout(self.rng)
        slow = {"fsync_ms": FSYNC_MS, "at": 0, "rank": 0}
        process = self.run.begin(ranks, self.name, overrides=layout,
                                 preload=slow if instant == "inside a checkpoint" else None)
        reached = self.reach_instant(instant, process)
        victims, saving = {}, self.saving()
        if reached:
            victims = self.run.ranks_of(self.run.folder / self.name)
            if victims and self.rng.random() < 0.75:
                rank = self.rng.choice(sorted(victims))
                victims = {rank: victims[rank]}
            for pid in victims.values():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            if not victims:  # the launcher has not come so far yet
                process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=300)
        self.run.owe_no_process()
        if process.returncode == 0:
            owe(self.last_update() >= 1, errors)
            return False
        if victims:
            owe(process.returncode == 71, f"exit code {process.returncode}: {errors}")
            if len(victims) == 1 and "sluice: " in errors:
                owe(re.search(rf"rank {list(victims)[0]}\b", output + errors), errors)
        self.run.owe_whole_checkpoints(self.name)
        checkpoints = self.run.checkpoints(self.name)
        saved = int(checkpoints[-1].name.split("-")[1]) if checkpoints else 0
        self.done[instant].append({"ranks": ranks, "all": len(victims) > 1, "saving": saving,
                                   "repeated": self.last_update() - saved})
        return True

    def finish(self):
        ranks, layout = random_layout(self.rng)
        result = self.run.run_once(ranks, self.name, overrides=layout)
        owe(result.returncode == 0, f"does not finish: {result.stderr}")
        self.run.owe_same_result(self.name)
        self.report.facts["runs"] = self.report.facts.get("runs", 0) + 1
        self.run.forget(self.name)
        self.name = f"run-{self.report.facts['runs'] + 1}"

    def go(self):
        kills = 0
        while kills < self.count:
            try:
                if self.one_kill(kills):
                    kills += 1
                else:
                    self.finish()
            except AssertionError as error:
                self.report.fail(f"kill {kills + 1}", error)
                kills += 1
            self.report.progress(f"{kills} kills, update {self.last_update()}")
        try:
            self.finish()
        except AssertionError as error:
            self.report.fail("after the last kill", error)
        for instant, rows in self.done.items():
            if rows:
                ranks = sorted({row["ranks"] for row in rows})
                self.report.add(instant, len(rows), f"{ranks[0]} to {ranks[-1]}",
                                sum(row["all"] for row in rows), sum(row["saving"] for row in rows),
                                max(row["repeated"] for row in rows))
        self.report.facts["updates"] = f"{self.run.overrides[-1].split('=')[1]} in each run"


def drill(count, seed):
    kills = Kills(count, seed)
    try:
        kills.go()
    finally:
        kills.run.close()
    return kills.report
