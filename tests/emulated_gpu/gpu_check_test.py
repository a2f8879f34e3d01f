"""The bundle's ./gpu-check, whole, on four emulated GPUs, and what it says when runs go wrong."""

import json
import os
import pathlib
import shlex
import shutil
import stat
import subprocess
import tempfile
import unittest

from on_emulated_gpus import NCCL

SOURCE = pathlib.Path(__file__).resolve().parents[2]
# As in a bundle, where it lies at the top.
SCRIPTS = SOURCE / "bundle" if (SOURCE / "bundle").is_dir() else SOURCE
SLUICE = os.environ["SLUICE"]

ON_ONE_GPU = ("one-gpu", "no-graphs", "two-ranks", "bf16", "bf16-shared", "cudnn", "cudnn-no-graphs",
              "cudnn-two-ranks", "own-bf16", "cpu")
BY_HOST_MEMORY = ("staged", "replicas-staged")
BY_NCCL = ("nccl", "nccl-no-graphs", "nccl-zb-v", "nccl-v-half", "nccl-interleaved", "one-microbatch",
           "nccl-one-microbatch", "replicas-nccl", "nccl-interleaved-all", "nccl-zb-h1-all", "replicas-nccl-2x2",
           "timed-1f1b", "timed-zb-h1", "timed-replicas", "nccl-killed")


def read(path):
    try:
        return path.read_text(errors="replace")
    except OSError: # has ended
        return ""


class GpuCheck(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        # As a bundle: programs beside the scripts, one test that needs a GPU.
        self.bundle = pathlib.Path(temporary.name) / "bundle"
        (self.bundle / "build/benchmarks").mkdir(parents=True)
        for name in ("docs", "benchmarks"):
            (self.bundle / name).symlink_to(SOURCE / name)
        for name in ("gpu-check", "run-tests"):
            shutil.copy(SCRIPTS / name, self.bundle)
        (self.bundle / "build/benchmarks/sluice_gpu_benchmark").symlink_to(os.environ["GPU_BENCHMARK"])
        (self.bundle / "tests.list").write_text("a_test\tgpu\t9\t-\t-\t.\tenv true\n")
        self.folder = pathlib.Path(temporary.name) / "results"

    def check(self, *options, gpus, program=SLUICE, after=(), **variables):
        environment = {**os.environ, "SLUICE_EMULATED_GPUS": str(gpus), "OMP_NUM_THREADS": "1",
                       "OMPI_MCA_mpi_yield_when_idle": "1", "SLUICE_PROGRAM": str(program),
                       "TMPDIR": str(self.bundle), **variables}
        return subprocess.run([self.bundle / "gpu-check", "--tiny", *options, self.folder, *after], env=environment,
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=500,
                              check=False)

    def test_all_of_it(self):
        result = self.check(gpus=4, after=("--preset", "llama-71m"))
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertEqual((self.folder / "failures.txt").read_text(), "")
        names = [line.split(":")[0] for line in (self.folder / "training.txt").read_text().splitlines()]
        self.assertEqual(names, [*ON_ONE_GPU, *BY_HOST_MEMORY, *(BY_NCCL if NCCL else ())])
        if NCCL:
            self.assertIn("nccl-killed: exit code 71 ", result.stdout)
            self.assertIn("go by NCCL", (self.folder / "nccl-zb-v.log").read_text())
            timed = (self.folder / "pipeline.txt").read_text()
            self.assertEqual(timed.count("% of the throughput that this schedule"), 3, timed)
        self.assertIn("host memory and MPI", (self.folder / "staged.log").read_text())
        self.assertIn("1 passed", (self.folder / "tests.txt").read_text())
        self.assertGreater(json.loads((self.folder / "gpu.json").read_text())["updates"][0]["seconds"], 0)

    def test_runs_that_go_wrong_are_named_and_the_others_go_on(self):
        """One that hangs, one that fails, one with other bits: by a program that looks at the run's name."""
        program = self.bundle / "disturbed"
        program.write_text(f"""#!/bin/bash
case "$*" in
*/no-graphs\\ *) setsid tail -F {self.folder}/no-graphs & exec tail -F {self.folder}/no-graphs ;;
*/two-ranks\\ *) exit 70 ;;
*/bf16-shared\\ *) exec {shlex.quote(SLUICE)} "$@" --set run.seed=2 ;;
esac
exec {shlex.quote(SLUICE)} "$@"
""")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        result = self.check("--no-benchmark", gpus=2, program=program, GPU_CHECK_SECONDS="20",
                            SLUICE_EMULATED_NCCL="none")
        self.assertEqual(result.returncode, 1, result.stdout)
        failures = (self.folder / "failures.txt").read_text()
        for part in ("training no-graphs did not end within 20 s", "training two-ranks: exit code 70",
                     "two-ranks does not end with the bits of one-gpu",
                     "bf16-shared does not end with the bits of bf16"):
            self.assertIn(part, failures)
            self.assertIn(part, result.stdout)
        # And no-graphs, which has no bits at all.
        self.assertEqual(len(failures.splitlines()), 5, failures)
        left = [path for path in pathlib.Path("/proc").glob("[0-9]*/cmdline")
                if f"{self.folder}/no-graphs" in read(path).split("\0")]
        self.assertEqual(left, []) # what was left of it was ended as well, and looked at before
        self.assertIn(", tail, ", (self.folder / "no-graphs.hang.txt").read_text())
        self.assertEqual(len(list(self.folder.glob("*.hang.txt"))), 1)
        self.assertIn("NCCL is not there", result.stdout)
        for name in ("own-bf16", *BY_HOST_MEMORY):
            self.assertIn(f"{name}: last loss", result.stdout)

    def test_a_part_alone_with_options_for_the_benchmark(self):
        result = self.check("--only", "benchmark", gpus=1, after=("--skip-kernels", "--precision", "fp32"))
        self.assertEqual(result.returncode, 0, result.stdout)
        figures = json.loads((self.folder / "gpu.json").read_text())
        self.assertNotIn("kernels", figures)
        self.assertEqual([row["precision"] for row in figures["updates"]], ["fp32"])
        self.assertFalse((self.folder / "training.txt").exists())
        self.assertFalse((self.folder / "tests.txt").exists())
        self.assertEqual(self.check("--only", "nothing", gpus=1).returncode, 2)

    def test_without_a_gpu_it_is_skipped(self):
        self.assertEqual(self.check(gpus=0).returncode, 77)


if __name__ == "__main__":
    unittest.main()
