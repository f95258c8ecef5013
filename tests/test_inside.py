"""Looking inside: gradients by the input, the Jacobian, products with the Hessian."""

import numpy as np
import pytest

from cbackprop import Network, activations, costs, reference

RNG = np.random.default_rng(9)
X = RNG.normal(size=(7, 4))
Y = RNG.random((7, 3))
STEP = 1e-30


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


@pytest.mark.parametrize("sigma", activations.ACTIVATIONS)
def test_hessian_of_every_activation_against_differences(sigma):
    net = network(activation=sigma)
    v = RNG.normal(size=4 * 9 + 9 + 9 * 5 + 5 + 5 * 3 + 3)
    ahead, back = (moved(net, v, by).gradients(X, Y) for by in (1e-5, -1e-5))
    truth = (flat(net, ahead) - flat(net, back)) / 2e-5
    found = net.hessian_vector_product(X, Y, v)
    assert np.abs(found - truth).max() <= 1e-6 * max(1.0, np.abs(truth).max())


@pytest.mark.parametrize("cost", costs.COSTS)
def test_hessian_of_every_cost_against_differences(cost):
    output = "sigmoid" if costs.get(cost).domain[0] == 0 else "identity"
    net = network(cost=cost, output=output)
    v = RNG.normal(size=113)
    ahead, back = (moved(net, v, by).gradients(X, Y) for by in (1e-5, -1e-5))
    truth = (flat(net, ahead) - flat(net, back)) / 2e-5
    found = net.hessian_vector_product(X, Y, v)
    assert np.abs(found - truth).max() <= 1e-6 * max(1.0, np.abs(truth).max())


def test_hessian_is_symmetric():
    net = network()
    u, v = RNG.normal(size=(2, 113))
    left = u @ net.hessian_vector_product(X, Y, v)
    assert left == pytest.approx(v @ net.hessian_vector_product(X, Y, u), rel=1e-9)


def test_vectors_that_do_not_fit():
    with pytest.raises(ValueError, match=r"v has shape \(3,\), expected \(113,\)"):
        network().hessian_vector_product(X, Y, np.ones(3))
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
