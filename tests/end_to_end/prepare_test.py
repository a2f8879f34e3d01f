"""Texts that are none, and outputs in the way: one clear message, nothing lost."""

import fcntl
import gzip
import json
import os
import subprocess
import unittest

from harness import SLOWER, SLUICE, RunTest, call, environment


class Texts(RunTest):
    def refuse(self, content, *parts, name="input.txt", options=()):
        path = self.folder / name
        path.write_bytes(content)
        result = call(SLUICE, "data", "prepare", "--input", path, "--tokenizer", "bytes", "--out",
                      self.folder / "refused.h5", *options)
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assert_one_clear_message(result, name, *parts)
        self.assertFalse((self.folder / "refused.h5").exists())
        self.assertEqual([p.name for p in self.folder.glob("*refused*")], [])

    def test_empty(self):
        self.refuse(b"")

    def test_binary(self):
        self.refuse(bytes(range(256)) * 8)

    def test_damaged_gzip(self):
        packed = bytearray(gzip.compress(b'{"text": "water flows"}\n' * 3000))
        packed[-5] ^= 0xFF  # of the checksum, behind text that can be read
        self.refuse(bytes(packed), "data check", name="damaged.json.gz")

    def test_truncated_gzip(self):
        packed = gzip.compress(os.urandom(3000).hex().encode())
        self.refuse(packed[:len(packed) // 2], "ends in the middle", name="truncated.json.gz")

    def test_json_without_text(self):
        self.refuse(b'{"text": "a"}\n{"body": "b"}\n', "2", "text", name="lines.jsonl")

    def test_json_that_is_none(self):
        self.refuse(b'{"text": "a"}\n{"text": \n', "2", name="broken.jsonl")

    def test_missing_input_and_tokenizer(self):
        for options in (("--input", "nowhere.txt", "--tokenizer", "bytes"),
                        ("--input", self.run_file, "--tokenizer", "nowhere.model")):
            result = call(SLUICE, "data", "prepare", *options, "--out", self.folder / "refused.h5")
            self.assertEqual(result.returncode, 3, result.stderr)
            self.assert_one_clear_message(result, "nowhere")


class InputsAndOutputs(RunTest):
    """A text is never written over, wherever it was found."""

    def test_an_output_between_the_inputs(self):
        texts = self.folder / "texts"
        before = {path.name: path.read_text() for path in texts.iterdir()}
        prepare = ("data", "prepare", "--input", texts, "--tokenizer", "bytes")
        for options in (("--out", texts / "03.txt"),
                        ("--out", "a.h5", "--validation-fraction", "0.2", "--validation-out", "texts/../texts/03.txt")):
            result = call(SLUICE, *prepare, *options, cwd=self.folder)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assert_one_clear_message(result, "03.txt: this is an input as well")
        self.assertEqual({path.name: path.read_text() for path in texts.iterdir()}, before)
        for _ in range(2): # what was made there before is no text, and may be made anew
            self.assertEqual(call(SLUICE, *prepare, "--out", texts / "tokens.h5").returncode, 0)
        result = call(SLUICE, *prepare, "--out", "b.h5", "--validation-fraction", "0.2", "--validation-out",
                      "./b.h5", cwd=self.folder)
        self.assert_one_clear_message(result, "cannot be the same file")


class Outputs(RunTest):
    """What is written under a name replaces files, and nothing else."""

    def commands(self, out):
        yield "data", "prepare", "--input", self.run_file, "--tokenizer", "bytes", "--out", out
        yield "plan", self.run_file, "--svg", out
        yield "plan", self.run_file, "--costs", "measure", "--save-costs", out

    def test_a_pipe_is_refused_and_stays(self):
        pipe = self.folder / "pipe"
        os.mkfifo(pipe)
        before = sorted(os.listdir(self.folder))
        for command in self.commands(pipe):
            with self.subTest(command=command):
                result = call(SLUICE, *command)
                self.assertEqual(result.returncode, 3, result.stderr)
                self.assert_one_clear_message(result, str(pipe), "this is a pipe", "what to do")
                self.assertEqual(result.stdout, "")
                self.assertTrue(pipe.is_fifo())
                self.assertEqual(sorted(os.listdir(self.folder)), before)

    def test_a_link_is_followed_and_stays(self):
        link, file = self.folder / "link", self.folder / "behind-the-link"
        link.symlink_to(file.name)
        for command in self.commands(link):
            with self.subTest(command=command):
                result = call(SLUICE, *command)
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertTrue(link.is_symlink())
                self.assertGreater(file.stat().st_size, 0)
                file.unlink()

    def test_a_file_that_another_program_writes(self):
        out = self.folder / "shared.h5"
        command = (SLUICE, "data", "prepare", "--input", self.run_file, "--tokenizer", "bytes", "--out", out)
        with open(f"{out}.lock", "w+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.write("process 4711 on n2")
            lock.flush()
            result = call(*command)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assert_one_clear_message(result, str(out), "process 4711 on n2", "is writing this file",
                                          "what to do")
            self.assertFalse(out.exists())
        result = call(*command)  # a lock that was left behind
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual([p.name for p in self.folder.glob("shared*")], ["shared.h5"])

    def test_two_at_a_time_do_not_mix_their_bytes(self):
        command = [SLUICE, "data", "prepare", "--input", "/usr/include", "--max-bytes", "20000000",
                   "--tokenizer", "bytes", "--out", self.folder / "raced.h5", "--quiet"]
        runs = [subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)
                for _ in range(2)]
        said = [run.communicate(timeout=60 * SLOWER)[1] for run in runs]
        codes = sorted(run.returncode for run in runs)
        self.assertIn(codes, ([0, 0], [0, 2]), said)  # both, where one was through before the other began
        self.assertEqual(call(SLUICE, "data", "info", self.folder / "raced.h5", "--verify").returncode, 0)

    def test_a_folder_that_is_not_there_is_named_as_it_was_given(self):
        path = self.folder / "nowhere" / "timeline.svg"
        result = call(SLUICE, "plan", self.run_file, "--svg", path)
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assert_one_clear_message(result, f"{path}: No such file", "what to do")


if __name__ == "__main__":
    unittest.main()
