"""What surrounds the mini-batches: validation, early stopping, schedules, callbacks, penalties."""

import pickle

import numpy as np
import pytest

from cbackprop import EarlyStopping, History, Network, _engine, _options, load, reference, schedules
from cbackprop.optimizers import OPTIMIZERS, AdamW
from cbackprop.schedules import per_step

RNG = np.random.default_rng(2)
X = RNG.normal(size=(60, 4))
LABELS = np.arange(60) % 3
Y = RNG.random((60, 3))


def network(**changes):
    return Network([4, 8, 3], **{"output": "softmax", "rng": 5, "dtype": "float64", **changes})


def bits(net):
    return [x.tobytes() for x in net.weights + net.biases]


# ---- schedules --------------------------------------------------------------------------

SCHEDULES = {
    "callable": lambda epoch: 0.5 / (1 + epoch),
    "step decay": schedules.StepDecay(0.5, 2),
    "exponential": schedules.Exponential(0.5, 0.9),
    "cosine": schedules.Cosine(0.5, 8, 0.01),
    "one cycle": schedules.OneCycle(0.5, 7),
    "warm-up": schedules.WarmUp(schedules.Exponential(0.5, 0.9), 3),
    "plateau": schedules.ReduceOnPlateau(0.5, patience=1),
    "halve": schedules.HalveOnStall(0.5, patience=2),
    "per step": per_step(lambda step: 0.5 / (1 + step)),
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_schedule_in_parts_is_the_whole(name, optimizer, tmp_path):
    options = {"learning_rate": SCHEDULES[name], "batch_size": 7, "optimizer": optimizer}
    whole, parts = network(), network()
    history = whole.train(X, LABELS, epochs=7, **options)
    parts.train(X, LABELS, epochs=3, **options)
    parts.save(tmp_path / "net")
    parts = load(tmp_path / "net")
    parts.train(X, LABELS, epochs=4, **options)
    assert bits(parts) == bits(whole)
    assert parts.history.learning_rate == history.learning_rate
    assert len(set(history.learning_rate)) > 1


@pytest.mark.parametrize("dropout", [0.0, [0.2, 0.3]], ids=["whole", "dropout"])
@pytest.mark.parametrize("name", ["a number", *SCHEDULES])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_twice_n_is_2n_whatever_optimiser_schedule_and_dropout(optimizer, name, dropout):
    options = {
        "learning_rate": SCHEDULES.get(name, 0.05), "batch_size": 7, "optimizer": optimizer,
        "dropout": dropout,
    }  # fmt: skip
    whole, parts = network(), network()
    whole.train(X, LABELS, epochs=6, **options)
    for _ in range(2):
        parts.train(X, LABELS, epochs=3, **options)
    assert bits(parts) == bits(whole)
    found, expected = (net.history.to_dict() for net in (parts, whole))
    for history in (found, expected):
        del history["seconds"]
    assert found == expected


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_schedule_is_one_rate_after_the_other(threads):
    rates = [0.5, 0.1, 0.3]
    scheduled, by_hand = network(), network()
    scheduled.train(X, LABELS, epochs=3, learning_rate=lambda e: rates[e], n_threads=threads)
    for rate in rates:
        by_hand.train(X, LABELS, learning_rate=rate)
    assert bits(scheduled) == bits(by_hand)
    assert scheduled.history.learning_rate == rates


def test_a_rate_for_each_mini_batch():
    scheduled, by_hand = network(), network()
    rates = [0.5, 0.1, 0.3, 0.2]
    scheduled.train(
        X, LABELS, epochs=2, batch_size=30, shuffle=False, learning_rate=per_step(rates.__getitem__)
    )
    for step, rate in enumerate(rates):
        rows = slice(step % 2 * 30, step % 2 * 30 + 30)
        by_hand.train(X[rows], LABELS[rows], batch_size=30, shuffle=False, learning_rate=rate)
    assert bits(scheduled) == bits(by_hand)


def test_the_shapes_of_schedules():
    assert [schedules.StepDecay(1.0, 2)(e) for e in range(5)] == [1, 1, 0.5, 0.5, 0.25]
    cosine = schedules.Cosine(1.0, 4, 0.2)
    assert [cosine(e) for e in (0, 2, 4, 9)] == pytest.approx([1.0, 0.6, 0.2, 0.2])
    cycle = schedules.OneCycle(1.0, 11)
    assert [cycle(e) for e in (0, 3, 10)] == pytest.approx([1 / 25, 1.0, 1 / 250_000])
    assert [schedules.WarmUp(1.0, 4)(e) for e in (0, 1, 3, 9)] == [0.25, 0.5, 1.0, 1.0]


def test_halving_stops_at_its_end():
    net = network()
    stalled = schedules.HalveOnStall(1e-12, patience=2, divisor=4)
    history = net.train(X, LABELS, epochs=50, learning_rate=stalled)
    assert history.learning_rate == [1e-12] * 3 + [0.5e-12] * 2
    assert len(net.train(X, LABELS, epochs=5, learning_rate=stalled)) == 0


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (lambda e: -1.0, "learning_rate of epoch 0 = -1.0, expected a finite number > 0"),
        (per_step(lambda s: 1.0 if s < 3 else 0.0), "learning_rate of step 3 = 0.0, expected"),
    ],
)
def test_rates_out_of_range(rate, message):
    net = network()
    before = bits(net)
    with pytest.raises(ValueError, match=message):
        net.train(X, LABELS, epochs=3, batch_size=10, learning_rate=rate)
    assert bits(net) == before


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: schedules.StepDecay(0.5, 0), ValueError, "every of StepDecay = 0, expected an"),
        (lambda: schedules.StepDecay(-0.5, 2), ValueError, r"rate of StepDecay = -0\.5, expected"),
        (lambda: schedules.StepDecay(0.5, 2, 0.0), ValueError, r"factor of StepDecay = 0\.0"),
        (lambda: schedules.Exponential("a", 0.9), TypeError, "rate of Exponential = 'a', expected"),
        (lambda: schedules.Exponential(0.5, -1), ValueError, "factor of Exponential = -1"),
        (lambda: schedules.Cosine(0.5, 0), ValueError, "epochs of Cosine = 0, expected an integer"),
        (lambda: schedules.Cosine(0.5, 9, -1.0), ValueError, r"least of Cosine = -1\.0, expected"),
        (lambda: schedules.OneCycle(0.5, 9, 2.0), ValueError, r"rising of OneCycle = 2\.0"),
        (lambda: schedules.OneCycle(0.5, 9, start_divisor=0), ValueError, "start_divisor of One"),
        (lambda: schedules.OneCycle(0, 9), ValueError, "most of OneCycle = 0, expected"),
        (lambda: schedules.WarmUp(0.5, 0), ValueError, "epochs of WarmUp = 0, expected"),
        (lambda: schedules.WarmUp("a", 3), TypeError, "rate of WarmUp = 'a', expected"),
        (lambda: schedules.WarmUp(-1, 3), ValueError, "rate of WarmUp = -1, expected"),
        (
            lambda: schedules.WarmUp(schedules.ReduceOnPlateau(0.5), 3),
            TypeError,
            r"rate of WarmUp = ReduceOnPlateau.*, expected a number or a callable of the epoch",
        ),
        (lambda: schedules.WarmUp(per_step(abs), 3), TypeError, "rate of WarmUp = per_step"),
        (
            lambda: schedules.WarmUp(schedules.Cosine, 3),
            TypeError,
            r"is a class; .*Cosine\(\.\.\.\)",
        ),
        (lambda: schedules.ReduceOnPlateau(0), ValueError, "rate of ReduceOnPlateau = 0"),
        (lambda: schedules.ReduceOnPlateau(1, 1.0), ValueError, r"factor of .* = 1\.0, expected a"),
        (lambda: schedules.ReduceOnPlateau(1, patience=-1), ValueError, "patience of Reduce"),
        (lambda: schedules.HalveOnStall(-1.0), ValueError, r"rate of HalveOnStall = -1\.0"),
        (lambda: schedules.HalveOnStall(1.0, 0), ValueError, "patience of HalveOnStall = 0"),
        (lambda: schedules.HalveOnStall(1.0, divisor=1), ValueError, "divisor of HalveOnStall = 1"),
        (lambda: per_step(3), TypeError, "function of per_step = 3, expected a callable"),
        (lambda: EarlyStopping(restore_best="no"), TypeError, "restore_best = 'no', expected True"),
    ],
)
def test_schedules_out_of_range(make, error, message):
    with pytest.raises(error, match=message):
        make()


