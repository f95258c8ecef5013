"""BP1 to BP4 against three kinds of truth: numbers worked by hand, derivatives, twins."""

import numpy as np
import pytest

from cbackprop import Network, activations, certify, costs, load, reference

SIGMAS = [*activations.ACTIVATIONS, "leaky_relu(0.3)", "elu(0.5)"]
PAIRS = [
    (output, cost)
    for output in SIGMAS
    for cost in [*costs.COSTS, "huber(0.1)", "quantile(0.9)"]
    if costs.get(cost).domain == (-np.inf, np.inf)
    or output in ("sigmoid", "softmax")
    or (output in ("softplus", "exp") and cost == "poisson")
]


def inside(sigma):
    """Two hidden layers of it; exp of exp would overflow."""
    return [sigma, "tanh" if sigma == "exp" else sigma]


TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def distance(value, truth):
    scale = np.abs(truth).max()
    return np.abs(value - truth).max() / scale if scale else np.abs(value).max()


def targets_for(cost, m, n, rng):
    y = rng.random((m, n))
    return y / y.sum(axis=1, keepdims=True) if cost == "log_likelihood" else y


def test_a_network_worked_by_hand(table, dtype):
    # 2-1-1, sigmoid then identity, quadratic cost, x = (1, 2), y = 1.
    # z1 = 0.5 * 1 - 0.25 * 2 + 0 = 0, a1 = 1/2; z2 = 4 * 1/2 + 1 = 3, a2 = 3, C = 2.
    # BP1: delta2 = 3 - 1 = 2.  BP2: delta1 = 4 * 2 * 1/2 * 1/2 = 2.
    # BP3: nabla_b = 2, 2.      BP4: nabla_w2 = 1/2 * 2 = 1; nabla_w1 = (1 * 2, 2 * 2).
    net = Network([2, 1, 1], output="identity", dtype=dtype, rng=0)
    net.weights, net.biases = (
        [np.array([[0.5, -0.25]]), np.array([[4.0]])],
        [np.zeros(1), np.ones(1)],
    )
    g = net.gradients([[1.0, 2.0]], [[1.0]])
    assert g.cost == 2
    assert [z.tolist() for z in g.z] == [[[0.0]], [[3.0]]]
    assert [a.tolist() for a in g.a] == [[[1.0, 2.0]], [[0.5]], [[3.0]]]
    assert [d.tolist() for d in g.delta] == [[[2.0]], [[2.0]]]
    assert [b.tolist() for b in g.nabla_b] == [[2.0], [2.0]]
    assert [w.tolist() for w in g.nabla_w] == [[[2.0, 4.0]], [[1.0]]]


def test_softmax_with_quadratic_worked_by_hand(dtype):
    # z = (0, ln 3): a = (1/4, 3/4), y = (1, 0): g = a - y = (-3/4, 3/4);
    # (2.15): delta_j = a_j (g_j - sum_k g_k a_k), the sum is 3/8: (-9/32, 9/32).
    net = Network([1, 2], output="softmax", cost="quadratic", dtype=dtype, rng=0)
    net.weights, net.biases = [np.zeros((2, 1))], [np.array([0, np.log(3)])]
    g = net.gradients([[1.0]], [0])
    assert g.delta[0][0] == pytest.approx([-9 / 32, 9 / 32], rel=1e-6)


@pytest.mark.parametrize(("output", "cost"), PAIRS)
def test_engine_equals_reference(output, cost, table, dtype):
    rng = np.random.default_rng(7)
    for hidden in ([], [5], [17, 33], [3, 1, 40]):
        sizes = [7, *hidden, 6]
        names = [["tanh", "relu", "sigmoid", "softmax"][i % 4] for i in range(len(hidden))]
        net = Network(sizes, activation=names, output=output, cost=cost, dtype=dtype, rng=1)
        m = int(rng.integers(1, 40))
        X, y = rng.random((m, 7)) - 0.5, targets_for(cost, m, 6, rng)
        g = net.gradients(X, y)
        truth = reference.backprop(
            [w.astype(float) for w in net.weights], [b.astype(float) for b in net.biases],
            net.activations, net.cost, X.astype(dtype).astype(float), y.astype(dtype).astype(float),
        )  # fmt: skip
        assert g.cost == pytest.approx(truth.cost, rel=TOLERANCE[dtype])
        for name in ("a", "z", "delta", "nabla_w", "nabla_b"):
            for value, expected in zip(getattr(g, name), getattr(truth, name), strict=True):
                assert distance(value, expected) < TOLERANCE[dtype], (name, sizes)


