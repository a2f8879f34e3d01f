"""Traces of emulated GPUs: the same promises as on CPUs, by the GPUs' clocks."""

import re
import unittest

import traces_test
from on_emulated_gpus import OnEmulatedGpus


class Timelines(OnEmulatedGpus, traces_test.Traces):
    """Its tests on one GPU that all ranks share; what computes from a message begins after it came."""

    updates = traces_test.Traces.updates

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        text = cls.run_file.read_text()
        for key, value in (("hidden_size", 16), ("intermediate_size", 24), ("max_seq_len", 16), ("seq_len", 16)):
            text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
        cls.run_file.write_text(text)

    def train(self, ranks, run_dir, *options, overrides=(), **others):
        return super().train(ranks, run_dir, *options, overrides=("run.device=cuda", *overrides), **others)

    def test_one_rank(self):
        self.train(1, "alone", overrides=("trace.updates=5",)) # graphs have been captured by then
        trace = self.trace("alone", 5, 5)
        self.assertEqual(len(self.bars(trace, "compute")), 10)
        self.assertEqual([clock["of"] for clock in trace["otherData"]["clocks"]], ["gpu"])
        self.assertGreater(trace["otherData"]["clock_uncertainty_nanoseconds"], 0)
        ledger = self.ledger("alone")
        self.check_ledger(ledger, [5], 1)
        # By the host's clock, which only queues it, computing would be a thousandth.
        parts = ledger["mean"][0]["nanoseconds"]
        self.assertGreater(parts["compute"], parts["update"] / 5)

    several_chunks = (("zb-v", 2),)
    test_the_evaluation_inside_a_stretch_is_a_phase = None
    test_a_resume_inside_the_range_goes_on_tracing = None
    test_mistakes_are_said_before_anything_runs = None
    test_no_folder_without_a_trace = None


if __name__ == "__main__":
    unittest.main()
