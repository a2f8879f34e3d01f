"""The layout never changes the result: losses, gradient norms, weights, moments, counters, to the bit."""

import random
import unittest

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
                (2, "zb-v", "recompute=lean"), (3, "zb-h1", "recompute=full"),
                (2, "1f1b"), (3, "1f1b")):
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


if __name__ == "__main__":
    unittest.main()
