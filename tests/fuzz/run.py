"""Runs the fuzz targets of a fuzz build and prints what came out (docs/fuzzing.md)."""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
# Inputs longer than this cost speed and find nothing that shorter ones do not.
MAX_LEN = {
    "run_file": 512, "update_ranges": 48, "schedule": 192, "manifest": 1280, "json_lines": 256, "gzip": 256,
    "text_source": 96, "sentencepiece_model": 2048, "cost_file": 1024, "site_file": 128, "ledger": 768,
    "token_file": 2560, "metrics": 192, "checkpoint": 4096,
}
DICTIONARIES = {
    "run_file": "run_file", "schedule": "schedule", "manifest": "manifest", "json_lines": "json", "text_source": "json",
    "cost_file": "json", "ledger": "json", "metrics": "json",
}
# Read in a child process first, so that a crash inside these libraries is contained (no_trial.cpp).
CONTAINED = ("libhdf5", "libsentencepiece", "libprotobuf")
# HDF5 loses some bytes whenever it refuses a file, and gives back memory that it never filled: harmless when zero.
OF_HDF5 = ("token_file", "checkpoint")
MOST_CRASHES = 1000  # of contained ones, before a target is given up
SECONDS_PER_INPUT = 60  # by the clock, on machines that are shared
MEMORY_MB = 1024  # larger pieces are refused, as where memory is short
HISTORY = "history.jsonl"  # every run that was made with the corpus beside it


def environment(target):
    result = dict(os.environ)
    # Short stacks and a small quarantine: a fuzzer frees memory all the time. Two frames tell whose leak it is.
    result.setdefault("ASAN_OPTIONS", "malloc_context_size=2:quarantine_size_mb=4:allocator_may_return_null=1"
                                      f":max_allocation_size_mb={MEMORY_MB}"
                                      + (":detect_leaks=0:malloc_fill_byte=0" if target in OF_HDF5 else ""))
    result.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
    return result


def is_contained(log):
    """Whether the crash, or the leak, of this log lies in a library that a child process tries first."""
    if "libFuzzer: fuzz target exited" in log and "Program terminated with an unrecoverable error" in log:
        return True  # how SentencePiece ends a process
    if "ERROR: LeakSanitizer" in log:
        stacks = re.findall(r"leak of .*?(?=\n\n)", log, re.S)
        return bool(stacks) and all(any(name in stack for name in CONTAINED) for stack in stacks)
    frames = re.findall(r"^\s+#\d+ .*$", log.partition("ERROR: ")[2].partition("\n\n")[0], re.M)
    ours = next((i for i, frame in enumerate(frames) if "in sluice::" in frame or "LLVMFuzzer" in frame), len(frames))
    return any(name in frame for frame in frames[:ours] for name in CONTAINED)


