"""python -m benchmarks.tables: kernel tables and precisions beside each other.

Microseconds a step of `Network.train` on rows of the benchmark, with each kernel table of this CPU
but the portable one, in float32 and float64, all in turn in one process: medians, Gflop/s, and the
share of the widest table's float32 speed.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

from benchmarks import machine
from cbackprop import _engine
from cbackprop._bench import WORKLOADS, network

DTYPES = ("float32", "float64")


def measure(work, ways, threads, repeats, seconds):
    """Median microseconds a step of each way, a pair of table and dtype."""
    X, y, weights = work.data()
    data = {dtype: (X.astype(dtype), y.astype(dtype) if y.dtype.kind == "f" else y)
            for dtype in DTYPES}  # fmt: skip
    nets, samples = {}, {way: [] for way in ways}
    steps = -(-work.rows // work.batch)
    epochs = max(1, round(seconds / (work.flops() * steps / 1e11 / threads)))
    for turn in range(repeats + 1):
        for way in ways:
            table, dtype = way
            if _engine.choose_kernels(table) != 0:
                raise RuntimeError(f"table {table!r} does not run here")
            if way not in nets:
                nets[way] = network(work, weights, dtype)
            start = time.perf_counter()
            nets[way].train(
                *data[dtype], epochs=epochs, batch_size=work.batch, optimizer=work.optimizer,
                learning_rate=1e-6, n_threads=threads,
            )  # fmt: skip
            if turn:  # the first warms up
                samples[way].append((time.perf_counter() - start) / epochs / steps * 1e6)
    return {way: statistics.median(times) for way, times in samples.items()}


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__)
    parser.add_argument("--rows", default=",".join(WORKLOADS))
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.15, help="about, of one sample")
    parser.add_argument("--out", type=Path, help="a JSON file")
    options = parser.parse_args()
    tables = [name for name in _engine.kernel_names() if name != "portable"]
    ways = [(table, dtype) for dtype in DTYPES for table in tables]
    report = {"machine": machine.name(), "rows": []}
    print(f"{'row':<7}{'threads':>7}", *(f"{t + ' ' + d:>29}" for t, d in ways))
    for row in options.rows.split(","):
        for threads in map(int, options.threads.split(",")):
            found = measure(WORKLOADS[row], ways, threads, options.repeats, options.seconds)
            best, flops = found[ways[0]], WORKLOADS[row].flops()
            cells = []
            for (table, dtype), us in found.items():
                report["rows"].append(
                    {"row": row, "threads": threads, "table": table, "dtype": dtype, "us": us}
                )
                cells.append(f"{us:>12.1f} us{flops / us / 1e3:>7.0f} {best / us:>5.0%}")
            print(f"{row:<7}{threads:>7}", *(f"{cell:>29}" for cell in cells), flush=True)
    if options.out:
        options.out.write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
