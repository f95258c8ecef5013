"""compute="bf16": the equations with rounded operands, and everything around them as in float32."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

from cbackprop import (
    DivergenceError,
    EarlyStopping,
    Network,
    _engine,
    activations,
    cli,
    costs,
    load,
    reference,
)
from cbackprop.optimizers import OPTIMIZERS

RUNS_HERE = Network([1, 1])._engine.has_bf16
needs_bf16 = pytest.mark.skipif(not RUNS_HERE, reason="needs AVX512_BF16")


def rounded(x):
    """To nearest in bfloat16, ties to even; float32 as it came in, denormals 0."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    bits = bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))
    result = (bits & np.uint32(0xFFFF0000)).view(np.float32)
    return np.where(np.abs(x) < np.finfo(np.float32).tiny, np.float32(0), result)


def product(a, b, start):
    """start + rounded(a) @ rounded(b) as vdpbf16ps is documented: of two steps of k the odd one
    first; every sum in float32."""
    a, b, total = rounded(a), rounded(b), start
    for k in range(0, a.shape[1], 2):
        for step in (k + 1, k):
            if step < a.shape[1]:
                total = total + a[:, step : step + 1] * b[step]
    return total


def bits(net):
    return [x.tobytes() for x in net.weights + net.biases]


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


@needs_bf16
@pytest.mark.parametrize("m", [32, 37, 64])
@pytest.mark.parametrize("n_in", [40, 33])
def test_one_step_of_one_layer_by_hand(m, n_in):
    rng = np.random.default_rng(m)
    X, y = normal(rng, m, n_in), normal(rng, m, 35)
    net = Network([n_in, 35], output="identity", cost="quadratic", rng=1)
    net.biases = [normal(rng, 35)]
    w, b = net.weights[0], net.biases[0]
    delta = product(X, w.T, np.broadcast_to(b, (m, 35))) - y
    sums = product(np.c_[X, np.ones(m, np.float32)].T, delta, np.float32(0))
    rate = np.float64(np.float32(0.5 / m))
    net.train(X, y, batch_size=m, learning_rate=0.5, compute="bf16")
    # One rounding of the fused multiply-add: float64 holds its product.
    expected = (np.c_[w, b].T - rate * sums.astype(np.float64)).astype(np.float32)
    assert np.array_equal(net.weights[0], expected[:-1].T)
    assert np.array_equal(net.biases[0], expected[-1])


def twin(net, X, y, is_rounded):
    """nabla_w and nabla_b by the reference's functions, float64 but for rounded operands."""
    sigma = [activations.get(a) for a in net.activations]
    keep = [rounded if r else np.asarray for r in is_rounded]
    w = [x.astype(np.float64) for x in net.weights]
    a, z = [X.astype(np.float64)], []
    for l, f in enumerate(sigma):
        z.append(keep[l](a[l]) @ keep[l](w[l]).T + net.biases[l])
        a.append(f.function(z[l]))
    delta = [reference.output_error(sigma[-1], costs.get(net.cost), z[-1], a[-1], y)]
    for l in range(len(w) - 1, 0, -1):
        g = keep[l](delta[0]) @ keep[l](w[l])
        delta.insert(0, reference.through(sigma[l - 1], z[l - 1], a[l], g))
    nabla_w = [keep[l](d).T @ keep[l](a[l]) / len(X) for l, d in enumerate(delta)]
    return nabla_w, [keep[l](d).mean(axis=0) for l, d in enumerate(delta)]


def difference(a, b):
    return np.linalg.norm(np.subtract(a, b, dtype=np.float64)) / np.linalg.norm(b)


