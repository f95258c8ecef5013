"""Calls for few rows and little work: the quick ways give what the long ways give."""

import copy
import gc
import math
import pickle
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from cbackprop import Network, _gate, _threads, activations, costs, reference
from cbackprop._engine import Targets

RNG = np.random.default_rng(6)
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def distance(value, truth):
    return np.abs(value - truth).max() / (np.abs(truth).max() or 1)


# ---- one and two rows --------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("output", ["identity", "softmax", "sigmoid"])
def test_few_rows_have_the_bits_of_many(output, scale, table, dtype):
    X = RNG.standard_normal((9, 5)).astype(dtype)
    for width in [*range(1, 20), 31, 33, 64, 65, 127, 130, 259]:
        sizes = [5, width, 3, width + 1]
        net = Network(
            sizes, activation="tanh", output=output, init="book", dtype=dtype, input_scale=scale,
            rng=1,
        )  # fmt: skip
        a = net.predict(X)
        for few in (1, 2):
            for i in range(len(X) - few + 1):
                assert np.array_equal(net.predict(X[i : i + few]), a[i : i + few]), (sizes, few, i)


def test_the_quick_way_is_taken():
    net = Network([4, 64, 2], rng=0)
    for x in (np.ones((1, 4), np.float32), np.ones((8, 8))[::3, ::-2], np.ones((3, 4), np.uint8)):
        assert np.array_equal(net._engine.quick(x), net.predict(x, n_threads=1))


@pytest.mark.parametrize(
    "x",
    [
        [[1.0] * 4],
        np.ones(4, np.float32),
        np.ones((1, 4), int),
        np.ones((1, 4), ">f4"),
        np.ones((1, 4), "M8[s]"),
        np.ones((1, 4), object),
        np.ones((1, 3), np.float32),
        np.ones((0, 4), np.float32),
        np.full((1, 4), np.nan),
        np.ones((1, 4)).view(np.matrix),
        np.ma.masked_array(np.ones((1, 4))),
        np.ones((10_000, 4)),  # work for more than one thread
        np.zeros(17, np.uint8)[1:].view(np.float32).reshape(1, 4),
    ],
    ids=str,
)
def test_the_quick_way_leaves_the_rest_to_the_gate(x):
    net = Network([4, 300, 300, 2], rng=0)
    assert net._engine.quick(x) is None


def test_few_rows_and_many_in_turn(dtype):
    # each kind of call has memory of its own, also where the scores take more of it
    X, y = RNG.random((40, 4)).astype(dtype), RNG.random((40, 3)).astype(dtype)
    labels = np.arange(40) % 3

    def calls(net):
        return [
            lambda: net.predict(X[:1]).tobytes(),
            lambda: net.predict(X).tobytes(),
            lambda: net.evaluate(X, labels),
            lambda: net.evaluate(X, y),
            lambda: net.evaluate(X[:2], y[:2]),
            lambda: net.gradients(X, y).nabla_w[0].tobytes(),
            lambda: net.gradients(X[:7], labels[:7]).delta[0].tobytes(),
            lambda: net.train(X, labels, batch_size=8).cost,
            lambda: net.train(X, y, batch_size=8).score,
        ]

    one = Network([4, 20, 3], dtype=dtype, rng=2)
    for i in RNG.integers(0, 9, 120):
        fresh = copy.deepcopy(one)
        assert calls(one)[i]() == calls(fresh)[i]()


def test_little_work_asks_nothing_of_the_system(monkeypatch):
    def asked():
        raise AssertionError

    monkeypatch.setattr(_threads, "available", asked)
    net = Network([4, 64, 64, 2], rng=0)
    X, y = np.ones((32, 4)), np.ones((32, 2))
    net.predict(X)
    net.train(X, y)
    net.gradients(X, y)
    with pytest.raises(AssertionError):
        net.train(np.ones((3000, 4)), np.ones((3000, 2)), batch_size=3000)


def test_threads_follow_the_affinity(monkeypatch):
    sizes = (1000, 1000)
    for cores in (5, 1, 3):
        monkeypatch.setattr(_threads, "available", lambda cores=cores: cores)
        assert _threads.worthwhile(sizes, 64, 6) == cores
    assert _threads.worthwhile(sizes, 2, 6) == 1
    assert _threads.worthwhile(sizes, 4, 6) == 2


# ---- who holds the network -----------------------------------------------------------------


