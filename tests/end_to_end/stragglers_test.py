"""A rank that becomes slow is named, once, and so is its recovery."""

import unittest

from harness import RunTest


class Stragglers(RunTest):
    updates = 200

    def test_a_slow_rank_is_named_until_it_has_recovered(self):
        """Another process may slow any rank: only what is said of this one counts."""
        result = self.train(3, "slow", "--inject", "slow@70-129:3",
                            overrides=("eval.every_updates=0",))
        said = [row for row in self.metrics("slow", "straggler") if row["rank"] == 1]
        named = [row for row in said if not row["recovered"] and 70 <= row["update"] < 130]
        recovered = [row for row in said if row["recovered"] and row["update"] >= 130]
        self.assertEqual((len(named), len(recovered)), (1, 1), said)
        self.assertEqual((named[0]["replica"], named[0]["stages"]), (0, [1]))
        self.assertGreater(named[0]["slowdown"], 1.25)
        self.assertGreater(named[0]["compute_seconds"], named[0]["usual_compute_seconds"])
        line = f"update {named[0]['update']}: rank 1 (stage 1) on {named[0]['host']} has become slow"
        self.assertIn(line, result.stderr)
        self.assertIn(line, (self.folder / "slow" / "log.txt").read_text())
        self.assertIn("rank 1 (stage 1)", result.stderr)
        self.assertIn("is as fast as usual again", result.stderr)

    def test_slowness_changes_no_bit(self):
        self.train(1, "fast", overrides=("run.updates=8",))
        self.train(2, "drilled", "--inject", "slow@2-5:5", overrides=("run.updates=8",))
        self.assert_same_state("fast", "drilled")


if __name__ == "__main__":
    unittest.main()
