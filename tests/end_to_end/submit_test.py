"""`sluice submit` without a Slurm: the script it would hand over."""

import pathlib
import subprocess
import unittest

from harness import RunTest, SLUICE, call

CHAIN = pathlib.Path(__file__).resolve().parents[2] / "slurm" / "chain.sh"

SITE = """\
SBATCH_PARTITION=standard
SBATCH_EXCLUSIVE=exclusive
SBATCH_SIGNAL=USR1@600
OMPI_MCA_pml=ucx
SLUICE_MODULES="gcc/12 openmpi/4.1"
"""


class Submit(RunTest):
    def dry_run(self, *options, expect=0):
        result = call(SLUICE, "submit", self.run_file, "--dry-run", *options, cwd=self.folder)
        self.assertEqual(result.returncode, expect, result.stderr)
        return result

    def test_one_script_with_everything(self):
        (self.folder / "site.env").write_text(SITE)
        script = self.dry_run("--nodes", 2, "--ntasks-per-node", 3, "--time", "2:00:00", "--site",
                              "site.env", "--partition", "special", "--sbatch", "exclude=n3",
                              "--set", "run.seed=8").stdout
        for line in ("#SBATCH --nodes=2", "#SBATCH --ntasks-per-node=3", "#SBATCH --time=2:00:00",
                     "#SBATCH --partition=special", "#SBATCH --signal=USR1@600", "#SBATCH --requeue",
                     "#SBATCH --exclusive", "#SBATCH --exclude=n3", "#SBATCH --open-mode=append",
                     "export OMPI_MCA_pml=ucx", "export SLUICE_MODULES='gcc/12 openmpi/4.1'",
                     f"train_and_continue {self.run_file} --set run.seed=8"):
            self.assertIn(line, script.splitlines())
        self.assertFalse([line for line in script.splitlines() if line.startswith("source ")])
        self.assertRegex(script, "# 6 stage.*, on CPUs, up to .* per rank")
        checked = subprocess.run(["bash", "-n"], input=script, text=True, stderr=subprocess.PIPE)
        self.assertEqual(checked.stderr, "")

    def test_the_command_line_has_the_last_word_on_the_run_folder(self):
        (self.folder / "runs.env").write_text("SLUICE_RUN_DIR=/scratch/runs\n")
        for options, folder in (((), "/scratch/runs"), (("--run-dir", "mine"), "mine")):
            script = self.dry_run("--site", "runs.env", *options).stdout
            self.assertIn(f"export SLUICE_RUN_DIR={folder}", script.splitlines())

    def test_a_runs_own_config_is_of_its_folder(self):
        """As `sluice train` has it, and for people who hand it to slurm/train.sbatch."""
        self.train(1, "old")
        (self.folder / "runs.env").write_text("SLUICE_RUN_DIR=/scratch/runs\n")
        script = call(SLUICE, "submit", "old/config.toml", "--site", "runs.env", "--dry-run", cwd=self.folder).stdout
        self.assertIn("export SLUICE_RUN_DIR=old", script.splitlines())
        for run_file, folder in (("old/config.toml", "old"), (str(self.run_file), "runs/run")):
            said = subprocess.run(["bash", "-c", 'source "$0"; run_dir_of "$1"', CHAIN, run_file], cwd=self.folder,
                                  text=True, stdout=subprocess.PIPE)
            self.assertEqual(said.stdout, folder)

    def test_gpus(self):
        """The plan for GPUs is held against their memory, not the nodes'; what cannot be meant is said."""
        result = self.dry_run("--ntasks-per-node", 2, "--gpus-per-node", 2, "--mem", "64M")
        self.assertRegex(result.stdout, "# 2 stage.*, on GPUs, up to .* of a GPU per rank")
        self.assertIn("#SBATCH --gpus-per-node=2\n", result.stdout)
        self.assertNotIn("warning", result.stderr)
        self.assert_one_clear_message(
            self.dry_run("--gpus-per-node", "1", "--gpu-memory", "32MB", expect=2), "rank 0", "32.0 MB")
        fits = ("--ntasks-per-node", 2, "--gpu-memory", "130MB", "--gpus-per-node")
        self.dry_run(*fits, 2)
        result = self.dry_run(*fits, 1, expect=2)
        self.assert_one_clear_message(result, "and may have 65")
        self.assertIn("warning: 2 ranks share 1 GPU on each node", result.stderr)
        self.assert_one_clear_message(self.dry_run("--gpu-memory", "80GB", expect=2), "--gpu-memory",
                                      "the run is on CPUs")
        result = self.dry_run("--set", "run.device=cuda")
        self.assertIn("warning: run.device = \"cuda\", but the job asks for no GPUs", result.stderr)
        result = self.dry_run("--set", "run.device=cpu", "--sbatch", "gres=gpu:2")
        self.assertIn("leaves idle", result.stderr)
        self.assertIn("on CPUs", result.stdout)

    def test_a_whole_node_and_options_that_change_the_plan(self):
        self.assertIn("#SBATCH --mem=0\n", self.dry_run("--mem", "0").stdout)
        for option in ("nodes=2", "--ntasks=4", "ntasks-per-node=2"):
            self.assert_one_clear_message(self.dry_run("--sbatch", option, expect=2), "other ranks than the plan",
                                          "--ntasks-per-node M")
        self.assert_one_clear_message(self.dry_run("--sbatch", "-x n3", expect=2), "long name")
        self.assert_one_clear_message(self.dry_run("--name", "a/b", expect=2), "--name", "slash")

    def test_slices(self):
        script = self.dry_run("--slices", 20).stdout
        self.assertIn("#SBATCH --array=1-20%1\n", script)
        self.assertIn("#SBATCH --output=%x-%A.out\n", script)

    def test_what_does_not_fit_is_not_submitted(self):
        self.assert_one_clear_message(self.dry_run("--nodes", 7, expect=2), "more stages than layers")
        # 2^32 ranks, which 32 bits would take for none.
        self.assert_one_clear_message(
            self.dry_run("--nodes", 65536, "--ntasks-per-node", 65536, expect=2),
            "layout of 4294967296 ranks", "at most 1000000")
        self.assert_one_clear_message(self.dry_run("--mem", "32M", expect=2), "rank 0", "MB")

    def test_without_slurm(self):
        result = call("env", "PATH=/bin-that-is-not-there", SLUICE, "submit", self.run_file,
                      cwd=self.folder)
        self.assertEqual(result.returncode, 2)
        self.assertIn("there is no sbatch", result.stderr)
        self.assertNotIn("not found", result.stderr) # as the shell would say


if __name__ == "__main__":
    unittest.main()
