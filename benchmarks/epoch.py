"""One epoch at the book's 784-30-10, mini-batches of 10, each rival in its own process,
interleaved. Run with the installed package:  python benchmarks/epoch.py

The data are made here: 784 pixels in 0 .. 1 around ten random class means, the same for
all. Costs after the last repeat are printed so that it can be seen that all did the work;
the orders of the samples differ, so the costs agree only roughly.
"""

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

SIZES, BATCH, ETA = [784, 30, 10], 10, 3.0
PEERS = ["ours", "numpy_batched", "numpy_per_sample"]


def serve(peer: str, samples: int) -> None:
    """Answer each line on standard input with the seconds of one epoch and the cost."""
    import numpy as np

    path = Path(__file__).parent / "peers" / f"{peer}.py"
    spec = importlib.util.spec_from_file_location(peer, path)
    rival = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rival)
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, samples)
    X = np.clip(rng.random((10, 784))[y] + 0.3 * rng.standard_normal((samples, 784)), 0, 1)
    state = rival.build(SIZES, X, y, rng)
    for _ in sys.stdin:
        order = rng.permutation(samples)
        start = time.perf_counter()
        rival.train_epoch(state, BATCH, ETA, order)
        seconds = time.perf_counter() - start
        a = rival.outputs(state, X)
        cost = float(0.5 * ((a - np.eye(10)[y]) ** 2).sum(axis=1).mean())
        print(json.dumps([rival.LABEL, seconds, cost]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    if options.peer:
        serve(options.peer, options.samples)
        return
    command = [sys.executable, __file__, "--samples", str(options.samples), "--peer"]
    processes = [
        subprocess.Popen([*command, peer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for peer in PEERS
    ]
    seconds = {peer: [] for peer in PEERS}
    labels, costs = {}, {}
    for repeat in range(options.repeats + 1):
        for peer, process in zip(PEERS, processes, strict=True):
            process.stdin.write("\n")
            process.stdin.flush()
            labels[peer], elapsed, costs[peer] = json.loads(process.stdout.readline())
            if repeat:  # the first warms up
                seconds[peer].append(elapsed)
    steps = options.samples // BATCH
    ours = statistics.median(seconds["ours"])
    print(f"{'':<40}{'us/step, median':>16}{'min':>9}{'ratio':>8}{'cost':>9}")
    for peer in PEERS:
        median, least = statistics.median(seconds[peer]), min(seconds[peer])
        print(
            f"{labels[peer]:<40}{median / steps * 1e6:>16.1f}{least / steps * 1e6:>9.1f}"
            f"{median / ours:>8.1f}{costs[peer]:>9.4f}"
        )
    for process in processes:
        process.communicate()


if __name__ == "__main__":
    main()
