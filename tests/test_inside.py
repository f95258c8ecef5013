"""Looking inside: gradients by the input, the Jacobian, products with the Hessian."""

import numpy as np
import pytest

from cbackprop import Network, activations, costs, reference

RNG = np.random.default_rng(9)
X = RNG.normal(size=(7, 4))
Y = RNG.random((7, 3))
STEP = 1e-30
PAIRS = [
    (output, cost)
    for output in activations.ACTIVATIONS
    for cost in costs.COSTS
    if costs.get(cost).domain == (-np.inf, np.inf)
    or output in ("sigmoid", "softmax")
    or (output in ("softplus", "exp") and cost == "poisson")
]


def network(**changes):
    return Network(
        [4, 9, 5, 3],
        **{"activation": "tanh", "output": "softmax", "dtype": "float64", "rng": 2, **changes},
    )


def outputs(net, x):
    _, a = reference.forward(net.weights, net.biases, net.activations, x)
    return a[-1]


@pytest.mark.parametrize("cost", ["quadratic", "log_likelihood", "huber"])
def test_input_gradient_against_complex_steps(cost):
    net = network(cost=cost, input_scale=[0.5, 2.0, 1.0, -1.0], input_shift=0.3)
    found = net.input_gradient(X, Y)
    for j in range(4):
        x = X.astype(complex)
        x[:, j] += 1j * STEP
        z, a = reference.forward(
            net.weights, net.biases, net.activations, x * net.input_scale + net.input_shift
        )
        truth = reference.cost_of(net.activations[-1], net.cost, z[-1], a[-1], Y).imag / STEP
        np.testing.assert_allclose(found[:, j], truth, rtol=1e-10, atol=1e-13)


def test_jacobian_against_complex_steps():
    net = network(input_scale=2.0)
    found = net.jacobian(X)
    assert found.shape == (7, 3, 4)
    for j in range(4):
        x = X.astype(complex)
        x[:, j] += 1j * STEP
        truth = outputs(net, 2.0 * x).imag / STEP
        np.testing.assert_allclose(found[:, :, j], truth, rtol=1e-10, atol=1e-13)


def flat(net, g):
    return np.concatenate(
        [p.ravel() for pair in zip(g.nabla_w, g.nabla_b, strict=True) for p in pair]
    )


def moved(net, v, by):
    other = network(activation=net.activations[0], output=net.activations[-1], cost=net.cost)
    weights, biases, at = [], [], 0
    for w, b in zip(net.weights, net.biases, strict=True):
        weights.append(w + by * v[at : at + w.size].reshape(w.shape))
        at += w.size
        biases.append(b + by * v[at : at + b.size])
        at += b.size
    other.weights, other.biases = weights, biases
    return other


def by_complex_step(net, x, y, v):
    """H v from the reference: BP1 to BP4 at w + i h v, the imaginary part."""
    moved, at = [], 0
    for w, b in zip(net.weights, net.biases, strict=True):
        for p in (w, b):
            moved.append(p.astype(float) + 1j * STEP * v[at : at + p.size].reshape(p.shape))
            at += p.size
    x = x * net.input_scale + net.input_shift + 0j
    g = reference.backprop(moved[::2], moved[1::2], net.activations, net.cost, x, y)
    return flat(net, g).imag / STEP


def check_hessian(net, x=X, y=Y, targets=None, tolerance=1e-11):
    v = RNG.normal(size=sum(w.size + b.size for w, b in zip(net.weights, net.biases, strict=True)))
    truth = by_complex_step(net, x, y, v)
    found = net.hessian_vector_product(x, y if targets is None else targets, v)
    assert found.dtype == np.float64
    assert np.abs(found - truth).max() <= tolerance * np.abs(truth).max()


@pytest.mark.parametrize("sigma", [*activations.ACTIVATIONS, "leaky_relu(0.3)", "elu(0.5)"])
def test_hessian_with_every_activation_inside(sigma):
    net = network(activation=[sigma, "tanh" if sigma == "exp" else sigma])
    net.weights = [3 * w for w in net.weights]  # off the straight part of each
    check_hessian(net)


@pytest.mark.parametrize(("output", "cost"), PAIRS)
def test_hessian_of_every_output_and_cost(output, cost):
    net = network(output=output, cost=cost, input_scale=[0.5, 2.0, 1.0, -1.0], input_shift=0.3)
    check_hessian(net)


def test_hessian_against_differences():
    net = network(activation="gelu", cost="quadratic")
    v = RNG.normal(size=113)
    ahead, back = (moved(net, v, by).gradients(X, Y) for by in (1e-5, -1e-5))
    truth = (flat(net, ahead) - flat(net, back)) / 2e-5
    found = net.hessian_vector_product(X, Y, v)
    assert np.abs(found - truth).max() <= 1e-6 * np.abs(truth).max()


def test_hessian_of_one_weight_worked_by_hand():
    # C = (w x + b - y)^2 / 2: the second derivatives are x^2, x and 1.
    net = Network([1, 1], output="identity", dtype="float64", rng=0)
    rows = [net.hessian_vector_product([[3.0]], [[1.0]], v).tolist() for v in np.eye(2)]
    assert rows == [[9, 3], [3, 1]]


def test_hessian_of_labels_and_of_float32():
    labels = np.arange(7) % 3
    check_hessian(network(dtype="float32"), y=np.eye(3)[labels], targets=labels)
    one = Network([4, 5, 1], cost="cross_entropy", dtype="float64", rng=0)
    check_hessian(one, y=(labels > 1)[:, None] * 1.0, targets=labels > 1)