class After3:
    after = 3


@pytest.mark.parametrize(
    ("rate", "error", "message"),
    [
        (schedules.Cosine, TypeError, r"learning_rate = <class .*Cosine'> is a class; make an obj"),
        (schedules.HalveOnStall, TypeError, r"HalveOnStall'> is a class; make an object: Halve"),
        (After3(), TypeError, "learning_rate = 3, expected a callable"),
        (lambda e: 0.1 - 0.05 * e, ValueError, "learning_rate of epoch 2 = 0.0, expected a finite"),
        (lambda e: "x", TypeError, "learning_rate of epoch 0 = 'x', expected"),
    ],
)
def test_a_bad_schedule_changes_nothing_even_epoch_by_epoch(rate, error, message):
    net = network()
    before = bits(net)
    for data in ((X, LABELS), ([(X, LABELS)],)):
        with pytest.raises(error, match=message):
            net.train(*data, epochs=5, learning_rate=rate, validation_data=(X, LABELS))
        assert bits(net) == before
        assert net.steps == 0


def test_epochs_without_end_may_have_a_schedule():
    stop = Recorder(stop_after=2)
    history = network().train(
        X, LABELS, epochs=10**12, learning_rate=lambda e: 0.1, callbacks=[stop]
    )
    assert len(history) == 2


