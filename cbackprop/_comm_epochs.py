"""The epochs of one network over several processes, and what comes between them. Who says what when
is in `_comm.py`, the way of the rows in `_comm_rows.py`."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cbackprop import _engine, _run, _updates
from cbackprop import _validation as check
from cbackprop._blocks import (
    Targets,
    as_the_first,
    classes_of,
    close_epoch,
    in_turn,
    of_all,
    on_disk,
    unpacked,
)
from cbackprop._comm import Exchange, refuse_different
from cbackprop._comm_rows import planes_of, train_rows, windows
from cbackprop._monitors import warn_of_layers
from cbackprop.history import History

if TYPE_CHECKING:
    from cbackprop.network import Network

Array = NDArray[Any]


def run(net: Network, call: _run.Call) -> History:
    """As `_run.run`, for this rank's rows; all ranks come out alike."""
    exchange = call.exchange
    call = _one_rank_of(exchange, call)
    _look_ahead(net, call)
    exchange.agree(None, {**_settings(net, call), **_kind(call)})
    call = _scored_alike(net, call)
    whole = _whole(call)
    call = call._replace(weights=whole.weights)
    history = History()
    between = _run.Between(net, call, history)
    epochs = _resumed(net, call, between)
    _take_over(net, call)
    history.score_name, variance = _run.score_terms(whole.target, None, whole.weights)
    mass = float(exchange.total) if whole.weights is None else math.fsum(whole.weights)
    for epoch in range(len(history), epochs):
        began = time.perf_counter()
        hold = net._alone if epoch == 0 else net._again
        rate = train_rows(net, call, between, hold, 0, (0, 0, 0))
        if rate is None or _close(net, call, between, mass, variance, rate, began):
            break
    return _ended(exchange, between)


