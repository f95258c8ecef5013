"""ONNX graphs of fully-connected networks: the chain from the input to the output, step by step.

Gemm or MatMul makes a layer; Mul, Add, Sub and Div by constants become part of the layer before
or after them, or the input's scale and shift; what an activation's row spells is that activation.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cbackprop import activations
from cbackprop.activations import Activation
from cbackprop.exceptions import ModelFileError
from cbackprop.io import layers, onnx_wire
from cbackprop.io.container import WRONG, short
from cbackprop.io.onnx_match import Match, patterns, standard
from cbackprop.io.onnx_write import library

if TYPE_CHECKING:
    from cbackprop.network import Network

Array = NDArray[Any]

ROOM = 2**24
PASS = {"Identity", "Dropout", "Flatten"}  # in a network that predicts


def load(cls: type[Network], path: str | os.PathLike[str], given: dict[str, Any]) -> Network:
    """`Network.from_onnx`."""
    library()  # before the file is looked for
    return loads(cls, os.fspath(path), Path(path).read_bytes(), given)


def loads(cls: type[Network], name: str, data: bytes, given: dict[str, Any]) -> Network:
    """The network from the bytes of a file of this name."""
    onnx = library()
    from google.protobuf.message import DecodeError  # onnx stands on it

    try:
        onnx_wire.few_fields(data, onnx.ModelProto.DESCRIPTOR)
        model = onnx.load_model_from_string(data)
        chain = Chain(model, onnx, len(data) + ROOM)
        chain.walk()
        settings = chain.settings() | _metadata(model)
    except ModelFileError as error:
        raise ModelFileError(f"{name}: {error}") from None
    except (DecodeError, UnicodeDecodeError) as error:
        raise ModelFileError(
            f"{name}: damaged, or not an ONNX file ({short(error)}); export it again"
        ) from None
    except WRONG as error:
        text = f"{type(error).__name__}: {short(error)}"
        raise ModelFileError(f"{name}: {text}; the graph is damaged: export it again") from None
    settings |= {key: value for key, value in given.items() if value is not None}
    return layers.network(cls, name, chain.weights, chain.biases, **settings)


def _metadata(model: Any) -> dict[str, Any]:
    props = {entry.key: entry.value for entry in model.metadata_props}
    found: dict[str, Any] = {}
    if "cbackprop.cost" in props:
        found["cost"] = props["cbackprop.cost"]
    if "cbackprop.cost" in props and "classes" in props:
        found["classes"] = json.loads(props["classes"])
        if type(found["classes"]) is not list:
            raise ModelFileError(
                f"classes of the metadata are {short(props['classes'])!r}, expected a JSON list; "
                "give classes= to from_onnx, and remove the entry"
            )
    return found


class Chain:
    """The one path from the graph's input to its output."""

    def __init__(self, model: Any, onnx: Any, most: int) -> None:
        self.onnx, graph = onnx, model.graph
        self.left = most  # bytes that the layers may take together
        self.constants = {t.name: self._tensor(t) for t in graph.initializer}
        inputs = [value.name for value in graph.input if value.name not in self.constants]
        outputs = [value.name for value in graph.output]
        if len(inputs) != 1 or len(outputs) != 1:
            raise ModelFileError(
                f"inputs {short(inputs[:4])}, outputs {short(outputs[:4])}, expected one of each; "
                "cut the network out with onnx.utils.extract_model"
            )
        self.at, self.end = inputs[0], outputs[0]
        self.users: dict[str, list[Any]] = {}
        for node in graph.node:
            if not (standard(node) and self._fold(node)):
                for name in set(node.input):
                    self.users.setdefault(name, []).append(node)
        self.weights: list[Array] = []
        self.biases: list[Array] = []
        self.rows: list[Activation | None] = []
        self.input: tuple[Array | None, Array | None] = (None, None)
        # What was multiplied and added since the last layer or activation.
        self.scale: Array | None = None
        self.shift: Array | None = None

    def _tensor(self, tensor: Any) -> Array:
        proto = self.onnx.TensorProto
        name, dims = short(tensor.name), list(tensor.dims)
        if tensor.data_location == proto.EXTERNAL or tensor.external_data:
            raise ModelFileError(
                f"{name} lies in another file; write one file with "
                "onnx.save(onnx.load(path), new_path)"
            )
        if tensor.HasField("segment") or any(n < 0 or n >= 2**31 for n in dims):
            raise ModelFileError(
                f"{name} has dims {short(dims)}, expected lengths from 0 to {2**31 - 1} and no "
                "segment; export the graph again"
            )
        types = {proto.FLOAT: (4, "float_data"), proto.DOUBLE: (8, "double_data")}
        types |= dict.fromkeys((proto.FLOAT16, proto.BFLOAT16), (2, "int32_data"))
        types |= dict.fromkeys((proto.BOOL, proto.INT8, proto.UINT8), (1, "int32_data"))
        types |= {proto.INT32: (4, "int32_data"), proto.INT64: (8, "int64_data")}
        if tensor.data_type not in types:
            raise ModelFileError(
                f"{name} is of ONNX type {tensor.data_type}, expected float32 or float64; convert "
                "the graph to float32"
            )
        itemsize, field = types[tensor.data_type]
        claimed = math.prod(dims) * itemsize
        raw = tensor.HasField("raw_data")
        found = len(tensor.raw_data) if raw else len(getattr(tensor, field)) * itemsize
        if claimed != found:
            raise ModelFileError(
                f"{name} of dims {short(dims)}: {found} bytes of numbers, expected {claimed}; the "
                "file is damaged: export it again"
            )
        array: Array = self.onnx.numpy_helper.to_array(tensor)
        return array

    def attributes(self, node: Any) -> dict[str, Any]:
        return {a.name: self.onnx.helper.get_attribute_value(a) for a in node.attribute}

    def _fold(self, node: Any) -> bool:
        """Constants, and the transposed weights some exporters write, are known at once."""
        known = [self.constants.get(name) for name in node.input]
        if node.op_type == "Constant":
            value = next(iter(self.attributes(node).values()), None)
            if value is None:
                raise ModelFileError(
                    f"Constant {short(node.output[0])!r} has no value; export the graph again"
                )
            proto = isinstance(value, self.onnx.TensorProto)
            number = np.asarray(value, np.float32 if isinstance(value, float | list) else None)
            self.constants[node.output[0]] = self._tensor(value) if proto else number
        elif node.op_type == "Identity" and known[0] is not None:
            self.constants[node.output[0]] = known[0]
        elif node.op_type == "Transpose" and known[0] is not None:
            axes = self.attributes(node).get("perm")
            self.constants[node.output[0]] = np.transpose(known[0], axes)
        else:
            return False
        return True

    # ---- the walk -----------------------------------------------------------------------

    def walk(self) -> None:
        """Take one step after another until the output; each uses up its nodes."""
        while self.at != self.end:
            if not (self._activation() or self._step()):
                self._refuse()
        if self.users.get(self.at):
            self._refuse()
        if not self.weights:
            raise ModelFileError("no Gemm or MatMul between input and output, expected a network")
        if self.rows[-1] is not None and (self.scale is not None or self.shift is not None):
            raise ModelFileError("numbers are multiplied or added after the last activation; "
                                 "cut them off with onnx.utils.extract_model")  # fmt: skip

    def _refuse(self) -> None:
        nodes = self.users.get(self.at, [])
        names = " and ".join(node.op_type for node in nodes[:4]) or "nothing"
        where = f"{short(self.at)!r} goes into {short(names)}"
        known = ", ".join(activations.ACTIVATIONS)
        raise ModelFileError(
            f"{where}: not a layer of a fully-connected network; supported are chains of Gemm, "
            "MatMul, Add, Sub, Mul and Div with constants, Flatten, Dropout and the activations "
            f"{known}"
        )

    def _activation(self) -> bool:
        """Whether all that reads this tensor is one activation's spelling."""
        if not self.rows or self.rows[-1] is not None:
            return False
        for row, pattern in patterns():
            match = Match(self, pattern)
            if match.found:
                self._close()
                self.rows[-1] = row if match.parameter is None else (
                    activations.FAMILIES[row.name](match.parameter)
                )  # fmt: skip
                self._used(match.nodes)
                self.at = match.names["a"]
                return True
        return False

    def _used(self, nodes: list[Any]) -> None:
        for node in nodes:
            for name in set(node.input):
                self.users[name] = [user for user in self.users[name] if user is not node]

    def _step(self) -> bool:
        if len(self.users.get(self.at, [])) != 1:
            return False
        node = self.users[self.at][0]
        first = node.input[0] == self.at
        others = [self.constants.get(name) for name in node.input if name != self.at]
        unknown = any(other is None for other in others) or not standard(node)
        if unknown or list(node.input).count(self.at) != 1:
            return False
        constants: list[Array] = [other for other in others if other is not None]
        about = self.attributes(node)
        if node.op_type == "Gemm" and first and not about.get("transA"):
            self._gemm(constants, about)
        elif node.op_type == "MatMul" and first:
            self._layer(constants[0].T, None)
        elif node.op_type in ("Add", "Sub", "Mul", "Div") and len(constants) == 1:
            if not self._affine(node.op_type, constants[0], first):
                return False
        elif node.op_type not in PASS or not self._passes(node, about, constants):
            return False
        self._used([node])
        self.at = node.output[0]
        return True

    def _passes(self, node: Any, about: dict[str, Any], constants: list[Array]) -> bool:
        if node.op_type == "Flatten":
            return not self.weights and about.get("axis", 1) == 1
        training = node.op_type == "Dropout" and len(constants) == 2 and bool(constants[1])
        return not training

    def _gemm(self, constants: list[Array], about: dict[str, Any]) -> None:
        w = constants[0] if about.get("transB") else constants[0].T
        alpha, beta = about.get("alpha", 1.0), about.get("beta", 1.0)
        b = constants[1] if len(constants) > 1 else None
        self._layer(w if alpha == 1 else w * alpha, b if b is None or beta == 1 else b * beta)

    def _layer(self, w: Array, b: Array | None) -> None:
        """A layer; what was multiplied and added before belongs to it, or to the input."""
        if w.ndim != 2 or not w.size or w.dtype not in (np.float32, np.float64):
            raise ModelFileError(
                f"weights of shape {w.shape} and {w.dtype}, expected a matrix of float32 or "
                "float64, not empty; convert the graph to float32"
            )
        self.left -= w.nbytes  # one tensor may be the weights of thousands of layers
        if self.left < 0:
            raise ModelFileError(
                "layers share their weights and are together larger than the file; a network here "
                "has its own in each: write the weights once a layer"
            )
        bias = np.zeros(w.shape[0], w.dtype) if b is None else _vector(b, w.shape[0])
        if not self.weights:
            self.input, self.scale, self.shift = (self.scale, self.shift), None, None
        if self.rows and self.rows[-1] is None:
            self._close()
        with np.errstate(all="ignore"):  # what is not finite is refused with the weights
            if self.shift is not None:
                shift = np.broadcast_to(self.shift, w.shape[1:])
                bias = (bias + w.astype(np.float64) @ shift).astype(w.dtype)
            if self.scale is not None:
                w = (w * np.broadcast_to(self.scale, w.shape[1:])).astype(w.dtype)
        self.scale = self.shift = None
        self.weights.append(w)
        self.biases.append(bias)
        self.rows.append(None)

    def _close(self) -> None:
        """What was multiplied and added after a layer, before its activation, is part of it."""
        w, b = self.weights[-1], self.biases[-1]
        with np.errstate(all="ignore"):
            if self.scale is not None:
                scale = np.broadcast_to(self.scale, b.shape)
                w, b = (w * scale[:, None]).astype(w.dtype), b * scale
            if self.shift is not None:
                b = b + np.broadcast_to(self.shift, b.shape)
        self.weights[-1], self.biases[-1] = w, b.astype(w.dtype)
        self.scale = self.shift = None

    def _affine(self, operator: str, c: Array, first: bool) -> bool:
        """Note x + c, x - c, c - x, x c or x / c of the present tensor x."""
        if (operator == "Div" and not first) or c.dtype.kind != "f":
            return False
        c = _vector(c, None).astype(np.float64)
        with np.errstate(all="ignore"):
            sign = -1.0 if operator == "Sub" and not first else 1.0
            factor: Array = {"Mul": c, "Div": 1 / c}.get(operator, np.asarray(sign))
            term = {"Add": c, "Sub": sign * -c}.get(operator)
            if operator in ("Mul", "Div") or sign < 0:
                self.scale = factor if self.scale is None else np.asarray(self.scale * factor)
                self.shift = None if self.shift is None else self.shift * factor
            if term is not None:
                self.shift = term if self.shift is None else self.shift + term
        return True

    def settings(self) -> dict[str, Any]:
        """What `Network` is made with."""
        if self.rows[-1] is None:
            self._close()
        rows = [activations.identity if row is None else row for row in self.rows]
        found: dict[str, Any] = {"activation": rows[:-1], "output": rows[-1]}
        names = ("input_scale", "input_shift")
        transform = zip(names, self.input, strict=True)
        return found | {name: value for name, value in transform if value is not None}


def _vector(c: Array, n: int | None) -> Array:
    """One number, or one for each neuron; of shape () or (n,)."""
    if c.size == 1:
        return c.reshape(()) if n is None else np.broadcast_to(c.reshape(()), (n,))
    if c.ndim not in (1, 2) or c.shape[:-1] not in ((), (1,)) or n not in (None, c.size):
        raise ModelFileError(f"a constant of shape {c.shape}, expected one number a neuron")
    return c.reshape(-1)