def test_every_pair_is_certified_or_refused():
    outputs, names = [s for s in SIGMAS if "(" not in s], list(costs.COSTS)[:10]
    assert (len(outputs), len(names)) == (15, 10)
    taken = 0
    for output in outputs:
        for cost in names:
            if (output, cost) in PAIRS:
                assert Network([2, 3], output=output, cost=cost).cost.name == cost
                taken += 1
            else:
                with pytest.raises(ValueError, match=r"needs outputs between .*; use output="):
                    Network([2, 3], output=output, cost=cost)
    assert taken == 113  # of 150; the other 37 have no value somewhere


@pytest.mark.parametrize(("output", "cost"), PAIRS)
def test_certificate(output, cost, table, dtype):
    rng = np.random.default_rng(3)
    net = Network(
        [4, 6, 5, 3], activation=["tanh", "relu"], output=output, cost=cost, dtype=dtype, rng=2
    )
    certificate = certify(net, rng.random((8, 4)) - 0.5, targets_for(cost, 8, 3, rng))
    assert certificate.passed, str(certificate)
    assert [r.equation for r in certificate.residuals].count("BP4") == 3


@pytest.mark.parametrize("sigma", SIGMAS)
def test_every_hidden_activation(sigma, table, dtype):
    rng = np.random.default_rng(8)
    net = Network([7, 33, 20, 3], activation=inside(sigma), output="identity", dtype=dtype, rng=1)
    far = 1 if sigma == "exp" else 3  # off the straight part of each
    net.weights = [far * w for w in net.weights]
    X, y = rng.normal(size=(25, 7)), rng.random((25, 3))
    g = net.gradients(X, y)
    truth = reference.backprop(
        [w.astype(float) for w in net.weights], [b.astype(float) for b in net.biases],
        net.activations, net.cost, X.astype(dtype).astype(float), y.astype(dtype).astype(float),
    )  # fmt: skip
    for name in ("a", "z", "delta", "nabla_w", "nabla_b"):
        for value, expected in zip(getattr(g, name), getattr(truth, name), strict=True):
            assert distance(value, expected) < TOLERANCE[dtype], name
    certificate = certify(net, X[:4], y[:4])
    assert certificate.passed, str(certificate)


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("threads", [1, 2, None])
def test_training_keeps_what_the_derivative_needs(sigma, threads):
    # One full-batch step is the gradient's, whatever way the threads share the work.
    rng = np.random.default_rng(8)
    X, y = rng.normal(size=(48, 90)), rng.random((48, 3))
    nets = [
        Network([90, 40, 20, 3], activation=inside(sigma), dtype="float64", rng=1) for _ in range(2)
    ]
    nets[0].train(X, y, epochs=40, batch_size=48, learning_rate=0.1, n_threads=threads)
    for _ in range(40):
        nets[1].apply_gradients(nets[1].gradients(X, y), learning_rate=0.1)
    for a, b in zip(nets[0].weights, nets[1].weights, strict=True):
        assert distance(a, b) < 1e-10


