"""The program without CUDA, NCCL and the instructions of one kind of processor: whole, to the same bits."""

import os
import unittest
import unittest.mock

import harness
from harness import RunTest, call

PORTABLE = os.environ["PORTABLE"]


class Portable(RunTest):
    def test_the_same_bits(self):
        # Held to AVX2, as the portable one stands for processors that know no AMX.
        for precision, isa in (("fp32", "DEFAULT"), ("bf16", "AVX2")):
            with self.subTest(precision), unittest.mock.patch.dict(os.environ, ONEDNN_MAX_CPU_ISA=isa):
                overrides = (f"precision.compute={precision}", "run.device=cpu")
                self.train(2, f"full-{precision}", overrides=overrides)
                with unittest.mock.patch.object(harness, "SLUICE", PORTABLE):
                    self.train(2, f"portable-{precision}", overrides=overrides)
                self.assert_same_curve(f"portable-{precision}", f"full-{precision}")
                self.assert_same_state(f"portable-{precision}", f"full-{precision}")

    def test_what_is_not_there_is_refused(self):
        with unittest.mock.patch.object(harness, "SLUICE", PORTABLE):
            result = self.train(1, "refused", expect=2, overrides=("run.device=cuda",))
        self.assert_one_clear_message(result, "run.device: rank 0", "this build of sluice has no CUDA support")

    def test_it_says_what_it_is(self):
        doctor = call(PORTABLE, "doctor")
        self.assertEqual(doctor.returncode, 0, doctor.stderr)
        self.assertRegex(doctor.stdout, r"GPUs +none: this build of sluice has no CUDA support\n")
        self.assertRegex(doctor.stdout, r"transports +in-process, MPI\n")


if __name__ == "__main__":
    unittest.main()
