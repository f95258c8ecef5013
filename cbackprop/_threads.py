"""How many threads: what the process may use, and what the work is worth."""

import functools
import itertools
import os

# A mini-batch of less arithmetic than this (floating-point operations) is done by one
# thread, or tried first with one: barriers and traffic between cores would eat the gain.
WORTH_A_SECOND_THREAD = 20_000_000
# About a millisecond's arithmetic: shorter trainings are over before anything is timed.
WORTH_TIMING = 100_000_000


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""


@functools.cache
def _cgroup_quota() -> int | None:
    """Whole CPUs that the container's quota pays for (cgroup v2, then v1)."""
    parts = _read("/sys/fs/cgroup/cpu.max").split()
    if not parts:
        parts = [
            _read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").strip(),
            _read("/sys/fs/cgroup/cpu/cpu.cfs_period_us").strip(),
        ]
    try:
        quota, period = int(parts[0]), int(parts[1])
    except (ValueError, IndexError):
        return None
    return max(1, -(-quota // period)) if quota > 0 and period > 0 else None


def _from_environment(name: str) -> int | None:
    # OMP_NUM_THREADS may be a list, one number a nesting level.
    text = os.environ.get(name, "").split(",")[0].strip()
    return max(1, int(text)) if text.isdigit() else None


def available() -> int:
    """Threads that affinity, container quota, OMP_NUM_THREADS and CBACKPROP_NUM_THREADS allow."""
    limits = [
        _affinity(),
        _cgroup_quota(),
        _from_environment("OMP_NUM_THREADS"),
        _from_environment("CBACKPROP_NUM_THREADS"),
    ]
    return min(limit for limit in limits if limit is not None)


@functools.cache
def _products(sizes: tuple[int, ...]) -> int:
    return sum(a * b for a, b in itertools.pairwise(sizes))


def worthwhile(sizes: tuple[int, ...], rows: int, passes: int) -> int:
    """Threads for a mini-batch of ``rows``: passes is 6 for training, 2 for a forward pass."""
    wanted = min(rows, passes * rows * _products(sizes) // (WORTH_A_SECOND_THREAD // 2))
    # What one thread does anyway is not worth asking the system what is available.
    return 1 if wanted <= 1 else max(1, min(available(), wanted))


def choice(sizes: tuple[int, ...], batch: int, rows: int) -> tuple[int, int]:
    """For training on so many rows in all: threads to choose from, and how many to try first.

    (1, 0) where the whole is over before a choice could be timed.
    """
    guess = worthwhile(sizes, batch, 6)
    if guess == 1 and 6 * rows * _products(sizes) < WORTH_TIMING:
        return 1, 0
    return max(1, min(available(), batch)), guess
