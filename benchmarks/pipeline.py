#!/usr/bin/env python3
"""Every schedule on 2 and 4 ranks of this machine: a table, and JSON with --json FILE.

Each case runs in processes of its own, so that peak memory is its own. Cases run round robin, so
that a machine that slows down slows all of them.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile

CASES = [
    ("gpipe", ()),
    ("1f1b", ()),
    ("interleaved-1f1b", ("pipeline.chunks_per_rank=2",)),
    ("zb-h1", ()),
    ("interleaved-zb", ("pipeline.chunks_per_rank=2",)),
    ("zb-v", ()),
    ("v-half", ()),
]


def measured_costs(program, folder):
    """What the plan counts with: one process measures a few layers."""
    file = os.path.join(folder, "costs.json")
    subprocess.run([program, "--measure-costs", file], check=True,
                   env={**os.environ, "OMP_NUM_THREADS": "1"})
    return file


def run(program, costs, ranks, schedule, others, microbatches, repeat):
    sets = [f"pipeline.schedule={schedule}", f"batch.global_batch_size={microbatches}", *others]
    command = ["mpirun", "--quiet", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none",
               "-n", str(ranks), program, "--repeat", str(repeat), "--costs", costs]
    for item in sets:
        command += ["--set", item]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def join(results):
    """The rounds of one case: medians, and the ranges over all."""
    joined = dict(results[0])
    for key in ("seconds", "bound_seconds", "computing_seconds", "share_of_bound",
                "tokens_per_second", "planned_seconds"):
        joined[key] = statistics.median(one[key] for one in results)
    joined["share_of_bound_range"] = [min(one["share_of_bound"] for one in results),
                                      max(one["share_of_bound"] for one in results)]
    return joined


def at_equal_speed(rounds):
    """Seconds of an update if every round of every schedule had computed at the same speed.

    The speed of a shared machine moves by more between two cases than schedules differ. All
    schedules compute the same, so what their actions took in a round tells its speed: each round is
    scaled to the median of all.
    """
    typical = statistics.median(one["computing_seconds"] for results in rounds for one in results)
    return [statistics.median(one["seconds"] * typical / one["computing_seconds"] for one in results)
            for results in rounds]


def print_order(rows):
    predicted = sorted(rows, key=lambda one: one["planned_seconds"])
    measured = sorted(rows, key=lambda one: one["seconds_at_equal_speed"])
    print("order by the plan: " + ", ".join(
        f"{row['schedule']} {row['planned_seconds']:.3f}" for row in predicted))
    print("at equal speed:    " + ", ".join(
        f"{row['schedule']} {row['seconds_at_equal_speed']:.3f}" for row in measured))
    for fast, slow in itertools.combinations(predicted, 2):
        planned = slow["planned_seconds"] / fast["planned_seconds"] - 1.0
        found = slow["seconds_at_equal_speed"] / fast["seconds_at_equal_speed"] - 1.0
        if found < 0.0:
            print(f"  not as planned: {fast['schedule']} before {slow['schedule']}: "
                  f"{planned:+.1%} by the plan, {found:+.1%} measured")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--json", help="also write the results there")
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--microbatches", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=2, help="updates timed per round")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        measure(arguments, measured_costs(arguments.program, folder))


def measure(arguments, costs):
    everything = []
    for ranks in arguments.ranks:
        found = {case: [] for case in CASES}
        for _ in range(arguments.rounds):
            for schedule, others in CASES:
                found[schedule, others].append(
                    run(arguments.program, costs, ranks, schedule, others, arguments.microbatches,
                        arguments.repeat))
        rows = [join(results) for results in found.values()]
        for row, seconds in zip(rows, at_equal_speed(list(found.values()))):
            row["seconds_at_equal_speed"] = seconds
        everything += rows
        first = rows[0]
        print(f"\n{ranks} ranks on {first['num_cores']} cores, {first['num_microbatches']} micro-batches")
        print(f"{'schedule':<17} {'s/update':>9} {'bound':>7} {'of bound':>9} {'range':>12} "
              f"{'acts MiB':>9} {'plan/real':>9}")
        for row in sorted(rows, key=lambda one: one["seconds"]):
            low, high = row["share_of_bound_range"]
            worst = max(real / plan for plan, real in zip(row["planned_bytes"], row["resident_bytes"]))
            print(f"{row['schedule']:<17} {row['seconds']:>9.3f} {row['bound_seconds']:>7.3f} "
                  f"{row['share_of_bound']:>8.1%} {f'{low:.0%}..{high:.0%}':>12} "
                  f"{max(row['planned_activation_bytes']) / 2**20:>9.1f} {1 / worst:>9.3f}")
        print_order(rows)
    print("\nof bound: time the simulator gives for the costs measured in these updates with free "
          "transfers,\nover the measured time. Order by the plan: seconds, from a few layers\nmeasured alone before all else (as `sluice plan --costs measure`).\nplan/real: planned bytes over peak resident bytes of the worst rank.")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(everything, file, indent=1)


if __name__ == "__main__":
    main()
