"""The running of one train call: epochs in the core, what comes between and what goes wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cbackprop import _engine, _gate, _training, _updates
from cbackprop import _validation as check
from cbackprop._monitors import Monitor, look, warn_of_layers
from cbackprop._progress import Progress
from cbackprop.callbacks import EarlyStopping
from cbackprop.exceptions import DivergenceError
from cbackprop.history import History
from cbackprop.optimizers import Optimizer

if TYPE_CHECKING:
    from cbackprop.io.checkpoint import Keeper
    from cbackprop.network import Network

Array = NDArray[Any]

LOOK_AHEAD = 10_000  # epochs whose rates are asked for before the first is trained


class Position:
    """Where training stands: everything besides parameters that the next step depends on."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.epoch = 0  # whole epochs done
        self.batch = 0  # mini-batches done of a broken one
        self.steps = 0
        # Rows, batch size, shuffle and kind of score of the epoch.
        self.shape: tuple[int, ...] = (0, 0, 0, 0)
        self.cost_sum = 0.0
        self.score_sums = np.zeros(sizes[-1])
        # Of each neuron after the input, the squares of the errors looked at; and how many.
        self.error_squares = np.zeros(sum(sizes[1:]) + 1)
        self.optimizer: _updates.State | None = None  # what it remembers
        self.running = False  # a callback looks on in the middle of an epoch


class Call(NamedTuple):
    """The checked arguments of one train call; of one of blocks, of a block's turn."""

    X: Array
    rows: Any
    target: check.Target
    chosen: Array | None  # the rows to train on, where not all
    weights: Array | None  # of all rows
    batch_size: int
    threads: int
    guess: int
    validation: tuple[Any, Any] | None
    drops: list[int] | None  # of each layer but the last, in 65536ths
    noise: float
    epochs: int
    rule: Optimizer
    rate: Any  # a number, a callable, or a schedule that follows the history
    l1: float
    l2: float
    clip: float
    clip_norm: float
    max_norm: float
    shuffle: bool
    training: tuple[Any, Any]  # as the user gave it
    monitors: list[Monitor]
    progress: Progress | None
    stopping: EarlyStopping | None
    callbacks: Sequence[Any]
    bf16: bool = False  # products in bfloat16
    exchange: Any = None  # with the other processes that train this network
    given_batch_size: int = 0
    keeper: Keeper | None = None  # of checkpoints

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
            or self.monitors
            or self.callbacks
            or self.keeper is not None
            or (type(self.rate) is not float and _one_epoch_at_a_time(self.rate))
        )


def _one_epoch_at_a_time(rate: Any) -> bool:
    return hasattr(rate, "by_step") or hasattr(rate, "after")


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
    if hasattr(call.rate, "by_step"):
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


class Between:
    """What happens between the epochs: validation, monitors, callbacks, early stopping."""

    def __init__(self, net: Network, call: Call, history: History) -> None:
        self.net, self.call, self.history = net, call, history
        self.best: list[Array] = []
        self.stopped = False  # by a callback after a mini-batch
        self.kind = None if call.target is None else call.target.score  # blocks: not yet known
        looking = [c for c in call.callbacks if hasattr(c, "on_batch_end")]
        keeps = call.keeper is not None and call.keeper.plan.every_epochs is None
        self.on_batch = None
        if looking or keeps:
            self.on_batch = lambda *at: self._after_batch(looking, *at)

    def _after_batch(self, looking: Sequence[Any], epoch: int, batch: int) -> bool:
        answers = [callback.on_batch_end(self.net, epoch, batch) for callback in looking]
        self.stopped = any(map(bool, answers))
        if self.call.keeper is not None:
            self.call.keeper.after_batch(self.net, self)
        return self.stopped

    def resume(self, found: tuple[History, int, list[Array]] | None, epochs: int) -> int:
        """How many epochs the call has, with what a checkpoint says of those that are done."""
        if found is None:
            return epochs
        history, epochs, self.best = found
        vars(self.history).update(vars(history))
        return epochs

    def validate(self) -> None:
        """The last entry of the validation curves; the network is already held."""
        if self.call.validation is None:
            return
        result = self.net._evaluate(*self.call.validation, None, self.kind)
        for curves in (self.history, self.net.history):
            curves.validation_cost[-1] = result["cost"]
            curves.validation_score[-1] = result[self.history.score_name]

    def after_epoch(self) -> bool:
        """Whether to stop."""
        net, call, history = self.net, self.call, self.history
        if call.monitors:
            histories = (history, net.history)
            look(net, call.monitors, call.training, call.validation, self.kind, histories)
        if call.progress is not None:
            call.progress(history)
        stop = self.stopped
        if call.stopping is not None:
            last = len(history) - 1
            since = last - call.stopping.best(history)
            if since == 0 and call.stopping.restore_best:
                self.best = [panels.copy() for panels in net._panels()]
            stop = stop or since >= call.stopping.patience
        for callback in call.callbacks:
            if hasattr(callback, "on_epoch_end"):
                stop = bool(callback.on_epoch_end(net, history)) or stop
        if call.keeper is not None and not stop:
            call.keeper.after_epoch(net, self)
        return stop

    def end(self) -> None:
        """The best weights put back, the last epoch said."""
        net, stopping, history = self.net, self.call.stopping, self.history
        if self.best and stopping is not None and stopping.best(history) < len(history) - 1:
            with net._alone:
                for panels, kept in zip(net._panels(), self.best, strict=True):
                    panels[...] = kept
        if self.call.progress is not None:
            self.call.progress.end()  # before the warnings that may follow
        if self.call.keeper is not None:
            self.call.keeper.end(net, self)


