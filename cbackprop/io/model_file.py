"""The model file: safetensors' byte layout, with a digest over every byte (`container`).

Tensors are ``w1 .. wL`` (n_l, n_{l-1}), ``b1 .. bL`` (n_l,), ``input_scale`` and
``input_shift`` where they are arrays, ``error_squares`` of a broken epoch, the curves of a long
history (`curves`), and ``optimizer0.w1 .. optimizer0.bL``, ``optimizer1.w1`` and so on: what the
last training's optimiser remembers of each; of a checkpoint, ``best.w1 .. best.bL`` where early
stopping keeps some. ``__metadata__`` holds text only, as safetensors wants: the format's version,
the network as JSON, in it the running call of a checkpoint, and the SHA-256 of the whole file with
the digest's own 64 characters written as zeros. Reading executes nothing; names are looked up in
the package's tables.
"""

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbackprop import _engine, _updates, activations, costs, initializers, optimizers
from cbackprop import _validation as check
from cbackprop._run import Position
from cbackprop.exceptions import ModelFileError
from cbackprop.io import container, curves
from cbackprop.io.atomic import write as write
from cbackprop.io.columns import Columns
from cbackprop.network import Network

Array = NDArray[Any]

LABELS = {"U", "S", "|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8"}


def dumps(net: Network, call: Any = None, best: Sequence[Array] = ()) -> bytes:
    """The network as the bytes of a model file; of a checkpoint, with the call that runs and its
    best weights, panels of each layer."""
    code = "F32" if net.dtype == np.float32 else "F64"
    tensors: dict[str, tuple[str, Array]] = {}
    for l, (w, b) in enumerate(net._unpacked(), start=1):
        tensors[f"w{l}"] = (code, w)
        tensors[f"b{l}"] = (code, b)
    state = net._position.optimizer
    for k in range(0 if state is None else state.planes):
        assert state is not None
        for l in range(1, len(net.sizes)):
            w, b = _engine.unpack(state.panels(k, l), net.sizes[l])
            tensors[f"optimizer{k}.w{l}"] = (code, w)
            tensors[f"optimizer{k}.b{l}"] = (code, b)
    for l, panels in enumerate(best, start=1):
        w, b = _engine.unpack(panels, net.sizes[l])
        tensors[f"best.w{l}"], tensors[f"best.b{l}"] = (code, w), (code, b)
    if net._position.batch:
        tensors["error_squares"] = ("F64", net._position.error_squares)
    transform = {}
    for name in ("input_scale", "input_shift"):
        value = getattr(net, name)
        transform[name] = None if isinstance(value, np.ndarray) else value
        if isinstance(value, np.ndarray):
            tensors[name] = ("F64", value)
    history, long = curves.dumps(net.history)
    tensors |= long
    about = {**_describe(net), "history": history, **transform}
    if call is not None:
        about["call"] = call
    return container.dumps(json.dumps(about, allow_nan=False), tensors)


def _describe(net: Network) -> dict[str, Any]:
    here = net._position
    return {
        "sizes": list(net.sizes),
        "activations": [str(sigma) for sigma in net.activations],
        "cost": str(net.cost),
        "init": net.init if isinstance(net.init, str) else "zeros",
        "dtype": net.dtype.name,
        "classes": _labels(net.classes),
        # True for the same: a word for each of many outputs is long.
        "given_classes": (
            True
            if net.classes is not None and net._given_classes is net.classes
            else _labels(net._given_classes)
        ),
        "key": net._key,
        "epoch": here.epoch,
        "batch": here.batch,
        "steps": here.steps,
        "shape": list(here.shape),
        "cost_sum": curves.plain(here.cost_sum),
        "optimizer": here.optimizer
        and {
            "name": here.optimizer.name,
            "steps": here.optimizer.steps,
            "product": here.optimizer.product,
        },
        "score_sums": curves.plain(here.score_sums.tolist()),
        **({} if net._columns is None else {"columns": net._columns.to_json()}),
    }


def _labels(classes: Array | None) -> list[Any] | None:
    """The dtype, then the labels; bytes as text of the same codes."""
    if classes is None:
        return None
    if classes.dtype.kind in "US":
        text = [c.decode("latin-1") if isinstance(c, bytes) else c for c in classes.tolist()]
        return [classes.dtype.kind, *text]
    return [classes.dtype.newbyteorder("<").str, *classes.tolist()]


def read(path: str | os.PathLike[str]) -> bytes:
    """All bytes of the file."""
    return Path(path).read_bytes()


