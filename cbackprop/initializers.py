"""Initial weights. w^l is (n_l, n_{l-1}), b^l is (n_l,); n_in = n_{l-1}, n_out = n_l.

Samples come from the counter-based generator of the core: the same bits on every machine,
each layer from a stream of its own.
"""

# Annotations stay text: numpy.random is a third of the import time and often unused.
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbackprop import _engine

Array = NDArray[Any]
Initializer = Callable[[int, int, "np.random.Generator"], tuple[Array, Array]]

# name: (distribution of w, its scale from (n_in, n_out), scale of the normal b)
INITIALIZERS: dict[str, tuple[str, Callable[[int, int], float], float]] = {
    "scaled": ("normal", lambda n_in, n_out: 1 / math.sqrt(n_in), 0.0),
    "book": ("normal", lambda n_in, n_out: 1.0, 1.0),  # chapter 1
    "book_scaled": ("normal", lambda n_in, n_out: 1 / math.sqrt(n_in), 1.0),  # chapter 3
    # Glorot and Bengio 2010, equation (16)
    "glorot": ("uniform", lambda n_in, n_out: math.sqrt(6 / (n_in + n_out)), 0.0),
    "he": ("normal", lambda n_in, n_out: math.sqrt(2 / n_in), 0.0),  # He et al. 2015
    "lecun": ("normal", lambda n_in, n_out: 1 / math.sqrt(n_in), 0.0),  # LeCun et al. 1998
    # Saxe et al. 2014: orthonormal rows, or columns where n_out > n_in
    "orthogonal": ("normal", lambda n_in, n_out: 1.0, 0.0),
    "zeros": ("normal", lambda n_in, n_out: 0.0, 0.0),
}


def initial(
    init: str | Initializer, key: int, layer: int, n_in: int, n_out: int
) -> tuple[Array, Array]:
    """w (n_out, n_in) and b (n_out,), float64, of layer ``layer`` (counted from 1).

    Raises
    ------
    ValueError, TypeError
        No such name, or a callable's arrays are not a pair, have wrong shapes or are not finite.
    """
    if callable(init):
        generator = np.random.Generator(np.random.Philox(key=key, counter=layer << 64))
        pair = init(n_in, n_out, generator)
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(f"init returned {type(pair).__name__}, expected a pair (w, b)")
        w, b = (np.asarray(part, np.float64) for part in pair)
        if w.shape != (n_out, n_in) or b.shape != (n_out,):
            raise ValueError(
                f"init returned shapes {w.shape} and {b.shape} for layer {layer}, "
                f"expected {(n_out, n_in)} and {(n_out,)}"
            )
        if not (np.isfinite(w).all() and np.isfinite(b).all()):
            raise ValueError(f"init returned values that are not finite for layer {layer}")
        return w, b
    distribution, scale, bias_scale = INITIALIZERS[init]
    if init == "zeros":
        return np.zeros((n_out, n_in)), np.zeros(n_out)
    count = n_in * n_out
    if distribution == "uniform":
        samples = 2 * _engine.random_uniform(key, layer, count) - 1
    else:
        samples = _engine.random_normal(key, layer, count + n_out)
    w = scale(n_in, n_out) * samples[:count].reshape(n_out, n_in)
    if init == "orthogonal":
        w = _orthonormal(w) if n_out <= n_in else np.ascontiguousarray(_orthonormal(w.T).T)
    b = bias_scale * samples[count:] if bias_scale else np.zeros(n_out)
    return w, b


def _orthonormal(rows: Array) -> Array:
    """Gram and Schmidt's rows, each cleared twice of those before it. Sums go in index order, so
    the bits are the same on every machine, which LAPACK's QR does not promise."""
    result = np.array(rows, order="C")
    columns = np.ascontiguousarray(result.T)
    for k in range(len(result)):
        for _ in range(2 if k else 0):
            shares = (columns[:, :k] * result[k][:, None]).sum(axis=0)
            result[k] -= (result[:k] * shares[:, None]).sum(axis=0)
        result[k] /= math.sqrt(math.fsum(result[k] * result[k]))
        columns[:, k] = result[k]
    return result


def check(init: Any) -> str | Initializer:
    """The name or callable itself; ValueError names the choices."""
    if callable(init) or (isinstance(init, str) and init in INITIALIZERS):
        result: str | Initializer = init
        return result
    raise ValueError(
        f"init = {init!r}, expected one of: {', '.join(INITIALIZERS)}; or a callable "
        "(n_in, n_out, generator) -> (w, b)"
    )
