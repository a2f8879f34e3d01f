"""STOP files and time limits: a run that saves and stops by itself, and continues when started again."""

import time
import unittest

from harness import call
from stopping_test import Processes


class StoppingInTime(Processes):
    updates = 1_000_000

    def continues(self, name):
        """The next start does not find the same reason again, and adds to the same curve."""
        before = self.status(name)["update"]
        self.train(1, name, "--stop-after", 2, expect=75)
        self.assertEqual(self.status(name)["update"], before + 2)
        self.train(1, "whole-" + name, "--stop-after", before + 2, expect=75)
        self.assert_same_curve(name, "whole-" + name)
        self.assert_same_state(name, "whole-" + name)

    def test_a_stop_file(self):
        process = self.start(2, "file")
        self.wait_for_update("file", 3)
        (self.folder / "file" / "STOP").touch()
        _, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 75, errors)
        self.assertIn("STOP file", self.status("file")["reason"])
        self.assertFalse((self.folder / "file" / "STOP").exists())
        self.continues("file")

    def test_a_stop_file_that_was_waiting_is_obeyed_once(self):
        (self.folder / "waiting").mkdir()
        (self.folder / "waiting" / "STOP").touch()
        self.train(1, "waiting", expect=75)
        self.assertEqual(self.status("waiting")["update"], 1)
        self.continues("waiting")

    def test_a_stop_file_that_cannot_be_removed_is_named(self):
        (self.folder / "stays" / "STOP" / "something").mkdir(parents=True)
        result = self.train(1, "stays", expect=75)
        self.assertRegex(result.stderr, "warning: .*stays/STOP cannot be removed .*every start stops")

    def test_a_time_limit(self):
        start = time.monotonic()
        self.train(2, "limit", expect=75, overrides=("run.time_limit_seconds=7",))
        self.assertLess(time.monotonic() - start, 30.0)
        self.assertIn("time limit", self.status("limit")["reason"])
        self.continues("limit")

    def test_the_end_that_slurm_names(self):
        command = ["env", f"SLURM_JOB_END_TIME={int(time.time()) + 7}", *self.command(1, "slurm")]
        result = call(*command, cwd=self.folder)
        self.assertEqual(result.returncode, 75, result.stderr)
        self.assertIn("time limit", self.status("slurm")["reason"])
        # An end in the past leaves time for one update: every start gets further.
        result = call("env", "SLURM_JOB_END_TIME=1000", *self.command(1, "slurm"), cwd=self.folder)
        self.assertEqual(result.returncode, 75, result.stderr)

    def test_a_step_without_mpi(self):
        step = ("SLURM_STEP_ID=0", "SLURM_STEP_NUM_TASKS=4", "SLURM_NTASKS=4")
        result = call("env", *step, "SLURM_PROCID=0", *self.command(1, "alone"), cwd=self.folder)
        self.assertEqual(result.returncode, 2)
        self.assert_one_clear_message(result, "4 tasks", "srun --mpi=pmix")
        result = call("env", *step, "SLURM_PROCID=3", *self.command(1, "alone"), cwd=self.folder)
        self.assertEqual((result.returncode, result.stderr), (2, ""))  # rank 0 speaks for all


if __name__ == "__main__":
    unittest.main()
