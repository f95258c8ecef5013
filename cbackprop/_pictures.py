"""What pictures and reports need to know of networks, data and histories; NumPy alone.

It is also the gate for what only they take; messages are of the kind that `_validation` gives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbackprop import _validation as check
from cbackprop._names import unknown
from cbackprop.history import History
from cbackprop.network import Network

Array = NDArray[Any]

_LONGEST = 28  # letters of a name

# What a history has besides the curves that are drawn by name.
_DRAWN_ELSEWHERE = {
    "validation_cost": "is drawn beside 'cost'",
    "validation_score": "is drawn beside 'score'",
    "delta_norms": "is many curves; plot_delta_norms draws them",
}


def a_network(net: Any) -> None:
    """Refuse what is no network."""
    check.instance("net", net, Network)


def a_history(history: Any) -> None:
    """Refuse what is no history, or has no epoch."""
    remedy = ": net.history" if isinstance(history, Network) else ""
    check.instance("history", history, History, remedy)
    if not len(history):
        raise ValueError("history holds no epoch; train first")


def curves(history: History, what: Any) -> list[str]:
    """Names of curves that the history has."""
    a_history(history)
    known = ["cost", "score", "learning_rate", "seconds", *history.monitored]
    if not isinstance(what, str | Sequence) or not len(what):
        raise TypeError(f"what = {what!r}, expected a name or a list of names")
    names = [what] if isinstance(what, str) else list(what)
    for name in names:
        if name not in known:
            if isinstance(name, str) and name in _DRAWN_ELSEWHERE:
                raise ValueError(f"what = {name!r}, which {_DRAWN_ELSEWHERE[name]}")
            raise unknown("what", name, known)
    return names


def norms(history: History) -> list[list[float]]:
    """||delta^l|| of each epoch and layer."""
    a_history(history)
    return history.delta_norms


def axes(ax: Any, count: int) -> Array:
    """The axes that were given, as an array of so many."""
    found = np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
    if len(found) != count or not all(hasattr(one, "imshow") for one in found):
        expected = "matplotlib Axes" if count == 1 else f"{count} matplotlib Axes, one a curve"
        raise ValueError(f"ax = {ax!r}, expected {expected}; None: a new figure")
    return found


def count(name: str, value: Any) -> int:
    """How many of something to show."""
    return check.integer(name, value, 1)


def image_shape(n: int, shape: Any, name: str = "shape") -> tuple[int, int]:
    """(height, width) of an input of n pixels."""
    if shape is None:
        side = math.isqrt(n)
        if side * side != n:
            raise ValueError(
                f"the input has {n} neurons, which make no square; give {name}=(height, width)"
            )
        return side, side
    if isinstance(shape, str) or not isinstance(shape, Sequence) or len(shape) != 2:
        raise TypeError(f"{name} = {shape!r}, expected (height, width)")
    height, width = (check.integer(f"{name}[{i}]", side, 1) for i, side in enumerate(shape))
    if height * width != n:
        raise ValueError(
            f"{name} = {tuple(shape)!r} has {height * width} pixels but the input has {n} neurons"
        )
    return height, width


def decide(net: Network, a: Array) -> Array:
    """The index of the class of each row of outputs."""
    if a.shape[1] > 1:
        return np.asarray(a.argmax(axis=1))
    return np.asarray(a[:, 0] >= net.cost.threshold, np.intp)


def class_names(net: Network) -> list[str]:
    """The label of each class as text."""
    labels: Any = range(max(2, net.sizes[-1])) if net.classes is None else net.classes.tolist()
    return [label.decode(errors="replace") if isinstance(label, bytes) else str(label)
            for label in labels]  # fmt: skip


def classes_of(net: Network, target: check.Target) -> Array | None:
    """The index of each sample's class; None where the targets are not classes."""
    if target.array.ndim == 1:
        return target.array.astype(np.intp)
    if target.score == check.ARGMAX:
        return np.asarray(target.array.argmax(axis=1))
    return None


def _indices(net: Network, y: Any, m: int, what: str) -> Array:
    index = classes_of(net, net._targets(y, m))
    if index is None:
        raise ValueError(f"y holds real numbers or several labels at once; {what} needs classes")
    return index


def short(names: Sequence[str]) -> list[str]:
    """Names that leave room for the picture."""
    return [name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…" for name in names]


def plane(net: Network, X: Any, y: Any, resolution: Any) -> tuple[Array, Array | None, list[str]]:
    """X of two inputs in float64, the class of each row where y tells it, the classes' names."""
    a_network(net)
    if net.sizes[0] != 2:
        raise ValueError(f"net has {net.sizes[0]} input neurons; decision regions are drawn for 2")
    check.integer("resolution", resolution, 2, 4096)
    array = net._rows(X)[0]
    check.refuse_nonfinite("X", array, net.dtype)
    index = None if y is None else _indices(net, y, len(array), "a picture of regions")
    return array.astype(np.float64), index, class_names(net)


def confusion(net: Network, X: Any, y: Any) -> tuple[Array, list[str]]:
    """Samples of class i taken for class j, (n, n), and the classes' names."""
    a_network(net)
    a = net.predict(X)
    if not len(a):
        raise ValueError("X has no rows, expected at least one sample")
    names = class_names(net)
    return counted(
        _indices(net, y, len(a), "a confusion matrix"), decide(net, a), len(names)
    ), names


def counted(index: Array, decided: Array, n: int) -> Array:
    """How often each pair occurs, (n, n)."""
    return np.bincount(index * n + decided, minlength=n * n).reshape(n, n)
