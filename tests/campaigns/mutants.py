"""Files of ours and of others' formats, and what hostile hands make of them."""

import functools
import hashlib
import json
import re
import struct
import tempfile
from pathlib import Path

import numpy as np

from cbackprop import Network
from cbackprop.io import model_file

# fmt: off
NUMBERS = [0, 1, 2, 3, 4, 7, 8, 127, 128, 255, 256, 2**15, 2**16, 2**31 - 1, 2**31, 2**32,
           2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64]
VALUES = [None, True, False, -1, 1.5, 1e308, -0.0, "", "a", "é" * 40, "nan", "inf", "sgd", "adam",
          "softmax", "identity", "quadratic", "float64", "<i8", "O", [], {}, [[]], [0], [1, 1],
          ["a"], {"a": 1}, [[[[[[0]]]]]], "x" * 300, *NUMBERS]
KEYS = ["w1", "w2", "b1", "b2", "input_scale", "error_squares", "optimizer0.w1", "optimizer1.b2",
        "dtype", "shape", "data_offsets", "sizes", "activations", "history", "__metadata__",
        "history.cost", "history.delta_norms", "best.w1"]
# fmt: on
# The same as they stand in a file: in binary, in JSON, and in JSON within JSON.
BINARY = [
    ((n - less) % 256**size).to_bytes(size, order)
    for n in NUMBERS
    for less in (0, 1)
    for size in (1, 2, 4, 8)
    for order in ("little", "big")
]
TEXTS, PLAIN_KEYS = ([json.dumps(x).encode() for x in some] for some in (VALUES, KEYS))
ESCAPED, ESCAPED_KEYS = (
    [json.dumps(x.decode())[1:-1].encode() for x in some] for some in (TEXTS, PLAIN_KEYS)
)
SCALAR = re.compile(rb"-?\d+\.?\d*|true|null|\"\w*\"")
NO_DIGEST = b"0" * 64


class StopAfterTwo:
    """Ends the training after two mini-batches of its second epoch."""

    def on_batch_end(self, net, epoch, batch):
        return (epoch, batch) == (1, 1)


@functools.cache
def references():
    """Three model files: float32; float64 with Adam's state; text labels and scales for each input,
    in the middle of an epoch."""
    rng = np.random.default_rng(0)
    X, labels = rng.normal(size=(23, 3)), np.arange(23) % 2
    small = Network([2, 2], rng=1)
    state = Network([3, 2, 2], dtype="float64", rng=2, activation="tanh", output="softmax")
    state.train(X, labels, batch_size=5, optimizer="adam")
    named = Network([3, 2, 2], rng=3, input_scale=[1.0, 0.5, 3.0], input_shift=[0.0, 1.0, 2.0])
    y = np.array(["ape", "猫"])[labels]
    named.train(X, y, batch_size=5, epochs=2, callbacks=[StopAfterTwo()])
    for net in (state, named):
        net.history.seconds = [0.25] * len(net.history)  # the same files every time
    return [model_file.dumps(net) for net in (small, state, named)]


def exported(way):
    """What `net.to_npz` and so on write, for three networks."""
    files = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "f"
        for i, sizes in enumerate([[2, 2], [3, 2, 2], [4, 3, 3, 2]]):
            labels = {} if way == "to_book_json" else {"classes": [[3, 5], ["a", "b"], None][i]}
            net = Network(sizes, rng=i, dtype=["float32", "float64"][i % 2], **labels)
            getattr(net, way)(path)
            files.append(path.read_bytes())
    return files


def safetensors_files():
    """state_dicts of two layers, as safetensors writes them."""
    from safetensors.numpy import save

    return [save(Network([3, 2, 2], rng=i, dtype=d).to_torch()) for i, d in enumerate("fd")]


def tables():
    """CSV files: numbers, names with labels, quotes and another delimiter."""
    return [
        b"1,2,3\n4,5,6\n7,8.5,-9e3\n",
        b"length,width,kind\n1.5,2,ape\n0.25,3,bee\n1e2,4,ape\n-0,5,bee\n",
        b'\xef\xbb\xbf"a b";"c";d\r\n1;"2";"x;y"\r\n3;4;"x;y"\r\n5;6;z\r\n7;8;z\r\n',
    ]


def images():
    """IDX files of each type, one of them packed."""
    import gzip

    head = [bytes([0, 0, kind, 2]) + struct.pack(">2I", 3, 2) for kind in (8, 9, 11, 12, 13, 14)]
    files = [h + bytes(range(6 * n)) for h, n in zip(head, (1, 1, 2, 4, 4, 8), strict=True)]
    return [*files, gzip.compress(files[0], mtime=0)]


def sealed(data):
    """The bytes with the digest that belongs to them, where there is room for one."""
    at = data.find(b'"sha256":"') + 10
    if at < 10 or len(data) < at + 64:
        return data
    before, after = data[:at], data[at + 64 :]
    digest = hashlib.sha256(before)
    digest.update(NO_DIGEST)
    digest.update(after)
    return b"".join((before, digest.hexdigest().encode(), after))


