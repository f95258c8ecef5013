"""The short way of `train` (`cbackprop/_short.pyx`) is the long way: the same network afterwards,
down to the bytes of its file, the same History, the same words where something is wrong. So is that
of `gradients` and `pullback` (`_derivatives.quick`)."""

import copy
import signal
import warnings

import numpy as np
import pytest

from cbackprop import DivergenceError, Network, _derivatives, _run, _short, optimizers
from cbackprop.exceptions import LearningWarning

RNG = np.random.default_rng(8)
X = RNG.random((32, 4), np.float32)
Y = RNG.random((32, 3), np.float32)
LABELS = np.arange(32) % 3


@pytest.fixture
def long_way():
    """Calls with this fixture's function go the long way."""

    def train(net, *args, **kwargs):
        net._plans.clear()
        history = net.train(*args, **kwargs)
        net._plans.clear()
        return history

    return train


def refuse(*_):
    raise AssertionError("the long way")


@pytest.fixture
def short_way(monkeypatch):
    """Calls with this fixture's function fail if they go the long way."""
    run = _run.run

    def train(net, *args, **kwargs):
        monkeypatch.setattr(_run, "run", refuse)
        try:
            return net.train(*args, **kwargs)
        finally:
            monkeypatch.setattr(_run, "run", run)

    return train


def curves(history):
    return {**history.to_dict(), "seconds": len(history.seconds)}


def file_of(net):
    """The bytes of its file, but for the times."""
    twin = copy.copy(net)
    twin.history.seconds[:] = [0.0] * len(net.history)
    return twin.__getstate__()


def both_ways(net, calls, long_way, short_way, **common):
    """Calls (X, y, keywords), of which the first prepares the others."""
    other = copy.deepcopy(net)
    for i, (x, y, more) in enumerate(calls):
        train = net.train if i == 0 else lambda *a, **k: short_way(net, *a, **k)
        mine, theirs = train(x, y, **common, **more), long_way(other, x, y, **common, **more)
        assert curves(mine) == curves(theirs)
        assert file_of(net) == file_of(other)
    assert curves(net.history) == curves(other.history)