def refuse_inside(net: Network) -> None:
    """A callback after a mini-batch may use the network, not train it."""
    if net._position.running:
        raise RuntimeError("network is busy: it is being trained, and calls this callback")


def run(net: Network, call: Call) -> History:
    """Whole epochs in one call of the core where nobody asked for something between."""
    if call.exchange is not None:
        from cbackprop import _comm_epochs

        return _comm_epochs.run(net, call)
    name, variance = score_terms(call.target, call.chosen, call.weights)
    history = History(name)
    shape = (call.n, call.batch_size, int(call.shuffle), call.target.score)
    between = Between(net, call, history) if call.one_by_one else None
    on_batch = None if between is None else between.on_batch
    epochs, broken, first = call.epochs, 0, True
    if call.keeper is not None:
        assert between is not None
        with net._alone:
            refuse_inside(net)
            if net._position.batch and net._position.shape == shape:
                epochs += 1
            epochs = between.resume(call.keeper.begin(net, call, epochs), epochs)
            if call.keeper.complete:
                return history
            broken, first = net._position.batch * (net._position.shape == shape), False
    if between is not None and callable(call.rate):
        # A bad one is refused before anything changes; epochs without end are for callbacks.
        rates(call, net, min(epochs, LOOK_AHEAD), 0)
    while len(history.cost) < epochs:
        with net._alone if first else net._again:
            refuse_inside(net)
            # Of other rows, mini-batches, order or targets, a broken epoch cannot be finished:
            # a new one begins.
            if first and net._position.batch and net._position.shape == shape:
                check.refuse_nonfinite("X", call.X, net.dtype)  # the core sees only its rest
                broken, epochs = net._position.batch, epochs + 1
            first = False
            count = epochs - len(history.cost) if between is None else 1
            eta = rates(call, net, count, broken)
            if eta is None:
                break
            at = (shape, broken, count, None)
            if core(net, call, at, eta, variance, history, on_batch) == "stopped":
                break
            if between is not None:
                between.validate()
        broken = 0
        if between is not None and between.after_epoch():
            break
    if between is not None:
        between.end()
    if history.cost and net._warns:
        warn_of_layers(history)
    return history


def core(
    net: Network,
    call: Call,
    at: tuple[Any, int, int, tuple[int, int, int] | None],
    eta: Array,
    variance: Array | None,
    history: History,
    on_batch: Any,
) -> str:
    """One call of the core, and what can go wrong in it.

    ``at``: the shape of the epoch, the mini-batch to begin with, how many epochs, and, of a
    block, its number and the mini-batches and rows before it.
    """
    classes, here, (shape, first, count, before) = net.classes, net._position, at
    if call.target.classes is not None:
        net.classes = call.target.classes
    status, error = _training.train(
        net._engine, call.rows, call.target.core, here, shape, first, count, call.batch_size,
        state_for(net, call.rule, float(eta[0, 0])), call.rule, eta, call.chosen,
        call.weights, call.drops, call.noise, call.l1, call.l2, call.clip, call.clip_norm,
        call.max_norm, call.bf16, net._key, call.shuffle, call.target.score, call.threads,
        call.guess, variance, (history, net.history), call.validation is not None, on_batch, before,
    )  # fmt: skip
    if status == "bad input":
        net.classes = classes
        check.refuse_nonfinite("X", call.X, net.dtype)
        net._refuse_scaled(call.X)
    if status == "interrupted":
        raise error
    if status == "diverged":
        last, part = float(eta[-1, -1]), "epoch" if before is None else f"block {before[0]}"
        raise DivergenceError(
            f"weights or cost are not finite after epoch {here.epoch}: learning_rate = "
            f"{last:g} is too large for this data; try {last / 10:g}, or scale "
            f"the inputs to about 0 .. 1. The weights are those before that {part}",
            here.epoch, history,
        )  # fmt: skip
    return str(status)


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
