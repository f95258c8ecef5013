"""What the columns of a table become: inputs of a network, its target, or nothing.

Numbers are inputs as they are; a column of words becomes one input for each word, 1 where the row
has it and 0 elsewhere. What was learned of the columns in training is kept with the network and
applied to every table after it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbackprop._names import meant
from cbackprop.io.words import LARGEST, Coder, not_a_number

__all__ = [
    "MISSING",
    "Columns",
    "Reading",
    "chosen",
    "coders_for",
    "column_index",
    "target_column",
    "unique",
    "weight_column",
    "whole_rows",
]

Array = NDArray[Any]

MISSING = ("refuse", "mean", "drop")


@dataclass(frozen=True)
class Columns:
    """The input columns of the tables a network is for.

    Attributes
    ----------
    count : int
        How many there are.
    names : tuple of str, or None
        Their names, where the file had some.
    words : mapping from index of a column to tuple of str
        The words of each column of words, sorted.
    missing : str
        What becomes of missing values, one of `MISSING`.
    target : str or None
        The target's name.
    fill : tuple of float, or None
        What a missing value of each input is taken to be.
    """

    count: int
    names: tuple[str, ...] | None = None
    words: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    missing: str = "refuse"
    target: str | None = None
    fill: tuple[float, ...] | None = None

    def titles(self) -> list[str]:
        """What each input of the network is: ``width``, ``colour=red``."""
        names = self.names or [f"column {i}" for i in range(self.count)]
        return [
            title
            for i, name in enumerate(names)
            for title in ([f"{name}={word}" for word in self.words.get(i, ())] or [name])
        ]

    @property
    def hot(self) -> Array:
        """Which inputs stand for a word, bool (n_0,)."""
        counts = [len(self.words.get(i, [""])) for i in range(self.count)]
        return np.repeat([i in self.words for i in range(self.count)], counts)

    def expand(self, values: Array) -> Array:
        """Inputs (n, n_0) of numbers and codes of words (n, columns); NaN stays NaN."""
        if not self.words:
            return values
        parts: list[Array] = []
        for i, column in enumerate(values.T):
            if i not in self.words:
                parts.append(column[:, None])
                continue
            hot = (column[:, None] == np.arange(len(self.words[i]))).astype(np.float64)
            hot[np.isnan(column)] = np.nan
            parts.append(hot)
        return np.concatenate(parts, axis=1)

    def learned(self, X: Array, source: str) -> Columns:
        """With the mean of each input of X for those that are missing."""
        if self.missing != "mean":
            return self
        gaps = np.isnan(X)
        empty = gaps.all(axis=0)
        if empty.any():
            title = self.titles()[int(empty.argmax())]
            raise ValueError(
                f"{source}: {title}: no row to train on has a value; leave it out with --ignore"
            )
        total = np.where(gaps, 0, X).sum(axis=0, dtype=np.float64)
        return replace(self, fill=tuple((total / (~gaps).sum(axis=0)).tolist()))

    def filled(self, X: Array) -> Array:
        """X with `fill` for what is missing."""
        gaps = None if self.fill is None or X.dtype.kind != "f" else np.isnan(X)
        if gaps is None or not gaps.any():
            return X
        return np.where(gaps, np.asarray(self.fill, X.dtype), X)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` takes."""
        return {
            "names": None if self.names is None else list(self.names),
            "words": {str(i): list(words) for i, words in self.words.items()},
            "missing": self.missing,
            "target": self.target,
            "fill": None if self.fill is None else list(self.fill),
        }

    @classmethod
    def from_json(cls, about: Any, inputs: int) -> Columns:
        """The columns of a network with so many inputs.

        Raises
        ------
        ValueError, TypeError, KeyError
            `about` is not what `to_json` writes.
        """
        names, fill = about["names"], about["fill"]
        words = {int(i): tuple(_texts(words)) for i, words in about["words"].items()}
        target = about["target"]
        columns = inputs - sum(len(some) - 1 for some in words.values())
        if names is not None:
            names = tuple(_texts(names))
        if (
            any(not 0 <= i < columns for i in words)
            or not all(words.values())
            or (names is not None and not len(names) == len(set(names)) == columns)
            or about["missing"] not in MISSING
            or not (target is None or isinstance(target, str))
        ):
            raise ValueError("columns that do not fit the network")
        if fill is not None:
            if len(fill) != inputs or not all(
                type(x) in (int, float) and math.isfinite(x) for x in fill
            ):
                raise ValueError("fill of the columns does not fit the network")
            fill = tuple(map(float, fill))
        return cls(columns, names, words, about["missing"], target, fill)


def _texts(values: Any) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{values!r}, expected a list of texts")
    return values


@dataclass(frozen=True)
class Reading:
    """How a table is to be read; `tables.read_table` describes the fields."""

    target: str | None = None
    header: str = "auto"
    task: str = "auto"
    need_target: bool = True
    categorical: Sequence[str] = ()
    ignore: Sequence[str] = ()
    missing: str = "refuse"
    weight: str | None = None
    known: Columns | None = None

    @property
    def rule(self) -> str:
        """What becomes of missing values: a row to predict is never dropped."""
        rule = self.missing if self.known is None else self.known.missing
        return "refuse" if rule == "drop" and not self.need_target else rule


