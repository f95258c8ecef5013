"""Model files on a big-endian machine: an emulated s390x reads what was written here.

    python -m tests.campaigns.big_endian

Unpacks a Python and NumPy for s390x from Debian's packages below build/other_cpus and runs this
file there, where the compiled core is not. `cbackprop.io.container`, which is plain Python, and a
reader of a few lines that knows no more than the description of the layout must find the numbers
that were written here, bit for bit; what `container` writes there must be the same bytes; and a
file with a changed bit must be refused. Needs Debian 12 on x86-64 and the package
qemu-user-static. On any machine: PYTHON big_endian.py FOLDER, with what `write` left there.
"""

import importlib
import json
import struct
import sys
import types
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]


def write(folder):
    """Model files, and what is in them: of each tensor its shape and its numbers as text."""
    from cbackprop import Network
    from cbackprop.io import model_file
    from tests.campaigns import mutants

    long = Network([3, 40, 2], rng=4, dtype="float64")
    long.history.cost = np.random.default_rng(0).normal(size=5000).tolist()
    files = {f"reference{i}": data for i, data in enumerate(mutants.references())}
    files["long history"] = model_file.dumps(long)
    files["version1"] = (ROOT / "tests" / "data" / "version1.cbp").read_bytes()
    for name, data in files.items():
        net = model_file.loads(data)
        known = {f"w{l}": w for l, w in enumerate(net.weights, start=1)}
        known |= {f"b{l}": b for l, b in enumerate(net.biases, start=1)}
        for what in ("input_scale", "input_shift"):
            if isinstance(getattr(net, what), np.ndarray):
                known[what] = getattr(net, what)
        if len(net.history) > 4000:
            known["history.cost"] = np.array(net.history.cost)
        Path(folder, f"{name}.cbp").write_bytes(data)
        text = {key: [str(x.dtype), x.shape, as_text(x)] for key, x in known.items()}
        Path(folder, f"{name}.json").write_text(json.dumps(text), encoding="utf-8")


def as_text(array):
    return [float(x).hex() for x in np.asarray(array).ravel()]


def by_the_description(data):
    """Tensors of a model file, by its layout: a length, JSON, and numbers, lowest byte first."""
    (length,) = struct.unpack("<Q", data[:8])
    header, payload = json.loads(data[8 : 8 + length]), data[8 + length :]
    header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        start, stop = entry["data_offsets"]
        kind = {"F32": "f", "F64": "d"}[entry["dtype"]]
        numbers = struct.unpack(
            f"<{(stop - start) // struct.calcsize(kind)}{kind}", payload[start:stop]
        )
        tensors[name] = entry["shape"], [x.hex() for x in numbers]
    return tensors


def outside():
    """`cbackprop.io.container` and its error without the package, which is compiled."""
    package = types.ModuleType("cbackprop")
    package.__path__ = [str(ROOT / "cbackprop")]
    kept = {name: module for name, module in sys.modules.items() if name.startswith("cbackprop")}
    for name in kept:
        del sys.modules[name]
    sys.modules["cbackprop"] = package
    try:
        return importlib.import_module("cbackprop.io.container")
    finally:
        for name in [name for name in sys.modules if name.startswith("cbackprop")]:
            del sys.modules[name]
        sys.modules.update(kept)


def read(folder):
    """Compare everything; how many files and numbers."""
    container, count = outside(), 0
    files = sorted(Path(folder).glob("*.cbp"))
    for file in files:
        data = file.read_bytes()
        known = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
        about, tensors = container.loads(data)
        plain = by_the_description(data)
        assert plain.keys() == tensors.keys() >= known.keys(), file
        for name, tensor in tensors.items():
            shape, numbers = plain[name]
            assert list(tensor.shape) == shape, (file, name)
            assert as_text(tensor) == numbers, (file, name)
            if name in known:
                assert known[name] == [str(tensor.dtype.newbyteorder("=")), shape, numbers], name
            count += tensor.size
        length = int.from_bytes(data[:8], "little")
        network = json.loads(data[8 : 8 + length])["__metadata__"]["network"]
        assert json.loads(network) == about
        native = {
            name: ("F32" if x.dtype.itemsize == 4 else "F64", x.astype(x.dtype.newbyteorder("=")))
            for name, x in tensors.items()
        }
        assert container.dumps(network, native) == data, file
        try:
            container.loads(data[:-1] + bytes([data[-1] ^ 1]))
        except container.ModelFileError:
            continue
        raise AssertionError(f"{file}: damage was not found")
    return len(files), count


def main():
    if len(sys.argv) > 1:
        files, numbers = read(sys.argv[1])
        print(
            f"{sys.byteorder}-endian: {files} files, {numbers:,} numbers: as written, bit for bit"
        )
        return 0
    from tests.campaigns import other_cpus

    there = other_cpus.FOLDER / "debian-s390x"
    other_cpus.fetch("s390x", there, ("python3.11", "python3-numpy"))
    folder = other_cpus.FOLDER / "model files"
    folder.mkdir(exist_ok=True)
    write(folder)
    libraries = there / "usr/lib/s390x-linux-gnu"
    command = ["qemu-s390x-static", "-L", there, "-E"]
    command += [f"LD_LIBRARY_PATH={libraries / 'blas'}:{libraries / 'lapack'}"]
    other_cpus.run(*command, there / "usr/bin/python3.11", "-B", __file__, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