def run_once(target, options, limit):
    """One process of a target: its log, exit code, and seconds of processor time."""
    folder = options.build / "fuzz"
    command = [
        str(folder / target), f"-max_len={MAX_LEN.get(target, 512)}", f"-timeout={SECONDS_PER_INPUT}",
        f"-rss_limit_mb={2 * MEMORY_MB}", "-malloc_limit_mb=1000000", f"-artifact_prefix={folder}/findings/{target}/", "-print_final_stats=1",
        f"-seed={options.seed}", *limit,
    ]
    if target in OF_HDF5:
        # Leaks are not looked for: no input runs twice over them. Weighing inputs anew takes a tenth of the time.
        command += ["-detect_leaks=0", "-entropic=0"]
    if target in DICTIONARIES:
        command.append(f"-dict={HERE / 'dictionaries' / DICTIONARIES[target]}.dict")
    command += [str(folder / "corpus" / target), str(HERE / "corpus" / target)]
    log_path = folder / f"{target}.log"
    with open(log_path, "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment(target))
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    for left in pathlib.Path("/dev/shm").glob(f"sluice-fuzz-{process.pid}-*"):  # by one that crashed
        shutil.rmtree(left, ignore_errors=True)
    return log_path.read_text(errors="replace"), process.returncode, used.ru_utime + used.ru_stime


def executions_in(log):
    """Of new inputs: behind a crash the corpus is read again, which tries nothing."""
    counted = re.findall(r"stat::number_of_executed_units:\s*(\d+)", log) or re.findall(r"^#(\d+)\s", log, re.M)
    of_corpus = re.findall(r"^#(\d+)\s+INITED", log, re.M)
    return max(0, int(counted[-1]) - int(of_corpus[-1])) if counted and of_corpus else 0


def forget_crashing_input(folder, target, log):
    """Where the target changed, an input of the corpus may crash that did not before: out, or no run gets past it."""
    for name in re.findall(r"Test unit written to \S*/crash-([0-9a-f]{40})", log):
        (folder / "corpus" / target / name).unlink(missing_ok=True)


def limits(options, before, executions, spent, corpus):
    """What libFuzzer is told to stop at; None: there is nothing left to do."""
    left = {}
    counts = [options.runs, options.until and options.until - before]
    if any(count is not None for count in counts):
        left["runs"] = min(count for count in counts if count is not None) - executions
    if options.seconds:
        left["max_total_time"] = int(options.seconds - spent)
    if min(left.values()) <= 0:
        return None
    if "runs" in left:
        left["runs"] += 2 * corpus  # libFuzzer counts what it reads of the corpus first, some of it twice
    return [f"-{name}={value}" for name, value in left.items()]


def fuzz(target, options):
    """One target, until its executions or seconds are used up, or the first finding that is ours."""
    folder = options.build / "fuzz"
    for path in (folder / "corpus" / target, folder / "findings" / target):
        path.mkdir(parents=True, exist_ok=True)
    known = set(os.listdir(folder / "findings" / target))
    before = total(target, history(folder))["executions"]
    begin = time.monotonic()
    result = {"target": target, "executions": 0, "edges": 0, "corpus": 0, "contained": 0, "failed": False,
              "cpu_seconds": 0.0}
    while True:
        corpus = sum(len(os.listdir(path)) for path in (folder / "corpus" / target, HERE / "corpus" / target))
        limit = limits(options, before, result["executions"], time.monotonic() - begin, corpus)
        if limit is None or result["contained"] >= MOST_CRASHES:
            break
        log, code, cpu_seconds = run_once(target, options, limit)
        result["cpu_seconds"] = round(result["cpu_seconds"] + cpu_seconds, 1)
        result["executions"] += executions_in(log)
        for edges, corpus in re.findall(r"cov: (\d+) ft: \d+ corp: (\d+)/", log)[-1:]:
            result["edges"], result["corpus"] = int(edges), int(corpus)
        if "libFuzzer: run interrupted" in log:
            break
        if code == 0:
            continue  # with what is left, if anything is
        if not is_contained(log):
            result["failed"] = True
            break
        result["contained"] += 1
        forget_crashing_input(folder, target, log)
    spent = time.monotonic() - begin
    result["seconds"] = round(spent, 1)
    result["executions_per_second"] = round(result["executions"] / spent) if spent > 0 else 0
    result["findings"] = sorted(set(os.listdir(folder / "findings" / target)) - known)
    if result["executions"]:
        remember(folder, result)
    return result


def remember(folder, result):
    """Adds a run to those that were made with this corpus."""
    kept = {key: result[key] for key in ("target", "executions", "seconds", "cpu_seconds", "edges", "contained", "failed")}
    commit = subprocess.run(["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True).stdout.strip()
    with open(folder / HISTORY, "a") as file:
        file.write(json.dumps({"date": time.strftime("%Y-%m-%d", time.gmtime()), "commit": commit, **kept}) + "\n")


def history(folder):
    path = folder / HISTORY
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def total(target, runs):
    """Of all runs of a target since its last finding: what was mended since makes earlier ones count no more."""
    mine = [run for run in runs if run["target"] == target]
    last = max((number for number, run in enumerate(mine, 1) if run["failed"]), default=0)
    mine = mine[last:]
    return {"runs": len(mine), "executions": sum(run["executions"] for run in mine),
            "contained": sum(run["contained"] for run in mine),
            "edges": max((run["edges"] for run in mine), default=0),
            "first": mine[0]["date"] if mine else "-", "last": mine[-1]["date"] if mine else "-"}


def table(results, runs):
    rows = [("target", "executions", "exec/s", "us of CPU", "edges", "corpus", "in libraries", "findings", "runs", "in all",
             "since")]
    for each in results:
        all_runs = total(each["target"], runs)
        rows.append((each["target"], f"{each['executions']:,}", f"{each['executions_per_second']:,}",
                     f"{1e6 * each['cpu_seconds'] / max(1, each['executions']):.0f}", f"{each['edges']:,}", f"{each['corpus']:,}", f"{each['contained']:,}",
                     "FOUND" if each["failed"] else "none", f"{all_runs['runs']}", f"{all_runs['executions']:,}",
                     all_runs["first"]))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) if column in (0, 7, 10) else cell.rjust(width)
                        for column, (cell, width) in enumerate(zip(row, widths))).rstrip())


def main():
    parser = argparse.ArgumentParser(prog="./dev fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all, when none is named")
    parser.add_argument("--runs", type=int, metavar="N", help="executions of each target")
    parser.add_argument("--until", type=int, metavar="N",
                        help="executions of each target in all runs since its last finding")
    parser.add_argument("--seconds", type=int, metavar="S",
                        help="seconds for each target (default 60 where no other limit is given)")
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="targets at a time (default 1)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the mutations; 0: another one each time")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/fuzz"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not (options.runs or options.until or options.seconds):
        options.seconds = 60
    there = sorted(path.name for path in (HERE / "corpus").iterdir() if path.is_dir())
    for target in options.targets:
        if target not in there:
            parser.error(f"there is no target '{target}'; there are: {', '.join(there)}")
    results = []
    with concurrent.futures.ThreadPoolExecutor(max(1, options.jobs)) as pool:
        for result in pool.map(lambda target: fuzz(target, options), options.targets or there):
            results.append(result)
            print(f"{result['target']}: {result['executions']:,} executions", file=sys.stderr, flush=True)
    runs = history(options.build / "fuzz")
    table(results, runs)
    report = options.build / "fuzz" / "results.json"
    report.write_text(json.dumps({"date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "results": results,
                                  "in_all": {each["target"]: total(each["target"], runs) for each in results}},
                                 indent=1) + "\n")
    print(f"\n{report}")
    for each in results:
        if each["failed"]:
            print(f"finding: {options.build}/fuzz/{each['target']}.log; inputs in "
                  f"{options.build}/fuzz/findings/{each['target']}/: {' '.join(each['findings'])}")
    return 1 if any(each["failed"] for each in results) else 0


if __name__ == "__main__":
    sys.exit(main())
