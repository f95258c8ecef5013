"""Tables of data for the command line: files, standard input, and the named data sets."""

from __future__ import annotations

import io
import math
import os
import re
import sys
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from tokenize import TokenError
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from cbackprop import datasets
from cbackprop.io.columns import MISSING, Columns, Reading, target_column, whole_rows
from cbackprop.io.csv_table import read_csv

__all__ = [
    "NAMED",
    "Table",
    "as_labels",
    "as_reals",
    "choose_task",
    "class_labels",
    "known_labels",
    "read_table",
    "scaling",
    "split",
]

NAMED = {
    "digits": datasets.load_digits,
    "mnist": datasets.load_mnist,
    "fashion-mnist": datasets.load_fashion_mnist,
}
# A target column of integers with more distinct values than this is taken for real targets.
MANY_CLASSES = 20


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of numbers and, when there is a target, what to learn from them.

    Attributes
    ----------
    X : ndarray, shape (n, inputs)
        uint8, float32 or float64.
    y : ndarray or None
        Class labels (strings or integers) or real targets, shape (n,) or (n, outputs).
    name : str
        The file or data set.
    X_test, y_test : ndarray or None
        The held-out part, where the data set itself has one.
    input_scale : float
        The factor the image loaders ask for; 1 for all else.
    labels_only : bool
        True where `y` can only be classes (images).
    columns : Columns, optional
        What the columns of the file became; None for images.
    dropped : int
        Rows left out because something is missing in them.
    lines : sequence of int, optional
        The line of the file that each row comes from, where it has lines.
    weights : ndarray, shape (n,), optional
    """

    X: NDArray[Any]
    y: NDArray[Any] | None
    name: str
    X_test: NDArray[Any] | None = None
    y_test: NDArray[Any] | None = None
    input_scale: float = 1.0
    labels_only: bool = False
    columns: Columns | None = None
    dropped: int = 0
    lines: Sequence[int] | None = None
    weights: NDArray[np.float64] | None = None


def read_table(
    source: str,
    *,
    target: str | None = None,
    labels: str | None = None,
    header: str = "auto",
    task: str = "auto",
    need_target: bool = True,
    categorical: Sequence[str] = (),
    ignore: Sequence[str] = (),
    missing: str = "refuse",
    weight: str | None = None,
    known: Columns | None = None,
) -> Table:
    """Read a data file or a named data set; the kind is told by the content, not by the suffix.

    Parameters
    ----------
    source : str
        ``digits``, ``mnist``, ``fashion-mnist``, the path of a CSV, Parquet, NPY, NPZ or IDX
        file, or ``-`` for standard input.
    target : str, optional
        Name or index (0 is the first, -1 the last) of the target column of a CSV, Parquet or NPY
        file. Default: that of `known`, else the last one, if `need_target`, else none.
    labels : str, optional
        The labels file of an IDX images file; default: the one beside it, found by its name.
    header : {"auto", "yes", "no"}
        Whether the first line of a CSV file holds names.
    task : {"auto", "classify", "regress"}
        What the target is for: decides whether words are allowed in it.
    need_target : bool
        False for data to predict on.
    categorical, ignore : sequence of str
        Columns to take for words, and to leave out: names, or indices.
    missing : {"refuse", "mean", "drop"}
        What becomes of missing values. "mean" leaves them NaN, until `filled`.
    weight : str, optional
        Name or index of the column with the weight of each row.
    known : Columns, optional
        What a network was trained with: decides columns, words and missing values.

    Returns
    -------
    Table

    Raises
    ------
    ValueError
        When the content is not what it should be.
    OSError
        When a file cannot be read.
    """
    reading = Reading(
        target, header, task, need_target, categorical, ignore, missing, weight, known
    )
    if source in NAMED:
        _only_for("IDX images", labels, "--labels")
        _only_for_columns(reading, "CSV, Parquet and NPY files")
        images = NAMED[source]()
        return Table(
            images.X_train,
            images.y_train,
            source,
            images.X_test,
            images.y_test,
            images.input_scale,
            labels_only=True,
        )
    with _opened(source) as stream:
        name = "standard input" if source == "-" else source
        table = _read(stream, source, name, labels, reading)
    if not len(table.X) or not table.X.shape[1]:
        raise ValueError(f"{name}: shape {table.X.shape}, expected at least one row and one column")
    return table


def _opened(source: str) -> BinaryIO:
    """A stream of bytes that can be rewound."""
    if source != "-":
        return open(source, "rb")
    content = b"" if sys.stdin is None else sys.stdin.buffer.read()
    if not content:
        raise ValueError("standard input: empty, expected data (- means standard input)")
    return io.BytesIO(content)


def _read(stream: BinaryIO, source: str, name: str, labels: str | None, reading: Reading) -> Table:
    start = stream.read(6)
    stream.seek(0)
    is_idx = start[:2] in (b"\x1f\x8b", b"\0\0")
    if not is_idx:
        _only_for("IDX images", labels, "--labels")
    if is_idx or start[:4] == b"PK\x03\x04":
        _only_for_columns(reading, "CSV, Parquet and NPY files", arrays=not is_idx)
    if is_idx and source == "-":
        raise ValueError("standard input: IDX images or gzip, expected CSV, Parquet, NPY or NPZ")
    if is_idx:
        return _read_idx(source, labels, reading.need_target)
    if start[:4] == b"PK\x03\x04":
        return _read_npz(stream, name, reading)
    if start == b"\x93NUMPY":
        return _read_npy_table(stream, name, reading)
    if start[:4] == b"PAR1":
        from cbackprop.io.parquet import read_parquet

        X, y, columns, dropped, _, weights = read_parquet(stream, name, reading)
        return Table(X, y, name, columns=columns, dropped=dropped, weights=weights)
    X, y, columns, dropped, lines, weights = read_csv(stream, name, reading)
    return Table(X, y, name, columns=columns, dropped=dropped, lines=lines, weights=weights)


def choose_task(table: Table) -> str:
    """Tell classification from regression by the targets.

    Strings and labels of images are classes; so are integers (0.0 and 1.0 count as integers)
    with at most 20 distinct values, fewer than half of the rows. All else is real targets.

    Returns
    -------
    str
        ``"classify"`` or ``"regress"``.
    """
    y = table.y
    assert y is not None
    if y.ndim == 2:
        return "regress"
    return "classify" if table.labels_only else task_of(np.unique(y), len(y))


def task_of(distinct: NDArray[Any], rows: int) -> str:
    """`choose_task` by the distinct targets of so many rows; MANY_CLASSES and one are enough."""
    if distinct.dtype.kind in "USb":
        return "classify"
    if distinct.dtype.kind == "f" and not np.array_equal(distinct, np.rint(distinct)):
        return "regress"
    few = len(distinct) <= MANY_CLASSES and 2 * len(distinct) <= rows
    return "classify" if few else "regress"


def split(table: Table, test: Table | None, fraction: float | None, seed: int) -> list[Any]:
    """X, y to train on; X, y held out: `test`, a `fraction` of the rows, the set's own, or None;
    and the weights of the rows to train on.

    Raises
    ------
    ValueError
        When both or neither of the parts would hold rows, or their widths differ.
    """
    X, y = table.X, table.y
    assert y is not None
    if test is not None:
        if fraction is not None:
            raise ValueError("--test and --test-fraction: expected one of them")
        # Of a named set it is the held-out part that is there to be tested on.
        X_test, y_test = (test.X, test.y) if test.X_test is None else (test.X_test, test.y_test)
        if X_test.shape[1] != X.shape[1]:
            raise ValueError(
                f"{test.name}: {X_test.shape[1]} inputs, expected {X.shape[1]} as in {table.name}"
            )
        return [X, y, X_test, y_test, table.weights]
    if fraction is None:
        return [X, y, table.X_test, table.y_test, table.weights]
    if table.X_test is not None:
        raise ValueError(f"--test-fraction {fraction}: {table.name} has a held-out part of its own")
    held_out = round(fraction * len(X)) if 0 < fraction < 1 else 0
    if not 0 < held_out < len(X):
        raise ValueError(
            f"--test-fraction {fraction}: of {len(X)} rows, expected a number between 0 and 1 "
            "that leaves rows in both parts"
        )
    order = np.random.default_rng(seed).permutation(len(X))
    test_rows, rows = np.sort(order[:held_out]), np.sort(order[held_out:])
    weights = None if table.weights is None else table.weights[rows]
    return [X[rows], y[rows], X[test_rows], y[test_rows], weights]


def as_labels(y: NDArray[Any], classes: NDArray[Any] | None = None) -> NDArray[Any]:
    """Labels as int64 where they are whole numbers (so that one reads 1, not 1.0), else text.

    Where the classes they belong to are text, so are they.
    """
    if y.ndim != 1:
        raise ValueError(f"y has shape {y.shape}, expected one label a row; or --task regress")
    whole = y.dtype.kind == "f" and np.array_equal(y, np.rint(y)) and (np.abs(y) < 2**53).all()
    if y.dtype.kind in "bui" or whole:
        y = y.astype(np.int64)
    return (
        y.astype(str)
        if y.dtype.kind != "i" or (classes is not None and classes.dtype.kind == "U")
        else y
    )


def as_reals(y: NDArray[Any]) -> NDArray[np.float64]:
    """Real targets as float64."""
    if y.dtype.kind not in "buif":
        raise ValueError(f"target {y[0]!r}: expected numbers for --task regress")
    return y.astype(np.float64)


def class_labels(table: Table, given: list[str] | None) -> NDArray[Any]:
    """The distinct labels of a table, sorted, or those `given`, in their order.

    Raises
    ------
    ValueError
        When there are fewer than two, or `given` lacks or repeats one.
    """
    assert table.y is not None
    found = np.unique(as_labels(table.y))
    if not given:
        if len(found) < 2:
            raise ValueError(
                f"{table.name}: the target is {found[0]} in every row, expected two or more "
                "labels (another column: --target; real targets: --task regress)"
            )
        return found
    if found.dtype.kind == "i" and not all(re.fullmatch(r"[+-]?\d{1,18}", text) for text in given):
        raise ValueError(
            f"--classes {' '.join(given)}: the labels of {table.name} are integers like {found[0]}"
        )
    classes = np.array(given).astype(np.int64 if found.dtype.kind == "i" else str)
    absent = np.setdiff1d(found, classes)
    if len(absent) or len(np.unique(classes)) != len(classes) or len(classes) < 2:
        what = f"{absent[0]} of {table.name} is missing" if len(absent) else "too few or repeated"
        raise ValueError(
            f"--classes {' '.join(given)}: {what}; expected every label once, two or more"
        )
    return classes


def known_labels(y: NDArray[Any], classes: NDArray[Any], table: Table) -> NDArray[Any]:
    """The labels of a table, or a part of it, all of them among the classes."""
    y = as_labels(y, classes)
    known = np.isin(y, classes) if y.dtype.kind == classes.dtype.kind else np.zeros(len(y), bool)
    if not known.all():
        row = int(known.argmin())
        place = f"row {row}, counted from 0"
        if table.lines is not None and len(table.lines) == len(y):
            place = f"line {table.lines[row]}"
        labels = ", ".join(map(str, classes[:8])) + (", ..." if len(classes) > 8 else "")
        raise ValueError(
            f"{table.name}: label {y[row]} ({place}) is not among those trained on ({labels}); "
            "train's --classes gives all labels"
        )
    return y


def scaling(
    kind: str, X: NDArray[Any], words: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scale and shift of each input, learned from X.

    Parameters
    ----------
    kind : {"standard", "minmax"}
        To mean 0 and deviation 1, or to 0 .. 1; a constant input becomes 0.
    X : ndarray, shape (n, inputs)
    words : ndarray of bool, optional
        Inputs that stand for words: 0 and 1 already, left as they are.
    """
    if kind == "minmax":
        least = X.min(axis=0).astype(np.float64)
        width = X.max(axis=0).astype(np.float64) - least
    else:
        least = X.mean(axis=0, dtype=np.float64)
        blocks = (X[i : i + 4096] - least for i in range(0, len(X), 4096))
        width = np.sqrt(sum((block**2).sum(axis=0) for block in blocks) / len(X))
    # A mean of equal numbers is not always one of them; what is narrower than float32 is constant.
    scale, shift = to_scale(least, width, X.max(axis=0) == X.min(axis=0))
    if words is not None:
        scale[words], shift[words] = 1.0, 0.0
    return scale, shift


