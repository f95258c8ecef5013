"""python -m tests.campaigns.out_of_core: the memory that training on a Parquet file, and on NPY
files, of 2 GB takes above that of a training on a small file (Linux; 4 GB in a temporary folder).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

INPUTS = 100
GROUP_ROWS = 250_000

# In a process of its own: its peak before, with all that is needed loaded, and after.
CHILD = """
import json, sys, time
from cbackprop import Network
from cbackprop.datasets import open_arrays, open_parquet

def opened(name):
    if name.endswith(".parquet"):
        return open_parquet(name, target="y", window_rows=window)
    return open_arrays(name + ".X.npy", name + ".y.npy", window_rows=window)

def peak():
    # getrusage's would have what the parent had when it forked.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024

def train(data):
    net = Network([data.shape[1], 32, 2], activation="relu", output="softmax", rng=0)
    net.train(data, batch_size=256)

small, large = sys.argv[1:3]
window = int(sys.argv[3]) or None
train(opened(small))
before = peak()
data = opened(large)
began = time.perf_counter()
train(data)
print(json.dumps({
    "rows": len(data), "MB": len(data) * data.shape[1] * data.dtype.itemsize / 1e6,
    "seconds": time.perf_counter() - began, "MiB above": peak() - before,
}))
"""


def write(folder, name, groups, group_rows=GROUP_ROWS, inputs=INPUTS):
    """The same rows as a Parquet file and as two NPY files."""
    import pyarrow
    import pyarrow.parquet

    generator = np.random.default_rng(0)
    columns = [f"x{i}" for i in range(inputs)]
    schema = pyarrow.schema(
        [(column, pyarrow.float32()) for column in columns] + [("y", pyarrow.int64())]
    )
    base = generator.standard_normal((inputs, group_rows), np.float32)
    shape = (groups * group_rows, inputs)
    X = np.lib.format.open_memmap(folder / f"{name}.X.npy", "w+", np.float32, shape)
    y = np.empty(len(X), np.int64)
    options = {"use_dictionary": False, "compression": "none", "write_statistics": False}
    path = folder / f"{name}.parquet"
    with pyarrow.parquet.ParquetWriter(path, schema, **options) as writer:
        for group in range(groups):
            values = np.roll(base, group, axis=0)
            rows = slice(group * group_rows, (group + 1) * group_rows)
            X[rows] = values.T
            y[rows] = values[0] > 0
            writer.write_table(pyarrow.table([*values, y[rows]], schema), row_group_size=group_rows)
    X.flush()
    np.save(folder / f"{name}.y.npy", y)


def measured(small, large, window=0):
    """What the child says."""
    command = [sys.executable, "-P", "-c", CHILD, str(small), str(large), str(window)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.out_of_core")
    parser.add_argument("--gigabytes", type=float, default=2.0, help="of X")
    parser.add_argument("--limit", type=float, default=256, help="MiB above the small training's")
    options = parser.parse_args()
    groups = max(1, round(options.gigabytes * 1e9 / (GROUP_ROWS * INPUTS * 4)))
    over = 0
    with tempfile.TemporaryDirectory(prefix="cbackprop-") as name:
        folder, began = Path(name), time.perf_counter()
        write(folder, "small", 1, 1000)
        write(folder, "large", groups)
        print(f"written in {time.perf_counter() - began:.0f} s", flush=True)
        for end in (".parquet", ""):
            found = measured(folder / f"small{end}", folder / f"large{end}")
            over += found["MiB above"] > options.limit
            print(
                f"{end or '.npy':<9}{found['MB']:,.0f} MB of X in {found['rows']:,} rows: "
                f"one epoch {found['seconds']:.1f} s, peak {found['MiB above']:.0f} MiB above",
                flush=True,
            )
    raise SystemExit(over)


if __name__ == "__main__":
    main()
