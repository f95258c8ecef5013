"""What ``cbackprop train --stream`` trains on: a file that stays on disk."""

from __future__ import annotations

import argparse

import numpy as np

from cbackprop import Network, _extras
from cbackprop._chunks import Chunks
from cbackprop._commands import is_regression, read, reading_of
from cbackprop.datasets import open_arrays, open_parquet
from cbackprop.io import columns as cols
from cbackprop.io import tables
from cbackprop.io.array_chunks import Npy
from cbackprop.io.columns import Columns, Reading
from cbackprop.io.tables import Table

__all__ = ["gather"]

# What would need all rows before the first is trained on, and what to do instead.
_REFUSED = {
    "categorical": "leave such columns out with --ignore",
    "missing": "fill the gaps in the file",
    "labels": "images are read whole",
    "validation_split": "name a file with --validation, or hold rows out with --test-fraction",
}


def gather(
    arguments: argparse.Namespace, start: Network | None
) -> tuple[Chunks, Chunks | None, Table, Columns, str]:
    """Rows to train on and rows held out, both on disk; a table of the distinct targets alone; the
    columns; and the task."""
    for name, remedy in _REFUSED.items():
        if getattr(arguments, name):
            option = "--" + name.replace("_", "-")
            raise ValueError(f"{option} with --stream is not there; {remedy}")
    known = None if start is None else start._columns
    if known is not None and known.words:
        raise ValueError("--stream: the model has columns of words; leave --stream out")
    task = arguments.task
    if start is not None:
        task = "regress" if is_regression(start) else "classify"
    name = arguments.data
    chunks, columns = _opened(name, reading_of(arguments, name, task, known=known))
    few = chunks.labels(tables.MANY_CLASSES)
    if task == "auto":
        task = tables.task_of(few, len(chunks))
    if task == "regress":
        tables.as_reals(few)
    elif len(few) > tables.MANY_CLASSES:
        few = chunks.labels()
    held_out = None
    if arguments.test_fraction is not None:
        if arguments.test is not None:
            raise ValueError("--test and --test-fraction: expected one of them")
        chunks, held_out = chunks.split(arguments.test_fraction)
    distinct = Table(np.empty((len(few), chunks.shape[1])), few, name)
    return chunks, held_out, distinct, known or columns, task


def read_beside(
    arguments: argparse.Namespace, source: str | None, task: str, columns: Columns
) -> Table | None:
    """A table to test on or to watch, in memory."""
    return None if source is None else read(arguments, source, task, known=columns)


def _opened(source: str, reading: Reading) -> tuple[Chunks, Columns]:
    start = b""
    if source not in ("-", *tables.NAMED):
        with open(source, "rb") as stream:
            start = stream.read(6)
    if start == b"\x93NUMPY":
        return _npy(source, reading)
    if start[:4] != b"PAR1":
        raise ValueError(f"{source}: --stream reads Parquet and NPY files; leave it out")
    parquet = _extras.need("pyarrow.parquet", f"{source}: Parquet", "pyarrow", "data")
    names = [str(name) for name in parquet.read_schema(source).names]
    cols.unique(source, names)
    column = cols.target_column(source, len(names), names, reading)
    assert column is not None
    inputs = [names[i] for i in cols.chosen(source, len(names), names, column, reading)]
    weights = [names[i] for i in cols.weight_column(source, len(names), names, reading)]
    chunks = open_parquet(
        source,
        target=names[column],
        features=inputs,
        sample_weight=weights[0] if weights else None,
    )
    return chunks, Columns(len(inputs), tuple(inputs), target=names[column])


def _npy(source: str, reading: Reading) -> tuple[Chunks, Columns]:
    tables.only_for_named_columns(reading)
    width = Npy(source).width
    column = cols.target_column(source, width, None, reading)
    assert column is not None
    inputs = cols.chosen(source, width, None, column, reading)
    return open_arrays(Npy(source, inputs), Npy(source, column)), Columns(len(inputs))
