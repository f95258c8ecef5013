"""Spellings of activations in an ONNX graph: a row's own text laid over the graph's nodes."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from cbackprop import activations
from cbackprop.activations import Activation
from cbackprop.io.onnx_write import nodes_of

if TYPE_CHECKING:
    from cbackprop.io.onnx_read import Chain

COMMUTE = {"Add", "Mul", "Max", "Min"}
MARK = 0.24681357  # stands for the parameter in a spelling


def standard(node: Any) -> bool:
    return node.domain in ("", "ai.onnx")


@functools.cache
def patterns() -> list[tuple[Activation, list[Any]]]:
    """Every spelling of every row as nodes; a parameter is written as MARK."""
    found = []
    for row in activations.ACTIVATIONS.values():
        if row == activations.identity:  # Identity is passed over
            continue
        marked = row if row.parameter is None else activations.FAMILIES[row.name](MARK)
        for kind in ("float", "double"):
            found += [(row, nodes_of(text, kind)) for text in marked.onnx or ()]
    return found


class Match:
    """A spelling laid over the graph from the present tensor on."""

    def __init__(self, chain: Chain, pattern: list[Any]) -> None:
        self.chain = chain
        self.names = {"z": chain.at}
        self.values: dict[str, float] = {}
        self.nodes: list[Any] = []
        self.parameter: float | None = None
        self.found = all(self._take(node) for node in pattern) and self._alone()

    def _alone(self) -> bool:
        """Nobody else reads what lies between z and a, so that it may be taken away."""
        inside = [name for name in self.names.values() if name != self.names["a"]]
        taken = {id(node) for node in self.nodes}
        readers = [node for name in inside for node in self.chain.users.get(name, [])]
        return all(id(node) in taken for node in readers) and self.chain.end not in inside

    def _take(self, wanted: Any) -> bool:
        if wanted.op_type == "Constant":
            proto = wanted.attribute[0].t
            value = self.chain.onnx.numpy_helper.to_array(proto)
            self.values[wanted.output[0]] = float(np.float64(value.ravel()[0]))
            return True
        name = next(self.names[x] for x in wanted.input if x in self.names)
        for node in self.chain.users.get(name, []):
            same = standard(node) and node.op_type == wanted.op_type
            if same and self._fits(wanted, node):
                self.nodes.append(node)
                self.names[wanted.output[0]] = node.output[0]
                return True
        return False

    def _fits(self, wanted: Any, node: Any) -> bool:
        inputs = [list(node.input)]
        if wanted.op_type in COMMUTE:
            inputs.append(list(node.input)[::-1])
        about = self.chain.attributes(node)
        if wanted.op_type == "Clip" and "max" in about:  # as it was written before opset 11
            limits = [about.get("min"), about.get("max")]
            return bool([self.values[x] for x in wanted.input[1:]] == limits)
        return self._same_attributes(wanted, node) and any(
            len(given) == len(wanted.input)
            and all(self._same(x, y) for x, y in zip(wanted.input, given, strict=True))
            for given in inputs
        )

    def _same(self, wanted: str, given: str) -> bool:
        if wanted in self.names:
            return bool(self.names[wanted] == given)
        constant = self.chain.constants.get(given)
        if constant is None or constant.size != 1:
            return False
        return bool(self._equal(self.values[wanted], constant.ravel()[0]))

    def _equal(self, wanted: Any, given: Any) -> bool:
        if not isinstance(wanted, float):
            return bool(wanted == given)
        if abs(wanted - MARK) < 1e-7:
            # The shortest number that is this one, 0.2 rather than 0.20000000298.
            single = not isinstance(given, np.float64)
            self.parameter = float(str(np.float32(given))) if single else float(given)
            return True
        return abs(wanted - float(given)) <= 1e-6 * abs(wanted)

    def _same_attributes(self, wanted: Any, node: Any) -> bool:
        schema = self.chain.onnx.defs.get_schema(node.op_type)
        both = []
        for item in (wanted, node):
            about = {
                name: self.chain.onnx.helper.get_attribute_value(attribute.default_value)
                for name, attribute in schema.attributes.items()
                if attribute.default_value.name
            } | self.chain.attributes(item)
            if about.get("axis") == -1:  # of two
                about["axis"] = 1
            both.append(about)
        return both[0].keys() == both[1].keys() and all(
            self._equal(both[0][name], both[1][name]) for name in both[0]
        )