KINDS = {
    "real": ({}, Y),
    "one output": ({"sizes": [4, 20, 1], "output": "identity"}, Y[:, :1]),
    "a vector": ({"sizes": [4, 20, 1], "output": "identity"}, Y[:, 0].astype(float)),
    "labels": ({"output": "softmax"}, LABELS),
    "labels of int8": ({"output": "softmax"}, LABELS.astype(np.int8)[::-1]),
    "yes or no": ({"sizes": [4, 20, 1]}, LABELS % 2),
    "hinge": ({"output": "identity", "cost": "hinge"}, np.eye(3)[LABELS] + np.eye(3)[LABELS - 1]),
    "one-hot": ({"output": "softmax"}, np.eye(3, dtype=np.uint8)[LABELS]),
    "several": ({"cost": "cross_entropy"}, np.round(Y)),
    "scaled": ({"input_scale": 0.5, "input_shift": [0.1, 0.2, 0.3, 0.4]}, Y),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_target(kind, table, dtype, long_way, short_way):
    settings, y = KINDS[kind]
    net = Network(
        **{"sizes": [4, 20, 7, 3], "activation": "tanh", "dtype": dtype, "rng": 1} | settings
    )
    some = X[:5] if dtype == "float32" else X[:5].astype(float)
    calls = [(X, y, {}), (X[::-1], y, {}), (some, y[:5], {}), (X.astype(float), y, {})]
    both_ways(net, [*calls, (X[:1], y[:1], {}), *calls], long_way, short_way)


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_every_optimizer(name, dtype, long_way, short_way):
    net = Network([4, 20, 3], dtype=dtype, rng=1)
    calls = [(X, Y, {}), (X[:20], Y[:20], {}), (X, Y, {})]
    both_ways(net, calls, long_way, short_way, optimizer=name, batch_size=8)
    rule = optimizers.OPTIMIZERS[name](learning_rate=0.003)
    both_ways(net, calls, long_way, short_way, optimizer=rule, batch_size=8)


@pytest.mark.parametrize(
    "settings",
    [
        {"l1": 0.01, "clip_value": 1e-3},
        {"l2": 0.1, "max_norm": 0.5},
        {"l2": 1, "weight_decay": 0.1},
        {"weight_decay": 0.1, "optimizer": "adam"},
        {"clip_norm": 0.05},
        {"clip_norm": 0.01, "l2": 0.1, "optimizer": "adam"},
        {"shuffle": False},
        {"n_threads": 1},
        {"batch_size": 1000},
    ],
    ids=str,
)
def test_every_setting(settings, long_way, short_way):
    net = Network([4, 20, 3], rng=1)
    calls = [(X, Y, {"learning_rate": eta}) for eta in (0.1, 0.1, 0.3)] + [(X[:9], Y[:9], {})] * 2
    both_ways(net, calls, long_way, short_way, **{"batch_size": 8} | settings)


def test_other_arguments_are_another_plan(long_way):
    net = Network([4, 20, 3], rng=1)
    other = copy.deepcopy(net)
    for settings in [
        {}, {"batch_size": 5}, {"batch_size": 5, "l2": 0.1}, {"optimizer": "adam"},
        {"optimizer": optimizers.Adam(beta1=0.5)}, {"optimizer": optimizers.Adam(beta1=0.6)},
        {"epochs": 2}, {}, {"epochs": 2}, {"shuffle": False, "batch_size": 5},
        {"dropout": 0.5}, {"dropout": [0.1, 0.5]}, {"input_noise": 0.1}, {"clip_norm": 0.1},
        {"sample_weight": np.arange(32)}, {"class_weight": None}, {"n_threads": 2},
        {"validation_split": 0.5}, {"validation_data": (X, Y)}, {"monitor": ["training_cost"]},
        {"learning_rate": lambda epoch: 0.1 / (epoch + 1)}, {"callbacks": []}, {},
    ]:  # fmt: skip
        for _ in range(3):
            assert curves(net.train(X, Y, **settings)) == curves(long_way(other, X, Y, **settings))
        assert file_of(net) == file_of(other), settings


def test_another_kind_of_target_each_call(long_way):
    net = Network([4, 20, 3], output="softmax", cost="quadratic", rng=1)
    other = copy.deepcopy(net)
    for y in (Y, np.eye(3)[LABELS], LABELS, Y, Y, LABELS, LABELS, np.eye(3)[LABELS]):
        assert curves(net.train(X, y)) == curves(long_way(other, X, y))
        assert file_of(net) == file_of(other)
    for _ in range(3):
        net.train(X, LABELS, label_smoothing=0.1)
        long_way(other, X, LABELS, label_smoothing=0.1)
        assert file_of(net) == file_of(other)


def test_numbers_that_are_labels(long_way):
    net = Network([4, 1], output="identity", classes=[0, 2], rng=1)
    other = copy.deepcopy(net)
    for _ in range(3):
        assert curves(net.train(X, LABELS % 2 * 2.0)) == curves(
            long_way(other, X, LABELS % 2 * 2.0)
        )
    assert file_of(net) == file_of(other)


def test_another_optimizer_in_between(long_way):
    net = Network([4, 20, 3], rng=1)
    other = copy.deepcopy(net)
    for n, train in ((net, net.train), (other, lambda *a, **k: long_way(other, *a, **k))):
        for between in ("adam", "momentum", "adam"):
            train(X, Y, optimizer="adam")
            train(X, Y, optimizer="adam")
            n.apply_gradients(n.gradients(X, Y), optimizer=between)
    assert file_of(net) == file_of(other)


# ---- what is not in order goes the long way ------------------------------------------------

BAD = [
    (X[:, :3], Y, {}),
    (X[0], Y, {}),
    (X[:0], Y[:0], {}),
    (X, Y[:31], {}),
    (X, Y[:, :2], {}),
    (X, Y[:, 0], {}),
    (X, Y[None], {}),
    (X, np.arange(32), {}),
    (X, LABELS + 0.5, {}),
    (X, LABELS * 1j, {}),
    (np.where(np.arange(128).reshape(32, 4) == 77, np.nan, X), Y, {}),
    (X.astype(float) * 1e300, Y, {}),
    (X, np.where(np.arange(96).reshape(32, 3) == 7, np.inf, Y), {}),
    (X, None, {}),
    (X, Y, {"epochs": True}),
    (X, Y, {"epochs": 1.0}),
    (X, Y, {"batch_size": 0}),
    (X, Y, {"batch_size": np.array([8, 8])}),
    (X, Y, {"shuffle": np.ones(2)}),
    (X, Y, {"learning_rate": 0.0}),
    (X, Y, {"learning_rate": -1.0}),
    (X, Y, {"learning_rate": np.nan}),
    (X, Y, {"learning_rate": np.inf}),
    (X, Y, {"learning_rate": "fast"}),
    (X, Y, {"learning_rate": True}),
    (X, Y, {"optimizer": "sdg"}),
    (X, Y, {"optimizer": optimizers.SGD(), "learning_rate": 0.1}),
    (X, Y, {"optimizer": "adamw", "learning_rate": 100.0}),
    (X, Y, {"weight_decay": 2.0, "learning_rate": 0.5}),
    (X, Y, {"l2": 32.0, "learning_rate": 1.0}),
    (X, Y, {"l2": -1.0}),
    (X, Y, {"dropout": [0.1]}),
    (X, Y, {"callbacks": [1]}),
    (X, Y, {"n_threads": 0}),
]


def outcome(call):
    try:
        call()
    except Exception as error:
        return type(error), str(error)
    return None


@pytest.mark.parametrize(("x", "y", "settings"), BAD, ids=range(len(BAD)))
def test_what_is_wrong_is_said(x, y, settings, long_way):
    net = Network([4, 20, 3], rng=1)
    # the arguments that are in order, if any, are those of the call before
    right = {k: v for k, v in settings.items() if k in ("weight_decay", "optimizer", "l2")}
    if outcome(lambda: copy.deepcopy(net).train(X, Y, **right)) is None:
        net.train(X, Y, **right)
    else:
        net.train(X, Y)
    before, other = file_of(net), copy.deepcopy(net)
    expected = outcome(lambda: long_way(other, x, y, **settings))
    assert expected
    assert outcome(lambda: net.train(x, y, **settings)) == expected
    assert file_of(net) == before
    net.train(X, Y)
    assert net.steps == 2


def test_targets_that_the_cost_does_not_take():
    net = Network([4, 20, 3], cost="cross_entropy", rng=1)
    net.train(X, Y)
    for call in (net.train, net.gradients):
        with pytest.raises(ValueError, match=r"y\[0, 0\] = .*takes targets from 0 to 1"):
            call(X, Y + 1)
    assert net.steps == 1


def test_divergence_is_rolled_back(dtype):
    net = Network([4, 20, 3], output="identity", dtype=dtype, rng=1)
    net.train(X, Y, optimizer="momentum", learning_rate=0.1)
    before = file_of(net)
    with pytest.raises(DivergenceError, match="not finite after epoch 1: learning_rate = 1e"):
        net.train(X, Y * 1e30, optimizer="momentum", learning_rate=1e300)
    assert file_of(net) == before


def test_a_network_that_is_busy_says_so():
    net = Network([4, 20, 3], rng=1)
    net.train(X, Y)
    for hold in (net._alone, net._beside):
        with hold, pytest.raises(RuntimeError, match="network is busy"):
            net.train(X, Y)
    said = []

    class Inside:
        def on_batch_end(self, net, epoch, batch):
            said.append(outcome(lambda: net.train(X, Y)))

    net.train(X, Y, callbacks=[Inside()])
    assert said == [(RuntimeError, "network is busy: it is being trained, and calls this callback")]
    assert net.steps == 2


def test_labels_after_a_reset(long_way):
    net = Network([4, 20, 3], output="softmax", rng=1)
    other = copy.deepcopy(net)
    words = np.array(["a", "b", "c"])
    for y in (LABELS, LABELS, words[LABELS], words[LABELS], LABELS):
        for n in (net, other):
            n.reset()
        net.train(X, y), long_way(other, X, y)
        net.train(X, y), long_way(other, X, y)
        assert file_of(net) == file_of(other)
        assert net.classes.tolist() == other.classes.tolist()
    # classes that are no indices any more
    net.classes[:] = [2, 1, 0]
    other.classes[:] = [2, 1, 0]
    net.train(X, LABELS), long_way(other, X, LABELS)
    assert file_of(net) == file_of(other)


def test_a_warning_names_the_caller():
    net = Network([4, 20, 20, 3], activation="relu", rng=1)
    net.train(X, Y)
    net.set_weights(0, b=np.full(20, -100))
    for _ in range(2):
        with pytest.warns(LearningWarning, match="layer 1 does not learn") as found:
            net.train(X, Y)
        assert found[0].filename == __file__
    assert net.steps == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.set_weights(0, b=np.zeros(20))
        net.train(X, Y)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="POSIX signals")
