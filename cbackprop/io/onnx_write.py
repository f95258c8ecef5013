"""Networks as ONNX graphs: Mul and Add of the input, Gemm, and each activation's own spelling."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cbackprop import _extras
from cbackprop.activations import Activation
from cbackprop.exceptions import ModelFileError
from cbackprop.io import atomic, layers

if TYPE_CHECKING:
    from cbackprop.network import Network

Array = NDArray[Any]

OPSET = 17  # the activations need no later one; old runtimes read it
MOST = 2**31 - 2**20  # bytes of a protobuf, less what the graph itself takes


def library() -> Any:
    """The onnx package, or how to get it."""
    _extras.need("onnx.parser", "an ONNX file", "onnx", "onnx")
    return _extras.need("onnx", "an ONNX file", "onnx", "onnx")


def nodes_of(text: str, kind: str) -> list[Any]:
    """The nodes of an activation's spelling; kind is float or double."""
    text = text.replace(" real ", f" {kind} ")
    function = library().parser.parse_function(
        f'<opset_import: ["" : {OPSET}], domain: "cbackprop"> sigma (z) => (a) {{ {text} }}'
    )
    return list(function.node)


def spelling(sigma: Activation, kind: str) -> str:
    """The spelling that is written for this dtype."""
    if sigma.onnx is None:
        raise ModelFileError(f"ONNX: {sigma.name!r} has no spelling in ONNX")
    special = [text for text in sigma.onnx if " double " in text]
    return special[0] if special and kind == "double" else sigma.onnx[0]


def save(net: Network, path: str | os.PathLike[str]) -> None:
    """`Network.export_onnx`."""
    onnx = library()
    layers.refuse_own(net, "ONNX")
    size = net.dtype.itemsize * sum(w.size for w in net.weights)
    if size > MOST:
        raise ModelFileError(
            f"{os.fspath(path)}: {size:,} bytes of weights, and an ONNX file holds 2 GB; use save "
            "or to_npz"
        )
    atomic.write(path, _model(net, onnx).SerializeToString())


def _model(net: Network, onnx: Any) -> Any:
    helper = onnx.helper
    kind = {"float32": "float", "float64": "double"}[net.dtype.name]
    code = helper.np_dtype_to_tensor_dtype(net.dtype)
    nodes: list[Any] = []
    tensors: list[Any] = []

    def constant(name: str, value: Any) -> str:
        array = np.asarray(value, net.dtype)
        tensors.append(onnx.numpy_helper.from_array(array, name))
        return name

    at = "X"
    for operator, name in (("Mul", "input_scale"), ("Add", "input_shift")):
        value = getattr(net, name)
        if np.any(value != (operator == "Mul")):
            nodes.append(helper.make_node(operator, [at, constant(name, value)], [f"{name}_of_X"]))
            at = f"{name}_of_X"
    last = len(net.activations)
    for l, sigma in enumerate(net.activations, start=1):
        inputs = [at, constant(f"w{l}", net.weights[l - 1]), constant(f"b{l}", net.biases[l - 1])]
        nodes.append(helper.make_node("Gemm", inputs, [f"z{l}"], transB=1))
        at = "Y" if l == last else f"a{l}"
        names = {"z": f"z{l}", "a": at}
        for node in nodes_of(spelling(sigma, kind), kind):
            for side in (node.input, node.output):
                side[:] = [names.get(name, f"{name}_{l}") for name in side]
            nodes.append(node)
    ends = [
        helper.make_tensor_value_info(name, code, ["N", n])
        for name, n in (("X", net.sizes[0]), ("Y", net.sizes[-1]))
    ]
    graph = helper.make_graph(nodes, "cbackprop", ends[:1], ends[1:], tensors)
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, producer_name="cbackprop")
    model.ir_version = helper.find_min_ir_version_for(opset)
    about = {"cbackprop.cost": str(net.cost)}
    if net.classes is not None:
        labels = net.classes.tolist()
        labels = [c.decode("latin-1") if isinstance(c, bytes) else c for c in labels]
        about["classes"] = json.dumps(labels)
    helper.set_model_props(model, about)
    return model
