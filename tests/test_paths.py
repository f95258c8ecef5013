"""Whatever takes a path: text and Path, any name, and one clear error that names the path."""

import errno
from pathlib import Path

import numpy as np
import pytest

from cbackprop import ModelFileError, Network, load, report
from cbackprop.callbacks import TensorBoard
from cbackprop.io import atomic

NET = Network([2, 3, 2], rng=0)
X, Y = np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)
HISTORY = NET.train(X, Y)


def write_report(path):
    pytest.importorskip("matplotlib")
    report(NET, HISTORY, X, Y, path=path)


def write_onnx(path):
    pytest.importorskip("onnx")
    NET.export_onnx(path)


def read_onnx(path):
    pytest.importorskip("onnx")
    Network.from_onnx(path)


def read_torch(path):
    pytest.importorskip("safetensors")
    Network.from_torch(path)


WRITERS = {
    "save": NET.save,
    "export_c": lambda path: NET.export_c(path, name="net"),
    "to_npz": NET.to_npz,
    "to_book_json": NET.to_book_json,
    "export_onnx": write_onnx,
    "report": write_report,
}
READERS = {
    "load": load,
    "from_npz": Network.from_npz,
    "from_book_json": Network.from_book_json,
    "from_onnx": read_onnx,
    "from_torch": read_torch,
}


@pytest.mark.parametrize("name", WRITERS)
def test_text_and_path_and_any_name(name, tmp_path):
    for path in (tmp_path / "ünï cødé 数", str(tmp_path / "text")):
        WRITERS[name](path)
        size = Path(path).stat().st_size
        WRITERS[name](path)  # again, over the older one
        assert Path(path).stat().st_size == size > 0
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", WRITERS)
def test_what_cannot_be_written_is_named(name, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        WRITERS[name](tmp_path / "missing" / "file")
    assert caught.value.filename == str(tmp_path / "missing" / "file")
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        WRITERS[name](folder)
    assert caught.value.filename == str(folder)
    assert caught.value.filename2 is None
    assert list(tmp_path.iterdir()) == [folder]


def test_a_write_that_fails_leaves_nothing_and_names_the_file(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "net.cbp"
    path.write_bytes(b"old")
    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        NET.save(path)
    assert caught.value.filename == str(path)
    assert [file.name for file in tmp_path.iterdir()] == ["net.cbp"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("name", READERS)
def test_what_cannot_be_read_is_named(name, tmp_path):
    for path, error in ((tmp_path / "none", FileNotFoundError), (tmp_path, OSError)):
        with pytest.raises(error, match=path.name) as caught:
            READERS[name](path)
        assert not isinstance(caught.value, ModelFileError)


@pytest.mark.parametrize("name", [*WRITERS, *READERS])
def test_what_is_no_path(name):
    call = {**WRITERS, **READERS}[name]
    argument = "state" if name == "from_torch" else "path"
    for value in (None, 3, b"x", *([["x"]] if argument == "path" else [])):
        with pytest.raises(TypeError, match=f"^{argument} = "):
            call(value)
    for value in ("", "a\0b"):
        with pytest.raises(ValueError, match=f"^{argument} = .*, expected a path"):
            call(value)


def test_a_folder_for_tensorboard_that_cannot_be_is_refused_before_training(tmp_path):
    pytest.importorskip("tensorboardX")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        TensorBoard(tmp_path / "file")
    with pytest.raises(ValueError, match="folder = ''"):
        TensorBoard("")
    TensorBoard(tmp_path / "new" / "folder")
