"""``cbackprop export``: a model file as something that other programs read."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import NamedTuple

import cbackprop
from cbackprop import Network, _output

__all__ = ["FORMATS", "Format", "run_export"]


class Format(NamedTuple):
    """One kind of file: how it ends, what writes it, and what help says of it."""

    end: str
    method: str
    about: str


_KNOWN = {
    "c": Format(".h", "export_c", ""),  # the page of export says what it is
    "onnx": Format(".onnx", "export_onnx", "for onnxruntime and other readers of ONNX"),
    "npz": Format(".npz", "to_npz", "NumPy's arrays, weights and biases"),
}

# Those that this release's networks have a method for.
FORMATS = {name: form for name, form in _KNOWN.items() if hasattr(Network, form.method)}


def _kind(arguments: argparse.Namespace) -> str:
    if arguments.format is not None:
        return str(arguments.format)
    end = Path(arguments.file).suffix.lower()
    for name, form in FORMATS.items():
        if form.end == end:
            return name
    ends = ", ".join(form.end for form in FORMATS.values())
    raise ValueError(
        f"FILE {arguments.file}: its end, {end!r}, tells no kind of file, expected one of: {ends}; "
        f"or name the kind with --format ({', '.join(FORMATS)})"
    )


def run_export(arguments: argparse.Namespace) -> int:
    """Write a model as C, ONNX or NPZ."""
    kind = _kind(arguments)
    if arguments.name is not None and kind != "c":
        raise ValueError(f"--name {arguments.name}: is for C headers only; leave it out")
    net = cbackprop.load(arguments.model)
    with _output.file_for(arguments.file, "model" + FORMATS[kind].end) as path:
        if kind == "c":
            _export_c(net, path, arguments.name)
        else:
            getattr(net, FORMATS[kind].method)(path)
    if arguments.file != "-":
        print(f"written: {path} ({path.stat().st_size:,} bytes)")
    return 0


def _export_c(net: Network, path: Path, name: str | None) -> None:
    try:
        net.export_c(path, name=name)
    except ValueError as error:  # the gate's words for arguments, in those of options
        message = re.sub("^name = ", "--name ", re.sub("^path = ", "FILE ", str(error)))
        message = message.replace("; give name=", "; give --name")
        raise ValueError(message) from None
