"""Optimisers: how a gradient becomes a step. Definitions and constants are PyTorch's.

With g the gradient of a mini-batch's mean cost (plus l2's lambda/n w), eta the learning rate
and t = 1, 2, ... the steps since the optimiser began. The kernels' spelling of the same
formulas is in ``src/updates.h``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from cbackprop import _validation as check
from cbackprop._names import unknown


@dataclass(frozen=True)
class Optimizer:
    """What all optimisers have in common.

    Parameters
    ----------
    learning_rate : float
        eta; used where ``train`` is given none.

    Raises
    ------
    ValueError, TypeError
        A constant is outside its range.
    """

    name: ClassVar[str]
    code: ClassVar[int]  # enum cb_rule
    planes: ClassVar[int] = 0  # numbers remembered for each weight
    row: ClassVar[tuple[float, ...]]  # code and constants as the core reads them
    # Lower and upper bound of each constant; an upper bound is never reached.
    bounds: ClassVar[dict[str, tuple[float, float]]] = {}

    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        check.real("learning_rate", self.learning_rate, 0, open_end=True)
        for field in dataclasses.fields(self):
            low, high = self.bounds.get(field.name, _BOUNDS.get(field.name, (0.0, float("inf"))))
            value = check.real(field.name, getattr(self, field.name), low)
            if value >= high:
                raise ValueError(f"{field.name} = {value!r}, expected a number below {high:g}")

        object.__setattr__(self, "row", (self.code, *map(self.constants().get, _ROW, [0.0] * 8)))

    def constants(self) -> dict[str, float]:
        """The constants under the names that the compiled core uses, `_ROW`."""
        return {}

    def first(self, eta: float) -> tuple[float, ...]:
        """What each plane holds before the first step, at a learning rate eta."""
        return (0.0,) * self.planes


_ROW = ("beta1", "beta2", "eps", "low", "high", "slowing", "drift", "weight_decay")

# Below 1e-30 an eps would be lost in float32, and 0 / 0 appear.
_BOUNDS = {
    "momentum": (0.0, 1.0),
    "alpha": (0.0, 1.0),
    "beta1": (0.0, 1.0),
    "beta2": (0.0, 1.0),
    "eps": (1e-30, float("inf")),
}


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent: theta = theta - eta g."""

    name = "sgd"
    code = 2


@dataclass(frozen=True)
class Momentum(Optimizer):
    """v = mu v + g, theta = theta - eta v (Polyak 1964).

    Parameters
    ----------
    learning_rate : float
    momentum : float
        mu, 0 <= mu < 1.
    """

    name = "momentum"
    code = 3
    planes = 1

    momentum: float = 0.9

    def constants(self) -> dict[str, float]:
        return {"beta1": self.momentum}


@dataclass(frozen=True)
class Nesterov(Momentum):
    """v = mu v + g, theta = theta - eta (g + mu v) (Sutskever et al. 2013).

    Parameters
    ----------
    learning_rate : float
    momentum : float
        mu, 0 <= mu < 1.
    """

    name = "nesterov"
    code = 4


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """h = h + g^2, theta = theta - eta_t g / (sqrt h + eps) (Duchi et al. 2011).

    Parameters
    ----------
    learning_rate : float
    learning_rate_decay : float
        eta_t = eta / (1 + (t - 1) learning_rate_decay).
    eps : float
    """

    name = "adagrad"
    code = 5
    planes = 1

    learning_rate_decay: float = 0.0
    eps: float = 1e-10

    def constants(self) -> dict[str, float]:
        return {"slowing": self.learning_rate_decay, "eps": self.eps}


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """h = alpha h + (1 - alpha) g^2, theta = theta - eta g / (sqrt h + eps) (Hinton 2012).

    Parameters
    ----------
    learning_rate : float
    alpha : float
        0 <= alpha < 1.
    eps : float
    """

    name = "rmsprop"
    code = 6
    planes = 1

    alpha: float = 0.99
    eps: float = 1e-8

    def constants(self) -> dict[str, float]:
        return {"beta2": self.alpha, "eps": self.eps}


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adaptive moments (Kingma and Ba 2015).

    v = beta1 v + (1 - beta1) g, h = beta2 h + (1 - beta2) g^2,
    theta = theta - eta v' / (sqrt h' + eps), with v' = v / (1 - beta1^t) and
    h' = h / (1 - beta2^t).

    Parameters
    ----------
    learning_rate : float
    beta1, beta2 : float
        0 <= beta < 1.
    eps : float
    """

    name = "adam"
    code = 7
    planes = 2

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def constants(self) -> dict[str, float]:
        return {"beta1": self.beta1, "beta2": self.beta2, "eps": self.eps}


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam after theta = (1 - eta weight_decay) theta, biases too (Loshchilov and Hutter 2019).

    Parameters
    ----------
    learning_rate : float
    beta1, beta2 : float
        0 <= beta < 1.
    eps : float
    weight_decay : float
    """

    name = "adamw"

    weight_decay: float = 0.01

    def constants(self) -> dict[str, float]:
        return {**super().constants(), "weight_decay": self.weight_decay}


