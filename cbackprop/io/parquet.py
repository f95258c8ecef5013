"""Parquet files, read by pyarrow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cbackprop import _extras
from cbackprop.io import columns as cols
from cbackprop.io.columns import Columns, Reading
from cbackprop.io.csv_table import Content
from cbackprop.io.words import LARGEST, Coder, are_words, is_missing, is_number, not_a_number

__all__ = ["read_parquet"]

Array = NDArray[Any]


def read_parquet(stream: BinaryIO, source: str, reading: Reading) -> Content:
    """Read a Parquet file: columns of numbers, booleans (0 and 1) and text.

    Raises
    ------
    ValueError
        For missing values where they are refused, and columns of other types; names row, counted
        from 0, and column.
    ImportError
        pyarrow is not installed.
    """
    arrow = _extras.need("pyarrow", f"{source}: Parquet", "pyarrow", "data")
    parquet = _extras.need("pyarrow.parquet", f"{source}: Parquet", "pyarrow", "data")
    try:
        file = parquet.ParquetFile(stream)
        rows, width = file.metadata.num_rows, file.metadata.num_columns
        # Not refused in here, whose ValueErrors are of damaged files.
        table = None if _too_large(rows, width) else file.read()
    except (arrow.ArrowException, OSError, ValueError, TypeError) as error:
        why = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ValueError(f"{source}: damaged Parquet file: {why}") from None
    if table is None:
        raise ValueError(
            f"{source}: {rows:,} rows of {width} columns are {_bytes_of(rows, width) / 1e9:.3g} GB "
            f"as numbers, more than the memory that is free; train with --stream, or split the file"
        )
    if not table.num_rows or not table.num_columns:
        raise ValueError(
            f"{source}: {table.num_rows} rows of {table.num_columns} columns, expected some"
        )
    names = [str(name) for name in table.column_names]
    cols.unique(source, names)
    column = cols.target_column(source, len(names), names, reading)
    inputs = cols.chosen(source, len(names), names, column, reading)
    are = arrow.types
    words = [
        i
        for i in inputs
        if _holds_words(are, table.column(i).type) and are_words(_first(arrow, table.column(i)))
    ]
    coders = cols.coders_for(source, inputs, names, len(names), words, reading)
    taken = [*inputs, *cols.weight_column(source, len(names), names, reading)]
    titles = [f"column {names[i]!r}" for i in taken]
    X = np.empty((table.num_rows, len(taken)))
    for k, i in enumerate(taken):
        if k in coders:
            X[:, k] = _codes(arrow, table.column(i), coders[k], source, titles[k])
        else:
            X[:, k] = _numbers(arrow, table.column(i), source, titles[k], reading)
    whole = cols.whole_rows(source, "row", range(len(X)), titles, X, reading)
    weights = X[:, -1] if len(taken) > len(inputs) else None
    X = X[:, : len(inputs)]
    y = None
    if column is not None and reading.need_target:
        title = f"column {names[column]!r}"
        y, whole = _target(arrow, table.column(column), source, title, whole, reading)
    found = {k: coder.settle(X[:, k], source, titles[k]) for k, coder in coders.items()}
    columns = reading.known or Columns(
        len(inputs),
        tuple(names[i] for i in inputs),
        found,
        reading.missing,
        None if column is None else names[column],
    )
    rows = np.flatnonzero(whole).tolist()
    dropped, X = len(X) - len(rows), columns.filled(columns.expand(X[whole]))
    return Content(X, y, columns, dropped, rows, None if weights is None else weights[whole])


def _bytes_of(rows: int, width: int) -> int:
    return 8 * rows * width


def _too_large(rows: int, width: int) -> bool:
    # Rather than being killed for it, where the system tells what is free (Linux).
    free = free_memory()
    return free is not None and _bytes_of(rows, width) > free


def free_memory() -> int | None:
    """Bytes that may still be taken without swapping, where the system says."""
    try:
        with open("/proc/meminfo", encoding="ascii") as told:
            return next(
                1024 * int(line.split()[1]) for line in told if line[:13] == "MemAvailable:"
            )
    except (OSError, StopIteration):
        return None


def _holds_words(are: Any, kind: Any) -> bool:
    if are.is_dictionary(kind):
        kind = kind.value_type
    return bool(are.is_string(kind) or are.is_large_string(kind) or are.is_string_view(kind))


def _first(arrow: Any, column: Any) -> list[str]:
    """Texts by which words are told from numbers that are written as text."""
    return [text for text in column.slice(0, 1000).cast(arrow.string()).to_pylist() if text]


def _codes(arrow: Any, column: Any, coder: Coder, source: str, title: str) -> Array:
    """The code of each row's word, each different word looked up once."""
    words, index = _words(arrow, column, source, title)
    codes = np.empty(len(words) + 1)
    codes[-1] = np.nan
    for i, word in enumerate(words):
        try:
            codes[i] = coder(word)
        except KeyError:
            row = int((index == i).argmax())
            message = coder.unknown(word.strip())
            raise ValueError(f"{source}: row {row}, {title}: {message}") from None
    coded: Array = codes[index]
    return coded


