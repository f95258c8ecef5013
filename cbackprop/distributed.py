"""Many networks over one data set, each the same bits as trained alone."""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cbackprop import _job, _options, _threads
from cbackprop.history import History
from cbackprop.network import Network

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from distributed import Client


def _names(function: Any) -> set[str]:
    """Of the arguments that are given by name."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}


def train_many(
    specs: Iterable[Mapping[str, Any]],
    X: Any,
    y: Any = None,
    *,
    executor: Executor | Client | None = None,
    on_error: str = "yield",
    **common: Any,
) -> Iterator[tuple[int, Network | None, History | BaseException]]:
    """Train a network for each spec; results come as they finish.

    Parameters
    ----------
    specs : iterable of dict
        ``sizes`` and any arguments of `Network` and `Network.train`.
    X, y
        As for `Network.train`; the networks share them. Of Chunks, each reads for itself.
    executor : concurrent.futures.Executor or distributed.Client, optional
        Where to train. Default: a thread for each processor, each network on one thread of
        its own, outside the GIL. Process pools and ``mpi4py.futures.MPIPoolExecutor`` find X in a
        file, mapped into memory (workers that do not see this machine's files are sent it); a Dask
        cluster, by its client or the client's executor, is sent the data once, and trains the
        networks of a worker that is lost anew, with the same bits. Where a lost worker is the end
        of a process pool, its networks are failures to be trained again; of an MPI job it is the
        end.
    on_error : "yield" or "raise"
        Whether a failure is a result like the others, or ends all.
    **common
        Arguments for all; a spec's own come first.

    Yields
    ------
    tuple
        (index of the spec, network, history), or (index, None, exception).

    Raises
    ------
    KeyboardInterrupt
        Networks that are training stop after their mini-batch, as they do when the caller iterates
        no further or on_error raises; on executors of other processes they go on to their end.
    ValueError, TypeError
        on_error is neither, executor is none, or a spec is no dict, has no ``sizes`` or a name
        that neither `Network` nor `Network.train` takes; nothing was trained.

    Examples
    --------
    >>> X, y = [[0.0], [1.0]], [0, 1]
    >>> specs = [{"sizes": [1, n, 2], "rng": n} for n in (2, 3)]
    >>> found = train_many(specs, X, y, output="softmax", epochs=2)
    >>> sorted((i, net.sizes) for i, net, history in found)
    [(0, (1, 2, 2)), (1, (1, 3, 2))]
    """
    if on_error not in ("yield", "raise"):
        raise ValueError(f"on_error = {on_error!r}, expected 'yield' or 'raise'")
    _options.executor(executor)
    known = {"sizes"} | _names(Network) | _names(Network.train)
    jobs = _options.specs(specs, common, known)
    for job in jobs:
        job.setdefault("n_threads", 1)
    return _results(jobs, X, y, executor, on_error == "raise")


def _results(
    jobs: list[dict[str, Any]], X: Any, y: Any, executor: Any, fail: bool
) -> Iterator[tuple[int, Network | None, History | BaseException]]:
    from concurrent.futures import CancelledError, ThreadPoolExecutor
    from queue import SimpleQueue

    own = ThreadPoolExecutor(_threads.available()) if executor is None else None
    pool = own or executor
    # In threads of this process what is not wanted any more is stopped; elsewhere it ends.
    brake = _job.Brake() if isinstance(pool, ThreadPoolExecutor) else None
    futures: dict[Future[tuple[Network, History] | None], int] = {}
    anew: set[int] = set()
    ended: SimpleQueue[Future[tuple[Network, History] | None]] = SimpleQueue()

    def submit(i: int, X: Any, y: Any) -> None:
        future = pool.submit(_train, jobs[i], X, y, brake)
        futures[future] = i
        future.add_done_callback(ended.put)

    with _lent(pool, X, y) as (pool, X_there, y_there):
        try:
            for i in range(len(jobs)):
                submit(i, X_there, y_there)
            left = len(jobs)
            while left:
                future = ended.get()
                i = futures[future]
                try:
                    error = future.exception()
                    result = future.result() if error is None else None
                except CancelledError:  # nobody here did: Dask, of a worker lost at a bad moment
                    if i in anew or not isinstance(pool, _Dask):
                        raise
                    anew.add(i)
                    submit(i, X, y)
                    continue
                if error is None and result is None:
                    submit(i, X, y)
                    continue
                left -= 1
                if result is not None:
                    yield i, *result
                elif error is not None:
                    if fail:
                        raise error
                    yield i, None, error
        finally:
            for future in futures:
                future.cancel()
            if brake:
                brake.pull()
            if own:
                own.shutdown()


@contextlib.contextmanager
def _lent(pool: Any, X: Any, y: Any) -> Iterator[tuple[Any, Any, Any]]:
    """The executor, and the data as its workers find them without being sent them for each
    network."""
    import tempfile
    from concurrent.futures import ProcessPoolExecutor
    from pathlib import Path

    client: Any = pool if hasattr(pool, "get_executor") else getattr(pool, "_client", None)
    if hasattr(client, "scatter"):  # Dask
        X, y = client.scatter([_Whole(X), _Whole(y)], broadcast=True, hash=False)
        # Not by its executors: they take a result for an error if its worker is lost meanwhile.
        yield _Dask(client, {"pure": False, **getattr(pool, "_kwargs", {})}), X, y
    elif isinstance(X, np.ndarray) and (
        isinstance(pool, ProcessPoolExecutor) or type(pool).__module__.startswith("mpi4py.")
    ):
        with tempfile.TemporaryDirectory(prefix="cbackprop-") as folder:
            path = Path(folder, "X.npy")
            np.save(path, X, allow_pickle=False)
            yield pool, path, y
    else:
        yield pool, X, y


class _Dask:
    def __init__(self, client: Any, options: dict[str, Any]) -> None:
        self.client, self.options = client, options

    def submit(self, *call: Any) -> Any:
        return self.client.submit(*call, **self.options)


class _Whole:
    # Dask takes lists apart; this it sends as it is.
    def __init__(self, value: Any) -> None:
        self.value = value


def _found(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return np.load(value, mmap_mode="r")
    return value.value if isinstance(value, _Whole) else value


def _train(
    job: dict[str, Any], X: Any, y: Any, brake: _job.Brake | None
) -> tuple[Network, History] | None:
    # None: this worker does not see the file that X is in.
    try:
        X = _found(X)
    except FileNotFoundError:
        return None
    its_own = _names(Network)
    about = {name: value for name, value in job.items() if name in its_own}
    rest = {name: value for name, value in job.items() if name not in {*about, "sizes"}}
    net = Network(job["sizes"], **about)
    net._engine.brake = brake
    try:
        return net, net.train(X, _found(y), **rest)
    finally:
        net._engine.brake = None
