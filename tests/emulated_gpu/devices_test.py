"""Which processor a run or an evaluation takes, and what they say of it, on emulated GPUs."""

import json
import unittest

from harness import SLUICE, call
from on_emulated_gpus import NCCL, SMALL, OnEmulatedGpus, emulated

MIB = 1 << 20


class Evaluation(OnEmulatedGpus):
    """`sluice eval` needs the weights and one layer's activations: so a model that was trained on many
    stages is evaluated on one GPU."""

    DEEP = ("model.num_layers=64", "model.hidden_size=64", "model.intermediate_size=96", "prores.schedule=off",
            "batch.global_batch_size=2", "batch.micro_batch_size=1", "run.updates=1", "lr_schedule.warmup_steps=0",
            "lr_schedule.kind=constant", "model.max_seq_len=16", "batch.seq_len=16", "eval.every_updates=1",
            "eval.tokens=64")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with emulated():
            cls().run_on("cuda", 1, "deep", overrides=cls.DEEP)

    def evaluate(self, *options, expect=0):
        result = call(SLUICE, "eval", self.last_checkpoint("deep"), "--data",
                      self.folder / "validation.h5", "--json", *options)
        self.assertEqual(result.returncode, expect, result.stderr)
        return result

    def test_in_memory_that_training_does_not_fit_in(self):
        trained = self.metrics("deep", "eval")[-1]["loss"]
        little = (75 + 64) * MIB # the stream's workspace takes 64
        with emulated(SLUICE_EMULATED_GPU_BYTES=little):
            result = self.run_on("cuda", 1, "too-large", overrides=self.DEEP, expect=2)
            self.assert_one_clear_message(result, "rank 0 needs 110 MB")
            result = self.evaluate()
        self.assertEqual(json.loads(result.stdout)["loss"], trained)
        self.assertNotIn("on the CPU", result.stderr)

    def test_what_does_not_fit_is_refused_with_a_remedy_that_exists(self):
        with emulated(SLUICE_EMULATED_GPU_BYTES=(75 + 64) * MIB):
            result = self.evaluate("--batch-size", "256", expect=2)
            self.assert_one_clear_message(result, "the evaluation does not fit", "the GPU has 78.6 MB",
                                          "--batch-size 128 would fit")
            self.evaluate("--batch-size", "128")
        with emulated(SLUICE_EMULATED_GPU_BYTES=(65 + 64) * MIB):
            self.assert_one_clear_message(self.evaluate(expect=2), "not even one sequence at a time fits",
                                          "or --device cpu")
            self.evaluate("--device", "cpu")

    def test_measured_costs_know_nothing_of_messages_between_gpus(self):
        costs = self.folder / "costs.json"
        with emulated():
            result = call(SLUICE, "plan", self.folder / "deep/config.toml", "--stages", 2, "--costs", "measure",
                          "--save-costs", costs, cwd=self.folder)
        self.assertEqual(result.returncode, 0, result.stderr)
        found = json.loads(costs.read_text())
        self.assertEqual(found["conditions"]["device"], "cuda")
        self.assertGreater(found["seconds"]["decoder_layer"]["forward"], 0)
        self.assertEqual(found["transfer_bytes_per_second"], 25e9)
        self.assertIn("messages assumed at 25 GB/s", found["source"])

    def test_devices(self):
        on_gpu = self.metrics("deep", "eval")[-1]["loss"]
        with emulated():
            on_cpu = json.loads(self.evaluate("--device", "cpu").stdout)["loss"]
            self.assertEqual(json.loads(self.evaluate("--device", "auto").stdout)["loss"], on_gpu)
            self.assertEqual(json.loads(self.evaluate("--device", "cuda").stdout)["loss"], on_gpu)
        self.assertNotEqual(on_cpu, on_gpu) # so it is seen which it was
        self.assertAlmostEqual(on_cpu, on_gpu, delta=0.01)
        with emulated(0):
            for options, said in ((("--device", "auto"), False), ((), True)):
                result = self.evaluate(*options)
                self.assertEqual(json.loads(result.stdout)["loss"], on_cpu)
                self.assertEqual("on the CPU, not as in training on a GPU: this machine has no GPU"
                                 in result.stderr, said, result.stderr)
            result = self.evaluate("--device", "cuda", expect=2)
            self.assert_one_clear_message(result, "--device: this machine has no GPU")


