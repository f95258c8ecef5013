"""A part of tests/campaigns/allocations.py, and what the whole of it has found."""

import importlib.util
import platform
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from cbackprop import Network, _engine, _short

ROOT = Path(__file__).parents[1]
GLIBC = platform.libc_ver()[0] == "glibc"


@pytest.mark.ordinary("AddressSanitizer has a malloc of its own, and must come first")
@pytest.mark.skipif(not (GLIBC and shutil.which("gcc")), reason="glibc and gcc")
@pytest.mark.skipif(importlib.util.find_spec("benchmarks") is None, reason="a checkout")
def test_allocations_that_fail():
    import subprocess

    command = [sys.executable, "-m", "tests.campaigns.allocations", "--every=15", "--passes=1"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "; 0 wrong" in run.stdout


class Fails:
    """The n-th call and later ones find no memory."""

    def __init__(self, function, n):
        self.function, self.left = function, n

    def __call__(self, *arguments):
        self.left -= 1
        if self.left < 0:
            raise MemoryError
        return self.function(*arguments)


def bits(net):
    return [x.tobytes() for x in net.weights + net.biases]


@pytest.mark.parametrize("change", ["weights", "biases", "reset"])
@pytest.mark.parametrize("layer", [0, 1])
def test_all_layers_change_or_none(change, layer, monkeypatch):
    net = Network([3, 4, 2], rng=0)
    net.weights = [2 * w for w in net.weights]
    halves = [x / 2 for x in (net.weights if change == "weights" else net.biases)]
    before = bits(net)
    monkeypatch.setattr(_engine, "packed", Fails(_engine.packed, layer))
    with pytest.raises(MemoryError):
        net.reset() if change == "reset" else setattr(net, change, halves)
    assert bits(net) == before
    monkeypatch.undo()
    net.reset() if change == "reset" else setattr(net, change, halves)
    assert (bits(net) != before) == (change != "biases")


def test_a_plan_that_finds_no_memory_is_done_without(monkeypatch):
    net = Network([3, 4, 2], rng=0)
    X, y = np.random.default_rng(0).random((8, 3)), np.arange(8) % 2
    monkeypatch.setattr(_short, "keep", Fails(_short.keep, 0))
    assert len(net.train(X, y)) == 1
    assert net.steps == 1
