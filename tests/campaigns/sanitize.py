"""The suite under AddressSanitizer and UndefinedBehaviorSanitizer (or another one):

    python -m tests.campaigns.sanitize [--sanitize address,undefined] [pytest arguments]

Run from a clone. Makes a virtual environment of its own in build/sanitize, builds the package
there with CBACKPROP_SANITIZE and runs the tests with the sanitizer's runtime preloaded. Leaks
are not looked for: the interpreter keeps memory until it ends.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNTIMES = {"address": "libasan.so", "undefined": "libubsan.so", "thread": "libtsan.so"}


# The compiled code is another one: its instructions and stack accesses say nothing.
MEASURED = ("test_disassembly", "test_instructions")


def build(sanitizers: str) -> tuple[Path, dict[str, str]]:
    """A folder of programs whose Python has the package so built, and the environment for it."""
    folder = ROOT / "build" / "sanitize"
    python = folder / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    environment = {**os.environ, "CBACKPROP_SANITIZE": sanitizers}
    # A copy, so that no object of another build is taken for one of this.
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns("build", ".venv", ".git", "*.so"))
    subprocess.run(
        [python, "-m", "pip", "install", "-q", f"{source}[test]"], env=environment, check=True
    )
    runtimes = [
        subprocess.run(
            [os.environ.get("CC", "gcc"), f"-print-file-name={RUNTIMES[name]}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for name in sanitizers.split(",")
    ]
    environment |= {
        "LD_PRELOAD": " ".join(runtimes),
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    }
    return folder / "bin", environment


def run_module(name: str, words: list[str], sanitizers: str = "address,undefined") -> int:
    """Run a campaign on the package so built; its exit status."""
    programs, environment = build(sanitizers)
    command = [programs / "python", "-m", name, *words]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sanitize", default="address,undefined")
    options, rest = parser.parse_known_args()
    programs, environment = build(options.sanitize)
    tests = rest or ["tests", *(f"--ignore=tests/{name}.py" for name in MEASURED)]
    run = subprocess.run(
        [programs / "pytest", "-q", *tests], cwd=ROOT, env=environment, check=False
    )
    return run.returncode


if __name__ == "__main__":
    sys.exit(main())
