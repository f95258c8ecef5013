"""Words in tables: what is one, what is missing, and each column's words as numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cbackprop._names import meant

if TYPE_CHECKING:
    from cbackprop.io.columns import Reading

__all__ = [
    "LARGEST",
    "Coder",
    "are_words",
    "is_missing",
    "is_number",
    "missing_value",
    "not_a_number",
]

Array = NDArray[Any]

# Not much less than float32 can hold; its square is no problem for float64.
LARGEST = 1e38
_NOTHING = {"", "?", "na", "n/a", "nan", "null", "none"}
# More different words than this, or than half of the rows, are names rather than categories.
_MOST_WORDS = 1000
# What people take for numbers and float() does not: 1,5 and 1.000,50 and 12% and $5.
_ALMOST_NUMBER = re.compile(r"[$€£]?\s*[+-]?\d[\d.,' ]*\s*[%$€£]?")


class Coder:
    """The words of one column as numbers: those that are known, or every one that comes.

    With ``every``, a word like NA is a word, too; only the empty field is missing.
    """

    def __init__(self, known: Iterable[str] | None = None, every: bool = False) -> None:
        self.codes = {word: i for i, word in enumerate(known or ())}
        self.learns = known is None
        self.every = every

    def __call__(self, text: str) -> float:
        """The code of a word, NaN where it is missing; KeyError for one that is not known."""
        text = text.strip()
        code = self.codes.get(text)
        if code is None:
            if not text or (is_missing(text) and not self.every):
                return math.nan
            if not self.learns:
                raise KeyError(text)
            code = self.codes[text] = len(self.codes)
        return code

    def settle(self, column: Array, source: str, title: str) -> tuple[str, ...]:
        """Sort the words that were learned, and with them the codes in a column."""
        words = sorted(self.codes)
        if not self.learns:
            return tuple(self.codes)
        if not self.every and (len(words) > _MOST_WORDS or 2 * len(words) > len(column)):
            raise ValueError(
                f"{source}: {title}: {len(words)} different words in {len(column)} rows, expected "
                "numbers or categories; leave it out with --ignore, or say --categorical"
            )
        place = np.empty(len(words) + 1)
        place[[self.codes[word] for word in words]] = np.arange(len(words))
        place[-1] = np.nan
        column[:] = place[np.where(np.isnan(column), -1, column).astype(np.intp)]
        return tuple(words)

    def unknown(self, text: str) -> str:
        """What to say of a word that training has not seen."""
        short = text if len(text) <= 40 else text[:37] + "..."
        words = ", ".join(list(self.codes)[:8]) + (", ..." if len(self.codes) > 8 else "")
        return (
            f"{short!r} is no category the network was trained with ({words})"
            f"{meant(text, self.codes)}; correct it, or train again with such rows"
        )


def is_number(text: str) -> float | None:
    """The number a field holds, None for a word."""
    try:
        return None if "_" in text else float(text)  # float() reads 1_000 as a thousand
    except ValueError:
        return None


def is_missing(text: str) -> bool:
    return text.strip().lower() in _NOTHING


def are_words(texts: Iterable[str]) -> bool:
    """Whether a column holds words: most of its fields are, and do not look like numbers."""
    present = [text for text in texts if not is_missing(text)]
    words = [text for text in present if is_number(text) is None]
    numbers = sum(_ALMOST_NUMBER.fullmatch(text.strip()) is not None for text in words)
    return 2 * len(words) > len(present) and 2 * numbers < len(words)


def missing_value(text: str, reading: Reading) -> str:
    """What to say of a missing value."""
    remedy = "fill it in or remove the line"
    if reading.known is None and reading.missing == "refuse":
        remedy = "fill it in, remove the line, or say --missing mean or --missing drop"
    elif not reading.need_target:
        remedy = "fill it in, remove the line, or train with --missing mean"
    return f"missing value {text!r}; {remedy}"


def not_a_number(text: str, reading: Reading) -> str:
    """What to say of a field where a number should be."""
    if is_missing(text):
        return missing_value(text, reading)
    if (number := is_number(text)) is not None:
        return f"{text!r} is " + ("not finite" if math.isinf(number) else "too large (over 1e38)")
    short = text if len(text) <= 40 else text[:37] + "..."
    remedy = "decimal point, no thousands separator"
    if reading.known is None:
        remedy += "; --categorical names columns of words, --ignore columns to leave out"
    return f"{short!r} is not a number ({remedy})"
