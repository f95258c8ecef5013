"""Sample and class weights: a weighted mean, a row of weight 0 as if it were not there."""

import numpy as np
import pytest

from cbackprop import Network, _engine

RNG = np.random.default_rng(6)
X = RNG.normal(size=(40, 5))
LABELS = np.arange(40) % 4 % 3
Y = RNG.random((40, 3))
WEIGHTS = RNG.integers(0, 3, 40).astype(float)


def network(**changes):
    return Network([5, 18, 3], **{"activation": "tanh", "output": "softmax", "rng": 3, **changes})


def bits(net):
    return [x.tobytes() for x in net.weights + net.biases]


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("targets", [LABELS, Y], ids=["labels", "real"])
def test_weight_zero_is_a_row_absent(targets, n_threads, dtype, table):
    net = network(dtype=dtype)
    keep = WEIGHTS > 0
    g = net.gradients(X, targets, sample_weight=WEIGHTS, n_threads=n_threads)
    h = net.gradients(X[keep], targets[keep], sample_weight=WEIGHTS[keep], n_threads=n_threads)
    for mine, theirs in zip(g.nabla_w + g.nabla_b, h.nabla_w + h.nabla_b, strict=True):
        assert mine.tobytes() == theirs.tobytes()
    assert g.cost == h.cost


