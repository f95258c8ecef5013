"""python -m benchmarks.scaling: one network over several ranks, measured, and a model of more.

Runs itself under mpiexec. Measured: milliseconds a step with one process (by threads) and with
ranks of one thread each, which share a mini-batch (strong scaling) or add to it (weak scaling);
latency and bandwidth of Allreduce between ranks of this machine. The model, for R ranks, a
mini-batch of m samples and a network of S bytes::

    t(R) = f + c m / R + 2 (R - 1) / R S / bandwidth + 2 log2(R) latency
         + (R - 1) / R^2 m row / bandwidth

with f + c m fitted to one rank at three sizes of mini-batch (f: the optimiser's pass and whatever
does not shrink), the sums' way by reduce-scatter and all-gather, and the rows handed round. It is
held against the measured points, then asked about machines that a network joins (--latency,
--bandwidth).
"""

import argparse
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

NETWORKS = {
    "784-128-64-10": [784, 128, 64, 10],
    "784-1024-1024-10": [784, 1024, 1024, 10],
    "2048 x 4": [2048, 2048, 2048, 2048, 10],
}
BATCHES = (128, 512, 2048)
SHARES = (128, 512)  # samples a rank, where the mini-batch grows with the ranks
STEPS = 8  # of an epoch
OVERHEAD = (("784-128-64-10", 128), ("784-1024-1024-10", 512))


