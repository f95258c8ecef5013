"""Parquet files, read a few thousand rows at a time by pyarrow."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cbackprop import _extras, _opening
from cbackprop.io.array_chunks import readable

__all__ = ["ParquetFiles"]

Array = NDArray[Any]

PIECE_BYTES = 2**21  # of rows that are taken from columns together
BUFFER_BYTES = 2**17  # of each column's file that is in memory


class Group(NamedTuple):
    """A row group: which file's, which one there, and the rows of the file before it."""

    file: int
    number: int
    before: int


class ParquetFiles:
    """The row groups of one file after the other, a data set; a `_chunks.Source`.

    Parameters
    ----------
    paths : list of str
    target : list of str
        One column, or several of real targets.
    features : list of str, optional
        Default: all the others.
    weight : str, optional
    dtype : str, optional
        Of X. Default: which holds what the columns hold.
    """

    def __init__(
        self,
        paths: Sequence[str],
        target: Sequence[str],
        features: Sequence[str] | None,
        weight: str | None,
        dtype: str | None,
    ) -> None:
        self.paths, self.target, self.weight = paths, target, weight
        self.weighted = weight is not None
        self.groups: list[Group] = []
        self.lengths: list[int] = []
        sizes: list[int] = []
        dtypes: list[np.dtype[Any]] = []
        self.states = [_opening.state_of(path) for path in paths]
        kinds: list[list[Any]] = [[] for _ in target]
        for number, path in enumerate(paths):
            with _opened(path) as file:
                schema, metadata = file.schema_arrow, file.metadata
                if features is None:
                    beside = {*target, weight}
                    features = [name for name in schema.names if name not in beside]
                    _opening.some_features(path, features)
                taken = [*features, *target, *([] if weight is None else [weight])]
                _opening.columns_there(path, taken, schema.names)
                dtypes += [_dtype_of(path, schema.field(name)) for name in features]
                for kind, name in zip(kinds, target, strict=True):
                    kind.append(schema.field(name).type)
                before = 0
                for index in range(metadata.num_row_groups):
                    group = metadata.row_group(index)
                    if group.num_rows:
                        self.groups.append(Group(number, index, before))
                        self.lengths.append(group.num_rows)
                        sizes.append(group.total_byte_size)
                    before += group.num_rows
        _opening.some_rows(paths[0], self.lengths)
        self.features: Sequence[str] = features or []
        self.n_inputs = len(self.features)
        self.dtype = readable(dtypes) if dtype is None else np.dtype(dtype)
        self.of_targets = [_common(kind) for kind in kinds]
        about = repr((self.features, target, weight, self.lengths, sizes))
        self.told = hashlib.sha256(about.encode()).hexdigest()[:16]

    def digest(self) -> str:
        """Of the columns' names and the row groups' sizes."""
        return f"{self.dtype} {self.told}"

    def pieces(self, group: int, start: int, with_X: bool) -> Iterator[tuple[Array, ...]]:
        """Decoded as they are asked for."""
        number, index, before = self.groups[group]
        path = self.paths[number]
        names = [*(self.features if with_X else ()), *self.target]
        names += [] if self.weight is None else [self.weight]
        rows = max(256, PIECE_BYTES // max(1, len(names) * self.dtype.itemsize))
        at = 0
        _opening.unchanged(path, self.states[number])
        with _opened(path) as file:
            batches = file.iter_batches(rows, [index], names, use_threads=False)
            for batch in _readable(path, batches):
                skipped = min(max(start - at, 0), len(batch))
                if skipped < len(batch):
                    rest = batch.slice(skipped)
                    yield self._piece(rest, path, before + at + skipped, with_X)
                at += len(batch)
        _opening.as_many_rows(path, at, self.lengths[group])

    def _piece(self, batch: Any, path: str, first: int, with_X: bool) -> tuple[Array, ...]:
        def column(name: str) -> Array:
            return _values(batch.column(names[name]), path, first, name)

        names = {name: i for i, name in enumerate(batch.schema.names)}
        found = []
        if with_X:
            X = np.empty((len(batch), self.n_inputs), self.dtype)
            for k, name in enumerate(self.features):
                X[:, k] = column(name)
            _refuse_nonfinite(X, path, first, self.features)
            found.append(X)
        y = [
            column(name) if dtype is None else column(name).astype(dtype, copy=False)
            for name, dtype in zip(self.target, self.of_targets, strict=True)
        ]
        found.append(y[0] if len(y) == 1 else np.stack(y, axis=1))
        if self.weight is not None:
            found.append(column(self.weight))
        return tuple(found)


def _common(types: list[Any]) -> np.dtype[Any] | None:
    # Of a target that is of several types in several files, so that all windows have one.
    dtypes = {np.dtype(found.to_pandas_dtype()) for found in types}
    if len(dtypes) < 2 or any(dtype.kind not in "iuf" for dtype in dtypes):
        return None
    return np.result_type(*dtypes)


def _opened(path: str) -> Any:
    arrow = _extras.need("pyarrow", f"{path}: Parquet", "pyarrow", "data")
    parquet = _extras.need("pyarrow.parquet", f"{path}: Parquet", "pyarrow", "data")
    os.stat(path)  # its error is the clearer one
    try:
        return parquet.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False)
    except (arrow.ArrowException, OSError, ValueError, TypeError) as error:
        raise _damaged(path, error) from None


