"""One network of benchmarks.shapes in a process of its own, as benchmarks.worker does it:
python -m benchmarks.shape SIZES BATCH SECONDS [ROWS FILE]   (FILE: uint8 rows to map)
"""

import itertools
import json
import resource
import sys
import time

import numpy as np

from cbackprop import Network


def main():
    sizes = [int(n) for n in sys.argv[1].split("-")]
    batch, seconds = int(sys.argv[2]), float(sys.argv[3])
    rng = np.random.default_rng(7)
    if len(sys.argv) > 4:
        rows = int(sys.argv[4])
        X = np.memmap(sys.argv[5], np.uint8, "r", shape=(rows, sizes[0]))
        scale = 1 / 255
    else:
        # Enough steps an epoch that its beginning and end do not count, in a few megabytes.
        rows = batch * min(256, max(4, 4_000_000 // (batch * sizes[0])))
        X = rng.random((rows, sizes[0]), np.float32)
        scale = 1
    y = rng.random((rows, sizes[-1]), np.float32)
    net = Network(
        sizes, activation="relu", output="identity", cost="quadratic", input_scale=scale, rng=0
    )

    def sample(epochs):
        start = time.perf_counter()
        net.train(X, y, epochs=epochs, batch_size=batch, learning_rate=0.01 / max(sizes))
        return time.perf_counter() - start

    first = sample(1)
    epochs = max(1, round(seconds / sample(1)))
    parameters = sum((a + 1) * b for a, b in itertools.pairwise(sizes))
    about = {"sizes": sizes, "batch": batch, "rows": rows, "parameters": parameters}
    print(json.dumps({**about, "first_epoch": first}), flush=True)
    for _ in sys.stdin:
        us = sample(epochs) / (epochs * -(-rows // batch)) * 1e6
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({"us": us, "rss_mb": peak / 1024}), flush=True)


if __name__ == "__main__":
    main()
