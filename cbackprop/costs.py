"""Costs C(a, y), one object each.

A cost sums over the outputs of a sample and is a mean over samples. The kernels' spelling
of the same formulas is in ``src/costs.h``.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbackprop import _registration as registration
from cbackprop._names import unknown
from cbackprop.activations import Activation, parse, spell

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
    parameter : float, optional
        Of the costs that have one.
    threshold : float
        An output from here on says yes.
    own : callable or None
        Of the user's: bits -> what the kernels call, C and dC/da.
    complex_step : bool
        Whether value and slope take complex numbers, as complex-step derivatives want.
    curvature : callable or None
        ``(a, y) -> d^2 C / da_j^2`` (m, n) of a sum over outputs, which products with the
        Hessian ask for; None: a complex step finds it.
    """

    name: str
    formula: str
    code: int
    domain: tuple[float, float]
    targets: tuple[float, float]
    value: Callable[[Array, Array], Array] = field(compare=False, repr=False)
    slope: Callable[[Array, Array], Array] = field(compare=False, repr=False)
    partner: str | None = None
    value_from_z: Callable[[Array, Array], Array] | None = field(
        default=None, compare=False, repr=False
    )
    parameter: float | None = None
    threshold: float = 0.5
    own: Callable[[int], tuple[Any, Any]] | None = field(default=None, compare=False, repr=False)
    complex_step: bool = True
    curvature: Callable[[Array, Array], Array] | None = field(
        default=None, compare=False, repr=False
    )

    def __str__(self) -> str:
        """The name, with the parameter where there is one: `get` reads it."""
        return spell(self)

    def stable_with(self, activation: Activation) -> bool:
        """Whether the output error with this activation is a - y."""
        return activation.name == self.partner


_INF = float("inf")
_TINY = np.finfo(np.float64).tiny
_ROOT = np.sqrt(_TINY)  # its square is still a normal number
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


def _flat(a: Array, y: Array) -> Array:
    return np.zeros_like(a)  # the curvature of costs made of lines


quadratic = Cost(
    "quadratic",
    "C = 1/2 sum_j (a_j - y_j)^2",
    0,
    (-_INF, _INF),
    (-_INF, _INF),
    lambda a, y: 0.5 * ((a - y) ** 2).sum(axis=1),
    lambda a, y: a - y,
    curvature=lambda a, y: np.ones_like(a),
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
    curvature=lambda a, y: (
        (1 - y) / _at_least(1 - a, _ROUNDING) ** 2 + y / _at_least(a, _ROOT) ** 2
    ),
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
    curvature=lambda a, y: y / _at_least(a, _ROOT) ** 2,
)


