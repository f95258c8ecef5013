"""Training on data larger than memory: epochs whose rows come in blocks, from an iterable."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from cbackprop import _options, _run, _training
from cbackprop import _validation as check
from cbackprop._monitors import Monitor, warn_of_layers
from cbackprop.history import History

if TYPE_CHECKING:
    from cbackprop._chunks import Chunks
    from cbackprop.network import Network

Array = NDArray[Any]

# What is needed of all rows before the first is seen, and what to do instead.
NEED_ALL_ROWS = {
    "l1": "the number of all samples; give weight_decay=",
    "l2": "the number of all samples; give weight_decay=",
    "validation_split": "all rows; give validation_data=",
    "sample_weight": "all rows; let blocks be (X, y, weights)",
}

# Of no epoch's shape: an epoch of blocks that was broken off is not finished.
NO_SHAPE = (0, 0, 0, 0)


def on_disk(data: Any) -> TypeGuard[Chunks]:
    """Whether it is Chunks, whose module only those import who open some."""
    return hasattr(data, "window_rows")


def refuse(
    data: Any, given: dict[str, Any], class_weight: Any, monitors: Sequence[Monitor]
) -> None:
    """Arguments that blocks cannot have; of chunks the number of rows is known."""
    if on_disk(data) and not len(data):
        raise ValueError("X has no rows, expected at least one sample")
    for name, need in NEED_ALL_ROWS.items():
        value = given[name]
        if value is None or (name in ("l1", "l2") and on_disk(data)):
            continue
        if np.ndim(value):  # weights of rows
            raise ValueError(f"{name} with blocks needs {need}")
        if value != 0:
            raise ValueError(f"{name} = {value!r} with blocks needs {need}")
    for name, _ in monitors:
        if name in ("training_cost", "training_accuracy"):
            raise ValueError(f"monitor = {name!r} with blocks needs all rows; see History.cost")
    if isinstance(class_weight, str):
        raise ValueError(f"class_weight = {class_weight!r} needs all rows; give a dict")


def refuse_iterator(X: Any, epochs: int) -> None:
    """What can be iterated over only once, where it is asked for more: generators, map, zip and
    the like. Iterators of other making may begin again."""
    if epochs > 1 and type(X).__module__ in ("builtins", "itertools") and iter(X) is X:
        raise ValueError(
            f"epochs = {epochs}, but X is a {type(X).__name__}, which is used up after one epoch: "
            "give a list, or an object whose __iter__ begins again"
        )


def refuse_checkpoint(data: Any, keeper: Any) -> None:
    """Where an epoch of blocks was broken off it is not finished, so only whole ones are kept; and
    only of data that can tell whether it is the same."""
    if keeper is None:
        return
    if not on_disk(data):
        raise ValueError("checkpoint with blocks is not there; call net.save in a callback")
    if keeper.plan.every_epochs is None:
        raise ValueError("checkpoint of chunks is written after epochs; give every_epochs=")


def unpacked(block: Any, number: int) -> tuple[Any, Any, Any]:
    """(X, y, weights or None) of a block."""
    if not isinstance(block, tuple | list) or len(block) not in (2, 3):
        raise TypeError(
            f"block {number} is {type(block).__name__}, expected (X, y) or (X, y, weights); "
            "or give y="
        )
    return block[0], block[1], block[2] if len(block) == 3 else None


class Targets:
    """Sum of weights, mean and spread of the targets so far (T. F. Chan, G. H. Golub, R. J.
    LeVeque, *Updating formulae*, 1979)."""

    def __init__(self) -> None:
        self.mass = 0.0
        self.mean: Any = 0.0
        self.squares: Any = 0.0

    def add(self, call: _run.Call, variance: Array | None) -> None:
        """The targets of one more block."""
        weights = call.weights
        mass = float(call.n if weights is None else weights.sum())
        if variance is not None and mass > 0:
            mean = np.average(call.target.array, axis=0, weights=weights).astype(np.float64)
            away, total = mean - self.mean, self.mass + mass
            self.squares = self.squares + mass * variance + away**2 * (self.mass * mass / total)
            self.mean = self.mean + away * (mass / total)
        self.mass += mass

    def variance(self) -> Array | None:
        """Of each target; None where the score is an accuracy."""
        return None if isinstance(self.squares, float) else self.squares / self.mass


def run(
    net: Network,
    call: _run.Call,
    blocks: Iterable[Any],
    read: Callable[[Any, Any, Any], _run.Call],
) -> History:
    """As `_run.run`; ``read`` makes a block's data, checked, and the options a call."""
    if call.exchange is not None:
        from cbackprop import _comm_epochs

        return _comm_epochs.run_blocks(net, call, blocks, read)
    history = History()
    between = _run.Between(net, call, history)
    epochs = call.epochs
    if call.keeper is not None:
        with net._alone:
            _run.refuse_inside(net)
            epochs = between.resume(call.keeper.begin(net, call, epochs), epochs)
        if call.keeper.complete:
            return history
    before = net.classes, net.steps
    net.classes = classes_of(net, blocks)
    try:
        _epochs(net, call, blocks, read, between, epochs - len(history))
    except BaseException:
        if net.steps == before[1]:
            net.classes = before[0]
        raise
    between.end()
    if history.cost:
        warn_of_layers(history)
    return history


