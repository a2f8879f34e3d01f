"""Each mistake: one clear message, the right exit code, nothing lost."""

import ctypes
import fcntl
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import unittest

import h5py
from harness import SLOWER, SLUICE, RunTest, call, environment

DEMO = pathlib.Path(__file__).resolve().parents[2] / "recipes" / "demo.sh"


class Xxh128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


def checksum_of(text):
    xxh3 = ctypes.CDLL("libxxhash.so.0").XXH3_128bits
    xxh3.restype, xxh3.argtypes = Xxh128, (ctypes.c_char_p, ctypes.c_size_t)
    found = xxh3(text, len(text))
    return f"{found.high:016x}{found.low:016x}"


class RunFiles(RunTest):
    def refuse(self, *parts, expect=2, ranks=1, overrides=(), options=(), run_file=None):
        result = self.train(ranks, "refused", *options, expect=expect, overrides=overrides,
                            run_file=run_file)
        self.assert_one_clear_message(result, *parts)

    def test_misspelt_key_names_the_nearest(self):
        path = self.write_run_file("misspelt.toml")
        path.write_text(path.read_text().replace("warmup_steps = 2\n[optimizer]",
                                                 "warmup_stps = 2\n[optimizer]"))
        self.refuse("misspelt.toml:11", "warmup_stps", "warmup_steps", run_file=path)

    def test_misspelt_override(self):
        self.refuse("optimizer.lrr", "optimizer.lr", overrides=("optimizer.lrr=1",))

    def test_impossible_values(self):
        for override, part in (("model.num_heads=5", "num_heads"),
                               ("batch.micro_batch_size=3", "micro_batch_size"),
                               ("prores.schedule=quadratic", "linear-square"),
                               ("optimizer.lr=-1", "optimizer.lr"),
                               ("batch.seq_len=4096", "seq_len"),
                               ("pipeline.replicas=2", "replicas = 1")):
            with self.subTest(override=override):
                self.refuse(part, overrides=(override,))

    def test_both_lengths_of_the_warm_up(self):
        path = self.write_run_file("both.toml")
        path.write_text(path.read_text().replace("[optimizer]", "total_warmup_steps = 12\n[optimizer]"))
        self.refuse("both.toml:", "total_warmup_steps", "warmup_steps", run_file=path)

    def test_more_stages_than_layers(self):
        self.refuse("7", "6", ranks=7)

    def test_partition_that_does_not_add_up(self):
        self.refuse("pipeline.partition", ranks=2, overrides=("pipeline.partition=3,4",))

    def test_more_memory_than_there_is(self):
        for schedule in ("1f1b", "auto"):
            with self.subTest(schedule=schedule):
                self.refuse("does not fit", "GB", "weights", ranks=2, overrides=(
                    "model.hidden_size=16384", "model.num_heads=128", "model.intermediate_size=65536",
                    f"pipeline.schedule={schedule}"))

    def test_schedule_files_that_cannot_run(self):
        path = self.folder / "schedule.txt"
        for text, part in (("ranks 2 chunks 2", "microbatches"),
                           ("ranks 2 chunks 2 microbatches 5\n0: 0F0 O\n1: 1F0 O\n", "cannot run"),
                           ("ranks 1 chunks 1 microbatches 4\n0: 0F0 O\n", "1 ranks"),
                           ("ranks 2 chunks 2 microbatches 4\n0: 0X0 O\n1: O\n", "0X0")):
            with self.subTest(text=text):
                path.write_text(text)
                self.refuse("schedule.txt", part, ranks=2, overrides=(
                    "pipeline.schedule=custom", f"pipeline.schedule_file={path}"))

    def test_missing_run_file(self):
        self.refuse("nowhere.toml", "No such file", run_file=self.folder / "nowhere.toml")

    def test_not_toml(self):
        path = self.folder / "broken.toml"
        path.write_text("[model\nlayers = ")
        self.refuse("broken.toml:1", run_file=path)

    def test_a_pipe_as_run_file(self):
        for command in (("train", "/dev/stdin", "--ranks", "2", "--run-dir", "piped"),
                        ("submit", "/dev/stdin", "--nodes", "1", "--dry-run")):
            result = subprocess.run([SLUICE, *command], cwd=self.folder, env=environment(), text=True,
                                    input=self.run_file.read_text(), capture_output=True, timeout=60, check=False)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assert_one_clear_message(result, "/dev/stdin: a pipe gives the run file once")

    def test_misspelt_flag_and_command(self):
        result = call(SLUICE, "train", "--run-dri", "x", self.run_file)
        self.assertEqual(result.returncode, 2)
        self.assert_one_clear_message(result, "--run-dri", "--run-dir")
        result = call(SLUICE, "eval", "run", "--dat", "x.h5")  # and --data is missing
        self.assertEqual(result.returncode, 2)
        self.assert_one_clear_message(result, "--dat'", "--data")
        result = call(SLUICE, "trian", self.run_file)
        self.assertEqual(result.returncode, 2)
        self.assert_one_clear_message(result, "trian", "train")

    def test_a_command_of_a_later_version_says_so(self):
        result = call(SLUICE, "export", "x", "--to", "hf")
        self.assertEqual(result.returncode, 2)
        self.assert_one_clear_message(result, "export")

    def test_help_everywhere(self):
        for words in ((), ("train",), ("data", "prepare"), ("data", "show"), ("eval",), ("plan",),
                      ("inspect",), ("doctor",)):
            result = call(SLUICE, *words, "--help")
            self.assertEqual(result.returncode, 0)
            self.assertIn("--help", result.stdout)
            self.assertIn(" ".join(("Usage: sluice", *words, "[OPTIONS]")), result.stdout)


    def test_a_seed_beyond_63_bits(self):
        self.refuse("run.seed", "beyond 63 bits", overrides=("run.seed=99999999999999999999",))

    def test_help_of_no_command(self):
        result = call(SLUICE, "trian", "--help")
        self.assertEqual(result.returncode, 2)
        self.assert_one_clear_message(result, "trian", "train")
        for command in ("data", "checkpoint"):
            result = call(SLUICE, command)
            self.assertEqual(result.returncode, 2)
            self.assertIn(f"Usage: sluice {command} ", result.stderr)

    def test_numbers_that_cannot_be(self):
        for words in (("train", self.run_file, "--stop-after", "-1"),
                      ("eval", "x", "--data", "y", "--tokens", "0"),
                      ("data", "prepare", "--input", "x", "--tokenizer", "bytes", "--out", "y", "--max-bytes", "-1"),
                      ("data", "prepare", "--input", "x", "--tokenizer", "bytes", "--out", "y", "--split-seed", "-1"),
                      ("data", "show", self.run_file, "--update", "0"),
                      ("data", "show", self.run_file, "--update", str(2 ** 63 - 1)),
                      ("train", self.run_file, "--stop-after", "9" * 30)):
            with self.subTest(words=words):
                result = call(SLUICE, *words)
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assert_one_clear_message(result, words[-2], words[-1])
                self.assertLess(len(result.stderr), 200)

    def test_an_empty_run_folder_is_no_default(self):
        for command in ("train", "submit"):
            result = call(SLUICE, command, self.run_file, "--run-dir", "", cwd=self.folder)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assert_one_clear_message(result, "--run-dir", "empty")

    def test_empty_words_are_named(self):
        for *words, last in (("data", "prepare", "--input", "texts", "--tokenizer", "bytes", "--out"),
                             ("checkpoint", "merge", "run", "--out"), ("eval", "run", "--data"),
                             ("train", self.run_file, "--resume"), ("plan", self.run_file, "--svg")):
            result = call(SLUICE, *words, last, "", cwd=self.folder)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assert_one_clear_message(result, f"{last}: it is empty")

    def test_memory_that_sbatch_would_not_take(self):
        for memory in ("lots", "M", "-1G", "2.5G", "12GB"):
            result = call(SLUICE, "submit", self.run_file, "--dry-run", f"--mem={memory}")
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assert_one_clear_message(result, "--mem", f"'{memory}' is not")

    def test_times_that_sbatch_would_not_take(self):
        for time in ("abc", "1:2:3:4", "1-", "2h", "1-2-3", "-5"):
            result = call(SLUICE, "submit", self.run_file, "--dry-run", f"--time={time}")
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assert_one_clear_message(result, "--time", f"'{time}' is not")
        for time in ("90", "90:00", "12:00:00", "1-12", "1-12:30", "1-12:30:00", "UNLIMITED"):
            result = call(SLUICE, "submit", self.run_file, "--dry-run", f"--time={time}", cwd=self.folder)
            self.assertIn(f"#SBATCH --time={time}\n", result.stdout, result.stderr)