# ---- validation and early stopping ------------------------------------------------------


def test_a_split_is_stratified_seeded_and_the_same_again():
    seen = []

    class Look:
        def on_epoch_end(self, net, history):
            seen.append(history.validation_score[-1])

    labels = np.array([0] * 40 + [1] * 15 + [2] * 5)
    nets = [network(), network()]
    for net in nets:
        net.train(X, labels, epochs=2, validation_split=0.2, callbacks=[Look()])
    assert seen[:2] == seen[2:]
    assert all(score * 12 == pytest.approx(round(score * 12)) for score in seen)  # 8 + 3 + 1 rows
    assert bits(nets[0]) == bits(nets[1])
    parts = network()
    for _ in range(2):
        parts.train(X, labels, validation_split=0.2)
    assert bits(parts) == bits(nets[0])


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("targets", [LABELS, Y], ids=["labels", "real"])
def test_training_on_chosen_rows_is_training_on_those_rows(targets, threads):
    output = "softmax" if targets.ndim == 1 else "identity"
    split, alone = network(output=output), network(output=output)
    target = split._targets(targets, 60)
    chosen, held_out = _options.split(0.25, target.array, split._key)
    assert sorted([*chosen, *held_out]) == list(range(60))
    options = {"epochs": 3, "batch_size": 7, "l2": 0.1, "l1": 0.1, "n_threads": threads}
    h = split.train(X, targets, validation_split=0.25, **options)
    g = alone.train(
        X[chosen], targets[chosen], validation_data=(X[held_out], targets[held_out]), **options
    )
    assert bits(split) == bits(alone)
    assert (h.cost, h.score, h.validation_cost) == (g.cost, g.score, g.validation_cost)


