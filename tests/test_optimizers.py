"""The optimisers against their reference and PyTorch's, and what they remember."""

import copy
import pickle

import numpy as np
import pytest

from cbackprop import DivergenceError, Network, load, reference
from cbackprop.optimizers import LBFGS, OPTIMIZERS, SGD, Adam, Momentum, NAdam, get

RNG = np.random.default_rng(5)
X = RNG.normal(size=(40, 5))
Y = RNG.random((40, 3))
REMEMBERING = [name for name in OPTIMIZERS if name != "sgd"]
# Constants far from the defaults, so that a forgotten one is seen.
OTHER = {
    "sgd": {},
    "momentum": {"momentum": 0.5},
    "nesterov": {"momentum": 0.5},
    "adagrad": {"learning_rate_decay": 0.1, "eps": 0.01},
    "rmsprop": {"alpha": 0.7, "eps": 0.01},
    "adam": {"beta1": 0.6, "beta2": 0.8, "eps": 0.01},
    "adamw": {"beta1": 0.6, "beta2": 0.8, "weight_decay": 0.2},
    "amsgrad": {"beta1": 0.6, "beta2": 0.3, "eps": 0.01},
    "nadam": {"beta1": 0.6, "beta2": 0.8, "momentum_decay": 0.5},
    "lion": {"beta1": 0.6, "beta2": 0.8, "weight_decay": 0.2},
    "rprop": {"shrink": 0.3, "grow": 1.5, "least": 1e-3, "most": 0.02},
}


def network(**changes):
    return Network([5, 18, 3], **{"activation": "tanh", "rng": 3, "dtype": "float64", **changes})


def parameters(net):
    return [*net.weights, *net.biases]


def bits(net):
    return [x.tobytes() for x in parameters(net)]


def by_reference(net, rule, steps, batch, eta, l2):
    theta, memories = parameters(net), [{} for _ in range(4)]
    for t in range(1, steps + 1):
        first = (t - 1) * batch % len(X)
        rows = slice(first, first + batch)
        pass_ = reference.backprop(
            theta[:2], theta[2:], net.activations, net.cost, X[rows], Y[rows]
        )
        g = [w + l2 / len(X) * old for w, old in zip(pass_.nabla_w, theta[:2], strict=True)]
        g += pass_.nabla_b
        theta = [
            reference.update(rule, old, slope, memory, t, eta)
            for old, slope, memory in zip(theta, g, memories, strict=True)
        ]
    return theta


