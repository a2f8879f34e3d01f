"""The layout never changes the result: losses, gradient norms, weights, moments, counters, to the bit."""

import json
import random
import unittest

import h5py
import numpy as np
from harness import SLUICE, RunTest, call


class SameBits(RunTest):
    """One undisturbed run on one rank and one thread is what every other layout must equal."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls().train(1, "whole", overrides=("run.threads_per_rank=1",))

    def check(self, run_dir):
        self.assert_same_curve(run_dir, "whole")
        self.assert_same_state(run_dir, "whole")
        self.assertEqual(self.metrics(run_dir, "eval")[-1]["loss"],
                         self.metrics("whole", "eval")[-1]["loss"])

    def test_the_run_learns_something(self):
        losses = [row["loss"] for row in self.metrics("whole")]
        self.assertLess(losses[-1], losses[0] - 0.5)

    def test_every_layout(self):
        layouts = [(1, "gpipe", "auto", 2)]
        layouts += [(ranks, schedule, "auto", threads) for ranks in (2, 3, 4, 6)
                    for schedule, threads in (("gpipe", 2), ("1f1b", 1))]
        layouts += [(2, "1f1b", "5,1", 2), (2, "gpipe", "1,5", 1), (3, "1f1b", "1,4,1", 1),
                    (4, "gpipe", "1,1,1,3", 1)]
        for ranks, schedule, partition, threads in layouts:
            with self.subTest(ranks=ranks, schedule=schedule, partition=partition, threads=threads):
                name = f"{ranks}-{schedule}-{partition.replace(',', '_')}-{threads}"
                self.train(ranks, name, overrides=(
                    f"pipeline.schedule={schedule}", f"pipeline.partition={partition}",
                    f"run.threads_per_rank={threads}"))
                self.check(name)

    def test_extra_warmup_forwards(self):
        self.train(3, "deeper", overrides=("pipeline.extra_warmup=2",))
        self.check("deeper")

    def test_every_schedule(self):
        for ranks, schedule, *others in (
                (2, "interleaved-1f1b", "chunks_per_rank=2"),
                (2, "interleaved-1f1b", "chunks_per_rank=3", "extra_warmup=1"),
                (3, "interleaved-1f1b", "chunks_per_rank=2"),
                (1, "zb-h1"), (2, "zb-h1"), (4, "zb-h1", "partition=2,2,2,0"), (3, "zb-h1"),
                (2, "interleaved-zb", "chunks_per_rank=3"),
                (1, "zb-v"), (2, "zb-v"), (3, "zb-v"), (2, "zb-v", "partition=1,2,3,0"),
                (1, "v-half"), (2, "v-half"), (3, "v-half"),
                (1, "1f1b", "recompute=lean"), (2, "1f1b", "recompute=full"),
                (2, "zb-v", "recompute=lean"), (3, "zb-h1", "recompute=full")):
            with self.subTest(ranks=ranks, schedule=schedule, others=others):
                name = "-".join((str(ranks), schedule, *others)).replace(",", "_")
                overrides = [f"pipeline.schedule={schedule}", "run.threads_per_rank=1"]
                self.train(ranks, name, overrides=overrides + [f"pipeline.{one}" for one in others])
                self.check(name)

    def test_schedule_chosen_by_the_planner(self):
        self.train(2, "auto", overrides=("pipeline.schedule=auto",))
        self.check("auto")
        self.assertNotIn('schedule = "auto"', (self.folder / "auto" / "config.toml").read_text())

    def test_schedule_from_a_file(self):
        printed = call(SLUICE, "plan", self.run_file, "--stages", "2", "--print-schedule", "--set",
                       "pipeline.schedule=zb-v")
        path = self.folder / "schedule.txt"
        path.write_text(printed.stdout)
        overrides = ("pipeline.schedule=custom", f"pipeline.schedule_file={path}")
        self.train(2, "from-file", overrides=overrides)
        self.check("from-file")

    def test_stop_and_resume_on_other_layouts(self):
        for seed in (1, 2):
            rng = random.Random(seed)
            stops = sorted(rng.sample(range(1, self.updates), 3))
            name = f"moved-{seed}"
            schedules = ("gpipe", "1f1b", "zb-h1", "zb-v", "v-half")
            for before, after in zip([0, *stops], stops):
                ranks, schedule = rng.choice((1, 2, 3)), rng.choice(schedules)
                self.train(ranks, name, "--stop-after", after - before, expect=75,
                           overrides=(f"pipeline.schedule={schedule}",))
            self.train(rng.choice((1, 2, 3, 4)), name)
            self.check(name)

    def test_digest_of_every_update(self):
        overrides = ("metrics.digest_every_update=true",)
        self.train(1, "digest-1", overrides=overrides)
        self.train(3, "digest-3", overrides=overrides)
        mine = [row["parameters_digest"] for row in self.metrics("digest-1")]
        self.assertEqual(mine, [row["parameters_digest"] for row in self.metrics("digest-3")])
        # The first update has learning rate 0 and changes nothing; every later one does.
        self.assertEqual(len(set(mine)), len(mine))
        self.assertEqual(self.metrics("digest-1", "checkpoint")[-1]["parameters_digest"], mine[-1])


class SameBitsInEveryArrangement(RunTest):
    updates = 4

    def test_arrangements_and_gates(self):
        for arrangement, prores in (("post", "equal"), ("sandwich", "stagewise-0"),
                                    ("deepnorm", "reverse"), ("lns", "off")):
            with self.subTest(arrangement=arrangement):
                run_file = self.write_run_file(f"{arrangement}.toml", arrangement=arrangement,
                                               prores=prores)
                self.train(1, f"{arrangement}-1", run_file=run_file)
                self.train(3, f"{arrangement}-3", run_file=run_file)
                self.assert_same_curve(f"{arrangement}-1", f"{arrangement}-3")
                self.assert_same_state(f"{arrangement}-1", f"{arrangement}-3")


class SameBitsInTheReference(RunTest):
    updates = 3

    def test_fp64(self):
        for ranks in (1, 2):
            self.train(ranks, f"fp64-{ranks}", overrides=("precision.compute=fp64",))
        self.assert_same_curve("fp64-1", "fp64-2")
        self.assert_same_state("fp64-1", "fp64-2")


class SameBitsInBf16(RunTest):
    updates = 6

    def check(self, precision, *layouts):
        one = f"{precision}-1"
        chosen = f"precision.compute={precision}"
        self.train(1, one, overrides=(chosen, "run.threads_per_rank=1"))
        for ranks, *overrides in layouts:
            with self.subTest(precision=precision, ranks=ranks, overrides=overrides):
                name = "-".join((precision, str(ranks), *overrides)).replace(",", "_")
                self.train(ranks, name, overrides=(chosen, *overrides))
                self.assert_same_curve(name, one)
                self.assert_same_state(name, one)
        moved = f"{precision}-moved"
        self.train(3, moved, "--stop-after", 2, expect=75, overrides=(chosen,))
        self.train(1, moved, "--stop-after", 2, expect=75,
                   overrides=(chosen, "checkpoint.asynchronous=false"))
        self.train(2, moved, overrides=(chosen, "pipeline.schedule=zb-v"))
        self.assert_same_curve(moved, one)
        self.assert_same_state(moved, one)

    def test_on_master_weights(self):
        self.check("bf16", (1, "run.threads_per_rank=2", "pipeline.recompute=full"),
                   (2, "pipeline.schedule=gpipe", "run.threads_per_rank=2"),
                   (3, "pipeline.schedule=1f1b", "pipeline.partition=1,4,1"),
                   (2, "pipeline.schedule=zb-h1", "pipeline.recompute=lean"))

    def test_nothing_but_bf16(self):
        self.check("pure-bf16", (2, "pipeline.schedule=1f1b", "run.threads_per_rank=2"))

    def test_it_is_another_result_and_a_resume_says_so(self):
        self.train(1, "first", "--stop-after", 2, expect=75)
        self.assertIn('compute = "fp32"', (self.folder / "first" / "config.toml").read_text())
        for precision in ("bf16", "pure-bf16"):
            refused = self.train(1, "first", expect=2,
                                 overrides=(f"precision.compute={precision}",))
            self.assert_one_clear_message(refused, "changes the result",
                                          f'precision.compute: saved "fp32", now "{precision}"')
        self.train(1, "first", overrides=("precision.compute=fp32",))

    def test_checkpoints_hold_the_master_and_evaluate_as_the_run_did(self):
        for precision in ("bf16", "pure-bf16"):
            self.train(1, f"saved-{precision}", overrides=(
                f"precision.compute={precision}", "metrics.digest_every_update=true"))
            checkpoint = self.last_checkpoint(f"saved-{precision}")
            with h5py.File(checkpoint / "checkpoint.h5", "r") as file:
                weight = file["parameters/model/layers/1/mlp/down_proj/weight"][:]
            self.assertEqual(weight.dtype, np.float32)
            rounded = (weight.view(np.uint32) & 0xffff) == 0
            # A master has more digits than bf16, save for those that happen to end in zeros.
            self.assertEqual(bool(rounded.all()), precision == "pure-bf16")
            self.assertEqual(self.metrics(f"saved-{precision}")[-1]["parameters_digest"],
                             self.metrics(f"saved-{precision}", "checkpoint")[-1]
                             ["parameters_digest"])
            result = call(SLUICE, "eval", checkpoint, "--data", self.folder / "validation.h5",
                          "--tokens", "256", "--json")
            self.assertEqual(json.loads(result.stdout)["loss"],
                             self.metrics(f"saved-{precision}", "eval")[-1]["loss"])


if __name__ == "__main__":
    unittest.main()
