"""What networks leave behind: the process's memory over 100,000 of them, made, trained and dropped.

    python -m tests.campaigns.leaks [--networks 100000]

Linux. Ways of use alternate; private memory (RSS less shared pages) is read after a tenth of them,
as warming up, and at the end, when it may have grown by less than 1 MiB.
"""

import argparse
import contextlib
import copy
import gc
import os
import sys

import numpy as np

from cbackprop import Network

X = np.random.default_rng(0).random((40, 6)).astype(np.float32)
LABELS = np.arange(40) % 3
TARGETS = np.eye(3)[LABELS]


def used():
    """Bytes of private memory in RAM."""
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        _, resident, shared, *_ = map(int, file.read().split())
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


def life(i):
    """One network, from beginning to end."""
    net = Network([6, 9 + i % 5, 3], output="softmax", rng=i, activation=("tanh", "silu")[i % 2])
    way = i % 8
    options = {"batch_size": 10, "n_threads": 1 + i % 3, "optimizer": ("sgd", "adam")[i // 8 % 2]}
    net.train(X, LABELS if i % 2 else TARGETS, **options)
    if way == 0:
        net.train(X, TARGETS, dropout=0.2, clip_norm=1.0, **options)
    elif way == 1:
        net.predict(X)
    elif way == 2:
        net.gradients(X, TARGETS).z[0].sum()
    elif way == 3:
        copy.deepcopy(net).evaluate(X, TARGETS)
    elif way == 4:
        with contextlib.suppress(ValueError):
            net.train(np.full_like(X, np.nan), TARGETS)
    elif way == 5:
        net.train(X, TARGETS, validation_split=0.2, epochs=2, **options)
    elif way == 6:
        net.apply_gradients(net.gradients(X, TARGETS), optimizer="adam")
    else:
        net.reset()


def growth(networks):
    """Bytes more after so many networks than after a tenth of them."""
    first = networks // 10
    for i in range(first):
        life(i)
    before = used()
    for i in range(first, networks):
        life(i)
    return used() - before


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=100_000)
    options = parser.parse_args()
    grown = growth(options.networks)
    print(f"{options.networks:,} networks: {grown / 2**20:+.2f} MiB")
    return 0 if grown < 2**20 else 1


if __name__ == "__main__":
    sys.exit(main())
