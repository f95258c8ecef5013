"""Epochs whose rows come in blocks, callbacks after a mini-batch, curves of one's own."""

import threading

import numpy as np
import pytest

from cbackprop import EarlyStopping, Network, load
from cbackprop.schedules import HalveOnStall, per_step

RNG = np.random.default_rng(4)
X = RNG.normal(size=(60, 4))
LABELS = np.arange(60) % 3
Y = RNG.random((60, 3))


def network(**changes):
    options = {"activation": "tanh", "output": "softmax", "rng": 5, "dtype": "float64"}
    return Network([4, 8, 3], **{**options, **changes})


def bits(net):
    return [x.tobytes() for x in net.weights + net.biases]


def curves(history):
    return {name: curve for name, curve in history.to_dict().items() if name != "seconds"}


# ---- blocks ------------------------------------------------------------------------------

OPTIONS = {
    "plain": {},
    "dropout": {"dropout": 0.3, "input_noise": 0.1},
    "adam": {"optimizer": "adam", "clip_norm": 0.1},
    "per step": {"learning_rate": per_step(lambda i: 0.1 / (1 + i))},
    "halving": {"learning_rate": HalveOnStall(0.1, patience=1)},
    "validation": {"validation_data": (X[:9], LABELS[:9]), "monitor": ["evaluation_cost"]},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("targets", [LABELS, Y], ids=["labels", "real"])
def test_blocks_in_order_are_the_whole_in_order(name, targets):
    if name == "validation":
        OPTIONS[name]["validation_data"] = (X[:9], targets[:9])
    options = {"epochs": 4, "batch_size": 6, "shuffle": False, **OPTIONS[name]}
    kind = {"output": "softmax" if targets is LABELS else "identity", "cost": None}
    whole, parts = network(**kind), network(**kind)
    history = whole.train(X, targets, **options)
    cuts = [slice(0, 24), slice(24, 30), slice(30, 60)]
    found = parts.train([(X[c], targets[c]) for c in cuts], **options)
    assert bits(parts) == bits(whole)
    one, other = curves(found), curves(history)
    if targets is Y:  # R^2 from parts is the whole's to rounding
        np.testing.assert_allclose(one.pop("score"), other.pop("score"), rtol=1e-12)
    assert one == other
    assert curves(parts.history) == curves(found)


def test_one_block_is_no_blocks():
    whole, block = network(), network()
    history = whole.train(X, LABELS, epochs=3, batch_size=7)
    assert curves(block.train([(X, LABELS)], epochs=3, batch_size=7)) == curves(history)
    assert bits(block) == bits(whole)


def test_blocks_are_shuffled_each_in_its_way():
    # The same rows in two blocks: with one order for both, two networks would agree.
    half = (X[:30], LABELS[:30])
    nets = [network() for _ in range(3)]
    nets[0].train([half, half], batch_size=6)
    nets[1].train([half, half], batch_size=6)
    assert bits(nets[0]) == bits(nets[1])
    nets[2].train(*half, batch_size=6)
    nets[2]._position.epoch = 0
    nets[2].train(*half, batch_size=6)
    assert bits(nets[2]) != bits(nets[0])
    calls = network()
    calls.train([half, half], batch_size=6)
    calls.train([half, half], batch_size=6)
    nets[0].train([half, half], batch_size=6)
    assert bits(calls) == bits(nets[0])


def test_weights_of_blocks():
    w = RNG.random(60)
    whole, parts = network(), network()
    options = {"batch_size": 6, "shuffle": False, "class_weight": {0: 2.0}}
    history = whole.train(X, LABELS, sample_weight=w, **options)
    blocks = [(X[a : a + 30], LABELS[a : a + 30], w[a : a + 30]) for a in (0, 30)]
    found = parts.train(blocks, **options)
    assert bits(parts) == bits(whole)
    np.testing.assert_allclose(found.cost, history.cost, rtol=1e-14)


class Once:
    """An iterator of somebody's own, which does not begin again."""

    def __init__(self, blocks):
        self.left = iter(blocks)

    def __iter__(self):
        return self.left


def test_a_generator_lasts_one_epoch():
    def generator():
        yield X, LABELS

    net = network()
    net.train(generator(), epochs=1)
    with pytest.raises(ValueError, match=r"epochs = 2, but X is a generator, which is used up"):
        net.train(generator(), epochs=2)
    assert (len(net.history), net.steps) == (1, 2)
    with pytest.raises(ValueError, match=r"X yielded no block; a generator is used up"):
        net.train(Once([(X, LABELS)]), epochs=2)
    assert len(net.history) == 2


@pytest.mark.parametrize(
    ("blocks", "options", "error", "message"),
    [
        ([X], {}, TypeError, r"block 0 is ndarray, expected \(X, y\) or"),
        ([(X, LABELS), X], {}, TypeError, r"block 1 is ndarray"),
        ([(X, LABELS)], {"l2": 0.1}, ValueError, r"l2 = 0.1 with blocks needs the number"),
        ([(X, LABELS)], {"validation_split": 0.1}, ValueError, r"give validation_data="),
        ([(X, LABELS)], {"sample_weight": [1.0]}, ValueError, r"let blocks be \(X, y, weights\)"),
        ([(X, LABELS)], {"sample_weight": np.ones(9)}, ValueError, r"sample_weight with blocks"),
        ([(X, LABELS)], {"class_weight": "balanced"}, ValueError, r"needs all rows; give a dict"),
        ([(X, LABELS)], {"monitor": ["training_cost"]}, ValueError, r"needs all rows"),
        ([(X[:, :2], LABELS)], {}, ValueError, r"X.*2.*4"),
        (X, {}, TypeError, r"y is missing"),
        (7, {}, TypeError, r"y is missing"),
    ],
)
def test_blocks_that_are_refused(blocks, options, error, message):
    with pytest.raises(error, match=message):
        network().train(blocks, **options)


def test_a_broken_epoch_of_blocks_begins_again():
    class Bad(Exception):
        pass

    def blocks():
        yield X, LABELS
        raise Bad

    net, twin = network(), network()
    with pytest.raises(Bad):
        net.train(blocks(), batch_size=6)
    assert net.steps == 10
    assert len(net.history) == 0
    twin.train(X, LABELS, batch_size=6)
    twin._position.epoch = 0
    net.train(X, LABELS, batch_size=6)
    twin.train(X, LABELS, batch_size=6)
    assert bits(net) == bits(twin)


SEVERAL = (RNG.random((60, 3)) > 0.5).astype(float)
ONE_HOT = np.eye(3)[LABELS]


def test_blocks_that_happen_to_be_one_hot_are_scored_as_the_first():
    for options, targets in (
        ({"output": "identity"}, Y),
        ({"output": "sigmoid", "cost": "cross_entropy"}, SEVERAL),
    ):
        whole, parts = network(**options), network(**options)
        both = np.concatenate([targets, ONE_HOT])
        h = whole.train(np.concatenate([X, X]), both, batch_size=6, shuffle=False)
        g = parts.train([(X, targets), (X, ONE_HOT)], batch_size=6, shuffle=False)
        assert bits(whole) == bits(parts)
        assert (g.score_name, g.score[0]) == (h.score_name, pytest.approx(h.score[0], rel=1e-12))
    with pytest.raises(ValueError, match=r"y of block 1 holds real numbers, but the network is tr"):
        network(output="identity").train([(X, ONE_HOT), (X, Y)])


# ---- callbacks after a mini-batch --------------------------------------------------------


class Each:
    def __init__(self, function):
        self.function, self.seen = function, []

    def on_batch_end(self, net, epoch, batch):
        self.seen.append((epoch, batch))
        return self.function(net, epoch, batch)


@pytest.mark.parametrize("threads", [1, 2])
def test_callbacks_see_every_mini_batch_and_change_no_bit(threads):
    steps = []
    look = Each(lambda net, e, b: steps.append((net.steps, net.predict(X[:1]).shape)))
    net, twin = network(), network()
    net.train(X, LABELS, epochs=3, batch_size=7, callbacks=[look], n_threads=threads)
    twin.train(X, LABELS, epochs=3, batch_size=7, n_threads=threads)
    assert bits(net) == bits(twin)
    assert curves(net.history) == curves(twin.history)
    assert look.seen == [(e, b) for e in range(3) for b in range(9)]
    assert steps == [(i + 1, (1, 3)) for i in range(27)]


def test_a_network_saved_after_a_mini_batch_goes_on(tmp_path):
    path = tmp_path / "net"
    keep = Each(lambda net, e, b: net.save(path) if (e, b) == (1, 3) else None)
    whole = network()
    options = {"batch_size": 7, "optimizer": "adam", "dropout": 0.2}
    whole.train(X, LABELS, epochs=3, callbacks=[keep], **options)
    parts = load(path)
    assert parts.steps == 13
    parts.train(X, LABELS, epochs=1, **options)  # first the broken one
    assert bits(parts) == bits(whole)
    assert curves(parts.history) == curves(whole.history)


@pytest.mark.parametrize("last", [4, 8])
def test_true_stops(last):
    net, whole = network(), network()
    stop = Each(lambda net, e, b: (e, b) == (1, last))
    history = net.train(X, LABELS, epochs=9, batch_size=7, callbacks=[stop])
    assert net.steps == 9 + last + 1
    assert len(history) == (2 if last == 8 else 1)
    whole.train(X, LABELS, epochs=3, batch_size=7)
    net.train(X, LABELS, epochs=1, batch_size=7)
    assert bits(net) == bits(whole) if last == 8 else net.steps == 27
    assert bits(net) == bits(whole)


def test_what_a_callback_raises_leaves_a_whole_number_of_mini_batches():
    def bad(net, epoch, batch):
        if batch == 4:
            raise KeyError("mine")

    net, twin = network(), network()
    with pytest.raises(KeyError, match="mine"):
        net.train(X, LABELS, batch_size=7, callbacks=[Each(bad)])
    assert net.steps == 5
    net.train(X, LABELS, batch_size=7)
    twin.train(X, LABELS, epochs=2, batch_size=7)
    assert bits(net) == bits(twin)


def test_weights_may_be_set_in_a_callback():
    def shrink(net, epoch, batch):
        net.weights = [w * 0.98 for w in net.weights]

    net, twin = network(), network()
    net.train(X, LABELS, epochs=5, batch_size=7, shuffle=False, callbacks=[Each(shrink)])
    for _ in range(5):
        for first in range(0, 60, 7):
            rows = slice(first, first + 7)
            twin.train(X[rows], LABELS[rows], batch_size=7)
            twin.weights = [w * 0.98 for w in twin.weights]
    assert bits(net) == bits(twin)


@pytest.mark.parametrize(
    "use",
    [
        lambda net: net.train(X, LABELS),
        lambda net: net.reset(),
        lambda net: net.apply_gradients(net.gradients(X, LABELS)),
    ],
)
def test_training_in_a_callback_is_refused(use):
    net, twin = network(), network()
    with pytest.raises(RuntimeError, match="network is busy: it is being trained, and calls"):
        net.train(X, LABELS, batch_size=7, callbacks=[Each(lambda net, e, b: use(net))])
    assert net.steps == 1
    net.train(X, LABELS, batch_size=7)
    twin.train(X, LABELS, epochs=2, batch_size=7)
    assert bits(net) == bits(twin)


def test_others_may_predict_between_mini_batches():
    net, done, errors = network(), threading.Event(), []

    def predict():
        while not done.is_set():
            try:
                net.predict(X)
            except RuntimeError as error:
                errors.append(str(error))

    thread = threading.Thread(target=predict)
    thread.start()
    options = {"epochs": 30, "batch_size": 7, "callbacks": [Each(lambda *_: None)]}
    try:
        while True:
            try:
                net.train(X, LABELS, **options)
            except RuntimeError:  # not even begun
                assert net.steps == 0
            else:
                break
    finally:
        done.set()
        thread.join()
    assert set(errors) <= {"network is busy: it is being trained in another thread"}
    twin = network()
    twin.train(X, LABELS, epochs=30, batch_size=7)
    assert bits(net) == bits(twin)


def test_divergence_with_callbacks_rolls_back():
    net = network(output="identity", activation="identity")
    before = bits(net)
    with pytest.raises(ArithmeticError):
        net.train(X * 1e9, Y, batch_size=1, learning_rate=1e9, callbacks=[Each(lambda *_: None)])
    assert bits(net) == before
    assert net.steps == 0


# ---- monitors ----------------------------------------------------------------------------


def mistakes(y, a):
    return (a.argmax(axis=1) != y).sum()


def test_monitors_are_evaluations_after_each_epoch():
    net, twin = network(), network()
    names = ["evaluation_cost", "evaluation_accuracy", "training_cost", "training_accuracy"]
    history = net.train(
        X, LABELS, epochs=3, validation_data=(X[:9], LABELS[:9]), monitor=[*names, mistakes]
    )
    assert list(history.monitored) == [*names, "mistakes"]
    for epoch in range(3):
        twin.train(X, LABELS)
        part, whole = twin.evaluate(X[:9], LABELS[:9]), twin.evaluate(X, LABELS)
        expected = [part["cost"], part["accuracy"], whole["cost"], whole["accuracy"]]
        expected.append(mistakes(LABELS[:9], twin.predict(X[:9])))
        assert [history.monitored[name][epoch] for name in history.monitored] == expected
    assert net.history.monitored == history.monitored


def test_monitors_in_files(tmp_path):
    net = network()
    net.train(X, LABELS, epochs=2, monitor=["training_cost"])
    net.save(tmp_path / "net")
    assert curves(load(tmp_path / "net").history) == curves(net.history)


def nothing(y, a):
    return "nothing"


@pytest.mark.parametrize(
    ("monitor", "error", "message"),
    [
        (["training_coast"], ValueError, r"training_coast.*training_cost"),
        ("training_cost", TypeError, r"expected a list"),
        (["evaluation_cost"], ValueError, r"'evaluation_cost' is measured on validation data"),
        ([mistakes], ValueError, r"'mistakes' is measured on validation data"),
        (["training_cost", "training_cost"], ValueError, r"two of them"),
    ],
)
def test_monitors_that_are_refused(monitor, error, message):
    with pytest.raises(error, match=message):
        network().train(X, LABELS, monitor=monitor)


def test_two_functions_of_one_name():
    pair = [lambda y, a: 0.0, lambda y, a: 1.0]
    with pytest.raises(ValueError, match=r"two of them are called '<lambda>'; give functions"):
        network().train(X, LABELS, validation_split=0.2, monitor=pair)


def test_a_metric_must_be_a_number():
    with pytest.raises(TypeError, match=r"nothing returned 'nothing', expected a number"):
        network().train(X, LABELS, validation_split=0.2, monitor=[nothing])


def test_early_stopping_with_blocks():
    net = network()
    history = net.train(
        [(X[:30], LABELS[:30]), (X[30:], LABELS[30:])], epochs=50, learning_rate=3.0,
        validation_data=(X[:9], LABELS[:9]), early_stopping=EarlyStopping(patience=2),
    )  # fmt: skip
    assert len(history) < 50
    best = int(np.argmin(history.validation_cost))
    cost = net.evaluate(X[:9], LABELS[:9])["cost"]
    assert cost == history.validation_cost[best]


def test_after_a_mini_batch_all_threads_have_done_their_share():
    # A callback that looks, or saves, must not see weights that others are still changing.
    X = np.random.default_rng(0).normal(size=(256, 300))
    y = np.arange(256) % 7

    class Look:
        def __init__(self):
            self.seen = []

        def on_batch_end(self, net, epoch, batch):
            self.seen.append([w.tobytes() for w in net.weights])

    def seen(threads):
        look = Look()
        net = Network([300, 200, 7], output="softmax", rng=0)
        net.train(X, y, epochs=12, batch_size=16, callbacks=[look], n_threads=threads)
        return look.seen

    assert seen(4) == seen(1)


@pytest.mark.parametrize(
    "once", [iter, lambda blocks: map(tuple, blocks), lambda blocks: zip(blocks, strict=True)]
)
def test_iterators_of_one_epoch_are_refused_before_the_first(once):
    net = Network([4, 3], output="softmax", rng=0)
    with pytest.raises(ValueError, match=r"epochs = 2, but X is an? \w+, which is used up"):
        net.train(once([(X, LABELS)]), epochs=2)
    assert net.steps == 0


class Rewound:
    """An iterator that begins again: what many data loaders are."""

    def __iter__(self):
        self.left = [(X, LABELS)]
        return self

    def __next__(self):
        if not self.left:
            raise StopIteration
        return self.left.pop()


def test_metrics_of_other_arguments_are_refused_before_training():
    net = network()
    for metric in (lambda y: 0.0, lambda: 0.0, lambda y, a, X: 0.0):
        with pytest.raises(TypeError, match=r"monitor = .*, expected a callable \(y, a\)"):
            net.train(X, LABELS, validation_split=0.2, monitor=[metric])
    assert net.steps == 0


def test_iterators_that_begin_again_are_taken():
    net = Network([4, 3], output="softmax", rng=0)
    assert len(net.train(Rewound(), epochs=3)) == 3


def test_what_is_wrong_in_a_block_is_said_with_its_number():
    net = Network([4, 3], output="softmax", rng=0)
    good = (X, LABELS)
    for block, error, message in (
        ((X[:, :2], LABELS), ValueError, "block 1: X has 2 columns"),
        ((X, LABELS[:3]), ValueError, "block 1: y has 3 rows"),
        ((X[:0], LABELS[:0]), ValueError, "block 1: X has no rows"),
        ((X, LABELS, "abc"), ValueError, "block 1: sample_weight"),
    ):
        with pytest.raises(error, match=message):
            net.train([good, block])
    with pytest.raises(ValueError, match="sample_weight with blocks needs all rows; let blocks"):
        net.train([good], sample_weight=np.ones(len(X)))
