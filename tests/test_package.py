"""The package as installed: its docstrings' examples, its weight, its import."""

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cbackprop

FOLDER = Path(cbackprop.__file__).parent
README = Path(__file__).parent.parent / "README.md"
MODULES = ["cbackprop"] + [
    module.name
    for module in pkgutil.walk_packages(cbackprop.__path__, "cbackprop.")
    if not module.name.endswith("__main__")
]
WITH_EXAMPLES = {
    "cbackprop", "cbackprop._certify", "cbackprop._exchange", "cbackprop._report",
    "cbackprop.activations", "cbackprop.book.network2", "cbackprop.callbacks", "cbackprop.costs",
    "cbackprop.datasets", "cbackprop.distributed", "cbackprop.history", "cbackprop.network",
    "cbackprop.optimizers", "cbackprop.plotting", "cbackprop.reference", "cbackprop.schedules",
    "cbackprop.sklearn",
}  # fmt: skip


# What the examples of a module, or the module itself, cannot do without.
EXTRAS = {
    "cbackprop._mlp": "sklearn", "cbackprop.sklearn": "sklearn",
    "cbackprop._report": "matplotlib", "cbackprop.history": "matplotlib",
    "cbackprop.plotting": "matplotlib", "cbackprop.callbacks": "tensorboardX",
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name, tmp_path, monkeypatch):
    extra = pytest.importorskip(EXTRAS.get(name, "numpy"))
    if extra.__name__ == "matplotlib":
        extra.use("Agg")
    monkeypatch.chdir(tmp_path)  # some write files
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0
    assert result.attempted > 0 or name not in WITH_EXAMPLES


@pytest.mark.skipif(not README.is_file(), reason="the README is not here")
def test_examples_in_the_readme(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) == 2
    names = {}
    exec("".join(blocks), names)
    assert names["net"].evaluate(names["data"].X_test, names["data"].y_test)["accuracy"] > 0.95
    assert "passed" in capsys.readouterr().out


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


def test_what_is_rarely_wanted_is_imported_when_wanted():
    code = (
        "import sys, numpy; before = set(sys.modules); import cbackprop\n"
        "print(*(set(sys.modules) - before))\n"
        "assert {'certify', 'report', 'reference', 'schedules'} <= set(dir(cbackprop))\n"
        "cbackprop.reference.forward, cbackprop.schedules.Cosine, cbackprop.Certificate\n"
        "assert not hasattr(cbackprop, 'nothing')"
    )
    run = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    later = {"pathlib", "cbackprop._certify", "cbackprop.reference", "cbackprop.schedules"}
    later |= {"concurrent.futures", "cbackprop._chunks", "cbackprop._opening"}
    assert later & set(run.stdout.split()) == set()


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


def test_without_an_extras_library_the_error_names_the_extra():
    code = """
import sys
from cbackprop import Network
libraries = {"onnx": "onnx", "safetensors": "safetensors", "scipy": "lbfgs"}
for library in libraries:
    sys.modules[library] = None
net = Network([1, 1], rng=0)
calls = {
    "onnx": lambda: net.export_onnx("net.onnx"),
    "safetensors": lambda: Network.from_torch("net.safetensors"),
    "scipy": lambda: net.train([[0.0], [1.0]], [0, 1], optimizer="lbfgs"),
}
for library, call in calls.items():
    try:
        call()
    except ImportError as error:
        assert f'pip install "cbackprop[{libraries[library]}]"' in str(error), error
    else:
        raise AssertionError(library)
"""
    run = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