@needs_bf16
@pytest.mark.parametrize("activation", activations.ACTIVATIONS)
@pytest.mark.parametrize(
    ("output", "cost"),
    [("softmax", "log_likelihood"), ("sigmoid", "cross_entropy"), ("identity", "huber")],
)
def test_gradients_are_those_of_rounded_operands(activation, output, cost):
    # The last layer stays in float32: its output is too narrow.
    rng, sizes = np.random.default_rng(3), [45, 70, 33, 38, 10]
    X, y = normal(rng, 65, 45), np.eye(10)[rng.integers(0, 10, 65)]
    net = Network(sizes, activation=activation, output=output, cost=cost, init="he", rng=2)
    if activation == "exp":  # of exp of exp no number is left
        net.weights = [w / 16 for w in net.weights]
    before = net.weights, net.biases
    nabla_w, nabla_b = twin(net, X, y, [True, True, True, False])
    plain = net.gradients(X, y)
    eta = 4096.0  # so that the old weights hide nothing of the step
    net.train(X, y, batch_size=65, learning_rate=eta, compute="bf16", n_threads=2)
    for l, (w, b) in enumerate(zip(*before, strict=True)):
        step_w = (w - net.weights[l].astype(np.float64)) / eta
        step_b = (b - net.biases[l].astype(np.float64)) / eta
        # Now and then float32's last bit decides which way an operand is rounded.
        assert difference(step_w, nabla_w[l]) < (5e-4 if l < 3 else 1e-6)
        assert difference(step_b, nabla_b[l]) < (5e-4 if l < 3 else 1e-6)
        if l == 0:
            assert difference(step_w, plain.nabla_w[l]) > 2e-3


# ---- where rounding changes nothing, nothing changes ---------------------------------------


def exact():
    """A network, X, y, weights of samples: all numbers of a step are small integers."""
    rng, sizes = np.random.default_rng(5), [40, 34, 50, 32, 36]
    w = []
    for n_in, n_out in itertools.pairwise(sizes):
        sparse = np.zeros((n_out, n_in))
        for j in range(n_out):
            sparse[j, rng.choice(n_in, 2, replace=False)] = rng.choice([-1, 1], 2)
        w.append(sparse)
    net = Network(sizes, activation="relu", output="identity", rng=0)
    net.weights = w
    net.biases = [rng.integers(-1, 2, n) for n in sizes[1:]]
    X, y = rng.integers(-2, 3, (64, 40)), rng.integers(-2, 3, (64, 36)).astype(float)
    return net, X.astype(np.float32), y, rng.integers(0, 3, 64)


OPTIONS = {
    **{name: {"optimizer": name} for name in OPTIMIZERS},
    "l2": {"l2": 0.3},
    "l1 and l2": {"l1": 0.2, "l2": 0.3},
    "adam with l1, l2": {"l1": 0.2, "l2": 0.3, "optimizer": "adam"},
    "weight decay": {"weight_decay": 0.1},
    "clip_value": {"clip_value": 0.25},
    "clip_norm": {"clip_norm": 1.0, "optimizer": "momentum"},
    "max_norm": {"max_norm": 1.0},
    "dropout": {"dropout": 0.5},
    "dropout of the input": {"dropout": [0.5, 0, 0.5, 0]},
    "weights of samples": {"sample_weight": exact()[3]},
}


@needs_bf16
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("threads", [1, 2])
def test_without_rounding_the_step_is_float32s(options, threads):
    nets = [exact()[0] for _ in range(2)]
    _, X, y, _ = exact()
    for net, compute in zip(nets, (None, "bf16"), strict=True):
        net.train(X, y, batch_size=64, learning_rate=0.01, compute=compute, n_threads=threads,
                  **options)  # fmt: skip
    assert bits(nets[0]) == bits(nets[1])
    assert nets[0].history.cost == nets[1].history.cost
    assert bits(nets[0]) != bits(exact()[0])


@needs_bf16
@pytest.mark.parametrize(
    ("sizes", "batch"), [([31, 40, 31], 64), ([40, 31, 40], 64), ([64] * 3, 31)]
)
def test_what_is_not_worth_it_stays_in_float32(sizes, batch):
    rng = np.random.default_rng(0)
    X, y = normal(rng, 128, sizes[0]), normal(rng, 128, sizes[-1])
    nets = [Network(sizes, rng=1) for _ in range(2)]
    for net, compute in zip(nets, (None, "bf16"), strict=True):
        net.train(X, y, epochs=3, batch_size=batch, compute=compute)
    assert bits(nets[0]) == bits(nets[1])


# ---- promises of training --------------------------------------------------------------------

SIZES = [47, 66, 33, 20, 35, 5]


def data(rows=203):
    rng = np.random.default_rng(7)
    return normal(rng, rows, SIZES[0]), rng.integers(0, 5, rows)


