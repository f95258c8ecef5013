"""CSV files of numbers and words: read strictly, complained about by line."""

from __future__ import annotations

import csv
import io
import math
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from operator import itemgetter
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cbackprop.io import columns as cols
from cbackprop.io.columns import Columns, Reading
from cbackprop.io.words import (
    LARGEST,
    Coder,
    are_words,
    is_missing,
    is_number,
    missing_value,
    not_a_number,
)

__all__ = ["Content", "read_csv"]

Array = NDArray[Any]
_Rows = Iterator[tuple[int, list[str]]]

_NO_TEXT = "no NPY, NPZ, IDX or Parquet file, and no text in UTF-8"
_HEAD = 1000  # lines by which columns of words are told from columns of numbers


class Content(NamedTuple):
    """What a file of named columns holds.

    Attributes
    ----------
    X : ndarray of float64, shape (n, inputs)
        NaN where a value is missing, unless the reading's columns know what to put there.
    y : ndarray of int64, float64 or str, shape (n,), or None
    columns : Columns
    dropped : int
        Rows left out for missing values.
    lines : sequence of int
        The line of the file, or row counted from 0, that each row comes from.
    weights : ndarray of float64, shape (n,), or None
    """

    X: Array
    y: Array | None
    columns: Columns
    dropped: int
    lines: Sequence[int]
    weights: Array | None


def read_csv(stream: BinaryIO, source: str, reading: Reading) -> Content:
    """Read a CSV file: comma, semicolon, tab or |, UTF-8 with or without a byte order mark.

    Parameters
    ----------
    stream : binary stream that can be rewound
    source : str
        What messages call it.
    reading : Reading

    Raises
    ------
    ValueError
        For ragged lines, missing values where they are refused, and fields that are no numbers;
        names line and column.
    """
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    try:
        sample = text.read(1 << 16)
        if "\0" in sample:
            raise ValueError(f"{source}: {_NO_TEXT}")
        delimiter = _delimiter(sample)
        text.seek(0)
        return _parse(_rows(text, source, delimiter), source, reading)
    except UnicodeDecodeError:
        raise ValueError(f"{source}: {_not_utf8(stream)}") from None
    finally:
        text.detach()


def _not_utf8(stream: BinaryIO) -> str:
    """Where the first bytes are that are no UTF-8, and what the file may be instead."""
    stream.seek(0)
    remedy = "a text file in another encoding must be saved again as UTF-8"
    start = stream.read(1024)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return f"text in UTF-16; {remedy}"
    if start.count(0) or sum(byte < 9 for byte in start):
        return _NO_TEXT
    stream.seek(0)
    for line, content in enumerate(stream, start=1):
        try:
            content.decode()
        except UnicodeDecodeError as error:
            byte = content[error.start]
            return f"line {line}: byte {byte:#04x} is no text in UTF-8; {remedy}"
    return f"no text in UTF-8; {remedy}"


def _delimiter(sample: str) -> str:
    """Tab, semicolon, comma or bar: the one the first line has most of, outside quotes."""
    first = re.sub(r'"[^"]*"', "", sample.lstrip("\r\n")).splitlines()[:1]
    return max("\t;,|", key=first[0].count) if first else ","


def _rows(stream: io.TextIOWrapper, source: str, delimiter: str) -> _Rows:
    """Line number and fields of every line that is not blank."""
    reader = csv.reader(stream, delimiter=delimiter, skipinitialspace=True, strict=True)
    line = 1
    try:
        for fields in reader:
            if len(fields) > 1 or (fields and fields[0].strip()):
                yield line, fields
            line = reader.line_num + 1  # fields between quotes may hold ends of lines
    except csv.Error as error:
        hint = ", a quote is not closed" if "unexpected end of data" in str(error) else ""
        raise ValueError(f"{source}: line {line}: {error}{hint}") from None


