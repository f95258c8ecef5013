"""The quick benchmark of ``cbackprop bench``: this package against NumPy, interleaved.

`NumpyTrainer` is the rival here and in ``benchmarks/``: mini-batch gradient descent in
NumPy written for speed, float32 or float64, all samples of a mini-batch at once.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cbackprop

Array = NDArray[Any]


@dataclass(frozen=True)
class Workload:
    """A network, its task and its mini-batch; learning_rate is for one step's mean gradient."""

    name: str
    sizes: tuple[int, ...]
    activation: str
    output: str
    cost: str
    batch: int
    rows: int
    learning_rate: float
    optimizer: str = "sgd"

    def flops(self) -> int:
        """Of one step: 6 for each weight and sample, 4 in the first layer (no BP2)."""
        products = [a * b for a, b in itertools.pairwise(self.sizes)]
        return self.batch * (6 * sum(products) - 2 * products[0])

    def parameters(self) -> int:
        return sum((a + 1) * b for a, b in itertools.pairwise(self.sizes))

    def data(self) -> tuple[Array, Array, list[tuple[Array, Array]]]:
        """X, targets (labels where the output is softmax) and initial (w, b) of each layer."""
        rng = np.random.default_rng(7)
        X = rng.random((self.rows, self.sizes[0]), np.float32)
        y: Array
        if self.output == "softmax":
            y = (X @ rng.standard_normal((self.sizes[0], self.sizes[-1]))).argmax(axis=1)
        elif self.cost == "cross_entropy":
            y = (X @ rng.standard_normal((self.sizes[0], self.sizes[-1])) > 0).astype(np.float32)
        else:
            y = rng.random((self.rows, self.sizes[-1]), np.float32)
        weights = [
            ((rng.standard_normal((b, a)) / np.sqrt(a)).astype(np.float32), np.zeros(b, np.float32))
            for a, b in itertools.pairwise(self.sizes)
        ]
        return X, y, weights


# The rows of the benchmark, here and in `benchmarks/`.
WORKLOADS = {
    w.name: w
    for w in (
        Workload("book", (784, 30, 10), "sigmoid", "sigmoid", "quadratic", 10, 20000, 0.5),
        Workload("book2", (784, 100, 10), "sigmoid", "softmax", "log_likelihood", 10, 20000, 0.05),
        Workload("std", (784, 128, 64, 10), "relu", "softmax", "log_likelihood", 128, 12800, 0.01),
        Workload("tiny", (4, 64, 64, 2), "tanh", "identity", "quadratic", 32, 32000, 0.01),
        Workload("tab", (32, 256, 256, 1), "relu", "identity", "quadratic", 256, 25600, 0.01),
        Workload(
            "higgs", (28, *[300] * 5, 1), "tanh", "sigmoid", "cross_entropy", 100, 10000, 0.01
        ),
        Workload(
            "wide", (784, 1024, 1024, 10), "relu", "softmax", "log_likelihood", 256, 5120, 0.01
        ),
        Workload("big", (2048,) * 5, "relu", "identity", "quadratic", 512, 4096, 1e-4),
        Workload(
            "expm", (4, 32, 16, 4), "tanh", "identity", "quadratic", 10000, 10000, 1e-3, "adam"
        ),
    )
}


def sigmoid(z: Array) -> Array:
    np.negative(z, out=z)
    np.exp(z, out=z)
    z += 1
    return np.reciprocal(z, out=z)


