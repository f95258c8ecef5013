"""python -m benchmarks.own: what functions of one's own cost a step of training.

Microseconds a step of `Network.train` with relu and the quadratic cost: built in; the same from C
(compiled here by `cc`), from Python for the cost alone, and from Python for both. All in turn in
one process; the least of a few samples, and its ratio to built in.
"""

import argparse
import ctypes
import pathlib
import subprocess
import tempfile
import time

import numpy as np

from cbackprop import Network, activations, costs
from cbackprop._bench import WORKLOADS

SOURCE = """
#include <stddef.h>
void sigma(const float *z, float *a, ptrdiff_t n)
{
    for (ptrdiff_t j = 0; j < n; j++)
        a[j] = z[j] > 0 ? z[j] : 0;
}
void product(const float *z, const float *a, float *delta, ptrdiff_t n)
{
    (void)z;
    for (ptrdiff_t j = 0; j < n; j++)
        delta[j] = a[j] > 0 ? delta[j] : 0;
}
double value(const float *a, const float *y, ptrdiff_t n)
{
    double sum = 0;
    for (ptrdiff_t j = 0; j < n; j++)
        sum += ((double)a[j] - y[j]) * ((double)a[j] - y[j]);
    return sum / 2;
}
void slope(const float *a, const float *y, float *delta, ptrdiff_t n)
{
    for (ptrdiff_t j = 0; j < n; j++)
        delta[j] = a[j] - y[j];
}
"""


def register(folder):
    source, library = pathlib.Path(folder, "own.c"), pathlib.Path(folder, "own.so")
    source.write_text(SOURCE, encoding="utf-8")
    subprocess.run(
        ["cc", "-O3", "-march=native", "-shared", "-fPIC", source, "-o", library], check=True
    )
    c = ctypes.CDLL(str(library))
    activations.register_compiled("c_relu", float32=(c.sigma, c.product))
    costs.register_compiled("c_quadratic", float32=(c.value, c.slope))
    activations.register("py_relu", lambda z: np.maximum(z, 0), lambda z, a: a > 0)
    costs.register("py_quadratic", lambda a, y: ((a - y) ** 2).sum(1) / 2, lambda a, y: a - y)


WAYS = {
    "built in": ("relu", "quadratic"),
    "from C": ("c_relu", "c_quadratic"),
    "cost from Python": ("relu", "py_quadratic"),
    "both from Python": ("py_relu", "py_quadratic"),
}


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.own", description=__doc__)
    parser.add_argument("--rows", default="book,std,tab,wide")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        register(folder)
        for row in options.rows.split(","):
            work = WORKLOADS[row]
            n = min(work.rows, 10 * work.batch)
            generator = np.random.default_rng(0)
            X = generator.random((n, work.sizes[0]), np.float32)
            y = generator.random((n, work.sizes[-1]), np.float32)
            nets = {
                name: Network(work.sizes, activation=a, output="identity", cost=c, rng=0)
                for name, (a, c) in WAYS.items()
            }
            epochs = max(1, int(0.1 / (work.flops() * 10 / 2e11)))
            least = dict.fromkeys(nets, float("inf"))
            for _ in range(options.repeats):
                for name, net in nets.items():
                    start = time.perf_counter()
                    net.train(X, y, epochs=epochs, batch_size=work.batch, learning_rate=1e-4,
                              n_threads=options.threads)  # fmt: skip
                    took = (time.perf_counter() - start) / epochs / 10 * 1e6
                    least[name] = min(least[name], took)
            for name, us in least.items():
                print(f"{row:<6}{name:<18}{us:>10.1f} us  {us / least['built in']:.2f}", flush=True)


if __name__ == "__main__":
    main()
