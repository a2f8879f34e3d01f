"""Registers, spills and shared memory of every GPU kernel, as the compiler reports them: no GPU needed.

Compiles layers/kernels/cuda/*.cu once per architecture with `nvcc -cubin -Xptxas -v` and writes a table to
docs/benchmarks/gpu-kernels.md. Ends with 1 when a kernel spills.
"""
import argparse
import concurrent.futures
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
FLAGS = ["-std=c++20", "-O3", "-DNDEBUG", "-fmad=false", "--expt-relaxed-constexpr", f"-I{ROOT}"]
ENTRY = re.compile(r"Function properties for (\S+)\n\s*(\d+) bytes stack frame, (\d+) bytes spill stores, "
                   r"(\d+) bytes spill loads\n.*?Used (\d+) registers", re.S)


def plain(mangled):
    """`AttentionForwardKernel<64>` from the mangled name of execute<...>."""
    name = subprocess.run(["c++filt", mangled], capture_output=True, text=True, check=True).stdout
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
    rows = [(plain(name), int(registers), int(stores) + int(loads), int(stack))
            for name, stack, stores, loads, registers in ENTRY.findall(done.stderr)]
    if not rows:
        sys.exit(f"{source}: the compiler reported no kernel:\n{done.stderr}")
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nvcc", default="nvcc")
    parser.add_argument("--architectures", nargs="+", default=["80", "90", "120"])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs/benchmarks/gpu-kernels.md")
    options = parser.parse_args()
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
             "where there are any, bytes spilled and bytes of stack. No GPU was used.", "",
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
