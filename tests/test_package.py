"""The package as installed: its docstrings' examples, its weight, its import."""

import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import cbackprop

FOLDER = Path(cbackprop.__file__).parent
MODULES = ["__init__", "activations", "costs", "optimizers", "network", "_certify", "datasets"]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    module = importlib.import_module("cbackprop" if name == "__init__" else f"cbackprop.{name}")
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0
    assert result.attempted > 0


def test_the_installed_package_is_the_one_tested():
    assert list(FOLDER.glob("_engine*.so")) or list(FOLDER.glob("_engine*.pyd"))


def test_numpy_is_the_only_import():
    code = (
        "import sys, numpy; before = set(sys.modules); import cbackprop; "
        "print(*sorted({m.partition('.')[0] for m in set(sys.modules) - before}))"
    )
    run = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    foreign = (
        set(run.stdout.split())
        - set(sys.stdlib_module_names)
        - {"cbackprop", "numpy", "cython_runtime"}
    )
    assert {name for name in foreign if not name.startswith("_")} == set()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads Linux's list of libraries")
def test_no_openmp_is_loaded():
    code = "import cbackprop; print(open('/proc/self/maps').read())"
    maps = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    assert "libgomp" not in maps.stdout
    assert "libomp" not in maps.stdout


def test_import_leaves_numpy_random_alone():
    code = "import sys, cbackprop; print('numpy.random' in sys.modules)"
    command = [sys.executable, "-P", "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
