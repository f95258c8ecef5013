"""python -m benchmarks.bf16: what compute="bf16" gains, and what it costs in accuracy.

Microseconds a step of `Network.train` on rows of the benchmark, plain SGD, float32 and bf16 in
turn in one process; medians of a few samples, and their ratio. --fashion trains on Fashion-MNIST
instead, the same networks with each, and shows test accuracies (needs the four IDX files:
Debian's dataset-fashion-mnist).
"""

import argparse
import statistics
import time

from cbackprop import Network
from cbackprop._bench import WORKLOADS, network
from cbackprop.datasets import load_fashion_mnist

WAYS = (None, "bf16")


def measure(work, threads, repeats):
    """Medians of microseconds a step, float32's and bf16's."""
    X, y, weights = work.data()
    nets = {way: network(work, weights, "float32") for way in WAYS}
    steps = -(-work.rows // work.batch)
    epochs = max(1, int(0.2 / (work.flops() * steps / 2e11)))
    samples = {way: [] for way in WAYS}
    for _ in range(repeats + 1):
        for way, net in nets.items():
            start = time.perf_counter()
            net.train(
                X, y, epochs=epochs, batch_size=work.batch, optimizer=work.optimizer,
                learning_rate=work.learning_rate, n_threads=threads, compute=way,
            )  # fmt: skip
            samples[way].append((time.perf_counter() - start) / epochs / steps * 1e6)
    return [statistics.median(samples[way][1:]) for way in WAYS]  # the first warms up


def fashion(seeds, epochs):
    """784-512-512-10, relu, softmax, adam at 0.001, mini-batches of 128."""
    data = load_fashion_mnist()
    scores = {way: [] for way in WAYS}
    seconds = dict.fromkeys(WAYS, 0.0)
    for seed in range(seeds):
        for way in WAYS:
            net = Network(
                [784, 512, 512, 10], activation="relu", output="softmax", init="he",
                input_scale=data.input_scale, rng=seed,
            )  # fmt: skip
            start = time.perf_counter()
            net.train(
                data.X_train, data.y_train, epochs=epochs, batch_size=128, optimizer="adam",
                compute=way,
            )  # fmt: skip
            seconds[way] += time.perf_counter() - start
            scores[way].append(net.evaluate(data.X_test, data.y_test)["accuracy"])
        pair = ", ".join(f"{way or 'float32'} {scores[way][-1]:.4f}" for way in WAYS)
        print(f"seed {seed}: {pair}", flush=True)
    for way in WAYS:
        mean, spread = statistics.mean(scores[way]), statistics.stdev(scores[way])
        print(
            f"{way or 'float32'}: {mean:.4f}, standard deviation {spread:.4f}; "
            f"{seconds[way] / seeds:.1f} s a network"
        )


def main():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bf16",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", default="std,tab,higgs,wide,big")
    parser.add_argument("--threads", default="1,2", help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--fashion", action="store_true")
    parser.add_argument("--seeds", type=int, default=5, help="of --fashion")
    parser.add_argument("--epochs", type=int, default=10, help="of --fashion")
    options = parser.parse_args()
    if options.fashion:
        fashion(options.seeds, options.epochs)
        return
    for row in options.rows.split(","):
        for threads in map(int, options.threads.split(",")):
            work = WORKLOADS[row]
            plain, rounded = measure(work, threads, options.repeats)
            print(
                f"{row:<6}{threads} threads{plain:>12.1f} us float32{rounded:>12.1f} us bf16"
                f"{plain / rounded:>6.2f}{work.flops() / rounded / 1e3:>6.0f} Gflop/s",
                flush=True,
            )


if __name__ == "__main__":
    main()
