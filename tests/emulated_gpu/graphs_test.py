"""Forward and backward passes as CUDA graphs, on emulated GPUs: no bit differs from launching kernel by kernel.

Gates change in every update here, and with "stagewise-L" layers open one after another, so that other kernels run.
"""

import re
import unittest

from on_emulated_gpus import OnEmulatedGpus, emulated

ON, OFF = ("pipeline.graphs=true",), ("pipeline.graphs=false",)


class Graphs(OnEmulatedGpus):
    prores = "stagewise-L"

    def compare(self, name, ranks, *options, overrides=(), gpus=1, seed=0, expect=0):
        """The run with and without graphs; returns what the run with them said."""
        with emulated(gpus, seed):
            self.run_on("cuda", ranks, f"{name}-off", *options, expect=expect, overrides=(*OFF, *overrides))
            said = self.run_on("cuda", ranks, f"{name}-on", *options, expect=expect,
                               overrides=(*ON, *overrides)).stderr
        self.check(f"{name}-on", f"{name}-off")
        held = re.search(r"rank 0 holds (\d+) CUDA graphs of (\d+) kernels", said)
        self.assertIsNotNone(held, said)
        self.assertGreater(int(held[1]), 1)
        self.assertGreater(int(held[2]), 20)
        return said

    def test_arrangements(self):
        layouts = ((1, ()), (2, ("pipeline.schedule=zb-h1",)), (3, ("pipeline.recompute=full",)),
                   (2, ("pipeline.schedule=zb-v", "pipeline.recompute=lean")), (1, ("prores.schedule=linear",)))
        arrangements = ("pre", "post", "sandwich", "deepnorm", "lns")
        for seed, (arrangement, (ranks, others)) in enumerate(zip(arrangements, layouts)):
            with self.subTest(arrangement, ranks=ranks, others=others):
                self.compare(arrangement, ranks, gpus=ranks, seed=seed,
                             overrides=(f"model.arrangement={arrangement}", *others))

    def test_what_else_a_run_does(self):
        others = {
            "watched": ("trace.updates=2-4", "anomaly.repeat_every=2",
                        "metrics.activation_norm_every=2", "metrics.digest_every_update=true"),
            "saved": ("checkpoint.every_updates=2", "checkpoint.keep_last=9", "checkpoint.asynchronous=true"),
            "chunks": ("pipeline.schedule=interleaved-1f1b", "pipeline.chunks_per_rank=2"),
        }
        for seed, (name, overrides) in enumerate(others.items()):
            with self.subTest(name):
                self.compare(name, 2, overrides=overrides, seed=seed)
        norms = [[row["rms"] for row in self.metrics(f"watched-{graphs}", "activation_norm")]
                 for graphs in ("on", "off")]
        self.assertEqual(*norms)
        self.assertEqual(len(norms[0]), 3)

    def test_replicas(self):
        """The last micro-batch's backward pass is watched, and is no graph."""
        self.compare("replicas", 2, seed=3, overrides=("pipeline.replicas=2", "batch.global_batch_size=8"))

    def test_a_run_goes_on_with_or_without(self):
        with emulated(seed=4):
            self.run_on("cuda", 1, "whole", overrides=OFF)
            for first, then in ((ON, OFF), (OFF, ON)):
                name = f"resumed-{first is ON}"
                self.run_on("cuda", 1, name, "--stop-after", "3", expect=75, overrides=first)
                self.run_on("cuda", 2, name, overrides=then)
                self.check(name)

    def test_a_rewind_closes_gates_again(self):
        rewinds = ("anomaly.on_nonfinite=rewind", "anomaly.rewind_updates=2", "checkpoint.every_updates=1")
        said = self.compare("rewound", 2, "--inject", "nan-gradient@4:3", overrides=rewinds)
        self.assertIn("update 4", said)

    def test_which_runs_have_them(self):
        with emulated():
            for graphs, device, found in (("auto", "cuda", "true"), ("true", "cpu", "false"),
                                          ("auto", "cpu", "false")):
                with self.subTest(graphs=graphs, device=device):
                    name = f"{graphs}-{device}"
                    said = self.run_on(device, 1, name, overrides=(f"pipeline.graphs={graphs}",
                                                                   "run.updates=4")).stderr
                    self.assertIn(f"graphs = {found}", (self.folder / name / "config.toml").read_text())
                    self.assertEqual("CUDA graphs" in said, found == "true")


if __name__ == "__main__":
    unittest.main()
