"""The batch scripts on a real Slurm: the cluster on your desk, two nodes on this machine."""

import os
import pathlib
import re
import shutil
import subprocess
import time
import unittest

from harness import RunTest, SLUICE, call, environment

SOURCE = pathlib.Path(__file__).resolve().parents[2]
CLUSTER = SOURCE / "slurm" / "cluster" / "cluster"
DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch", "unshare")


def missing_programs():
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [name for name in DAEMONS if not shutil.which(name, path=path)]


def settings_of(site):
    lines = (SOURCE / "slurm" / "sites" / site).read_text().splitlines()
    pairs = (line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {name: value.strip('"') for name, value in pairs}


class DeskCluster(RunTest):
    """One cluster for all tests of a class, gone afterwards whatever happened."""

    updates = 1_000_000

    @classmethod
    def setUpClass(cls):
        if missing_programs():
            # CTest counts this line as skipped.
            raise unittest.SkipTest("skipped: Slurm is not installed: " +
                                    ", ".join(missing_programs()))
        super().setUpClass()
        cls.state = cls.folder / "desk"
        cls.variables = {**environment(), **settings_of("desk.env"),
                         "SLUICE_CLUSTER_DIR": str(cls.state), "SLUICE_CLUSTER_CPUS": "16",
                         "SLUICE_CLUSTER_GRACE": "40", "SLUICE_CLUSTER_KILL_WAIT": "30",
                         "SLUICE_CLUSTER_HOLD": "10",
                         "SLURM_CONF": str(cls.state / "etc/slurm.conf"),
                         "SLUICE": SLUICE, "SLUICE_SLURM": str(SOURCE / "slurm")}
        del cls.variables["SBATCH_TIMELIMIT"]
        cls.addClassCleanup(cls.cluster, "down")
        up = cls.cluster("up")
        if "forbids" in up.stderr or "install sudo" in up.stderr:
            raise unittest.SkipTest("skipped: Slurm cannot run here: " + up.stderr)
        if up.returncode != 0:
            raise RuntimeError(up.stdout + up.stderr)

    @classmethod
    def slurm(cls, *command, timeout=60):
        return subprocess.run([str(word) for word in command], env=cls.variables, cwd=cls.folder,
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL, timeout=timeout)

    @classmethod
    def cluster(cls, command):
        return cls.slurm(CLUSTER, command)

    def submit(self, name, *options, script="train.sbatch", partition="main", nodes="n1", tasks=2,
               train=(), **variables):
        """Job id. All of a job's output goes to NAME.out."""
        result = subprocess.run(
            ["sbatch", "--parsable", f"--nodelist={nodes}", f"--ntasks-per-node={tasks}",
             f"--partition={partition}", f"--job-name={name}", f"--output={name}.out", *options,
             str(SOURCE / "slurm" / script), str(self.run_file), "--set", "eval.every_updates=0",
             *train],
            env={**self.variables, "SLUICE_RUN_DIR": str(self.folder / name), **variables},
            cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout.strip()

    def log(self, name):
        path = self.folder / f"{name}.out"
        return path.read_text(errors="replace") if path.exists() else ""

    def state_of(self, job):
        shown = self.slurm("scontrol", "show", "job", job).stdout
        return re.search(r"JobState=(\w+)", shown).group(1)

    def wait_for(self, what, condition, seconds=240):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = condition()
            if found:
                return found
            time.sleep(0.1)
        logs = "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}"
                         for path in sorted(self.folder.glob("*.out")))
        self.fail(f"waited {seconds} s for {what}\n{self.slurm('squeue').stdout}\n{logs}")

    def wait_for_update(self, name, update):
        metrics = self.folder / name / "metrics.jsonl"
        self.wait_for(f"update {update} of {name}", lambda: metrics.exists() and
                      f'"update":{update},' in metrics.read_text().replace(" ", ""))

    def wait_for_end(self, job):
        return self.wait_for(f"the end of job {job}", lambda: self.state_of(job) in (
            "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL") and self.state_of(job))

    def wait_for_restart(self, name):
        """Until the job has started again and got further than before."""
        self.wait_for(f"a restart of {name}", lambda: "start 1 on" in self.log(name))
        self.wait_for(f"resuming of {name}", lambda: "resumed from" in self.log(name))
        resumed = int(re.search(r"resumed from .* at update (\d+)", self.log(name)).group(1))
        self.wait_for_update(name, resumed + 2)

    def stop(self, name, job):
        (self.folder / name / "STOP").touch()
        self.assertEqual(self.wait_for_end(job), "FAILED")  # not finished: dependents must not run
        self.assertIn("STOP file", self.status(name)["reason"])
        self.assertFalse((self.folder / name / "STOP").exists())


# Jobs that go on until something happens to them sleep most of each update: the machine is for others.
SLEEPY = ("--inject", "slow@1-1000000:0")


class Events(DeskCluster):
    """Everything that happens to jobs, at once: Slurm's own delays are most of the time."""

    def test_events(self):
        finish = self.submit("finish", nodes="n1,n2", tasks=1, train=("--set", "run.updates=8"))
        limit = self.submit("limit", "--time=1", "--signal=USR1@55", train=SLEEPY)
        again = self.submit("again", train=SLEEPY)
        cancelled = self.submit("cancelled", train=SLEEPY)
        stalled = self.submit("stalled", train=("--inject", "nan-gradient@2:3"),
                              SLUICE_MAX_STALLED="2")
        slices = self.submit("slices", "--array=1-9%1", script="train_array.sbatch",
                             train=("--set", "run.updates=5", "--stop-after", "3"))
        submitted = self.slurm(SLUICE, "submit", self.run_file, "--site",
                               SOURCE / "slurm" / "sites" / "desk.env", "--ntasks-per-node", 2,
                               "--run-dir", self.folder / "submitted", "--set", "run.updates=3",
                               "--sbatch", "output=submitted.out")
        self.assertEqual(submitted.returncode, 0, submitted.stderr)
        with self.subTest("a job on two nodes finishes"):
            self.assertEqual(self.wait_for_end(finish), "COMPLETED", self.log("finish"))
            self.assertEqual(self.status("finish")["state"], "finished")
            self.assertIn("n1: rank 0", self.log("finish"))
            self.assertIn("n2: rank 1", self.log("finish"))
        preempted = self.submit("preempted", script="train_preemptible.sbatch", nodes="n2",
                                partition="preemptible", train=SLEEPY)
        self.wait_for_update("again", 3)
        self.slurm("scontrol", "requeue", again)
        self.wait_for_update("cancelled", 3)
        self.slurm("scancel", cancelled)
        self.wait_for_update("preempted", 3)
        urgent = self.slurm("sbatch", "--parsable", "--partition=urgent", "--nodelist=n2",
                            "--exclusive", "--output=urgent.out", "--wrap=sleep 1").stdout.strip()
        with self.subTest("scancel saves and ends"):
            self.assertEqual(self.wait_for_end(cancelled), "CANCELLED")
            self.assertEqual(self.status("cancelled")["exit_code"], 75, self.log("cancelled"))
            self.assertNotIn("back into the queue", self.log("cancelled"))
        with self.subTest("restarts without progress end, and the reason stays"):
            self.assertEqual(self.wait_for_end(stalled), "FAILED")
            reason = (self.folder / "stalled" / "slurm-stopped.txt").read_text()
            self.assertIn("gave up after 2 starts", reason)
            self.assertIn("not finite", reason)
        with self.subTest("slices follow each other, and the rest is cancelled"):
            self.wait_for("the array's end", lambda: not self.slurm(
                "squeue", "-h", "-j", slices).stdout.strip())
            self.assertEqual(self.status("slices")["state"], "finished")
            self.assertEqual(self.log("slices").count(", slice "), 2, self.log("slices"))
        with self.subTest("sluice submit"):
            job = re.search(r"Submitted batch job (\d+)", submitted.stdout).group(1)
            self.assertEqual(self.wait_for_end(job), "COMPLETED", self.log("submitted"))
            self.assertEqual(self.status("submitted")["state"], "finished")
        with self.subTest("requeued by hand"):
            self.wait_for_restart("again")
            self.stop("again", again)
        with self.subTest("preempted"):
            self.assertEqual(self.wait_for_end(urgent), "COMPLETED")
            self.wait_for_restart("preempted")
            self.stop("preempted", preempted)
        with self.subTest("signal before the time limit"):
            self.wait_for_restart("limit")
            self.assertIn("SIGUSR1", self.log("limit"))
            self.stop("limit", limit)
        self.check_bits("again", "preempted", "limit")

    def check_bits(self, *names):
        """Against one undisturbed run of one rank: every update's numbers, every last weight."""
        last = max(self.status(name)["update"] for name in names)
        self.train(1, "whole", "--stop-after", last, expect=75, timeout=300,
                   overrides=("metrics.digest_every_update=true",))
        keys = ("update", "loss", "grad_norm", "lr", "alpha")
        whole = self.metrics("whole")
        for name in names:
            with self.subTest(f"{name}: as if nothing had happened"):
                mine = [{key: row[key] for key in keys} for row in self.metrics(name)]
                theirs = [{key: row[key] for key in keys} for row in whole[:len(mine)]]
                self.assertEqual(mine, theirs)
                saved = self.metrics(name, "checkpoint")[-1]
                self.assertEqual(saved["update"], len(mine))
                self.assertEqual(saved["parameters_digest"],
                                 whole[len(mine) - 1]["parameters_digest"])
                if len(mine) == last:
                    self.assert_same_state(name, "whole")

    def test_srun_without_pmix(self):
        result = self.slurm("srun", "--mpi=none", "--partition=main", "--nodelist=n2", "--ntasks=2",
                            SLUICE, "train", self.run_file, "--run-dir", "wrong")
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assert_one_clear_message(result, "2 tasks", "srun --mpi=pmix")
        self.assertFalse((self.folder / "wrong").exists())


class UpAndDown(DeskCluster):
    def test_nothing_is_left(self):
        job = self.submit("abandoned")
        self.wait_for_update("abandoned", 1)
        self.assertEqual(self.cluster("up").returncode, 0)  # again: nothing to do
        self.assertEqual(self.state_of(job), "RUNNING")
        down = self.cluster("down")
        self.assertEqual(down.returncode, 0, down.stderr)
        self.assertFalse(self.state.exists())
        self.assertNotIn(str(self.state), pathlib.Path("/proc/mounts").read_text())
        self.assertEqual(self.processes_that_name(self.state), [])
        self.assertEqual(self.cluster("down").returncode, 0)

    @staticmethod
    def processes_that_name(path):
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if str(path).encode() in text and int(entry.name) != os.getpid():
                found.append(text.split(b"\0")[0])
        return found


if __name__ == "__main__":
    unittest.main()