def _call(about: Any) -> dict[str, Any]:
    """What `checkpoint.Keeper` wrote, or an error."""
    if not isinstance(about, dict):
        raise ModelFileError("model file: the call is not an object")
    kinds = {"settings": str, "lengths": int}
    for name, kind in kinds.items():
        part = about.get(name)
        if not isinstance(part, dict) or any(type(value) is not kind for value in part.values()):
            raise ModelFileError(f"model file: {name} of the call")
    lengths = about["lengths"]
    if any(n < 0 for n in lengths.values()) or not {"cost", "seconds"} <= set(lengths):
        raise ModelFileError("model file: lengths of the call")
    if type(about.get("epochs")) is not int or type(about.get("complete")) is not bool:
        raise ModelFileError("model file: epochs of the call")
    return about


def loads(data: bytes) -> Network:
    """The network from the bytes of a model file.

    Raises
    ------
    ModelFileError
        The bytes are damaged, or are not a model file.
    """
    return loads_with_call(data)[0]


def loads_with_call(data: bytes) -> tuple[Network, dict[str, Any] | None, list[Array]]:
    """The network; of a checkpoint also the call and its best weights, panels, or none."""
    net = Network.__new__(Network)
    return net, *restore(net, data)


def restore(net: Network, data: bytes) -> tuple[dict[str, Any] | None, list[Array]]:
    """Fill an empty `Network` from the bytes of a model file; what it says of a call."""
    about, tensors = container.loads(data)
    try:
        call = None if about.get("call") is None else _call(about["call"])
        best = [] if call is None else _best(about["sizes"], tensors)
        _restore(net, about, tensors)
        panels = []
        for l, (w, b) in enumerate(best, start=1):
            panels.append(np.zeros_like(net._panels()[l - 1]))
            _engine.pack(w, b, panels[-1])
        return call, panels
    except ModelFileError:
        raise
    except container.WRONG as error:
        text = container.short(error)
        raise ModelFileError(f"model file: {type(error).__name__}: {text}") from None


def _best(sizes: list[int], tensors: dict[str, Array]) -> list[tuple[Array, Array]]:
    """The best weights and biases of a checkpoint, taken out of the tensors; or none."""
    pairs = []
    for l in range(1, len(sizes) if "best.w1" in tensors else 1):
        w, b = tensors.pop(f"best.w{l}"), tensors.pop(f"best.b{l}")
        if w.shape != (sizes[l], sizes[l - 1]) or b.shape != (sizes[l],):
            raise ModelFileError(f"model file: best.w{l} has shape {w.shape}")
        pairs.append((w, b))
    return pairs


def _function(room: Any, name: Any) -> Any:
    """An activation or a cost; the user's own must be registered again in every process."""
    try:
        return room.get(name)
    except ValueError as error:
        if not isinstance(name, str) or not name.isidentifier() or len(name) > 100:
            raise
        raise ModelFileError(
            f"model file: {name!r} is not known here; if it is a function of your own, "
            f"{room.__name__}.register it first ({error})"
        ) from None


def _restore(net: Network, about: dict[str, Any], tensors: dict[str, Array]) -> None:
    """What costs least is looked at first, and the network made last."""
    history = curves.loads(about["history"], tensors)
    sizes, state = about["sizes"], about.get("optimizer")  # the latter not in files of 0.1.0
    _check_tensors(sizes, about, state, tensors)
    position, key = _position(about), about["key"]
    if type(key) is not int or not 0 <= key < 2**64:
        raise ModelFileError(f"model file: key {key!r}")
    squares = tensors.get("error_squares")
    if squares is not None:
        if squares.shape != position.error_squares.shape:
            raise ModelFileError(f"model file: error_squares of shape {squares.shape}")
        position.error_squares = squares.copy()
    init, classes = initializers.check(about["init"]), _classes(about["classes"], sizes[-1])
    given = about["given_classes"]
    columns = about.get("columns")
    if columns is not None:
        columns = Columns.from_json(columns, sizes[0])
    layers = [_function(activations, name) for name in about["activations"]]
    Network.__init__(
        net,
        sizes,
        activation=layers[:-1],
        output=layers[-1],
        cost=_function(costs, about["cost"]),
        init="zeros",
        dtype=about["dtype"],
        input_scale=_value(about, tensors, "input_scale"),
        input_shift=_value(about, tensors, "input_shift"),
        classes=classes if given is True else _classes(given, sizes[-1]),
        rng=0,
    )
    if given is not True:
        net.classes = classes
    net.init, net._key, net._position, net.history = init, key, position, history
    for l, panels in enumerate(net._panels(), start=1):
        _pack(tensors, "", l, panels)
    if state:
        position.optimizer = _state(net, state, tensors)
    net._columns = columns