def test_smoothed_labels_are_split_as_the_labels_are():
    labels = np.array([0] * 40 + [1] * 15 + [2] * 5)
    split, alone = network(), network()
    split.train(X, labels, validation_split=0.2, label_smoothing=0.1)
    chosen, _ = _options.split(0.2, split._targets(labels, 60).array, split._key)
    alone.train(X[chosen], labels[chosen], label_smoothing=0.1)
    assert bits(alone) == bits(split)


SEVERAL = (RNG.random((60, 3)) > 0.5).astype(float)
ONE_HOT = np.eye(3)[LABELS]


@pytest.mark.parametrize(
    ("cost", "targets", "held_out", "name"),
    [
        ("quadratic", Y, ONE_HOT, "r2"),
        ("quadratic", SEVERAL, ONE_HOT, "r2"),
        ("quadratic", Y, LABELS, "r2"),
        ("cross_entropy", SEVERAL, ONE_HOT, "accuracy"),
        ("cross_entropy", Y, SEVERAL, "r2"),
    ],
)
def test_validation_is_scored_as_training_is(cost, targets, held_out, name):
    # Rows that happen to be one-hot, where training saw real numbers or several labels at once.
    net = network(output="sigmoid", cost=cost)
    history = net.train(X, targets, validation_data=(X, held_out), monitor=["evaluation_accuracy"])
    a = net.predict(X)
    y = ONE_HOT if held_out is LABELS else held_out
    if name == "r2":
        truth = (1 - ((a - y) ** 2).sum(0) / ((y - y.mean(0)) ** 2).sum(0)).mean()
    else:
        truth = ((a >= 0.5) == (y == 1)).all(axis=1).mean()
    assert history.score_name == name
    assert history.validation_score == [pytest.approx(truth, rel=1e-12)]
    assert history.monitored["evaluation_accuracy"] == history.validation_score


def test_whole_numbers_may_validate_real_ones():
    net = Network([4, 5, 1], output="sigmoid", cost="quadratic", dtype="float64", rng=0)
    history = net.train(X, Y[:, 0], validation_data=(X, LABELS))
    a = net.predict(X)[:, 0]
    truth = 1 - ((a - LABELS) ** 2).sum() / ((LABELS - LABELS.mean()) ** 2).sum()
    assert history.validation_score == [pytest.approx(truth, rel=1e-12)]
    with pytest.raises((TypeError, ValueError), match=r"y of validation_data"):
        net.train(X, Y[:, 0], validation_data=(X, np.array(["a", "b"])[LABELS % 2]))


@pytest.mark.parametrize("targets", [LABELS, ONE_HOT])
def test_real_numbers_cannot_validate_labels(targets):
    net = network(cost="quadratic")
    before = bits(net)
    with pytest.raises(ValueError, match="y of validation_data holds real numbers, but the netw"):
        net.train(X, targets, validation_data=(X, Y))
    assert bits(net) == before
    assert net.steps == 0


def test_early_stopping_puts_the_best_weights_back():
    net = network()
    stopping = EarlyStopping(patience=3)
    history = net.train(
        X, LABELS, epochs=500, learning_rate=2.0, validation_split=0.3, early_stopping=stopping
    )
    best = int(np.argmin(history.validation_cost))
    assert len(history) == best + 1 + 3 < 500
    twin = network()
    twin.train(X, LABELS, epochs=best + 1, learning_rate=2.0, validation_split=0.3)
    assert bits(net) == bits(twin)
    last = network()
    last.train(
        X, LABELS, epochs=500, learning_rate=2.0, validation_split=0.3,
        early_stopping=EarlyStopping(patience=3, restore_best=False),
    )  # fmt: skip
    assert bits(last) != bits(net)


def test_early_stopping_on_a_score_rises():
    history = network().train(
        X, LABELS, epochs=300, early_stopping=EarlyStopping("score", patience=2, min_delta=1.0)
    )
    assert len(history) == 3


