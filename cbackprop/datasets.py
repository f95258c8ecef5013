"""Data sets: the embedded digits, files in the IDX format of MNIST, and data larger than memory.

Nothing here is downloaded. The embedded digits come with the package; MNIST and Fashion-MNIST
are read from files that are already on the machine. Parquet files and arrays that do not fit into
memory are opened, and read while a network trains.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from cbackprop import _opening
from cbackprop import _validation as check
from cbackprop._chunks import Chunks, Run

__all__ = [
    "Chunks",
    "Dataset",
    "load_digits",
    "load_fashion_mnist",
    "load_idx",
    "load_mnist",
    "open_arrays",
    "open_parquet",
]

# IDX type codes, third byte of the file; the format is big-endian throughout.
_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_IDX_MAX_DIMENSIONS = 8
_CHUNK = 1 << 20

_DEBIAN_FASHION_MNIST = "/usr/share/datasets/fashion-mnist"


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Images and labels, split into a part to train on and a part held out.

    Attributes
    ----------
    X_train, X_test : ndarray of uint8, shape (n, rows * columns)
        Row-major images, one a row, in the units of the file (nothing is scaled).
    y_train, y_test : ndarray of int64, shape (n,)
        Class of each image, counted from 0.
    input_scale : float
        Factor that brings the pixels to 0..1; give it to ``Network(input_scale=...)``.
    image_shape : tuple of int
        ``(rows, columns)`` of one image: ``X_train[0].reshape(image_shape)`` shows it.
    name : str
        Name of the set.
    """

    X_train: NDArray[np.uint8]
    y_train: NDArray[np.int64]
    X_test: NDArray[np.uint8]
    y_test: NDArray[np.int64]
    input_scale: float
    image_shape: tuple[int, int]
    name: str

    def __repr__(self) -> str:
        rows, columns = self.image_shape
        return (
            f"<Dataset {self.name}: {len(self.X_train)} training and {len(self.X_test)} test "
            f"images of {rows}x{columns}>"
        )


def load_digits() -> Dataset:
    """Load the digits that come with the package: 1797 images of 8x8 pixels.

    The split is fixed: rows 0, 5, 10, ... of the file are held out (360 images), the other 1437
    are for training.

    Returns
    -------
    Dataset
        Pixels from 0 to 16, ``input_scale`` 1/16, labels 0 to 9.

    Notes
    -----
    Source: the test part of "Optical Recognition of Handwritten Digits", E. Alpaydin and
    C. Kaynak, 1998, UCI Machine Learning Repository, CC BY 4.0.

    Examples
    --------
    >>> from cbackprop.datasets import load_digits
    >>> digits = load_digits()
    >>> digits
    <Dataset digits: 1437 training and 360 test images of 8x8>
    >>> digits.X_train.shape, digits.X_train.dtype, int(digits.X_train.max())
    ((1437, 64), dtype('uint8'), 16)
    >>> digits.y_train[:5]
    array([1, 2, 3, 4, 6])
    """
    packed = resources.files("cbackprop").joinpath("data", "optdigits.npz")
    with packed.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        X, y = arrays["X"], arrays["y"].astype(np.int64)
    held_out = np.arange(len(X)) % 5 == 0
    return Dataset(X[~held_out], y[~held_out], X[held_out], y[held_out], 1 / 16, (8, 8), "digits")