def test_many_readers_and_one_that_trains():
    net = Network([4, 8, 3], rng=0)
    X, y = np.ones((1, 4), np.float32), np.zeros(1, int)
    wrong, refused, trained, stop = [], [0], [0], threading.Event()

    def read():
        while not stop.is_set():
            try:
                shape = net.predict(X).shape
            except RuntimeError as error:
                refused[0] += 1
                if "is being trained" not in str(error):
                    wrong.append(error)
            else:
                if shape != (1, 3):
                    wrong.append(shape)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for _ in range(3000):
        try:
            net.train(X, y)
            trained[0] += 1
        except RuntimeError as error:
            if "is being used" not in str(error):
                wrong.append(error)
    stop.set()
    for reader in readers:
        reader.join()
    assert not wrong
    assert net.steps == trained[0]
    net.train(X, y)  # everyone has left
    assert not net._engine.held_alone


def test_held_and_left_again():
    net = Network([4, 3], rng=0)
    x = np.ones((1, 4), np.float32)
    with net._alone:
        assert net._engine.held_alone
        assert net._engine.quick(x) is None
        with pytest.raises(RuntimeError, match="network is busy: it is being trained"):
            net.predict(x)
        with pytest.raises(RuntimeError, match="network is busy: it is being used"):
            net.reset()
    with net._beside, net._beside:
        assert net.predict(x).shape == (1, 3)
        with pytest.raises(RuntimeError, match="network is busy: it is being used"):
            net.train(x, [0])
    with pytest.raises(ZeroDivisionError), net._alone:
        raise ZeroDivisionError
    for bad in (np.nan, 1e300):  # left on every way out
        with pytest.raises(ValueError, match="X contains"):
            net.predict(np.full((1, 4), bad))
    net.train(x, [0])


# ---- labels and targets ----------------------------------------------------------------------

LABELS = np.array([0, 2, 1, 1, 2, 0, 1])


@pytest.mark.parametrize("kind", "bBhHiIlLqQ")
@pytest.mark.parametrize("classes", [None, [0, 1, 2], np.arange(3, dtype=np.uint8)])
def test_labels_that_are_indices(kind, classes):
    classes = None if classes is None else np.array(classes)
    for y in (
        LABELS.astype(kind),
        np.repeat(LABELS.astype(kind), 2)[::2],
        LABELS.astype(kind)[::-1],
    ):
        index = _gate.labels(y, classes, 3)
        assert index.dtype == np.int32
        assert index.tolist() == y.tolist()
    assert _gate.labels(LABELS.astype(kind), classes, 2) is None
    if np.dtype(kind).kind == "u":
        assert _gate.labels(np.array([0, np.iinfo(kind).max], kind), classes, 3) is None
    else:
        assert _gate.labels(np.array([0, -1], kind), classes, 3) is None


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (LABELS, np.array([0, 2, 1])),
        (LABELS, np.array([0, 1])),
        (LABELS, np.array([0, 1, 2, 3])),
        (LABELS, np.array(["0", "1", "2"])),
        (LABELS.tolist(), None),
        (LABELS.astype(float), None),
        (LABELS.astype(">i4"), None),
        (LABELS.astype(object), None),
        (LABELS.astype("M8[s]"), None),
        (LABELS[:, None], None),
        (LABELS.astype(str), None),
    ],
)
def test_labels_that_need_a_look(y, classes):
    assert _gate.labels(y, classes, 3) is None


def test_labels_in_another_order_of_classes():
    X = RNG.random((7, 4))
    net, other = Network([4, 3], classes=[2, 0, 1], rng=0), Network([4, 3], rng=0)
    net.train(X, LABELS)
    other.train(X, np.array([1, 2, 0])[LABELS])
    assert np.array_equal(net.weights[0], other.weights[0])
    assert net.classes.tolist() == [2, 0, 1]


def test_a_look_at_targets():
    one_hot = np.eye(3)[LABELS]
    for kind in (np.uint8, np.float32, np.float64):
        y = one_hot.astype(kind)
        assert _gate.targets(Targets(y), 0, 1, 32) == (True, True, True)
        assert _gate.targets(Targets(y[::-1, ::-1]), 0, 1, 64) == (True, True, True)
        y[3] = 1
        assert _gate.targets(Targets(y), 0, 1, 32) == (True, True, False)
        y[3] = 0
        assert _gate.targets(Targets(y), 0, 1, 32) == (True, True, False)
        y[3, 0] = 2
        assert _gate.targets(Targets(y), 0, math.inf, 32) == (True, False, False)
        assert not _gate.targets(Targets(y), 0, 1, 32)[0]
    for value, bits, fit in [
        (np.nan, 64, False), (np.inf, 64, False), (-np.inf, 64, False),
        (1e300, 32, False), (1e300, 64, True), (-1e300, 32, False), (-1e30, 32, True),
    ]:  # fmt: skip
        y = one_hot.copy()
        y[6, 2] = value
        assert _gate.targets(Targets(y), -math.inf, math.inf, bits)[0] is fit