def test_interrupted_and_gone_on(short_way):
    n = 600_000
    rows, targets = RNG.random((n, 3), np.float32), RNG.random((n, 1), np.float32)
    net = Network([3, 1], rng=1)
    through = copy.deepcopy(net)
    net.train(rows[:10], targets[:10], batch_size=1)
    through.train(rows[:10], targets[:10], batch_size=1)
    handler = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.03)
        with pytest.raises(KeyboardInterrupt):
            short_way(net, rows, targets, batch_size=1)
    finally:
        signal.signal(signal.SIGALRM, handler)
    assert 10 < net.steps < n + 10
    assert len(net.history) == 1
    net.train(rows, targets, batch_size=1)  # its rest, then an epoch
    through.train(rows, targets, batch_size=1, epochs=2)
    assert file_of(net) == file_of(through)


def test_only_arguments_that_cannot_change_are_kept():
    net = Network([4, 20, 3], rng=1)
    net.train(X, Y, callbacks=[], monitor=())
    assert net._plans == []
    net.train(X, Y)
    net.train(X.tolist(), Y)
    assert [type(plan) for plan in net._plans] == [_short.Plan]
    assert copy.deepcopy(net)._plans == []


def test_arguments_in_turn(short_way):
    net = Network([4, 20, 3], rng=1)
    settings = [{"batch_size": n} for n in (4, 5, 6, 7)]
    for more in settings:
        net.train(X, Y, **more)
    for more in settings * 3:
        short_way(net, X, Y, **more)
    net.train(X, Y, batch_size=8)
    assert len(net._plans) == 4
    for more in [*settings[1:], {"batch_size": 8}]:
        short_way(net, X, Y, **more)
    with pytest.raises(AssertionError, match="the long way"):
        short_way(net, X, Y, **settings[0])