def to_scale(
    least: NDArray[np.float64], width: NDArray[np.float64], constant: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scale and shift by which inputs that are ``least`` become 0, and ``width`` more 1."""
    scale = 1 / np.where(constant | (width < 1e-37), 1.0, width)
    return scale, -least * scale


def _only_for(kind: str, value: str | None, option: str) -> None:
    if value is not None:
        raise ValueError(f"{option} {value}: is for {kind} only; leave it out")


def _only_for_columns(reading: Reading, kinds: str, arrays: bool = False) -> None:
    """Refuse options for columns where the data has none."""
    _only_for(kinds, reading.target, "--target")
    only_for_named_columns(reading)
    if not arrays and reading.missing != MISSING[0]:
        _only_for("tables", reading.missing, "--missing")


def only_for_named_columns(reading: Reading) -> None:
    """Refuse options that matrices have no columns for."""
    _only_for("CSV and Parquet files", " ".join(reading.categorical) or None, "--categorical")
    _only_for("CSV and Parquet files", " ".join(reading.ignore) or None, "--ignore")
    _only_for("CSV and Parquet files", reading.weight, "--sample-weight")


# NPY and NPZ


def _read_npy_table(stream: BinaryIO, name: str, reading: Reading) -> Table:
    only_for_named_columns(reading)
    size = stream.seek(0, 2)
    stream.seek(0)
    X = _numbers(_read_npy(stream, size, name), name)
    column = target_column(name, X.shape[1], None, reading)
    if column is None:
        return _whole(X, None, name, reading)
    y = X[:, column] if reading.need_target else None
    return _whole(np.delete(X, column, axis=1), y, name, reading)


def _read_npz(stream: BinaryIO, name: str, reading: Reading) -> Table:
    try:
        with zipfile.ZipFile(stream) as archive:
            if "xl/workbook.xml" in archive.namelist():
                raise ValueError(f"{name}: an Excel workbook; save the sheet as CSV")
            size = stream.seek(0, 2)
            X = _numbers(read_member(archive, name, "X", size), f"{name}: X")
            y = read_member(archive, name, "y", size) if reading.need_target else None
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
        raise ValueError(f"{name}: damaged NPZ file: {error}") from None
    if y is not None and (y.ndim not in (1, 2) or len(y) != len(X)):
        raise ValueError(
            f"{name}: y has shape {y.shape}, expected ({len(X)},) or ({len(X)}, outputs) "
            f"as X has {len(X)} rows"
        )
    return _whole(X, y, name, reading)


def _whole(X: NDArray[Any], y: NDArray[Any] | None, name: str, reading: Reading) -> Table:
    """The table of a matrix of inputs, less the rows that are to be dropped."""
    titles = [f"column {i}" for i in range(X.shape[1])]
    stays = whole_rows(name, "row", range(len(X)), titles, X, reading)
    if y is not None and y.dtype.kind == "f" and reading.rule == "drop":
        stays &= ~np.isnan(y).reshape(len(y), -1).any(axis=1)
    rows = len(X)
    if not stays.all():
        X, y = X[stays], None if y is None else y[stays]
    if reading.known is None:
        columns = Columns(X.shape[1], missing=reading.missing)
    else:
        columns = reading.known
        X = columns.filled(X) if columns.fill and len(columns.fill) == X.shape[1] else X
    return Table(X, y, name, columns=columns, dropped=rows - len(X))


def read_member(archive: zipfile.ZipFile, path: str, name: str, size: int) -> NDArray[Any]:
    """An array of an NPZ file of this size."""
    try:
        member = archive.getinfo(f"{name}.npy")
    except KeyError:
        found = ", ".join(item.removesuffix(".npy") for item in archive.namelist()[:12])
        raise ValueError(f"{path}: no array {name}; expected X and y, found {found}") from None
    # Deflate packs at most 1032 to 1: a claim beyond that is a lie, told before memory is taken.
    packed = min(member.compress_size, size)
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{path}: {name} is packed in an unknown way; write it with numpy.savez")
    if member.file_size > 1032 * packed + 1024:
        raise ValueError(f"{path}: {name} claims {member.file_size} bytes, packed in {packed}")
    with archive.open(member) as stream:
        return _read_npy(stream, member.file_size, f"{path}: {name}")


def _read_npy(stream: IO[bytes], size: int, name: str) -> NDArray[Any]:
    """Read one NPY array whose header, data and file size agree; never objects."""
    try:
        version = npy.read_magic(stream)
        readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
        if version not in readers:
            raise ValueError(f"version {version}, expected 1.0 or 2.0")
        shape, _, dtype = readers[version](stream)
        if dtype.kind not in "buifSU" or not dtype.itemsize:
            raise ValueError(f"dtype {dtype}, expected numbers, or strings as labels")
        expected = stream.tell() + math.prod(shape) * dtype.itemsize
        if size != expected:
            raise ValueError(f"{size} bytes, expected {expected} for shape {shape} of {dtype}")
        stream.seek(0)
        return npy.read_array(stream, allow_pickle=False)
    except (ValueError, TypeError, EOFError, RecursionError, MemoryError, TokenError) as error:
        raise ValueError(f"{name}: not a usable NPY array: {error}") from None


def _numbers(data: NDArray[Any], name: str) -> NDArray[Any]:
    if data.ndim != 2 or data.dtype.kind not in "buif":
        raise ValueError(
            f"{name}: shape {data.shape} of {data.dtype}, expected numbers in rows and columns"
        )
    if data.dtype in (np.uint8, np.float32, np.float64):
        return data.astype(data.dtype.newbyteorder("="), copy=False)
    return data.astype(np.float64)


# IDX


def _read_idx(path: str, labels: str | None, need_target: bool) -> Table:
    images = datasets.load_idx(path)
    if images.ndim < 2:
        raise ValueError(f"{path}: shape {images.shape}, expected images, not labels")
    scale = 1 / 255 if images.dtype == np.uint8 else 1.0
    X = _numbers(images.reshape(len(images), math.prod(images.shape[1:])), path)
    if not need_target:
        return Table(X, None, path, input_scale=scale)
    label_file = labels or _labels_beside(path)
    y = datasets.load_idx(label_file)
    if y.shape != (len(X),) or y.dtype.kind not in "ui":
        raise ValueError(
            f"{label_file}: shape {y.shape} of {y.dtype}, expected ({len(X)},) of integers "
            f"as {path} has {len(X)} images"
        )
    return Table(X, y.astype(np.int64), path, input_scale=scale, labels_only=True)


def _labels_beside(path: str) -> str:
    folder, name = os.path.split(path)
    stem = name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
    for candidate in (stem, stem + ".gz"):
        found = os.path.join(folder, candidate)
        if candidate != name and os.path.isfile(found):
            return found
    raise ValueError(
        f"{path}: no labels beside it ({stem} or {stem}.gz); name the file with --labels"
    )
