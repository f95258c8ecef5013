"""``cbackprop report``: how a model was trained and what it does on data, as one HTML page."""

from __future__ import annotations

import argparse
import re

import cbackprop
from cbackprop import _commands as commands
from cbackprop import _output

__all__ = ["run_report"]


def run_report(arguments: argparse.Namespace) -> int:
    """Write the report of a model on DATA."""
    net = cbackprop.load(arguments.model)
    X, y = commands.held_out(arguments, net, need_target=True)
    title = f"{arguments.model} on {arguments.data}" if arguments.title is None else arguments.title
    with _output.file_for(arguments.output) as path:
        try:
            cbackprop.report(
                net, net.history, X, y, path=path, title=title, worst=arguments.worst,
                settings={"model": arguments.model, "data": arguments.data},
            )  # fmt: skip
        except ValueError as error:
            raise ValueError(re.sub("^worst = ", "--worst ", str(error))) from None
    return 0
