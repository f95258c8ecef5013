"""Weights of PyTorch's Linear layers, as dicts of arrays; PyTorch itself is not needed."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cbackprop import _validation as check
from cbackprop.exceptions import ModelFileError
from cbackprop.io import layers

if TYPE_CHECKING:
    from cbackprop.network import Network

Array = NDArray[Any]


def save(net: Network) -> dict[str, Array]:
    """`Network.to_torch`."""
    weights, biases = layers.folded(net)
    result = {}
    for l, (w, b) in enumerate(zip(weights, biases, strict=True)):
        # Linear, activation, Linear, activation, ...
        result[f"{2 * l}.weight"], result[f"{2 * l}.bias"] = w, b
    return result


def load(cls: type[Network], state: Any, settings: dict[str, Any]) -> Network:
    """`Network.from_torch`."""
    what = "state_dict"
    if isinstance(state, str | os.PathLike):
        what = check.path("state", state)
        state = _read(what)
    elif callable(getattr(state, "state_dict", None)):
        state = state.state_dict()
    if isinstance(state, Mapping):
        weights, biases = _by_name({k: _array(what, k, v) for k, v in state.items()}, what)
    elif isinstance(state, Sequence) and not isinstance(state, bytes):
        arrays = [_array(what, str(i), value) for i, value in enumerate(state)]
        weights, biases = arrays[::2], arrays[1::2]
        if len(weights) != len(biases):
            raise ModelFileError(f"{what}: {len(arrays)} arrays, expected w1, b1, w2, b2, ...")
    else:
        raise TypeError(
            f"state = {type(state).__name__}, expected a state_dict, a list of arrays w1, b1, w2, "
            "b2, ..., or the path of a .safetensors file"
        )
    return layers.network(
        cls, what, weights, biases, **{k: v for k, v in settings.items() if v is not None}
    )


def _read(path: str) -> dict[str, Array]:
    try:
        import safetensors
        from safetensors.numpy import load
    except ImportError:
        raise ImportError(
            'from_torch of a file needs safetensors: pip install "cbackprop[safetensors]"'
        ) from None
    data = Path(path).read_bytes()
    try:
        # The bytes, not the path, with which its errors of the system do not name the file.
        found: dict[str, Array] = load(data)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFileError(
            f"{path}: not a safetensors file of float32 or float64 ({error}); files of torch.save "
            "are pickles, which run code: save the state_dict with safetensors.torch.save_file"
        ) from None
    # Such files keep their tensors in an order of their own, so that only numbers tell.
    numbers = {name: [int(n) for n in re.findall(r"\d{1,18}", name)[:8]] for name in found}
    layers_of = {name.rpartition(".")[0]: order for name, order in numbers.items()}
    if len({tuple(order) for order in layers_of.values()}) != len(layers_of):
        raise ModelFileError(
            f"{path}: the names {', '.join(sorted(found)[:8])} do not tell the order of layers; "
            "give from_torch a dict in order: safetensors.numpy.load_file reads one"
        )
    return {name: found[name] for name in sorted(found, key=lambda name: numbers[name])}


def _array(what: str, name: str, value: Any) -> Array:
    try:
        if callable(getattr(value, "detach", None)):
            value = value.detach().cpu().numpy()
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelFileError(f"{what}: {name}: {error}; convert it to float32") from None
    if array.dtype.kind != "f":
        raise ModelFileError(f"{what}: {name} has dtype {array.dtype}, expected float32 or float64")
    return array


def _by_name(state: dict[Any, Array], what: str) -> tuple[list[Array], list[Array]]:
    """Weights and biases; a Linear without bias has zeros."""
    weights: dict[str, Array] = {}
    biases: dict[str, Array] = {}
    for name, array in state.items():
        layer, _, kind = str(name).rpartition(".")
        if (kind, array.ndim) not in (("weight", 2), ("bias", 1)):
            raise ModelFileError(
                f"{what}: {name} of shape {array.shape} is no part of a Linear layer; only weight "
                "(n_out, n_in) and bias (n_out,) are supported: fold batch normalisation into the "
                "layer before it (torch.nn.utils.fuse_linear_bn_eval) and leave other layers out"
            )
        (weights if kind == "weight" else biases)[layer] = array
    for layer in biases.keys() - weights.keys():
        raise ModelFileError(f"{what}: {layer}.bias has no {layer}.weight beside it")
    zeros = {layer: np.zeros(w.shape[0], w.dtype) for layer, w in weights.items()}
    return list(weights.values()), [biases.get(layer, zeros[layer]) for layer in weights]
