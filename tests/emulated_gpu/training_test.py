"""The whole program on emulated GPUs: what a GPU may do late or in another order changes no bit.

The emulation (docs/gpu.md) holds work back until the host waits (seed 0), or runs it early or late as a
random generator says (other seeds), within what streams and events allow.
"""

import contextlib
import json
import os
import unittest

from harness import SLUICE, RunTest, call

try:
    import h5py
    import numpy
except ImportError:  # where a bundle runs: only comparisons with the CPU need them
    h5py = None

SMALL = ("model.hidden_size=16", "model.intermediate_size=24", "model.num_layers=4",
         "model.max_seq_len=16", "batch.seq_len=16", "batch.global_batch_size=6",
         "eval.every_updates=3", "eval.tokens=64", "run.threads_per_rank=1")

# What the single-precision path may differ from float64 after thirty updates, relative to the largest
# element (docs/oracle-errors.md). CPU and GPU are two roundings of one computation: each within the
# bound of float64, so within twice the bound of one another.
FP32_BOUNDS = {"loss": 1.0e-6, "grad_norm": 2.0e-5, "parameters": 1.0e-5, "optimizer": 1.0e-4}
# Likewise in bf16 on fp32 master weights.
BF16_BOUNDS = {"loss": 1.0e-2, "grad_norm": 8.0e-2, "parameters": 2.5e-2, "optimizer": 0.4}


NCCL = os.environ.get("NCCL") == "ON" # in the build
ON_A_REAL_GPU = "ON_A_REAL_GPU" in os.environ # as many as there are, whatever is emulated


