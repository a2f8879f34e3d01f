"""Requeue, preemption, time limit and scancel, again and again, on a real Slurm (./dev cluster)."""

import concurrent.futures
import os
import random
import re
import signal
import time
import unittest

from disturbed_run import Bad, owe
from drill_report import Report
from slurm_test import Events
from stopping_test import Processes

# Saves go on beside training all the time, so that events meet them; the rank of layer 0 sleeps most of
# each update, which leaves the machine to Slurm and makes no difference to the numbers.
SAVING = ("--set", "checkpoint.asynchronous=true", "--set", "checkpoint.every_updates=3",
          "--set", "checkpoint.keep_last=2", "--inject", "slow@1-1000000:0")


class Cluster(Events):
    pass


class Job:
    """One run under one kind of event. Every start must go on where the one before stopped, or, where
    that had no time to save, from its newest checkpoint."""

    def __init__(self, cluster, name, node, **options):
        self.cluster, self.name, self.options = cluster, name, {"nodes": node, **options}
        self.job = None
        self.starts, self.seconds = 0, []
        self.submit()

    def submit(self):
        extra = self.options.get("extra", ())
        given = {key: value for key, value in self.options.items() if key != "extra"}
        self.job = self.cluster.submit(self.name, *extra, train=SAVING, **given)
        self.starts += 1

    def wait(self, what, condition, seconds=300):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = condition()
            if found:
                return found
            time.sleep(0.1)
        raise Bad(f"waited {seconds} s for {what}\n{self.cluster.log(self.name)[-1500:]}")

    def log(self):
        return self.cluster.log(self.name)

    def newest_update(self):
        path = self.cluster.folder / self.name / "metrics.jsonl"
        if not path.exists():
            return 0
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 8192))
            numbers = re.findall(rb'"event":"update","update":(\d+),', file.read())
        return int(numbers[-1]) if numbers else 0

    def resumed_at(self):
        return [int(at) for at in re.findall(r"resumed from .* at update (\d+)", self.log())]

    def wait_until_running(self):
        """Until this start has made a few updates of its own. Returns the newest."""
        first = self.starts == 1
        self.wait("a start", lambda: first or len(self.resumed_at()) >= self.starts - 1)
        begin = 0 if first else self.resumed_at()[-1]
        self.wait("updates", lambda: self.newest_update() >= begin + 3)
        return self.newest_update()

    def cycle(self):
        reached = self.wait_until_running()
        start = time.monotonic()
        owed = self.disturb() or reached
        self.starts += 1
        self.wait("the next start", lambda: len(self.resumed_at()) >= self.starts - 1)
        at = self.resumed_at()[-1]
        owe(at >= owed, f"update {owed} was owed, but it went on from {at}")
        self.seconds.append(time.monotonic() - start)

    def end(self):
        """Stopped for good. Returns the last update."""
        self.wait_until_running()
        (self.cluster.folder / self.name / "STOP").touch()
        self.wait("the job's end", lambda: self.cluster.state_of(self.job) in (
            "COMPLETED", "FAILED", "CANCELLED"))
        owe("STOP file" in self.cluster.status(self.name)["reason"], self.log()[-1500:])


class Requeued(Job):
    event = "scontrol requeue"

    def disturb(self):
        self.cluster.slurm("scontrol", "requeue", self.job)


class Preempted(Job):
    event = "preemption"

    def disturb(self):
        urgent = self.cluster.slurm(
            "sbatch", "--parsable", "--partition=urgent", f"--nodelist={self.options['nodes']}",
            "--exclusive", "--output=urgent.out", "--wrap=sleep 1").stdout.strip()
        self.wait("the urgent job", lambda: self.cluster.state_of(urgent) == "COMPLETED")


class Limited(Job):
    event = "time limit"

    def disturb(self):
        """Nothing to do: a minute is soon over."""


class Cancelled(Job):
    event = "scancel"

    def disturb(self):
        self.cluster.slurm("scancel", self.job)
        self.wait("the job's end", lambda: self.cluster.state_of(self.job) == "CANCELLED")
        owe(self.cluster.status(self.name)["exit_code"] == 75, self.log()[-1500:])
        self.starts -= 1  # counted by submit() and by cycle()
        self.submit()


class Killed(Job):
    """Without a warning: what is owed is the newest checkpoint, not the newest update."""

    event = "SIGKILL of a rank, a quarter: of all"

    def __init__(self, cluster, name, node, rng, **options):
        self.rng = rng
        super().__init__(cluster, name, node, **options)

    def newest_checkpoint(self):
        folders = (self.cluster.folder / self.name / "checkpoints").glob("update-*")
        return max((int(folder.name.split("-")[1]) for folder in folders), default=0)

    def disturb(self):
        self.wait("a checkpoint", self.newest_checkpoint)
        time.sleep(self.rng.uniform(0.0, 1.0))
        saved = self.newest_checkpoint()
        ranks = Processes.ranks_of(self.cluster.folder / self.name)
        owe(len(ranks) == 2, f"ranks {sorted(ranks)} are there")
        if self.rng.random() < 0.75:
            rank = self.rng.choice(sorted(ranks))
            ranks = {rank: ranks[rank]}
        for pid in ranks.values():
            os.kill(pid, signal.SIGKILL)
        return saved


def run_cycles(job, count, report):
    for number in range(count):
        try:
            job.cycle()
        except AssertionError as error:
            report.fail(f"{job.event} {number + 1}", error)
            return
        report.progress(f"{job.event}: {number + 1} of {count}, update {job.newest_update()}")
    try:
        job.end()
    except AssertionError as error:
        report.fail(f"end after {job.event}", error)


def drill(count, seed):
    report = Report("slurm", ["event", "cycles", "s per cycle, mean", "updates", "starts"],
                    {"count": count, "seed": seed})
    cluster = Cluster()
    try:
        try:
            Cluster.setUpClass()
        except unittest.SkipTest as skip:
            report.skipped = str(skip).removeprefix("skipped: ")
            return report
        # Limits come once a minute; a few of them are enough to see them beside the others.
        plan = [(Requeued(cluster, "requeued", "n1"), count),
                (Preempted(cluster, "preempted", "n2", partition="preemptible",
                           script="train_preemptible.sbatch"), count),
                (Limited(cluster, "limited", "n1", extra=("--time=1", "--signal=USR1@45")),
                 max(1, count // 4)),
                (Cancelled(cluster, "cancelled", "n1"), max(1, count // 2))]
        kills = max(2, count * 5 // 2)  # in two jobs, on the node that nothing is preempted on
        plan += [(Killed(cluster, f"killed-{number}", "n1", random.Random(f"{seed} {number}"),
                         SLUICE_MAX_STALLED="1000"), (kills + number) // 2) for number in (0, 1)]
        with concurrent.futures.ThreadPoolExecutor(max_workers=len(plan)) as pool:
            for future in [pool.submit(run_cycles, job, cycles, report) for job, cycles in plan]:
                future.result()
        for event in dict.fromkeys(job.event for job, _ in plan):
            jobs = [job for job, _ in plan if job.event == event]
            seconds = [one for job in jobs for one in job.seconds]
            report.add(event, len(seconds), f"{sum(seconds) / max(1, len(seconds)):.1f}",
                       sum(job.newest_update() for job in jobs), sum(job.starts for job in jobs))
        report.progress("comparing with the undisturbed run")
        cluster.check_bits(*(job.name for job, _ in plan))
    except AssertionError as error:
        report.fail("bits", error)
    finally:
        Cluster.doClassCleanups()
    return report
