"""`./dev bench gpu` on an emulated GPU: that all of it runs and what it says of memory; nothing about speed."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import types
import unittest
import unittest.mock

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "benchmarks/gpu.py"


def bench(*options, gpus=1, **machine):
    environment = {**os.environ, "SLUICE_EMULATED_GPUS": str(gpus), "OMP_NUM_THREADS": "1", **machine}
    return subprocess.run([sys.executable, "-B", SCRIPT, "--program", os.environ["GPU_BENCHMARK"],
                           "--tiny", *options], env=environment, text=True, capture_output=True,
                          timeout=300, check=False)


def figures_of(*options, expect=0, **machine):
    """What it wrote and what it printed."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "gpu.json"
        result = bench(*options, "--json", str(file), **machine)
        assert result.returncode == expect, result.stdout + result.stderr
        return json.loads(file.read_text()), result.stdout


class Benchmark(unittest.TestCase):
    def test_everything_runs(self):
        figures, printed = figures_of("--preset", "llama-71m", "--torch-device", "cpu")
        self.assertTrue(figures["tiny"])
        self.assertEqual(len(figures["ceilings"]), 5) # copy; products in bf16, also sustained, tf32, f32
        self.assertEqual(figures["ceilings"].keys(), figures["ceilings_afterwards"].keys())
        near = all(0.9 < figures["ceilings_afterwards"][which] / figures["ceilings"][which] < 1 / 0.9
                   for which in ("copy_gb_per_second", "matmul_bf16_sustained_tflops"))
        self.assertEqual(figures["undisturbed"], near)
        self.assertEqual("DISTURBED" in printed, not near)
        for rate in figures["ceilings"].values():
            self.assertGreater(rate, 0)
        def names_at(shapes, kind):
            return [row["name"] for row in figures["kernels"] if (row["shapes"], row["type"]) == (shapes, kind)]
        names = {kind: names_at("llama-1.3b", kind) for kind in ("bf16", "tf32", "f32")}
        self.assertEqual(names_at("llama-71m", "bf16"), names["bf16"])
        attention = names_at("llama-7b", "bf16") # heads of 128 channels
        own = ["attention forward", "attention backward"]
        self.assertEqual(attention, [name for name in names["bf16"] if name in (*own, *(f"{one} (cuDNN)" for one in own))])
        by_cudnn = ["attention forward (cuDNN)", "attention backward (cuDNN)"] # in bf16 alone
        self.assertEqual([name for name in names["bf16"] if name not in by_cudnn], names["f32"])
        self.assertEqual([name for name in names["bf16"] if name in by_cudnn], by_cudnn)
        self.assertEqual([name for name in names["f32"] if " product " in name], names["tf32"])
        self.assertGreater(len(names["f32"]), 25)
        self.assertEqual(len(names["tf32"]), 15)
        for row in figures["kernels"]:
            self.assertGreater(row["rate"], 0, row["name"])
            self.assertIn(row["name"], printed)
        for row in figures["updates"]:
            self.assertTrue(row["fits"])
            self.assertGreater(row["tokens_per_second"], 0)
            self.assertTrue(row["graphs"])
            self.assertGreater(row["seconds_with_graphs"], 0)
            self.assertGreater(row["seconds_without_graphs"], 0)
            self.assertGreater(row["graph_launches"], 50)
            self.assertGreater(row["graph_mib"], 0)
            self.assertAlmostEqual(row["share_of_sustained_matmul"],
                                   row["tflops"] / figures["ceilings"]["matmul_bf16_sustained_tflops"])
            self.assertGreaterEqual(row["device_mib"], row["taken_mib"])
            # Memory of a GPU is taken from arenas and the workspace alone: the plan knows all of it.
            self.assertLess(abs(row["taken_over_planned"] - 1), 0.01)

    def test_floors_and_goals(self):
        """Of every model of the list; at this size all of it is below."""
        figures, printed = figures_of("--skip-kernels", "--skip-torch")
        asked = {row["preset"]: row["targets"] for row in figures["updates"]}
        self.assertEqual({preset: targets["share_of_matmul"] for preset, targets in asked.items()
                          if "share_of_matmul" in targets},
                         {"llama-71m": {"floor": 0.42, "goal": 0.5},
                          "llama-130m": {"floor": 0.5, "goal": 0.58},
                          "llama-350m": {"floor": 0.54, "goal": 0.62},
                          "llama-1.3b": {"floor": 0.65, "goal": 0.73},
                          "llama-7b": {"floor": 0.75, "goal": 0.84}})
        self.assertEqual([preset for preset in asked if "share_of_matmul" not in asked[preset]],
                         ["llama-71m-48", "llama-71m-120"])
        self.assertNotIn("tokens_per_second", asked["llama-130m"]) # asked of an H200
        self.assertEqual(asked["llama-130m"]["torch_compile"], {"floor": 1.15, "goal": 1.35})
        self.assertEqual(asked["llama-1.3b"]["torch_eager"], {"floor": 1.3, "goal": 1.5})
        for row in figures["updates"]:
            for name, verdicts in row["verdicts"].items():
                if name == "taken_over_planned":
                    self.assertEqual(row["targets"][name], {"floor": 1.08, "goal": 1.03})
                    self.assertEqual(verdicts, {which: "met" if row[name] <= most else "above"
                                                for which, most in row["targets"][name].items()})
                    continue
                self.assertEqual(verdicts, {which: "met" if row[name] >= least else "below"
                                            for which, least in row["targets"][name].items()})
            if "share_of_matmul" in row["verdicts"]:
                self.assertIn(f"{100 * row['targets']['share_of_matmul']['floor']:.0f}% "
                              f"{row['verdicts']['share_of_matmul']['floor']}", printed)
            else: # deep models are measured by the one with 12 layers
                self.assertIn("goal", row["verdicts"]["share_of_12_layers"])

    def test_other_precisions_have_their_own_ceilings(self):
        figures, _ = figures_of("--skip-kernels", "--skip-torch", "--preset", "llama-71m",
                                "--precision", "fp32", "tf32")
        for row, ceiling in zip(figures["updates"], ("matmul_f32_tflops", "matmul_tf32_tflops")):
            self.assertAlmostEqual(row["share_of_matmul"],
                                   row["tflops"] / figures["ceilings"][ceiling])
            self.assertNotIn("targets", row) # they are for bf16

    def test_what_does_not_fit_is_said_and_tried_with_less(self):
        options = ("--skip-kernels", "--skip-torch", "--preset", "llama-71m", "--micro-batch", "1")
        mixed, pure = figures_of(*options, "--precision", "bf16", "pure-bf16")[0]["updates"]
        self.assertLess(pure["needs_mib"] + 0.4, mixed["needs_mib"])
        # A tenth of what is free is left for libraries.
        between = int((mixed["needs_mib"] + pure["needs_mib"]) / 2 / 0.9 * 2**20)
        figures, printed = figures_of(*options, SLUICE_EMULATED_GPU_BYTES=str(between))
        refused, recomputed, instead = figures["updates"]
        self.assertEqual((recomputed["precision"], recomputed["recompute"]), ("bf16", "full"))
        self.assertLess(recomputed["needs_mib"], refused["needs_mib"])
        self.assertFalse(refused["fits"])
        self.assertEqual(refused["needs_mib"], mixed["needs_mib"])
        self.assertAlmostEqual(refused["free_mib"], between / 2**20, delta=0.1)
        self.assertIn(f"does not fit: needs {refused['needs_mib']:.0f} MiB, "
                      f"{refused['free_mib']:.0f} MiB are free", printed)
        self.assertEqual((instead["precision"], instead["instead_of"]), ("pure-bf16", "bf16"))
        self.assertGreater(instead["tokens_per_second"], 0)
        # Where that does not fit either, all say so.
        figures, printed = figures_of(*options, SLUICE_EMULATED_GPU_BYTES=str(68 << 20))
        self.assertEqual([row["fits"] for row in figures["updates"]], [False] * 3)
        self.assertEqual(printed.count("does not fit"), 3)

    def test_small_micro_batches_are_not_held_to_floors_but_tried_with_less_memory(self):
        """Targets are for two sequences at this size, and there is room for one."""
        options = ("--skip-kernels", "--skip-torch", "--preset", "llama-7b")
        two, = figures_of(*options)[0]["updates"]
        bytes_for_one = int((two["needs_mib"] - 0.02) / 0.9 * 2**20)
        rows = figures_of(*options, SLUICE_EMULATED_GPU_BYTES=str(bytes_for_one))[0]["updates"]
        self.assertEqual([(row["precision"], row["recompute"], row["micro_batch_size"]) for row in rows],
                         [("bf16", "none", 1), ("bf16", "full", 2), ("pure-bf16", "none", 2)])
        self.assertEqual(["targets" in row for row in rows], [False, True, True])

    def test_a_model_that_fails_does_not_end_the_others(self):
        """As one in a precision that is none."""
        figures, printed = figures_of("--skip-kernels", "--skip-torch", "--preset", "llama-71m",
                                      "--precision", "bf15", "bf16", expect=1)
        failed, measured = figures["updates"]
        self.assertIn("bf15", failed["failed"])
        self.assertIn(failed["failed"].splitlines()[0], printed)
        self.assertGreater(measured["tokens_per_second"], 0)

    def test_pytorch_is_compared_with_by_floors_and_goals(self):
        sys.path.insert(0, str(SCRIPT.parent))
        from gpu import compared
        asked = {"torch_eager": {"floor": 1.8, "goal": 2.5},
                 "torch_compile": {"floor": 1.15, "goal": 1.35}}
        update = {"tokens_per_second": 120.0, "targets": asked}
        row = compared({"mode": "compile", "tokens_per_second": 100.0}, update)
        self.assertAlmostEqual(row["sluice_over_torch"], 1.2)
        self.assertEqual(row["verdicts"], {"floor": "met", "goal": "below"})
        row = compared({"mode": "eager", "tokens_per_second": 100.0}, update)
        self.assertEqual(row["verdicts"], {"floor": "below", "goal": "below"})
        self.assertNotIn("verdicts", compared({"mode": "eager", "tokens_per_second": 100.0},
                                              {**update, "targets": None}))
        self.assertNotIn("sluice_over_torch", compared({"mode": "eager", "failed": "x"}, update))

    def test_rows_of_pytorch_count_as_they_come(self):
        """One that hangs after its first row: that row, and nothing of what libraries print."""
        sys.path.insert(0, str(SCRIPT.parent))
        import gpu
        row = {"mode": "eager", "tokens_per_second": 1.0}
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "gpu_torch.py").write_text(
                f"import time\nprint('a warning')\nprint({json.dumps(json.dumps(row))}, flush=True)\n"
                "print('{cut off', end='', flush=True)\ntime.sleep(60)\n")
            arguments = types.SimpleNamespace(torch_device="cpu", rounds=0, tiny=False)
            with unittest.mock.patch.multiple(gpu, __file__=str(pathlib.Path(folder, "gpu.py")),
                                              SECONDS_OF_A_TORCH_CASE=2):
                rows = list(gpu.run_torch(arguments, {"precision": "bf16", "micro_batch_size": 1}, "tiny"))
        self.assertEqual(rows[0], row)
        self.assertEqual([(row["mode"], row["failed"]) for row in rows[1:]], [("compile", "longer than 2 s")])

    def test_without_a_gpu_it_is_skipped(self):
        result = bench(gpus=0)
        self.assertEqual(result.returncode, 77)
        self.assertEqual(result.stdout.strip(), "skipped: no NVIDIA driver is loaded")


if __name__ == "__main__":
    unittest.main()
