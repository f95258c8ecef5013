"""The running of one train call: epochs in the core, what comes between and what goes wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cbackprop import _engine, _gate, _training, _updates
from cbackprop import _validation as check
from cbackprop.callbacks import EarlyStopping
from cbackprop.exceptions import DivergenceError
from cbackprop.history import History, Progress
from cbackprop.optimizers import Optimizer
from cbackprop.schedules import per_step

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
    chosen: Array | None  # the rows to train on, where not all
    weights: Array | None  # of all rows
    drops: list[int] | None  # of each layer but the last, in 65536ths
    epochs: int
    batch_size: int
    rule: Optimizer
    rate: Any  # a number, a callable, or a schedule that follows the history
    l1: float
    l2: float
    clip: float
    shuffle: bool
    validation: tuple[Any, Any] | None
    progress: Progress | None
    stopping: EarlyStopping | None
    callbacks: Sequence[Any]
    threads: int
    guess: int

    @property
    def n(self) -> int:
        return len(self.X) if self.chosen is None else len(self.chosen)

    @property
    def one_by_one(self) -> bool:
        """Whether somebody asks for something between the epochs."""
        return bool(
            self.validation is not None
            or self.progress is not None
            or self.stopping is not None
            or self.callbacks
            or (type(self.rate) is not float and _one_epoch_at_a_time(self.rate))
        )


def _one_epoch_at_a_time(rate: Any) -> bool:
    return isinstance(rate, per_step) or hasattr(rate, "after")


def state_for(net: Network, rule: Optimizer, eta: float) -> Any:
    """What this optimiser remembers of the network; another one than the last starts fresh."""
    state = net._position.optimizer
    if state is not None and state.name == rule.name:
        return state
    return _updates.State(net._engine, rule, eta)


def rates(call: Call, net: Network, epochs: int, broken: int) -> Array | None:
    """Learning rates (epochs, 1), (1, 1) for all epochs, or (1, mini-batches); None: a schedule
    says stop."""
    if type(call.rate) is float:
        return np.array([[call.rate]])
    first = net._position.epoch
    if isinstance(call.rate, per_step):
        step = net.steps - broken
        count = -(-call.n // call.batch_size)
        found = [[call.rate.function(i) for i in range(step, step + count)]]
        names = [f"learning_rate of step {i}" for i in range(step, step + count)]
    elif hasattr(call.rate, "after"):
        rate = call.rate.after(net.history)
        if rate is None:
            return None
        found, names = [[rate]], [f"learning_rate of epoch {first}"]
    else:
        found = [[call.rate(e)] for e in range(first, first + epochs)]
        names = [f"learning_rate of epoch {e}" for e in range(first, first + epochs)]
    for name, rate in zip(names, (r for row in found for r in row), strict=True):
        check.real(name, rate, 0, open_end=True)
    return np.array(found, np.float64)


def run(net: Network, call: Call) -> History:
    """Whole epochs in one call of the core where nobody asked for something between."""
    name, variance = score_terms(call.target, call.chosen, call.weights)
    history = History(name)
    shape = (call.n, call.batch_size, int(call.shuffle), call.target.score)
    best: list[Array] = []
    between = call.one_by_one
    epochs, broken, first = call.epochs, 0, True
    while len(history) < epochs:
        with net._alone:
            # Of other rows, mini-batches, order or targets, a broken epoch cannot be finished:
            # a new one begins.
            if first and net._position.batch and net._position.shape == shape:
                check.refuse_nonfinite("X", call.X, net.dtype)  # the core sees only its rest
                broken, epochs = net._position.batch, epochs + 1
            first = False
            count = 1 if between else epochs - len(history)
            eta = rates(call, net, count, broken)
            if eta is None:
                break
            _epochs(net, call, count, eta, shape, broken, variance, history)
        if not between:
            return history
        broken = 0
        if call.progress is not None:
            call.progress(history)
        stop = False
        if call.stopping is not None:
            last = len(history) - 1
            since = last - call.stopping.best(history)
            if since == 0 and call.stopping.restore_best:
                best = [panels.copy() for panels in net._panels()]
            stop = since >= call.stopping.patience
        for callback in call.callbacks:
            stop = bool(callback.on_epoch_end(net, history)) or stop
        if stop:
            break
    if best and call.stopping is not None and call.stopping.best(history) < len(history) - 1:
        with net._alone:
            for panels, kept in zip(net._panels(), best, strict=True):
                panels[...] = kept
    return history


def _epochs(
    net: Network,
    call: Call,
    count: int,
    eta: Array,
    shape: Any,
    broken: int,
    variance: Any,
    history: History,
) -> None:
    """One call of the core, and the validation after it."""
    before, here = net.classes, net._position
    if call.target.classes is not None:
        net.classes = call.target.classes
    status, error = _training.train(
        net._engine, call.rows, call.target.core, here, shape, broken, count, call.batch_size,
        state_for(net, call.rule, float(eta[0, 0])), call.rule, eta, call.chosen,
        call.weights, call.drops, call.l1, call.l2, call.clip, net._key, call.shuffle,
        call.target.score, call.threads, call.guess, variance, (history, net.history),
        call.validation is not None,
    )  # fmt: skip
    if status == "bad input":
        net.classes = before
        check.refuse_nonfinite("X", call.X, net.dtype)
        net._refuse_scaled(call.X)
    if status == "interrupted":
        raise error
    if status == "diverged":
        last = float(eta[-1, -1])
        raise DivergenceError(
            f"weights or cost are not finite after epoch {here.epoch}: learning_rate = "
            f"{last:g} is too large for this data; try {last / 10:g}, or scale "
            "the inputs to about 0 .. 1. The weights are those before that epoch",
            here.epoch, history,
        )  # fmt: skip
    if call.validation is not None:
        result = net._evaluate(*call.validation, None)
        for curves in (history, net.history):
            curves.validation_cost[-1] = result["cost"]
            curves.validation_score[-1] = result[history.score_name]


def score_terms(
    target: check.Target, chosen: Array | None = None, weights: Array | None = None
) -> tuple[str, Array | None]:
    """The score's name and, for R^2, the variance of each target over the chosen rows."""
    if target.score != check.SQUARED_ERROR:
        return "accuracy", None
    rows = target.array if chosen is None else target.array[chosen]
    if weights is not None:
        share = (weights if chosen is None else weights[chosen])[:, None]
        share = share / share.sum()
        away = rows - (share * rows).sum(axis=0)
        return "r2", np.ascontiguousarray((share * away * away).sum(axis=0), np.float64)
    return "r2", _gate.variance(target.core if chosen is None else _engine.Targets(rows))
