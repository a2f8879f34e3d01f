"""What a run has done stays done: damaged checkpoints, evaluations, ancestors that go, parents that ignore."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import time
import unittest
import unittest.mock

from harness import SLUICE, RunTest, call, environment
from stopping_test import Processes

SLOW_DISK = os.environ.get("SLOW_DISK", "")


def flip_a_bit(checkpoint):
    """In the middle of a tensor: sizes stay as they are."""
    file = next(checkpoint.glob("stage-*.h5"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


class DamagedCheckpoints(RunTest):
    updates = 12

    def names(self, run_dir):
        return sorted(path.name[-2:] for path in (self.folder / run_dir / "checkpoints").glob("update-*"))

    def test_a_damaged_newer_one_takes_nobodys_place(self):
        """Retention sees sizes, and takes it for whole: what counts is what was just saved."""
        overrides = ("checkpoint.every_updates=4", "checkpoint.keep_last=1")
        self.train(1, "flipped", "--stop-after", "4", expect=75, overrides=overrides)
        shutil.copytree(self.last_checkpoint("flipped"), self.folder / "four")
        self.train(1, "flipped", "--stop-after", "4", expect=75, overrides=overrides)
        flip_a_bit(self.last_checkpoint("flipped"))
        shutil.copytree(self.folder / "four", self.folder / "flipped/checkpoints/update-00000004")
        result = self.train(1, "flipped", "--stop-after", "2", expect=75, overrides=overrides)
        self.assertIn("skipping damaged checkpoint", result.stderr)
        self.assertEqual(self.names("flipped"), ["06", "08"])
        result = self.train(1, "flipped", overrides=overrides)
        self.assertIn("update-00000006 at update 6", result.stderr)
        self.assertEqual(self.names("flipped"), ["12"])

    def test_one_without_its_manifest_is_not_passed_over_in_silence(self):
        overrides = ("checkpoint.every_updates=4", "checkpoint.keep_last=2")
        self.train(1, "manifest", "--stop-after", "8", expect=75, overrides=overrides)
        (self.last_checkpoint("manifest") / "manifest.json").unlink()
        result = self.train(1, "manifest", overrides=overrides)
        self.assertRegex(result.stderr, r"skipping damaged checkpoint \S*update-00000008:\s+manifest.json is missing")
        self.assertIn("update-00000004 at update 4", result.stderr)
        self.assertEqual(self.names("manifest"), ["08", "12"])

    def test_prune_reads_what_it_counts_on(self):
        self.train(1, "pruned", overrides=("checkpoint.every_updates=4", "checkpoint.keep_last=0"))
        flip_a_bit(self.last_checkpoint("pruned"))
        result = call(SLUICE, "checkpoint", "prune", self.folder / "pruned", "--keep-last", 1)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("damaged, and counted for nothing", result.stderr)
        self.assertEqual(self.names("pruned"), ["08", "12"])


class Rewinds(RunTest):
    updates = 24

    def test_saves_denser_than_a_rewind(self):
        rewind = ("anomaly.on_nonfinite=rewind", "anomaly.rewind_updates=10", "anomaly.max_rewinds=3",
                  "checkpoint.every_updates=2", "checkpoint.keep_last=2")
        self.train(1, "dense", "--inject", "nan-gradient@21-22:3", overrides=rewind)
        went, = self.metrics("dense", "rewind") # the second: it took back the line of the first
        self.assertEqual(went["num_rewinds"], 2)
        self.assertLessEqual(went["to"], went["from"] - 10)
        self.assertGreater(went["to"], went["from"] - 20)
        self.assertEqual(self.status("dense")["state"], "finished")

    def test_a_run_that_begins_with_anothers_checkpoint(self):
        """Its beginning is in the other one's folder, which may go."""
        rewind = ("anomaly.on_nonfinite=rewind", "anomaly.rewind_updates=10", "checkpoint.every_updates=0")
        self.train(1, "first", "--stop-after", "12", expect=75, overrides=rewind)
        ancestor = self.last_checkpoint("first")
        self.train(1, "second", "--resume", str(ancestor), "--inject", "nan-gradient@22:3", overrides=rewind)
        self.assertEqual([row["to"] for row in self.metrics("second", "rewind")], [12])


