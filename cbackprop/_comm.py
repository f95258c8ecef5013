"""One network over several processes that pass messages (MPI): what is told when, and that all of
them end alike. The epochs are in `_comm_epochs.py`, the core's part is `_ranks.pyx`."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from cbackprop import _extras, _options, _threads
from cbackprop import _validation as check
from cbackprop.callbacks import Checkpoint
from cbackprop.history import History
from cbackprop.io.checkpoint import OfRanks
from cbackprop.optimizers import LBFGS

if TYPE_CHECKING:
    from cbackprop.network import Network

Array = NDArray[Any]


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
        late = self.error()  # came after the last message
        if late is not None and error[1] is None:
            raise late

    def error(self) -> BaseException | None:
        """What the handlers of signals that came meanwhile raise."""
        while self.waiting:
            number, frame = self.waiting.pop(0)
            try:
                self.handlers[number](number, frame)
            except BaseException as error:
                return error
        return None


class Rows(NamedTuple):
    """What a rank tells of rows of which each holds some."""

    length: int
    sample: tuple[Array, Array] | None  # the first of them
    labels: Array | None  # where y can only hold such
    weighted: bool


class Exchange:
    """The processes that train one network, as one of them sees it.

    As a context: an error of one of them, before training has begun, is raised on all. What goes
    wrong later on one alone, where the others wait for its messages, ends the whole job.
    """

    def __init__(self, net: Network, comm: Any) -> None:
        for name in ("Get_rank", "Get_size", "allgather", "Allreduce", "Alltoallv", "Abort"):
            if not hasattr(comm, name):
                raise TypeError(f"comm = {comm!r}, expected a communicator of mpi4py")
        self.mpi = _extras.need("mpi4py.MPI", "comm=", "mpi4py", "mpi")
        self.net, self.comm, self.together = net, comm, False
        self.rank, self.ranks = comm.Get_rank(), comm.Get_size()
        self.agreed = False  # training has begun
        self.over = False  # all know how it ends
        self.later = Later()
        self.failure: BaseException | None = None  # to leave with
        self.lengths: list[int] = []  # of each rank's rows; and of this rank's, those that count
        self.chosen: Array | None = None
        self.kept: list[int] = []  # lengths that `split` leaves
        self.n = self.total = 0  # rows of the window, and of all
        self.meetings = 0  # of the window
        self.places: list[tuple[Any, int]] = []
        self.sums: Any = None
        self.before = net.classes, net.steps

    def __enter__(self) -> Exchange:
        self.later.__enter__()
        here = self.comm.Split_type(self.mpi.COMM_TYPE_SHARED)
        # This rank's share of the machine.
        self.threads = max(1, _threads.available() // int(here.Get_size()))
        here.Free()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        try:
            if error is not None:
                classes, steps = self.before
                if self.net.steps == steps:
                    self.net.classes = classes
                if not self.agreed:
                    self.agree(error)
                elif not self.over:
                    self.end_job()
        finally:
            self.later.__exit__(kind, error, trace)

    def end_job(self) -> NoReturn:
        """With the error being handled, which the other ranks cannot be told: they wait for
        messages that will not come."""
        print(
            f"{traceback.format_exc()}rank {self.rank} of {self.ranks}: the error above came in "
            "the middle of the messages between ranks, where the others cannot hear of it; the job "
            "ends here, a checkpoint= can be resumed",
            file=sys.stderr,
            flush=True,
        )
        time.sleep(0.5)  # or mpiexec might kill before it has passed that on
        self.comm.Abort(1)
        os._exit(1)  # MPICH's comes back, until mpiexec has heard of it

    @contextlib.contextmanager
    def alike(self) -> Iterator[None]:
        """What is found wrong in here is found by all ranks."""
        try:
            yield
        except (ArithmeticError, ValueError, TypeError):
            self.over = True
            raise

    def tell(self, value: Any, error: BaseException | None = None) -> list[Any]:
        """The values of all ranks; an error on any of them is raised on all."""
        error = error or self.failure or self.later.error()
        self.failure = None
        try:
            told = self.comm.allgather((value, _portable(error)))
        except BaseException:
            self.end_job()
        for rank, (_, other) in enumerate(told):
            if other is not None:
                self.agreed = self.over = True
                if error is not None and rank == self.rank:
                    raise error
                other.add_note(f"raised on rank {rank} of {self.ranks}")
                raise other
        return [value for value, _ in told]

    def agree(self, error: BaseException | None = None, settings: Any = None) -> None:
        """That all are ready for the same training."""
        told = self.tell(settings, error)
        self.agreed = True
        with self.alike():
            refuse_different(told)

    # ---- before training ----------------------------------------------------------------

    def begin(self, X: Any, y: Any, given: dict[str, Any]) -> tuple[Any, Any]:
        """X and y as this rank's checks should see them, and ``given`` likewise."""
        _refuse(given)
        same = ("class_weight", "validation_split", "label_smoothing")
        form = {name: repr(given[name]) for name in same}
        form["y"] = "None, X in blocks" if y is None else "given"
        if y is None:
            self.share(None, form)
            return X, None
        data = self.share((X, y, given["sample_weight"]), form)
        assert data is not None
        X, y, given["sample_weight"] = data
        if not self.total:
            raise ValueError("X has no rows on any rank, expected at least one sample")
        return X, y

    def share(
        self, data: tuple[Any, Any, Any] | None, form: Any, error: BaseException | None = None
    ) -> tuple[Any, Any, Any] | None:
        """(X, y, weights) as this rank's checks should see them, where each holds some of the rows:
        a rank without any borrows one. None where no rank has data."""
        mine = None
        try:
            if data is not None and error is None:
                data, mine = self._described(*data)
        except BaseException as failure:
            error = failure
        told = self.tell((mine, form), error)
        with self.alike():
            refuse_different([other for _, other in told])
            rows = [Rows(0, None, None, False) if one is None else one for one, _ in told]
            self.lengths, self.chosen = [one.length for one in rows], None
            self.total = sum(self.lengths)
            if all(one is None for one, _ in told):
                return None
            full = [one for one in rows if one.length]
            if len({one.weighted for one in full}) > 1:
                raise ValueError(
                    "sample_weight is given on some ranks only; give it on all that hold rows"
                )
            if full and self.net.classes is None and all(one.labels is not None for one in full):
                union = np.unique(np.concatenate([one.labels for one in full]))
                self.net.classes = self.net._targets(union, len(union)).classes
        if full and not self.lengths[self.rank]:
            X, y = next(one.sample for one in full if one.sample is not None)
            return X, y, np.ones(1) if full[0].weighted else None
        return data

    def _described(self, X: Any, y: Any, weights: Any) -> tuple[tuple[Any, Any, Any], Rows]:
        y = check.as_array("y", y)
        labels = None
        if y.ndim == 1 and (self.net.sizes[-1] > 1 or y.dtype.kind != "f"):
            labels = np.unique(y)
        if not len(X) and np.size(weights if weights is not None else ()):
            raise ValueError(f"sample_weight has {np.size(weights)} entries, but X has no rows")
        sample = (np.asarray(X[:1]), y[:1]) if len(X) else None
        return (X, y, weights), Rows(len(X), sample, labels, weights is not None)

    def of_rows(self, value: Any) -> list[Any]:
        """The values of the ranks that hold rows."""
        return [told for told, n in zip(self.tell(value), self.lengths, strict=True) if n]

    def whole(self, array: Array) -> Array:
        """All rows of all ranks, in their order; one that is borrowed is none."""
        return np.concatenate(self.of_rows(array))

    def split(self, fraction: float, array: Array, key: int) -> tuple[Array, Array]:
        """As `_options.split` of the rows of all ranks in their order: which of this rank's are
        trained on, and which held out."""
        labels = self.whole(array if array.ndim == 1 else np.zeros(len(array), np.int32))
        both = _options.split(fraction, labels, self.tell(key)[0])
        edges = np.cumsum([0, *self.lengths])
        begin, end = edges[self.rank], edges[self.rank + 1]
        chosen, held_out = (rows[(begin <= rows) & (rows < end)] - begin for rows in both)
        self.kept = np.diff(np.searchsorted(both[0], edges)).tolist()
        return chosen, held_out

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
        try:
            return self._meet(m, leaving)
        except BaseException:
            self.end_job()

    def _meet(self, m: int, leaving: int) -> bool:
        self.meetings += 1
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

    def pack(self, arrays: list[Array], rows: Array, batch_size: int) -> list[Any]:
        """Of these rows of all data, in the order of training: those of this rank's, for `send`."""
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
        own = rows[given] - starts[self.rank]
        if self.chosen is not None:
            own = self.chosen[own]
        parcels: list[Any] = []
        for array in arrays:
            sent = np.ascontiguousarray(array[own])
            got = np.empty((len(taken), *array.shape[1:]), array.dtype)
            size = array.dtype.itemsize * int(np.prod(array.shape[1:]))
            parcels.append([(sent, to * size), (got, of * size)])
        where = np.empty(len(taken), np.int64)
        where[order] = np.arange(len(taken))
        return [*parcels, where]

    def send(self, packed: list[Any]) -> list[Array]:
        """What `pack` made of each array: this rank's shares, as they came; and last where each row
        lies, in the order of training."""
        *parcels, where = packed
        for sent, got in parcels:
            self.comm.Alltoallv([*sent, self.mpi.BYTE], [*got, self.mpi.BYTE])
        return [*(got for _, (got, _) in parcels), where]


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


