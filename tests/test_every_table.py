"""What a training may be given, on every kernel table: the same bits, whatever the data are."""

import numpy as np
import pytest

from cbackprop import Network, _engine, activations, costs
from cbackprop.optimizers import OPTIMIZERS

RUNS_BF16 = Network([1, 1])._engine.has_bf16


@pytest.fixture
def on_every_table():
    """A function's results on each kernel table, as a set."""
    before = _engine.kernels_in_use()

    def of(call):
        found = set()
        for name in _engine.kernel_names():
            _engine.choose_kernels(name)
            found.add(call())
        return found

    yield of
    _engine.choose_kernels(before)


def bits(net, history):
    return (*(x.tobytes() for x in [*net.weights, *net.biases]), *history.cost, *history.score)


def kinds(width):
    """Whole numbers from 0 to 255 in every type that is read in place, and with every stride."""
    plain = np.random.default_rng(width).integers(0, 256, (23, width))
    for kind in (np.uint8, np.float32, np.float64):
        yield plain.astype(kind)
        apart = np.zeros((23, 2 * width), kind)[:, ::2]
        apart[:] = plain
        yield apart


# Narrower than any vector, wider than some, some vectors and a part.
@pytest.mark.parametrize("width", [1, 3, 6, 40, 70])
@pytest.mark.parametrize("scale", [1.0, 1 / 256])
def test_rows_of_every_kind(width, scale, dtype, digest, on_every_table):
    y = np.random.default_rng(0).random((23, 2))
    for X in kinds(width):

        def trained(X=X):
            net = Network(
                [width, 5, 2], output="identity", dtype=dtype, rng=0, input_scale=scale,
                input_shift=0.5 if scale < 1 else 0.0,
            )  # fmt: skip
            # The rows of the next mini-batch are asked for; of the last one none are left.
            history = net.train(X, y, batch_size=8, epochs=2, learning_rate=1e-4)
            return (*bits(net, history), net.predict(X).tobytes())

        def plainly(X=X):
            return trained(np.ascontiguousarray(X, dtype))

        assert len(on_every_table(trained) | on_every_table(plainly)) == 1