def _check_tensors(sizes: Any, about: Any, state: Any, tensors: dict[str, Array]) -> None:
    """Every tensor must be one of the layers', of its shape and the network's precision."""
    if about["dtype"] not in ("float32", "float64"):  # NumPy warns of some names
        raise ModelFileError(f"model file: dtype {container.short(about['dtype'])!r}")
    if type(sizes) is not list or 2 * len(sizes) - 2 > len(tensors):  # before names are made of it
        raise ModelFileError(f"model file: {len(tensors)} tensors do not make the layers of sizes")
    planes = optimizers.OPTIMIZERS[state["name"]].planes if state else 0
    shapes: dict[str, Any] = {
        name: None for name in ("input_scale", "input_shift") if about[name] is None
    }
    for prefix in ("", *(f"optimizer{k}." for k in range(planes))):
        for l in range(1, len(sizes)):
            shapes[f"{prefix}w{l}"] = (sizes[l], sizes[l - 1])
            shapes[f"{prefix}b{l}"] = (sizes[l],)
    if tensors.keys() - {"error_squares"} != shapes.keys():
        wrong = container.short(sorted((tensors.keys() - {"error_squares"}) ^ shapes.keys()))
        raise ModelFileError(f"model file: tensors {wrong}: missing, or of no layer")
    for name, shape in shapes.items():
        tensor = tensors[name]
        if shape is not None and (tensor.shape != shape or tensor.dtype != about["dtype"]):
            raise ModelFileError(f"model file: {name} has shape {tensor.shape}, {tensor.dtype}")


def _pack(tensors: dict[str, Array], prefix: str, l: int, panels: Array) -> None:
    """Write a layer's weights and biases into the panels, without a copy in between."""
    w, b, width = tensors[f"{prefix}w{l}"], tensors[f"{prefix}b{l}"], panels.shape[2]
    for i, panel in enumerate(panels):
        some = slice(width * i, width * (i + 1))
        panel[:-1, : len(b[some])] = w[some].T
        panel[-1, : len(b[some])] = b[some]
    if not np.isfinite(panels).all():
        raise ModelFileError(f"model file: {prefix}w{l} or {prefix}b{l} is not finite")


def _value(about: dict[str, Any], tensors: dict[str, Array], name: str) -> float | Array:
    value: float | Array = tensors[name] if about[name] is None else about[name]
    return value


def _classes(labels: Any, n_out: int) -> Array | None:
    if labels is None:
        return None
    kind, values = labels[0], labels[1:]
    if kind not in LABELS:
        raise ModelFileError(f"model file: classes of dtype {kind!r}")
    expected = {"U": str, "S": str, "|b1": bool}.get(kind, int)
    if any(type(value) is not expected for value in values):
        raise ModelFileError("model file: classes of another type than they say")
    if kind == "S":
        values = [value.encode("latin-1") for value in values]
    array = np.array(values) if kind in "US" else np.array(values, np.dtype(kind).newbyteorder("="))
    return check.class_labels(array, n_out)


def _position(about: dict[str, Any]) -> Position:
    sums = np.array([curves.number(x) for x in about["score_sums"]])
    if sums.shape != (about["sizes"][-1],):
        raise ModelFileError(f"model file: score_sums of shape {sums.shape}")
    here = Position(about["sizes"])
    for name in ("epoch", "batch", "steps"):
        value = about[name]
        if type(value) is not int or not 0 <= value < 2**62:
            raise ModelFileError(f"model file: {name} {value!r}")
        setattr(here, name, value)
    shape = about["shape"]
    if type(shape) is not list or [type(n) for n in shape] != [int] * 4:
        raise ModelFileError(f"model file: shape {container.short(shape)}")
    here.shape = tuple(shape)
    here.cost_sum = curves.number(about["cost_sum"])
    here.score_sums = sums
    return here


def _state(net: Network, about: dict[str, Any], tensors: dict[str, Array]) -> _updates.State:
    state = _updates.State(net._engine, optimizers.get(about["name"]), 0.0)
    for k in range(state.planes):
        for l in range(1, len(net.sizes)):
            _pack(tensors, f"optimizer{k}.", l, state.panels(k, l))
    if type(about["steps"]) is not int or not 0 <= about["steps"] < 2**62:
        raise ModelFileError(f"model file: steps of the optimiser {about['steps']!r}")
    state.steps, state.product = about["steps"], curves.number(about["product"])
    if not math.isfinite(state.product):
        raise ModelFileError(f"model file: product of the optimiser {state.product!r}")
    return state
