"""Norms: max_norm, clip_norm, ||delta^l|| and dead units in the history, the warning; and the
noise of the input, which comes from the same place as dropout."""

import math
import warnings

import numpy as np
import pytest

from cbackprop import LearningWarning, Network, _engine, load, reference
from cbackprop.costs import get as get_cost
from cbackprop.optimizers import OPTIMIZERS

RNG = np.random.default_rng(4)
X = RNG.normal(size=(60, 4))
LABELS = np.arange(60) % 3


def network(**changes):
    options = {"activation": "tanh", "output": "softmax", "rng": 5, "dtype": "float64"}
    return Network([4, 20, 6, 3], **{**options, **changes})


def bits(net):
    return [x.tobytes() for x in net.weights + net.biases]


def norm_of(g):
    return math.sqrt(sum((x * x).sum() for x in [*g.nabla_w, *g.nabla_b]))


# ---- clip_norm ---------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_clip_norm_shortens_the_whole_gradient(name, threads):
    net, twin = network(), network()
    g = net.gradients(X, LABELS)
    most = 0.3 * norm_of(g)
    scaled = [[0.3 * x for x in part] for part in (g.nabla_w, g.nabla_b)]
    net.train(X, LABELS, batch_size=60, optimizer=name, clip_norm=most, n_threads=threads)
    twin.apply_gradients(scaled, optimizer=name)
    for mine, truth in zip(net.weights + net.biases, twin.weights + twin.biases, strict=True):
        np.testing.assert_allclose(mine, truth, rtol=1e-9, atol=1e-12)


