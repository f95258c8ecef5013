"""python -m benchmarks.optimizers: what each optimiser adds to a step of plain SGD.

Microseconds a step of `Network.train` on rows of the benchmark, float32, all optimisers in turn
in one process; the least of a few samples, and its ratio to sgd's.
"""

import argparse
import time

from cbackprop._bench import WORKLOADS, network
from cbackprop.optimizers import OPTIMIZERS

EXTRAS = {"sgd with l2": ("sgd", {"l2": 0.1}), "sgd with l1": ("sgd", {"l1": 0.1})}


def measure(work, ways, threads, repeats):
    X, y, weights = work.data()
    nets = {name: network(work, weights, "float32") for name in ways}
    steps = -(-work.rows // work.batch)
    epochs = max(1, int(0.1 / (work.flops() * steps / 2e11)))
    least = dict.fromkeys(ways, float("inf"))
    for _ in range(repeats + 1):
        for name, (optimizer, options) in ways.items():
            start = time.perf_counter()
            nets[name].train(
                X, y, epochs=epochs, batch_size=work.batch, optimizer=optimizer,
                learning_rate=1e-6, n_threads=threads, **options,
            )  # fmt: skip
            took = (time.perf_counter() - start) / epochs / steps * 1e6
            least[name] = min(least[name], took)
    return least


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.optimizers", description=__doc__)
    parser.add_argument("--rows", default="book,std,tab,wide")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    ways = {name: (name, {}) for name in OPTIMIZERS if name != "rprop"} | EXTRAS
    for row in options.rows.split(","):
        least = measure(WORKLOADS[row], ways, options.threads, options.repeats)
        for name, us in least.items():
            print(f"{row:<6}{name:<14}{us:>12.1f} us  {us / least['sgd']:.2f}", flush=True)


if __name__ == "__main__":
    main()
