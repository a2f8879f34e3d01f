"""Which processor a run or an evaluation takes, and what they say of it, on emulated GPUs."""

import json
import unittest

from harness import SLUICE, call
from on_emulated_gpus import OnEmulatedGpus, emulated

MIB = 1 << 20


class Evaluation(OnEmulatedGpus):
    """`sluice eval` needs the weights and one layer's activations: so a model that was trained on many
    stages is evaluated on one GPU."""

    DEEP = ("model.num_layers=64", "model.hidden_size=64", "model.intermediate_size=96", "prores.schedule=off",
            "batch.global_batch_size=2", "batch.micro_batch_size=1", "run.updates=1", "lr_schedule.warmup_steps=0",
            "lr_schedule.kind=constant", "eval.every_updates=1")

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
        little = 75 * MIB # of which the stream's workspace takes 64
        with emulated(SLUICE_EMULATED_GPU_BYTES=little):
            result = self.run_on("cuda", 1, "too-large", overrides=self.DEEP, expect=2)
            self.assert_one_clear_message(result, "rank 0 needs 110 MB")
            result = self.evaluate()
        self.assertEqual(json.loads(result.stdout)["loss"], trained)
        self.assertNotIn("on the CPU", result.stderr)

    def test_what_does_not_fit_is_refused_with_a_remedy_that_exists(self):
        with emulated(SLUICE_EMULATED_GPU_BYTES=75 * MIB):
            result = self.evaluate("--batch-size", "256", expect=2)
            self.assert_one_clear_message(result, "the evaluation does not fit", "the GPU has 78.6 MB",
                                          "--batch-size 128 would fit")
            self.evaluate("--batch-size", "128")
        with emulated(SLUICE_EMULATED_GPU_BYTES=65 * MIB):
            self.assert_one_clear_message(self.evaluate(expect=2), "not even one sequence at a time fits",
                                          "or --device cpu")
            self.evaluate("--device", "cpu")

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


if __name__ == "__main__":
    unittest.main()