# ---- gradients and pullback -------------------------------------------------------------------


def all_of(g):
    return [np.array(g.cost), *(np.array(x) for part in g[1:] for x in part)]


def same_gradients(one, other):
    for mine, theirs in zip(all_of(one), all_of(other), strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_every_kind_of_target(kind, table, dtype, monkeypatch):
    settings, y = KINDS[kind]
    net = Network(
        **{"sizes": [4, 20, 7, 3], "activation": "tanh", "dtype": dtype, "rng": 1} | settings
    )
    net.train(X, y)  # labels of one output are known afterwards
    calls = [(X, y), (X[::-1].astype(float), y), (X[:1], y[:1])]
    long = [net.gradients(*call, n_threads=1) for call in calls]
    monkeypatch.setattr(_derivatives, "derive", refuse)
    for call, g in zip(calls, long, strict=True):
        same_gradients(net.gradients(*call), g)


@pytest.mark.parametrize("kind", ["real", "one output", "a vector", "scaled"])
def test_pullback_of_every_kind(kind, dtype, monkeypatch):
    settings, v = KINDS[kind]
    net = Network(**{"sizes": [4, 20, 7, 3], "dtype": dtype, "rng": 1} | settings)
    calls = [(X, v), (X[::-1].astype(float), -v * 1e3), (X[:1], v[:1])]
    long = [net.pullback(*call, n_threads=1) for call in calls]
    monkeypatch.setattr(_derivatives, "derive", refuse)
    for call, g in zip(calls, long, strict=True):
        same_gradients(net.pullback(*call), g)


@pytest.mark.parametrize(("x", "y"), [(x, y) for x, y, settings in BAD if not settings], ids=str)
@pytest.mark.parametrize("of", ["gradients", "pullback"])
def test_what_is_wrong_is_said_of_gradients(of, x, y):
    if of == "pullback" and np.ndim(y) == 1 and np.iscomplexobj(y):
        y = y[:, None] * np.ones(3)
    call = getattr(Network([4, 20, 3], rng=1), of)
    expected = outcome(lambda: call(x, y, n_threads=1))
    assert expected
    assert outcome(lambda: call(x, y)) == expected


def test_labels_of_other_classes_are_looked_up():
    net = Network([4, 20, 3], output="softmax", classes=[2, 0, 1], rng=1)
    same_gradients(net.gradients(X, LABELS), net.gradients(X, LABELS, n_threads=1))
    one = Network([4, 1], output="identity", classes=[0, 2], rng=1)
    y = LABELS % 2 * 2.0
    same_gradients(one.gradients(X, y), one.gradients(X, y, n_threads=1))
    one = Network([4, 1], output="identity", rng=1)
    same_gradients(one.gradients(X, LABELS), one.gradients(X, LABELS, n_threads=1))


def test_a_busy_network_gives_no_gradients():
    net = Network([4, 20, 3], rng=1)
    for call in (net.gradients, net.pullback):
        with net._beside:
            call(X, Y)
        with net._alone, pytest.raises(RuntimeError, match="network is busy: it is being trained"):
            call(X, Y)
    assert not net._engine.held_alone


def test_more_work_goes_the_long_way(monkeypatch):
    net = Network([4, 300, 300, 3], rng=1)
    net.gradients(X[:30], Y[:30])
    net.train(X, Y)
    monkeypatch.setattr(_derivatives, "derive", refuse)
    monkeypatch.setattr(_run, "run", refuse)
    net.gradients(X, Y)
    net.train(X, Y)
    for call in (net.gradients, net.pullback, net.train):
        with pytest.raises(AssertionError, match="the long way"):
            call(np.repeat(X, 2, axis=0), np.repeat(Y, 2, axis=0))