def test_hessian_of_saturated_outputs_is_finite():
    for output, cost in PAIRS:
        net = network(output=output, cost=cost)
        net.set_weights(2, w=(10 if output == "exp" else 1e3) * np.sign(net.weights[2]))
        v = np.ones(113)
        assert np.isfinite(net.hessian_vector_product(X, Y, v)).all(), (output, cost)


def test_hessian_with_functions_of_ones_own():
    activations.register("inside_sine", np.sin, lambda z, a: np.cos(z))
    activations.register(
        "inside_softmax", activations.softmax.function, image=(0, 1),
        vector_jacobian=lambda z, a, g: a * (g - (g * a).sum(axis=1)[:, None]),
    )  # fmt: skip
    costs.register("inside_cost", lambda a, y: ((a - y) ** 4).sum(1), lambda a, y: 4 * (a - y) ** 3)
    check_hessian(network(activation=["inside_sine", "inside_softmax"], cost="inside_cost"))
    activations.register("inside_real", lambda z: z / (1 + np.abs(z.real) * (1 + 0 * z.real)),
                         lambda z, a: 1 / (1 + np.abs(z.real)) ** 2)  # fmt: skip
    net = network(activation="inside_real")
    with pytest.raises(ValueError, match=r"'inside_real' refuses complex numbers, from which"):
        net.hessian_vector_product(X, Y, np.ones(113))


def test_hessian_is_symmetric():
    net = network()
    u, v = RNG.normal(size=(2, 113))
    left = u @ net.hessian_vector_product(X, Y, v)
    assert left == pytest.approx(v @ net.hessian_vector_product(X, Y, u), rel=1e-9)


def test_vectors_that_do_not_fit():
    with pytest.raises(ValueError, match=r"v has shape \(3,\), expected \(113,\)"):
        network().hessian_vector_product(X, Y, np.ones(3))
    with pytest.raises(ValueError, match="X contains NaN at row 0, column 0"):
        network().hessian_vector_product(X * np.nan, Y, np.ones(113))
    with pytest.raises(ValueError, match="v holds NaN"):
        network().hessian_vector_product(X, Y, np.full(113, np.nan))


# ---- label smoothing --------------------------------------------------------------------


@pytest.mark.parametrize("labels", [np.arange(7) % 3, np.eye(3)[np.arange(7) % 3]])
def test_label_smoothing_is_training_on_smooth_targets(labels):
    smooth, by_hand = network(), network()
    targets = 0.9 * np.eye(3)[np.arange(7) % 3] + 0.1 / 3
    h = smooth.train(X, labels, epochs=3, label_smoothing=0.1)
    g = by_hand.train(X, targets, epochs=3)
    assert [w.tobytes() for w in smooth.weights] == [w.tobytes() for w in by_hand.weights]
    assert h.cost == g.cost
    assert h.score_name == "accuracy"


def test_label_smoothing_refused():
    with pytest.raises(ValueError, match="label_smoothing needs labels or one-hot targets"):
        network(output="identity").train(X, Y, label_smoothing=0.1)
    with pytest.raises(ValueError, match=r"label_smoothing = 1.0, expected a number"):
        network().train(X, np.arange(7) % 3, label_smoothing=1.0)


# ---- pictures in text -------------------------------------------------------------------


def test_summary_and_its_html():
    net = Network([4, 9, 3], activation="leaky_relu(0.2)", output="softmax", rng=0)
    text = net.summary().splitlines()
    assert text[2].split() == ["1", "9", "leaky_relu(0.2)", "45"]
    assert text[-1] == "75 parameters of float32, cost log_likelihood"
    html = net._repr_html_()
    assert "<td>leaky_relu(0.2)</td><td>45</td>" in html
    assert html.count("<tr>") == 4


def test_html_of_a_name_that_is_not_plain():
    from dataclasses import replace

    odd = replace(activations.get("tanh"), name="<b>tanh</b>")
    assert "&lt;b&gt;tanh" in Network([2, 2, 1], activation=odd)._repr_html_()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_of_single_samples(dtype):
    net = network(dtype=dtype)
    weight = np.arange(7.0)
    each = net.gradients(X, Y, per_sample=True)
    weighted = net.gradients(X, Y, sample_weight=weight, per_sample=True)
    for s in range(7):
        alone = net.gradients(X[s : s + 1], Y[s : s + 1])
        for l in range(3):
            np.testing.assert_array_equal(each.nabla_w[l][s], alone.nabla_w[l])
            np.testing.assert_array_equal(each.nabla_b[l][s], alone.nabla_b[l])
            np.testing.assert_allclose(
                weighted.nabla_w[l][s], s * alone.nabla_w[l], rtol=1e-6, atol=1e-12
            )


@pytest.mark.parametrize("sizes", [[5, 5], [9, 4], [4, 9], [1, 3], [200, 100]])
def test_orthogonal_weights(sizes):
    net = Network(sizes, init="orthogonal", dtype="float64", rng=3)
    w = net.weights[0]
    small = w @ w.T if sizes[1] <= sizes[0] else w.T @ w
    np.testing.assert_allclose(small, np.eye(min(sizes)), atol=1e-13)
    assert not net.biases[0].any()
    other = Network(sizes, init="orthogonal", dtype="float64", rng=4)
    assert np.abs(other.weights[0] - w).max() > 1e-3
