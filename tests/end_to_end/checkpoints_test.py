"""Checkpoints as others see them: h5py, the run folder, retention, sluice inspect, eval, data show."""

import json
import math
import unittest

import h5py
import numpy
from harness import SLUICE, RunTest, call


class Checkpoint(RunTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls().train(3, "run", overrides=("checkpoint.every_updates=2", "checkpoint.keep_last=2",
                                         "checkpoint.keep_every=4"))
        cls().train(1, "alone")

    def test_h5py_sees_one_tree(self):
        with h5py.File(self.last_checkpoint("run") / "checkpoint.h5", "r") as file:
            weight = file["parameters/model/layers/5/self_attn/q_proj/weight"]
            self.assertEqual((weight.shape, weight.dtype), ((32, 32), numpy.float32))
            self.assertGreater(numpy.abs(weight[...]).max(), 0)
            self.assertEqual(file["parameters/lm_head/weight"].shape, (257, 32))
            self.assertEqual(list(file["warmup/counter"]), [8] * 6)
            expected = [min(1.0, 8 / (2 * (layer + 1))) for layer in range(6)]
            self.assertEqual(list(file["warmup/alpha"]), expected)
            self.assertEqual(int(file["progress"].attrs["update"]), 8)
            self.assertEqual(int(file["progress"].attrs["samples"]), 80)
            self.assertEqual(int(file["progress"].attrs["seed"]), 7)
            self.assertIn("[prores]", file["config"].asstr()[()])
            moments = file["optimizer/second_moment/model/layers/0/mlp/down_proj/weight"][...]
            self.assertTrue((moments >= 0).all() and moments.max() > 0)

    def test_retention(self):
        names = sorted(path.name for path in (self.folder / "run" / "checkpoints").iterdir())
        self.assertEqual(names, ["update-00000004", "update-00000006", "update-00000008"])

    def test_inspect(self):
        table = call(SLUICE, "inspect", self.folder / "run").stdout
        for part in ("layer 5", "embedding", "head", "update 8", "1.0000"):
            self.assertIn(part, table)
        self.assertLessEqual(max(map(len, table.splitlines()[1:])), 100)
        found = json.loads(call(SLUICE, "inspect", self.folder / "run", "--json").stdout)
        self.assertEqual(found["counter"], [8] * 6)
        with h5py.File(self.last_checkpoint("run") / "checkpoint.h5", "r") as file:
            for tensor in found["tensors"][::9]:
                values = file[tensor["path"]][...].astype(numpy.float64)
                self.assertAlmostEqual(tensor["norm"], numpy.sqrt((values ** 2).sum()), places=9)

    def test_diff_names_what_differs(self):
        result = call(SLUICE, "inspect", self.last_checkpoint("run"), "--diff",
                      self.folder / "run" / "checkpoints" / "update-00000006", "--json")
        self.assertEqual(result.returncode, 1)
        found = json.loads(result.stdout)
        self.assertFalse(found["identical"])
        self.assertGreater(len(found["tensors"]), 100)
        self.assertTrue(any("update" in line for line in found["differences"]))

    def test_diff_measures_the_largest_difference(self):
        paths = [self.last_checkpoint("run") / "checkpoint.h5",
                 self.folder / "run" / "checkpoints" / "update-00000006" / "checkpoint.h5"]
        left, right = (h5py.File(path, "r") for path in paths)
        result = call(SLUICE, "inspect", paths[0].parent, "--diff", paths[1].parent, "--json")
        for tensor in json.loads(result.stdout)["tensors"][::7]:
            gap = numpy.abs(left[tensor["path"]][...].astype(float) -
                            right[tensor["path"]][...].astype(float))
            self.assertEqual(tensor["largest"], gap.max())
            self.assertEqual(tensor["at"], gap.argmax())
            self.assertEqual(tensor["num_different"], numpy.count_nonzero(gap))

    def test_the_run_folder(self):
        folder = self.folder / "run"
        config = (folder / "config.toml").read_text()
        for key in ("intermediate_size", "betas", "min_lr_ratio", "train_checksum"):
            self.assertIn(key, config)
        self.assertEqual(self.status("run")["state"], "finished")
        rows = self.metrics("run")
        self.assertEqual([row["update"] for row in rows], list(range(1, 9)))
        self.assertEqual(rows[0]["lr"], 0.0)
        self.assertEqual(rows[0]["alpha"], [0.0] * 6)
        self.assertEqual(rows[4]["alpha"][3], 4 / 8)
        # A model whose gates are shut and whose head is small predicts every byte alike.
        self.assertAlmostEqual(rows[0]["loss"], math.log(257), delta=0.3)
        self.assertIn("finished", (folder / "log.txt").read_text())

    def test_the_resolved_run_file_is_the_run(self):
        result = self.train(2, "again", run_file=self.folder / "run" / "config.toml",
                            overrides=("checkpoint.every_updates=0",))
        self.assertNotIn("differs", result.stderr)
        self.assert_same_curve("again", "alone")
        self.assert_same_state("again", "alone")

    def test_eval_agrees_with_training(self):
        result = call(SLUICE, "eval", self.last_checkpoint("run"), "--data",
                      self.folder / "validation.h5", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(json.loads(result.stdout)["loss"], self.metrics("run", "eval")[-1]["loss"])

    def test_eval_of_more_sequences_at_once_than_there_are(self):
        result = call(SLUICE, "eval", self.last_checkpoint("run"), "--data", self.folder / "validation.h5",
                      "--batch-size", "100000")
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assert_one_clear_message(result, "100000 sequences", "write --batch-size ")

    def test_inspect_answers_one_question(self):
        for words in (("--verify", "--tensors"), ("--verify", "--diff", "run"), ("--diff", "run", "--tensors")):
            result = call(SLUICE, "inspect", self.folder / "run", *words)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assert_one_clear_message(result, words[0], words[-1] if words[-1] != "run" else "--diff")

    def test_data_show(self):
        result = call(SLUICE, "data", "show", self.run_file, "--update", "3", "--json",
                      cwd=self.folder)
        self.assertEqual(result.returncode, 0, result.stderr)
        shown = json.loads(result.stdout)
        self.assertEqual((shown["update"], len(shown["samples"])), (3, 10))
        self.assertEqual(shown["samples"], list(range(20, 30)))
        with h5py.File(self.folder / "train.h5", "r") as file:
            stream = file["tokens"][...].astype(int)
        for inputs, targets in zip(shown["inputs"], shown["targets"]):
            self.assertEqual(len(inputs), 32)
            self.assertEqual(inputs[1:], targets[:-1])
            windows = stream[:len(stream) // 32 * 32].reshape(-1, 32)
            place = [w for w in numpy.flatnonzero((windows == inputs).all(axis=1))]
            self.assertTrue(any(stream[32 * (w + 1)] == targets[-1] for w in place))

    def test_curves_follow_the_formulas(self):
        for row in self.metrics("run"):
            k = row["update"] - 1
            decay_start = 8 - 0.25 * 8
            lr = 0.01 * min(1.0, k / 2, (8 - k) / (8 - decay_start))
            self.assertAlmostEqual(row["lr"], lr, places=15)
            for layer, alpha in enumerate(row["alpha"], start=1):
                self.assertEqual(alpha, min(1.0, k / (2 * layer)))


if __name__ == "__main__":
    unittest.main()
