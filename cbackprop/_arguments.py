"""Arguments that several commands have, and what shells offer for them."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterable
from typing import Any

from cbackprop.io import tables

__all__ = ["column_options", "data_argument", "offers", "running_options"]


def offers(action: argparse.Action, *names: Iterable[str]) -> None:
    """What a shell offers to complete an argument with that may be more than a choice."""
    known = [name for some in names for name in some]
    action.completer = lambda **_: known  # type: ignore[attr-defined]


def data_argument(parser: argparse.ArgumentParser, about: str) -> None:
    """The operand DATA; shells offer the named sets, and files."""
    action = parser.add_argument("data", metavar="DATA", help=about)

    def complete(prefix: str, **_: Any) -> list[str]:
        files = importlib.import_module("argcomplete.completers").FilesCompleter()
        return [*tables.NAMED, *files(prefix)]

    action.completer = complete  # type: ignore[attr-defined]


def column_options(parser: argparse._ActionsContainer) -> None:
    """Which columns of a table there are."""
    about = "columns to leave out: names or indices, between commas"
    parser.add_argument("--ignore", metavar="COLUMN[,...]", help=about)
    about = "whether line 1 of a CSV file holds names; default: auto, told by its content"
    parser.add_argument("--header", choices=["auto", "yes", "no"], default="auto", help=about)


def running_options(parser: argparse._ActionsContainer) -> None:
    """How a training runs."""
    add = parser.add_argument
    add(
        "--seed",
        type=int,
        metavar="N",
        default=0,
        help="of all random numbers; default: %(default)s",
    )
    add(
        "--threads",
        type=int,
        metavar="N",
        help="default: what the machine allows and the work is worth",
    )
    add(
        "--epochs",
        type=int,
        metavar="N",
        default=30,
        help="passes over the data; default: %(default)s",
    )
