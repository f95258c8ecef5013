"""``cbackprop info``: what a model file holds."""

from __future__ import annotations

import argparse

import numpy as np

import cbackprop
from cbackprop import Network

__all__ = ["run_info"]


def run_info(arguments: argparse.Namespace) -> int:
    """Print what a model file holds."""
    net = cbackprop.load(arguments.model)
    print(net.summary())
    position = net._position
    optimizer = f" by {position.optimizer.name}" if position.optimizer is not None else ""
    print(f"{net.steps:,} mini-batches, {position.epoch:,} epochs trained{optimizer}")
    if len(net.history):
        print(
            f"last epoch: cost {net.history.cost[-1]:.6g}, "
            f"{net.history.score_name} {net.history.score[-1]:.6g}"
        )
    print(f"inputs: {_scaling(net)}")
    _print_columns(net)
    if net.classes is not None:
        print(f"labels: {', '.join(map(str, net.classes))}")
    return 0


def _scaling(net: Network) -> str:
    """How the input layer sees X."""
    words = []
    for name, neutral in (("scale", 1.0), ("shift", 0.0)):
        value = getattr(net, f"input_{name}")
        if isinstance(value, np.ndarray):
            words.append(f"{name} {value.min():.6g} .. {value.max():.6g}, one a column")
        elif value != neutral:
            words.append(f"{name} {value:.6g}")
    return ", ".join(words) or "as they are"


def _print_columns(net: Network) -> None:
    """What the inputs are called, and what training learned of them."""
    columns = net._columns
    if columns is None:
        return
    if columns.names is not None or columns.words:
        print(f"columns: {', '.join(columns.titles())}")
    if columns.target is not None:
        print(f"target: {columns.target}")
    if columns.missing != "refuse":
        print(f"missing values: {columns.missing}")
