"""Model files: round trips to the bit, and ModelFileError for everything else."""

import copy
import hashlib
import json
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from cbackprop import ModelFileError, Network, load
from cbackprop.io import model_file
from tests.campaigns import big_endian

ROOT = Path(__file__).resolve().parents[1]
RNG = np.random.default_rng(2)
X = RNG.normal(size=(23, 4)).astype(np.float32)
LABELS = np.arange(23) % 3
WORDS = np.array(["ape", "bee", "猫"])


def trained(sizes=(4, 6, 3), y=LABELS, epochs=3, **changes):
    net = Network(list(sizes), **{"rng": 5, **changes})
    net.train(X, y, epochs=epochs, batch_size=5, learning_rate=0.5)
    return net


NETWORKS = {
    "untrained": lambda: Network([4, 6, 3], rng=1),
    "no hidden layer": lambda: Network([4, 3], rng=1, init="book"),
    "float64": lambda: trained(dtype="float64", output="softmax"),
    "float32": lambda: trained(activation=["relu", "tanh"], sizes=(4, 7, 5, 3)),
    "text": lambda: trained(y=WORDS[LABELS], output="softmax"),
    "given classes": lambda: Network([4, 2, 3], classes=[30, 10, 20], rng=0),
    "large integers": lambda: trained(y=LABELS + 2**53 + 1, output="softmax"),
    "bool": lambda: trained(sizes=(4, 1), y=LABELS > 0, cost="cross_entropy"),
    "bytes": lambda: trained(y=WORDS[:2].astype("S")[LABELS % 2], sizes=(4, 2)),
    "big-endian": lambda: trained(y=(LABELS + 7).astype(">i8")),
    "scaled": lambda: trained(input_scale=[0.1, 2.0, 3.0, 1 / 3], input_shift=0.7),
    "shifted": lambda: trained(input_shift=np.linspace(-1, 1, 4), dtype="float64"),
    "real targets": lambda: trained(y=X[:, :3], output="identity"),
    "wide": lambda: Network([33, 17, 16, 1], rng=np.random.default_rng(3)),
}


def everything(net):
    """All that the file must keep."""
    here = net._position
    classes = None if net.classes is None else (net.classes.tolist(), net.classes.dtype.str)
    return (
        [(x.dtype, x.shape, x.tobytes()) for x in net.weights + net.biases],
        net.sizes,
        net.activations,
        net.cost,
        net.init,
        net.dtype,
        classes,
        np.asarray(net.input_scale).tobytes(),
        np.asarray(net.input_shift).tobytes(),
        net._key,
        net.history,
        net.steps,
        (here.epoch, here.batch, here.shape, here.cost_sum, here.score_sums.tolist()),
        here.optimizer and (here.optimizer.name, here.optimizer.steps, here.optimizer.product),
    )


def through_file(net, folder):
    net.save(folder / "net.any suffix")
    return load(folder / "net.any suffix")


WAYS = {
    "file": through_file,
    "text path": lambda net, folder: (net.save(str(folder / "n")), load(str(folder / "n")))[1],
    "pickle": lambda net, folder: pickle.loads(pickle.dumps(net)),
    "pickle 2": lambda net, folder: pickle.loads(pickle.dumps(net, protocol=2)),
    "copy": lambda net, folder: copy.copy(net),
    "deepcopy": lambda net, folder: copy.deepcopy(net),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NETWORKS)
def test_round_trip(name, way, tmp_path):
    net = NETWORKS[name]()
    before = everything(net)
    again = WAYS[way](net, tmp_path)
    assert again is not net
    assert everything(again) == before == everything(net)
    x = RNG.normal(size=(9, net.sizes[0]))
    assert again.predict(x).tobytes() == net.predict(x).tobytes()
    assert (again.classify(x) == net.classify(x)).all()
    # a network of its own
    again.biases = [b + 1 for b in again.biases]
    assert everything(net) == before


@pytest.mark.parametrize("name", ["scaled", "text", "untrained"])
def test_reset_after_loading(name, tmp_path):
    net = NETWORKS[name]()
    again = through_file(net, tmp_path)
    net.reset()
    again.reset()
    assert everything(again) == everything(net)
    assert net.steps == 0


