"""Ranks that stand still for good reasons, longer than an update may take: nobody ends them."""

import os
import signal
import time
import unittest
import unittest.mock

import stopping_test
from harness import SLUICE, call, words

SLOW_DISK = os.environ.get("SLOW_DISK", "")


class NoFalseAlarms(stopping_test.Processes):
    updates = 100000
    own_launcher = True

    def test_a_long_evaluation(self):
        """Longer than an update may take: it moves on all the while."""
        text = self.folder / "long.txt"
        text.write_text(words(200000, 1))
        result = call(SLUICE, "data", "prepare", "--input", text, "--tokenizer", "bytes", "--out",
                      "long.h5", cwd=self.folder)
        self.assertEqual(result.returncode, 0, result.stderr)
        process = self.start(2, "evaluation", overrides=(
            "run.hang_seconds=1", "run.updates=4", "eval.every_updates=4",
            "data.validation=long.h5", "eval.tokens=300000"))
        _, errors = process.communicate(timeout=300)
        self.assertEqual(process.returncode, 0, errors)
        self.assertGreater(self.metrics("evaluation", "eval")[0]["seconds"], 1.0)

    @unittest.skipUnless(SLOW_DISK, "SLOW_DISK names no library to preload")
    def test_a_file_system_that_keeps_an_update_waiting(self):
        """Longer than an update may take, at every look for a STOP file."""
        slow = {"LD_PRELOAD": SLOW_DISK, "SLOW_DISK_FILE": "/STOP", "SLOW_DISK_SECONDS": "1.8"}
        with unittest.mock.patch.dict(os.environ, slow):
            process = self.start(2, "slow", overrides=("run.hang_seconds=1", "run.updates=4", "eval.every_updates=4"))
        _, errors = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 0, errors)
        self.assertGreater(max(row["seconds"] for row in self.metrics("slow")[2:]), 1.8)

    def test_a_job_that_was_stopped_as_a_whole(self):
        """As with `scontrol suspend`: longer than the bound, then it goes on."""
        process = self.start(3, "suspended", overrides=("run.hang_seconds=1.5",))
        self.wait_for_update("suspended", 5)
        pids = self.ranks_of(self.folder / "suspended").values()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(3)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        done = len(self.metrics("suspended"))
        self.wait_for_update("suspended", done + 20)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 75, errors)


if __name__ == "__main__":
    unittest.main()
