"""Builds the C core (a static library for each instruction set, with its own flags) and the
Cython modules over it. Everything else is in pyproject.toml.

Environment: CBACKPROP_DEBUG=1 (-O0 -g, assertions, bounds checks in the Cython modules),
CBACKPROP_SANITIZE=address,undefined (or thread), CBACKPROP_COVERAGE=1 (gcov's counters),
CBACKPROP_ANNOTATE=1 (Cython's HTML).
"""

import datetime
import json
import os
import platform
import sys
import sysconfig
import uuid
from pathlib import Path

import Cython
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel

debug = os.environ.get("CBACKPROP_DEBUG") == "1"
sanitize = os.environ.get("CBACKPROP_SANITIZE", "")
coverage = os.environ.get("CBACKPROP_COVERAGE") == "1"
free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
windows = sys.platform == "win32"

# Contraction is ours to decide and sqrt needs no errno: the same bits in every build.
flags = ["-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
flags += ["-fvisibility=hidden", "-fstack-protector-strong", "-Wall", "-Wextra", "-Wno-psabi"]
link = []
if windows:  # clang-cl takes both spellings
    flags = ["/O2", "/clang:-std=c11", "/clang:-ffp-contract=off", "/clang:-fno-math-errno"]
elif sys.platform == "linux":
    if not debug:  # it needs optimisation
        flags += ["-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]
    link += ["-Wl,-z,relro,-z,now,-z,noexecstack"]
if not debug and not sanitize and not windows:
    flags += ["-g0"]
if debug:  # Python's own flags switch assertions off
    flags += ["-O0", "-g", "-UNDEBUG"]
if sanitize:
    flags += ["-g", "-fno-omit-frame-pointer", f"-fsanitize={sanitize}"]
    link += [f"-fsanitize={sanitize}"]
if coverage:  # what threads do counts too; no branch may become a select before it is counted
    flags += ["-O1", "-fno-ssa-phiopt", "--coverage", "-fprofile-update=atomic"]
    link += ["--coverage"]

# The machine it is built for, which need not be this one: a cross build sets
# _PYTHON_HOST_PLATFORM, which get_platform repeats ("linux-aarch64"), macOS ARCHFLAGS.
machine = sysconfig.get_platform().rpartition("-")[2].lower()
if machine.startswith("universal"):
    machine = platform.machine().lower()
if "arm64" in os.environ.get("ARCHFLAGS", ""):
    machine = "arm64"
widths = {"portable": []}
if machine in ("x86_64", "amd64"):
    # A CPU without prefetchw, as Haswell, does nothing there.
    widths["avx2"] = ["-mavx2", "-mfma", "-mprfchw"]
    widths["avx512"] = ["-mfma", "-mprfchw", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"]
    widths["avx512"] += ["-mprefer-vector-width=512"]
elif machine in ("aarch64", "arm64"):
    # GCC would first order the loads of a tile for speed and then run out of registers: with it
    # 12 rows of two vectors kept five sums on the stack. Clang does not know the switch.
    widths["neon"] = ["-fno-schedule-insns", "-Wno-ignored-optimization-argument"]


def library(name, sources, extra=()):
    headers = [f"src/{file}" for file in sorted(os.listdir("src")) if file.endswith(".h")]
    build = {"sources": sources, "cflags": [*flags, *extra], "include_dirs": ["src"]}
    build["obj_deps"] = {"": headers}
    return (f"cbackprop_{name}", build)


# Counted, they are compiled as tests/core is.
plain = ["-O0"] if coverage else []
core = library("core", ["src/dispatch.c", "src/pool.c", "src/rng.c"], plain)
kernels = [
    library(width, [f"src/kernels_{width}_f{bits}.c" for bits in (32, 64)], extra)
    for width, extra in widths.items()
]

if "avx512" in widths:
    source = ["src/kernels_avx512bf16_f32.c"]
    kernels.append(library("avx512bf16", source, [*widths["avx512"], "-mavx512bf16"]))

macros = [] if free_threaded else [("Py_LIMITED_API", "0x030B0000")]
modules = ["_forward", "_output_error", "_error_propagation", "_gradients", "_engine", "_gate"]
modules += ["_derivatives", "_updates", "_job", "_norms", "_partitions", "_training", "_short"]
modules += ["_own", "_bf16", "_ranks", "_signals"]
extensions = [
    Extension(
        f"cbackprop.{module}",
        [f"cbackprop/{module}.pyx"],
        include_dirs=["src"],
        depends=[f"src/{file}" for file in sorted(os.listdir("src"))],
        define_macros=macros,
        py_limited_api=not free_threaded,
        extra_compile_args=[*flags, "-Wno-unused-parameter", *plain],
        extra_link_args=link,
    )
    for module in modules
]


def bill_of_materials(name, version):
    """What is inside a wheel and comes from elsewhere, in CycloneDX 1.6: PEP 770."""

    def component(kind, name, version, licence, **more):
        return {"type": kind, "name": name, "version": version, **more} | {
            "licenses": [{"license": {"id": licence}}]
        }

    wheel, cython = f"pkg:pypi/{name}@{version}", f"pkg:pypi/cython@{Cython.__version__}"
    this = component("library", name, version, "BSD-3-Clause", purl=wheel)
    parts = [
        component(
            "library", "Cython", Cython.__version__, "Apache-2.0", purl=cython,
            description="its utility code, in the C that it writes for the compiled modules",
        ),
        component(
            "data", "Optical Recognition of Handwritten Digits", "1998", "CC-BY-4.0",
            description="cbackprop/data/optdigits.npz",
            externalReferences=[{"type": "website", "url": "https://doi.org/10.24432/C50P49"}],
        ),
    ]  # fmt: skip
    for part in (this, *parts):
        part["bom-ref"] = part.get("purl", part["name"])
    about = {"component": this}
    if "SOURCE_DATE_EPOCH" in os.environ:  # otherwise no time: two builds are the same
        when = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.UTC)
        about["timestamp"] = when.isoformat()
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, f"{wheel} {cython}").urn,
        "version": 1,
        "metadata": about,
        "components": parts,
        "dependencies": [{"ref": wheel, "dependsOn": [part["bom-ref"] for part in parts]}],
    }


