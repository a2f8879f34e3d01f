"""Signals, killed ranks, full disks: nothing is lost and the exit code says what happened."""

import contextlib
import os
import pathlib
import signal
import subprocess
import time
import unittest

from harness import RunTest, call, environment


class Processes(RunTest):
    """Runs in the background, found by their command lines."""

    def start(self, ranks, run_dir, *options, overrides=()):
        return subprocess.Popen(self.command(ranks, run_dir, *options, overrides=overrides),
                                cwd=self.folder, env=environment(), text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                start_new_session=True)

    def wait_for_update(self, run_dir, update, seconds=60):
        metrics = self.folder / run_dir / "metrics.jsonl"
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if metrics.exists() and f'"update":{update},' in metrics.read_text().replace(" ", ""):
                return
            time.sleep(0.02)
        self.fail(f"update {update} was not reached")

    @staticmethod
    def ranks_of(run_dir):
        """Process ids of the ranks that train into this folder, by rank: not of the children in which
        ranks read foreign files first."""
        found = {}
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if not entry.name.isdigit():
                    continue
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if not words[0].endswith(b"sluice") or str(run_dir).encode() not in b" ".join(words):
                    continue
                variables = (entry / "environ").read_bytes().split(b"\0")
                if b"--ranks" in words:  # the launcher
                    continue
                rank = [v for v in variables if v.startswith((b"OMPI_COMM_WORLD_RANK=", b"SLURM_PROCID="))]
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                found[int(entry.name)] = (int(rank[0].split(b"=")[1]) if rank else 0, parent)
            except OSError:
                continue
        return {rank: pid for pid, (rank, parent) in found.items() if parent not in found}


class Stopping(Processes):
    updates = 400
    own_launcher = True

    def check_stop(self, name, ranks, send):
        process = self.start(ranks, name)
        self.wait_for_update(name, 3)
        send(process)
        _, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 75, errors)
        status = self.status(name)
        self.assertEqual(status["state"], "stopped")
        self.assertEqual(self.last_checkpoint(name).name, f"update-{status['update']:08}")
        verify = call(self.command(1, name)[0], "inspect", self.last_checkpoint(name), "--verify")
        self.assertEqual(verify.returncode, 0, verify.stdout)

    def test_ctrl_c_alone(self):
        self.check_stop("interrupt", 1, lambda process: process.send_signal(signal.SIGINT))

    def test_ctrl_c_on_two_ranks(self):
        self.check_stop("interrupt-2", 2,
                        lambda process: os.killpg(process.pid, signal.SIGINT))

    def test_term(self):
        self.check_stop("term", 1, lambda process: process.send_signal(signal.SIGTERM))

    def test_a_soft_limit_of_processor_time(self):
        self.check_stop("xcpu", 1, lambda process: process.send_signal(signal.SIGXCPU))

    def test_usr1_to_mpirun(self):
        self.own_launcher = False
        self.check_stop("usr1-mpirun", 2, lambda process: process.send_signal(signal.SIGUSR1))

    def test_usr1_to_one_rank_is_enough(self):
        self.check_stop("usr1", 2, lambda process: os.kill(
            self.ranks_of(self.folder / "usr1")[1], signal.SIGUSR1))

    def test_a_killed_rank_ends_the_job_and_is_named(self):
        process = self.start(3, "killed", overrides=("checkpoint.every_updates=2",))
        self.wait_for_update("killed", 5)
        os.kill(self.ranks_of(self.folder / "killed")[1], signal.SIGKILL)
        start = time.monotonic()
        output, errors = process.communicate(timeout=60)
        self.assertLess(time.monotonic() - start, 15.0)
        self.assertEqual(process.returncode, 71)
        self.assertRegex(output + errors, "rank 1")
        verify = call(self.command(1, "killed")[0], "inspect", self.last_checkpoint("killed"),
                      "--verify")
        self.assertEqual(verify.returncode, 0, verify.stdout)

    def test_a_killed_rank_of_a_replica_ends_the_job_with_one_message(self):
        process = self.start(4, "replica", overrides=("batch.global_batch_size=8",
                                                      "pipeline.replicas=2"))
        self.wait_for_update("replica", 5)
        os.kill(self.ranks_of(self.folder / "replica")[3], signal.SIGKILL)
        output, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 71)
        ours = [line for line in errors.splitlines() if line.startswith("sluice: ")]
        self.assertEqual(len(ours), 1, errors)
        self.assertIn("replica 1, rank 3", ours[0])

    def test_two_runs_never_share_a_folder(self):
        # Longer than the second run waits for the folder.
        process = self.start(1, "shared", overrides=("run.updates=1000000",))
        self.wait_for_update("shared", 2)
        try:
            result = self.train(1, "shared", expect=2)
            self.assert_one_clear_message(result, "another run", "--run-dir")
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)


class KilledAndContinued(Processes):
    """Killed again and again, wherever it happens to be, a run ends as if nothing had happened."""

    updates = 80

    def test_kills(self):
        self.train(1, "whole")
        for update in (2, 12, 21, 33):
            process = self.start(2, "kills", overrides=("checkpoint.every_updates=3",))
            self.wait_for_update("kills", update)
            ranks = self.ranks_of(self.folder / "kills")
            self.assertEqual(len(ranks), 2)
            os.kill(ranks[1], signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):  # ended with the other one already
                os.kill(ranks[0], signal.SIGKILL)
            process.communicate(timeout=60)
            self.assertNotEqual(process.returncode, 0)
        self.train(3, "kills")
        self.assert_same_curve("kills", "whole")
        self.assert_same_state("kills", "whole")


if __name__ == "__main__":
    unittest.main()
