"""Ranks on GPUs that hang, or whose NCCL fails, while other hosts wait for GPUs that wait for them."""

import subprocess
import time
import unittest

from harness import environment
from on_emulated_gpus import NCCL, SMALL, OnEmulatedGpus, emulated

HANG_SECONDS = 3


@unittest.skipUnless(NCCL, "this build has no NCCL")
class Hangs(OnEmulatedGpus):
    updates = 100000
    own_launcher = True

    def fail_run(self, ranks, run_dir, *options, hang_seconds=HANG_SECONDS, overrides=()):
        """What a run says that must fail in time, in its own words alone."""
        command = self.command(ranks, run_dir, *options, overrides=(
            *SMALL, "run.device=cuda", "pipeline.transport=nccl", "eval.every_updates=0",
            f"run.hang_seconds={hang_seconds}", *overrides))
        begun = time.monotonic()
        result = subprocess.run(command, cwd=self.folder, env=environment(), text=True,
                                capture_output=True, timeout=100)
        self.assertEqual(result.returncode, 71, result.stderr)
        self.assertLess(time.monotonic() - begun, 40, result.stderr)
        said = [line for line in result.stderr.splitlines() if line.startswith("sluice: ")]
        self.assertEqual(len(said), 1, result.stderr)
        status = self.status(run_dir)
        self.assertEqual((status["state"], status["exit_code"]), ("failed", 71))
        return said[0], result.stderr

    def check_blame(self, ranks, layer, culprit, *waits, overrides=(), fault="hang@4"):
        name = f"{ranks}-{layer.replace(':', '-')}-{len(overrides)}"
        said, errors = self.fail_run(ranks, name, "--inject", f"{fault}:{layer}",
                                     overrides=overrides)
        self.assertTrue(said.startswith(f"sluice: {culprit} hangs: on one spot for "), errors)
        self.assertIn("waiting for nobody (update 4", said)
        for wait in waits:
            self.assertRegex(errors, wait)
        self.assertNotIn("waits for nobody", errors)

    def test_the_first_stage(self):
        with emulated(2):
            self.check_blame(2, "0", "rank 0", r"rank 1 waits for rank 0 for \d+ s: update 4")

    def test_the_last_stage(self):
        with emulated(2, seed=1):
            self.check_blame(2, "3", "rank 1",
                             r"rank 0 waits (for|to send to) rank 1 for \d+ s: update 4")

    def test_a_stage_between_others(self):
        """Whose neighbours' GPUs wait for it on either side."""
        with emulated(3):
            self.check_blame(3, "2", "rank 1", r"rank 0 waits (for|to send to) rank 1 for ",
                             r"rank 2 waits for rank 1 for ")

    def test_a_replica(self):
        with emulated(2):
            self.check_blame(2, "0:1", "replica 1, rank 1",
                             r"replica 0, rank 0 waits for replica 1, rank 1 for \d+ s: update 4",
                             overrides=("pipeline.replicas=2", "batch.global_batch_size=8"))

    def test_a_stage_of_a_replica(self):
        """Two wait for it, the fourth rank for those."""
        with emulated(4):
            self.check_blame(4, "0:1", "replica 1, rank 2",
                             r"replica 1, rank 3 waits for replica 1, rank 2 for ",
                             r"replica 0, rank 0 waits for replica 1, rank 2 for ",
                             r"replica 0, rank 1 waits for replica 1, rank 3 for ",
                             overrides=("pipeline.replicas=2", "batch.global_batch_size=8"))

    def test_a_gpu_that_takes_no_more_work(self):
        """The host then stands still within a call of CUDA and not in a wait of its own."""
        for layer, culprit, other in (("0", "rank 0", "rank 1"), ("3", "rank 1", "rank 0")):
            with self.subTest(layer), emulated(2, SLUICE_EMULATED_QUEUE=12):
                self.check_blame(2, layer, culprit, rf"{other} waits (for|to send to) {culprit} for ",
                                 overrides=("pipeline.graphs=false",))

    def check_found(self, layer, *parts, overrides=()):
        """Rank 0 goes on no further; NCCL's error is found while rank 1 waits at the end of update 4."""
        said, errors = self.fail_run(2, f"error-{len(overrides)}", "--inject", f"hang@4:{layer}",
                                     hang_seconds=90, overrides=overrides)
        for part in parts:
            self.assertIn(part, said, errors)

    def test_an_error_of_nccl_while_the_host_waits(self):
        with emulated(2, SLUICE_EMULATED_NCCL_PATIENCE=3):
            self.check_found("0", "sluice: rank 1: activations for chunk 1, rank 0 to rank 1: a peer "
                             "has given up; ", " (update 4, rank 1, ")

    def test_an_error_of_nccl_between_replicas_while_the_host_waits(self):
        with emulated(2, SLUICE_EMULATED_NCCL_PATIENCE=3):
            self.check_found("0:0", "sluice: rank 1: exchanges between the 2 replicas' ranks like rank 1: a peer "
                             "has given up; ", " (update 4, replica 1, ",
                             overrides=("pipeline.replicas=2", "batch.global_batch_size=8"))


if __name__ == "__main__":
    unittest.main()
