"""A small run that drills disturb, and what must hold of it afterwards. Shares the end-to-end tests' harness."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "end_to_end"))

from harness import SLUICE, call, environment  # noqa: E402
from stopping_test import Processes  # noqa: E402

FAILING_FILES = os.environ.get("SLUICE_FAILING_FILES", "libsluice_failing_files.so")

# Large enough that every kind of file and message occurs, small enough for half a second.
SMALL_MODEL = ("model.num_layers=2", "model.hidden_size=8", "model.intermediate_size=8",
               "run.threads_per_rank=1")


class Bad(AssertionError):
    """Something owed was not given."""


def owe(condition, text):
    if not condition:
        raise Bad(text)


def words_of(result):
    """What a run said in the end, without what it says while all is well."""
    text = result.stderr
    begin = text.find("sluice: ")
    return f"exit code {result.returncode}: {text[begin:] if begin >= 0 else text[-1000:]}"


class DisturbedRun(Processes):
    """`overrides` are part of every run, the undisturbed one included."""

    own_launcher = True

    def __init__(self, overrides, layout_keys=()):
        super().__init__()
        type(self).setUpClass()
        self.overrides = tuple(overrides)
        self.layout_keys = layout_keys

    def close(self):
        for process in self.processes():
            os.kill(process, signal.SIGKILL)
        type(self).doClassCleanups()

    def words(self, ranks, name, *options, overrides=()):
        return self.command(ranks, name, *options, overrides=(*self.overrides, *overrides))

    def run_once(self, ranks, name, *options, overrides=(), preload=None, timeout=1200):
        """CompletedProcess; `preload`: settings of the library that makes calls fail."""
        return subprocess.run(
            [str(word) for word in self.words(ranks, name, *options, overrides=overrides)],
            cwd=self.folder, env=self.variables(ranks, name, preload), text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)

    def begin(self, ranks, name, *options, overrides=(), preload=None):
        return subprocess.Popen(
            [str(word) for word in self.words(ranks, name, *options, overrides=overrides)],
            cwd=self.folder, env=self.variables(ranks, name, preload), text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True)

    def variables(self, ranks, name, preload):
        env = environment()
        if preload is not None:
            env["LD_PRELOAD"] = FAILING_FILES
            launched = {"launched": 1} if ranks > 1 else {}
            for key, value in {"under": self.folder / name, **launched, **preload}.items():
                env[f"SLUICE_DRILL_{key.upper()}"] = str(value)
        return env

    def undisturbed(self, ranks=1, name="undisturbed", overrides=()):
        result = self.run_once(ranks, name, overrides=overrides)
        owe(result.returncode == 0, f"the undisturbed run failed: {result.stderr}")

    def checkpoints(self, name):
        return sorted((self.folder / name / "checkpoints").glob("update-*"))

    def processes(self, name=None):
        """Everything that still trains below our folder, or into one run's, launchers included."""
        folder = str(self.folder / name if name else self.folder).encode()
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                if folder in words and int(entry.name) != os.getpid():
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def owe_no_process(self, name=None, seconds=10):
        deadline = time.monotonic() + seconds
        while self.processes(name) and time.monotonic() < deadline:
            time.sleep(0.05)
        owe(not self.processes(name), f"processes are left: {self.processes(name)}")

    def owe_whole_checkpoints(self, name):
        """Whatever has a checkpoint's name is one. Returns how many there are."""
        folders = self.checkpoints(name)
        for folder in folders:
            result = call(SLUICE, "inspect", folder, "--verify")
            owe(result.returncode == 0, f"{folder.name} is not whole: {result.stdout}{result.stderr}")
        return len(folders)

    def lines(self, name, event):
        found = []
        for line in (self.folder / name / "metrics.jsonl").read_text().splitlines():
            row = json.loads(line)
            if row["event"] == event:
                found.append(row)
        return found

    def owe_same_result(self, name, other="undisturbed"):
        """Weights, moments, gates, position in the data; one line for each update and evaluation,
        equal to all printed digits; nothing left over."""
        mine, theirs = self.checkpoints(name)[-1:], self.checkpoints(other)[-1:]
        owe(mine and theirs, f"{name} has no checkpoint")
        manifests = [json.loads((folders[0] / "manifest.json").read_text())
                     for folders in (mine, theirs)]
        for key in ("update", "parameters_digest", "state_digest"):
            owe(manifests[0][key] == manifests[1][key],
                f"{key} is {manifests[0][key]}, undisturbed {manifests[1][key]}")
        same = call(SLUICE, "inspect", mine[0], "--diff", theirs[0])
        owe("identical to the bit" in same.stdout, same.stdout + same.stderr)
        for event, keys in (("update", ("update", "loss", "grad_norm", "lr", "tokens", "alpha")),
                            ("eval", ("update", "loss", "perplexity", "tokens"))):
            rows = [[[row[key] for key in keys] for row in self.lines(run, event)]
                    for run in (name, other)]
            owe(rows[0] == rows[1], f"{event} lines of metrics.jsonl differ: {len(rows[0])} and "
                f"{len(rows[1])} undisturbed")
        self.owe_nothing_left_over(name)

    def owe_nothing_left_over(self, name):
        folder = self.folder / name
        left = [str(path.relative_to(folder)) for path in folder.rglob("*")
                if path.name.startswith(".update-") or
                path.name.endswith((".partial", ".deleting", ".summary"))]
        owe(not left, f"left over: {left}")

    def forget(self, name):
        shutil.rmtree(self.folder / name, ignore_errors=True)
