"""Makes the relocatable archive of `./dev bundle` from a build folder.

The archive has the program, its tests and benchmarks, and every shared library they need except
glibc's own, the NVIDIA driver's and CUDA's: Open MPI with its plugins, its daemon and mpirun
included. Layout and names inside are those of Debian's Open MPI, which OPAL_PREFIX moves as a whole.
"""

import argparse
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

SOURCE = pathlib.Path(__file__).resolve().parent.parent
LIBRARIES = pathlib.Path("lib/x86_64-linux-gnu")
# Of the machine it runs on, always: glibc, and what comes with the driver.
LEFT_OUT = re.compile(
    r"^(ld-linux.*|lib(c|m|dl|rt|pthread|util|resolv|nsl|anl|mvec|cuda|nvidia-.*))\.so")
PROGRAMS = ("mpirun", "orted")
# What bundle/README.md promises.
NEWEST_GLIBC = (2, 36)
BYTES_BELOW = 60_000_000
# What the tests and the program's documents read.
TREES = ("tests", "recipes", "slurm", "docs", "benchmarks", "README.md", "LICENSE", "CHANGELOG.md")


def run(*command, **options):
    return subprocess.run([str(word) for word in command], check=True, text=True,
                          stdout=subprocess.PIPE, **options).stdout


def needed_libraries(file):
    """Real paths by the name they are looked up under; exits naming what is missing."""
    found = {}
    for line in run("ldd", file, stderr=subprocess.STDOUT).splitlines():
        name, arrow, path = line.strip().partition(" => ")
        if not arrow or LEFT_OUT.match(name):
            continue
        if "not found" in path:
            sys.exit(f"bundle: {file} needs {name}, which this machine does not have")
        found[name] = pathlib.Path(path.split(" (")[0])
    return found


def is_elf(path):
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def glibc_too_new(file):
    """Versions of glibc's symbols that the file asks for and NEWEST_GLIBC has not, or that are glibc's own business."""
    listed = run("readelf", "--version-info", "--wide", file, stderr=subprocess.DEVNULL)
    needs = listed.partition("Version needs section")[2].partition("Version definition section")[0]
    found = set(re.findall(r"Name: (GLIBC_\S+)", needs)) - {"GLIBC_ABI_DT_RELR"} # of 2.36
    numbered = {name: re.fullmatch(r"GLIBC_([0-9.]+)", name) for name in found}
    return sorted(name for name, match in numbered.items() if not match or
                  tuple(int(part) for part in match[1].split(".")) > NEWEST_GLIBC)


def check_glibc(folder):
    """Exits naming every file below `folder` that does not run with the glibc that is promised."""
    bad = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and is_elf(path):
            bad += [f"  {path.relative_to(folder)} needs {name}" for name in glibc_too_new(path)]
    if bad:
        promised = ".".join(map(str, NEWEST_GLIBC))
        sys.exit("\n".join([f"bundle: it must run with glibc {promised} (bundle/README.md); make it on a machine "
                            "that has that one or an older one:", *bad]))


def check_size(archive):
    size = archive.stat().st_size
    if size >= BYTES_BELOW:
        sys.exit(f"bundle: {archive} has {size / 1e6:.1f} MB; it must be under {BYTES_BELOW / 1e6:.0f} MB")