def network():
    return Network(SIZES, activation="tanh", output="softmax", rng=4)


@needs_bf16
@pytest.mark.parametrize("options", [*OPTIONS.values(), {}], ids=[*OPTIONS, "plain"])
def test_same_bits_for_all_threads(options):
    X, labels = data()
    if "sample_weight" in options:
        options = {"sample_weight": np.arange(203) % 3}
    if "dropout" in options:
        options = {"dropout": 0.3}
    found = []
    for threads in (1, 2, 3, 4, 7, None):
        net = network()
        net.train(X, labels, epochs=3, batch_size=67, learning_rate=0.1, n_threads=threads,
                  compute="bf16", **options)  # fmt: skip
        found.append((bits(net), net.history.cost, net.history.delta_norms))
    assert all(other == found[0] for other in found)


@needs_bf16
def test_same_bits_where_inputs_are_laid_out_in_parts():
    # More tiles than fit the scratch at once; more of them at once in the short mini-batch.
    rng = np.random.default_rng(0)
    X, labels = normal(rng, 1409, 1100), rng.integers(0, 10, 1409)
    nets = [Network([1100, 40, 10], output="softmax", rng=0) for _ in range(3)]
    for net, threads in zip(nets, (1, 2, 3), strict=True):
        net.train(X, labels, batch_size=768, n_threads=threads, compute="bf16")
    assert bits(nets[0]) == bits(nets[1]) == bits(nets[2])


@needs_bf16
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_twice_n_epochs_are_2n(optimizer):
    X, labels = data()
    options = {"batch_size": 50, "optimizer": optimizer, "compute": "bf16"}
    if optimizer == "adam":
        options["dropout"] = 0.25
    whole, parts = network(), network()
    whole.train(X, labels, epochs=6, **options)
    for _ in range(2):
        parts.train(X, labels, epochs=3, **options)
    assert bits(whole) == bits(parts)
    assert whole.history.cost == parts.history.cost


@needs_bf16
def test_a_broken_epoch_goes_on():
    X, labels = data(400)

    class Break:
        def on_batch_end(self, net, epoch, batch):
            return epoch == 1 and batch == 3

    options = {"batch_size": 40, "compute": "bf16"}
    whole, parts = network(), network()
    whole.train(X, labels, epochs=4, **options)
    parts.train(X, labels, epochs=2, callbacks=[Break()], **options)
    assert parts.steps == 14
    parts.train(X, labels, epochs=2, **options)
    assert bits(whole) == bits(parts)


@needs_bf16
def test_only_products_of_training_are_rounded():
    X, labels = data()
    net, same = network(), network()
    net.train(X, labels, batch_size=203, epochs=3, compute="bf16")
    same.weights, same.biases = net.weights, net.biases
    assert net.predict(X).tobytes() == same.predict(X).tobytes()
    g, h = net.gradients(X, labels), same.gradients(X, labels)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(g.nabla_w, h.nabla_w, strict=True))
    # Memory that held rounded numbers is used again for float32.
    for other in (net, same):
        other.train(X, labels, batch_size=203, epochs=2)
    assert bits(net) == bits(same)
    net.train(X, labels, batch_size=203, epochs=2, compute="bf16")
    same.train(X, labels, batch_size=203, epochs=2)
    assert bits(net) != bits(same)


@needs_bf16
def test_it_learns_as_float32_does():
    rng = np.random.default_rng(1)
    X = normal(rng, 6000, 64)
    labels = (X @ normal(rng, 64, 10)).argmax(axis=1)
    scores = {}
    for compute in (None, "bf16"):
        net = Network([64, 128, 128, 10], activation="relu", output="softmax", init="he", rng=2)
        net.train(X[:5500], labels[:5500], epochs=20, batch_size=64, learning_rate=0.05,
                  compute=compute)  # fmt: skip
        scores[compute] = net.evaluate(X[5500:], labels[5500:])["accuracy"]
    assert scores["bf16"] > 0.75
    assert abs(scores["bf16"] - scores[None]) < 0.02