@pytest.mark.parametrize("sigma", [name for name in activations.ACTIVATIONS if name != "exp"])
def test_limits_of_activations(sigma, dtype, table):
    net = Network([1, 2, 1], activation=sigma, output="identity", dtype=dtype, rng=0)
    for scale in (1e4, 1e30 if dtype == "float32" else 1e250):
        net.weights = [np.array([[scale], [-scale]]), np.ones((1, 2))]
        g = net.gradients([[1.0], [-1.0], [0.0]], np.zeros((3, 1)))
        low, high = activations.get(sigma).image
        assert np.isfinite(g.a[1]).all()
        assert (g.a[1] >= np.asarray(low, dtype)).all()
        assert (g.a[1] <= np.asarray(high, dtype)).all()
    truth = activations.get(sigma).function(np.array([[1e4, -1e4]]))
    net.weights = [np.array([[1e4], [-1e4]]), np.ones((1, 2))]
    found = net.gradients([[1.0]], [[0.0]]).a[1]
    np.testing.assert_allclose(found, truth, rtol=1e-5, atol=1e-5)


def test_exp_overflows_where_it_must(dtype, table):
    end = np.log(np.finfo(dtype).max)
    z = np.array([[-1e4, -1.0, 0.0, 1.0, end - 1, end + 1, 1e4]])
    net = Network([1, 7], output="exp", dtype=dtype, rng=0)
    net.biases = [z[0]]
    with np.errstate(over="ignore"):
        expected = np.exp(z.astype(dtype))
    np.testing.assert_allclose(net.predict([[0.0]]), expected, rtol=1e-4)


def test_exp_with_poisson_keeps_its_error_where_exp_is_nothing(dtype, table):
    # exp(-200) is 0 in float32: ln a has no value there, but C = a - y z and delta = a - y do.
    net = Network([1, 1], output="exp", cost="poisson", dtype=dtype, rng=0)
    net.biases = [np.array([-200.0])]
    g = net.gradients([[0.0]], [[2.0]])
    assert g.cost == pytest.approx(400, rel=1e-6)
    assert g.delta[0][0, 0] == -2


