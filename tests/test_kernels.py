"""The vector functions of the tables in use; tests/campaigns/ulp.c is the exhaustive run of exp,
log, tanh and sigmoid."""

import math

import numpy as np
import pytest

from cbackprop import _engine


def normal(x):
    # erfc of a sum of two numbers: x / sqrt 2 alone would lose a part of the tail's digits.
    high = -x / math.sqrt(2)
    low = (-x.astype(np.longdouble) / np.sqrt(np.longdouble(2)) - high).astype(float)
    erfc = np.array([math.erfc(h) for h in high.tolist()])
    return (erfc - 2 / math.sqrt(math.pi) * np.exp(-high * high) * low) / 2


TRUTH = {
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "log1p": np.log1p,
    "expm1": np.expm1,
    "sin": np.sin,
    "cos": np.cos,
    "normal": normal,
}

# Largest error in ULP where it may exceed 2: src/specialmath.h.
BOUND = {"sin": 2.5, "cos": 2.5, "normal": 4}


def arguments(name, dtype):
    x = np.linspace(-85, 85, 200_001)
    if name == "log":
        x = np.exp(x)
    if name == "log1p":
        x = np.linspace(0, 1, 100_001)
    if name == "expm1":
        x = -np.geomspace(1e-30, 60, 100_001)
    if name in ("sin", "cos"):
        x = np.concatenate([x, np.linspace(-1e5, 1e5, 100_001), np.arange(300) * np.pi / 2])
    if name == "normal":
        x = np.linspace(-12.9, 12.9, 50_001)
    return x.astype(dtype)


@pytest.mark.parametrize("name", TRUTH)
def test_float32_error(name, table):
    x = arguments(name, np.float32)
    truth = TRUTH[name](x.astype(np.float64))
    error = np.abs(_engine.vector_function(name, x) - truth) / np.spacing(
        np.abs(truth).astype(np.float32)
    )
    assert error.max() <= BOUND.get(name, 2)


@pytest.mark.parametrize("name", TRUTH)
def test_float64_within_rounding_of_numpy(name, table):
    x = arguments(name, np.float64)
    truth = TRUTH[name](x)
    error = np.abs(_engine.vector_function(name, x) - truth) / np.spacing(np.abs(truth))
    assert error.max() <= 5  # NumPy's own error and the naive sigmoid's included


@pytest.mark.parametrize("name", TRUTH)
def test_every_table_gives_the_same_bits(name, dtype):
    x = arguments(name, dtype)
    bits = set()
    before = _engine.kernels_in_use()
    try:
        for table in _engine.kernel_names():
            _engine.choose_kernels(table)
            bits.add(_engine.vector_function(name, x).tobytes())
    finally:
        _engine.choose_kernels(before)
    assert len(bits) == 1


def test_limits(table, dtype):
    inf, nan = np.inf, np.nan
    x = np.array([-inf, inf, nan], dtype)
    assert _engine.vector_function("exp", x)[:2].tolist() == [0, inf]
    assert _engine.vector_function("tanh", x)[:2].tolist() == [-1, 1]
    assert _engine.vector_function("sigmoid", x)[:2].tolist() == [0, 1]
    for name in ("exp", "tanh", "sigmoid", "log"):
        assert np.isnan(_engine.vector_function(name, x)[2])


def test_random_normal_is_normal_and_fixed():
    x = _engine.random_normal(12345, 1, 200_000)
    assert abs(x.mean()) < 0.01
    assert abs(x.std() - 1) < 0.01
    assert abs((np.abs(x) < 1).mean() - 0.6827) < 0.005
    assert np.array_equal(x[:100], _engine.random_normal(12345, 1, 100))
    assert not np.array_equal(x[:100], _engine.random_normal(12345, 2, 100))
