"""Data sets larger than memory: a window of rows at a time, in an order that the seed gives."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from cbackprop import _engine, _opening
from cbackprop import _validation as check

__all__ = ["Chunks"]

Array = NDArray[Any]
Block = tuple[Array, ...]  # (X, y) or (X, y, weights)

# Of the rows that are mixed with each other, where nobody says how many. Not what the machine
# has: the bits of a training depend on it.
WINDOW_BYTES = 2**26
BESIDE_X = 32  # bytes a row for target, weight and place in the order
# The order of an epoch's groups is drawn as that of the rows of a block, of this number.
GROUPS = -1


class Source(Protocol):
    """Where the rows lie."""

    lengths: list[int]  # rows of each group, which lie together
    n_inputs: int
    dtype: np.dtype[Any]  # of X: uint8, float32 or float64
    weighted: bool

    def pieces(self, group: int, start: int, with_X: bool) -> Iterator[Block]:
        """The rows of a group from the start-th on, in their order, some at a time; (y,) or
        (y, weights) without X."""

    def digest(self) -> str:
        """Tells other data from this."""


class Run(NamedTuple):
    """Rows of a group of the source, which lie together."""

    group: int
    start: int
    stop: int


class Chunks:
    """A data set that stays on disk: what `open_parquet` and `open_arrays` return.

    Give it to `Network.train` in place of X and y. An epoch shuffles it in two levels: the order of
    the groups of rows that lie together (row groups of Parquet files), then the rows within a
    window of groups. Both are functions of seed and epoch alone. While the network trains on a
    window, the next one is read. With ``shuffle=False``, and where one window holds all rows, the
    bits are those of the same data in memory.

    Attributes
    ----------
    shape : (int, int)
        Rows and inputs.
    dtype : numpy.dtype
        Of X: uint8, float32 or float64.
    window_rows : int
        Rows that are mixed with each other, and of which two times as many are in memory. The
        bits of a training depend on it.

    Notes
    -----
    ``len`` is the number of rows. Iterating gives ``(X, y)``, or ``(X, y, sample_weight)``, a
    window at a time, in the order of the file. In training, a window has a whole number of
    mini-batches, so an epoch has as many steps as one of data in memory.

    Examples
    --------
    >>> from cbackprop import Network
    >>> from cbackprop.datasets import load_digits, open_arrays
    >>> digits = load_digits()
    >>> data = open_arrays(digits.X_train, digits.y_train, window_rows=400)
    >>> data
    <Chunks of 1,437 rows, 64 inputs in uint8, 400 rows a window>
    >>> net = Network([64, 30, 10], output="softmax", input_scale=digits.input_scale, rng=0)
    >>> history = net.train(data, epochs=2, learning_rate=0.5)
    >>> len(history), net.steps
    (2, 90)
    """

    def __init__(self, source: Source, runs: list[Run], window_rows: int | None) -> None:
        self._source, self._runs = source, runs
        if window_rows is None:
            row = source.n_inputs * source.dtype.itemsize + BESIDE_X
            window_rows = max(1, WINDOW_BYTES // row)
        self.window_rows = check.integer("window_rows", window_rows, 1)
        self.dtype = source.dtype
        self.shape = (sum(run.stop - run.start for run in runs), source.n_inputs)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return (
            f"<Chunks of {len(self):,} rows, {self.shape[1]} inputs in {self.dtype}, "
            f"{self.window_rows:,} rows a window>"
        )

    def __iter__(self) -> Iterator[Block]:
        return self._read(self._runs, self._edges(self.window_rows, 0, 1), None)

    def windows(
        self, epoch: int, *, rng: Any, batch_size: int = 32, shuffle: bool = True, rank: int = 0,
        ranks: int = 1,
    ) -> Iterator[Block]:  # fmt: skip
        """The windows of an epoch, in its order; or this rank's rows of each.

        For a program that shares windows out itself: rank r of R gets an even run of each window,
        so that those of all ranks, one after the other, are the windows of one process.

        Parameters
        ----------
        epoch : int
            Counted from 0.
        rng : int, SeedSequence or Generator
            As `Network`'s.
        batch_size : int
            Windows are cut between mini-batches.
        shuffle : bool
            Of the groups; `Network.train` shuffles the rows of a window.
        rank, ranks : int

        Returns
        -------
        iterator of (X, y) or (X, y, sample_weight)

        Examples
        --------
        >>> from cbackprop.datasets import open_arrays
        >>> data = open_arrays(np.arange(6.0)[:, None], np.arange(6), group_rows=2, window_rows=4)
        >>> [y.tolist() for X, y in data.windows(2, rng=0, batch_size=2)]
        [[4, 5, 0, 1], [2, 3]]
        >>> [y.tolist() for X, y in data.windows(2, rng=0, batch_size=2, rank=1, ranks=2)]
        [[0, 1], [3]]
        """
        epoch = check.integer("epoch", epoch, 0, 2**32 - 1)
        batch_size = check.integer("batch_size", batch_size, 1)
        ranks = check.integer("ranks", ranks, 1)
        rank = check.integer("rank", rank, 0, ranks - 1)
        runs = self._order(check.random_key(rng), epoch, batch_size, check.flag("shuffle", shuffle))
        return self._read(runs, self._edges(batch_size, rank, ranks), None)

    def share(self, rank: int, ranks: int) -> Chunks:
        """This rank's rows: those of all ranks, one after the other, are the whole.

        Only these are read, by `load` too, which gives what `Network.train` takes with ``comm=``.

        Examples
        --------
        >>> from cbackprop.datasets import open_arrays
        >>> data = open_arrays(np.arange(10.0)[:, None], np.arange(10))
        >>> [data.share(rank, 3).load()[1].tolist() for rank in range(3)]
        [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9]]
        """
        ranks = check.integer("ranks", ranks, 1)
        rank = check.integer("rank", rank, 0, ranks - 1)
        edges = [len(self) * r // ranks for r in (rank, rank + 1)]
        return self._of(_cut(self._runs, *edges))

    def split(self, fraction: float) -> tuple[Chunks, Chunks]:
        """Rows to train on and rows held out: the last ones of each group.

        Examples
        --------
        >>> from cbackprop.datasets import open_arrays
        >>> data = open_arrays(np.arange(10.0)[:, None], np.arange(10), group_rows=5)
        >>> train, test = data.split(0.2)
        >>> train.load()[1].tolist(), test.load()[1].tolist()
        ([0, 1, 2, 3, 5, 6, 7, 8], [4, 9])
        """
        fraction = check.real("fraction", fraction, 0, open_end=True)
        kept, held, owed = [], [], 0.0
        for run in self._runs:
            owed += fraction * (run.stop - run.start)  # so that small groups give theirs in turn
            edge = max(run.start, run.stop - round(owed))
            owed -= run.stop - edge
            kept.append(run._replace(stop=edge))
            held.append(run._replace(start=edge))
        parts = tuple(self._of([r for r in runs if r.start < r.stop]) for runs in (kept, held))
        _opening.both_have_rows(fraction, len(self), len(parts[1]))
        return parts[0], parts[1]

    def load(self) -> Block:
        """All of it in memory: (X, y), or (X, y, sample_weight)."""
        return next(self._read(self._runs, [(0, len(self))], None))

    def save_npy(self, *paths: str | os.PathLike[str]) -> None:
        """Write X, y and, where there are some, the weights as NPY files, for `open_arrays`.

        Rows of NPY files are read several times as fast as those of Parquet files are decoded.

        Parameters
        ----------
        *paths : path
            Of X, of y and of the weights; replaced when the new ones are whole.

        Examples
        --------
        >>> from cbackprop.datasets import open_arrays, open_parquet
        >>> open_parquet("taxi.parquet", target="tip").save_npy("X.npy", "y.npy")  # doctest: +SKIP
        >>> data = open_arrays("X.npy", "y.npy")  # doctest: +SKIP
        """
        from cbackprop.io.array_chunks import write_npy

        names = [check.path(f"paths[{i}]", path) for i, path in enumerate(paths)]
        _opening.a_path_each(names, 3 if self._source.weighted else 2)
        write_npy(names[0], self.shape, self.dtype, (block[0] for block in self))
        rest = zip(*self._pieces(self._runs, False), strict=True)
        for name, pieces in zip(names[1:], rest, strict=True):
            whole = np.concatenate(pieces)
            write_npy(name, whole.shape, whole.dtype, [whole])

    def labels(self, most: int | None = None) -> Array:
        """The distinct values of y (n,), sorted; y alone is read. Not more than ``most`` of them
        and one are looked for."""
        found: Array | None = None
        for piece in self._pieces(self._runs, False):
            _opening.one_label_a_row(piece[0])
            parts = piece[0] if found is None else np.concatenate([found, np.unique(piece[0])])
            found = np.unique(parts)
            if most is not None and len(found) > most:
                break
        return np.empty(0) if found is None else found

    def scaling(self, kind: str = "standard") -> tuple[Array, Array]:
        """``input_scale`` and ``input_shift`` for a `Network`, from all rows.

        Parameters
        ----------
        kind : {"standard", "minmax"}
            To mean 0 and deviation 1, or to 0 .. 1; a constant input becomes 0.

        Examples
        --------
        >>> from cbackprop.datasets import open_arrays
        >>> scale, shift = open_arrays([[1.0], [3.0]], [0, 1]).scaling()
        >>> scale, shift
        (array([1.]), array([-2.]))
        """
        from cbackprop.io import tables

        _opening.scaling(kind)
        n, mean, squares = 0, np.zeros(self.shape[1]), np.zeros(self.shape[1])
        least, most = np.full(self.shape[1], np.inf), np.full(self.shape[1], -np.inf)
        for piece in self._pieces(self._runs, True):
            X = piece[0].astype(np.float64)
            least, most = np.minimum(least, X.min(axis=0)), np.maximum(most, X.max(axis=0))
            # T. F. Chan, G. H. Golub, R. J. LeVeque, Updating formulae, 1979
            here = X.mean(axis=0)
            total, away = n + len(X), here - mean
            squares += ((X - here) ** 2).sum(axis=0) + away**2 * (n * len(X) / total)
            mean, n = mean + away * (len(X) / total), total
        if kind == "minmax":
            return tables.to_scale(least, most - least, least == most)
        return tables.to_scale(mean, np.sqrt(squares / n), least == most)

    # ---- for `Network.train` -----------------------------------------------------------------

    def _epoch(
        self, key: int, epoch: int, batch_size: int, shuffle: bool, rank: int = 0, ranks: int = 1
    ) -> Generator[Block, None, None]:
        # Windows whose X is overwritten by the next but one.
        edges = self._edges(batch_size, rank, ranks)
        rows = max(stop - start for start, stop in edges)
        room = [np.empty((rows, self.shape[1]), self.dtype) for _ in edges[:2]]
        return self._read(self._order(key, epoch, batch_size, shuffle), edges, room)

    def _first_of_y(self) -> Array:
        return next(self._pieces(self._runs, False))[0]

    def _digest(self) -> str:
        runs = hashlib.sha256(repr(self._runs).encode()).hexdigest()[:16]
        return f"{self._source.digest()}, {len(self)} rows {runs}, {self.window_rows} a window"

    # ---- how it is done ----------------------------------------------------------------------

    def _of(self, runs: list[Run]) -> Chunks:
        return Chunks(self._source, runs, self.window_rows)

    def _order(self, key: int, epoch: int, batch_size: int, shuffle: bool) -> list[Run]:
        if not shuffle or len(self._edges(batch_size, 0, 1)) == 1:
            return self._runs
        return [self._runs[i] for i in _engine.order(key, epoch, len(self._runs), GROUPS)]

    def _edges(self, batch_size: int, rank: int, ranks: int) -> list[tuple[int, int]]:
        # Of each window, the first of this rank's rows and the one after its last.
        n = len(self)
        size = min(n, max(1, self.window_rows // batch_size) * batch_size)
        windows = [(start, min(n, start + size)) for start in range(0, n, size or 1)]
        return [
            (a + (b - a) * rank // ranks, a + (b - a) * (rank + 1) // ranks) for a, b in windows
        ]

    def _pieces(self, runs: list[Run], with_X: bool) -> Iterator[Block]:
        for run in runs:
            left = run.stop - run.start
            for piece in self._source.pieces(run.group, run.start, with_X):
                yield tuple(part[:left] for part in piece)
                left -= len(piece[0])
                if left <= 0:
                    break

    def _read(
        self, runs: list[Run], edges: list[tuple[int, int]], room: list[Array] | None
    ) -> Generator[Block, None, None]:
        # One window ahead of its user, in a thread, which stops soon where he goes.
        from concurrent.futures import ThreadPoolExecutor

        gone = threading.Event()
        windows = self._windows(runs, edges, room, gone)
        with ThreadPoolExecutor(1, "cbackprop-reader") as pool:
            try:
                coming = pool.submit(next, windows, None)
                while (block := coming.result()) is not None:
                    coming = pool.submit(next, windows, None)
                    yield block
            finally:
                gone.set()

    def _windows(
        self,
        runs: list[Run],
        edges: list[tuple[int, int]],
        room: list[Array] | None,
        gone: threading.Event,
    ) -> Iterator[Block]:
        reader = Reader(self._source)
        for number, (start, stop) in enumerate(edges):
            shape = (stop - start, self.shape[1])
            X = np.empty(shape, self.dtype) if room is None else room[number % 2][: shape[0]]
            rest: list[list[Array]] = [[], []]
            at = 0
            for piece in (piece for run in _cut(runs, start, stop) for piece in reader.rows(run)):
                if gone.is_set():
                    return
                X[at : at + len(piece[0])] = piece[0]
                at += len(piece[0])
                for parts, part in zip(rest, piece[1:], strict=False):
                    parts.append(part)
            if at:
                yield (X, *(np.concatenate(parts) for parts in rest if parts))
            else:  # a rank's share of few rows
                yield tuple(part[:0] for part in next(self._source.pieces(0, 0, True)))


class Reader:
    """Reads runs of rows; one that begins behind the last one goes on in the same stream."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.at = (-1, 0)
        self.stream: Iterator[Block] = iter(())
        self.rest: Block = ()

    def rows(self, run: Run) -> Iterator[Block]:
        """The rows of a run, some at a time."""
        group, at = self.at
        if group != run.group or run.start < at:
            self.stream, self.rest = self.source.pieces(run.group, run.start, True), ()
            at = run.start
        for _ in self._next(run.start - at):
            pass
        yield from self._next(run.stop - run.start)
        self.at = (run.group, run.stop)

    def _next(self, left: int) -> Iterator[Block]:
        while left:
            piece = self.rest or next(self.stream)
            self.rest = tuple(part[left:] for part in piece) if len(piece[0]) > left else ()
            piece = tuple(part[:left] for part in piece)
            left -= len(piece[0])
            yield piece


def _cut(runs: list[Run], start: int, stop: int) -> list[Run]:
    """What lies between two places in a sequence of runs."""
    found, at = [], 0
    for group, a, b in runs:
        first, last = max(start - at, 0), min(stop - at, b - a)
        if first < last:
            found.append(Run(group, a + first, a + last))
        at += b - a
        if at >= stop:
            break
    return found
