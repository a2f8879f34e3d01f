"""Every file-system call of a run with checkpoints fails in turn, on each rank, in every way."""

import collections
import concurrent.futures
import os
import random
import re

from disturbed_run import SMALL_MODEL, DisturbedRun, owe, words_of
from drill_report import Report

# What the failing call returns, and the words that the message then owes.
KINDS = {"ENOSPC": "No space left on device", "EDQUOT": "Disk quota exceeded",
         "EIO": "Input/output error", "full": "No space left on device|not enough free space",
         "dead": "Input/output error", "EINTR": None, "short": None, "kill": None}
# Calls that a signal may cut short, and those that may do half of their work.
FITTING = {"EINTR": ("open", "close", "write", "pwrite", "fsync", "ftruncate"),
           "short": ("write", "pwrite")}
# The second save replaces the first: deletions are part of it.
RUN = (*SMALL_MODEL, "run.updates=4", "checkpoint.every_updates=2", "checkpoint.keep_last=1",
       "eval.every_updates=3", "eval.tokens=64")


# Ranks of the run, the rank whose calls fail, and what the run does when files cannot be written.
RUNS = ((1, 0, "stop"), (2, 0, "stop"), (2, 1, "stop"), (2, 0, "continue"))

AT_A_TIME = 4  # launchers and disks make each wait most of its time


class Call:
    def __init__(self, ranks, rank, response, line, folder):
        number, self.call, path = line.split(" ", 2)
        self.ranks, self.rank, self.response, self.number = ranks, rank, response, int(number)
        self.path = os.path.relpath(path, folder)

    def file(self):
        """What kind of file: `stage-0001-of-0002.h5.partial` is one of `stage.h5.partial`."""
        name = os.path.basename(self.path)
        if name == ".":
            return "run folder"
        name = re.sub(r"stage-\d+-of-\d+", "stage", name)
        return re.sub(r"(\.?)update-\d+", r"\1update-N", name)

    def text(self, kind):
        return (f"{kind} at call {self.number} of rank {self.rank} of {self.ranks} ({self.call} {self.path}), "
                f"on_failure = {self.response}")

    def kind_of_run(self):
        return str(self.ranks) if self.response == "stop" else f"{self.ranks}, {self.response}"


