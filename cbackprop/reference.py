"""The four equations in plain NumPy: the specification of what the compiled core computes.

The letters are the book's (M. Nielsen, *Neural Networks and Deep Learning*, chapter 2);
layers are counted from 0 = input, and the m samples of a mini-batch are rows:

    weights[l-1]  w^l      (n_l, n_{l-1})      biases[l-1]  b^l  (n_l,)
    z[l-1]        z^l      (m, n_l)            a[l]         a^l  (m, n_l), a[0] = x
    delta[l-1]    delta^l  (m, n_l), of each sample, not divided by m

Everything works in float64 and in complex128, so that complex-step derivatives can be
taken through it. Clear, slow, and not used when a network trains.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cbackprop.activations import Activation
from cbackprop.costs import Cost
from cbackprop.optimizers import Optimizer

Array = NDArray[Any]


class Backprop(NamedTuple):
    """What one pass of the four equations gives; shapes as at the top of this file."""

    cost: Any
    nabla_w: list[Array]
    nabla_b: list[Array]
    z: list[Array]
    a: list[Array]
    delta: list[Array]


def forward(
    weights: Sequence[Array], biases: Sequence[Array], activations: Sequence[Activation], x: Array
) -> tuple[list[Array], list[Array]]:
    """z^l = w^l a^{l-1} + b^l and a^l = sigma(z^l), for l = 1 .. L.

    Parameters
    ----------
    weights, biases : sequences of arrays
        (n_l, n_{l-1}) and (n_l,).
    activations : sequence of Activation
        One a layer, without the input.
    x : array (m, n_0)

    Returns
    -------
    z, a : lists of arrays
        L of (m, n_l), and L + 1 of them, the input first.
    """
    z: list[Array] = []
    a = [x]
    for w, b, sigma in zip(weights, biases, activations, strict=True):
        z.append(a[-1] @ w.T + b)
        a.append(sigma.function(z[-1]))
    return z, a


def cost_of(activation: Activation, cost: Cost, z: Array, a: Array, y: Array) -> Array:
    """C of each sample (m,), from z where that is the stable form."""
    if cost.value_from_z is not None and cost.stable_with(activation):
        return cost.value_from_z(z, y)
    return cost.value(a, y)


def through(activation: Activation, z: Array, a: Array, g: Array) -> Array:
    """sum_k g_k da_k/dz_j (m, n): the sum of (2.15); one term where sigma is element-wise."""
    if activation.derivative is not None:
        return g * activation.derivative(z, a)
    result: Array = np.einsum("sk,skj->sj", g, activation.jacobian(z, a))
    return result


def output_error(activation: Activation, cost: Cost, z: Array, a: Array, y: Array) -> Array:
    """BP1 in the form (2.15): delta^L_j = sum_k dC/da_k da_k/dz_j, (m, n_L)."""
    return through(activation, z, a, cost.slope(a, y))


def propagate_error(
    activation: Activation, w_next: Array, delta_next: Array, z: Array, a: Array
) -> Array:
    """BP2: delta^l = ((w^{l+1})^T delta^{l+1}) * sigma'(z^l), (m, n_l)."""
    return through(activation, z, a, delta_next @ w_next)


def bias_gradient(delta: Array) -> Array:
    """BP3: dC/db^l_j = delta^l_j, the mean over the mini-batch, (n_l,)."""
    result: Array = delta.mean(axis=0)
    return result


def weight_gradient(a_before: Array, delta: Array) -> Array:
    """BP4: dC/dw^l_jk = a^{l-1}_k delta^l_j, the mean over the mini-batch, (n_l, n_{l-1})."""
    result: Array = delta.T @ a_before / len(delta)
    return result


def backprop(
    weights: Sequence[Array],
    biases: Sequence[Array],
    activations: Sequence[Activation],
    cost: Cost,
    x: Array,
    y: Array,
) -> Backprop:
    """All four equations for one mini-batch.

    Parameters
    ----------
    weights, biases, activations, x
        As for `forward`.
    cost : Cost
    y : array (m, n_L)
        Targets.

    Returns
    -------
    Backprop
        Mean cost, gradients of it, and every z, a and delta.

    Examples
    --------
    >>> from cbackprop import Network
    >>> net = Network([2, 3, 1], dtype="float64", rng=0)
    >>> X, y = np.array([[0.0, 1.0], [1.0, 1.0]]), np.array([[0.0], [1.0]])
    >>> found = backprop(net.weights, net.biases, net.activations, net.cost, X, y)
    >>> bool(np.allclose(found.nabla_w[0], net.gradients(X, y).nabla_w[0], rtol=1e-12))
    True
    """
    z, a = forward(weights, biases, activations, x)
    delta = [output_error(activations[-1], cost, z[-1], a[-1], y)]
    for l in range(len(weights) - 2, -1, -1):
        delta.insert(0, propagate_error(activations[l], weights[l + 1], delta[0], z[l], a[l + 1]))
    return Backprop(
        cost_of(activations[-1], cost, z[-1], a[-1], y).mean(),
        [weight_gradient(before, d) for before, d in zip(a[:-1], delta, strict=True)],
        [bias_gradient(d) for d in delta],
        z,
        a,
        delta,
    )


