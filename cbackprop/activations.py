"""Activation functions: a = sigma(z), one object each.

An object says everything about its function once; the kernels' spelling of the same
formulas is in ``src/activations.h``. Functions take NumPy arrays of float64 or complex128,
shape (m, n); where a formula branches, it branches on the real part, so that complex-step
derivatives hold.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Activation:
    """One activation function.

    Parameters
    ----------
    name : str
        As given to ``Network(activation=...)``.
    formula : str
        The function, in the book's letters.
    code : int
        The function's number in the compiled kernels.
    image : tuple of float
        Infimum and supremum of a; which costs are defined on it follows from this.
    function : callable
        ``z -> a``.
    derivative : callable or None
        ``(z, a) -> da_j/dz_j`` where the function is element-wise, else None.
    jacobian : callable
        ``(z, a) -> J`` (m, n, n) with ``J[s, k, j] = da_k/dz_j``.
    """

    name: str
    formula: str
    code: int
    image: tuple[float, float]
    function: Callable[[Array], Array]
    derivative: Callable[[Array, Array], Array] | None
    jacobian: Callable[[Array, Array], Array]


def _diagonal(derivative: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    def jacobian(z: Array, a: Array) -> Array:
        result: Array = derivative(z, a)[:, :, None] * np.eye(z.shape[1])
        return result

    return jacobian


def _elementwise(
    name: str,
    formula: str,
    code: int,
    image: tuple[float, float],
    function: Callable[[Array], Array],
    derivative: Callable[[Array, Array], Array],
) -> Activation:
    return Activation(name, formula, code, image, function, derivative, _diagonal(derivative))


def _sigmoid(z: Array) -> Array:
    positive = z.real >= 0
    e = np.exp(np.where(positive, -z, z))
    result: Array = np.where(positive, 1, e) / (1 + e)
    return result


def _softmax(z: Array) -> Array:
    e = np.exp(z - z.real.max(axis=1, keepdims=True))
    result: Array = e / e.sum(axis=1, keepdims=True)
    return result


def _softmax_jacobian(z: Array, a: Array) -> Array:
    # da_k/dz_j = a_k (1[j = k] - a_j)
    result: Array = a[:, :, None] * (np.eye(a.shape[1]) - a[:, None, :])
    return result


_INF = float("inf")

identity = _elementwise(
    "identity", "a = z", 0, (-_INF, _INF), lambda z: z + 0, lambda z, a: np.ones_like(z)
)
sigmoid = _elementwise(
    "sigmoid", "a = 1 / (1 + exp(-z))", 1, (0.0, 1.0), _sigmoid, lambda z, a: a * (1 - a)
)
tanh = _elementwise("tanh", "a = tanh z", 2, (-1.0, 1.0), np.tanh, lambda z, a: 1 - a * a)
relu = _elementwise(
    "relu",
    "a = max(0, z)",
    3,
    (0.0, _INF),
    lambda z: np.where(z.real > 0, z, 0 * z),
    lambda z, a: np.where(z.real > 0, 1.0, 0.0),
)
softmax = Activation(
    "softmax",
    "a_j = exp(z_j) / sum_k exp(z_k)",
    4,
    (0.0, 1.0),
    _softmax,
    None,
    _softmax_jacobian,
)

ACTIVATIONS: dict[str, Activation] = {
    row.name: row for row in (identity, sigmoid, tanh, relu, softmax)
}


def get(name: str | Activation, argument: str = "activation") -> Activation:
    """The activation of that name; an `Activation` is returned as it is.

    Raises
    ------
    ValueError
        No activation has that name.

    Examples
    --------
    >>> get("relu").formula
    'a = max(0, z)'
    """
    if isinstance(name, Activation):
        return name
    if isinstance(name, str) and name in ACTIVATIONS:
        return ACTIVATIONS[name]
    raise ValueError(f"{argument} = {name!r}, expected one of: {', '.join(ACTIVATIONS)}")
