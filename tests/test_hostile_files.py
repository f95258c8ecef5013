"""Files of strangers: mutants of every format, and those made by hand to take memory or worse."""

import io
import json
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest

from cbackprop import ModelFileError, Network, load
from cbackprop.io import container, model_file, onnx_read
from tests.campaigns import hostile_files, mutants
from tests.test_exchange import text_model

MUTANTS = {"model": 8000, "csv": 10_000, "idx": 20_000, "onnx": 2000, "npz": 2000,
           "book_json": 5000, "safetensors": 5000}  # fmt: skip


@pytest.mark.parametrize("form", MUTANTS)
def test_mutants_are_read_or_refused(form):
    for library in {"onnx": ["onnx"], "safetensors": ["safetensors"]}.get(form, []):
        pytest.importorskip(library)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's, of headers that end too soon
        count, _, _ = hostile_files.run(form, MUTANTS[form], seed=20)
    assert not count.findings
    assert count.total == MUTANTS[form]
    assert count.outcomes["read"] > MUTANTS[form] // 50 < count.outcomes["refused"]


def test_mutants_reach_what_is_behind_the_digest():
    random = hostile_files.random.Random(5)
    mutator = mutants.ModelMutator(mutants.references(), random)
    messages = set()
    for _ in range(2000):
        try:
            model_file.loads(mutator.mutant())
        except ModelFileError as error:
            messages.add(str(error)[:30])
    assert len(messages) > 80


def peak(call):
    """Peak of what Python allocates; the call must refuse."""
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError) as caught:
            call()
        return tracemalloc.get_traced_memory()[1], str(caught.value)
    finally:
        tracemalloc.stop()


SMALL = model_file.dumps(Network([1, 1], rng=1))


def in_header(text, inside):
    """A sealed file with this text beside the tensors, or in the network's description."""
    length = int.from_bytes(SMALL[:8], "little")
    header = json.loads(SMALL[8 : 8 + length])
    if inside:
        about = json.loads(header["__metadata__"]["network"])
        about["sizes"] = "HERE"
        header["__metadata__"]["network"] = json.dumps(about).replace('"HERE"', text)
    else:
        header["b2"] = "HERE"
    new = json.dumps(header, separators=(",", ":"))
    new = (new if inside else new.replace('"HERE"', text)).encode()
    return mutants.sealed(len(new).to_bytes(8, "little") + new + SMALL[8 + length :])


BOMBS = {
    "lists": "[" + "[]," * 400_000 + "1]",
    "objects": "[" + "{}," * 400_000 + "1]",
    "names": "{" + ",".join(f'"{i:x}":1' for i in range(200_000)) + "}",
    "texts": "[" + '"aa",' * 300_000 + "1]",
    "ones": "[" + "1," * 1_000_000 + "1]",
    "levels": "[" * 900 + "]" * 900,
    "long text": '"' + "x" * 2_000_000 + '"',
    "escaped": r"\u005b".join([""] * 200_000),
}


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("name", BOMBS)
def test_json_that_becomes_large(name, inside):
    data = in_header(BOMBS[name], inside)
    most, message = peak(lambda: model_file.loads(data))
    assert most < len(data) + 2**24
    assert len(message) < 500


