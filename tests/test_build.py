"""How the core is compiled and linked: without warnings, without fast-math, hardened."""

import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import cbackprop

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "src").glob("*.c"))
MODULES = sorted(Path(cbackprop.__file__).parent.glob("*.so"))
AVX512 = ["-mfma", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"]
WIDTHS = {"avx512bf16": [*AVX512, "-mavx512bf16"], "avx512": AVX512, "avx2": ["-mavx2", "-mfma"]}
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
