"""A rank that becomes slow is named, once, and so is its recovery."""

import unittest

from harness import RunTest


class Stragglers(RunTest):
    updates = 400

    def test_a_slow_rank_is_named_until_it_has_recovered(self):
        """Whatever else the machine does slows any rank at any time, and is reported, too: so only what
        must hold on a busy machine is asked here, and the unit tests ask for the rest."""
        result = self.train(3, "slow", "--inject", "slow@70-199:3",
                            overrides=("eval.every_updates=0",))
        said = [row for row in self.metrics("slow", "straggler") if row["rank"] == 1]
        named = [row for row in said if row["update"] < 200][-1]
        self.assertFalse(named["recovered"], said)
        self.assertEqual((named["replica"], named["stages"]), (0, [1]))
        self.assertGreater(named["slowdown"], 1.25)
        self.assertGreater(named["compute_seconds"], named["usual_compute_seconds"])
        self.assertTrue([row for row in said if row["recovered"] and row["update"] > 200], said)
        log = (self.folder / "slow" / "log.txt").read_text()
        rank = f"rank 1 (stage 1) on {named['host']}"
        for line in (f"update {named['update']}: {rank} has become slow",
                     f"{rank} is as fast as usual again"):
            self.assertIn(line, result.stderr)
            self.assertIn(line, log)

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
