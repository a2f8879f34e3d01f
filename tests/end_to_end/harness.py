"""Runs the built `sluice` as a user would, on a model small enough for a second."""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import unittest

SLUICE = os.environ.get("SLUICE", "sluice")
MPIRUN = os.environ.get("MPIRUN", "mpirun")

# Under nohup this process, and all that it starts, would not hear of a terminal that is gone.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# How much longer a program takes that sanitizers watch.
SLOWER = 10 if os.environ.get("SANITIZED") == "ON" else 1

RUN_FILE = """\
[model]
vocab_size = 257
hidden_size = 32
intermediate_size = 48
num_layers = 6
num_heads = 2
max_seq_len = 32
arrangement = "{arrangement}"
[prores]
schedule = "{prores}"
warmup_steps = 2
[optimizer]
lr = 0.01
[lr_schedule]
kind = "wsd"
warmup_steps = 2
decay_fraction = 0.25
[batch]
global_batch_size = 10
micro_batch_size = 2
seq_len = 32
[data]
train = "train.h5"
validation = "validation.h5"
[checkpoint]
every_updates = 0
keep_last = 0
[eval]
every_updates = 4
tokens = 256
[run]
updates = {updates}
seed = 7
"""

ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "OMPI_MCA_mpi_yield_when_idle": "1",
    # Ranks on one machine; without it Open MPI may complain about missing network hardware.
    "OMPI_MCA_btl": "self,vader",
    "OMPI_MCA_pml": "ob1",  # what it chooses here anyway, after 0.2 s of looking for such hardware
    # More threads than cores: a waiting thread must sleep, not spin.
    "OMP_WAIT_POLICY": "passive",
}
# Open MPI leaks, and some tests preload a library of ours.
ASAN_OPTIONS = "detect_leaks=0:verify_asan_link_order=0"


def environment():
    env = dict(os.environ)
    for name in list(env):
        if name.startswith(("OMPI_COMM", "PMIX", "SLURM")):
            del env[name]
    env.update(ENVIRONMENT)
    env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":" + ASAN_OPTIONS  # to the test preset's
    return env


def call(*command, cwd=None, timeout=120):
    """CompletedProcess with text output; never raises for an exit code. Seconds are those of a program that
    no sanitizer watches."""
    return subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment(), text=True, errors="replace",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        timeout=SLOWER * timeout)


def words(count, seed):
    """Text with structure, so that a loss can fall."""
    rng = random.Random(seed)
    lexicon = ["gate", "water", "open", "layer", "stage", "flow", "first", "last", "norm", "residual"]
    return " ".join(rng.choice(lexicon) for _ in range(count))


class RunTest(unittest.TestCase):
    """Gives each test class a folder with token files, and ways to train."""

    arrangement = "pre"
    prores = "linear"
    updates = 8
    own_launcher = False  # `sluice train --ranks` instead of mpirun

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="sluice-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        texts = cls.folder / "texts"
        texts.mkdir()
        for i in range(40):
            (texts / f"{i:02}.txt").write_text(words(120, i))
        result = call(SLUICE, "data", "prepare", "--input", texts, "--tokenizer", "bytes", "--out",
                      "train.h5", "--validation-fraction", "0.2", "--validation-out",
                      "validation.h5", cwd=cls.folder)
        if result.returncode != 0:
            raise RuntimeError(result.stderr)
        cls.run_file = cls.write_run_file("run.toml")

    @classmethod
    def write_run_file(cls, name, **changes):
        values = {"arrangement": cls.arrangement, "prores": cls.prores, "updates": cls.updates}
        path = cls.folder / name
        path.write_text(RUN_FILE.format(**{**values, **changes}))
        return path

    def command(self, ranks, run_dir, *options, run_file=None, overrides=()):
        launcher = [MPIRUN, "--quiet", "-n", str(ranks)] if ranks > 1 else []
        if self.own_launcher and ranks > 1:
            launcher, options = [], ("--ranks", ranks, *options)
        sets = [word for item in overrides for word in ("--set", item)]
        return [*launcher, SLUICE, "train", str(run_file or self.run_file), "--run-dir",
                str(self.folder / run_dir), *sets, *map(str, options)]

    def train(self, ranks, run_dir, *options, expect=0, run_file=None, overrides=(), timeout=120):
        result = call(*self.command(ranks, run_dir, *options, run_file=run_file,
                                    overrides=overrides), cwd=self.folder, timeout=timeout)
        self.assertEqual(result.returncode, expect, result.stderr)
        return result

    def metrics(self, run_dir, event="update"):
        lines = (self.folder / run_dir / "metrics.jsonl").read_text().splitlines()
        return [row for row in map(json.loads, lines) if row["event"] == event]

    def status(self, run_dir):
        return json.loads((self.folder / run_dir / "status.json").read_text())

    def last_checkpoint(self, run_dir):
        return sorted((self.folder / run_dir / "checkpoints").glob("update-*"))[-1]

    def assert_same_state(self, run_dir, other):
        """Weights, moments, counters and progress, by the program's own comparison."""
        result = call(SLUICE, "inspect", self.last_checkpoint(run_dir), "--diff",
                      self.last_checkpoint(other))
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertIn("identical to the bit", result.stdout)

    def assert_same_curve(self, run_dir, other):
        """Losses, gradient norms, learning rates and gates of every update, as printed digits."""
        keys = ("update", "loss", "grad_norm", "lr", "alpha")
        mine, theirs = ([{key: row[key] for key in keys} for row in self.metrics(name)]
                        for name in (run_dir, other))
        self.assertEqual(mine, theirs)
        self.assertGreater(len(mine), 0)

    def assert_one_clear_message(self, result, *parts):
        """One message of ours, naming what the parts say, and no wall around it."""
        ours = [line for line in result.stderr.splitlines() if line.startswith("sluice: ")]
        self.assertEqual(len(ours), 1, result.stderr)
        for part in parts:
            self.assertIn(part, result.stderr)
        around = [line for line in result.stderr.splitlines() if not line.startswith("[sluice] ")]
        self.assertLess(len(around), 10, result.stderr)
