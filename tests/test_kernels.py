"""exp, log, tanh, sigmoid of the tables in use; tests/campaigns/ulp.c is the exhaustive run."""

import numpy as np
import pytest

from cbackprop import _engine

TRUTH = {
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "log1p": np.log1p,
}


def arguments(name, dtype):
    x = np.linspace(-85, 85, 200_001)
    if name == "log":
        x = np.exp(x)
    if name == "log1p":
        x = np.linspace(0, 1, 100_001)
    return x.astype(dtype)


@pytest.mark.parametrize("name", TRUTH)
def test_float32_within_two_ulp(name, table):
    x = arguments(name, np.float32)
    truth = TRUTH[name](x.astype(np.float64))
    error = np.abs(_engine.vector_function(name, x) - truth) / np.spacing(
        np.abs(truth).astype(np.float32)
    )
    assert error.max() <= 2


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