def test_variance_of_targets():
    y = RNG.random((50, 3)) + [0, 10, 1000]
    for rows in (y, y[::-2, ::-1], y.astype(np.float32), np.asfortranarray(y)):
        assert _gate.variance(Targets(rows)) == pytest.approx(
            np.var(rows, axis=0, dtype=float), rel=1e-9
        )
    assert _gate.variance(Targets(np.full((7, 1), 0.1))).tolist() == [0]


@pytest.mark.parametrize("width", [15, 16, 17, 31, 32, 50])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_wide_targets_are_what_their_elements_are(width, dtype):
    # From 16 outputs on they are looked at side by side: each place must count, in each layout.
    eye = np.eye(width, dtype=dtype)
    rows = RNG.integers(0, 200, (9, width)).astype(dtype)
    wide = np.ones((4, width), dtype)
    for layout in (np.ascontiguousarray, np.asfortranarray):
        assert _gate.targets(Targets(layout(eye)), 0, 1, 64) == (True, True, True)
        assert _gate.targets(Targets(layout(wide)), 0, 1, 64) == (True, True, False)
        assert _gate.targets(Targets(layout(rows)), 0, 255, 64) == (True, False, False)
        variance = _gate.variance(Targets(layout(rows)))
        assert variance == pytest.approx(rows.var(axis=0, dtype=float), rel=1e-12)
        # Column by column nothing is side by side: the same bits.
        alone = [_gate.variance(Targets(rows[:, [column]]))[0] for column in range(width)]
        assert variance.tolist() == alone
        for column in range(width):
            changed = layout(eye.copy())
            changed[2, column] = 2
            assert _gate.targets(Targets(changed), 0, 1, 64) == (False, False, False)
            assert _gate.targets(Targets(changed), 0, 2, 64) == (True, False, False)
            assert _gate.targets(Targets(changed), 1, 2, 64)[0] is False
            changed[2, column] = 1
            assert _gate.targets(Targets(changed), 0, 1, 64) == (True, True, column == 2)
            if dtype is np.uint8:
                continue
            for value in (np.nan, np.inf, -np.inf, 0.5):
                changed[2, column] = value
                found = _gate.targets(Targets(changed), -np.inf, np.inf, 64)
                assert found == (value == 0.5, False, False)
    if dtype is np.float64:
        wide[3, width - 1] = 1e39
        assert _gate.targets(Targets(wide), -np.inf, np.inf, 64)[0]
        assert not _gate.targets(Targets(wide), -np.inf, np.inf, 32)[0]


# ---- pullback ----------------------------------------------------------------------------------

PAIRS = [
    (output, cost)
    for output in activations.ACTIVATIONS
    for cost in costs.COSTS
    if costs.COSTS[cost].domain == (-np.inf, np.inf) or output in ("sigmoid", "softmax")
]


@pytest.mark.parametrize(("output", "cost"), PAIRS)
def test_pullback_of_its_own_cost_is_gradients(output, cost, table, dtype):
    names = ["tanh", "softmax", "relu"]
    net = Network([5, 18, 7, 33, 4], activation=names, output=output, cost=cost, dtype=dtype, rng=3)
    X, y = RNG.random((23, 5)), RNG.dirichlet(np.ones(4), 23)
    g = net.gradients(X, y)
    v = net.cost.slope(net.predict(X).astype(float), y)
    p = net.pullback(X, v)
    assert math.isnan(p.cost)
    for name in ("a", "z"):
        for mine, other in zip(getattr(p, name), getattr(g, name), strict=True):
            assert np.array_equal(mine, other)
    for name in ("delta", "nabla_w", "nabla_b"):
        for mine, other in zip(getattr(p, name), getattr(g, name), strict=True):
            assert mine.dtype == dtype
            assert distance(mine, other) < TOLERANCE[dtype], name


@pytest.mark.parametrize("m", [1, 2, 40])
@pytest.mark.parametrize("output", activations.ACTIVATIONS)
def test_pullback_equals_the_reference(output, m, dtype):
    net = Network([5, 17, 3], activation="sigmoid", output=output, dtype=dtype, rng=4)
    X, v = (RNG.standard_normal((m, n)).astype(dtype) for n in (5, 3))
    w, b = ([x.astype(float) for x in xs] for xs in (net.weights, net.biases))
    z, a = reference.forward(w, b, net.activations, X.astype(float))
    last = reference.through(net.activations[1], z[1], a[2], v.astype(float))
    first = reference.propagate_error(net.activations[0], w[1], last, z[0], a[1])
    p = net.pullback(X, v)
    for l, delta in enumerate((first, last)):
        assert distance(p.delta[l], delta) < TOLERANCE[dtype]
        assert distance(p.nabla_b[l], reference.bias_gradient(delta)) < TOLERANCE[dtype]
        assert distance(p.nabla_w[l], reference.weight_gradient(a[l], delta)) < TOLERANCE[dtype]


