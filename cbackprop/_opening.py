"""The gate for data sets that stay on disk: what `datasets.open_parquet` and `open_arrays` take,
and what turns out to be wrong in their files. Messages are of the kind that `_validation` gives."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from cbackprop import _validation as check
from cbackprop._names import meant

Array = NDArray[Any]


def paths(value: Any) -> list[str]:
    """One path, or a list of some."""
    if isinstance(value, str | os.PathLike):
        return [check.path("paths", value)]
    if not isinstance(value, Sequence) or not len(value):
        raise TypeError(f"paths = {value!r}, expected a path, or a list of some")
    return [check.path(f"paths[{i}]", one) for i, one in enumerate(value)]


def names(argument: str, value: Any) -> list[str]:
    """One column's name, or a list of some."""
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, Sequence) or not all(isinstance(name, str) for name in found):
        raise TypeError(f"{argument} = {value!r}, expected a column's name, or a list of some")
    for i, name in enumerate(found):
        if name in found[:i]:
            raise ValueError(f"{argument} = {value!r}, expected distinct names")
    if not found:
        raise ValueError(f"{argument} = {value!r}, expected some names")
    return list(found)


def apart(features: Sequence[str] | None, others: Sequence[str]) -> None:
    """What is learned must not be an input."""
    for name in features or ():
        if name in others:
            raise ValueError(f"features names {name!r}, which is the target or the weight as well")


def dtype(value: Any) -> str | None:
    """Of X in memory."""
    if value is not None and value not in ("float32", "float64"):
        raise ValueError(f"dtype = {value!r}, expected 'float32' or 'float64', or None")
    return None if value is None else str(value)


def some_features(path: str, found: Sequence[str]) -> None:
    """Inputs beside the target."""
    if not found:
        raise ValueError(f"{path}: no column is left as an input")


def columns_there(path: str, wanted: Sequence[str], found: Collection[str]) -> None:
    """Columns that the file has, once each."""
    for name in wanted:
        if name not in found:
            few = ", ".join(list(found)[:12]) + ", ..." * (len(found) > 12)
            raise ValueError(f"{path}: no column {name!r} in {few}{meant(name, found)}")
        if list(found).count(name) > 1:
            raise ValueError(f"{path}: several columns have the name {name!r}; rename one")


def some_rows(path: str, lengths: Sequence[int]) -> None:
    """A data set that is not empty."""
    if not sum(lengths):
        raise ValueError(f"{path}: 0 rows, expected some")


def as_many_rows(path: str, found: int, known: int) -> None:
    """A file that is as it was when it was opened."""
    if found != known:
        raise ValueError(f"{path}: {found} rows in a row group that had {known}; it has changed")


def numbers_in_column(path: str, name: str, kind: str, are: bool) -> None:
    """Columns of numbers."""
    if not are:
        raise ValueError(
            f"{path}: column {name!r} holds {kind}, expected numbers; name the others in features= "
            "(on the command line: --ignore)"
        )


def arrays(name: str, value: Any) -> list[Any]:
    """The pieces of X, y or the weights: paths of NPY files, or what has slices of rows."""
    from cbackprop.io.array_chunks import Npy

    several = (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(isinstance(one, str | os.PathLike) or hasattr(one, "shape") for one in value)
    )
    found = []
    for one in value if several else [value]:
        if isinstance(one, str | os.PathLike):
            one = Npy(check.path(name, one))
        elif not (hasattr(one, "shape") and hasattr(one, "dtype")):
            one = check.as_array(name, one)
        if not len(one.shape):
            raise ValueError(f"{name} = {one!r}, expected a row a sample")
        found.append(one)
    return found


def part(i: int, arrays: Sequence[Any], width: int) -> None:
    """X, y and perhaps weights that are arrays and belong together."""
    X, *others = arrays
    if len(X.shape) != 2:
        raise ValueError(f"X has {len(X.shape)} dimensions, expected (samples, inputs)")
    if X.shape[1] != width:
        raise ValueError(f"X[{i}] has {X.shape[1]} columns, X[0] has {width}")
    if np.dtype(X.dtype).kind not in "buif":
        raise TypeError(f"X has dtype {X.dtype}, expected real numbers")
    for name, other in zip(("y", "sample_weight"), others, strict=False):
        if len(other.shape) not in (1, 2) or other.shape[0] != X.shape[0]:
            raise ValueError(f"{name} has shape {other.shape}, expected {X.shape[0]} rows as X has")


def as_many_parts(name: str, found: int, wanted: int) -> None:
    """A list of y beside a list of X."""
    if found != wanted:
        raise ValueError(f"{name} is a list of {found} arrays, X of {wanted}")


def not_all_read(path: str, found: int, wanted: int) -> None:
    """A file that ends where its header says."""
    if found != wanted:
        raise ValueError(f"{path}: the file ends {wanted - found} numbers too early")


def in_row_order(path: str, is_fortran: bool) -> None:
    """Rows that lie together."""
    if is_fortran:
        raise ValueError(
            f"{path}: is saved column by column; save numpy.ascontiguousarray of it, or read it "
            "with numpy.load"
        )


def not_npy(path: str, why: object) -> NoReturn:
    """A file of another kind."""
    raise ValueError(f"{path}: not a usable NPY array: {why}") from None


def both_have_rows(fraction: float, rows: int, held_out: int) -> None:
    """Rows on both sides of a split."""
    if not 0 < held_out < rows:
        raise ValueError(
            f"fraction = {fraction!r} of {rows} rows holds out {held_out}; expected a number "
            "between 0 and 1 that leaves rows in both parts"
        )


def one_label_a_row(y: Array) -> None:
    """Targets of which there may be distinct values."""
    if y.ndim != 1:
        raise ValueError(f"y has {y.shape[1]} columns, expected labels, one a row")


def state_of(path: str) -> tuple[int, int]:
    """By which a file that was written anew is told."""
    about = os.stat(path)
    return about.st_size, about.st_mtime_ns


def unchanged(path: str, state: tuple[int, int]) -> None:
    """Since it was opened."""
    if state_of(path) != state:
        raise ValueError(f"{path} has changed since it was opened; open it again")


def a_path_each(found: Sequence[str], wanted: int) -> None:
    """Of X and y, and of the weights where there are some."""
    if len(set(map(os.path.abspath, found))) < len(found):
        raise ValueError(f"paths: {', '.join(found)}, expected different ones")
    if len(found) != wanted:
        what = "X, y and sample_weight" if wanted == 3 else "X and y"
        raise TypeError(f"paths: {len(found)} given, expected {wanted}, of {what}")


def scaling(kind: Any) -> None:
    """A way to scale."""
    if kind not in ("standard", "minmax"):
        raise ValueError(f"kind = {kind!r}, expected 'standard' or 'minmax'")