def classes_of(net: Network, data: Iterable[Any]) -> Array | None:
    """The network's; or of the labels of chunks, those of all rows: a window may lack one."""
    if net.classes is not None or not on_disk(data):
        return net.classes
    y = data._first_of_y()
    if y.ndim > 1 or not check.are_labels(y, net.sizes[-1], net.activations[-1], net.cost, None):
        return None
    return net._targets(labels := data.labels(), len(labels)).classes


@contextlib.contextmanager
def in_turn(
    net: Network, call: _run.Call, data: Iterable[Any], rank: int = 0, ranks: int = 1
) -> Iterator[Iterable[Any]]:
    """As a context: the blocks of the epoch that comes; of chunks, this rank's rows of each."""
    if not on_disk(data):
        yield data
        return
    epoch = net._position.epoch
    windows = data._epoch(net._key, epoch, call.given_batch_size, call.shuffle, rank, ranks)
    with contextlib.closing(windows):  # whoever leaves early waits for the reader
        yield windows


def of_all(part: _run.Call, rows: int, data: Iterable[Any]) -> _run.Call:
    """A window of so many rows, over all ranks. lambda / n of chunks is that of all rows, where the
    core divides by the window's; and a full batch is not shuffled."""
    if not on_disk(data):
        return part
    share, n = rows / len(data), len(data)
    return part._replace(
        l1=part.l1 * share, l2=part.l2 * share,
        shuffle=part.shuffle and part.given_batch_size < n,
    )  # fmt: skip


def _epochs(
    net: Network,
    call: _run.Call,
    blocks: Iterable[Any],
    read: Callable[[Any, Any, Any], _run.Call],
    between: _run.Between,
    epochs: int,
) -> None:
    history = between.history
    hold = net._alone
    if callable(call.rate):
        _run.rates(call, net, min(epochs, _run.LOOK_AHEAD), 0)  # refused early, as there
    for _ in range(epochs):
        began, targets, before = time.perf_counter(), Targets(), (0, 0, 0)
        rate, status = None, ""
        with in_turn(net, call, blocks) as turns:
            for block in turns:
                part = _read(net, block, before[0], read, between)
                part = of_all(part, part.n, blocks)
                history.score_name, variance = _run.score_terms(part.target, None, part.weights)
                with hold:
                    _run.refuse_inside(net)
                    hold = net._again
                    eta = _run.rates(part, net, 1, 0)
                    if eta is None:
                        return
                    at = (NO_SHAPE, 0, 1, before)
                    status = _run.core(net, part, at, eta, None, history, between.on_batch)
                if status == "stopped":
                    return
                rate = float(eta[0, 0]) if rate is None else rate
                targets.add(part, variance)
                count = -(-part.n // part.batch_size)
                before = (before[0] + 1, before[1] + count, before[2] + part.n)
        if rate is None:
            raise ValueError(
                "X yielded no block; a generator is used up after one epoch: give a list, or an "
                "object whose __iter__ begins again"
            )
        with hold:
            close_epoch(net, call, between, targets.mass, targets.variance(), rate, began)
        if between.after_epoch():
            break


def _read(
    net: Network,
    block: Any,
    number: int,
    read: Callable[[Any, Any, Any], _run.Call],
    between: _run.Between,
) -> _run.Call:
    # Its data checked, and with the kind of targets that the first block had.
    data = unpacked(block, number)
    try:
        part = read(*data)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"block {number}: {error}") from None
    return as_the_first(net, part, number, between)


def as_the_first(net: Network, part: _run.Call, number: int, between: _run.Between) -> _run.Call:
    """A block with the kind of targets that the first one had."""
    if between.kind is None:
        between.kind = part.target.score
    if part.target.score == between.kind:
        return part
    name = f"y of block {number}"
    target = _options.as_trained(name, part.target, between.kind, net.sizes[-1])
    return part._replace(target=target)


def close_epoch(
    net: Network,
    call: _run.Call,
    between: _run.Between,
    mass: float,
    variance: Array | None,
    rate: float,
    began: float,
) -> None:
    """What an epoch that came in parts adds to the curves: the means of its sums."""
    here, history = net._position, between.history
    here.epoch += 1
    norms, dead = _training.norms_of(net._engine, here.error_squares)
    score = _training.mean_score(here.score_sums / mass, variance)
    for curves in (history, net.history):
        curves.score_name = history.score_name
        curves.cost.append(here.cost_sum / mass)
        curves.score.append(score)
        curves.delta_norms.append(norms)
        curves.dead_units.append(dead)
        curves.learning_rate.append(rate)
        curves.seconds.append(time.perf_counter() - began)
        if call.validation is not None:
            curves.validation_cost.append(math.nan)
            curves.validation_score.append(math.nan)
    between.validate()