ITEMS = ["999,", "12345678901234567890,", "[],", "[1],", '{"a":1},', '"aa",',
         r'"\u732b",', r'"\ud83d\ude00a",', '"%s",' % ("ab" * 500)]  # fmt: skip


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("item", ITEMS)
def test_as_much_json_as_is_read(item, inside):
    """As many values as may be, in as long a header: refused for what they are, within bounds."""
    marks = sum(map(item.count, ",:[{")) + item.count('"') // 2
    room = (container.MOST_HEADER - 1500) // len(json.dumps(item)[1:-1] if inside else item)
    number = min((container.MOST_VALUES - 200) // marks, room)
    data = in_header("[" + item * number + "1]", inside)
    most, message = peak(lambda: model_file.loads(data))
    assert most < len(data) + 2**24
    assert "do not make the layers" in message or "'b2'" in message
    data = in_header("[" + item * (number + 1000) + "1]", inside)
    most, message = peak(lambda: model_file.loads(data))
    assert ("values and names" if number + 1000 < room else "header of") in message
    assert most < 2 * len(data)


@pytest.mark.parametrize("inside", [False, True])
def test_a_header_is_ascii(inside):
    with pytest.raises(ModelFileError, match="not JSON"):
        model_file.loads(in_header('"é"', inside))


def test_a_signalling_nan_is_refused_without_a_warning():
    """Found by mutants: NumPy warns where one is made float32."""
    about, tensors = container.loads(mutants.references()[2])
    tensors["input_shift"] = np.frombuffer(b"\1\0\0\0\0\0\xf4\xff" * 3, "<f8")
    codes = {"<f4": "F32", "<f8": "F64"}
    given = {name: (codes[x.dtype.str], x) for name, x in tensors.items()}
    with pytest.raises(ModelFileError, match="input_shift contains nan"):
        model_file.loads(container.dumps(json.dumps(about), given))


def test_weights_have_the_precision_of_the_network():
    about, tensors = container.loads(SMALL)
    wide = {name: ("F64", tensor) for name, tensor in tensors.items()}
    with pytest.raises(ModelFileError, match="float64"):
        model_file.loads(container.dumps(json.dumps(about), wide))


@pytest.mark.parametrize("inside", [False, True])
def test_as_much_text_as_is_read(inside):
    """As many names as may be, and one text as long as may be, which widens at its end."""
    names = ",".join(f'"{i:x}":1' for i in range(container.MOST_VALUES // 3 - 100))
    long = "x" * (container.MOST_HEADER - 1500) + r"\ud83d\ude00"
    for text in ("{" + names + "}", f'"{long}"'):
        data = in_header(text, inside)
        most, message = peak(lambda data=data: model_file.loads(data))
        assert most < len(data) + 2**24
        assert "do not make the layers" in message or "'b2'" in message


def test_layers_of_one_number_are_many_and_none_is_made():
    data = in_header("[" + "1," * 190_000 + "1]", True)
    most, message = peak(lambda: model_file.loads(data))
    assert most < 10 * len(data)  # text and list; names would take 100 each
    assert "2 tensors" in message


def test_what_is_saved_can_be_read(monkeypatch, tmp_path):
    """A header too long to be read again is not written."""
    net = Network([2, 2], rng=0)
    net.history.cost = [0.5] * 1000
    net.save(tmp_path / "net")
    for name, message in (("MOST_HEADER", "header of"), ("MOST_VALUES", "values and names")):
        with monkeypatch.context() as patch:
            patch.setattr(container, name, 900)
            with pytest.raises(ModelFileError, match=message):
                net.save(tmp_path / "net")
    assert len(load(tmp_path / "net").history.cost) == 1000


def test_a_word_for_each_of_many_outputs(tmp_path):
    """Labels belong to neurons with weights, which make room for them in the header."""
    words = [f"word number {i}" for i in range(40_000)]
    net = Network([2, 64, 40_000], output="softmax", classes=words, rng=0)
    net.save(tmp_path / "net")
    assert load(tmp_path / "net").classes.tolist() == words
    net.reset()
    net.save(tmp_path / "net")


# ---- ONNX -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def onnx():
    return pytest.importorskip("onnx")


def no_value(model):
    del model.graph.node[0].attribute[:]


def dims(*values):
    def change(model):
        model.graph.initializer[0].dims[:] = values

    return change


def empty(*values):
    def change(model):
        model.graph.initializer[0].dims[:] = values
        model.graph.initializer[0].raw_data = b""
        del model.graph.initializer[0].float_data[:]

    return change


def put(field, value):
    def change(model):
        setattr(model.graph.initializer[0], field, value)

    return change


def classes(text):
    def change(model):
        for key, value in (("cbackprop.cost", "quadratic"), ("classes", text)):
            entry = model.metadata_props.add()
            entry.key, entry.value = key, value

    return change


def shared(model):
    node = model.graph.node[0]
    del model.graph.node[:]
    tensor = model.graph.initializer[0]
    tensor.dims[:], tensor.raw_data = [400, 400], np.eye(400, dtype=np.float32).tobytes()
    del tensor.float_data[:]
    for i in range(900):
        layer = model.graph.node.add()
        layer.CopyFrom(node)
        layer.input[:] = ["x" if i == 0 else f"z{i}", "w"]
        layer.output[:] = ["y" if i == 899 else f"z{i + 1}"]


def outside(model):
    entry = model.graph.initializer[0].external_data.add()
    entry.key, entry.value = "location", "secret"


GEMM = "y = Gemm(x, w)"
ONNX = {
    "no value": ("c = Constant <value_float = 0.5> () y = Gemm(x, w)", no_value, "no value"),
    "wide and empty": (GEMM, empty(2**40, 0), "dims"),
    "empty": (GEMM, empty(4, 0), "not empty"),
    "nothing": (GEMM, empty(0, 4), "not empty"),
    "negative": (GEMM, dims(-1, 4), "dims"),
    "huge": (GEMM, dims(2**31 - 1, 2**31 - 1), "bytes of numbers"),
    "product of 2^64": (GEMM, dims(*[2**16] * 4), "bytes of numbers"),
    "no data": (GEMM, empty(4, 3), "bytes of numbers"),
    "type 99": (GEMM, put("data_type", 99), "ONNX type 99"),
    "no type": (GEMM, put("data_type", 0), "ONNX type 0"),
    "text": (GEMM, put("data_type", 8), "ONNX type 8"),
    "other type": (GEMM, put("data_type", 11), "bytes of numbers"),
    "elsewhere": (GEMM, outside, "another file"),
    "classes of many levels": (GEMM, classes("[" * 100_000 + "]" * 100_000), "RecursionError"),
    "classes no JSON": (GEMM, classes("{"), "JSONDecodeError"),
    "classes object": (GEMM, classes("{}"), "JSON list"),
    "classes number": (GEMM, classes("3"), "JSON list"),
    "classes lists": (GEMM, classes("[[], [1], {}]"), "class"),
    "weights shared": (GEMM, shared, "share"),
}  # fmt: skip


@pytest.mark.parametrize("name", ONNX)
def test_hostile_onnx(name, tmp_path, onnx):
    body, change, what = ONNX[name]
    model = text_model(body, onnx)
    change(model)
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    most, message = peak(lambda: Network.from_onnx(path))
    assert most < path.stat().st_size + 2**24
    assert message.startswith(str(path))
    assert what in message


def field(number, content):
    """A message in a message, as protobuf writes it."""
    head, n = bytes([number << 3 | 2]), len(content)
    while n > 127:
        head, n = head + bytes([n & 127 | 128]), n >> 7
    return head + bytes([n]) + content


@pytest.mark.parametrize(
    "data",
    [
        field(7, b"\x0a\0" * 300_000),  # nodes
        field(7, field(1, b"\x2a\0" * 300_000)),  # attributes
        field(7, b"\x2a\0" * 300_000),  # tensors
        b"\x72\0" * 300_000,  # metadata
        field(7, b"\x0a\0") * 60_000,  # graphs, which a parser makes one of
        field(7, field(1, field(5, field(6, b"\x0a\0" * 300_000)))),  # of a graph in an attribute
    ],
    ids=range(6),
)
def test_onnx_of_countless_fields(data, onnx):
    most, message = peak(lambda: onnx_read.loads(Network, "f", data, {}))
    assert "fields" in message
    assert most < len(data) + 2**24


def test_onnx_of_many_levels(onnx):
    data = b""
    for _ in range(2000):
        data = field(7, field(1, field(5, field(6, data))))
    with pytest.raises(ModelFileError):
        onnx_read.loads(Network, "f", data, {})


# ---- NPZ, JSON of the book, safetensors ---------------------------------------------------------


def npz(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)


def npy(header, content=b""):
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text + content


def numbers(*shape):
    stream = io.BytesIO()
    np.save(stream, np.zeros(shape))
    return stream.getvalue()


NPZ = {
    "pickle": npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"cos\nsystem\n."),
    "claims": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 4)}"),
    "overflow": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296)}"),
    "negative": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 4)}", bytes(32)),
    "empty": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 0)}"),
    "levels": npy("(" * 100 + ")" * 100),
    "call": npy("__import__('os')"),
    "no header": b"\x93NUMPY\1\0\xff\xff",
    "packed zeros": numbers(2000, 2000),
    "one number": numbers(),
}


