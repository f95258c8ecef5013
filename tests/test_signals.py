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


def network():
    return Network([20, 48, 3], output="softmax", rng=0)


def train(net, epochs=20_000):
    net.train(X, Y, epochs=epochs, batch_size=32, n_threads=1)


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


def test_every_signal_is_handled_and_the_last_one_ends_training(alarm):
    numbers, net = [], network()
    alarm(own(numbers, 8))
    with pytest.raises(Enough):
        train(net)
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
        assert ours.recv(64) == bytes(numbers)
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
                    train(other, 20)
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


def test_in_another_thread_no_handler_is_waited_for(alarm):
    numbers, net = [], network()
    thread = threading.Thread(target=train, args=(net, 400))
    alarm(own(numbers, 10**9))
    thread.start()
    thread.join()
    assert net.steps == 400 * 125
    assert numbers  # in the main thread
    assert signal.set_wakeup_fd(-1) == -1


FORKED = """
import os, signal, sys
import numpy as np
from cbackprop import Network

X = np.random.default_rng(0).normal(size=(4000, 20)).astype(np.float32)
Y = X[:, :3].argmax(axis=1)


class Enough(Exception):
    pass


def interrupted():
    def handler(*_):
        raise Enough
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.15)
    net = Network([20, 48, 3], rng=0)
    try:
        net.train(X, Y, epochs=20_000, batch_size=32, n_threads=1)
    except Enough:
        return net.steps < 20_000 * 125     # not at the end of the call


assert interrupted()
child = os.fork()
assert interrupted()    # both at once: neither reads what belongs to the other
if child:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


CLOSED = (
    FORKED[: FORKED.index("assert interrupted()")]
    + """
import threading

pipe = os.pipe()        # the next one has the same numbers
os.close(pipe[0])
os.close(pipe[1])
closing = threading.Timer(0.1, os.close, pipe[:1])
closing.start()
assert interrupted()
closing.join()
os.fstat(pipe[1])
try:
    os.fstat(pipe[0])
except OSError:
    print("closed")
"""
)


NO_MORE_FILES = (
    FORKED[: FORKED.index("assert interrupted()")]
    + """
import resource

pipe = os.pipe()
os.close(pipe[0])
os.close(pipe[1])
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (pipe[0], most))
assert interrupted()
try:
    os.pipe()
except OSError:
    print("none")
"""
)


def script(code):
    return subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", code],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_a_wakeup_that_was_closed_hides_no_signal():
    run = script(CLOSED)
    assert (run.returncode, run.stdout) == (0, "closed\n"), run.stderr


def test_without_a_pipe_signals_are_seen_all_the_same():
    run = script(NO_MORE_FILES)
    assert (run.returncode, run.stdout) == (0, "none\n"), run.stderr


def test_a_child_has_a_wakeup_of_its_own():
    run = script(FORKED)
    assert run.returncode == 0, run.stderr
