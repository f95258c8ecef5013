"""The book's ``network2.py`` (chapter 3): cross-entropy, L2 regularisation, better initial
weights, monitoring, and networks as JSON files.

Drop-in: the same classes, functions, arguments, printed lines and results of ``SGD``.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbackprop.book import _engine
from cbackprop.book.network import sigmoid, sigmoid_prime
from cbackprop.io import book_json

Array = NDArray[Any]

__all__ = [
    "CrossEntropyCost",
    "Network",
    "QuadraticCost",
    "load",
    "sigmoid",
    "sigmoid_prime",
    "vectorized_result",
]


class QuadraticCost:
    """||a - y||^2 / 2"""

    engine = "quadratic"

    @staticmethod
    def fn(a: Array, y: Array) -> float:
        """The cost of an output a and a desired output y."""
        return float(0.5 * np.linalg.norm(a - y) ** 2)

    @staticmethod
    def delta(z: Array, a: Array, y: Array) -> Array:
        """The error of the output layer."""
        return (a - y) * sigmoid_prime(z)


class CrossEntropyCost:
    """-sum y ln a + (1 - y) ln (1 - a)"""

    engine = "cross_entropy"

    @staticmethod
    def fn(a: Array, y: Array) -> float:
        """The cost of an output a and a desired output y; 0 ln 0 counts 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.sum(np.nan_to_num(-y * np.log(a) - (1 - y) * np.log(1 - a))))

    @staticmethod
    def delta(z: Array, a: Array, y: Array) -> Array:
        """The error of the output layer; z is not needed."""
        return a - y


