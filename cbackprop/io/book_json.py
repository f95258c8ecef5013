"""The JSON files of the book's ``network2.py``: one reader and one writer for the package."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cbackprop.exceptions import ModelFileError
from cbackprop.io import atomic, container, layers

if TYPE_CHECKING:
    from cbackprop.network import Network

Array = NDArray[Any]

# The book's class -> the engine's name.
COSTS = {"QuadraticCost": "quadratic", "CrossEntropyCost": "cross_entropy"}


class BookNetwork(NamedTuple):
    """What such a file holds; biases are columns (n_l, 1)."""

    sizes: list[int]
    weights: list[Array]
    biases: list[Array]
    cost: str


def read(path: str | os.PathLike[str]) -> BookNetwork:
    """The network in a file, shapes and numbers checked.

    Raises
    ------
    ModelFileError
        It is not a network of network2.
    OSError
        It cannot be read.
    """
    return parse(Path(path).read_bytes(), os.fspath(path))


def parse(text: bytes, name: str) -> BookNetwork:
    """The network in the bytes of a file of this name."""
    data = layers.json_object(text, name)
    try:
        sizes, cost = data["sizes"], data["cost"]
        if cost not in COSTS:
            raise ValueError(f"cost {container.short(cost)!r}, expected {' or '.join(COSTS)}")
        if len(sizes) < 2 or any(type(n) is not int or n < 1 for n in sizes):
            raise ValueError(f"sizes {container.short(sizes)}")
        counts = [len(data[name]) for name in ("weights", "biases")]
        if counts != [len(sizes) - 1] * 2:  # before there are arrays of them
            raise ValueError(f"weights and biases of {counts} layers, expected {len(sizes) - 1}")
        weights = [np.array(w, np.float64) for w in data["weights"]]
        biases = [np.array(b, np.float64) for b in data["biases"]]
    except container.WRONG as error:
        found = f"{type(error).__name__}: {container.short(error)}"
        raise ModelFileError(f"{name}: not a network of network2: {found}") from None
    shapes = [*zip(sizes[1:], sizes[:-1], strict=True), *((n, 1) for n in sizes[1:])]
    if [x.shape for x in weights + biases] != shapes:
        raise ModelFileError(f"{name}: weights or biases do not fit sizes {container.short(sizes)}")
    if not all(np.isfinite(x).all() for x in weights + biases):
        raise ModelFileError(f"{name}: weights or biases are not finite")
    return BookNetwork(sizes, weights, biases, cost)


def write(
    path: str | os.PathLike[str],
    sizes: Sequence[int],
    weights: Sequence[Any],
    biases: Sequence[Any],
    cost: str,
) -> None:
    """Such a file; biases are columns (n_l, 1)."""
    data = {
        "sizes": list(sizes),
        "weights": [np.asarray(w).tolist() for w in weights],
        "biases": [np.asarray(b).tolist() for b in biases],
        "cost": cost,
    }
    atomic.write(path, json.dumps(data).encode())


def load(cls: type[Network], path: str | os.PathLike[str], dtype: Any) -> Network:
    """`Network.from_book_json`."""
    name = os.fspath(path)
    return loads(cls, name, Path(path).read_bytes(), dtype)


def loads(cls: type[Network], name: str, text: bytes, dtype: Any) -> Network:
    """The network in the bytes of a file of this name."""
    book = parse(text, name)
    biases = [b[:, 0] for b in book.biases]
    return layers.network(cls, name, book.weights, biases, cost=COSTS[book.cost], dtype=dtype)


def save(net: Network, path: str | os.PathLike[str]) -> None:
    """`Network.to_book_json`."""
    cost = {ours: theirs for theirs, ours in COSTS.items()}.get(str(net.cost))
    if cost is None or any(str(sigma) != "sigmoid" for sigma in net.activations):
        raise ModelFileError(
            "the book's JSON holds sigmoid layers with quadratic or cross_entropy cost only; "
            f"this is {net!r}: use save or to_npz"
        )
    weights, biases = layers.folded(net)
    write(path, net.sizes, weights, [b[:, None] for b in biases], cost)
