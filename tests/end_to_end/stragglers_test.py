"""A rank that becomes slow is named, once, and so is its recovery."""

import json
import subprocess
import time
import unittest

from harness import RunTest, environment


class Stragglers(RunTest):
    def test_a_slow_rank_is_named_until_it_has_recovered(self):
        """Whatever else the machine does slows any rank at any time, and is reported, too: so only what
        must hold on a busy machine is asked here, and the unit tests ask for the rest. A rank is as fast as
        usual again when the machine lets it: the run goes on until then."""
        errors = self.train_until(self.has_recovered, 3, "slow", "--inject", "slow@70-199:3",
                                  overrides=("eval.every_updates=0", "run.updates=20000"))
        named = [row for row in self.said_of_rank_1("slow") if row["update"] < 200][-1]
        self.assertFalse(named["recovered"], named)
        self.assertEqual((named["replica"], named["stages"]), (0, [1]))
        self.assertGreater(named["slowdown"], 1.25)
        self.assertGreater(named["compute_seconds"], named["usual_compute_seconds"])
        log = (self.folder / "slow" / "log.txt").read_text()
        rank = f"rank 1 (stage 1) on {named['host']}"
        for line in (f"update {named['update']}: {rank} has become slow",
                     f"{rank} is as fast as usual again"):
            self.assertIn(line, errors)
            self.assertIn(line, log)

    def has_recovered(self):
        return any(row["recovered"] and row["update"] > 200 for row in self.said_of_rank_1("slow"))

    def said_of_rank_1(self, run_dir):
        path = self.folder / run_dir / "metrics.jsonl"
        text = path.read_text() if path.exists() else ""
        whole_lines = text[:text.rfind("\n") + 1].splitlines()
        return [row for row in map(json.loads, whole_lines) if row["event"] == "straggler" and row["rank"] == 1]

    def train_until(self, condition, ranks, run_dir, *options, overrides):
        process = subprocess.Popen(self.command(ranks, run_dir, *options, overrides=overrides), cwd=self.folder,
                                   env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True)
        with process:
            while process.poll() is None and not condition():
                time.sleep(0.2)
            if process.poll() is None:
                (self.folder / run_dir / "STOP").touch()
            errors = process.communicate(timeout=120)[1]
        self.assertTrue(condition(), errors)
        self.assertEqual(process.returncode, 75, errors)
        return errors

    def test_a_rank_that_is_slow_from_the_start_is_named_by_its_equals(self):
        result = self.train(3, "born-slow", "--inject", "slow@1-70:3:1",
                            overrides=("eval.every_updates=0", "run.updates=70", "pipeline.replicas=3", "batch.global_batch_size=12",
                                       "prores.warmup_steps=1"))
        said = [row for row in self.metrics("born-slow", "straggler") if row["rank"] == 1]
        self.assertTrue(said and said[0]["from_start"], said)
        self.assertEqual((said[0]["replica"], said[0]["stages"], said[0]["recovered"]), (1, [0], False))
        self.assertGreater(said[0]["slowdown"], 1.25)
        self.assertIn("has been slow from the start", result.stderr)

    def test_slowness_changes_no_bit(self):
        self.train(1, "fast", overrides=("run.updates=8",))
        self.train(2, "drilled", "--inject", "slow@2-5:5", overrides=("run.updates=8",))
        self.assert_same_state("fast", "drilled")


if __name__ == "__main__":
    unittest.main()
