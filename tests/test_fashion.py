"""Fashion-MNIST in the book's manner, and with what came after the book: pytest -m slow."""

import importlib.util
from pathlib import Path

import pytest

from cbackprop.datasets import load_fashion_mnist

PROGRAM = Path(__file__).parent.parent / "benchmarks" / "fashion.py"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fashion():
    if not PROGRAM.is_file():
        pytest.skip("the benchmarks are not here")
    spec = importlib.util.spec_from_file_location("fashion", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        return module, load_fashion_mnist()
    except OSError as error:
        pytest.skip(f"Fashion-MNIST is not on this machine: {error}")


def test_cross_entropy_and_l2_as_in_chapter_3(fashion):
    module, data = fashion
    accuracy, _ = module.book(data, 100, "cross_entropy", 0.5, 5.0)
    assert accuracy > 0.855


def test_relu_adam_and_dropout(fashion):
    module, data = fashion
    accuracy, _ = module.relu_with_dropout(data)
    assert accuracy > 0.885