@pytest.mark.skipif(not RUNS_BF16, reason="needs AVX512_BF16")
def test_rows_of_every_kind_in_bf16():
    y = np.random.default_rng(0).random((23, 32)).repeat(6, 0)
    found = set()
    for X in kinds(40):
        net = Network([40, 32, 32], output="identity", rng=0, input_scale=1 / 256)
        many = np.zeros((6 * len(X), 80), X.dtype)[:, :: X.strides[1] // X.itemsize][:, :40]
        many[:] = X.repeat(6, 0)
        found.add(bits(net, net.train(many, y, batch_size=40, epochs=2, compute="bf16")))
    assert len(found) == 1


@pytest.mark.skipif(not RUNS_BF16, reason="needs AVX512_BF16")
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("options", [{}, {"l2": 0.1, "l1": 0.01}], ids=["plain", "penalties"])
def test_optimisers_in_bf16_have_the_bits_of_any_threads(name, options):
    rng = np.random.default_rng(0)
    X, y = rng.random((64, 33), np.float32), rng.random((64, 40), np.float32)
    found = set()
    for threads in (1, 2, 3):
        net = Network([33, 40, 40], output="identity", rng=0)
        batch = 64 if name == "rprop" else 32
        history = net.train(
            X, y, batch_size=batch, epochs=2, optimizer=name, learning_rate=0.01, compute="bf16",
            n_threads=threads, **options,
        )  # fmt: skip
        found.add(bits(net, history))
    assert len(found) == 1


def labels(rng, rows):
    return rng.integers(0, 4, rows)


def several(rng, rows):
    return rng.integers(0, 2, (rows, 4))


def reals(rng, rows):
    return rng.random((rows, 4))


CASES = {
    "softmax inside": ({"activation": ["softmax", "tanh"]}, labels, {}),
    "softmax inside, dropout": ({"activation": "softmax"}, labels, {"dropout": [0.2, 0.3, 0.3]}),
    "identity inside": ({"activation": "identity"}, reals, {"dropout": 0.3}),
    "noise": ({}, labels, {"input_noise": 0.1, "optimizer": "adam", "l1": 0.01}),
    "several labels": ({"output": "sigmoid"}, several, {"sample_weight": np.arange(60) % 3}),
    "several labels, hinge": ({"output": "identity", "cost": "hinge"}, several, {}),
    "weights": ({"output": "identity"}, reals, {"sample_weight": np.arange(60) % 3}),
    "limits": ({}, labels, {"clip_norm": 0.1, "max_norm": 0.5, "l2": 0.1, "optimizer": "adam"}),
    "norm": ({}, labels, {"clip_norm": 0.1, "max_norm": 50.0}),
    "general cost": ({"output": "tanh", "cost": "squared_hinge"}, several, {"clip_value": 0.1}),
    "likelihood": ({"output": "sigmoid", "cost": "log_likelihood"}, several, {}),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("n_in", [8, 9])
def test_options_on_every_table(name, n_in, dtype, on_every_table):
    shape, targets, options = CASES[name]
    rng = np.random.default_rng(n_in)
    X, y = rng.standard_normal((60, n_in)), targets(rng, 60)

    def trained():
        net = Network([n_in, 20, 35, 4], **{"output": "softmax", "dtype": dtype, "rng": 0} | shape)
        return bits(net, net.train(X, y, batch_size=16, epochs=2, n_threads=2, **options))

    assert len(on_every_table(trained)) == 1


@pytest.mark.parametrize("inputs", [2, 3])
def test_labels_of_one_output_on_every_table(inputs, dtype, on_every_table):
    # 3 or 4 panels of parameters: an odd number, and an even one.
    X = np.random.default_rng(inputs).standard_normal((30, inputs))

    def trained():
        net = Network([inputs, 1], output="sigmoid", dtype=dtype, rng=0)
        return bits(net, net.train(X, X[:, 0] > 0, batch_size=8, epochs=2, learning_rate=1.0))

    assert len(on_every_table(trained)) == 1


@pytest.mark.parametrize("sizes", [[300, 290, 3], [33, 18, 3]])
@pytest.mark.parametrize("hidden", ["tanh", "softmax"])
def test_large_mini_batches_on_every_table(sizes, hidden, dtype, on_every_table):
    # BP4's operands are laid out first, or its sums go on from chunk to chunk.
    rng = np.random.default_rng(0)
    rows = 260_000 // sizes[0]
    X, y = rng.standard_normal((rows, sizes[0])), rng.random((rows, 3))

    def trained():
        net = Network(sizes, activation=hidden, output="identity", dtype=dtype, rng=0)
        sums = net.gradients(X, y)
        kept = [x.tobytes() for x in sums.nabla_w + sums.nabla_b]
        return (*kept, *bits(net, net.train(X, y, batch_size=rows, optimizer="adam")))

    assert len(on_every_table(trained)) == 1


# One, part of a vector, one whole, and so on for every width of vector; and a panel and more.
@pytest.mark.parametrize("n_out", [1, 3, 4, 8, 15, 16, 17, 40])
@pytest.mark.parametrize(
    ("output", "cost"),
    [
        ("softmax", "log_likelihood"), ("softmax", "quadratic"), ("sigmoid", "cross_entropy"),
        ("tanh", "quadratic"), ("identity", "absolute"), ("identity", "hinge"),
        ("identity", "squared_hinge"), ("identity", "huber"), ("identity", "log_cosh"),
        ("identity", "quantile"), ("softplus", "poisson"), ("sigmoid", "log_likelihood"),
        ("softmax", "cross_entropy"),
    ],
)  # fmt: skip
def test_outputs_of_every_width(output, cost, n_out, dtype, on_every_table):
    if output == "softmax":
        n_out = max(2, n_out)
    rng = np.random.default_rng(n_out)
    X, y = rng.standard_normal((30, 4)), rng.integers(0, 2, (30, n_out))
    y[:, 0] |= y.sum(axis=1) == 0
    only = np.arange(30) % 4

    def trained():
        net = Network([4, 5, n_out], output=output, cost=cost, dtype=dtype, rng=0)
        history = net.train(X, y, batch_size=8, n_threads=7)
        sums = net.gradients(X, y, sample_weight=only)
        kept = [x.tobytes() for x in sums.nabla_w + sums.nabla_b]
        targets = X[:, :1] + np.arange(n_out)
        real = Network([4, n_out], output="identity", dtype=dtype, rng=0)
        return (*kept, *bits(net, history), *bits(real, real.train(X, targets, n_threads=15)))

    assert len(on_every_table(trained)) == 1


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_penalties_of_every_optimiser(name, dtype, on_every_table):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 5)), rng.random((40, 3))

    def trained():
        net = Network([5, 18, 3], dtype=dtype, rng=0)
        batch = 40 if name == "rprop" else 16
        options = {"optimizer": name, "batch_size": batch, "learning_rate": 0.01}
        return bits(net, net.train(X, y, epochs=2, l1=0.01, l2=0.1, clip_value=0.1, **options))

    assert len(on_every_table(trained)) == 1


def test_two_labels_and_one_output(dtype, on_every_table):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 5)), rng.integers(0, 2, 20)

    def trained():
        net = Network([5, 4, 1], output="sigmoid", dtype=dtype, rng=0)
        return bits(net, net.train(X, y, batch_size=6))

    assert len(on_every_table(trained)) == 1


def test_a_number_that_is_not_finite_is_found(table, dtype):
    X, y = np.ones((20, 5)), np.ones((20, 2))
    for row, column, value in ((3, 0, np.nan), (19, 4, np.inf)):
        wrong = X.copy()
        wrong[row, column] = value
        net = Network([5, 2], output="identity", dtype=dtype, rng=0)
        before = net.weights[0]
        with pytest.raises(ValueError, match=rf"X.*{row}.*{column}"):
            net.train(wrong, y, batch_size=4)
        assert np.array_equal(net.weights[0], before)


@pytest.mark.parametrize("n_out", [3, 16])
def test_functions_of_ones_own_on_every_table(n_out, dtype, on_every_table):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((30, 5)), rng.random((30, n_out))
    sigma = activations.register("wave", np.sin, derivative=lambda z, a: np.cos(z))
    cost = costs.register(
        "fourth", lambda a, y: ((a - y) ** 4).sum(axis=1), lambda a, y: 4 * (a - y) ** 3
    )

    def trained():
        net = Network([5, 7, n_out], activation=sigma, output=sigma, cost=cost, dtype=dtype, rng=0)
        return bits(net, net.train(X, y, batch_size=7, learning_rate=1e-3))

    try:
        assert len(on_every_table(trained)) == 1
    finally:
        del activations.ACTIVATIONS["wave"], costs.COSTS["fourth"]
