"""The book's data and weights, as the engine takes them."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cbackprop
from cbackprop import _run, _threads
from cbackprop import _validation as check
from cbackprop.optimizers import SGD

Array = NDArray[Any]
Pairs = Sequence[tuple[Array, Any]]


def checked(data: list[Any], epochs: Any, mini_batch_size: Any, eta: Any, lmbda: Any = 0.0) -> None:
    """What SGD takes, looked at before anything is shuffled or printed."""
    if not data:
        raise ValueError("training_data has no pairs, expected at least one (x, y)")
    check.integer("epochs", epochs, 0)
    check.integer("mini_batch_size", mini_batch_size, 1)
    check.real("eta", eta, 0)
    check.real("lmbda", lmbda, 0)


def engine_name(cost: Any) -> str:
    """The engine's name of a cost class of network2."""
    name = getattr(cost, "engine", None)
    if not isinstance(name, str):
        raise TypeError(
            f"cost = {cost!r} has no attribute 'engine'; expected QuadraticCost, CrossEntropyCost, "
            "or a class with the name of a cost there, such as one of costs.register"
        )
    return name


def stacked(data: Pairs) -> tuple[Array, Array]:
    """Columns x and y of each pair as the rows of two matrices."""
    X = np.stack([np.asarray(x).ravel() for x, _ in data])
    Y = np.stack([np.asarray(y, np.float64).ravel() for _, y in data])
    return X if X.dtype in (np.uint8, np.float32) else X.astype(np.float64), Y


class Trainer:
    """Epochs of plain SGD over rows that lie in memory once, in orders that change."""

    def __init__(self, sizes: Sequence[int], cost: str, data: list[Any]) -> None:
        self.net = cbackprop.Network(list(sizes), cost=cost, init="zeros", dtype="float64", rng=0)
        self.data, self.first = data, list(data)
        self.X, self.Y = stacked(data)
        self.rows = list(range(len(data)))

    def epoch(
        self,
        weights: list[Array],
        biases: list[Array],
        mini_batch_size: int,
        eta: float,
        lmbda: float = 0.0,
    ) -> tuple[list[Array], list[Array]]:
        """One epoch after ``random.shuffle`` of the caller's list, as in the book; new weights."""
        random.shuffle(self.rows)
        self.data[:] = [self.first[i] for i in self.rows]
        return self._train(weights, biases, np.array(self.rows), mini_batch_size, eta, lmbda)

    def _train(
        self,
        weights: list[Array],
        biases: list[Array],
        order: Array,
        m: int,
        eta: float,
        lmbda: float,
    ) -> tuple[list[Array], list[Array]]:
        net, n = self.net, len(order)
        net.weights = [np.asarray(w, np.float64) for w in weights]
        net.biases = [np.asarray(b, np.float64).ravel() for b in biases]
        X, rows = net._rows(self.X)
        threads, guess = _threads.choice(net.sizes, min(n, m), n)
        call = _run.Call(
            X, rows, net._targets(self.Y, len(X)), order, None, min(n, m), threads, guess, None,
            None, 0.0, 1, SGD(), float(eta), 0.0, float(lmbda), math.inf, math.inf, math.inf,
            False, (self.X, self.Y), [], None, None, (),
        )  # fmt: skip
        _run.run(net, call)
        return copies(net)


def copies(net: cbackprop.Network) -> tuple[list[Array], list[Array]]:
    """Weights, and biases as columns: the book's shapes, writeable."""
    return [w.copy() for w in net.weights], [b[:, None].copy() for b in net.biases]


class SigmoidNetwork:
    """What the book's two networks have in common."""

    sizes: Sequence[int]
    weights: list[Array]
    biases: list[Array]

    @property
    def engine_cost(self) -> str:
        """The engine's name of the cost."""
        raise NotImplementedError

    def _loaded(self) -> cbackprop.Network:
        """A network of this package with these weights."""
        net = cbackprop.Network(
            list(self.sizes), cost=self.engine_cost, init="zeros", dtype="float64", rng=0
        )
        net.weights = [np.asarray(w, np.float64) for w in self.weights]
        net.biases = [np.asarray(b, np.float64).ravel() for b in self.biases]
        return net

    def feedforward(self, a: Array) -> Array:
        """The output (n_L, 1) for an input column (n_0, 1)."""
        result: Array = self._loaded().predict(np.asarray(a, np.float64).reshape(1, -1)).T
        return result

    def backprop(self, x: Array, y: Array) -> tuple[list[Array], list[Array]]:
        """(nabla_b, nabla_w) of one pair: BP1 to BP4."""
        return gradients(self._loaded(), [(x, y)])


def outputs(net: cbackprop.Network, data: Pairs) -> Array:
    """a^L of every pair, one a row."""
    X = np.stack([np.asarray(x).ravel() for x, _ in data])
    return net.predict(X if X.dtype in (np.uint8, np.float32) else X.astype(np.float64))


def gradients(net: cbackprop.Network, data: Pairs) -> tuple[list[Array], list[Array]]:
    """Sums over the pairs of nabla_b (columns) and nabla_w, in the book's order."""
    X, Y = stacked(data)
    g = net.gradients(X, Y)
    return [len(X) * b[:, None] for b in g.nabla_b], [len(X) * w for w in g.nabla_w]
