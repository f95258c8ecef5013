"""Weights of PyTorch's Linear layers, as dicts of arrays; PyTorch itself is not needed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cbackprop import _extras
from cbackprop import _validation as check
from cbackprop.exceptions import ModelFileError
from cbackprop.io import container, layers

if TYPE_CHECKING:
    from cbackprop.network import Network

Array = NDArray[Any]


# PyTorch's class -> the engine's name, and constants without which it is another function.
_NAMES: dict[str, tuple[str, dict[str, Any]]] = {
    "Identity": ("identity", {}),
    "Sigmoid": ("sigmoid", {}),
    "Tanh": ("tanh", {}),
    "ReLU": ("relu", {}),
    "LeakyReLU": ("leaky_relu({0.negative_slope})", {}),
    "ELU": ("elu({0.alpha})", {}),
    "SELU": ("selu", {}),
    "Softplus": ("softplus", {"beta": (1,)}),
    "SiLU": ("silu", {}),
    "GELU": ("gelu", {"approximate": ("none",)}),
    "Softsign": ("softsign", {}),
    "Hardtanh": ("hard_tanh", {"min_val": (-1,), "max_val": (1,)}),
    "Softmax": ("softmax", {"dim": (1, -1, None)}),
}
_WITHOUT_EFFECT = ("Dropout", "AlphaDropout", "Flatten")  # on the predictions from rows


def save(net: Network) -> dict[str, Array]:
    """`Network.to_torch`."""
    weights, biases = layers.folded(net)
    result = {}
    for l, (w, b) in enumerate(zip(weights, biases, strict=True)):
        # Linear, activation, Linear, activation, ...
        result[f"{2 * l}.weight"], result[f"{2 * l}.bias"] = w, b
    return result


def load(
    cls: type[Network], state: Any, settings: dict[str, Any], what: str = "state_dict"
) -> Network:
    """`Network.from_torch`."""
    module = None
    if isinstance(state, str | os.PathLike):
        path = check.path("state", state)
        _safetensors()  # before the file, that what is missing is named first
        return loads(cls, path, Path(path).read_bytes(), settings)
    if callable(getattr(state, "state_dict", None)):
        module, state = state, state.state_dict()
    if isinstance(state, Mapping):
        # One after the other: of a BatchNorm, its weight is to be named, not its counter.
        weights, biases = _by_name(((k, _array(what, k, v)) for k, v in state.items()), what)
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
    given = {k: v for k, v in settings.items() if v is not None}
    if type(module).__name__ == "Sequential" and not {"activation", "output"} <= given.keys():
        *hidden, output = _activations(module)
        given = {"activation": hidden, "output": output} | given
    check.said(given, ["activation", "output"] if len(weights) > 1 else ["output"])
    return layers.network(cls, what, weights, biases, **given)


def _activations(sequential: Any) -> list[str]:
    """What follows each Linear of an nn.Sequential, whose modules are called in their order."""
    remedy = "; give activation= and output="
    found: list[str | None] = []
    for module in _leaves(sequential):
        kind = type(module).__name__
        if kind == "Linear":
            found.append(None)
        elif kind not in _WITHOUT_EFFECT:
            if not found or found[-1] is not None:
                raise ModelFileError(f"module: {module} does not follow a Linear{remedy}")
            name, constants = _NAMES.get(kind, ("", {}))
            if not name or any(getattr(module, k) not in v for k, v in constants.items()):
                raise ModelFileError(f"module: {module} is no activation here{remedy}")
            found[-1] = name.format(module)
    return [name or "identity" for name in found]


def _leaves(module: Any) -> Iterator[Any]:
    if type(module).__name__ != "Sequential":
        yield module
        return
    for child in module.children():
        yield from _leaves(child)


def loads(cls: type[Network], name: str, data: bytes, settings: dict[str, Any]) -> Network:
    """The network from the bytes of a .safetensors file of this name."""
    return load(cls, _read(name, data), settings, name)


def _safetensors() -> Any:
    about = ("from_torch of a file", "safetensors", "safetensors")
    _extras.need("safetensors.numpy", *about)
    return _extras.need("safetensors", *about)


def _read(path: str, data: bytes) -> dict[str, Array]:
    safetensors = _safetensors()
    try:
        found: dict[str, Array] = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, MemoryError, *container.WRONG) as error:
        raise ModelFileError(
            f"{path}: not a safetensors file of float32 or float64 ({container.short(error)}); "
            "files of torch.save are pickles, which run code: save the state_dict with "
            "safetensors.torch.save_file"
        ) from None
    # Such files keep their tensors in an order of their own, so that only numbers tell.
    numbers = {name: [int(n) for n in re.findall(r"\d{1,18}", name)[:8]] for name in found}
    layers_of = {name.rpartition(".")[0]: order for name, order in numbers.items()}
    if len({tuple(order) for order in layers_of.values()}) != len(layers_of):
        names = container.short(", ".join(sorted(found)))
        raise ModelFileError(
            f"{path}: the names {names} do not tell the order of layers; "
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
    if not array.size:
        raise ModelFileError(f"{what}: {name} has shape {array.shape}, expected no length of 0")
    if array.dtype.kind != "f":
        raise ModelFileError(f"{what}: {name} has dtype {array.dtype}, expected float32 or float64")
    return array


def _by_name(state: Iterable[tuple[Any, Array]], what: str) -> tuple[list[Array], list[Array]]:
    """Weights and biases; a Linear without bias has zeros."""
    weights: dict[str, Array] = {}
    biases: dict[str, Array] = {}
    for name, array in state:
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
