"""Threads and processes around a training: forks, exits, quotas, rounding. Longer runs of the same:
tests/campaigns/processes.py."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cbackprop import Network, _threads

sys.path.append(str(Path(__file__).parent))

from campaigns import processes

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux")


@on_linux
def test_forks_while_another_thread_trains():
    assert processes.forks(20) == []


@on_linux
def test_the_interpreter_ends_while_threads_train():
    command = [sys.executable, "-P", processes.__file__, "exits", "15"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "15 exits, 0 wrong" in run.stdout


@on_linux
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method):
    command = [sys.executable, "-P", processes.__file__, method]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"/sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"/sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ({"/sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        ({"/sys/fs/cgroup/cpu.max": "1000 100000\n"}, 1),
        ({"/sys/fs/cgroup/cpu.max": "nonsense\n"}, None),
        ({"/sys/fs/cgroup/cpu.max": "0 0\n"}, None),
        ({}, None),
        (
            {
                "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n",
                "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        (
            {
                "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
    ],
)
def test_quota_of_the_container(files, quota, monkeypatch):
    monkeypatch.setattr(_threads, "_read", lambda path: files.get(path, ""))
    assert _threads._cgroup_quota.__wrapped__() == quota


@on_linux
def test_affinity_limits_the_default():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert _threads.available() == 1
    finally:
        os.sched_setaffinity(0, before)


@on_linux
@pytest.mark.parametrize("mode", ["upward", "towards zero"])
def test_the_callers_rounding_is_not_the_cores(mode):
    # A worker begins with the rounding of the thread that made it.
    command = [sys.executable, "-P", processes.__file__, "rounding", mode]
    run = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_handlers_of_signals_are_left_alone():
    numbers = sorted(signal.valid_signals())
    before = [signal.getsignal(number) for number in numbers]
    net = Network([4, 5, 3], output="softmax", rng=0)
    net.train(np.ones((40, 4)), np.arange(40) % 3, n_threads=3, batch_size=20, epochs=3)
    net.predict(np.ones((40, 4)), n_threads=3)
    assert [signal.getsignal(number) for number in numbers] == before


def test_somebody_writes_into_x_while_it_is_read():
    assert processes.writers(seconds=0.5) == []
