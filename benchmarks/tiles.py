"""python -m benchmarks.tiles: the kernels alone, on one thread, without Python around them.

Builds each kernel table of ../src that this CPU has, with the flags of setup.py, and prints the
Gflop/s of the forward pass, BP2 and BP4 (with its update) of one layer, and their share of the
multiply-adds that the same registers reach without memory, measured just before and after.
For a source checkout on x86-64 Linux.
"""

import argparse
import ctypes
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import machine

HERE = Path(__file__).parent
SOURCES = HERE.parent / "src"
FLAGS = ["-std=gnu11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
FLAGS += ["-fvisibility=hidden", "-fstack-protector-strong", "-Wall", "-Wextra", "-Wno-psabi"]
TABLES = {
    "avx512": [
        "-mfma",
        "-mprfchw",
        "-mavx512f",
        "-mavx512bw",
        "-mavx512dq",
        "-mavx512vl",
        "-mprefer-vector-width=512",
    ],
    "avx2": ["-mavx2", "-mfma", "-mprfchw"],
}
TABLES["bf16"] = [*TABLES["avx512"], "-mavx512bf16", "-DBF16=cb_kernels_avx512bf16_f32"]
EQUATIONS = ("forward", "BP2", "BP4")
# n_in, n_out, samples
SHAPES = ((1024, 1024, 256), (2048, 2048, 512), (784, 128, 128), (784, 30, 10))


def build(table, folder, compiler):
    target = Path(folder, f"{table}.so")
    sources = [f"kernels_{table}_f32.c", "rng.c"]
    beside = table
    if table == "bf16":
        beside, sources[0] = "avx512", "kernels_avx512bf16_f32.c"
        sources.append("kernels_avx512_f32.c")
    command = [compiler, *FLAGS, *TABLES[table], "-shared", "-fPIC", f"-I{SOURCES}"]
    command += [f"-DTABLE=cb_kernels_{beside}_f32", HERE / "tiles.c"]
    command += [SOURCES / source for source in sources]
    subprocess.run([*command, "-o", target, "-lm"], check=True)
    library = ctypes.CDLL(str(target))
    library.tiles_time.restype = ctypes.c_double
    library.tiles_time.argtypes = [ctypes.c_int, *[ctypes.c_ssize_t] * 3, ctypes.c_double]
    return library


def measure(library, wide, seconds, repeats):
    """Gflop/s of every shape and equation, and their share of the peak: medians."""
    for n_in, n_out, m in SHAPES:
        for number, equation in enumerate(EQUATIONS):
            samples = []
            for _ in range(repeats):
                peak = machine.one_core(wide)
                time = library.tiles_time(number, m, n_in, n_out, seconds)
                if time < 0:
                    raise MemoryError(f"{n_in}x{n_out}, {m} samples")
                peak = max(peak, machine.one_core(wide))
                rate = 2 * m * n_in * n_out / time / 1e9
                samples.append((rate / peak, rate, peak))
            share, rate, peak = sorted(samples)[repeats // 2]
            yield {
                "n_in": n_in, "n_out": n_out, "m": m, "equation": equation,
                "gflops": rate, "peak": peak, "share": share,
            }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tiles",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="a smoke run")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.2, help="of one sample")
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--cc", default="gcc")
    parser.add_argument("--out", type=Path, help="a JSON file")
    options = parser.parse_args()
    if options.quick:
        options.repeats, options.seconds = 1, 0.02
    has = machine.vector_sets()
    if not (SOURCES / "kernels.h").exists() or not has:
        sys.exit("needs a source checkout, a C compiler and an x86-64 CPU with AVX2 or AVX-512")
    report = {"machine": machine.name(), "tables": {}}
    with tempfile.TemporaryDirectory() as folder:
        for table in [t for t in options.tables.split(",") if t in has]:
            library = build(table, folder, options.cc)
            print(f"{table:<18}{'equation':<10}{'Gflop/s':>8}{'peak':>7}{'share':>7}")
            rows = report["tables"][table] = []
            for r in measure(library, table != "avx2", options.seconds, options.repeats):
                rows.append(r)
                shape = f"{r['n_in']}x{r['n_out']} at {r['m']}"
                print(
                    f"{shape:<18}{r['equation']:<10}{r['gflops']:>8.1f}{r['peak']:>7.0f}"
                    f"{r['share']:>7.0%}",
                    flush=True,
                )
    if options.out:
        options.out.write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
