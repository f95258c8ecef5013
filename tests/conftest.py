"""What the tests share: every kernel table of this CPU, both dtypes, hashes of networks."""

import hashlib
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from cbackprop import _engine

# For tests.campaigns and benchmarks; last, so that the package is the installed one.
sys.path.append(str(Path(__file__).parent.parent))

TABLES = _engine.kernel_names()


def pytest_configure():
    """A shell's background ignores Ctrl-C, and so would the tests of it and what they start."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """A build for finding faults is not asked what only the ordinary one can answer."""
    if os.environ.get("CBACKPROP_SANITIZE") or os.environ.get("CBACKPROP_DEBUG"):
        for item in items:
            if mark := item.get_closest_marker("ordinary"):
                item.add_marker(pytest.mark.skip(reason=mark.args[0]))


@pytest.fixture(params=TABLES)
def table(request):
    """Each kernel table in turn; the widest again afterwards."""
    before = _engine.kernels_in_use()
    assert _engine.choose_kernels(request.param) == 0
    assert _engine.kernels_in_use() == request.param
    yield request.param
    _engine.choose_kernels(before)


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture
def digest():
    """SHA-256 of a network's weights and biases."""

    def of(net):
        parts = [np.ascontiguousarray(x).tobytes() for x in net.weights + net.biases]
        return hashlib.sha256(b"".join(parts)).hexdigest()

    return of
