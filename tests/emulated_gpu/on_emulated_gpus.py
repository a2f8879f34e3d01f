"""Runs of the whole program on emulated GPUs, for tests.

The emulation (docs/gpu.md) holds work back until the host waits (seed 0), or runs it early or late as a
random generator says (other seeds), within what streams and events allow.
"""

import contextlib
import os
import unittest
import unittest.mock

from harness import SLUICE, RunTest, call

SMALL = ("model.hidden_size=16", "model.intermediate_size=24", "model.num_layers=4",
         "model.max_seq_len=8", "batch.seq_len=8", "batch.global_batch_size=6",
         "eval.every_updates=3", "eval.tokens=32", "run.threads_per_rank=1")

NCCL = os.environ.get("NCCL") == "ON" # in the build
ON_A_REAL_GPU = "ON_A_REAL_GPU" in os.environ # as many as there are, whatever is emulated


@contextlib.contextmanager
def emulated(gpus=1, seed=0, **others):
    """The machine that the program meets: GPUs, the order of their work, further variables."""
    variables = {"SLUICE_EMULATED_GPUS": gpus, "SLUICE_EMULATED_SEED": seed, **others}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update({name: str(value) for name, value in variables.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class OnEmulatedGpus(RunTest):
    updates = 6

    @classmethod
    def setUpClass(cls):
        # With the program itself in SLUICE some of these tests run on a real GPU (gpu/* in CTest).
        if ON_A_REAL_GPU and " GPU 0 " not in call(SLUICE, "doctor").stdout:
            raise unittest.SkipTest("skipped: no GPU is visible")
        super().setUpClass()
        # What emulated NCCL keeps there goes with the folder, also where ranks end early.
        elsewhere = unittest.mock.patch.dict(os.environ, TMPDIR=str(cls.folder))
        elsewhere.start()
        cls.addClassCleanup(elsewhere.stop)

    def run_on(self, device, ranks, run_dir, *options, overrides=(), expect=0):
        return self.train(ranks, run_dir, *options, expect=expect,
                          overrides=(*SMALL, f"run.device={device}", *overrides))

    def check(self, run_dir, whole="whole"):
        self.assert_same_curve(run_dir, whole)
        self.assert_same_state(run_dir, whole)
        self.assertEqual([row["loss"] for row in self.metrics(run_dir, "eval")],
                         [row["loss"] for row in self.metrics(whole, "eval")])