class Mutator:
    """Mutants of some files: `mutant()` returns the next; they depend on the seed alone."""

    def __init__(self, files, random):
        # Nearly all time goes into drawing: `random()` is the one method that costs nothing.
        self.files, self.random = files, random.random
        self.ways = [self.bits, self.some_bytes, self.splice, self.cut, self.number, self.text]

    def mutant(self):
        data = bytearray(self._one_of(self.files))
        for _ in range(1 if self.random() < 0.5 else 2 + int(4 * self.random())):
            if data:
                self._one_of(self.ways)(data)
        return bytes(data)

    def _at(self, data):
        return int(self.random() * len(data))

    def _one_of(self, values):
        return values[int(self.random() * len(values))]

    def bits(self, data):
        data[self._at(data)] ^= 1 << int(8 * self.random())

    def some_bytes(self, data):
        at, n = self._at(data), 1 + int(4 * self.random())
        n = min(n, len(data) - at)
        data[at : at + n] = int(self.random() * 256**n).to_bytes(n, "little")

    def splice(self, data):
        other = self._one_of(self.files)
        start, at, n = self._at(other), self._at(data), 1 + int(63 * self.random())
        kept = n if self.random() < 0.5 else 0
        data[at : at + kept] = other[start : start + n]

    def cut(self, data):
        at = self._at(data)
        del data[at : at + self._one_of((1, 2, 8, 64, len(data)))]

    def number(self, data):
        """A binary length: 1, 2, 4 or 8 bytes, of either order."""
        at = self._at(data) if self.random() < 0.5 else 0
        value = self._one_of(BINARY)
        data[at : at + len(value)] = value

    def text(self, data):
        """Another number where there is one in the text; what follows moves."""
        start = self._at(data)
        found = SCALAR.search(data, start, start + 200)
        if found:
            data[found.start() : found.end()] = self._one_of(TEXTS)[:80]


class Node:
    """A value in the JSON of a model file: where it stands in the header, and what is in it.

    Attributes
    ----------
    start, stop : of the value; ``begin`` with its name, ``name`` the span of that, or None
    cut : what goes where it is left out, a comma included
    """

    def __init__(self, text, at, place):
        value, stop = json.JSONDecoder().raw_decode(text, at)
        self.start, self.stop, self.begin, self.name = place[at], place[stop], place[at], None
        self.children, self.end = [], stop
        self.value = value if type(value) in (int, float) else None
        at += 1
        while isinstance(value, list | dict) and len(self.children) < len(value):
            at = skip(text, at)
            begin, name = at, None
            if isinstance(value, dict):
                _, at = json.JSONDecoder().raw_decode(text, at)
                name = place[begin], place[at]
                at = skip(text, at)
            child = Node(text, at, place)
            child.begin, child.name, at = place[begin], name, child.end
            self.children.append(child)
        for i, child in enumerate(self.children):
            more = self.children[i + 1 :]
            first = child.begin if more or i == 0 else self.children[i - 1].stop
            child.cut = first, more[0].begin if more else child.stop


def skip(text, at):
    while text[at] in ",: ":
        at += 1
    return at


class Tree:
    """The header of a model file, and how to change the JSON in it without reading it anew."""

    def __init__(self, data, random):
        self.random, length = random, int.from_bytes(data[:8], "little")
        self.header, self.payload = data[8 : 8 + length], data[8 + length :]
        text = self.header.decode()
        self.outer = Node(text, 0, range(len(text) + 1))
        inner = json.loads(text)["__metadata__"]["network"]
        # Where each character stands behind its escapes.
        place = [text.index('"network":"') + 11]
        for character in inner:
            place.append(place[-1] + len(json.dumps(character)) - 2)
        self.inner = Node(inner, 0, place)

    def mutant(self):
        """A few values changed, left out, named otherwise, repeated."""
        changes = [self.change() for _ in range(1 + int(3.5 * self.random() ** 2))]
        text, end = self.header, len(self.header)
        for start, stop, new in sorted(changes, reverse=True):
            if stop <= end:  # not within one that was made
                text, end = b"".join((text[:start], new, text[stop:])), start
        return b"".join((len(text).to_bytes(8, "little"), text, self.payload))

    def change(self):
        """Start and stop of what goes, and what comes."""
        random = self.random
        inside = random() < 0.75
        node = self.inner if inside else self.outer
        child = node
        while child.children:
            node = child
            child = node.children[int(random() * len(node.children))]
            if random() < 0.3:
                break
        kind = int(6 * random())
        if kind == 0:
            return *child.cut, b""
        if kind == 1 and child.name:
            names = ESCAPED_KEYS if inside else PLAIN_KEYS
            return *child.name, names[int(random() * len(names))]
        values = ESCAPED if inside else TEXTS
        new = values[int(random() * len(values))]
        if kind == 2 and not child.name:
            return child.begin, child.begin, new + b","
        if kind == 3 and child.value is not None:
            value = child.value + (-1, 1, 0.5)[int(3 * random())]
            return child.start, child.stop, repr(value).encode()
        if kind == 4:
            other = node.children[int(random() * len(node.children))]
            return child.start, child.stop, self.header[other.start : other.stop]
        return child.start, child.stop, new


class ModelMutator(Mutator):
    """Of model files: two thirds of the mutants have a digest that is right."""

    def __init__(self, files, random):
        super().__init__(files, random)
        self.trees = [Tree(data, self.random) for data in files]

    def mutant(self):
        kind = self.random()
        if kind < 0.3:
            return sealed(self._one_of(self.trees).mutant())
        data = super().mutant()
        if kind < 0.65:
            # Where the header has another length, let the first 8 bytes say so.
            at = data.rfind(b"}}") + 2
            if kind < 0.45 and at > 8:
                data = (at - 8).to_bytes(8, "little") + data[8:]
            return sealed(data)
        return data
