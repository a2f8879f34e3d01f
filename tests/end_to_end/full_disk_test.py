"""A disk that is full ends a run with what was saved, and with its end on it."""

import contextlib
import os
import shutil
import subprocess
import time
import unittest

from harness import SLUICE, RunTest, call, environment


@unittest.skipUnless(os.geteuid() == 0 and shutil.which("mount"), "needs root to mount a tmpfs")
class FullDisk(RunTest):
    def disk(self, name, size):
        small = self.folder / name
        small.mkdir()
        if call("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", small).returncode != 0:
            self.skipTest("cannot mount a tmpfs here")
        self.addCleanup(call, "umount", "-l", small)
        return small

    def test_it_keeps_the_last_checkpoint(self):
        for kind, size, overrides in (
                ("blocking", "1200k", ("checkpoint.asynchronous=false", "checkpoint.every_updates=1")),
                ("asynchronous", "2500k", ("checkpoint.asynchronous=true", "checkpoint.every_updates=3"))):
            with self.subTest(kind):
                small = self.disk(kind, size)
                result = self.train(2, f"{kind}/run", expect=3, overrides=overrides)
                self.assert_one_clear_message(result, "space")
                self.assertEqual(self.status(f"{kind}/run")["state"], "failed")
                last = self.last_checkpoint(f"{kind}/run")
                self.assertEqual(call(SLUICE, "inspect", last, "--verify").returncode, 0)
                self.assertEqual(list((small / "run/checkpoints").glob(".update-*")), [])

    def test_filled_by_others_it_does_not_leave_a_run_running(self):
        """To the last byte: there is no room for another status.json beside the one there is."""
        small = self.disk("filled", "2000k")
        command = self.command(1, "filled/run", overrides=("run.updates=100000",))
        with subprocess.Popen(list(map(str, command)), cwd=self.folder, env=environment(),
                              stderr=subprocess.PIPE, text=True) as run:
            metrics = small / "run/metrics.jsonl"
            while not (metrics.exists() and '"update":3,' in metrics.read_text()) and run.poll() is None:
                time.sleep(0.01)
            with contextlib.suppress(OSError), open(small / "filler", "wb", buffering=0) as filler:
                while True:
                    filler.write(bytes(4096))
            errors = run.communicate(timeout=60)[1]
        self.assertEqual(run.returncode, 3, errors)
        self.assertIn("No space left on device", errors)
        status = self.status("filled/run")
        self.assertEqual((status["state"], status["exit_code"]), ("failed", 3))
        self.assertIn("metrics.jsonl", status["reason"])


if __name__ == "__main__":
    unittest.main()