def test_same_network_same_bytes(tmp_path):
    net = trained()
    one = model_file.dumps(net)
    assert model_file.dumps(load_bytes(one)) == one


def test_history_that_is_not_finite(tmp_path):
    net = Network([1, 1], output="identity", dtype="float64", rng=0)
    net.weights = [np.array([[1e200]])]
    net.train(np.ones((2, 1)), np.zeros(2), learning_rate=1e-300)
    assert np.isinf(net.history.cost).all()  # the cost overflows, the weights do not
    assert everything(through_file(net, tmp_path)) == everything(net)


def long_history(epochs=2000):
    net = trained(epochs=1)
    history = net.history
    for name in ("cost", "score", "learning_rate", "seconds", "validation_cost"):
        setattr(history, name, RNG.normal(size=epochs).tolist())
    history.delta_norms = RNG.normal(size=(epochs, 2)).tolist()
    history.dead_units = RNG.normal(size=(epochs, 2)).tolist()
    history.monitored = {"größe": [float("nan")] * 3 + [float("-inf")] * (epochs - 3), "none": []}
    return net


def test_a_long_history_is_tensors(tmp_path):
    net = long_history()
    again = through_file(net, tmp_path)
    net.history.monitored["größe"], found = None, again.history.monitored["größe"]
    assert np.isnan(found[:3]).all() and found[3:] == [float("-inf")] * 1997
    again.history.monitored["größe"] = None
    assert everything(again) == everything(net)
    assert type(again.history.cost) is list and type(again.history.delta_norms[0][0]) is float


def test_the_header_does_not_grow_with_the_history():
    headers = [parse(model_file.dumps(long_history(n)))[0] for n in (2000, 50_000)]
    lengths = [len(json.dumps(header)) for header in headers]
    assert lengths[1] - lengths[0] < 100  # digits of shapes and offsets
    assert headers[0]["history.delta_norms"]["shape"] == [2000, 2]


def test_rows_of_several_lengths_stay_json(tmp_path):
    net = long_history()
    net.history.monitored = {}
    net.history.delta_norms[5] = [1.0]
    assert everything(through_file(net, tmp_path)) == everything(net)


