"""A history in a model file: as JSON, or, where it is long, its curves as tensors.

A curve that is a tensor, ``history.cost`` (epochs,), ``history.delta_norms`` (epochs, L) or
``history.monitored.NAME`` (epochs,), is null in the JSON.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbackprop.exceptions import ModelFileError
from cbackprop.history import History
from cbackprop.io import container

Array = NDArray[Any]

# Numbers of a history that stay JSON: text that people can read, well below the limit of values.
MOST_IN_JSON = 4096
LAYERS = ("delta_norms", "dead_units")


def dumps(history: History) -> tuple[dict[str, Any], dict[str, tuple[str, Array]]]:
    """What stands in the JSON, and the tensors."""
    about = history.to_dict()
    tensors: dict[str, tuple[str, Array]] = {}
    if _count(about) > MOST_IN_JSON:
        for curves, key, name in _places(about):
            array = _array(curves[key], 2 if name[8:] in LAYERS else 1)
            if array is not None:
                curves[key], tensors[name] = None, ("F64", array)
    return plain(about), tensors


def _count(x: Any) -> int:
    """Numbers in lists and dicts of them."""
    if isinstance(x, dict | list):
        return sum(map(_count, x.values() if isinstance(x, dict) else x))
    return 1


def _places(about: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, str]]:
    """The dict that has each curve, its key there and its name as a tensor."""
    for name in about:
        if name not in ("score_name", "monitored"):
            yield about, name, f"history.{name}"
    for name in about.get("monitored", {}):
        yield about["monitored"], name, f"history.monitored.{name}"


def _array(curve: Any, dimensions: int) -> Array | None:
    """The curve as float64; None where it has no entry, or rows of several lengths."""
    try:
        array = np.array(curve, np.float64)
    except ValueError:
        return None
    return array if array.ndim == dimensions and array.size else None


def loads(about: Any, tensors: dict[str, Array]) -> History:
    """The history; its tensors are taken out of `tensors`.

    Raises
    ------
    ModelFileError
        It is none. What a file of the wrong kind makes Python raise is the caller's to catch.
    """
    history = History()
    missing = set(vars(history)) - set(about)  # files of 0.1.0 have no curves of a layer
    if missing - {*LAYERS, "monitored"} or set(about) - set(vars(history)):
        raise ModelFileError("model file: not a history")
    if about["score_name"] not in ("accuracy", "r2"):
        raise ModelFileError(f"model file: score_name {about['score_name']!r}")
    history.score_name = about["score_name"]
    for curves, key, name in _places(about):
        values = tensors.pop(name).tolist() if curves[key] is None else curves[key]
        if curves is not about:
            history.monitored[key] = _curve(key, values)
        elif key in LAYERS:
            setattr(history, key, [_curve(key, row) for row in values])
        else:
            setattr(history, key, _curve(key, values))
    return history


def _curve(name: str, values: Any) -> list[float]:
    if not isinstance(values, list):
        raise ModelFileError(f"model file: {name} of the history is not a list")
    return [number(x) for x in values]


def number(x: Any) -> float:
    """A number as `plain` writes it."""
    if type(x) in (float, int) or x in ("inf", "-inf", "nan"):
        return float(x)
    raise ModelFileError(f"model file: {container.short(x)}, expected a number")


def plain(x: Any) -> Any:
    """What JSON can hold, lists and dicts inside too."""
    if isinstance(x, dict):
        return {name: plain(value) for name, value in x.items()}
    if isinstance(x, list):
        return [plain(value) for value in x]
    if isinstance(x, float) and not math.isfinite(x):
        return repr(x)  # JSON has no infinities
    return x
