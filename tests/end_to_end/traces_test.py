"""Measured timelines: every action once, in the order of its dependencies; the result untouched."""

import collections
import json
import unittest

from harness import RunTest, SLUICE, call


class Traces(RunTest):
    """Updates 3 to 5 (with the evaluation behind update 4) and update 7 of a run of 8."""

    ranges = "3-5,7"
    several_chunks = (("zb-h1", 1), ("interleaved-1f1b", 2), ("zb-v", 2))  # schedule, chunks per rank

    def trace(self, run_dir, first, last):
        path = self.folder / run_dir / "trace" / f"update-{first:06}-{last:06}.json"
        return json.loads(path.read_text())

    def ledger(self, run_dir):
        return json.loads((self.folder / run_dir / "trace" / "ledger.json").read_text())

    def program(self, ranks, *overrides):
        """Rank -> list of (chunk, kind, micro-batch), as `sluice plan` prints it."""
        sets = [word for item in overrides for word in ("--set", item)]
        text = call(SLUICE, "plan", self.run_file, "-n", ranks, "--print-schedule", *sets).stdout
        actions = collections.defaultdict(list)
        for line in text.splitlines():
            rank, _, rest = line.partition(":")
            if rank.strip().isdigit():
                actions[int(rank)] = rest.split()
        self.assertEqual(len(actions), ranks, text)
        return actions

    def check_well_formed(self, trace):
        """What the trace event format asks for, and bars of a row that nest or stand apart."""
        ends = collections.defaultdict(list)
        arrows = collections.Counter()
        last_ts = None
        for event in trace["traceEvents"]:
            self.assertIn(event["ph"], "MXsfC")
            self.assertIsInstance(event["pid"], int)
            self.assertIsInstance(event["tid"], int)
            if event["ph"] == "M":
                self.assertIsNone(last_ts, "names stand in front")
                continue
            self.assertGreaterEqual(event["ts"], last_ts or 0)
            last_ts = event["ts"]
            if event["ph"] in "sf":
                arrows[event["id"], event["ph"]] += 1
            if event["ph"] == "X":
                row = ends[event["pid"], event["tid"]]
                while row and row[-1] <= event["ts"] + 1e-6:
                    row.pop()
                end = event["ts"] + event["dur"]
                if row:
                    self.assertLessEqual(end, row[-1] + 1e-6, event)
                row.append(end)
        ids = {id for id, _ in arrows}
        self.assertGreater(len(ids), 0)
        self.assertEqual(arrows, {(id, phase): 1 for id in ids for phase in "sf"})

    def bars(self, trace, category):
        """(update, rank, name, chunk, micro-batch) -> (begin, end), each once."""
        found = {}
        for event in trace["traceEvents"]:
            # Names of several words are what an action does beside its own work.
            if event["ph"] == "X" and event["cat"] == category and " " not in event["name"]:
                args = event["args"]
                key = (args["update"], event["pid"], event["name"], args["chunk"],
                       args["micro-batch"])
                self.assertNotIn(key, found)
                found[key] = event["ts"], event["ts"] + event["dur"]
        return found

    def check_every_action_once(self, trace, updates, actions):
        found = [*self.bars(trace, "compute"), *self.bars(trace, "message")]
        expected = [(update, rank, action.lstrip("0123456789"))
                    for update in updates for rank in actions for action in actions[rank]
                    if action != "O"]
        self.assertEqual(sorted(key[:3] for key in found), sorted(expected))

    def check_order(self, trace, updates, chunks, microbatches):
        """What is computed from a message begins after it was sent, within the clocks' uncertainty."""
        slack = 2 * trace["otherData"]["clock_uncertainty_nanoseconds"] * 1e-3 + 1e-3
        begins, ends = {}, {}
        for (update, _, name, chunk, m), (begin, end) in self.bars(trace, "compute").items():
            begins[update, chunk, name[0], m] = begin
            ends[update, chunk, name[0], m] = end
        for update in updates:
            for m in range(microbatches):
                for chunk in range(1, chunks):
                    self.assertGreaterEqual(begins[update, chunk, "F", m] + slack,
                                            ends[update, chunk - 1, "F", m])
                    self.assertGreaterEqual(begins[update, chunk - 1, "B", m] + slack,
                                            ends[update, chunk, "B", m])
                self.assertGreaterEqual(begins[update, chunks - 1, "B", m],
                                        ends[update, chunks - 1, "F", m])
        # The reduction ends on no rank before every rank has entered it.
        entered, left = collections.defaultdict(list), collections.defaultdict(list)
        for event in trace["traceEvents"]:
            if event.get("name") == "reduction":
                index = len(entered[event["pid"]])
                entered[event["pid"]].append(event["ts"])
                left[index].append(event["ts"] + event["dur"])
        for index in left:
            self.assertGreaterEqual(min(left[index]) + slack,
                                    max(times[index] for times in entered.values()))

    def check_ledger(self, ledger, updates, ranks, chunks=None):
        self.assertEqual([row["update"] for row in ledger["updates"]], updates)
        self.assertEqual(len(ledger["chunks"]), chunks or ranks)
        self.assertEqual(sum(chunk["num_layers"] for chunk in ledger["chunks"]), 6)
        for row in [*ledger["updates"], {"ranks": ledger["mean"]}]:
            self.assertEqual([rank["rank"] for rank in row["ranks"]], [*range(ranks)])
            for rank in row["ranks"]:
                parts = dict(rank["nanoseconds"])
                self.assertEqual(parts.pop("update"), sum(parts.values()))
                for name in ("compute", "fill_drain", "data", "optimizer", "other"):
                    self.assertGreaterEqual(parts[name], 0)
                self.assertGreater(parts["compute"], 0)

    def test_timelines_of_two_and_three_ranks(self):
        self.train(1, "off")
        for ranks in (2, 3):
            with self.subTest(ranks=ranks):
                name = f"on-{ranks}"
                result = self.train(ranks, name, overrides=(f"trace.updates={self.ranges}",))
                self.assert_same_curve(name, "off")
                self.assert_same_state(name, "off")
                actions = self.program(ranks)
                for first, last in ((3, 5), (7, 7)):
                    updates = [*range(first, last + 1)]
                    trace = self.trace(name, first, last)
                    self.check_well_formed(trace)
                    self.check_every_action_once(trace, updates, actions)
                    self.check_order(trace, updates, ranks, 5)
                    names = [event["args"]["name"] for event in trace["traceEvents"]
                             if event["name"] == "process_name"]
                    self.assertEqual(len(names), ranks)
                    self.assertTrue(names[0].startswith("rank 0: embedding, layers 0.."), names)
                    self.assertTrue(names[-1].endswith(", head"), names)
                self.check_ledger(self.ledger(name), [7], ranks)
                rows = self.metrics(name, "trace")
                self.assertEqual([(row["first_update"], row["update"]) for row in rows],
                                 [(3, 5), (7, 7)])
                self.assertTrue(all((self.folder / row["path"]).exists() for row in rows))
                for row, updates in zip(rows, ([3, 4, 5], [7])):
                    self.check_ledger(json.loads((self.folder / row["ledger"]).read_text()), updates, ranks)
                # The table, in the log and on the terminal.
                for text in (result.stderr, (self.folder / name / "log.txt").read_text()):
                    self.assertIn("rank update compute", text)
                for line in result.stderr.splitlines():
                    if "sluice] rank" in line or "sluice] all" in line:
                        self.assertLessEqual(len(line), 80, line)

    def test_split_backwards_and_several_chunks_per_rank(self):
        for schedule, chunks in self.several_chunks:
            with self.subTest(schedule=schedule):
                layout = (f"pipeline.schedule={schedule}", f"pipeline.chunks_per_rank={chunks}")
                self.train(2, schedule, overrides=(*layout, "trace.updates=3-4"))
                trace = self.trace(schedule, 3, 4)
                self.check_well_formed(trace)
                self.check_every_action_once(trace, [3, 4], self.program(2, *layout))
                self.check_ledger(self.ledger(schedule), [3, 4], 2, 2 * chunks)
                # Every activation that came alive is gone at the update's end.
                counts = [event["args"]["count"] for event in trace["traceEvents"]
                          if event["ph"] == "C"]
                self.assertEqual(min(counts), 0)
                self.assertEqual(counts[-1], 0)

    def test_replicas(self):
        self.train(4, "replicas", overrides=(
            "pipeline.replicas=2", "batch.micro_batch_size=1", "trace.updates=2-3"))
        trace = self.trace("replicas", 2, 3)
        self.check_well_formed(trace)
        ledger = self.ledger("replicas")
        self.check_ledger(ledger, [2, 3], 4, 2)
        self.assertEqual((ledger["num_ranks"], ledger["replicas"]), (4, 2))
        bars = self.bars(trace, "compute")
        # Whichever replica runs a micro-batch numbers its own from 0.
        expected = {(update, rank, f"{kind}{m}") for update in (2, 3) for rank in range(4)
                    for kind in "FB" for m in range(5)}
        self.assertEqual({key[:3] for key in bars}, expected)
        self.assertEqual(len(bars), len(expected))
        names = [event["args"]["name"] for event in trace["traceEvents"]
                 if event["name"] == "process_name"]
        self.assertIn("replica 1", names[2])
        planned = call(SLUICE, "plan", self.folder / "replicas" / "config.toml", "--stages", 2,
                       "--against", self.folder / "replicas", cwd=self.folder)
        self.assertEqual(planned.returncode, 0, planned.stderr)
        self.assertIn("plan against updates 2-3 of ", planned.stdout)

    def test_the_evaluation_inside_a_stretch_is_a_phase(self):
        self.train(2, "phases", overrides=("trace.updates=3-5",))
        names = [event["name"] for event in self.trace("phases", 3, 5)["traceEvents"]]
        self.assertEqual(names.count("evaluation"), 2)
        self.assertEqual(names.count("optimizer"), 2 * 2 * 3)

    def test_no_folder_without_a_trace(self):
        self.train(2, "never")
        self.assertFalse((self.folder / "never" / "trace").exists())
        self.assertEqual(self.metrics("never", "trace"), [])

    def test_one_rank(self):
        self.train(1, "alone", overrides=("trace.updates=2",))
        trace = self.trace("alone", 2, 2)
        self.assertEqual(len(self.bars(trace, "compute")), 10)
        self.assertEqual(trace["otherData"]["clock_uncertainty_nanoseconds"], 0)
        self.check_ledger(self.ledger("alone"), [2], 1)

    def test_a_resume_inside_the_range_goes_on_tracing(self):
        overrides = ("trace.updates=3-6",)
        self.train(2, "resumed", "--stop-after", 4, expect=75, overrides=overrides)
        self.train(3, "resumed", overrides=overrides)
        self.check_every_action_once(self.trace("resumed", 3, 4), [3, 4], self.program(2))
        self.check_every_action_once(self.trace("resumed", 5, 6), [5, 6], self.program(3))
        self.train(1, "whole")
        self.assert_same_state("resumed", "whole")

    def test_a_trace_that_cannot_be_written(self):
        """Ends the run, unless that was asked to go on without."""
        for mode, code in (("stop", 3), ("continue", 0)):
            with self.subTest(on_failure=mode):
                (self.folder / mode).mkdir()
                (self.folder / mode / "trace").write_text("somebody's file, where the folder belongs")
                result = self.train(2, mode, expect=code, overrides=(
                    "trace.updates=2-3,5", f"checkpoint.on_failure={mode}"))
                self.assertIn("cannot create the folder of traces", result.stderr)
                failed = [row["update"] for row in self.metrics(mode, "trace_failed")]
                self.assertEqual(failed, [] if code else [3, 5])
        self.assertEqual(self.status("continue")["state"], "finished")
        self.train(1, "whole")
        self.assert_same_state("continue", "whole")

    def test_mistakes_are_said_before_anything_runs(self):
        for value, *parts in (("5-3", "trace.updates", 'did you mean "3-5"?'),
                              ("7-9", "update 9", "trace.updates", "is 8")):
            result = self.train(1, "wrong", expect=2, overrides=(f"trace.updates={value}",))
            self.assert_one_clear_message(result, *parts)
        long_run = self.write_run_file("long.toml", updates=1000000)
        result = self.train(2, "absurd", expect=2, run_file=long_run,
                            overrides=("trace.updates=1-900000",))
        self.assert_one_clear_message(result, "million events", "trace.updates")


if __name__ == "__main__":
    unittest.main()
