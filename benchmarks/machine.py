"""The machine as it is at this moment: arithmetic peak and distance of two threads."""

import ctypes
import platform
import subprocess
import tempfile
import time
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


def vector_sets():
    """Of avx512, avx2 and bf16, those that this CPU has and that can be measured."""
    flags = _flags() if _library() else []
    needs = {"avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl"}, "avx2": {"avx2", "fma"}}
    needs["bf16"] = needs["avx512"] | {"avx512_bf16"}
    return [name for name, parts in needs.items() if parts <= set(flags)]


def one_core(wide):
    """Gflop/s of one thread now, with AVX-512 registers or with AVX2's: the best of five."""
    return max(_library().fma_rate(int(wide)) for _ in range(5))


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
        "peak_1": max(library.fma_rate(wide) for _ in range(3)),
        "peak_2": max(library.fma_rate_of_two(wide) for _ in range(3)),
        "latency_ns": library.latency(),
    }


def settle(processes, seconds=2.0):
    """Until none of these processes computes any more, or at most so long."""
    end = time.monotonic() + seconds
    before = None
    while (now := [_ticks(process) for process in processes]) != before:
        if time.monotonic() > end:
            return
        before = now
        time.sleep(0.05)  # five of the clock's ticks


def _ticks(process):
    # Time of all its threads, in hundredths of a second; None where the system does not say.
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    return sum(map(int, stat.rsplit(")", 1)[1].split()[11:13]))


def name():
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()
