"""The embedded digits, and IDX files as their writers, the network or an attacker left them."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cbackprop import datasets
from cbackprop.datasets import load_digits, load_fashion_mnist, load_idx, load_mnist

FOUR_FILES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]
CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def idx_bytes(array: np.ndarray[Any, Any]) -> bytes:
    kind = f"{array.dtype.kind}{array.dtype.itemsize}"
    header = bytes([0, 0, CODES[kind], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(f">{kind}").tobytes()


def write_images(folder: Path, names: list[str], n_train: int = 7, n_test: int = 3) -> None:
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for name, n in zip(names, [n_train, n_train, n_test, n_test], strict=True):
        shape = (n, 5, 4) if "images" in name else (n,)
        content = idx_bytes(rng.integers(0, 10, shape, dtype=np.uint8))
        (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "some-file"


# The embedded digits


def test_digits() -> None:
    digits = load_digits()
    assert digits.X_train.shape == (1437, 64)
    assert digits.X_test.shape == (360, 64)
    assert digits.X_train.dtype == digits.X_test.dtype == np.uint8
    assert digits.y_train.dtype == digits.y_test.dtype == np.int64
    assert digits.X_train.max() == 16
    assert digits.input_scale == 1 / 16
    assert set(digits.y_train) == set(digits.y_test) == set(range(10))
    assert digits.image_shape == (8, 8)
    assert digits.name == "digits"
    assert repr(digits) == "<Dataset digits: 1437 training and 360 test images of 8x8>"


def test_digits_split_is_every_fifth_row() -> None:
    digits = load_digits()
    with np.load(Path(datasets.__file__).parent / "data" / "optdigits.npz") as arrays:
        X, y = arrays["X"], arrays["y"]
    np.testing.assert_array_equal(digits.X_test, X[::5])
    np.testing.assert_array_equal(digits.y_test, y[::5])
    np.testing.assert_array_equal(digits.X_train[:4], X[1:5])
    np.testing.assert_array_equal(digits.y_train[-1], y[-1])


def test_dataset_is_frozen() -> None:
    digits = load_digits()
    with pytest.raises(AttributeError):
        digits.name = "other"  # type: ignore[misc]


# IDX files as they should be


@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("shape", [(5,), (4, 3), (2, 3, 4), (0, 28, 28)])
@pytest.mark.parametrize("packed", [False, True])
def test_idx_types_and_shapes(file: Path, kind: str, shape: tuple[int, ...], packed: bool) -> None:
    rng = np.random.default_rng(1)
    expected = (rng.normal(size=shape) * 100).astype(kind)
    content = idx_bytes(expected)
    file.write_bytes(gzip.compress(content) if packed else content)
    array = load_idx(file)
    assert array.dtype == np.dtype(kind)
    assert array.dtype.isnative
    assert array.flags.writeable
    assert array.flags.c_contiguous
    np.testing.assert_array_equal(array, expected)


def test_idx_accepts_a_string(file: Path) -> None:
    file.write_bytes(idx_bytes(np.arange(3, dtype=np.uint8)))
    np.testing.assert_array_equal(load_idx(str(file)), [0, 1, 2])


# IDX files as they should not be


@pytest.mark.parametrize("packed", [False, True])
def test_every_truncation_is_refused(file: Path, packed: bool) -> None:
    content = idx_bytes(np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    for length in range(len(content)):
        part = content[:length]
        file.write_bytes(gzip.compress(part) if packed else part)
        with pytest.raises(ValueError, match=r"some-file: .*expected"):
            load_idx(file)


def test_every_truncation_of_the_gzip_stream_is_refused(file: Path) -> None:
    content = gzip.compress(idx_bytes(np.arange(24, dtype=np.int16).reshape(2, 3, 4)))
    for length in range(len(content)):
        file.write_bytes(content[:length])
        with pytest.raises(ValueError, match="some-file: "):
            load_idx(file)


def test_every_flipped_bit_is_harmless(file: Path) -> None:
    """A flipped bit gives an array of the file's own size or a ValueError, nothing else."""
    content = idx_bytes(np.arange(6, dtype=np.float32).reshape(2, 3))
    for packed in (content, gzip.compress(content)):
        for bit in range(8 * len(packed)):
            damaged = bytearray(packed)
            damaged[bit // 8] ^= 1 << bit % 8
            file.write_bytes(damaged)
            try:
                size, message = load_idx(file).nbytes, "some-file"
            except ValueError as error:
                size, message = 24, str(error)
            assert size == 24
            assert "some-file" in message


@pytest.mark.parametrize("packed", [False, True])
def test_oversized(file: Path, packed: bool) -> None:
    content = idx_bytes(np.zeros((2, 3), np.uint8)) + b"x"
    file.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ValueError, match=r"oversized .*shape \(2, 3\).* expected 6 .* found more"):
        load_idx(file)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0",
        b"\0\1\x08\1\0\0\0\0",
        b"\0\0\x0a\1\0\0\0\0",
        b"a,b,c\n1,2,3\n",
        b"\x80\4pickle",
    ],
)
def test_wrong_magic(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(ValueError, match="some-file: not an IDX file: starts with"):
        load_idx(file)


@pytest.mark.parametrize("dimensions", [0, 9, 255])
def test_wrong_number_of_dimensions(file: Path, dimensions: int) -> None:
    file.write_bytes(bytes([0, 0, 8, dimensions]) + bytes(4 * dimensions))
    with pytest.raises(ValueError, match=f"{dimensions} dimensions.* expected 1 to 8"):
        load_idx(file)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dimensions", [1, 3, 8])
def test_a_huge_claim_costs_no_memory(file: Path, packed: bool, dimensions: int) -> None:
    content = bytes([0, 0, 14, dimensions]) + b"\xff" * (4 * dimensions) + bytes(1000)
    file.write_bytes(gzip.compress(content) if packed else content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"truncated .* found only 1000"):
            load_idx(file)
        assert tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()


def test_an_empty_array_of_impossible_extent(file: Path) -> None:
    file.write_bytes(bytes([0, 0, 8, 5]) + b"\xff" * 16 + bytes(4))
    with pytest.raises(ValueError, match="some-file: shape"):
        load_idx(file)


def test_a_gzip_bomb_with_a_lying_header(file: Path) -> None:
    """200 MB of zeros behind a header that claims ten bytes: ten bytes and one are read."""
    with gzip.open(file, "wb") as stream:
        stream.write(bytes([0, 0, 8, 1, 0, 0, 0, 10]))
        for _ in range(200):
            stream.write(bytes(1_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="oversized"):
            load_idx(file)
        assert tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()


def test_damaged_checksum(file: Path) -> None:
    content = bytearray(gzip.compress(idx_bytes(np.arange(100, dtype=np.uint8))))
    content[-8] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match="some-file: damaged gzip file"):
        load_idx(file)


def test_missing_file(file: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_idx(file)


# The four files of MNIST and Fashion-MNIST


@pytest.mark.parametrize("load", [load_mnist, load_fashion_mnist])
@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("dot", [False, True])
def test_four_files(tmp_path: Path, load: Any, suffix: str, dot: bool) -> None:
    names = [(name.replace("-idx", ".idx") if dot else name) + suffix for name in FOUR_FILES]
    write_images(tmp_path, names)
    images = load(tmp_path)
    assert images.X_train.shape == (7, 20)
    assert images.X_test.shape == (3, 20)
    assert images.X_train.dtype == np.uint8
    assert images.y_train.dtype == np.int64
    assert images.input_scale == 1 / 255
    assert images.image_shape == (5, 4)
    assert images.X_train.base is not None  # reshaped, not copied
    np.testing.assert_array_equal(images.X_test, load_idx(tmp_path / names[2]).reshape(3, 20))
    np.testing.assert_array_equal(images.y_test, load_idx(tmp_path / names[3]))


@pytest.mark.parametrize("subfolder", [".", "mnist"])
def test_environment_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subfolder: str
) -> None:
    write_images(tmp_path / subfolder, FOUR_FILES)
    monkeypatch.setenv("CBACKPROP_DATA", str(tmp_path))
    assert load_mnist().name == "mnist"


def test_the_other_data_set_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path / "fashion-mnist", FOUR_FILES)
    monkeypatch.setenv("CBACKPROP_DATA", str(tmp_path / "fashion-mnist"))
    assert load_fashion_mnist().name == "fashion-mnist"
    with pytest.raises(FileNotFoundError):
        load_mnist()


