"""Faults put in on purpose: the run stops before weights change, and says where."""

import unittest

from harness import RunTest


class Drills(RunTest):
    def drill(self, name, fault, *parts, code=70, overrides=()):
        result = self.train(3, name, "--inject", fault, expect=code,
                            overrides=("checkpoint.every_updates=2", *overrides))
        for part in parts:
            self.assertIn(part, result.stderr)
            self.assertIn(part, self.status(name)["reason"])
        self.assertEqual(self.status(name)["state"], "failed")
        # Weights did not change: what goes on from the checkpoint equals the undisturbed run.
        self.train(2, name)
        self.assert_same_state(name, "whole")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls().train(1, "whole")

    def test_a_gradient_that_is_not_a_number(self):
        self.drill("nan", "nan-gradient@5:3", "rank 1", "stage 1", "layer 3", "not finite")

    def test_a_gradient_that_is_not_a_number_in_double_precision(self):
        result = self.train(1, "nan64", "--inject", "nan-gradient@2:3", expect=70,
                            overrides=("precision.compute=fp64",))
        self.assertIn("layer 3", result.stderr)

    def test_a_bit_flipped_in_an_activation_on_its_way(self):
        self.drill("activation", "flip-activation@4:2", "an activation changed", "stage 0 (rank 0)",
                   "stage 1 (rank 1)", "layers 1 and 2")

    def test_a_bit_flipped_in_a_gradient_on_its_way(self):
        self.drill("gradient", "flip-gradient@4:2", "a gradient changed", "stage 2 (rank 2)",
                   "stage 1 (rank 1)")

    def test_a_gradient_computed_wrongly(self):
        """Nothing shows it but computing it again."""
        self.drill("wrong", "wrong-gradient@6:3", "rank 1", "stage 1", "layer 3",
                   "computed again", overrides=("anomaly.repeat_every=3",))

    def test_computing_twice_changes_no_bit(self):
        self.train(2, "twice", overrides=("anomaly.repeat_every=1",))
        self.assert_same_state("twice", "whole")

    def test_a_gate_out_of_step(self):
        self.drill("gate", "advance-gate@3:5", "rank 2", "stage 2", "layer 5", "out of step")


if __name__ == "__main__":
    unittest.main()
