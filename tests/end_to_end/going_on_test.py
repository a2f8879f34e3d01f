"""What a run goes on from, and what may have changed by then."""

import os
import shutil
import unittest

import h5py

from harness import MPIRUN, SLUICE, RunTest, call


class Lengths(RunTest):
    def constant(self, run_dir, updates, **arguments):
        path = self.folder / "constant.toml"
        path.write_text(self.run_file.read_text().replace('"wsd"\nwarmup_steps = 2', '"constant"'))
        return self.train(1, run_dir, run_file=path, overrides=(f"run.updates={updates}",),
                          **arguments)

    def test_a_constant_run_may_be_made_longer_and_shorter(self):
        self.constant("run", 20)
        self.constant("run", 40)  # whose default warm-up would be twice as long
        self.assertEqual([row["lr"] for row in self.metrics("run")], [0, 0.005] + [0.01] * 38)
        shutil.copytree(self.folder / "run", self.folder / "third")
        self.constant("third", 42)
        self.constant("run", 30)
        self.assertIn("warmup_steps = 2\n", (self.folder / "run" / "config.toml").read_text())


class Refusals(RunTest):
    def test_a_finished_run_stays_finished_and_its_log_has_the_reason(self):
        self.train(1, "run")
        before = self.status("run")
        refused = self.train(1, "run", overrides=("run.updates=20",), expect=2)
        self.assert_one_clear_message(refused, "run.updates")
        self.assertEqual(self.status("run"), before)
        last = (self.folder / "run" / "log.txt").read_text().splitlines()[-1]
        self.assertRegex(last, r"error: .* changes the result: run\.updates: saved 8, now 20$")
        self.train(1, "run", overrides=('data.train="gone.h5"',), expect=3)
        self.assertEqual(self.status("run"), before)

    def test_a_run_goes_on_by_its_own_config_with_the_cores_it_finds(self):
        self.train(1, "cores", "--stop-after", "2", expect=75)
        config = self.folder / "cores" / "config.toml"
        self.assertIn("threads_per_rank = 0\n", config.read_text())
        again = call("taskset", "-c", min(os.sched_getaffinity(0)), SLUICE, "train", config)
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertIn("1 thread(s) per rank", again.stderr)