@dataclass(frozen=True)
class AMSGrad(Adam):
    """Adam with the largest h so far under the root (Reddi et al. 2018).

    Parameters
    ----------
    learning_rate : float
    beta1, beta2 : float
        0 <= beta < 1.
    eps : float
    """

    name = "amsgrad"
    code = 8
    planes = 3


@dataclass(frozen=True)
class NAdam(Adam):
    """Adam with Nesterov's momentum (Dozat 2016), mu_t = beta1 (1 - 0.96^(t psi) / 2).

    theta = theta - eta (mu_{t+1} v / (1 - mu_1 .. mu_{t+1})
    + (1 - mu_t) g / (1 - mu_1 .. mu_t)) / (sqrt h' + eps).

    Parameters
    ----------
    learning_rate : float
    beta1, beta2 : float
        0 <= beta < 1.
    eps : float
    momentum_decay : float
        psi.
    """

    name = "nadam"
    code = 9

    learning_rate: float = 0.002
    momentum_decay: float = 0.004

    def constants(self) -> dict[str, float]:
        return {**super().constants(), "drift": 0.96**self.momentum_decay}


@dataclass(frozen=True)
class Lion(Optimizer):
    """theta = theta - eta sgn(beta1 v + (1 - beta1) g), v = beta2 v + (1 - beta2) g.

    X. Chen et al., *Symbolic Discovery of Optimization Algorithms* (2023), after
    theta = (1 - eta weight_decay) theta.

    Parameters
    ----------
    learning_rate : float
    beta1, beta2 : float
        0 <= beta < 1.
    weight_decay : float
    """

    name = "lion"
    code = 10
    planes = 1

    learning_rate: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.0

    def constants(self) -> dict[str, float]:
        return {"beta1": self.beta1, "beta2": self.beta2, "weight_decay": self.weight_decay}


@dataclass(frozen=True)
class Rprop(Optimizer):
    """Resilient backpropagation (Riedmiller and Braun 1993), for full batches.

    Each weight has a step of its own: times ``grow`` where g keeps its sign, times ``shrink``
    and not taken where g turns.

    Parameters
    ----------
    learning_rate : float
        The first step.
    shrink, grow : float
        0 < shrink < 1 < grow.
    least, most : float
        Bounds of a step.
    """

    name = "rprop"
    code = 11
    planes = 2
    bounds: ClassVar[dict[str, tuple[float, float]]] = {
        "shrink": (1e-30, 1.0),
        "grow": (1.0, float("inf")),
    }

    shrink: float = 0.5
    grow: float = 1.2
    least: float = 1e-6
    most: float = 50.0

    def constants(self) -> dict[str, float]:
        return {"beta1": self.shrink, "beta2": self.grow, "low": self.least, "high": self.most}

    def first(self, eta: float) -> tuple[float, ...]:
        return 0.0, eta


