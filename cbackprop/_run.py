"""The running of one train call: epochs in the core, what comes between and what goes wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cbackprop import _gate, _training, _updates
from cbackprop import _validation as check
from cbackprop.exceptions import DivergenceError
from cbackprop.history import History, Progress
from cbackprop.optimizers import Optimizer

if TYPE_CHECKING:
    from cbackprop.network import Network

Array = NDArray[Any]


class Position:
    """Where training stands: everything besides parameters that the next step depends on."""

    def __init__(self, width: int) -> None:
        self.epoch = 0  # whole epochs done
        self.batch = 0  # mini-batches done of a broken one
        self.steps = 0
        # Rows, batch size, shuffle and kind of score of the epoch.
        self.shape: tuple[int, ...] = (0, 0, 0, 0)
        self.cost_sum = 0.0
        self.score_sums = np.zeros(width)
        self.optimizer: _updates.State | None = None  # what it remembers


class Call(NamedTuple):
    """The checked arguments of one train call."""

    X: Array
    rows: Any
    target: check.Target
    epochs: int
    batch_size: int
    rule: Optimizer
    eta: float
    l2: float
    shuffle: bool
    validation: tuple[Any, Any] | None
    progress: Progress | None
    threads: int
    guess: int


def state_for(net: Network, rule: Optimizer, eta: float) -> Any:
    """What this optimiser remembers of the network; another one than the last starts fresh."""
    state = net._position.optimizer
    if state is not None and state.name == rule.name:
        return state
    return _updates.State(net._engine, rule, eta)


def run(net: Network, call: Call) -> History:
    """Whole epochs in one call of the core where nobody asked for something between."""
    before, here = net.classes, net._position
    shape = (len(call.X), call.batch_size, int(call.shuffle), call.target.score)
    # Of other rows, mini-batches, order or targets, a broken epoch cannot be finished: a
    # new one begins.
    broken = here.batch if here.shape == shape else 0
    if broken:
        check.refuse_nonfinite("X", call.X, net.dtype)  # the core sees only its rest
    if call.target.classes is not None:
        net.classes = call.target.classes
    name, variance = score_terms(call.target)
    history = History(name)
    targets = call.target.core
    state = state_for(net, call.rule, call.eta)
    epochs = call.epochs + (broken > 0)
    one_by_one = call.validation is not None or call.progress is not None
    while len(history) < epochs:
        status, error = _training.train(
            net._engine, call.rows, targets, here, shape, broken,
            1 if one_by_one else epochs - len(history), call.batch_size, state, call.rule,
            call.eta, call.l2, net._key, call.shuffle, call.target.score, call.threads,
            call.guess, variance, (history, net.history), call.validation is not None,
        )  # fmt: skip
        broken = 0
        if status == "bad input":
            net.classes = before
            check.refuse_nonfinite("X", call.X, net.dtype)
            net._refuse_scaled(call.X)
        if status == "interrupted":
            raise error
        if status == "diverged":
            raise DivergenceError(
                f"weights or cost are not finite after epoch {here.epoch}: learning_rate = "
                f"{call.eta:g} is too large for this data; try {call.eta / 10:g}, or scale "
                "the inputs to about 0 .. 1. The weights are those before that epoch",
                here.epoch, history,
            )  # fmt: skip
        if call.validation is not None:
            result = net._evaluate(*call.validation, None)
            for curves in (history, net.history):
                curves.validation_cost[-1] = result["cost"]
                curves.validation_score[-1] = result[name]
        if call.progress is not None:
            call.progress(history)
    return history


def score_terms(target: check.Target) -> tuple[str, Array | None]:
    """The score's name and, for R^2, the variance of each target."""
    if target.score != check.SQUARED_ERROR:
        return "accuracy", None
    return "r2", _gate.variance(target.core)