def sampler(name: str, batch: int, threads: int, share: int, seed: int, **how):
    """(epochs, comm) -> milliseconds a step; share: of how many ranks' rows, one's."""
    from cbackprop import Network

    sizes, generator = NETWORKS[name], np.random.default_rng(seed)
    X = generator.normal(size=(batch * STEPS // share, sizes[0])).astype(np.float32)
    y = generator.integers(0, sizes[-1], len(X))
    net = Network(sizes, activation="relu", output="softmax", rng=0)

    def sample(epochs: int, comm) -> float:
        start = time.perf_counter()
        net.train(X, y, epochs=epochs, batch_size=batch, learning_rate=1e-3, n_threads=threads,
                  comm=comm, **how)  # fmt: skip
        return (time.perf_counter() - start) / (epochs * STEPS) * 1e3

    return sample


def worker(name: str, batch: int, threads: int, seconds: float) -> None:
    """One rank: prints milliseconds a step from rank 0."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    train = sampler(name, batch, threads, comm.size, comm.rank)

    def sample(epochs: int) -> float:
        comm.Barrier()
        return train(epochs, comm)

    once = comm.bcast(min(sample(1) for _ in range(2)))
    epochs = max(1, round(seconds / (once * STEPS * 1e-3)))
    times = [sample(epochs) for _ in range(5)]
    found = {"ms": min(times), "median": statistics.median(times)}
    if comm.size > 1:
        found["latency"], found["bandwidth"] = of_messages(comm, MPI)
    if comm.rank == 0:
        print(json.dumps(found))


def overhead(seconds: float) -> None:
    """What comm= costs one rank: calls with and without it, in turn."""
    from mpi4py import MPI

    from cbackprop import Checkpoint

    print(
        f"ms a step of one rank, medians of 15 samples of {seconds:g} s with and without, in turn"
    )
    print("| network | mini-batch | threads | checkpoint= | no comm | comm | comm / no comm |")
    print("|---|---|---|---|---|---|---|")
    counts = sorted({1, len(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        plan = Checkpoint(Path(folder, "a"), every_epochs=10**6)  # written when the call ends
        for (name, batch), threads, kept in itertools.product(OVERHEAD, counts, (False, True)):
            sample = sampler(name, batch, threads, 1, 0, checkpoint=plan if kept else None)
            sample(1, None)
            epochs = max(1, round(seconds / (sample(1, None) * STEPS * 1e-3)))
            pairs = []
            for i in range(15):
                kinds = (None, MPI.COMM_WORLD) if i % 2 else (MPI.COMM_WORLD, None)
                found = {comm is not None: sample(epochs, comm) for comm in kinds}
                pairs.append((found[False], found[True]))
            without, with_it = map(statistics.median, zip(*pairs, strict=True))
            ratio = statistics.median(b / a for a, b in pairs)
            print(f"| {name} | {batch} | {threads} | {'yes' if kept else 'no'} | {without:.3f} "
                  f"| {with_it:.3f} | {ratio:.3f} |", flush=True)  # fmt: skip


def weak(names, cores: int, seconds: float) -> None:
    """A share of samples stays, and ranks are added: one rank's time over theirs."""
    print(f"\n| network | samples a rank | 1 rank | {cores} ranks | weak scaling |")
    print("|---|---|---|---|---|")
    for name, share in itertools.product(names, SHARES):
        one = measured(name, share, 1, 1, seconds)["ms"]
        many = measured(name, share * cores, cores, 1, seconds)["ms"]
        print(f"| {name} | {share} | {one:.2f} | {many:.2f} | {one / many:.2f} |", flush=True)


def of_messages(comm, MPI) -> tuple[float, float]:
    """Seconds and bytes a second of Allreduce, as the model has them."""

    def least(n: int) -> float:
        x, times = np.zeros(n, np.float32), []
        for _ in range(20):
            comm.Barrier()
            start = time.perf_counter()
            comm.Allreduce(MPI.IN_PLACE, x)
            times.append(time.perf_counter() - start)
        return min(times)

    small, large, n, R = least(1), least(2_000_000), 8_000_000, comm.size
    return small / (2 * math.log2(R)), 2 * (R - 1) / R * n / (large - small)


def measured(name: str, batch: int, ranks: int, threads: int, seconds: float) -> dict:
    mpiexec = str(Path(sys.executable).with_name("mpiexec"))
    command = [mpiexec, "-n", str(ranks), sys.executable, "-m", "benchmarks.scaling"]
    command += ["--worker", name, str(batch), str(threads), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def model(f, c, m, S, row, R, latency, bandwidth) -> float:
    """Seconds a step."""
    there = (R - 1) / R
    return (f + c * m / R + 2 * there * S / bandwidth + 2 * math.log2(R) * latency
            + there * m / R * row / bandwidth)  # fmt: skip


def overlapped(f, c, m, sizes, row, R, latency, bandwidth) -> float:
    """Seconds a step where a layer's sums travel while the layers below are computed: what the
    model leaves at best to messages that do not wait, on cores that do not carry them."""
    products = [a * b for a, b in itertools.pairwise(sizes)]  # forward, BP4, and BP2 above layer 1
    unit = c * m / R / (3 * sum(products) - products[0])
    now = sent = unit * sum(products)
    for l, (a, b) in reversed(list(enumerate(itertools.pairwise(sizes)))):
        now += unit * products[l]
        message = 2 * (R - 1) / R * 4 * (a + 1) * b / bandwidth + 2 * math.log2(R) * latency
        sent = max(sent, now) + message
        now += unit * products[l] * (l > 0)
    return f + max(now, sent) + (R - 1) / R * m / R * row / bandwidth


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling")
    parser.add_argument("--seconds", type=float, default=1.0, help="of one sample")
    parser.add_argument("--turns", type=int, default=1, help="of threads and ranks, one by one")
    parser.add_argument("--latency", type=float, default=20e-6, help="seconds between machines")
    parser.add_argument("--bandwidth", type=float, default=1.25e9, help="bytes a second")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--worker", nargs=4, metavar=("NAME", "BATCH", "THREADS", "SECONDS"),
                        help=argparse.SUPPRESS)  # fmt: skip
    parser.add_argument("--overhead", action="store_true", help="of comm= with one rank, instead")
    options = parser.parse_args()
    if options.overhead:
        overhead(options.seconds)
        return
    if options.worker:
        name, batch, threads, seconds = options.worker
        worker(name, int(batch), int(threads), float(seconds))
        return
    cores = options.cores
    print(f"ms a step, least of 5 samples of {options.seconds:g} s; relu, softmax, sgd, float32")
    print(f"| network | mini-batch | 1 rank, {cores} threads | 1 rank, 1 thread "
          f"| {cores} ranks | strong scaling | model | of the threads' speed |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    fits, message = {}, None
    for name in options.networks:
        sizes = NETWORKS[name]
        S = 4 * sum((a + 1) * b for a, b in itertools.pairwise(sizes))
        ones = {}
        for m in BATCHES:
            ones[m] = measured(name, m, 1, 1, options.seconds)["ms"] * 1e-3
        c, f = np.polyfit(BATCHES, [ones[m] for m in BATCHES], 1, w=[1 / ones[m] for m in BATCHES])
        fits[name] = max(f, 0.0), c, S, 4 * sizes[0]
        for m in BATCHES:
            turns = [
                (measured(name, m, 1, cores, options.seconds)["ms"],
                 measured(name, m, cores, 1, options.seconds))
                for _ in range(options.turns)
            ]  # fmt: skip
            team, found = (
                min(t for t, _ in turns),
                min((f for _, f in turns), key=lambda f: f["ms"]),
            )
            share = statistics.median(t / f["ms"] for t, f in turns)
            message = found["latency"], found["bandwidth"]
            said = model(*fits[name][:2], m, *fits[name][2:], cores, *message) * 1e3
            print(f"| {name} | {m} | {team:.2f} | {ones[m] * 1e3:.2f} | {found['ms']:.2f} "
                  f"| {ones[m] * 1e3 / cores / found['ms']:.2f} | {said:.2f} "
                  f"| {share:.2f} |", flush=True)  # fmt: skip
    assert message is not None
    weak(options.networks, cores, options.seconds)
    print(f"\nbetween ranks here: {message[0] * 1e6:.1f} us, {message[1] / 1e9:.1f} GB/s")
    print(f"\nSteps a second by the model, one core a rank, between machines with "
          f"{options.latency * 1e6:g} us and {options.bandwidth / 1e9:g} GB/s "
          "(and the share of R times one rank's; times as many with the messages of a layer under "
          "the arithmetic of those below)\n")  # fmt: skip
    counts = [2**k for k in range(11)]
    print("| network | mini-batch | " + " | ".join(map(str, counts)) + " |")
    print("|---" * (2 + len(counts)) + "|")
    for name, (f, c, S, row) in fits.items():
        for m in (512, 8192):
            one = model(f, c, m, S, row, 1, options.latency, options.bandwidth)
            cells = []
            for R in counts:
                t = model(f, c, m, S, row, R, options.latency, options.bandwidth)
                over = overlapped(f, c, m, NETWORKS[name], row, R, options.latency,
                                  options.bandwidth)  # fmt: skip
                cells.append(f"{1 / t:,.0f} ({one / t / R:.0%}; {t / over:.2f})")
            print(f"| {name} | {m} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
