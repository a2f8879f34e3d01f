"""What OpenMP and threads' stacks take from their environment when a program is loaded."""

import subprocess
import time
import unittest
from pathlib import Path

from harness import RunTest, call, environment


class ThreadEnvironment(RunTest):
    updates = 100000

    def spin_count(self, **variables):
        """What libgomp was loaded with in a run that trains, as text; None where nothing says it."""
        env = environment()
        del env["OMP_WAIT_POLICY"]
        run_dir = "-".join(("run", *variables.values()))
        process = subprocess.Popen([str(word) for word in self.command(1, run_dir)], cwd=self.folder,
                                   env={**env, **variables}, stderr=subprocess.DEVNULL)
        try:
            status = self.folder / run_dir / "metrics.jsonl"
            while not status.exists():
                self.assertIsNone(process.poll())
                time.sleep(0.05)
            loaded_with = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
            return next((entry.split(b"=")[1].decode() for entry in loaded_with
                         if entry.startswith(b"GOMP_SPINCOUNT=")), None)
        finally:
            process.kill()
            process.wait()

    def test_spinning_is_bounded_where_nobody_has(self):
        self.assertEqual(self.spin_count(), "1000")
        self.assertEqual(self.spin_count(GOMP_SPINCOUNT="77"), "77")
        self.assertIsNone(self.spin_count(OMP_WAIT_POLICY="active"))

    def train_under(self, limits, run_dir, expect):
        words = " ".join(map(str, self.command(1, run_dir, "--stop-after", 2)))
        result = call("bash", "-c", f"{limits}; exec {words}", cwd=self.folder)
        self.assertEqual(result.returncode, expect, result.stderr)
        return result

    def test_small_stacks_are_raised_or_refused(self):
        """Kernels ran over their threads' stacks, and the run ended by SIGSEGV without a word."""
        self.train_under("ulimit -S -s 512", "raised", 75)
        self.assertEqual(self.status("raised")["update"], 2)
        result = self.train_under("ulimit -s 512", "refused", 2)
        self.assert_one_clear_message(result, "stack", "512 KiB", "ulimit -s")


if __name__ == "__main__":
    unittest.main()