def _parse(rows: _Rows, source: str, reading: Reading) -> Content:
    head = list(islice(rows, _HEAD))
    if not head:
        raise ValueError(f"{source}: empty file, expected lines of numbers")
    width = len(head[0][1])
    for line, fields in head:
        _refuse_ragged(source, line, fields, width)
    names = _names(source, head, reading)
    if names is not None:
        del head[0]
    if not head:
        raise ValueError(f"{source}: no lines of data below the header")
    if width < 2 and reading.need_target:
        raise ValueError(
            f"{source}: line {head[0][0]}: one field, expected two or more (inputs and a target), "
            "divided by comma, semicolon, tab or |"
        )
    column = cols.target_column(source, width, names, reading)
    inputs = cols.chosen(source, width, names, column, reading)
    titles = [f"column {i}" if names is None else f"column {names[i]!r}" for i in range(width)]
    words = [i for i in inputs if are_words(fields[i] for _, fields in head)]
    coders = cols.coders_for(source, inputs, names, width, words, reading)
    values, lines, targets = array("d"), array("q"), list[str]()
    taken = [*inputs, *cols.weight_column(source, width, names, reading)]
    pick = _picker(taken)
    for line, fields in chain(head, rows):
        _refuse_ragged(source, line, fields, width)
        lines.append(line)
        if column is not None and reading.need_target:
            targets.append(fields[column].strip())
        values.extend(_row(source, line, pick(fields), taken, titles, coders, reading))
    X = np.frombuffer(values).reshape(len(lines), len(taken))
    whole = cols.whole_rows(source, "line", lines, [titles[i] for i in taken], X, reading)
    weights = X[:, -1] if len(taken) > len(inputs) else None
    X = X[:, : len(inputs)]
    y = None
    if targets and column is not None:
        y, whole = _target(source, titles[column], targets, lines, whole, reading)
    found = {i: coder.settle(X[:, i], source, titles[inputs[i]]) for i, coder in coders.items()}
    columns = reading.known or Columns(
        len(inputs),
        None if names is None else tuple(names[i] for i in inputs),
        found,
        reading.missing,
        None if names is None or column is None else names[column],
    )
    X = columns.filled(columns.expand(X[whole]))
    kept = np.frombuffer(lines, np.int64)[whole].tolist()
    weights = None if weights is None else weights[whole]
    return Content(X, y, columns, len(lines) - len(X), kept, weights)


def _refuse_ragged(source: str, line: int, fields: Sequence[str], width: int) -> None:
    if len(fields) != width:
        raise ValueError(
            f"{source}: line {line}: {len(fields)} fields, expected {width} as in the first line"
        )


def _picker(inputs: Sequence[int]) -> Callable[[list[str]], list[Any]]:
    if len(inputs) == 1:
        return lambda fields: [fields[inputs[0]]]
    get = itemgetter(*inputs)
    return lambda fields: list(get(fields))


def _row(
    source: str,
    line: int,
    fields: list[Any],
    inputs: Sequence[int],
    titles: Sequence[str],
    coders: dict[int, Coder],
    reading: Reading,
) -> list[float]:
    """The numbers of one line, and the codes of its words."""
    try:
        for i, coder in coders.items():
            text, fields[i] = fields[i], coder(fields[i])
            if fields[i] != fields[i] and reading.rule == "refuse":
                message = missing_value(text, reading)
                raise ValueError(f"{source}: line {line}, {titles[inputs[i]]}: {message}")
    except KeyError as error:
        message = coder.unknown(error.args[0])
        raise ValueError(f"{source}: line {line}, {titles[inputs[i]]}: {message}") from None
    try:
        numbers = list(map(float, fields))
        texts = [field for field in fields if type(field) is str] if coders else fields
        if "_" not in "".join(texts):  # float() reads 1_000 as a thousand
            return numbers
    except ValueError:
        pass
    for i, field in enumerate(fields):
        if type(field) is str and is_number(field) is None:
            if not is_missing(field) or reading.rule == "refuse":
                message = not_a_number(field, reading)
                raise ValueError(f"{source}: line {line}, {titles[inputs[i]]}: {message}")
            fields[i] = math.nan
    return list(map(float, fields))


# The header


