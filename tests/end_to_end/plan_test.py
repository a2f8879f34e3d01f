"""What `sluice plan` promises: figures, refusals, pictures and files that other tools can read."""

import json
import re
import unittest
import xml.etree.ElementTree as ElementTree

from harness import SLUICE, RunTest, call

SVG = "{http://www.w3.org/2000/svg}"


class PlanTest(RunTest):
    def plan(self, *options, expect=0):
        result = call(SLUICE, "plan", self.run_file, *options, cwd=self.folder)
        self.assertEqual(result.returncode, expect, result.stdout + result.stderr)
        return result

    def plan_json(self, *options):
        return json.loads(self.plan("--json", *options).stdout)

    def test_lines_fit_a_terminal(self):
        text = self.plan("--stages", "3", "--compare", "--timeline").stdout
        for line in text.splitlines():
            # What can be pasted stays in one line.
            if not line.startswith("  --set"):
                self.assertLessEqual(len(line), 80, line)
        for word in ("fill and drain", "imbalance", "barrier", "recommended", "rank 2 |"):
            self.assertIn(word, text)

    def test_a_gpu_counts_with_its_own_rates_and_keeps_no_copy_for_saves(self):
        on_gpu = self.plan("--stages", "2", "--set", "run.device=cuda").stdout
        self.assertIn("costs: FLOPs at 400000 GFLOP/s", on_gpu)
        self.assertNotIn("for saves", on_gpu)
        self.assertIn("costs: FLOPs at 100 GFLOP/s", self.plan("--stages", "2").stdout)

    def test_the_picture_is_well_formed(self):
        path = self.folder / "timeline.svg"
        for stages, schedule in ((3, "1f1b"), (3, "zb-v"), (1, "gpipe")):
            self.plan("--stages", stages, "--svg", path, "--set", f"pipeline.schedule={schedule}")
            root = ElementTree.parse(path).getroot()
            self.assertEqual(root.tag, SVG + "svg")
            words = [text.text for text in root.iter(SVG + "text")]
            self.assertIn("forward", words)
            self.assertIn("weight gradient" if schedule == "zb-v" else "backward", words)
            self.assertTrue(any(word.startswith(schedule) for word in words), words)

    def test_idle_time_adds_up(self):
        plan = self.plan_json("--stages", "3")
        for rank in plan["ranks"]:
            idle = sum(rank["idle_seconds"].values())
            total = rank["busy_seconds"] + idle + plan["optimizer_seconds"]
            self.assertAlmostEqual(total, plan["seconds_per_update"], delta=1e-9)

    def test_the_recommendation_can_be_pasted(self):
        text = self.plan("--stages", "3").stdout
        pasted = re.search(r"recommended.*\n  (--set .*)\n", text).group(1).split()
        again = self.plan("--stages", "3", *pasted).stdout
        self.assertIn("recommended: the run file's schedule as it is", again)

    def test_auto_is_the_recommendation(self):
        plan = self.plan_json("--stages", "3", "--set", "pipeline.schedule=auto")
        self.assertEqual(plan["schedule"], plan["recommended"]["schedule"])

    def test_auto_says_that_it_chooses_what_else_was_asked(self):
        auto = ("--stages", "3", "--set", "pipeline.schedule=auto")
        self.assertNotIn("extra_warmup", self.plan(*auto).stderr)
        for override in ("pipeline.chunks_per_rank=3", "pipeline.extra_warmup=2"):
            said = self.plan(*auto, "--set", override).stderr
            self.assertEqual(said.count("warning: pipeline.schedule = \"auto\" chooses"), 1, said)

    def test_too_little_memory_is_refused_with_what_would_fit(self):
        gpipe = ("--stages", "2", "--set", "pipeline.schedule=gpipe", "--set",
                 "checkpoint.asynchronous=false")
        needed = self.plan_json(*gpipe)["peak_bytes"]
        self.plan(*gpipe, "--memory", needed)
        result = self.plan(*gpipe, "--memory", needed - 1, expect=2)
        self.assertIn("the run does not fit: rank", result.stderr)
        change = re.search(r"what would fit: ((?:--set \S+ ?)+)", result.stderr).group(1).split()
        self.plan(*gpipe, *change, "--memory", needed - 1)
        result = self.plan("--stages", "2", "--memory", "1kB", "--set", "pipeline.schedule=auto",
                           expect=2)
        self.assertIn("make the model smaller", result.stderr)

    def test_costs_are_kept_and_read_again(self):
        path = self.folder / "costs.json"
        self.plan("--stages", "2", "--costs", "measure", "--save-costs", path)
        plan = self.plan_json("--stages", "2", "--costs", path)
        kept = json.loads(path.read_text())
        self.assertAlmostEqual(plan["costs"]["decoder_layer"]["forward"],
                               kept["seconds"]["decoder_layer"]["forward"])
        del kept["seconds"]["head"]
        path.write_text(json.dumps(kept))
        result = self.plan("--stages", "2", "--costs", path, expect=3)
        self.assertIn("'seconds.head' is missing", result.stderr)
        self.assertIn(str(path), result.stderr)

    def test_a_printed_schedule_can_be_run(self):
        path = self.folder / "schedule.txt"
        path.write_text(self.plan("--stages", "2", "--print-schedule", "--set",
                                  "pipeline.schedule=zb-h1").stdout)
        custom = self.plan_json("--stages", "2", "--set", "pipeline.schedule=custom", "--set",
                                f"pipeline.schedule_file={path}")
        made = self.plan_json("--stages", "2", "--set", "pipeline.schedule=zb-h1")
        self.assertEqual(custom["seconds_per_update"], made["seconds_per_update"])
        self.assertEqual(custom["peak_bytes"], made["peak_bytes"])

    def test_wrong_options_say_what_is_right(self):
        result = self.plan("--memory", "80 gigs", expect=2)
        self.assertIn("like 80GB or 512MiB", result.stderr)
        self.assert_one_clear_message(self.plan("--memory", "", expect=2), "--memory",
                                      "not an amount of memory")
        for number in (0, 1000001):
            result = self.plan("--stages", number, expect=2)
            self.assert_one_clear_message(result, "--stages", "1 to 1000000")
        result = self.plan("--stages", 3, "--set", "batch.global_batch_size=2000000", "--set",
                           "pipeline.replicas=500000", expect=2)
        self.assert_one_clear_message(result, "layout of 1500000 ranks", "at most 1000000")
        result = self.plan("--save-costs", "costs.json", expect=2)
        self.assertIn("--costs measure", result.stderr)
        result = self.plan("--save-costs", "costs.json", "--costs", "other.json", expect=2)
        self.assert_one_clear_message(result, "--costs measure")
        self.assert_one_clear_message(self.plan("--json", "--timeline", expect=2), "excludes")
        for other in (("--json",), ("--svg", "timeline.svg"), ("--timeline",), ("--compare",)):
            result = self.plan("--print-schedule", *other, expect=2)
            self.assert_one_clear_message(result, "--print-schedule", "excludes", other[0])
        result = self.plan("--stages", 3, "--set", "pipeline.schedule=auto", "--set",
                           "pipeline.partition=2,2,1,1", expect=2)
        self.assert_one_clear_message(result, "2,2,1,1", "pipeline.partition=auto")
        result = self.plan("--set", "pipeline.schedule=interleaved-1f1b", "--set",
                           "pipeline.chunks_per_rank=30", expect=2)
        self.assert_one_clear_message(result, "30", "fewer chunks per rank")
        self.assertNotIn("at most 0", result.stderr)
        for other in (("--json",), ("--svg", "timeline.svg"), ("--timeline",), ("--compare",),
                      ("--print-schedule",)):
            result = self.plan("--against", "run", *other, expect=2)
            self.assert_one_clear_message(result, "--against", "excludes", other[0])


if __name__ == "__main__":
    unittest.main()