def load_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read one IDX file, the format of MNIST, into an array.

    Parameters
    ----------
    path : str or path-like
        A plain or gzipped IDX file; gzip is recognised by its first bytes, not by the name.

    Returns
    -------
    ndarray
        Shape and type as the file's header says, in the machine's byte order, writable.

    Raises
    ------
    ValueError
        When the file is no IDX file, is damaged, or holds fewer or more bytes than its header
        claims; the message names the file, what is expected and what is found.
    OSError
        When the file cannot be opened or read.

    Notes
    -----
    The header is checked before any data is read, and at most one byte more than it claims is
    read: memory is bounded by the content of the file and by the claim, whichever is smaller.
    Format: Y. LeCun, C. Cortes and C. Burges, "The MNIST database of handwritten digits".

    Examples
    --------
    >>> import os, tempfile
    >>> from cbackprop.datasets import load_idx
    >>> path = os.path.join(tempfile.mkdtemp(), "labels-idx1-ubyte")
    >>> with open(path, "wb") as stream:
    ...     stream.write(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    11
    >>> load_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    with open(path, "rb") as raw:
        return _read_stream(raw, os.fspath(path))


def load_mnist(folder: str | os.PathLike[str] | None = None) -> Dataset:
    """Load MNIST from its four IDX files.

    Parameters
    ----------
    folder : str or path-like, optional
        Folder of the four files, plain or gzipped (``train-images-idx3-ubyte`` or
        ``train-images.idx3-ubyte``, and so on). Without it the folder named by the environment
        variable ``CBACKPROP_DATA`` is searched: its subfolder ``mnist``, then the folder itself.

    Returns
    -------
    Dataset
        60000 training and 10000 test images, pixels from 0 to 255 in rows of 784,
        ``input_scale`` 1/255, labels 0 to 9.

    Raises
    ------
    FileNotFoundError
        When the files are not there; the message lists the places looked at and the remedy.
    ValueError
        When a file is damaged, or images and labels do not belong together.

    Examples
    --------
    >>> from cbackprop.datasets import load_mnist
    >>> mnist = load_mnist("~/data/mnist")  # doctest: +SKIP
    """
    remedy = "put the four MNIST files into one of these places, or name their folder"
    return _load_images("mnist", folder, [], remedy)


def load_fashion_mnist(folder: str | os.PathLike[str] | None = None) -> Dataset:
    """Load Fashion-MNIST from its four IDX files.

    Parameters
    ----------
    folder : str or path-like, optional
        Folder of the four files, named as for `load_mnist`. Without it the folder named by the
        environment variable ``CBACKPROP_DATA`` is searched (its subfolder ``fashion-mnist``,
        then the folder itself), then the place of Debian's package ``dataset-fashion-mnist``.

    Returns
    -------
    Dataset
        60000 training and 10000 test images, pixels from 0 to 255 in rows of 784,
        ``input_scale`` 1/255, labels 0 to 9.

    Raises
    ------
    FileNotFoundError
        When the files are not there; the message lists the places looked at and the remedy.
    ValueError
        When a file is damaged, or images and labels do not belong together.

    Examples
    --------
    >>> from cbackprop.datasets import load_fashion_mnist
    >>> fashion = load_fashion_mnist()  # doctest: +SKIP
    """
    remedy = "apt-get install dataset-fashion-mnist, or put the four files into one of these places"
    return _load_images("fashion-mnist", folder, [Path(_DEBIAN_FASHION_MNIST)], remedy)


def open_parquet(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    target: str | Sequence[str],
    features: Sequence[str] | None = None,
    sample_weight: str | None = None,
    dtype: str | None = None,
    window_rows: int | None = None,
) -> Chunks:
    """Open Parquet files that stay on disk: `Network.train` reads them by row groups.

    Parameters
    ----------
    paths : path, or a sequence of some
        Several files are one data set, one after the other.
    target : str or sequence of str
        The column of labels (whole numbers or text) or of real targets; several of real targets.
    features : sequence of str, optional
        The inputs, columns of numbers or booleans. Default: all other columns.
    sample_weight : str, optional
        The column of the rows' weights.
    dtype : {"float32", "float64"}, optional
        Of X in memory. Default: the smallest of uint8, float32 and float64 that holds what the
        columns hold. "float32" halves the memory of columns of float64, without a change of bits
        for float32 networks.
    window_rows : int, optional
        Rows that are mixed with each other; two times as many are in memory. Default: as many as
        64 MiB hold.

    Returns
    -------
    Chunks

    Raises
    ------
    ValueError
        A file is damaged, or has no such column, or one of another kind. Missing values, NaN and
        infinity are refused where they are read, with row and column.
    OSError
        A file cannot be read.
    ImportError
        pyarrow is not installed.

    Examples
    --------
    >>> from cbackprop.datasets import open_parquet
    >>> data = open_parquet("taxi.parquet", target="tip")  # doctest: +SKIP
    >>> scale, shift = data.scaling()  # doctest: +SKIP
    """
    from cbackprop.io.parquet_chunks import ParquetFiles

    targets = _opening.names("target", target)
    inputs = None if features is None else _opening.names("features", features)
    weight = None if sample_weight is None else _opening.names("sample_weight", sample_weight)[0]
    _opening.apart(inputs, [*targets, *([] if weight is None else [weight])])
    source = ParquetFiles(_opening.paths(paths), targets, inputs, weight, _opening.dtype(dtype))
    runs = [Run(i, 0, length) for i, length in enumerate(source.lengths)]
    return Chunks(source, runs, window_rows)


def open_arrays(
    X: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    group_rows: int | None = None,
    window_rows: int | None = None,
) -> Chunks:
    """Arrays that stay on disk: `Network.train` reads them by slices of rows.

    Parameters
    ----------
    X, y, sample_weight
        Each the path of an NPY file; or whatever has a shape, a dtype and slices of rows: a
        memory-mapped array, a data set of h5py or zarr. Or a list of such, one after the other.
    group_rows : int, optional
        Rows that are read in one go. Default: as many as 4 MiB hold.
    window_rows : int, optional
        Rows that are mixed with each other; two times as many are in memory. Default: as many as
        64 MiB hold.

    Returns
    -------
    Chunks

    Raises
    ------
    ValueError, TypeError
        The arrays do not belong together, are not of numbers, or a file is no NPY file.
    OSError
        A file cannot be read.

    Notes
    -----
    Files are read, not mapped: mapped pages count as the process's memory, and a file that is cut
    short kills it.

    Examples
    --------
    >>> import os, tempfile
    >>> from cbackprop.datasets import open_arrays
    >>> folder = tempfile.mkdtemp()
    >>> names = [os.path.join(folder, name) for name in ("X.npy", "y.npy")]
    >>> np.save(names[0], np.zeros((5000, 3), np.float32))
    >>> np.save(names[1], np.arange(5000) % 2)
    >>> open_arrays(*names, window_rows=1000)
    <Chunks of 5,000 rows, 3 inputs in float32, 1,000 rows a window>
    """
    from cbackprop.io.array_chunks import Arrays

    given = {"X": X, "y": y} | ({} if sample_weight is None else {"sample_weight": sample_weight})
    columns = [_opening.arrays(name, value) for name, value in given.items()]
    for name, column in zip(given, columns, strict=True):
        _opening.as_many_parts(name, len(column), len(columns[0]))
    parts = list(zip(*columns, strict=True))
    for i, part in enumerate(parts):
        _opening.part(i, part, parts[0][0].shape[-1])
    group = None if group_rows is None else check.integer("group_rows", group_rows, 1)
    source = Arrays(parts, group)
    _opening.some_rows("X", source.lengths)
    runs = [Run(i, 0, length) for i, length in enumerate(source.lengths)]
    return Chunks(source, runs, window_rows)


def _read_stream(raw: IO[bytes], name: str) -> NDArray[Any]:
    """`load_idx` of a file that is open already."""
    packed = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    stream = gzip.GzipFile(fileobj=raw) if packed else raw
    try:
        return _read_idx(stream, name)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{name}: damaged gzip file: {error}") from None


def _read_idx(stream: IO[bytes] | gzip.GzipFile, name: str) -> NDArray[Any]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _IDX_TYPES:
        codes = ", ".join(f"{code:02x}" for code in _IDX_TYPES)
        found = magic.hex(" ") or "nothing"
        raise ValueError(
            f"{name}: not an IDX file: starts with {found}, expected 00 00, "
            f"a type code ({codes}) and the number of dimensions"
        )
    dimensions = magic[3]
    if not 1 <= dimensions <= _IDX_MAX_DIMENSIONS:
        raise ValueError(
            f"{name}: {dimensions} dimensions in the IDX header, "
            f"expected 1 to {_IDX_MAX_DIMENSIONS}"
        )
    sizes = stream.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise ValueError(
            f"{name}: truncated IDX header: {4 + len(sizes)} bytes, expected {4 + 4 * dimensions}"
        )
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    dtype = np.dtype(_IDX_TYPES[magic[2]])
    claimed = math.prod(shape) * dtype.itemsize
    content = _read_at_most(stream, claimed + 1)
    if len(content) != claimed:
        found = f"only {len(content)}" if len(content) < claimed else "more"
        raise ValueError(
            f"{name}: {'truncated' if len(content) < claimed else 'oversized'} IDX file: the "
            f"header claims shape {shape} of {dtype.itemsize}-byte numbers, expected {claimed} "
            f"bytes after it, found {found}"
        )
    array = np.frombuffer(content, dtype)
    if not dtype.isnative:
        array = array.byteswap(inplace=True).view(dtype.newbyteorder())
    try:
        return array.reshape(shape)
    except ValueError as error:  # an empty array of impossible extent
        raise ValueError(f"{name}: shape {shape} in the IDX header: {error}") from None


def _read_at_most(stream: IO[bytes] | gzip.GzipFile, limit: int) -> bytearray:
    """Read up to `limit` bytes, in chunks: a limit far beyond the content costs nothing."""
    content = bytearray()
    while len(content) < limit:
        chunk = stream.read(min(_CHUNK, limit - len(content)))
        if not chunk:
            break
        content += chunk
    return content


def _load_images(
    name: str, folder: str | os.PathLike[str] | None, defaults: list[Path], remedy: str
) -> Dataset:
    places = defaults if folder is None else [Path(folder).expanduser()]
    root = os.environ.get("CBACKPROP_DATA")
    if folder is None and root:
        base = Path(root).expanduser()
        # A folder called mnist holds no Fashion-MNIST, and the other way round.
        other = base.name in {"mnist", "fashion-mnist"} - {name}
        places = [base / name, *([] if other else [base]), *places]
    missing = []
    for place in places:
        found = [_find(place, part, kind) for part in ("train", "t10k") for kind in _KINDS]
        files = [path for path in found if path is not None]
        if len(files) == len(found):
            X_train, y_train, shape = _images_and_labels(files[0], files[1])
            X_test, y_test, test_shape = _images_and_labels(files[2], files[3])
            if test_shape != shape:
                raise ValueError(
                    f"{files[2]}: images of {test_shape}, expected {shape} as in {files[0]}"
                )
            return Dataset(X_train, y_train, X_test, y_test, 1 / 255, shape, name)
        missing.append(f"{place} ({len(files)} of the 4 files)")
    looked = "; ".join(missing) or "nowhere, for CBACKPROP_DATA is not set and no folder is given"
    raise FileNotFoundError(f"{name} not found. Looked in: {looked}. Remedy: {remedy}.")


_KINDS = {"images": 3, "labels": 1}


def _find(folder: Path, part: str, kind: str) -> Path | None:
    for separator in "-.":
        for suffix in ("", ".gz"):
            path = folder / f"{part}-{kind}{separator}idx{_KINDS[kind]}-ubyte{suffix}"
            if path.is_file():
                return path
    return None


def _images_and_labels(
    image_file: Path, label_file: Path
) -> tuple[NDArray[np.uint8], NDArray[np.int64], tuple[int, int]]:
    images, labels = load_idx(image_file), load_idx(label_file)
    if images.ndim != 3 or images.dtype != np.uint8 or not images.size:
        raise ValueError(
            f"{image_file}: shape {images.shape} of {images.dtype}, "
            "expected (images, rows, columns) of uint8, none of them 0"
        )
    if labels.shape != images.shape[:1] or labels.dtype != np.uint8:
        raise ValueError(
            f"{label_file}: shape {labels.shape} of {labels.dtype}, "
            f"expected ({len(images)},) of uint8 as there are {len(images)} images"
        )
    if labels.max() > 9:
        row = int(labels.argmax())
        raise ValueError(f"{label_file}: label {labels[row]} at row {row}, expected 0 to 9")
    rows, columns = images.shape[1:]
    return images.reshape(len(images), -1), labels.astype(np.int64), (rows, columns)
