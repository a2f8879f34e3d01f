"""A disk that is full ends a run with what was saved, and with its end on it, or training goes on without it."""

import contextlib
import json
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

    @staticmethod
    def fill(disk):
        with contextlib.suppress(OSError), open(disk / "filler", "wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))

    def wait_for(self, run, file, text):
        deadline = time.monotonic() + 60
        while not (file.exists() and text in file.read_text()):
            self.assertIsNone(run.poll(), f"ended without {text} in {file.name}")
            self.assertLess(time.monotonic(), deadline, f"no {text} in {file.name}")
            time.sleep(0.01)

    def test_training_goes_on_until_there_is_room(self):
        """Filled to the last byte and freed again: the run that was asked to go on lost nothing."""
        for kind in ("false", "true"):
            with self.subTest(asynchronous=kind):
                name = f"goes-on-{kind}"
                small = self.disk(name, "6000k")
                command = self.command(2, f"{name}/run", overrides=(
                    "run.updates=100000", "lr_schedule.kind=constant", "checkpoint.every_updates=40",
                    "checkpoint.keep_last=1", "checkpoint.on_failure=continue", f"checkpoint.asynchronous={kind}"))
                errors = self.folder / f"{name}.txt"
                with errors.open("w") as log, \
                        subprocess.Popen(list(map(str, command)), cwd=self.folder, env=environment(), stderr=log) as run:
                    self.addCleanup(run.kill)
                    self.wait_for(run, small / "run/metrics.jsonl", '"event":"checkpoint"')
                    self.fill(small)
                    self.wait_for(run, errors, "lines of metrics wait in memory")
                    while errors.read_text().count("could not be saved") < 2:
                        self.assertIsNone(run.poll(), errors.read_text())
                        time.sleep(0.01)
                    (small / "filler").unlink()
                    self.wait_for(run, errors, "lines of metrics that waited in memory are written")
                    failures = [row["update"] for row in self.metrics(f"{name}/run", "checkpoint_failed")]
                    while self.last_checkpoint(f"{name}/run").name <= f"update-{failures[0]:08}":
                        self.assertIsNone(run.poll())
                        time.sleep(0.01)
                    (small / "run/STOP").touch()
                    self.assertEqual(run.wait(60), 75, errors.read_text())
                rows = [json.loads(line) for line in (small / "run/metrics.jsonl").read_text().splitlines()]
                updates = [row["update"] for row in rows if row["event"] == "update"]
                self.assertEqual(updates, list(range(1, self.status(f"{name}/run")["update"] + 1)))
                self.assertIn("space", self.metrics(f"{name}/run", "checkpoint_failed")[0]["reason"])
                self.assertEqual(failures[0] % 40, 0)
                # A tenth of the interval after it was noticed, which beside training is some updates later.
                self.assertIn(failures[1] - failures[0], (4,) if kind == "false" else range(4, 20))
                last = self.last_checkpoint(f"{name}/run")
                self.assertEqual(call(SLUICE, "inspect", last, "--verify").returncode, 0)
                self.assertEqual(list((small / "run/checkpoints").glob(".update-*")), [])

    def test_the_save_at_the_end_must_succeed(self):
        small = self.disk("end", "1200k")
        result = self.train(2, "end/run", expect=3, overrides=(
            "checkpoint.asynchronous=false", "checkpoint.every_updates=1", "checkpoint.on_failure=continue"))
        self.assert_one_clear_message(result, "space")
        self.assertEqual(self.status("end/run")["state"], "failed")
        self.assertIn("could not be saved", (small / "run/log.txt").read_text())
        done = [row["update"] for row in self.metrics("end/run", "update")]
        self.assertEqual(done, list(range(1, self.updates + 1)))

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
            self.wait_for(run, small / "run/metrics.jsonl", '"update":3,')
            self.fill(small)
            errors = run.communicate(timeout=60)[1]
        self.assertEqual(run.returncode, 3, errors)
        self.assertIn("No space left on device", errors)
        status = self.status("filled/run")
        self.assertEqual((status["state"], status["exit_code"]), ("failed", 3))
        self.assertIn("metrics.jsonl", status["reason"])


if __name__ == "__main__":
    unittest.main()