# ---- several labels at once, one sample at a time ---------------------------------------


@pytest.mark.parametrize(
    ("output", "cost", "threshold"), [("sigmoid", "cross_entropy", 0.5), ("identity", "hinge", 0.0)]
)
@pytest.mark.parametrize("threads", [1, 2])
def test_several_labels_at_once(output, cost, threshold, threads, dtype):
    labels = np.column_stack([X[:, 0] > 0, X[:, 1] + X[:, 2] > 0, X[:, 3] < 0.5]).astype(np.uint8)
    net = network(activation="tanh", output=output, cost=cost, dtype=dtype)
    g, before = net.gradients(X, labels), net.predict(X)
    y = labels.astype(float)
    if cost == "cross_entropy":  # the output error is a - y of each output for itself
        np.testing.assert_allclose(g.delta[-1], before - y, rtol=1e-4, atol=1e-6)
        values = -(y * np.log(before) + (1 - y) * np.log(1 - before))
    else:
        values = np.maximum(0, 1 - (2 * y - 1) * before)
    assert g.cost == pytest.approx(values.sum(axis=1).mean(), rel=1e-5)
    # A full batch: cost and score of the epoch are those of the network before it.
    history = net.train(X, labels, batch_size=60, n_threads=threads)
    right = ((before >= threshold) == labels).all(axis=1)
    assert history.score_name == "accuracy"
    assert history.score[0] == pytest.approx(right.mean())
    net.train(X, labels, epochs=300, batch_size=5, learning_rate=0.1, n_threads=threads)
    found = net.evaluate(X, labels)["accuracy"]
    assert found == ((net.predict(X) >= threshold) == labels).all(axis=1).mean()
    assert found > 0.9


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("targets", [LABELS, Y], ids=["labels", "real"])
def test_a_mini_batch_of_one_is_one_sample_after_the_other(optimizer, targets, dtype):
    output = "softmax" if targets is LABELS else "identity"
    whole, parts = network(output=output, dtype=dtype), network(output=output, dtype=dtype)
    options = {"batch_size": 1, "optimizer": optimizer}
    history = whole.train(X, targets, shuffle=False, **options)
    costs = [
        parts.train(X[i : i + 1], targets[i : i + 1], **options).cost[0] for i in range(len(X))
    ]
    assert bits(parts) == bits(whole)
    assert whole.steps == parts.steps == 60
    assert history.cost[0] == pytest.approx(np.mean(costs), rel=1e-12)


# ---- callbacks --------------------------------------------------------------------------


class Recorder:
    def __init__(self, stop_after=None):
        self.epochs, self.stop_after = [], stop_after

    def on_epoch_end(self, net, history):
        net.predict(X)  # nobody else uses it now
        self.epochs.append((len(history), net.steps))
        return len(history) == self.stop_after


def test_callbacks_see_every_epoch_and_change_no_bit():
    plain, seen, recorder = network(), network(), Recorder()
    plain.train(X, LABELS, epochs=4, batch_size=20)
    seen.train(X, LABELS, epochs=4, batch_size=20, callbacks=[recorder])
    assert recorder.epochs == [(1, 3), (2, 6), (3, 9), (4, 12)]
    assert bits(plain) == bits(seen)


def test_a_callback_stops_training():
    recorder = Recorder(stop_after=2)
    assert len(network().train(X, LABELS, epochs=9, callbacks=[recorder, Recorder()])) == 2


def test_what_a_callback_raises_comes_through():
    class Broken:
        def on_epoch_end(self, net, history):
            if len(history) == 2:
                raise OSError("disk full")

    net, twin = network(), network()
    with pytest.raises(OSError, match="disk full"):
        net.train(X, LABELS, epochs=5, callbacks=[Broken()])
    net.train(X, LABELS, epochs=3)
    twin.train(X, LABELS, epochs=5)
    assert bits(net) == bits(twin)