def _refuse(given: dict[str, Any]) -> None:
    # What processes that hold a part of the rows each cannot have; and a checkpoint becomes one
    # from which another number of ranks may go on.
    if given["optimizer"] == "lbfgs" or isinstance(given["optimizer"], LBFGS):
        raise ValueError(
            "optimizer 'lbfgs' with comm= is not there: each rank's SciPy would have to take the "
            "same way to the bit; give another optimizer"
        )
    plan = given["checkpoint"]
    if plan is not None:
        plan = plan if isinstance(plan, Checkpoint) else Checkpoint(plan)
        if plan.every_epochs is None:
            raise ValueError("checkpoint with comm= is written after epochs; give every_epochs=")
        given["checkpoint"] = OfRanks(plan.path, plan.every_epochs)
    for name in given["monitor"] if isinstance(given["monitor"], list | tuple) else ():
        if isinstance(name, str) and name.startswith("training"):
            raise ValueError(
                f"monitor = {name!r} with comm= needs all rows on every rank; see History.cost, or "
                "evaluate rows of your choice as validation_data="
            )


def refuse_different(told: list[Any]) -> None:
    # Settings by name, of each rank.
    for rank, other in enumerate(told):
        for name in told[0] or ():
            if other[name] != told[0][name]:
                raise ValueError(
                    f"{name} differs between ranks: {told[0][name]} on rank 0, {other[name]} "
                    f"on rank {rank}; give all ranks the same"
                )


def train(net: Network, X: Any, y: Any, given: dict[str, Any]) -> History:
    """`Network.train` with ``comm=``: the same checks, then `_comm_epochs`."""
    exchange, deterministic = Exchange(net, given.pop("comm")), given.pop("deterministic")
    if exchange.ranks == 1:
        check.flag("deterministic", deterministic)
        _refuse(given)  # alike for any number
        return net.train(X, y, **given)
    with exchange:
        exchange.together = check.flag("deterministic", deterministic)
        X, y = exchange.begin(X, y, given)
        return net.train(X, y, **given, comm=exchange)
