"""python -m benchmarks.reading: how fast a core reads weights from its second-level cache.

Eight panels of 785 rows, layer 1 of 784-128, again and again, without any arithmetic but sums: what
`predict` of one row cannot go below. Side by side as in src/few_rows.h, with lines asked for ahead
of use, and in the order of addresses. Needs cc and an x86-64 CPU; clocks are those of adds that
wait for each other, taken beside each row.
"""

import ctypes
import subprocess
import tempfile
from pathlib import Path

import numpy as np

ROWS, STREAMS, LINE = 785, 8, 64


def library():
    source = Path(__file__).with_name("reading.c")
    target = Path(tempfile.mkdtemp(), "reading.so")
    command = ["cc", "-O3", "-march=native", "-std=gnu11", "-shared", "-fPIC", source, "-o", target]
    subprocess.run(command, check=True)
    loaded = ctypes.CDLL(str(target))
    loaded.clocks.restype = loaded.reading.restype = ctypes.c_double
    loaded.reading.argtypes = [ctypes.c_void_p, ctypes.c_long, ctypes.c_long]
    return loaded


def main():
    timer = library()
    memory = np.ones(STREAMS * ROWS * LINE + 65 * LINE, np.uint8)  # pages of its own
    panels = memory.ctypes.data + -memory.ctypes.data % LINE
    ways = {"side by side": 0, "in a row": -1}
    ways |= {f"side by side, {ahead} lines ahead": ahead for ahead in (2, 8, 16, 32, 64)}
    for name, ahead in ways.items():
        seconds = timer.reading(panels, ROWS, ahead)
        ghz = max(timer.clocks() for _ in range(20))
        rate = STREAMS * ROWS * LINE / seconds / 1e9
        print(
            f"{name:<30}{seconds * 1e6:>7.2f} us{rate:>8.1f} GB/s{rate / ghz:>7.1f} bytes a clock"
        )


if __name__ == "__main__":
    main()