def test_pullback_changes_nothing_and_has_the_same_bits():
    net = Network([4, 40, 1], output="identity", rng=5)
    X, v = RNG.random((30, 4), np.float32), RNG.random((30, 1), np.float32)
    before = net.__getstate__()
    bits = {
        net.pullback(X, way, n_threads=threads).nabla_w[0].tobytes()
        for threads in (None, 1, 2, 3)
        for way in (v, v[:, 0], v.tolist(), np.asfortranarray(v), v[::-1].copy()[::-1])
    }
    assert len(bits) == 1
    assert net.__getstate__() == before


V = np.zeros((12, 3), np.float32)
BAD_V = [
    (V[:, 0], ValueError, r"^v has 1 dimensions, expected \(samples, 3\)"),
    (V[None], ValueError, r"^v has 3 dimensions"),
    (V[:11], ValueError, r"^v has 11 rows but X has 12"),
    (V[:, :2], ValueError, r"^v has 2 columns but the output layer has 3 neurons"),
    (V + 1j, TypeError, r"^v has dtype complex\d+, expected real"),
    (V.astype(object), TypeError, r"^v has dtype object"),
    (np.ma.masked_array(V), TypeError, r"^v is a masked array"),
    ([[1.0], [2.0, 3.0]] * 6, ValueError, r"^v is not a rectangular array"),
    (np.where(np.arange(36).reshape(12, 3) == 16, np.nan, V), ValueError, r"row 5, column 1"),
    (np.full((12, 3), 1e300), ValueError, r"^v contains 1e\+300, too large for float32"),
]  # fmt: skip


@pytest.mark.parametrize(("v", "error", "match"), BAD_V)
def test_bad_v(v, error, match):
    net = Network([4, 3], rng=0)
    with pytest.raises((ValueError, TypeError), match=match) as caught:
        net.pullback(np.ones((12, 4)), v)
    assert type(caught.value) is error


def test_threads_of_pullback_are_checked():
    with pytest.raises(ValueError, match="n_threads = 0, expected"):
        Network([4, 3], rng=0).pullback(np.ones((12, 4)), V, n_threads=0)


# ---- z, a and delta are copied when somebody looks ------------------------------------------


def test_gradients_stay_what_they_were():
    net = Network([4, 20, 3], activation="tanh", rng=1)
    data = [(RNG.random((m, 4)), RNG.random((m, 3))) for m in (6, 6, 6, 5, 40)]
    at_once = [[[x.copy() for x in part] for part in net.gradients(*d)[1:]] for d in data]
    later = [net.gradients(*d) for d in data]
    net.pullback(*data[0])
    net.train(*data[1])
    for expected, g in zip(at_once, later, strict=True):
        for part, values in zip(expected, g[1:], strict=True):
            for x, value in zip(part, values, strict=True):
                assert np.array_equal(x, value)
        assert g.z[0] is g.z[0]


def test_planes_are_sequences():
    net = Network([4, 5, 3], rng=1)
    g = net.gradients(np.ones((2, 4)), np.ones((2, 3)))
    assert isinstance(g.a, Sequence)
    assert [x.shape for x in g.a] == [(2, 4), (2, 5), (2, 3)]
    assert (len(g.z), len(g.a), len(g.delta)) == (2, 3, 2)
    assert g.a[-1] is g.a[2] and g.a[1:][0] is g.a[1]
    assert [x.shape for x in reversed(g.delta)] == [(2, 3), (2, 5)]
    for twin in (pickle.loads(pickle.dumps(g)), copy.deepcopy(g)):
        assert repr(twin) == repr(g)
    with pytest.raises(IndexError):
        g.z[2]


def test_gradients_outlive_the_network():
    net = Network([4, 5, 3], rng=1)
    X, y = np.ones((2, 4)), np.ones((2, 3))
    expected, g = net.gradients(X, y).z[1].tolist(), net.gradients(X, y)
    unread = net.gradients(X, y)
    del net
    gc.collect()
    assert g.z[1].tolist() == expected
    del unread
    gc.collect()


@pytest.mark.parametrize("epochs", [2**59, 2**60, 2**61, 2**62])
def test_more_epochs_than_memory(epochs):
    net = Network([4, 3], output="identity", rng=1)
    before = net.__getstate__()
    with pytest.raises((MemoryError, ValueError)):
        net.train(np.ones((2, 4)), np.ones((2, 3)), epochs=epochs)
    assert net.__getstate__() == before
