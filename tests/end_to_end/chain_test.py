"""slurm/chain.sh without a Slurm: what it makes of an srun that ends ranks at once and keeps no exit code."""

import fcntl
import os
import pathlib
import subprocess
import unittest
import unittest.mock

from harness import RunTest, SLUICE, environment

CHAIN = pathlib.Path(__file__).resolve().parents[2] / "slurm" / "chain.sh"
# The first rank alone; that others were ended with it is what comes back.
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
"$@"
exit 143
"""


class Chain(RunTest):
    updates = 4

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        programs = cls.folder / "programs"
        programs.mkdir()
        for name, text in (("srun", SRUN), ("squeue", "#!/bin/sh\necho RUNNING\n"),
                           ("scontrol", '#!/bin/sh\necho scontrol "$@"\n')):
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        cls.variables = {**environment(), "SLUICE": SLUICE, "SLURM_JOB_ID": "7", "SLURM_JOB_END_TIME": "9999999999",
                         "PATH": f"{programs}:{os.environ['PATH']}"}

    def chain(self, run_file, run_dir, *options):
        return subprocess.run(["bash", "-c", 'source "$0"; train_and_continue "$@"', CHAIN, run_file, *options],
                              env={**self.variables, "SLUICE_RUN_DIR": str(self.folder / run_dir)}, cwd=self.folder,
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)

    def check_refused(self, result, code, why="it did not begin to train"):
        self.assertEqual(result.returncode, code, result.stdout)
        self.assertIn(f"exit code {code}: {why}", result.stdout)
        self.assertIn("not requeued", result.stdout)
        self.assertNotIn("scontrol requeue", result.stdout)

    def test_what_never_trains_is_not_requeued(self):
        wrong = self.folder / "wrong.toml"
        wrong.write_text(self.run_file.read_text().replace("[run]", "[run]\nupdate = 3"))
        self.check_refused(self.chain(wrong, "wrong"), 2)
        self.check_refused(self.chain(self.run_file, "flag", "--no-such-flag"), 2)
        # Found out when the folder is its own, and told in status.json.
        self.check_refused(self.chain(self.run_file, "no-data", "--set", 'data.train="none.h5"'), 3,
                           f"{self.folder}/none.h5: No such file")

    def test_finished_and_refused_after(self):
        result = self.chain(self.run_file, "good")
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertIn("finished", result.stdout)
        self.check_refused(self.chain(self.run_file, "good", "--set", "run.update=5"), 2)
        self.assertEqual(self.status("good")["state"], "finished")
        # Refused by what is saved, the folder locked: it would still go on from where it was.
        result = self.chain(self.run_file, "good", "--set", "model.num_layers=7")
        self.assertEqual(result.returncode, 2, result.stdout)
        self.assertIn("not requeued", result.stdout)
        self.assertEqual((self.status("good")["state"], self.status("good")["update"]), ("failed", 4))

    def test_a_folder_that_another_start_still_has_is_tried_again(self):
        (self.folder / "held").mkdir()
        with open(self.folder / "held" / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            result = self.chain(self.run_file, "held")
        self.assertIn("another start has not left the run folder yet", result.stdout)
        self.assertIn("back into the queue", result.stdout)

    def test_a_run_folder_that_cannot_be(self):
        (self.folder / "a-file").write_text("")
        result = self.chain(self.run_file, "a-file")
        self.assertEqual(result.returncode, 3, result.stdout)
        self.assertNotIn("scontrol requeue", result.stdout)

    def test_a_death_is_requeued(self):
        with unittest.mock.patch.dict(self.variables, SLUICE="false"):
            result = self.chain(self.run_file, "dies")
        self.assertIn("ended without a word (srun: exit code 143)", result.stdout)
        self.assertIn("back into the queue", result.stdout)
        self.assertIn("scontrol requeue 7", result.stdout)


if __name__ == "__main__":
    unittest.main()
