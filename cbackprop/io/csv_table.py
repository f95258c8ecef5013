"""CSV files of numbers with, perhaps, a target column: read strictly, complained about by line."""

from __future__ import annotations

import csv
import math
import re
from array import array
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

__all__ = ["column_index", "read_csv"]

_MISSING = {"", "?", "na", "n/a", "nan", "null", "none"}


def read_csv(
    path: str, target: str | None, header: str, task: str, need_target: bool
) -> tuple[NDArray[np.float64], NDArray[Any] | None]:
    """Read a CSV file: comma, semicolon or tab, UTF-8 with or without a byte order mark.

    Parameters
    ----------
    path : str
        The file.
    target : str or None
        Name, or index if it is an integer (0 is the first column, -1 the last), of the target
        column; None: the last if `need_target`, else none.
    header : {"auto", "yes", "no"}
        Whether the first line holds names; "auto": yes where it has words and data numbers.
    task : {"auto", "classify", "regress"}
        Words in the target are refused for "regress", and for "auto" where most are numbers.
    need_target : bool
        False: the target column, if named, is dropped unread.

    Returns
    -------
    X : ndarray of float64, shape (n, inputs)
    y : ndarray of int64, float64 or str, shape (n,), or None

    Raises
    ------
    ValueError
        For ragged lines, missing values, and fields that are no numbers; names line and column.
    """
    with open(path, encoding="utf-8-sig", newline="") as stream:
        return read_stream(stream, path, target, header, task, need_target)


def read_stream(
    stream: TextIO, path: str, target: str | None, header: str, task: str, need_target: bool
) -> tuple[NDArray[np.float64], NDArray[Any] | None]:
    """`read_csv` of a file that is open already; `path` is for messages."""
    try:
        sample = stream.read(1 << 16)
        stream.seek(0)
        rows = _csv_rows(stream, path, _delimiter(sample))
        return _parse_csv(rows, path, target, header, task, need_target)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: neither NPY, NPZ or IDX nor text in UTF-8 ({error.reason}); "
            "a text file in another encoding must be saved again as UTF-8"
        ) from None


def _delimiter(sample: str) -> str:
    """Tab, semicolon or comma: the one the first line has most of, outside quotes."""
    first = re.sub(r'"[^"]*"', "", sample.lstrip("\r\n")).splitlines()[:1]
    return max("\t;,", key=first[0].count) if first else ","


