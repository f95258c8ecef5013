"""The outside of a model file: length, JSON header, tensors, and the digest over all of it.

    8 bytes   N, little-endian: length of the header
    N bytes   JSON: {"__metadata__": {...}, name: {"dtype", "shape", "data_offsets"}, ...}
    rest      the tensors, packed, little-endian, row-major, float64 before float32

It knows nothing of networks: their description is one JSON text in ``__metadata__``. Reading takes
memory for what is there, never for what the file says of itself.
"""

import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbackprop.exceptions import ModelFileError

Array = NDArray[Any]

VERSION = 1
MOST_HEADER = 2**26
# Brackets, colons and quotes: one of them may cost Python 72 bytes.
MOST_MARKS = 2**17
NO_DIGEST = "0" * 64
DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
# What content of the wrong kind makes Python and NumPy raise.
WRONG = (
    *(KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError),
    *(RecursionError, StopIteration),
)


def short(x: Any) -> str:
    """At most 200 characters of a value, or of what an error says: files decide their length."""
    try:
        text = str(x)
    except RecursionError:
        text = f"a {type(x).__name__} of many levels"
    return text if len(text) <= 200 else text[:197] + "..."


def dumps(network: str, tensors: dict[str, tuple[str, Array]]) -> bytes:
    """A file with this description of a network and these tensors, given as (code, array)."""
    metadata = {
        "format": "cbackprop",
        "version": str(VERSION),
        "sha256": NO_DIGEST,
        "network": network,
    }
    header: dict[str, Any] = {"__metadata__": metadata}
    payload, at = [], 0
    # Wider numbers first, as safetensors' own writer does: every tensor begins at a multiple of
    # its size, so that readers may map it.
    for name, (kind, array) in sorted(tensors.items(), key=lambda item: item[1][0], reverse=True):
        data = np.ascontiguousarray(array, DTYPES[kind]).tobytes()
        header[name] = {
            "dtype": kind,
            "shape": list(array.shape),
            "data_offsets": [at, at + len(data)],
        }
        payload.append(data)
        at += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MOST_HEADER:
        raise ModelFileError(
            f"model file: a header of {len(text):,} bytes, expected {MOST_HEADER:,} at most, of "
            "which most is the history; net.history = cbackprop.History() forgets it"
        )
    _few_marks(text, at)
    parts = b"".join([len(text).to_bytes(8, "little"), text, *payload])
    digest = hashlib.sha256(parts).hexdigest()
    return parts.replace(NO_DIGEST.encode(), digest.encode(), 1)


def loads(data: bytes) -> tuple[dict[str, Any], dict[str, Array]]:
    """The network's description and the tensors, digest checked.

    Raises
    ------
    ModelFileError
        The bytes are damaged, or are not a model file.
    """
    if len(data) < 8:
        raise ModelFileError(f"model file: {len(data)} bytes, too short to be one")
    length = int.from_bytes(data[:8], "little")
    if length > MOST_HEADER:
        raise ModelFileError(f"model file: header of {length} bytes: not a cbackprop model file")
    if length > len(data) - 8:
        raise ModelFileError(
            f"model file: header of {length} bytes in a file of {len(data)}: it is truncated"
        )
    text = data[8 : 8 + length]
    _few_marks(text, len(data) - 8 - length)
    entries = _json(text)
    metadata = entries.pop("__metadata__", None)
    if not isinstance(metadata, dict) or metadata.get("format") != "cbackprop":
        raise ModelFileError("model file: not written by cbackprop")
    if metadata.get("version") != str(VERSION):
        raise ModelFileError(
            f"model file: version {short(metadata.get('version'))!r}, this release reads {VERSION}"
        )
    _check_digest(data, metadata.get("sha256"))
    network = metadata.get("network")
    if not isinstance(network, str):
        raise ModelFileError("model file: no description of the network")
    # Escaped brackets were not seen above.
    _few_marks(network.encode("utf-8", "surrogatepass"), len(data) - 8 - length)
    return _json(network), _tensors(entries, memoryview(data)[8 + length :])


def _check_digest(data: bytes, digest: Any) -> None:
    if not isinstance(digest, str) or len(digest) != 64 or not digest.isascii():
        raise ModelFileError("model file: no digest")
    at = data.find(digest.encode())
    if at == -1:
        raise ModelFileError("model file: no digest")
    view, found = memoryview(data), hashlib.sha256()
    for part in (view[:at], NO_DIGEST.encode(), view[at + 64 :]):
        found.update(part)
    if found.hexdigest() != digest:
        raise ModelFileError("model file: digest mismatch (the file is damaged)")


def _few_marks(text: bytes, payload: int) -> None:
    """Refuse JSON of countless empty lists: 64 MiB of them would be objects of 1.4 GB."""
    marks = sum(text.count(mark) for mark in (b"[", b"{", b":"))
    # A label belongs to an output, which has 8 bytes of parameters at least, and stands here twice.
    quotes = text.count(b'"')
    if marks > MOST_MARKS or quotes > MOST_MARKS + payload // 2:
        raise ModelFileError(
            f"model file: {marks:,} brackets and colons and {quotes:,} quotes in the header, "
            f"expected {MOST_MARKS:,} at most (some 3,000 layers): no network of this package"
        )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ModelFileError("model file: a name stands twice in the header")
    return result


def _refuse_constant(name: str) -> None:
    raise ModelFileError(f"model file: {name} in the header")


def _json(text: str | bytes) -> dict[str, Any]:
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except ModelFileError:
        raise
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"model file: the header is not JSON ({short(error)})") from None
    if not isinstance(value, dict):
        raise ModelFileError("model file: the header is not a JSON object")
    return value


def _tensors(entries: dict[str, Any], payload: memoryview) -> dict[str, Array]:
    """Every tensor, read-only; offsets must cover the payload without hole or overlap."""
    tensors, at = {}, 0
    for name, entry in entries.items():
        try:
            tensors[name], at = _tensor(entry, payload, at)
        except WRONG as error:
            text = f"{short(name)!r}: {short(error)}"
            raise ModelFileError(f"model file: tensor {text}") from None
    if at != len(payload):
        raise ModelFileError(f"model file: {len(payload) - at} bytes after the last tensor")
    return tensors


def _tensor(entry: Any, payload: memoryview, at: int) -> tuple[Array, int]:
    kind, shape, (start, stop) = entry["dtype"], entry["shape"], entry["data_offsets"]
    dtype = DTYPES[kind]
    if type(shape) is not list or type(start) is not int or type(stop) is not int:
        raise ValueError(f"shape {short(shape)}, data_offsets {short([start, stop])}")
    count = 1
    for n in shape:
        if type(n) is not int or not 0 < n < 2**31:
            raise ValueError(f"shape {short(shape)}")
        count *= n
        if count > len(payload):
            break
    if start != at or stop != at + count * dtype.itemsize or stop > len(payload):
        raise ValueError(f"data_offsets {short([start, stop])}")
    return np.frombuffer(payload[start:stop], dtype).reshape(shape), stop