def sgd_epoch(
    weights: Sequence[Array],
    biases: Sequence[Array],
    activations: Sequence[Activation],
    cost: Cost,
    x: Array,
    y: Array,
    order: NDArray[np.integer[Any]],
    batch_size: int,
    eta: float,
    l2: float = 0.0,
) -> float:
    """One epoch of stochastic gradient descent; weights and biases change in place.

    w = (1 - eta lambda / n) w - eta dC/dw and b = b - eta dC/db for each mini-batch of
    ``order``, the last one short (the book, chapter 3, "Weight decay").

    Returns
    -------
    float
        The cost, a mean over the epoch as it was trained.
    """
    total, n = 0.0, len(order)
    for start in range(0, n, batch_size):
        rows = order[start : start + batch_size]
        step = backprop(weights, biases, activations, cost, x[rows], y[rows])
        total += float(step.cost) * len(rows)
        for w, nabla_w in zip(weights, step.nabla_w, strict=True):
            w *= 1 - eta * l2 / n
            w -= eta * nabla_w
        for b, nabla_b in zip(biases, step.nabla_b, strict=True):
            b -= eta * nabla_b
    return total / n


def update(
    rule: Optimizer, theta: Array, g: Array, memory: dict[str, Any], t: int, eta: float
) -> Array:
    """theta after step t = 1, 2, ... of an optimiser with gradient g.

    Parameters
    ----------
    rule : Optimizer
        Its docstring has the formula.
    theta, g : arrays of one shape
        Weights or biases of a layer, and dC/dtheta.
    memory : dict
        What the optimiser remembers of theta; empty before the first step.
    t, eta
        Step and learning rate.
    """
    zero = np.zeros_like(theta)
    c = rule.constants()
    beta1, beta2, eps = c.get("beta1", 0.0), c.get("beta2", 0.0), c.get("eps", 0.0)
    theta = theta * (1 - eta * c.get("weight_decay", 0.0))
    v, h = memory.get("v", zero), memory.get("h", zero)
    step: Array
    match rule.name:
        case "sgd":
            step = eta * g
        case "momentum" | "nesterov":
            memory["v"] = v = beta1 * v + g
            step = eta * (g + beta1 * v if rule.name == "nesterov" else v)
        case "adagrad":
            memory["h"] = h = h + g**2
            step = eta / (1 + (t - 1) * c["slowing"]) * g / (np.sqrt(h) + eps)
        case "rmsprop":
            memory["h"] = h = beta2 * h + (1 - beta2) * g**2
            step = eta * g / (np.sqrt(h) + eps)
        case "lion":
            memory["v"] = beta2 * v + (1 - beta2) * g
            step = eta * np.sign(beta1 * v + (1 - beta1) * g)
        case "rprop":
            turn = np.sign(g) * np.sign(memory.get("g", zero))
            factor = np.where(turn > 0, beta2, np.where(turn < 0, beta1, 1.0))
            length = np.clip(memory.get("length", zero + eta) * factor, c["low"], c["high"])
            memory["length"], memory["g"] = length, np.where(turn < 0, 0.0, g)
            step = length * np.sign(memory["g"])
        case _:  # Adam and its relatives
            memory["v"] = v = beta1 * v + (1 - beta1) * g
            memory["h"] = h = beta2 * h + (1 - beta2) * g**2
            if rule.name == "amsgrad":
                memory["top"] = h = np.maximum(memory.get("top", zero), h)
            ahead = v / (1 - beta1**t)
            if rule.name == "nadam":
                mu, mu_next = (beta1 * (1 - 0.5 * c["drift"] ** n) for n in (t, t + 1))
                memory["product"] = product = memory.get("product", 1.0) * mu
                ahead = (1 - mu) * g / (1 - product) + mu_next * v / (1 - product * mu_next)
            step = eta * ahead / (np.sqrt(h / (1 - beta2**t)) + eps)
    return theta - step
