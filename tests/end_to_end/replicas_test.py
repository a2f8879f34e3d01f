"""Replicas: one result for any layout of a number of replicas, near to that of one; stop and resume
across numbers of replicas; moments shared out; faults found whichever replica has them."""

import json
import shutil
import unittest

import h5py
from harness import SLUICE, RunTest, call


class Replicas(RunTest):
    def replicated(self, stages, replicas, name, *options, overrides=(), **arguments):
        return self.train(stages * replicas, name, *options, **arguments, overrides=(
            f"pipeline.replicas={replicas}", "batch.global_batch_size=12", *overrides))

    def assert_equal_runs(self, name, other):
        self.assert_same_curve(name, other)
        self.assert_same_state(name, other)
        self.assertEqual(self.metrics(name, "eval")[-1]["loss"],
                         self.metrics(other, "eval")[-1]["loss"])


class OneResultPerNumber(Replicas):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for replicas in (1, 2, 3):
            cls().replicated(1, replicas, f"{replicas}",
                             overrides=("metrics.activation_norm_every=1",))

    def test_stages_and_schedules_do_not_matter(self):
        for replicas, stages, schedule, more in (
                (2, 2, "1f1b", ()), (2, 2, "gpipe", ("run.threads_per_rank=2",)),
                (2, 2, "zb-h1", ("pipeline.partition=5,1", "pipeline.verify_transfers=false")),
                (2, 2, "zb-v", ()), (2, 2, "interleaved-1f1b", ("pipeline.chunks_per_rank=3",)),
                (3, 2, "1f1b", ()), (2, 3, "gpipe", ())):
            with self.subTest(replicas=replicas, stages=stages, schedule=schedule, more=more):
                name = f"{replicas}-{stages}-{schedule}-{len(more)}"
                self.replicated(stages, replicas, name,
                                overrides=(f"pipeline.schedule={schedule}", *more))
                self.assert_equal_runs(name, f"{replicas}")

    def test_another_number_differs_by_rounding_only(self):
        whole = self.metrics("1")
        for name in ("2", "3"):
            rows = self.metrics(name)
            # Before the first weights change only the order of a gradient's terms differs.
            self.assertEqual(rows[0]["loss"], whole[0]["loss"])
            self.assertEqual(self.metrics(name, "activation_norm")[0],
                             self.metrics("1", "activation_norm")[0])
            for row, same in zip(rows, whole):
                self.assertAlmostEqual(row["loss"] / same["loss"], 1.0, delta=2e-6)
                self.assertAlmostEqual(row["grad_norm"] / same["grad_norm"], 1.0, delta=2e-5)
            self.assertNotEqual([row["grad_norm"] for row in rows],
                                [row["grad_norm"] for row in whole])

    def test_float64_is_closer_still(self):
        for replicas in (1, 2):
            self.replicated(1, replicas, f"fp64-{replicas}",
                            overrides=("precision.compute=fp64", "run.updates=4"))
        for row, same in zip(self.metrics("fp64-2"), self.metrics("fp64-1")):
            self.assertAlmostEqual(row["loss"] / same["loss"], 1.0, delta=1e-13)

    def test_in_bf16_the_owner_of_a_master_writes_every_replicas_copy(self):
        for precision in ("bf16", "pure-bf16"):
            chosen = (f"precision.compute={precision}", "run.updates=4",
                      "metrics.digest_every_update=true")
            names = [f"{precision}-{stages}" for stages in (1, 2)]
            for stages, name in zip((1, 2), names):
                self.replicated(stages, 2, name, overrides=chosen)
            self.assert_equal_runs(*names)
            digests = [[row["parameters_digest"] for row in self.metrics(name)] for name in names]
            self.assertEqual(*digests)
            self.assertEqual(digests[0][-1],
                             self.metrics(names[0], "checkpoint")[-1]["parameters_digest"])
            self.replicated(1, 2, f"{precision}-moved", "--stop-after", 2, expect=75,
                            overrides=chosen[:2])
            self.replicated(2, 2, f"{precision}-moved", overrides=chosen[:2])
            self.assert_equal_runs(f"{precision}-moved", names[0])

    def test_an_evaluation_does_not_depend_on_who_runs_it(self):
        # More replicas than micro-batches to evaluate on: some have nothing to do.
        self.replicated(1, 6, "6")
        for name in ("2", "3", "6"):
            result = call(SLUICE, "eval", self.last_checkpoint(name), "--data",
                          self.folder / "validation.h5", "--tokens", "256", "--json")
            self.assertEqual(json.loads(result.stdout)["loss"],
                             self.metrics(name, "eval")[-1]["loss"], result.stderr)

    def test_moments_are_shared_out(self):
        one, two, three = (self.metrics(name, "start")[0]["planned_bytes"] for name in "123")
        sizes = {}
        with h5py.File(self.last_checkpoint("1") / "stage-0000-of-0001.h5", "r") as file:
            file.visititems(lambda path, item: sizes.update({path: getattr(item, "size", 0)}))
        moment_bytes = 4 * sum(size for path, size in sizes.items() if path.startswith("optimizer/"))
        layer_bytes = 4 * sum(size for path, size in sizes.items()
                              if path.startswith("parameters/model/layers/0/"))
        # What is saved of the moments, less two buffers for a layer's part from every other replica.
        for planned, replicas in ((two, 2), (three, 3)):
            others = (replicas - 1) / replicas
            self.assertAlmostEqual(one - planned, others * (moment_bytes - 2 * layer_bytes),
                                   delta=3_000)
            self.assertGreater(one - planned, 0)


