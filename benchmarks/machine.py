"""The machine as it is at this moment: arithmetic peak and distance of two threads."""

import ctypes
import platform
import subprocess
import tempfile
from functools import cache
from pathlib import Path


@cache
def _library():
    if platform.machine() not in ("x86_64", "AMD64"):
        return None
    source = Path(__file__).with_name("machine.c")
    target = Path(tempfile.mkdtemp(), "machine.so")
    command = ["cc", "-O2", "-std=gnu11", "-shared", "-fPIC", "-pthread", source, "-o", target]
    try:
        subprocess.run(command, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    library = ctypes.CDLL(str(target))
    for name in ("fma_rate", "fma_rate_of_two", "latency"):
        getattr(library, name).restype = ctypes.c_double
    return library


def _flags():
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("flags"):
            return line.split()
    return []


def state():
    """Gflop/s of one and of two threads, and ns from thread to thread; {} where not measured."""
    library = _library()
    flags = _flags() if library else []
    if "fma" not in flags:
        return {}
    wide = int("avx512f" in flags)
    return {
        "peak_1": library.fma_rate(wide),
        "peak_2": library.fma_rate_of_two(wide),
        "latency_ns": library.latency(),
    }


def name():
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()