class Files:
    def __init__(self, count, seed):
        self.rng = random.Random(seed)
        self.run = DisturbedRun(RUN)
        self.run.undisturbed()
        self.kept = [folder.name for folder in self.run.checkpoints("undisturbed")]
        self.count = count
        self.report = Report("files", ["ranks", "call", "file", *KINDS],
                             {"count": count or "all", "seed": seed})
        self.cells = collections.defaultdict(collections.Counter)

    def calls_of(self, ranks, rank, response):
        name = f"count-{ranks}-{rank}-{response}"
        log = self.run.folder / f"{name}.log"
        result = self.run.run_once(ranks, name, overrides=self.responding(response),
                                   preload={"at": 0, "rank": rank, "log": log, **self.left_alone(name)})
        owe(result.returncode == 0, result.stderr)
        self.run.owe_same_result(name)
        folder = self.run.folder / name
        calls = [Call(ranks, rank, response, line, folder) for line in log.read_text().splitlines()]
        owe(len(calls) > 20, f"only {len(calls)} calls on rank {rank}: is the library preloaded?")
        return calls

    @staticmethod
    def responding(response):
        return (f"checkpoint.on_failure={response}",)

    def left_alone(self, name):
        """A log that cannot be written must not end a run; it is opened past our library anyway."""
        return {"except": self.run.folder / name / "log.txt"}

    def chosen(self, calls):
        """All, or at most `count`, of each kind of file some."""
        if not self.count or len(calls) <= self.count:
            return calls
        groups = collections.defaultdict(list)
        for one in calls:
            groups[(one.call, one.file())].append(one)
        for group in groups.values():
            self.rng.shuffle(group)
        order = list(groups.values())
        self.rng.shuffle(order)
        picked = [group[i] for i in range(len(calls)) for group in order if i < len(group)]
        return picked[:self.count]

    def cases(self, calls):
        found = []
        for kind in KINDS:
            fitting = [one for one in calls if one.call in FITTING.get(kind, (one.call,))]
            found += [(one, kind) for one in self.chosen(fitting)]
        return found

    def one(self, case):
        """(case, outcome, why it is bad)."""
        call, kind = case
        name = f"{kind}-{call.ranks}-{call.rank}-{call.response}-{call.number:05}"
        try:
            outcome = self.disturb(name, call, kind)
        except AssertionError as error:
            return case, "bad", str(error)
        finally:
            if self.run.folder.joinpath(name).exists():
                self.run.forget(name)
        return case, outcome, None

    def disturb(self, name, call, kind):
        result = self.run.run_once(call.ranks, name, overrides=self.responding(call.response), preload={
            "at": call.number, "kind": kind, "rank": call.rank, **self.left_alone(name)})
        if result.returncode == 0:
            killed_at_its_end = "a rank was ended by SIGKILL; the run had finished" in result.stderr
            owe(kind != "kill" or killed_at_its_end, "it was not killed: is anything disturbed at all?")
            self.owe_said_or_whole(name, result.stderr, kind)
            if "could not be deleted" in result.stderr:  # the next start tries again
                again = self.run.run_once(1, name)
                owe(again.returncode == 0, f"restart: {words_of(again)}")
            self.run.owe_same_result(name)
            return "ran on"
        if kind == "kill":
            owe(result.returncode in ((-9,) if call.ranks == 1 else (71,)),
                f"{words_of(result)}")
        else:
            self.owe_clear_error(name, call, kind, result)
        again = self.run.run_once(1, name)  # on other ranks than before
        owe(again.returncode == 0, f"restart: {words_of(again)}")
        # It compared every byte of the newest with its checksums.
        owe("skipping damaged" not in again.stderr, f"a damaged checkpoint was left: {again.stderr}")
        self.run.owe_same_result(name)
        return "killed" if kind == "kill" else "error"

    def owe_said_or_whole(self, name, errors, kind):
        """No silent success: a checkpoint that is missing was spoken of."""
        kept = [folder.name for folder in self.run.checkpoints(name)]
        if kept != self.kept:
            owe(KINDS[kind] and re.search(KINDS[kind], errors),
                f"checkpoints {kept}, undisturbed {self.kept}, and not a word: {errors}")

    def owe_clear_error(self, name, call, kind, result):
        owe(KINDS[kind] is not None, f"{kind} is no error, but: {words_of(result)}")
        owe(result.returncode == 3, f"{words_of(result)}")
        ours = [line for line in result.stderr.splitlines() if line.startswith("sluice: ")]
        owe(len(ours) == 1, f"{len(ours)} messages: {words_of(result)}")
        owe(re.search(KINDS[kind], ours[0]), f"errno is not named: {ours[0]}")
        owe(str(self.run.folder / name) in ours[0], f"the file is not named: {ours[0]}")
        status = self.run.folder / name / "status.json"
        can_say = kind not in ("full", "dead") and "status.json" not in call.path
        if can_say and status.exists():
            owe(self.run.status(name)["state"] == "failed" and
                re.search(KINDS[kind], self.run.status(name)["reason"]),
                f"status.json: {status.read_text()}")

    def go(self):
        cases = []
        for ranks, rank, response in RUNS:
            calls = self.calls_of(ranks, rank, response)
            cases += self.cases(calls)
            self.report.facts[f"calls of rank {rank} of {ranks} ({response})"] = len(calls)
        self.report.facts["tried"] = len(cases)
        outcomes = collections.Counter()
        with concurrent.futures.ThreadPoolExecutor(max_workers=AT_A_TIME) as pool:
            for number, (case, outcome, why) in enumerate(pool.map(self.one, cases), 1):
                call, kind = case
                self.cells[(call.kind_of_run(), call.call, call.file())][(kind, outcome)] += 1
                outcomes[outcome] += 1
                if why:
                    self.report.fail(call.text(kind), why)
                if number % 50 == 0:
                    self.report.progress(f"{number} of {len(cases)}")
        for key in sorted(self.cells):
            self.report.add(*key, *(self.cell(self.cells[key], kind) for kind in KINDS))
        self.report.facts.update(outcomes)

    @staticmethod
    def cell(counts, kind):
        return ", ".join(f"{counts[(kind, outcome)]} {outcome}"
                         for outcome in ("error", "killed", "ran on", "bad")
                         if counts[(kind, outcome)]) or "-"


def drill(count, seed):
    files = Files(count, seed)
    try:
        files.go()
    finally:
        files.run.close()
    return files.report
