"""Builds the C core (a static library for each instruction set, with its own flags) and the
Cython modules over it. Everything else is in pyproject.toml.

Environment: CBACKPROP_DEBUG=1 (-O0 -g, bounds checks in the Cython modules),
CBACKPROP_SANITIZE=address,undefined (or thread), CBACKPROP_ANNOTATE=1 (Cython's HTML).
"""

import os
import platform
import sys
import sysconfig

from Cython.Build import cythonize
from setuptools import Extension, setup

debug = os.environ.get("CBACKPROP_DEBUG") == "1"
sanitize = os.environ.get("CBACKPROP_SANITIZE", "")
free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
windows = sys.platform == "win32"

# Contraction is ours to decide and sqrt needs no errno: the same bits in every build.
flags = ["-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
flags += ["-fvisibility=hidden", "-fstack-protector-strong", "-Wall", "-Wextra", "-Wno-psabi"]
link = []
if windows:  # clang-cl takes both spellings
    flags = ["/O2", "/clang:-std=c11", "/clang:-ffp-contract=off", "/clang:-fno-math-errno"]
elif sys.platform == "linux":
    flags += ["-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]
    link += ["-Wl,-z,relro,-z,now,-z,noexecstack"]
if not debug and not sanitize and not windows:
    flags += ["-g0"]
if debug:
    flags += ["-O0", "-g"]
if sanitize:
    flags += ["-g", "-fno-omit-frame-pointer", f"-fsanitize={sanitize}"]
    link += [f"-fsanitize={sanitize}"]

# The machine it is built for, which need not be this one: a cross build sets
# _PYTHON_HOST_PLATFORM, which get_platform repeats ("linux-aarch64"), macOS ARCHFLAGS.
machine = sysconfig.get_platform().rpartition("-")[2].lower()
if machine.startswith("universal"):
    machine = platform.machine().lower()
if "arm64" in os.environ.get("ARCHFLAGS", ""):
    machine = "arm64"
widths = {"portable": []}
if machine in ("x86_64", "amd64"):
    widths["avx2"] = ["-mavx2", "-mfma"]
    widths["avx512"] = ["-mfma", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"]
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


core = library("core", ["src/dispatch.c", "src/pool.c", "src/rng.c"])
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
modules += ["_own", "_bf16", "_ranks"]
extensions = [
    Extension(
        f"cbackprop.{module}",
        [f"cbackprop/{module}.pyx"],
        include_dirs=["src"],
        define_macros=macros,
        py_limited_api=not free_threaded,
        extra_compile_args=[*flags, "-Wno-unused-parameter"],
        extra_link_args=link,
    )
    for module in modules
]

commands = {}
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

    commands = {"build_clib": BuildClib, "build_ext": BuildExt}

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
