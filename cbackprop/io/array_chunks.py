"""Arrays that are read a slice at a time: memory-mapped, or of a library of their own."""

from __future__ import annotations

import hashlib
import io
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from cbackprop import _opening
from cbackprop.io import atomic

__all__ = ["Arrays", "Npy", "readable", "write_npy"]

Array = NDArray[Any]

GROUP_BYTES = 2**22  # that are read in one go
SAMPLE = 64  # pieces of rows by which other data is told


class Arrays:
    """X, y and weights of one data set, in one piece or several; a `_chunks.Source`.

    Parameters
    ----------
    parts : list of (X, y) or (X, y, weights)
        With a shape, a dtype and slices of rows; their lengths agree.
    group_rows : int, optional
    """

    def __init__(self, parts: Sequence[tuple[Any, ...]], group_rows: int | None) -> None:
        self.parts = parts
        self.n_inputs = parts[0][0].shape[1]
        self.weighted = len(parts[0]) == 3
        self.dtype = readable([np.dtype(part[0].dtype) for part in parts])
        y = {np.dtype(part[1].dtype) for part in parts}
        numbers = all(dtype.kind in "iuf" for dtype in y)
        self.of_targets = np.result_type(*y) if len(y) > 1 and numbers else None
        if group_rows is None:
            group_rows = max(1, GROUP_BYTES // max(1, self.n_inputs * self.dtype.itemsize))
        self.places = [
            (i, first, min(first + group_rows, part[0].shape[0]))
            for i, part in enumerate(parts)
            for first in range(0, part[0].shape[0], group_rows)
        ]
        self.lengths = [stop - first for _, first, stop in self.places]

    def pieces(self, group: int, start: int, with_X: bool) -> Iterator[tuple[Array, ...]]:
        """All at once: a group is small."""
        i, first, stop = self.places[group]
        rows = slice(first + start, stop)
        found = [np.asarray(part[rows]) for part in self.parts[i][0 if with_X else 1 :]]
        if self.of_targets is not None:  # the parts' y are of several types
            found[with_X] = found[with_X].astype(self.of_targets, copy=False)
        yield tuple(found)

    def digest(self) -> str:
        """Of some rows of each array."""
        told = hashlib.sha256()
        for i in np.unique(np.linspace(0, len(self.places) - 1, SAMPLE).astype(int)):
            part, first, _ = self.places[i]
            for array in self.parts[part]:
                told.update(np.ascontiguousarray(array[first : first + 1]).tobytes())
        return f"{self.dtype} {told.hexdigest()[:16]}"


class Npy:
    """The array in an NPY file, read where it is asked for; a mapped one would count as memory,
    and kill the process where somebody cuts the file short.

    Parameters
    ----------
    path : str
    columns : int or list of int, optional
        Of a matrix, which are taken.
    """

    def __init__(self, path: str, columns: int | list[int] | None = None) -> None:
        self.path, self.columns = path, columns
        self.state = _opening.state_of(path)
        with open(path, "rb") as stream:
            try:
                version = npy.read_magic(stream)
                read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                shape, is_fortran, self.dtype = read(stream)
            except (ValueError, TypeError, EOFError, RecursionError, TokenError) as error:
                _opening.not_npy(path, error)
            self.begin = stream.tell()
        if (
            self.dtype.kind not in "buifSU"
            or self.dtype.subdtype
            or not shape
            or (columns is not None and len(shape) != 2)
        ):
            _opening.not_npy(path, f"dtype {self.dtype} of shape {shape}")
        _opening.in_row_order(path, is_fortran and len(shape) > 1)
        self.width = math.prod(shape[1:])
        rest = shape[1:] if columns is None else np.shape(columns)
        self.shape: tuple[int, ...] = (shape[0], *rest)

    def __getitem__(self, rows: slice) -> Array:
        _opening.unchanged(self.path, self.state)
        first, stop, _ = rows.indices(self.shape[0])
        count = max(0, stop - first) * self.width
        offset = self.begin + first * self.width * self.dtype.itemsize
        found = np.fromfile(self.path, self.dtype, count, offset=offset)
        _opening.not_all_read(self.path, len(found), count)
        if self.columns is None:
            return found.reshape(-1, *self.shape[1:])
        chosen: Array = found.reshape(-1, self.width)[:, self.columns]
        return chosen


def write_npy(
    path: str, shape: tuple[int, ...], dtype: np.dtype[Any], blocks: Iterable[Array]
) -> None:
    """An NPY file of blocks of rows, one after the other."""
    header = io.BytesIO()
    about = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    npy.write_array_header_2_0(header, about)
    rows = (block.astype(dtype, copy=False).tobytes() for block in blocks)
    atomic.write(path, itertools.chain([header.getvalue()], rows))


def readable(dtypes: Sequence[np.dtype[Any]]) -> np.dtype[Any]:
    """Which of uint8, float32 and float64 holds numbers of all of these."""
    common = np.result_type(*dtypes)
    for dtype in (np.uint8, np.float32, np.float64):
        if np.can_cast(common, dtype, "safe"):
            return np.dtype(dtype)
    return np.dtype(np.float64)  # 64-bit integers and long floats are rounded
