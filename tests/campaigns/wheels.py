"""A wheel by each compiler from the source distribution, on every CPython at hand:

    python -m tests.campaigns.wheels [PYTHON ...] [--compiler gcc --compiler clang]

For each compiler (gcc and clang, where they are): the source distribution, unpacked, becomes a
wheel; abi3audit, where it is installed, looks whether it keeps to the limited API. In a new virtual
environment of each PYTHON (this one, where none is named) it is installed with NumPy, pytest and
nothing else, and the unpacked tests run on it that say whether it was made as it should be: no
warning of -Wall -Wextra -Wconversion, hardened, no instruction of AVX outside its tables, nothing
but NumPy imported, and trainings with the golden hashes, so that compilers and interpreters agree
in bits. Needs `build`, setuptools and Cython.
"""

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.campaigns.reproducible import ROOT, built

TESTS = ["build", "disassembly", "package", "same_bits"]


def audited(wheel: Path) -> str:
    """What abi3audit says of it."""
    if importlib.util.find_spec("abi3audit") is None:
        return "no abi3audit here"
    command = [sys.executable, "-m", "abi3audit", "--strict", "--summary", wheel]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    words = re.sub(r"\x1b\[[0-9;]*m", "", run.stderr + run.stdout).strip()
    return f"abi3audit: {'clean' if run.returncode == 0 else words}"


def tried(wheel: Path, python: str, source: Path, folder: Path) -> bool:
    """Whether the tests of `source` pass on the wheel under `python`."""
    subprocess.run([python, "-m", "venv", folder], check=True)
    own = folder / "bin" / "python"
    subprocess.run([own, "-m", "pip", "install", "-q", wheel, "pytest"], check=True)
    files = [source / "tests" / f"test_{name}.py" for name in TESTS]
    command = [own, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    run = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    lines = run.stdout.strip().splitlines()
    if run.returncode != 0:
        print(*lines[:-1], sep="\n")
    version = subprocess.run([own, "--version"], capture_output=True, text=True, check=True).stdout
    print(f"  {version.strip()}: {lines[-1]}", flush=True)
    return run.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pythons", nargs="*", metavar="PYTHON", default=[sys.executable])
    parser.add_argument("--compiler", action="append", dest="compilers")
    options = parser.parse_args()
    compilers = options.compilers or [name for name in ("gcc", "clang") if shutil.which(name)]
    good = bool(compilers)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "sdist").mkdir()
        packed = built("sdist", ROOT, folder / "sdist")
        for compiler in compilers:
            place = folder / compiler
            (place / "out").mkdir(parents=True)
            with tarfile.open(packed) as file:
                file.extractall(place / "source", filter="data")
            (source,) = (place / "source").iterdir()
            wheel = built("wheel", source, place / "out", CC=compiler)
            shutil.rmtree(source / "build", ignore_errors=True)
            said = audited(wheel)
            good &= said.endswith(("clean", "here"))
            version = subprocess.run([compiler, "--version"], capture_output=True, text=True,
                                     check=True).stdout.splitlines()[0]  # fmt: skip
            size = os.path.getsize(wheel) / 1e6
            print(f"{version}: {wheel.name}, {size:.2f} MB, {said}", flush=True)
            for n, python in enumerate(options.pythons):
                good &= tried(wheel, python, source, place / f"python{n}")
    print("all as it should be" if good else "NOT as it should be")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
