"""What the other formats have in common: layers of numbers in, a network out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cbackprop.exceptions import ModelFileError
from cbackprop.io import container

if TYPE_CHECKING:
    from cbackprop.network import Network

Array = NDArray[Any]


def network(
    cls: type[Network],
    what: str,
    weights: Sequence[Array],
    biases: Sequence[Array],
    **settings: Any,
) -> Network:
    """A network with these w^l (n_l, n_{l-1}), b^l (n_l,) and settings of `Network`.

    Raises
    ------
    ModelFileError
        Something does not fit; `what` is the file or object the layers came from.
    """
    try:
        weights = [np.asarray(w) for w in weights]
        if not weights or any(w.ndim != 2 for w in weights):
            raise ValueError(f"weights of shapes {[w.shape for w in weights]}, expected matrices")
        sizes = [weights[0].shape[1], *(w.shape[0] for w in weights)]
        given: dict[str, Any] = {
            "init": "zeros",
            "rng": 0,
            "dtype": common_dtype([*weights, *biases]),
        } | settings
        net = cls(sizes, **given)
        net.weights, net.biases = list(weights), list(biases)
    except (*container.WRONG, MemoryError) as error:
        raise ModelFileError(f"{what}: {container.short(error)}") from None
    return net


def common_dtype(arrays: Sequence[Array]) -> str:
    """float32 where every array is (or is narrower), else float64."""
    narrow = all(array.dtype in (np.float32, np.float16) for array in arrays)
    return "float32" if narrow else "float64"


def is_scaled(net: Network) -> bool:
    """Whether the input layer sees anything but X itself."""
    return bool(np.any(net.input_scale != 1) or np.any(net.input_shift != 0))


def folded(net: Network) -> tuple[list[Array], list[Array]]:
    """Weights and biases, writeable, with input_scale and input_shift part of the first layer."""
    weights = [w.copy() for w in net.weights]
    biases = [b.copy() for b in net.biases]
    if is_scaled(net):
        w = weights[0].astype(np.float64)
        biases[0] = (biases[0] + w @ _each(net.input_shift, net.sizes[0])).astype(net.dtype)
        weights[0] = (w * net.input_scale).astype(net.dtype)
    return weights, biases


def _each(value: float | Array, n: int) -> Array:
    return np.broadcast_to(np.asarray(value, np.float64), (n,))


def json_object(text: str | bytes, what: str) -> dict[str, Any]:
    """A JSON object, or ModelFileError."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{what}: not JSON ({container.short(error)})") from None
    if not isinstance(value, dict):
        raise ModelFileError(f"{what}: not a JSON object")
    return value


def refuse_own(net: Network, format: str) -> None:
    """Functions of the user's own are code, which no file holds."""
    rows: list[Any] = [*net.activations, net.cost]
    for row in rows:
        if row.own is not None:
            raise ModelFileError(
                f"{format}: {row.name!r} is a function of your own, which the file cannot hold; "
                "net.save keeps its name"
            )