# ---- penalties, decay, clipping ---------------------------------------------------------


def step(net, **options):
    """(w, nabla_w, w afterwards) of one full-batch step at rate 0.1."""
    g, w, b = net.gradients(X, LABELS), net.weights, net.biases
    net.train(X, LABELS, batch_size=60, learning_rate=0.1, **options)
    return g, w, b


@pytest.mark.parametrize("threads", [1, 2])
def test_one_step_of_sgd_with_everything(threads, dtype):
    net = network(dtype=dtype)
    g, w, b = step(net, l1=0.6, l2=1.2, weight_decay=0.5, clip_value=0.01, n_threads=threads)
    for l in range(2):
        # l2 of sgd is the book's factor, outside the clip
        slope = np.clip(g.nabla_w[l] + 0.6 / 60 * np.sign(w[l]), -0.01, 0.01)
        expected = (1 - 0.1 * 0.5) * (1 - 0.1 * 1.2 / 60) * w[l] - 0.1 * slope
        np.testing.assert_allclose(net.weights[l], expected, rtol=2e-5, atol=1e-6)
        expected = (1 - 0.1 * 0.5) * b[l] - 0.1 * np.clip(g.nabla_b[l], -0.01, 0.01)
        np.testing.assert_allclose(net.biases[l], expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "sgd"])
def test_penalties_come_before_the_optimiser(name):
    net, twin = network(), network()
    g, w, _ = step(net, optimizer=name, l1=0.6, l2=1.2, clip_value=0.01)
    nabla_w = [
        np.clip(g.nabla_w[l] + 0.6 / 60 * np.sign(w[l]) + 1.2 / 60 * w[l], -0.01, 0.01)
        for l in range(2)
    ]
    nabla_b = [np.clip(x, -0.01, 0.01) for x in g.nabla_b]
    twin.apply_gradients((nabla_w, nabla_b), optimizer=name, learning_rate=0.1)
    for mine, truth in zip(net.weights + net.biases, twin.weights + twin.biases, strict=True):
        np.testing.assert_allclose(mine, truth, rtol=1e-9, atol=1e-11)


def test_weight_decay_is_adamws():
    nets = [network(), network()]
    nets[0].train(X, LABELS, epochs=3, optimizer="adam", weight_decay=0.2)
    nets[1].train(X, LABELS, epochs=3, optimizer=AdamW(weight_decay=0.2))
    assert bits(nets[0]) == bits(nets[1])


def test_no_clip_is_a_wide_clip():
    nets = [network(), network()]
    nets[0].train(X, LABELS, epochs=3, batch_size=7, l2=0.3)
    nets[1].train(X, LABELS, epochs=3, batch_size=7, l2=0.3, clip_value=1e6)
    assert bits(nets[0]) == bits(nets[1])  # in registers or through the general path


# ---- dropout ----------------------------------------------------------------------------