@needs_bf16
def test_blocks_validation_and_early_stopping():
    X, labels = data()
    blocks = [(X[:100], labels[:100]), (X[100:], labels[100:])]
    nets = [Network(SIZES, activation="tanh", output="softmax", classes=range(5), rng=4)
            for _ in range(2)]  # fmt: skip
    for net, threads in zip(nets, (1, 2), strict=True):
        history = net.train(blocks, epochs=5, batch_size=40, validation_data=(X, labels),
                            early_stopping=EarlyStopping(patience=1), compute="bf16",
                            n_threads=threads)  # fmt: skip
        assert len(history.validation_cost) == len(history.cost)
    assert bits(nets[0]) == bits(nets[1])


@needs_bf16
def test_divergence_is_found_and_taken_back():
    X, _ = data()
    net = Network(SIZES, activation="relu", output="identity", cost="quadratic", rng=4)
    before = bits(net)
    with pytest.raises(DivergenceError):
        net.train(X, normal(np.random.default_rng(0), 203, 5), epochs=50, batch_size=50,
                  learning_rate=1e6, compute="bf16")  # fmt: skip
    assert net.steps == 0 and bits(net) == before


# ---- what is refused --------------------------------------------------------------------------


def test_unknown_arithmetic_is_refused():
    X, labels = data()
    with pytest.raises(ValueError, match=r"compute = 'fp16', expected 'bf16', or None"):
        network().train(X, labels, compute="fp16")


def test_float64_is_refused():
    X, labels = data()
    net = Network(SIZES, output="softmax", dtype="float64", rng=0)
    with pytest.raises(ValueError, match=r"compute = 'bf16' needs a float32 network.*float64"):
        net.train(X, labels, compute="bf16")


@needs_bf16
def test_lbfgs_is_refused():
    X, labels = data()
    with pytest.raises(ValueError, match=r"compute = 'bf16' does not go with optimizer 'lbfgs'"):
        network().train(X, labels, optimizer="lbfgs", compute="bf16")


PROGRAM = """
import numpy
from cbackprop import Network
net = Network([40, 40], rng=0)
try:
    net.train(numpy.ones((64, 40)), numpy.ones((64, 40)), batch_size=64, compute="bf16")
except ValueError as error:
    print(error)
"""


@pytest.mark.parametrize("isa", [name for name in _engine.kernel_names() if name != "avx512"])
def test_other_kernels_are_refused(isa):
    found = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM], env={**os.environ, "CBACKPROP_ISA": isa},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    expected = f"avx512 kernels, here: {isa}; leave it out to train in float32"
    assert found.stdout.strip().endswith(expected)
    assert found.stdout.startswith("compute = 'bf16' needs a CPU with AVX512_BF16")


def test_from_the_command_line(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    X, labels = data()
    np.savez("data", X=X, y=labels)
    command = ["train", "data.npz", "--quiet", "--epochs", "3", "--layers", "40", "--batch-size",
               "64", "--save", "model", "--compute", "bf16"]  # fmt: skip
    if not RUNS_HERE:
        with pytest.raises(SystemExit):
            cli.main(command)
        assert "--compute = 'bf16' needs a CPU with AVX512_BF16" in capsys.readouterr().err
        return
    assert not cli.main(command)
    # One hidden layer of 40 is rounded; the 5 outputs are not.
    nets = [Network([47, 40, 5], output="softmax", rng=0) for _ in range(2)]
    for net, compute in zip(nets, (None, "bf16"), strict=True):
        net.train(X, labels, epochs=3, batch_size=64, learning_rate=0.1, compute=compute)
    assert bits(load("model")) == bits(nets[1]) != bits(nets[0])


@needs_bf16
@pytest.mark.parametrize("m", [32, 35, 47, 61])
def test_tiles_of_every_size_have_the_same_bits(m):
    # Threads take pairs of samples: by many of them a tile has 1 to 12 rows, and a last odd one.
    rng = np.random.default_rng(m)
    X, y = normal(rng, m, 40), normal(rng, m, 40)
    found = set()
    for threads in (1, 2, 3, 4, 5, 6, 8, (m + 1) // 2):
        net = Network([40, 72, 72, 40], activation="tanh", output="identity", rng=1)
        for optimizer in ("sgd", "adam"):
            net.train(X, y, batch_size=m, optimizer=optimizer, n_threads=threads, compute="bf16")
        found.add(tuple(bits(net)))
    assert len(found) == 1
