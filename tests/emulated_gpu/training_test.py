"""The whole program on emulated GPUs: what a GPU may do late or in another order changes no bit."""

import json
import unittest

from harness import SLUICE, call
from on_emulated_gpus import NCCL, ON_A_REAL_GPU, OnEmulatedGpus, emulated


class SameBits(OnEmulatedGpus):
    """One rank whose work runs as late as it may, launched kernel by kernel, is what every other layout
    and order must equal. In bf16, which is what GPUs compute in where a run file says nothing, and as
    graphs, which passes as small as these become."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with emulated():
            cls().run_on("cuda", 1, "whole", overrides=("pipeline.graphs=false",))

    def test_it_learns_on_a_gpu(self):
        losses = [row["loss"] for row in self.metrics("whole")]
        self.assertLess(losses[-1], losses[0] - 0.2)
        config = (self.folder / "whole" / "config.toml").read_text()
        self.assertIn('device = "cuda"', config)
        self.assertIn('compute = "bf16"', config)

    def test_one_rank_in_other_orders(self):
        for seed in (1, 2):
            with self.subTest(seed=seed), emulated(seed=seed):
                self.run_on("cuda", 1, f"order-{seed}")
                self.check(f"order-{seed}")

    def test_layouts(self):
        """Ranks that share a GPU or have one each, by MPI and NCCL, with and without checksums."""
        layouts = ((1, 2, 0, ()), (2, 2, 1, ()),
                   (1, 2, 2, ("pipeline.verify_transfers=false",)),
                   (2, 2, 0, ("pipeline.transport=mpi", "pipeline.schedule=zb-v")),
                   (2, 2, 5, ("pipeline.schedule=zb-v",)),
                   (2, 3, 3, ("pipeline.schedule=zb-h1",)),
                   (3, 3, 0, ("pipeline.schedule=zb-h1", "pipeline.extra_warmup=1")),
                   (2, 2, 4, ("pipeline.schedule=interleaved-1f1b", "pipeline.chunks_per_rank=2",
                              "pipeline.recompute=lean")))
        for gpus, ranks, seed, others in layouts:
            name = f"{ranks}-on-{gpus}-{seed}"
            with self.subTest(name, others=others), emulated(gpus, seed):
                result = self.run_on("cuda", ranks, name, overrides=others)
                self.check(name)
                by_nccl = NCCL and gpus == ranks and "pipeline.transport=mpi" not in others
                if not ON_A_REAL_GPU:
                    self.assertIn("go by NCCL" if by_nccl else "host memory and MPI", result.stderr)

    def test_cuda_aware_mpi(self):
        """MPI reads and writes the memory of GPUs whenever it likes between start and end of a message."""
        mpi, staged = "pipeline.transport=mpi", "pipeline.transport=staged"
        layouts = ((1, 2, 0, (mpi,)), (1, 2, 1, (mpi, "pipeline.schedule=zb-v")),
                   (2, 2, 2, (mpi, "pipeline.schedule=interleaved-1f1b", "pipeline.chunks_per_rank=2")),
                   (2, 3, 0, (mpi, "pipeline.schedule=zb-h1", "pipeline.extra_warmup=1")),
                   (1, 3, 3, (mpi, "pipeline.verify_transfers=false")), (1, 2, 4, (staged,)), (1, 2, 5, ()))
        for gpus, ranks, seed, others in layouts:
            name = f"direct-{ranks}-on-{gpus}-{seed}"
            with self.subTest(name, others=others), emulated(gpus, seed,
                                                             SLUICE_EMULATED_CUDA_AWARE_MPI=1):
                result = self.run_on("cuda", ranks, name, overrides=others)
                self.check(name)
                self.assertIn("host memory and MPI: the run file asks" if staged in others
                              else "by MPI from where they lie" if mpi in others
                              else "host memory and MPI: ranks share a GPU", result.stderr)

    def test_stop_and_resume_on_other_layouts(self):
        with emulated(2, seed=5):
            self.run_on("cuda", 2, "moved", "--stop-after", "2", expect=75)
        with emulated(1, seed=6):
            self.run_on("cuda", 1, "moved", "--stop-after", "2", expect=75)
        with emulated(1):
            self.run_on("cuda", 2, "moved")
        self.check("moved")

    def test_saves_beside_training(self):
        """The copy for a save is taken between two updates, whatever the GPU still has to do."""
        saves = ("checkpoint.every_updates=2", "checkpoint.keep_last=9")
        for ranks, seed, kind in ((2, 0, "true"), (2, 7, "true"), (1, 0, "false")):
            with emulated(seed=seed):
                self.run_on("cuda", ranks, f"saves-{ranks}-{seed}", overrides=(
                    *saves, f"checkpoint.asynchronous={kind}"))
        for seed in (0, 7):
            self.check(f"saves-2-{seed}")
            for update in ("update-00000002", "update-00000004"):
                folders = [self.folder / name / "checkpoints" / update
                           for name in (f"saves-2-{seed}", "saves-1-0")]
                result = call(SLUICE, "inspect", folders[0], "--diff", folders[1])
                self.assertIn("identical to the bit", result.stdout, result.stderr)

    def test_replicas(self):
        """Sums over replicas are rounded otherwise, but always alike."""
        for replicas, batch, layouts in (
                (2, 8, ((1, 2, 0, "mpi"), (2, 2, 1, "nccl" if NCCL else "auto"), (1, 2, 8, "aware"),
                        (4, 4, 0, "auto"), (4, 4, 3, "staged"))),
                (3, 6, ((3, 3, 0, "staged"), (3, 3, 2, "auto"), (1, 3, 4, "aware")))):
            first = None
            for gpus, ranks, seed, transport in layouts:
                name = f"replicas-{replicas}-{ranks}-on-{gpus}-{seed}-{transport}"
                aware = int(transport == "aware") # an MPI that takes GPUs' memory
                with self.subTest(name), emulated(gpus, seed, SLUICE_EMULATED_CUDA_AWARE_MPI=aware):
                    result = self.run_on("cuda", ranks, name, overrides=(
                        f"pipeline.replicas={replicas}", f"batch.global_batch_size={batch}",
                        f"pipeline.transport={'mpi' if aware else transport}",
                        "checkpoint.every_updates=3"))
                    first = first or name
                    if name != first:
                        self.check(name, first)
                    by_nccl = NCCL and gpus == ranks and transport in ("auto", "nccl")
                    self.assertIn("go by NCCL" if by_nccl else "from where they lie" if aware
                                  else "host memory and MPI", result.stderr)

    def test_inspect_and_eval(self):
        for options, part in (((), "layer 3"), (("--verify",), "whole")):
            result = call(SLUICE, "inspect", self.folder / "whole", *options)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn(part, result.stdout)
        for seed in (0, 10):
            with emulated(seed=seed):
                result = call(SLUICE, "eval", self.last_checkpoint("whole"), "--data",
                              self.folder / "validation.h5", "--json")
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(json.loads(result.stdout)["loss"],
                             self.metrics("whole", "eval")[-1]["loss"])


class SameBitsInOtherPrecisions(OnEmulatedGpus):
    def test_layouts_and_a_resume(self):
        for precision, gpus, ranks, others in (
                ("fp32", 2, 2, ()),
                ("pure-bf16", 1, 3, ("pipeline.schedule=zb-h1", "pipeline.verify_transfers=false"))):
            chosen = (f"precision.compute={precision}",)
            with emulated():
                self.run_on("cuda", 1, f"{precision}-1", overrides=chosen)
            with self.subTest(precision), emulated(gpus, seed=ranks):
                self.run_on("cuda", ranks, precision, "--stop-after", "2", expect=75,
                            overrides=(*chosen, *others))
                self.run_on("cuda", 1, precision, overrides=chosen)
                self.check(precision, f"{precision}-1")


class Refusals(OnEmulatedGpus):
    def refused(self, ranks, run_dir, *parts, overrides=()):
        result = self.run_on("cuda", ranks, run_dir, expect=2, overrides=overrides)
        self.assert_one_clear_message(result, *parts)

    def test_no_gpu(self):
        with emulated(0):
            self.refused(1, "none-1", "rank 0", "has no GPU", 'device = "cpu"')
            self.refused(2, "none-2", "has no GPU")
        with emulated(2, CUDA_VISIBLE_DEVICES=""):
            self.refused(1, "hidden", "no GPU is visible")

    def test_not_enough_memory(self):
        little = 68 << 20 # the stream's workspace takes 64 MiB
        with emulated(SLUICE_EMULATED_GPU_BYTES=little):
            self.refused(1, "little", "rank 0 needs", "MB", overrides=("batch.micro_batch_size=6",
                                                        "model.vocab_size=9000"))
        with emulated(SLUICE_EMULATED_GPU_BYTES=16 << 20):
            self.refused(1, "less", "cannot reserve 64 MiB on the GPU, which has 16 MiB free")

    def test_kernels_need_memory_too(self):
        """What a GPU loads is in no plan: it is found missing before the first update, on all ranks."""
        for ranks in (1, 2):
            with emulated(ranks, SLUICE_EMULATED_GPU_BYTES=160 << 20,
                          SLUICE_EMULATED_CODE_BYTES=8 << 20):
                self.refused(ranks, f"code-{ranks}", "the GPU's memory is used up")
                self.assertFalse((self.folder / f"code-{ranks}" / "metrics.jsonl").exists())


class Faults(OnEmulatedGpus):
    """Faults put in on purpose are found on GPUs as on CPUs, before weights change."""

    def drill(self, name, fault, *parts, gpus=2, seed=12, overrides=(), **machine):
        with emulated(gpus, seed, **machine):
            result = self.run_on("cuda", 2, name, "--inject", fault, expect=70, overrides=overrides)
        for part in parts:
            self.assertIn(part, result.stderr)
            self.assertIn(part, self.status(name)["reason"])

    def test_a_gradient_that_is_not_a_number(self):
        self.drill("nan", "nan-gradient@3:3", "rank 1", "stage 1", "layer 3", "not finite")

    def test_a_bit_flipped_on_its_way(self):
        said = ("an activation changed", "rank 0", "rank 1")
        self.drill("flip", "flip-activation@3:3", *said)
        self.drill("flip-staged", "flip-activation@3:3", *said, gpus=1, seed=0)
        self.drill("flip-direct", "flip-activation@3:3", *said, gpus=1, seed=13,
                   overrides=("pipeline.transport=mpi",), SLUICE_EMULATED_CUDA_AWARE_MPI=1)
        self.drill("flip-gradient", "flip-gradient@3:0", "a gradient changed", "rank 1", "rank 0")

    def test_a_bit_flipped_between_replicas(self):
        for gpus, seed in ((2, 0), (2, 14), (1, 15)):
            self.drill(f"exchange-{seed}", "flip-exchange@3:3:1", "gradients changed on their way",
                       "to replica 1 (rank 1)", gpus=gpus, seed=seed,
                       overrides=("pipeline.replicas=2", "batch.global_batch_size=8"))

    def test_weights_that_differ(self):
        self.drill("weight", "flip-weight@3:3:1", "weights of stage 0 differ", "replica 1, rank 1",
                   overrides=("pipeline.replicas=2", "batch.global_batch_size=8"))

    def test_a_gradient_that_comes_out_otherwise(self):
        self.drill("wrong", "wrong-gradient@4:3", "when it was computed again", "rank 1",
                   overrides=("anomaly.repeat_every=2",))


if __name__ == "__main__":
    unittest.main()
