"""The whole program where NCCL is missing, short of something, or takes what was meant for the run."""

import time
import unittest

from harness import SLUICE, call
from on_emulated_gpus import NCCL, OnEmulatedGpus, emulated


@unittest.skipUnless(NCCL, "this build has no NCCL")
class Nccl(OnEmulatedGpus):
    """What it lacks, on all ranks or on one, is found out by all before anybody waits for another."""

    PIPELINE = (2, ())
    REPLICAS = (2, ("pipeline.replicas=2", "batch.global_batch_size=8"))
    STAGED = "go by way of host memory and MPI: NCCL cannot be used"

    def test_auto_goes_by_mpi_and_says_why(self):
        for ranks, overrides in (self.PIPELINE, self.REPLICAS):
            for library, part in (("none", "(cannot load libnccl.so.2"),
                                  ("none:1", "(rank 1 on "), ("21605:0", "(rank 0 on "),
                                  ("offline", "(starting: invalid usage (run with")):
                name = f"{len(overrides)}-{library.replace(':', '-')}"
                with self.subTest(name), emulated(ranks, SLUICE_EMULATED_NCCL=library):
                    result = self.run_on("cuda", ranks, name, "--stop-after", "1", expect=75,
                                         overrides=overrides)
                    self.assertIn(f"{self.STAGED} {part}", result.stderr)
                    self.assertIn("NCCL, which is the fastest way", result.stderr)

    def test_asked_for_it_is_refused(self):
        for ranks, overrides in (self.PIPELINE, self.REPLICAS):
            for library, parts in (("none", ("cannot load libnccl.so.2",)),
                                   ("none:0", ("rank 0 on ", "cannot load libnccl.so.2")),
                                   ("none:1", ("rank 1 on ", "cannot load libnccl.so.2")),
                                   ("21605:1", ("rank 1 on ", "NCCL 2.16.5 is older than 2.17.0"))):
                name = f"asked-{len(overrides)}-{library.replace(':', '-')}"
                with self.subTest(name), emulated(ranks, SLUICE_EMULATED_NCCL=library):
                    result = self.run_on("cuda", ranks, name, expect=2, overrides=(
                        *overrides, "pipeline.transport=nccl"))
                    self.assert_one_clear_message(result, *parts, "pipeline.transport",
                                                  "LD_LIBRARY_PATH", 'transport = "mpi"')

    def test_calls_that_would_not_wait(self):
        with emulated(2, NCCL_COMM_BLOCKING=0):
            result = self.run_on("cuda", 2, "not-blocking", "--stop-after", "1", expect=75)
            self.assertIn(f"{self.STAGED} (NCCL_COMM_BLOCKING=0 must be unset: ", result.stderr)
            self.assertRegex(call(SLUICE, "doctor").stdout, "(?m)^  NCCL +NCCL_COMM_BLOCKING=0")

    def test_its_configuration_files_count_as_the_environment(self):
        """NCCL reads them when it looks for a network; a site's /etc/nccl.conf is nowhere in the environment."""
        why = "NCCL_MIN_NCHANNELS=16 must be unset: messages that wait could take all"
        with emulated(2, SLUICE_EMULATED_NCCL_CONF="NCCL_MIN_NCHANNELS=16"):
            result = self.run_on("cuda", 2, "configured", "--stop-after", "1", expect=75)
            self.assertIn(f"{self.STAGED} ({why}", result.stderr)
            self.assertIn("; a configuration file of NCCL's sets it)", result.stderr)
            self.assertIn(why, call(SLUICE, "doctor").stdout)

    def test_what_fails_on_one_rank_ends_all(self):
        for ranks, overrides, part in ((*self.PIPELINE, "connecting for activations for chunk 1"),
                                       (*self.REPLICAS, "connecting for exchanges between the 2 replicas' ranks")):
            with self.subTest(overrides), emulated(ranks, SLUICE_EMULATED_NCCL="deaf:0"):
                result = self.run_on("cuda", ranks, f"deaf-{len(overrides)}", expect=71,
                                     overrides=overrides)
                self.assertIn(f"rank 0: {part}", result.stderr)
                # Launchers lose exit codes and standard error.
                status = self.status(f"deaf-{len(overrides)}")
                self.assertEqual((status["state"], status["exit_code"]), ("failed", 71))
                self.assertIn(f"rank 0: {part}", status["reason"])
                self.assertIn(": system error; the last that NCCL complained of: Net : connection refused "
                              "(NCCL_DEBUG=WARN says more)\n", result.stderr)

    def test_a_network_that_connects_and_does_not_carry(self):
        """NCCL tells of it beside its calls: somebody must ask before the first update, too, and nothing may
        wait for what will not come."""
        for ranks, overrides, part in ((*self.PIPELINE, r"activations for chunk 1, rank 0 to rank 1"),
                                       (*self.REPLICAS, r"exchanges between the 2 replicas' ranks like rank [01]")):
            with self.subTest(part), emulated(ranks, SLUICE_EMULATED_NCCL_LOST=0, SLUICE_EMULATED_NCCL_PATIENCE=2):
                begun = time.monotonic()
                result = self.run_on("cuda", ranks, f"lost-{len(overrides)}", expect=71, overrides=overrides)
                self.assertRegex(result.stderr, f"sluice: rank [01]: {part}: a peer has given up; ")
                self.assertLess(time.monotonic() - begun, 60) # the bound of a start is 15 minutes

    def test_a_long_pipeline_connects_edge_by_edge(self):
        """In an order that all ranks keep: every second edge, then the others."""
        with emulated(4):
            self.run_on("cuda", 4, "long", "--stop-after", "1", expect=75)

    def test_more_streams_than_queues(self):
        """Eight queues are enough for the exchange of replicas alone; and MPI, which could take GPUs'
        memory, does not beside NCCL."""
        ranks = (4, ("pipeline.replicas=2", "batch.global_batch_size=8"))
        with emulated(ranks[0], CUDA_DEVICE_MAX_CONNECTIONS=8, SLUICE_EMULATED_CUDA_AWARE_MPI=1):
            result = self.run_on("cuda", ranks[0], "mixed", "--stop-after", "1", expect=75,
                                 overrides=ranks[1])
            self.assertIn("between GPUs go by way of host memory and MPI: 14 streams on a GPU would "
                          "share 8 queues", result.stderr)
            self.assertIn("must not take GPUs' memory beside NCCL", result.stderr)
            self.assertIn("but those between replicas by NCCL", result.stderr)
            result = self.run_on("cuda", ranks[0], "insisting", "--stop-after", "1", expect=75,
                                 overrides=(*ranks[1], "pipeline.transport=nccl"))
            self.assertIn("warning: 14 streams on a GPU would share 8 queues", result.stderr)
            self.assertIn("messages between GPUs go by NCCL", result.stderr)
        self.assert_same_state("mixed", "insisting")

    def test_any_number_of_chunks_per_rank(self):
        """Chunks of the same two ranks share communicators, so that a GPU's queues suffice."""
        deep = ("model.num_layers=12", "checkpoint.every_updates=3")
        with emulated(1):
            self.run_on("cuda", 1, "deep", overrides=deep)
        for schedule, ranks, chunks, seed in (("interleaved-1f1b", 2, 6, 0), ("interleaved-zb", 3, 4, 1)):
            name = f"{schedule}-{ranks}-{chunks}"
            with self.subTest(name), emulated(ranks, seed):
                result = self.run_on("cuda", ranks, name, overrides=(
                    *deep, f"pipeline.schedule={schedule}", f"pipeline.chunks_per_rank={chunks}"))
                self.assertIn("messages between GPUs go by NCCL", result.stderr)
            self.assert_same_state("deep", name)

    def test_updates_that_are_computed_twice(self):
        """Checksums that nothing else needs: their kernel is loaded before the first message, as CUDA could
        wait for that to come."""
        twice = ("anomaly.repeat_every=2", "pipeline.verify_transfers=false")
        with emulated(2):
            self.run_on("cuda", 2, "twice", overrides=twice)
            self.run_on("cuda", 2, "once")
        self.assert_same_state("once", "twice")

    def test_where_messages_go_by_mpi_nobody_looks_for_it(self):
        with emulated(2, SLUICE_EMULATED_NCCL="none"):
            result = self.run_on("cuda", 2, "mpi", "--stop-after", "1", expect=75,
                                 overrides=("pipeline.transport=mpi",))
            self.assertNotIn("NCCL", result.stderr)

    def test_parts_of_one_gpu(self):
        """NCCL takes them for one GPU that two ranks use, and refuses that."""
        with emulated(2, SLUICE_EMULATED_MIG=1):
            result = self.run_on("cuda", 2, "mig", "--stop-after", "1", expect=75)
            self.assertIn("go by way of host memory and MPI: ranks share a GPU", result.stderr)
            result = self.run_on("cuda", 2, "mig-asked", expect=2,
                                 overrides=("pipeline.transport=nccl",))
            self.assert_one_clear_message(result, "ranks share a GPU, or have parts of one (MIG)")

    def test_doctor(self):
        for library, line in (("", r"2\.\d+\.\d+"), ("none", "cannot load libnccl.so.2"),
                              ("21605", "NCCL 2.16.5 is older than 2.17.0")):
            with self.subTest(library), emulated(SLUICE_EMULATED_NCCL=library):
                self.assertRegex(call(SLUICE, "doctor").stdout, f"(?m)^  NCCL +{line}")

    def test_its_memory_is_counted(self):
        """What fits before NCCL has taken its part, and no more, is refused with the numbers."""
        big = ("batch.micro_batch_size=6", "model.vocab_size=9000")
        for communicators, overrides in ((2, ()), (1, ("pipeline.replicas=2",
                                                       "batch.global_batch_size=12"))):
            name = f"memory-{communicators}"
            with self.subTest(name), emulated(2, SLUICE_EMULATED_GPU_BYTES=160 << 20):
                self.run_on("cuda", 2, name, "--stop-after", "1", expect=75,
                            overrides=(*big, *overrides))
            with self.subTest(name), emulated(2, SLUICE_EMULATED_GPU_BYTES=160 << 20,
                                              SLUICE_EMULATED_NCCL_BYTES=(30 << 20) // communicators):
                result = self.run_on("cuda", 2, f"{name}-taken", expect=2,
                                     overrides=(*big, *overrides))
                self.assert_one_clear_message(result, "the run does not fit", "and may have 69.2 MB")
                self.assertIn("NCCL has taken 31.5 MB of a GPU's memory", result.stderr)


if __name__ == "__main__":
    unittest.main()
