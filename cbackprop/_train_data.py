"""What ``cbackprop train`` trains on: DATA and the sets beside it, as its network takes them."""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cbackprop import Network
from cbackprop._chunks import Chunks
from cbackprop._commands import is_regression, read
from cbackprop.io import tables
from cbackprop.io.columns import Columns

__all__ = ["Data", "gather"]

Array = NDArray[Any]


class Data(NamedTuple):
    """Rows to train on, and what is to be known of them.

    Attributes
    ----------
    table : Table
        DATA as it was read.
    X, y : ndarray
        Inputs and labels or real targets. With ``--stream`` X is Chunks, which have y, and y None.
    weights : ndarray or None
        The weight of each row.
    test, validation : (X, y), or None
        Rows held out; rows to watch the training with.
    columns : Columns or None
        What the columns became, the means of the inputs included.
    classes : ndarray or None
        The label of each output; None where targets are real.
    outputs : int
    what : str
        The targets in words.
    """

    table: tables.Table
    X: Array | Chunks
    y: Array | None
    weights: Array | None
    test: tuple[Array, Array] | None
    validation: tuple[Array, Array] | None
    columns: Columns | None
    classes: Array | None
    outputs: int
    what: str


def gather(arguments: argparse.Namespace, start: Network | None) -> Data:
    """Read all that is named, for a new network or for the one to go on with."""
    _refuse_twice(arguments)
    if arguments.stream:
        return _streamed(arguments, start)
    known = None if start is None else start._columns
    asked = arguments.task
    if start is not None:
        asked = "regress" if is_regression(start) else "classify"
    table = read(arguments, arguments.data, asked, known=known)
    task = tables.choose_task(table) if asked == "auto" else asked
    test = None
    if arguments.test is not None:
        test = read(arguments, arguments.test, task, known=table.columns)
    parts = tables.split(table, test, arguments.test_fraction, arguments.seed)
    columns = table.columns
    if columns is not None:
        columns = columns if known is not None else columns.learned(parts[0], table.name)
        parts[0] = columns.filled(parts[0])
        parts[2] = None if parts[2] is None else columns.filled(parts[2])
    watched = None
    if arguments.validation is not None:
        watched = read(arguments, arguments.validation, task, known=columns)
    classes = None
    if task == "classify":
        classes = _classes(arguments, table, start)
    elif arguments.classes:
        raise ValueError("--classes: the target is real numbers; add --task classify")
    X, y, X_test, y_test, weights = parts
    y = _targets(y, classes, table)
    validation = None
    if watched is not None:
        X_watched, y_watched = (watched.X, watched.y)
        if watched.X_test is not None:  # of a named set, what is there to be looked at
            X_watched, y_watched = watched.X_test, watched.y_test
        validation = (X_watched, _targets(y_watched, classes, watched))
    outputs = 1 if y.ndim == 1 else y.shape[1]
    what = f"{outputs} real target{'s' * (outputs > 1)}"
    if classes is not None:
        outputs, what = len(classes), f"{len(classes)} classes"
    held_out = None if X_test is None else (X_test, _targets(y_test, classes, test or table))
    return Data(table, X, y, weights, held_out, validation, columns, classes, outputs, what)


def _streamed(arguments: argparse.Namespace, start: Network | None) -> Data:
    """As `gather`; of DATA the targets alone are read before the training."""
    from cbackprop import _train_stream

    chunks, held, distinct, columns, task = _train_stream.gather(arguments, start)
    classes, outputs, what = None, 1, "1 real target"
    if task == "classify":
        classes = _classes(arguments, distinct, start)
        _targets(distinct.y, classes, distinct)
        outputs, what = len(classes), f"{len(classes)} classes"
    elif arguments.classes:
        raise ValueError("--classes: the target is real numbers; add --task classify")

    def beside(source: str | None) -> tuple[Array, Array] | None:
        table = _train_stream.read_beside(arguments, source, task, columns)
        return None if table is None else (table.X, _targets(table.y, classes, table))

    test, validation = beside(arguments.test), beside(arguments.validation)
    if held is not None:
        X, y = held.load()[:2]
        test = X, _targets(y, classes, distinct)
    return Data(distinct, chunks, None, None, test, validation, columns, classes, outputs, what)


def _refuse_twice(arguments: argparse.Namespace) -> None:
    """Standard input can be read once."""
    sources = {
        "DATA": arguments.data,
        "--test": arguments.test,
        "--validation": arguments.validation,
    }
    ones = [option for option, source in sources.items() if source == "-"]
    if len(ones) > 1:
        raise ValueError(f"{ones[1]} -: standard input is {ones[0]} already; name a file")


def _classes(arguments: argparse.Namespace, table: tables.Table, start: Network | None) -> Array:
    if start is None:
        return tables.class_labels(table, arguments.classes)
    return np.arange(max(start.sizes[-1], 2)) if start.classes is None else start.classes


def _targets(y: Array | None, classes: Array | None, table: tables.Table) -> Array:
    assert y is not None
    return tables.as_reals(y) if classes is None else tables.known_labels(y, classes, table)