class Network(_engine.SigmoidNetwork):
    """A network of sigmoid neurons.

    Parameters
    ----------
    sizes : sequence of int
        Neurons in each layer, input first.
    cost : class
        CrossEntropyCost or QuadraticCost; or a class with their methods whose ``engine`` is the
        name of a cost of this package.

    Examples
    --------
    >>> import random
    >>> random.seed(0)
    >>> np.random.seed(0)
    >>> pairs = [(np.array([[0.0], [1.0]]), np.array([[1.0]])),
    ...          (np.array([[1.0], [1.0]]), np.array([[0.0]]))]
    >>> net = Network([2, 3, 1], cost=QuadraticCost)
    >>> _, _, cost, _ = net.SGD(pairs, 2, 1, 3.0, monitor_training_cost=True)
    Epoch 0 training complete
    Cost on training data: 0...
    <BLANKLINE>
    Epoch 1 training complete
    Cost on training data: 0...
    <BLANKLINE>
    >>> cost[1] < cost[0]
    True
    """

    def __init__(self, sizes: Sequence[int], cost: Any = CrossEntropyCost) -> None:
        self.num_layers = len(sizes)
        self.sizes = sizes
        self.default_weight_initializer()
        self.cost = cost
        _engine.engine_name(cost)

    @property
    def engine_cost(self) -> str:
        """The engine's name of the cost."""
        return _engine.engine_name(self.cost)

    def default_weight_initializer(self) -> None:
        """Biases from N(0, 1), weights from N(0, 1 / n_in)."""
        self.biases = [np.random.randn(n, 1) for n in self.sizes[1:]]
        self.weights = [
            np.random.randn(n, before) / np.sqrt(before)
            for before, n in itertools.pairwise(self.sizes)
        ]

    def large_weight_initializer(self) -> None:
        """Biases and weights from N(0, 1), as in chapter 1."""
        self.biases = [np.random.randn(n, 1) for n in self.sizes[1:]]
        self.weights = [np.random.randn(n, before) for before, n in itertools.pairwise(self.sizes)]

    def SGD(
        self,
        training_data: Any,
        epochs: int,
        mini_batch_size: int,
        eta: float,
        lmbda: float = 0.0,
        evaluation_data: Any = None,
        monitor_evaluation_cost: bool = False,
        monitor_evaluation_accuracy: bool = False,
        monitor_training_cost: bool = False,
        monitor_training_accuracy: bool = False,
    ) -> tuple[list[float], list[int], list[float], list[int]]:
        """Train on pairs (x, y) of columns; evaluation data are pairs (x, label).

        Returns
        -------
        tuple of lists
            Evaluation cost, evaluation accuracy, training cost, training accuracy, one entry
            an epoch; empty where not monitored.
        """
        if not isinstance(training_data, list):
            training_data = list(training_data)
        _engine.checked(training_data, epochs, mini_batch_size, eta, lmbda)
        evaluation = list(evaluation_data) if evaluation_data is not None else []
        if not evaluation and (monitor_evaluation_cost or monitor_evaluation_accuracy):
            raise ValueError("evaluation_data is missing or empty; the monitors of it need pairs")
        n = len(training_data)
        trainer = _engine.Trainer(self.sizes, self.engine_cost, training_data)
        curves: tuple[list[float], list[int], list[float], list[int]] = ([], [], [], [])
        for j in range(epochs):
            self.weights, self.biases = trainer.epoch(
                self.weights, self.biases, mini_batch_size, eta, lmbda
            )
            print(f"Epoch {j} training complete")
            if monitor_training_cost:
                curves[2].append(self.total_cost(training_data, lmbda))
                print(f"Cost on training data: {curves[2][-1]}")
            if monitor_training_accuracy:
                curves[3].append(self.accuracy(training_data, convert=True))
                print(f"Accuracy on training data: {curves[3][-1]} / {n}")
            if monitor_evaluation_cost:
                curves[0].append(self.total_cost(evaluation, lmbda, convert=True))
                print(f"Cost on evaluation data: {curves[0][-1]}")
            if monitor_evaluation_accuracy:
                curves[1].append(self.accuracy(evaluation))
                print(f"Accuracy on evaluation data: {curves[1][-1]} / {len(evaluation)}")
            print()
        return curves

    def update_mini_batch(self, mini_batch: Any, eta: float, lmbda: float, n: int) -> None:
        """One step on these pairs; n is the size of the training data."""
        nabla_b, nabla_w = _engine.gradients(self._loaded(), mini_batch)
        step, keep = eta / len(mini_batch), 1 - eta * (lmbda / n)
        self.weights = [keep * w - step * g for w, g in zip(self.weights, nabla_w, strict=True)]
        self.biases = [b - step * g for b, g in zip(self.biases, nabla_b, strict=True)]

    def accuracy(self, data: Any, convert: bool = False) -> int:
        """How many are right. ``convert``: the pairs are (x, y) with y a column, as training
        data are; otherwise (x, label)."""
        found = _engine.outputs(self._loaded(), data).argmax(axis=1)
        labels = [int(np.argmax(y)) if convert else int(y) for _, y in data]
        return int(sum(int(a) == y for a, y in zip(found, labels, strict=True)))

    def total_cost(self, data: Any, lmbda: float, convert: bool = False) -> float:
        """Mean cost plus (lambda / 2n) sum w^2. ``convert``: the pairs are (x, label)."""
        cost = 0.0
        for a, (_, y) in zip(_engine.outputs(self._loaded(), data), data, strict=True):
            target = vectorized_result(y) if convert else y
            cost += self.cost.fn(a[:, None], target) / len(data)
        penalty = sum(float(np.linalg.norm(w)) ** 2 for w in self.weights)
        return cost + 0.5 * (lmbda / len(data)) * penalty

    def save(self, filename: str) -> None:
        """Write the network to a JSON file."""
        book_json.write(filename, self.sizes, self.weights, self.biases, self.cost.__name__)


_COSTS = {"QuadraticCost": QuadraticCost, "CrossEntropyCost": CrossEntropyCost}


def load(filename: str) -> Network:
    """The network from a JSON file of `Network.save`, or of the book's.

    Raises
    ------
    ModelFileError
        The file is not such a network.
    """
    data = book_json.read(filename)
    net = Network(data.sizes, cost=_COSTS[data.cost])
    net.weights, net.biases = data.weights, data.biases
    return net


def vectorized_result(j: Any) -> Array:
    """A column of ten with 1 at place j."""
    e = np.zeros((10, 1))
    e[int(j)] = 1.0
    return e