@pytest.mark.parametrize(
    ("output", "cost", "remedy"),
    [
        ("relu", "poisson", "exp"),  # 0 is reached, and ln 0
        ("identity", "poisson", "exp"),
        ("tanh", "cross_entropy", "sigmoid"),
        ("softplus", "log_likelihood", "softmax"),
    ],
)
def test_outputs_on_which_a_cost_has_no_value(output, cost, remedy):
    with pytest.raises(ValueError, match=rf"cost = '{cost}' needs outputs.*output='{remedy}'"):
        Network([2, 3], output=output, cost=cost)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: activations.leaky_relu(1.0), ValueError, "alpha of leaky_relu = 1.0, expected 0"),
        (lambda: activations.elu(-1), ValueError, "alpha of elu = -1, expected 0 <= alpha"),
        (lambda: activations.elu("1"), TypeError, "alpha of elu = '1', expected a number"),
        (lambda: costs.huber(0.0), ValueError, "delta of huber = 0.0, expected a number above 0"),
        (lambda: costs.get("quantile(1)"), ValueError, "tau of quantile = 1.0, expected"),
        (lambda: costs.get("huber(x)"), ValueError, r"cost = 'huber\(x\)', expected one of"),
        (lambda: activations.get("relu(1)"), ValueError, r"activation = 'relu\(1\)', expected one"),
    ],
)
def test_parameters_out_of_range(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("sigma", ["leaky_relu(0.0)", "elu(0.0)", "elu(0.5)", "relu"])
def test_a_parameter_of_zero_is_not_the_default(sigma, tmp_path):
    net = Network([2, 3, 1], activation=sigma, rng=0)
    net.save(tmp_path / "net")
    again = load(tmp_path / "net")
    assert again.activations == net.activations
    assert str(again.activations[0]) == sigma
    assert again.predict(-np.eye(2)).tobytes() == net.predict(-np.eye(2)).tobytes()


@pytest.mark.parametrize("cost", ["hinge", "squared_hinge"])
def test_hinge_says_yes_from_zero_on(cost):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    labels = (X[:, 0] + X[:, 1] > 0).astype(int)
    net = Network([2, 8, 1], activation="tanh", output="identity", cost=cost, rng=1)
    history = net.train(X, labels, epochs=60, batch_size=10, learning_rate=0.05)
    assert history.score[-1] > 0.95
    assert np.array_equal(net.classify(X), (net.predict(X)[:, 0] >= 0).astype(int))
    assert net.evaluate(X, labels)["accuracy"] == (net.classify(X) == labels).mean()


def test_quantile_finds_the_quantile():
    y = np.random.default_rng(0).random((1000, 1))
    net = Network([1, 1], output="identity", cost="quantile(0.9)", dtype="float64", rng=0)
    net.train(np.zeros((1000, 1)), y, epochs=300, batch_size=1000, learning_rate=0.05)
    assert net.biases[0][0] == pytest.approx(np.quantile(y, 0.9), abs=0.02)


def test_certificate_sees_a_wrong_derivative():
    wrong = activations.Activation(
        "tanh", "a = tanh z", 2, (-1.0, 1.0), np.tanh, lambda z, a: 1.001 - a * a,
        activations._diagonal(lambda z, a: 1.001 - a * a),
    )  # fmt: skip
    net = Network([3, 4, 2], activation=wrong, rng=0)
    certificate = certify(net, np.eye(3), np.eye(3, 2))
    failed = {(r.equation, r.layer) for r in certificate.residuals if not r.passed}
    assert not certificate.passed
    assert failed == {("BP2", 1), ("BP3", 1), ("BP4", 1)}
    assert "FAILED" in str(certificate)


def test_certify_samples_large_networks():
    net = Network([130, 100, 3], output="softmax", rng=0)
    certificate = certify(net, np.random.default_rng(0).random((3, 130)), [0, 1, 2])
    assert certificate.passed
    assert sum(r.checked for r in certificate.residuals if r.equation == "BP4") <= 10_000


@pytest.mark.parametrize(
    ("output", "cost"),
    [("sigmoid", "cross_entropy"), ("softmax", "log_likelihood"), ("exp", "poisson")],
)
def test_stable_pair_equals_the_general_sum(output, cost, table):
    rng = np.random.default_rng(5)
    net = Network([6, 4], output=output, cost=cost, dtype="float64", rng=4)
    X, y = rng.random((9, 6)), targets_for(cost, 9, 4, rng)
    g = net.gradients(X, y)
    general = reference.output_error(net.activations[-1], net.cost, g.z[-1], g.a[-1], y)
    assert distance(g.delta[-1], general) < 1e-12
    assert np.array_equal(g.delta[-1][:, :], g.a[-1] - y) or output == "softmax"


@pytest.mark.parametrize(("output", "cost"), PAIRS)
def test_saturated_outputs_stay_finite(output, cost, dtype):
    net = Network([1, 3], output=output, cost=cost, dtype=dtype, rng=0)
    far = 30.0 if output == "exp" else 300.0
    net.weights = [np.array([[far], [-far], [0.0]])]
    g = net.gradients([[1.0], [-1.0]], np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))
    assert np.isfinite(g.cost)
    assert np.isfinite(g.delta[0]).all()


