#!/usr/bin/env python3
"""Plans the 1,000-layer model on many layouts; prints the tables of docs/scaling-1000-layers.md and
draws its figure. Usage: docs/scaling/study.py [path of sluice]"""

import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
SLUICE = sys.argv[1] if len(sys.argv) > 1 else "sluice"
MEMORY = "140GB"


def plan(stages, replicas):
    result = subprocess.run(
        [SLUICE, "plan", str(HERE / "deep-1000.toml"), "--stages", str(stages),
         "--set", f"pipeline.replicas={replicas}", "--costs", str(HERE / "assumed-h200.json"),
         "--set", "pipeline.schedule=auto", "--compare", "--memory", MEMORY, "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if not result.stdout:
        sys.exit(result.stderr)
    return json.loads(result.stdout)


def name(candidate):
    words = [candidate["schedule"]]
    if candidate["schedule"].startswith("interleaved"):
        words.append(f"x{candidate['chunks_per_rank']}")
    if candidate["extra_warmup"]:
        words.append(f"+{candidate['extra_warmup']}")
    if candidate.get("recompute", "none") != "none":
        words.append(candidate["recompute"])
    return " ".join(words)


def fastest(plan, schedules=None):
    """The fastest that fits of these schedules."""
    fitting = [c for c in plan["candidates"]
               if c["fits"] and (schedules is None or c["schedule"] in schedules)]
    return min(fitting, key=lambda c: c["seconds_per_update"], default=None)


def row(stages, replicas):
    """One layout: what fits best of 1F1B, and of everything."""
    answer = plan(stages, replicas)
    chosen = {key: answer[key] for key in
              ("schedule", "chunks_per_rank", "extra_warmup", "seconds_per_update", "busy_share",
               "peak_bytes", "partition_bound", "mean_idle_seconds", "recompute")}
    return {"stages": stages, "replicas": replicas, "num_microbatches": answer["num_microbatches"],
            "chosen": chosen, "1f1b": fastest(answer, ("1f1b",))}


def table(rows):
    print("| ranks x replicas | micro-batches | 1F1B | computing | recommended | computing | "
          "update | fill, drain | imbalance | transfers | barrier | memory |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for each in rows:
        chosen, plain = each["chosen"], each["1f1b"]
        idle, total = chosen["mean_idle_seconds"], chosen["seconds_per_update"]
        share = lambda seconds: f"{100 * seconds / total:.1f}%"
        print(f"| {each['stages']} x {each['replicas']} | {each['num_microbatches']} | "
              f"{name(plain) if plain else 'does not fit'} | "
              f"{100 * plain['busy_share']:.1f}% | " if plain else
              f"| {each['stages']} x {each['replicas']} | {each['num_microbatches']} | "
              "does not fit | | ", end="")
        print(f"{name(chosen)} | {100 * chosen['busy_share']:.1f}% | {total:.2f} s | "
              f"{share(idle['fill_drain'])} | {share(idle['imbalance'])} | "
              f"{share(idle['exposed_transfer'])} | {share(idle['barrier'])} | "
              f"{chosen['peak_bytes'] * 1e-9:.0f} GB |", flush=True)


def useful_share(each, which):
    """Share of the time that goes into work that would be done without recomputation."""
    candidate = each[which]
    if candidate is None:
        return 0.0
    ideal = IDEAL_RANK_SECONDS / (each["stages"] * each["replicas"])
    return ideal / candidate["seconds_per_update"]


def figure(rows, path):
    """Two curves over the number of stages: 1F1B and what is recommended."""
    width, height, left, top, right, bottom = 640, 300, 56, 40, 610, 250
    x = lambda i: left + (right - left) * i / (len(rows) - 1)
    y = lambda share: bottom - (bottom - top) * share
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
           f'viewBox="0 0 {width} {height}" font-family="Helvetica, Arial, sans-serif" '
           'font-size="12"><rect width="100%" height="100%" fill="#fff"/>',
           f'<text x="{left}" y="22" font-size="14">1,000 layers on 1,024 ranks: share of the time '
           'that does useful work</text>']
    for percent in (0, 25, 50, 75, 100):
        at = y(percent / 100)
        svg.append(f'<path stroke="#ddd" d="M{left} {at:.1f}H{right}"/>'
                   f'<text x="{left - 8}" y="{at + 4:.1f}" text-anchor="end">{percent}%</text>')
    for i, each in enumerate(rows):
        svg.append(f'<text x="{x(i):.1f}" y="{bottom + 18}" text-anchor="middle">'
                   f'{each["stages"]} x {each["replicas"]}</text>')
    svg.append(f'<text x="{(left + right) / 2}" y="{bottom + 38}" text-anchor="middle">'
               'stages x replicas</text>')
    for which, colour, label, offset in (("1f1b", "#e69f00", "1F1B", 18),
                                         ("chosen", "#0072b2", "recommended", -10)):
        shares = [useful_share(each, which) for each in rows]
        points = " ".join(f"{x(i):.1f},{y(share):.1f}" for i, share in enumerate(shares))
        svg.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{points}"/>')
        svg += [f'<circle cx="{x(i):.1f}" cy="{y(share):.1f}" r="3.5" fill="{colour}"/>'
                for i, share in enumerate(shares)]
        svg.append(f'<text x="{x(1):.1f}" y="{y(shares[1]) + offset:.1f}" fill="{colour}" '
                   f'text-anchor="middle">{label}</text>')
    path.write_text("\n".join(svg) + "\n</svg>\n")


def total_work():
    """Seconds of one rank for all of an update's work, nothing computed twice."""
    seconds = json.loads((HERE / "assumed-h200.json").read_text())["seconds"]
    part = lambda which: sum(seconds[which].values())
    micro_batches = 4096 / 4
    return micro_batches * (1000 * part("decoder_layer") + part("embedding") + part("head"))


IDEAL_RANK_SECONDS = total_work()

if __name__ == "__main__":
    print("One pipeline\n")
    table(row(stages, 1) for stages in (8, 16, 32, 64, 128, 256, 500))
    print("\n1,024 ranks\n")
    layouts = [row(stages, 1024 // stages) for stages in (8, 16, 32, 64, 128, 256, 512)]
    table(layouts)
    figure(layouts, HERE / "stages-and-replicas.svg")
