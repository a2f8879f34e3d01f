"""slurm/chain.sh without a Slurm: what it makes of an srun that ends ranks at once and keeps no exit code."""

import fcntl
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time
import unittest
import unittest.mock

from harness import RunTest, SLUICE, environment

CHAIN = pathlib.Path(__file__).resolve().parents[2] / "slurm" / "chain.sh"
# The first rank alone; that others were ended with it is what comes back. $INSTEAD is done in its place.
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
if [[ -n $INSTEAD ]]; then eval "$INSTEAD"; else "$@"; fi
exit 143
"""
KILLED = "kill -KILL $PPID"


def saves(run_dir, update):
    """What leaves this checkpoint as the newest."""
    return f"rm -rf {run_dir}/checkpoints; mkdir -p {run_dir}/checkpoints/update-{update:08};"


def fails(run_dir, update):
    """What leaves a status.json as an error of files does."""
    status = {"state": "failed", "update": update, "reason": "no space", "exit_code": 3,
              "time": str(time.monotonic_ns())}
    return f"echo '{json.dumps(status, indent=1)}' >{run_dir}/status.json"


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

    def chain(self, run_file, run_dir, *options, instead=""):
        return subprocess.run(["bash", "-c", 'source "$0"; train_and_continue "$@"', CHAIN, run_file, *options],
                              env={**self.variables, "SLUICE_RUN_DIR": str(self.folder / run_dir), "INSTEAD": instead},
                              cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)

    def start(self, run_dir, instead):
        """A start that does something else than to train, and must be let do it."""
        result = self.chain(self.run_file, run_dir, instead=f"echo started; {instead}")
        self.assertIn("started", result.stdout)
        return result

    def test_an_end_that_slurm_does_not_tell_is_none(self):
        (self.folder / "silent").mkdir()
        silent = self.folder / "silent" / "squeue"
        silent.write_text("#!/bin/sh\n")
        silent.chmod(0o755)
        variables = {**self.variables, "PATH": f"{silent.parent}:{self.variables['PATH']}"}
        del variables["SLURM_JOB_END_TIME"]
        with unittest.mock.patch.object(type(self), "variables", variables):
            result = self.start("no-end", 'echo "end=${SLURM_JOB_END_TIME:-}."')
        self.assertIn("end=.", result.stdout)

    def check_requeued(self, result):
        self.assertIn("scontrol requeue 7", result.stdout)
        self.assertNotIn("gave up", result.stdout)

    def check_given_up(self, result, run_dir, *parts):
        self.assertNotIn("scontrol requeue", result.stdout)
        reason = (self.folder / run_dir / "slurm-stopped.txt").read_text()
        for part in parts:
            self.assertIn(part, result.stdout)
            self.assertIn(part, reason)

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
        # Refused by what is saved, the folder locked: what is finished stays it.
        result = self.chain(self.run_file, "good", "--set", "model.num_layers=7")
        self.assertEqual(result.returncode, 2, result.stdout)
        self.assertIn("not requeued", result.stdout)
        self.assertEqual((self.status("good")["state"], self.status("good")["update"]), ("finished", 4))

    def test_a_folder_that_another_start_still_has_is_tried_again(self):
        (self.folder / "held").mkdir()
        with open(self.folder / "held" / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            result = self.chain(self.run_file, "held")
        self.assertIn("another start has not left the run folder yet", result.stdout)
        self.check_requeued(result)
        self.assertNotIn("StartTime", result.stdout)  # not in 10 s already

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
        self.assertIn("scontrol update JobId=7 StartTime=now+10", result.stdout)
        self.check_requeued(result)

    def test_starts_that_are_killed_with_the_script_are_counted(self):
        """No grace, a node's death: Slurm requeues, and the script decides nothing."""
        for what in (KILLED, KILLED, saves("killed", 1) + KILLED, KILLED, KILLED, KILLED):
            self.assertEqual(self.start("killed", what).returncode, -signal.SIGKILL)
        result = self.chain(self.run_file, "killed", instead="echo started")
        self.assertEqual(result.returncode, 71, result.stdout)
        self.assertNotIn("started", result.stdout)
        self.check_given_up(result, "killed", "gave up after 3 starts in a row without a newer checkpoint",
                            "without getting on")
        # Somebody has mended it, and requeues the same job.
        shutil.rmtree(self.folder / "killed" / "checkpoints")
        self.assertEqual(self.chain(self.run_file, "killed").returncode, 0)
        self.assertFalse((self.folder / "killed" / "slurm-stopped.txt").exists())

    def test_killed_and_failed_starts_count_together(self):
        self.start("both", KILLED)
        self.check_requeued(self.start("both", "true"))
        self.check_given_up(self.start("both", "true"), "both", "gave up after 3 starts", "ended without a word")

    def test_a_run_that_makes_up_for_a_rewind_goes_on(self):
        for update in (1000, 500, 600, 700, 800, 900, 1000, 1100, 600, 1200, 700, 1300, 800, 1400):
            self.check_requeued(self.start("rewound", saves("rewound", update)))

    def test_a_run_that_rewinds_for_ever_ends(self):
        for update in (1000, 500, 600, 1000, 500, 1000):
            self.check_requeued(self.start("again", saves("again", update)))
        self.check_given_up(self.start("again", saves("again", 500)), "again",
                            "gave up after 3 starts that ended further back than they began")
        # Within one start, too.
        for update in (1000, 500, 500):
            self.check_requeued(self.start("there", saves("there", update)))
        self.check_given_up(self.start("there", saves("there", 500)), "there", "gave up after 3 starts in a row")

    def test_a_count_that_cannot_be_written(self):
        for name in ("slurm-chain", "slurm-chain.new"):
            (self.folder / "uncounted" / name).mkdir(parents=True)
        result = self.start("uncounted", saves("uncounted", 1))
        self.assertIn("warning: cannot write", result.stdout)
        self.check_requeued(result)

    def test_disks_that_fail_under_way_are_tried_again(self):
        """Not what would be met again: before the first update, or where the last start ended."""
        self.check_refused(self.start("files", fails("files", 0)), 3, "no space")
        result = self.start("files", fails("files", 5))
        self.check_requeued(result)
        self.assertNotIn("StartTime", result.stdout)
        self.check_refused(self.start("files", fails("files", 5)), 3, "no space")
        for update in (6, 7):
            self.check_requeued(self.start("files", fails("files", update)))
        self.check_given_up(self.start("files", fails("files", 8)), "files", "gave up after 3 starts", "no space")

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("mount"), "needs root to mount a tmpfs")
    def test_a_disk_that_fills_up(self):
        small = self.folder / "small"
        small.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1200k", "tmpfs", small]).returncode != 0:
            self.skipTest("cannot mount a tmpfs here")
        self.addCleanup(subprocess.run, ["umount", "-l", small])
        options = ("--set", "checkpoint.every_updates=1", "--set", "checkpoint.asynchronous=false")
        self.check_requeued(self.chain(self.run_file, "small/run", *options))
        self.assertGreater(self.status("small/run")["update"], 0)
        result = self.chain(self.run_file, "small/run", *options)
        self.assertIn("another start would meet the same", result.stdout)
        # Somebody makes room.
        self.assertEqual(subprocess.run(["mount", "-o", "remount,size=20m", small]).returncode, 0)
        self.assertEqual(self.chain(self.run_file, "small/run", *options).returncode, 0)


if __name__ == "__main__":
    unittest.main()
