"""Registers and spills of every GPU kernel, as the compiler reports them: no GPU needed.

Compiles layers/kernels/cuda/*.cu once per architecture with `nvcc -cubin -Xptxas -v` and writes a table to
docs/benchmarks/gpu-kernels.md. Ends with 1 when a kernel spills. Shared memory is none of the compiler's business:
kernels get it at their launch, at most `most_shared_bytes` (device_language.cuh), which every launch checks.

--check LIBRARY compiles nothing: does the page name the kernels that are in that library, and no others? Ends with 1
where it does not, with 77 where there is no such library or it has no kernels for GPUs.
"""
import argparse
import concurrent.futures
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
FLAGS = ["-std=c++20", "-O3", "-DNDEBUG", "-fmad=false", "--expt-relaxed-constexpr", f"-I{ROOT}"]
ENTRY = re.compile(r"Function properties for (\S+)\n\s*(\d+) bytes stack frame, (\d+) bytes spill stores, "
                   r"(\d+) bytes spill loads\n.*?Used (\d+) registers", re.S)


def plain_names(mangled):
    """`AttentionForwardKernel<64>` from the mangled names of execute<...>."""
    names = subprocess.run(["c++filt"], input="\n".join(mangled), capture_output=True, text=True, check=True).stdout
    return [plain(name) for name in names.splitlines()]


def plain(name):
    name = re.sub(r"sluice::kernels::nvidia::|sluice::", "", name)
    found = re.match(r"(?:void )?execute<(.*?)\s*>\(", name)
    return (found.group(1) if found else name.strip()).replace(" >", ">").replace("BFloat16", "bf16")


def compile_one(nvcc, source, architecture):
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [nvcc, *FLAGS, "-cubin", f"-arch=sm_{architecture}", "-Xptxas", "-v", "-o", f"{folder}/a.cubin", source],
            capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{source} for sm_{architecture}:\n{done.stderr}")
    found = ENTRY.findall(done.stderr)
    rows = [(name, int(registers), int(stores) + int(loads), int(stack))
            for name, (_, stack, stores, loads, registers) in zip(plain_names([entry[0] for entry in found]), found)]
    if not rows:
        sys.exit(f"{source}: the compiler reported no kernel:\n{done.stderr}")
    return rows


def check_page(page, library):
    """The rows' files and kernels against what the library holds for the host to launch."""
    if not (shutil.which("nm") and shutil.which("c++filt") and pathlib.Path(library).is_file()):
        print(f"skipped: {library} cannot be read here")
        return 77
    symbols = subprocess.run(["nm", "-A", "--defined-only", library], capture_output=True, text=True).stdout
    launched = re.findall(r":(\w+\.cu)\.o:\S* \w (_ZN6sluice7kernels6nvidiaL?7execute\w+)$", symbols, re.M)
    if not launched:
        print(f"skipped: no kernels for GPUs in {library}")
        return 77
    compiled = set(zip([file for file, _ in launched], plain_names([name for _, name in launched])))
    listed = set(re.findall(r"^\| (\S+\.cu) \| `([^`]+)` \|", page.read_text(), re.M))
    for names, what in ((compiled - listed, "is not in"), (listed - compiled, "is no longer compiled, but in")):
        for file, kernel in sorted(names):
            print(f"{file}: {kernel} {what} {page}: run ./dev bench resources")
    print(f"{len(compiled)} kernels compiled, {len(listed)} listed")
    return 1 if compiled != listed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nvcc", default="nvcc")
    parser.add_argument("--architectures", nargs="+", default=["80", "90", "120"])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs/benchmarks/gpu-kernels.md")
    parser.add_argument("--check", metavar="LIBRARY", help="compare the page with the kernels in it instead")
    options = parser.parse_args()
    if options.check:
        return check_page(options.out, options.check)
    version = subprocess.run([options.nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"release [\d.]+, (V[\d.]+)", version).group(1)

    sources = sorted((ROOT / "layers/kernels/cuda").glob("*.cu"))
    tasks = [(source, architecture) for source in sources for architecture in options.architectures]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(lambda task: compile_one(options.nvcc, *task), tasks))
    table, spills = {}, []
    for (source, architecture), rows in zip(tasks, results):
        for kernel, registers, spilled, stack in rows:
            table.setdefault((source.name, kernel), {})[architecture] = (registers, spilled, stack)
            if spilled:
                spills.append(f"{kernel} on sm_{architecture}: {spilled} bytes")

    columns = " | ".join(f"sm_{a}" for a in options.architectures)
    lines = ["# GPU kernels: registers and spills", "",
             f"`./dev bench resources`: nvcc {version}, `{' '.join(FLAGS[:-1])}`. Registers per thread; in brackets, "
             "where there are any, bytes spilled and bytes of stack. Shared memory is asked for at launch. No GPU was used.", "",
             f"Spills: {', '.join(spills) if spills else 'none'}.", "",
             f"| file | kernel | {columns} |", "| --- | --- |" + " --- |" * len(options.architectures)]
    for (file, kernel), cells in sorted(table.items()):
        texts = []
        for architecture in options.architectures:
            registers, spilled, stack = cells[architecture]
            texts.append(f"{registers}" + (f" ({spilled} spilled, {stack} stack)" if spilled or stack else ""))
        lines.append(f"| {file} | `{kernel}` | {' | '.join(texts)} |")
    options.out.write_text("\n".join(lines) + "\n")
    print(f"{len(table)} kernels on {len(options.architectures)} architectures -> {options.out}")
    print("spills: " + ("; ".join(spills) if spills else "none"))
    return 1 if spills else 0


if __name__ == "__main__":
    sys.exit(main())