def masks_of(net, drops, epoch, positions):
    """What `src/dropout.h` says is dropped: (samples, n_l) of each layer but the last."""
    counts = [-(-n // 8) if drop else 0 for n, drop in zip(net.sizes, drops, strict=False)]
    masks = []
    for l, drop in enumerate(drops):
        rows = [
            _engine.dropout_mask(
                net._key, epoch, s, sum(counts), sum(counts[:l]), drop, net.sizes[l]
            )
            for s in positions
        ]
        masks.append(np.array(rows) if drop else np.ones((len(positions), net.sizes[l])))
    return masks


def dropped_step(net, x, y, masks, eta):
    """One step of SGD in plain NumPy, with these masks."""
    w, b, sigmas = net.weights, net.biases, net.activations
    a, z = [x * masks[0]], []
    for l, sigma in enumerate(sigmas):
        z.append(a[-1] @ w[l].T + b[l])
        out = sigma.function(z[-1])
        a.append(out * masks[l + 1] if l + 1 < len(masks) else out)
    cost = reference.cost_of(sigmas[-1], net.cost, z[-1], a[-1], y).mean()
    delta = reference.output_error(sigmas[-1], net.cost, z[-1], a[-1], y)
    for l in range(len(w) - 1, -1, -1):
        slopes = delta.T @ a[l] / len(x), delta.mean(axis=0)
        if l > 0:
            out = sigmas[l - 1].function(z[l - 1])
            delta = reference.through(sigmas[l - 1], z[l - 1], out, delta @ w[l] * masks[l])
        w[l], b[l] = w[l] - eta * slopes[0], b[l] - eta * slopes[1]
    return w, b, cost


@pytest.mark.parametrize("sigma", ["tanh", "relu", "gelu", "softmax"])
@pytest.mark.parametrize("dropout", [0.5, [0.25, 0.5, 0.0], [0.5, 0.0, 0.75]])
def test_dropout_against_numpy(sigma, dropout, table):
    net = Network(
        [5, 19, 40, 3], activation=sigma, output="softmax", dtype="float64", rng=3
    )  # fmt: skip
    x, y = RNG.normal(size=(26, 5)), np.eye(3)[np.arange(26) % 3]
    parts = [0.0, dropout, dropout] if isinstance(dropout, float) else dropout
    drops = [round(65536 * p) for p in parts]
    expected = pickle.loads(pickle.dumps(net))
    for epoch in range(2):
        costs = []
        for first in (0, 13):
            rows = slice(first, first + 13)
            masks = masks_of(net, drops, epoch, range(first, first + 13))
            w, b, cost = dropped_step(expected, x[rows], y[rows], masks, 0.3)
            expected.weights, expected.biases = w, b
            costs.append(cost)
        history = net.train(x, y, batch_size=13, shuffle=False, dropout=dropout, learning_rate=0.3)
        assert history.cost[0] == pytest.approx(np.mean(costs), rel=1e-9)
    for mine, truth in zip(
        net.weights + net.biases, expected.weights + expected.biases, strict=True
    ):
        np.testing.assert_allclose(mine, truth, rtol=1e-9, atol=1e-12)


def test_masks_are_random_enough():
    net = network()
    drops = [0, round(0.3 * 65536)]
    mask = np.concatenate([masks_of(net, drops, e, range(2000))[1] for e in range(3)])
    assert (mask == 0).mean() == pytest.approx(0.3, abs=0.01)
    assert set(np.unique(mask)) == {0.0, 65536 / (65536 - drops[1])}
    correlation = np.corrcoef(mask.T) - np.eye(8)
    assert np.abs(correlation).max() < 0.05
    assert abs(np.corrcoef(mask[1:, 0], mask[:-1, 0])[0, 1]) < 0.05


@pytest.mark.parametrize("batch", [7, 4000])
def test_dropout_has_the_same_bits_for_all_threads_tables_and_parts(batch, dtype, tmp_path):
    n = 5000 if batch > 1000 else 60
    data, labels = np.random.default_rng(0).normal(size=(n, 4)), np.arange(n) % 3
    options = {"batch_size": batch, "dropout": [0.1, 0.5], "optimizer": "adam"}
    found = set()
    before = _engine.kernels_in_use()
    try:
        for name in _engine.kernel_names():
            _engine.choose_kernels(name)
            for threads in (20, 1, 2, 3, None):
                net = Network([4, 40, 3], output="softmax", rng=5, dtype=dtype)
                net.train(data, labels, epochs=3, n_threads=threads, **options)
                net.save(tmp_path / "net")
                net = load(tmp_path / "net")
                net.train(data, labels, epochs=2, n_threads=threads, **options)
                found.add(tuple(bits(net)))
    finally:
        _engine.choose_kernels(before)
    whole = Network([4, 40, 3], output="softmax", rng=5, dtype=dtype)
    whole.train(data, labels, epochs=5, **options)
    assert found == {tuple(bits(whole))}


def test_no_dropout_is_no_dropout():
    nets = [network(), network(), network()]
    for net, dropout in zip(nets, (0.0, [0, 0], 0.5), strict=True):
        net.train(X, LABELS, epochs=2, dropout=dropout)
        net.train(X, LABELS, epochs=2)
    assert bits(nets[0]) == bits(nets[1]) != bits(nets[2])
    assert nets[2].predict(X).tobytes() == nets[2].predict(X).tobytes()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dropout": 1.0}, ValueError, "dropout = 1.0, expected probabilities below 1"),
        ({"dropout": [0.5]}, ValueError, "dropout has 1 entries, expected 2: the input's"),
        ({"dropout": [0.5, -0.1]}, ValueError, r"dropout\[1\] = -0.1, expected a finite number"),
        ({"dropout": "half"}, TypeError, "dropout = 'half', expected"),
        ({"l1": -1.0}, ValueError, "l1 = -1.0, expected a finite number >= 0"),
        ({"weight_decay": -1.0}, ValueError, "weight_decay = -1.0, expected"),
        ({"weight_decay": 200.0}, ValueError, "weight_decay = 200 with learning_rate = 0.01 would"),
        ({"clip_value": 0.0}, ValueError, "clip_value = 0.0, expected a finite number > 0"),
        ({"validation_split": 1.0}, ValueError, "validation_split = 1.0, expected a number below"),
        ({"validation_split": 0.001}, ValueError, "leaves 0 to validate on"),
        ({"validation_split": 0.1, "validation_data": (X, LABELS)}, ValueError, "give one of"),
        ({"dropout": np.array(1.0)}, ValueError, "dropout = 1.0, expected probabilities below 1"),
        ({"early_stopping": True}, ValueError, "give validation_data= or validation_split="),
        ({"early_stopping": 3, "validation_split": 0.1}, TypeError, "early_stopping = 3, expected"),
        ({"callbacks": print}, TypeError, "callbacks = <built-in function print>, expected a list"),
        ({"callbacks": [print]}, TypeError, "has no method on_epoch_end"),
        ({"learning_rate": "fast"}, TypeError, "learning_rate = 'fast'"),
        ({"optimizer": "adan"}, ValueError, r"optimizer = 'adan', .*did you mean 'adam'\?"),
        ({"optimizer": AdamW(), "learning_rate": 0.1}, ValueError, "both give the rate"),
    ],
)
def test_arguments_that_are_refused(options, error, message):
    net = network()
    before = bits(net)
    with pytest.raises(error, match=message):
        net.train(X, LABELS, **options)
    assert bits(net) == before
    assert net.steps == 0


def test_names_of_curves():
    with pytest.raises(ValueError, match=r"monitor = 'val_loss', expected one of: validation_"):
        EarlyStopping("val_loss")
    with pytest.raises(ValueError, match="patience = 0"):
        EarlyStopping(patience=0)


def test_a_history_says_its_last_epoch_in_one_line():
    net = network()
    history = net.train(X, LABELS, epochs=40, validation_split=0.25)
    text = repr(history)
    assert text == (
        f"<History of 40 epochs: cost {history.cost[-1]:.4f}  accuracy {history.score[-1]:.4f}  "
        f"validation cost {history.validation_cost[-1]:.4f}  "
        f"accuracy {history.validation_score[-1]:.4f}>"
    )
    assert repr(net.train(X, LABELS)).startswith("<History of 1 epoch: cost ")
    assert repr(History()) == "<History of no epoch>"
    wild = History(cost=[8.8e27], score=[float("nan")])
    assert repr(wild) == "<History of 1 epoch: cost 8.8e+27  accuracy nan>"
    assert repr(History(cost=[0.5])) == "<History of 1 epoch: cost 0.5000>"
