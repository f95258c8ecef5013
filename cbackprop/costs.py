"""Costs C(a, y), one object each.

A cost sums over the outputs of a sample and is a mean over samples. The kernels' spelling
of the same formulas is in ``src/costs.h``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbackprop.activations import Activation

Array = NDArray[Any]


@dataclass(frozen=True)
class Cost:
    """One cost function.

    Parameters
    ----------
    name : str
        As given to ``Network(cost=...)``.
    formula : str
        Cost of one sample.
    code : int
        The cost's number in the compiled kernels.
    domain : tuple of float
        The open interval in which every output must lie.
    targets : tuple of float
        The closed interval in which every target must lie.
    value : callable
        ``(a, y) -> C`` of each sample, (m,).
    slope : callable
        ``(a, y) -> dC/da``, (m, n).
    partner : str or None
        The activation whose output error with this cost is a - y; the kernels then use
        that, and `value_from_z`.
    value_from_z : callable or None
        ``(z, y) -> C`` of each sample without overflow, for outputs of the partner.
    """

    name: str
    formula: str
    code: int
    domain: tuple[float, float]
    targets: tuple[float, float]
    value: Callable[[Array, Array], Array]
    slope: Callable[[Array, Array], Array]
    partner: str | None = None
    value_from_z: Callable[[Array, Array], Array] | None = None

    def stable_with(self, activation: Activation) -> bool:
        """Whether the output error with this activation is a - y."""
        return activation.name == self.partner


_INF = float("inf")
_TINY = np.finfo(np.float64).tiny
_ROUNDING = np.finfo(np.float64).eps / 2


def _at_least(a: Array, least: float) -> Array:
    return np.where(a.real > least, a, least)


def _cross_entropy(a: Array, y: Array) -> Array:
    logs = y * np.log(_at_least(a, _TINY)) + (1 - y) * np.log(_at_least(1 - a, _ROUNDING))
    result: Array = -logs.sum(axis=1)
    return result


def _cross_entropy_from_z(z: Array, y: Array) -> Array:
    positive = z.real > 0
    tail = np.log1p(np.exp(np.where(positive, -z, z)))
    result: Array = (np.where(positive, z, 0) - y * z + tail).sum(axis=1)
    return result


def _log_likelihood_from_z(z: Array, y: Array) -> Array:
    shifted = z - z.real.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    result: Array = (y * (log_sum - shifted)).sum(axis=1)
    return result


quadratic = Cost(
    "quadratic",
    "C = 1/2 sum_j (a_j - y_j)^2",
    0,
    (-_INF, _INF),
    (-_INF, _INF),
    lambda a, y: 0.5 * ((a - y) ** 2).sum(axis=1),
    lambda a, y: a - y,
)
cross_entropy = Cost(
    "cross_entropy",
    "C = -sum_j [y_j ln a_j + (1 - y_j) ln(1 - a_j)]",
    1,
    (0.0, 1.0),
    (0.0, 1.0),
    _cross_entropy,
    lambda a, y: (1 - y) / _at_least(1 - a, _ROUNDING) - y / _at_least(a, _TINY),
    "sigmoid",
    _cross_entropy_from_z,
)
log_likelihood = Cost(
    "log_likelihood",
    "C = -sum_j y_j ln a_j",
    2,
    (0.0, 1.0),
    (0.0, _INF),
    lambda a, y: -(y * np.log(_at_least(a, _TINY))).sum(axis=1),
    lambda a, y: -y / _at_least(a, _TINY),
    "softmax",
    _log_likelihood_from_z,
)

COSTS: dict[str, Cost] = {row.name: row for row in (quadratic, cross_entropy, log_likelihood)}

# What cost=None means: the output activation's usual partner.
DEFAULT_COST = {"softmax": "log_likelihood"}


def get(name: str | Cost) -> Cost:
    """The cost of that name; a `Cost` is returned as it is.

    Raises
    ------
    ValueError
        No cost has that name.

    Examples
    --------
    >>> get("quadratic").formula
    'C = 1/2 sum_j (a_j - y_j)^2'
    """
    if isinstance(name, Cost):
        return name
    if isinstance(name, str) and name in COSTS:
        return COSTS[name]
    raise ValueError(f"cost = {name!r}, expected one of: {', '.join(COSTS)}")


def check_pair(activation: Activation, cost: Cost) -> None:
    """Refuse outputs on which the cost has no value.

    Raises
    ------
    ValueError
        The activation reaches outside the cost's domain, with the remedy.
    """
    (low, high), (least, most) = activation.image, cost.domain
    if least <= low and high <= most:
        return
    raise ValueError(
        f"cost = {cost.name!r} needs outputs between {least:g} and {most:g}, but the output "
        f"activation {activation.name!r} reaches from {low:g} to {high:g}; use output="
        f"{cost.partner!r}, or cost='quadratic'"
    )
