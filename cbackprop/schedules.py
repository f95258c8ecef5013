"""Learning rates that change: what ``train(learning_rate=...)`` takes besides a number.

A schedule is any callable from the epoch, counted from 0 over the network's life, to the
rate; `per_step` makes one of mini-batches. `ReduceOnPlateau` and `HalveOnStall` look at the
network's history instead. All depend on nothing else, so training in parts is training at
once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from cbackprop.history import History


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

    function: Callable[[int], float]


@dataclass(frozen=True)
class StepDecay:
    """``rate`` times ``factor`` once for every ``every`` epochs that have passed."""

    rate: float
    every: int
    factor: float = 0.5

    def __call__(self, epoch: int) -> float:
        return self.rate * self.factor ** (epoch // self.every)


@dataclass(frozen=True)
class Exponential:
    """``rate * factor ** epoch``."""

    rate: float
    factor: float

    def __call__(self, epoch: int) -> float:
        return self.rate * self.factor**epoch


@dataclass(frozen=True)
class Cosine:
    """From ``rate`` to ``least`` along half a cosine over ``epochs``, then ``least``.

    I. Loshchilov, F. Hutter, *SGDR*, 2017, without restarts. ``least`` must be above 0 where
    training goes on for longer.
    """

    rate: float
    epochs: int
    least: float = 0.0

    def __call__(self, epoch: int) -> float:
        part = min(1.0, epoch / self.epochs)
        return self.least + (self.rate - self.least) * (1 + math.cos(math.pi * part)) / 2


@dataclass(frozen=True)
class OneCycle:
    """Up to ``most`` over the first ``rising`` of ``epochs``, then down, along cosines.

    L. N. Smith, N. Topin, *Super-Convergence*, 2018. Begins at ``most / start_divisor`` and ends
    at ``most / end_divisor``; the divisors are PyTorch's.
    """

    most: float
    epochs: int
    rising: float = 0.3
    start_divisor: float = 25.0
    end_divisor: float = 250_000.0

    def __call__(self, epoch: int) -> float:
        top = self.rising * (self.epochs - 1)
        if epoch < top:
            low, part = self.most / self.start_divisor, 1 - epoch / top
        else:
            low = self.most / self.end_divisor
            part = min(1.0, (epoch - top) / max(1e-9, self.epochs - 1 - top))
        return low + (self.most - low) * (1 + math.cos(math.pi * part)) / 2


@dataclass(frozen=True)
class WarmUp:
    """A rate or schedule, multiplied by (epoch + 1) / ``epochs`` until that is 1."""

    rate: float | Callable[[int], float]
    epochs: int

    def __call__(self, epoch: int) -> float:
        rate = self.rate(epoch) if callable(self.rate) else self.rate
        return rate * min(1.0, (epoch + 1) / self.epochs)


def _curve(history: History) -> list[float]:
    """What should fall: the validation cost, or the cost where there is none."""
    return history.validation_cost or history.cost


@dataclass(frozen=True)
class ReduceOnPlateau:
    """``rate`` times ``factor`` each time the validation cost has not fallen for ``patience``
    epochs; never below ``least``. Without validation data it looks at the cost."""

    rate: float
    factor: float = 0.1
    patience: int = 10
    least: float = 0.0

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
class HalveOnStall:
    """The book's: halve the rate when the validation score has not risen for ``patience``
    epochs; stop when it has fallen to ``rate / divisor`` (chapter 3, "How to choose a neural
    network's hyper-parameters?"). Without validation data it looks at the training score."""

    rate: float
    patience: int = 10
    divisor: int = 128

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