@pytest.mark.parametrize(
    "options",
    [
        {"n_threads": 1},
        {"n_threads": 2},
        {"batch_size": 5000, "n_threads": 2},
        {"max_norm": 5.0},
        {"dropout": [0.2, 0.2]},
        {"optimizer": "lbfgs"},
    ],
    ids=str,
)
def test_a_row_absent_may_overflow(options):
    # Its activations are infinite in both layers: 0 times them is no gradient.
    n = 6000 if "batch_size" in options else 40
    x, y = np.tile(X, (n // 40, 1)), np.tile(Y, (n // 40, 1))
    wild, weights = np.tile(WEIGHTS, n // 40) == 0, np.tile(WEIGHTS, n // 40)
    far = np.where(wild[:, None], 1e38, x)
    settings = {"activation": "relu", "output": "identity", "sizes": [5, 18, 3]}
    nets = [Network(**settings, rng=3) for _ in range(2)]
    for net, data in zip(nets, (x, far), strict=True):
        net.set_weights(0, w=8 * net.weights[0])
        history = net.train(data, y, epochs=2, sample_weight=weights, **options)
        assert np.isfinite(history.cost).all()
    assert bits(nets[0]) == bits(nets[1])


def test_a_row_absent_may_overflow_in_gradients(dtype, table):
    far = np.where(WEIGHTS[:, None] == 0, np.finfo(dtype).max / 2, X)
    net = network(dtype=dtype, activation="relu", output="identity")
    net.set_weights(0, w=8 * net.weights[0])
    keep = WEIGHTS > 0
    g = net.gradients(far, Y, sample_weight=WEIGHTS)
    h = net.gradients(X[keep], Y[keep], sample_weight=WEIGHTS[keep])
    for mine, theirs in zip(g.nabla_w + g.nabla_b, h.nabla_w + h.nabla_b, strict=True):
        assert mine.tobytes() == theirs.tobytes()
    assert g.cost == h.cost
    assert not g.a[0][~keep].any()


def test_weights_are_repetitions():
    net = network(dtype="float64")
    rows = np.repeat(np.arange(40), WEIGHTS.astype(int))
    g = net.gradients(X, LABELS, sample_weight=WEIGHTS)
    h = net.gradients(X[rows], LABELS[rows])
    for mine, theirs in zip(g.nabla_w + g.nabla_b, h.nabla_w + h.nabla_b, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-14)
    assert g.cost == pytest.approx(h.cost, rel=1e-13)
    assert g.delta[-1] == pytest.approx(net.gradients(X, LABELS).delta[-1] * WEIGHTS[:, None])


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "nadam"])
@pytest.mark.parametrize("n_threads", [1, 2, None])
def test_a_mini_batch_of_weight_zero_is_skipped(optimizer, n_threads):
    weights = WEIGHTS.copy()
    weights[10:20] = 0
    rest = np.r_[0:10, 20:40]
    weighted, absent = network(), network()
    options = {"batch_size": 10, "shuffle": False, "optimizer": optimizer, "n_threads": n_threads}
    h = weighted.train(X, LABELS, epochs=3, sample_weight=weights, **options)
    g = absent.train(X[rest], LABELS[rest], epochs=3, sample_weight=weights[rest], **options)
    assert bits(weighted) == bits(absent)
    assert h.cost == pytest.approx(g.cost, rel=1e-13)


@pytest.mark.parametrize("output", ["softmax", "identity"])
def test_cost_and_score_of_an_epoch_are_weighted_means(output):
    targets = LABELS if output == "softmax" else Y
    net = network(output=output, dtype="float64")
    a = net.predict(X)
    history = net.train(X, targets, batch_size=40, sample_weight=WEIGHTS)
    if output == "softmax":
        costs, right = -np.log(a[np.arange(40), LABELS]), a.argmax(1) == LABELS
        assert history.score[0] == pytest.approx((WEIGHTS * right).sum() / WEIGHTS.sum())
    else:
        costs = ((a - Y) ** 2).sum(1) / 2
        mean = (WEIGHTS[:, None] * Y).sum(0) / WEIGHTS.sum()
        r2 = 1 - (WEIGHTS @ (a - Y) ** 2) / (WEIGHTS @ (Y - mean) ** 2)
        assert history.score[0] == pytest.approx(r2.mean(), rel=1e-12)
    assert history.cost[0] == pytest.approx((WEIGHTS * costs).sum() / WEIGHTS.sum(), rel=1e-12)


@pytest.mark.parametrize("batch", [7, 5000])
def test_same_bits_for_all_threads_and_tables(batch, dtype):
    n = 5000 if batch > 1000 else 40
    rng = np.random.default_rng(0)
    data, labels, weights = rng.normal(size=(n, 5)), np.arange(n) % 3, rng.random(n)
    found = set()
    before = _engine.kernels_in_use()
    try:
        for name in _engine.kernel_names():
            _engine.choose_kernels(name)
            for threads in (20, 1, 2, 3, None):
                net = network(dtype=dtype)
                history = net.train(
                    data, labels, epochs=40 if batch == 7 else 4, batch_size=batch,
                    sample_weight=weights, l2=0.1, n_threads=threads,
                )  # fmt: skip
                found.add((tuple(bits(net)), tuple(history.cost), tuple(history.score)))
    finally:
        _engine.choose_kernels(before)
    assert len(found) == 1


def test_balanced_is_scikit_learns():
    # labels 0, 1, 2 stand 20, 10 and 10 times: 40 / (3 * count)
    each = np.array([40 / 60, 40 / 30, 40 / 30])
    nets = [network() for _ in range(4)]
    nets[0].train(X, LABELS, epochs=2, class_weight="balanced")
    nets[1].train(X, LABELS, epochs=2, sample_weight=each[LABELS])
    nets[2].train(X, LABELS, epochs=2, class_weight=dict(enumerate(each.tolist())))
    nets[3].train(X, LABELS, epochs=2)
    assert bits(nets[0]) == bits(nets[1]) == bits(nets[2]) != bits(nets[3])


def test_class_weights_by_label_times_sample_weights():
    names = np.array(["cat", "dog", "eel"])[LABELS]
    nets = [network(), network()]
    nets[0].train(X, names, class_weight={"dog": 3.0}, sample_weight=WEIGHTS)
    nets[1].train(X, names, sample_weight=WEIGHTS * np.array([1, 3, 1])[LABELS])
    assert bits(nets[0]) == bits(nets[1])


def test_weights_with_a_split():
    nets = [network(), network()]
    nets[0].train(X, LABELS, epochs=2, validation_split=0.25, sample_weight=np.ones(40))
    nets[1].train(X, LABELS, epochs=2, validation_split=0.25)
    for a, b in zip(nets[0].weights, nets[1].weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_weight": np.ones(39)}, r"sample_weight: float64 of shape \(39,\), expected"),
        ({"sample_weight": ["a"] * 40}, "sample_weight: <U1 of shape"),
        ({"sample_weight": -np.ones(40)}, r"sample_weight\[0\] = -1.0, expected a finite number"),
        ({"sample_weight": np.full(40, np.nan)}, r"sample_weight\[0\] = nan, expected"),
        ({"sample_weight": np.zeros(40)}, "sample_weight is 0 everywhere"),
        ({"class_weight": "equal"}, "class_weight = 'equal', expected 'balanced' or a dict"),
        ({"class_weight": {7: 1.0}}, r"class_weight of 7, but the labels are \[0, 1, 2\]"),
        ({"class_weight": {1: -1.0}}, r"class_weight\[1\] = -1.0, expected"),
        ({"class_weight": {0: 0, 1: 0, 2: 0}}, "class_weight leaves every row the weight 0"),
    ],
)
def test_weights_that_are_refused(options, message):
    net = network()
    before = bits(net)
    with pytest.raises(ValueError, match=message):
        net.train(X, LABELS, **options)
    assert bits(net) == before


def test_class_weight_needs_labels():
    with pytest.raises(ValueError, match="class_weight needs labels"):
        network(output="identity").train(X, Y, class_weight="balanced")
