"""The rows of one network's epoch over several processes: window by window, each row on the rank
whose turn it is, and what becomes of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cbackprop import _engine, _run, _training
from cbackprop import _validation as check
from cbackprop._blocks import NO_SHAPE
from cbackprop.exceptions import DivergenceError
from cbackprop.history import History

if TYPE_CHECKING:
    from cbackprop.network import Network

Array = NDArray[Any]

WINDOW_BYTES = 2**25  # of rows, over all processes, that change hands at once


def windows(net: Network, call: _run.Call) -> int:
    """How many the rows of this call take."""
    return -(-int(call.exchange.total) // _window_rows(net, call))


def _window_rows(net: Network, call: _run.Call) -> int:
    m = call.batch_size
    return max(1, WINDOW_BYTES // max(1, m * call.X.dtype.itemsize * net.sizes[0])) * m


def _order(net: Network, call: _run.Call, block: int) -> Array:
    # As begin_epoch() has it: of a block, a function of its number too.
    total = call.exchange.total
    in_blocks = call.training[1] is None
    if not call.shuffle or (call.batch_size >= total and not in_blocks):
        return np.arange(total)
    order: Array = _engine.order(net._key, net._position.epoch, total, block)
    return order


def train_rows(
    net: Network,
    call: _run.Call,
    between: _run.Between,
    hold: Any,
    block: int,
    before: tuple[int, int, int],
) -> float | None:
    """All rows of an epoch or block, window by window: its first rate, None where training stops.

    before: windows, mini-batches and rows of the epoch so far.
    """
    exchange, m, window = call.exchange, call.batch_size, _window_rows(net, call)
    rate, order, kept = None, np.empty(0, np.int64), None
    with contextlib.ExitStack() as held:
        for number, begin in enumerate(range(0, exchange.total, window)):
            error, eta, packed, weights = None, None, None, None
            try:
                if not number:
                    held.enter_context(hold)
                    _run.refuse_inside(net)
                    order, kept = _order(net, call, block), _kept(net)
                rows = order[begin : begin + window]
                # Of as many rows, for as many rates.
                eta = _run.rates(call._replace(X=np.empty((len(rows), 0)), chosen=None), net, 1, 0)
                packed = exchange.pack([call.X, call.target.array], rows, m)
                weights = None if call.weights is None else call.weights[rows]
                exchange.n = len(rows)
            except BaseException as failure:
                error = failure
            exchange.tell(None, error)
            assert kept is not None and packed is not None
            if eta is None:
                return None
            rate = float(eta[0, 0]) if rate is None else rate
            at = (before[0] + number, before[1] + begin // m, before[2] + begin)
            outcome = _window(net, call, exchange.send(packed), weights, eta, at, between)
            if outcome == "stopped":
                return None
            if outcome in ("bad input", "diverged"):
                _put_back(net, kept)
                _fail(net, call, outcome, eta, between.history)
    return rate


def _window(net: Network, call: _run.Call, share: list[Array], weights: Array | None, eta: Array,
            before: tuple[int, int, int], between: _run.Between) -> str:  # fmt: skip
    # What became of it on all ranks: the worst.
    exchange, (X, y, where) = call.exchange, share
    if not len(X):  # the core wants rows to point at
        X, y = np.zeros((1, X.shape[1]), X.dtype), np.zeros((1, *y.shape[1:]), y.dtype)
    exchange.meetings = 0
    try:
        state = _run.state_for(net, call.rule, float(eta[0, 0]))
        rows, targets = _engine.Rows(X, net._engine), _engine.Targets(y)
        status, error = _training.train(
            net._engine, rows, targets, net._position, NO_SHAPE, 0, 1, call.batch_size, state,
            call.rule, eta, where, weights, call.drops, call.noise, call.l1, call.l2, call.clip,
            call.clip_norm, call.max_norm, call.bf16, net._key, False, call.target.score,
            call.threads, 0, None, (between.history, net.history), call.validation is not None,
            between.on_batch, before, exchange,
        )  # fmt: skip
    except BaseException as failure:  # no memory for the arena
        if exchange.meetings:
            raise
        exchange(0, 1)  # where the others meet first
        exchange.tell(None, failure)
    outcomes = exchange.tell(status, error if status == "interrupted" else None)
    for outcome in ("bad input", "diverged", "stopped"):
        if outcome in outcomes:
            return outcome
    return "complete"


def _kept(net: Network) -> tuple[list[Array], dict[str, Any], Any]:
    # What a failed epoch is rolled back to.
    state = net._position.optimizer
    panels = [panels.copy() for panels in net._panels()]
    if state is None:
        return panels, dict(vars(net._position)), None
    planes = [plane.copy() for plane in planes_of(net, state)]
    return panels, dict(vars(net._position)), (planes, state.steps, state.product)


def planes_of(net: Network, state: Any) -> Iterator[Array]:
    """What an optimiser remembers of each layer."""
    for k in range(state.planes):
        for l in range(1, len(net.sizes)):
            yield state.panels(k, l)


def _put_back(net: Network, kept: tuple[list[Array], dict[str, Any], Any]) -> None:
    panels, position, remembered = kept
    for to, before in zip(net._panels(), panels, strict=True):
        to[...] = before
    vars(net._position).update(position)
    if remembered is not None:
        planes, state = remembered[0], net._position.optimizer
        assert state is not None
        for to, before in zip(planes_of(net, state), planes, strict=True):
            to[...] = before
        state.steps, state.product = remembered[1:]


def _fail(net: Network, call: _run.Call, outcome: str, eta: Array, history: History) -> None:
    exchange, error = call.exchange, None
    if outcome == "bad input":
        try:
            check.refuse_nonfinite("X", call.X, net.dtype)
        except ValueError as found:
            error = ValueError(f"on rank {exchange.rank}: {found}")
        exchange.tell(None, error)
    last, part = float(eta[-1, -1]), "epoch" if call.training[1] is not None else "block"
    with exchange.alike():
        if outcome == "bad input":
            net._refuse_scaled(call.X)
        raise DivergenceError(
            f"weights or cost are not finite after epoch {net._position.epoch}: learning_rate = "
            f"{last:g} is too large for this data; try {last / 10:g}, or scale the inputs to about "
            f"0 .. 1. The weights are those before that {part}",
            net._position.epoch, history,
        )  # fmt: skip
