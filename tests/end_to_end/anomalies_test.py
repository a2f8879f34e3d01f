"""Gradients that are not finite and loss spikes: stop, warn, skip, rewind; the same bits in every layout."""

import json
import shutil
import unittest

from harness import SLUICE, RunTest, call

BATCH = 10  # sequences, of the harness's run file


def samples_of(first, last):
    return [(first - 1) * BATCH, last * BATCH - 1]


class Anomalies(RunTest):
    def assert_told(self, result, *parts):
        """Once, by one rank."""
        error, = [line for line in result.stderr.splitlines() if "[sluice] error: " in line]
        for part in parts:
            self.assertIn(part, error)

    def batches(self, run_dir):
        """Which batch each update trained on, and that every update stands there once."""
        rows = self.metrics(run_dir)
        self.assertEqual([row["update"] for row in rows], list(range(1, len(rows) + 1)))
        return [row["samples"][0] // BATCH + 1 for row in rows]


class NotFinite(Anomalies):
    fault = ("--inject", "nan-gradient@5:3")
    skip = ("anomaly.on_nonfinite=skip",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls().train(1, "skipped", *cls.fault, overrides=cls.skip)

    def test_stop_is_what_happens_by_default(self):
        result = self.train(2, "stopped", *self.fault, expect=70)
        self.assert_told(result, "update 5: ", "layer 3", "samples 40 to 49")
        self.assertIn("samples 40 to 49", self.status("stopped")["reason"])
        anomaly, = self.metrics("stopped", "anomaly")
        self.assertEqual((anomaly["update"], anomaly["response"], anomaly["samples"]),
                         (5, "stop", [40, 49]))
        self.train(2, "stopped")  # without the fault the run goes on, and the anomaly is gone
        self.assertEqual(self.batches("stopped"), list(range(1, 9)))

    def test_skip_leaves_one_batch_out(self):
        self.assertEqual(self.batches("skipped"), [1, 2, 3, 4, 6, 7, 8, 9])
        rewind, = self.metrics("skipped", "rewind")
        self.assertEqual((rewind["from"], rewind["to"], rewind["skipped_batches"],
                          rewind["samples"], rewind["num_rewinds"]), (5, 4, [5, 5], [40, 49], 1))
        log = (self.folder / "skipped" / "log.txt").read_text()
        self.assertIn("samples 40 to 49", log)
        summary = json.loads(call(SLUICE, "inspect", self.folder / "skipped", "--json").stdout)
        self.assertEqual((summary["num_rewinds"], summary["skipped_batches"]), (1, [5, 5]))

    def test_data_show_knows_what_was_skipped(self):
        def shown(*options):
            result = call(SLUICE, "data", "show", self.run_file, "--update", "5", "--json", *options,
                          cwd=self.folder)
            self.assertEqual(result.returncode, 0, result.stderr)
            return json.loads(result.stdout)["samples"]
        self.assertEqual(shown(), list(range(40, 50)))
        self.assertEqual(shown("--skips-of", "skipped"), list(range(50, 60)))
        self.assertEqual(shown("--skips-of", self.last_checkpoint("skipped")), list(range(50, 60)))
        merged = call(SLUICE, "checkpoint", "merge", "skipped", "--out", "skipped.h5", cwd=self.folder)
        self.assertEqual(merged.returncode, 0, merged.stderr)
        self.assertEqual(shown("--skips-of", "skipped.h5"), list(range(50, 60)))

    def test_any_layout_skips_alike(self):
        for ranks in (2, 3):
            self.train(ranks, f"skipped-{ranks}", *self.fault, overrides=self.skip)
            self.assert_same_curve("skipped", f"skipped-{ranks}")
            self.assert_same_state("skipped", f"skipped-{ranks}")

    def test_a_rewind_over_one_update_is_a_skip_wherever_checkpoints_lie(self):
        for name, every in (("from-3", 3), ("from-the-beginning", 0)):
            self.train(2, name, *self.fault, overrides=(
                "anomaly.on_nonfinite=rewind", "anomaly.rewind_updates=1",
                f"checkpoint.every_updates={every}"))
            self.assertEqual(self.metrics(name, "rewind")[0]["to"], every)
            self.assertEqual(self.batches(name), self.batches("skipped"))
            self.assert_same_curve("skipped", name)
            self.assert_same_state("skipped", name)

    def test_stopped_and_resumed_behind_it(self):
        """The list travels in the checkpoint: the fault is not met again because it is gone."""
        self.train(2, "resumed", *self.fault, "--stop-after", 6, expect=75, overrides=self.skip)
        self.train(3, "resumed", *self.fault)  # which would stop at batch 5
        self.assert_same_curve("skipped", "resumed")
        self.assert_same_state("skipped", "resumed")

    def test_killed_before_it_was_saved(self):
        """What was not saved is decided again."""
        overrides = (*self.skip, "checkpoint.every_updates=3")
        self.train(2, "killed", *self.fault, "--stop-after", 6, expect=75, overrides=overrides)
        shutil.rmtree(self.last_checkpoint("killed"))
        self.assertEqual(self.last_checkpoint("killed").name, "update-00000003")
        self.train(1, "killed", *self.fault, overrides=overrides)
        self.assert_same_curve("skipped", "killed")
        self.assert_same_state("skipped", "killed")

    def test_what_skipping_does_not_cure_ends(self):
        result = self.train(2, "weight", "--inject", "nan-weight@5:3", expect=70,
                            overrides=(*self.skip, "anomaly.max_rewinds=3"))
        self.assertIn("anomaly.max_rewinds", self.status("weight")["reason"])
        self.assertIn("3 times", result.stderr)
        self.assertEqual([row["skipped_batches"] for row in self.metrics("weight", "rewind")],
                         [[5, 5], [6, 6], [7, 7]])

    def test_a_rewind_cures_damaged_weights(self):
        self.train(2, "cured", "--inject", "nan-weight@5:3", overrides=(
            "anomaly.on_nonfinite=rewind", "anomaly.rewind_updates=1",
            "checkpoint.every_updates=2"))
        self.assert_same_state("skipped", "cured")

    def test_without_a_checkpoint_that_is_old_enough_it_stops(self):
        overrides = ("checkpoint.every_updates=4", "checkpoint.keep_last=1")
        self.train(1, "young", "--stop-after", 4, expect=75, overrides=overrides)
        result = self.train(1, "young", *self.fault, expect=70, overrides=(
            *overrides, "anomaly.on_nonfinite=rewind", "anomaly.rewind_updates=3"))
        self.assertIn("no whole checkpoint of update 2 or before", result.stderr)
        self.assertEqual(self.last_checkpoint("young").name, "update-00000004")

    def test_weights_that_are_not_finite_are_not_saved(self):
        """Of finite gradients, by a step that single precision does not hold."""
        for beside in ("true", "false"):
            result = self.train(2, f"huge-{beside}", expect=70, overrides=(
                "optimizer.lr=1e37", "optimizer.betas=[0.99,0.95]", "lr_schedule.kind=constant", "lr_schedule.warmup_steps=0", "run.updates=1",
                "eval.every_updates=0", f"checkpoint.asynchronous={beside}"))
            self.assert_told(result, "weights are not finite after update 1: ", "optimizer.lr")
            self.assertEqual(list((self.folder / f"huge-{beside}" / "checkpoints").glob("update-*")), [])

    def test_replicas(self):
        eight = ("batch.global_batch_size=8", "pipeline.replicas=2")
        for ranks in (2, 4):
            self.train(ranks, f"replicas-{ranks}", *self.fault, overrides=(
                *eight, "anomaly.on_nonfinite=rewind", "anomaly.rewind_updates=2",
                "checkpoint.every_updates=2"))
        self.assert_same_curve("replicas-2", "replicas-4")
        self.assert_same_state("replicas-2", "replicas-4")


class Spikes(Anomalies):
    updates = 24
    fault = ("--inject", "garbled-targets@15:0")
    judged = ("anomaly.loss_spike_sigma=6", "anomaly.spike_window=5")
    rewind = (*judged, "anomaly.on_spike=rewind", "anomaly.rewind_updates=4",
              "checkpoint.keep_last=1")
    expected = [*range(1, 12), *range(16, 29)]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls().train(1, "whole", *cls.fault, overrides=(*cls.rewind, "checkpoint.every_updates=4"))

    def test_a_spike_is_warned_of_by_default_and_changes_nothing(self):
        result = self.train(1, "warned", *self.fault, overrides=self.judged)
        self.train(2, "unwatched", *self.fault)
        anomaly, = self.metrics("warned", "anomaly")
        self.assertEqual((anomaly["update"], anomaly["kind"], anomaly["response"],
                          anomaly["samples"]), (15, "loss spike", "warn", samples_of(15, 15)))
        self.assertIn("update 15: the loss", result.stderr)
        self.assertEqual(self.metrics("unwatched", "anomaly"), [])
        self.assert_same_curve("warned", "unwatched")
        self.assert_same_state("warned", "unwatched")

    def test_a_run_without_a_fault_meets_none(self):
        self.train(1, "healthy", overrides=self.rewind)
        self.assertEqual(self.metrics("healthy", "rewind"), [])

    def test_stop(self):
        result = self.train(2, "stopped", *self.fault, expect=70,
                            overrides=(*self.judged, "anomaly.on_spike=stop"))
        self.assert_told(result, "update 15: ", "standard deviations", "samples 140 to 149")

    def test_a_rewind_leaves_out_the_batches_of_its_updates(self):
        rewind, = self.metrics("whole", "rewind")
        self.assertEqual((rewind["from"], rewind["to"], rewind["skipped_batches"],
                          rewind["samples"]), (15, 8, [12, 15], samples_of(12, 15)))
        self.assertEqual(self.batches("whole"), self.expected)

    def test_any_layout_and_any_checkpoint_interval_give_the_same(self):
        for ranks, every in ((2, 5), (3, 0)):
            name = f"whole-{ranks}"
            self.train(ranks, name, *self.fault, overrides=(
                *self.rewind, f"checkpoint.every_updates={every}", "pipeline.schedule=gpipe"))
            self.assertEqual(len(self.metrics(name, "rewind")), 1)
            self.assert_same_curve("whole", name)
            self.assert_same_state("whole", name)

    def test_stopped_and_resumed_around_it(self):
        """The losses to compare with travel in the checkpoint, and so does the list."""
        overrides = (*self.rewind, "checkpoint.every_updates=6", "checkpoint.keep_last=0")
        for ranks, updates in ((2, 13), (1, 3), (3, 0)):  # to 13; to 16, past the spike; to the end
            self.train(ranks, "resumed", *self.fault, "--stop-after", updates,
                       expect=75 if updates else 0, overrides=overrides)
        self.assertEqual(len(self.metrics("resumed", "rewind")), 1)
        # The one of update 13, where it was stopped first, belonged to the history that was left.
        self.assertEqual([path.name for path in sorted(
            (self.folder / "resumed" / "checkpoints").glob("update-*"))],
            [f"update-{update:08}" for update in (0, 6, 12, 16, 18, 24)])
        self.assert_same_curve("whole", "resumed")
        self.assert_same_state("whole", "resumed")

    def test_a_traced_update_that_is_taken_back(self):
        self.train(2, "traced", *self.fault, overrides=(
            *self.rewind, "checkpoint.every_updates=4", "trace.updates=14-16"))
        self.assert_same_curve("whole", "traced")


if __name__ == "__main__":
    unittest.main()
