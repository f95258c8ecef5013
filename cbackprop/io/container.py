"""The outside of a model file: length, JSON header, tensors, and the digest over all of it.

    8 bytes   N, little-endian: length of the header
    N bytes   JSON in ASCII: {"__metadata__": {...}, name: {"dtype", "shape", "data_offsets"}, ...}
    rest      the tensors, packed, little-endian, row-major, float64 before float32

It knows nothing of networks: their description is one JSON text in ``__metadata__``. Reading takes
memory for what is there, never for what the file says of itself: JSON makes objects many times
longer than their text, so its length and its values are limited before it is read.
"""

import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbackprop.exceptions import ModelFileError

Array = NDArray[Any]

VERSION = 1
# Bytes of JSON, and its values and names, in a file without tensors. One of them costs Python up to
# 71 bytes (a name), and a text up to nine times its length, so that a file that is refused takes
# less than 16 MiB beside its bytes, or than its size where that is more.
MOST_HEADER = 3 * 2**19
MOST_VALUES = 3 * 2**16
# How many bytes of tensors make room for one more: labels and words belong to neurons with weights.
PER_BYTE, PER_VALUE = 16, 128
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
    if len(text) > MOST_HEADER + at // PER_BYTE:
        raise ModelFileError(
            f"model file: a header of {len(text):,} bytes, expected "
            f"{MOST_HEADER + at // PER_BYTE:,} at most"
        )
    _few_values(text, at)
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
    payload = max(len(data) - 8 - length, 0)
    if data[8:9] != b"{" or length > MOST_HEADER + payload // PER_BYTE:
        raise ModelFileError(f"model file: header of {length} bytes: not a cbackprop model file")
    if length > len(data) - 8:
        raise ModelFileError(
            f"model file: header of {length} bytes in a file of {len(data)}: it is truncated"
        )
    entries = _json(data[8 : 8 + length], payload)
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
    # First, so that whatever else stands in the header is gone when the description is read.
    tensors = _tensors(entries, data, 8 + length)
    entries.clear()
    return _json(network.encode("utf-8", "surrogatepass"), payload), tensors


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


def _few_values(text: bytes, payload: int) -> None:
    """Refuse JSON of countless values: each stands behind one of these marks, and text in two."""
    most = MOST_VALUES + payload // PER_VALUE
    if len(text) <= most:
        return
    found = sum(text.count(mark) for mark in (b",", b":", b"[", b"{")) + text.count(b'"') // 2
    if found > most:
        raise ModelFileError(
            f"model file: {found:,} values and names in the header, expected {most:,} at most "
            "(some 1,800 layers, or 60,000 labels): no network of this package"
        )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ModelFileError("model file: a name stands twice in the header")
    return result


def _refuse_constant(name: str) -> None:
    raise ModelFileError(f"model file: {name} in the header")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)


def _json(text: bytes, payload: int) -> dict[str, Any]:
    _few_values(text, payload)
    try:
        # One character outside would widen all of them to four bytes.
        value = _DECODER.decode(text.decode("ascii"))
    except ModelFileError:
        raise
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"model file: the header is not JSON ({short(error)})") from None
    if not isinstance(value, dict):
        raise ModelFileError("model file: the header is not a JSON object")
    return value


def _tensors(entries: dict[str, Any], data: bytes, first: int) -> dict[str, Array]:
    """Every tensor, read-only; offsets must cover the payload without hole or overlap."""
    tensors, at = {}, first
    for name, entry in entries.items():
        try:
            tensors[name], at = _tensor(entry, data, first, at)
        except WRONG as error:
            text = f"{short(name)!r}: {short(error)}"
            raise ModelFileError(f"model file: tensor {text}") from None
    if at != len(data):
        raise ModelFileError(f"model file: {len(data) - at} bytes after the last tensor")
    return tensors


def _tensor(entry: Any, data: bytes, first: int, at: int) -> tuple[Array, int]:
    kind, shape, (start, stop) = entry["dtype"], entry["shape"], entry["data_offsets"]
    dtype = DTYPES[kind]
    if type(shape) is not list or type(start) is not int or type(stop) is not int:
        raise ValueError(f"shape {short(shape)}, data_offsets {short([start, stop])}")
    count = 1
    for n in shape:
        if type(n) is not int or not 0 < n < 2**31:
            raise ValueError(f"shape {short(shape)}")
        count *= n
        if count > len(data):
            break
    end = at + count * dtype.itemsize
    if start != at - first or stop != end - first or end > len(data):
        raise ValueError(f"data_offsets {short([start, stop])}")
    return np.frombuffer(data, dtype, count, at).reshape(shape), end
