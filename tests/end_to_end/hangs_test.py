"""Ranks that hang without a word: found, named and ended, in whatever phase they are."""

import os
import signal
import time
import unittest
import unittest.mock

import stopping_test

HANG_SECONDS = 4
SLOW_DISK = os.environ.get("SLOW_DISK", "")


class Hangs(stopping_test.Processes):
    updates = 100000
    own_launcher = True

    def end_all(self, name):
        for pid in self.ranks_of(self.folder / name).values():
            os.kill(pid, signal.SIGKILL)

    def begin(self, name, *options, ranks=3, overrides=()):
        self.addCleanup(self.end_all, name)  # where the watchdog fails
        return self.start(ranks, name, *options,
                          overrides=(f"run.hang_seconds={HANG_SECONDS}", *overrides))

    def check_end(self, process, name, culprit, *parts, seconds=10):
        """All ranks end within `seconds`, one of them names the culprit, nothing is left."""
        start = time.monotonic()
        _, errors = process.communicate(timeout=60)
        took = time.monotonic() - start
        self.assertEqual(process.returncode, 71, errors)
        self.assertLess(took, seconds, errors)
        ours = [line for line in errors.splitlines() if line.startswith("sluice: ")]
        self.assertEqual(len(ours), 1, errors)
        for part in (culprit, *parts):
            self.assertIn(part, ours[0])
        status = self.status(name)
        self.assertEqual((status["state"], status["exit_code"]), ("failed", 71))
        self.assertIn(culprit, status["reason"])
        log = self.folder / name / "log.txt"
        if log.exists():  # from the start of training on
            self.assertIn(f"error: {culprit}", log.read_text().splitlines()[-1])
        self.assertEqual(self.ranks_of(self.folder / name), {})
        return errors

    def stop_rank(self, name, rank):
        pid = self.ranks_of(self.folder / name)[rank]
        os.kill(pid, signal.SIGSTOP)
        return pid

    def check_stopped_in_an_update(self, rank, neighbour):
        name = f"update-{rank}"
        process = self.begin(name, overrides=("eval.every_updates=0",))  # nor in an evaluation
        self.wait_for_update(name, 5)
        time.sleep(0.6)  # two heartbeats, which tell what the rank does
        pid = self.stop_rank(name, rank)
        errors = self.check_end(process, name, f"rank {rank} hangs", "heartbeat stopped",
                                "update ", f"process {pid}")
        # Stopped in a pass, or in what all ranks do together.
        self.assertRegex(errors, rf"rank {neighbour} waits (\D*rank {rank}|with all others) for \d+ s: update \d+")

    def test_rank_0_stopped_in_an_update(self):
        self.check_stopped_in_an_update(0, neighbour=1)

    def test_rank_1_stopped_in_an_update(self):
        self.check_stopped_in_an_update(1, neighbour=0)

    def test_rank_2_stopped_in_an_update(self):
        self.check_stopped_in_an_update(2, neighbour=1)

    def check_stopped_at_the_start(self, rank):
        """Before it can have said a word."""
        name = f"start-{rank}"
        process = self.begin(name)
        deadline = time.monotonic() + 30
        while not (self.folder / name / ".lock").exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        self.stop_rank(name, rank)
        self.check_end(process, name, f"rank {rank} hangs", "heartbeat stopped")

    def test_rank_0_stopped_at_the_start(self):
        self.check_stopped_at_the_start(0)

    def test_rank_1_stopped_at_the_start(self):
        self.check_stopped_at_the_start(1)

    def test_a_rank_that_never_comes_to_mpi(self):
        """Stopped before anybody can watch it: within MPI_Init the others would wait for good."""
        name = "never-came"
        process = self.begin(name, overrides=("run.start_seconds=10",))
        deadline = time.monotonic() + 30
        while 1 not in self.ranks_of(self.folder / name):
            self.assertLess(time.monotonic(), deadline)
        pid = self.stop_rank(name, 1)
        _, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 71, errors)
        ours = [line for line in errors.splitlines() if line.startswith("sluice: ")]
        self.assertEqual(ours, ["sluice: rank 0 has waited for other ranks to start for 10 s; "
                                f"stopped on this machine: process {pid}"])
        self.assertEqual(self.ranks_of(self.folder / name), {})

    def test_a_main_thread_that_goes_on_no_further(self):
        process = self.begin("loop", "--inject", "hang@6:2")
        errors = self.check_end(process, "loop", "rank 1 hangs", "waiting for nobody", "update 6",
                                seconds=20)
        self.assertRegex(errors, r"rank 0 waits for rank 1 for \d+ s: update 6, stage 0, "
                                 r"micro-batch 0, action 0B0")
        self.assertRegex(errors, r"rank 2 waits for rank 1 for \d+ s: update 6, stage 2, "
                                 r"micro-batch 0, action 2F0")

    def test_a_rank_of_a_replica_is_named_with_it(self):
        name = "replica"
        process = self.begin(name, ranks=4, overrides=("batch.global_batch_size=8",
                                                       "pipeline.replicas=2"))
        self.wait_for_update(name, 5)
        self.stop_rank(name, 3)
        self.check_end(process, name, "replica 1, rank 3 hangs")

    def test_alone(self):
        process = self.begin("alone", "--inject", "hang@6:2", ranks=1)
        self.check_end(process, "alone", "rank 0 hangs", "update 6", seconds=20)

    def test_under_mpirun_itself(self):
        self.own_launcher = False
        process = self.begin("mpirun")
        self.wait_for_update("mpirun", 5)
        self.stop_rank("mpirun", 1)
        self.check_end(process, "mpirun", "rank 1 hangs")


    @unittest.skipUnless(SLOW_DISK, "SLOW_DISK names no library to preload")
    def test_a_file_system_that_hangs_keeps_nobody_from_the_last_words(self):
        """Not even the run's status can be written, for longer than others give the rank that speaks."""
        name, slow = "hung-status", {"SLOW_DISK_FILE": "status.json.partial", "SLOW_DISK_SECONDS": "8"}
        with unittest.mock.patch.dict(os.environ, {"LD_PRELOAD": SLOW_DISK, **slow}):
            process = self.begin(name, overrides=("eval.every_updates=0",))
        self.wait_for_update(name, 5)
        pid = self.stop_rank(name, 1)
        _, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 71, errors)
        self.assertRegex(errors, rf"sluice: rank 1 hangs: .* process {pid} on ")


if __name__ == "__main__":
    unittest.main()