def run_blocks(
    net: Network, call: _run.Call, blocks: Iterable[Any], read: Callable[[Any, Any, Any], _run.Call]
) -> History:
    """As `_blocks.run`: block b is that of all ranks together, in their order; of chunks, which all
    have, each reads its rows of every window."""
    exchange = call.exchange
    if exchange.rank:
        call = call._replace(progress=None, keeper=None)
    _look_ahead(net, call)
    same = {"data": blocks._digest() if on_disk(blocks) else "an iterable"}
    exchange.agree(None, {**_settings(net, call), **same})
    history = History()
    between = _run.Between(net, call, history)
    epochs = _resumed(net, call, between)
    _take_over(net, call)
    _learn_classes(net, exchange, blocks)
    for epoch in range(len(history), epochs):
        began, targets, before, rate = time.perf_counter(), Targets(), (0, 0, 0), None
        for number, part in _parts(net, call, between, blocks, read):
            whole = _whole(part)
            history.score_name, variance = _run.score_terms(whole.target, None, whole.weights)
            hold = net._alone if epoch == number == 0 else net._again
            part = of_all(part._replace(weights=whole.weights), exchange.total, blocks)
            first = train_rows(net, part, between, hold, number, before)
            if first is None:
                return _ended(exchange, between)
            rate = first if rate is None else rate
            targets.add(whole, variance)
            batches = -(-exchange.total // part.batch_size)
            more = windows(net, part), batches, exchange.total
            before = (before[0] + more[0], before[1] + more[1], before[2] + more[2])
        with exchange.alike():
            if rate is None:
                raise ValueError(
                    "X yielded no block on any rank; a generator is used up after one epoch: give "
                    "a list, or an object whose __iter__ begins again"
                )
        if _close(net, call, between, targets.mass, targets.variance(), rate, began):
            break
    return _ended(exchange, between)


def _learn_classes(net: Network, exchange: Exchange, blocks: Iterable[Any]) -> None:
    # Before the first window, which may lack a label.
    error = None
    try:
        net.classes = classes_of(net, blocks)
    except BaseException as failure:
        error = failure
    exchange.tell(None, error)


def _turns(net: Network, call: _run.Call, blocks: Iterable[Any]) -> Iterator[Any]:
    with in_turn(net, call, blocks, call.exchange.rank, call.exchange.ranks) as turns:
        yield from turns


def _parts(
    net: Network,
    call: _run.Call,
    between: _run.Between,
    blocks: Iterable[Any],
    read: Callable[[Any, Any, Any], _run.Call],
) -> Iterator[tuple[int, _run.Call]]:
    # The blocks of an epoch, each with this rank's rows of it, until no rank has one left.
    exchange, rest, over = call.exchange, None, False
    for number in itertools.count():
        data, error, part = None, None, None
        try:
            rest = _turns(net, call, blocks) if rest is None else rest
            block = None if over else next(rest, None)
            over = block is None
            data = None if block is None else unpacked(block, number)
        except BaseException as failure:
            error = failure
        data = exchange.share(data, None, error)
        if data is None:
            return
        with exchange.alike():
            if not exchange.total:
                raise ValueError(f"block {number}: X has no rows on any rank")
        try:
            part = read(*data)
        except BaseException as failure:
            if exchange.over:
                raise
            error = failure
            if isinstance(failure, TypeError | ValueError):
                kind = TypeError if isinstance(failure, TypeError) else ValueError
                error = kind(f"block {number}: {failure}")
        told = exchange.tell(None if part is None else _kind(part), error)
        assert part is not None
        with exchange.alike():
            refuse_different(told)
        part = _scored_alike(net, _one_rank_of(exchange, part))
        with exchange.alike():
            part = as_the_first(net, part, number, between)
        yield number, part


def _close(
    net: Network,
    call: _run.Call,
    between: _run.Between,
    mass: float,
    variance: Array | None,
    rate: float,
    began: float,
) -> bool:
    # The end of an epoch, and what the user wants to be called then; whether to stop.
    exchange, here, stop, error = call.exchange, net._position, False, None
    if not exchange.together:
        sums = np.concatenate([[here.cost_sum], here.score_sums, here.error_squares])
        exchange.comm.Allreduce(exchange.mpi.IN_PLACE, sums)
        n = len(here.score_sums)
        here.cost_sum = float(sums[0])
        here.score_sums, here.error_squares = sums[1 : n + 1].copy(), sums[n + 1 :].copy()
    try:
        with net._again:
            close_epoch(net, call, between, mass, variance, rate, began)
        stop = between.after_epoch()
    except BaseException as failure:
        error = failure
    return any(exchange.tell(stop, error))


def _ended(exchange: Exchange, between: _run.Between) -> History:
    error = None
    try:
        between.end()
    except BaseException as failure:
        error = failure
    exchange.tell(None, error)
    exchange.over = True
    if between.history.cost:
        warn_of_layers(between.history)
    return between.history


def _resumed(net: Network, call: _run.Call, between: _run.Between) -> int:
    # The epochs of the call, with what rank 0's checkpoint says of those that are done.
    keeper, found, error = call.keeper, None, None
    if keeper is not None:
        try:
            found = keeper.begin(net, call, call.epochs)
        except BaseException as failure:
            error = failure
    exchange = call.exchange
    exchange.tell(None, error)
    found, complete = exchange.comm.bcast((found, keeper is not None and keeper.complete))
    epochs = between.resume(found, call.epochs)
    return len(between.history) if complete else epochs


def _take_over(net: Network, call: _run.Call) -> None:
    # The network of rank 0, with what its optimiser remembers, its seed and its history.
    comm, here = call.exchange.comm, net._position
    position = {name: value for name, value in vars(here).items() if name != "optimizer"}
    state = here.optimizer
    about = None if state is None else (state.name, state.steps, state.product)
    position, about, net._key, net.history, net.classes = comm.bcast(
        (position, about, net._key, net.history, net.classes)
    )
    vars(here).update(position)
    for panels in net._panels():
        whole = np.ascontiguousarray(panels)
        comm.Bcast(whole)
        panels[...] = whole
    if about is None or about[0] != call.rule.name:
        here.optimizer = None
        return
    if state is None or state.name != about[0]:
        state = here.optimizer = _updates.State(net._engine, call.rule, 1.0)
    _, state.steps, state.product = about
    for plane in planes_of(net, state):
        whole = np.ascontiguousarray(plane)
        comm.Bcast(whole)
        plane[...] = whole


def _one_rank_of(exchange: Exchange, call: _run.Call) -> _run.Call:
    # Threads by default, silence but on rank 0, and no rows where there are none.
    if call.guess:
        call = call._replace(threads=exchange.threads, guess=0)
    if exchange.rank:
        call = call._replace(progress=None, keeper=None)
    if call.chosen is not None:
        exchange.chosen, exchange.lengths = call.chosen, exchange.kept
        exchange.total = sum(exchange.kept)
    elif not exchange.lengths[exchange.rank]:
        target = call.target._replace(array=call.target.array[:0])
        weights = None if call.weights is None else call.weights[:0]
        call = call._replace(X=call.X[:0], target=target, weights=weights)
    return call._replace(batch_size=min(call.given_batch_size, exchange.total))


def _settings(net: Network, call: _run.Call) -> dict[str, Any]:
    settings = {
        "sizes": net.sizes, "activation": str(net.activations), "cost": str(net.cost),
        "dtype": str(net.dtype), "deterministic": call.exchange.together,
        "validation_data": call.validation is not None,
        "compute": "bf16" if call.bf16 else None,
    }  # fmt: skip
    for name in ("given_batch_size", "epochs", "rule", "rate", "l1", "l2", "clip", "clip_norm",
                 "max_norm", "drops", "noise", "shuffle", "stopping"):  # fmt: skip
        text = repr(getattr(call, name))
        given = name.removeprefix("given_")
        settings[given] = text if " at 0x" not in text else type(getattr(call, name)).__name__
    return settings


def _kind(call: _run.Call) -> dict[str, Any]:
    # Of the data.
    array = call.target.array
    return {"dtype of X": str(call.X.dtype), "kind of y": (array.shape[1:], array.dtype.str)}


def _scored_alike(net: Network, call: _run.Call) -> _run.Call:
    # The rows of one rank may all happen to be one-hot, or 0 and 1, where others are not.
    kinds = set(call.exchange.of_rows(call.target.score))
    if len(kinds) < 2:
        return call._replace(target=call.target._replace(score=kinds.pop()))
    kind = check.SQUARED_ERROR if check.SQUARED_ERROR in kinds else max(kinds - {check.ARGMAX})
    dense = check.dense_targets(call.target, net.sizes[-1])
    return call._replace(target=check.Target(dense, _engine.Targets(dense), None, kind))


def _whole(call: _run.Call) -> _run.Call:
    # The rows of all ranks as far as the curves need them: weights, and targets of R^2.
    exchange, target, weights = call.exchange, call.target, call.weights
    own = slice(None) if call.chosen is None else call.chosen
    if weights is not None:
        weights = np.concatenate(exchange.comm.allgather(weights[own]))
    if target.score == check.SQUARED_ERROR:
        array = np.concatenate(exchange.comm.allgather(target.array[own]))
        target = target._replace(array=array, core=_engine.Targets(array))
    X = np.empty((exchange.total, 0))
    return call._replace(X=X, target=target, weights=weights, chosen=None)


def _look_ahead(net: Network, call: _run.Call) -> None:
    # A rate out of range is refused before anything changes.
    if callable(call.rate):
        _run.rates(call, net, min(call.epochs, _run.LOOK_AHEAD), 0)
