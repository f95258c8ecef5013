"""The book's ``network.py`` (chapter 1): mini-batch SGD, sigmoid neurons, quadratic cost.

Drop-in: the same class, methods and arguments. Training data are pairs of columns (x, y),
test data pairs (x, label). Differs in one thing: sums over a mini-batch are formed by the
engine, so results agree to rounding, not to the bit.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbackprop.book import _engine

Array = NDArray[Any]


class Network(_engine.SigmoidNetwork):
    """A network of sigmoid neurons with Gaussian initial weights and biases.

    Parameters
    ----------
    sizes : sequence of int
        Neurons in each layer, input first. Weights and biases are drawn from
        ``numpy.random`` in the book's order: all biases, then all weights.
    """

    @property
    def engine_cost(self) -> str:
        """The engine's name of the cost."""
        return "quadratic"

    def __init__(self, sizes: Sequence[int]) -> None:
        self.num_layers = len(sizes)
        self.sizes = sizes
        self.biases = [np.random.randn(n, 1) for n in sizes[1:]]
        self.weights = [np.random.randn(n, before) for before, n in itertools.pairwise(sizes)]

    def SGD(
        self,
        training_data: Any,
        epochs: int,
        mini_batch_size: int,
        eta: float,
        test_data: Any = None,
    ) -> None:
        """Train on pairs (x, y); with test data, print after each epoch how many are right.

        A list of training data is shuffled in place by ``random.shuffle``, as in the book.
        """
        if not isinstance(training_data, list):
            training_data = list(training_data)
        _engine.checked(training_data, epochs, mini_batch_size, eta)
        if test_data is not None:
            test_data = list(test_data)
        trainer = _engine.Trainer(self.sizes, self.engine_cost, training_data)
        for j in range(epochs):
            self.weights, self.biases = trainer.epoch(
                self.weights, self.biases, mini_batch_size, eta
            )
            if test_data:
                print(f"Epoch {j}: {self.evaluate(test_data)} / {len(test_data)}")
            else:
                print(f"Epoch {j} complete")

    def update_mini_batch(self, mini_batch: Any, eta: float) -> None:
        """One step of gradient descent on these pairs."""
        nabla_b, nabla_w = _engine.gradients(self._loaded(), mini_batch)
        step = eta / len(mini_batch)
        self.weights = [w - step * g for w, g in zip(self.weights, nabla_w, strict=True)]
        self.biases = [b - step * g for b, g in zip(self.biases, nabla_b, strict=True)]

    def evaluate(self, test_data: Any) -> int:
        """How many of the pairs (x, label) have their largest output at the label."""
        found = _engine.outputs(self._loaded(), test_data).argmax(axis=1)
        return int(sum(int(a) == int(y) for a, (_, y) in zip(found, test_data, strict=True)))

    def cost_derivative(self, output_activations: Array, y: Array) -> Array:
        """dC/da of the quadratic cost."""
        result: Array = output_activations - y
        return result


def sigmoid(z: Array) -> Array:
    """1 / (1 + exp(-z))"""
    result: Array = 1.0 / (1.0 + np.exp(-z))
    return result


def sigmoid_prime(z: Array) -> Array:
    """sigmoid(z) (1 - sigmoid(z))"""
    result: Array = sigmoid(z) * (1 - sigmoid(z))
    return result
