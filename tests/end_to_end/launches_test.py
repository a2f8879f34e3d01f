"""How the program is launched, and what this machine must have for it."""

import os
import shlex
import shutil
import unittest
import unittest.mock

from harness import MPIRUN, SLOWER, SLUICE, RunTest, call

SLOW_DISK = os.environ.get("SLOW_DISK", "")


class Launchers(unittest.TestCase):
    def test_a_program_that_is_not_launched_is_one_rank(self):
        result = call(SLUICE, "doctor")
        self.assertEqual(result.returncode, 0)
        result = call(MPIRUN, "--quiet", "-n", "2", SLUICE, "doctor")
        self.assertIn("rank 1 of 2", result.stdout)


class Loops(RunTest):
    own_launcher = True

    def test_a_loop_over_lines_sees_them_all(self):
        """What a launcher reads for ranks, who read nothing, is taken from a script."""
        train = shlex.join(map(str, self.command(2, "RUN", "--stop-after", "1"))).replace("/RUN", "/\"$name\"")
        script = f"printf 'a\\nb\\nc\\n' | while read -r name; do {train}; done; ls"
        result = call("bash", "-c", script, cwd=self.folder, timeout=120)
        for name in "abc":
            self.assertTrue((self.folder / name / "metrics.jsonl").exists(), result.stderr)

    @unittest.skipUnless(shutil.which("mpirun", path="/usr/local/bin:/usr/bin:/bin"), "mpirun is elsewhere")
    def test_a_starter_without_a_path(self):
        train = shlex.join(map(str, self.command(2, "pathless", "--stop-after", "3")))
        result = call("/bin/sh", "-c", f"unset PATH; exec {train}", cwd=self.folder, timeout=120)
        self.assertEqual(result.returncode, 75, result.stderr)

    def test_a_daemon_that_closed_its_descriptors(self):
        train = shlex.join(map(str, self.command(2, "closed", "--stop-after", "3")))
        result = call("bash", "-c", f"{train} <&- >&- 2>&-; echo $?", cwd=self.folder, timeout=120)
        self.assertEqual(result.stdout, "75\n")
        self.assertEqual(self.status("closed")["update"], 3)


class Limits(RunTest):
    """mpirun hangs, or fails in words about its own source, where this machine has no room for it."""
    own_launcher = True

    def refused(self, *parts, limit="true", **changes):
        command = shlex.join(map(str, self.command(2, "run")))
        with unittest.mock.patch.dict(os.environ, changes):
            result = call("bash", "-c", f"{limit} && exec {command}", cwd=self.folder, timeout=60)
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assert_one_clear_message(result, *parts)
        self.assertFalse((self.folder / "run").exists())

    def test_limits_of_the_shell(self):
        self.refused("24 open files", "`ulimit -n 56`", limit="ulimit -n 24")
        self.refused("a file may have 1.02 kB here", limit="ulimit -f 1")
        soft = shlex.join(map(str, self.command(2, "soft"))) # is raised
        result = call("bash", "-c", f"ulimit -Sn 24 && exec {soft}", cwd=self.folder, timeout=60)
        self.assertEqual(result.returncode, 0, result.stderr)

    @unittest.skipIf(SLOWER > 1, "sanitizers take all addresses there are")
    def test_a_limit_on_addresses_is_one_on_memory(self):
        """HDF5 crashes where it finds none."""
        command = shlex.join(map(str, self.command(1, "narrow")))
        result = call("bash", "-c", f"ulimit -v 250000 && exec {command}", cwd=self.folder, timeout=60)
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assert_one_clear_message(result, "the run does not fit", "and may have")

    def test_no_folder_for_temporary_files(self):
        file = self.folder / "file"
        file.touch()
        self.refused(str(file), "Not a directory", "TMPDIR", TMPDIR=str(file))

    @unittest.skipUnless(SLOW_DISK, "SLOW_DISK names no library to preload")
    def test_no_room_for_temporary_files(self):
        self.refused("mpirun needs 10.0 MB there", LD_PRELOAD=SLOW_DISK, SLOW_DISK_FREE="65536")

    def test_an_mpirun_that_starts_nothing(self):
        """What Open MPI says is above it; the run folder of before stays as it was."""
        self.train(1, "before")
        status = (self.folder / "before/status.json").read_text()
        fake = self.folder / "fake"
        fake.mkdir()
        (fake / "mpirun").write_text("#!/bin/sh\necho 'no room at all' >&2\nexit 1\n")
        (fake / "mpirun").chmod(0o755)
        with unittest.mock.patch.dict(os.environ, {"PATH": f"{fake}:{os.environ['PATH']}"}):
            result = self.train(2, "before", expect=71)
        self.assertIn("no room at all", result.stderr)
        self.assert_one_clear_message(result, "before the run had begun; nothing has changed")
        self.assertEqual((self.folder / "before/status.json").read_text(), status)


if __name__ == "__main__":
    unittest.main()