def softmax(z: Array) -> Array:
    z -= z.max(axis=1, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(axis=1, keepdims=True)
    return z


# Activations overwrite z; derivatives are taken from a.
ACTIVATE: dict[str, Callable[[Array], Array]] = {
    "sigmoid": sigmoid,
    "tanh": lambda z: np.tanh(z, out=z),
    "relu": lambda z: np.maximum(z, 0, out=z),
    "softmax": softmax,
    "identity": lambda z: z,
}
DERIVATIVE: dict[str, Callable[[Array], Array]] = {
    "sigmoid": lambda a: a * (1 - a),
    "tanh": lambda a: 1 - a * a,
    "relu": lambda a: a > 0,
}


class NumpyTrainer:
    """Backpropagation over whole mini-batches, updates in place."""

    def __init__(
        self, work: Workload, X: Array, y: Array, weights: list[tuple[Array, Array]], dtype: Any
    ) -> None:
        self.work, self.X = work, X.astype(dtype)
        self.Y = np.eye(work.sizes[-1], dtype=dtype)[y] if y.ndim == 1 else y.astype(dtype)
        self.w = [w.astype(dtype) for w, _ in weights]
        self.b = [b.astype(dtype) for _, b in weights]
        self.steps = 0
        self.moments = [[np.zeros_like(p) for p in (*self.w, *self.b)] for _ in range(2)]

    def epoch(self, order: Array) -> None:
        for start in range(0, len(order), self.work.batch):
            self.step(order[start : start + self.work.batch])

    def step(self, rows: Array) -> None:
        work = self.work
        a = [self.X[rows]]
        for l, (w, b) in enumerate(zip(self.w, self.b, strict=True)):
            z = a[-1] @ w.T
            z += b
            a.append(ACTIVATE[work.output if l == len(self.w) - 1 else work.activation](z))
        delta = a[-1] - self.Y[rows]
        if work.cost == "quadratic" and work.output != "identity":
            delta *= DERIVATIVE[work.output](a[-1])
        nabla_w, nabla_b = [], []
        for l in range(len(self.w) - 1, -1, -1):
            nabla_w.append(delta.T @ a[l])
            nabla_b.append(delta.sum(axis=0))
            if l > 0:
                delta = delta @ self.w[l]
                delta *= DERIVATIVE[work.activation](a[l])
        self.update([*nabla_w[::-1], *nabla_b[::-1]], len(rows))

    def update(self, nabla: list[Array], m: int) -> None:
        eta = self.work.learning_rate
        self.steps += 1
        for i, (p, g) in enumerate(zip((*self.w, *self.b), nabla, strict=True)):
            if self.work.optimizer == "sgd":
                g *= p.dtype.type(eta / m)
                p -= g
                continue
            g /= m
            first, second = self.moments[0][i], self.moments[1][i]
            first += p.dtype.type(0.1) * (g - first)
            second += p.dtype.type(0.001) * (g * g - second)
            root = np.sqrt(second / p.dtype.type(1 - 0.999**self.steps))
            root += p.dtype.type(1e-8)
            p -= p.dtype.type(eta / (1 - 0.9**self.steps)) * first / root


def network(work: Workload, weights: list[tuple[Array, Array]], dtype: Any) -> cbackprop.Network:
    """This package's network for the workload."""
    net = cbackprop.Network(
        work.sizes, activation=work.activation, output=work.output, cost=work.cost, dtype=dtype,
        rng=0,
    )  # fmt: skip
    net.weights, net.biases = [w for w, _ in weights], [b for _, b in weights]
    return net


def quick(names: list[str], repeats: int = 5, n_threads: int | None = None) -> list[dict[str, Any]]:
    """Microseconds a step of this package and of NumPy, medians of interleaved epochs."""
    results = []
    for name in names:
        work = WORKLOADS[name]
        X, y, weights = work.data()
        net, rival = network(work, weights, "float32"), NumpyTrainer(work, X, y, weights, "float32")
        order = np.random.default_rng(0)
        ours, theirs = [], []
        steps = -(-work.rows // work.batch)
        for repeat in range(repeats + 1):
            rows = order.permutation(work.rows)
            time.sleep(0.1)  # NumPy's BLAS threads still spin for a while
            start = time.perf_counter()
            net.train(
                X, y, batch_size=work.batch, optimizer=work.optimizer,
                learning_rate=work.learning_rate, n_threads=n_threads,
            )  # fmt: skip
            between = time.perf_counter()
            rival.epoch(rows)
            end = time.perf_counter()
            if repeat:  # the first warms up
                ours.append((between - start) / steps * 1e6)
                theirs.append((end - between) / steps * 1e6)
        mine = statistics.median(ours)
        results.append(
            {
                "name": name,
                "network": "-".join(map(str, work.sizes)),
                "batch": work.batch,
                "us": mine,
                "gflops": work.flops() / mine / 1e3,
                "numpy_us": statistics.median(theirs),
            }
        )
    return results
