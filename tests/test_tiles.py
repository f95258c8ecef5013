"""Every size of tile, in every table: forward, BP2 and BP4 against the NumPy twin."""

import numpy as np
import pytest

from cbackprop import Network, reference

# In vectors of 2 to 16 numbers: a part of one, one and a part, two, and some more.
WIDTHS = (3, 8, 11, 18, 27, 32)


def network(n_in, width, dtype):
    return Network(
        [n_in, width, 3], activation="tanh", output="identity", init="glorot", dtype=dtype,
        rng=n_in * width,
    )  # fmt: skip


def data(rows, n_in):
    rng = np.random.default_rng(rows)
    return rng.standard_normal((rows, n_in)), rng.random((rows, 3))


def truth(net, X, y):
    w, b = ([np.asarray(x, np.float64) for x in part] for part in (net.weights, net.biases))
    return reference.backprop(w, b, net.activations, net.cost, X, y)


def close(found, expected, dtype):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-13 if dtype == "float64" else 1e-5)


@pytest.mark.parametrize("width", WIDTHS)
def test_tiles_of_every_size(width, table, dtype):
    # A layer of n_in inputs has n_in + 1 rows in BP4; a mini-batch of m samples has m in the
    # forward pass and BP2. Fewer samples than rows, and more.
    for n_in in range(1, 14):
        for rows in (n_in, 40):
            X, y = data(rows, n_in)
            net = network(n_in, width, dtype)
            right = truth(net, X, y)
            found = net.gradients(X, y)
            close(found.a, right.a, dtype)
            close(found.delta, right.delta, dtype)
            close(found.nabla_w + found.nabla_b, right.nabla_w + right.nabla_b, dtype)


# The first step of both is w - eta nabla; sums of the first meet w in registers.
@pytest.mark.parametrize(("optimizer", "l2"), [("sgd", 0.0), ("sgd", 0.25), ("momentum", 0.0)])
@pytest.mark.parametrize("width", WIDTHS)
def test_steps_of_every_size(width, optimizer, l2, table, dtype):
    # 2,600 samples go through in chunks, whose sums go on from those of the chunk before.
    for n_in in range(1, 13):
        for rows in (n_in, 40, 2600):
            X, y = data(rows, n_in)
            net = network(n_in, width, dtype)
            keep = 1 - 0.5 * l2 / rows
            before = [*(keep * w for w in net.weights), *net.biases]
            right = truth(net, X, y)
            net.train(
                X, y, batch_size=rows, optimizer=optimizer, learning_rate=0.5, l2=l2, n_threads=1
            )
            steps = (0.5 * g for g in [*right.nabla_w, *right.nabla_b])
            expected = [w - step for w, step in zip(before, steps, strict=True)]
            close([*net.weights, *net.biases], expected, dtype)


def test_tiles_of_every_size_laid_out(table, dtype):
    # Operands of BP4 laid out tile by tile: samples enough for it, and a last block of one vector.
    rows, width = 12_000, 130
    for n_in in range(1, 13):
        X, y = data(rows, n_in)
        net = network(n_in, width, dtype)
        right = truth(net, X, y)
        found = net.gradients(X, y)
        close(found.nabla_w + found.nabla_b, right.nabla_w + right.nabla_b, dtype)


@pytest.mark.parametrize(
    "rule", [{}, {"l2": 0.25}, {"optimizer": "momentum"}, {"optimizer": "adam"}], ids=str
)
@pytest.mark.parametrize("width", WIDTHS)
def test_tiles_that_ask_for_the_next_rows(width, rule, table, dtype):
    # Long rows whose numbers lie side by side are asked for by the largest tiles of BP4, step by
    # step; those of a wider array's columns are not.
    for n_in, batch in ((395, 10), (402, 16), (408, 28)):
        rng = np.random.default_rng(n_in)
        X, y = rng.random((5 * batch, n_in)).astype(dtype), rng.random((5 * batch, 3))
        apart = np.repeat(X, 2, axis=1)[:, ::2]
        asked, not_asked = (network(n_in, width, dtype) for _ in range(2))
        for net, inputs in ((asked, X), (not_asked, apart)):
            net.train(inputs, y, epochs=2, batch_size=batch, learning_rate=1e-3, **rule)
        for a, b in zip(asked.weights, not_asked.weights, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("rows", [1, 2])
def test_few_rows_of_every_width(rows, table, dtype):
    # Up to eight vectors of neurons at once; of 1 to 16 vectors of 2 to 16 numbers.
    for width in [*range(2, 17, 2), *range(20, 33, 4), *range(40, 65, 8), *range(80, 129, 16)]:
        X, y = data(rows, 5)
        net = network(5, width, dtype)
        close([net.predict(X)], truth(net, X, y).a[-1:], dtype)