class BdistWheel(bdist_wheel):
    """A wheel with its bill of materials."""

    def write_wheelfile(self, wheelfile_base, *more, **named):
        super().write_wheelfile(wheelfile_base, *more, **named)
        about = self.distribution.metadata
        folder = Path(wheelfile_base, "sboms")
        folder.mkdir(exist_ok=True)
        text = json.dumps(bill_of_materials(about.get_name(), about.get_version()), indent=1)
        (folder / "cbackprop.cdx.json").write_text(text + "\n", encoding="utf-8", newline="\n")
        if Path(wheelfile_base).parent == Path(self.bdist_dir):
            # The archive has the files' modes: the same whatever umask they were made with.
            for file in Path(self.bdist_dir).rglob("*"):
                if file.is_file():
                    file.chmod(0o755 if file.suffix in (".so", ".dylib") else 0o644)


commands = {"bdist_wheel": BdistWheel}
if windows:
    # setuptools calls cl, which has no vector extensions: put clang-cl (or CC) in its place.
    from setuptools.command.build_clib import build_clib
    from setuptools.command.build_ext import build_ext

    def use_clang(compiler):
        compiler.initialize()
        compiler.cc = os.environ.get("CC", "clang-cl")

    class BuildClib(build_clib):
        def build_libraries(self, libraries):
            use_clang(self.compiler)
            super().build_libraries(libraries)

    class BuildExt(build_ext):
        def build_extensions(self):
            use_clang(self.compiler)
            super().build_extensions()

    commands |= {"build_clib": BuildClib, "build_ext": BuildExt}

setup(
    cmdclass=commands,
    ext_modules=cythonize(
        extensions,
        compiler_directives={"boundscheck": debug},
        annotate=os.environ.get("CBACKPROP_ANNOTATE") == "1",
    ),
    libraries=[core, *kernels],
    options={} if free_threaded else {"bdist_wheel": {"py_limited_api": "cp311"}},
)
