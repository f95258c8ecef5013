"""Accuracy of rows of few outputs and of many, against NumPy's."""

import numpy as np
import pytest

from cbackprop import Network
from cbackprop.exceptions import DivergenceError

WIDTHS = (2, 5, 16, 17, 64, 65, 80, 100, 1025)


def network(width, output, cost, dtype):
    """Whose weighted inputs of the output layer are its inputs."""
    net = Network([width, width], output=output, cost=cost, dtype=dtype)
    net.set_weights(0, w=np.eye(width), b=np.zeros(width))
    return net


@pytest.mark.parametrize("width", WIDTHS)
def test_the_first_of_equal_outputs_counts(width, table, dtype):
    rng = np.random.default_rng(width)
    z = rng.integers(0, 3, (400, width)).astype(float)  # equals in most rows
    z[::7] = rng.permuted(np.broadcast_to(np.arange(width) - width, (58, width)), axis=1)
    labels = np.where(np.arange(400) % 2, z.argmax(axis=1), rng.integers(0, width, 400))
    net = network(width, "softmax", "log_likelihood", dtype)
    right = net.predict(z).argmax(axis=1) == labels
    assert 0.5 <= right.mean() < 1
    assert net.evaluate(z, labels)["accuracy"] == right.mean()


@pytest.mark.parametrize("width", WIDTHS)
def test_every_output_is_on_its_side(width, table, dtype):
    rng = np.random.default_rng(width)
    z = rng.choice([-1.0, -0.0, 0.0, 1.0], (300, width))
    y = (z >= 0).astype(float)
    for row in range(0, 300, 3):  # one output, anywhere, on the other side
        y[row, row // 3 * width // 100] = 1 - y[row, row // 3 * width // 100]
    net = network(width, "identity", "hinge", dtype)
    assert net.evaluate(z, y)["accuracy"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("width", [10, 100])
def test_outputs_that_are_no_numbers_are_refused(width, table, dtype):
    rng = np.random.default_rng(0)
    net = Network([5, 20, width], activation="relu", output="softmax", cost="log_likelihood", rng=0)
    X, labels = rng.normal(size=(60, 5)), rng.integers(0, width, 60)
    with pytest.raises(DivergenceError):
        net.train(X, labels, epochs=5, batch_size=10, learning_rate=1e30)