class Paths(RunTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls().train(1, "first", "--stop-after", "3", expect=75)
        cls.begun = cls().last_checkpoint("first")

    def test_the_same_command_goes_on(self):
        command = ("--resume", self.begun, "--stop-after", "2")
        self.train(1, "second", *command, expect=75)
        again = self.train(1, "second", *command, expect=75)
        self.assertIn("continues from update-00000005", again.stderr)
        self.train(1, "second", *command)
        self.train(1, "whole")
        self.assert_same_state("second", "whole")

    def test_from_another_folder_the_same_command_goes_on(self):
        (self.folder / "below").mkdir()
        command = [SLUICE, "train", str(self.run_file), "--stop-after", "2"]
        here = call(*command, "--run-dir", "third", "--resume", self.begun.relative_to(self.folder), cwd=self.folder)
        self.assertEqual(here.returncode, 75, here.stderr)
        there = call(*command, "--run-dir", "../third", "--resume", f"../{self.begun.relative_to(self.folder)}",
                     cwd=self.folder / "below")
        self.assertEqual(there.returncode, 75, there.stderr)
        self.assertIn("continues from update-00000005", there.stderr)
        for row in self.metrics("third", "checkpoint"):
            self.assertTrue(row["path"].startswith("/"), row)

    def test_another_history_is_refused(self):
        self.train(1, "other", "--stop-after", "4", expect=75)
        result = self.train(1, "other", "--resume", self.begun, expect=2)
        self.assert_one_clear_message(result, "update-00000004", "two histories", "auto")

    def test_a_run_folder_means_its_newest(self):
        self.train(1, "from-folder", "--resume", self.folder / "first")
        self.train(1, "whole-again")
        self.assert_same_state("from-folder", "whole-again")
        losses = [call(SLUICE, "eval", path, "--data", "validation.h5", "--json", cwd=self.folder)
                  for path in ("first", self.begun)]
        self.assertEqual(losses[0].returncode, 0, losses[0].stderr)
        self.assertEqual(losses[0].stdout, losses[1].stdout)

    def test_nothing_to_go_on_from(self):
        result = self.train(1, "nothing", "--resume", "nope", expect=3)
        self.assert_one_clear_message(result, "nope: this does not exist")
        self.assertEqual(result.stderr.count("what to do"), 1)


class Branches(RunTest):
    """Another recipe from a checkpoint on, as the decay of WSD from its stable phase."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        run = cls()
        run.train(1, "trunk", "--stop-after", "4", expect=75)
        cls.fork = run.last_checkpoint("trunk")
        run.train(1, "trunk")

    def branch(self, ranks, run_dir, *options, overrides=("run.updates=10", "lr_schedule.decay_fraction=0.6"), **more):
        return self.train(ranks, run_dir, "--branch", self.fork, *options, overrides=overrides, **more)

    def test_the_decay_of_another_length(self):
        result = self.branch(1, "decay")
        self.assertIn("from here on another recipe: run.updates: saved 8, now 10", result.stderr)
        rows = self.metrics("decay")
        self.assertEqual([row["update"] for row in rows], [*range(5, 11)])
        trunk = self.metrics("trunk")
        self.assertEqual(rows[0]["samples"], trunk[4]["samples"])  # it goes on in the data
        self.assertEqual([round(600 * row["lr"], 9) for row in rows], [6, 5, 4, 3, 2, 1])
        start, = self.metrics("decay", "start")
        self.assertEqual(start["resumed_from"], str(self.fork))
        self.assertEqual([change.split(":")[0] for change in start["changed_recipe"]],
                         ["lr_schedule.decay_fraction", "run.updates"])
        self.assertIn("which the branch goes through", result.stderr)

    def test_stopped_and_continued_by_the_same_command_it_is_the_same_to_the_bit(self):
        self.branch(1, "undisturbed")
        self.branch(2, "stopped", "--stop-after", "2", expect=75)
        self.assertEqual(self.metrics("stopped", "start")[0]["num_ranks"], 2)
        self.branch(1, "stopped")
        self.assert_same_state("stopped", "undisturbed")
        self.train(1, "stopped", overrides=("run.updates=10", "lr_schedule.decay_fraction=0.6"))  # by itself

    def test_moved_with_its_trunk_it_goes_on_by_the_same_command(self):
        project, moved = self.folder / "project", self.folder / "moved"
        shutil.copytree(self.folder / "trunk", project / "trunk")
        recipe = ("--set", "run.updates=10", "--set", "lr_schedule.decay_fraction=0.6")
        for path in (self.run_file, *self.folder.glob("*.h5")):
            shutil.copy(path, project)
        command = (SLUICE, "train", self.run_file.name, "--run-dir", "branch", *recipe,
                   "--branch", f"trunk/checkpoints/{self.fork.name}", "--stop-after", "2")
        self.assertEqual(call(*command, cwd=project).returncode, 75)
        self.assertEqual(call(*command, cwd=project).returncode, 75)
        project.rename(moved)
        result = call(*command, cwd=moved)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("continues from update-00000008", result.stderr)
        self.branch(1, "unmoved")
        self.assert_same_state("moved/branch", "unmoved")

    def test_one_that_dies_before_its_first_save_begins_again_by_itself(self):
        fault = self.branch(1, "dies", "--inject", "nan-gradient@7:0", expect=70)
        self.assertIn("not finite", fault.stderr)
        self.assertFalse(list((self.folder / "dies" / "checkpoints").glob("update-*")))
        again = call(SLUICE, "train", self.folder / "dies" / "config.toml", cwd=self.folder)
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertIn("it begins again with", again.stderr)
        self.branch(1, "lives")
        self.assert_same_state("dies", "lives")
        result = self.branch(1, "gone", "--inject", "nan-gradient@7:0", expect=70)
        moved = self.fork.with_name("moved")
        self.fork.rename(moved)
        result = call(SLUICE, "train", self.folder / "gone" / "config.toml", cwd=self.folder)
        moved.rename(self.fork)
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assert_one_clear_message(result, "a checkpoint that is gone", "--resume never")

    def test_it_does_not_begin_elsewhere_where_its_beginning_was_pruned(self):
        trunk = self.folder / "pruned-trunk"
        shutil.copytree(self.folder / "trunk", trunk)
        recipe = ("run.updates=10", "lr_schedule.decay_fraction=0.6")
        shutil.rmtree(trunk / "checkpoints/update-00000008")
        self.train(1, "begun", "--branch", trunk, "--inject", "nan-gradient@7:0", expect=70, overrides=recipe)
        (trunk / "checkpoints/update-00000004").rename(trunk / "aside")
        shutil.copytree(self.folder / "trunk/checkpoints/update-00000008", trunk / "checkpoints/update-00000008")
        result = self.train(1, "begun", "--branch", trunk, overrides=recipe, expect=3)
        self.assert_one_clear_message(result, "began with a checkpoint that is gone", "update-00000004", "--run-dir")
        (trunk / "aside").rename(trunk / "checkpoints/update-00000004")
        self.train(1, "begun", "--branch", trunk, overrides=recipe)
        self.branch(1, "unpruned")
        self.assert_same_state("begun", "unpruned")

    def test_a_warm_up_that_is_written_counts_also_where_it_is_the_default(self):
        result = self.branch(1, "written", overrides=("run.updates=40", "lr_schedule.warmup_steps=4"), expect=0)
        self.assertIn("lr_schedule.warmup_steps: saved 2, now 4", result.stderr)

    def test_a_warm_up_by_default_is_the_trunks_and_stays_it(self):
        path = self.folder / "default.toml"
        path.write_text(self.run_file.read_text().replace('"wsd"\nwarmup_steps = 2', '"wsd"'))

        def train(run_dir, *options, updates, expect):
            return self.train(1, run_dir, *options, run_file=path, overrides=(f"run.updates={updates}",), expect=expect)
        train("long", "--stop-after", "8", updates=40, expect=75)
        branch = ("--branch", self.last_checkpoint("long"))
        train("short", *branch, "--stop-after", "2", updates=20, expect=75)
        self.assertIn("warmup_steps = 4\n", (self.folder / "short" / "config.toml").read_text())
        train("short", *branch, "--stop-after", "2", updates=20, expect=75)
        train("short", updates=20, expect=0)

    def test_metrics_are_of_the_updates_that_led_there(self):
        self.branch(1, "again", "--inject", "nan-gradient@7:0", expect=70)
        self.assertEqual([row["update"] for row in self.metrics("again")], [5, 6])
        other = self.folder / "fork"
        shutil.copytree(self.folder / "trunk", other)
        self.train(1, "again", "--resume", other, overrides=())  # its newest, update 8: over
        self.assertEqual(self.metrics("again"), [])
        row, = self.metrics("again", "start")
        self.assertEqual(row["update"], 8)
        self.branch(1, "itself", "--inject", "nan-gradient@7:0", expect=70)
        self.train(1, "itself", "--resume", self.folder / "itself",
                   overrides=("run.updates=10", "lr_schedule.decay_fraction=0.6"))
        self.assertEqual([row["update"] for row in self.metrics("itself")], [*range(5, 11)])

    def test_metrics_of_saves_that_are_gone_are_kept(self):
        """A checkpoint of the run that comes back from elsewhere: beside others of the run, and alone."""
        for name, others in (("restored", True), ("alone", False)):
            with self.subTest(name):
                self.train(1, name, "--stop-after", "6", expect=75, overrides=("checkpoint.every_updates=2",))
                folder, side = self.folder / name, self.folder / f"{name}-side"
                self.last_checkpoint(name).rename(side)
                if not others:
                    shutil.rmtree(folder / "checkpoints")
                    (folder / "checkpoints").mkdir()
                result = self.train(1, name, "--resume", side)
                updates = [row["update"] for row in self.metrics(name)]
                other = folder / "metrics.jsonl.other"
                self.assertEqual(updates, [*range(1, 9)] if others else [7, 8])
                self.assertEqual(other.exists(), not others)
                if not others:
                    self.assertIn(str(other), result.stderr)
                    self.assertEqual(other.read_text().count('"event":"update"'), 6)
                self.assert_same_state(name, "trunk")

    def test_saves_that_are_not_there_are_missed(self):
        self.branch(1, "lost", "--stop-after", "2", expect=75)
        checkpoints = self.folder / "lost" / "checkpoints"
        checkpoints.rename(self.folder / "elsewhere")
        result = self.branch(1, "lost", expect=3)
        self.assert_one_clear_message(result, "tells of a save of update 6")

    def test_a_length_that_is_over(self):
        result = self.branch(1, "over", overrides=("run.updates=4",), expect=2)
        self.assert_one_clear_message(result, "the checkpoint is of update 4", "run.updates = 4")

    def test_without_a_change_it_is_the_trunk(self):
        self.branch(1, "copy", overrides=())
        self.assert_same_state("copy", "trunk")

    def test_what_a_branch_cannot_leave(self):
        result = self.branch(1, "wider", overrides=("model.num_layers=5", "optimizer.lr=1"), expect=2)
        self.assert_one_clear_message(result, "model.num_layers: saved 6, now 5")
        self.assertNotIn("optimizer.lr", result.stderr)
        result = self.branch(1, "trunk", expect=2)
        self.assert_one_clear_message(result, "a run folder of its own", "--run-dir")
        self.train(1, "other", "--stop-after", "1", expect=75)
        result = self.branch(1, "other", expect=2)
        self.assert_one_clear_message(result, "two histories")
        result = self.branch(1, "both", "--resume", "never", expect=2)
        self.assertIn("--branch", result.stderr)
        refused = self.train(1, "plain", "--resume", self.fork, overrides=("optimizer.lr=1",), expect=2)
        self.assert_one_clear_message(refused, "optimizer.lr", "--branch")


class Arithmetic(RunTest):
    """Processors and libraries that round in another way; here oneDNN is told to use older instructions."""
    older = ("env", "ONEDNN_MAX_CPU_ISA=SSE41")

    def test_a_resume_that_rounds_in_another_way_says_so(self):
        self.train(1, "run", "--stop-after", "3", expect=75)
        self.train(1, "run", "--stop-after", "3", expect=75)
        index = h5py.File(self.last_checkpoint("run") / "checkpoint.h5")
        saved = index["progress"].attrs["arithmetic"].decode()
        self.assertIn("oneDNN", saved)
        self.assertEqual(index["progress"].attrs["program"].decode(),
                         call(SLUICE, "--version").stdout.strip())
        result = call(*self.older, *self.command(1, "run"), cwd=self.folder)
        self.assertEqual(result.returncode, 0, result.stderr)
        starts = self.metrics("run", "start")
        self.assertEqual([row["arithmetic"] == saved for row in starts], [True, True, False])
        self.assertIn(f"computed by {saved} when saved, by {starts[-1]['arithmetic']} now: from here on sums "
                      "are rounded in another order", result.stderr)
        log = (self.folder / "run" / "log.txt").read_text()
        self.assertEqual(log.count("rounded in another order"), 1)
        shown = call(SLUICE, "inspect", self.folder / "run")
        self.assertIn(f"computed by {starts[-1]['arithmetic']}", shown.stdout)

    def test_ranks_that_round_in_different_ways_are_named(self):
        train = self.command(1, "mixed", "--stop-after", "1")
        result = call(MPIRUN, "--quiet", "-n", "1", *train, ":", "-n", "1", *self.older, *train, cwd=self.folder)
        self.assertEqual(result.returncode, 75, result.stderr)
        self.assertIn("ranks round in different ways", result.stderr)
        self.assertIn("(SSE4.1)", result.stderr)
        self.assertIn(" | ", self.metrics("mixed", "start")[0]["arithmetic"])


if __name__ == "__main__":
    unittest.main()