def _summed(terms: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    def value(a: Array, y: Array) -> Array:
        result: Array = terms(a, y).sum(axis=1)
        return result

    return value


def _abs(x: Array) -> Array:
    return np.where(x.real < 0, -x, x)


def _log_cosh(d: Array) -> Array:
    size = _abs(d)
    result: Array = size + np.log1p(np.exp(-2 * size)) - np.log(2)
    return result


def _hinge(name: str, code: int, formula: str, power: int) -> Cost:
    def margin(a: Array, y: Array) -> Array:
        rest = 1 - (2 * y - 1) * a
        return np.where(rest.real > 0, rest, 0 * rest)

    def slope(a: Array, y: Array) -> Array:
        rest = margin(a, y)
        t = 2 * y - 1
        return -np.where(rest.real > 0, t, 0 * t) if power == 1 else -2 * t * rest

    def curvature(a: Array, y: Array) -> Array:
        return np.where((margin(a, y) > 0) & (power == 2), 2 * (2 * y - 1) ** 2, 0.0)

    return Cost(
        name, formula, code, (-_INF, _INF), (0.0, 1.0),
        _summed(lambda a, y: margin(a, y) ** power), slope, threshold=0.0, curvature=curvature,
    )  # fmt: skip


def huber(delta: float = 1.0) -> Cost:
    """Quadratic within delta of the target, linear beyond (Huber 1964); delta > 0."""
    delta = _between("delta of huber", delta, 0.0, _INF)
    return Cost(
        "huber",
        "C = sum_j (d^2 / 2 where |d| < delta, else delta (|d| - delta / 2)), d = a_j - y_j",
        4,
        (-_INF, _INF),
        (-_INF, _INF),
        _summed(
            lambda a, y: np.where(
                np.abs((a - y).real) < delta,
                (a - y) ** 2 / 2,
                delta * (_abs(a - y) - delta / 2),
            )
        ),
        lambda a, y: np.where(np.abs((a - y).real) < delta, a - y, delta * np.sign((a - y).real)),
        parameter=delta,
        curvature=lambda a, y: np.where(np.abs(a - y) < delta, 1.0, 0.0),
    )


def quantile(tau: float = 0.5) -> Cost:
    """Least where an output is the tau-quantile of its target (Koenker and Bassett 1978)."""
    tau = _between("tau of quantile", tau, 0.0, 1.0)
    return Cost(
        "quantile",
        "C = sum_j max(tau (y_j - a_j), (1 - tau) (a_j - y_j))",
        6,
        (-_INF, _INF),
        (-_INF, _INF),
        _summed(lambda a, y: (a - y) * np.where((a - y).real > 0, 1 - tau, -tau)),
        lambda a, y: np.where(a.real > y, 1 - tau, np.where(a.real < y, -tau, 0.0)),
        parameter=tau,
        curvature=_flat,
    )


def _between(name: str, value: float, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} = {value!r}, expected a number")
    if not low < value < high:
        limits = f"above {low:g}" + (f" and below {high:g}" if high < _INF else "")
        raise ValueError(f"{name} = {value!r}, expected a number {limits}")
    return float(value)


absolute = Cost(
    "absolute",
    "C = sum_j |a_j - y_j|",
    3,
    (-_INF, _INF),
    (-_INF, _INF),
    _summed(lambda a, y: _abs(a - y)),
    lambda a, y: np.sign((a - y).real),
    curvature=_flat,
)
log_cosh = Cost(
    "log_cosh",
    "C = sum_j ln cosh(a_j - y_j)",
    5,
    (-_INF, _INF),
    (-_INF, _INF),
    _summed(lambda a, y: _log_cosh(a - y)),
    lambda a, y: np.tanh(a - y),
    curvature=lambda a, y: 1 - np.tanh(a - y) ** 2,
)
poisson = Cost(
    "poisson",
    "C = sum_j (a_j - y_j ln a_j)",
    7,
    (0.0, _INF),
    (0.0, _INF),
    _summed(lambda a, y: a - y * np.log(_at_least(a, _TINY))),
    lambda a, y: 1 - y / _at_least(a, _TINY),
    partner="exp",
    value_from_z=lambda z, y: (np.exp(z) - y * z).sum(axis=1),
    curvature=lambda a, y: y / _at_least(a, _ROOT) ** 2,
)
hinge = _hinge("hinge", 8, "C = sum_j max(0, 1 - t_j a_j), t_j = 2 y_j - 1", 1)
squared_hinge = _hinge("squared_hinge", 9, "C = sum_j max(0, 1 - t_j a_j)^2, t_j = 2 y_j - 1", 2)

COSTS: dict[str, Cost] = {
    row.name: row
    for row in (
        quadratic, cross_entropy, log_likelihood, absolute, huber(), log_cosh, quantile(), poisson,
        hinge, squared_hinge,
    )
}  # fmt: skip

# Those with a parameter: name -> function of it.
_FAMILIES = {"huber": huber, "quantile": quantile}

# What cost=None means: the output activation's usual partner.
DEFAULT_COST = {"softmax": "log_likelihood"}


OWN = 10  # the code of all of the user's


def register(
    name: str,
    value: Callable[[Array, Array], Array],
    slope: Callable[[Array, Array], Array],
    *,
    domain: tuple[float, float] = (-_INF, _INF),
    targets: tuple[float, float] = (-_INF, _INF),
) -> Cost:
    """A cost of your own, from Python functions; ``Network(cost=name)`` finds it.

    Parameters
    ----------
    name : str
        An identifier; one of your own is replaced, for networks made from then on.
    value : callable
        ``(a, y) -> C`` of each sample, (m,), from arrays (m, n).
    slope : callable
        ``(a, y) -> dC/da``, (m, n).
    domain, targets : pair of float
        The open interval of outputs and the closed one of targets that it is defined on.

    Returns
    -------
    Cost

    Raises
    ------
    ValueError, TypeError
        The name is taken, a shape is wrong, or differences do not find the slope.

    Examples
    --------
    >>> from cbackprop import Network
    >>> fourth = register(
    ...     "fourth_example",
    ...     lambda a, y: ((a - y) ** 4).sum(axis=1),
    ...     lambda a, y: 4 * (a - y) ** 3,
    ... )
    >>> net = Network([2, 3, 1], output="identity", cost="fourth_example", rng=0)
    >>> len(net.train([[0.0, 1.0], [1.0, 0.0]], [0.5, 1.5], epochs=3))
    3
    """
    name = registration.name_of(name, COSTS)
    f = registration.function("value", value, "a", "y")
    g = registration.function("slope", slope, "a", "y")
    return _registered(name, f, g, lambda bits: (f, g), domain, targets, False)


def register_compiled(
    name: str,
    *,
    float32: tuple[Any, Any] | None = None,
    float64: tuple[Any, Any] | None = None,
    domain: tuple[float, float] = (-_INF, _INF),
    targets: tuple[float, float] = (-_INF, _INF),
) -> Cost:
    """A cost of your own, from C functions: they run without the GIL, in all threads.

    Parameters
    ----------
    name : str
        As for `register`.
    float32, float64 : pair, optional
        The functions of that dtype, as addresses, ctypes functions or Numba cfuncs; with real
        its type, over one row of n outputs:
        ``double value(const real *a, const real *y, ptrdiff_t n)`` and
        ``void slope(const real *a, const real *y, real *delta, ptrdiff_t n)``, which fills delta
        with dC/da. At least one pair; `certify` asks for float64.
    domain, targets : pair of float
        As for `register`.

    Returns
    -------
    Cost

    Raises
    ------
    ValueError, TypeError
        As for `register`. A wrong address cannot be noticed: the process crashes.
    """
    name = registration.name_of(name, COSTS)
    found = registration.addresses(float32, float64)
    f = registration.by_rows(found, 0, True)
    fill = registration.by_rows(found, 1, False)
    return _registered(
        name, f, lambda a, y: fill(a, y, np.zeros_like(a)), registration.at(name, found), domain,
        targets, 64 not in found,
    )  # fmt: skip


def _registered(
    name: str, f: Any, slope: Any, own: Any, domain: Any, targets: Any, single: bool
) -> Cost:
    generator = np.random.default_rng(0)
    ends = [registration.interval("domain", domain), registration.interval("targets", targets)]
    points = []
    for low, high in ends:
        least = max(low, min(-2.0, high - 4))
        most = min(high, least + 4)
        points.append(least + (most - least) * generator.uniform(0.1, 0.9, (5, 4)))
    a, y = points
    try:
        registration.shaped("value", f(a, y), (5,))
        given = registration.shaped("slope", slope(a, y), (5, 4))
        registration.agree("the slope", given, lambda x: np.asarray(f(x, y)), a, single)
    except ValueError as error:
        raise ValueError(f"cost {name!r}: {error}") from None
    row = Cost(
        name, "the user's", OWN, ends[0], ends[1], f, slope, own=own,
        complex_step=registration.takes_complex(lambda x: f(x, y), a)
        and registration.takes_complex(lambda x: slope(x, y), a),
    )  # fmt: skip
    COSTS[name] = row
    return row


def get(name: str | Cost) -> Cost:
    """The cost of that name; a `Cost` is returned as it is.

    Raises
    ------
    ValueError
        No cost has that name, or its parameter is out of range.

    Examples
    --------
    >>> get("quadratic").formula
    'C = 1/2 sum_j (a_j - y_j)^2'
    >>> get("huber(0.5)") == huber(0.5)
    True
    """
    if isinstance(name, Cost):
        return name
    row: Cost | None = parse(name, COSTS, _FAMILIES)
    if row is not None:
        return row
    raise unknown("cost", name, COSTS)


@functools.lru_cache(maxsize=64)
def _below(function: Callable[[Array], Array]) -> float:
    """The least of a below 0."""
    return float(function(np.array([[-2.0, -1.0]])).min())


def check_pair(activation: Activation, cost: Cost) -> None:
    """Refuse outputs on which the cost has no value.

    Raises
    ------
    ValueError
        The activation reaches outside the cost's domain, or its end, with the remedy.
    """
    (low, high), (least, most) = activation.image, cost.domain
    reached = f"from {low:g} to {high:g}"
    if low >= least and high <= most:
        # relu is 0 for every z below 0: an end that is reached, not only approached.
        if not low == least > -_INF or _below(activation.function) != low:
            return
        reached = f"{low:g} itself"
    partners = [cost.partner] if cost.partner else ["softplus", "sigmoid"]
    remedy = " or ".join(f"output={name!r}" for name in partners)
    raise ValueError(
        f"cost = {cost.name!r} needs outputs between {least:g} and {most:g}, but the output "
        f"activation {activation.name!r} reaches {reached}; use {remedy}, or cost='quadratic'"
    )
