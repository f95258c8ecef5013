"""The pages of the documentation: their examples run, and nothing public is left out."""

import doctest
import importlib
import importlib.util
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="the pages are not here")

# What a page needs beside NumPy is what it imports; of these the tests may do without.
EXTRAS = ("dask", "distributed", "jax", "joblib", "keras", "matplotlib", "mpi4py", "numba", "onnx",
          "onnxruntime", "pandas", "polars", "pyarrow", "safetensors", "scipy", "sklearn",
          "tensorboardX", "torch", "tqdm")  # fmt: skip
BEHIND = {"cbackprop.sklearn": "sklearn", "cbackprop.plotting": "matplotlib"}

# A residual that is rounding has other digits on other machines: every 0 and 1e-12 or less is
# "rounding", so that 3e-12 instead of 3e-17 is a failure, but 2e-16 is not.
ROUNDING = re.compile(r"\b(?:\d\.\d+e-(?:1[3-9]|[2-9]\d)|0\.0e\+00)\b")


class Rounding(doctest.OutputChecker):
    """Compares output, residuals of rounding aside."""

    def check_output(self, want, got, optionflags):
        want, got = (ROUNDING.sub("(rounding)", text) for text in (want, got))
        return super().check_output(want, got, optionflags)


def pages(text):
    return re.findall(r"^```pycon\n(.*?)^```", text, re.M | re.S)


PAGES = sorted(
    str(path.relative_to(DOCS))
    for path in DOCS.rglob("*.md")
    if not {"_build", "gallery"} & set(path.relative_to(DOCS).parts)
    and pages(path.read_text(encoding="utf-8"))
)


def needed(text):
    """The extras that a page's code imports."""
    modules = set(re.findall(r"^(?:>>>|\.\.\.) *(?:from|import) ([\w.]+)", text, re.M))
    modules |= {f"cbackprop.{m}" for m in re.findall(r"from cbackprop import .*\b(\w+)", text)}
    names = {m.partition(".")[0] for m in modules} | {BEHIND.get(m) for m in modules}
    return names & set(EXTRAS)


@pytest.mark.parametrize("page", PAGES)
def test_examples_on_pages(page, tmp_path, monkeypatch):
    text = (DOCS / page).read_text(encoding="utf-8")
    for name in sorted(needed(text)):
        pytest.importorskip(name)
    if importlib.util.find_spec("matplotlib"):
        monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.chdir(tmp_path)  # some write files
    # An empty line ends what the last example of a block prints.
    code = "\n".join(pages(text))
    test = doctest.DocTestParser().get_doctest(code, {}, page, page, 0)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    report = []
    runner = doctest.DocTestRunner(checker=Rounding(), optionflags=flags)
    runner.run(test, out=report.append)
    assert test.examples
    assert runner.failures == 0, "".join(report)


def test_the_four_equations_are_checked():
    assert "four_equations.md" in PAGES


def test_residuals_are_rounding_up_to_1e_12():
    checker = Rounding()
    assert checker.check_output("layer 1 2.1e-16\n", "layer 1 0.0e+00\n", 0)
    assert not checker.check_output("layer 1 2.1e-16\n", "layer 1 3.1e-12\n", 0)
    assert not checker.check_output("layer 1 2.1e-16\n", "layer 2 2.1e-16\n", 0)


def documented():
    """Full names in the directives of docs/api/."""
    names = set()
    for path in (DOCS / "api").glob("*.md"):
        module = ""
        for line in path.read_text(encoding="utf-8").splitlines():
            found = re.match(r"\.\. (\w+):: ([\w.]+)", line)
            if found and found[1] == "currentmodule":
                module = found[2]
            elif found and found[1].startswith("auto"):
                names.add(f"{module}.{found[2]}")
    return names


@pytest.mark.parametrize(
    "module",
    ["cbackprop", "cbackprop.datasets", "cbackprop.plotting", "cbackprop.sklearn",
     "cbackprop.book.mnist_loader", "cbackprop.book.network2"],
)  # fmt: skip
def test_every_public_name_has_its_page(module):
    if module in BEHIND:
        pytest.importorskip(BEHIND[module])
    public = importlib.import_module(module).__all__
    assert {f"{module}.{name}" for name in public} <= documented()


@pytest.mark.parametrize("module", ["optimizers", "schedules", "callbacks", "activations", "costs"])
def test_every_public_class_has_its_page(module):
    names = vars(importlib.import_module(f"cbackprop.{module}"))
    public = {
        f"cbackprop.{module}.{name}"
        for name, value in names.items()
        if isinstance(value, type)
        and not name.startswith("_")
        and value.__module__.endswith(module)
    }
    assert public <= documented()


def test_what_is_documented_is_there():
    for name in sorted(documented()):
        module, _, attribute = name.rpartition(".")
        if module in BEHIND:
            pytest.importorskip(BEHIND[module])
        assert hasattr(importlib.import_module(module), attribute), name