class FullDisks(RunTest):
    """What could not be printed is said, and the exit code says so too."""

    def test_full_standard_output(self):
        self.train(1, "run")
        checkpoint = self.last_checkpoint("run")
        for words in (("plan", self.run_file, "--stages", "2", "--print-schedule"),
                      ("plan", self.run_file, "--stages", "2", "--compare"),
                      ("data", "show", self.run_file, "--update", "1", "--json"),
                      ("data", "info", "train.h5"),
                      ("inspect", "run"),
                      ("inspect", "run", "--tensors", "--json"),
                      ("eval", checkpoint, "--data", "validation.h5"),
                      ("checkpoint", "list", "run"),
                      ("submit", self.run_file, "--dry-run"),
                      ("doctor",), ("--help",), ("--version",), ("plan", "--help")):
            with self.subTest(words=words), open("/dev/full", "w") as full:
                result = subprocess.run([SLUICE, *map(str, words)], cwd=self.folder, text=True,
                                        env=environment(), stdout=full, stderr=subprocess.PIPE)
                self.assertEqual(result.returncode, 3, result.stderr)
                self.assert_one_clear_message(result, "standard output", "No space left")


class Faults(RunTest):
    """A drill that would break nothing is a mistake; it must not look like a run that held."""

    def refuse(self, fault, *parts, ranks=1, **options):
        result = self.train(ranks, "refused", "--inject", fault, expect=2, **options)
        self.assert_one_clear_message(result, "--inject", *parts)

    def test_faults_without_a_target(self):
        self.refuse("nan-gradient@9:0", "update 9", "= 8")
        self.refuse("nan-gradient@0:0", "count from 1")
        self.refuse("nan-gradient@5-4:0", "from 5 to 4")
        self.refuse("nan-gradient@5:6", "layer 6", "0 to 5")
        self.refuse("nan-gradient@5:1:1", "replica 1")

    def test_faults_that_nothing_would_notice(self):
        self.refuse("flip-exchange@5:1", "replicas")
        self.refuse("flip-weight@5:1", "replicas")
        self.refuse("flip-activation@5:1", "verify_transfers", overrides=("pipeline.verify_transfers=false",))
        self.refuse("wrong-gradient@5:1", "repeat_every")
        self.refuse("wrong-gradient@5:1", "multiple", overrides=("anomaly.repeat_every=3",))

    def test_flips_where_no_message_arrives(self):
        self.refuse("flip-activation@4:1", "layer 1", "more ranks")
        self.refuse("flip-activation@4:1", "layer 1", "3 to 5", ranks=2)
        self.refuse("flip-gradient@4:4", "layer 4", "0 to 2", ranks=2)

    def test_a_fault_that_lies_behind_the_run(self):
        self.train(1, "behind", "--stop-after", "4", expect=75)
        result = self.train(1, "behind", "--inject", "nan-gradient@3:1")
        self.assertIn("nothing was broken", result.stderr)
        result = self.train(1, "met", "--inject", "slow@3-5:1")
        self.assertEqual(result.stderr.count("update 3 is broken on purpose: --inject slow@3-5:1"), 1)
        self.assertNotIn("nothing was broken", result.stderr)