class Evaluations(RunTest):
    """They come after the saves, and give way to requests to stop."""
    updates = 8
    slow = ("model.hidden_size=256", "model.intermediate_size=688", "model.num_layers=6",
            "eval.tokens=3000", "checkpoint.every_updates=4", "checkpoint.asynchronous=false",
            "run.threads_per_rank=1")

    def events(self, run_dir):
        lines = (self.folder / run_dir / "metrics.jsonl").read_text().splitlines()
        return [(row["event"], row["update"]) for row in map(json.loads, lines)
                if row["event"] in ("checkpoint", "eval")]

    def test_stopped_within_an_evaluation(self):
        self.train(1, "whole", overrides=self.slow)
        self.assertEqual(self.events("whole"), [("checkpoint", 4), ("eval", 4), ("checkpoint", 8), ("eval", 8)])
        for ranks in (1, 2):
            name = f"stopped-{ranks}"
            process = subprocess.Popen(
                self.command(ranks, name, overrides=self.slow), cwd=self.folder, env=environment(),
                text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            metrics = self.folder / name / "metrics.jsonl"
            deadline = time.monotonic() + 60
            while not (metrics.exists() and '"checkpoint"' in metrics.read_text()):
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM if ranks == 1 else signal.SIGUSR1) # mpirun passes on the latter
            errors = process.communicate(timeout=60)[1]
            self.assertEqual(process.returncode, 75, errors)
            self.assertEqual(self.events(name), [("checkpoint", 4)], errors)
            self.train(ranks, name, overrides=self.slow)
            self.assertEqual(self.events(name), [("checkpoint", 4), ("eval", 4), ("checkpoint", 8), ("eval", 8)])
            self.assertEqual([row["loss"] for row in self.metrics(name, "eval")],
                             [row["loss"] for row in self.metrics("whole", "eval")])

    def test_an_evaluation_that_is_owed_at_the_end(self):
        """All updates are done, but the run is not finished without its last evaluation."""
        self.train(1, "owed", overrides=(*self.slow, "run.updates=4", "eval.every_updates=0"))
        folder = self.folder / "owed"
        self.assertEqual(self.events("owed"), [("checkpoint", 4)])
        (folder / "STOP").touch()
        result = self.train(1, "owed", expect=75, overrides=(*self.slow, "run.updates=4"))
        self.assertIn("stopped at update 4: stopped by a STOP file", result.stderr)
        self.train(1, "owed", overrides=(*self.slow, "run.updates=4"))
        self.assertEqual(self.events("owed"), [("checkpoint", 4), ("eval", 4)])
        self.train(1, "owed", overrides=(*self.slow, "run.updates=4")) # nothing is left to do
        self.assertEqual(self.events("owed"), [("checkpoint", 4), ("eval", 4)])
        (self.folder / "none").mkdir()
        (self.folder / "none/STOP").touch() # without validation data there is none to owe
        self.train(1, "none", overrides=("run.updates=1", "data.validation=", "lr_schedule.warmup_steps=0"))


class StopsAtTheStart(RunTest):
    updates = 300

    def test_a_request_while_ranks_start_is_not_lost(self):
        """mpirun loses what it is sent meanwhile; at whatever moment, the run stops and goes on later."""
        for i in range(10):
            name = f"early-{i}"
            process = subprocess.Popen([SLUICE, "train", str(self.run_file), "--run-dir", name, "--ranks", "2"],
                                       cwd=self.folder, env=environment(), text=True, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            self.wait_until_it_listens(process)
            time.sleep(0.02 * i)
            process.send_signal(signal.SIGTERM)
            errors = process.communicate(timeout=120)[1]
            self.assertEqual(process.returncode, 75, f"{i}: {errors}")

    def wait_until_it_listens(self, process):
        """It does before it has a child; until then it dies of a signal, with nothing promised. (Its mask does not
        tell: the kernel lifts it for as long as a process waits in sigtimedwait.)"""
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
        deadline = time.monotonic() + 60
        while not children.read_text():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.001)

    def test_a_word_that_was_left_is_for_a_launchers_ranks_alone(self):
        """As one that was killed leaves it: ranks of another launcher do not stop."""
        (self.folder / "stale").mkdir()
        (self.folder / "stale/.stop-signal").write_text("SIGTERM\n")
        self.train(1, "stale")

    def test_a_folder_that_no_save_fits_into_is_refused_before_the_first_update(self):
        folder = self.folder
        while len(str(folder)) < 3800:
            folder /= "x" * 200
        folder /= "x" * (4030 - len(str(folder)))
        result = self.train(1, folder, expect=3)
        self.assert_one_clear_message(result, "File name too long")
        self.assertFalse((folder / "metrics.jsonl").exists())


