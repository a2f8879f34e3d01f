"""Every deliberate fault still has its place in the sources: one that has not would be missed by nobody
until somebody runs mutate.py, which takes hours."""

import pathlib
import unittest

from faults import FAULTS

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Faults(unittest.TestCase):
    def test_each_text_occurs_once(self):
        self.assertGreater(len(FAULTS), 50)
        for name, file, text, replacement in FAULTS:
            with self.subTest(name):
                self.assertEqual((ROOT / file).read_text().count(text), 1, f"{text!r} in {file}")
                self.assertNotEqual(text, replacement)


if __name__ == "__main__":
    unittest.main()
