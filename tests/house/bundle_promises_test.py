"""`./dev bundle` refuses what bundle/README.md promises not to need: a newer glibc, 60 MB or more."""

import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

BUNDLE = pathlib.Path(__file__).resolve().parents[2] / "bundle"


class BundlePromises(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not (BUNDLE / "make.py").exists():
            raise unittest.SkipTest("skipped: this is a bundle, not what makes one")
        for tool in ("gcc", "readelf"):
            if shutil.which(tool) is None:
                raise unittest.SkipTest(f"skipped: there is no {tool}")
        sys.path.insert(0, str(BUNDLE))
        cls.addClassCleanup(sys.path.remove, str(BUNDLE))

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        (self.folder / "bin").mkdir()

    def needing(self, name, *versions):
        """A library that asks libc.so.6 for a symbol of each version: one that is made for it has them."""
        symbols = {f"symbol_{i}": version for i, version in enumerate(versions)}
        libc, source, script = (self.folder / part for part in ("libc.so.6", "source.c", "script"))
        source.write_text("".join(f"void {symbol}(void) {{}}\n" for symbol in symbols))
        script.write_text("".join(f"{version} {{ {symbol}; }};\n" for symbol, version in symbols.items()))
        compiler = ("gcc", "-shared", "-fPIC", "-nostdlib", str(source))
        subprocess.run([*compiler, "-o", libc, "-Wl,-soname,libc.so.6", f"-Wl,--version-script={script}"],
                       check=True)
        source.write_text("".join(f"void {symbol}(void);\n" for symbol in symbols) +
                          "void all(void) {" + "".join(f" {symbol}();" for symbol in symbols) + " }\n")
        subprocess.run([*compiler, "-o", self.folder / "bin" / name, libc], check=True)
        for file in (libc, source, script):
            file.unlink()

    def test_glibc(self):
        import make
        self.needing("right.so", "GLIBC_2.2.5", "GLIBC_2.9", "GLIBC_2.36", "GLIBC_ABI_DT_RELR")
        (self.folder / "bin/text").write_text("not a program")
        make.check_glibc(self.folder)
        self.needing("late.so", "GLIBC_2.4", "GLIBC_2.37")
        self.needing("inner.so", "GLIBC_PRIVATE", "GLIBC_2.100")
        with self.assertRaises(SystemExit) as refused:
            make.check_glibc(self.folder)
        message = str(refused.exception)
        self.assertIn("glibc 2.36", message)
        self.assertEqual(message.splitlines()[1:], ["  bin/inner.so needs GLIBC_2.100",
                                                    "  bin/inner.so needs GLIBC_PRIVATE",
                                                    "  bin/late.so needs GLIBC_2.37"])

    def test_size(self):
        import make
        archive = self.folder / "archive.tar.xz"
        for size, fits in ((59_999_999, True), (60_000_000, False)):
            with open(archive, "wb") as file:
                file.truncate(size)
            if fits:
                make.check_size(archive)
                continue
            with self.assertRaises(SystemExit) as refused:
                make.check_size(archive)
            self.assertIn("60.0 MB; it must be under 60 MB", str(refused.exception))

    def test_the_readme_says_the_same(self):
        import make
        text = (BUNDLE / "README.md").read_text()
        self.assertIn("glibc " + ".".join(map(str, make.NEWEST_GLIBC)), text)
        self.assertIn(f"{make.BYTES_BELOW // 1_000_000} MB", text)


if __name__ == "__main__":
    unittest.main()