def _csv_rows(stream: TextIO, path: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of every line that is not blank."""
    reader = csv.reader(stream, delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        for fields in reader:
            if len(fields) > 1 or (fields and fields[0].strip()):
                yield reader.line_num, fields
    except csv.Error as error:
        raise ValueError(f"{path}: line {reader.line_num}: {error}") from None


def _parse_csv(
    rows: Iterator[tuple[int, list[str]]],
    path: str,
    target: str | None,
    header: str,
    task: str,
    need_target: bool,
) -> tuple[NDArray[np.float64], NDArray[Any] | None]:
    head = list(islice(rows, 2))
    if not head:
        raise ValueError(f"{path}: empty file, expected lines of numbers")
    width = len(head[0][1])
    if need_target and width < 2:
        raise ValueError(
            f"{path}: line {head[0][0]}: one field, expected two or more (inputs and a target), "
            "divided by comma, semicolon or tab"
        )
    names = [name.strip() for name in head[0][1]]
    column = _csv_target_column(path, names, target, header, need_target)
    columns = [f"column {i}" for i in range(width)]
    if header == "yes" or (header == "auto" and _has_header(path, head, column, target)):
        columns = [f"column {name!r}" for name in names]
        del head[0]
    if column is not None:
        target_title = columns.pop(column)
    values, lines, targets = array("d"), array("q"), list[str]()
    for line, fields in chain(head, rows):
        if len(fields) != width:
            raise ValueError(f"{path}: line {line}: {len(fields)} fields, expected {width}")
        lines.append(line)
        if column is not None:
            targets.append(fields.pop(column).strip())
        try:
            if "_" in "".join(fields):  # float() reads 1_000 as a thousand
                raise ValueError
            values.extend(map(float, fields))
        except ValueError:
            i = next(i for i, field in enumerate(fields) if _number(field) is None)
            raise _bad_number(path, line, columns[i], fields[i]) from None
    if not lines:
        raise ValueError(f"{path}: no lines of data below the header")
    X = np.frombuffer(values).reshape(len(lines), len(columns))
    finite = np.isfinite(X)
    if not finite.all():
        row, i = divmod(int(finite.argmin()), len(columns))
        raise _bad_number(path, lines[row], columns[i], str(X[row, i]))
    y = _csv_target(path, target_title, targets, lines, task) if targets and need_target else None
    return X, y


def _csv_target_column(
    path: str, names: list[str], target: str | None, header: str, need_target: bool
) -> int | None:
    if target is None:
        return len(names) - 1 if need_target else None
    if _is_index(target):
        return column_index(path, target, len(names))
    if header != "no" and names.count(target) == 1:
        return names.index(target)
    found = f"{', '.join(names[:12])}{', ...' if len(names) > 12 else ''}"
    what = "several columns have this name" if target in names else f"no such column in {found}"
    raise ValueError(f"{path}: --target {target}: {what}; an index (-1 is the last) will do too")


def _is_index(target: str) -> bool:
    return re.fullmatch(r"[+-]?\d+", target) is not None


def column_index(path: str, target: str, width: int) -> int:
    """Index, counted from 0, of the column that `target` gives by an index as in Python."""
    if not _is_index(target) or not -width <= int(target) < width:
        raise ValueError(
            f"{path}: --target {target}: the data has {width} columns, "
            f"expected an index from {-width} to {width - 1}"
        )
    return int(target) % width


def _has_header(
    path: str, head: list[tuple[int, list[str]]], column: int | None, target: str | None
) -> bool:
    """Whether the first line holds names: words where the lines below have numbers."""
    line, first = head[0]
    if target is not None and not _is_index(target):
        return True
    features = [field for i, field in enumerate(first) if i != column and not _is_missing(field)]
    words = [field for field in features if _number(field) is None]
    if words and len(words) == len(features):
        return True
    if words:
        raise ValueError(
            f"{path}: line {line}: neither names nor data: {words[0]!r} is not a number, "
            "others are; correct it, or say --header yes or --header no"
        )
    if column is None or len(head) < 2 or column >= len(head[1][1]):
        return False
    return _number(first[column]) is None and _number(head[1][1][column]) is not None


def _number(text: str) -> float | None:
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _is_missing(text: str) -> bool:
    return text.strip().lower() in _MISSING


def _bad_number(path: str, line: int, title: str, text: str) -> ValueError:
    if _is_missing(text):
        what = f"missing value {text!r}; fill it in or remove the line"
    elif _number(text) is not None:
        what = f"{text!r} is not finite"
    else:
        short = text if len(text) <= 40 else text[:37] + "..."
        what = f"{short!r} is not a number (decimal point, no thousands separator)"
    return ValueError(f"{path}: line {line}, {title}: {what}")


def _csv_target(
    path: str, title: str, targets: list[str], lines: array[int], task: str
) -> NDArray[Any]:
    numbers = [_number(text) for text in targets]
    words = numbers.count(None)
    regress = task == "regress" or (task == "auto" and 2 * words < len(targets))
    for line, text, number in zip(lines, targets, numbers, strict=True):
        if text in ("", "?"):
            raise _bad_number(path, line, title, text)
        if number is None and regress:
            raise ValueError(
                f"{path}: line {line}, {title}: target {text!r} is not a number, others are; "
                "correct it, or say --task classify to take all of them for labels"
            )
        if not words and not math.isfinite(number or 0.0):
            raise _bad_number(path, line, title, text)
    if words:
        if task == "auto" and 2 * len(set(targets)) > len(targets):
            raise ValueError(
                f"{path}: {title}: {len(set(targets))} different words in {len(targets)} lines, "
                "expected a target; name another column with --target, or say --task classify"
            )
        return np.array(targets)
    try:
        return np.array([int(text) for text in targets], np.int64)
    except (ValueError, OverflowError):
        return np.array(numbers, np.float64)