def _words(arrow: Any, column: Any, source: str, title: str) -> tuple[list[str], Array]:
    """The different words of a column and, for each row, which it is; -1 for none."""
    try:
        text = column.cast(arrow.string())
    except (arrow.ArrowException, ValueError) as error:
        raise _wrong_kind(source, title, column) from error
    packed = text.combine_chunks().dictionary_encode()
    index = packed.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return packed.dictionary.to_pylist(), index


def _numbers(arrow: Any, column: Any, source: str, title: str, reading: Reading) -> Array:
    kind = column.type
    if arrow.types.is_null(kind):
        return np.full(len(column), np.nan)
    if _holds_words(arrow.types, kind):  # where numbers are expected: as text, like in CSV files
        words, index = _words(arrow, column, source, title)
        values = np.full(len(words) + 1, np.nan)
        for i, word in enumerate(words):
            number = is_number(word)
            if number is not None:
                values[i] = number
            elif not is_missing(word):
                row = int((index == i).argmax())
                message = not_a_number(word, reading)
                raise ValueError(f"{source}: row {row}, {title}: {message}")
        numbers: Array = values[index]
        return numbers
    return _real(arrow, column, source, title)


def _real(arrow: Any, column: Any, source: str, title: str) -> Array:
    """float64 of numbers and booleans; NaN where there is none."""
    are: Any = arrow.types
    known: list[Callable[[Any], bool]] = [
        are.is_boolean, are.is_integer, are.is_floating, are.is_decimal,
    ]  # fmt: skip
    if not any(test(column.type) for test in known):
        raise _wrong_kind(source, title, column)
    values = column.cast(arrow.float64(), safe=False)
    reals: Array = values.to_numpy().astype(np.float64)
    return reals


def _wrong_kind(source: str, title: str, column: Any) -> ValueError:
    return ValueError(
        f"{source}: {title}: holds {column.type}, expected numbers or text; leave it out with "
        "--ignore"
    )


def _target(
    arrow: Any, column: Any, source: str, title: str, whole: Array, reading: Reading
) -> tuple[Array, Array]:
    """The targets of the rows that stay, and which these are."""
    missing = np.zeros(len(whole), bool)
    if _holds_words(arrow.types, column.type):
        words, index = _words(arrow, column, source, title)
        missing = index < 0
        y: Array = np.array([*(word.strip() for word in words), ""])[index]
        missing |= y == ""
    elif arrow.types.is_integer(column.type) and not column.null_count:
        y = column.to_numpy()
        y = y.astype(np.float64 if y.dtype == np.uint64 else np.int64)
    else:
        y = _real(arrow, column, source, title)
        missing = np.isnan(y)
        wrong = np.abs(y) > LARGEST
        if wrong.any():
            row = int(wrong.argmax())
            message = not_a_number(str(y[row]), reading)
            raise ValueError(f"{source}: row {row}, {title}: {message}")
    if missing.any():
        if reading.rule != "drop":
            raise ValueError(
                f"{source}: row {int(missing.argmax())}, {title}: missing value in the target; "
                "remove the row" + " or say --missing drop" * (reading.known is None)
            )
        whole = whole & ~missing
        if not whole.any():
            raise ValueError(f"{source}: every row has a missing value; none is left")
    if reading.task == "regress" and y.dtype.kind == "U":
        raise ValueError(f"{source}: {title}: holds words, expected numbers for --task regress")
    return y[whole], whole
