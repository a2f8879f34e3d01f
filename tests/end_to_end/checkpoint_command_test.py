"""sluice checkpoint list, prune and merge, as people call them."""

import fcntl
import json
import shutil
import unittest

import h5py
import numpy
from harness import SLUICE, RunTest, call


def datasets_below(group, prefix=""):
    for name in group:
        if isinstance(group[name], h5py.Dataset):
            yield f"{prefix}/{name}"
        else:
            yield from datasets_below(group[name], f"{prefix}/{name}")


class CheckpointCommand(RunTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls().train(2, "whole", overrides=("checkpoint.every_updates=2",))

    def setUp(self):
        self.run_dir = self.folder / f"run-{self._testMethodName}"
        shutil.copytree(self.folder / "whole", self.run_dir)
        self.checkpoints = self.run_dir / "checkpoints"

    def checkpoint(self, *words, expect=0):
        result = call(SLUICE, "checkpoint", *words)
        self.assertEqual(result.returncode, expect, result.stdout + result.stderr)
        return result

    def names(self):
        return sorted(path.name for path in self.checkpoints.iterdir())

    def damage(self, update, where=-1):
        """Changes one byte, where only reading it tells."""
        path = self.checkpoints / f"update-{update:08}" / "stage-0001-of-0002.h5"
        data = bytearray(path.read_bytes())
        data[where] ^= 1
        path.write_bytes(data)

    def test_list(self):
        table = self.checkpoint("list", self.run_dir).stdout
        for update in (2, 4, 6, 8):
            self.assertRegex(table, rf"update-0000000{update} +2 .* looks whole")
        listed = json.loads(self.checkpoint("list", self.run_dir, "--json").stdout)
        self.assertEqual([one["update"] for one in listed["checkpoints"]], [2, 4, 6, 8])
        self.assertTrue(all(one["whole"] and one["num_stages"] == 2 for one in listed["checkpoints"]))
        first = listed["checkpoints"][0]
        size = sum(path.stat().st_size for path in (self.checkpoints / "update-00000002").glob("*.h5"))
        self.assertEqual(first["size_bytes"], size)
        self.assertEqual(listed["leftovers"], [])

    def test_list_finds_damage_as_closely_as_it_looks(self):
        self.damage(4)
        (self.checkpoints / "update-00000006" / "stage-0000-of-0002.h5").unlink()
        (self.checkpoints / ".update-00000010.partial").mkdir()
        cheap = json.loads(self.checkpoint("list", self.run_dir, "--json").stdout)
        self.assertEqual([one["whole"] for one in cheap["checkpoints"]], [True, True, False, True])
        self.assertEqual(len(cheap["leftovers"]), 1)
        deep = self.checkpoint("list", self.run_dir, "--json", "--verify", expect=3)
        self.assertEqual([one["whole"] for one in json.loads(deep.stdout)["checkpoints"]],
                         [True, False, False, True])
        table = self.checkpoint("list", self.run_dir, "--verify", expect=3).stdout
        self.assertRegex(table, "update-00000004 .*DAMAGED\n.*stage-0001-of-0002.h5")
        self.assertIn(".update-00000010.partial", table)
        self.assertNotIn("looks whole", table)
        for line in self.checkpoint("list", self.run_dir).stdout.splitlines():
            self.assertNotIn(str(self.run_dir), line)
            self.assertLess(len(line), 100)

    def test_list_of_nothing_whole(self):
        for update in (2, 4, 6, 8):
            (self.checkpoints / f"update-{update:08}" / "stage-0000-of-0002.h5").unlink()
        self.assertNotIn("looks whole", self.checkpoint("list", self.run_dir).stdout)

    def test_list_of_a_run_without_checkpoints(self):
        shutil.rmtree(self.checkpoints)
        self.checkpoints.mkdir()
        self.assertIn("no checkpoints", self.checkpoint("list", self.run_dir).stdout)

    def test_prune(self):
        said = self.checkpoint("prune", self.run_dir, "--keep-last", 1, "--keep-every", 4, "--dry-run").stdout
        self.assertEqual(len(self.names()), 4)
        self.assertEqual(said.count("would delete"), 2)
        said = self.checkpoint("prune", self.run_dir, "--keep-last", 1, "--keep-every", 4).stdout
        self.assertEqual(self.names(), ["update-00000004", "update-00000008"])
        self.assertEqual(said.count("deleted"), 2)
        self.assertIn("nothing to delete",
                      self.checkpoint("prune", self.run_dir, "--keep-last", 2).stdout)

    def test_prune_keeps_the_last_whole_one(self):
        (self.checkpoints / "update-00000008" / "stage-0000-of-0002.h5").unlink()
        (self.checkpoints / ".update-00000009.partial").mkdir()
        self.checkpoint("prune", self.run_dir, "--keep-last", 1)
        self.assertEqual(self.names(), ["update-00000006", "update-00000008"])
        # What is left is what the run goes on from.
        self.train(2, self.run_dir.name)
        self.assert_same_state(self.run_dir.name, "whole")

    def test_prune_keeps_what_a_rewind_would_go_back_to(self):
        """Update 9 would go back to 8, and once more, to 7: that is 6."""
        text = (self.run_dir / "config.toml").read_text()
        asked = text.replace('on_nonfinite = "stop"', 'on_nonfinite = "rewind"').replace(
            "rewind_updates = 100", "rewind_updates = 1")
        self.assertNotEqual(text, asked)
        (self.run_dir / "config.toml").write_text(asked)
        said = self.checkpoint("prune", self.run_dir, "--keep-last", 1, "--dry-run").stdout
        self.assertEqual(said.count("would delete"), 2)
        self.checkpoint("prune", self.run_dir, "--keep-last", 1)
        self.assertEqual(self.names(), ["update-00000006", "update-00000008"])
        # Without config.toml the newest checkpoint says it, and that one wants no rewinds.
        (self.run_dir / "config.toml").unlink()
        self.checkpoint("prune", self.run_dir, "--keep-last", 1)
        self.assertEqual(self.names(), ["update-00000008"])

    def test_a_running_run_prunes_itself(self):
        with open(self.run_dir / ".lock", "r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for more in ([], ["--dry-run"]):
                result = self.checkpoint("prune", self.run_dir, "--keep-last", 1, *more, expect=2)
                self.assert_one_clear_message(result, "a run is writing", "checkpoint.keep_last")
        self.assertEqual(len(self.names()), 4)

    def test_merge_opens_with_h5py_alone(self):
        out = self.folder / "model.h5"
        said = self.checkpoint("merge", self.run_dir, "--out", out).stdout
        self.assertIn("update-00000008", said)
        alone = self.folder / "elsewhere.h5"
        shutil.move(out, alone)
        folder = self.checkpoints / "update-00000008"
        arrays = json.loads((folder / "manifest.json").read_text())["arrays"]
        with h5py.File(folder / "checkpoint.h5") as index, h5py.File(alone) as merged:
            self.assertEqual(set(datasets_below(merged)), set(datasets_below(index)))
            for array in arrays:
                ours, theirs = merged[array["path"]], index[array["path"]]
                numpy.testing.assert_array_equal(ours[()], theirs[()])
                self.assertEqual(ours.attrs["checksum"], theirs.attrs["checksum"])
                self.assertNotIsInstance(merged.get(array["path"], getlink=True), h5py.ExternalLink)
            for path in ("warmup/counter", "warmup/alpha", "config"):
                self.assertEqual(merged[path][()].tolist() if path != "config" else merged[path][()],
                                 index[path][()].tolist() if path != "config" else index[path][()])
            self.assertEqual(dict(merged["progress"].attrs), dict(index["progress"].attrs))
        self.checkpoint("merge", folder, "--out", alone, expect=2)

    def test_a_merged_file_is_as_good_as_its_folder(self):
        alone = self.folder / "as-good.h5"
        folder = self.checkpoints / "update-00000006"
        self.checkpoint("merge", folder, "--out", alone)
        self.assertIn("whole (1 file(s)", call(SLUICE, "inspect", alone, "--verify").stdout)
        self.assertIn("identical to the bit", call(SLUICE, "inspect", alone, "--diff", folder).stdout)
        summaries = [json.loads(call(SLUICE, "inspect", path, "--json").stdout) for path in (alone, folder)]
        self.assertEqual(*({key: value for key, value in each.items() if key not in ("checkpoint", "num_stages")}
                           for each in summaries))
        evaluations = [json.loads(call(SLUICE, "eval", path, "--data", self.folder / "validation.h5", "--json").stdout)
                       for path in (alone, folder)]
        self.assertEqual(*evaluations)
        self.train(1, "elsewhere", "--resume", alone)
        self.assertIn("identical to the bit",
                      call(SLUICE, "inspect", self.checkpoints / "update-00000008", "--diff",
                           self.folder / "elsewhere" / "checkpoints" / "update-00000008").stdout)
        self.train(1, self.run_dir.name, "--resume", alone, expect=2)  # there is a later one
        for part, problem in (("checkpoint.h5", "only a part of a checkpoint"), ("manifest.json", "HDF5")):
            result = call(SLUICE, "inspect", folder / part)
            self.assertEqual(result.returncode, 3)
            self.assert_one_clear_message(result, part, problem)

    def test_merge_names_what_is_damaged(self):
        path = "/parameters/lm_head/weight"
        folder = self.checkpoints / "update-00000008"
        arrays = json.loads((folder / "manifest.json").read_text())["arrays"]
        self.damage(8, next(array["offset"] for array in arrays if array["path"] == path))
        result = self.checkpoint("merge", folder, "--out", self.folder / "damaged.h5", expect=3)
        self.assert_one_clear_message(result, path)
        self.assertEqual(list(self.folder.glob("damaged.h5*")), [])

    def test_words_that_are_wrong(self):
        for words, parts in (
                (("lsit", self.run_dir), ("'lsit'", "did you mean 'list'")),
                (("list", self.run_dir, "--verfy"), ("--verify",)),
                (("prune", self.run_dir, "--keep-lats", 1), ("--keep-last",)),
                (("prune", self.run_dir), ("--keep-last",)),
                (("prune", self.run_dir, "--keep-last", 0), ("--keep-last",)),
                (("merge", self.run_dir), ("--out",))):
            with self.subTest(words=words):
                self.assert_one_clear_message(self.checkpoint(*words, expect=2), *parts)
        for words in (("list", self.checkpoints), ("list", self.folder / "absent"),
                      ("prune", self.folder / "absent", "--keep-last", 1),
                      ("merge", self.folder / "absent", "--out", self.folder / "x.h5")):
            with self.subTest(words=words):
                self.assert_one_clear_message(self.checkpoint(*words, expect=3), str(words[1]))
        self.assertFalse((self.folder / "absent").exists())
        self.assertEqual(self.checkpoint(expect=2).stdout, "")
        for word in ("list", "prune", "merge"):
            self.assertIn(word, self.checkpoint(word, "--help").stdout)
            self.assertIn(word, self.checkpoint("--help").stdout)


if __name__ == "__main__":
    unittest.main()