OPTIMIZERS: dict[str, Any] = {
    row.name: row
    for row in (
        SGD, Momentum, Nesterov, Adagrad, RMSprop, Adam, AdamW, AMSGrad, NAdam, Lion, Rprop
    )
}  # fmt: skip


@dataclass(frozen=True)
class LBFGS:
    """L-BFGS of SciPy (R. H. Byrd et al. 1995): all of the data at once, steps found by line
    search, so without a learning rate. An epoch is an iteration. What it remembers does not
    outlive the call.

    Parameters
    ----------
    memory : int
        Steps from which the Hessian is approximated.
    tolerance : float
        It ends where no element of the gradient is larger.
    change : float, optional
        It ends where an iteration lowers the cost by no more than this part of it; default: 64
        times the rounding of the network's numbers.
    evaluations : int, optional
        At most so many passes over the data; default: 20 for each iteration.

    Raises
    ------
    ValueError, TypeError
        A parameter is out of range.
    """

    memory: int = 10
    tolerance: float = 1e-5
    change: float | None = None
    evaluations: int | None = None

    def __post_init__(self) -> None:
        check.integer("memory", self.memory, 1)
        check.real("tolerance", self.tolerance, 0)
        if self.change is not None:
            check.real("change", self.change, 0)
        if self.evaluations is not None:
            check.integer("evaluations", self.evaluations, 1)


_DEFAULTS: dict[str, Optimizer] = {name: row() for name, row in OPTIMIZERS.items()}


def get(name: str | Optimizer) -> Optimizer:
    """The optimiser of that name with its default constants; an object as it is.

    Raises
    ------
    ValueError
        No optimiser has that name.

    Examples
    --------
    >>> get("sgd")
    SGD(learning_rate=0.01)
    >>> get("adam")
    Adam(learning_rate=0.001, beta1=0.9, beta2=0.999, eps=1e-08)
    """
    if isinstance(name, Optimizer):
        return name
    if isinstance(name, str) and name in _DEFAULTS:
        return _DEFAULTS[name]
    if isinstance(name, LBFGS) or name == "lbfgs":
        raise ValueError(
            f"optimizer = {name!r} looks at all of the data many times a step; only train has it"
        )
    if isinstance(name, type) and issubclass(name, Optimizer | LBFGS):
        raise TypeError(f"optimizer = {name!r} is a class; make an object: {name.__name__}()")
    raise unknown("optimizer", name, [*OPTIMIZERS, "lbfgs"])


def with_rate(optimizer: str | Optimizer, learning_rate: Any) -> tuple[Optimizer, Any]:
    """The optimiser and its eta, which only one of the two arguments may give: a float, or a
    schedule as it is.

    Raises
    ------
    ValueError, TypeError
        No such optimiser, or no such rate; or both arguments give one.
    """
    rule = get(optimizer)
    if learning_rate is None:
        return rule, float(rule.learning_rate)
    if hasattr(learning_rate, "by_step"):
        return rule, learning_rate
    if callable(learning_rate) or hasattr(learning_rate, "after"):
        follows = getattr(learning_rate, "after", learning_rate)
        check.schedule("learning_rate", learning_rate if callable(learning_rate) else follows)
        return rule, learning_rate
    if not isinstance(optimizer, str):
        raise ValueError(
            f"learning_rate = {learning_rate!r} and optimizer = {optimizer!r} both give the "
            "rate; give one of them"
        )
    return rule, check.real("learning_rate", learning_rate, 0, open_end=True)


def with_weight_decay(rule: Optimizer, weight_decay: float) -> Optimizer:
    """The same optimiser with another decoupled weight decay.

    Raises
    ------
    ValueError, TypeError
        Not a number of 0 or more.
    """
    copy = dataclasses.replace(rule)
    decay = check.real("weight_decay", weight_decay, 0)
    object.__setattr__(copy, "row", (*rule.row[:-1], decay))
    return copy