@contextlib.contextmanager
def emulated(gpus=1, seed=0, **others):
    """The machine that the program meets: GPUs, the order of their work, further variables."""
    variables = {"SLUICE_EMULATED_GPUS": gpus, "SLUICE_EMULATED_SEED": seed, **others}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update({name: str(value) for name, value in variables.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class OnEmulatedGpus(RunTest):
    updates = 6

    @classmethod
    def setUpClass(cls):
        # With the program itself in SLUICE some of these tests run on a real GPU (gpu/* in CTest).
        if ON_A_REAL_GPU and " GPU 0 " not in call(SLUICE, "doctor").stdout:
            raise unittest.SkipTest("skipped: no GPU is visible")
        super().setUpClass()

    def run_on(self, device, ranks, run_dir, *options, overrides=(), expect=0):
        return self.train(ranks, run_dir, *options, expect=expect,
                          overrides=(*SMALL, f"run.device={device}", *overrides))

    def check(self, run_dir, whole="whole"):
        self.assert_same_curve(run_dir, whole)
        self.assert_same_state(run_dir, whole)
        self.assertEqual([row["loss"] for row in self.metrics(run_dir, "eval")],
                         [row["loss"] for row in self.metrics(whole, "eval")])

    def arrays(self, run_dir, kind):
        """Of the last checkpoint, by path. h5py's visititems() does not follow links to files."""
        found = {}

        def walk(group, path):
            for name, item in group.items():
                if isinstance(item, h5py.Group):
                    walk(item, f"{path}/{name}")
                else:
                    found[f"{path}/{name}"] = item[...].astype(numpy.float64)

        with h5py.File(self.last_checkpoint(run_dir) / "checkpoint.h5", "r") as file:
            walk(file[kind], kind)
        return found

    def assert_near(self, run_dir, other, factor, bounds=FP32_BOUNDS):
        mine, theirs = self.metrics(run_dir), self.metrics(other)
        self.assertEqual(len(mine), len(theirs))
        for row, like in zip(mine, theirs):
            for key in ("loss", "grad_norm"):
                self.assertLess(abs(row[key] / like[key] - 1), factor * bounds[key], key)
        for kind in ("parameters", "optimizer"):
            here, there = self.arrays(run_dir, kind), self.arrays(other, kind)
            self.assertEqual(sorted(here), sorted(there))
            self.assertGreater(len(here), 30)
            for name, values in here.items():
                gap = numpy.abs(values - there[name]).max() / numpy.abs(there[name]).max()
                self.assertLess(gap, factor * bounds[kind], name)


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
                   (1, 2, 2, ("pipeline.verify_transfers=true",)),
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
        layouts = ((1, 2, 0, ()), (1, 2, 1, ("pipeline.schedule=zb-v",)),
                   (2, 2, 2, ("pipeline.transport=mpi", "pipeline.schedule=interleaved-1f1b",
                              "pipeline.chunks_per_rank=2")),
                   (2, 3, 0, ("pipeline.schedule=zb-h1", "pipeline.extra_warmup=1")),
                   (1, 3, 3, ("pipeline.verify_transfers=true",)),
                   (1, 2, 4, ("pipeline.transport=staged",)))
        for gpus, ranks, seed, others in layouts:
            name = f"direct-{ranks}-on-{gpus}-{seed}"
            with self.subTest(name, others=others), emulated(gpus, seed,
                                                             SLUICE_EMULATED_CUDA_AWARE_MPI=1):
                result = self.run_on("cuda", ranks, name, overrides=others)
                self.check(name)
                staged = "pipeline.transport=staged" in others
                self.assertIn("host memory and MPI: the run file asks" if staged
                              else "by MPI from where they lie", result.stderr)

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
                (2, 8, ((1, 2, 0, "mpi"), (2, 2, 1, "nccl"), (1, 2, 8, "auto"),
                        (4, 4, 0, "auto"), (4, 4, 3, "staged"))),
                (3, 6, ((3, 3, 0, "staged"), (3, 3, 2, "auto"), (1, 3, 4, "auto")))):
            first = None
            for gpus, ranks, seed, transport in layouts:
                name = f"replicas-{replicas}-{ranks}-on-{gpus}-{seed}-{transport}"
                aware = int(gpus == 1 and transport == "auto") # by host memory, by MPI, by NCCL
                with self.subTest(name), emulated(gpus, seed, SLUICE_EMULATED_CUDA_AWARE_MPI=aware):
                    result = self.run_on("cuda", ranks, name, overrides=(
                        f"pipeline.replicas={replicas}", f"batch.global_batch_size={batch}",
                        f"pipeline.transport={transport}", "checkpoint.every_updates=3"))
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


@unittest.skipUnless(h5py, "skipped: needs h5py")
class BesideTheCpu(OnEmulatedGpus):
    """With an eps above most gradients' elements: AdamW divides by their size, and by default blows up
    the rounding of those that are nearly 0, on CPUs as on GPUs, beyond any bound."""

    def run_on(self, device, ranks, run_dir, *options, overrides=(), expect=0):
        return super().run_on(device, ranks, run_dir, *options, expect=expect,
                              overrides=("optimizer.eps=1e-3", "precision.compute=fp32", *overrides))

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with emulated():
            cls().run_on("cpu", 1, "exact", overrides=("precision.compute=fp64",))
            cls().run_on("cpu", 1, "cpu")
            cls().run_on("cuda", 1, "gpu")

    def test_both_are_near_float64_and_one_another(self):
        self.assert_near("cpu", "exact", 1)
        self.assert_near("gpu", "exact", 1)
        self.assert_near("gpu", "cpu", 2)

    def test_bf16_is_near_float64_on_both(self):
        for device in ("cpu", "cuda"):
            with emulated(seed=3):
                self.run_on(device, 1, f"bf16-{device}", overrides=("precision.compute=bf16",))
            self.assert_near(f"bf16-{device}", "exact", 1, BF16_BOUNDS)
        self.assertNotEqual(self.metrics("bf16-cuda")[-1]["loss"], self.metrics("gpu")[-1]["loss"])

    def test_tf32_is_an_eighth_as_far_as_bf16_may_be(self):
        """Operands have three bits more, and nothing else is rounded."""
        with emulated(seed=4):
            self.run_on("cuda", 1, "tf32", overrides=("precision.tf32=true",))
        self.assert_near("tf32", "exact", 1 / 8, BF16_BOUNDS)
        self.assertNotEqual(self.metrics("tf32")[-1]["loss"], self.metrics("gpu")[-1]["loss"])
        self.run_on("cpu", 1, "no-tf32", overrides=("precision.tf32=true",))
        self.check("no-tf32", "cpu")

    def test_attention_by_cudnn(self):
        """One choice of bits, in every layout and as graphs; refused on resume with the other."""
        wide = ("model.hidden_size=64", "model.num_heads=1", "precision.compute=bf16")
        cudnn = (*wide, "precision.attention=cudnn")
        with emulated(seed=5):
            self.run_on("cuda", 1, "own-attention", overrides=wide)
            result = self.run_on("cuda", 1, "cudnn", overrides=(*cudnn, "pipeline.graphs=false"))
            self.run_on("cuda", 2, "cudnn-2", overrides=(*cudnn, "pipeline.graphs=true"))
            self.run_on("cuda", 1, "cudnn-half", "--stop-after", "3", overrides=cudnn, expect=75)
            refused = self.run_on("cuda", 1, "cudnn-half", overrides=wide, expect=2)
            self.run_on("cuda", 1, "cudnn-half", overrides=cudnn)
            with emulated(SLUICE_EMULATED_CUDNN="none"):
                missing = self.run_on("cuda", 1, "no-cudnn", overrides=cudnn, expect=2)
        self.assertIn("attention by emulated cuDNN, with ", result.stderr)
        self.assertIn('attention = "cudnn"', (self.folder / "cudnn" / "config.toml").read_text())
        self.check("cudnn-2", "cudnn")
        self.check("cudnn-half", "cudnn")
        self.assert_near("cudnn", "own-attention", 2, BF16_BOUNDS)
        self.assertNotEqual(self.metrics("cudnn")[-1]["loss"],
                            self.metrics("own-attention")[-1]["loss"])
        self.assertIn('precision.attention: saved "cudnn", now "own"', refused.stderr)
        self.assertIn("cannot load emulated cuDNN", missing.stderr)
        self.assertIn('attention = "own"', missing.stderr)

    def test_a_run_goes_on_on_the_other(self):
        """A checkpoint says nothing about where it was written."""
        with emulated(2):
            for first, second, ranks in (("cuda", "cpu", 1), ("cpu", "cuda", 2)):
                name = f"{first}-{second}"
                self.run_on(first, 3 - ranks, name, "--stop-after", "3", expect=75)
                self.run_on(second, ranks, name)
                self.assert_near(name, "cpu", 2)

    def test_auto(self):
        with emulated(0):
            self.run_on("auto", 1, "auto-cpu")
        self.check("auto-cpu", "cpu")
        with emulated(1):
            self.run_on("auto", 1, "auto-gpu")
        self.check("auto-gpu", "gpu")

    def test_activation_norms_and_digests(self):
        measured = ("metrics.activation_norm_every=2", "metrics.digest_every_update=true")
        with emulated(seed=11):
            self.run_on("cuda", 2, "norms-gpu", overrides=measured)
            self.run_on("cpu", 1, "norms-cpu", overrides=measured)
        self.check("norms-gpu", "gpu")
        rows = [self.metrics(name, "activation_norm") for name in ("norms-gpu", "norms-cpu")]
        self.assertEqual(len(rows[0]), 3)
        for mine, theirs in zip(*rows):
            for here, there in zip(mine["rms"], theirs["rms"]):
                self.assertLess(abs(here / there - 1), 2 * 5.0e-6) # docs/oracle-errors.md


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


class Faults(OnEmulatedGpus):
    """Faults put in on purpose are found on GPUs as on CPUs, before weights change."""

    def drill(self, name, fault, *parts, options=()):
        with emulated(2, seed=12):
            result = self.run_on("cuda", 2, name, "--inject", fault, *options, expect=70)
        for part in parts:
            self.assertIn(part, result.stderr)
            self.assertIn(part, self.status(name)["reason"])

    def test_a_gradient_that_is_not_a_number(self):
        self.drill("nan", "nan-gradient@3:3", "rank 1", "stage 1", "layer 3", "not finite")

    def test_a_bit_flipped_on_its_way(self):
        self.drill("flip", "flip-activation@3:3", "an activation changed", "rank 0", "rank 1",
                   options=("--set", "pipeline.verify_transfers=true"))


if __name__ == "__main__":
    unittest.main()