def test_against_pytorch_autograd(table):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(11)
    costs_ = {
        "quadratic": lambda z, a, y: 0.5 * ((a - y) ** 2).sum(1).mean(),
        "cross_entropy": lambda z, a, y: (
            torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none")
            .sum(1)
            .mean()
        ),
        "log_likelihood": lambda z, a, y: torch.nn.functional.cross_entropy(z, y),
        "absolute": lambda z, a, y: (a - y).abs().sum(1).mean(),
        "huber": lambda z, a, y: torch.nn.functional.huber_loss(a, y, reduction="sum") / len(y),
        "poisson": lambda z, a, y: (
            torch.nn.functional.poisson_nll_loss(a, y, log_input=False, eps=0, reduction="sum")
            / len(y)
        ),
    }
    functions = {
        "identity": lambda z: z, "sigmoid": torch.sigmoid, "tanh": torch.tanh,
        "relu": torch.relu, "softmax": lambda z: torch.softmax(z, 1),
        "leaky_relu": torch.nn.functional.leaky_relu, "elu": torch.nn.functional.elu,
        "selu": torch.nn.functional.selu, "softplus": torch.nn.functional.softplus,
        "silu": torch.nn.functional.silu, "gelu": torch.nn.functional.gelu,
        "softsign": torch.nn.functional.softsign, "hard_tanh": torch.nn.functional.hardtanh,
        "sine": torch.sin, "exp": torch.exp,
    }  # fmt: skip
    pairs = [("identity", "quadratic"), ("sigmoid", "quadratic"), ("tanh", "quadratic"),
             ("softmax", "quadratic"), ("sigmoid", "cross_entropy"),
             ("softmax", "log_likelihood"), ("identity", "absolute"), ("tanh", "huber"),
             ("softplus", "poisson"), ("exp", "poisson")]  # fmt: skip
    hidden = [name for name in functions if name != "softmax"]
    worst = {"float32": 0.0, "float64": 0.0}
    trials = 30 if table == "portable" else 120
    for trial in range(trials):
        dtype = "float64" if trial % 2 else "float32"
        sizes = [int(n) for n in rng.integers(1, 131, rng.integers(2, 7))]
        output, cost = pairs[trial % len(pairs)]
        if output == "softmax" and sizes[-1] == 1:
            sizes[-1] = 2
        names = [str(rng.choice(hidden)) for _ in sizes[2:]]
        m = int(rng.integers(1, 71))
        X = rng.standard_normal((m, sizes[0])).astype(dtype)
        y = targets_for(cost, m, sizes[-1], rng).astype(dtype)
        net = Network(sizes, activation=names, output=output, cost=cost, dtype=dtype, rng=trial)
        g = net.gradients(X, y, n_threads=1 + trial % 3)
        w = [torch.tensor(x.astype(float), requires_grad=True) for x in net.weights]
        b = [torch.tensor(x.astype(float), requires_grad=True) for x in net.biases]
        a = torch.tensor(X.astype(float))
        for i, name in enumerate([*names, output]):
            z = a @ w[i].T + b[i]
            a = functions[name](z)
        value = costs_[cost](z, a, torch.tensor(y.astype(float)))
        value.backward()
        assert g.cost == pytest.approx(value.item(), rel=TOLERANCE[dtype])
        layers = zip(g.nabla_w, g.nabla_b, w, b, strict=True)
        for nabla_w, nabla_b, w_l, b_l in layers:  # a layer's gradient as one vector
            mine = np.append(nabla_w, nabla_b)
            truth = np.append(w_l.grad.numpy(), b_l.grad.numpy())
            error = np.linalg.norm(mine - truth) / (np.linalg.norm(truth) or 1.0)
            assert error <= TOLERANCE[dtype], (trial, sizes, names)
            worst[dtype] = max(worst[dtype], float(error))
    print(table, worst)


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_training_follows_the_reference(l2, table, dtype):
    rng = np.random.default_rng(2)
    X, y = rng.random((23, 5)), rng.integers(0, 3, 23)
    net = Network([5, 9, 3], activation="tanh", output="softmax", dtype=dtype, rng=8)
    weights = [w.astype(float) for w in net.weights]
    biases = [b.astype(float) for b in net.biases]
    history = net.train(X, y, epochs=3, batch_size=4, learning_rate=0.5, l2=l2, shuffle=False)
    X = X.astype(dtype).astype(float)
    truth = [
        reference.sgd_epoch(
            weights, biases, net.activations, net.cost, X, np.eye(3)[y], np.arange(23), 4, 0.5, l2
        )
        for _ in range(3)
    ]
    tolerance = {"float32": 1e-5, "float64": 1e-12}[dtype]
    assert history.cost == pytest.approx(truth, rel=tolerance)
    for mine, theirs in zip(net.weights + net.biases, weights + biases, strict=True):
        assert distance(mine, theirs) < tolerance