class Choice(OnEmulatedGpus):
    """What run.device = "auto" becomes, and that it is said."""

    def start_on(self, run_dir, ranks=1, device="auto", expect=0, overrides=()):
        """Lines of log.txt and the event start, which say the same as standard error."""
        result = self.run_on(device, ranks, run_dir, "--stop-after", 1, expect=expect or 75,
                             overrides=overrides)
        if expect:
            return result
        log = (self.folder / run_dir / "log.txt").read_text()
        for line in result.stderr.splitlines():
            if line.startswith("[sluice] ") and ("GPU" in line or "CPU" in line):
                self.assertEqual(log.count(f" {line}\n"), 1, log)
        return result.stderr, self.metrics(run_dir, "start")[-1], self.metrics(run_dir, "stop")[-1]

    def test_gpus_are_taken_and_stand_in_log_and_metrics(self):
        with emulated(2):
            said, start, stop = self.start_on("gpus", ranks=2)
        self.assertIn("[sluice] rank 0 on GPU 0 of ", said)
        self.assertIn("[sluice] messages between GPUs go ", said)
        self.assertEqual((start["device"], start["precision"], start["gpus"], start["transport"]),
                         ("cuda", "bf16", ["emulated GPU"] * 2, "nccl" if NCCL else "staged"))
        self.assertEqual(len(stop["peak_device_bytes"]), 2)
        for taken in stop["peak_device_bytes"]: # at least the workspace of the stream
            self.assertGreater(taken, 64 * MIB)
            self.assertLess(taken, 512 * MIB)

    def test_on_a_machine_without_gpus_one_plain_line(self):
        with emulated(0):
            said, start, stop = self.start_on("plain")
        self.assertIn("[sluice] on CPUs: there are no GPUs (no NVIDIA driver is loaded)\n", said)
        self.assertEqual((start["device"], start["precision"], start["gpus"], start["transport"]),
                         ("cpu", "fp32", [], "in-process"))
        self.assertNotIn("peak_device_bytes", stop)
        with emulated(0):
            said, start, _ = self.start_on("asked", device="cpu", ranks=2)
        self.assertNotIn("on CPUs", said)
        self.assertEqual(start["transport"], "mpi")

    def test_small_micro_batches_are_told_of_before_a_run_begins(self):
        advice = ("micro-batches of 2 x 8 tokens are small for a GPU: batch.micro_batch_size = {} fits, too")
        with emulated(2):
            result = self.run_on("cuda", 1, "small", "--stop-after", "1", expect=75)
            self.assertIn(advice.format(6), result.stderr)
            self.assertNotIn("small for a GPU", self.run_on("cuda", 1, "small").stderr)
            result = self.run_on("cuda", 2, "two-stages", "--stop-after", "1", expect=75)
            self.assertNotIn("small for a GPU", result.stderr)
            result = self.run_on("cuda", 2, "replicas", "--stop-after", "1", expect=75, overrides=(
                "pipeline.replicas=2", "batch.global_batch_size=16"))
            self.assertIn(advice.format(8), result.stderr)

    def test_idle_gpus_are_warned_of(self):
        warning = "[sluice] warning: on CPUs: rank 0 on "
        with emulated(2, CUDA_VISIBLE_DEVICES=""):
            said, start, _ = self.start_on("hidden")
        self.assertIn(warning, said)
        self.assertIn("has no GPU: no GPU is visible", said)
        self.assertEqual(start["device"], "cpu")
        with emulated(SLUICE_EMULATED_DRIVER=12020):
            said, _, _ = self.start_on("driver")
            self.assertIn(warning, said)
            said = "has no GPU: the NVIDIA driver is for CUDA 12.2, this program for CUDA 13.0"
            self.assertIn(said, (self.folder / "driver" / "log.txt").read_text())
            self.assert_one_clear_message(self.start_on("refused", device="cuda", expect=2), said)

    def test_lists_of_visible_gpus(self):
        kinds = "first GPU,second GPU,third GPU"
        for visible, names in (("1", ["second GPU"]), ("1,0", ["second GPU"]), ("2,7,0", ["third GPU"])):
            with self.subTest(visible), emulated(3, CUDA_VISIBLE_DEVICES=visible,
                                                 SLUICE_EMULATED_GPU_KINDS=kinds):
                said, start, _ = self.start_on(f"visible-{visible}")
                self.assertEqual(start["gpus"], names)
                self.assertIn(f"({names[0]})", said)
        for visible in ("7", "0,0", "-1"): # as CUDA: an unknown GPU ends the list, one twice empties it
            with self.subTest(visible), emulated(3, CUDA_VISIBLE_DEVICES=visible):
                result = self.start_on(f"none-{visible}", device="cuda", expect=2)
                self.assert_one_clear_message(result, "no GPU is visible")

    def test_tasks_that_see_other_gpus_of_one_node(self):
        """As srun --gpu-bind=closest on two sockets, to which ranks go in turns: none takes another's GPU."""
        see = 'export CUDA_VISIBLE_DEVICES=$([ $((OMPI_COMM_WORLD_RANK % 2)) = 0 ] && echo 0,1 || echo 2,3); exec "$@"'
        with emulated(4, SLUICE_EMULATED_GPU_KINDS="GPU A,GPU A,GPU A,GPU A"):
            command = self.command(4, "closest", "--stop-after", "1", overrides=(*SMALL, "run.device=cuda"))
            at = command.index(SLUICE)
            result = call(*command[:at], "sh", "-c", see, "sh", *command[at:], cwd=self.folder)
        self.assertEqual(result.returncode, 75, result.stderr)
        for rank in range(4):
            self.assertIn(f"rank {rank} on GPU {rank // 2} of", result.stderr)
        self.assertNotIn("share", result.stderr.replace("share cores", ""))

    def test_gpus_of_unequal_kinds(self):
        machine = {"SLUICE_EMULATED_GPU_KINDS": "old GPU:7.0,fast GPU:9.0,slow GPU:8.6,slow GPU:8.6"}
        with emulated(4, CUDA_VISIBLE_DEVICES="1,2", **machine):
            result = self.start_on("unequal", ranks=2, device="cuda", expect=2)
            self.assert_one_clear_message(result, "GPUs of different kinds: rank 0 on",
                                          "fast GPU (compute capability 9.0), rank 1 on",
                                          "slow GPU (compute capability 8.6)", "CUDA_VISIBLE_DEVICES")
            said, start, _ = self.start_on("unequal", ranks=2)
            self.assertIn("warning: on CPUs: ranks have GPUs of different kinds", said)
            self.assertEqual(start["device"], "cpu")
        with emulated(4, CUDA_VISIBLE_DEVICES="3,2", **machine):
            said, start, _ = self.start_on("equal", ranks=2, device="cuda")
            self.assertIn("rank 1 on GPU 1 of ", said)
            self.assertEqual(start["gpus"], ["slow GPU"] * 2)
        with emulated(4, **machine):
            doctor = call(SLUICE, "doctor").stdout
            self.assertIn("old GPU, compute capability 7.0 (too old: 8.0 is the least), ", doctor)
            self.assertRegex(doctor, r"fast GPU, compute capability 9\.0, 2\.\d\d GB of 2\.15 GB free")
            result = self.start_on("old", device="cuda", expect=2)
            self.assert_one_clear_message(result, "a GPU of an older kind: old GPU")

    def test_a_resume_that_lost_its_gpu_and_one_that_found_one(self):
        with emulated():
            self.start_on("lost")
        with emulated(1, CUDA_VISIBLE_DEVICES=""):
            result = self.start_on("lost", expect=2)
            self.assert_one_clear_message(
                result, "saved on GPUs in bf16, and this start is on CPUs (rank 0 on",
                "no GPU is visible", "--set precision.compute=bf16 to go on on CPUs")
            self.start_on("lost", overrides=("precision.compute=bf16",))
        with emulated(0):
            self.start_on("found")
        with emulated():
            result = self.start_on("found", expect=2)
            self.assert_one_clear_message(result, "saved on CPUs in fp32, and this start is on GPUs",
                                          "--set precision.compute=fp32 to go on on GPUs")
            self.start_on("found", overrides=("precision.compute=fp32",))

    def test_tf32_beside_other_types(self):
        with emulated():
            result = self.start_on("tf32", expect=2, overrides=("precision.tf32=true",))
            self.assert_one_clear_message(result, "this run computes in bf16", 'compute = "fp32"')
            self.start_on("tf32", overrides=("precision.tf32=true", "precision.compute=fp32"))
        with emulated(0):
            said, _, _ = self.start_on("tf32-cpu", overrides=("precision.tf32=true",))
            self.assertIn("warning: precision.tf32 does nothing on CPUs", said)


if __name__ == "__main__":
    unittest.main()