HISTORIES = {
    "missing": lambda header, about: about["history"].update(validation_score=None),
    "of no curve": lambda header, about: header.update({"history.x": header.pop("history.cost")}),
    "not asked for": lambda header, about: about["history"].update(cost=[1.0]),
    "two dimensions": lambda header, about: header["history.cost"].update(shape=[1000, 2]),
    "one dimension": lambda header, about: header["history.delta_norms"].update(shape=[4000]),
    "three dimensions": lambda header, about: header["history.dead_units"].update(
        shape=[2000, 2, 1]
    ),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_tensors_that_are_no_history(name):
    header, payload = parse(model_file.dumps(long_history()))
    about = json.loads(header["__metadata__"]["network"])
    HISTORIES[name](header, about)
    header["__metadata__"] |= {"network": json.dumps(about), "sha256": "0" * 64}
    with pytest.raises(ModelFileError):
        load_bytes(seal(json.dumps(header), payload))


def load_bytes(data):
    return model_file.loads(data)


# ---- the layout of safetensors ----------------------------------------------------------


def parse(data):
    """Header and payload, as the safetensors format has them."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


@pytest.mark.parametrize("name", ["float64", "float32", "scaled", "text"])
def test_is_a_safetensors_file(name, tmp_path):
    net = NETWORKS[name]()
    net.save(tmp_path / "n")
    data = (tmp_path / "n").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    assert length % 8 == 0 and data[8:9] == b"{"
    header, payload = parse(data)
    metadata = header.pop("__metadata__")
    assert all(isinstance(text, str) for text in metadata.values())
    at, tensors = 0, {}
    for key, entry in header.items():
        assert set(entry) == {"dtype", "shape", "data_offsets"}
        start, stop = entry["data_offsets"]
        assert start == at
        at = stop
        dtype = {"F32": "<f4", "F64": "<f8"}[entry["dtype"]]
        tensors[key] = np.frombuffer(payload[start:stop], dtype).reshape(entry["shape"])
    assert at == len(payload)
    for l, (w, b) in enumerate(zip(net.weights, net.biases, strict=True), start=1):
        assert tensors.pop(f"w{l}").tobytes() == w.tobytes()
        assert tensors.pop(f"b{l}").tobytes() == b.tobytes()
    for key, value in tensors.items():
        assert (getattr(net, key) == value).all()


def broken_epoch():
    """A network in the middle of an epoch, with an optimiser that remembers: every tensor."""
    net = Network([4, 5, 3], rng=3, input_scale=[0.1, 2.0, 3.0, 1 / 3], input_shift=0.25)
    copies = []

    class Saves:
        def on_batch_end(self, net, epoch, batch):
            if (epoch, batch) == (1, 2):
                copies.append(copy.copy(net))

    net.train(X, LABELS, epochs=2, batch_size=5, optimizer="adam", callbacks=[Saves()])
    return copies[0]


@pytest.mark.parametrize("name", [*NETWORKS, "broken epoch"])
def test_safetensors_own_readers_read_it(name, tmp_path):
    safetensors = pytest.importorskip("safetensors")
    from safetensors.numpy import load_file

    net = broken_epoch() if name == "broken epoch" else NETWORKS[name]()
    path = tmp_path / "n.safetensors"
    net.save(path)
    tensors = load_file(path)
    for l, (w, b) in enumerate(zip(net.weights, net.biases, strict=True), start=1):
        assert tensors[f"w{l}"].dtype == tensors[f"b{l}"].dtype == net.dtype
        assert (tensors[f"w{l}"] == w).all() and (tensors[f"b{l}"] == b).all()
    header, _ = parse(path.read_bytes())
    about = header.pop("__metadata__")
    assert set(tensors) == set(header)
    with safetensors.safe_open(path, "numpy") as file:
        assert file.metadata() == about
    for entry in header.values():  # so that a reader may map it
        assert entry["data_offsets"][0] % {"F32": 4, "F64": 8}[entry["dtype"]] == 0


# ---- files of earlier releases --------------------------------------------------------------

GOLDEN = Path(__file__).parent / "data" / "version1.cbp"


def test_version_1_stays_readable():
    """Written once, by 0.1.0: the middle of an epoch, every kind of tensor. Never written again."""
    net = load(GOLDEN)
    assert net.sizes == (4, 5, 3) and net.dtype == np.float32 and net.steps == 8
    assert [str(sigma) for sigma in net.activations] == ["leaky_relu(0.125)", "softmax"]
    assert str(net.cost) == "log_likelihood" and net.classes.tolist() == ["ape", "bee", "猫"]
    assert net.input_scale.tolist() == [0.5, 2.0, 3.0, 0.25] and net.input_shift == 0.125
    assert net._position.optimizer.name == "adam" and net._position.batch == 3
    text = (GOLDEN.with_suffix(".json")).read_text(encoding="utf-8")
    known = json.loads(text)
    assert [w.tolist() for w in net.weights] == known["weights"]
    assert [b.tolist() for b in net.biases] == known["biases"]
    np.testing.assert_allclose(net.predict(known["X"]), known["a"], rtol=1e-6)
    net.train(known["X"], WORDS[known["y"]], epochs=1, batch_size=5, optimizer="adam")
    assert net.steps == 15  # the broken epoch's last two mini-batches, then five
    np.testing.assert_allclose(net.predict(known["X"]), known["trained"], rtol=1e-5)


def test_the_layout_as_described_is_enough_to_read_it(tmp_path):
    """What tests/campaigns/big_endian.py does on another machine."""
    big_endian.write(tmp_path)
    assert big_endian.read(tmp_path) == (5, 5457)
    path = tmp_path / "version1.json"
    known = json.loads(path.read_text(encoding="utf-8"))
    known["w1"][2][3] = "0x1.8p+1"
    path.write_text(json.dumps(known), encoding="utf-8")
    with pytest.raises(AssertionError, match="w1"):
        big_endian.read(tmp_path)


# ---- damage -----------------------------------------------------------------------------

SMALL = model_file.dumps(Network([1, 1], rng=1))


def test_every_truncation():
    assert load_bytes(SMALL)
    for n in range(len(SMALL)):
        with pytest.raises(ModelFileError):
            load_bytes(SMALL[:n])


def test_every_bit():
    for i in range(len(SMALL)):
        for bit in range(8):
            damaged = bytearray(SMALL)
            damaged[i] ^= 1 << bit
            with pytest.raises(ModelFileError):
                load_bytes(bytes(damaged))


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 8, b"\0" * 7, b"\xff" * 4000, b"PK\3\4" * 99, b"\x80\x04." * 9, b"{}" * 40],
    ids=range(7),
)
def test_other_files(data, tmp_path):
    (tmp_path / "f").write_bytes(data)
    with pytest.raises(ModelFileError, match="model file") as caught:
        load(tmp_path / "f")
    assert str(tmp_path / "f") in str(caught.value)  # which of the user's files


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none")


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 2**40, 2**26, len(SMALL)])
def test_header_length_bomb_takes_no_memory(length):
    data = struct.pack("<Q", length) + SMALL[8:]
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match=rf"header of {length} bytes"):
            load_bytes(data)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


# ---- hostile headers, with a right digest ---------------------------------------------------


def seal(text, payload):
    """A file of this header, which holds 64 zeros where the digest goes."""
    text = text.encode() if isinstance(text, str) else text
    data = struct.pack("<Q", len(text)) + text + payload
    digest = hashlib.sha256(data).hexdigest().encode()
    return data.replace(b"0" * 64, digest, 1)


def rebuilt(data, change_header=lambda header: None, change_about=lambda about: None, tail=b""):
    """The file after changes to header and description, sealed again."""
    header, payload = parse(data)
    header["__metadata__"]["sha256"] = "0" * 64
    about = json.loads(header["__metadata__"]["network"])
    change_about(about)
    header["__metadata__"]["network"] = json.dumps(about)
    change_header(header)
    return seal(json.dumps(header), payload + tail)


GOOD = model_file.dumps(trained(sizes=(4, 3), input_scale=[1.0, 2.0, 3.0, 4.0], dtype="float64"))


def test_rebuilding_unchanged_is_accepted():
    assert everything(load_bytes(rebuilt(GOOD))) == everything(load_bytes(GOOD))
    assert load_bytes(rebuilt(SMALL))


def put(*path):
    *path, value = path

    def change(tree):
        for key in path[:-1]:
            tree = tree[key]
        tree[path[-1]] = value

    return change


def drop(*path):
    def change(tree):
        for key in path[:-1]:
            tree = tree[key]
        del tree[path[-1]]

    return change


def swap_names(header):
    header["w1"], header["b1"] = header["b1"], header["w1"]


HEADERS = {
    "no metadata": drop("__metadata__"),
    "metadata list": put("__metadata__", []),
    "other format": put("__metadata__", "format", "pt"),
    "later version": put("__metadata__", "version", "2"),
    "version number": put("__metadata__", "version", 1),
    "no version": drop("__metadata__", "version"),
    "network object": put("__metadata__", "network", {}),
    "network not JSON": put("__metadata__", "network", "{"),
    "network list": put("__metadata__", "network", "[]"),
    "network empty": put("__metadata__", "network", "{}"),
    "network NaN": put("__metadata__", "network", '{"sizes": NaN}'),
    "network twice": put("__metadata__", "network", '{"sizes": [1, 1], "sizes": [1, 1]}'),
    "no digest": drop("__metadata__", "sha256"),
    "digest number": put("__metadata__", "sha256", 0),
    "digest short": put("__metadata__", "sha256", "0" * 63),
    "digest non-ASCII": put("__metadata__", "sha256", "é" * 64),
    "digest elsewhere": put("__metadata__", "sha256", "f" * 64),
    "tensor missing": drop("b1"),
    "tensor extra": put("w2", {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}),
    "tensor null": put("b1", None),
    "tensor text": put("b1", "F32"),
    "tensor list": put("b1", ["F64", [3], [96, 120]]),
    "no dtype": drop("b1", "dtype"),
    "wrong dtype": put("b1", "dtype", "F16"),
    "other dtype": put("b1", "dtype", "F32"),
    "dtype list": put("b1", "dtype", ["F64"]),
    "dtype null": put("b1", "dtype", None),
    "pickle dtype": put("b1", "dtype", "O"),
    "negative shape": put("b1", "shape", [-3]),
    "two negatives": put("b1", "shape", [-3, -1]),
    "zero shape": put("b1", "shape", [0]),
    "huge shape": put("b1", "shape", [2**62, 4]),
    "bool shape": put("b1", "shape", [True, 3]),
    "real shape": put("b1", "shape", [3.0]),
    "text shape": put("b1", "shape", "3"),
    "null shape": put("b1", "shape", None),
    "transposed": put("w1", "shape", [4, 3]),
    "flat": put("w1", "shape", [12]),
    "overlap": put("b1", "data_offsets", [88, 112]),
    "same place": put("b1", "data_offsets", [0, 24]),
    "start moved": put("b1", "data_offsets", [88, 120]),
    "hole": put("b1", "data_offsets", [104, 128]),
    "too long": put("b1", "data_offsets", [96, 128]),
    "too short": put("b1", "data_offsets", [96, 112]),
    "backwards": put("b1", "data_offsets", [120, 96]),
    "negative offset": put("w1", "data_offsets", [-96, 0]),
    "beyond": put("input_scale", "data_offsets", [2**40, 2**40 + 32]),
    "one offset": put("b1", "data_offsets", [96]),
    "three offsets": put("b1", "data_offsets", [96, 120, 120]),
    "real offsets": put("b1", "data_offsets", [96.0, 120.0]),
    "real first offset": put("w1", "data_offsets", [0.0, 96]),
    "text offsets": put("b1", "data_offsets", "ab"),
    "infinite offset": put("b1", "data_offsets", [96, float("inf")]),
    "names exchanged": swap_names,
}


@pytest.mark.parametrize("name", HEADERS)
def test_hostile_header(name):
    with pytest.raises(ModelFileError, match=r"^model file: "):
        load_bytes(rebuilt(GOOD, HEADERS[name]))


@pytest.mark.parametrize("shape", [{}, "", [1, [1]], [1.0]])
def test_shape_that_is_no_list_of_integers(shape):
    with pytest.raises(ModelFileError, match=r"^model file: "):
        load_bytes(rebuilt(SMALL, put("b1", "shape", shape)))


HISTORY = {"score_name": "accuracy", "cost": [1.0]}
DESCRIPTIONS = {
    **{
        f"no {key}": drop(key)
        for key in model_file._describe(Network([1, 1]))
        if key != "optimizer"  # files of 0.1.0 have none
    },
    "optimizer unknown": put("optimizer", {"name": "adem", "steps": 1, "product": 1.0}),
    "optimizer without planes": put("optimizer", {"name": "adam", "steps": 1, "product": 1.0}),
    "optimizer of no steps": put("optimizer", {"name": "sgd", "product": 1.0}),
    "optimizer of -1 steps": put("optimizer", {"name": "sgd", "steps": -1, "product": 1.0}),
    "optimizer of true steps": put("optimizer", {"name": "sgd", "steps": True, "product": 1.0}),
    "optimizer's product": put("optimizer", {"name": "sgd", "steps": 1, "product": "one"}),
    "optimizer's product NaN": put("optimizer", {"name": "sgd", "steps": 1, "product": "nan"}),
    "optimizer text": put("optimizer", "sgd"),
    "optimizer list": put("optimizer", ["sgd"]),
    "no input_scale": drop("input_scale"),
    "sizes number": put("sizes", 4),
    "sizes text": put("sizes", "43"),
    "sizes longer": put("sizes", [4, 3, 3]),
    "sizes other": put("sizes", [3, 4]),
    "sizes huge": put("sizes", [2**31 - 1, 2**31 - 1]),
    "sizes real": put("sizes", [4.0, 3.0]),
    "sizes null": put("sizes", None),
    "unknown activation": put("activations", ["__import__('os')"]),
    "no activation": put("activations", []),
    "two activations": put("activations", ["relu", "sigmoid"]),
    "activation list": put("activations", [["relu"]]),
    "activations null": put("activations", None),
    "unknown cost": put("cost", "cost"),
    "capital activation": put("activations", ["softMax"]),
    "cost list": put("cost", []),
    "unknown init": put("init", "os.system"),
    "init dict": put("init", {}),
    "unknown dtype": put("dtype", "float16"),
    "object dtype": put("dtype", "O"),
    "dtype NumPy warns of": put("dtype", "a"),
    "bad dtype": put("dtype", "f4,f4("),
    "dtype dict": put("dtype", {"a": 1}),
    "scale text": put("input_scale", "2"),
    "scale infinite": put("input_shift", float("1e308") * 10),
    "scale list": put("input_shift", [1.0, 2.0]),
    "key negative": put("key", -1),
    "key large": put("key", 2**64),
    "key real": put("key", 1.0),
    "key bool": put("key", True),
    "epoch negative": put("epoch", -1),
    "epoch real": put("epoch", 1.0),
    "steps text": put("steps", "1"),
    "batch large": put("batch", 2**62),
    "shape one": put("shape", [1]),
    "shape text": put("shape", "ab"),
    "shape null": put("shape", None),
    "cost_sum null": put("cost_sum", None),
    "cost_sum text": put("cost_sum", "much"),
    "score_sums short": put("score_sums", [0.0]),
    "score_sums deep": put("score_sums", [[0.0] * 3]),
    "score_sums text": put("score_sums", ["a", "b", "c"]),
    "classes short": put("classes", ["<i8", 0]),
    "classes long": put("classes", ["<i8", 0, 1, 2, 3]),
    "classes same": put("classes", ["<i8", 0, 0, 0]),
    "classes empty": put("classes", []),
    "classes objects": put("classes", ["O", 0, 1, 2]),
    "classes records": put("classes", ["i4,i4", 0, 1, 2]),
    "classes no dtype": put("classes", ["nonsense", 0, 1, 2]),
    "classes bad dtype": put("classes", ["(2,i4", 0, 1, 2]),
    "classes overflow": put("classes", ["|u1", 0, 1, 256]),
    "classes deep": put("classes", ["<i8", [0], [1], [2]]),
    "classes dict": put("classes", {"a": 1}),
    "given classes short": put("given_classes", ["<i8", 0]),
    "history null": put("history", None),
    "history list": put("history", []),
    "history other": put("history", {"unknown": []}),
    "history number": put("history", {**HISTORY, "cost": 5}),
    "history text": put("history", {**HISTORY, "cost": "abc"}),
    "history words": put("history", {**HISTORY, "cost": ["a", "b"]}),
    "history name": put("history", {**HISTORY, "score_name": 5}),
}


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_hostile_description(name):
    with pytest.raises(ModelFileError, match=r"^model file: "):
        load_bytes(rebuilt(GOOD, change_about=DESCRIPTIONS[name]))


def test_illegal_pair_of_functions():
    def change(about):
        about["activations"], about["cost"] = ["identity"], "cross_entropy"

    with pytest.raises(ModelFileError, match="cross_entropy"):
        load_bytes(rebuilt(GOOD, change_about=change))


def test_weights_that_are_not_finite():
    header, payload = parse(GOOD)
    header["__metadata__"]["sha256"] = "0" * 64
    for value in (np.nan, np.inf):
        hostile = np.float64(value).tobytes() + payload[8:]
        with pytest.raises(ModelFileError, match="w1 or b1 is not finite"):
            load_bytes(seal(json.dumps(header), hostile))


@pytest.mark.parametrize("tail", [b"\0", b"x" * 1000])
def test_extra_bytes(tail):
    with pytest.raises(ModelFileError, match=rf"{len(tail)} bytes after the last tensor"):
        load_bytes(rebuilt(GOOD, tail=tail))


def test_names_twice():
    header, payload = parse(GOOD)
    header["__metadata__"]["sha256"] = "0" * 64
    text = json.dumps(header)
    for name in ("b1", "__metadata__", "dtype"):
        key = f'"{name}": '
        at = text.index(key) + len(key)
        value = json.JSONDecoder().raw_decode(text[at:])[0]
        twice = text[: at - len(key)] + key + json.dumps(value) + ", " + text[at - len(key) :]
        with pytest.raises(ModelFileError, match="twice"):
            load_bytes(seal(twice, payload))


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_constants_that_are_not_json(constant):
    header, payload = parse(GOOD)
    header["__metadata__"]["sha256"] = "0" * 64
    text = json.dumps(header).replace('"shape": [3]', f'"shape": [{constant}]')
    with pytest.raises(ModelFileError, match=constant):
        load_bytes(seal(text, payload))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        "1" * 5000,
        "\ufeff{}",
        b"\xff\xfe{}",
        b"{\xc3}",
        "3",
        '"a"',
    ],
    ids=range(8),
)
def test_header_that_is_no_object(text):
    with pytest.raises(ModelFileError, match=r"^model file: "):
        load_bytes(seal(text, b""))


def test_label_length_bomb_takes_no_memory():
    hostile = rebuilt(GOOD, change_about=put("classes", ["<U1000000", "a", "b", "c"]))
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError):
            load_bytes(hostile)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_damaged_pickle():
    data = pickle.dumps(trained())
    at = data.index(b'"w1"')
    with pytest.raises(ModelFileError):
        pickle.loads(data[:at] + b'"v1"' + data[at + 4 :])


# ---- writing --------------------------------------------------------------------------------


def test_save_to_a_missing_folder(tmp_path):
    with pytest.raises(OSError, match="none"):
        trained().save(tmp_path / "none" / "net")
    assert list(tmp_path.iterdir()) == []


def test_save_over_a_folder(tmp_path):
    (tmp_path / "net").mkdir()
    with pytest.raises(OSError, match="net"):
        trained().save(tmp_path / "net")
    assert [p.name for p in tmp_path.iterdir()] == ["net"]


@pytest.mark.parametrize("broken", ["fsync", "replace", "fdopen"])
def test_failed_save_leaves_the_old_file(broken, tmp_path, monkeypatch):
    path = tmp_path / "net"
    trained().save(path)
    before = path.read_bytes()

    def fails(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, broken, fails)
    with pytest.raises(OSError, match="No space left"):
        trained(epochs=1).save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["net"]


def test_save_over_an_old_file(tmp_path):
    path = tmp_path / "net"
    Network([2, 2], rng=0).save(path)
    net = trained()
    net.save(path)
    assert everything(load(path)) == everything(net)
    assert [p.name for p in tmp_path.iterdir()] == ["net"]


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_permissions_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        trained().save(tmp_path / "net")
    finally:
        os.umask(before)
    assert (tmp_path / "net").stat().st_mode & 0o777 == 0o640


def test_path_without_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = trained()
    net.save("plain")
    assert everything(load("plain")) == everything(net)


@pytest.mark.parametrize("broken", ["open", "fsync", "replace"])
def test_a_failed_save_names_the_file_the_caller_gave(broken, tmp_path, monkeypatch):
    path = tmp_path / "net"

    def fails(first, *arguments):
        raise OSError(28, "No space left on device", first if broken != "fsync" else None)

    monkeypatch.setattr(os, broken, fails)
    with pytest.raises(OSError, match="No space left") as caught:
        trained(epochs=1).save(path)
    assert caught.value.filename == str(path)
    assert str(caught.value).endswith(f"{str(path)!r}")


def test_every_call_of_a_save_may_fail():
    """The short run of the campaign."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    command = [sys.executable, "-m", "tests.campaigns.save_faults", "save", "export_c"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if "not permitted" in run.stderr:
        pytest.skip("processes may not be traced here")
    assert run.returncode == 0, run.stdout + run.stderr
    assert " 0 otherwise" in run.stdout
    assert int(re.search(r"^(\d+) faults", run.stdout, re.M)[1]) > 100


def test_a_file_that_cannot_be_written_is_named_as_given(tmp_path):
    path = tmp_path / "absent" / "net.cbp"
    with pytest.raises(FileNotFoundError) as caught:
        Network([2, 1], rng=0).save(path)
    assert caught.value.filename == str(path)