class StopAndResume(Replicas):
    """Checkpoints of any (stages, replicas) load at any other, and go on as an undisturbed run."""

    def continued(self, name, start, stages, replicas):
        """A copy of a stopped run, finished on another layout."""
        shutil.copytree(self.folder / start, self.folder / name)
        return self.replicated(stages, replicas, name)

    def test_every_way(self):
        for stages, replicas, laters in ((1, 1, (2, 3)), (2, 2, (1, 3)), (1, 3, (3, 2))):
            start = f"from-{stages}-{replicas}"
            self.replicated(stages, replicas, start, "--stop-after", 4, expect=75)
            for later in laters:
                with self.subTest(saved=(stages, replicas), later=later):
                    ways = [f"{start}-to-{later}-{p}" for p in (1, 2)]
                    results = [self.continued(name, start, p + 1, later)
                               for p, name in enumerate(ways)]
                    self.assert_equal_runs(*ways)
                    for result in results:
                        warned = "rounded in another order" in result.stderr
                        self.assertEqual(warned, later != replicas, result.stderr)

    def test_the_same_number_continues_to_the_bit(self):
        self.replicated(2, 2, "undisturbed")
        self.replicated(2, 2, "moved", "--stop-after", 3, expect=75)
        self.replicated(3, 2, "moved", "--stop-after", 2, expect=75)
        self.replicated(1, 2, "moved")
        self.assert_equal_runs("moved", "undisturbed")


class Drills(Replicas):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls().replicated(1, 2, "whole")

    def drill(self, name, fault, *parts):
        result = self.replicated(2, 2, name, "--inject", fault, expect=70,
                                 overrides=("checkpoint.every_updates=2",))
        for part in parts:
            self.assertIn(part, result.stderr)
            self.assertIn(part, self.status(name)["reason"])
        self.assertEqual(self.status(name)["state"], "failed")
        self.replicated(1, 2, name)
        self.assert_same_state(name, "whole")

    def test_a_gradient_that_is_not_a_number(self):
        for replica in (0, 1):
            self.drill(f"nan-{replica}", f"nan-gradient@5:4:{replica}", f"replica {replica}",
                       f"rank {2 * replica + 1}", "stage 1", "layer 4", "not finite")

    def test_a_bit_flipped_between_stages(self):
        self.drill("activation", "flip-activation@4:4:1", "an activation changed",
                   "stage 1 (replica 1, rank 3)")

    def test_a_bit_flipped_between_replicas(self):
        self.drill("exchange", "flip-exchange@4:4:1", "gradients changed on their way",
                   "to replica 1 (rank 3)")

    def test_a_gate_out_of_step(self):
        self.drill("gate", "advance-gate@3:1:1", "replica 1, rank 2, stage 0, layer 1")

    def test_weights_that_differ(self):
        self.drill("weight", "flip-weight@5:5:1", "weights of stage 1 differ",
                   "replica 1, rank 3")


if __name__ == "__main__":
    unittest.main()
