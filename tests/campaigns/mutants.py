"""Files of ours and of others' formats, and what hostile hands make of them."""

import copy
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
        "dtype", "shape", "data_offsets", "sizes", "activations", "history", "__metadata__"]
# fmt: on


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
    empty = data[:at] + b"0" * 64 + data[at + 64 :]
    digest = hashlib.sha256(empty).hexdigest().encode()
    return data[:at] + digest + data[at + 64 :]


class Mutator:
    """Mutants of some files: `mutant()` returns the next; they depend on the seed alone."""

    def __init__(self, files, random):
        self.files, self.random = files, random
        self.ways = [self.bits, self.some_bytes, self.splice, self.cut, self.number, self.text]

    def mutant(self):
        random = self.random
        data = bytearray(random.choice(self.files))
        for _ in range(1 if random.random() < 0.7 else random.randrange(2, 6)):
            if data:
                random.choice(self.ways)(data)
        return bytes(data)

    def _at(self, data):
        return int(self.random.random() * len(data))

    def bits(self, data):
        data[self._at(data)] ^= 1 << (self.random.getrandbits(3))

    def some_bytes(self, data):
        at = self._at(data)
        data[at : at + 4] = self.random.randbytes(len(data[at : at + 1 + self._at("1234")]))

    def splice(self, data):
        other = self.random.choice(self.files)
        start, at, n = self._at(other), self._at(data), self.random.randrange(1, 64)
        kept = self.random.choice((0, n))
        data[at : at + kept] = other[start : start + n]

    def cut(self, data):
        at = self._at(data)
        del data[at : at + self.random.choice((1, 2, 8, 64, len(data)))]

    def number(self, data):
        """A binary length: 1, 2, 4 or 8 bytes, of either order."""
        size, order = self.random.choice((1, 2, 4, 8)), self.random.choice(("little", "big"))
        at = self.random.choice((0, self._at(data)))
        value = self.random.choice(NUMBERS) - self.random.getrandbits(1)
        data[at : at + size] = (value % 256**size).to_bytes(size, order)

    def text(self, data):
        """Another number where there is one in the text; what follows moves."""
        start = self._at(data)
        found = re.compile(rb"-?\d+\.?\d*|true|null|\"\w*\"").search(data, start, start + 200)
        if found:
            value = json.dumps(self.random.choice(VALUES)).encode()
            data[found.start() : found.end()] = value[:80]


class ModelMutator(Mutator):
    """Of model files: every second mutant has a digest that is right."""

    def __init__(self, files, random):
        super().__init__(files, random)
        self.trees = []
        for data in files:
            length = int.from_bytes(data[:8], "little")
            self.trees.append((data[8 : 8 + length], data[8 + length :]))

    def mutant(self):
        kind = self.random.random()
        if kind < 0.3:
            return sealed(self.tree())
        data = super().mutant()
        if kind < 0.65:
            # Where the header has another length, let the first 8 bytes say so.
            at = data.rfind(b"}}") + 2
            if kind < 0.45 and at > 8:
                data = (at - 8).to_bytes(8, "little") + data[8:]
            return sealed(data)
        return data

    def tree(self):
        """The header read, changed where JSON has something to change, and written again."""
        random = self.random
        text, payload = random.choice(self.trees)
        header = json.loads(text)
        inner = json.loads(header["__metadata__"]["network"])
        for _ in range(random.choice((1, 1, 1, 2, 4))):
            self._edit(random.choice((header, inner, inner, inner)))
        if isinstance(header.get("__metadata__"), dict):
            header["__metadata__"].setdefault("sha256", "0" * 64)
            if random.random() < 0.95:
                header["__metadata__"]["network"] = json.dumps(inner)
        text = json.dumps(header, separators=(",", ":")).encode()
        return len(text).to_bytes(8, "little") + text + payload

    def _edit(self, node):
        random = self.random
        while True:
            keys = list(node) if isinstance(node, dict) else range(len(node))
            if not keys:
                return
            key = random.choice(keys)
            if not isinstance(node[key], dict | list) or not node[key] or random.random() < 0.3:
                break
            node = node[key]
        kind = random.randrange(6)
        if kind == 0:
            del node[key]
        elif kind == 1 and isinstance(node, dict):
            node[random.choice(KEYS)] = node.pop(key)
        elif kind == 2 and isinstance(node, list):
            node.insert(key, copy.deepcopy(random.choice(VALUES)))
        elif kind == 3 and isinstance(node[key], int | float):
            node[key] += random.choice((-1, 1, 0.5))
        elif kind == 4:
            node[key] = copy.deepcopy(node[random.choice(list(keys))])
        else:
            node[key] = copy.deepcopy(random.choice(VALUES))
