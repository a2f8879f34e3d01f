"""docs/metrics.md names every event and field that the trainer writes."""

import pathlib
import re
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]


class Metrics(unittest.TestCase):
    def test_every_event_has_a_row_with_every_field(self):
        journal = "".join(path.read_text() for path in sorted((SOURCE / "src/train").glob("run_journal*.cpp")))
        rows = dict(re.findall(r"^\| `(\w+)` \| (.*)$", (SOURCE / "docs/metrics.md").read_text(), re.MULTILINE))
        written = {}
        for function in journal.split("\nvoid RunJournal::"):
            for event in re.findall(r'\bwrite\(\s*"(\w+)"', function):
                written[event] = set(re.findall(r'\{"(\w+)",', function)) - {"update"}
            for event in re.findall(r'\bnot_done\(\s*"(\w+)"', function):
                written[event] = {"reason"}
        self.assertGreater(len(written), 8)
        self.assertEqual(set(rows), set(written))
        for event, fields in written.items():
            self.assertGreater(len(fields), 0, event)
            for field in fields:
                self.assertIn(f"`{field}`", rows[event], event)


if __name__ == "__main__":
    unittest.main()
