"""The package on CPUs that are not here: cross-built for 64-bit ARM, and on old x86-64 ones.

    python -m tests.campaigns.other_cpus [--steps fetch,build,...] [pytest arguments]

Run from a clone on Debian 12, x86-64. The steps, all by default, in this order:

- ``fetch``: a Python for arm64, its headers and libraries, from Debian's packages, unpacked
  below build/other_cpus; nothing of the system's own is touched;
- ``build``: the wheel for this machine, and the one for arm64 by the cross compiler; each is
  installed in a folder of its own with NumPy and pytest from PyPI, for arm64 NumPy's wheel;
- ``tiles``: no tile of the ARM kernels may touch the stack in its loop over k;
- ``native``, ``arm64``, ``nehalem``, ``haswell``: the right kernel table is chosen, others are
  refused, and the trainings of ``trainings.py`` have the hashes of ``native``;
- ``underflow``: results around the least normal number, compared with this machine's, on ARM and
  with glibc's own fma (docs/decisions.md, "Where the same bits end": some differ);
- ``tests``: pytest in the arm64 Python, by default on ``tests/test_bits.py`` and
  ``tests/test_kernels.py``.

Needs the packages qemu-user-static, gcc-aarch64-linux-gnu and binutils, from apt-get install, and
setuptools and Cython in the Python that runs this. QEMU 7.2 has no AVX-512. Emulation on x86-64
keeps x86's strong order of memory, so it does not show what ARM's weaker order may do to threads.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))

from test_disassembly import loops_that_touch_the_stack

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "other_cpus"
ARM = FOLDER / "debian-arm64"
TRIPLE = "aarch64-linux-gnu"
PACKAGES = ("python3.11", "libpython3.11-dev", "libstdc++6")  # NumPy needs the last
NEEDED = ("numpy>=2", "pytest", "hypothesis")

# How to run Python there, where the package lies, the table that must be in use.
CPUS = {
    "native": ([sys.executable], "x86_64", None),
    "arm64": (
        [f"qemu-{TRIPLE.partition('-')[0]}-static", "-L", ARM, ARM / "usr/bin/python3.11"],
        "aarch64",
        "neon",
    ),
    "nehalem": (["qemu-x86_64-static", "-cpu", "Nehalem", sys.executable], "x86_64", "portable"),
    "haswell": (["qemu-x86_64-static", "-cpu", "Haswell", sys.executable], "x86_64", "avx2"),
}
STEPS = ("fetch", "build", "tiles", *CPUS, "underflow", "tests")


def run(*command, **options):
    command = [str(part) for part in command]
    print("+", shlex.join(command), flush=True)
    return subprocess.run(command, check=True, **options)


def fetch(architecture="arm64", folder=ARM, packages=PACKAGES):
    """Unpack Debian's packages for another machine, with what they depend on, into the folder."""
    state = FOLDER / f"apt-{architecture}"
    for part in ("lists/partial", "cache/archives/partial"):
        (state / part).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()  # nothing is installed there: every dependency is fetched
    settings = {
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Dir::State": state,
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
    }
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in settings.items())]
    run(*apt, "update")
    run(*apt, "install", "--yes", "--no-install-recommends", "--download-only", *packages)
    for package in sorted((state / "cache" / "archives").glob("*.deb")):
        subprocess.run(["dpkg", "-x", package, folder], check=True)


def site(machine):
    return FOLDER / f"site-{machine}"


def wrapper(cpu):
    """A program that runs Python as on that CPU: also what sys.executable names there."""
    return FOLDER / f"python-{cpu}"


def build():
    """Build a wheel for each machine from a copy of the sources; install it beside NumPy."""
    source = FOLDER / "source"
    cross = {
        "CC": f"{TRIPLE}-gcc --sysroot={ARM}",
        "AR": f"{TRIPLE}-ar",
        "LDSHARED": f"{TRIPLE}-gcc --sysroot={ARM} -shared",
        "LDFLAGS": "",
        "CFLAGS": f"-I{ARM}/usr/include/python3.11",
        "_PYTHON_HOST_PLATFORM": "linux-aarch64",
    }
    elsewhere = ["--only-binary=:all:", "--python-version=3.11", "--implementation=cp"]
    elsewhere += ["--abi=cp311", "--abi=abi3"]
    elsewhere += [f"--platform={tag}_aarch64" for tag in ("manylinux_2_28", "linux")]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    for machine, environment, target in (("x86_64", {}, []), ("aarch64", cross, elsewhere)):
        shutil.rmtree(source, ignore_errors=True)
        ignored = shutil.ignore_patterns("build", ".venv", ".git", "*.so", "*.egg-info")
        shutil.copytree(ROOT, source, ignore=ignored)
        wheels = FOLDER / f"wheels-{machine}"
        shutil.rmtree(wheels, ignore_errors=True)
        run(
            *pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", wheels, source,
            env=os.environ | environment,
        )  # fmt: skip
        shutil.rmtree(site(machine), ignore_errors=True)
        run(*pip, "install", "-q", "--target", site(machine), *target, *NEEDED, *wheels.glob("*"))
        # The tests start Python anew: on the same CPU.
        (site(machine) / "sitecustomize.py").write_text(
            "import os, sys\nsys.executable = os.environ['CPU_PYTHON']\n", encoding="utf-8"
        )
    for cpu, (command, machine, _) in CPUS.items():
        words = shlex.join(str(part) for part in command)
        settings = f"PYTHONPATH={shlex.quote(str(site(machine)))} PYTHONDONTWRITEBYTECODE=1"
        lines = ["#!/bin/sh", f'{settings} CPU_PYTHON="$0" exec {words} "$@"', ""]
        wrapper(cpu).write_text("\n".join(lines), encoding="utf-8")
        wrapper(cpu).chmod(0o755)