@unittest.skipUnless(SLOW_DISK, "SLOW_DISK names no library to preload")
class Room(RunTest):
    """The first save may be hours away: whether there is room for it is said before the first update."""

    overrides = ("checkpoint.every_updates=2", "checkpoint.keep_last=2")

    def train_with_free(self, num_bytes, run_dir, expect=0):
        with unittest.mock.patch.dict(os.environ, {"LD_PRELOAD": SLOW_DISK, "SLOW_DISK_FREE": str(num_bytes)}):
            return self.train(2, run_dir, expect=expect, overrides=self.overrides)

    def test_room_for_checkpoints_is_looked_at_before_the_first_update(self):
        sets = [word for item in self.overrides for word in ("--set", item)]
        planned = call(SLUICE, "plan", self.run_file, "-n", "2", "--json", *sets, cwd=self.folder)
        planned = json.loads(planned.stdout)["checkpoints"]
        result = self.train_with_free(planned["bytes_each"] - 4096, "none", expect=3)
        self.assert_one_clear_message(result, "not enough free space")
        self.assertFalse((self.folder / "none/metrics.jsonl").exists())

        # HDF5's own bytes weigh in so small a checkpoint.
        result = self.train_with_free(planned["bytes_each"] + 400_000, "few")
        self.assertEqual(planned["most_kept"], 3)
        self.assertIn("the run will keep up to 3 checkpoints of", result.stderr)
        saved = sum(path.stat().st_size for path in self.last_checkpoint("few").glob("stage*.h5"))
        self.assertTrue(planned["bytes_each"] < saved < planned["bytes_each"] + 400_000, (planned, saved))
        self.assertNotIn("will keep up to", self.train_with_free(10 * saved, "many").stderr)
        self.train_with_free(0, "few") # nothing is left to be saved


class Resumes(RunTest):
    def test_the_same_command_when_the_ancestor_is_gone(self):
        """The source prunes its checkpoints; whoever began with one has its own by then."""
        self.train(1, "source", "--stop-after", "4", expect=75)
        ancestor = self.last_checkpoint("source")
        for asked in (ancestor, self.folder / "source"):
            name = f"heir-of-{asked.name}"
            resume = ("--resume", str(asked), "--stop-after", "2")
            self.train(1, name, *resume, expect=75)
            aside = ancestor.rename(self.folder / "aside")
            result = self.train(1, name, *resume)
            self.assertIn("continues from update-00000006 of its own", result.stderr)
            aside.rename(ancestor)
        self.assert_same_state("heir-of-source", f"heir-of-{ancestor.name}")

    def test_another_history_is_refused_whichever_is_ahead(self):
        self.train(1, "this", "--stop-after", "2", expect=75)
        self.train(1, "that", "--stop-after", "4", expect=75, overrides=("run.seed=8",))
        result = self.train(1, "this", "--resume", str(self.last_checkpoint("that")), expect=2,
                            overrides=("run.seed=8",))
        self.assert_one_clear_message(result, "a checkpoint of another run, update-00000002", "--run-dir")
        # The same history from a copy elsewhere is none.
        self.train(1, "further", "--stop-after", "4", expect=75)
        self.train(1, "this", "--resume", str(self.last_checkpoint("further")))

    def test_names_of_new_folders_are_on_disk(self):
        trace = self.folder / "trace"
        if shutil.which("strace") is None:
            self.skipTest("skipped: strace is not installed")
        result = call("strace", "-y", "-e", "trace=fsync", "-o", trace, *self.command(
            1, "new/a/b", "--stop-after", "1"), cwd=self.folder)
        self.assertEqual(result.returncode, 75, result.stderr)
        for parent in (self.folder, self.folder / "new", self.folder / "new/a"):
            self.assertIn(f"<{parent}>)", trace.read_text())


class DeletedCheckpoints(Processes):
    def test_their_folder_is_made_again(self):
        process = self.start(2, "emptied", overrides=("run.updates=100000", "lr_schedule.kind=constant"))
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.wait_for_update("emptied", 3)
        shutil.rmtree(self.folder / "emptied/checkpoints")
        (self.folder / "emptied/STOP").touch()
        errors = process.communicate(timeout=60)[1]
        self.assertEqual(process.returncode, 75, errors)
        self.assertIn("checkpoints was gone; it is made again", errors)
        verify = call(SLUICE, "inspect", self.last_checkpoint("emptied"), "--verify")
        self.assertEqual(verify.returncode, 0, verify.stdout)

    def test_one_under_a_false_name_counts_for_nothing(self):
        self.train(1, "renamed", "--stop-after", "4", expect=75, overrides=("checkpoint.every_updates=2",))
        newest = self.last_checkpoint("renamed")
        newest.rename(newest.with_name("update-00000999"))
        result = self.train(1, "renamed", "--stop-after", "1", expect=75)
        self.assertIn("the name says update 999, and the checkpoint is of update 4", result.stderr)
        self.assertEqual(self.status("renamed")["update"], 3)

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("chattr"), "needs root and chattr")
    def test_an_old_one_that_cannot_be_deleted_keeps_none_of_the_others(self):
        overrides = ("checkpoint.every_updates=1", "checkpoint.keep_last=1")
        self.train(1, "immutable", "--stop-after", "1", expect=75, overrides=overrides)
        stays = self.last_checkpoint("immutable")
        if call("chattr", "+i", stays / "manifest.json", stays).returncode != 0:
            self.skipTest("this file system has no immutable files")
        self.addCleanup(call, "chattr", "-i", stays / "manifest.json", stays)
        result = self.train(1, "immutable", overrides=overrides)
        self.assertIn("an old checkpoint could not be deleted", result.stderr)
        left = sorted(path.name for path in (self.folder / "immutable/checkpoints").iterdir())
        self.assertEqual(left, [stays.name, self.last_checkpoint("immutable").name])
        pruned = call(SLUICE, "checkpoint", "prune", self.folder / "immutable", "--keep-last", 1)
        self.assertEqual(pruned.returncode, 3, pruned.stdout)
        self.assert_one_clear_message(pruned, stays.name, "not permitted")