def _names(source: str, head: list[tuple[int, list[str]]], reading: Reading) -> list[str] | None:
    """The names in the first line, None where it holds data."""
    names = [name.strip() for name in head[0][1]]
    if reading.header == "no" or (
        reading.header == "auto" and not _has_header(source, head, names, reading)
    ):
        return None
    cols.unique(source, names)
    return names


def _has_header(
    source: str, head: list[tuple[int, list[str]]], names: list[str], reading: Reading
) -> bool:
    """Whether the first line holds names: words where the lines below have numbers, or words that
    none of them has."""
    known, target = reading.known, reading.target
    named = [*reading.ignore, *reading.categorical, *([] if target is None else [target])]
    if any(is_number(name) is None for name in named):
        return True
    if known is not None and known.names is not None and set(known.names) <= set(names):
        return True
    width = len(names)
    column = width - 1 if reading.need_target else None
    if target is not None and is_number(target) is not None and abs(int(target)) <= width:
        column = int(target) % width
    words = [i for i, name in enumerate(names) if name and is_number(name) is None]
    below = [[fields[i] for _, fields in head[1:]] for i in range(width)]
    over_numbers = [i for i in words if _numbers(below[i])]
    numbers = [
        i for i, name in enumerate(names) if i != column and is_number(name) is not None
        and not is_missing(name)
    ]  # fmt: skip
    if column in over_numbers:
        return True
    if over_numbers and numbers:
        raise ValueError(
            f"{source}: line {head[0][0]}: neither names nor data: {names[over_numbers[0]]!r} is "
            f"not a number, {names[numbers[0]]!r} is; correct it, or say --header yes or "
            "--header no"
        )
    if over_numbers or not words or numbers:
        return bool(over_numbers)
    return not any(names[i] in map(str.strip, below[i]) for i in words)


def _numbers(texts: list[str]) -> bool:
    """Whether a column holds numbers and nothing else, but for what is missing."""
    present = [text for text in texts if not is_missing(text)]
    return bool(present) and all(is_number(text) is not None for text in present)


# The target


def _target(
    source: str, title: str, texts: list[str], lines: array[int], whole: Array, reading: Reading
) -> tuple[Array, Array]:
    """The targets of the rows that stay, and which these are."""
    numbers = [is_number(text) for text in texts]
    words = [text for text, number in zip(texts, numbers, strict=True) if number is None]
    real = sum(not is_missing(text) for text in words)
    regress = reading.task == "regress" or (
        reading.task == "auto" and 2 * real < len(texts) - len(words) + real
    )
    for row, (text, number) in enumerate(zip(texts, numbers, strict=True)):
        if text in ("", "?") or (is_missing(text) and (regress or not real)):
            if reading.rule == "drop":
                whole[row] = False
            elif whole[row]:
                remedy = "remove the line" + (" or say --missing drop" * (reading.known is None))
                raise ValueError(
                    f"{source}: line {lines[row]}, {title}: missing value {text!r} in the target; "
                    f"{remedy}"
                )
        elif number is None and regress:
            raise ValueError(
                f"{source}: line {lines[row]}, {title}: target {text!r} is not a number, others "
                "are; correct it, or say --task classify to take all of them for labels"
            )
        elif number is not None and not real and not abs(number) <= LARGEST:
            message = not_a_number(text, reading)
            raise ValueError(f"{source}: line {lines[row]}, {title}: {message}")
    kept = [text for text, stays in zip(texts, whole.tolist(), strict=True) if stays]
    if not kept:
        raise ValueError(f"{source}: every row has a missing value; none is left")
    if real and not regress:
        if reading.task == "auto" and 2 * len(set(kept)) > len(kept):
            raise ValueError(
                f"{source}: {title}: {len(set(kept))} different words in {len(kept)} lines, "
                "expected a target; name another column with --target, or say --task classify"
            )
        return np.array(kept), whole
    try:
        return np.array([int(text) for text in kept], np.int64), whole
    except (ValueError, OverflowError):
        return np.array([float(text) for text in kept]), whole
