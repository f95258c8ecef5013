"""python -m benchmarks.hessian: what a product with the Hessian costs beside a gradient.

Milliseconds of `Network.gradients` and `Network.hessian_vector_product` in float64, softmax
outputs, all rows as one mini-batch; the least of a few samples, and their ratio. The third time is
the reference's: a complex step along v through BP1 to BP4 in NumPy.
"""

import argparse
import time

import numpy as np

from cbackprop import Network, reference

ROWS = [([4, 64, 64, 2], 32), ([784, 128, 64, 10], 128), ([784, 128, 64, 10], 2000),
        ([4, 32, 16, 4], 10_000)]  # fmt: skip


def least(call, repeats):
    call()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found) * 1e3


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hessian", description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    for sizes, m in ROWS:
        for sigma in ("tanh", "gelu"):
            net = Network(sizes, activation=sigma, output="softmax", dtype="float64", rng=0)
            X, y = rng.normal(size=(m, sizes[0])), np.eye(sizes[-1])[rng.integers(0, sizes[-1], m)]
            v = rng.normal(size=sum(w.size for w in net.weights + net.biases))
            moved = [w * (1 + 1e-100j) for w in net.weights + net.biases]
            times = [
                least(call, options.repeats)
                for call in (
                    lambda net=net, X=X, y=y: net.gradients(X, y),
                    lambda net=net, X=X, y=y, v=v: net.hessian_vector_product(X, y, v),
                    lambda net=net, X=X + 0j, y=y, p=moved: reference.backprop(
                        p[: len(net.sizes) - 1], p[len(net.sizes) - 1 :], net.activations,
                        net.cost, X, y,
                    ),
                )
            ]  # fmt: skip
            name = "-".join(map(str, sizes))
            print(
                f"{name:<14}{m:>7} rows  {sigma:<5}{times[0]:>8.2f} ms{times[1]:>8.2f} ms  "
                f"{times[1] / times[0]:.1f}  reference{times[2]:>8.2f} ms",
                flush=True,
            )


if __name__ == "__main__":
    main()