class DeletedLocks(Processes):
    """A lock file looks left over to people."""

    updates = 100000
    own_launcher = True

    def begin(self, name, ranks=2, overrides=()):
        process = self.start(ranks, name, overrides=("lr_schedule.kind=constant", *overrides))
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.wait_for_update(name, 5)
        return process

    def test_it_is_locked_again(self):
        process = self.begin("again")
        lock = self.folder / "again/.lock"
        lock.unlink()
        deadline = time.monotonic() + 30
        while not lock.exists():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        result = self.train(1, "again", expect=2)
        self.assertIn("another run", result.stderr)
        (self.folder / "again/STOP").touch()
        _, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 75, errors)
        self.assertIn("somebody has deleted the lock", errors)

    def test_a_run_that_was_overtaken_ends(self):
        """It slept while its lock was deleted, and another run began, ended, and left its own word."""
        process = self.begin("taken")
        ranks = self.ranks_of(self.folder / "taken").values()
        for pid in ranks:
            os.kill(pid, signal.SIGSTOP)
        (self.folder / "taken/.lock").unlink()
        self.train(1, "taken", "--stop-after", 3, expect=75, overrides=("lr_schedule.kind=constant",))
        left = self.status("taken")
        for pid in ranks:
            os.kill(pid, signal.SIGCONT)
        _, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 3, errors)
        self.assertRegex(errors, "sluice: rank 0: .*another run has this run folder since")
        self.assertEqual(self.status("taken"), left)


    def test_what_is_overtaken_saves_nothing_there(self):
        """Alone, and in the middle of a save that it could complete."""
        slow = {"LD_PRELOAD": SLOW_DISK, "SLOW_DISK_FILE": "stage-0000", "SLOW_DISK_SECONDS": "3"}
        if not SLOW_DISK:
            self.skipTest("SLOW_DISK names no library to preload")
        with unittest.mock.patch.dict(os.environ, slow):
            process = self.begin("overtaken", ranks=1, overrides=("checkpoint.every_updates=5",
                                                                  "checkpoint.asynchronous=true"))
        checkpoints = self.folder / "overtaken/checkpoints"
        deadline = time.monotonic() + 60
        while not (checkpoints / ".update-00000005.partial").exists():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        (self.folder / "overtaken/status.json").write_text('{"state":"running","update":1}\n') # another run's word
        (self.folder / "overtaken/.lock").unlink()
        _, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 3, errors)
        self.assertIn("another run has this run folder since", errors)
        self.assertFalse((checkpoints / "update-00000005").exists())


class IgnoredChildren(RunTest):
    """Started by somebody who ignores SIGCHLD, as some daemons do: children are waited for all the same."""

    def call_ignoring(self, *command):
        return subprocess.run([str(word) for word in command], cwd=self.folder, env=environment(),
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120,
                              preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))

    def test_ranks(self):
        result = self.call_ignoring(SLUICE, "train", self.run_file, "--run-dir", "ranks", "--ranks", 2)
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_sbatch(self):
        sbatch = self.folder / "bin/sbatch"
        sbatch.parent.mkdir()
        sbatch.write_text("#!/bin/sh\ncat > /dev/null\necho Submitted batch job 42\n")
        sbatch.chmod(0o755)
        path = os.environ["PATH"]
        os.environ["PATH"] = f"{sbatch.parent}:{path}"
        self.addCleanup(os.environ.__setitem__, "PATH", path)
        result = self.call_ignoring(SLUICE, "submit", self.run_file, "--nodes", 1)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("Submitted batch job 42", result.stdout)


if __name__ == "__main__":
    unittest.main()