class Demo(unittest.TestCase):
    """The demo begins anew; what it deletes has to be its own."""

    def refuse(self, folder, part):
        (folder / "precious").write_text("1")
        result = subprocess.run([DEMO, SLUICE], env={**environment(), "DEMO_DIR": str(folder)},
                                text=True, capture_output=True, timeout=60)
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn(part, result.stderr)
        self.assertTrue((folder / "precious").exists())

    def test_deletes_only_its_own(self):
        with tempfile.TemporaryDirectory() as name:
            self.refuse(pathlib.Path(name), "not the demo's")

    def test_deletes_no_run_that_is_under_way(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "made-by-the-demo").touch()
            with open(folder / ".lock", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self.refuse(folder, "is writing")


class TokenFiles(RunTest):
    def refuse(self, path, *parts, ranks=1):
        result = self.train(ranks, "refused", expect=3, overrides=(f"data.train='{path}'",))
        self.assert_one_clear_message(result, path.name, *parts)

    def copy(self, name):
        return shutil.copy(self.folder / "train.h5", self.folder / name)

    def test_missing(self):
        self.refuse(self.folder / "nowhere.h5", ranks=2)

    def test_truncated(self):
        path = self.copy("truncated.h5")
        os.truncate(path, path.stat().st_size // 2)
        self.refuse(path, ranks=2)

    def test_not_a_token_file(self):
        path = self.folder / "other.h5"
        with h5py.File(path, "w") as file:
            file["x"] = [1, 2, 3]
        self.refuse(path)
        path.write_text("not HDF5 at all")
        self.refuse(path)

    def test_token_outside_the_vocabulary(self):
        path = self.copy("outside.h5")
        with h5py.File(path, "r+") as file:
            file["tokens"][::7] = 60000
        self.refuse(path, "60000")
        self.refuse(path, "60000", ranks=2)

    def test_model_with_too_small_a_vocabulary(self):
        result = self.train(1, "refused", expect=3, overrides=("model.vocab_size=100",))
        self.assert_one_clear_message(result, "vocab")

    def test_swapped_between_stop_and_resume(self):
        self.train(1, "swapped", "--stop-after", 2, expect=75)
        result = self.train(1, "swapped", expect=2, overrides=("data.train=validation.h5",))
        self.assert_one_clear_message(result, "train_checksum")


class Checkpoints(RunTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls().train(2, "saved", "--stop-after", 4, expect=75,
                    overrides=("checkpoint.every_updates=2",))
        cls().train(1, "whole")

    def copy(self, name):
        shutil.copytree(self.folder / "saved", self.folder / name)
        return self.last_checkpoint(name)

    def damage(self, checkpoint, how):
        path = checkpoint / "stage-0001-of-0002.h5"
        if how == "missing":
            path.unlink()
        elif how == "truncated":
            os.truncate(path, path.stat().st_size - 1000)
        else:
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)

    def test_damage_is_named_and_the_previous_one_is_used(self):
        for how in ("missing", "truncated", "flipped"):
            with self.subTest(how=how):
                checkpoint = self.copy(how)
                self.damage(checkpoint, how)
                verify = call(SLUICE, "inspect", checkpoint, "--verify")
                self.assertEqual(verify.returncode, 3)
                self.assertIn("stage-0001-of-0002.h5", verify.stdout + verify.stderr)
                result = self.train(1, how, expect=3, *("--resume", checkpoint))
                self.assert_one_clear_message(result, "stage-0001-of-0002.h5")
                result = self.train(2, how)
                self.assertIn("stage-0001-of-0002.h5", result.stderr)
                self.assertEqual(self.metrics(how, "start")[-1]["update"], 2)
                self.assert_same_curve(how, "whole")
                self.assert_same_state(how, "whole")

    def test_without_a_manifest_it_does_not_exist(self):
        checkpoint = self.copy("no-manifest")
        (checkpoint / "manifest.json").unlink()
        self.train(1, "no-manifest")
        self.assertEqual(self.metrics("no-manifest", "start")[-1]["update"], 2)

    def test_a_forged_manifest_never_leads_outside(self):
        """With a checksum that is right again: there is more than one thing in its way."""
        checkpoint = self.copy("forged")
        path = checkpoint / "manifest.json"
        text = path.read_text().replace("stage-0000-of-0002.h5", "../../../run.toml")
        stored = json.loads(text)["manifest_checksum"]
        blank = text.replace(stored, "0" * len(stored))
        path.write_text(text.replace(stored, checksum_of(blank.encode())))
        result = self.train(1, "forged", *("--resume", checkpoint), expect=3)
        self.assert_one_clear_message(result, "manifest.json", 'names the file "../../../run.toml"')

    def test_a_changed_run_file_is_refused_with_every_difference(self):
        self.copy("changed")
        result = self.train(1, "changed", expect=2,
                            overrides=("optimizer.lr=0.02", "prores.warmup_steps=3"))
        self.assert_one_clear_message(result, "optimizer.lr", "0.02", "prores.warmup_steps")
        self.train(3, "changed", overrides=("pipeline.schedule=gpipe", "eval.every_updates=2"))

    def test_never_refuses_a_folder_with_checkpoints(self):
        self.copy("never")
        result = self.train(1, "never", "--resume", "never", expect=2)
        self.assert_one_clear_message(result, "--resume never")

    def test_a_run_that_is_done_stays_done(self):
        before = (self.folder / "whole" / "metrics.jsonl").read_text().count('"update"')
        self.train(2, "whole")
        self.assertEqual(len(self.metrics("whole")), self.updates)
        self.assertGreaterEqual(before, self.updates)


class Folders(RunTest):
    def test_what_does_not_exist_is_said_not_to(self):
        for command in (("inspect", "nope"), ("checkpoint", "list", "nope"),
                        ("checkpoint", "prune", "nope", "--keep-last", 1)):
            with self.subTest(command=command):
                result = call(SLUICE, *command, cwd=self.folder)
                self.assertEqual(result.returncode, 3, result.stderr)
                self.assert_one_clear_message(result, "nope: this does not exist", "what to do")

    def test_a_run_folder_that_is_a_link_to_nothing(self):
        (self.folder / "dangling").symlink_to("gone")
        for run_dir in ("dangling", "dangling/run"):
            result = self.train(2, run_dir, expect=3)
            self.assert_one_clear_message(result, f"{self.folder}/dangling: ", "symbolic link",
                                          "leads to nothing", "--run-dir")
        (self.folder / "gone").mkdir()
        self.train(2, "dangling", "--stop-after", 1, expect=75)
        self.train(1, "gone", "--stop-after", 1, expect=75)
        self.assertTrue((self.folder / "dangling").is_symlink())

    def test_a_run_folder_that_goes_during_the_run(self):
        for asynchronous in ("true", "false"):
            with self.subTest(asynchronous=asynchronous):
                run_dir, elsewhere = self.folder / "goes", self.folder / "elsewhere"
                run = subprocess.Popen(self.command(2, "goes", overrides=(
                    "run.updates=1000000", "checkpoint.every_updates=5", "checkpoint.keep_last=2",
                    f"checkpoint.asynchronous={asynchronous}")), cwd=self.folder, env=environment(),
                    stderr=subprocess.PIPE, text=True)
                self.addCleanup(run.kill)
                deadline = time.monotonic() + 60 * SLOWER
                while not list(run_dir.glob("checkpoints/update-*")) and run.poll() is None:
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.05)
                run_dir.rename(elsewhere)
                said = run.communicate(timeout=60 * SLOWER)[1]
                self.assertEqual(run.returncode, 3, said)
                self.assertFalse(run_dir.exists())
                self.assertIn("what to do", said)
                self.assertEqual(said.count("sluice: "), 1, said)
                self.assertIn(str(run_dir), said)
                shutil.rmtree(elsewhere)

    def test_what_goes_during_the_run_is_put_back(self):
        run = subprocess.Popen(self.command(1, "cleaned", overrides=("run.updates=1000000", "eval.every_updates=0")),
                               cwd=self.folder, env=environment(), stderr=subprocess.PIPE, text=True)
        self.addCleanup(run.kill)
        metrics, status = self.folder / "cleaned/metrics.jsonl", self.folder / "cleaned/status.json"
        deadline = time.monotonic() + 60 * SLOWER
        while not (metrics.exists() and '"update":5,' in metrics.read_text()):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        metrics.unlink()
        status.unlink()
        (self.folder / "cleaned/log.txt").rename(self.folder / "cleaned/log.1")
        run.terminate()
        said = run.communicate(timeout=60 * SLOWER)[1]
        self.assertEqual(run.returncode, 75, said)
        self.assertIn("was deleted, moved or replaced", said)
        self.assertEqual([row["update"] for row in self.metrics("cleaned")][:5], [1, 2, 3, 4, 5])
        self.assertEqual(len(self.metrics("cleaned", "stop")), 1)
        self.assertEqual(self.status("cleaned")["state"], "stopped")
        self.assertIn("stopped at update", (self.folder / "cleaned/log.txt").read_text())
        self.assertNotIn("stopped at update", (self.folder / "cleaned/log.1").read_text())

    def test_a_log_that_is_a_pipe_does_not_hold_up_the_run(self):
        (self.folder / "piped").mkdir()
        os.mkfifo(self.folder / "piped/log.txt")
        self.assert_one_clear_message(self.train(1, "piped", expect=3), "log.txt", "this is a pipe")

    def test_paths_that_cannot_be_followed(self):
        circle = self.folder / "circle"
        circle.symlink_to(circle.name)
        for path in (circle / "x", self.folder / ("x" * 300)):
            for command in (("inspect", path), ("checkpoint", "list", path), ("data", "info", path),
                            ("eval", path, "--data", self.folder / "validation.h5"),
                            ("data", "prepare", "--input", self.run_file, "--tokenizer", "bytes",
                             "--out", path)):
                with self.subTest(command=command):
                    result = call(SLUICE, *command)
                    self.assertEqual(result.returncode, 3, result.stderr)
                    self.assert_one_clear_message(result, f"{path}", "what to do")
                    self.assertNotIn("filesystem error", result.stderr)
            for ranks in (1, 2):
                with self.subTest(path=path, ranks=ranks):
                    result = self.train(ranks, "fresh", "--resume", path, expect=3)
                    self.assert_one_clear_message(result, f"{path}", "what to do")
                    self.assertNotIn("action", result.stderr)
                    self.assertNotIn("filesystem error", result.stderr)

    def test_a_run_folder_that_cannot_be_made(self):
        (self.folder / "a-file").write_text("")
        result = self.train(2, "a-file/run", expect=3)
        self.assert_one_clear_message(result, "a-file", "--run-dir")


if __name__ == "__main__":
    unittest.main()
