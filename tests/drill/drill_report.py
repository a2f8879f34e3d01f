"""What a drill found: rows of a table, a JSON file, and an exit code that can be red."""

import json
import os
import pathlib
import platform
import time


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


class Report:
    """`columns` name what a row of the table has; every bad outcome is a line of its own."""

    def __init__(self, drill, columns, settings):
        self.drill = drill
        self.columns = columns
        self.settings = settings
        self.rows = []
        self.bad = []
        self.facts = {}
        self.skipped = None
        self.start = time.monotonic()

    def add(self, *values):
        self.rows.append(list(values))

    def fail(self, what, why):
        text = f"{what}: {why}"
        self.bad.append(text)
        print(f"BAD {self.drill}: {text}", flush=True)

    def progress(self, text):
        print(f"[{self.drill}, {time.monotonic() - self.start:.0f} s] {text}", flush=True)

    def as_json(self):
        return {"drill": self.drill, **self.settings, **self.facts,
                "date": time.strftime("%Y-%m-%d", time.gmtime()),
                "machine": f"{os.cpu_count()} cores of {processor()}",
                "minutes": round((time.monotonic() - self.start) / 60, 1),
                "columns": self.columns, "rows": self.rows, "bad": self.bad,
                "skipped": self.skipped}

    def show(self):
        print(f"\n{self.drill}: " + ", ".join(f"{key} {value}" for key, value in
                                              {**self.settings, **self.facts}.items()))
        if self.skipped:
            print(f"skipped: {self.skipped}")
            return
        print(table(self.columns, self.rows))
        print(f"{self.drill}: {len(self.bad)} bad" if self.bad else f"{self.drill}: nothing bad")


def table(columns, rows):
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def section(found):
    """What stands in a document about one drill, from its JSON."""
    fixed = ("drill", "count", "seed", "date", "machine", "minutes", "columns", "rows", "bad", "skipped")
    count = "" if found["count"] == "all" else f" --count {found['count']}"
    facts = "".join(f"; {key} {value}" for key, value in found.items() if key not in fixed)
    ending = "\n".join(f"- bad: {text.splitlines()[0]}" for text in found["bad"]) or "Nothing bad."
    return (f"`./dev drill {found['drill']}{count} --seed {found['seed']}`, {found['date']}, "
            f"{found['machine']}, {found['minutes']:.0f} minutes{facts}.\n\n"
            f"{table(found['columns'], found['rows'])}\n\n{ending}\n")


def write_into(path, found):
    """Replaces what stands between the drill's marks in a document."""
    text = pathlib.Path(path).read_text()
    begin, end = (f"<!-- {word} {found['drill']} -->\n" for word in ("begin", "end"))
    head, rest = text.split(begin)
    pathlib.Path(path).write_text(head + begin + section(found) + end + rest.split(end)[1])


def write_json(path, reports):
    pathlib.Path(path).write_text(
        json.dumps([report.as_json() for report in reports], indent=1) + "\n")