class Bundle:
    def __init__(self, folder, build):
        self.folder, self.build = folder, build
        self.packages = set()

    def add(self, source, target, depth):
        """A program or library that finds its libraries from `depth` folders below the top."""
        target = self.folder / target
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
        target.chmod(0o755)
        subprocess.run(["strip", "--strip-unneeded", target], check=True)
        up = "/".join([".."] * depth)
        # DT_RPATH, which comes before LD_LIBRARY_PATH: modules of a cluster put another Open MPI there.
        run("patchelf", "--force-rpath", "--set-rpath", f"$ORIGIN/{up}/{LIBRARIES}", target)
        for name, path in needed_libraries(source).items():
            if not (self.folder / LIBRARIES / name).exists():
                self.note_owner(path)
                self.add(path.resolve(), LIBRARIES / name, 2)

    def note_owner(self, path):
        """For its licence: the package that a file of this machine comes from."""
        for candidate in (path.resolve(), path, pathlib.Path(str(path.resolve()).removeprefix("/usr"))):
            result = subprocess.run(["dpkg-query", "-S", candidate], text=True,
                                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
            if result.returncode == 0:
                self.packages.add(result.stdout.split(":")[0])
                return

    def add_open_mpi(self):
        paths = dict(line.split(":")[1:3] for line in
                     run("ompi_info", "--path", "all", "--parsable").splitlines())
        if paths["pkglibdir"] != "/usr/lib/x86_64-linux-gnu/openmpi/lib/openmpi3":
            sys.exit("bundle: it is made from Debian's Open MPI (libopenmpi-dev, openmpi-bin); "
                     f"this one keeps its plugins in {paths['pkglibdir']}")
        for name in PROGRAMS:
            program = pathlib.Path(shutil.which(name)).resolve()
            self.note_owner(program)
            self.add(program, f"bin/{name}", 1)
        plugins = LIBRARIES / "openmpi/lib/openmpi3"
        for plugin in sorted((pathlib.Path("/usr") / plugins).glob("mca_*.so")):
            self.add(plugin, plugins / plugin.name, 4 + 1)
        shutil.copytree("/usr/share/openmpi", self.folder / "share/openmpi", symlinks=False)
        shutil.copytree("/etc/openmpi", self.folder / "etc/openmpi")
        pmix = pathlib.Path("/usr/lib/x86_64-linux-gnu/pmix2")
        for plugin in sorted((pmix / "lib/pmix").glob("*.so")):
            self.add(plugin, LIBRARIES / "pmix2/lib/pmix" / plugin.name, 5)
        if (pmix / "share/pmix").is_dir():
            shutil.copytree(pmix / "share/pmix", self.folder / LIBRARIES / "pmix2/share/pmix",
                            symlinks=False)

    def add_built(self):
        """Every program and preloaded library of the build, and how CTest calls them."""
        for path in sorted(self.build.rglob("*")):
            inside = path.relative_to(self.build)
            if "CMakeFiles" in inside.parts or not path.is_file() or path.is_symlink():
                continue
            if path.suffix in (".o", ".a", ".obj") or not os.access(path, os.X_OK) or not is_elf(path):
                continue
            if path.name == "sluice":
                self.add(path, "bin/sluice", 1)
            else:
                self.add(path, pathlib.Path("build") / inside, 1 + len(inside.parts) - 1)

    def add_trees(self):
        listed = run("git", "-C", SOURCE, "ls-files", "--", *TREES).splitlines()
        for name in listed:
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(SOURCE / name, target)
        for name in ("sluice", "mpirun", "run-tests", "gpu-check"):
            shutil.copy2(SOURCE / "bundle" / name, self.folder / name)
        shutil.copy2(SOURCE / "bundle/README.md", self.folder / "BUNDLE.md")

    def add_licences(self):
        for package in sorted(self.packages):
            notice = pathlib.Path("/usr/share/doc") / package / "copyright"
            if notice.is_file():
                target = self.folder / "share/licences" / package
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(notice, target)

    def inside(self, text):
        """A command's word with this machine's paths replaced."""
        for path, name in ((self.build / "sluice", "@HERE@/bin/sluice"),
                           (self.build, "@HERE@/build"), (SOURCE, "@HERE@"),
                           (pathlib.Path("/usr/bin/mpiexec"), "@HERE@/mpirun"),
                           (pathlib.Path("/usr/bin/mpirun"), "@HERE@/mpirun"),
                           (pathlib.Path("/usr/bin/python3"), "python3")):
            text = re.sub(re.escape(str(path)) + r"(?=/|$)", name, text)
        return text

    def add_test_list(self):
        """tests.list: per test name, labels, seconds, how it says that it skips, and the command."""
        tests = json.loads(run("ctest", "--show-only=json-v1", cwd=self.build))["tests"]
        lines = []
        for test in tests:
            command = test.get("command", [])
            if not command or command[0].endswith("/cmake"):
                continue # looks at sources, or stands for what was not built
            properties = {item["name"]: item["value"] for item in test.get("properties", [])}
            words = ["env", *properties.get("ENVIRONMENT", []), *command]
            folder = self.inside(properties.get("WORKING_DIRECTORY", "."))
            lines.append("\t".join((
                test["name"], ",".join(properties.get("LABELS", [])) or "-",
                str(int(properties.get("TIMEOUT", 600))),
                str(properties.get("SKIP_RETURN_CODE", "-")),
                "|".join(properties.get("SKIP_REGULAR_EXPRESSION", [])).replace("\n", "^") or "-",
                folder, " ".join(shlex.quote(self.inside(word)) for word in words))))
        (self.folder / "tests.list").write_text("\n".join(lines) + "\n")
        return len(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True, type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("."),
                        help="folder that the archive is written to [.]")
    parser.add_argument("--check", action="store_true",
                        help="then unpack it elsewhere, hide this machine's Open MPI, HDF5 and oneDNN "
                        "from it (as root), train on 2 ranks and run the quick tests there")
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    version = re.search(r"project\(sluice VERSION ([0-9.]+)",
                        (SOURCE / "CMakeLists.txt").read_text()).group(1)
    name = f"sluice-{version}-x86_64"
    work = build / "bundle"
    shutil.rmtree(work, ignore_errors=True)
    bundle = Bundle(work / name, build)
    bundle.add_built()
    bundle.add_open_mpi()
    bundle.add_trees()
    num_tests = bundle.add_test_list()
    bundle.add_licences()
    check_glibc(bundle.folder)
    arguments.out.mkdir(parents=True, exist_ok=True)
    archive = arguments.out / f"{name}.tar.xz"
    # Every program has the same kernels in it: a window that sees the one before.
    run("tar", "-C", work, "--owner=0", "--group=0", "--sort=name", "-c", "-I", "xz -9 -T0", "-f",
        archive, name)
    shutil.rmtree(work)
    print(f"{archive}: {archive.stat().st_size / 1e6:.1f} MB, {num_tests} tests")
    check_size(archive)
    if arguments.check:
        os.execv("/bin/bash", ["bash", str(SOURCE / "bundle/check"), str(archive)])


if __name__ == "__main__":
    main()