def tiles():
    """Read the ARM tiles back."""
    library = site("aarch64") / "cbackprop" / "_engine.abi3.so"
    _, loops, offenders = loops_that_touch_the_stack(library, f"{TRIPLE}-objdump")
    print(f"{loops} loops over k in the ARM tiles, touching the stack: {offenders or 'none'}")
    if not loops or offenders:
        sys.exit(1)


def hashes_of(cpu):
    """Run the trainings there; every table must give the hashes that native gave."""
    config = (
        "import cbackprop, json; "
        "print(json.dumps(cbackprop.show_config() | {'file': cbackprop.__file__}))"
    )
    _, machine, table = CPUS[cpu]
    found = json.loads(run(wrapper(cpu), "-P", "-c", config, stdout=subprocess.PIPE).stdout)
    print(found)
    if table and found["kernels"] != table:
        sys.exit(f"{cpu}: kernels {found['kernels']!r}, expected {table!r}")
    if not Path(found["file"]).is_relative_to(site(machine)):
        sys.exit(f"{cpu}: {found['file']} was imported, not the wheel in {site(machine)}")
    refused = subprocess.run(
        [wrapper(cpu), "-P", "-c", config], env=os.environ | {"CBACKPROP_ISA": "avx512"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if table and "CBACKPROP_ISA = 'avx512' does not run on this CPU" not in refused.stderr:
        sys.exit(f"{cpu}: avx512 was not refused: {refused.stdout}{refused.stderr}")
    program = ROOT / "tests" / "campaigns" / "trainings.py"
    lines = run(wrapper(cpu), "-P", "-Wignore", program, stdout=subprocess.PIPE).stdout
    runs = [json.loads(line) for line in lines.splitlines()]
    if cpu == "native":
        (FOLDER / "native.json").write_text(json.dumps(runs), encoding="utf-8")
    reference = json.loads((FOLDER / "native.json").read_text(encoding="utf-8"))
    different = 0
    for r in runs:
        truth = next(q["hashes"] for q in reference if q["dtype"] == r["dtype"])
        other = sorted(name for name in truth if truth[name] != r["hashes"].get(name))
        different += len(other)
        print(f"{cpu:<9}{r['table']:<10}{r['dtype']:<9}{len(truth)} hashes, other bits: {other}")
    return different


def underflow():
    """Count the results near the least normal number that are others elsewhere."""
    program, files = ROOT / "tests" / "campaigns" / "underflow.py", {}
    no_fma = {"CBACKPROP_ISA": "portable", "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA,-FMA4,-AVX2"}
    for name, cpu, environment in (
        ("native", "native", {}),
        ("arm64", "arm64", {}),
        ("x86 without FMA", "native", no_fma),
    ):
        files[name] = FOLDER / f"underflow-{name}.npz"
        run(wrapper(cpu), "-P", program, files[name], env=os.environ | environment)
        with np.load(files["native"]) as here, np.load(files[name]) as there:
            for case in here:
                z = np.abs(here[case][here[case] != there[case]])
                tiny = np.finfo(z.dtype).tiny
                where = f", |z| up to 2^{np.log2(z.max()):.1f}, 2^{np.log2(tiny)}" if z.size else ""
                print(f"{name:<16}{case:<20}{z.size} of {here[case].size} differ{where}")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.campaigns.other_cpus",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--steps", default=",".join(STEPS))
    options, rest = parser.parse_known_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    different = 0
    for step in options.steps.split(","):
        if step not in STEPS:
            parser.error(f"--steps {step!r}, expected some of: {','.join(STEPS)}")
        if step in CPUS:
            different += hashes_of(step)
        elif step == "tests":
            files = rest or ["tests/test_bits.py", "tests/test_kernels.py"]
            pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider"]
            run(wrapper("arm64"), "-P", *pytest, *files, cwd=ROOT)
        else:
            {"fetch": fetch, "build": build, "tiles": tiles, "underflow": underflow}[step]()
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
