"""What people and terminals do to a run: Ctrl-C twice, a reader that leaves, a terminal that closes,
Ctrl-Z, processes around the ranks that are killed. Nothing is lost, and status.json is true."""

import os
import pathlib
import re
import signal
import subprocess
import time
import unittest

import stopping_test
from harness import SLOWER, call, environment

# What the second update does, so that there is time to press keys: it takes seconds, in which the rank with
# layer 0 mostly sleeps, or never ends.
SLOW, ENDLESS = ("--inject", "slow@2:0"), ("--inject", "hang@2:0")


def parent_of(pid):
    return int((pathlib.Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[1])


def state_of(pid):
    return (pathlib.Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0]


class Signals(stopping_test.Processes):
    updates = 100000
    own_launcher = True

    def wait_until(self, what, condition, seconds=60):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition():
                return
            time.sleep(0.02)
        self.fail(f"not within {seconds} s: {what}")

    def start_into_files(self, ranks, name, *train_options, overrides=(), **options):
        """A run whose standard error can be read while it goes on."""
        self.addCleanup(self.end_ranks, name)
        with open(self.folder / f"{name}.err", "w") as errors:
            return subprocess.Popen(self.command(ranks, name, *train_options, overrides=overrides),
                                    cwd=self.folder, env=environment(),
                                    stdout=subprocess.DEVNULL, stderr=errors, **options)

    def end_ranks(self, name):
        """After a test that failed: nothing trains on."""
        for pid in self.ranks_of(self.folder / name).values():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def errors_of(self, name):
        return (self.folder / f"{name}.err").read_text()

    def assert_stopped(self, name, reason):
        status = self.status(name)
        self.assertEqual((status["state"], status["exit_code"]), ("stopped", 75), status)
        self.assertRegex(status["reason"], reason)
        self.assertEqual(self.last_checkpoint(name).name, f"update-{status['update']:08}")
        self.assertEqual(status["update"], self.metrics(name)[-1]["update"])

    def press_ctrl_c(self, name, ranks, times, fault, batch_size=10):
        """More than a second apart, each once the last was answered; all within update 2."""
        process = self.start_into_files(ranks, name, *fault,
                                        overrides=(f"batch.global_batch_size={batch_size}",
                                                   "run.threads_per_rank=1"))
        self.wait_for_update(name, 1)
        for answer in ("SIGINT: this update is finished", "a third Ctrl-C ends the run",
                       "ended at once")[:times]:
            process.send_signal(signal.SIGINT)
            self.wait_until(answer, lambda: answer in self.errors_of(name), 3)
            time.sleep(1.1)
        return process

    def check_second_ctrl_c(self, name, ranks):
        process = self.press_ctrl_c(name, ranks, 2, SLOW, batch_size=2000 * ranks // SLOWER)
        self.assertEqual(process.wait(60), 75, self.errors_of(name))
        self.assert_stopped(name, "^stopped by SIGINT$")
        self.assertEqual(self.errors_of(name).count("SIGINT: "), 1)

    def check_third_ctrl_c(self, name, ranks):
        process = self.press_ctrl_c(name, ranks, 3, ENDLESS)
        self.assertEqual(process.wait(60), 71, self.errors_of(name))
        status = self.status(name)
        self.assertEqual((status["state"], status["exit_code"]), ("failed", 71), status)
        self.assertIn("third SIGINT", status["reason"])

    def test_a_second_ctrl_c_loses_nothing(self):
        self.check_second_ctrl_c("second-1", 1)

    def test_a_second_ctrl_c_loses_nothing_on_two_ranks(self):
        self.check_second_ctrl_c("second-2", 2)

    def test_a_third_ctrl_c_ends_at_once(self):
        self.check_third_ctrl_c("third-1", 1)

    def test_a_third_ctrl_c_ends_at_once_on_two_ranks(self):
        self.check_third_ctrl_c("third-2", 2)

    def test_what_was_sent_is_recorded(self):
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
            name = number.name.lower()
            process = self.start_into_files(2, name)
            self.wait_for_update(name, 3)
            process.send_signal(number)
            self.assertEqual(process.wait(60), 75, self.errors_of(name))
            self.assert_stopped(name, f"^stopped by {number.name}$")
            self.assertIn(f"{number.name}: this update is finished", self.errors_of(name))

    def test_a_closed_terminal_saves_and_stops(self):
        for ranks in (1, 2):
            name = f"terminal-{ranks}"
            self.addCleanup(self.end_ranks, name)
            main, other = os.openpty()
            process = subprocess.Popen(self.command(ranks, name), cwd=self.folder,
                                       env=environment(), stdin=other, stdout=other,
                                       stderr=other, start_new_session=True,
                                       preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)))
            os.close(other)
            self.wait_for_update(name, 3)
            os.close(main)
            self.assertEqual(process.wait(60), 75)
            self.assert_stopped(name, "^stopped by SIGHUP$")

    def test_nohup_outlives_its_terminal(self):
        for ranks in (1, 2):
            name = f"nohup-{ranks}"
            process = self.start_into_files(
                ranks, name, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
            self.wait_for_update(name, 3)
            process.send_signal(signal.SIGHUP)
            self.wait_for_update(name, self.metrics(name)[-1]["update"] + 20)
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(60), 75)
            self.assert_stopped(name, "^stopped by SIGTERM$")

    def test_training_outlives_its_reader(self):
        for ranks in (1, 2):
            name = f"reader-{ranks}"
            self.addCleanup(self.end_ranks, name)
            process = subprocess.Popen(
                self.command(ranks, name, overrides=("run.updates=60", "eval.every_updates=1")),
                cwd=self.folder, env=environment(), stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT)
            process.stdout.readline()
            process.stdout.close()
            self.assertEqual(process.wait(60), 0)
            self.assertEqual(self.status(name)["state"], "finished")
            self.assertIn("update 60: validation loss",
                          (self.folder / name / "log.txt").read_text())

    def test_what_is_written_to_pipes_arrives_whole_and_before_the_end(self):
        command = self.command(2, "piped", overrides=("run.updates=8",))
        result = call("sh", "-c", '"$@" 2>&1; echo the end', "sh", *command, cwd=self.folder)
        self.assertRegex(result.stdout, r"finished at update 8: all updates done\nthe end\n$")

    def test_ranks_whose_launcher_was_killed_save_and_stop(self):
        process = self.start_into_files(2, "orphans")
        self.wait_for_update("orphans", 3)
        process.kill()
        process.wait()
        self.wait_until("stopped", lambda: self.status("orphans")["state"] == "stopped")
        self.assert_stopped("orphans", "launcher has died")
        self.wait_until("no ranks", lambda: not self.ranks_of(self.folder / "orphans"))

    def test_a_killed_mpirun_is_named(self):
        process = self.start_into_files(2, "no-mpirun")
        self.wait_for_update("no-mpirun", 3)
        os.kill(parent_of(self.ranks_of(self.folder / "no-mpirun")[0]), signal.SIGKILL)
        self.assertEqual(process.wait(60), 71)
        self.assertRegex(self.errors_of("no-mpirun"), "\nsluice: mpirun was ended by SIGKILL")
        status = self.status("no-mpirun")
        self.assertEqual((status["state"], status["exit_code"]), ("failed", 71), status)
        self.assertIn("SIGKILL", status["reason"])

    def test_a_terminated_mpirun_has_the_code_of_its_ranks(self):
        process = self.start_into_files(2, "term-mpirun")
        self.wait_for_update("term-mpirun", 3)
        os.kill(parent_of(self.ranks_of(self.folder / "term-mpirun")[0]), signal.SIGTERM)
        self.assertEqual(process.wait(60), 75, self.errors_of("term-mpirun"))
        self.assert_stopped("term-mpirun", "^stopped by SIGTERM$")

    def test_ctrl_z_suspends_the_ranks_as_well(self):
        process = self.start_into_files(2, "suspended", preexec_fn=os.setpgrp)
        self.wait_for_update("suspended", 3)
        ranks = list(self.ranks_of(self.folder / "suspended").values())
        everyone = [process.pid, *ranks]
        process.send_signal(signal.SIGTSTP)
        self.wait_until("all stopped", lambda: all(state_of(pid) == "T" for pid in everyone), 10)
        process.send_signal(signal.SIGCONT)
        self.wait_for_update("suspended", self.metrics("suspended")[-1]["update"] + 5)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(60), 75, self.errors_of("suspended"))

    def test_a_folder_in_use_says_by_whom_and_how_to_stop_it(self):
        process = self.start_into_files(2, "in-use")
        self.wait_for_update("in-use", 2)
        holder = self.ranks_of(self.folder / "in-use")[0]
        result = self.train(1, "in-use", expect=2)
        self.assertRegex(result.stderr, rf"another run \(process {holder} on \S+\) is writing")
        stop = re.search(r"`(touch [^`]+STOP)`", result.stderr)
        self.assertIsNotNone(stop, result.stderr)
        call(*stop[1].split(), cwd=self.folder)
        self.assertEqual(process.wait(60), 75)
        self.assert_stopped("in-use", "a STOP file")


if __name__ == "__main__":
    unittest.main()
