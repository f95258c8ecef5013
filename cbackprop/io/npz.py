"""NPZ files: ``w1``, ``b1``, ``w2``, ... in the book's shapes, with the settings beside them.

``activations`` (one text a layer), ``cost``, ``input_scale``, ``input_shift`` and ``classes`` are
arrays as well; a file without them is read with the settings the caller gives.
"""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cbackprop.exceptions import ModelFileError
from cbackprop.io import atomic, layers
from cbackprop.io.tables import read_member

if TYPE_CHECKING:
    from cbackprop.network import Network

Array = NDArray[Any]

SETTINGS = {"activations", "cost", "input_scale", "input_shift", "classes"}


def save(net: Network, path: str | os.PathLike[str]) -> None:
    """`Network.to_npz`."""
    layers.refuse_own(net, "NPZ")
    arrays: dict[str, Array] = {}
    for l, (w, b) in enumerate(zip(net.weights, net.biases, strict=True), start=1):
        arrays[f"w{l}"], arrays[f"b{l}"] = w, b
    arrays["activations"] = np.array([str(sigma) for sigma in net.activations])
    arrays["cost"] = np.array([str(net.cost)])
    arrays["input_scale"] = np.atleast_1d(net.input_scale)
    arrays["input_shift"] = np.atleast_1d(net.input_shift)
    if net.classes is not None:
        arrays["classes"] = net.classes
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    atomic.write(path, buffer.getvalue())


def load(cls: type[Network], path: str | os.PathLike[str], given: dict[str, Any]) -> Network:
    """`Network.from_npz`; what is given and not None stands before what the file says."""
    name = os.fspath(path)
    found = _read(name)
    count = sum(key not in SETTINGS for key in found) // 2
    wanted = {f"{letter}{l}" for l in range(1, count + 1) for letter in "wb"}
    if not wanted or set(found) - SETTINGS != wanted:
        raise ModelFileError(
            f"{name}: arrays {', '.join(sorted(found)[:12])}, expected w1, b1, w2, b2, ...; "
            "give others, in order, to Network.from_torch"
        )
    settings: dict[str, Any] = {}
    if "activations" in found:
        names = _texts(name, "activations", found["activations"])
        settings |= {"activation": names[:-1], "output": names[-1]}
    if "cost" in found:
        settings["cost"] = _texts(name, "cost", found["cost"])[0]
    for key in ("input_scale", "input_shift"):
        if key in found:
            value = found[key]
            settings[key] = value.ravel()[0] if value.size == 1 else value
    if "classes" in found:
        settings["classes"] = found["classes"]
    settings |= {key: value for key, value in given.items() if value is not None}
    parts = [[found[f"{letter}{l}"] for l in range(1, count + 1)] for letter in "wb"]
    return layers.network(cls, name, *parts, **settings)


def _read(name: str) -> dict[str, Array]:
    with open(name, "rb") as file:  # whose errors are no damage
        try:
            with zipfile.ZipFile(file) as archive:
                members = [member.removesuffix(".npy") for member in archive.namelist()]
                if len(set(members)) != len(members):
                    raise ModelFileError(f"{name}: an array stands twice in the file")
                return {member: read_member(archive, name, member) for member in members}
        except ModelFileError:
            raise
        except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as e:
            text = str(e).removeprefix(f"{name}: ")
            raise ModelFileError(f"{name}: damaged, or not an NPZ file: {text}") from None
        except (NotImplementedError, MemoryError, OverflowError) as e:
            raise ModelFileError(f"{name}: not a usable NPZ file: {e}") from None


def _texts(name: str, key: str, array: Array) -> list[str]:
    if array.dtype.kind != "U" or array.ndim != 1 or not array.size:
        raise ModelFileError(
            f"{name}: {key} is {array.dtype} {array.shape}, expected a row of text"
        )
    return [str(text) for text in array]
