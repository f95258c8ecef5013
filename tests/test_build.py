"""How the core is compiled and linked: without warnings, without fast-math, hardened."""

import json
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import cbackprop

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "src").glob("*.c"))
MODULES = sorted(Path(cbackprop.__file__).parent.glob("*.so"))
AVX512 = ["-mfma", "-mprfchw", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"]
AVX2 = ["-mavx2", "-mfma", "-mprfchw"]
WIDTHS = {"avx512bf16": [*AVX512, "-mavx512bf16"], "avx512": AVX512, "avx2": AVX2}
# What lets a compiler reorder, reassociate or assume away what IEEE 754 says.
FAST = [
    "-ffast-math", "-Ofast", "-funsafe-math-optimizations", "-fassociative-math",
    "-freciprocal-math", "-ffinite-math-only", "-fno-signed-zeros", "-march=native",
    "-mtune=native", "/fp:fast", "-fopenmp",
]  # fmt: skip


def flags_for(source):
    """The instruction set of a source, or None where this machine's compiler has none."""
    x86, name = platform.machine() == "x86_64", source.name
    if ("avx" in name and not x86) or ("neon" in name and x86):
        return None
    return next((flags for width, flags in WIDTHS.items() if width in name), [])


@pytest.mark.skipif(not SOURCES, reason="the C sources are not here")
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_core_compiles_without_a_warning(compiler):
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} here")
    compiled = 0
    for source in SOURCES:
        flags = flags_for(source)
        if flags is None:
            continue
        command = [compiler, "-std=c11", "-fsyntax-only", "-ffp-contract=off", "-I", ROOT / "src"]
        command += ["-Wall", "-Wextra", "-Wconversion", "-Werror", "-Wno-psabi", *flags, source]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        compiled += 1
    assert compiled >= 5


@pytest.mark.skipif(not SOURCES, reason="the sources are not here")
def test_no_fast_math_in_any_form():
    for name in ("setup.py", "pyproject.toml", ".github/workflows/wheels.yml"):
        if (ROOT / name).is_file():
            text = (ROOT / name).read_text(encoding="utf-8")
            assert [flag for flag in FAST if flag in text] == [], name
    for source in [*SOURCES, *(ROOT / "src").glob("*.h")]:
        text = source.read_text(encoding="utf-8")
        assert not re.search(r"fast-math|pragma\s+(GCC|clang)\s+(optimize|fp)", text), source


def test_import_leaves_subnormal_numbers_alone():
    # A library linked with -ffast-math switches them off for the whole process.
    code = "import cbackprop, numpy; print(float(numpy.float64(2.0**-1022) / 4 * 4 == 2.0**-1022))"
    command = [sys.executable, "-P", "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "1.0"


@pytest.mark.ordinary("a sanitizer's modules need its runtime")
@pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("readelf") is None, reason="reads ELF files by readelf"
)
def test_modules_are_hardened_and_need_only_the_c_library():
    def read(*arguments):
        command = ["readelf", "-W", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert len(MODULES) >= 15
    guarded = 0
    for module in MODULES:
        dynamic, segments = read("-d", module), read("-l", module)
        assert "BIND_NOW" in dynamic, module
        assert "TEXTREL" not in dynamic, module
        assert "GNU_RELRO" in segments, module
        stack = next(line for line in segments.splitlines() if "GNU_STACK" in line)
        assert " RW " in stack and "RWE" not in stack, module
        needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic))
        own = {
            name for name in needed if not re.match(r"(lib[cm]|libpthread|ld-linux.*)\.so", name)
        }
        assert not own - {"libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"}, (module, needed)
        guarded += "__stack_chk_fail" in read("--dyn-syms", module)
    assert guarded >= 10


RECIPE = ROOT / "recipe" / "recipe.yaml"


@pytest.mark.skipif(not RECIPE.is_file(), reason="the recipe is not here")
def test_the_conda_recipe_says_what_pyproject_says():
    with (ROOT / "pyproject.toml").open("rb") as file:
        about = tomllib.load(file)
    text = RECIPE.read_text(encoding="utf-8")
    assert re.search(r'^  version: "(.*)"$', text, re.M)[1] == about["project"]["version"]
    asked = about["project"]["dependencies"] + about["build-system"]["requires"]
    for requirement in asked:
        name, least = requirement.lower().split(">=")
        assert f"- {name} >={least}\n" in text
    assert about["project"]["scripts"]["cbackprop"] in text


@pytest.mark.skipif(not RECIPE.is_file(), reason="the recipe is not here")
@pytest.mark.parametrize("abi3", [True, False])
def test_the_conda_recipe_renders(abi3):
    rattler = pytest.importorskip("rattler_build")
    variants = {
        "is_abi3": [abi3], "is_python_min": [True], "python_min": ["3.11"],
        "python": ["3.11.* *_cpython"], "c_compiler": ["gcc"], "c_compiler_version": ["14"],
        "c_stdlib": ["sysroot"], "c_stdlib_version": ["2.28"],
    }  # fmt: skip
    variants = rattler.VariantConfig.from_yaml(json.dumps(variants))
    (rendered,) = rattler.Stage0Recipe.from_file(RECIPE).render(variants)
    recipe = rendered.recipe() if callable(rendered.recipe) else rendered.recipe
    found = recipe.to_dict()
    assert ("python-abi3" in found["requirements"]["host"]) == abi3
    assert found["build"]["python"].get("version_independent", False) == abi3
