"""One network over several processes that pass messages (MPI): who holds which rows, what is told
when, and that all of them end alike. The core's part is `_ranks.pyx`."""

from __future__ import annotations

import ctypes
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cbackprop import _engine, _extras, _gate, _run, _threads, _training, _updates
from cbackprop import _validation as check
from cbackprop._blocks import NO_SHAPE, close_epoch
from cbackprop._monitors import warn_of_layers
from cbackprop.callbacks import Checkpoint
from cbackprop.exceptions import DivergenceError
from cbackprop.history import History

if TYPE_CHECKING:
    from cbackprop.network import Network

Array = NDArray[Any]

WINDOW_BYTES = 2**25  # of rows, over all processes, that change hands at once

# What processes that hold a part of the rows each cannot have, and what to do instead.
REFUSED = {
    "validation_split": "give validation_data=, the same on every rank",
    "sample_weight": "leave it out",
    "class_weight": "leave it out",
    "compute": "leave it out",
}


class Later:
    """As a context: what handles signals in Python is called where all ranks can hear of what it
    raises, not in the middle of a message; the handlers stand again afterwards."""

    def __init__(self) -> None:
        self.handlers: dict[int, Any] = {}
        self.waiting: list[tuple[int, Any]] = []

    def __enter__(self) -> Later:
        if threading.current_thread() is threading.main_thread():
            for number in signal.valid_signals():
                if callable(handler := signal.getsignal(number)):
                    self.handlers[number] = handler
                    signal.signal(number, lambda *came: self.waiting.append(came))
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def error(self) -> BaseException | None:
        """What the handlers of signals that came meanwhile raise."""
        while self.waiting:
            number, frame = self.waiting.pop(0)
            try:
                self.handlers[number](number, frame)
            except BaseException as error:
                return error
        return None


