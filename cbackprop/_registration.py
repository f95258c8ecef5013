"""Activations and costs of the user's: names, addresses, and the check of their derivatives."""

from __future__ import annotations

import ctypes
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Pair = tuple[Any, Any]

_FUNCTION = ctypes.CFUNCTYPE(None).__mro__[1]  # what every ctypes function is
_C: dict[int, Any] = {32: ctypes.POINTER(ctypes.c_float), 64: ctypes.POINTER(ctypes.c_double)}
_KEPT: list[Any] = []

# Of a central difference of step h: the largest relative error of a right derivative.
_STEPS = {np.dtype(np.float32): (1e-2, 3e-2), np.dtype(np.float64): (1e-6, 1e-5)}


def name_of(name: Any, rows: dict[str, Any]) -> str:
    """A name that is free, or one of the user's own to replace."""
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"name = {name!r}, expected an identifier such as 'swish'")
    if name in rows and rows[name].own is None:
        raise ValueError(f"name = {name!r} is built in; expected another name")
    return name


def interval(argument: str, value: Any) -> tuple[float, float]:
    """(low, high) with low below high; infinities are ends, too."""
    try:
        low, high = (float(end) for end in value)
    except (TypeError, ValueError):
        raise TypeError(f"{argument} = {value!r}, expected a pair of numbers (low, high)") from None
    if not low < high:
        raise ValueError(f"{argument} = {value!r}, expected (low, high) with low < high")
    return low, high


def function(argument: str, value: Any, *parameters: str) -> Any:
    """A callable that can be called with these, as far as it tells."""
    if not callable(value) or not _takes(value, parameters):
        raise TypeError(f"{argument} = {value!r}, expected a callable ({', '.join(parameters)})")
    return value


def _takes(f: Any, parameters: tuple[str, ...]) -> bool:
    try:
        signature = inspect.signature(f)
    except (TypeError, ValueError):  # compiled functions need not tell
        return True
    try:
        signature.bind(*parameters)
    except TypeError:
        return False
    return True


def addresses(float32: Pair | None, float64: Pair | None) -> dict[int, tuple[int, int]]:
    """Bits -> the two addresses, of integers, ctypes functions or objects with .address. What was
    given is kept: it must outlive every network that calls it."""
    found = {}
    for bits, pair in ((32, float32), (64, float64)):
        if pair is None:
            continue
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(f"float{bits} = {pair!r}, expected a pair of functions")
        found[bits] = (_address(f"float{bits}[0]", pair[0]), _address(f"float{bits}[1]", pair[1]))
    if not found:
        raise ValueError("float32 and float64 are both absent; expected at least one pair")
    _KEPT.append((float32, float64))
    return found


def _address(argument: str, value: Any) -> int:
    if isinstance(getattr(value, "address", None), int):  # Numba's cfunc
        value = value.address
    elif isinstance(value, _FUNCTION):
        value = ctypes.cast(value, ctypes.c_void_p).value  # type: ignore[arg-type]
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise TypeError(
            f"{argument} = {value!r}, expected an address, a ctypes function or a Numba cfunc"
        )
    return value


def at(name: str, found: dict[int, tuple[int, int]]) -> Callable[[int], tuple[int, int]]:
    """bits -> the pair, or what is missing."""

    def pair(bits: int) -> tuple[int, int]:
        if bits not in found:
            raise ValueError(f"{name!r} was registered without float{bits}; give float{bits}=")
        return found[bits]

    return pair


def by_rows(found: dict[int, tuple[int, int]], which: int, real_result: bool) -> Any:
    """The compiled function as a NumPy one: of arrays (m, n), float64 where there is one."""
    bits = 64 if 64 in found else 32
    dtype, pointer = np.dtype(f"f{bits // 8}"), _C[bits]

    def call(*arrays: Array) -> Array:
        if any(np.iscomplexobj(x) for x in arrays):
            raise TypeError("a compiled function takes real numbers")
        rows = [np.array(x, dtype, order="C") for x in arrays]
        m, n = rows[0].shape
        if not real_result and which == 0:
            rows.append(np.empty_like(rows[0]))
        kind = ctypes.CFUNCTYPE(
            ctypes.c_double if real_result else None, *[pointer] * len(rows), ctypes.c_ssize_t
        )
        f = kind(found[bits][which])
        values = [f(*[row[s].ctypes.data_as(pointer) for row in rows], n) for s in range(m)]
        result = np.array(values) if real_result else rows[-1]
        return result.astype(np.float64)

    return call


def takes_complex(f: Callable[[Array], Array], x: Array) -> bool:
    """Whether a complex step finds f's derivative, as differences do."""
    h, e = 1e-30, 1e-6
    try:
        found = np.imag(f(x + 1j * h)) / h
    except Exception:  # whatever the user's code makes of complex numbers
        return False
    truth = (np.asarray(f(x + e)) - f(x - e)) / (2 * e)
    return bool(np.allclose(found, truth, rtol=1e-4, atol=1e-6))


def shaped(what: str, values: Any, shape: tuple[int, ...]) -> Array:
    """An array of that shape, finite."""
    result = np.asarray(values)
    if result.shape != shape or result.dtype.kind not in "fiub":
        raise ValueError(
            f"the {what} is {result.dtype} of shape {result.shape}, expected real numbers {shape}"
        )
    if not np.isfinite(result).all():
        raise ValueError(f"the {what} is not finite everywhere on ordinary numbers")
    return result


def agree(what: str, given: Array, f: Callable[[Array], Array], x: Array, single: bool) -> None:
    """Refuse a slope of f along each column of x that central differences do not find."""
    step, tolerance = _STEPS[np.dtype(np.float32 if single else np.float64)]
    truth = np.empty_like(x)
    for j in range(x.shape[1]):
        move = np.zeros_like(x)
        move[:, j] = step
        truth[:, j] = (f(x + move) - f(x - move)) / (2 * step)
    wrong = np.abs(given - truth) > tolerance * (1 + np.abs(truth))
    if wrong.any():
        s, j = (int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(
            f"{what} at {x[s, j]:.6g} is {given[s, j]:.6g}, but differences of the function give "
            f"{truth[s, j]:.6g}"
        )
