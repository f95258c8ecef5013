"""python -m benchmarks.calls: what single calls from Python cost where there is little work.

Microseconds, the least of 15 samples of 2,000 calls, one thread's work, float32. With --beside,
another build of the package, in the directory named, is measured in turn with the installed one,
each in a process of its own. What the longer `predict` waits for: `python -m benchmarks.reading`.
"""

import argparse
import json
import os
import subprocess
import sys
import timeit

import numpy as np

SHORT, LONG = (4, 64, 64, 2), (784, 128, 64, 10)
CALLS, SAMPLES = 2000, 15


def network(sizes, activation="tanh"):
    from cbackprop import Network

    return Network(sizes, activation=activation, output="identity", rng=0)


def rows():
    """Name -> a call; each has a network of its own."""
    rng = np.random.default_rng(0)
    X, y = rng.random((32, 4), np.float32), rng.random((32, 2), np.float32)
    labels = np.arange(32) % 2
    one, wide = X[:1].copy(), rng.random((1, 784), np.float32)
    nets = [network(SHORT) for _ in range(9)]
    g = nets[0].gradients(X, y)
    adam = {"optimizer": "adam", "learning_rate": 1e-5}

    def with_gradients():
        nets[1].apply_gradients(nets[1].gradients(X, y), **adam)

    def with_pullback():
        nets[2].apply_gradients(nets[2].pullback(X, y), **adam)

    large = network(LONG, "relu")
    return {
        "predict, one row, 4-64-64-2": lambda: nets[3].predict(one),
        "predict, one row, 784-128-64-10": lambda: large.predict(wide),
        "train, one step": lambda: nets[4].train(X, y, learning_rate=1e-4),
        "train, one step, labels": lambda: nets[5].train(X, labels, learning_rate=1e-4),
        "train, one step, adam": lambda: nets[6].train(X, y, **adam),
        "train, one step, clip_norm": lambda: nets[7].train(X, y, clip_norm=0.5, **adam),
        "gradients": lambda: nets[8].gradients(X, y),
        "pullback": lambda: nets[8].pullback(X, y),
        "apply_gradients": lambda: nets[0].apply_gradients(g, learning_rate=1e-9),
        "gradients, apply_gradients with adam": with_gradients,
        "pullback, apply_gradients with adam": with_pullback,
        "train, a step of 400 in one call": in_one_call(),
    }


def in_one_call():
    rng = np.random.default_rng(0)
    X, y = rng.random((32 * 400, 4), np.float32), rng.random((32 * 400, 2), np.float32)
    net = network(SHORT)
    return lambda: net.train(X, y, learning_rate=1e-4, n_threads=1, shuffle=False)


def work():
    """Answers each line with one sample of every row."""
    calls = rows()
    for call in calls.values():
        timeit.timeit(call, number=20)
    print(json.dumps("ready"), flush=True)
    for _ in sys.stdin:
        found = {}
        for name, call in calls.items():
            count, steps = (5, 400) if name.endswith("in one call") else (CALLS, 1)
            found[name] = timeit.timeit(call, number=count) / count / steps * 1e6
        print(json.dumps(found), flush=True)


class Build:
    def __init__(self, directory=None):
        paths = [directory] if directory else []
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, *sys.path])}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.calls", "--work"], env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.read()
        self.least = {}

    def read(self):
        return json.loads(self.process.stdout.readline())

    def sample(self):
        print(file=self.process.stdin, flush=True)
        for name, us in self.read().items():
            self.least[name] = min(us, self.least.get(name, us))


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calls", description=__doc__)
    parser.add_argument("--beside", metavar="DIRECTORY")
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work()
        return
    builds = [Build(), *([Build(options.beside)] if options.beside else [])]
    for _ in range(options.samples):
        for build in builds:
            build.sample()
    for name in builds[0].least:
        print(f"{name:<40}" + "".join(f"{build.least[name]:>9.2f}" for build in builds))


if __name__ == "__main__":
    main()
