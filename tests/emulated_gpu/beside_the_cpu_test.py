"""Training on GPUs beside training on the CPU: each near float64, and near one another."""

import unittest

from on_emulated_gpus import OnEmulatedGpus, emulated

try:
    import h5py
    import numpy
except ImportError:  # where a bundle runs
    h5py = None

# What the single-precision path may differ from float64 after thirty updates, relative to the largest
# element (docs/oracle-errors.md). CPU and GPU are two roundings of one computation: each within the
# bound of float64, so within twice the bound of one another.
FP32_BOUNDS = {"loss": 1.0e-6, "grad_norm": 2.0e-5, "parameters": 1.0e-5, "optimizer": 1.0e-4}
# Likewise in bf16 on fp32 master weights.
BF16_BOUNDS = {"loss": 1.0e-2, "grad_norm": 8.0e-2, "parameters": 2.5e-2, "optimizer": 0.4}


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
        wide = ("model.hidden_size=64", "model.num_heads=1") # where cuBLASLt has kernels for it
        with emulated(seed=4):
            self.run_on("cuda", 1, "tf32", overrides=("precision.tf32=true",))
            self.run_on("cuda", 1, "wide", overrides=wide)
            self.run_on("cuda", 1, "wide-tf32", overrides=(*wide, "precision.tf32=true"))
        self.assert_near("tf32", "exact", 1 / 8, BF16_BOUNDS)
        self.assertNotEqual(self.metrics("wide-tf32")[-1]["loss"], self.metrics("wide")[-1]["loss"])
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


if __name__ == "__main__":
    unittest.main()
