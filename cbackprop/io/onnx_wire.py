"""How many fields an ONNX file holds, counted in its bytes before a parser makes them objects.

A message of two bytes becomes an object of a hundred and more, so that a small file could take all
memory. Which fields are messages the parser's own description tells.
"""

from __future__ import annotations

from typing import Any

from cbackprop.exceptions import ModelFileError

MOST = 50_000
_LONGEST = 10  # bytes of a number


def few_fields(data: bytes, descriptor: Any) -> None:
    """Refuse a file of more than MOST fields; what is no protobuf is left to the parser."""
    kinds: dict[str, dict[int, Any]] = {}
    count, parts = 0, [(descriptor, 0, len(data))]
    while parts:
        kind, at, end = parts.pop()
        inside = kinds.setdefault(
            kind.full_name, {field.number: field.message_type for field in kind.fields}
        )
        while 0 <= at < end:
            count += 1
            if count > MOST:
                raise ModelFileError(
                    f"more than {MOST:,} fields, some 3,000 layers, expected a graph of one "
                    "network; cut it out with onnx.utils.extract_model"
                )
            tag, at = _number(data, at, end)
            start, at = _passed(data, at, end, tag & 7)
            message = inside.get(tag >> 3)
            if message is not None and tag & 7 == 2 and start < at <= end:
                parts.append((message, start, at))


def _passed(data: bytes, at: int, end: int, wire: int) -> tuple[int, int]:
    """Where a field's content begins and ends; -1 where the rest cannot be read."""
    if wire == 0:
        return at, _number(data, at, end)[1]
    if wire == 2:
        length, at = _number(data, at, end)
        return at, at + length if at >= 0 else -1
    # Groups are no part of ONNX: what is inside one is counted as if it stood outside.
    return at, at + {1: 8, 5: 4, 3: 0, 4: 0}[wire] if wire < 6 else -1


def _number(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends; -1 where it does not."""
    value = 0
    if at < 0:
        return 0, -1
    for i, byte in enumerate(data[at : min(at + _LONGEST, end)]):
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value, at + i + 1
    return 0, -1
