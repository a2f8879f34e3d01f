"""`./dev bench gpu` on an emulated GPU: that all of it runs and what it says of memory; nothing about speed."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "benchmarks/gpu.py"


def bench(*options, gpus=1):
    environment = {**os.environ, "SLUICE_EMULATED_GPUS": str(gpus), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-B", SCRIPT, "--program", os.environ["GPU_BENCHMARK"],
                           "--tiny", *options], env=environment, text=True, capture_output=True,
                          timeout=300, check=False)


class Benchmark(unittest.TestCase):
    def test_everything_runs(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "gpu.json"
            result = bench("--preset", "llama-71m", "--torch-device", "cpu", "--json", str(file))
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
            figures = json.loads(file.read_text())
        self.assertTrue(figures["tiny"])
        for rate in figures["ceilings"].values():
            self.assertGreater(rate, 0)
        names = {kind: [row["name"] for row in figures["kernels"] if row["type"] == kind]
                 for kind in ("bf16", "f32")}
        by_cudnn = ["attention forward (cuDNN)", "attention backward (cuDNN)"] # in bf16 alone
        self.assertEqual([name for name in names["bf16"] if name not in by_cudnn], names["f32"])
        self.assertEqual([name for name in names["bf16"] if name in by_cudnn], by_cudnn)
        self.assertGreater(len(names["f32"]), 25)
        for row in figures["kernels"]:
            self.assertGreater(row["rate"], 0, row["name"])
            self.assertIn(row["name"], result.stdout)
        for row in figures["updates"]:
            self.assertTrue(row["fits"])
            self.assertGreater(row["tokens_per_second"], 0)
            self.assertTrue(row["graphs"])
            self.assertGreater(row["seconds_with_graphs"], 0)
            self.assertGreater(row["seconds_without_graphs"], 0)
            self.assertGreater(row["graph_launches"], 50)
            self.assertGreater(row["graph_mib"], 0)
            # Memory of a GPU is taken from arenas and the workspace alone: the plan knows all of it.
            self.assertLess(abs(row["taken_over_planned"] - 1), 0.01)

    def test_without_a_gpu_it_is_skipped(self):
        result = bench(gpus=0)
        self.assertEqual(result.returncode, 77)
        self.assertEqual(result.stdout.strip(), "skipped: no GPU is visible")


if __name__ == "__main__":
    unittest.main()