@pytest.mark.parametrize("name", NPZ)
def test_hostile_npz(name, tmp_path):
    path = tmp_path / "net.npz"
    npz(path, w1=NPZ[name], b1=numbers(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        most, message = peak(lambda: Network.from_npz(path))
    assert most < path.stat().st_size + 2**24
    assert message.startswith(str(path))
    assert len(message) < 1000


BOOK = {
    "levels": "[" * 900 + "]" * 900,
    "sizes text": '{"sizes": "23", "weights": [], "biases": [], "cost": "QuadraticCost"}',
    "sizes huge": '{"sizes": [4000000000, 4000000000], "weights": [[[1]]], "biases": [[[1]]], '
    '"cost": "QuadraticCost"}',
    "weights of many levels": '{"sizes": [1, 1], "weights": ' + "[" * 500 + "1" + "]" * 500
    + ', "biases": [[[1]]], "cost": "QuadraticCost"}',
    "long number": '{"sizes": [1, 1], "weights": [[[1' + "0" * 4000 + ']]], "biases": [[[1]]], '
    '"cost": "QuadraticCost"}',
    "cost list": '{"sizes": [1, 1], "weights": [[[1]]], "biases": [[[1]]], "cost": []}',
    "infinite": '{"sizes": [1, 1], "weights": [[[1e999]]], "biases": [[[1]]], '
    '"cost": "QuadraticCost"}',
}  # fmt: skip


@pytest.mark.parametrize("name", BOOK)
def test_hostile_book_json(name, tmp_path):
    path = tmp_path / "net.json"
    path.write_text(BOOK[name])
    most, message = peak(lambda: Network.from_book_json(path))
    assert most < path.stat().st_size + 2**24
    assert message.startswith(str(path))


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2**40, 0], "data_offsets": [0, 0]},
        {"dtype": "F32", "shape": [0, 2**40], "data_offsets": [0, 0]},
        {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 2**60]},
        {"dtype": "BF16", "shape": [2, 1], "data_offsets": [0, 4]},
        {"dtype": "O", "shape": [1], "data_offsets": [0, 4]},
        [],
    ],
)
def test_hostile_safetensors(entry, tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "net.safetensors"
    text = json.dumps({"0.weight": entry}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    most, message = peak(lambda: Network.from_torch(path))
    assert most < 2**20
    assert message.startswith(str(path))