def test_clip_norm_counts_penalties():
    net, twin = network(), network()
    g, w = net.gradients(X, LABELS), net.weights
    nabla_w = [n + 3 / 60 * np.sign(v) + 6 / 60 * v for n, v in zip(g.nabla_w, w, strict=True)]
    factor = 0.1 / norm_of(g._replace(nabla_w=nabla_w))
    assert factor < 1
    net.train(X, LABELS, batch_size=60, optimizer="adam", l1=3.0, l2=6.0, clip_norm=0.1)
    scaled = [factor * x for x in nabla_w], [factor * x for x in g.nabla_b]
    twin.apply_gradients(scaled, optimizer="adam")
    for mine, truth in zip(net.weights, twin.weights, strict=True):
        np.testing.assert_allclose(mine, truth, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_a_wide_clip_norm_changes_nothing(name):
    net, twin = network(), network()
    net.train(X, LABELS, epochs=3, batch_size=7, optimizer=name, clip_norm=1e6)
    twin.train(X, LABELS, epochs=3, batch_size=7, optimizer=name)
    for mine, truth in zip(net.weights, twin.weights, strict=True):
        np.testing.assert_allclose(mine, truth, rtol=1e-12, atol=1e-14)


# ---- max_norm ----------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
def test_max_norm_shortens_weights_not_biases(threads, dtype):
    net, twin = network(dtype=dtype), network(dtype=dtype)
    options = {"batch_size": 60, "learning_rate": 0.5}
    twin.train(X, LABELS, **options)
    net.train(X, LABELS, max_norm=0.8, n_threads=threads, **options)
    shortened = 0
    for mine, free in zip(net.weights, twin.weights, strict=True):
        length = np.linalg.norm(free.astype(float), axis=1, keepdims=True)
        truth = np.where(length > 0.8, free * (0.8 / length), free)
        shortened += (length > 0.8).sum()
        np.testing.assert_allclose(mine, truth, rtol=3e-7)
    assert 3 < shortened < 29
    assert [b.tobytes() for b in net.biases] == [b.tobytes() for b in twin.biases]


# ---- the history's norms -----------------------------------------------------------------


def looked_at(deltas):
    """||delta|| and share of dead neurons over the samples given, one array a layer."""
    norms = [math.sqrt((d.astype(float) ** 2).sum(axis=1).mean()) for d in deltas]
    return norms, [(d == 0).all(axis=0).mean() for d in deltas]


@pytest.mark.parametrize("threads", [1, 2])
def test_delta_norms_of_one_full_batch(threads, dtype):
    net = network(dtype=dtype, activation="relu")
    norms, dead = looked_at(net.gradients(X, LABELS).delta)
    history = net.train(X, LABELS, batch_size=60, n_threads=threads)
    np.testing.assert_allclose(history.delta_norms, [norms], rtol=1e-6)
    assert history.dead_units == [dead]


def test_which_samples_are_looked_at():
    X, y = RNG.normal(size=(1500, 4)), RNG.integers(0, 3, 1500)
    net = network(cost="quadratic")
    weights, biases = net.weights, net.biases
    seen = [[], [], []]
    targets = np.eye(3)[y]
    for batch in range(10):  # 150 each: of numbers 0 and 8 the first 128
        rows = slice(150 * batch, 150 * batch + 150)
        g = reference.backprop(
            weights, biases, net.activations, get_cost("quadratic"), X[rows], targets[rows]
        )
        for l in range(3):
            if batch % 8 == 0:
                seen[l].append(g.delta[l][:128])
            weights[l] = weights[l] - 0.1 * g.nabla_w[l]
            biases[l] = biases[l] - 0.1 * g.nabla_b[l]
    history = net.train(X, y, batch_size=150, learning_rate=0.1, shuffle=False)
    norms, dead = looked_at([np.concatenate(part) for part in seen])
    np.testing.assert_allclose(history.delta_norms[0], norms, rtol=1e-9)
    assert history.dead_units[0] == dead


def test_a_broken_epoch_keeps_its_norms(tmp_path):
    class Stop:
        def on_batch_end(self, net, epoch, batch):
            return epoch == 1 and batch == 5

    whole, parts = network(), network()
    whole.train(X, LABELS, epochs=3, batch_size=2)
    parts.train(X, LABELS, epochs=2, batch_size=2, callbacks=[Stop()])
    assert parts.steps == 36
    parts.save(tmp_path / "net")
    parts = load(tmp_path / "net")
    parts.train(X, LABELS, epochs=1, batch_size=2)
    assert parts.history.delta_norms == whole.history.delta_norms
    assert parts.history.dead_units == whole.history.dead_units
    assert bits(parts) == bits(whole)


def test_a_layer_that_does_not_learn_is_named():
    deep = Network([4, *[10] * 9, 3], output="softmax", rng=0)
    with pytest.warns(LearningWarning, match=r"layer 1 does not learn.*vanished"):
        deep.train(X, LABELS, epochs=1)
    dead = network(activation="relu")
    dead.biases = [np.full(20, -1e3), dead.biases[1], dead.biases[2]]
    with pytest.warns(LearningWarning, match=r"layer 1 does not learn: no error reaches"):
        dead.train(X, LABELS, epochs=1)
    assert dead.history.dead_units[0][0] == 1
    large = Network([4, *[10] * 4, 3], activation="identity", output="softmax", rng=0)
    large.weights = [w * (1 if l == 0 else 1e2) for l, w in enumerate(large.weights)]
    with pytest.warns(LearningWarning, match=r"layer 1 does not learn.*exploded"):
        large.train(X, LABELS, epochs=1, learning_rate=1e-30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network().train(X, LABELS, epochs=3)


def test_outputs_that_are_dead_are_named():
    def outputs(shift, targets, **changes):
        net = Network([4, 5, 1], activation="tanh", dtype="float64", rng=0, **changes)
        net.set_weights(1, b=[shift])
        return net.train(X, targets, epochs=2, learning_rate=0.01)

    with pytest.warns(LearningWarning, match=r"layer 2, the output, does not learn: no error goes"):
        outputs(-100.0, np.ones(60), output="relu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outputs(-100.0, np.zeros(60), output="relu")  # which fits
        outputs(9.0, np.ones(60, int), output="identity", cost="hinge")  # every margin is kept
        # The 128 rows looked at keep theirs; the others learn.
        learns = Network([1, 1], output="identity", cost="hinge", init="zeros", rng=0)
        learns.weights = [np.ones((1, 1))]
        x = np.where(np.arange(300) < 128, 5.0, 0.5)[:, None]
        learns.train(x, np.ones(300, int), epochs=2, batch_size=300, learning_rate=0.01)


# ---- noise -------------------------------------------------------------------------------


def test_input_noise_is_normal_seeded_and_new_each_epoch():
    # One linear layer without a bias to speak of: the first step tells the noise it saw.
    n = 400
    net = Network([n, 1], output="identity", init="zeros", dtype="float64", rng=0)
    seen = []
    for _ in range(2):
        net.weights, net.biases = [np.zeros((1, n))], [np.zeros(1)]
        net.train(np.zeros((1, n)), np.array([-1.0]), learning_rate=1.0, input_noise=0.5)
        seen.append(-net.weights[0][0])
    noise = np.concatenate(seen)
    assert abs(noise.std() - 0.5) < 0.05
    assert abs(noise.mean()) < 0.06
    assert abs(np.corrcoef(*seen)[0, 1]) < 0.15
    assert abs((np.abs(noise) < 0.5).mean() - 0.6827) < 0.05
    again = Network([n, 1], output="identity", init="zeros", dtype="float64", rng=0)
    again.train(np.zeros((1, n)), np.array([-1.0]), learning_rate=1.0, input_noise=0.5)
    assert (-again.weights[0][0] == seen[0]).all()


def test_noise_is_of_the_sample_not_of_the_mini_batch():
    # At rate 0 weights stay: each sample's error is of its own noise alone, whatever the batch.
    costs = set()
    for batch in (1, 7, 60):
        net = network()
        history = net.train(
            X, LABELS, batch_size=batch, learning_rate=1e-300, input_noise=0.3, shuffle=False
        )
        costs.add(round(history.cost[0], 12))
    assert len(costs) == 1


# ---- the same bits -----------------------------------------------------------------------

OPTIONS = {
    "plain": {},
    "max_norm": {"max_norm": 0.7},
    "clip_norm": {"clip_norm": 0.05, "optimizer": "adam"},
    "noise": {"input_noise": 0.1, "dropout": [0.1, 0.2, 0.0]},
    "all": {"max_norm": 0.7, "clip_norm": 0.05, "input_noise": 0.1, "l2": 0.3},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("batch", [9, 2500])
def test_the_same_bits(name, batch, dtype):
    # 9: samples or columns; 2500 of 5000: chunks in turn
    data = np.random.default_rng(0)
    n = 400 if batch == 9 else 5000
    x, y = data.random((n, 40), np.float32), data.integers(0, 4, n)
    found, before = set(), _engine.kernels_in_use()
    try:
        for table in _engine.kernel_names():
            _engine.choose_kernels(table)
            for threads in (1, 2, 3, None):
                net = Network([40, 50, 24, 4], activation="relu", dtype=dtype, rng=1)
                curves = net.train(
                    x, y, epochs=3, batch_size=batch, n_threads=threads, **OPTIONS[name]
                )
                seen = (curves.cost, curves.delta_norms, curves.dead_units)
                found.add((*bits(net), repr(seen)))
    finally:
        _engine.choose_kernels(before)
    assert len(found) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_norm": 0}, r"max_norm = 0, expected a finite number > 0"),
        ({"clip_norm": -1.0}, r"clip_norm = -1.0, expected a finite number > 0"),
        ({"input_noise": -0.1}, r"input_noise = -0.1, expected a finite number >= 0"),
        ({"clip_norm": 1.0, "clip_value": 1.0}, r"clip_value and clip_norm: give one of them"),
    ],
)
def test_refused(options, message):
    net = network()
    before = bits(net)
    with pytest.raises(ValueError, match=message):
        net.train(X, LABELS, **options)
    assert bits(net) == before
    assert net.steps == 0
