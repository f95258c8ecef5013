"""Learning rates that change: what ``train(learning_rate=...)`` takes besides a number.

A schedule is any callable from the epoch, counted from 0 over the network's life, to the
rate; `per_step` makes one of mini-batches. `ReduceOnPlateau` and `HalveOnStall` look at the
network's history instead. All depend on nothing else, so training in parts is training at
once. `per_step` takes the objects of epochs too: ``per_step(OneCycle(0.1, steps))``.

Parameters out of range raise ValueError or TypeError when a schedule is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from cbackprop import _validation as check
from cbackprop.history import History


class _Checked:
    """Parameters are looked at when the schedule is made, not when its epoch has come."""

    above_zero: ClassVar[tuple[str, ...]] = ("rate",)
    from_zero: ClassVar[tuple[str, ...]] = ()
    counts: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        kind = type(self).__name__
        for name in self.above_zero:
            check.real(f"{name} of {kind}", getattr(self, name), 0, open_end=True)
        for name in self.from_zero:
            check.real(f"{name} of {kind}", getattr(self, name), 0)
        for name in self.counts:
            check.integer(f"{name} of {kind}", getattr(self, name), 1)


@dataclass(frozen=True)
class per_step:
    """A rate for each mini-batch, counted from 0 over the network's life.

    Parameters
    ----------
    function : callable
        ``step -> rate``.

    Examples
    --------
    >>> per_step(lambda step: 1 / (1 + step)).function(3)
    0.25
    """

    by_step: ClassVar[bool] = True  # by this training knows it, which need not import this file

    function: Callable[[int], float]

    def __post_init__(self) -> None:
        check.schedule("function of per_step", self.function)


@dataclass(frozen=True)
class StepDecay(_Checked):
    """``rate`` times ``factor`` once for every ``every`` epochs that have passed.

    Examples
    --------
    >>> halving = StepDecay(1.0, every=10)
    >>> [halving(epoch) for epoch in (0, 9, 10, 25)]
    [1.0, 1.0, 0.5, 0.25]
    """

    above_zero = ("rate", "factor")
    counts = ("every",)

    rate: float
    every: int
    factor: float = 0.5

    def __call__(self, epoch: int) -> float:
        return self.rate * self.factor ** (epoch // self.every)


@dataclass(frozen=True)
class Exponential(_Checked):
    """``rate * factor ** epoch``.

    Examples
    --------
    >>> Exponential(1.0, 0.5)(3)
    0.125
    """

    above_zero = ("rate", "factor")

    rate: float
    factor: float

    def __call__(self, epoch: int) -> float:
        return self.rate * self.factor**epoch


@dataclass(frozen=True)
class Cosine(_Checked):
    """From ``rate`` to ``least`` along half a cosine over ``epochs``, then ``least``.

    I. Loshchilov, F. Hutter, *SGDR*, 2017, without restarts. ``least`` must be above 0 where
    training goes on for longer.

    Examples
    --------
    >>> [round(Cosine(1.0, 4, 0.2)(epoch), 3) for epoch in range(6)]
    [1.0, 0.883, 0.6, 0.317, 0.2, 0.2]
    """

    from_zero = ("least",)
    counts = ("epochs",)

    rate: float
    epochs: int
    least: float = 0.0

    def __call__(self, epoch: int) -> float:
        part = min(1.0, epoch / self.epochs)
        return self.least + (self.rate - self.least) * (1 + math.cos(math.pi * part)) / 2


@dataclass(frozen=True)
class OneCycle(_Checked):
    """Up to ``most`` over the first ``rising`` of ``epochs``, then down, along cosines.

    L. N. Smith, N. Topin, *Super-Convergence*, 2018. Begins at ``most / start_divisor`` and ends
    at ``most / end_divisor``; the divisors are PyTorch's.

    Examples
    --------
    >>> [round(OneCycle(1.0, 11)(epoch), 3) for epoch in (0, 1, 3, 6, 10)]
    [0.04, 0.28, 1.0, 0.611, 0.0]
    """

    above_zero = ("most", "start_divisor", "end_divisor")
    from_zero = ("rising",)
    counts = ("epochs",)

    most: float
    epochs: int
    rising: float = 0.3
    start_divisor: float = 25.0
    end_divisor: float = 250_000.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rising > 1:
            raise ValueError(f"rising of OneCycle = {self.rising!r}, expected a part, 0 to 1")

    def __call__(self, epoch: int) -> float:
        top = self.rising * (self.epochs - 1)
        if epoch < top:
            low, part = self.most / self.start_divisor, 1 - epoch / top
        else:
            low = self.most / self.end_divisor
            part = min(1.0, (epoch - top) / max(1e-9, self.epochs - 1 - top))
        return low + (self.most - low) * (1 + math.cos(math.pi * part)) / 2


@dataclass(frozen=True)
class WarmUp(_Checked):
    """A rate or schedule, multiplied by (epoch + 1) / ``epochs`` until that is 1. The schedule
    is a callable of the epoch.

    Examples
    --------
    >>> [WarmUp(Exponential(1.0, 0.5), 2)(epoch) for epoch in range(4)]
    [0.5, 0.5, 0.25, 0.125]
    """

    above_zero = ()
    counts = ("epochs",)

    rate: float | Callable[[int], float]
    epochs: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.rate, per_step) or callable(getattr(self.rate, "after", None)):
            raise TypeError(
                f"rate of WarmUp = {self.rate!r}, expected a number or a callable of the epoch"
            )
        if callable(self.rate):
            check.schedule("rate of WarmUp", self.rate)
        else:
            check.real("rate of WarmUp", self.rate, 0, open_end=True)

    def __call__(self, epoch: int) -> float:
        rate = self.rate(epoch) if callable(self.rate) else self.rate
        return rate * min(1.0, (epoch + 1) / self.epochs)


def _curve(history: History) -> list[float]:
    """What should fall: the validation cost, or the cost where there is none."""
    return history.validation_cost or history.cost


@dataclass(frozen=True)
class ReduceOnPlateau(_Checked):
    """``rate`` times ``factor`` each time the validation cost has not fallen for ``patience``
    epochs; never below ``least``. Without validation data it looks at the cost.

    Examples
    --------
    >>> stalled = History(cost=[0.3, 0.2, 0.2, 0.2, 0.2])
    >>> ReduceOnPlateau(1.0, factor=0.5, patience=2).after(stalled)
    0.5
    """

    above_zero = ("rate", "factor")
    from_zero = ("least",)

    rate: float
    factor: float = 0.1
    patience: int = 10
    least: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check.integer("patience of ReduceOnPlateau", self.patience, 0)
        if self.factor >= 1:
            raise ValueError(
                f"factor of ReduceOnPlateau = {self.factor!r}, expected a number below 1"
            )

    def after(self, history: History) -> float | None:
        """The rate of the epoch that follows."""
        rate, best, waited = self.rate, math.inf, 0
        for value in _curve(history):
            waited += 1
            if value < best:
                best, waited = value, 0
            if waited > self.patience:
                rate, waited = max(self.least, rate * self.factor), 0
        return rate


@dataclass(frozen=True)
class HalveOnStall(_Checked):
    """The book's: halve the rate when the validation score has not risen for ``patience``
    epochs; stop when it has fallen to ``rate / divisor`` (chapter 3, "How to choose a neural
    network's hyper-parameters?"). Without validation data it looks at the training score.

    Examples
    --------
    >>> stalled = History(score=[0.8, 0.9, 0.9, 0.9])
    >>> HalveOnStall(1.0, patience=2).after(stalled)
    0.5
    >>> HalveOnStall(1.0, patience=2, divisor=2).after(stalled)  # None: it stops
    """

    counts = ("patience",)

    rate: float
    patience: int = 10
    divisor: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        check.integer("divisor of HalveOnStall", self.divisor, 2)

    def after(self, history: History) -> float | None:
        """The rate of the epoch that follows, or None: stop."""
        rate, best, waited = self.rate, -math.inf, 0
        for value in history.validation_score or history.score:
            waited += 1
            if value > best:
                best, waited = value, 0
            if waited >= self.patience:
                rate, waited = rate / 2, 0
        return rate if rate > self.rate / self.divisor else None