def unique(source: str, names: Sequence[str]) -> None:
    """Refuse a header that names two columns alike."""
    for i, name in enumerate(names):
        if name in names[:i]:
            raise ValueError(
                f"{source}: several columns have the name {name!r} (column {names.index(name)} "
                f"and column {i}, counted from 0); rename one, or say --header no"
            )


def _is_index(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d{1,9}", text) is not None


def column_index(
    source: str,
    text: str,
    width: int,
    names: Sequence[str] | None = None,
    option: str = "--target",
) -> int:
    """Index, counted from 0, of the column that `text` gives: a name, or an index as in Python."""
    if names is not None and not _is_index(text):
        if text in names:
            return names.index(text)
        found = f"{', '.join(names[:12])}{', ...' if len(names) > 12 else ''}"
        raise ValueError(
            f"{source}: {option} {text}: no such column in {found}{meant(text, names)}; an index "
            "(-1 is the last) will do too"
        )
    if not _is_index(text) or not -width <= int(text) < width:
        raise ValueError(
            f"{source}: {option} {text}: the data has {width} columns"
            f"{'' if names is not None else ' without names'}, "
            f"expected an index from {-width} to {width - 1}"
        )
    return int(text) % width


def target_column(
    source: str, width: int, names: Sequence[str] | None, reading: Reading
) -> int | None:
    """The index of the target; None where there is, or need be, none."""
    known = reading.known
    if reading.target is not None:
        return column_index(source, reading.target, width, names)
    if not reading.need_target:
        return None
    if known is not None and known.target is not None and names is not None:
        if known.target in names:
            return names.index(known.target)
        raise ValueError(
            f"{source}: no column {known.target!r}, the target of the training"
            f"{meant(known.target, names)}; name another with --target"
        )
    if width < 2:
        raise ValueError(f"{source}: one column, expected two or more (inputs and a target)")
    return width - 1


def chosen(
    source: str, width: int, names: Sequence[str] | None, column: int | None, reading: Reading
) -> list[int]:
    """The columns that are inputs: those the network knows by name, or all but the rest."""
    known = reading.known
    if known is not None and known.names is not None and names is not None:
        for name in known.names:
            if name not in names:
                raise ValueError(
                    f"{source}: no column {name!r}, which the network was trained with"
                    f"{meant(name, names)}; add or rename it, or say --header no"
                )
        return [names.index(name) for name in known.names]
    options = [("--ignore", text) for text in reading.ignore]
    options += [] if reading.weight is None else [("--sample-weight", reading.weight)]
    left_out = {column_index(source, text, width, names, option) for option, text in options}
    inputs = [i for i in range(width) if i != column and i not in left_out]
    if known is not None and len(inputs) != known.count:
        remedy = ""
        if not (reading.need_target or reading.target):
            remedy = "; name a target column among them with --target"
        raise ValueError(
            f"{source}: {len(inputs)} columns of input, the model expects {known.count}{remedy}"
        )
    if not inputs:
        raise ValueError(f"{source}: no column is left as an input")
    return inputs


def weight_column(
    source: str, width: int, names: Sequence[str] | None, reading: Reading
) -> list[int]:
    """The column of the rows' weights, if there is one."""
    if reading.weight is None:
        return []
    return [column_index(source, reading.weight, width, names, "--sample-weight")]


def coders_for(
    source: str,
    inputs: Sequence[int],
    names: Sequence[str] | None,
    width: int,
    words: Iterable[int],
    reading: Reading,
) -> dict[int, Coder]:
    """A coder for each input, counted among the inputs, that holds words; `words` are the columns
    that look so."""
    if reading.known is not None:
        return {i: Coder(known) for i, known in reading.known.words.items() if i < len(inputs)}
    asked = {
        column_index(source, text, width, names, "--categorical") for text in reading.categorical
    }
    found = asked | set(words)
    return {k: Coder(every=i in asked) for k, i in enumerate(inputs) if i in found}


def whole_rows(
    source: str, place: str, lines: Sequence[int], titles: Sequence[str], values: Array,
    reading: Reading,
) -> Array:  # fmt: skip
    """Which rows stay: all, unless those with missing values are to be dropped.

    Raises
    ------
    ValueError
        For infinite numbers, and for missing ones where they are refused.
    """
    if values.dtype.kind != "f" or (np.abs(values) <= LARGEST).all():
        return np.ones(len(values), bool)
    gaps = np.isnan(values)
    wrong = np.abs(values) > LARGEST
    if reading.rule == "refuse":
        wrong |= gaps
    if wrong.any():
        row, i = divmod(int(wrong.argmax()), values.shape[1])
        what = not_a_number(str(values[row, i]), reading)
        raise ValueError(f"{source}: {place} {lines[row]}, {titles[i]}: {what}")
    if reading.rule != "drop":
        return np.ones(len(values), bool)
    whole: Array = np.logical_not(gaps.any(axis=1))
    if not whole.any():
        title = titles[int(gaps.sum(axis=0).argmax())]
        raise ValueError(
            f"{source}: every row has missing values, most of them in {title}; leave it out with "
            "--ignore, or say --missing mean"
        )
    return whole
