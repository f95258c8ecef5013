"""Signals while the core trains: seen without Python's lock, and whatever else wants to be woken
by them keeps what it had."""

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from cbackprop import Network

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="POSIX signals")

X = np.random.default_rng(0).normal(size=(4000, 20)).astype(np.float32)
Y = X[:, :3].argmax(axis=1)


class Enough(Exception):
    pass


def open_files():
    return len(os.listdir("/dev/fd"))


def network():
    return Network([20, 48, 3], output="softmax", rng=0)


def train(net, epochs=20_000, threads=1):
    net.train(X, Y, epochs=epochs, batch_size=32, n_threads=threads)


def own(numbers, count):
    """A handler that raises when it is called so often."""

    def handler(number, frame):
        numbers.append(number)
        if len(numbers) == count:
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise Enough

    return handler


@pytest.fixture
def alarm():
    """Sets a handler for SIGALRM, which then comes every 30 ms."""
    before = signal.getsignal(signal.SIGALRM)
    gc.collect()  # Python drops what is raised while a weak reference's callback runs
    gc.disable()

    def begin(handler):
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.03, 0.03)

    yield begin
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    gc.enable()


@pytest.mark.parametrize("threads", [1, 2])
def test_every_signal_is_handled_and_the_last_one_ends_training(alarm, threads):
    numbers, net, before = [], network(), open_files()
    alarm(own(numbers, 8))
    with pytest.raises(Enough):
        train(net, threads=threads)
    assert open_files() == before
    assert numbers == [signal.SIGALRM] * 8
    assert signal.set_wakeup_fd(-1) == -1  # nothing of ours is left
    whole = net._position.epoch + (net._position.batch > 0) + 1
    train(net, 1)  # after the rest of the broken epoch
    alone = network()
    train(alone, whole)
    assert [w.tobytes() for w in net.weights] == [w.tobytes() for w in alone.weights]


def test_an_event_loop_keeps_its_wakeup_and_misses_no_signal(alarm, monkeypatch):
    set_wakeup_fd, calls = signal.set_wakeup_fd, []

    def at_a_bad_moment(fd, **settings):
        before = set_wakeup_fd(fd, **settings)
        if not calls:
            signal.raise_signal(signal.SIGALRM)
        calls.append(fd)
        return before

    monkeypatch.setattr(signal, "set_wakeup_fd", at_a_bad_moment)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    numbers = []
    before = set_wakeup_fd(theirs.fileno())
    try:
        alarm(own(numbers, 5))
        with pytest.raises(Enough):
            train(network())
        assert calls[1:] == [theirs.fileno()]
        assert set_wakeup_fd(before) == theirs.fileno()
        came = ours.recv(64)
        assert set(came) == {signal.SIGALRM} and len(came) >= len(numbers)
    finally:
        set_wakeup_fd(before)
        ours.close()
        theirs.close()


@pytest.mark.parametrize("what", ["trains", "takes the wakeup", "lets go of it"])
def test_a_handler_may_do_what_training_does(alarm, what):
    numbers, other = [], network()
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    count = own(numbers, 6)

    def handler(number, frame):
        if len(numbers) < 3:
            if what == "trains":
                signal.setitimer(signal.ITIMER_REAL, 0)
                end = time.monotonic() + 0.06
                while time.monotonic() < end:
                    train(other, 200)
                signal.setitimer(signal.ITIMER_REAL, 0.03, 0.03)
            else:
                signal.set_wakeup_fd(theirs if what.startswith("takes") else -1)
        count(number, frame)

    try:
        alarm(handler)
        with pytest.raises(Enough):
            train(network())
        assert len(numbers) == 6
        assert signal.set_wakeup_fd(-1) == (theirs if what.startswith("takes") else -1)
    finally:
        signal.set_wakeup_fd(-1)
        os.close(ours)
        os.close(theirs)


@pytest.fixture
def patience():
    """Python's lock stays with a thread that computes."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(30)
    yield
    sys.setswitchinterval(before)


def compute(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))


def test_while_training_goes_on_nobody_waits_for_pythons_lock(patience):
    before = open_files()

    def keep_the_lock():
        while open_files() < before + 2:  # the pipe
            time.sleep(0.001)
        compute(1.5)

    net, thread = network(), threading.Thread(target=keep_the_lock)
    thread.start()
    train(net, 400)
    thread.join()
    assert net.steps == 400 * 125
    assert max(net.history.seconds) < 1


def test_in_another_thread_no_handler_is_waited_for(patience):
    net = network()
    thread = threading.Thread(target=train, args=(net, 1000))
    thread.start()
    time.sleep(0.2)  # so long the thread looks once
    compute(1.5)
    thread.join()
    assert net.steps == 1000 * 125
    assert max(net.history.seconds) < 1
    assert signal.set_wakeup_fd(-1) == -1


SCRIPT = """
import os, signal, sys, threading, time
import numpy as np
from cbackprop import Network

X = np.random.default_rng(0).normal(size=(4000, 20)).astype(np.float32)
Y = X[:, :3].argmax(axis=1)


class Enough(Exception):
    pass


def interrupted(at=5, also=lambda number: None):
    calls = []
    def handler(*_):
        calls.append(0)
        also(len(calls))
        if len(calls) == at:
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise Enough
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.03, 0.03)
    net = Network([20, 48, 3], rng=0)
    try:
        net.train(X, Y, epochs=20_000, batch_size=32, n_threads=1)
    except Enough:
        return net.steps < 20_000 * 125     # not at the end of the call


pipe = os.pipe()        # the next one has the same numbers
os.close(pipe[0])
os.close(pipe[1])
"""

CLOSED = """
def close(number):
    for end in map(int, sys.argv[1:] if number == 2 else ()):
        os.close(pipe[end])

assert interrupted(also=close)
assert signal.set_wakeup_fd(-1) == -1
assert interrupted()
"""

NO_MORE_FILES = """
import resource

_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (pipe[0], most))
assert interrupted()
try:
    os.pipe()
except OSError:
    print("none")
"""

FORKED = """
def fork():
    while len(os.listdir("/dev/fd")) < before + 2:
        time.sleep(0.001)
    children.append(os.fork())
    if not children[0]:
        os._exit(0 if interrupted(8) and interrupted(3) else 7)

before, children = len(os.listdir("/dev/fd")), []
forking = threading.Thread(target=fork)
forking.start()
assert interrupted(8)   # both at once: neither reads what belongs to the other
forking.join()
assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
"""


def script(code, *arguments):
    run = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", SCRIPT + code, *arguments],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize("ends", ["0", "1", "01"])
def test_a_pipe_that_was_closed_hides_no_signal(ends):
    script(CLOSED, *ends)


def test_without_a_pipe_signals_are_seen_all_the_same():
    assert script(NO_MORE_FILES) == "none\n"


def test_a_child_has_a_wakeup_of_its_own():
    script(FORKED)
