"""L-BFGS through SciPy."""

import numpy as np
import pytest

from cbackprop import EarlyStopping, Network, load
from cbackprop.optimizers import LBFGS

scipy_optimize = pytest.importorskip("scipy.optimize")

RNG = np.random.default_rng(4)
X = RNG.normal(size=(60, 4))
LABELS = (X[:, 0] * X[:, 1] > 0).astype(int)
Y = np.stack([np.sin(X[:, 0]), X[:, 1] ** 2], axis=1)


def network(n_out=2, **changes):
    options = {"activation": "tanh", "output": "identity", "rng": 5, "dtype": "float64"}
    return Network([4, 8, n_out], **{**options, **changes})


def theta_of(net):
    pairs = zip(net.weights, net.biases, strict=True)
    return np.concatenate([p.ravel() for pair in pairs for p in pair])


def test_it_is_scipys_own_run():
    net, l2 = network(), 0.7

    def objective(theta):
        at, weights, biases = 0, [], []
        for n_in, n_out in ((4, 8), (8, 2)):
            weights.append(theta[at : at + n_in * n_out].reshape(n_out, n_in))
            at += n_in * n_out
            biases.append(theta[at : at + n_out])
            at += n_out
        twin = network()
        twin.weights, twin.biases = weights, biases
        g = twin.gradients(X, Y)
        parts = []
        for w, nabla_w, nabla_b in zip(weights, g.nabla_w, g.nabla_b, strict=True):
            parts += [(nabla_w + l2 / 60 * w).ravel(), nabla_b]
        return g.cost + l2 / 120 * sum((w * w).sum() for w in weights), np.concatenate(parts)

    found = scipy_optimize.minimize(
        objective, theta_of(net), jac=True, method="L-BFGS-B",
        options={"maxiter": 12, "maxcor": 10, "gtol": 1e-5, "ftol": 64 * 2.0**-52},
    )  # fmt: skip
    history = net.train(X, Y, epochs=12, optimizer="lbfgs", l2=l2)
    np.testing.assert_allclose(theta_of(net), found.x, rtol=1e-9, atol=1e-12)
    assert len(history) == 12
    assert all(a > b for a, b in zip(history.cost, history.cost[3:], strict=False))
    at_end = net.evaluate(X, Y)
    np.testing.assert_allclose(history.cost[-1], at_end["cost"], rtol=1e-12)
    np.testing.assert_allclose(history.score[-1], at_end["r2"], rtol=1e-9)


@pytest.mark.parametrize("threads", [1, 3])
def test_labels_weights_and_chunks(threads, monkeypatch):
    monkeypatch.setattr("cbackprop._lbfgs.CHUNK", 17)
    w = RNG.integers(0, 3, 60).astype(float)
    net, twin = network(output="softmax"), network(output="softmax")
    history = net.train(X, LABELS, epochs=40, optimizer="lbfgs", sample_weight=w, n_threads=threads)
    twin.train(np.repeat(X, w.astype(int), 0), np.repeat(LABELS, w.astype(int)), epochs=40,
               optimizer=LBFGS())  # fmt: skip
    assert history.score[-1] > 0.9
    assert history.delta_norms[0][0] > 0
    np.testing.assert_allclose(history.cost[:5], twin.history.cost[:5], rtol=1e-6)
    np.testing.assert_allclose(history.score[:5], twin.history.score[:5], rtol=1e-9)


def test_float32_learns():
    net = network(output="softmax", dtype="float32")
    assert net.train(X, LABELS, epochs=60, optimizer="lbfgs").score[-1] > 0.95


def test_it_ends_where_it_has_converged():
    net = network(1, activation="identity")
    history = net.train(X, Y[:, 0], epochs=500, optimizer=LBFGS(tolerance=1e-3))
    assert len(history) < 500
    assert max(abs(x).max() for x in net.gradients(X, Y[:, :1]).nabla_w) < 1e-3


def test_validation_callbacks_stopping_and_files(tmp_path):
    seen = []

    class Look:
        def on_epoch_end(self, net, history):
            seen.append(net.evaluate(X, LABELS)["cost"])

    net = network(output="softmax")
    history = net.train(
        X, LABELS, epochs=200, optimizer="lbfgs", validation_split=0.3, callbacks=[Look()],
        early_stopping=EarlyStopping(patience=3), monitor=["training_cost"],
    )  # fmt: skip
    assert seen == history.monitored["training_cost"]
    assert len(history) < 200
    assert np.argmin(history.validation_cost) == len(history) - 4
    net.save(tmp_path / "net")
    again = load(tmp_path / "net")
    assert repr(again.history) == repr(net.history)
    assert (theta_of(again) == theta_of(net)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0.1}, r"learning_rate = 0.1 does not go with optimizer 'lbfgs'"),
        ({"dropout": [0.1, 0.1]}, r"dropout = \[0.1, 0.1\] does not go"),
        ({"clip_norm": 1.0}, r"clip_norm = 1.0 does not go"),
        ({"epochs": 0}, r"epochs = 0"),
    ],
)
def test_refused(options, message):
    net = network()
    before = theta_of(net)
    with pytest.raises(ValueError, match=message):
        net.train(X, Y, optimizer="lbfgs", **options)
    assert (theta_of(net) == before).all()


def test_blocks_are_refused():
    with pytest.raises(ValueError, match="all rows at once"):
        network().train([(X, Y)], optimizer="lbfgs")
    with pytest.raises(ValueError, match=r"'lbfsg'.*did you mean 'lbfgs'"):
        network().train(X, Y, optimizer="lbfsg")