class Exchange:
    """The processes that train one network, as one of them sees it.

    As a context: an error of one of them, before training has begun, is raised on all.
    """

    def __init__(self, net: Network, comm: Any, deterministic: bool) -> None:
        for name in ("Get_rank", "Get_size", "allgather", "Allreduce", "Alltoallv"):
            if not hasattr(comm, name):
                raise TypeError(f"comm = {comm!r}, expected a communicator of mpi4py")
        self.mpi = _extras.need("mpi4py.MPI", "comm=", "mpi4py", "mpi")
        self.net, self.comm, self.together = net, comm, deterministic
        self.rank, self.ranks = comm.Get_rank(), comm.Get_size()
        self.agreed = False
        self.later = Later()
        self.failure: BaseException | None = None  # to leave with
        self.lengths: list[int] = []
        self.n = self.total = 0  # rows of the window, and of all
        self.places: list[tuple[Any, int]] = []
        self.sums: Any = None

    def __enter__(self) -> Exchange:
        self.later.__enter__()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        try:
            if error is not None and not self.agreed:
                self.agree(error)
        finally:
            self.later.__exit__()

    def tell(self, value: Any, error: BaseException | None) -> list[Any]:
        """The values of all ranks; an error on any of them is raised on all."""
        error = error or self.failure or self.later.error()
        self.failure = None
        told = self.comm.allgather((value, _portable(error)))
        for rank, (_, other) in enumerate(told):
            if other is not None:
                self.agreed = True  # to end
                raise error if error is not None and rank == self.rank else other
        return [value for value, _ in told]

    def agree(self, error: BaseException | None = None, settings: Any = None) -> None:
        """That all are ready for the same training."""
        self.agreed = True
        told = self.tell(settings, error)
        for rank, other in enumerate(told):
            for name in told[0]:
                if other[name] != told[0][name]:
                    raise ValueError(
                        f"{name} differs between ranks: {told[0][name]} on rank 0, {other[name]} "
                        f"on rank {rank}; give all ranks the same"
                    )

    # ---- before training ----------------------------------------------------------------

    def begin(self, X: Any, y: Any, given: dict[str, Any]) -> tuple[Any, Any]:
        """X and y as this rank's checks should see them: a rank without rows borrows one."""
        for name, remedy in REFUSED.items():
            if given[name] is not None and not (np.ndim(given[name]) == 0 and given[name] == 0):
                raise ValueError(f"{name} with comm= is not there; {remedy}")
        if given["optimizer"] == "lbfgs" or y is None:
            what = "blocks" if y is None else "optimizer 'lbfgs'"
            raise ValueError(f"{what} with comm= is not there; give X and y, and another optimizer")
        plan = given["checkpoint"]
        if isinstance(plan, Checkpoint) and plan.every_epochs is None:
            raise ValueError("checkpoint with comm= is written after epochs; give every_epochs=")
        y = check.as_array("y", y)
        sample = (np.asarray(X[:1]), y[:1]) if len(X) else None
        labels = np.unique(y) if y.ndim == 1 and y.dtype.kind != "f" else None
        told = self.tell((len(X), sample, labels), None)
        self.lengths, self.total = [length for length, _, _ in told], sum(n for n, _, _ in told)
        if not self.total:
            raise ValueError("X has no rows on any rank, expected at least one sample")
        if not len(X):
            X, y = next(sample for _, sample, _ in told if sample is not None)
        if self.net.classes is None and all(labels is not None for _, _, labels in told):
            union = np.unique(np.concatenate([labels for _, _, labels in told]))
            self.net.classes = self.net._targets(union, len(union)).classes
        return X, y

    def threads(self) -> int:
        """This rank's share of the machine."""
        here = self.comm.Split_type(self.mpi.COMM_TYPE_SHARED)
        beside = int(here.Get_size())
        here.Free()
        return max(1, _threads.available() // beside)

    # ---- while training -----------------------------------------------------------------

    def bind(self, places: list[tuple[int, int]], m: int, sums: int, n_bytes: int,
             itemsize: int) -> None:  # fmt: skip
        """The core's memory: (address, bytes a sample) of what all need of each sample; and the
        sums of BP3 and BP4."""
        self.places = [(_memory(address, m * row), row) for address, row in places]
        real = self.mpi.FLOAT if itemsize == 4 else self.mpi.DOUBLE
        self.sums = [_memory(sums, n_bytes), n_bytes // itemsize, real] if sums else None

    def __call__(self, m: int, leaving: int) -> bool:
        """Called by the core in the middle of a mini-batch; whether somebody wants to stop."""
        self.failure = self.failure or self.later.error()
        stop = np.array([leaving or self.failure is not None], np.int32)
        self.comm.Allreduce(self.mpi.IN_PLACE, stop, self.mpi.MAX)
        if stop[0]:
            return True
        if not self.together:
            self.comm.Allreduce(self.mpi.IN_PLACE, self.sums)
            return False
        edges = np.array([m * rank // self.ranks for rank in range(self.ranks + 1)])
        for memory, row in self.places:
            rows = [memory, np.diff(edges) * row, edges[:-1] * row, self.mpi.BYTE]
            self.comm.Allgatherv(self.mpi.IN_PLACE, rows)
        return False

    def hand_out(self, arrays: list[Array], rows: Array, batch_size: int) -> list[Array]:
        """Of these rows of all data, in the order of training: those of this rank's shares, as they
        came; and last where each of them lies, in that order."""
        starts = np.cumsum([0, *self.lengths])
        owner = np.searchsorted(starts, rows, side="right") - 1
        taker = np.empty(len(rows), np.int64)
        for begin in range(0, len(rows), batch_size):
            m = min(batch_size, len(rows) - begin)
            edges = [m * rank // self.ranks for rank in range(self.ranks + 1)]
            taker[begin : begin + m] = np.repeat(np.arange(self.ranks), np.diff(edges))
        given = np.flatnonzero(owner == self.rank)
        given = given[np.argsort(taker[given], kind="stable")]
        taken = np.flatnonzero(taker == self.rank)
        order = np.argsort(owner[taken], kind="stable")
        to = np.bincount(taker[given], minlength=self.ranks)
        of = np.bincount(owner[taken], minlength=self.ranks)
        results = []
        for array in arrays:
            sent = np.ascontiguousarray(array[rows[given] - starts[self.rank]])
            got = np.empty((len(taken), *array.shape[1:]), array.dtype)
            size = array.dtype.itemsize * int(np.prod(array.shape[1:]))
            self.comm.Alltoallv([sent, to * size, self.mpi.BYTE], [got, of * size, self.mpi.BYTE])
            results.append(got)
        where = np.empty(len(taken), np.int64)
        where[order] = np.arange(len(taken))
        return [*results, where]

    def gather(self, array: Array) -> Array:
        """All rows of all ranks, in their order."""
        return np.concatenate(self.comm.allgather(array))


def _memory(address: int, n_bytes: int) -> Any:
    return (ctypes.c_char * n_bytes).from_address(address)


def _portable(error: BaseException | None) -> BaseException | None:
    # An error that other processes can raise too.
    if error is None:
        return None
    try:
        if type(pickle.loads(pickle.dumps(error))) is type(error):
            return error
    except Exception:
        pass
    return RuntimeError(f"on another rank: {type(error).__name__}: {error}")


def train(net: Network, X: Any, y: Any, given: dict[str, Any]) -> History:
    """`Network.train` with ``comm=``: the same checks, then `run`."""
    comm = given.pop("comm")
    with Exchange(net, comm, check.flag("deterministic", given.pop("deterministic"))) as exchange:
        if exchange.ranks == 1 and given["checkpoint"] is not None:
            exchange.together = True  # and so that another number of ranks may go on from it
        elif exchange.ranks == 1:
            exchange.agreed = True
            return net.train(X, y, **given)
        X, y = exchange.begin(X, y, given)
        return net.train(X, y, **given, comm=exchange)


def run(net: Network, call: _run.Call) -> History:
    """As `_run.run`, for this rank's rows; all ranks come out alike."""
    exchange = call.exchange
    call = _one_rank_of(exchange, call)
    exchange.agree(None, _settings(net, call))
    history = History()
    between = _run.Between(net, call, history)
    epochs = _resumed(net, call, between)
    _take_over(net, call)
    variance = _variance(exchange, call)
    for epoch in range(len(history), epochs):
        with net._alone if epoch == 0 else net._again:
            if not _epoch(net, call, between, variance):
                break
        stop, error = False, None
        try:
            stop = between.after_epoch()
        except BaseException as failure:
            error = failure
        if any(exchange.tell(stop, error)):
            break
    error = None
    try:
        between.end()
    except BaseException as failure:
        error = failure
    exchange.tell(None, error)
    if history.cost:
        warn_of_layers(history)
    return history


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
    for plane in _planes(net, state):
        whole = np.ascontiguousarray(plane)
        comm.Bcast(whole)
        plane[...] = whole


def _one_rank_of(exchange: Exchange, call: _run.Call) -> _run.Call:
    # Threads by default, silence but on rank 0, and no rows where there are none.
    if call.guess:
        call = call._replace(threads=exchange.threads(), guess=0)
    if exchange.rank:
        call = call._replace(progress=None, keeper=None)
    if not exchange.lengths[exchange.rank]:
        target = call.target._replace(array=call.target.array[:0])
        call = call._replace(X=call.X[:0], target=target)
    return call._replace(batch_size=min(call.given_batch_size, exchange.total))


def _settings(net: Network, call: _run.Call) -> dict[str, Any]:
    settings = {
        "sizes": net.sizes, "activation": str(net.activations), "cost": str(net.cost),
        "dtype": str(net.dtype), "dtype of X": str(call.X.dtype),
        "kind of y": (call.target.score, call.target.array.shape[1:], call.target.array.dtype.str),
        "deterministic": call.exchange.together, "validation_data": call.validation is not None,
    }  # fmt: skip
    for name in ("batch_size", "epochs", "rule", "rate", "l1", "l2", "clip", "clip_norm",
                 "max_norm", "drops", "noise", "shuffle", "stopping"):  # fmt: skip
        text = repr(getattr(call, name))
        settings[name] = text if " at 0x" not in text else type(getattr(call, name)).__name__
    return settings


def _variance(exchange: Exchange, call: _run.Call) -> Array | None:
    # Of each target over all rows, in their order, as one process would find it.
    if call.target.score != check.SQUARED_ERROR:
        return None
    found: Array = _gate.variance(_engine.Targets(exchange.gather(call.target.array)))
    return found


def _epoch(net: Network, call: _run.Call, between: _run.Between, variance: Array | None) -> bool:
    # One epoch, window by window; whether it came to its end.
    exchange, here, m = call.exchange, net._position, call.batch_size
    began, total, rate = time.perf_counter(), exchange.total, None
    shuffled = call.shuffle and m < total
    order = _engine.order(net._key, here.epoch, total) if shuffled else np.arange(total)
    row = call.X.dtype.itemsize * net.sizes[0]
    window = max(1, WINDOW_BYTES // max(1, m * row)) * m
    kept = _kept(net)
    _run.refuse_inside(net)
    for number, begin in enumerate(range(0, total, window)):
        rows = order[begin : begin + window]
        share = exchange.hand_out([call.X, call.target.array], rows, m)
        exchange.n = len(rows)
        # Of as many rows, for as many rates.
        eta = _run.rates(call._replace(X=np.empty((len(rows), 0))), net, 1, 0)
        if eta is None:
            return False
        rate = float(eta[0, 0]) if rate is None else rate
        before = (number, begin // m, begin)
        outcome = _window(net, call, share, eta, before, between)
        if outcome == "stopped":
            return False
        if outcome in ("bad input", "diverged"):
            _put_back(net, kept)
            _fail(net, call, outcome, eta, between.history)
    if not exchange.together:
        sums = np.concatenate([[here.cost_sum], here.score_sums, here.error_squares])
        exchange.comm.Allreduce(exchange.mpi.IN_PLACE, sums)
        n = len(here.score_sums)
        here.cost_sum = float(sums[0])
        here.score_sums, here.error_squares = sums[1 : n + 1].copy(), sums[n + 1 :].copy()
    assert rate is not None
    history = between.history
    history.score_name = "accuracy" if variance is None else "r2"
    close_epoch(net, call, between, float(total), variance, rate, began)
    return True


def _window(net: Network, call: _run.Call, share: list[Array], eta: Array,
            before: tuple[int, int, int], between: _run.Between) -> str:  # fmt: skip
    # What became of it on all ranks: the worst.
    X, y, where = share
    if not len(X):  # the core wants rows to point at
        X, y = np.zeros((1, X.shape[1]), X.dtype), np.zeros((1, *y.shape[1:]), y.dtype)
    status, error = _training.train(
        net._engine, _engine.Rows(X, net._engine), _engine.Targets(y), net._position, NO_SHAPE, 0,
        1, call.batch_size, _run.state_for(net, call.rule, float(eta[0, 0])), call.rule, eta, where,
        None, call.drops, call.noise, call.l1, call.l2, call.clip, call.clip_norm, call.max_norm,
        False, net._key, False, call.target.score, call.threads, 0, None,
        (between.history, net.history), call.validation is not None, between.on_batch, before,
        call.exchange,
    )  # fmt: skip
    outcomes = call.exchange.tell(status, error if status == "interrupted" else None)
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
    planes = [plane.copy() for plane in _planes(net, state)]
    return panels, dict(vars(net._position)), (planes, state.steps, state.product)


def _planes(net: Network, state: Any) -> Iterator[Array]:
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
        for to, before in zip(_planes(net, state), planes, strict=True):
            to[...] = before
        state.steps, state.product = remembered[1:]


def _fail(net: Network, call: _run.Call, outcome: str, eta: Array, history: History) -> None:
    error: BaseException | None = None
    if outcome == "bad input":
        try:
            check.refuse_nonfinite("X", call.X, net.dtype)
        except ValueError as found:
            error = ValueError(f"on rank {call.exchange.rank}: {found}")
        call.exchange.tell(None, error)
        net._refuse_scaled(call.X)
    last = float(eta[-1, -1])
    raise DivergenceError(
        f"weights or cost are not finite after epoch {net._position.epoch}: learning_rate = "
        f"{last:g} is too large for this data; try {last / 10:g}, or scale the inputs to about "
        "0 .. 1. The weights are those before that epoch",
        net._position.epoch, history,
    )  # fmt: skip
