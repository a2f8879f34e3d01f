"""Saves that do not hold training up: the same bits, killed, stopped or refused in the middle of writing."""

import json
import os
import shutil
import signal
import subprocess
import time
import unittest

from harness import SLOWER, SLUICE, RunTest, call, environment

SLOW_DISK = os.environ.get("SLOW_DISK", "")


@unittest.skipUnless(SLOW_DISK, "SLOW_DISK names no library to preload")
class AsynchronousSaves(RunTest):
    updates = 40
    on = "checkpoint.asynchronous=true"
    off = "checkpoint.asynchronous=false"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls().train(2, "plain", overrides=(cls.off,))

    def start(self, ranks, run_dir, *overrides, slow="stage-0001", seconds=1.5, options=()):
        """A run on a disk that takes its time over the files whose path contains `slow`."""
        slowed = {"LD_PRELOAD": SLOW_DISK, "SLOW_DISK_FILE": slow, "SLOW_DISK_SECONDS": str(seconds)}
        process = subprocess.Popen(
            self.command(ranks, run_dir, *options, overrides=overrides), cwd=self.folder,
            env={**environment(), **slowed}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        self.addCleanup(self.kill, process)
        return process

    @staticmethod
    def kill(process):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.communicate(timeout=30)

    def end(self, process, expect=0):
        _, errors = process.communicate(timeout=120)
        self.assertEqual(process.returncode, expect, errors)
        return errors

    def wait_until(self, what, seconds=60):
        deadline = time.monotonic() + seconds
        while not what():
            self.assertLess(time.monotonic(), deadline, "it did not come to it")
            time.sleep(0.01)

    def lines(self, run_dir):
        path = self.folder / run_dir / "metrics.jsonl"
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def updates_done(self, run_dir):
        return max((row["update"] for row in self.lines(run_dir) if row["event"] == "update"), default=0)

    def folders(self, run_dir):
        return sorted(path.name for path in (self.folder / run_dir / "checkpoints").iterdir())

    def test_training_goes_on_to_the_same_bits(self):
        self.end(self.start(2, "goes-on", self.on, "checkpoint.every_updates=20", seconds=1))
        self.assert_same_curve("goes-on", "plain")
        self.assert_same_state("goes-on", "plain")
        events = [(row["event"], row["update"]) for row in self.lines("goes-on")]
        self.assertLess(events.index(("update", 25)), events.index(("checkpoint", 20)))
        saves = self.metrics("goes-on", "checkpoint")
        self.assertEqual([row["update"] for row in saves], [20, 40])
        for row in saves:
            self.assertGreater(row["write_seconds"], 1)
            self.assertGreaterEqual(row["seconds"], row["write_seconds"])
        self.assertLess(saves[0]["stall_seconds"], saves[0]["seconds"])
        for name in self.folders("goes-on"):
            verify = call(SLUICE, "inspect", self.folder / "goes-on/checkpoints" / name, "--verify")
            self.assertEqual(verify.returncode, 0, verify.stdout)

    def test_what_is_saved_is_the_update_that_was_due(self):
        """Not one of those that ran while it was written: a run resumed from it ends alike."""
        self.end(self.start(2, "due", self.on, "checkpoint.every_updates=13", seconds=0.3))
        for name in self.folders("due")[1:]:
            shutil.rmtree(self.folder / "due/checkpoints" / name)
        self.assertEqual(self.folders("due"), ["update-00000013"])
        self.train(3, "due", overrides=(self.off,))
        self.assert_same_curve("due", "plain")
        self.assert_same_state("due", "plain")
        self.assertEqual([row["update"] for row in self.metrics("due", "checkpoint")], [13, 40])

    def test_a_save_that_is_due_waits_for_the_one_before(self):
        self.end(self.start(2, "waits", self.on, "checkpoint.every_updates=8",
                            seconds=0.2 * SLOWER))
        self.assertEqual(len(self.metrics("waits", "checkpoint")), self.updates / 8)
        self.assertIn("the save of update 16 waits: that of update 8",
                      (self.folder / "waits/log.txt").read_text())
        self.assert_same_state("waits", "plain")

    def check_killed(self, name, ranks, slow, *overrides):
        plain = (self.off, *overrides)
        self.train(ranks, name, "--stop-after", 2, expect=75, overrides=plain)
        process = self.start(ranks, name, self.on, "checkpoint.every_updates=4", *overrides,
                             slow=slow, seconds=60)
        self.wait_until(lambda: self.updates_done(name) > 5)
        self.assertEqual(self.folders(name), [".update-00000004.partial", "update-00000002"])
        self.kill(process)
        self.train(ranks, name, overrides=plain)
        self.assertEqual(self.folders(name), ["update-00000002", "update-00000040"])

    def test_killed_while_a_stage_is_written(self):
        for slow in ("stage-0001", "stage-0000", "manifest.json", "checkpoint.h5"):
            with self.subTest(slow=slow):
                name = f"killed-at-{slow[:5]}{slow[9:10]}"  # must not be slow itself
                self.check_killed(name, 2, slow)
                self.assert_same_curve(name, "plain")
                self.assert_same_state(name, "plain")

    def test_killed_while_replicas_share_moments(self):
        replicas = ("pipeline.replicas=2", "batch.global_batch_size=8")
        self.train(4, "replicas", overrides=(self.off, *replicas))
        self.check_killed("killed-replicas", 4, "stage-0001", *replicas)
        self.assert_same_curve("killed-replicas", "replicas")
        self.assert_same_state("killed-replicas", "replicas")

    def test_a_request_to_stop_while_a_save_is_written(self):
        process = self.start(2, "stopped", self.on, "checkpoint.every_updates=4", "run.updates=100000",
                             "lr_schedule.kind=constant", seconds=1.5)
        self.wait_until(lambda: self.updates_done("stopped") > 4)
        self.assertEqual(self.folders("stopped"), [".update-00000004.partial"])
        (self.folder / "stopped/STOP").touch()
        self.end(process, expect=75)
        status = self.status("stopped")
        self.assertEqual(status["state"], "stopped")
        self.assertIn("update-00000004", self.folders("stopped"))
        self.assertEqual(self.last_checkpoint("stopped").name, f"update-{status['update']:08}")
        for name in self.folders("stopped"):
            verify = call(SLUICE, "inspect", self.folder / "stopped/checkpoints" / name, "--verify")
            self.assertEqual(verify.returncode, 0, verify.stdout)

    def test_a_request_to_stop_while_training_waits_for_a_save(self):
        """It has come too late for update 4, and what is saved is enough."""
        process = self.start(2, "blocked", self.off, "checkpoint.every_updates=4", "run.updates=100000",
                             "lr_schedule.kind=constant", "eval.every_updates=0", seconds=1.5)
        self.wait_until((self.folder / "blocked/checkpoints/.update-00000004.partial").exists)
        (self.folder / "blocked/STOP").touch()
        self.end(process, expect=75)
        self.assertEqual(self.status("blocked")["update"], 4)
        self.assertEqual(self.folders("blocked"), ["update-00000004"])

    def test_a_request_to_stop_while_a_save_waits_for_the_one_before(self):
        process = self.start(2, "stops-waiting", self.on, "checkpoint.every_updates=2", "run.updates=100000",
                             "lr_schedule.kind=constant", "eval.every_updates=0", slow="stage-0000", seconds=1.5)
        self.wait_until(lambda: self.updates_done("stops-waiting") == 4)
        (self.folder / "stops-waiting/STOP").touch()
        self.end(process, expect=75)
        self.assertEqual(self.status("stops-waiting")["update"], 4)
        self.assertEqual(self.folders("stops-waiting"), ["update-00000002", "update-00000004"])

    def test_a_refused_update_keeps_the_save_that_is_being_written(self):
        process = self.start(2, "refused", self.on, "checkpoint.every_updates=4", seconds=1,
                             options=("--inject", "nan-gradient@6:2"))
        self.end(process, expect=70)
        self.assertEqual(self.folders("refused"), ["update-00000004"])

    def test_an_evaluation_that_fails_keeps_the_save_that_is_being_written(self):
        for mode, code in (("stop", 3), ("continue", 0)):
            name, data = f"unread-{mode}", self.folder / f"{mode}.h5"
            shutil.copy(self.folder / "validation.h5", data)
            with self.subTest(mode):
                process = self.start(2, name, self.on, "checkpoint.every_updates=200", "eval.every_updates=200",
                                     "run.updates=210", "lr_schedule.kind=constant", f"data.validation={data}",
                                     f"checkpoint.on_failure={mode}", slow="stage-0000", seconds=1)
                self.wait_until(lambda: self.updates_done(name) > 1)
                os.truncate(data, 2000)
                errors = self.end(process, expect=code)
                self.assertIn(f"{mode}.h5", errors)
                self.assertIn("update-00000200", self.folders(name))
                self.assertFalse([folder for folder in self.folders(name) if folder.startswith(".")])
                failed = [row["update"] for row in self.lines(name) if row["event"] == "eval_failed"]
                self.assertEqual(failed, [] if code else [200, 210])

    def test_a_rewind_waits_for_the_save_it_goes_back_to(self):
        rewinds = ("anomaly.on_nonfinite=rewind", "anomaly.rewind_updates=2",
                   "checkpoint.every_updates=4", "run.updates=12")
        inject = ("--inject", "nan-gradient@6:2")
        self.train(2, "rewind-plain", *inject, overrides=(self.off, *rewinds))
        self.end(self.start(2, "rewind", self.on, *rewinds, seconds=0.5, options=inject))
        for name in ("rewind-plain", "rewind"):
            self.assertEqual([row["to"] for row in self.metrics(name, "rewind")], [4])
        self.assert_same_curve("rewind", "rewind-plain")
        self.assert_same_state("rewind", "rewind-plain")

    def test_memory_decides_where_the_run_file_leaves_it_open(self):
        table = call(SLUICE, "plan", self.run_file, "-n", 2, "--json").stdout
        ranks = json.loads(table)["ranks"]
        for rank in ranks:
            self.assertEqual(rank["bytes"]["snapshot"], 3 * rank["bytes"]["weights"])
        peak = max(rank["bytes"]["total"] for rank in ranks)
        tight = call(SLUICE, "plan", self.run_file, "-n", 2, "--json", "--memory", peak - 1)
        self.assertEqual(tight.returncode, 0, tight.stderr)
        for rank in json.loads(tight.stdout)["ranks"]:
            self.assertEqual(rank["bytes"]["snapshot"], 0)
        refused = call(SLUICE, "plan", self.run_file, "-n", 2, "--set", self.on, "--memory", peak - 1)
        self.assertEqual(refused.returncode, 2)
        self.assertIn("--set checkpoint.asynchronous=false", refused.stderr)
        self.end(self.start(2, "auto", "checkpoint.every_updates=10", seconds=0))
        self.assertIn("asynchronous = true", (self.folder / "auto/config.toml").read_text())


if __name__ == "__main__":
    unittest.main()
