"""Products with the Hessian: the R-operator through the forward pass and BP1 to BP4.

R{x} is the derivative of x along v, so that R{w} and R{b} are v itself, R{a^0} = 0, and
R{nabla} is H v (B. A. Pearlmutter, *Fast Exact Multiplication by the Hessian*, 1994). z, a and
delta are the engine's; the letters are those of `cbackprop.reference`, whose complex step along v
is the truth it is tested against.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cbackprop import _validation as check
from cbackprop import reference
from cbackprop.activations import Activation
from cbackprop.costs import Cost

if TYPE_CHECKING:
    from cbackprop.network import Network

Array = NDArray[Any]

STEP = 1e-100  # no cancellation, so as small as one likes


def product(net: Network, X: Any, y: Any, v: Array) -> Array:
    """H v (P,) of a float64 network; v is checked, X and y are not yet."""
    g = net.gradients(X, y)
    m, n = g.a[-1].shape
    targets = check.dense_targets(net._targets(y, m), n)
    weights = net.weights
    r_w, r_b = split(v, net.sizes)
    r_z, r_a = forward(weights, net.activations, g.z, g.a, r_w, r_b)
    last = net.activations[-1]
    r_delta = output_error(last, net.cost, g.z[-1], g.a[-1], targets, r_z[-1], r_a[-1])
    result = np.empty_like(v)
    r_nabla_w, r_nabla_b = split(result, net.sizes)
    for l in range(len(weights) - 1, -1, -1):
        # BP3, and BP4 by the rule for products; R{a^0} = 0
        r_nabla_b[l][...] = r_delta.mean(axis=0)
        np.matmul(r_delta.T / m, g.a[l], out=r_nabla_w[l])
        if l > 0:
            r_nabla_w[l] += g.delta[l].T / m @ r_a[l]
            # BP2: what reaches the activations, and its derivative along v
            arrives = g.delta[l] @ weights[l]
            r_arrives = r_delta @ weights[l] + g.delta[l] @ r_w[l]
            sigma, z, a = net.activations[l - 1], g.z[l - 1], g.a[l]
            r_delta = reference.through(sigma, z, a, r_arrives)
            r_delta += bend(sigma, z, a, arrives, r_z[l - 1])
    return result


def split(v: Array, sizes: Sequence[int]) -> tuple[list[Array], list[Array]]:
    """v as the weights and the biases that lie in it: views of their shapes."""
    r_w, r_b, at = [], [], 0
    for n_in, n_out in itertools.pairwise(sizes):
        r_w.append(v[at : at + n_in * n_out].reshape(n_out, n_in))
        at += n_in * n_out
        r_b.append(v[at : at + n_out])
        at += n_out
    return r_w, r_b


def forward(
    weights: Sequence[Array],
    activations: Sequence[Activation],
    z: Sequence[Array],
    a: Sequence[Array],
    r_w: Sequence[Array],
    r_b: Sequence[Array],
) -> tuple[list[Array], list[Array]]:
    """R{z^l} = R{w^l} a^{l-1} + w^l R{a^{l-1}} + R{b^l}, and R{a^l}; shapes as of z and a."""
    r_z: list[Array] = []
    r_a = [np.zeros(())]  # R{a^0}, which nothing below reads
    for l, sigma in enumerate(activations):
        along = a[l] @ r_w[l].T
        along += r_b[l]
        if l > 0:
            along += r_a[l] @ weights[l].T
        r_z.append(along)
        r_a.append(ahead(sigma, z[l], a[l + 1], along))
    return r_z, r_a


def output_error(
    sigma: Activation, cost: Cost, z: Array, a: Array, y: Array, r_z: Array, r_a: Array
) -> Array:
    """R{delta^L} (m, n_L)."""
    if cost.stable_with(sigma):
        # delta^L is a - y of sigmoids; of softmax, whose neurons share a sum, a sum_j y_j - y.
        mass: Array | float = 1.0 if sigma.derivative else y.sum(axis=1, keepdims=True)
        return r_a * mass
    slope = cost.slope(a, y)
    if cost.curvature is not None:
        r_slope = cost.curvature(a, y) * r_a
    else:
        r_slope = cost.slope(a + 1j * STEP * r_a, y).imag / STEP
    return reference.through(sigma, z, a, r_slope) + bend(sigma, z, a, slope, r_z)


def ahead(sigma: Activation, z: Array, a: Array, r: Array) -> Array:
    """sum_j da_k/dz_j r_j (m, n): R{a} from r = R{z}."""
    if sigma.derivative is not None:
        return sigma.derivative(z, a) * r
    return sigma.function(z + 1j * STEP * r).imag / STEP


def bend(sigma: Activation, z: Array, a: Array, g: Array, r: Array) -> Array:
    """The derivative along R{z} = r of sum_k g_k da_k/dz_j, g held fast."""
    if sigma.curvature is not None:
        return sigma.curvature(z, a, g, r)
    moved = z + 1j * STEP * r
    return reference.through(sigma, moved, sigma.function(moved), g).imag / STEP