def _readable(path: str, batches: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from batches
    except (OSError, ValueError, TypeError) as error:  # ArrowException is one of them
        raise _damaged(path, error) from None


def _damaged(path: str, error: Exception) -> ValueError:
    why = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return ValueError(f"{path}: damaged Parquet file: {why}")


def _dtype_of(path: str, field: Any) -> np.dtype[Any]:
    # Of a column of numbers.
    are = _extras.need("pyarrow", f"{path}: Parquet", "pyarrow", "data").types
    if are.is_boolean(field.type):
        return np.dtype(np.uint8)
    if are.is_integer(field.type) or are.is_floating(field.type):
        dtype: np.dtype[Any] = np.dtype(field.type.to_pandas_dtype())
        return dtype
    _opening.numbers_in_column(path, field.name, str(field.type), are.is_decimal(field.type))
    return np.dtype(np.float64)


def _values(column: Any, path: str, first: int, name: str) -> Array:
    """Numbers as they are, text as str."""
    arrow = _extras.need("pyarrow", f"{path}: Parquet", "pyarrow", "data")
    are = arrow.types
    if column.null_count:
        row = first + int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise ValueError(
            f"{path}: row {row}, column {name!r}: missing value; fill it or remove the row"
        )
    if are.is_decimal(column.type):
        column = column.cast(arrow.float64())
    if are.is_boolean(column.type) or are.is_integer(column.type) or are.is_floating(column.type):
        numbers: Array = column.to_numpy(zero_copy_only=False)
        return numbers
    try:
        packed = column.cast(arrow.string()).dictionary_encode()
    except (arrow.ArrowException, ValueError):
        _opening.numbers_in_column(path, name, str(column.type), False)
    words = np.array([word.strip() for word in packed.dictionary.to_pylist()], str)
    texts: Array = words[packed.indices.to_numpy()]
    return texts


def _refuse_nonfinite(X: Array, path: str, first: int, names: Sequence[str]) -> None:
    # A sum that is finite is of finite numbers; one that is not may have overflowed.
    with np.errstate(over="ignore", invalid="ignore"):
        if X.dtype.kind != "f" or np.isfinite(X.sum()):
            return
    wrong = np.argwhere(~np.isfinite(X))
    if len(wrong):
        row, k = (int(i) for i in wrong[0])
        raise ValueError(
            f"{path}: row {first + row}, column {names[k]!r}: {X[row, k]} is no finite number in "
            f"{X.dtype}; fill it or remove the row"
        )
