"""
Functions of your own, compiled by Numba
========================================

A cost and an activation of your own, compiled by Numba: without the GIL, in all threads.

The cost is LINEX (A. Zellner, 1986), for which too much is worse than too little:
C = sum_k exp(a_k - y_k) - (a_k - y_k) - 1. The activation is the bent identity,
(sqrt(z^2 + 1) - 1) / 2 + z. Both are registered twice: from Numba's `cfunc` by
`register_compiled`, and from plain NumPy by `register`. The trained networks agree to rounding.

Run: python examples/numba_functions.py   (needs numba; about 10 seconds)
"""

import math
import time

import numpy as np
from numba import carray, cfunc, types

from cbackprop import Network, activations, certify, costs

REAL = types.CPointer(types.float64)
COUNT = types.intp


@cfunc(types.void(REAL, REAL, COUNT))
def bent(z, a, n):
    for j in range(n):
        a[j] = (math.sqrt(z[j] * z[j] + 1) - 1) / 2 + z[j]


@cfunc(types.void(REAL, REAL, REAL, COUNT))
def bent_product(z, a, delta, n):
    for j in range(n):
        delta[j] *= z[j] / (2 * math.sqrt(z[j] * z[j] + 1)) + 1


@cfunc(types.float64(REAL, REAL, COUNT))
def linex(a, y, n):
    d = carray(a, n) - carray(y, n)
    return (np.exp(d) - d - 1).sum()


@cfunc(types.void(REAL, REAL, REAL, COUNT))
def linex_slope(a, y, delta, n):
    for k in range(n):
        delta[k] = math.exp(a[k] - y[k]) - 1


def register():
    """The functions under four names."""
    activations.register_compiled("bent", float64=(bent, bent_product))
    costs.register_compiled("linex", float64=(linex, linex_slope))
    activations.register(
        "bent_numpy",
        lambda z: (np.sqrt(z * z + 1) - 1) / 2 + z,
        lambda z, a: z / (2 * np.sqrt(z * z + 1)) + 1,
    )
    costs.register(
        "linex_numpy",
        lambda a, y: (np.exp(a - y) - (a - y) - 1).sum(axis=1),
        lambda a, y: np.exp(a - y) - 1,
    )


def main(epochs=20):
    """The largest difference between the two networks' weights, and their seconds."""
    register()
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 8))
    y = np.sin(X[:, 0]) + 0.1 * rng.normal(size=4000)
    nets, seconds = [], []
    for suffix in ("", "_numpy"):
        net = Network(
            [8, 64, 64, 1], activation="bent" + suffix, output="identity",
            cost="linex" + suffix, dtype="float64", rng=0,
        )  # fmt: skip
        start = time.perf_counter()
        net.train(X, y, epochs=epochs, batch_size=50, learning_rate=0.02)
        seconds.append(time.perf_counter() - start)
        nets.append(net)
    print(certify(nets[0], X[:20], y[:20]))
    pairs = zip(nets[0].weights, nets[1].weights, strict=True)
    difference = float(max(np.abs(one - other).max() for one, other in pairs))
    print(f"Numba {seconds[0]:.2f} s, NumPy {seconds[1]:.2f} s; weights differ by {difference:.1e}")
    return difference, seconds, nets[0].history.cost


if __name__ == "__main__":
    main()