@pytest.mark.parametrize("constants", ["default", "other"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_against_the_reference(name, constants, table):
    eta = 0.01
    rule = OPTIMIZERS[name](eta, **(OTHER[name] if constants == "other" else {}))
    net = network()
    expected = by_reference(net, rule, 100, 10, eta, 0.3)
    net.train(X, Y, epochs=25, batch_size=10, shuffle=False, optimizer=rule, l2=0.3)
    for mine, truth in zip(parameters(net), expected, strict=True):
        np.testing.assert_allclose(mine, truth, rtol=1e-9, atol=1e-11)


def in_pytorch(torch, name, theta, other):
    """PyTorch's optimiser with its defaults, or with the constants of OTHER."""
    kinds = {"momentum": "SGD", "nesterov": "SGD", "amsgrad": "Adam", "sgd": "SGD",
             "adagrad": "Adagrad", "rmsprop": "RMSprop", "adam": "Adam", "adamw": "AdamW",
             "nadam": "NAdam", "rprop": "Rprop"}  # fmt: skip
    if name not in kinds:
        pytest.skip("PyTorch does not have it")
    options = {
        "momentum": {"lr": 0.01, "momentum": 0.9},
        "nesterov": {"lr": 0.01, "momentum": 0.9, "nesterov": True},
        "amsgrad": {"amsgrad": True},
        "sgd": {"lr": 0.01},
    }.get(name, {})
    given = dict(OTHER[name]) if other else {}
    if "beta1" in given:
        options["betas"] = (given.pop("beta1"), given.pop("beta2"))
    if "shrink" in given:
        options["etas"] = (given.pop("shrink"), given.pop("grow"))
        options["step_sizes"] = (given.pop("least"), given.pop("most"))
    if "learning_rate_decay" in given:
        options["lr_decay"] = given.pop("learning_rate_decay")
    return getattr(torch.optim, kinds[name])(theta, **{**options, **given})


@pytest.mark.parametrize("constants", ["default", "other"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_against_pytorch(name, constants, dtype):
    torch = pytest.importorskip("torch")
    net = network(dtype=dtype)
    theta = [torch.tensor(p, requires_grad=True) for p in parameters(net)]
    their = in_pytorch(torch, name, theta, constants == "other")
    rule = OPTIMIZERS[name](**(OTHER[name] if constants == "other" else {}))
    for _ in range(100):
        g = net.gradients(X, Y)
        for p, slope in zip(theta, [*g.nabla_w, *g.nabla_b], strict=True):
            p.grad = torch.tensor(slope)
        their.step()
        net.apply_gradients(g, optimizer=rule)
    for mine, truth in zip(parameters(net), theta, strict=True):
        truth = truth.detach().numpy()
        assert np.abs(mine - truth).max() <= 1e-6 * max(1, np.abs(truth).max())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_of_training_is_a_step_with_its_gradients(name, dtype):
    trained, stepped = network(dtype=dtype), network(dtype=dtype)
    for _ in range(5):
        trained.train(X, Y, batch_size=40, optimizer=name, learning_rate=0.01)
        stepped.apply_gradients(stepped.gradients(X, Y), optimizer=name, learning_rate=0.01)
    assert trained.steps == stepped.steps == 5
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    for a, b in zip(parameters(trained), parameters(stepped), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


WAYS = {
    "at once": lambda net, folder: net,
    "pickle": lambda net, folder: pickle.loads(pickle.dumps(net)),
    "copy": lambda net, folder: copy.copy(net),
    "deepcopy": lambda net, folder: copy.deepcopy(net),
    "file": lambda net, folder: (net.save(folder / "net"), load(folder / "net"))[1],
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_three_and_four_are_seven(name, way, tmp_path, dtype):
    options = {"batch_size": 9, "optimizer": name, "learning_rate": 0.01}
    whole, parts = network(dtype=dtype), network(dtype=dtype)
    whole.train(X, Y, epochs=7, **options)
    parts.train(X, Y, epochs=3, **options)
    parts = WAYS[way](parts, tmp_path)
    parts.train(X, Y, epochs=4, **options)
    assert bits(parts) == bits(whole)
    assert parts.history.cost == whole.history.cost


@pytest.mark.parametrize("name", REMEMBERING)
def test_what_is_remembered_counts(name):
    options = {"batch_size": 9, "optimizer": name, "learning_rate": 0.01}
    whole, parts = network(), network()
    whole.train(X, Y, epochs=2, **options)
    parts.train(X, Y, **options)
    parts._position.optimizer = None
    parts.train(X, Y, **options)
    assert bits(parts) != bits(whole)


def test_another_optimiser_starts_fresh():
    fresh, used = network(), network()
    used.train(X, Y, epochs=3, optimizer="adam")
    used.weights, used.biases = fresh.weights, fresh.biases
    used.train(X, Y, optimizer="momentum", shuffle=False)
    fresh.train(X, Y, optimizer="momentum", shuffle=False)
    assert bits(used) == bits(fresh)
    used.train(X, Y, optimizer=Momentum(0.02), shuffle=False)  # another rate: goes on
    fresh.train(X, Y, optimizer="momentum", learning_rate=0.02, shuffle=False)
    assert bits(used) == bits(fresh)


def test_reset_forgets():
    used, fresh = network(), network()
    used.train(X, Y, epochs=3, optimizer="adam")
    used.reset()
    for net in (used, fresh):
        net.train(X, Y, optimizer="adam")
    assert bits(used) == bits(fresh)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_same_bits_for_all_threads_and_tables(name, dtype, table):
    found = set()
    for threads in (1, 2, 3, 7):
        net = Network([5, 33, 18, 3], rng=1, dtype=dtype)
        net.train(
            X, Y, epochs=3, batch_size=13, optimizer=name, learning_rate=0.01, l2=0.5,
            n_threads=threads,
        )  # fmt: skip
        found.add(tuple(bits(net)))
    assert len(found) == 1
    SEEN.setdefault((name, dtype), found)
    assert SEEN[name, dtype] == found


SEEN: dict[tuple[str, str], set[tuple[bytes, ...]]] = {}


@pytest.mark.parametrize("name", ["sgd", "adam", "nadam"])
@pytest.mark.parametrize("sizes", [(4, 32, 16, 4), (30, 40, 4)])
def test_large_mini_batches_in_turns_have_the_same_bits(name, sizes):
    rng = np.random.default_rng(3)
    data = rng.random((5000, sizes[0]), np.float32)
    targets = rng.random((5000, 4), np.float32)
    results = []
    for threads in (20, 1, 2, 3, None):  # 20: more than may take turns
        net = Network(sizes, activation="tanh", output="identity", rng=1)
        for batch in (5000, 3001):
            net.train(data, targets, epochs=12, batch_size=batch, optimizer=name, n_threads=threads)
        results.append((bits(net), net.history.cost, net.history.score))
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("threads", [2, None])
def test_owned_columns_have_the_same_bits(threads):
    rng = np.random.default_rng(3)
    data, labels = rng.random((4000, 60), np.float32), rng.integers(0, 5, 4000)
    nets = [Network([60, 40, 20, 5], output="softmax", rng=1) for _ in range(2)]
    for net, n in zip(nets, (threads, 1), strict=True):
        for name in ("adam", "nadam"):
            net.train(data, labels, epochs=12, batch_size=20, optimizer=name, n_threads=n)
    assert bits(nets[0]) == bits(nets[1])


def test_divergence_rolls_the_memory_back():
    rng = np.random.default_rng(0)
    data = rng.random((64, 5)) * 1e3
    net = Network([5, 8, 3], activation="relu", output="identity", rng=0)
    net.train(data / 1e3, Y[:1].repeat(64, 0), optimizer="momentum", batch_size=8)
    twin = pickle.loads(pickle.dumps(net))
    with pytest.raises(DivergenceError):
        net.train(data, Y[:1].repeat(64, 0), optimizer="momentum", learning_rate=1e6, epochs=5)
    for n in (net, twin):
        n._position = twin._position if n is twin else net._position
        n.train(data / 1e3, Y[:1].repeat(64, 0), optimizer="momentum", shuffle=False)
    assert bits(net) == bits(twin)


def test_refused_data_leaves_the_memory():
    net = network()
    net.train(X, Y, optimizer="adam")
    twin = pickle.loads(pickle.dumps(net))
    bad = X.copy()
    bad[-1, 2] = np.nan
    for name in ("adam", "rprop"):
        with pytest.raises(ValueError, match="NaN at row 39, column 2"):
            net.train(bad, Y, optimizer=name, batch_size=4)
    for n in (net, twin):
        n.train(X, Y, optimizer="adam")
    assert bits(net) == bits(twin)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(-1), "learning_rate = -1, expected a finite number > 0"),
        (lambda: Momentum(momentum=1.0), "momentum = 1.0, expected a number below 1"),
        (lambda: Adam(beta2=-0.1), r"beta2 = -0\.1, expected a finite number >= 0"),
        (lambda: Adam(eps=0.0), r"eps = 0\.0, expected a finite number >= 1e-30"),
        (lambda: NAdam(learning_rate=0), "learning_rate = 0, expected a finite number > 0"),
        (lambda: get("adem"), r"optimizer = 'adem', expected one of: sgd, .*adam"),
        (lambda: get("lbfgs"), r"optimizer = 'lbfgs' looks at all of the data .* only train has"),
        (lambda: get(LBFGS()), r"optimizer = LBFGS\(.*only train has it"),
    ],
)
def test_constants_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_gradients_that_do_not_fit():
    net = network()
    g = net.gradients(X, Y)
    before = bits(net)
    for bad, error, message in [
        ((g.nabla_w[:1], g.nabla_b), ValueError, "nabla_w of g has 1 arrays, expected 2"),
        ((g.nabla_w, [b[1:] for b in g.nabla_b]), ValueError, r"nabla_b of g\[0\] has shape"),
        (
            (g.nabla_w, [b * np.nan for b in g.nabla_b]),
            ValueError,
            r"nabla_b of g\[0\] contains values that are not finite",
        ),
        (g._replace(nabla_b=[b * np.inf for b in g.nabla_b]), ValueError, "g holds NaN or inf"),
        (3, TypeError, "g = int, expected Gradients or a pair"),
    ]:
        with pytest.raises(error, match=message):
            net.apply_gradients(bad)
    with pytest.raises(ValueError, match="both give the rate"):
        net.apply_gradients(g, optimizer=SGD(0.1), learning_rate=0.1)
    assert bits(net) == before
    assert net.steps == 0
    net.apply_gradients(
        (
            [w.astype("float32").tolist() for w in g.nabla_w],
            [np.asfortranarray(b) for b in g.nabla_b],
        ),
        learning_rate=0.1,
    )
    np.testing.assert_allclose(net.biases[0], -0.1 * g.nabla_b[0], rtol=1e-12)