def test_not_found_names_places_and_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path, FOUR_FILES)
    (tmp_path / FOUR_FILES[1]).unlink()
    monkeypatch.setattr(datasets, "_DEBIAN_FASHION_MNIST", str(tmp_path / "debian"))
    monkeypatch.setenv("CBACKPROP_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError) as caught:
        load_fashion_mnist()
    message = str(caught.value)
    for part in (f"{tmp_path} (3 of the 4 files)", f"{tmp_path / 'debian'} (0 of", "apt-get"):
        assert part in message
    with pytest.raises(FileNotFoundError, match=r"elsewhere .*Remedy: put the four MNIST files"):
        load_mnist(tmp_path / "elsewhere")
    monkeypatch.delenv("CBACKPROP_DATA")
    with pytest.raises(FileNotFoundError, match="CBACKPROP_DATA is not set"):
        load_mnist()


def replace(folder: Path, index: int, array: np.ndarray[Any, Any]) -> None:
    (folder / FOUR_FILES[index]).write_bytes(idx_bytes(array))


@pytest.mark.parametrize(
    ("index", "array", "message"),
    [
        (1, np.zeros(6, np.uint8), "train-labels.* expected \\(7,\\)"),
        (1, np.zeros(7, np.int16), "train-labels.* int16"),
        (1, np.array([0, 1, 2, 10, 3, 4, 5], np.uint8), "label 10 at row 3, expected 0 to 9"),
        (0, np.zeros((7, 20), np.uint8), "train-images.* expected \\(images, rows, columns\\)"),
        (0, np.zeros((7, 5, 4), np.float32), "train-images.* float32"),
        (0, np.zeros((0, 5, 4), np.uint8), "none of them 0"),
        (2, np.zeros((3, 4, 5), np.uint8), "t10k-images.*expected \\(5, 4\\)"),
    ],
)
def test_files_that_do_not_belong_together(
    tmp_path: Path, index: int, array: np.ndarray[Any, Any], message: str
) -> None:
    write_images(tmp_path, FOUR_FILES)
    replace(tmp_path, index, array)
    with pytest.raises(ValueError, match=message):
        load_mnist(tmp_path)


@pytest.mark.skipif(
    not Path(datasets._DEBIAN_FASHION_MNIST).is_dir(), reason="dataset-fashion-mnist not installed"
)
def test_debian_fashion_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CBACKPROP_DATA", raising=False)
    fashion = load_fashion_mnist()
    assert fashion.X_train.shape == (60000, 784)
    assert fashion.X_test.shape == (10000, 784)
    assert fashion.X_train.max() == 255
    np.testing.assert_array_equal(np.bincount(fashion.y_train), [6000] * 10)
